"""A model's distribution over answer codes against a subgroup's, and how well it is calibrated.

Symbols: n pairs, C codes (padded), K clusters, M bins of confidence, B resamples. NaN rows where
either distribution is missing.
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
        scale_min: [n] lower end of the scale.
        scale_max: [n] upper end of the scale.
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

    For a row without a distribution the place is arbitrary and the confidence NaN.
    """
    top = np.where(np.isnan(model), -1.0, model).argmax(axis=1)
    return top, np.asarray(model[np.arange(len(model)), top])


def calibration_error(
    confidence: Floats,
    hit: Floats,
    cluster: Places,
    n_resamples: int,
    confidence_level: float,
    seed: int,
) -> tuple[float, float, float]:
    """Expected calibration error with its cluster-bootstrap interval: value, low, high.

    In each of M bins of confidence, |share of hits - mean confidence|; the mean over bins, weighted
    by their size (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017). It grows with noise, so the
    interval is corrected for bias, and begins at 0 where a calibrated model would show as much by
    chance: where the gaps of whole clusters are as likely positive as negative. With fewer than
    FEW_CLUSTERS clusters there is no interval; percentiles of 5 cover 70 to 80%.

    Args:
        confidence: [n] probability of the likeliest code, NaN for missing.
        hit: [n] 1 where that code is the label, else 0.
        cluster: [n] index of each pair's cluster, 0 to K - 1.
        n_resamples: B.
        confidence_level: coverage.
        seed: of the draws; the same for all runs, so that they share their resamples.
    """
    valid = np.isfinite(confidence) & np.isfinite(hit)
    if not valid.any():
        return float("nan"), float("nan"), float("nan")
    gaps, n = _gaps(confidence, hit, cluster, valid)
    value = float(_mean_gap(gaps.sum(axis=0), n.sum()))
    if (n > 0).sum() < resample.FEW_CLUSTERS:
        return value, float("nan"), float("nan")
    draws = resample.cluster_draws(len(n), n_resamples, seed)
    resampled = _mean_gap(draws @ gaps, draws @ n)
    low, high = resample.bias_corrected(value, resampled, confidence_level, (0.0, 1.0))
    signs, _ = resample.sign_patterns(len(n), n_resamples, seed)
    calibrated = _mean_gap(signs @ gaps, n.sum())
    return value, low if value > np.quantile(calibrated, (1 + confidence_level) / 2) else 0.0, high


def calibration_difference(
    first_run: tuple[Floats, Floats],
    second_run: tuple[Floats, Floats],
    cluster: Places,
    n_resamples: int,
    confidence_level: float,
    seed: int,
) -> tuple[float, float, float, resample.PValue, int]:
    """Calibration error of one run minus another's on the pairs that both have, and its test.

    The test swaps the two runs within whole clusters; identical runs have p = 1.

    Args:
        first_run: [n] confidence and [n] hit, as in `calibration_error`.
        second_run: the other run's.
        cluster: [n] index of each pair's cluster.
        n_resamples: B, of the interval and of the test.
        confidence_level: coverage.
        seed: of both.

    Returns:
        value, low, high, the test, and the pairs compared. As of one run, there is no interval with
        fewer than FEW_CLUSTERS clusters.
    """
    valid = np.asarray(np.isfinite(np.stack([*first_run, *second_run])).all(axis=0))
    if not valid.any():
        return float("nan"), float("nan"), float("nan"), resample.UNTESTED, 0
    (first, n), (second, _) = (_gaps(*run, cluster, valid) for run in (first_run, second_run))
    size = n.sum()
    value = float(_mean_gap(first.sum(axis=0), size) - _mean_gap(second.sum(axis=0), size))
    draws = resample.cluster_draws(len(n), n_resamples, seed)
    sizes = draws @ n
    resampled = _mean_gap(draws @ first, sizes) - _mean_gap(draws @ second, sizes)
    signs, is_exact = resample.sign_patterns(len(n), n_resamples, seed)
    mixed = second.sum(axis=0) + (1 + signs) / 2 @ (first - second)
    swapped = (first + second).sum(axis=0) - mixed
    permuted = _mean_gap(mixed, size) - _mean_gap(swapped, size)
    reached = int((np.abs(permuted) >= abs(value) - 1e-12).sum())
    test = resample.share_reached(reached, len(signs), is_exact)
    low, high = resample.percentiles(resampled, confidence_level)
    if (n > 0).sum() < resample.FEW_CLUSTERS:
        low, high = float("nan"), float("nan")
    return value, low, high, test, int(valid.sum())


def _gaps(
    confidence: Floats, hit: Floats, cluster: Places, valid: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """[K, M] sum of hit - confidence by cluster and bin, and [K] pairs of each cluster."""
    clusters = int(cluster.max()) + 1
    within = np.clip(np.ceil(confidence[valid] * BINS).astype(np.intp) - 1, 0, BINS - 1)
    cell = cluster[valid] * BINS + within
    gaps = np.bincount(cell, (hit - confidence)[valid], minlength=clusters * BINS)
    n = np.bincount(cluster[valid], minlength=clusters).astype(np.float64)
    return np.asarray(gaps, dtype=np.float64).reshape(clusters, BINS), n


def _mean_gap(gaps: Floats, n: Floats) -> Floats:
    """Sum over the last axis, the bins, of |gap|, divided by n."""
    return resample.ratio(np.abs(gaps).sum(axis=-1), n)


def _cumulative(shares: Floats, inside: NDArray[np.bool_]) -> Floats:
    kept = np.where(inside, shares, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(kept.cumsum(axis=1) / np.where(total > 0, total, np.nan))


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    valid = np.isfinite(p) & np.isfinite(q)
    fraction = np.divide(p, q, out=np.ones_like(p), where=valid & (p > 0) & (q > 0))
    terms = np.where(valid, p, 0.0) * np.log2(fraction)
    return np.where(valid.all(axis=1), np.maximum(terms.sum(axis=1), 0.0), np.nan)
