"""A survey's questions as open ones: what the codebook gives for their wordings. Pure, but for it.

It is imported where the graph is built, so it does without the libraries that read whole files.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from valuestrata.prompting.open_questions import (
    OpenQuestions,
    draw_wording,
    open_questions,
    render_open_question,
    wordings_with,
)
from valuestrata.study.study import Study
from valuestrata.survey import codebook
from valuestrata.survey.codebook import Question
from valuestrata.survey.settings import ReadingSettings, reading_settings
from valuestrata.survey.value_labels import means_no_answer

SHOWN = 5
"""Questions that a message names one by one."""


def open_question(settings: OpenQuestions, row: Mapping[str, Any]) -> tuple[str, str]:
    """Name of the wording that is drawn for a question, and the user message.

    Args:
        settings: the wordings.
        row: a row of the table of questions.
    """
    labels = dict(zip(map(int, row["codes"]), row["labels"], strict=True))
    scale = (int(row["scale_min"]), int(row["scale_max"]))
    shown = stances(labels, scale, str(row["measurement_level"]))
    wording = draw_wording(settings, str(row["question"]))
    text = render_open_question(settings, wording, str(row["text"]), str(row["topic"]), shown)
    return wording, text


def stances(labels: Mapping[int, str], scale: tuple[int, int], level: str) -> tuple[str, ...]:
    """What people answer: both ends of an ordinal scale, or every answer of a nominal one.

    None where the codebook does not name them in words.

    >>> stances({1: "never", 10: "always"}, (1, 10), "ordinal")
    ('never', 'always')
    >>> stances({1: "a", 2: "b", 3: "don't know"}, (1, 3), "nominal")
    ('a', 'b')
    >>> stances({1: "1", 5: "5"}, (1, 5), "ordinal")
    ()
    """
    codes = scale if level == "ordinal" else range(scale[0], scale[1] + 1)
    named = [labels.get(code, "") for code in codes]
    named = [label for label in named if not (label and means_no_answer(label))]
    in_words = all(any(map(str.isalpha, label)) for label in named)
    return tuple(named) if in_words and len(named) > 1 else ()


def check_open_questions(study: Study, root: Path) -> tuple[list[str], list[str]]:
    """What cannot be right of a study's open questions, and what is doubtful; a line each.

    Args:
        study: its wordings exist.
        root: folder that relative paths start from.
    """
    path = root / study.survey.codebook
    if study.generation is None or not path.is_file():
        return [], []
    settings = ReadingSettings.model_validate(reading_settings(study))
    book = codebook.load(path)
    names = [name for name in settings.questions or book if name in book]
    asked = [
        codebook.recoded(book[name], settings.recode_of(name))
        for name in names
        if name not in settings.exclude
    ]
    return _wordless(study, asked), _doubtful(study, asked)


def _wordless(study: Study, questions: Iterable[Question]) -> list[str]:
    """A line where a wording names answers and the codebook has no words for them."""
    wordings = wordings_with(open_questions(study), "stances")
    wordless = [
        q.question
        for q in questions
        if not stances(q.labels, (q.scale_min, q.scale_max), q.measurement_level)
    ]
    if not (wordings and wordless):
        return []
    return [
        f"generation.wordings: {wordings[0]} names the answers at the ends of a scale, and the "
        f"codebook has no words for those of {_some(wordless)}; add labels, or take another wording"
    ]


def _doubtful(study: Study, questions: Iterable[Question]) -> list[str]:
    """A line where a wording names topics and the codebook gives none, and one where none write."""
    lines = []
    without = [q.question for q in questions if not q.has_topic]
    if without and wordings_with(open_questions(study), "topic"):
        lines.append(
            f"generation.wordings: the codebook has no topic for {_some(without)}; open questions "
            "quote the question in its place"
        )
    if not study.generation_runs():
        lines.append("generation: the study has no language model to write open-ended answers")
    return lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
