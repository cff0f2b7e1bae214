"""A simulated survey in the format of the WVS-7 csv of Singapore; docs/simulation.md has the model.

Symbols: N respondents, Q questions, B blocks, C codes of the widest scale; groups of the axes are
indexed 0.. in the order of AXES. Latent answers are in units of their own standard deviation.
"""

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linprog
from scipy.special import ndtri

from valuestrata.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """One demographic axis: its column, and per group code, respondents of 2,012, trait, share.

    trait: position on the direction that a block's questions have in common, about mean 0, SD 1.
    share: share of the adults that W_WEIGHT rakes to (round, invented); empty where it does not.
    """

    column: str
    codes: tuple[int, ...]
    sizes: tuple[int, ...]
    trait: tuple[float, ...]
    share: tuple[float, ...] = ()


@dataclass(frozen=True)
class Block:
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


AXES = (
    Axis("Q260", (1, 2), (924, 1088), (-1.0, 0.9), (0.49, 0.51)),
    Axis(
        "X003R",
        (1, 2, 3, 4, 5, 6),
        (160, 355, 374, 380, 381, 362),
        (-1.5, -0.9, -0.3, 0.3, 0.9, 1.5),
        (0.11, 0.18, 0.18, 0.18, 0.17, 0.18),
    ),
    Axis(
        "Q290",
        (702004, 702006, 702003, 702999),
        (1549, 236, 190, 37),
        (-0.5, 1.9, 0.9, 0.0),
        (0.75, 0.13, 0.09, 0.03),
    ),
    Axis(
        "Q289",
        (0, 1, 2, 3, 5, 6, 7, 9),
        (472, 126, 347, 2, 275, 111, 525, 154),
        (-1.3, 0.6, 1.0, 0.6, 1.5, 0.7, -0.4, -0.4),
    ),
)
SEX, AGE, ETHNICITY, RELIGION = range(4)

# Respondents by ethnicity (rows) and religion (columns) before they are fitted to the margins.
ETHNICITY_RELIGION = (
    (455.0, 95.0, 305.0, 1.0, 4.0, 1.0, 500.0, 140.0),
    (1.0, 0.3, 0.3, 0.05, 230.0, 0.3, 0.5, 0.5),
    (6.0, 18.0, 12.0, 0.3, 36.0, 106.0, 2.0, 8.0),
    (9.0, 9.0, 9.0, 0.6, 4.0, 3.0, 3.0, 4.0),
)
# Log-odds of the oldest against the middle: what makes 48 of the OOD subgroups reach 30 of 2,012.
ETHNICITY_AGE = (0.0, -0.1, -0.2, -0.1)
RELIGION_AGE = (-0.22, 0.0, -0.05, 0.0, -0.05, 0.0, 0.12, 0.4)

BLOCKS = {
    "social values": Block(0.04, 0.22, 0.16, 0.32, 0.24, 0.46, 0.025),
    "happiness": Block(0.05, 0.20, 0.14, 0.16, 0.20, 0.37, 0.020),
    "social capital and trust": Block(0.01, 0.04, 0.03, 0.04, 0.20, 0.41, 0.030),
    "economic": Block(0.06, 0.18, 0.14, 0.18, 0.22, 0.44, 0.025),
    "corruption": Block(0.02, 0.05, 0.04, 0.05, 0.17, 0.40, 0.050),
    "migration": Block(0.06, 0.24, 0.26, 0.26, 0.24, 0.39, 0.035),
    "security": Block(0.03, 0.10, 0.08, 0.10, 0.20, 0.41, 0.025),
    "postmaterialism": Block(0.03, 0.15, 0.10, 0.12, 0.30, 0.40, 0.020),
    "science and technology": Block(0.04, 0.10, 0.08, 0.12, 0.20, 0.44, 0.020),
    "religious values": Block(0.06, 0.15, 0.30, 1.20, 0.33, 0.48, 0.050),
    "ethical": Block(0.04, 0.20, 0.18, 0.38, 0.23, 0.49, 0.050),
    "political interest": Block(0.07, 0.30, 0.24, 0.30, 0.23, 0.40, 0.050),
    "political culture": Block(0.05, 0.20, 0.17, 0.23, 0.20, 0.43, 0.050),
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
FACTOR_LOADING = 0.5  # of an answer on the respondent's own factor for the block

NOT_ASKED = ("Q115", "Q141", "Q221", "Q255", "Q256")
HARD_TO_SAY = ("Q119", "Q241", "Q242", "Q243", "Q245", "Q246", "Q247", "Q248", "Q249")
OUTSIDE_SCALE = {"Q111": 3, "Q222": 4, "Q254": 5} | dict.fromkeys(HARD_TO_SAY, 0)
OUTSIDE_RATES = (0.01, 0.03)
LATENT_ORDER = {"Q56": (2, 3, 1)}  # worse, the same, better: the raw codes are not in order
DONT_KNOW, NO_ANSWER, NOT_FIELDED, MISSING = -1, -2, -4, -5
DONT_KNOW_SHARE = 0.7  # of the item non-response; the rest is no answer
SILENCE_BY_AGE = 0.2  # log rate of item non-response per SD of age band
MISSING_RATE = 0.0003

WAVE, YEAR, STUDY, COUNTRY, ALPHA, COW_ALPHA = 7, 2020, 2, 702, "SGP", "SIN"
FIRST_INTERVIEW = 702070001
FIRST_DAY, DAYS = "2020-01-02", 80
AGE_BANDS = ((18, 25), (25, 35), (35, 45), (45, 55), (55, 65), (65, 90))  # years, end excluded
ORIGIN = "simulated by valuestrata"


def simulate(questions: pd.DataFrame, respondents: int, seed: int) -> pd.DataFrame:
    """Return one row a respondent, with the columns, codes and missing codes of the WVS-7 csv.

    questions: columns question, block, kind (ordinal or nominal), lowest, highest; one row an item
    of the codebook, in any order. The same arguments give the same frame.
    """
    if respondents < 1:
        raise InputError(f"respondents: expected at least 1, got {respondents}")
    items = questions.sort_values("question", key=lambda ids: ids.map(_survey_order))
    unknown = sorted(set(items["block"]) - set(BLOCKS))
    if unknown:
        raise InputError(f"block: no model of {unknown[0]!r}; expected one of {sorted(BLOCKS)}")
    rng = np.random.default_rng(seed)
    groups = rng.permutation(_everyone(joint_table(respondents)))
    weights = _weights(groups, rng)
    answers = _with_missing(_answers(items, groups, rng), items, groups, rng)
    return pd.concat(
        [
            _administration(respondents, seed, weights, rng),
            pd.DataFrame(answers, columns=items["question"].to_list()),
            _demographics(groups, rng),
        ],
        axis="columns",
    )


def write(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write the frame as the WVS does: csv with a byte order mark, integers without decimals.

    The file appears whole or not at all, and only its owner may read it.
    """
    target = Path(path)
    # mkstemp makes the file with mode 0600, and os.replace keeps that mode
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(handle, "w", encoding="utf-8-sig", newline="") as stream:
            frame.convert_dtypes().to_csv(stream, index=False, lineterminator="\n")
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink()
        raise


def joint_table(respondents: int) -> Ints:
    """Respondents by sex, age band, ethnicity and religion, [2, 6, 4, 8].

    Every axis has exactly its share; where respondents is 2,012, the sizes in AXES. No random
    number enters: which subgroups reach 30 respondents hangs on the design, not on a seed.
    """
    sex, age, ethnicity, religion = (_share_out(axis.sizes, respondents) for axis in AXES)
    trend = np.asarray(AXES[AGE].trait) / max(AXES[AGE].trait)
    faith = _fit(np.array(ETHNICITY_RELIGION), ethnicity, religion)
    cells = _round(faith, ethnicity, religion).ravel()
    tilt = np.add.outer(np.asarray(ETHNICITY_AGE), np.asarray(RELIGION_AGE)).ravel()
    aged = _fit(np.exp(np.outer(tilt, trend)), cells, age)
    aged_cells = _round(aged, cells, age).ravel()
    by_sex = _round(np.outer(aged_cells, sex / respondents), aged_cells, sex)
    shape = (len(ethnicity), len(religion), len(age), len(sex))
    return by_sex.reshape(shape).transpose(3, 2, 0, 1)


def _survey_order(question: str) -> tuple[int, str]:
    """Sort key of a question id: Q9 before Q10, Q234 before Q234A.

    >>> sorted(["Q235", "Q234A", "Q9", "Q234"], key=_survey_order)
    ['Q9', 'Q234', 'Q234A', 'Q235']
    """
    match = re.fullmatch(r"Q(\d+)(\w*)", question)
    if match is None:
        raise InputError(f"question: expected an id such as Q1 or Q234A, got {question!r}")
    return int(match[1]), match[2]


def _share_out(sizes: Sequence[int], total: int) -> Ints:
    """Whole numbers in proportion to sizes that sum to total, by largest remainder.

    >>> _share_out((924, 1088), 300).tolist()
    [138, 162]
    """
    exact = np.asarray(sizes) * total / sum(sizes)
    shares = np.floor(exact).astype(np.int64)
    largest = np.argsort(shares - exact, kind="stable")[: total - shares.sum()]
    shares[largest] += 1
    return shares


def _fit(table: Floats, rows: Ints, columns: Ints) -> Floats:
    """Scale a table to its margins by iterative proportional fitting; odds ratios stay."""
    fitted = table
    for _ in range(500):
        fitted = fitted * _ratio(rows, fitted.sum(axis=1))[:, None]
        fitted = fitted * _ratio(columns, fitted.sum(axis=0))
    return fitted


def _ratio(target: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """target / current, and 0 where there is nothing to scale."""
    whole = np.asarray(current, dtype=np.float64)
    return np.divide(target, whole, out=np.zeros_like(whole), where=whole > 0)


def _round(expected: Floats, rows: Ints, columns: Ints) -> Ints:
    """Round each cell up or down so that the margins hold, keeping as close as can be.

    A transport problem: its optimal vertex is whole. Largest remainders alone miss one margin.
    """
    floors = np.floor(expected)
    row_count, column_count = expected.shape
    sums = np.vstack(
        [
            np.kron(np.eye(row_count), np.ones(column_count)),
            np.kron(np.ones(row_count), np.eye(column_count)),
        ]
    )
    gaps = np.concatenate([rows - floors.sum(axis=1), columns - floors.sum(axis=0)])
    # the dual simplex ends on a vertex; an interior point need not be whole
    cost = (floors - expected).ravel()  # lowest where the most is rounded up
    raised = linprog(cost, A_eq=sums, b_eq=gaps, bounds=(0, 1), method="highs-ds").x
    return np.rint(floors + raised.reshape(expected.shape)).astype(np.int64)


def _everyone(table: Ints) -> Ints:
    """One row a respondent with the group index on each axis, [N, 4]."""
    return np.repeat(np.argwhere(np.ones_like(table)), table.ravel(), axis=0)


def _weights(groups: Ints, rng: np.random.Generator) -> Floats:
    """Weights of mean 1 and some spread, raked to the shares of sex, age and ethnicity, [N]."""
    weights: Floats = rng.lognormal(sigma=0.2, size=len(groups))
    for _ in range(20):
        for index, axis in enumerate(AXES):
            if axis.share:
                current = np.bincount(groups[:, index], weights, minlength=len(axis.codes))
                weights = weights * _ratio(axis.share, current)[groups[:, index]]
    return weights / weights.mean()


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
            own = rng.normal(size=len(items)) * trait
            own += CURVATURE * rng.normal(size=len(items)) * (trait**2 - 1)
        else:
            own = rng.normal(size=(len(trait), len(items)))
        mixed = np.sqrt(TRAIT_SHARE) * signs * trait + np.sqrt(1 - TRAIT_SHARE) * own
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


def _answers(items: pd.DataFrame, groups: Ints, rng: np.random.Generator) -> Ints:
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


def _with_missing(
    answers: Ints, items: pd.DataFrame, groups: Ints, rng: np.random.Generator
) -> Ints:
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


def _administration(
    respondents: int, seed: int, weights: Floats, rng: np.random.Generator
) -> pd.DataFrame:
    """The columns before the questions; none of them can be taken for a real release's."""
    days = pd.Timestamp(FIRST_DAY) + pd.to_timedelta(rng.integers(DAYS, size=respondents), "D")
    return pd.DataFrame(
        {
            "version": f"{ORIGIN}, seed {seed}",
            "doi": f"{ORIGIN}, no DOI",
            "A_WAVE": WAVE,
            "A_YEAR": YEAR,
            "A_STUDY": STUDY,
            "B_COUNTRY": COUNTRY,
            "B_COUNTRY_ALPHA": ALPHA,
            "C_COW_ALPHA": COW_ALPHA,
            "D_INTERVIEW": FIRST_INTERVIEW + np.arange(respondents),
            "J_INTDATE": np.sort(days.strftime("%Y%m%d").to_numpy(np.int64)),
            "W_WEIGHT": weights.round(6),
        }
    )


def _demographics(groups: Ints, rng: np.random.Generator) -> pd.DataFrame:
    """The columns after the questions."""
    codes = {axis.column: np.asarray(axis.codes)[groups[:, i]] for i, axis in enumerate(AXES)}
    youngest, end = np.asarray(AGE_BANDS)[groups[:, AGE]].T
    # squared in the open-ended last band alone, where the older are fewer
    draw = rng.random(len(groups)) ** np.where(groups[:, AGE] == len(AGE_BANDS) - 1, 2, 1)
    years = youngest + ((end - youngest) * draw).astype(np.int64)
    columns = {"Q260": codes["Q260"], "Q261": YEAR - years, "Q262": years}
    return pd.DataFrame(columns | {name: codes[name] for name in ("Q289", "Q290", "X003R")})
