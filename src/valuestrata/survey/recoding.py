"""Recoding: cells of a column replaced before any other use of them."""

import re
from collections.abc import Mapping

import pandas as pd

from valuestrata.study.base import CODE


def recode_cells(plain: pd.Series, recode: Mapping[str, int | None]) -> pd.Series:
    """[N] cells, each replaced at most once; blank for null.

    A cell is found as it stands, else as the whole number that it is (`01` and `1,0` are 1), else
    without regard to case and spaces within.

    >>> cells = pd.Series(["89 or  Older", "01", "2", ""], dtype="string")
    >>> list(recode_cells(cells, {"89 or older": 89, "1": None, "": 0}))
    ['89', '', '2', '0']
    """
    if not recode:
        return plain
    texts = {_loose(text): new for text, new in reversed(list(recode.items()))}
    replaced = {}
    for cell in map(str, plain.unique()):
        for form, targets in ((cell, recode), (_whole_number(cell), recode), (_loose(cell), texts)):
            if form in targets:
                new = targets[form]
                replaced[cell] = "" if new is None else str(new)
                break
    return plain.map(lambda cell: replaced.get(cell, cell)).astype("string")


def text_keys(recode: Mapping[str, int | None], plain: pd.Series) -> pd.Series:
    """[N] whether a cell is one of the texts, not codes, that a recoding names."""
    texts = {_loose(text) for text in recode if not re.fullmatch(CODE, text)}
    named = [cell for cell in plain.unique() if _loose(cell) in texts]
    return plain.isin(named)


def _whole_number(cell: str) -> str:
    """A whole number in its plain form; the cell itself where it is none."""
    number = re.fullmatch(r"([-+]?)0*(\d+)(?:[.,]0+)?", cell)
    if not number:
        return cell
    return f"{'-' if number[1] == '-' and number[2] != '0' else ''}{number[2]}"


def _loose(text: str) -> str:
    return " ".join(text.casefold().split())
