"""What a backend can do, whatever runs behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Question:
    """A closed prompt: messages, and the reply that would give each option."""

    persona: str
    user: str
    replies: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Both readings of a closed prompt: what was written, and log p of each whole reply [C]."""

    text: str
    logprobs: NDArray[np.float64]


class LanguageModel(Protocol):
    """A loaded model. Replies come in the order of the prompts."""

    def answer(self, questions: Sequence[Question], max_new_tokens: int) -> list[Answer]:
        """Greedy text and log-probability of every option, up to its terminator."""

    def generate(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        temperature: float,
        seed: int,
    ) -> list[str]:
        """Text for each (persona, user) prompt; temperature 0 is greedy."""
