"""Intervals and paired tests by resampling whole questions. Pure array functions.

Answers of different subgroups to one question share respondents, so pairs of one question are not
independent: questions are the clusters. Symbols: K clusters, B resamples.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHUNK_SIZE = 250
"""Resamples drawn at a time: few enough for a processor's cache."""


@lru_cache(maxsize=2)  # drawing takes longer than using the draws, and a stage repeats it
def cluster_draws(clusters: int, n_resamples: int, seed: int) -> Floats:
    """[B, K] how often each cluster is drawn in each bootstrap resample; rows sum to K.

    The array is shared between calls and read-only.
    """
    rng = np.random.default_rng(seed)
    kind = np.min_scalar_type(clusters - 1)  # small integers are drawn many times faster
    draws = np.empty((n_resamples, clusters))
    for start in range(0, n_resamples, CHUNK_SIZE):
        rows = draws[start : start + CHUNK_SIZE]
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


def percentiles(draws: Floats, confidence_level: float) -> tuple[float, float]:
    """Central interval of the finite draws; NaN where there are none."""
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return float("nan"), float("nan")
    tail = (1 - confidence_level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def bias_corrected(
    estimate: float, draws: Floats, confidence_level: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Percentile interval shifted by the bootstrap's estimate of bias, inside `bounds`.

    Scores of disagreement and ranges grow when noise is added, and a resample adds noise; the mean
    of the draws less the estimate measures by how much (Efron and Tibshirani 1993, chapter 10). The
    interval always holds the estimate.
    """
    low, high = percentiles(draws, confidence_level)
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
    valid = null[np.isfinite(null)]
    if not len(valid):
        return float("nan"), float("nan"), float("nan")
    reached = int((valid >= value - 1e-12).sum())
    p = (1 + reached) / (1 + len(valid)) if np.isfinite(value) else float("nan")
    return float(valid.mean()), float(np.quantile(valid, 0.95)), p


def mean_with_interval(
    values: Floats, cluster: NDArray[np.intp], n_resamples: int, confidence_level: float, seed: int
) -> tuple[float, float, float]:
    """Mean of the finite values with its cluster-bootstrap interval: value, low, high.

    Args:
        values: [n], NaN for missing.
        cluster: [n] index of each value's cluster, 0 to K - 1.
        n_resamples: B.
        confidence_level: coverage.
        seed: of the draws; the same for all runs, so that they share their resamples.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return float("nan"), float("nan"), float("nan")
    clusters = int(cluster.max()) + 1
    sums = np.bincount(cluster[finite], values[finite], minlength=clusters)
    counts = np.bincount(cluster[finite], minlength=clusters).astype(np.float64)
    draws = cluster_draws(clusters, n_resamples, seed)
    low, high = percentiles(ratio(draws @ sums, draws @ counts), confidence_level)
    return float(sums.sum() / counts.sum()), low, high


def normalized_gain(
    values: Floats,
    start: Floats,
    target: Floats,
    cluster: NDArray[np.intp],
    n_resamples: int,
    confidence_level: float,
    seed: int,
) -> tuple[float, float, float]:
    """(values - start) / (target - start), of means, with its interval: value, low, high.

    0 at the start, 1 at the target, above 1 beyond it, negative below the start. The three are
    paired: a resample draws the same clusters for all. NaN where start and target are not clearly
    apart: where their order is reversed in more resamples than lie in a tail.

    Args:
        values: [n], NaN for missing.
        start: [n], NaN for missing.
        target: [n], NaN for missing.
        cluster: [n] index of each value's cluster, 0 to K - 1.
        n_resamples: B.
        confidence_level: coverage.
        seed: of the draws; the same for all runs, so that they share their resamples.
    """
    valid = np.isfinite(values) & np.isfinite(start) & np.isfinite(target)
    undefined = (float("nan"), float("nan"), float("nan"))
    if not valid.any():
        return undefined
    clusters = int(cluster.max()) + 1
    gains, ranges = (
        np.bincount(cluster[valid], (end - start)[valid], minlength=clusters)
        for end in (values, target)
    )
    draws = cluster_draws(clusters, n_resamples, seed)
    sign = np.sign(ranges.sum())
    drawn_ranges = sign * (draws @ ranges)
    if not sign or (drawn_ranges <= 0).mean() > (1 - confidence_level) / 2:
        return undefined
    low, high = percentiles(ratio(sign * (draws @ gains), drawn_ranges), confidence_level)
    return float(gains.sum() / ranges.sum()), low, high


def sign_flip(differences: Floats, cluster: NDArray[np.intp], n_resamples: int, seed: int) -> float:
    """Two-sided p-value of a mean paired difference of 0; whole clusters change sign.

    Identical runs have p = 1. The observed assignment counts as one of the resamples, so p is
    never 0 (Phipson and Smyth 2010).
    """
    finite = np.isfinite(differences)
    sums = np.bincount(cluster[finite], differences[finite])
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(n_resamples, len(sums))).astype(np.float64) * 2 - 1
    as_extreme = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12
    return float((1 + as_extreme.sum()) / (1 + n_resamples))
