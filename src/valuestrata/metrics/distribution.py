"""A model's distribution over answer codes against a subgroup's, and how well it is calibrated.

Symbols: n pairs, C codes (padded), K clusters, M bins of confidence, B resamples. NaN rows where
either distribution is unknown.
"""

import numpy as np
from numpy.typing import NDArray

from valuestrata.metrics import resample

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

BINS = 10
"""Bins of confidence, of equal width, each with its upper edge."""


def wasserstein(
    model: Floats, people: Floats, codes: Floats, scale_min: Floats, scale_max: Floats
) -> Floats:
    """[n] Wasserstein-1 distance with the scale's width as 1; codes off the scale are left out.

    Args:
        model: [n, C] probabilities.
        people: [n, C] shares.
        codes: [n, C] ascending, padded with their last value.
        lowest: [n] lower end of the scale.
        highest: [n] upper end of the scale.
    """
    inside = (codes >= scale_min[:, None]) & (codes <= scale_max[:, None])
    step = np.diff(codes, axis=1, append=codes[:, -1:])
    step = np.where(inside & np.roll(inside, -1, axis=1), step, 0.0)
    gap = np.abs(_cumulative(model, inside) - _cumulative(people, inside))
    return np.asarray((gap * step).sum(axis=1) / (scale_max - scale_min))


def jensen_shannon(model: Floats, people: Floats) -> Floats:
    """[n] Jensen-Shannon divergence in bits, 0 to 1 (Lin 1991)."""
    middle = (model + people) / 2
    return np.asarray((_relative_entropy(model, middle) + _relative_entropy(people, middle)) / 2)


def total_variation(model: Floats, people: Floats) -> Floats:
    """[n] half the sum of |model - people| over the codes: 0 equal, 1 no code in common."""
    return np.asarray(np.abs(model - people).sum(axis=1) / 2)


def likeliest(model: Floats) -> tuple[Places, Floats]:
    """[n] place of the most probable code, ties to the lowest, and its probability (confidence).

    The place of a row without a distribution means nothing; its confidence is NaN.
    """
    top = np.where(np.isnan(model), -1.0, model).argmax(axis=1)
    return top, np.asarray(model[np.arange(len(model)), top])


def calibration_error(
    confidence: Floats, hit: Floats, cluster: Places, resamples: int, level: float, seed: int
) -> tuple[float, float, float]:
    """Expected calibration error with its cluster-bootstrap interval: value, low, high.

    In each of M bins of confidence, |share of hits - mean confidence|; the mean over bins, weighted
    by their size (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017). It grows with noise, so the
    interval is corrected for bias.

    Args:
        confidence: [n] probability of the likeliest code, NaN for missing.
        hit: [n] 1 where that code is the label, else 0.
        cluster: [n] index of each pair's cluster, 0 to K - 1.
        resamples: B.
        level: coverage.
        seed: of the draws; the same for all runs, so that they share their resamples.
    """
    known = np.isfinite(confidence) & np.isfinite(hit)
    if not known.any():
        return float("nan"), float("nan"), float("nan")
    gaps, n = _gaps(confidence, hit, cluster, known)
    draws = resample.cluster_draws(len(n), resamples, seed)
    value = float(_mean_gap(gaps.sum(axis=0), n.sum()))
    found = _mean_gap(draws @ gaps, draws @ n)
    return value, *resample.bias_corrected(value, found, level, (0.0, 1.0))


def calibration_difference(
    one: tuple[Floats, Floats],
    other: tuple[Floats, Floats],
    cluster: Places,
    resamples: int,
    level: float,
    seed: int,
) -> tuple[float, float, float, float, int]:
    """Calibration error of one run less another's on the pairs that both have, and its test.

    The test swaps the two runs within whole clusters; identical runs have p = 1.

    Args:
        one: [n] confidence and [n] hit, as in `calibration_error`.
        other: the other run's.
        cluster: [n] index of each pair's cluster.
        resamples: B, of the interval and of the test.
        level: coverage.
        seed: of both.

    Returns:
        value, low, high, p-value, and the pairs compared.
    """
    known = np.asarray(np.isfinite(np.stack([*one, *other])).all(axis=0))
    if not known.any():
        return float("nan"), float("nan"), float("nan"), float("nan"), 0
    (first, n), (second, _) = (_gaps(*run, cluster, known) for run in (one, other))
    whole = n.sum()
    value = float(_mean_gap(first.sum(axis=0), whole) - _mean_gap(second.sum(axis=0), whole))
    draws = resample.cluster_draws(len(n), resamples, seed)
    sizes = draws @ n
    moved = _mean_gap(draws @ first, sizes) - _mean_gap(draws @ second, sizes)
    swaps = np.random.default_rng(seed).integers(0, 2, size=(resamples, len(n))).astype(np.float64)
    mixed = second.sum(axis=0) + swaps @ (first - second)
    rest = (first + second).sum(axis=0) - mixed
    chance = _mean_gap(mixed, whole) - _mean_gap(rest, whole)
    as_extreme = np.abs(chance) >= abs(value) - 1e-12
    p = float((1 + as_extreme.sum()) / (1 + resamples))
    return value, *resample.percentiles(moved, level), p, int(known.sum())


def _gaps(
    confidence: Floats, hit: Floats, cluster: Places, known: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """[K, M] sum of hit - confidence by cluster and bin, and [K] pairs of each cluster."""
    clusters = int(cluster.max()) + 1
    within = np.clip(np.ceil(confidence[known] * BINS).astype(np.intp) - 1, 0, BINS - 1)
    cell = cluster[known] * BINS + within
    gaps = np.bincount(cell, (hit - confidence)[known], minlength=clusters * BINS)
    n = np.bincount(cluster[known], minlength=clusters).astype(np.float64)
    return np.asarray(gaps, dtype=np.float64).reshape(clusters, BINS), n


def _mean_gap(gaps: Floats, n: Floats) -> Floats:
    """Sum over the last axis, the bins, of |gap|, divided by n."""
    return resample.ratio(np.abs(gaps).sum(axis=-1), n)


def _cumulative(shares: Floats, inside: NDArray[np.bool_]) -> Floats:
    kept = np.where(inside, shares, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(kept.cumsum(axis=1) / np.where(total > 0, total, np.nan))


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    known = np.isfinite(p) & np.isfinite(q)
    fraction = np.divide(p, q, out=np.ones_like(p), where=known & (p > 0) & (q > 0))
    terms = np.where(known, p, 0.0) * np.log2(fraction)
    return np.where(known.all(axis=1), np.maximum(terms.sum(axis=1), 0.0), np.nan)
