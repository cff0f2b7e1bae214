"""Language models through transformers and peft, on a GPU where there is one.

Options are scored as whole continuations, terminator included, in forests of shared prefixes
(models/trie.py): one forward pass reads many prompts and all their options. The greedy text comes
from the same pass where it is one of the options; where the model would write something else, it
writes on from there, over the pass' own keys and values. Log-probabilities are computed in fp32;
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
from valuestrata.inference.local import LocalModel, device, load_network
from valuestrata.inference.protocol import ScoredReply, ScoringRequest
from valuestrata.prefix import attention, forests
from valuestrata.provenance import text_digest
from valuestrata.specs import Model

log = logging.getLogger(__name__)

CACHED = 2048
"""Nodes of a pass on a CPU at most: what a layer makes of more does not stay in its cache."""


@dataclass(frozen=True)
class Scored:
    """logprobs: of each option [C]; option: which one greedy decoding writes, if any; else text:
    the tokens that it writes."""

    logprobs: NDArray[np.float64]
    option: int | None
    text: list[int]


@dataclass(frozen=True)
class _Pass:
    """A forest that was read, and what the device holds of it.

    part: positions of its items; past: keys and values of its nodes; values: waits for log p of
    every step's token, and the likeliest token in its place [2, S].
    """

    part: list[int]
    forest: forests.Forest
    past: Any
    values: Callable[[], torch.Tensor]


class TransformersModel(LocalModel):
    """A model with or without an adapter; its weights are loaded at the first call."""

    def __init__(self, spec: Model, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        super().__init__(spec, chat, adapter)
        self._network: Any = None

    @property
    def network(self) -> Any:
        """The network, adapter unmerged: at a small learning rate a merge would round it away."""
        if self._network is None:
            self._network = load_network(self.spec)
            folder = self.adapter_folder
            if folder is not None:
                from peft import PeftModel

                self._network = PeftModel.from_pretrained(self._network, str(folder)).eval()
            log.info("loaded %s%s", self.spec.weights, " with its adapter" if folder else "")
        return self._network

    def answer(self, questions: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy text and option log-probabilities, in the order of the questions."""
        replies = {text: self.chat.encode_reply(text) for q in questions for text in q.replies}
        items = [
            forests.PrefixItem(
                self.chat.prompt(q.persona, q.user).ids, tuple(replies[t] for t in q.replies)
            )
            for q in questions
        ]
        found = self.score(items, max_new_tokens)
        texts = [
            self.chat.decode(one.text) if one.option is None else question.replies[one.option]
            for question, one in zip(questions, found, strict=True)
        ]
        return [ScoredReply(text, one.logprobs) for text, one in zip(texts, found, strict=True)]

    def score(self, items: Sequence[forests.PrefixItem], max_new_tokens: int) -> list[Scored]:
        """log p of every option of each item, and what greedy decoding writes.

        Raises:
            InputError: the network cannot read forests (models/attention.py).
        """
        found: dict[int, Scored] = {}
        most = self.spec.batch_tokens
        sent: list[_Pass] = []
        for part in forests.pack(items, most if device().type != "cpu" else min(most, CACHED)):
            # the next forest is laid out and sent off before the last one is waited for
            sent.append(self._forward(items, part))
            if len(sent) == 2:
                found |= self._scored(items, sent.pop(0), max_new_tokens)
        for last in sent:
            found |= self._scored(items, last, max_new_tokens)
        return [found[i] for i in range(len(items))]

    def generate(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        temperature: float,
        seed: int,
    ) -> list[str]:
        """Text for each (persona, user) prompt, in order."""
        rendered = [self.chat.prompt(persona, user) for persona, user in prompts]
        return self._generate(rendered, max_new_tokens, temperature, seed)

    @torch.inference_mode()
    def _forward(self, items: Sequence[forests.PrefixItem], part: list[int]) -> _Pass:
        """Read some items in one pass."""
        from transformers import DynamicCache

        forest = forests.build_forest([items[i] for i in part])
        laid, column = forests.to_model_inputs(forest, self.chat.pad)
        past = DynamicCache()
        logits = self._logits(laid, past)
        steps = torch.from_numpy(np.stack([column, forest.follows]))
        step, token = runtime.to_device_async(steps, logits.device)
        logprobs = logits.log_softmax(dim=-1)[step, token]
        likeliest = logits.argmax(dim=-1)[step]
        # fp32 is exact for token ids, so that one copy brings both
        values = torch.stack([logprobs, likeliest.float()])
        return _Pass(part, forest, past, runtime.to_host_async(values))

    def _logits(self, laid: dict[str, forests.Ints], past: Any, first: int = 0) -> torch.Tensor:
        """[K, vocabulary] of the kept nodes, in fp32; `past` takes up what was read."""
        where = self.network.device
        moved = {k: runtime.to_device_async(v, where) for k, v in attention.tensors(laid).items()}
        out = attention.forest_forward(
            self.network, moved, first, past_key_values=past, use_cache=True
        )
        return out.logits[0].float()

    def _scored(
        self, items: Sequence[forests.PrefixItem], done: _Pass, max_new_tokens: int
    ) -> dict[int, Scored]:
        """What a pass says of its items, by their positions."""
        forest, (logprobs, likeliest) = done.forest, done.values().double().numpy()
        begin = np.cumsum(forest.lengths) - forest.lengths
        totals = np.add.reduceat(logprobs, begin)
        # how many steps of each option greedy decoding takes before it leaves
        place = np.arange(len(logprobs)) - np.repeat(begin, forest.lengths)
        stay = np.where(likeliest == forest.follows, len(logprobs), place)
        taken = np.minimum(np.minimum.reduceat(stay, begin), forest.lengths)

        found: dict[int, Scored] = {}
        nodes, texts = [], []
        start = 0
        for i in done.part:
            options = items[i].options
            best = start + int(taken[start : start + len(options)].argmax())
            said = bool(taken[best] == forest.lengths[best] <= max_new_tokens)
            found[i] = Scored(
                totals[start : start + len(options)],
                best - start if said else None,
                [] if said else [*options[best - start][: min(taken[best], max_new_tokens)]],
            )
            if not said and taken[best] < max_new_tokens:
                leaves = begin[best] + taken[best]
                found[i].text.append(int(likeliest[leaves]))
                nodes.append(forest.before[leaves])
                texts.append(found[i].text)
            start += len(options)
        self._continue_greedy(done, nodes, texts, max_new_tokens)
        return found

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
            laid = {
                "input_ids": np.array([[texts[i][-1] for i in live]]),
                "position_ids": np.array([[len(paths[i]) - 1 for i in live]]),
                "keys": keys,
                "ends": ends,
                "depths": np.arange(keys.shape[1]) * (ends > 0),
                "kept": np.arange(len(live)),
            }
            for i, token in zip(
                live, self._logits(laid, done.past, first).argmax(dim=-1).tolist(), strict=True
            ):
                texts[i].append(token)
            first += len(live)

    @torch.inference_mode()
    def _generate(
        self, prompts: list[TokenizedPrompt], max_new_tokens: int, temperature: float, seed: int
    ) -> list[str]:
        """Batches by length, padded at the left; texts in the order of the prompts."""
        texts = [""] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i].ids), prompts[i].ids))
        start = 0
        while start < len(order):
            longest = len(prompts[order[start]].ids) + max_new_tokens
            size = max(1, self.spec.batch_tokens // longest)
            chunk = order[start : start + size]
            for i, text in zip(
                chunk,
                self._generate_batch(
                    [prompts[i] for i in chunk], max_new_tokens, temperature, seed
                ),
                strict=True,
            ):
                texts[i] = text
            start += size
            log.info("wrote %d of %d texts", min(start, len(order)), len(order))
        return texts

    def _generate_batch(
        self, prompts: list[TokenizedPrompt], max_new_tokens: int, temperature: float, seed: int
    ) -> list[str]:
        longest = max(len(prompt.ids) for prompt in prompts)
        tokens = torch.full((len(prompts), longest), self.chat.pad)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(prompt.ids for prompt in prompts):
            tokens[row, longest - len(ids) :] = torch.tensor(ids)
            mask[row, longest - len(ids) :] = 1
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            sampling["logits_processor"] = [_gumbel_sampler(prompts, temperature, seed)]
        out = self.network.generate(
            input_ids=tokens.to(device()),
            attention_mask=mask.to(device()),
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self.chat.ends),
            pad_token_id=self.chat.pad,
            **sampling,
        )
        return [self.chat.decode(row[longest:].tolist()) for row in out.cpu()]


def _gumbel_sampler(prompts: list[TokenizedPrompt], temperature: float, seed: int) -> Any:
    """Gumbel noise, which makes the best token a sample; each prompt has its own seed."""
    own = [
        torch.Generator().manual_seed(int(text_digest([str(seed), prompt.digest])[:15], 16))
        for prompt in prompts
    ]

    def add(_: Any, scores: torch.Tensor) -> torch.Tensor:
        waits = [torch.empty(scores.shape[1]).exponential_(generator=one) for one in own]
        return scores.float() / temperature - torch.stack(waits).log().to(scores.device)

    return add
