"""Language models through transformers and peft, on a GPU where there is one.

Options are scored as whole continuations, terminator included, in forests of shared prefixes
(prefix/forests.py): one forward pass reads many prompts and all their options. The greedy text
comes from the same pass where it is one of the options; where the model would write something else,
it continues from there, over the pass' own keys and values. Log-probabilities are computed in fp32;
ties go to the lowest token id.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from valuestrata.inference import runtime
from valuestrata.inference.chat import Chat, TokenizedPrompt
from valuestrata.inference.constrained import constrained_option
from valuestrata.inference.loading import check_applied, check_shift
from valuestrata.inference.local import LocalBackend, device, load_network
from valuestrata.inference.notices import collect_warnings
from valuestrata.inference.protocol import (
    Completion,
    Messages,
    Sampling,
    ScoredReply,
    ScoringRequest,
)
from valuestrata.prefix import attention, forests
from valuestrata.provenance import text_digest
from valuestrata.study.models import LocalModel

log = logging.getLogger(__name__)

PROBED = 16
"""Tokens at the end of a prompt at which the effect of an adapter is measured."""
CPU_NODES = 2048
"""Nodes of a pass on a CPU at most: what a layer makes of more does not stay in its cache."""


@dataclass(frozen=True)
class ScoredItem:
    """What a forward pass says of a prompt and its options.

    Attributes:
        logprobs: of each option [C].
        option: the one that greedy decoding writes, None where it writes something else.
        tokens: what it writes then.
        choice: the option that it writes where it may write nothing else.
    """

    logprobs: NDArray[np.float64]
    option: int | None
    tokens: list[int]
    choice: int


@dataclass(frozen=True)
class _Pass:
    """A forest that was read, and what the device holds of it.

    Attributes:
        part: positions of its items.
        past: keys and values of its nodes.
        values: waits for log p of every step's token, and the likeliest token in its place [2, S].
    """

    part: list[int]
    forest: forests.Forest
    past: Any
    values: Callable[[], torch.Tensor]


class TransformersBackend(LocalBackend):
    """A model with or without an adapter; its weights are loaded at the first call."""

    entries = ("valuestrata.inference.transformers:TransformersBackend",)

    def __init__(self, model: LocalModel, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        super().__init__(model, chat, adapter)
        self._network: Any = None

    @property
    def network(self) -> Any:
        """The network, adapter unmerged: at a small learning rate a merge would round it away."""
        if self._network is None:
            network = load_network(self.model, "none", self.notes)
            folder = self.adapter_folder
            if folder is not None:
                from peft import PeftModel

                with collect_warnings(self.notes):
                    network = PeftModel.from_pretrained(network, str(folder)).eval()
                check_applied(network, Path(folder), str(self.model.model))
            self._network = network
            log.info("loaded %s%s", self.model.model, " with its adapter" if folder else "")
        return self._network

    @torch.inference_mode()
    def adapter_shift(self, messages: Messages) -> float | None:
        """Largest change of a logit at the end of a prompt, by a plain pass with and without it.

        Raises:
            InputError: a logit is no finite number, or the adapter changes none.
        """
        ids = torch.tensor([self.chat.prompt(*messages).ids], device=self.network.device)
        inputs = {"input_ids": ids, "logits_to_keep": PROBED, "use_cache": False}
        logits = self.network(**inputs).logits.float()
        # without an adapter this is 0, or no number where a logit is none
        change = logits - logits
        if self.adapter_folder is not None:
            with self.network.disable_adapter():
                change = logits - self.network(**inputs).logits.float()
        shift = check_shift(float(change.abs().max()), self.adapter_folder, str(self.model.model))
        return None if self.adapter_folder is None else shift

    def score(self, requests: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy text and option log-probabilities, in the order of the requests."""
        ids = {text: self.chat.encode_reply(text) for r in requests for text in r.options}
        items = [
            forests.PrefixItem(
                self.chat.prompt(*r.messages).ids, tuple(ids[text] for text in r.options)
            )
            for r in requests
        ]
        return [
            ScoredReply(
                text=written.text, logprobs=item.logprobs, finish_reason=written.finish_reason
            )
            for r, item in zip(requests, self.score_items(items, max_new_tokens), strict=True)
            for written in [self._written(r, item)]
        ]

    def _written(self, request: ScoringRequest, item: ScoredItem) -> Completion:
        """What is written to a closed prompt."""
        option = item.choice if request.constrained else item.option
        if option is None:
            return self.chat.completion(item.tokens)
        return Completion(request.options[option], "stop")

    def score_items(
        self, items: Sequence[forests.PrefixItem], max_new_tokens: int
    ) -> list[ScoredItem]:
        """log p of every option of each item, and what greedy decoding writes.

        Raises:
            InputError: the network cannot read forests (prefix/attention.py).
        """
        scored: dict[int, ScoredItem] = {}
        max_nodes = self.model.max_batch_tokens
        if device().type == "cpu":
            max_nodes = min(max_nodes, CPU_NODES)
        passes: list[_Pass] = []
        for part in forests.pack(items, max_nodes):
            # the next forest is laid out and sent off before the last one is waited for
            passes.append(self._forward(items, part))
            if len(passes) == 2:
                scored |= self._scored(items, passes.pop(0), max_new_tokens)
        for last in passes:
            scored |= self._scored(items, last, max_new_tokens)
        return [scored[i] for i in range(len(items))]

    def generate(self, prompts: Sequence[Messages], sampling: Sampling) -> list[Completion]:
        """A text for each prompt, in order; batches by length, padded at the left."""
        rendered = [self.chat.prompt(*messages) for messages in prompts]
        texts = [Completion(None)] * len(rendered)
        order = sorted(range(len(rendered)), key=lambda i: (len(rendered[i].ids), rendered[i].ids))
        start = 0
        while start < len(order):
            length = len(rendered[order[start]].ids) + sampling.max_new_tokens
            size = max(1, self.model.max_batch_tokens // length)
            part = order[start : start + size]
            written = self._generate_batch([rendered[i] for i in part], sampling)
            for i, text in zip(part, written, strict=True):
                texts[i] = text
            start += size
            log.info("wrote %d of %d texts", min(start, len(order)), len(order))
        return texts

    @torch.inference_mode()
    def _forward(self, items: Sequence[forests.PrefixItem], part: list[int]) -> _Pass:
        """Read some items in one pass."""
        from transformers import DynamicCache

        forest = forests.build_forest([items[i] for i in part])
        inputs, column = forests.to_model_inputs(forest, self.chat.pad)
        past = DynamicCache()
        logits = self._logits(inputs, past)
        steps = torch.from_numpy(np.stack([column, forest.follows]))
        step, token = runtime.to_device_async(steps, logits.device)
        logprobs = logits.log_softmax(dim=-1)[step, token]
        likeliest = logits.argmax(dim=-1)[step]
        # fp32 is exact for token ids, so that one copy brings both
        values = torch.stack([logprobs, likeliest.float()])
        return _Pass(part, forest, past, runtime.to_host_async(values))

    def _logits(self, inputs: dict[str, forests.Ints], past: Any, first: int = 0) -> torch.Tensor:
        """[K, vocabulary] of the kept nodes, in fp32; `past` takes up what was read."""
        where = self.network.device
        moved = {
            name: runtime.to_device_async(tensor, where)
            for name, tensor in attention.tensors(inputs).items()
        }
        out = attention.forest_forward(
            self.network, moved, first, past_key_values=past, use_cache=True
        )
        return out.logits[0].float()

    def _scored(
        self, items: Sequence[forests.PrefixItem], done: _Pass, max_new_tokens: int
    ) -> dict[int, ScoredItem]:
        """What a pass says of its items, by their positions."""
        forest, (logprobs, likeliest) = done.forest, done.values().double().numpy()
        begin = np.cumsum(forest.lengths) - forest.lengths
        totals = np.add.reduceat(logprobs, begin)
        # how many steps of each option greedy decoding takes before it leaves
        place = np.arange(len(logprobs)) - np.repeat(begin, forest.lengths)
        stay = np.where(likeliest == forest.follows, len(logprobs), place)
        taken = np.minimum(np.minimum.reduceat(stay, begin), forest.lengths)

        scored: dict[int, ScoredItem] = {}
        nodes, texts = [], []
        start = 0
        for i in done.part:
            options = items[i].options
            best = start + int(taken[start : start + len(options)].argmax())
            is_whole = bool(taken[best] == forest.lengths[best] <= max_new_tokens)
            scored[i] = ScoredItem(
                totals[start : start + len(options)],
                best - start if is_whole else None,
                [] if is_whole else [*options[best - start][: min(taken[best], max_new_tokens)]],
                constrained_option(
                    options, [logprobs[begin[n] :] for n in range(start, start + len(options))]
                ),
            )
            if not is_whole and taken[best] < max_new_tokens:
                leaves = begin[best] + taken[best]
                scored[i].tokens.append(int(likeliest[leaves]))
                nodes.append(forest.before[leaves])
                texts.append(scored[i].tokens)
            start += len(options)
        self._continue_greedy(done, nodes, texts, max_new_tokens)
        return scored

    @torch.inference_mode()
    def _continue_greedy(
        self, done: _Pass, nodes: Sequence[int], texts: Sequence[list[int]], max_new_tokens: int
    ) -> None:
        """Lengthen texts by greedy decoding; each ends with the token after its node."""
        paths = [done.forest.path(node) for node in nodes]
        first = done.past.get_seq_length()
        while True:
            live = [
                i for i, text in enumerate(texts)
                if text[-1] not in self.chat.ends and len(text) < max_new_tokens
            ]  # fmt: skip
            if not live:
                return
            for row, i in enumerate(live):
                paths[i] = np.append(paths[i], first + row)
            keys = np.zeros((len(live), max(len(paths[i]) for i in live)), dtype=np.int64)
            ends = np.zeros_like(keys)
            for row, i in enumerate(live):
                keys[row, : len(paths[i])] = paths[i]
                ends[row, : len(paths[i])] = first + len(live)
            inputs = {
                "input_ids": np.array([[texts[i][-1] for i in live]]),
                "position_ids": np.array([[len(paths[i]) - 1 for i in live]]),
                "keys": keys,
                "ends": ends,
                "depths": np.arange(keys.shape[1]) * (ends > 0),
                "kept": np.arange(len(live)),
            }
            tokens = self._logits(inputs, done.past, first).argmax(dim=-1).tolist()
            for i, token in zip(live, tokens, strict=True):
                texts[i].append(token)
            first += len(live)

    @torch.inference_mode()
    def _generate_batch(
        self, prompts: list[TokenizedPrompt], sampling: Sampling
    ) -> list[Completion]:
        longest = max(len(prompt.ids) for prompt in prompts)
        tokens = torch.full((len(prompts), longest), self.chat.pad)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(prompt.ids for prompt in prompts):
            tokens[row, longest - len(ids) :] = torch.tensor(ids)
            mask[row, longest - len(ids) :] = 1
        options: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            options["logits_processor"] = [_gumbel_sampler(prompts, sampling)]
        out = self.network.generate(
            input_ids=tokens.to(device()),
            attention_mask=mask.to(device()),
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=sorted(self.chat.ends),
            pad_token_id=self.chat.pad,
            **options,
        )
        return [self.chat.completion(row[longest:].tolist()) for row in out.cpu()]


def _gumbel_sampler(prompts: list[TokenizedPrompt], sampling: Sampling) -> Any:
    """Gumbel noise, which makes the best token a sample; each prompt has its own seed."""
    seeds = [text_digest([str(sampling.seed), prompt.digest]) for prompt in prompts]
    generators = [torch.Generator().manual_seed(int(seed[:15], 16)) for seed in seeds]

    def add_noise(_: Any, scores: torch.Tensor) -> torch.Tensor:
        waits = [torch.empty(scores.shape[1]).exponential_(generator=g) for g in generators]
        return scores.float() / sampling.temperature - torch.stack(waits).log().to(scores.device)

    return add_noise
