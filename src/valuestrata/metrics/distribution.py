"""Distances between a model's and a subgroup's distribution over answer codes.

Symbols: n pairs, C codes (padded; `real` says which exist). NaN rows where either is unknown.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def wasserstein(
    model: Floats, people: Floats, codes: Floats, lowest: Floats, highest: Floats
) -> Floats:
    """[n] Wasserstein-1 distance with the scale's width as 1; codes off the scale are left out.

    Args:
        model: [n, C] probabilities.
        people: [n, C] shares.
        codes: [n, C] ascending, padded with their last value.
        lowest: [n] lower end of the scale.
        highest: [n] upper end of the scale.
    """
    inside = (codes >= lowest[:, None]) & (codes <= highest[:, None])
    step = np.diff(codes, axis=1, append=codes[:, -1:])
    step = np.where(inside & np.roll(inside, -1, axis=1), step, 0.0)
    gap = np.abs(_cumulative(model, inside) - _cumulative(people, inside))
    return np.asarray((gap * step).sum(axis=1) / (highest - lowest))


def jensen_shannon(model: Floats, people: Floats) -> Floats:
    """[n] Jensen-Shannon divergence in bits, 0 to 1 (Lin 1991)."""
    middle = (model + people) / 2
    return np.asarray((_relative_entropy(model, middle) + _relative_entropy(people, middle)) / 2)


def _cumulative(shares: Floats, inside: NDArray[np.bool_]) -> Floats:
    kept = np.where(inside, shares, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(kept.cumsum(axis=1) / np.where(total > 0, total, np.nan))


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    known = np.isfinite(p) & np.isfinite(q)
    fraction = np.divide(p, q, out=np.ones_like(p), where=known & (p > 0) & (q > 0))
    terms = np.where(known, p, 0.0) * np.log2(fraction)
    return np.where(known.all(axis=1), np.maximum(terms.sum(axis=1), 0.0), np.nan)
