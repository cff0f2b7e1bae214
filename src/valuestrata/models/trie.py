"""Token sequences packed as prefix trees, so that shared beginnings are computed once.

A row holds one tree: every distinct prefix is one node, which attends to its ancestors and itself
and sits at its depth. Nodes whose next-token logits are wanted come last in a row, rows are padded
at the left, so the wanted logits of a batch are its last columns.
Symbols: R rows, N nodes of the longest row, K wanted nodes of the row with most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

Tokens = tuple[int, ...]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """A prompt and the whole continuations to score after it."""

    prompt: Tokens
    options: tuple[Tokens, ...]


@dataclass
class Tree:
    """One row. token, parent, depth: a list each, by node; wanted: nodes whose logits are used.

    ends: for each item the node of the prompt's last token; paths: for each item and option the
    (node, next token) steps whose log-probabilities add up to the option's.
    """

    token: list[int]
    parent: list[int]
    depth: list[int]
    wanted: set[int]
    ends: list[int]
    paths: list[list[list[tuple[int, int]]]]
    children: dict[tuple[int, int], int]

    @classmethod
    def empty(cls) -> "Tree":
        """A tree without nodes."""
        return cls([], [], [], set(), [], [], {})

    def __len__(self) -> int:
        """Nodes."""
        return len(self.token)

    def walk(self, node: int, tokens: Tokens) -> int:
        """Add what is new of a path below `node` (-1 is above the root); return its last node."""
        for token in tokens:
            key = (node, token)
            found = self.children.get(key)
            if found is None:
                found = len(self.token)
                self.children[key] = found
                self.token.append(token)
                self.parent.append(node)
                self.depth.append(0 if node < 0 else self.depth[node] + 1)
            node = found
        return node

    def new_nodes(self, tokens: Tokens) -> int:
        """How many nodes a path from the root would add."""
        node = -1
        for i, token in enumerate(tokens):
            found = self.children.get((node, token))
            if found is None:
                return len(tokens) - i
            node = found
        return 0

    def add(self, item: Item) -> None:
        """Add an item. The last token of an option is predicted, never read, so it is no node."""
        end = self.walk(-1, item.prompt)
        self.ends.append(end)
        self.wanted.add(end)
        paths = []
        for option in item.options:
            node, steps = end, []
            for token in option[:-1]:
                steps.append((node, token))
                node = self.walk(node, (token,))
                self.wanted.add(node)
            steps.append((node, option[-1]))
            paths.append(steps)
        self.paths.append(paths)


def grow(items: Sequence[Item], row: int) -> list[tuple[Tree, list[int]]]:
    """Pack items into trees of about `row` nodes; items that share prefixes come together.

    Returns:
        Each tree with the positions of its items in `items`. Order depends on the items alone.
    """
    trees: list[tuple[Tree, list[int]]] = []
    tree = Tree.empty()
    own: list[int] = []
    for i in sorted(range(len(items)), key=lambda i: items[i].prompt):
        item = items[i]
        size = tree.new_nodes(item.prompt) + sum(map(len, item.options))
        if own and len(tree) + size > row:
            trees.append((tree, own))
            tree, own = Tree.empty(), []
        tree.add(item)
        own.append(i)
    if own:
        trees.append((tree, own))
    return trees


@dataclass(frozen=True)
class Batch:
    """Arrays of some trees. tokens, depth: [R, N]; attends: [R, N, N]; keep: K.

    place: for each tree, node -> column among the last K of its row.
    """

    tokens: Ints
    depth: Ints
    attends: NDArray[np.bool_]
    keep: int
    place: list[dict[int, int]]


def batch(trees: Sequence[Tree], pad: int) -> Batch:
    """Lay trees out as rows of one batch."""
    longest = max(map(len, trees))
    keep = max(len(tree.wanted) for tree in trees)
    tokens = np.full((len(trees), longest), pad, dtype=np.int64)
    depth = np.zeros((len(trees), longest), dtype=np.int64)
    # padding attends to itself alone, so that no row of the attention is empty
    attends = np.broadcast_to(np.eye(longest, dtype=bool), (len(trees), longest, longest)).copy()
    place = []
    for r, tree in enumerate(trees):
        rest = [node for node in range(len(tree)) if node not in tree.wanted]
        order = [*rest, *sorted(tree.wanted)]
        shift = longest - len(tree)
        tokens[r, shift:] = np.asarray(tree.token)[order]
        depth[r, shift:] = np.asarray(tree.depth)[order]
        attends[r, shift:, shift:] = _ancestors(tree)[np.ix_(order, order)]
        columns = {node: shift + i - (longest - keep) for i, node in enumerate(order)}
        place.append({node: columns[node] for node in tree.wanted})
    return Batch(tokens, depth, attends, keep, place)


@dataclass(frozen=True)
class Steps:
    """The steps of all options of some trees, one after the other.

    index: row, kept column and next token of each step [3, steps]; option: where each option's
    steps begin; options: how many options each item has.
    """

    index: Ints
    option: Ints
    options: list[int]


def steps(trees: Sequence[Tree], place: Sequence[dict[int, int]]) -> Steps:
    """What is read off the logits of a batch: items by tree, as each tree holds them."""
    index: list[tuple[int, int, int]] = []
    option: list[int] = []
    for r, tree in enumerate(trees):
        for path in (path for paths in tree.paths for path in paths):
            option.append(len(index))
            index += [(r, place[r][node], token) for node, token in path]
    options = [len(paths) for tree in trees for paths in tree.paths]
    return Steps(np.array(index, dtype=np.int64).T, np.array(option), options)


def mask(attends: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """[R, 1, N, N] what to add to the attention's scores, for every head.

    In the network's own dtype, as the memory-efficient kernels want it, and finite: an eager
    attention adds it as it is.
    """
    added = torch.zeros(attends.shape, dtype=dtype, device=attends.device)
    return added.masked_fill_(~attends, torch.finfo(dtype).min)[:, None]


def _ancestors(tree: Tree) -> NDArray[np.bool_]:
    """[n, n] whether a node attends to another: itself and its ancestors."""
    attends = np.zeros((len(tree), len(tree)), dtype=bool)
    parent = np.array(tree.parent)
    # runs of nodes each of which is the parent of the next; a parent comes before its children
    begins = np.flatnonzero(parent != np.arange(len(tree)) - 1)
    for begin, end in pairwise([0, *begins.tolist(), len(tree)]):
        if begin < end:
            if parent[begin] >= 0:
                attends[begin:end] = attends[parent[begin]]
            attends[begin:end, begin:end] = np.tri(end - begin, dtype=bool)
    return attends
