"""Training batches of personas x questions, whose shared beginnings are read once.

A plain batch holds pairs drawn at random. Here a batch holds the pairs of a few personas with a few
questions, so that laid out as a forest (prefix/forests.py), what the prompts of one persona share
(or those of one question, where that comes first) is read once. Losses and gradients are those of
the plain layout of the same pairs; which pairs come together differs.
Symbols: n replies of a batch, K tokens of the longest.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from valuestrata.prefix import attention, forests, forward
from valuestrata.training.completion import CompletionObjective
from valuestrata.training.examples import Example, Pair
from valuestrata.training.objective import Batch


def make_batches(
    examples: Sequence[Pair], size: int, epochs: int, seed: int
) -> Iterator[list[Pair]]:
    """Grids of all examples, each epoch other ones in another order.

    Personas and questions are divided at random into parts of like size; a grid is every example
    of one part of both. It is at most `size` unless a pair is there twice, and smaller where a
    pair is not there.
    """
    rng = np.random.default_rng(seed)
    n_personas, n_questions = grid_shape(size)
    row = _codes([example.group for example in examples])
    column = _codes([example.question for example in examples])
    for _ in range(epochs):
        across = _random_parts(rng, column.max() + 1, n_questions)
        down = _random_parts(rng, row.max() + 1, n_personas)
        grid = down[row] * len(across) + across[column]
        order = np.argsort(grid, kind="stable")
        batches = np.split(order, np.flatnonzero(np.diff(grid[order])) + 1)
        for batch in rng.permutation(len(batches)):
            yield [examples[i] for i in batches[batch]]


@dataclass(frozen=True)
class SharedPrefixObjective(CompletionObjective):
    """`CompletionObjective` with shared beginnings read once; `pad` fills up the last block."""

    reads_forests: ClassVar[bool] = True

    def collate(self, examples: Sequence[Example]) -> Batch:
        """The batch's forest, and where each reply's logits stand.

        The tensors of `forests.to_model_inputs`; nodes: how many there are; column, labels [n, K]:
        the kept logits of each reply's tokens, and the tokens, -100 after a reply's end.
        """
        forest = forests.build_forest([forests.PrefixItem(e.prompt, (e.reply,)) for e in examples])
        inputs, kept = forests.to_model_inputs(forest, self.pad)
        inside = np.arange(forest.lengths.max()) < forest.lengths[:, None]
        column, labels = np.zeros(inside.shape, dtype=np.int64), np.full(inside.shape, -100)
        column[inside], labels[inside] = kept, forest.follows
        return {
            **attention.tensors(inputs),
            "nodes": torch.tensor(len(forest)),
            "column": torch.from_numpy(column),
            "labels": torch.from_numpy(labels),
        }

    def logits(self, network: Any, batch: Batch) -> torch.Tensor:
        """[n, K, vocabulary] what predicts the labels."""
        return forward.forest_logits(network, batch, use_cache=False)[batch["column"]]

    def num_tokens(self, batch: Batch) -> int:
        """Nodes of the forest."""
        return int(batch["nodes"])


def grid_shape(size: int) -> tuple[int, int]:
    """How many personas and questions make a batch of `size`: as near to a square as divides it.

    >>> grid_shape(32), grid_shape(8), grid_shape(7)
    ((4, 8), (2, 4), (1, 7))
    """
    personas = next(d for d in range(isqrt(size), 0, -1) if size % d == 0)
    return personas, size // personas


def _codes(names: Sequence[Hashable]) -> NDArray[np.int64]:
    """[n] each name's number in order of first appearance."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def _random_parts(rng: np.random.Generator, things: int, most: int) -> NDArray[np.int64]:
    """[things] the part of each, in parts of at most `most` whose sizes differ by one at most."""
    return rng.permutation(things) * ceil(things / most) // things
