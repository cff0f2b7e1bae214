"""Open questions: what a survey asks, put so that a persona answers it in its own words. Pure.

The wordings are files of prompting/open_questions, one a language. A wording is chosen for each
question by its name and a seed, so that all subgroups and all runs are asked a question alike, and
another question or wording's text changes no other's choice.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from valuestrata.prompting.settings import data_file, open_questions_id
from valuestrata.provenance import text_digest
from valuestrata.study.base import Part
from valuestrata.study.study import Study
from valuestrata.study.yaml import read_yaml
from valuestrata.survey.codebook import Question
from valuestrata.survey.value_labels import means_no_answer

SHOWN = 5
"""Questions that a message names one by one."""
PLAIN = ("question",)
"""The wordings of a study that names none: the survey's question itself."""


class OpenQuestions(Part):
    """How open questions are worded.

    Attributes:
        file: `open_questions_id` of the file.
        wordings: names of those that are drawn from.
        seed: of the draw.
    """

    file: str
    wordings: tuple[str, ...] = PLAIN
    seed: int = 1


def open_questions(study: Study) -> OpenQuestions:
    """The wordings of a study's open questions, in the language of its prompt."""
    chosen = study.generation
    return OpenQuestions(
        file=open_questions_id(study.prompt.template),
        wordings=chosen.wordings if chosen else PLAIN,
        seed=chosen.seed if chosen else 1,
    )


def render_open_question(settings: OpenQuestions, row: Mapping[str, Any]) -> tuple[str, str]:
    """Name of the wording that is drawn for a question, and the user message.

    Args:
        settings: the wordings.
        row: a row of the table of questions.

    >>> row = {"question": "Q1", "topic": "family", "text": "How much does it matter?",
    ...     "measurement_level": "ordinal", "scale_min": 1, "scale_max": 3, "codes": [1, 2, 3],
    ...     "labels": ["a lot", "somewhat", "not at all"]}
    >>> settings = OpenQuestions(file="english", wordings=("stance",))
    >>> print(render_open_question(settings, row)[1][:70])
    How much does it matter? Some people say “a lot” or “not at all”. Wher
    """
    draw = int(text_digest([str(row["question"]), str(settings.seed)])[:15], 16)
    wording = settings.wordings[draw % len(settings.wordings)]
    words = _file(settings.file)
    labels = dict(zip(map(int, row["codes"]), row["labels"], strict=True))
    shown = stances(
        labels, (int(row["scale_min"]), int(row["scale_max"])), row["measurement_level"]
    )
    text = str(words["wordings"][wording]).format(
        question=row["text"], topic=row["topic"], stances=_listed(words, shown)
    )
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


def problems(study: Study, questions: Iterable[Question]) -> list[str]:
    """A line where a wording names answers and the codebook has no words for them."""
    wordings = _naming(study, "stances")
    wordless = [
        q.question
        for q in (questions if wordings else ())
        if not stances(q.labels, (q.scale_min, q.scale_max), q.measurement_level)
    ]
    if not wordless:
        return []
    return [
        f"generation.wordings: {wordings[0]} names the answers at the ends of a scale, and the "
        f"codebook has no words for those of {_some(wordless)}; add labels, or take another wording"
    ]


def notices(study: Study, questions: Iterable[Question]) -> list[str]:
    """A line where a wording names topics and the codebook gives none, and one where none write."""
    lines = []
    without = [q.question for q in questions if not q.has_topic]
    if without and _naming(study, "topic"):
        lines.append(
            f"generation.wordings: the codebook has no topic for {_some(without)}; open questions "
            "quote the question in its place"
        )
    if study.generation and not study.generation_runs():
        lines.append("generation: the study has no language model to write open-ended answers")
    return lines


def _naming(study: Study, part: str) -> list[str]:
    """The study's wordings that name a part: question, topic or stances."""
    if study.generation is None:
        return []
    texts = _file(study.prompt.template)["wordings"]
    return [name for name in study.generation.wordings if f"{{{part}}}" in texts[name]]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _listed(words: Mapping[str, Any], shown: Sequence[str]) -> str:
    quoted = [str(words["stance"]).format(label=label) for label in shown]
    return str(words["join"]).join(quoted[:-1]) + str(words["last"]) + quoted[-1] if quoted else ""


@cache
def _file(name: str) -> dict[str, Any]:
    return dict(read_yaml(data_file("open_questions", name)))
