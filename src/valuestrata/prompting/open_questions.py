"""Open questions: what a survey asks, put so that a persona answers it in its own words. Pure.

The wordings are files of prompting/open_questions, one a language. A wording is drawn for each
question by its name and a seed, so that all subgroups and all runs are asked a question alike, and
no other question's draw depends on it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from valuestrata.prompting.settings import data_file, open_questions_id
from valuestrata.provenance import text_digest
from valuestrata.study.base import Part
from valuestrata.study.study import Study
from valuestrata.study.yaml import read_yaml

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


def draw_wording(settings: OpenQuestions, question: str) -> str:
    """The wording of a question, by its name in the survey."""
    draw = int(text_digest([question, str(settings.seed)])[:15], 16)
    return settings.wordings[draw % len(settings.wordings)]


def render_open_question(
    settings: OpenQuestions, wording: str, question: str, topic: str, stances: Sequence[str]
) -> str:
    """The user message of an open question.

    Args:
        settings: which file the wording is of.
        wording: its name.
        question: the survey's wording.
        topic: what it is about.
        stances: what people answer to it, in words.

    >>> settings = OpenQuestions(file="english")
    >>> print(render_open_question(settings, "stance", "Is it so?", "it", ["yes", "no"])[:40])
    Is it so? Some people say “yes” or “no”.
    """
    words = _file(settings.file)
    quoted = [str(words["stance"]).format(label=label) for label in stances]
    shown = words["last"].join(filter(None, [words["join"].join(quoted[:-1]), *quoted[-1:]]))
    return str(words["wordings"][wording]).format(question=question, topic=topic, stances=shown)


def wordings_with(settings: OpenQuestions, part: str) -> list[str]:
    """Those of the wordings that name a part: question, topic or stances."""
    texts: Mapping[str, str] = _file(settings.file)["wordings"]
    return [name for name in settings.wordings if f"{{{part}}}" in texts[name]]


@cache
def _file(name: str) -> dict[str, Any]:
    return dict(read_yaml(data_file("open_questions", name)))
