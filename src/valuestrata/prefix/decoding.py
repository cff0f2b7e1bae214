"""Texts in batches, written over keys and values whose room is set aside once.

A batch begins behind the nodes of a forest that was read (prefix/forests.py), or behind prompts
that are padded at the left. Each step reads one token of every row; nothing is done row by row in
Python, and nothing is copied but the new token's keys and values. A row that has ended gives its
place to the last one, so that what is moved in all is at most the batch.
Symbols: n rows, P places before the first new token, R new tokens at most, V tokens in all.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from valuestrata.prefix import plain
from valuestrata.prefix.forests import Ints, Tokens
from valuestrata.prefix.padding import known_padding

STEPS = 8
"""Steps of a GPU between two looks at which rows have ended; each look waits for the device."""

Choose = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
"""Logits of the live rows [n, V], their numbers in the batch [n], the step -> their tokens [n]."""


class _Slots(DynamicLayer):  # type: ignore[misc]
    """A layer's keys and values [n, heads, P + R, size of a head], filled from the left."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.is_initialized: bool = False
        self.room = room
        self.filled = 0
        self.rows = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in new places; what all filled places hold."""
        if not self.is_initialized:
            self.rows = len(key_states)
            self.keys, self.values = (self._empty(side) for side in (key_states, value_states))
            self.is_initialized = True
        begin, self.filled = self.filled, self.filled + key_states.shape[-2]
        self.keys[: self.rows, :, begin : self.filled] = key_states
        self.values[: self.rows, :, begin : self.filled] = value_states
        return (
            self.keys[: self.rows, :, : self.filled],
            self.values[: self.rows, :, : self.filled],
        )

    def take_in(self, states: Sequence[tuple[torch.Tensor, torch.Tensor]], places: int) -> None:
        """Fill so many places with rows of several batches, each up to the right."""
        if not states:
            return
        self.filled, self.rows = places, sum(len(keys) for keys, _ in states)
        self.keys, self.values = (self._empty(side) for side in states[0])
        self.is_initialized = True
        start = 0
        for pair in states:
            for side, given in zip((self.keys, self.values), pair, strict=True):
                side[start : start + len(given), :, places - given.shape[2] : places] = given
                # nobody attends to what is left of them, but no number there may spoil a product
                side[start : start + len(given), :, : places - given.shape[2]] = 0
            start += len(pair[0])

    def get_seq_length(self) -> int:
        """Places that are filled."""
        return self.filled

    def move(self, holes: torch.Tensor, movers: torch.Tensor) -> None:
        """Put the rows at `movers` where rows have ended; behind them nobody is left."""
        for side in (self.keys, self.values):
            side[holes.to(side.device)] = side[movers.to(side.device)]

    def _empty(self, states: torch.Tensor) -> torch.Tensor:
        _, heads, _, size = states.shape
        return states.new_empty((self.rows, heads, self.room, size))


@dataclass
class Batch:
    """Rows that are written on.

    Attributes:
        cache: keys and values of what was read.
        mask: which places count, of each row [n, P + R]; those to come do.
        position: of the next token in its own sequence [n].
        token: the last one, which was not read yet [n].
        is_padded: whether a place of the mask may not count; the host knows it, and never asks.
    """

    cache: Any
    mask: torch.Tensor
    position: torch.Tensor
    token: torch.Tensor
    is_padded: bool

    @property
    def filled(self) -> int:
        """Places that were read."""
        return int(self.cache.get_seq_length())

    def keep(self, n_live: int, holes: torch.Tensor, movers: torch.Tensor) -> None:
        """Let the rows at `movers` take the places of those that ended, and drop what is behind."""
        for side in (self.mask, self.position, self.token):
            side[holes] = side[movers]
        self.mask, self.position, self.token = (
            side[:n_live] for side in (self.mask, self.position, self.token)
        )
        for layer in self.cache.layers:
            if layer.is_initialized:
                layer.move(holes, movers)
            layer.rows = n_live


@dataclass(frozen=True)
class Stems:
    """What was read of some texts that go on behind nodes of a forest.

    Attributes:
        states: of each layer, keys and values [n, heads, P, size of a head], to the right; None
            where a layer has none of its own.
        lengths: places of each [n].
        tokens: what follows behind them [n].
    """

    states: list[tuple[torch.Tensor, torch.Tensor] | None]
    lengths: list[int]
    tokens: list[int]


def stems(past: Any, paths: Sequence[Ints], tokens: Sequence[int]) -> Stems:
    """Texts that go on behind nodes of a forest.

    Args:
        past: the cache of the pass that read the forest, one row.
        paths: of each text, the nodes from the root to the one that it goes on from.
        tokens: what follows there.
    """
    nodes = np.zeros((len(paths), max(map(len, paths))), dtype=np.int64)
    for row, path in enumerate(paths):
        nodes[row, nodes.shape[1] - len(path) :] = path
    flat = torch.from_numpy(nodes.ravel())

    def taken(side: torch.Tensor) -> torch.Tensor:
        chosen = side[0].index_select(1, flat.to(side.device))
        return chosen.unflatten(1, nodes.shape).transpose(0, 1)

    states = [
        (taken(layer.keys), taken(layer.values)) if layer.is_initialized else None
        for layer in past.layers
    ]
    return Stems(states, [len(path) for path in paths], list(tokens))


def after_stems(parts: Sequence[Stems], room: int, device: torch.device) -> Batch:
    """One batch of stems of several forests.

    Args:
        parts: they are put below one another.
        room: new tokens at most.
        device: where the network begins.
    """
    lengths = torch.tensor([n for part in parts for n in part.lengths])
    places = int(lengths.max())
    mask = torch.arange(places + room) >= places - lengths[:, None]
    layers = []
    for states in zip(*(part.states for part in parts), strict=True):
        layer = _Slots(places + room)
        layer.take_in([pair for pair in states if pair is not None], places)
        layers.append(layer)
    tokens = torch.tensor([token for part in parts for token in part.tokens])
    return Batch(
        Cache(layers=layers),
        mask.long().to(device),
        lengths.to(device),
        tokens.to(device),
        is_padded=bool((lengths < places).any()),
    )


def after_prompts(
    network: Any, prompts: Sequence[Tokens], pad: int, room: int
) -> tuple[Batch, torch.Tensor]:
    """A batch behind prompts, which are read here, and the logits behind each [n, V].

    The batch's `token` is still to be chosen from them.
    """
    longest = max(map(len, prompts))
    is_padded = min(map(len, prompts)) < longest
    ids = torch.full((len(prompts), longest), pad)
    mask = torch.ones((len(prompts), longest + room), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, : longest - len(prompt)] = 0
    ids, mask = ids.to(network.device), mask.to(network.device)
    positions = (mask[:, :longest].cumsum(dim=1) - 1).clamp(min=0)
    cache = Cache(layer_class_to_replicate=partial(_Slots, longest + room))
    with known_padding(is_padded):
        out = network(
            input_ids=ids,
            attention_mask=mask[:, :longest],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **plain.keep_last(network, 1),
        )
    return Batch(cache, mask, positions[:, -1] + 1, ids[:, -1], is_padded), out.logits[:, -1]


def read_token(network: Any, batch: Batch) -> torch.Tensor:
    """Read the last token of every row; the logits behind it [n, V]."""
    with known_padding(batch.is_padded):
        out = network(
            input_ids=batch.token[:, None],
            attention_mask=batch.mask[:, : batch.filled + 1],
            position_ids=batch.position[:, None],
            past_key_values=batch.cache,
            use_cache=True,
        )
    batch.position = batch.position + 1
    logits: torch.Tensor = out.logits[:, -1]
    return logits


def greedy(logits: torch.Tensor, *_: Any) -> torch.Tensor:
    """The likeliest token of each row [n]; a tie goes to the lowest."""
    return logits.float().argmax(dim=-1)


@torch.no_grad()
def write(
    network: Any,
    batch: Batch,
    rooms: Sequence[int],
    ends: Collection[int],
    choose: Choose = greedy,
) -> list[list[int]]:
    """What is written behind each row's token, up to its end or as many tokens as it has room for.

    Args:
        network: with an adapter or without.
        batch: is used up.
        rooms: new tokens of each row at most.
        ends: tokens that end a text.
        choose: the next tokens.
    """
    device = batch.token.device
    room = torch.tensor(rooms, device=device)
    rows = torch.arange(len(rooms), device=device)
    stops = torch.tensor(sorted(ends), device=device)
    written = torch.full((len(rooms), max(rooms, default=0)), -1, device=device)
    look = 1 if device.type == "cpu" else STEPS
    ended = torch.isin(batch.token, stops) | (room <= 0)
    for step in range(written.shape[1]):
        if step % look == 0:
            live = ended.logical_not().nonzero().flatten()
            n_live = len(live)
            if not n_live:
                break
            if n_live < len(ended):
                holes, movers = ended[:n_live].nonzero().flatten(), live[live >= n_live]
                batch.keep(n_live, holes, movers)
                rows[holes] = rows[movers]
                rows, ended = rows[:n_live], ended.new_zeros(n_live)
        logits = read_token(network, batch)
        batch.token = choose(logits, rows, step).to(device)
        written[rows, step] = batch.token
        ended = ended | torch.isin(batch.token, stops) | (step + 1 >= room[rows])
    return [upto(tokens[:n], ends) for tokens, n in zip(written.tolist(), rooms, strict=True)]


def upto(tokens: Sequence[int], ends: Collection[int]) -> list[int]:
    """Tokens up to the first that ends a text, and that one; below 0 there is none any more."""
    kept = list(takewhile(lambda token: token >= 0, tokens))
    end = next((i for i, token in enumerate(kept) if token in ends), len(kept))
    return kept[: end + 1]
