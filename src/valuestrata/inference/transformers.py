"""Language models through transformers and peft, on a GPU where there is one.

Options are scored as whole continuations, terminator included, in forests of shared prefixes
(prefix/forests.py): one forward pass reads many prompts and all their options. The greedy text
comes from the same pass where it is one of the options; where the model would write something else,
it continues from there, over the pass' own keys and values. Log-probabilities are computed in fp32;
ties go to the lowest token id. A network that does not read forests right gets plain passes
instead, and one that padding or a cache disturbs writes without (prefix/forward.py).
"""

import logging
from collections.abc import Callable, Iterator, Sequence
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
from valuestrata.prefix import attention, forests, forward, plain
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
        past: keys and values of its nodes, None after plain passes.
        values: waits for log p of every step's token, and the likeliest token in its place [2, S].
    """

    part: list[int]
    forest: forests.Forest
    past: Any
    values: Callable[[], torch.Tensor]


class TransformersBackend(LocalBackend):
    """A model with or without an adapter; its weights are loaded at the first call.

    They are read without gradients, not in torch's inference mode: adapters of tensors stay in it.
    """

    entries = ("valuestrata.inference.transformers:TransformersBackend",)

    def __init__(self, model: LocalModel, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        super().__init__(model, chat, adapter)
        self._network: Any = None
        self._is_plain = False

    @property
    def network(self) -> Any:
        """The network, adapter unmerged: at a small learning rate a merge would round it away."""
        if self._network is None:
            network = load_network(self.model, "none", self.notes)
            folder = self.adapter_folder
            if folder is not None:
                from peft import PeftModel

                with collect_warnings(self.notes):  # in the network's dtype, as it was trained
                    network = PeftModel.from_pretrained(
                        network, str(folder), autocast_adapter_dtype=False
                    ).eval()
                check_applied(network, Path(folder), str(self.model.model))
            self._network = network
            log.info("loaded %s%s", self.model.model, " with its adapter" if folder else "")
        return self._network

    @torch.no_grad()
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
        scored = self.score_items(items, max_new_tokens)
        return [
            ScoredReply(
                written.text,
                item.logprobs,
                written.finish_reason,
                "plain" if self._is_plain else "shared_prefix",
            )
            for r, item in zip(requests, scored, strict=True)
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
            InputError: the network cannot read plain sequences (prefix/forward.py).
        """
        if not items:
            return []
        reason = forward.check_forests(self.network, items)
        self._is_plain = bool(reason)
        self._note(reason, "each option is read by itself")
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
        """A text for each prompt, in order."""
        rendered = [self.chat.prompt(*messages) for messages in prompts]
        texts: dict[int, Completion] = {}
        for part in self._text_batches(rendered, sampling.max_new_tokens):
            written = self._generate_batch([rendered[i] for i in part], sampling)
            texts |= dict(zip(part, written, strict=True))
            log.info("wrote %d of %d texts", len(texts), len(rendered))
        return [texts[i] for i in range(len(rendered))]

    def _text_batches(
        self, prompts: Sequence[TokenizedPrompt], max_new_tokens: int
    ) -> Iterator[list[int]]:
        """Positions of prompts by batch: of like lengths, of one where that is not right."""
        ids, most = [prompt.ids for prompt in prompts], self.model.max_batch_tokens
        if ids and not self._writes_over_cache(ids, max_new_tokens):
            yield from plain.batches(ids, most, max_new_tokens)
            return
        order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), ids[i]))
        start = 0
        while start < len(order):
            size = max(1, most // (len(ids[order[start]]) + max_new_tokens))
            yield order[start : start + size]
            start += size

    def _writes_over_cache(self, prompts: Sequence[forests.Tokens], max_new_tokens: int) -> bool:
        """Whether texts may be written in padded batches over a cache."""
        reason = forward.check_generation(self.network, prompts, max_new_tokens)
        self._note(reason, "each token is written over all before it")
        return not reason

    def _note(self, reason: str, consequence: str) -> None:
        """Say why the network is used otherwise than others, where it is."""
        note = f"{reason}: {consequence}, which takes longer"
        if reason and note not in self.notes:
            log.warning("%s: %s", self.model.model, note)
            self.notes.append(note)

    @torch.no_grad()
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
        held = None if self._is_plain else past
        return _Pass(part, forest, held, runtime.to_host_async(values))

    def _logits(self, inputs: dict[str, forests.Ints], past: Any, first: int = 0) -> torch.Tensor:
        """[K, vocabulary] of the kept nodes, in fp32; `past` takes up what was read."""
        where = self.network.device
        moved = {
            name: runtime.to_device_async(tensor, where)
            for name, tensor in attention.tensors(inputs).items()
        }
        return forward.forest_logits(
            self.network, moved, first, past_key_values=past, use_cache=True
        ).float()

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
        if done.past is None:
            self._continue_plain(done, nodes, texts, max_new_tokens)
        else:
            self._continue_greedy(done, nodes, texts, max_new_tokens)
        return scored

    @torch.no_grad()
    def _continue_greedy(
        self, done: _Pass, nodes: Sequence[int], texts: Sequence[list[int]], max_new_tokens: int
    ) -> None:
        """Lengthen texts by greedy decoding; each ends with the token after its node."""
        paths = [done.forest.path(node) for node in nodes]
        first = done.past.get_seq_length()
        while live := self._live(texts, max_new_tokens):
            inputs, longer = forests.continuation(
                [paths[i] for i in live], [texts[i][-1] for i in live], first
            )
            tokens = self._logits(inputs, done.past, first).argmax(dim=-1).tolist()
            for i, path, token in zip(live, longer, tokens, strict=True):
                paths[i] = path
                texts[i].append(token)
            first += len(live)

    def _continue_plain(
        self, done: _Pass, nodes: Sequence[int], texts: Sequence[list[int]], max_new_tokens: int
    ) -> None:
        """As `_continue_greedy`, but texts of one length are written anew as one batch."""
        live = self._live(texts, max_new_tokens)
        before = [done.forest.token[done.forest.path(nodes[i])].tolist() for i in live]
        whole = [(*ids, texts[i][-1]) for i, ids in zip(live, before, strict=True)]
        if whole:
            self._writes_over_cache(whole, max_new_tokens)
        for part in plain.batches(whole, self.model.max_batch_tokens, max_new_tokens):
            for k, tokens in zip(
                part, self._write([whole[k] for k in part], max_new_tokens - 1), strict=True
            ):
                text = texts[live[k]]
                end = next((n + 1 for n, t in enumerate(tokens) if t in self.chat.ends), None)
                text.extend(tokens[:end][: max_new_tokens - len(text)])

    def _live(self, texts: Sequence[list[int]], max_new_tokens: int) -> list[int]:
        """Positions of the texts that go on."""
        return [
            i for i, text in enumerate(texts)
            if text[-1] not in self.chat.ends and len(text) < max_new_tokens
        ]  # fmt: skip

    def _generate_batch(
        self, prompts: list[TokenizedPrompt], sampling: Sampling
    ) -> list[Completion]:
        options: dict[str, Any] = {}
        if sampling.temperature > 0:
            options["logits_processor"] = [_gumbel_sampler(prompts, sampling)]
        ids = [prompt.ids for prompt in prompts]
        written = self._write(ids, sampling.max_new_tokens, **options)
        return [
            self.chat.completion(tokens, len(prompt))
            for tokens, prompt in zip(written, ids, strict=True)
        ]

    @torch.no_grad()
    def _write(
        self, prompts: Sequence[forests.Tokens], max_new_tokens: int, **options: Any
    ) -> list[list[int]]:
        """What the network writes after each prompt; what follows its end says nothing."""
        longest = max(map(len, prompts))
        tokens = torch.full((len(prompts), longest), self.chat.pad)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(prompts):
            tokens[row, longest - len(ids) :] = torch.tensor(ids)
            mask[row, longest - len(ids) :] = 1
        out = self.network.generate(
            input_ids=tokens.to(device()),
            attention_mask=mask.to(device()),
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self.chat.ends),
            pad_token_id=self.chat.pad,
            do_sample=False,
            use_cache=self._writes_over_cache(prompts, max_new_tokens),
            **options,
        )
        written: list[list[int]] = out[:, longest:].tolist()
        return written


def _gumbel_sampler(prompts: list[TokenizedPrompt], sampling: Sampling) -> Any:
    """Gumbel noise, which makes the best token a sample; each prompt has its own seed."""
    seeds = [text_digest([str(sampling.seed), prompt.digest]) for prompt in prompts]
    generators = [torch.Generator().manual_seed(int(seed[:15], 16)) for seed in seeds]

    def add_noise(_: Any, scores: torch.Tensor) -> torch.Tensor:
        waits = [torch.empty(scores.shape[1]).exponential_(generator=g) for g in generators]
        return scores.float() / sampling.temperature - torch.stack(waits).log().to(scores.device)

    return add_noise
