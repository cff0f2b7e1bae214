"""From a survey file to respondents with weight, axes and answer codes.

Only the columns that a study uses are read, in slices, and rows of other countries are dropped as
they come, so a cross-national file never stands in memory whole.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd

from valuestrata.errors import InputError
from valuestrata.study.splits import COUNTRY
from valuestrata.study.survey import Axis
from valuestrata.survey import columns, groups
from valuestrata.survey.codebook import Question
from valuestrata.survey.columns import Columns
from valuestrata.survey.files import open_survey
from valuestrata.survey.groups import Groups
from valuestrata.survey.settings import ReadingSettings
from valuestrata.survey.table import ColumnLabels, cell

log = logging.getLogger(__name__)

MAX_CODE = 32_767
"""Largest answer code: what two bytes hold."""

FileLabels = dict[str, ColumnLabels]
"""What the file says of each column, by the study's names."""


def read_survey(
    path: Path | str,
    settings: ReadingSettings,
    questions: Sequence[Question],
    labels: Mapping[str, Mapping[str, str]],
) -> tuple[pd.DataFrame, Groups]:
    """Read and clean a survey.

    Args:
        path: the file.
        settings: how it is read.
        questions: what is kept of it.
        labels: column -> code -> label, of groups that the data decide and of countries.

    Returns:
        One row a respondent kept: respondent, weight (mean 1), the country where there are
        several, one column an axis (label or missing), one column a question (code or missing).
        And the groups of each axis.

    Raises:
        InputError: one line with file, column and remedy.
    """
    shared = sorted(set(settings.axes) & {q.question for q in questions})
    if shared:
        raise InputError(f"survey.axes.{shared[0]}: a question has the same name; rename the axis")
    raw, axes, file_labels = _read_rows(Path(path), settings, [q.question for q in questions])
    code_labels = _CodeLabels(labels, file_labels)
    result: dict[str, pd.Series] = {
        "respondent": _respondents(raw[settings.respondent], path),
        "weight": _weights(raw, settings.weight, path),
    }
    axis_groups = {}
    country, countries = _countries(raw, settings, code_labels)
    if len(countries) > 1:
        result[COUNTRY] = country
        axis_groups[COUNTRY] = groups.count_groups(countries, country)
    by_country = country if len(countries) > 1 else None
    for name, axis in axes.items():
        cells = raw[axis.column]
        listed = axis.groups if isinstance(axis.groups, dict) else None
        plain = _plain(_without_declared_missing(cells, file_labels, listed or ()))
        if axis.is_auto:
            labels_of_codes = code_labels.of(axis.column)
            listed = groups.auto_groups(
                plain, settings.min_subgroup_n, settings.missing, labels_of_codes, by_country
            )
        result[name] = _group_of_each(plain, listed, axis, f"{path}: column {axis.column}")
        axis_groups[name] = groups.count_groups(
            axis.names() if listed is None else listed, result[name]
        )
        if not axis.is_auto and result[name].isna().all():
            _refuse_empty(path, name, cells)
    for question in questions:
        name = question.question
        recode = settings.recode_of(name)
        plain = _plain(_without_declared_missing(raw[name], file_labels, map(str, recode)))
        result[name] = _codes(plain, recode, settings.missing, f"{path}: column {name}")
    return pd.DataFrame(result), Groups(countries=countries, axes=axis_groups)


def _refuse_empty(path: Path | str, axis: str, cells: pd.Series) -> NoReturn:
    raise InputError(
        f"{path}: column {cells.name}: no row falls in a group of axis {axis}; "
        f"the first cell is {cells.iloc[0]!r}"
    )


def observed(responses: pd.DataFrame, question: Question) -> tuple[list[int], list[str]]:
    """Codes of a question, of its scale and others that occur, ascending; and their labels."""
    seen = {int(code) for code in responses[question.question].dropna().unique()}
    codes = sorted(seen | set(range(question.scale_min, question.scale_max + 1)))
    labels = {**question.labels, **question.extra}
    return codes, [labels.get(code, "") for code in codes]


def question_row(responses: pd.DataFrame, question: Question) -> dict[str, object]:
    """A question's row of the table of questions."""
    codes, labels = observed(responses, question)
    off_scale = [c for c in codes if not question.scale_min <= c <= question.scale_max]
    undeclared = sorted(set(off_scale) - set(question.extra))
    if undeclared:
        log.warning("question %s: codes %s are off its scale; kept", question.question, undeclared)
    n = int(responses[question.question].notna().sum())
    return {
        "question": question.question,
        "topic": question.topic,
        "text": question.text,
        "block": question.block,
        "measurement_level": question.measurement_level,
        "scale_min": question.scale_min,
        "scale_max": question.scale_max,
        "codes": codes,
        "labels": labels,
        "n": n,
        "missing": len(responses) - n,
    }


def check_axes(responses: pd.DataFrame, settings: ReadingSettings, path: Path | str) -> None:
    """Refuse a survey that has nothing to compare.

    Raises:
        InputError: all respondents that have a group of an axis are in the same one.
    """
    for name, axis in settings.axes.items():
        seen = responses[name].dropna().unique()
        if len(seen) < 2:
            only = ", ".join(map(repr, seen)) or "none"
            size = f" of {settings.min_subgroup_n} respondents" if axis.is_auto else ""
            raise InputError(
                f"{path}: column {axis.column}: axis {name} has fewer than two groups{size} "
                f"({only}); leave it out (survey.axes.{name}: null), or look at the study's "
                "filter, countries and groups"
            )


@dataclass(frozen=True)
class _CodeLabels:
    """What codes mean: the codebook's labels come before the file's."""

    book: Mapping[str, Mapping[str, str]]
    file: FileLabels

    def of(self, column: str) -> list[Mapping[str, str]]:
        in_file = self.file.get(column, ColumnLabels()).codes
        return [
            self.book.get(column, {}),
            {cell(code): label for code, label in in_file.items()},
        ]


# Rows ----------------------------------------------------------------------------------------


def _read_rows(
    path: Path, settings: ReadingSettings, questions: list[str]
) -> tuple[pd.DataFrame, dict[str, Axis], FileLabels]:
    """The needed columns as text, the axes as the file can make them, and its labels."""
    with open_survey(path, columns.read_options(settings, questions)) as table:
        needed: Columns = columns.find_columns(table, settings, questions)
        positions = list(dict.fromkeys(needed.positions.values()))
        other_countries: set[str] = set()
        parts = [
            _kept_rows(part, needed.positions, settings, other_countries)
            for part in table.slices(positions)
        ]
        labels = {name: table.labels[p] for name, p in needed.positions.items() if table.labels}
    raw = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    _check_countries(raw, other_countries, settings, path)
    if raw.empty:
        shown = dict(settings.filter) or ""
        raise InputError(f"{path}: no row is left after survey.filter {shown}".rstrip())
    return raw, needed.axes, labels


def _kept_rows(
    part: pd.DataFrame,
    positions: Mapping[str, int],
    settings: ReadingSettings,
    other_countries: set[str],
) -> pd.DataFrame:
    """The rows of the filter and the countries, as text; collects the countries that there are."""
    keep = pd.Series(True, index=part.index)
    for name, values in settings.filter.items():
        keep &= _plain(_text(part[positions[name]])).isin(list(values))
    if settings.countries:
        chosen = pd.Series(False, index=part.index)
        for name in (column for column in settings.country_columns if column in positions):
            codes = _plain(_text(part[positions[name]]))
            chosen |= codes.isin(list(settings.countries))
            other_countries |= set(codes.unique())
        keep &= chosen
    rows = part[keep]
    return pd.DataFrame({name: _text(rows[position]) for name, position in positions.items()})


def _text(cells: pd.Series) -> pd.Series:
    """A column as text; what is missing is empty."""
    if isinstance(cells.dtype, pd.StringDtype):
        return cells
    codes, values = pd.factorize(cells)
    texts = np.array([*map(cell, values), ""], dtype=object)
    return pd.Series(texts[codes], index=cells.index, dtype="string")


def _plain(cells: pd.Series) -> pd.Series:
    """Cells without blanks, and integers written as 702.0 as 702."""
    return cells.str.strip().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def _without_declared_missing(
    cells: pd.Series, file_labels: FileLabels, named: Iterable[str]
) -> pd.Series:
    """Cells without the codes that the file declares missing, but for those the study names."""
    ranges = file_labels.get(str(cells.name), ColumnLabels()).missing
    if not ranges:
        return cells
    plain = _plain(cells)
    number = pd.to_numeric(plain, errors="coerce")
    missing = pd.Series(False, index=cells.index)
    for low, high in ranges:
        missing |= number.between(low, high).fillna(False).astype(bool)
    return cells.mask(missing & ~plain.isin(list(named)), "")


# Countries -----------------------------------------------------------------------------------


def _check_countries(
    raw: pd.DataFrame, others: set[str], settings: ReadingSettings, path: Path
) -> None:
    """Refuse a country that the file does not have."""
    here = [column for column in settings.country_columns if column in raw]
    present = {code for column in here for code in _plain(raw[column]).unique()}
    for code in settings.countries:
        if code not in present:
            existing = sorted(present | others)
            raise InputError(
                f"{path}: survey.countries: no row of country {code!r} in column "
                f"{' or '.join(settings.country_columns)}; there are {', '.join(existing[:80])}"
            )


def _countries(
    raw: pd.DataFrame, settings: ReadingSettings, labels: _CodeLabels
) -> tuple[pd.Series, tuple[str, ...]]:
    """[N] name of each respondent's country, and the names in the study's order, if it has any."""
    country = pd.Series(pd.NA, index=raw.index, dtype="string")
    names: dict[str, str] = {}
    for column in (c for c in settings.country_columns if c in raw):
        codes = _plain(raw[column])
        for code in (c for c in settings.countries if (codes == c).any()):
            names[code] = groups.label_of(code, labels.of(column), column)
            country = country.mask(country.isna() & (codes == code), names[code])
    in_order = [names[code] for code in settings.countries]
    shared = [code for code in names if in_order.count(names[code]) > 1]
    if shared:
        raise InputError(
            f"survey.countries: {' and '.join(shared)} are both {names[shared[0]]}; name it once"
        )
    return country, tuple(in_order)


# Columns -------------------------------------------------------------------------------------


def _respondents(cells: pd.Series, path: Path | str) -> pd.Series:
    respondent = _plain(cells)
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


def _weights(raw: pd.DataFrame, column: str | None, path: Path | str) -> pd.Series:
    """[N] weights with mean 1."""
    if column is None:
        return pd.Series(1.0, index=raw.index)
    weight = pd.to_numeric(_plain(raw[column]), errors="coerce").astype("float64")
    bad = ~(np.isfinite(weight) & (weight > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: column {column}: {int(bad.sum())} weights are not positive numbers "
            f"(the first is {raw[column].iloc[row]!r}); mend them or drop those rows"
        )
    relative = weight / weight.max()
    return relative / relative.mean()


def _group_of_each(
    plain: pd.Series, labels: Mapping[str, str] | None, axis: Axis, where: str
) -> pd.Series:
    """[N] label of each cell's group, by code or, without labels, by band; missing for none."""
    if labels is not None:
        return plain.map(dict(labels)).astype("string")
    number = pd.to_numeric(plain.where(plain != ""), errors="coerce")
    text = number.isna() & (plain != "") & (plain.str.upper() != "NA")
    if text.any():
        raise InputError(f"{where}: bands need numbers, not {plain[text].iloc[0]!r}")
    bands = np.asarray(axis.bands)
    position = np.searchsorted(bands, number.fillna(bands[0] - 1).to_numpy(), side="right") - 1
    names = np.array([*axis.names(), ""], dtype=object)[position]
    return pd.Series(names, index=plain.index, dtype="string").replace("", pd.NA)


def _codes(
    plain: pd.Series, recode: Mapping[int, int | None], missing: Iterable[int], where: str
) -> pd.Series:
    """[N] answer codes, recoded; missing where there is no answer."""
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
        mapping = {code: (np.nan if new is None else new) for code, new in recode.items()}
        number = number.map(lambda code: mapping.get(code, code), na_action="ignore")
    too_large = number[number.abs() > MAX_CODE]
    if len(too_large):
        raise InputError(
            f"{where}: {too_large.iloc[0]:g} is no answer code (at most {MAX_CODE}); "
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
