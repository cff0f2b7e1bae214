"""Pairs of a split as token ids: prompts in, replies out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat
from valuestrata.io import records
from valuestrata.prompting import prompts
from valuestrata.study.recipes import Validation


@dataclass(frozen=True)
class Example:
    """A prompt and the reply to learn, terminator included, as token ids.

    group: the subgroup it belongs to; weight: how much it counts in the loss, 1 on average.
    """

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    group: str = field(default="", kw_only=True)
    weight: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class Pair(Example):
    """A (subgroup, question) with all of its answers; `reply` is the modal one.

    options: whole replies, one a code [C]; shares: how many of the subgroup give each [C];
    place: where each code lies between the ends of the scale, 0 and 1 [C]; off-scale codes lie
    outside. Of a nominal question it is empty.
    """

    options: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...]
    place: tuple[float, ...]
    question: str


@dataclass(frozen=True)
class TuningData:
    """The pairs of a split as a table and as token ids, row by row, and what rendered them."""

    pairs: pd.DataFrame
    examples: list[Pair]
    chat: Chat
    template: str


def tuning_data(pairs: pd.DataFrame, chat: Chat, template: str) -> TuningData:
    """The pairs of a split, rendered by a model's chat template and a prompt template's replies."""
    return TuningData(pairs, encode_pairs(pairs, chat, template), chat, template)


def encode_pairs(pairs: pd.DataFrame, chat: Chat, template: str) -> list[Pair]:
    """One example a pair: persona and question in, modal answer out, beside all other answers."""
    return [
        Pair(
            chat.prompt(row["persona"], row["closed_prompt"]).ids,
            chat.encode_reply(prompts.answer(template, int(row["mode"]))),
            options=tuple(
                chat.encode_reply(prompts.answer(template, int(c))) for c in row["codes"]
            ),
            shares=tuple(map(float, row["distribution"])),
            place=_place(row) if row["measurement_level"] == "ordinal" else (),
            question=str(row["question"]),
            group=str(row["subgroup"]),
        )
        for row in records(pairs)
    ]


def _place(row: dict[str, Any]) -> tuple[float, ...]:
    """Where each code lies between the ends of the scale."""
    scale_min, scale_max = int(row["scale_min"]), int(row["scale_max"])
    return tuple((int(code) - scale_min) / (scale_max - scale_min) for code in row["codes"])


def split_validation(
    examples: Sequence[Pair], validation: Validation, seed: int
) -> tuple[list[int], list[int]]:
    """Positions of the pairs to train on, and of those that validate, both in order.

    Raises:
        InputError: one of the two would be empty though a share is asked for.
    """
    if not validation.share:
        return list(range(len(examples))), []
    by_question = validation.by == "question"
    units = [p.question if by_question else str(i) for i, p in enumerate(examples)]
    names = list(dict.fromkeys(units))
    n = round(validation.share * len(names))
    if not 0 < n < len(names):
        raise InputError(
            f"recipe: validation: a share of {validation.share} of {len(names)} "
            f"{validation.by}s is {n}; choose another share"
        )
    drawn = np.random.default_rng([seed, 1]).choice(len(names), size=n, replace=False)
    held_out = {names[i] for i in drawn}
    return (
        [i for i, unit in enumerate(units) if unit not in held_out],
        [i for i, unit in enumerate(units) if unit in held_out],
    )
