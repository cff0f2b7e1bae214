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
from valuestrata.specs import COUNTRY, Axis, Clean
from valuestrata.survey import files, groups, table
from valuestrata.survey.codebook import Question
from valuestrata.survey.groups import Groups
from valuestrata.survey.table import Headers, RawTable

LARGEST = 32_767
"""Largest answer code: what two bytes hold."""


def read_survey(
    path: Path | str,
    spec: Clean,
    questions: Sequence[Question],
    labels: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[pd.DataFrame, Groups]:
    """Read and clean a survey.

    Args:
        path: the file.
        spec: how it is read.
        questions: what is kept of it.
        labels: column -> code -> label, of groups that are found and of countries.

    Returns:
        One row a respondent kept: respondent, weight (mean 1), the country where there are
        several, one column an axis (label or missing), one column a question (code or missing).
        And the groups of each axis.

    Raises:
        InputError: one line with file, column and remedy.
    """
    twice = sorted(set(spec.axes) & {q.question for q in questions})
    if twice:
        raise InputError(f"survey.axes.{twice[0]}: a question has the same name; rename the axis")
    raw, axes, said = _raw(Path(path), spec, [q.question for q in questions])
    known = _Known(labels or {}, said)
    columns: dict[str, pd.Series] = {
        "respondent": _respondents(raw[spec.respondent], path),
        "weight": _weights(raw, spec, path),
    }
    found = {}
    country, names = _countries(raw, spec, known)
    if len(names) > 1:
        columns[COUNTRY] = country
        found[COUNTRY] = groups.counted(names, country)
    for name, axis in axes.items():
        where = f"{path}: column {axis.column}"
        cells = _plain(_declared(raw[axis.column], said, axis.groups or {}))
        if axis.found:
            by = country if len(names) > 1 else None
            meant = groups.find(cells, axis.found, spec.missing, known.of(axis.column), by)
            axis = replace(axis, groups=meant)
        columns[name] = _groups(cells, axis, where)
        found[name] = groups.counted(axis.groups or axis.names(), columns[name])
        if axis.found is None and columns[name].isna().all():
            raise InputError(
                f"{where}: no row falls in a group of axis {name}; "
                f"the first cell is {raw[axis.column].iloc[0]!r}"
            )
    for question in questions:
        where = f"{path}: column {question.question}"
        recode = spec.recode.get(question.question, {})
        cells = _declared(raw[question.question], said, recode)
        columns[question.question] = _codes(cells, recode, spec.missing, where)
    return pd.DataFrame(columns), Groups(names, found, spec.caveat)


def observed(responses: pd.DataFrame, question: Question) -> tuple[list[int], list[str]]:
    """Codes of a question, of its scale and others that occur, ascending; and their labels."""
    seen = {int(code) for code in responses[question.question].dropna().unique()}
    codes = sorted(seen | set(range(question.scale_min, question.scale_max + 1)))
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
            least = f" of {axis.found} respondents" if axis.found else ""
            raise InputError(
                f"{path}: column {axis.column}: axis {name} has fewer than two groups{least} "
                f"({only}); leave it out (survey.axes.{name}: null), or look at the study's "
                "filter, countries and groups"
            )


Said = dict[str, table.ColumnLabels]
"""What the file says of each column, by the study's names."""


@dataclass(frozen=True)
class _Known:
    """What codes mean: the study's own words come before the file's."""

    labels: Mapping[str, Mapping[str, str]]
    said: Said

    def of(self, column: str) -> list[Mapping[str, str]]:
        file = self.said.get(column, table.ColumnLabels()).codes
        return [
            self.labels.get(column, {}),
            {table.cell(code): label for code, label in file.items()},
        ]


def _raw(
    path: Path, spec: Clean, questions: list[str]
) -> tuple[pd.DataFrame, dict[str, Axis], Said]:
    """The needed columns as text, the axes as the file can make them, and its labels."""
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
    countries = spec.countries.columns if spec.countries else ()
    wanted = [n for name in (*named, *either, *countries) for n in _aliases(name, spec.rename)]
    with files.opened(path, spec.delimiter, list(dict.fromkeys(wanted))) as opened:
        columns = _Columns(opened, spec.rename)
        where = columns.all_of(list(dict.fromkeys(named)))
        axes = {name: columns.axis(name, axis) for name, axis in spec.axes.items()}
        where |= columns.all_of([axis.column for axis in axes.values()])
        where |= columns.any_of(countries)
        positions = list(dict.fromkeys(where.values()))
        others: set[str] = set()
        kept = [_kept(part, where, spec, others) for part in opened.slices(positions)]
        said = {name: opened.labels[p] for name, p in where.items() if opened.labels}
    raw = pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()
    _check_countries(raw, others, spec, path)
    if raw.empty:
        raise InputError(f"{path}: no row is left after survey.filter {spec.filter or ''}".rstrip())
    return raw, axes, said


def _check_countries(raw: pd.DataFrame, others: set[str], spec: Clean, path: Path) -> None:
    """Refuse a country that the file does not have."""
    if spec.countries is None:
        return
    columns = [c for c in spec.countries.columns if c in raw]
    present = {code for column in columns for code in _plain(raw[column]).unique()}
    for code in spec.countries.codes:
        if code not in present:
            there = sorted(present | others)
            raise InputError(
                f"{path}: survey.countries: no row of country {code!r} in column "
                f"{' or '.join(spec.countries.columns)}; there are {', '.join(there[:80])}"
            )


def _aliases(name: str, rename: Mapping[str, str]) -> list[str]:
    """What a column may be called in the file, the likeliest first."""
    return [*(old for old, new in rename.items() if new == name), name]


@dataclass(frozen=True)
class _Columns:
    """Finds a study's columns in a file; raises InputError where one is not there."""

    opened: RawTable
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

    def any_of(self, names: Sequence[str]) -> dict[str, int]:
        """Those of the columns that there are, at least one."""
        where = {name: self.find(name) for name in names}
        found = {name: position for name, position in where.items() if position is not None}
        return found or self.all_of(list(names))

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


def _kept(
    part: pd.DataFrame, where: Mapping[str, int], spec: Clean, others: set[str]
) -> pd.DataFrame:
    """The rows of the filter and the countries, as text; `others` gathers what else there is."""
    keep = pd.Series(True, index=part.index)
    for name, values in spec.filter.items():
        keep &= _plain(table.text(part[where[name]])).isin(list(values))
    if spec.countries:
        chosen = pd.Series(False, index=part.index)
        for name in (c for c in spec.countries.columns if c in where):
            codes = _plain(table.text(part[where[name]]))
            chosen |= codes.isin(list(spec.countries.codes))
            others |= set(codes.unique())
        keep &= chosen
    rows = part[keep]
    return pd.DataFrame({name: table.text(rows[p]) for name, p in where.items()})


def _countries(raw: pd.DataFrame, spec: Clean, known: _Known) -> tuple[pd.Series, tuple[str, ...]]:
    """[N] name of each respondent's country, and the names in the study's order, if it has any."""
    country = pd.Series(pd.NA, index=raw.index, dtype="string")
    if spec.countries is None:
        return country, ()
    names: dict[str, str] = {}
    for column in (c for c in spec.countries.columns if c in raw):
        codes = _plain(raw[column])
        for code in (c for c in spec.countries.codes if (codes == c).any()):
            names[code] = groups.label(code, known.of(column), column)
            country = country.mask(country.isna() & (codes == code), names[code])
    own = [names[code] for code in spec.countries.codes]
    twice = [code for code in names if own.count(names[code]) > 1]
    if twice:
        raise InputError(
            f"survey.countries: {' and '.join(twice)} are both {names[twice[0]]}; name it once"
        )
    return country, tuple(own)


def _declared(cells: pd.Series, said: Said, named: Iterable[str]) -> pd.Series:
    """Cells without the codes that the file declares missing, but for those the study names."""
    ranges = said.get(str(cells.name), table.ColumnLabels()).missing
    if not ranges:
        return cells
    plain = _plain(cells)
    number = pd.to_numeric(plain, errors="coerce")
    missing = pd.Series(False, index=cells.index)
    for low, high in ranges:
        missing |= number.between(low, high).fillna(False).astype(bool)
    return cells.mask(missing & ~plain.isin(list(named)), "")


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


def _groups(plain: pd.Series, axis: Axis, where: str) -> pd.Series:
    """[N] label of each cell's group; missing for none."""
    if axis.groups is not None:
        return plain.map(axis.groups).astype("string")
    number = pd.to_numeric(plain.where(plain != ""), errors="coerce")
    text = number.isna() & (plain != "") & (plain.str.upper() != "NA")
    if text.any():
        raise InputError(f"{where}: bands need numbers, found {plain[text].iloc[0]!r}")
    bands = np.asarray(axis.bands)
    position = np.searchsorted(bands, number.fillna(bands[0] - 1).to_numpy(), side="right") - 1
    labels = np.array([*axis.names(), ""], dtype=object)[position]
    return pd.Series(labels, index=plain.index, dtype="string").replace("", pd.NA)


def _codes(
    cells: pd.Series, recode: dict[str, int | None], missing: Iterable[int], where: str
) -> pd.Series:
    plain = _plain(cells)
    blank = plain.isin(groups.BLANK)
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
