"""A file's value labels against the codebook's and the study's: what cannot be, what is doubtful.

It is imported where the graph is built, so it does without the libraries that read whole files.
"""

from collections.abc import Iterable, Mapping, Sequence

from valuestrata.study.survey import Axis
from valuestrata.survey import missing
from valuestrata.survey.codebook import Question
from valuestrata.survey.settings import ReadingSettings
from valuestrata.survey.table import ColumnLabels, FileLabels
from valuestrata.survey.value_labels import contradiction, means_no_answer, unlike

SHOWN = 5
"""Questions that a message names one by one."""


def label_problems(
    file: FileLabels,
    questions: Iterable[Question],
    axes: Mapping[str, Axis],
    columns: Mapping[str, Mapping[str, str]],
    settings: ReadingSettings,
) -> list[str]:
    """A line for labels that contradict the codebook's, one for each axis that they contradict,
    and one for each question of which the file declares answers missing.

    Args:
        file: what it says of its columns.
        questions: of the codebook, recoded or not.
        axes: as the file can make them.
        columns: column -> code -> label in the codebook, for axes with groups from the data.
        settings: how the file is read.
    """
    lines, contrary = [], []
    for question in (question for question in questions if question.question in file):
        name, column = question.question, file[question.question]
        recode = settings.recode_of(name)
        lines += missing.file_problems(question, column, recode)
        no_answer = missing.of_question(question, settings).codes
        no_answer |= {code for code, new in recode.items() if new is None}
        problem = contradiction(_labels(column, no_answer), question.labels_in_file())
        if problem:
            contrary.append(f"{name} ({problem})")
    if contrary:
        lines.insert(
            0,
            f"value labels contradict the codebook's: {_some(contrary)}; correct the labels in the "
            "codebook, whose codes are the file's, or take the column that it describes",
        )
    for name, axis in axes.items():
        lines += _axis_problems(name, axis, file, columns)
    return lines


def _axis_problems(
    name: str, axis: Axis, file: FileLabels, columns: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """A line where labels contradict an axis' groups, or the codebook's names of these.

    The codebook may call groups of several countries alike, so there only codes that change places
    are a contradiction.
    """
    groups = axis.groups if isinstance(axis.groups, dict) else columns.get(axis.column, {})
    named = {int(code): label for code, label in groups.items() if _is_code(code)}
    problem = contradiction(_labels(file.get(axis.column, ColumnLabels()), ()), named)
    if problem is None or (axis.is_auto and not problem.is_exchange):
        return []
    if axis.is_auto:
        return [
            f"column {axis.column}: value labels contradict `columns` of the codebook: {problem}; "
            "correct the labels there"
        ]
    text = str(problem).replace("the codebook", "the study")
    return [
        f"column {axis.column}: value labels contradict survey.axes.{name}.groups: {text}; "
        "correct the groups' codes"
    ]


def label_notices(
    file: FileLabels, questions: Sequence[Question], settings: ReadingSettings
) -> list[str]:
    """A line for questions whose labels have no word in common with the codebook's, and one for
    codes of scales that the file's labels call no answer."""
    return [*_unlike_notices(file, questions), *_no_answer_notices(file, questions, settings)]


def group_notices(axis: str, labels: Iterable[str]) -> list[str]:
    """A line where a group made from the data reads as no answer."""
    return [
        f"axis {axis}: {label!r} is a group like any other; declare its code missing "
        f"(survey.missing, or survey.axes.{axis}.missing) if it is none"
        for label in labels
        if means_no_answer(label)
    ]


def _no_answer_notices(
    file: FileLabels, questions: Iterable[Question], settings: ReadingSettings
) -> list[str]:
    shown = []
    for question in (question for question in questions if question.question in file):
        name = question.question
        decided = {*settings.recode_of(name), *question.labels_in_file()}
        no_answer = missing.of_question(question, settings).codes
        for code, label in _labels(file[name], no_answer).items():
            on_scale = question.scale_min <= code <= question.scale_max
            if on_scale and code not in decided and means_no_answer(label):
                shown.append(f"{name} ({code} is {label!r})")
    if not shown:
        return []
    return [
        "codes on the scale that the file's labels call no answer count as answers: "
        f"{_some(shown)}; declare them missing by survey.recode: {{QUESTION: {{CODE: null}}}}, or "
        "correct the scale in the codebook"
    ]


def _unlike_notices(file: FileLabels, questions: Iterable[Question]) -> list[str]:
    shown = []
    for question in (question for question in questions if question.question in file):
        labels, book = _labels(file[question.question], ()), question.labels_in_file()
        code = unlike(labels, book)
        if code is not None:
            shown.append(f"{question.question} ({code} is {labels[code]!r}, {book[code]!r})")
    if not shown:
        return []
    return [
        "value labels of the file have no word in common with the codebook's: "
        f"{_some(shown)}; are these the questions that the codebook describes?"
    ]


def _labels(column: ColumnLabels, no_answer: Iterable[int]) -> dict[int, str]:
    """A column's labels by whole code, without what the study or the file declares missing."""
    left_out = set(no_answer)
    return {
        int(code): label
        for code, label in column.codes.items()
        if float(code).is_integer()
        and int(code) not in left_out
        and not any(low <= code <= high for low, high in column.missing)
    }


def _is_code(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _some(entries: Sequence[str]) -> str:
    more = f"; and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return "; ".join(entries[:SHOWN]) + more
