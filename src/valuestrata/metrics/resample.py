"""Intervals and paired tests by resampling whole questions. Pure array functions.

Answers of different subgroups to one question share respondents, so pairs of one question are not
independent: questions are the clusters. Symbols: K clusters, B resamples.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

from valuestrata.metrics.clustered import MIN_CLUSTERS, extreme_reach

Floats = NDArray[np.float64]

CHUNK_SIZE = 250
"""Resamples drawn at a time: few enough for a processor's cache."""
FEW_CLUSTERS = 30
"""Below so many clusters a percentile interval is too narrow (docs/statistics.md)."""
FEW_EXCEPTIONS = 10
"""So few clusters with a hit, or a miss, say too little of how much clusters differ."""
RARE = 0.1
"""A rate nearer than this to 0 or 1 needs twice as many."""
FINEST_UNITS = (1, 2, 4, 12, 36)
"""Scores of a test by exact counting are whole multiples of 1 / one of these: hits, half points,
errors on scales of 2 to 5, 7, 10 and 13 points."""
MOST_COUNTED = 2_000_000
"""Width of the distribution of a sum that is still counted exactly."""


class PValue(NamedTuple):
    """A p-value, and its Monte Carlo standard error: 0 where it was worked out exactly."""

    p_value: float
    p_error: float


UNTESTED = PValue(float("nan"), float("nan"))


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


@lru_cache(maxsize=2)
def sign_patterns(clusters: int, n_resamples: int, seed: int) -> tuple[Floats, bool]:
    """[B, K] signs, 1 or -1, of each cluster, and whether these are all patterns there are.

    All 2 ** K of them, where they are no more than `n_resamples`, else drawn. The array is shared
    between calls and read-only.
    """
    is_exact = bool(clusters < 60 and 2**clusters <= n_resamples)
    if is_exact:
        bits = np.arange(2**clusters)[:, None] >> np.arange(clusters) & 1
    else:
        rng = np.random.default_rng(seed)
        bits = rng.integers(0, 2, size=(n_resamples, clusters), dtype=np.int8)
    signs = 1.0 - 2.0 * np.asarray(bits, dtype=np.float64)
    signs.flags.writeable = False
    return signs, is_exact


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


def against_null(value: float, null: Floats, is_exact: bool = False) -> tuple[float, float, PValue]:
    """Mean and 95th percentile of a statistic under its null, and the test of `value`.

    p is the share of the finite draws that are at least as large, the observed value among them
    (Phipson and Smyth 2010); NaN without a value or without a draw. Where the draws are all that
    there are, the observed value is one of them already.
    """
    valid = null[np.isfinite(null)]
    if not len(valid):
        return float("nan"), float("nan"), UNTESTED
    test = share_reached(int((valid >= value - 1e-12).sum()), len(valid), is_exact)
    return (
        float(valid.mean()),
        float(np.quantile(valid, 0.95)),
        test if np.isfinite(value) else UNTESTED,
    )


def share_reached(reached: int, draws: int, is_exact: bool) -> PValue:
    """The p-value of an observed value that `reached` of the draws are at least as extreme as."""
    if is_exact:
        return PValue(reached / draws, 0.0)
    p = (1 + reached) / (1 + draws)
    return PValue(p, float(np.sqrt(p * (1 - p) / (1 + draws))))


def mean_with_interval(
    values: Floats,
    cluster: NDArray[np.intp],
    n_resamples: int,
    confidence_level: float,
    seed: int,
    is_rate: bool = False,
    bounds: tuple[float, float] | None = None,
) -> tuple[float, float, float]:
    """Mean of the finite values with its interval: value, low, high, as of `means_of_clusters`.

    Args:
        values: [n], NaN for missing.
        cluster: [n] index of each value's cluster, 0 to K - 1.
        n_resamples: B.
        confidence_level: coverage.
        seed: of the draws; the same for all runs, so that they share their resamples.
        is_rate: whether values are shares of 0 to 1, and not differences, where 0 means a copy.
        bounds: least and greatest possible value.
    """
    finite = np.isfinite(values)
    clusters = int(cluster.max(initial=-1)) + 1
    sums = np.bincount(cluster[finite], values[finite], minlength=clusters).astype(np.float64)
    counts = np.bincount(cluster[finite], minlength=clusters).astype(np.float64)
    resampling = (n_resamples, confidence_level, seed)
    return means_of_clusters(sums[None], counts[None], *resampling, is_rate, bounds)[0]


def means_of_clusters(
    sums: Floats,
    counts: Floats,
    n_resamples: int,
    confidence_level: float,
    seed: int,
    is_rate: bool = False,
    bounds: tuple[float, float] | None = None,
) -> list[tuple[float, float, float]]:
    """G means over all clusters with their intervals: value, low, high; NaN of nothing.

    The cluster bootstrap's percentiles; `t_interval` with fewer than FEW_CLUSTERS clusters, or with
    fewer than 2 FEW_EXCEPTIONS whose values are not all 0, as of two runs that seldom differ. Rates
    then have `rate_interval`, as they do where fewer than FEW_EXCEPTIONS clusters have any hit, or
    any miss; twice as many for a rate near 0 or 1. Where all clusters have the same mean, between
    known bounds, there is no variance to see either: see `_flat_interval`. A difference of 0 is
    then one of copies, and its interval has no width.

    Args:
        sums: [G, K] sum of each cluster's values.
        counts: [G, K] how many they are.
        n_resamples: B.
        confidence_level: coverage.
        seed: of the draws.
        is_rate: whether values are shares of 0 to 1, and not differences, where 0 means a copy.
        bounds: least and greatest possible value.
    """
    values = ratio(sums.sum(axis=1), counts.sum(axis=1))
    n_clusters = (counts > 0).sum(axis=1)
    results = np.full((len(sums), 3), np.nan)
    results[:, 0] = values
    differing = (np.abs(sums) > 0).sum(axis=1)
    is_varied = (n_clusters >= FEW_CLUSTERS) & ((differing >= 2 * FEW_EXCEPTIONS) | is_rate)
    many = np.flatnonzero(is_varied)
    if len(many):
        draws = cluster_draws(sums.shape[1], n_resamples, seed)
        drawn = resampled_means(sums[many], counts[many], draws)
        results[many, 1:] = [percentiles(row, confidence_level) for row in drawn]
    for g in np.flatnonzero((n_clusters > 0) & ~is_varied):
        results[g, 1:] = t_interval(sums[g], counts[g], confidence_level)
    if is_rate:
        exceptions = np.minimum((sums > 0).sum(axis=1), (sums < counts).sum(axis=1))
        is_rare = np.minimum(values, 1 - values) < RARE
        needed = np.where(is_rare, 2 * FEW_EXCEPTIONS, FEW_EXCEPTIONS)
        is_few = (n_clusters < FEW_CLUSTERS) | (exceptions < needed)
        for g in np.flatnonzero((n_clusters > 0) & is_few):
            results[g, 1:] = rate_interval(sums[g], counts[g], confidence_level)
    elif bounds is not None:
        for g in np.flatnonzero(n_clusters):
            used = counts[g] > 0
            if np.ptp(sums[g][used] / counts[g][used]) < 1e-12:
                results[g, 1:] = _flat_interval(values[g], n_clusters[g], confidence_level, bounds)
    return [(float(v), float(low), float(high)) for v, low, high in results]


def _flat_interval(
    value: float, n_clusters: int, confidence_level: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Interval of a mean that all clusters have: each counts as a single observation.

    As large a share of all clusters may lie at a bound as that many would miss altogether, so that
    at a bound this is the interval of Clopper and Pearson. NaN with fewer than MIN_CLUSTERS.
    """
    if value == 0 > bounds[0]:
        return 0.0, 0.0
    if n_clusters < MIN_CLUSTERS:
        return float("nan"), float("nan")
    share = float(extreme_reach(n_clusters, confidence_level))
    return value - (value - bounds[0]) * share, value + (bounds[1] - value) * share


def resampled_means(sums: Floats, counts: Floats, draws: Floats) -> Floats:
    """[G, B] sums / counts, [G, K] each, when clusters are drawn `draws` [B, K] times."""
    drawn = np.broadcast_to(counts.sum(axis=1)[:, None], (len(sums), len(draws))).copy()
    uneven = np.flatnonzero(np.ptp(counts, axis=1) > 0)  # else every resample counts as many
    drawn[uneven] = counts[uneven] @ draws.T
    return ratio(sums @ draws.T, drawn)


def rate_interval(sums: Floats, counts: Floats, confidence_level: float) -> tuple[float, float]:
    """Interval of a rate over few clusters, or where it is near 0 or 1 (Korn and Graubard 1998).

    Clopper and Pearson's binomial interval for as many trials as the clusters are worth: the
    variance of a binomial share over the cluster-robust one, less for the few degrees of freedom.
    These are the clusters with a hit, or with a miss, whichever are fewer: the variance rests on
    them. A rate of 0 or 1 has no variance, so each cluster counts as a single trial; no other rate
    counts fewer on account of its freedom.

    Args:
        sums: [K] hits of each cluster.
        counts: [K] values of each cluster; a cluster with 0 does not enter.
        confidence_level: coverage.
    """
    n, clusters = float(counts.sum()), int((counts > 0).sum())
    value, upper = float(sums.sum() / n), (1 + confidence_level) / 2
    trials = float(clusters)
    if 0 < value < 1 and clusters > 1:
        variance = _cluster_variance(sums, counts)
        exceptions = min(int((sums > 0).sum()), int((sums < counts).sum()), clusters - 1)
        by_freedom = stdtrit(n - 1, upper) / stdtrit(max(exceptions, 1), upper)
        worth = n if variance == 0 else min(value * (1 - value) / variance, n)
        trials = max(worth * float(by_freedom) ** 2, min(worth, clusters), 1.0)
    hits = value * trials
    low = float(betaincinv(hits, trials - hits + 1, 1 - upper)) if value > 0 else 0.0
    high = float(betaincinv(hits + 1, trials - hits, upper)) if value < 1 else 1.0
    return low, high


def t_interval(sums: Floats, counts: Floats, confidence_level: float) -> tuple[float, float]:
    """Interval of a ratio of sums over few clusters, symmetric; NaN with fewer than 3 of them.

    The linearised cluster-robust standard error with K - 1 degrees of freedom (Cameron, Gelbach and
    Miller 2008; Bell and McCaffrey 2002 for why the normal distribution would be too narrow). Where
    fewer than 2 FEW_EXCEPTIONS clusters are not 0, the error rests on these, and K is their number.

    Args:
        sums: [K] numerator of each cluster.
        counts: [K] denominator of each cluster; a cluster with 0 in both does not enter.
        confidence_level: coverage.
    """
    entered = (counts != 0) | (sums != 0)
    clusters = int(entered.sum())
    value = float(sums.sum() / counts.sum())
    if clusters < MIN_CLUSTERS:
        return float("nan"), float("nan")
    error = _cluster_variance(sums, counts) ** 0.5
    differing = int((sums != 0).sum())
    df = (differing if differing < 2 * FEW_EXCEPTIONS else clusters) - 1
    width = float(stdtrit(max(df, 1), (1 + confidence_level) / 2)) * error
    return value - width, value + width


def _cluster_variance(sums: Floats, counts: Floats) -> float:
    """Linearised variance of a ratio of sums over independent clusters."""
    clusters = int(((counts != 0) | (sums != 0)).sum())
    residuals = (sums - sums.sum() / counts.sum() * counts) / counts.sum()
    return float(clusters / (clusters - 1) * (residuals**2).sum())


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
    value = float(gains.sum() / ranges.sum())
    if len(np.unique(cluster[valid])) < FEW_CLUSTERS:
        return value, *t_interval(sign * gains, sign * ranges, confidence_level)
    return value, *percentiles(ratio(sign * (draws @ gains), drawn_ranges), confidence_level)


def sign_flip(
    differences: Floats, cluster: NDArray[np.intp], n_resamples: int, seed: int
) -> PValue:
    """Two-sided test of a mean paired difference of 0; whole clusters change sign.

    Exact where the clusters' sums are multiples of a small unit, as those of hits are, or where
    there are few clusters; else the observed assignment counts as one of the resamples, so that p
    is never 0 (Phipson and Smyth 2010). Identical runs have p = 1.
    """
    finite = np.isfinite(differences)
    sums = np.bincount(cluster[finite], differences[finite]).astype(np.float64)
    counted = _counted(sums)
    if counted is not None:
        return counted
    signs, is_exact = sign_patterns(len(sums), n_resamples, seed)
    reached = int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12).sum())
    return share_reached(reached, len(signs), is_exact)


def _counted(sums: Floats) -> PValue | None:
    """The exact p-value of `sign_flip`, where the sums are multiples of one of FINEST_UNITS.

    The distribution of the sum of K steps up or down is built step by step.
    """
    for parts in FINEST_UNITS:
        steps = np.abs(np.rint(sums * parts)).astype(np.int64)
        if np.abs(np.abs(sums) * parts - steps).max(initial=0.0) < 1e-9:
            break
    else:
        return None
    total = int(steps.sum())
    if (2 * total + 1) * len(steps) > MOST_COUNTED * 10:
        return None
    share = np.zeros(2 * total + 1)  # of each sum from -total to total
    share[total] = 1.0
    for step in steps[steps > 0]:
        moved = np.zeros_like(share)
        moved[step:] += share[:-step] / 2
        moved[:-step] += share[step:] / 2
        share = moved
    reach = abs(int(np.rint(sums.sum() * parts)))
    sizes = np.abs(np.arange(-total, total + 1))
    return PValue(float(min(1.0, share[sizes >= reach].sum())), 0.0)
