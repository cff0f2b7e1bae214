"""Whether two scores put the same things in the same order. Pure array functions.

Symbols: n things that both score, B resamples.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from valuestrata.metrics.resample import cluster_draws, percentiles, ratio

Floats = NDArray[np.float64]


def rank_agreement(
    one: Floats, other: Floats, resamples: int, level: float, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Spearman's rho and Kendall's tau-b of two [n] scores: value, low, high.

    Args:
        one: [n], all finite.
        other: [n], all finite.
        resamples: B, of the n things.
        level: coverage of the percentile intervals.
        seed: of the resamples.

    All are NaN with fewer than two things or where a score is the same for all.
    """
    if min(len(np.unique(one)), len(np.unique(other))) < 2:
        return dict.fromkeys(("spearman", "kendall"), (np.nan, np.nan, np.nan))
    values = {
        "spearman": float(stats.spearmanr(one, other).statistic),
        "kendall": float(stats.kendalltau(one, other).statistic),
    }
    drawn = resampled(one, other, cluster_draws(len(one), resamples, seed))
    return {name: (value, *percentiles(drawn[name], level)) for name, value in values.items()}


def resampled(one: Floats, other: Floats, draws: Floats) -> dict[str, Floats]:
    """[B] both coefficients in resamples, draws [B, n]; NaN where a resample is all ties.

    With sign_ij the sign of x_i - x_j, a thing's mid-rank less the mean rank is half the sum over
    the drawn j of sign_ij: both coefficients are products of draws with the signs, and ties, also
    of a thing drawn twice with itself, are counted as in the definitions.
    """
    signs = [np.sign(np.subtract.outer(x, x)) for x in (one, other)]
    x, y = (draws @ sign.T for sign in signs)  # [B, n] twice the centred ranks
    rho = _normed((draws * x * y), (draws * x * x), (draws * y * y))
    concordant = draws * (draws @ (signs[0] * signs[1]))
    untied = [draws * (draws @ np.abs(sign)) for sign in signs]
    return {"spearman": rho, "kendall": _normed(concordant, *untied)}


def _normed(both: Floats, one: Floats, other: Floats) -> Floats:
    return ratio(both.sum(axis=1), np.sqrt(one.sum(axis=1) * other.sum(axis=1)))
