"""Intervals and tests of a mean over clusters, of which there may be few. Pure array functions.

Symbols: n values, K clusters, n_k values of a cluster.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtr, stdtrit

Floats = NDArray[np.float64]
NAN = float("nan")
MIN_CLUSTERS = 3
"""Fewest clusters that an interval is made of."""


class ClusteredEstimate(NamedTuple):
    """An estimate, the ends of its interval, the p-value of its null, and the clusters in it."""

    value: float
    ci_low: float
    ci_high: float
    p_value: float
    clusters: int


def clustered_mean(
    values: Floats,
    cluster: NDArray[np.intp],
    confidence_level: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    null: float = NAN,
) -> ClusteredEstimate:
    """Mean of the finite values, with an interval and a test that hold for few clusters, too.

    The standard error is that of the jackknife over clusters; interval and test are
    `bounded_interval`'s. With 3 to 60 clusters of up to 40 values, 95% intervals of means of .5 to
    .8 cover 94 to 98% (a test simulates it); a percentile bootstrap covers 50% of 2 clusters, 83%
    of 5 and 88% of 10. Where all values are at one bound there is no variance to see: the interval
    is then that of Clopper and Pearson for a share, a cluster counting as one observation, and p
    twice the greatest chance of such a sample under the null.

    Args:
        values: [n], NaN for missing.
        cluster: [n] index of each value's cluster.
        confidence_level: coverage.
        bounds: least and greatest possible value.
        null: the mean that is tested, two-sided; NaN for no test.

    Ends and p are NaN with fewer than MIN_CLUSTERS. Where all clusters have the same mean, inside
    the bounds, the interval has no width; p is 1 at the null and 0 elsewhere.
    """
    valid = np.isfinite(values)
    if not valid.any():
        return ClusteredEstimate(NAN, NAN, NAN, NAN, 0)
    _, index, counts = np.unique(cluster[valid], return_inverse=True, return_counts=True)
    sums, sizes = np.bincount(index, values[valid]), counts.astype(np.float64)
    mean, n_clusters = float(sums.sum() / sizes.sum()), len(sizes)
    if n_clusters < MIN_CLUSTERS:
        return ClusteredEstimate(mean, NAN, NAN, NAN, n_clusters)
    if mean in bounds:
        ends = extreme_interval(mean, bounds, n_clusters, confidence_level)
        share = 1 - abs(mean - null) / (bounds[1] - bounds[0])
        p = NAN if null != null else min(1.0, 2 * share**n_clusters)
        return ClusteredEstimate(mean, *ends, p, n_clusters)
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    error = float(np.sqrt((n_clusters - 1) * np.var(left_out)))
    return bounded_interval(mean, error, sizes, confidence_level, bounds, null)


def bounded_interval(
    value: float,
    error: float,
    sizes: Floats,
    confidence_level: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    null: float = NAN,
) -> ClusteredEstimate:
    """Interval and test of an estimate inside its bounds, from its standard error.

    On the logit scale, as survey statisticians do for shares (Korn and Graubard 1998, Survey
    Methodology 24), by the delta method, so that ends lie inside the bounds. The quantile is
    Student's, with as many degrees of freedom as there are effective clusters,
    (sum n_k)^2 / sum n_k^2, less one, and at least one.

    Args:
        value: the estimate, strictly inside the bounds.
        error: its standard error over clusters.
        sizes: [K] values in each cluster.
        confidence_level: coverage.
        bounds: least and greatest possible value.
        null: the value that is tested, two-sided; NaN for no test.
    """
    if not error > 1e-12:
        p = NAN if null != null else float(value == null)
        return ClusteredEstimate(value, value, value, p, len(sizes))
    least, width = bounds[0], bounds[1] - bounds[0]
    share, at_null = (value - least) / width, (null - least) / width
    scaled = error / width / (share * (1 - share))
    df = max(1.0, float(sizes.sum() ** 2 / (sizes**2).sum()) - 1)
    reach = scaled * stdtrit(df, (1 + confidence_level) / 2) * np.array([-1.0, 1.0])
    low, high = (least + width * expit(logit(share) + reach)).tolist()
    p = 2 * float(stdtr(df, -abs(logit(share) - logit(at_null)) / scaled))
    return ClusteredEstimate(value, low, high, p, len(sizes))


def extreme_interval(
    value: float, bounds: tuple[float, float], n_clusters: int, confidence_level: float
) -> tuple[float, float]:
    """Interval of a mean at one of its bounds, from that many independent observations.

    >>> low, high = extreme_interval(0.0, (0.0, 1.0), 30, 0.95)
    >>> low, round(high, 3)
    (0.0, 0.116)
    """
    least, greatest = bounds
    reach = (greatest - least) * float(extreme_reach(n_clusters, confidence_level))
    return (least, least + reach) if value == least else (greatest - reach, greatest)


def extreme_reach(n_clusters: Floats | float, confidence_level: float) -> Floats:
    """The largest share of exceptions that as many observations may miss altogether; 1 of none."""
    return np.asarray(1 - ((1 - confidence_level) / 2) ** (1 / np.maximum(n_clusters, 1e-9)))
