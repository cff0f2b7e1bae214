"""Other figures of inequality over groups: Theil index, largest gap, the worst group.

Symbols: G groups, Q questions, B resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.metrics.resample import ratio, sign_patterns

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Disparity:
    """A figure as it is, without sampling noise, and under the null of groups served alike."""

    statistic: str
    value: float
    corrected: float
    null_mean: float
    null_p5: float
    null_p95: float


def theil(performance: Floats) -> Floats:
    """[...] Theil's T of scores >= 0 over the last axis: mean of (x / mean) ln(x / mean)."""
    share = ratio(performance, performance.mean(axis=-1, keepdims=True))
    positive = np.where(share > 0, share, 1.0)
    return np.asarray((share * np.log(positive)).mean(axis=-1))


def max_min(performance: Floats) -> Floats:
    """[...] largest gap between two groups, in the metric's units."""
    return np.asarray(np.ptp(performance, axis=-1))


def disparities(
    sums: Floats, n: Floats, higher_is_better: bool, n_resamples: int, seed: int
) -> list[Disparity]:
    """Theil, largest gap, the worst group's score, and that less the groups' mean.

    Corrected: of group means drawn towards their mean until their variance is what is left of it
    without sampling noise. Null: the signs of whole questions of the groups' deviations are
    flipped, in all ways where these are few. None of them has an interval: they rest on single
    groups that chance has picked.

    Args:
        sums: [G, Q] of scores.
        n: [G, Q] scores in each; every group has some.
        higher_is_better: whether the worst group is the lowest.
        n_resamples: B.
        seed: of the flips.
    """
    worst = np.min if higher_is_better else np.max
    statistics: dict[str, Callable[[Floats], Floats]] = {
        "theil": theil,
        "max_min": max_min,
        "worst_group": lambda x: np.asarray(worst(x, axis=-1)),
        "worst_minus_mean": lambda x: np.asarray(worst(x, axis=-1) - x.mean(axis=-1)),
    }
    means = _means(sums, n)
    deviation = _deviations(sums, n)
    signs, _ = sign_patterns(n.shape[1], n_resamples, seed)
    null_means = means.mean() - signs @ deviation.T
    corrected = means.mean() + _kept(sums, n) * (means - means.mean())
    result = []
    for name, statistic in statistics.items():
        null = statistic(null_means)
        ends = map(float, np.quantile(null, [0.05, 0.95]))
        figures = float(statistic(means)), float(statistic(corrected)), float(null.mean())
        result.append(Disparity(name, *figures, *ends))
    return result


def worst_groups(sums: Floats, n: Floats, higher_is_better: bool) -> NDArray[np.intp]:
    """The groups with the worst mean: several where they tie."""
    return extremes(_means(sums, n) * (-1.0 if higher_is_better else 1.0))


def extremes(values: Floats) -> NDArray[np.intp]:
    """Where the greatest of values are; rounding is no difference.

    >>> extremes(np.array([0.5, 0.1 + 0.2, 0.3, 0.1]) * -1).tolist()
    [3]
    >>> extremes(np.array([0.1 + 0.2, 0.3, 0.1])).tolist()
    [0, 1]
    """
    return np.flatnonzero(values >= values.max() - 1e-12)


def _means(sums: Floats, n: Floats) -> Floats:
    return np.asarray(sums.sum(axis=1) / n.sum(axis=1))


def _deviations(sums: Floats, n: Floats) -> Floats:
    """[G, Q] shares of each question in a group's deviation from the groups' mean.

    Scores are compared within each question.
    """
    of_question = np.nan_to_num(ratio(sums.sum(axis=0), n.sum(axis=0)))
    deviation = (sums - of_question * n) / n.sum(axis=1, keepdims=True)
    return np.asarray(deviation - deviation.mean(axis=0))


def _kept(sums: Floats, n: Floats) -> float:
    """How much of the groups' standard deviation is no sampling noise, from 0 to 1."""
    questions = int((n.sum(axis=0) > 0).sum())
    means = _means(sums, n)
    if questions < 2 or means.var() == 0:
        return 0.0
    errors = (sums - means[:, None] * n) / n.sum(axis=1, keepdims=True)
    centred = errors - errors.mean(axis=0)
    noise = questions / (questions - 1) * float((centred**2).sum()) / len(means)
    return float(np.sqrt(max(1 - noise / float(means.var()), 0.0)))
