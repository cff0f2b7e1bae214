"""The plain layout: random batches padded to one length, and cross-entropy of their replies.

Prompts are read, replies are learned, and logits are computed at reply positions only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from valuestrata.prefix.padding import known_padding
from valuestrata.training.examples import Example
from valuestrata.training.objective import Batch, Objective

E = TypeVar("E", bound=Example)

POOL = 32
"""Batches that are sorted by length together; wider pools pad less and shuffle less."""


def make_batches(examples: Sequence[E], size: int, epochs: int, seed: int) -> Iterator[list[E]]:
    """Batches of all examples, each epoch in another order; like lengths come together."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(examples))
        batches: list[list[int]] = []
        for start in range(0, len(order), size * POOL):
            pool = sorted(
                order[start : start + size * POOL].tolist(),
                key=lambda i: len(examples[i].prompt) + len(examples[i].reply),
            )
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        for batch in rng.permutation(len(batches)):
            yield [examples[i] for i in batches[batch]]


@dataclass(frozen=True)
class CompletionObjective(Objective):
    """Cross-entropy of the replies' tokens; `pad` fills up short rows.

    A reply's loss is the mean over its tokens, so that a long reply weighs as much as a short one.
    """

    pad: int

    def collate(self, examples: Sequence[Example]) -> Batch:
        """See `collate`."""
        return collate(examples, self.pad)

    def losses(self, network: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss, and token accuracy: the share of a reply's tokens that greedy decoding hits."""
        labels = batch["labels"]
        logits = self.logits(network, batch)
        nll = stable_nll(logits, labels)
        tokens = (labels != -100).sum(dim=1)
        token_accuracy = (logits.argmax(dim=-1) == labels).sum(dim=1) / tokens
        return nll.sum(dim=1) / tokens, token_accuracy

    def logits(self, network: Any, batch: Batch) -> torch.Tensor:
        """[n, K, vocabulary] what predicts the labels."""
        with known_padding(bool(batch["is_padded"])):
            return network(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                position_ids=batch["position_ids"],
                logits_to_keep=batch["labels"].shape[1],
                use_cache=False,
            ).logits

    def num_tokens(self, batch: Batch) -> int:
        """Tokens that are no padding."""
        return int(batch["attention_mask"].sum())


def stable_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log p of each label in fp32, 0 where the label is -100.

    As log(1 + sum of exp(x_j - x_label) over the other tokens j): so the gradient of a token that
    is nearly certain keeps its digits, which p - 1 loses.

    Args:
        logits: [..., vocabulary].
        labels: [...] token ids, or -100.
    """
    label = labels.clamp(min=0)[..., None]
    logits = logits.float()
    others = logits.scatter(-1, label, -torch.inf).logsumexp(dim=-1)
    nll = torch.nn.functional.softplus(others - logits.gather(-1, label)[..., 0])
    return nll.where(labels != -100, 0.0)


def collate(examples: Sequence[Example], pad: int) -> Batch:
    """input_ids, attention_mask, position_ids, all [n, T], and labels [n, K] of the last K columns.

    is_padded: whether a row is shorter than another, a number that stays on the host.
    Padded at the left, so that replies are the last columns. labels[i, j] is the token that column
    j predicts, or -100 where it predicts none of a reply.
    """
    longest = max(len(e.prompt) + len(e.reply) for e in examples)
    keep = max(len(e.reply) for e in examples) + 1
    tokens = torch.full((len(examples), longest), pad)
    mask = torch.zeros_like(tokens)
    labels = torch.full((len(examples), keep), -100)
    for row, example in enumerate(examples):
        ids = torch.tensor([*example.prompt, *example.reply])
        tokens[row, longest - len(ids) :] = ids
        mask[row, longest - len(ids) :] = 1
        reply = torch.tensor(example.reply)
        labels[row, keep - 1 - len(reply) : keep - 1] = reply
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    return {
        "input_ids": tokens,
        "attention_mask": mask,
        "position_ids": positions,
        "labels": labels,
        "is_padded": (mask == 0).any(),
    }
