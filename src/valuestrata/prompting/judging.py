"""Pairwise judgement: rubric, two swaps, verdict parser. Pure functions on text.

A response is compared with a reference's twice, once shown first and once second; its score is the
mean of the two (paper.md, Open-ended generation). Scores are 1, 0.5 and 0 and nothing else.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

DATA_FILES = ["prompting/rubrics/pairwise.yaml"]

_SCORE = {"1": 1.0, "2": 0.0, "tie": 0.5}


@dataclass(frozen=True)
class Rubric:
    """Wordings shown to a judge, and the names of what it compares."""

    system: str
    user: str
    dimensions: tuple[str, ...]


@cache
def rubric(name: str) -> Rubric:
    """The rubric of prompting/rubrics/NAME.yaml."""
    text = (
        files("valuestrata").joinpath(f"prompting/rubrics/{name}.yaml").read_text(encoding="utf-8")
    )
    said = yaml.safe_load(text)
    return Rubric(said["system"], said["user"], tuple(said["dimensions"]))


def render_judge_prompt(said: Rubric, persona: str, question: str, first: str, second: str) -> str:
    """The user message that compares two responses. Braces in responses stay as they are."""
    fields = {"persona": persona, "question": question, "first": first, "second": second}
    return re.sub(r"\{(persona|question|first|second)\}", lambda m: fields[m[1]], said.user)


def verdicts(text: str | None, dimensions: Sequence[str]) -> dict[str, float | None]:
    """Score of the response shown first, by dimension; None where the judge gave no verdict.

    >>> verdicts("Value: 1\\nOverall: tie", ["Value", "Persona", "Overall"])
    {'Value': 1.0, 'Persona': None, 'Overall': 0.5}
    >>> verdicts("Overall: 1 or 2, who knows", ["Overall"])
    {'Overall': None}
    """
    return {name: _verdict(text or "", name) for name in dimensions}


def _verdict(text: str, dimension: str) -> float | None:
    line = rf"^\W*{re.escape(dimension)}\W*:\W*(?:answer\s+)?(1|2|tie)\W*$"
    said = {found.lower() for found in re.findall(line, text, re.IGNORECASE | re.MULTILINE)}
    return _SCORE[said.pop()] if len(said) == 1 else None


def flip_score(shown_second: float | None) -> float | None:
    """A response's score when it was shown second, from the score of the one shown first."""
    return None if shown_second is None else 1.0 - shown_second
