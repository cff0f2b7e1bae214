"""Which pairs open-ended questions are asked of: all, or some of each subgroup. Pure.

A subgroup's draw depends on its own name, its questions and the seed, so that another subgroup or
stratum changes nothing. Where it is stratified by conflict it depends on the questions' scores,
too: a question whose third has changed may enter or leave a draw.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.errors import InputError
from valuestrata.provenance import text_digest

DIVISIVE, UNIFYING, BETWEEN = range(3)
"""Thirds of the questions by conflict score, in the order in which they are drawn from."""


def draw_pairs(
    pairs: pd.DataFrame,
    seed: int,
    per_subgroup: int | None,
    per_block: int | None = None,
    thirds: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """The pairs that are drawn, in their order.

    Args:
        pairs: stratum, subgroup, question and block of each.
        seed: of the draw.
        per_subgroup: most pairs of a subgroup; None for all.
        per_block: most pairs of a subgroup in a block; None for all.
        thirds: of `conflict_thirds`: a subgroup's questions are drawn from the divisive third, the
            unifying one and the one between in turn.
    """
    rows = []
    for (stratum, subgroup), group in pairs.groupby(["stratum", "subgroup"], sort=False):
        entropy = [int(text_digest([str(stratum), str(subgroup)])[:8], 16), seed]
        order = np.random.default_rng(entropy).permutation(len(group))
        if thirds is not None:
            order = order[_in_turn(group["question"].iloc[order].map(thirds))]
        if per_block is not None:
            order = order[_rank(group["block"].iloc[order]) < per_block]
        rows.append(group.iloc[np.sort(order[:per_subgroup])])
    return pd.concat(rows, ignore_index=True)


def conflict_thirds(scores: Mapping[str, float], questions: Sequence[str]) -> dict[str, int]:
    """The third that each question is in by its conflict score; between, where it has none.

    Args:
        scores: of questions, higher where subgroups disagree more.
        questions: those that are asked.

    Raises:
        InputError: too few questions, or too few different scores, to tell thirds apart.

    >>> conflict_thirds({"a": 0.1, "b": 0.9, "c": 0.4}, ["a", "b", "c"])
    {'a': 1, 'b': 0, 'c': 2}
    """
    scored = [name for name in questions if not np.isnan(scores.get(name, np.nan))]
    ranked = sorted(scored, key=lambda name: scores[name])
    size = len(ranked) // 3
    if size == 0 or scores[ranked[size - 1]] >= scores[ranked[-size]]:
        raise InputError(
            f"generation.stratify_by: the conflict scores of {len(ranked)} questions do not tell "
            "divisive from unifying ones; ask more questions, or set stratify_by: none"
        )
    ends = dict.fromkeys(ranked[:size], UNIFYING) | dict.fromkeys(ranked[-size:], DIVISIVE)
    return {name: ends.get(name, BETWEEN) for name in questions}


def _in_turn(thirds: pd.Series) -> NDArray[np.integer]:
    """Positions of questions, one of each third after the other."""
    return np.lexsort((thirds.to_numpy(), _rank(thirds)))


def _rank(values: pd.Series) -> NDArray[np.integer]:
    """How many equal values come before each."""
    return values.groupby(values, sort=False).cumcount().to_numpy()
