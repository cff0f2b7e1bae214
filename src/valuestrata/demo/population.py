"""Who answers a simulated survey: respondents by sex, age, ethnicity and religion, and weights.

Symbols: N respondents; groups of the axes are indexed 0.. in the order of AXES.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SimulatedAxis:
    """One demographic axis: its column, and per group code, respondents of 2,012, trait, share.

    trait: position on the direction that a block's questions have in common, about mean 0, SD 1.
    share: share of the adults that W_WEIGHT rakes to (round, invented); empty where it does not.
    """

    column: str
    codes: tuple[int, ...]
    sizes: tuple[int, ...]
    trait: tuple[float, ...]
    share: tuple[float, ...] = ()


AXES = (
    SimulatedAxis("Q260", (1, 2), (924, 1088), (-1.0, 0.9), (0.49, 0.51)),
    SimulatedAxis(
        "X003R",
        (1, 2, 3, 4, 5, 6),
        (160, 355, 374, 380, 381, 362),
        (-1.5, -0.9, -0.3, 0.3, 0.9, 1.5),
        (0.11, 0.18, 0.18, 0.18, 0.17, 0.18),
    ),
    SimulatedAxis(
        "Q290",
        (702004, 702006, 702003, 702999),
        (1549, 236, 190, 37),
        (-0.5, 1.9, 0.9, 0.0),
        (0.75, 0.13, 0.09, 0.03),
    ),
    SimulatedAxis(
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
    from scipy.optimize import linprog  # takes a second to import

    raised = linprog(cost, A_eq=sums, b_eq=gaps, bounds=(0, 1), method="highs-ds").x
    return np.rint(floors + raised.reshape(expected.shape)).astype(np.int64)


def everyone(table: Ints) -> Ints:
    """One row a respondent with the group index on each axis, [N, 4]."""
    return np.repeat(np.argwhere(np.ones_like(table)), table.ravel(), axis=0)


def draw_weights(groups: Ints, rng: np.random.Generator) -> Floats:
    """Weights of mean 1 and some spread, raked to the shares of sex, age and ethnicity, [N]."""
    weights: Floats = rng.lognormal(sigma=0.2, size=len(groups))
    for _ in range(20):
        for index, axis in enumerate(AXES):
            if axis.share:
                current = np.bincount(groups[:, index], weights, minlength=len(axis.codes))
                weights = weights * _ratio(axis.share, current)[groups[:, index]]
    return weights / weights.mean()
