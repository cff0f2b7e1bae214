"""Forests (prefix/forests.py) in plain passes: every sequence as a row of its own.

It takes longer than one pass and asks nothing of a network: rows of one length are read together,
so that nothing is padded and nothing is masked but what comes later.
Symbols as in prefix/forests.py.
"""

import inspect
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

from valuestrata.prefix.forests import Ints, Row, Tokens, to_rows


def base_of(network: Any) -> Any:
    """The network without the adapter around it."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def forest_slabs(
    network: Any, inputs: dict[str, torch.Tensor], slab: int
) -> Iterator[tuple[Ints, torch.Tensor]]:
    """Columns of a forest's kept nodes [n] and their logits [n, vocabulary], `slab` at most.

    A pass reads as many tokens as the forest has nodes at most, or one row. A row has all its
    logits in one slab.
    """
    rows = to_rows({name: tensor.cpu().numpy() for name, tensor in inputs.items()})
    yield from _row_slabs(network, rows, inputs["input_ids"].shape[1], slab)


def row_logits(network: Any, rows: Sequence[Row], max_tokens: int) -> torch.Tensor:
    """Logits at the places of some rows [K, vocabulary], in the order of their columns."""
    columns, parts = zip(*_row_slabs(network, rows, max_tokens, max_tokens), strict=True)
    return torch.cat(parts)[torch.from_numpy(np.concatenate(columns)).argsort()]


def _row_slabs(
    network: Any, rows: Sequence[Row], max_tokens: int, slab: int
) -> Iterator[tuple[Ints, torch.Tensor]]:
    for part in batches([row.tokens for row in rows], max_tokens):
        chosen = [rows[i] for i in part]
        kept = len(chosen[0].tokens) - min(min(row.places) for row in chosen)
        size = max(1, slab // kept)
        for start in range(0, len(chosen), size):
            together = chosen[start : start + size]
            logits = _last_logits(network, [row.tokens for row in together], kept)
            from_end = [torch.tensor(row.places) - len(row.tokens) for row in together]
            picked = [
                of_row[places.to(of_row.device)]
                for of_row, places in zip(logits, from_end, strict=True)
            ]
            yield np.concatenate([row.columns for row in together]), torch.cat(picked)


def batches(
    sequences: Sequence[Tokens], max_tokens: int, new_tokens: int = 0
) -> Iterator[list[int]]:
    """Positions of sequences of one length by batch, of `max_tokens` at most or one sequence.

    `new_tokens` are written behind each and counted.
    """
    order = sorted(range(len(sequences)), key=lambda i: (len(sequences[i]), sequences[i]))
    for length, of_length in groupby(order, key=lambda i: len(sequences[i])):
        same = list(of_length)
        size = max(1, max_tokens // (length + new_tokens))
        for start in range(0, len(same), size):
            yield same[start : start + size]


def like_batches(
    sequences: Sequence[Tokens], max_tokens: int, new_tokens: int
) -> Iterator[list[int]]:
    """As `batches`, but of like lengths, the shorter ones to be padded."""
    order = sorted(range(len(sequences)), key=lambda i: (len(sequences[i]), sequences[i]))
    start = 0
    while start < len(order):
        size = max(1, max_tokens // (len(sequences[order[start]]) + new_tokens))
        yield order[start : start + size]
        start += size


def keep_last(network: Any, kept: int) -> dict[str, int]:
    """The option that spares the logits of all but the last places, where a network has it."""
    names = inspect.signature(base_of(network).forward).parameters
    return {"logits_to_keep": kept} if "logits_to_keep" in names else {}


def _last_logits(network: Any, sequences: Sequence[Tokens], kept: int) -> torch.Tensor:
    """Logits at the last places of sequences of one length [n, kept, vocabulary]."""
    ids = torch.tensor(sequences, device=network.device)
    out = network(input_ids=ids, use_cache=False, **keep_last(network, kept))
    logits: torch.Tensor = out.logits[:, -kept:]
    return logits
