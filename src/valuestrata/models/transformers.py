"""Language models through transformers and peft, on a GPU where there is one.

Options are scored as whole continuations, terminator included, in trees of shared prefixes
(models/trie.py): one forward pass reads every prompt and all its options. The greedy text comes
from the same pass where it is one of the options; only where the model would write something else
is text generated. Log-probabilities are computed in fp32; ties go to the lowest token id.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from valuestrata.models import trie
from valuestrata.models.base import Answer, Question
from valuestrata.models.chat import Chat, Prompt
from valuestrata.models.local import LocalModel, device, load_network
from valuestrata.provenance import text_digest
from valuestrata.specs import Model

log = logging.getLogger(__name__)

ROW = 384
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
        items = [
            trie.Item(prompt.ids, tuple(self.chat.reply(text) for text in question.replies))
            for prompt, question in zip(prompts, questions, strict=True)
        ]
        answers: list[Answer | None] = [None] * len(items)
        written: list[int] = []
        for trees in self._batches(items):
            for tree, own, steps, best in self._forward(trees):
                for k, i in enumerate(own):
                    logprobs = np.array([sum(steps[s] for s in path) for path in tree.paths[k]])
                    text = _followed(tree, k, best, questions[i].replies)
                    if text is None:
                        written.append(i)
                    answers[i] = Answer(text or "", logprobs)
        texts = self._generate([prompts[i] for i in written], max_new_tokens, 0.0, 0)
        for i, text in zip(written, texts, strict=True):
            answers[i] = Answer(text, answers[i].logprobs)  # type: ignore[union-attr]
        return [a for a in answers if a is not None]

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
    def _forward(self, trees: list[tuple[trie.Tree, list[int]]]) -> list[Any]:
        """For each tree: its items, log p of each (node, token) step, the best token by node."""
        laid = trie.batch([tree for tree, _ in trees], self.chat.pad)
        where = device()
        dtype = self.network.dtype
        mask = torch.zeros(laid.attends.shape, dtype=dtype)
        mask.masked_fill_(~torch.from_numpy(laid.attends), torch.finfo(dtype).min)
        logits = self.network(
            input_ids=torch.from_numpy(laid.tokens).to(where),
            attention_mask=mask[:, None].to(where),
            position_ids=torch.from_numpy(laid.depth).to(where),
            logits_to_keep=laid.keep,
            use_cache=False,
        ).logits.float()
        norm = logits.logsumexp(dim=-1)
        best = logits.argmax(dim=-1).cpu().numpy()
        found = []
        for r, (tree, own) in enumerate(trees):
            place = laid.place[r]
            pairs = sorted({step for paths in tree.paths for path in paths for step in path})
            columns = torch.tensor([place[node] for node, _ in pairs], device=where)
            tokens = torch.tensor([token for _, token in pairs], device=where)
            values = (logits[r, columns, tokens] - norm[r, columns]).double().cpu().numpy()
            greedy = {node: int(best[r, column]) for node, column in place.items()}
            found.append((tree, own, dict(zip(pairs, values, strict=True)), greedy))
        return found

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


def _followed(
    tree: trie.Tree, k: int, best: dict[int, int], replies: tuple[str, ...]
) -> str | None:
    """The option that greedy decoding writes to its end, or None if it writes none of them."""
    for path, reply in zip(tree.paths[k], replies, strict=True):
        if all(best[node] == token for node, token in path):
            return reply
    return None
