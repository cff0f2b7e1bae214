"""Survey weights: what they are relative to each other, and who has none."""

from collections.abc import Iterable
from typing import Literal

import pandas as pd

from valuestrata.errors import InputError
from valuestrata.survey.decimals import comma_notices, with_points
from valuestrata.survey.groups import BLANK

SHOWN = 3
"""Cells that a message shows."""


def relative_weights(
    cells: pd.Series, blank_weight: Literal["refuse", "drop"], where: str
) -> tuple[pd.Series, list[str]]:
    """[n] weights with mean 1 of the respondents that have one, by their index; and notices.

    Respondents of weight 0 are left out and, where `blank_weight` says so, those without a weight.

    Args:
        cells: [N] plain cells of the column of weights.
        blank_weight: whether a blank cell is refused, or drops the respondent.
        where: what a message calls the column.

    Raises:
        InputError: one line with each kind of bad weight, how many there are, and what to do.
    """
    blank = cells.isin(BLANK)
    number = pd.to_numeric(with_points(cells.mask(blank, "")).replace("", pd.NA), errors="coerce")
    weight = number.astype("float64")
    text = (weight.isna() | weight.abs().eq(float("inf"))) & ~blank
    _refuse(cells, {"text": text, "negative": weight < 0}, where)
    if blank.any() and blank_weight == "refuse":
        raise InputError(
            f"{where}: {int(blank.sum())} of {len(cells)} respondents have no weight (a blank "
            "cell); survey.blank_weight: drop leaves them out, survey.weight: null weighs all the "
            "same, or name another column of weights"
        )
    kept = weight[weight > 0]
    if kept.empty:
        raise InputError(f"{where}: no weight is above 0; is this the column of weights?")
    relative = kept / kept.max()
    return relative / relative.mean(), list(_notices(cells, weight, blank))


def _refuse(cells: pd.Series, bad: dict[str, pd.Series], where: str) -> None:
    """Refuse weights that are no numbers or below 0."""
    reasons = [
        f"{int(rows.sum())} {'are no number' if kind == 'text' else 'are negative'} "
        f"({_shown(cells[rows].unique())})"
        for kind, rows in bad.items()
        if rows.any()
    ]
    if reasons:
        comma = (
            "; write decimals with a point" if cells[bad["text"]].str.contains(",").any() else ""
        )
        raise InputError(
            f"{where}: of {len(cells)} weights {' and '.join(reasons)}{comma}; correct them in the "
            "file, leave those rows out by survey.filter, or name another column of weights"
        )


def _notices(cells: pd.Series, weight: pd.Series, blank: pd.Series) -> Iterable[str]:
    yield from comma_notices(cells)
    for reason, rows in (("weight 0", weight == 0), ("no weight", blank)):
        if rows.any():
            n = f"{int(rows.sum())} of {len(cells)}"
            yield f"column {cells.name}: {n} respondents have {reason} and are left out"


def _shown(texts: Iterable[str]) -> str:
    every = [repr(str(text)) for text in texts]
    return ", ".join(every[:SHOWN]) + (", ..." if len(every) > SHOWN else "")
