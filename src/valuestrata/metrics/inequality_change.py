"""Whether inequality over groups changed from one run to another, on the same pairs.

Chance spreads group means apart, and by how much depends on the mean (the variance of a hit is
p (1 - p)), so plain statistics of two runs differ where true ones do not. Each is therefore taken
with the sampling noise off, squared, so that noise cancels on average; a delete-one-question
jackknife of both runs together says how sure their difference is.
Symbols: G groups, Q questions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.float64]
Totals = tuple[Floats, Floats]
"""Sums and counts of scores, [G, Q] each."""
MIN_QUESTIONS = 3
STATISTICS = ("norm_range", "cv", "sd")
NANS = np.full((2, 2), np.nan)


@dataclass(frozen=True)
class Change:
    """A statistic of inequality in two runs, and its change from the first to the second.

    raw_base, raw_tuned: as it is. raw_by_mean: its raw change if every group had gained as much
    as the mean did. base, tuned: without sampling noise, 0 where noise alone explains more. value,
    ci_low, ci_high: change without noise. p_value: of no change. p_fall, p_rise: of no fall and of
    no rise, one-sided.
    """

    statistic: str
    raw_base: float
    raw_tuned: float
    raw_by_mean: float
    base: float
    tuned: float
    value: float
    ci_low: float
    ci_high: float
    p_value: float
    p_fall: float
    p_rise: float


def inequality_changes(base: Totals, tuned: Totals, confidence_level: float) -> list[Change]:
    """Each of STATISTICS over G groups, from `base` to `tuned`, which have the same counts.

    Every group has scores on two questions at least. With fewer than MIN_QUESTIONS nothing is
    tested.
    """
    used = base[1].sum(axis=0) > 0
    base, tuned = ((sums[:, used], n[:, used]) for sums, n in (base, tuned))
    squares = [_squares(*run) for run in (base, tuned)]
    left_out = [_left_out(*run) for run in (base, tuned)]
    before, after = (_means(*run) for run in (base, tuned))
    return [
        _change(
            name,
            (_raw(before)[name], _raw(after)[name], _by_mean(name, before, after)),
            np.array([run[name] for run in squares]),
            np.array([run[name] for run in left_out]),
            confidence_level,
        )
        for name in STATISTICS
    ]


def _means(sums: Floats, n: Floats) -> Floats:
    return np.asarray(sums.sum(axis=1) / n.sum(axis=1))


def _raw(means: Floats) -> dict[str, float]:
    """The statistics of group means [G] as they are."""
    return {
        "norm_range": _divided(float(np.ptp(means)), float(means.max())),
        "cv": _divided(float(means.std()), float(means.mean())),
        "sd": float(means.std()),
    }


def _by_mean(name: str, base: Floats, tuned: Floats) -> float:
    """Raw change of a statistic where each group's mean moves by what their mean moved by."""
    moved = base + (tuned.mean() - base.mean())
    return _raw(moved)[name] - _raw(base)[name]


def _divided(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else float("nan")


def _squares(sums: Floats, n: Floats) -> dict[str, float]:
    """The squared statistics without sampling noise; below 0 where noise alone explains more."""
    total = n.sum(axis=1)
    means = sums.sum(axis=1) / total
    errors = (sums - means[:, None] * n) / total[:, None]
    centred = errors - errors.mean(axis=0)
    questions = n.shape[1]
    scale = questions / (questions - 1) if questions > 1 else float("nan")
    noise = scale * float((centred**2).sum()) / len(means)
    observed, mean = float(means.var()), float(means.mean())
    variance = observed - noise
    share = variance / observed if observed > 0 else 0.0
    highest = mean + np.sqrt(max(share, 0.0)) * (float(means.max()) - mean)
    return {
        "norm_range": share * _divided(float(np.ptp(means)), highest) ** 2,
        "cv": _divided(variance, mean**2),
        "sd": variance,
    }


def _left_out(sums: Floats, n: Floats) -> dict[str, Floats]:
    """[Q] the squared statistics without each question in turn."""
    questions = n.shape[1]
    if questions < MIN_QUESTIONS:
        return {name: np.full(questions, np.nan) for name in STATISTICS}
    kept = ~np.eye(questions, dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):  # a group's only question may be left out
        rows = [_squares(sums[:, keep], n[:, keep]) for keep in kept]
    return {name: np.array([row[name] for row in rows]) for name in STATISTICS}


def _change(
    name: str,
    raw: tuple[float, float, float],
    squares: Floats,
    left_out: Floats,
    confidence_level: float,
) -> Change:
    """The change of one statistic.

    Args:
        name: of the statistic.
        raw: of the first run, of the second, and the change by the mean alone.
        squares: [2] of both runs.
        left_out: [2, Q] the same without each question.
        confidence_level: of the interval.
    """
    roots = np.sqrt(np.maximum(squares, 0.0))
    value = float(roots[1] - roots[0])
    questions = left_out.shape[1]
    covariance = (questions - 1) ** 2 / questions * np.cov(left_out) if questions > 1 else NANS
    gap = float(squares[1] - squares[0])
    error = float(np.sqrt(max(np.array([1, -1]) @ covariance @ np.array([1, -1]), 0.0)))
    low = high = p = fall = rise = float("nan")
    if questions < MIN_QUESTIONS or not np.isfinite(error) or not np.isfinite(value):
        pass
    elif np.allclose(left_out[0], left_out[1], rtol=1e-9, atol=1e-15):  # an identical copy
        low, high = 0.0, 0.0
        p = fall = rise = 1.0
    elif error > 0:
        t, df = gap / error, questions - 1
        fall, rise = float(stdtr(df, t)), float(stdtr(df, -t))
        p = min(1.0, 2 * min(fall, rise))
        low, high = _ends(squares, covariance, float(stdtrit(df, (1 + confidence_level) / 2)))
    before, after = (float(root) for root in roots)
    return Change(name, *raw, before, after, value, low, high, p, fall, rise)


def _ends(squares: Floats, covariance: Floats, quantile: float) -> tuple[float, float]:
    """Interval of the second root less the first, from intervals of the squares [2].

    The method of variance estimates recovery (Zou and Donner 2008): how far each root's own
    interval reaches, either way, is put together as standard errors are, with their correlation
    where both are clear of 0. Where one root may be 0 it is a little narrow, so it is widened to
    the interval of the difference of squares, which holds there.
    """
    roots = np.sqrt(np.maximum(squares, 0.0))
    half = quantile * np.sqrt(covariance.diagonal())
    below = roots - np.sqrt(np.maximum(squares - half, 0.0))
    relative = np.divide(half, squares, out=np.full(2, np.inf), where=squares > 0)
    above = np.where(
        relative < 1,
        roots * np.expm1(np.minimum(relative, 1) / 2),
        np.sqrt(np.maximum(squares + half, 0.0)) - roots,
    )
    scale = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    correlation = float(covariance[0, 1]) / scale if (squares > half).all() else 0.0

    def reach(first: float, second: float) -> float:
        return float(np.sqrt(max(first**2 + second**2 - 2 * correlation * first * second, 0.0)))

    value = float(roots[1] - roots[0])
    low, high = value - reach(below[1], above[0]), value + reach(above[1], below[0])
    if roots.any():  # a difference of squares is that of the roots times their sum
        gap = float(squares[1] - squares[0])
        error = quantile * float(np.sqrt(covariance.trace() - 2 * covariance[0, 1]))
        low = min(low, (gap - error) / roots.sum())
        high = max(high, (gap + error) / roots.sum())
    return float(low), float(high)


def joint_p(fall: float, rise: float) -> float:
    """p of "the first does not fall, or the second does not rise": intersection-union test.

    Both must be shown at the same level, so the larger of two one-sided p-values is valid whatever
    their dependence (Berger 1982). NaN where either was not tested.
    """
    return max(fall, rise) if fall == fall and rise == rise else float("nan")
