"""Agreement of scores, and of raters, on the same items. Pure array functions.

Symbols: n items that are rated, R raters, C ordered categories, K clusters of items, B resamples.
A rating is the index of its category, -1 where the rater gave none.
"""

from math import ceil
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from valuestrata.metrics.resample import cluster_draws, percentiles, ratio

Floats = NDArray[np.float64]
Ratings = NDArray[np.intp]
Level = Literal["nominal", "ordinal"]
"""Level of measurement."""


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


# ---- raters


def pair_counts(
    first: Ratings, second: Ratings, n_categories: int, cluster: NDArray[np.intp], n_clusters: int
) -> Floats:
    """[K, C, C] items by cluster, the first rater's category and the second's.

    Args:
        first: [n] ratings.
        second: [n] ratings of the same items; items that either left out do not count.
        n_categories: C.
        cluster: [n] index of each item's cluster.
        n_clusters: K.

    >>> first, second = np.array([0, 1, 1, -1]), np.array([0, 1, 0, 1])
    >>> pair_counts(first, second, 2, np.zeros(4, dtype=int), 1)
    array([[[1., 0.],
            [1., 1.]]])
    """
    both = (first >= 0) & (second >= 0)
    cells = ((cluster * n_categories + first) * n_categories + second)[both]
    shape = (n_clusters, n_categories, n_categories)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def coincidences(
    ratings: Ratings, n_categories: int, cluster: NDArray[np.intp], n_clusters: int
) -> Floats:
    """[K, C, C] Krippendorff's coincidence matrix of each cluster; it sums to ratings paired.

    An item with m >= 2 ratings adds each ordered pair of them with weight 1 / (m - 1)
    (Krippendorff 2019, Content Analysis, chapter 12).

    Args:
        ratings: [n, R].
        n_categories: C.
        cluster: [n] index of each item's cluster.
        n_clusters: K.
    """
    counts = (ratings[:, :, None] == np.arange(n_categories)).sum(axis=1).astype(np.float64)
    m = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs -= counts[:, :, None] * np.eye(n_categories)
    pairs = np.where((m > 1)[:, None, None], pairs, 0.0) / np.maximum(m - 1, 1)[:, None, None]
    sums = np.zeros((n_clusters, n_categories, n_categories))
    np.add.at(sums, cluster, pairs)
    return sums


def resample(counts: Floats, draws: Floats) -> Floats:
    """[B, C, C] counts [K, C, C] summed over the clusters drawn, draws [B, K]."""
    return np.tensordot(draws, counts, axes=1)


def weighted_kappa(counts: Floats, power: int) -> Floats:
    """[...] Cohen's weighted kappa of counts [..., C, C] (Cohen 1968).

    Disagreement of categories i and j weighs |i - j| ** power: 1 is linear, 2 quadratic. NaN where
    both raters used one and the same category alone, as no disagreement could be expected.

    >>> float(weighted_kappa(np.array([[2.0, 0, 0], [1, 1, 0], [0, 0, 2]]), 1).round(4))
    0.8235
    """
    n_categories = counts.shape[-1]
    weights = np.abs(np.subtract.outer(range(n_categories), range(n_categories))) ** power
    n = counts.sum(axis=(-2, -1))
    rows, columns = counts.sum(axis=-1), counts.sum(axis=-2)
    observed = (weights * counts).sum(axis=(-2, -1)) * n
    expected = np.einsum("...i,ij,...j->...", rows, weights.astype(np.float64), columns)
    return 1 - ratio(observed, expected)


def observed_agreement(counts: Floats) -> Floats:
    """[...] share of items in the same category, of counts [..., C, C]; NaN without items."""
    return ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def krippendorff_alpha(pairs: Floats, level: Level) -> Floats:
    """[...] Krippendorff's alpha of coincidence matrices [..., C, C].

    The distance of two categories is 1 on the nominal level, and on the ordinal the difference of
    their mid-ranks among all ratings that are paired. NaN where all are in one category.
    """
    totals = pairs.sum(axis=-1)  # [..., C]
    ranks = np.cumsum(totals, axis=-1) - totals / 2
    distances = (ranks[..., :, None] - ranks[..., None, :]) ** 2
    if level == "nominal":
        distances = np.broadcast_to(1 - np.eye(pairs.shape[-1]), pairs.shape)
    observed = (pairs * distances).sum(axis=(-2, -1)) * (totals.sum(axis=-1) - 1)
    expected = np.einsum("...i,...ij,...j->...", totals, distances, totals)
    return 1 - ratio(observed, expected)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """[...] mean over the first axis of the values [P, ...] that are not NaN, NaN without any.

    For kappas of P pairs of raters, weighted by the items of each: with equal weights it is Light's
    kappa (Light 1971), and a pair that shares few items counts for little.
    """
    weights = np.where(np.isnan(values), 0.0, weights)
    return ratio((np.nan_to_num(values) * weights).sum(axis=0), weights.sum(axis=0))


def widened(value: float, draws: Floats, n_clusters: int, confidence_level: float) -> Floats:
    """[B] bootstrap draws, spread further around the estimate for the few clusters behind them.

    A percentile interval takes the normal quantile, in effect, and a variance that is too small by
    (K - 1) / K. The draws' distances from the estimate are scaled by the ratio of Student's
    quantile with K - 1 degrees of freedom to the normal one, and by the root of K / (K - 1). With 5
    to 60 questions, 95% intervals of kappas, alpha and their differences then cover 92 to 96%, and
    a difference of nothing is called one in 4 to 7% (a test simulates it); plain percentiles cover
    87% at 8 questions.
    """
    share = (1 + confidence_level) / 2
    quantiles = float(stdtrit(n_clusters - 1, share)) / NormalDist().inv_cdf(share)
    return value + quantiles * np.sqrt(n_clusters / (n_clusters - 1)) * (draws - value)


def bootstrap_p_value(draws: Floats) -> float:
    """Two-sided p-value of a statistic of 0, from its bootstrap draws [B]; NaN without a draw.

    Twice the smaller share of draws on either side of 0, with one more draw there: never 0, and
    below alpha where the percentile interval of level 1 - alpha excludes 0.
    """
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return float("nan")
    smaller = min((finite <= 0).sum(), (finite >= 0).sum())
    return min(1.0, 2 * (1 + int(smaller)) / (1 + len(finite)))


def kappa_variance(joint: Floats, power: int) -> float:
    """n times the large-sample variance of weighted kappa over n independent items.

    Of Fleiss, Cohen and Everitt (1969), Large sample standard errors of kappa and weighted kappa,
    Psychological Bulletin 72. NaN where chance agreement is complete.

    Args:
        joint: [C, C] probability of each pair of categories, sums to 1.
        power: 1 for linear, 2 for quadratic weights.
    """
    n_categories = len(joint)
    distance = np.abs(np.subtract.outer(range(n_categories), range(n_categories))) ** power
    weights = 1 - distance / max(n_categories - 1, 1) ** power
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    chance = float(rows @ weights @ columns)
    if chance >= 1 - 1e-12:
        return float("nan")
    kappa = (float((weights * joint).sum()) - chance) / (1 - chance)
    means = np.add.outer(weights @ columns, rows @ weights)
    spread = float((joint * (weights - means * (1 - kappa)) ** 2).sum())
    return (spread - (kappa - chance * (1 - kappa)) ** 2) / (1 - chance) ** 2


def expected_joint(shares: Floats, kappa: float) -> Floats:
    """[C, C] two raters with these shares [C] of categories and this kappa, whatever its weights.

    With probability kappa both give the same rating, else each its own.
    """
    return (1 - kappa) * np.outer(shares, shares) + kappa * np.diag(shares)


def kappa_half_width(variance: float, n: int, confidence_level: float) -> float:
    """Half the width of a Wald interval of a kappa over n items; see `kappa_variance`."""
    return NormalDist().inv_cdf((1 + confidence_level) / 2) * float(np.sqrt(variance / n))


def items_for_half_width(variance: float, half_width: float, confidence_level: float) -> int:
    """Fewest independent items for an interval of kappa within +- half_width.

    n = z^2 variance / half_width^2, the formula of Cantor (1996), Sample-size calculations for
    Cohen's kappa, Psychological Methods 1, with the variance of a weighted kappa.
    """
    z = NormalDist().inv_cdf((1 + confidence_level) / 2)
    return max(2, ceil(z**2 * variance / half_width**2))
