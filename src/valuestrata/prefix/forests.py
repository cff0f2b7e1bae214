"""Token sequences as prefix trees, so that shared beginnings are computed once.

Every distinct prefix is one node. A forest is a row of nodes in preorder: what lies below a node
follows it directly, up to the node's `end`, so that a node's ancestors are those whose span it lies
in. Rows are read in blocks (prefix/attention.py): all that the nodes of a block attend to are the
block itself and the ancestors of its first node.
Symbols: N nodes, S steps of all options, K nodes whose next-token logits are wanted; T nodes with
padding, B blocks of Q nodes each, M keys of a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]
Ints = NDArray[np.int64]

BLOCK = 64
"""Nodes of a block: what GPU kernels take at a time; wider blocks attend to more in vain."""
WIDE = 8
"""Keys of a forest at most, for each node that it may have: a long prompt widens every block."""


@dataclass(frozen=True)
class PrefixItem:
    """A prompt and the whole continuations to score after it."""

    prompt: Tokens
    options: tuple[Tokens, ...]


@dataclass(frozen=True)
class Forest:
    """Nodes in preorder, and the steps whose log-probabilities add up to the options'.

    token, depth: of each node [N]; end: the first node after those below each [N].
    before, follows: the node each step is predicted from and its token [S], by item, option and
    place in the option; lengths: steps of each option [options of all items].
    """

    token: Ints
    depth: Ints
    end: Ints
    before: Ints
    follows: Ints
    lengths: Ints

    def __len__(self) -> int:
        """Nodes."""
        return len(self.token)

    def path(self, node: int) -> Ints:
        """A node's ancestors from the root on, and itself."""
        return np.flatnonzero(self.end[: node + 1] > node)


@dataclass(frozen=True)
class Row:
    """A whole sequence of a forest, from its first token to a leaf, and the logits wanted of it.

    places: where in the sequence they stand [n]; columns: where among the forest's kept nodes [n].
    """

    tokens: Tokens
    places: tuple[int, ...]
    columns: tuple[int, ...]


def build_forest(items: Sequence[PrefixItem]) -> Forest:
    """The forest of some items. An option's last token is predicted, never read: it is no node."""
    read = [item.prompt + option[:-1] for item in items for option in item.options]
    order = sorted(range(len(read)), key=read.__getitem__)
    table = _table([read[i] for i in order])
    fresh = (table >= 0) & (np.arange(table.shape[1]) >= _shared(table)[:, None])
    row, depth = np.nonzero(fresh)
    node = np.full(table.shape, -1)
    node[fresh] = np.arange(len(row))
    # a prefix that an earlier row has already is the last one that began there
    node = np.maximum.accumulate(node, axis=0)
    inside = table >= 0
    last = np.zeros(len(row), dtype=np.int64)
    last[node[inside]] = np.nonzero(inside)[0]
    ends = np.append(np.searchsorted(row, np.arange(1, len(read))), len(row))

    place = np.empty(len(read), dtype=np.int64)
    place[order] = np.arange(len(read))
    lengths = np.array([len(option) for item in items for option in item.options])
    start = np.array([len(item.prompt) - 1 for item in items for _ in item.options])
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Forest(
        token=table[fresh],
        depth=depth,
        end=ends[last],
        before=node[np.repeat(place, lengths), np.repeat(start, lengths) + within],
        follows=np.array([token for item in items for option in item.options for token in option]),
        lengths=lengths,
    )


def pack(items: Sequence[PrefixItem], max_nodes: int) -> list[list[int]]:
    """Positions of items by forest, each of at most `max_nodes` nodes or of one item.

    Items that share beginnings come together; what comes together depends on the items alone. A
    forest with long paths has fewer nodes, since memory goes by the keys of all blocks.
    """
    if not items:
        return []
    order = sorted(range(len(items)), key=lambda i: items[i].prompt)
    shared = _shared(_table([items[i].prompt for i in order]))
    below = {options: _nodes(options) for options in {item.options for item in items}}
    parts: list[list[int]] = []
    nodes = longest = 0
    for i, repeated in zip(order, shared.tolist(), strict=True):
        size = len(items[i].prompt) + below[items[i].options]
        nodes, longest = nodes + size - repeated, max(longest, size)
        keys = nodes * (1 + longest / BLOCK)
        if not parts or nodes > max_nodes or keys > WIDE * max_nodes:
            parts.append([])
            nodes, longest = size, size
        parts[-1].append(i)
    return parts


def to_model_inputs(forest: Forest, pad: int) -> tuple[dict[str, Ints], Ints]:
    """What a network is given to read a forest, and the column of each step among the kept.

    Returns:
        input_ids, position_ids [1, T], in a whole number of blocks; keys: what a block attends to
        at most [B, M]; ends, depths: the end and depth of each key [B, M], 0 where there is none;
        kept: the nodes whose logits are wanted [K]. And the place in `kept` of each step [S].
    """
    nodes = len(forest)
    size = min(BLOCK, nodes)
    padded = -(-nodes // size) * size
    place = np.arange(padded)
    tokens, depth = np.full(padded, pad), np.zeros(padded, dtype=np.int64)
    tokens[:nodes], depth[:nodes] = forest.token, forest.depth
    # padding is trees of one node: nobody attends to it, and it attends to itself
    end = place + 1
    end[:nodes] = forest.end
    above = [forest.path(first)[:-1] for first in range(0, nodes, size)]
    keys = np.zeros((len(above), max(map(len, above)) + size), dtype=np.int64)
    ends = np.zeros_like(keys)
    keys[:, :size] = place.reshape(-1, size)
    ends[:, :size] = end.reshape(-1, size)
    for b, path in enumerate(above):
        keys[b, size : size + len(path)] = path
        ends[b, size : size + len(path)] = end[path]
    kept, column = np.unique(forest.before, return_inverse=True)
    inputs = {
        "input_ids": tokens[None],
        "position_ids": depth[None],
        "keys": keys,
        "ends": ends,
        "depths": depth[keys],
        "kept": kept,
    }
    return inputs, column


def steps_among(column: Ints, columns: Ints) -> tuple[Ints, Ints]:
    """Steps that are read from some of the kept nodes, and where among these each is [n].

    >>> steps_among(np.array([0, 1, 1, 2]), np.array([1, 2]))
    (array([1, 2, 3]), array([0, 0, 1]))
    """
    place = np.full(max(column.max(), columns.max()) + 1, -1)
    place[columns] = np.arange(len(columns))
    steps = np.flatnonzero(place[column] >= 0)
    return steps, place[column[steps]]


def to_rows(inputs: dict[str, Ints]) -> list[Row]:
    """The sequences that a forest stands for, each kept node in one of them.

    Args:
        inputs: made by `to_model_inputs`.
    """
    tokens, depth, kept = inputs["input_ids"][0], inputs["position_ids"][0], inputs["kept"]
    end = inputs["ends"][:, : len(tokens) // len(inputs["keys"])].ravel()
    leaves = np.flatnonzero(end == np.arange(len(tokens)) + 1)
    # in preorder, the first leaf from a node on lies below it
    leaf = leaves[np.searchsorted(leaves, kept)]
    rows = []
    for last in np.unique(leaf):
        columns = np.flatnonzero(leaf == last)
        path = np.flatnonzero(end[: last + 1] > last)
        rows.append(
            Row(
                tuple(tokens[path].tolist()),
                tuple(depth[kept[columns]].tolist()),
                tuple(columns.tolist()),
            )
        )
    return rows


def _table(rows: Sequence[Tokens]) -> Ints:
    """[rows, longest] token ids, -1 after a row's end."""
    lengths = np.array([len(row) for row in rows])
    table = np.full((len(rows), lengths.max()), -1)
    table[np.arange(lengths.max()) < lengths[:, None]] = [token for row in rows for token in row]
    return table


def _shared(table: Ints) -> Ints:
    """[rows] how many tokens each row begins with that the row before begins with, too."""
    same = (table[1:] == table[:-1]) & (table[1:] >= 0)
    return np.append(0, np.logical_and.accumulate(same, axis=1).sum(axis=1))


def _nodes(options: Sequence[Tokens]) -> int:
    """Nodes below a prompt with these options."""
    return len({option[:k] for option in options for k in range(1, len(option))})
