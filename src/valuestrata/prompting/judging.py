"""Pairwise judgement: the rubric's prompt and the parser of verdicts. Pure functions on text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from valuestrata.prompting.settings import data_file
from valuestrata.prompting.thinking import split_thought
from valuestrata.study.yaml import read_yaml

_SCORES = {"1": 1.0, "2": 0.0, "tie": 0.5}


@dataclass(frozen=True)
class Rubric:
    """Wordings shown to a judge, and the names of what it compares."""

    system: str
    user: str
    dimensions: tuple[str, ...]


@cache
def rubric(name: str) -> Rubric:
    """A rubric, by its name or its id (`pairwise@0123456789ab`)."""
    content = read_yaml(data_file("rubrics", name))
    return Rubric(content["system"], content["user"], tuple(content["dimensions"]))


def render_judge_prompt(
    rubric: Rubric, persona: str, question: str, first: str, second: str
) -> str:
    """The user message that compares two responses. Braces in responses stay as they are."""
    fields = {"persona": persona, "question": question, "first": first, "second": second}
    return re.sub(r"\{(persona|question|first|second)\}", lambda m: fields[m[1]], rubric.user)


def verdicts(
    text: str | None, dimensions: Sequence[str], is_cut: bool = False
) -> dict[str, float | None]:
    """Score of the response shown first, by dimension; None where the judge gave no verdict.

    Scores are 1 (better), 0.5 (a tie) and 0, and nothing else. A thought holds no verdict, nor does
    the last line of a text that `is_cut`, that is ended at its token limit.

    >>> verdicts("Value: 1\\nOverall: tie", ["Value", "Persona", "Overall"])
    {'Value': 1.0, 'Persona': None, 'Overall': 0.5}
    >>> verdicts("Overall: 1 or 2, who knows", ["Overall"])
    {'Overall': None}
    >>> verdicts("<think>Overall: 2</think>Overall: 1", ["Overall"])
    {'Overall': 1.0}
    """
    reply = split_thought(text or "").reply
    whole = reply.rpartition("\n")[0] if is_cut else reply
    return {name: _verdict(whole, name) for name in dimensions}


def _verdict(text: str, dimension: str) -> float | None:
    line = rf"^\W*{re.escape(dimension)}\W*:\W*(?:answer\s+)?(1|2|tie)\W*$"
    matches = re.findall(line, text, re.IGNORECASE | re.MULTILINE)
    choices = {choice.lower() for choice in matches}
    return _SCORES[choices.pop()] if len(choices) == 1 else None
