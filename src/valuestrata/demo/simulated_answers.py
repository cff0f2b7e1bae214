"""What a simulated survey's respondents answer; docs/simulation.md has the model.

Symbols: N respondents, Q questions, C codes of the widest scale; groups of the axes are indexed 0..
in the order of AXES. Latent answers are in units of their own standard deviation.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from valuestrata.demo.population import AGE, AXES, ETHNICITY, RELIGION, Floats, Ints


@dataclass(frozen=True)
class BlockModel:
    """What sets the questions of a block apart.

    sex, age, ethnicity, religion: SD of the axis's effects, in SDs of the answer within a cell.
    spread: SD of the national distribution, in widths of the scale; skew: largest distance of its
    centre from the middle, in the same unit; silence: largest share of a question without answer.
    """

    sex: float
    age: float
    ethnicity: float
    religion: float
    spread: float
    skew: float
    silence: float


BLOCKS = {
    "social values": BlockModel(0.04, 0.22, 0.16, 0.32, 0.24, 0.46, 0.025),
    "happiness": BlockModel(0.05, 0.20, 0.14, 0.16, 0.20, 0.37, 0.020),
    "social capital and trust": BlockModel(0.01, 0.04, 0.03, 0.04, 0.20, 0.41, 0.030),
    "economic": BlockModel(0.06, 0.18, 0.14, 0.18, 0.22, 0.44, 0.025),
    "corruption": BlockModel(0.02, 0.05, 0.04, 0.05, 0.17, 0.40, 0.050),
    "migration": BlockModel(0.06, 0.24, 0.26, 0.26, 0.24, 0.39, 0.035),
    "security": BlockModel(0.03, 0.10, 0.08, 0.10, 0.20, 0.41, 0.025),
    "postmaterialism": BlockModel(0.03, 0.15, 0.10, 0.12, 0.30, 0.40, 0.020),
    "science and technology": BlockModel(0.04, 0.10, 0.08, 0.12, 0.20, 0.44, 0.020),
    "religious values": BlockModel(0.06, 0.15, 0.30, 1.20, 0.33, 0.48, 0.050),
    "ethical": BlockModel(0.04, 0.20, 0.18, 0.38, 0.23, 0.49, 0.050),
    "political interest": BlockModel(0.07, 0.30, 0.24, 0.30, 0.23, 0.40, 0.050),
    "political culture": BlockModel(0.05, 0.20, 0.17, 0.23, 0.20, 0.43, 0.050),
}
TRAIT_SHARE = 0.5  # of the variance of an axis's effects: common to the questions of a block
CURVATURE = 0.4  # of the effect of age: what bends its trend, against what is linear
CROSSINGS = (
    (AGE, RELIGION),
    (AGE, ETHNICITY),
    (ETHNICITY, RELIGION),
)
CROSSING_SHARE = 0.2  # of (cell, question): where the effects of the axes do not just add up
CROSSING_SIZE = 1.5  # SD of these, in SDs of the larger of the two axes' effects
FLOOR = 0.03  # of every answer, where the bell's top is 1
HEAPING = 1.6  # of a ten-point scale on its ends and its middle
FACTOR_LOADING = 0.5  # of an answer on the respondent's factor for the block

NOT_ASKED = ("Q115", "Q141", "Q221", "Q255", "Q256")
HARD_TO_SAY = ("Q119", "Q241", "Q242", "Q243", "Q245", "Q246", "Q247", "Q248", "Q249")
OUTSIDE_SCALE = {"Q111": 3, "Q222": 4, "Q254": 5} | dict.fromkeys(HARD_TO_SAY, 0)
OUTSIDE_RATES = (0.01, 0.03)
LATENT_ORDER = {"Q56": (2, 3, 1)}  # worse, the same, better: the raw codes are not in order
DONT_KNOW, NO_ANSWER, NOT_FIELDED, MISSING = -1, -2, -4, -5
DONT_KNOW_SHARE = 0.7  # of the item non-response; the rest is no answer
SILENCE_BY_AGE = 0.2  # log rate of item non-response per SD of age band
MISSING_RATE = 0.0003


def _effects(items: pd.DataFrame, groups: Ints, rng: np.random.Generator) -> Floats:
    """What sex, age, ethnicity and religion add to each latent answer, [N, Q]."""
    blocks = [BLOCKS[name] for name in items["block"]]
    sizes = np.array([[b.sex, b.age, b.ethnicity, b.religion] for b in blocks])  # [Q, 4]
    # the mean of 2u is 1: some questions of a block divide people, others hardly do
    sizes *= 2 * _even_draws(items["block"], rng)[:, None]
    total = np.zeros((len(groups), len(items)))
    signs = rng.choice([-1.0, 1.0], size=len(items))
    for index, axis in enumerate(AXES):
        trait = np.asarray(axis.trait)[:, None]
        if index == AGE:
            line = rng.normal(size=len(items)) * trait
            line += CURVATURE * rng.normal(size=len(items)) * (trait**2 - 1)
        else:
            line = rng.normal(size=(len(trait), len(items)))
        mixed = np.sqrt(TRAIT_SHARE) * signs * trait + np.sqrt(1 - TRAIT_SHARE) * line
        total += (sizes[:, index] * mixed)[groups[:, index]]
    for first, second in CROSSINGS:
        shape = (len(AXES[first].codes), len(AXES[second].codes), len(items))
        size = CROSSING_SIZE * np.maximum(sizes[:, first], sizes[:, second])
        cells = size * rng.normal(size=shape) * (rng.random(shape) < CROSSING_SHARE)
        total += cells[groups[:, first], groups[:, second]]
    return total - total.mean(axis=0)


def _marginals(items: pd.DataFrame, rng: np.random.Generator) -> Floats:
    """National distribution over the codes of each scale, lowest first, [Q, C]; 0 beyond a scale.

    A bell over the scale, cut at its ends; ten-point scales are heaped on their ends and middle.
    """
    blocks = [BLOCKS[name] for name in items["block"]]
    width = (items["scale_max"] - items["scale_min"] + 1).to_numpy(np.int64)[:, None]
    spread = np.array([[block.spread] for block in blocks])
    skew = np.array([[block.skew] for block in blocks])
    side = rng.choice([-1.0, 1.0], size=(len(items), 1))
    centre = 0.5 + side * skew * np.sqrt(_even_draws(items["block"], rng))[:, None]
    code = np.arange(width.max())
    bell = np.exp(-0.5 * (((code + 0.5) / width - centre) / spread) ** 2)
    heap = np.where((width == 10) & np.isin(code, (0, 4, 9)), HEAPING, 1.0)
    mass = np.where(code < width, bell * heap + FLOOR, 0.0)
    return mass / mass.sum(axis=1, keepdims=True)


def _even_draws(blocks: pd.Series, rng: np.random.Generator) -> Floats:
    """Draws from (0, 1), spread evenly over the questions of each block, [Q].

    Even, so that a block of six questions is not skewed by chance as a whole.
    """
    ticket = pd.Series(rng.random(len(blocks)), index=blocks.index)
    rank = ticket.groupby(blocks).rank().to_numpy()
    count = blocks.groupby(blocks).transform("size").to_numpy()
    return (rank - rng.random(len(blocks))) / count


def draw_answers(items: pd.DataFrame, groups: Ints, rng: np.random.Generator) -> Ints:
    """Complete answers in raw codes, [N, Q]."""
    people, marginals = len(groups), _marginals(items, rng)
    effects = _effects(items, groups, rng)
    block, names = pd.factorize(items["block"])
    factors = rng.normal(size=(people, len(names)))[:, block]
    systematic = effects + FACTOR_LOADING * factors
    noise = np.sqrt(1 - FACTOR_LOADING**2) * rng.normal(size=effects.shape)
    latent = (systematic + noise) / np.sqrt(1 + effects.var(axis=0))
    scale_min, scale_max = (
        items["scale_min"].to_numpy(np.int64),
        items["scale_max"].to_numpy(np.int64),
    )
    cuts = ndtri(np.minimum(marginals.cumsum(axis=1)[:, :-1], 1.0))
    # the last sum of a scale may fall an ulp short of 1
    steps = np.minimum((latent[:, :, None] > cuts).sum(axis=2), scale_max - scale_min)
    ordered = (items["measurement_level"] == "ordinal") | items["question"].isin(list(LATENT_ORDER))
    nominal = ~ordered.to_numpy()
    steps[:, nominal] = _choices(systematic[:, nominal], marginals[nominal], rng)
    answers = scale_min + steps
    for question, order in LATENT_ORDER.items():
        column = (items["question"] == question).to_numpy()
        answers[:, column] = np.asarray(order)[steps[:, column]]
    return answers


def _choices(systematic: Floats, marginals: Floats, rng: np.random.Generator) -> Ints:
    """Index of the option of highest utility, [N, Q]; no order among the options."""
    tastes = rng.normal(size=marginals.shape) * np.pi / np.sqrt(6)  # SD of a Gumbel draw
    with np.errstate(divide="ignore"):
        appeal = np.log(marginals)
    utility = appeal + systematic[:, :, None] * tastes
    utility += rng.gumbel(size=utility.shape)
    return utility.argmax(axis=2).astype(np.int64)


def add_missing(answers: Ints, items: pd.DataFrame, groups: Ints, rng: np.random.Generator) -> Ints:
    """Put in the codes that are no answer on the scale, [N, Q]."""
    ids = items["question"]
    outside = ids.map(OUTSIDE_SCALE)
    rates = np.where(outside.notna(), rng.uniform(*OUTSIDE_RATES, size=len(ids)), 0.0)
    filled = np.where(
        rng.random(answers.shape) < rates, outside.fillna(0).to_numpy(np.int64), answers
    )
    silence = np.array([BLOCKS[name].silence for name in items["block"]])
    silence = silence * _even_draws(items["block"], rng)
    older = np.exp(SILENCE_BY_AGE * np.asarray(AXES[AGE].trait))[groups[:, AGE]]
    silent = rng.random(answers.shape) < np.outer(older / older.mean(), silence)
    unknown = rng.random(answers.shape) < DONT_KNOW_SHARE
    filled = np.where(silent, np.where(unknown, DONT_KNOW, NO_ANSWER), filled)
    filled = np.where(rng.random(answers.shape) < MISSING_RATE, MISSING, filled)
    return np.where(ids.isin(NOT_ASKED).to_numpy(), NOT_FIELDED, filled)
