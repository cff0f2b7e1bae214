"""From a survey file to respondents with weight, axes and answer codes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pandas as pd

from valuestrata.errors import InputError
from valuestrata.study.splits import COUNTRY
from valuestrata.survey import groups
from valuestrata.survey.cells import (
    answer_codes,
    group_of_each,
    plain_cells,
    respondents,
    weights,
    without_declared_missing,
)
from valuestrata.survey.codebook import Question
from valuestrata.survey.groups import Groups
from valuestrata.survey.rows import read_rows
from valuestrata.survey.settings import ReadingSettings
from valuestrata.survey.table import ColumnLabels, FileLabels, cell

log = logging.getLogger(__name__)


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
    raw, axes, file_labels = read_rows(Path(path), settings, [q.question for q in questions])
    code_labels = _CodeLabels(labels, file_labels)
    result: dict[str, pd.Series] = {
        "respondent": respondents(raw[settings.respondent], path),
        "weight": weights(raw, settings.weight, path),
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
        plain = plain_cells(without_declared_missing(cells, file_labels, listed or ()))
        if axis.is_auto:
            labels_of_codes = code_labels.of(axis.column)
            listed = groups.auto_groups(
                plain, settings.min_subgroup_n, settings.missing, labels_of_codes, by_country
            )
        result[name] = group_of_each(plain, listed, axis, f"{path}: column {axis.column}")
        axis_groups[name] = groups.count_groups(
            axis.names() if listed is None else listed, result[name]
        )
        if not axis.is_auto and result[name].isna().all():
            _refuse_empty(path, name, cells)
    for question in questions:
        name = question.question
        recode = settings.recode_of(name)
        plain = plain_cells(without_declared_missing(raw[name], file_labels, map(str, recode)))
        result[name] = answer_codes(plain, recode, settings.missing, f"{path}: column {name}")
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


def _countries(
    raw: pd.DataFrame, settings: ReadingSettings, labels: _CodeLabels
) -> tuple[pd.Series, tuple[str, ...]]:
    """[N] name of each respondent's country, and the names in the study's order, if it has any."""
    country = pd.Series(pd.NA, index=raw.index, dtype="string")
    names: dict[str, str] = {}
    for column in (c for c in settings.country_columns if c in raw):
        codes = plain_cells(raw[column])
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
