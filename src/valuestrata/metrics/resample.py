"""Intervals and paired tests by resampling whole questions. Pure array functions.

Answers of different subgroups to one question share respondents, so pairs of one question are not
independent: questions are the clusters. Symbols: K clusters, B resamples.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@lru_cache(maxsize=2)  # the draws take longer than what is made of them, and a stage asks again
def cluster_draws(clusters: int, resamples: int, seed: int) -> Floats:
    """[B, K] how often each cluster is drawn in each bootstrap resample; rows sum to K.

    The array is shared between calls and read-only.
    """
    rng = np.random.default_rng(seed)
    share = np.full(clusters, 1 / clusters)
    draws = rng.multinomial(clusters, share, size=resamples).astype(np.float64)
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
