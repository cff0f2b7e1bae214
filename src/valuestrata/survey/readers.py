"""From a survey file to respondents with weight, axes and answer codes.

Only the columns that a study uses are read, in slices, and rows of other countries are dropped as
they come, so a cross-national file never stands in memory whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from valuestrata.errors import InputError
from valuestrata.specs import Axis, Clean
from valuestrata.survey import files, table
from valuestrata.survey.codebook import Question
from valuestrata.survey.table import Headers, Table

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
    raw, axes = _raw(Path(path), spec, [q.question for q in questions])
    respondent = _respondents(raw[spec.respondent], path)
    columns: dict[str, pd.Series] = {
        "respondent": respondent,
        "weight": _weights(raw, spec, path),
    }
    for name, axis in axes.items():
        columns[name] = _groups(raw[axis.column], axis, f"{path}: column {axis.column}")
        if columns[name].isna().all():
            raise InputError(
                f"{path}: column {axis.column}: no row falls in a group of axis {name}; "
                f"the first cell is {raw[axis.column].iloc[0]!r}"
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


def check(responses: pd.DataFrame, spec: Clean, path: Path | str) -> None:
    """Refuse a survey that has nothing to compare.

    Raises:
        InputError: all respondents that have a group of an axis are in the same one.
    """
    for name, axis in spec.axes.items():
        seen = responses[name].dropna().unique()
        if len(seen) < 2:
            only = ", ".join(map(repr, seen)) or "none"
            raise InputError(
                f"{path}: column {axis.column}: axis {name} has one group only ({only}); "
                "remove the axis, or look at survey.filter and the axis' groups"
            )


def _raw(path: Path, spec: Clean, questions: list[str]) -> tuple[pd.DataFrame, dict[str, Axis]]:
    """The needed columns as text, by the study's names, and the axes as the file can make them."""
    named = [
        spec.respondent,
        *([spec.weight] if spec.weight else []),
        *spec.filter,
        *questions,
    ]
    either = [
        name
        for axis in spec.axes.values()
        for name in (axis.column, *([axis.otherwise.column] if axis.otherwise else []))
    ]
    wanted = [n for name in (*named, *either) for n in _aliases(name, spec.rename)]
    with files.opened(path, spec.delimiter, list(dict.fromkeys(wanted))) as opened:
        columns = _Columns(opened, spec.rename)
        where = columns.all_of(list(dict.fromkeys(named)))
        axes = {name: columns.axis(name, axis) for name, axis in spec.axes.items()}
        where |= columns.all_of([axis.column for axis in axes.values()])
        positions = list(dict.fromkeys(where.values()))
        kept = [_kept(part, where, spec) for part in opened.slices(positions)]
    raw = pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()
    if raw.empty:
        raise InputError(f"{path}: no row is left after survey.filter {spec.filter or ''}".rstrip())
    return raw, axes


def _aliases(name: str, rename: Mapping[str, str]) -> list[str]:
    """What a column may be called in the file, the likeliest first."""
    return [*(old for old, new in rename.items() if new == name), name]


@dataclass(frozen=True)
class _Columns:
    """Finds a study's columns in a file; raises InputError where one is not there."""

    opened: Table
    rename: Mapping[str, str]

    def find(self, name: str) -> int | None:
        index = Headers(self.opened.headers)
        try:
            hits = (index.find(alias) for alias in _aliases(name, self.rename))
            return next((hit for hit in hits if hit is not None), None)
        except InputError as error:
            raise InputError(f"{self.opened.label}: {error}") from None

    def all_of(self, names: list[str]) -> dict[str, int]:
        where = {name: self.find(name) for name in names}
        absent = [name for name, position in where.items() if position is None]
        if absent:
            only = len(self.opened.headers) == 1
            hint = "is survey.delimiter right?" if only else "check the study's column names"
            raise InputError(
                f"{self.opened.label}: no column {absent[0]} "
                f"({len(absent)} of {len(names)} missing); {hint}, or map them by survey.rename"
            )
        return {name: position for name, position in where.items() if position is not None}

    def axis(self, name: str, axis: Axis) -> Axis:
        """The axis, or what it says to use otherwise."""
        if self.find(axis.column) is not None:
            return axis
        other = axis.otherwise
        if other and self.find(other.column) is not None:
            return replace(axis, column=other.column, bands=other.bands, groups=None)
        neither = f"{axis.column} nor {other.column}" if other else axis.column
        raise InputError(
            f"{self.opened.label}: no column {neither}, so axis {name} cannot be built; remove the "
            "axis from the study, take a release that has the column, or check the study's column "
            "names (survey.rename)"
        )


def _kept(part: pd.DataFrame, where: Mapping[str, int], spec: Clean) -> pd.DataFrame:
    """The rows of the filter, as text."""
    keep = pd.Series(True, index=part.index)
    for name, values in spec.filter.items():
        keep &= _plain(table.text(part[where[name]])).isin(list(values))
    rows = part[keep]
    return pd.DataFrame({name: table.text(rows[p]) for name, p in where.items()})


def _plain(cells: pd.Series) -> pd.Series:
    """Cells without blanks, and integers written as 702.0 as 702."""
    return cells.str.strip().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def _respondents(cells: pd.Series, path: Path | str) -> pd.Series:
    respondent = _plain(cells)
    blank = int((respondent == "").sum())
    if blank:
        raise InputError(
            f"{path}: column {cells.name}: {blank} respondents have no id; "
            "drop those rows, or name the column that identifies them"
        )
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
