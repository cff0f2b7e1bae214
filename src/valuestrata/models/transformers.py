"""Language models through transformers and peft, on a GPU where there is one.

Options are scored as whole continuations, terminator included, in trees of shared prefixes
(models/trie.py): one forward pass reads every prompt and all its options. The greedy text comes
from the same pass where it is one of the options; only where the model would write something else
is text generated. Log-probabilities are computed in fp32; ties go to the lowest token id.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from valuestrata.models import trie
from valuestrata.models.base import Answer, Question
from valuestrata.models.chat import Chat, Prompt
from valuestrata.models.local import LocalModel, device, load_network
from valuestrata.provenance import text_digest
from valuestrata.specs import Model

log = logging.getLogger(__name__)

ROW = 512
"""Nodes of a prefix tree; longer rows share more and attend more."""


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

    def answer(self, questions: Sequence[Question], max_new_tokens: int) -> list[Answer]:
        """Greedy text and option log-probabilities, in the order of the questions."""
        prompts = [self.chat.prompt(q.persona, q.user) for q in questions]
        replies = {text: self.chat.reply(text) for q in questions for text in q.replies}
        scored = self.score(
            trie.Item(prompt.ids, tuple(replies[text] for text in question.replies))
            for prompt, question in zip(prompts, questions, strict=True)
        )
        unsaid = [i for i, (_, greedy) in enumerate(scored) if greedy is None]
        texts = self._generate([prompts[i] for i in unsaid], max_new_tokens, 0.0, 0)
        written = dict(zip(unsaid, texts, strict=True))
        return [
            Answer(written[i] if greedy is None else question.replies[greedy], logprobs)
            for i, (question, (logprobs, greedy)) in enumerate(zip(questions, scored, strict=True))
        ]

    def score(self, items: Iterable[trie.Item]) -> list[tuple[NDArray[np.float64], int | None]]:
        """log p of every option of an item [C], and which one greedy decoding writes, if any."""
        items = list(items)
        found: list[Any] = [None] * len(items)
        ahead: list[tuple[list[list[int]], trie.Steps, Any]] = []
        for trees in self._batches(items):
            ahead.append(self._forward(trees))
            # the next batch is laid out while a GPU still computes this one
            if len(ahead) > 1:
                self._read(*ahead.pop(0), found)
        for last in ahead:
            self._read(*last, found)
        return found

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

    def _batches(self, items: list[trie.Item]) -> list[list[tuple[trie.Tree, list[int]]]]:
        """Trees by size, as many a batch as `batch_tokens` allows; the order is fixed."""
        trees = sorted(trie.grow(items, ROW), key=lambda t: len(t[0]))
        batches: list[list[tuple[trie.Tree, list[int]]]] = [[]]
        for tree in trees:
            if batches[-1] and len(tree[0]) * (len(batches[-1]) + 1) > self.spec.batch_tokens:
                batches.append([])
            batches[-1].append(tree)
        return [b for b in batches if b]

    @torch.inference_mode()
    def _forward(
        self, trees: list[tuple[trie.Tree, list[int]]]
    ) -> tuple[list[list[int]], trie.Steps, torch.Tensor]:
        """Each tree's items, the steps of all their options, and of every step log p and whether it
        is the likeliest [2, steps], still on the device."""
        laid = trie.batch([tree for tree, _ in trees], self.chat.pad)
        where = self.network.device
        logits = self.network(
            input_ids=torch.from_numpy(laid.tokens).to(where),
            attention_mask=trie.mask(torch.from_numpy(laid.attends).to(where), self.network.dtype),
            position_ids=torch.from_numpy(laid.depth).to(where),
            logits_to_keep=laid.keep,
            use_cache=False,
        ).logits.float()
        steps = trie.steps([tree for tree, _ in trees], laid.place)
        row, column, token = torch.from_numpy(steps.index).to(where)
        logprobs = logits[row, column, token] - logits.logsumexp(dim=-1)[row, column]
        best = logits.argmax(dim=-1)[row, column] == token
        return [own for _, own in trees], steps, torch.stack([logprobs, best.float()])

    @staticmethod
    def _read(owners: list[list[int]], steps: trie.Steps, values: torch.Tensor, found: Any) -> None:
        """Put each item's log-probabilities and greedy option into its place of `found`."""
        logprobs, best = values.double().cpu().numpy()
        totals = np.add.reduceat(logprobs, steps.option)
        followed = np.logical_and.reduceat(best > 0, steps.option)
        start = 0
        items = (i for own in owners for i in own)
        for i, options in zip(items, steps.options, strict=True):
            own = slice(start, start + options)
            said = np.flatnonzero(followed[own])
            found[i] = (totals[own], int(said[0]) if len(said) else None)
            start += options

    @torch.inference_mode()
    def _generate(
        self, prompts: list[Prompt], max_new_tokens: int, temperature: float, seed: int
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
                self._write([prompts[i] for i in chunk], max_new_tokens, temperature, seed),
                strict=True,
            ):
                texts[i] = text
            start += size
            log.info("wrote %d of %d texts", min(start, len(order)), len(order))
        return texts

    def _write(
        self, prompts: list[Prompt], max_new_tokens: int, temperature: float, seed: int
    ) -> list[str]:
        longest = max(len(prompt.ids) for prompt in prompts)
        tokens = torch.full((len(prompts), longest), self.chat.pad)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(prompt.ids for prompt in prompts):
            tokens[row, longest - len(ids) :] = torch.tensor(ids)
            mask[row, longest - len(ids) :] = 1
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            sampling["logits_processor"] = [_noise(prompts, temperature, seed)]
        out = self.network.generate(
            input_ids=tokens.to(device()),
            attention_mask=mask.to(device()),
            max_new_tokens=max_new_tokens,
            eos_token_id=[self.chat.terminator[-1], self.chat.tokenizer.eos_token_id],
            pad_token_id=self.chat.pad,
            **sampling,
        )
        return [self.chat.decode(row[longest:].tolist()) for row in out.cpu()]


def _noise(prompts: list[Prompt], temperature: float, seed: int) -> Any:
    """Gumbel noise, which makes the best token a sample; each prompt has its own seed."""
    own = [
        torch.Generator().manual_seed(int(text_digest([str(seed), prompt.digest])[:15], 16))
        for prompt in prompts
    ]

    def add(_: Any, scores: torch.Tensor) -> torch.Tensor:
        waits = [torch.empty(scores.shape[1]).exponential_(generator=one) for one in own]
        return scores.float() / temperature - torch.stack(waits).log().to(scores.device)

    return add
