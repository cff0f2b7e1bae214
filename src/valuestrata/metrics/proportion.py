"""A share of clustered events with an interval that holds at 0 and 1, too. Pure.

Wilson's score interval (1927) with the effective number of events: the number over the design
effect of the clusters (Kish 1965), and Student's t of the clusters in place of the normal quantile,
as Korn and Graubard (1998) do for surveys. It is never narrower than that of independent events.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]


def share_with_interval(
    events: Floats, clusters: NDArray[np.intp], confidence_level: float
) -> tuple[float, float, float]:
    """Share of events, and the ends of its interval.

    Where all events are alike nothing is seen of how they hang together, so each cluster counts as
    one. A single cluster gives no interval.

    Args:
        events: [n] 1 where it happened, 0 where not, NaN where nobody knows.
        clusters: [n] of each.
        confidence_level: coverage.

    >>> share, low, high = share_with_interval(np.zeros(40), np.arange(40), 0.95)
    >>> share, low, round(high, 3)
    (0.0, 0.0, 0.093)
    """
    is_there = np.isfinite(events)
    hits, ids = events[is_there], clusters[is_there]
    n, k = len(hits), len(np.unique(ids))
    if not n:
        return float("nan"), float("nan"), float("nan")
    share = float(hits.mean())
    if k < 2:
        return share, float("nan"), float("nan")
    effective = float(k)
    if 0 < share < 1:
        sums = np.bincount(np.unique(ids, return_inverse=True)[1], weights=hits - share)
        variance = k / (k - 1) * float((sums**2).sum()) / n**2
        effective = n / max(1.0, variance * n / (share * (1 - share)))
    z2 = float(stdtrit(k - 1, (1 + confidence_level) / 2)) ** 2
    centre = (share + z2 / (2 * effective)) / (1 + z2 / effective)
    spread = np.sqrt(z2 * (share * (1 - share) / effective + z2 / (4 * effective**2)))
    half = float(spread) / (1 + z2 / effective)
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return share, low, high
