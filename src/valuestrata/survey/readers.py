"""From a survey's csv file to respondents with weight, axes and answer codes.

Only the columns that a study uses are read, in slices, and rows of other countries are dropped as
they come, so a cross-national file never stands in memory whole.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from valuestrata.errors import InputError
from valuestrata.specs import Axis, Clean
from valuestrata.survey.codebook import Question

SLICE = 20_000
"""Rows of the file held at a time."""
LARGEST = 32_767
"""Largest answer code: what two bytes hold."""


def read(path: Path | str, spec: Clean, questions: Sequence[Question]) -> pd.DataFrame:
    """Read and clean a survey.

    Returns:
        One row a respondent kept: respondent, weight (mean 1), one column an axis (label or
        missing), one column a question (code or missing).

    Raises:
        InputError: one line with file, column and remedy.
    """
    twice = sorted(set(spec.axes) & {q.question for q in questions})
    if twice:
        raise InputError(f"survey.axes.{twice[0]}: a question has the same name; rename the axis")
    raw = _raw(Path(path), spec, [q.question for q in questions])
    respondent = _respondents(raw[spec.respondent], path)
    columns: dict[str, pd.Series] = {
        "respondent": respondent,
        "weight": _weights(raw, spec, path),
    }
    for name, axis in spec.axes.items():
        columns[name] = _groups(raw[axis.column], axis, f"{path}: column {axis.column}")
        if columns[name].isna().all():
            raise InputError(
                f"{path}: column {axis.column}: no row falls in a group of axis {name}; "
                f"it holds {_sample(raw[axis.column])}"
            )
    for question in questions:
        where = f"{path}: column {question.question}"
        recode = spec.recode.get(question.question, {})
        columns[question.question] = _codes(raw[question.question], recode, spec.missing, where)
    return pd.DataFrame(columns)


def observed(responses: pd.DataFrame, question: Question) -> tuple[list[int], list[str]]:
    """Codes of a question, of its scale and others that occur, ascending; and their labels."""
    seen = {int(code) for code in responses[question.question].dropna().unique()}
    codes = sorted(seen | set(range(question.lowest, question.highest + 1)))
    labels = {**question.labels, **question.extra}
    return codes, [labels.get(code, "") for code in codes]


def _raw(path: Path, spec: Clean, questions: list[str]) -> pd.DataFrame:
    needed = list(
        dict.fromkeys(
            [
                spec.respondent,
                *([spec.weight] if spec.weight else []),
                *spec.filter,
                *(axis.column for axis in spec.axes.values()),
                *questions,
            ]
        )
    )
    try:
        # index_col: a row that ends in a stray delimiter must not shift the columns
        shape: dict[str, Any] = {
            "sep": spec.delimiter,
            "encoding": "utf-8-sig",
            "index_col": False,
            "engine": "c",
        }
        header = pd.read_csv(path, nrows=0, **shape)
        absent = [name for name in needed if name not in header.columns]
        if absent:
            only = len(header.columns) == 1
            hint = "is survey.delimiter right?" if only else "check the study's column names"
            raise InputError(
                f"{path}: no column {absent[0]} ({len(absent)} of {len(needed)} missing); {hint}"
            )
        as_text: dict[str, Any] = {"usecols": needed, "dtype": "string", "keep_default_na": False}
        slices = pd.read_csv(path, chunksize=SLICE, **as_text, **shape)
        kept = [_filtered(part, spec) for part in slices]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:  # pandas' own errors and Unicode's are ValueErrors
        raise InputError(f"{path}: not a readable csv file: {str(error).splitlines()[0]}") from None
    raw = pd.concat(kept, ignore_index=True) if kept else header
    if raw.empty:
        raise InputError(f"{path}: no row is left after survey.filter {spec.filter or ''}".rstrip())
    return raw


def _filtered(part: pd.DataFrame, spec: Clean) -> pd.DataFrame:
    keep = pd.Series(True, index=part.index)
    for column, values in spec.filter.items():
        keep &= _plain(part[column]).isin(list(values))
    return part[keep]


def _plain(cells: pd.Series) -> pd.Series:
    """Cells without blanks, and integers written as 702.0 as 702."""
    return cells.str.strip().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def _respondents(cells: pd.Series, path: Path | str) -> pd.Series:
    respondent = _plain(cells)
    twice = respondent[respondent.duplicated()]
    if len(twice):
        raise InputError(
            f"{path}: column {cells.name}: {len(twice)} respondents share an id; "
            "keep one row each, or name the column that identifies them"
        )
    return respondent


def _weights(raw: pd.DataFrame, spec: Clean, path: Path | str) -> pd.Series:
    if spec.weight is None:
        return pd.Series(1.0, index=raw.index)
    weight = pd.to_numeric(_plain(raw[spec.weight]), errors="coerce").astype("float64")
    bad = ~(np.isfinite(weight) & (weight > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: column {spec.weight}: {int(bad.sum())} weights are not positive numbers "
            f"(the first is {raw[spec.weight].iloc[row]!r}); mend them or drop those rows"
        )
    relative = weight / weight.max()
    return relative / relative.mean()


def _groups(cells: pd.Series, axis: Axis, where: str) -> pd.Series:
    plain = _plain(cells)
    if axis.groups is not None:
        return plain.map(axis.groups).astype("string")
    number = pd.to_numeric(plain.where(plain != ""), errors="coerce")
    text = number.isna() & (plain != "") & (plain.str.upper() != "NA")
    if text.any():
        raise InputError(f"{where}: bands need numbers, found {plain[text].iloc[0]!r}")
    bands = np.asarray(axis.bands)
    position = np.searchsorted(bands, number.fillna(bands[0] - 1).to_numpy(), side="right") - 1
    labels = np.array([*axis.names(), ""], dtype=object)[position]
    return pd.Series(labels, index=cells.index, dtype="string").replace("", pd.NA)


def _codes(
    cells: pd.Series, recode: dict[str, int | None], missing: Iterable[int], where: str
) -> pd.Series:
    plain = _plain(cells)
    blank = plain.isin(["", "NA", "NaN", "nan", "."])
    number = pd.to_numeric(plain.where(~blank), errors="coerce")
    text = number.isna() & ~blank
    if text.any():
        raise InputError(
            f"{where}: {int(text.sum())} cells are not codes (the first is "
            f"{plain[text].iloc[0]!r}); export the file with codes instead of labels"
        )
    finite = number[np.isfinite(number.astype("float64"))]
    if (finite % 1 != 0).any():
        raise InputError(f"{where}: holds fractions; answer codes are whole numbers")
    if recode:
        mapping = {int(k): (np.nan if v is None else v) for k, v in recode.items()}
        number = number.map(lambda code: mapping.get(code, code), na_action="ignore")
    too_large = number[number.abs() > LARGEST]
    if len(too_large):
        raise InputError(
            f"{where}: {too_large.iloc[0]:g} is no answer code (at most {LARGEST}); "
            "is this the column of a question?"
        )
    codes = number.astype("Int16")
    codes = codes.mask(codes.isin(list(missing)).fillna(False))
    negative = codes[(codes < 0).fillna(False)]
    if len(negative):
        raise InputError(
            f"{where}: code {negative.iloc[0]} is neither an answer nor declared missing; "
            "add it to survey.missing or to survey.recode"
        )
    return codes


def _sample(cells: pd.Series) -> str:
    return ", ".join(repr(v) for v in cells.drop_duplicates().head(5))
