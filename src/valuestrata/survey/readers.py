"""From a survey file to respondents with weight, axes and answer codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import pandas as pd

from valuestrata.errors import InputError
from valuestrata.study.splits import COUNTRY
from valuestrata.study.survey import MISSING, Axis
from valuestrata.survey import groups, missing
from valuestrata.survey.cells import (
    answer_codes,
    band_notices,
    group_of_each,
    plain_cells,
    respondents,
    without_declared_missing,
    without_missing,
)
from valuestrata.survey.check_labels import group_notices, label_notices, label_problems
from valuestrata.survey.codebook import Question
from valuestrata.survey.decimals import comma_notices, with_points
from valuestrata.survey.empty_groups import empty_group_notices, held_values
from valuestrata.survey.groups import Groups
from valuestrata.survey.recoding import recode_cells, text_keys
from valuestrata.survey.rows import read_rows
from valuestrata.survey.select_all import unticked_cells
from valuestrata.survey.settings import ReadingSettings
from valuestrata.survey.table import ColumnLabels, FileLabels, cell
from valuestrata.survey.text_answers import answers_to_codes, groups_to_codes, list_unmatched


class CleanSurvey(NamedTuple):
    """A survey as it was read.

    responses: one row a respondent kept: respondent, weight (mean 1), the country where there are
    several, one column an axis (label or missing), one column a question (code or missing). groups:
    of each axis. notices: what is doubtful, a line each.
    """

    responses: pd.DataFrame
    groups: Groups
    notices: list[str]


def read_survey(
    path: Path | str,
    settings: ReadingSettings,
    questions: Sequence[Question],
    labels: Mapping[str, Mapping[str, str]],
) -> CleanSurvey:
    """Read and clean a survey.

    Args:
        path: the file.
        settings: how it is read.
        questions: what is kept of it.
        labels: column -> code -> label, of groups that the data decide and of countries.

    Raises:
        InputError: one line with file, column and remedy.
    """
    shared = sorted(set(settings.axes) & {q.question for q in questions})
    if shared:
        raise InputError(f"survey.axes.{shared[0]}: a question has the same name; rename the axis")
    for problem in missing.problems(questions, settings):
        raise InputError(problem)
    raw, weight, axes, file_labels, notices = read_rows(
        Path(path), settings, [q.question for q in questions]
    )
    for problem in label_problems(file_labels, questions, axes, labels, settings):
        raise InputError(f"{path}: {problem}")
    code_labels = _CodeLabels(labels, file_labels)
    result: dict[str, pd.Series] = {
        "respondent": respondents(raw[settings.respondent], path),
        "weight": weight,
    }
    axis_groups = {}
    country, countries = _countries(raw, settings, code_labels)
    if len(countries) > 1:
        result[COUNTRY] = country
        axis_groups[COUNTRY] = groups.count_groups(countries, country)
    by_country = country if len(countries) > 1 else None
    notices += [
        *missing.notices(questions, settings),
        *label_notices(file_labels, questions, settings),
    ]
    for name, axis in axes.items():
        where = f"{path}: column {axis.column}"
        plain, listed = _axis_cells(raw, axis, settings, code_labels, by_country)
        notices += _axis_notices(name, axis, raw, plain, listed, settings, code_labels, where)
        result[name] = group_of_each(plain, listed, axis, where)
        axis_groups[name] = groups.count_groups(
            axis.names() if listed is None else listed, result[name]
        )
        if axis.bands and result[name].isna().all():
            _refuse_empty(where, name, plain)
    answers, answer_notices = _answers(raw, questions, settings, file_labels, path)
    responses = pd.DataFrame(result | answers)
    every_group = Groups(countries=countries, axes=axis_groups)
    return CleanSurvey(responses, every_group, notices + answer_notices)


def _axis_cells(
    raw: pd.DataFrame,
    axis: Axis,
    settings: ReadingSettings,
    labels: "_CodeLabels",
    country: pd.Series | None,
) -> tuple[pd.Series, Mapping[str, str] | None]:
    """[N] an axis' cells without what means no answer; and its groups by code, None for bands."""
    listed = axis.groups if isinstance(axis.groups, dict) else None
    recode = settings.recode.get(axis.column, {})
    cells = without_declared_missing(raw[axis.column], labels.file, [*(listed or ()), *recode])
    plain = recode_cells(plain_cells(cells), recode)
    plain = without_missing(plain, missing.of_axis(axis, settings))
    if listed is not None:
        return groups_to_codes(plain, listed, labels.book.get(axis.column, {})), listed
    if axis.is_auto:
        names = labels.of(axis.column)
        return plain, groups.auto_groups(plain, settings.min_subgroup_n, names, country)
    return with_points(plain), None


def _axis_notices(
    name: str,
    axis: Axis,
    raw: pd.DataFrame,
    plain: pd.Series,
    listed: Mapping[str, str] | None,
    settings: ReadingSettings,
    labels: "_CodeLabels",
    where: str,
) -> list[str]:
    """What is doubtful of an axis; a group that nobody is in may be refused."""
    if listed is None:
        return [*comma_notices(plain_cells(raw[axis.column])), *band_notices(name, plain, axis)]
    names = labels.of(axis.column)
    if not axis.is_auto:
        return empty_group_notices(plain, listed, names, name, where)
    lost = _missing_group_notices(name, raw, axis, settings, labels)
    no_answer = group_notices(name, dict.fromkeys(listed.values()))
    return [*lost, *no_answer, *groups.auto_notices(name, plain, listed, names)]


def _missing_group_notices(
    name: str, raw: pd.DataFrame, axis: Axis, settings: ReadingSettings, labels: "_CodeLabels"
) -> list[str]:
    """A line for each code of survey.missing that the codebook labels and an auto axis loses."""
    if axis.missing is not None or settings.missing == MISSING:
        return []
    book = labels.book.get(axis.column, {})
    sizes = plain_cells(raw[axis.column]).value_counts()
    lost = [str(code) for code in sorted(missing.of_axis(axis, settings).codes) if code >= 0]
    return [
        f"axis {name}: {sizes[code]} respondents with code {code} ({book[code]!r} in the codebook) "
        f"are in no group, as survey.missing has it; survey.axes.{name}.missing can say otherwise"
        for code in lost
        if code in book and code in sizes
    ]


def _answers(
    raw: pd.DataFrame,
    questions: Sequence[Question],
    settings: ReadingSettings,
    file_labels: FileLabels,
    path: Path | str,
) -> tuple[dict[str, pd.Series], list[str]]:
    """The answer codes of each question, and notices; all texts that are none are refused."""
    result, unmatched = {}, []
    plain = {q.question: with_points(plain_cells(raw[q.question])) for q in questions}
    unticked, notices = unticked_cells(plain, settings.select_all)
    for question in questions:
        name = question.question
        recode, no_answer = settings.recode.get(name, {}), missing.of_question(question, settings)
        cells = without_declared_missing(plain[name], file_labels, recode)
        named = text_keys(recode, cells)
        coded, texts = answers_to_codes(cells.mask(named, ""), question.labels_in_file(), no_answer)
        unmatched += texts
        if not unmatched:
            coded = recode_cells(coded.where(~named, cells), recode)
            if name in unticked:
                coded = coded.mask(coded.isin(groups.BLANK), unticked[name])
            where = f"{path}: column {name}"
            result[name] = answer_codes(coded, no_answer.codes, question, where)
    if unmatched:
        raise InputError(
            f"{path}: texts that are neither codes nor labels of the codebook: "
            f"{list_unmatched(unmatched)}; correct the codebook's labels, list what means no "
            "answer in survey.missing, say which code each text is by survey.recode, or export the "
            "file with codes instead of labels"
        )
    return result, notices


def _refuse_empty(where: str, axis: str, plain: pd.Series) -> NoReturn:
    raise InputError(
        f"{where}: no row falls in a band of axis {axis}; the column holds {held_values(plain)}"
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
        in_file = self.file.get(column, ColumnLabels())
        return [
            self.book.get(column, {}),
            {cell(code): label for code, label in in_file.codes.items()},
            {level: level for level in in_file.levels},
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
