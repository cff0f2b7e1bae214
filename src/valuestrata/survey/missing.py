"""Which codes mean "no answer" in a question or on an axis, and where that cannot be right.

It is imported where the graph is built, so it does without the libraries that read whole files.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from valuestrata.study.survey import MISSING, Axis
from valuestrata.survey.codebook import Question
from valuestrata.survey.settings import ReadingSettings
from valuestrata.survey.table import ColumnLabels
from valuestrata.survey.value_labels import comparable

SHOWN = 4
"""Questions that a message names one by one."""


@dataclass(frozen=True)
class MissingCodes:
    """What stands for "no answer": codes, and texts as `comparable` writes them."""

    codes: frozenset[int] = frozenset()
    texts: frozenset[str] = frozenset()


def of_question(question: Question, settings: ReadingSettings) -> MissingCodes:
    """The codebook's for the question, else the study's; of the default list, no answer's code."""
    if question.missing is not None:
        return _missing_codes(question.missing)
    if settings.missing != MISSING:
        return _missing_codes(settings.missing)
    return _missing_codes(code for code in MISSING if not _is_answer(code, question))


def of_axis(axis: Axis, settings: ReadingSettings) -> MissingCodes:
    """The axis' own, else the study's; of the default list, no code of the axis' groups."""
    if axis.missing is not None:
        return _missing_codes(axis.missing)
    if settings.missing != MISSING:
        return _missing_codes(settings.missing)
    return _missing_codes(code for code in MISSING if not _is_group(code, axis))


def problems(questions: Iterable[Question], settings: ReadingSettings) -> list[str]:
    """One line for each code of survey.missing that is also an answer or a group."""
    if settings.missing == MISSING:
        return []
    lines = []
    codes = sorted(_missing_codes(settings.missing).codes)
    asked = [question for question in questions if question.missing is None]
    for code in codes:
        scales = [
            f"{q.question} ({q.scale_min} to {q.scale_max})"
            for q in asked
            if q.scale_min <= code <= q.scale_max
        ]
        if scales:
            lines.append(
                f"survey.missing: {code} is an answer to {_some(scales)}, and these answers would "
                "be lost; take it out, and give questions in which it means no answer a list of "
                "their own, `missing: [...]` in the codebook"
            )
    for name, axis in settings.axes.items():
        clash = [code for code in codes if axis.missing is None and _is_closed_group(code, axis)]
        if clash:
            lines.append(
                f"survey.missing: {clash[0]} is in a group of axis {name}; take it out, or give "
                f"the axis a list of its own, survey.axes.{name}.missing: []"
            )
    return lines


def notices(questions: Iterable[Question], settings: ReadingSettings) -> list[str]:
    """A line where a scale has codes of the default list, which count as answers there."""
    kept = [
        f"{q.question} ({q.scale_min} to {q.scale_max})"
        for q in questions
        if q.missing is None and any(_is_answer(code, q) for code in MISSING)
    ]
    if not kept or settings.missing != MISSING:
        return []
    return [
        "survey.missing is the default, -1 to -5; where these are codes of a question they count "
        f"as answers: {_some(kept)}"
    ]


def file_problems(question: Question, column: ColumnLabels, recode: Iterable[int]) -> list[str]:
    """A line where the file declares a code of the scale missing and the study does not decide."""
    named = set(recode)
    lost = [
        code
        for code in range(question.scale_min, question.scale_max + 1)
        if code not in named and any(low <= code <= high for low, high in column.missing)
    ]
    if not lost:
        return []
    name = question.question
    return [
        f"column {name}: the file declares {lost[0]} missing, and it is on the scale "
        f"{question.scale_min} to {question.scale_max}; say which holds: survey.recode: {{{name}: "
        f"{{{lost[0]}: {lost[0]}}}}} keeps it as an answer, {{{lost[0]}: null}} drops it"
    ]


def _missing_codes(entries: Iterable[int | str]) -> MissingCodes:
    """Codes and texts; a quoted number is a code."""
    codes, texts = set(), set()
    for entry in entries:
        if isinstance(entry, int) or re.fullmatch(r"\s*-?\d+\s*", entry):
            codes.add(int(entry))
        else:
            texts.add(comparable(entry))
    return MissingCodes(frozenset(codes), frozenset(texts))


def _is_answer(code: int, question: Question) -> bool:
    return question.scale_min <= code <= question.scale_max or code in question.extra


def _is_group(code: int, axis: Axis) -> bool:
    return _is_closed_group(code, axis) or (axis.bands is not None and code >= axis.bands[-1])


def _is_closed_group(code: int, axis: Axis) -> bool:
    """Whether a code is a listed group, or lies in a band that has an end."""
    if isinstance(axis.groups, dict):
        return str(code) in axis.groups
    return axis.bands is not None and axis.bands[0] <= code < axis.bands[-1]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
