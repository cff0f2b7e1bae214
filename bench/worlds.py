"""Worlds with a known truth, in which bench/statistics.py and the tests try the statistics.

Symbols: S subgroups, Q questions, C codes, N respondents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from valuestrata.demo import population
from valuestrata.survey.encoded import EncodedSurvey, Scale
from valuestrata.survey.tally import Members, count_strata, strata_members, subgroup_groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
AXES = ("sex", "age", "ethnicity", "religion")
LABELS = {
    axis: tuple(f"{axis} {i}" for i in range(len(simulated.codes)))
    for axis, simulated in zip(AXES, population.AXES, strict=True)
}
OOD = (("age", "religion"), ("age", "ethnicity"), ("ethnicity", "religion"))
N = 2012
MIN_N = 30
BLOCK = 20


# Scores of groups ----------------------------------------------------------------------------


def scores(
    rng: np.random.Generator, groups: int, questions: int, sd: float, kind: str
) -> tuple[Floats, Floats]:
    """[S] true mean scores, and [S, Q] scores of 0 or 1 on a sample of questions.

    Questions differ in difficulty, the same for all groups.

    Args:
        rng: where the draws come from.
        groups: S.
        questions: Q.
        sd: true standard deviation between groups, as a share.
        kind: `normal` groups; `far`: one in ten 5 times sd lower, the others equal; `interaction`:
            normal, and each group finds other questions hard besides.
    """
    effects = rng.normal(0, sd, groups)
    if kind == "far":
        effects = np.where(np.arange(groups) < max(1, groups // 10), -5 * sd, 0.0)
    hardness = 0.1 + 0.7 * rng.beta(3, 2, questions)
    every = 0.1 + 0.7 * rng.beta(3, 2, 20_000)  # all questions that could be asked
    truth = np.clip(every + effects[:, None], 0, 1).mean(axis=1)
    chance = hardness + effects[:, None]
    if kind == "interaction":
        chance = chance + rng.normal(0, 0.1, chance.shape)
    return truth, (rng.random(chance.shape) < np.clip(chance, 0, 1)).astype(np.float64)


# Surveys -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class World:
    """A survey of 2,012 people of a population whose answers are known.

    strata: subgroups of each. counts: [S, Q, C] answers in the sample, a stratum each. true:
    [S, Q, C] shares of the population.
    """

    survey: EncodedSurvey
    strata: list[Members]
    counts: list[Floats]
    true: list[Floats]


def scale(questions: int, codes: int) -> Scale:
    """Ordered scales of 1 to C."""
    return Scale(
        questions=tuple(f"Q{q}" for q in range(questions)),
        codes=np.tile(np.arange(1, codes + 1), (questions, 1)),
        real=np.ones((questions, codes), dtype=bool),
        scale_min=np.ones(questions, dtype=np.int64),
        scale_max=np.full(questions, codes),
        ordinal=np.ones(questions, dtype=bool),
    )


def survey(
    rng: np.random.Generator,
    questions: int,
    codes: int,
    spread: float,
    strata: Sequence[tuple[str, ...]] = OOD,
) -> World:
    """Answers that follow a latent attitude: the axes' effects, a block's factor, and noise.

    Effects add up over the axes, of age as a trend; they are larger on some questions than on
    others. Blocks have 20 questions, whose factor makes a quarter of the noise: so answers of a
    respondent go together.

    Args:
        rng: where the draws come from.
        questions: Q.
        codes: C.
        spread: standard deviation of an axis' effect, in those of the attitude.
        strata: axes of each.
    """
    everyone = _everyone()
    cells, place, size = np.unique(everyone, axis=0, return_inverse=True, return_counts=True)
    effects = _effects(rng, cells, questions) * spread * rng.uniform(0, 2, questions)
    cuts = np.sort(rng.normal(0, 1, (questions, codes - 1)), axis=1)
    below = ndtr(cuts - effects[..., None])
    chance = np.diff(below, axis=-1, prepend=0.0, append=1.0)  # [cells, Q, C]
    people = place[rng.integers(0, N, N)]
    factor = np.repeat(rng.normal(0, 1, (N, -(-questions // BLOCK))), BLOCK, axis=1)[:, :questions]
    latent = effects[people] + 0.5 * factor + np.sqrt(0.75) * rng.normal(0, 1, (N, questions))
    answers = (latent[..., None] > cuts).sum(axis=-1)
    groups = pd.DataFrame(
        {axis: np.array(LABELS[axis])[cells[people, i]] for i, axis in enumerate(AXES)}
    )
    scales = scale(questions, codes)
    members = strata_members(groups, strata, LABELS, MIN_N)
    true = [_shares(m, axes, cells, size, chance) for m, axes in zip(members, strata, strict=True)]
    counts = count_strata(answers, members, codes)
    return World(EncodedSurvey(scales, answers, np.ones(N), groups), members, counts, true)


@cache
def _everyone() -> Ints:
    return population.everyone(population.joint_table(N))


def _effects(rng: np.random.Generator, cells: Ints, questions: int) -> Floats:
    """[cells, Q] effect of the axes' groups, each axis of variance 1 or a quarter."""
    effects = np.zeros((len(cells), questions))
    for i, axis in enumerate(AXES):
        of_group = rng.normal(0, 1, (len(LABELS[axis]), questions))
        if axis == "age":
            trend = np.linspace(-1.5, 1.5, len(LABELS[axis]))[:, None]
            of_group = trend * rng.normal(0, 1, questions) + 0.3 * of_group
        effects += of_group[cells[:, i]] * rng.choice([0.5, 1.0], questions)
    return effects


def _shares(
    members: Members, axes: tuple[str, ...], cells: Ints, size: Ints, chance: Floats
) -> Floats:
    """[S, Q, C] shares of the population of each subgroup."""
    rows = []
    for name in members.names:
        inside = np.ones(len(cells), dtype=bool)
        for axis, group in subgroup_groups(name).items():
            inside &= cells[:, list(AXES).index(axis)] == LABELS[axis].index(group)
        rows.append(np.tensordot(size[inside] / size[inside].sum(), chance[inside], axes=1))
    return np.stack(rows)


def levels(strata: Sequence[Members]) -> dict[str, Floats]:
    """[G, S] members of the groups of each level: subgroups, then each axis in the strata."""
    names = [name for members in strata for name in members.names]
    groups = pd.DataFrame([subgroup_groups(name) for name in names])
    result = {"subgroups": np.eye(len(names))}
    for axis in groups:
        every = np.array(groups[axis].dropna().unique(), dtype=object)
        member = groups[axis].to_numpy()[None, :] == every[:, None]
        result[str(axis)] = member.astype(np.float64)
    return result
