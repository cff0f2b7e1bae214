"""Divides pairs, questions or subgroups into parts that no other setting moves.

A unit's part is a hash of its name, so a pair stays in its part when a stratum, a question or
a respondent is added, and two splits that divide alike agree on every unit.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from valuestrata.study.splits import Fold


def in_fold(fold: Fold, subgroups: Sequence[str], questions: Sequence[str]) -> NDArray[np.bool_]:
    """[S, Q] whether a fold keeps the pair of a subgroup and a question."""
    subgroups = [_sorted_axes(name) for name in subgroups]
    parts = fold.parts()
    shape = (len(subgroups), len(questions))
    if fold.unit == "question":
        kept = np.array([_part(fold, name) in parts for name in questions], dtype=bool)
        return np.broadcast_to(kept[None], shape)
    if fold.unit == "subgroup":
        kept = np.array([_part(fold, name) in parts for name in subgroups], dtype=bool)
        return np.broadcast_to(kept[:, None], shape)
    pairs = [[_part(fold, f"{s}\n{q}") in parts for q in questions] for s in subgroups]
    return np.array(pairs, dtype=bool).reshape(shape)


def _part(fold: Fold, unit: str) -> int:
    digest = hashlib.sha256(f"{fold.seed}\n{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % fold.of


def _sorted_axes(subgroup: str) -> str:
    """A subgroup's name with its axes sorted: of age x sex as of sex x age."""
    return " & ".join(sorted(subgroup.split(" & ")))
