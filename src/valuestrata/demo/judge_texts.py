"""What a toy judge is taught: verdicts on two opinions of toys, by a rule.

An answer should take a stand, give a reason and sound like the persona. It says nothing about
people.
"""

from collections.abc import Iterator

from valuestrata.demo.toy_texts import Manner, Message, ToyTexts
from valuestrata.prompting import judging
from valuestrata.survey.open_questions import open_question

FLIP_RATE = 0.8
"""How often the second answer differs from the first in each part of its manner."""


class JudgeTexts(ToyTexts):
    """Draws prompts and verdicts for a toy that judges."""

    def messages(self) -> Iterator[Message]:
        """Endless prompts with verdicts."""
        while True:
            yield self._verdict()

    def _verdict(self) -> Message:
        groups = self.draw_groups()
        question = self.draw_question()
        # mostly unlike manners, or the toy would learn to call everything a tie
        traits = self.rng.random(3) < 0.5
        flipped = traits ^ (self.rng.random(3) < FLIP_RATE)
        manners = [Manner(*values.tolist()) for values in (traits, flipped)]
        first, second = (self.opinion(question, groups, manner) for manner in manners)
        rubric = judging.rubric(self.rubric)
        _, text = open_question(self.open_questions, self.rows[question])
        comparison = judging.PairwiseComparison(self.persona(groups), text, first, second)
        system, user = judging.render_judge_prompt(rubric, comparison)
        lines = [f"{name}: {better(name, *manners)}" for name in rubric.dimensions]
        return system, user, "\n".join(lines)


def better(dimension: str, first: Manner, second: Manner) -> str:
    """1, 2 or tie by the rule that a toy judge learns."""

    def merit(manner: Manner) -> int:
        if dimension == "Value":
            return int(manner.stand)
        if dimension == "Persona":
            return int(manner.persona)
        return int(manner.reason)

    a, b = merit(first), merit(second)
    return "tie" if a == b else "1" if a > b else "2"
