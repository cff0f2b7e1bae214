"""Training batches as grids of personas x questions, whose shared beginnings are read once.

A plain batch holds pairs drawn at random and reads every prompt in full. A grid batch holds the
pairs of a few personas with a few questions. Laid out as prefix trees (models/trie.py), what the
prompts of one persona share (or those of one question, where that comes first) is read once. Losses
and gradients are those of the plain layout of the same pairs; which pairs come together differs.
Symbols: n replies of a batch, K tokens of the longest; R rows, N nodes of the longest row.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from valuestrata.models import loop, trie
from valuestrata.models.options import Pair

ROW = 512
"""Nodes of a row at most; longer rows share more and attend more."""


@dataclass(frozen=True)
class Grid(loop.Replies):
    """The objective `loop.Replies` over grid batches; `pad` fills up short rows."""

    def batches(
        self, examples: Sequence[Pair], size: int, epochs: int, seed: int
    ) -> Iterator[list[Pair]]:
        """Grids of all examples, each epoch other ones in another order.

        Personas and questions are dealt at random into parts of like size; a grid is every example
        of one part of both. It is at most `size` unless a pair is there twice, and smaller where a
        pair is not there.
        """
        rng = np.random.default_rng(seed)
        high, wide = shape(size)
        row = _codes([example.group for example in examples])
        column = _codes([example.question for example in examples])
        for _ in range(epochs):
            across = _dealt(rng, column.max() + 1, wide)
            grid = _dealt(rng, row.max() + 1, high)[row] * len(across) + across[column]
            order = np.argsort(grid, kind="stable")
            parts = np.split(order, np.flatnonzero(np.diff(grid[order])) + 1)
            for part in rng.permutation(len(parts)):
                yield [examples[i] for i in parts[part]]

    def collate(self, part: Sequence[loop.Example]) -> loop.Batch:
        """The batch as rows of trees, and where each reply's logits stand.

        input_ids and position_ids [R, N]; attends [R, N, N]; nodes [R]; keep: the columns of a row
        whose logits are kept; labels [n, K], -100 after a reply's end; row [n] and column [n, K]
        where the logits of the labels are, columns counted among those kept.
        """
        trees = trie.grow([trie.Item(e.prompt, (e.reply,)) for e in part], ROW)
        laid = trie.batch([tree for tree, _ in trees], self.pad)
        shape = (len(part), max(len(example.reply) for example in part))
        row, column = np.zeros(len(part), dtype=np.int64), np.zeros(shape, dtype=np.int64)
        labels = np.full(shape, -100)
        for r, ((tree, own), place) in enumerate(zip(trees, laid.place, strict=True)):
            for i, (steps,) in zip(own, tree.paths, strict=True):
                row[i] = r
                column[i, : len(steps)] = [place[node] for node, _ in steps]
                labels[i, : len(steps)] = [token for _, token in steps]
        longest = laid.tokens.shape[1]
        return {
            "input_ids": torch.from_numpy(laid.tokens),
            "position_ids": torch.from_numpy(laid.depth),
            "attends": torch.from_numpy(laid.attends),
            "nodes": torch.tensor([len(tree) for tree, _ in trees]),
            "keep": torch.arange(longest - laid.keep, longest),
            "row": torch.from_numpy(row),
            "column": torch.from_numpy(column),
            "labels": torch.from_numpy(labels),
        }

    def logits(self, network: Any, batch: loop.Batch) -> torch.Tensor:
        """[n, K, vocabulary] what predicts the labels."""
        kept = network(
            input_ids=batch["input_ids"],
            attention_mask=trie.mask(batch["attends"], network.dtype),
            position_ids=batch["position_ids"],
            logits_to_keep=batch["keep"],
            use_cache=False,
        ).logits
        return kept[batch["row"][:, None], batch["column"]]

    def read(self, batch: loop.Batch) -> int:
        """Nodes of the trees."""
        return int(batch["nodes"].sum())


def shape(size: int) -> tuple[int, int]:
    """How many personas and questions make a batch of `size`: as near to a square as divides it.

    >>> shape(32), shape(8), shape(7)
    ((4, 8), (2, 4), (1, 7))
    """
    personas = next(d for d in range(isqrt(size), 0, -1) if size % d == 0)
    return personas, size // personas


def _codes(names: Sequence[Hashable]) -> NDArray[np.int64]:
    """[n] each name's number in order of first appearance."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def _dealt(rng: np.random.Generator, things: int, most: int) -> NDArray[np.int64]:
    """[things] the part of each, in parts of at most `most` whose sizes differ by one at most."""
    return rng.permutation(things) * ceil(things / most) // things
