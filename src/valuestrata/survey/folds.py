"""Cuts pairs, questions or subgroups into parts that no other setting moves.

A unit's part is a hash of its name, so a pair stays in its part when a stratum, a question or
a respondent is added, and two splits that are cut alike agree on every unit.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from valuestrata.specs import Fold


def kept(fold: Fold, subgroups: Sequence[str], questions: Sequence[str]) -> NDArray[np.bool_]:
    """[S, Q] whether a fold keeps the pair of a subgroup and a question."""
    people = [_in_any_order(name) for name in subgroups]
    parts = fold.parts()
    if fold.unit == "question":
        own = np.array([_part(fold, name) in parts for name in questions], dtype=bool)
        return np.repeat(own[None], len(people), axis=0)
    if fold.unit == "subgroup":
        own = np.array([_part(fold, name) in parts for name in people], dtype=bool)
        return np.repeat(own[:, None], len(questions), axis=1)
    pairs = [[_part(fold, f"{who}\n{asked}") in parts for asked in questions] for who in people]
    return np.array(pairs, dtype=bool).reshape(len(people), len(questions))


def _part(fold: Fold, unit: str) -> int:
    said = hashlib.sha256(f"{fold.seed}\n{unit}".encode()).digest()
    return int.from_bytes(said[:8], "big") % fold.of


def _in_any_order(subgroup: str) -> str:
    """A subgroup's name with its axes sorted: of age x sex as of sex x age."""
    return " & ".join(sorted(subgroup.split(" & ")))
