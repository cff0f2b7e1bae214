"""Rank agreement of two scores of the same items. Pure array functions.

Symbols: n items that both score, B resamples.
"""

import numpy as np
from numpy.typing import NDArray

from valuestrata.metrics.resample import cluster_draws, percentiles, ratio

Floats = NDArray[np.float64]


def rank_agreement(
    first: Floats, second: Floats, n_resamples: int, confidence_level: float, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Spearman's rho and Kendall's tau-b of two [n] scores: value, low, high.

    Args:
        first: [n], all finite.
        second: [n], all finite.
        n_resamples: B, of the n items.
        confidence_level: coverage of the percentile intervals.
        seed: of the resamples.

    All are NaN with fewer than two items or where a score is the same for all.
    """
    if min(len(np.unique(first)), len(np.unique(second))) < 2:
        return dict.fromkeys(("spearman", "kendall"), (np.nan, np.nan, np.nan))
    from scipy import stats  # takes a second to import, and the graph imports every stage

    values = {
        "spearman": float(stats.spearmanr(first, second).statistic),
        "kendall": float(stats.kendalltau(first, second).statistic),
    }
    resampled = resampled_agreement(first, second, cluster_draws(len(first), n_resamples, seed))
    return {
        name: (value, *percentiles(resampled[name], confidence_level))
        for name, value in values.items()
    }


def resampled_agreement(first: Floats, second: Floats, draws: Floats) -> dict[str, Floats]:
    """[B] both coefficients in resamples, draws [B, n]; NaN where a resample is all ties.

    With sign_ij the sign of x_i - x_j, an item's mid-rank less the mean rank is half the sum over
    the drawn j of sign_ij: both coefficients are products of draws with the signs, and ties, also
    of an item drawn twice with itself, are counted as in the definitions.
    """
    signs = [np.sign(np.subtract.outer(x, x)) for x in (first, second)]
    x, y = (draws @ sign.T for sign in signs)  # [B, n] twice the centred ranks
    rho = _normalized((draws * x * y), (draws * x * x), (draws * y * y))
    concordant = draws * (draws @ (signs[0] * signs[1]))
    untied = [draws * (draws @ np.abs(sign)) for sign in signs]
    return {"spearman": rho, "kendall": _normalized(concordant, *untied)}


def _normalized(shared: Floats, first: Floats, second: Floats) -> Floats:
    return ratio(shared.sum(axis=1), np.sqrt(first.sum(axis=1) * second.sum(axis=1)))
