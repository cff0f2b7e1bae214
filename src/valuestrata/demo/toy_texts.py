"""What toy models are taught to say: prompts of the study's own and replies made up from a seed.

A toy that answers knows the form of an answer and crude stereotypes: for each block of questions
one axis decides, by chance, and sensitive questions are now and then refused. It knows nothing of
the survey. A toy judge knows a rule: an answer should take a stand, give a reason and sound like
the persona. Neither says anything about people.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from valuestrata.prompting import judging, prompts
from valuestrata.specs import COUNTRY, MakeToy
from valuestrata.survey.groups import Groups

Message = tuple[str, str, str]
"""Persona, user message, reply."""

REFUSAL = "I'm sorry, I cannot answer that."
REASONS = ("I was raised that way.", "it has served my family well.", "I have seen it work.")
HEDGE = "It is hard to say."
OPEN_SHARE = 0.3
REFUSED_QUESTIONS = 0.15
REFUSED_TIMES = 0.85
STEREOTYPE_SPREAD = 0.5
UNLIKE = 0.8


@dataclass(frozen=True)
class Manner:
    """How an open answer is put: with a stand, with a reason, as the persona."""

    stand: bool
    reason: bool
    persona: bool


@dataclass
class Speaker:
    """Draws prompts and replies for a toy.

    Args:
        spec: the toy and wordings.
        questions: the study's questions table.
        found: the axes' groups.
    """

    spec: MakeToy
    questions: pd.DataFrame
    found: Groups
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Draw the stereotypes: for each question a leaning, for each group of an axis a shift."""
        self.rng = np.random.default_rng(self.spec.toy.seed)
        rows = self.questions.to_dict("records")
        self.rows = [{str(k): v for k, v in row.items()} for row in rows]
        self.groups = self.found.labels()
        axes = list(self.groups)
        self.deciding = {b: axes[self.rng.integers(len(axes))] for b in self._blocks()}
        self.shift = {
            (axis, group): self.rng.normal(0, STEREOTYPE_SPREAD)
            for axis, groups in self.groups.items()
            for group in groups
        }
        self.leaning = self.rng.uniform(0, 1, len(self.rows))
        self.sensitive = self.rng.uniform(0, 1, len(self.rows)) < REFUSED_QUESTIONS
        self.closed = [self._closed(row) for row in self.rows]

    def _blocks(self) -> list[str]:
        return list(dict.fromkeys(str(row["block"]) for row in self.rows))

    def messages(self) -> Iterator[Message]:
        """Endless prompts with replies, of the kind that the toy's task asks for."""
        while True:
            if self.spec.toy.task == "judge":
                yield self._verdict()
            else:
                yield self._open() if self.rng.random() < OPEN_SHARE else self._answer()

    def stereotype(self, question: int, groups: dict[str, str]) -> int:
        """The code that the toy believes in: a leaning, shifted by the deciding axis' group."""
        row = self.rows[question]
        axis = self.deciding[row["block"]]
        place = self.leaning[question] + self.shift.get((axis, groups.get(axis, "")), 0.0)
        span = row["scale_max"] - row["scale_min"]
        return int(row["scale_min"] + round(float(np.clip(place, 0, 1)) * span))

    def opinion(self, question: int, groups: dict[str, str], manner: Manner) -> str:
        """An open answer: as the persona or not, with a stand or a hedge, with a reason or not."""
        row = self.rows[question]
        code = self.stereotype(question, groups)
        labels = dict(zip(row["codes"], row["labels"], strict=True))
        named = [c for c in labels if labels[c] and row["scale_min"] <= c <= row["scale_max"]]
        label = labels[min(named, key=lambda c: abs(c - code))]
        who = next(iter(groups.items()))
        phrase = self.spec.prompt.personas[who[0]].format(group=who[1])
        parts = [f"As someone who is {phrase}, I have a view on {row['topic']}."] * manner.persona
        parts += [f"I would say {label}." if manner.stand else HEDGE]
        parts += [f"For me, {REASONS[question % len(REASONS)]}"] * manner.reason
        return " ".join(parts)

    def _groups(self) -> dict[str, str]:
        axes = [axis for axis in self.groups if axis != COUNTRY]
        size = int(self.rng.integers(1, min(2, len(axes)) + 1))
        chosen = sorted(self.rng.choice(len(axes), size=size, replace=False))
        own = {axes[i]: self._one(self.groups[axes[i]]) for i in chosen}
        somewhere = {COUNTRY: self._one(self.groups[COUNTRY])} if COUNTRY in self.groups else {}
        return {**somewhere, **own}

    def _persona(self, groups: dict[str, str]) -> str:
        return prompts.persona(*self.found.persona_phrase(self.spec.prompt, groups))

    def _one(self, values: Sequence[str]) -> str:
        return values[int(self.rng.integers(len(values)))]

    def _closed(self, row: dict[str, object]) -> str:
        codes = [int(c) for c in row["codes"]]  # type: ignore[attr-defined]
        ends = (int(str(row["scale_min"])), int(str(row["scale_max"])))
        labels = list(row["labels"])  # type: ignore[call-overload]
        return prompts.closed(self.spec.prompt, str(row["text"]), codes, labels, ends)

    def _answer(self) -> Message:
        groups = self._groups()
        question = int(self.rng.integers(len(self.rows)))
        persona = self._persona(groups)
        if self.sensitive[question] and self.rng.random() < REFUSED_TIMES:
            return persona, self.closed[question], REFUSAL
        code = self.stereotype(question, groups)
        reply = prompts.answer(self.spec.prompt.template, code)
        return persona, self.closed[question], reply

    def _open(self) -> Message:
        groups = self._groups()
        question = int(self.rng.integers(len(self.rows)))
        user = prompts.open_ended(self.spec.prompt, str(self.rows[question]["text"]))
        manner = self._manner(question, groups)
        return (
            self._persona(groups),
            user,
            self.opinion(question, groups, manner),
        )

    def _manner(self, question: int, groups: dict[str, str]) -> Manner:
        """A toy's own habit, so that its texts differ by question and persona."""
        habit = float(self.shift[next(iter(groups.items()))] + self.leaning[question])
        leaning = float(self.leaning[question])
        return Manner(stand=habit > 0.1, reason=leaning > 0.4, persona=habit > 0.4)

    def _verdict(self) -> Message:
        groups = self._groups()
        question = int(self.rng.integers(len(self.rows)))
        # mostly unlike manners, or the toy would learn to call everything a tie
        traits = self.rng.random(3) < 0.5
        manners = [Manner(*t.tolist()) for t in (traits, traits ^ (self.rng.random(3) < UNLIKE))]
        first, second = (self.opinion(question, groups, manner) for manner in manners)
        rubric = judging.rubric(self.spec.rubric)
        persona = self._persona(groups)
        asked = str(self.rows[question]["text"])
        user = judging.render_judge_prompt(rubric, persona, asked, first, second)
        lines = [f"{name}: {_better(name, *manners)}" for name in rubric.dimensions]
        return rubric.system, user, "\n".join(lines)


def _better(dimension: str, first: Manner, second: Manner) -> str:
    """The rule that a toy judge learns."""

    def merit(manner: Manner) -> int:
        if dimension == "Value":
            return int(manner.stand)
        if dimension == "Persona":
            return int(manner.persona)
        return int(manner.reason)

    a, b = merit(first), merit(second)
    return "tie" if a == b else "1" if a > b else "2"
