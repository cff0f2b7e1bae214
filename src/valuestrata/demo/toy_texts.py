"""What toy models are taught: prompts of the study's own and replies made up from a seed.

A toy that answers knows the form of an answer and crude stereotypes: for each block of questions
one axis decides, by chance, and sensitive questions are now and then refused. It knows nothing of
the survey, and says nothing about people. What a toy judge is taught: demo/judge_texts.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from valuestrata.io import records
from valuestrata.prompting import prompts
from valuestrata.prompting.open_questions import OpenQuestions
from valuestrata.prompting.settings import PromptSettings
from valuestrata.study.models import Toy
from valuestrata.study.splits import COUNTRY
from valuestrata.survey.groups import Groups
from valuestrata.survey.open_questions import open_question

Message = tuple[str, str, str]
"""Persona, user message, reply."""

REFUSAL = "I'm sorry, I cannot answer that."
REASONS = ("I was raised that way.", "it has served my family well.", "I have seen it work.")
HEDGE = "It is hard to say."
OPEN_SHARE = 0.3
REFUSED_QUESTIONS = 0.15
REFUSAL_RATE = 0.85
STEREOTYPE_SD = 0.5


@dataclass(frozen=True)
class Manner:
    """How an open answer is put: with a stand, with a reason, as the persona."""

    stand: bool
    reason: bool
    persona: bool


@dataclass
class ToyTexts:
    """Draws prompts and replies for a toy that answers.

    Args:
        toy: the toy's seed.
        prompt: how prompts are worded.
        rubric: a judge's rubric, '' for a toy that answers.
        questions: the study's questions table.
        groups: the axes' groups.
        open_questions: how open questions are worded.
    """

    toy: Toy
    prompt: PromptSettings
    rubric: str
    questions: pd.DataFrame
    groups: Groups
    open_questions: OpenQuestions
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Draw the stereotypes: for each question a leaning, for each group of an axis a shift."""
        self.rng = np.random.default_rng(self.toy.seed)
        self.rows = records(self.questions)
        self.labels = self.groups.labels()
        axes = list(self.labels)
        blocks = dict.fromkeys(str(row["block"]) for row in self.rows)
        self.deciding_axis = {block: axes[self.rng.integers(len(axes))] for block in blocks}
        self.shift = {
            (axis, group): self.rng.normal(0, STEREOTYPE_SD)
            for axis, groups in self.labels.items()
            for group in groups
        }
        self.leaning = self.rng.uniform(0, 1, len(self.rows))
        self.sensitive = self.rng.uniform(0, 1, len(self.rows)) < REFUSED_QUESTIONS
        self.closed_prompts = [self._closed_prompt(row) for row in self.rows]

    def messages(self) -> Iterator[Message]:
        """Endless prompts with replies."""
        while True:
            yield self._open() if self.rng.random() < OPEN_SHARE else self._closed()

    def stereotype(self, question: int, groups: dict[str, str]) -> int:
        """The code that the toy believes in: a leaning, shifted by the deciding axis' group."""
        row = self.rows[question]
        axis = self.deciding_axis[row["block"]]
        place = self.leaning[question] + self.shift.get((axis, groups.get(axis, "")), 0.0)
        width = row["scale_max"] - row["scale_min"]
        return int(row["scale_min"] + round(float(np.clip(place, 0, 1)) * width))

    def opinion(self, question: int, groups: dict[str, str], manner: Manner) -> str:
        """An open answer: as the persona or not, with a stand or a hedge, with a reason or not."""
        row = self.rows[question]
        code = self.stereotype(question, groups)
        labels = dict(zip(row["codes"], row["labels"], strict=True))
        labelled = [c for c in labels if labels[c] and row["scale_min"] <= c <= row["scale_max"]]
        label = labels[min(labelled, key=lambda c: abs(c - code))]
        axis, group = next(iter(groups.items()))
        phrase = self.prompt.personas[axis].format(group=group)
        parts = [f"As someone who is {phrase}, I have a view on {row['topic']}."] * manner.persona
        parts += [f"I would say {label}." if manner.stand else HEDGE]
        parts += [f"For me, {REASONS[question % len(REASONS)]}"] * manner.reason
        return " ".join(parts)

    def draw_groups(self) -> dict[str, str]:
        """Groups of one or two axes, and a country where there are several."""
        axes = [axis for axis in self.labels if axis != COUNTRY]
        size = int(self.rng.integers(1, min(2, len(axes)) + 1))
        chosen = sorted(self.rng.choice(len(axes), size=size, replace=False))
        traits = {axes[i]: self._draw(self.labels[axes[i]]) for i in chosen}
        country = {COUNTRY: self._draw(self.labels[COUNTRY])} if COUNTRY in self.labels else {}
        return {**country, **traits}

    def _draw(self, values: Sequence[str]) -> str:
        return values[int(self.rng.integers(len(values)))]

    def draw_question(self) -> int:
        """Position of a question."""
        return int(self.rng.integers(len(self.rows)))

    def persona(self, groups: dict[str, str]) -> str:
        """The message that describes these groups."""
        return prompts.persona(*self.groups.persona_phrase(self.prompt, groups))

    def _closed_prompt(self, row: dict[str, Any]) -> str:
        codes = [int(code) for code in row["codes"]]
        scale = (int(row["scale_min"]), int(row["scale_max"]))
        return prompts.closed(self.prompt, str(row["text"]), codes, list(row["labels"]), scale)

    def _closed(self) -> Message:
        groups = self.draw_groups()
        question = self.draw_question()
        persona = self.persona(groups)
        if self.sensitive[question] and self.rng.random() < REFUSAL_RATE:
            return persona, self.closed_prompts[question], REFUSAL
        reply = prompts.answer(self.prompt.template, self.stereotype(question, groups))
        return persona, self.closed_prompts[question], reply

    def _open(self) -> Message:
        groups = self.draw_groups()
        question = self.draw_question()
        _, user = open_question(self.open_questions, self.rows[question])
        opinion = self.opinion(question, groups, self._manner(question, groups))
        return self.persona(groups), user, opinion

    def _manner(self, question: int, groups: dict[str, str]) -> Manner:
        """A toy's habit, so that its texts differ by question and persona."""
        habit = float(self.shift[next(iter(groups.items()))] + self.leaning[question])
        leaning = float(self.leaning[question])
        return Manner(stand=habit > 0.1, reason=leaning > 0.4, persona=habit > 0.4)
