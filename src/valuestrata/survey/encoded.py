"""A survey's answers as arrays, encoded once for whatever counts them.

Symbols: N respondents, Q questions, C codes (the widest question's; narrower ones are padded with
codes that nobody gave), A axes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

NO_ANSWER = -1
SLAB = 2_000_000
"""Answers encoded or counted at a time: what bounds the temporary arrays."""


@dataclass(frozen=True)
class Scale:
    """The questions' codes as arrays.

    codes: [Q, C] ascending, padded at the right. real: [Q, C] whether a code exists. scale_min,
    scale_max: [Q]. ordinal: [Q].
    """

    questions: tuple[str, ...]
    codes: Ints
    real: NDArray[np.bool_]
    scale_min: Ints
    scale_max: Ints
    ordinal: NDArray[np.bool_]

    @property
    def on_scale(self) -> NDArray[np.bool_]:
        """[Q, C] whether a code lies between the scale's ends."""
        inside = (self.codes >= self.scale_min[:, None]) & (self.codes <= self.scale_max[:, None])
        return self.real & inside

    @property
    def width(self) -> Ints:
        """[Q] points of each scale."""
        return self.scale_max - self.scale_min + 1


def scale_of(questions: pd.DataFrame) -> Scale:
    """The scales of a questions table."""
    lists = [list(codes) for codes in questions["codes"]]
    sizes = np.array([len(codes) for codes in lists])
    real = np.arange(sizes.max()) < sizes[:, None]
    codes = np.repeat([[max(row)] for row in lists], sizes.max(), axis=1).astype(np.int64)
    codes[real] = np.concatenate(lists)
    return Scale(
        questions=tuple(questions["question"]),
        codes=codes,
        real=real,
        scale_min=questions["scale_min"].to_numpy(dtype=np.int64),
        scale_max=questions["scale_max"].to_numpy(dtype=np.int64),
        ordinal=(questions["measurement_level"] == "ordinal").to_numpy(dtype=bool),
    )


def encode_survey(responses: pd.DataFrame, questions: pd.DataFrame) -> "EncodedSurvey":
    """The arrays of the tables of responses and questions."""
    scale = scale_of(questions)
    others = {"respondent", "weight", *scale.questions}
    return EncodedSurvey(
        scale=scale,
        answers=encode(responses, scale),
        weight=responses["weight"].to_numpy(dtype=np.float64),
        groups=responses[[name for name in responses.columns if name not in others]],
    )


@dataclass(frozen=True)
class EncodedSurvey:
    """What respondents said and who they are.

    scale: of the questions. answers: [N, Q] position of each answer among its question's codes, or
    NO_ANSWER. weight: [N]. groups: [N, A] label of each one's group on each axis, or missing.
    """

    scale: Scale
    answers: Ints
    weight: Floats
    groups: pd.DataFrame

    @property
    def width(self) -> int:
        """C."""
        return int(self.scale.codes.shape[1])


def encode(responses: pd.DataFrame, scale: Scale) -> Ints:
    """[N, Q] position of each answer among its question's codes, or NO_ANSWER.

    Of the smallest type that holds them: with 200 questions a respondent is 200 bytes.
    """
    questions = len(scale.questions)
    first = int(scale.codes.min()) - 1  # stands for no answer
    span = int(scale.codes.max()) - first + 2
    # [Q, code - first] how many of the question's codes lie below a code: its position
    below = np.zeros((questions, span), dtype=np.int16)
    q, c = np.nonzero(scale.real)
    below[q, scale.codes[q, c] - first + 1] = 1
    table = below.cumsum(axis=1, dtype=np.int16)
    table[:, 0] = NO_ANSWER
    if scale.codes.shape[1] <= np.iinfo(np.int8).max:
        table = table.astype(np.int8)
    start = np.arange(questions)[:, None] * span - first
    positions = np.empty((len(responses), questions), dtype=table.dtype)
    answers = responses[list(scale.questions)]
    rows = max(1, SLAB // questions)
    for top in range(0, len(responses), rows):
        # columns lie together in a frame, so questions come first
        part = answers if len(answers) <= rows else answers.iloc[top : top + rows]
        place = part.to_numpy(dtype=np.int64, na_value=first).T
        place = np.clip(place, first, first + span - 1)
        place += start
        positions[top : top + rows] = table.ravel()[place].T
    return positions
