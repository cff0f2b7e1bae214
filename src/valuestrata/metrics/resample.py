"""Intervals and paired tests by resampling whole questions. Pure array functions.

Answers of different subgroups to one question share respondents, so pairs of one question are not
independent: questions are the clusters. Symbols: K clusters, B resamples.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWN = 250
"""Resamples drawn at a time: few enough for a processor's cache."""


@lru_cache(maxsize=2)  # the draws take longer than what is made of them, and a stage asks again
def cluster_draws(clusters: int, resamples: int, seed: int) -> Floats:
    """[B, K] how often each cluster is drawn in each bootstrap resample; rows sum to K.

    The array is shared between calls and read-only.
    """
    rng = np.random.default_rng(seed)
    kind = np.min_scalar_type(clusters - 1)  # small random numbers are drawn many times faster
    draws = np.empty((resamples, clusters))
    for start in range(0, resamples, DRAWN):
        rows = draws[start : start + DRAWN]
        drawn = rng.integers(0, clusters, size=rows.shape, dtype=kind).astype(np.int64)
        drawn += np.arange(len(rows))[:, None] * clusters
        rows[:] = np.bincount(drawn.ravel(), minlength=rows.size).reshape(rows.shape)
    draws.flags.writeable = False
    return draws


def ratio(sums: Floats, counts: Floats) -> Floats:
    """sums / counts, NaN where a count is 0."""
    shape = np.broadcast_shapes(np.shape(sums), np.shape(counts))
    empty = np.full(shape, np.nan)
    return np.divide(sums, counts, out=empty, where=np.asarray(counts) > 0)


def percentiles(draws: Floats, level: float) -> tuple[float, float]:
    """Central interval of the finite draws; NaN where there are none."""
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def bias_corrected(
    estimate: float, draws: Floats, level: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Percentile interval shifted by the bootstrap's estimate of bias, inside `bounds`.

    Scores of disagreement and ranges grow when noise is added, and a resample adds noise; the mean
    of the draws less the estimate measures by how much (Efron and Tibshirani 1993, chapter 10). The
    interval always holds the estimate.
    """
    low, high = percentiles(draws, level)
    if not (np.isfinite(low) and np.isfinite(estimate)):
        return float("nan"), float("nan")
    bias = float(np.nanmean(draws)) - estimate
    low, high = min(low - bias, estimate), max(high - bias, estimate)
    return float(np.clip(low, *bounds)), float(np.clip(high, *bounds))


def against_null(value: float, null: Floats) -> tuple[float, float, float]:
    """Mean and 95th percentile of a statistic under its null, and the p-value of `value`.

    p is the share of the finite draws that are at least as large, the observed value among them
    (Phipson and Smyth 2010); NaN without a value or without a draw.
    """
    known = null[np.isfinite(null)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    reached = int((known >= value - 1e-12).sum())
    p = (1 + reached) / (1 + len(known)) if np.isfinite(value) else float("nan")
    return float(known.mean()), float(np.quantile(known, 0.95)), p


def mean_with_interval(
    values: Floats, cluster: NDArray[np.intp], resamples: int, level: float, seed: int
) -> tuple[float, float, float]:
    """Mean of the finite values with its cluster-bootstrap interval: value, low, high.

    Args:
        values: [n], NaN for missing.
        cluster: [n] index of each value's cluster, 0 to K - 1.
        resamples: B.
        level: coverage.
        seed: of the draws; the same for all runs, so that they share their resamples.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return float("nan"), float("nan"), float("nan")
    clusters = int(cluster.max()) + 1
    sums = np.bincount(cluster[finite], values[finite], minlength=clusters)
    counts = np.bincount(cluster[finite], minlength=clusters).astype(np.float64)
    draws = cluster_draws(clusters, resamples, seed)
    low, high = percentiles(ratio(draws @ sums, draws @ counts), level)
    return float(sums.sum() / counts.sum()), low, high


def normalized_gain(
    values: Floats,
    start: Floats,
    goal: Floats,
    cluster: NDArray[np.intp],
    resamples: int,
    level: float,
    seed: int,
) -> tuple[float, float, float]:
    """How far the mean of `values` goes from that of `start` to that of `goal`: value, low, high.

    0 at the start, 1 at the goal, more beyond it, negative if it went the other way. The three are
    paired: a resample draws the same clusters for all. NaN where start and goal are not clearly
    apart, that is where more resamples than lie in a tail turn their order: a share of nothing.

    Args:
        values: [n], NaN for missing.
        start: [n], NaN for missing.
        goal: [n], NaN for missing.
        cluster: [n] index of each value's cluster, 0 to K - 1.
        resamples: B.
        level: coverage.
        seed: of the draws; the same as elsewhere.
    """
    known = np.isfinite(values) & np.isfinite(start) & np.isfinite(goal)
    nothing = (float("nan"), float("nan"), float("nan"))
    if not known.any():
        return nothing
    clusters = int(cluster.max()) + 1
    gone, whole = (
        np.bincount(cluster[known], (end - start)[known], minlength=clusters)
        for end in (values, goal)
    )
    draws = cluster_draws(clusters, resamples, seed)
    sign = np.sign(whole.sum())
    wholes = sign * (draws @ whole)
    if not sign or (wholes <= 0).mean() > (1 - level) / 2:
        return nothing
    low, high = percentiles(ratio(sign * (draws @ gone), wholes), level)
    return float(gone.sum() / whole.sum()), low, high


def sign_flip(differences: Floats, cluster: NDArray[np.intp], resamples: int, seed: int) -> float:
    """Two-sided p-value of a mean paired difference of 0; whole clusters change sign.

    Identical systems have p = 1. The observed assignment counts as one of the resamples, so p is
    never 0 (Phipson and Smyth 2010).
    """
    finite = np.isfinite(differences)
    sums = np.bincount(cluster[finite], differences[finite])
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(resamples, len(sums))).astype(np.float64) * 2 - 1
    as_extreme = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12
    return float((1 + as_extreme.sum()) / (1 + resamples))
