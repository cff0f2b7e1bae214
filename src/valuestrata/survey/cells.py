"""From a column's cells, as text, to ids, weights, groups and answer codes."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from valuestrata.errors import InputError
from valuestrata.study.survey import Axis
from valuestrata.survey import groups
from valuestrata.survey.codebook import Question
from valuestrata.survey.empty_groups import held_values
from valuestrata.survey.missing import MissingCodes
from valuestrata.survey.table import ColumnLabels, FileLabels, cell
from valuestrata.survey.undeclared import undeclared_codes
from valuestrata.survey.value_labels import comparable

MAX_CODE = 32_767
"""Largest answer code: what two bytes hold."""


def text_cells(cells: pd.Series) -> pd.Series:
    """A column as text; what is missing is empty."""
    if isinstance(cells.dtype, pd.StringDtype):
        return cells
    codes, values = pd.factorize(cells)
    texts = np.array([*map(cell, values), ""], dtype=object)
    return pd.Series(texts[codes], index=cells.index, dtype="string")


def plain_cells(cells: pd.Series) -> pd.Series:
    """Cells without blanks, and integers written as 702.0 as 702."""
    return cells.str.strip().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def without_declared_missing(
    cells: pd.Series, file_labels: FileLabels, named: Iterable[str]
) -> pd.Series:
    """Cells without the codes that the file declares missing, but for those the study names."""
    ranges = file_labels.get(str(cells.name), ColumnLabels()).missing
    if not ranges:
        return cells
    plain = plain_cells(cells)
    number = pd.to_numeric(plain, errors="coerce")
    missing = pd.Series(False, index=cells.index)
    for low, high in ranges:
        missing |= number.between(low, high).fillna(False).astype(bool)
    return cells.mask(missing & ~plain.isin(list(named)), "")


def respondents(cells: pd.Series, path: Path | str) -> pd.Series:
    """[N] ids; blank and duplicate ones are refused."""
    respondent = plain_cells(cells)
    blank = int((respondent == "").sum())
    if blank:
        raise InputError(
            f"{path}: column {cells.name}: {blank} respondents have no id; "
            "drop those rows, or name the column that identifies them"
        )
    duplicates = respondent[respondent.duplicated()]
    if len(duplicates):
        raise InputError(
            f"{path}: column {cells.name}: {len(duplicates)} respondents share an id; "
            "keep one row each, or name the column that identifies them"
        )
    return respondent


def group_of_each(
    plain: pd.Series, labels: Mapping[str, str] | None, axis: Axis, where: str
) -> pd.Series:
    """[N] label of each cell's group, by code or, without labels, by band; missing for none."""
    if labels is not None:
        return plain.map(dict(labels)).astype("string")
    number = numbers(plain)
    text = number.isna() & ~plain.str.upper().isin([blank.upper() for blank in groups.BLANK])
    if text.any():
        raise InputError(
            f"{where}: bands need numbers; no number is {held_values(plain[text])}: say what each "
            f"is, or null for none, by survey.recode: {{{plain.name}: {{{plain[text].iloc[0]!r}: "
            "NUMBER}}"
        )
    bands = np.asarray(axis.bands)
    if axis.upper_bound is not None:
        number = number.mask(number > axis.upper_bound)
    position = np.searchsorted(bands, number.fillna(bands[0] - 1).to_numpy(), side="right") - 1
    names = np.array([*axis.names(), ""], dtype=object)[position]
    return pd.Series(names, index=plain.index, dtype="string").replace("", pd.NA)


def band_notices(name: str, plain: pd.Series, axis: Axis) -> list[str]:
    """What the last band of an axis takes without a bound, or what its bound leaves out."""
    if axis.bands is None:
        return []
    number = numbers(plain)
    bound = axis.upper_bound
    last = number[number >= axis.bands[-1]] if bound is None else number[number > bound]
    if last.empty:
        return []
    largest = f"the largest is {last.max():g} ({int((last == last.max()).sum())} of them)"
    if bound is not None:
        return [
            f"axis {name}: {len(last)} respondents are above its upper_bound {bound} and in no "
            f"group; {largest}"
        ]
    return [
        f"axis {name}: the open band {axis.names()[-1]!r} takes {len(last)} respondents, every "
        f"number from {axis.bands[-1]}; {largest}: set survey.axes.{name}.upper_bound, and declare "
        "codes that mean no answer missing"
    ]


def numbers(plain: pd.Series) -> pd.Series:
    """[N] numbers, missing where a cell has none."""
    return pd.to_numeric(plain.where(plain != ""), errors="coerce")


def without_missing(plain: pd.Series, missing: MissingCodes) -> pd.Series:
    """[N] cells, blank where they hold a code or a text that means no answer."""
    no_answer = {text for text in plain.unique() if comparable(str(text)) in missing.texts}
    return plain.mask(plain.isin([*map(str, missing.codes), *no_answer]), "")


def answer_codes(
    plain: pd.Series, missing: Iterable[int], question: Question, where: str
) -> pd.Series:
    """[N] answer codes; missing where there is no answer."""
    blank = plain.isin(groups.BLANK)
    number = pd.to_numeric(plain.where(~blank), errors="coerce")
    finite = number[np.isfinite(number.astype("float64"))]
    if (finite % 1 != 0).any():
        raise InputError(f"{where}: holds fractions; answer codes are whole numbers")
    too_large = number[number.abs() > MAX_CODE]
    if len(too_large):
        raise InputError(
            f"{where}: {too_large.iloc[0]:g} is no answer code (at most {MAX_CODE}); "
            "is this the column of a question?"
        )
    codes = number.astype("Int16")
    codes = codes.mask(codes.isin(list(missing)).fillna(False))
    undeclared = undeclared_codes(map(int, codes.dropna().unique()), question)
    negative = [code for code in undeclared if code < 0]
    if negative:
        raise InputError(
            f"{where}: code {negative[-1]} is neither an answer nor declared missing; "
            "add it to survey.missing or to survey.recode"
        )
    return codes
