"""How unequally groups are served: Norm.Range and CV, with intervals and the null of equal groups.

A range over many groups is large by chance alone, so each statistic comes with what it would be if
the groups were identical: within each question, scores are permuted among the subgroups.
Symbols: S subgroups, Q questions, G groups (subgroups, or unions of them), B resamples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.metrics.resample import (
    against_null,
    bias_corrected,
    cluster_draws,
    percentiles,
    ratio,
)

Floats = NDArray[np.float64]


def norm_range(performance: Floats) -> Floats:
    """[...] (Pmax - Pmin) / Pmax over the last axis (paper.md, Fairness)."""
    top = performance.max(axis=-1)
    return ratio(top - performance.min(axis=-1), top)


def cv(performance: Floats) -> Floats:
    """[...] sigma / mu over the last axis.

    # ASSUME paper.md, Fairness: sigma divides by the number of groups, not by one less.
    """
    return ratio(performance.std(axis=-1), performance.mean(axis=-1))


STATISTICS = {"norm_range": norm_range, "cv": cv}


def group_means(values: Floats, member: Floats) -> Floats:
    """[G] mean of the finite values of each group.

    Args:
        values: [S, Q] scores, NaN where missing.
        member: [G, S] 1 where a subgroup belongs to a group, else 0.
    """
    finite = np.isfinite(values)
    return ratio(member @ np.where(finite, values, 0.0).sum(axis=1), member @ finite.sum(axis=1))


def resampled_means(values: Floats, member: Floats, draws: Floats) -> Floats:
    """[B, G] group means when questions are drawn `draws` [B, Q] times."""
    finite = np.isfinite(values)
    sums = draws @ (member @ np.where(finite, values, 0.0)).T
    gaps = member @ (~finite).astype(np.float64)
    counts = np.outer(draws.sum(axis=1), member.sum(axis=1))
    incomplete = np.flatnonzero(gaps.any(axis=1))  # most groups have no gap
    counts[:, incomplete] -= draws @ gaps[incomplete].T
    return ratio(sums, counts)


def null_means(
    values: Floats, member: Floats, n_resamples: int, seed: int, chunk_size: int = 16
) -> Floats:
    """[B, G] group means when scores are permuted among subgroups within each question."""
    rng = np.random.default_rng(seed)
    size = len(values)
    finite = np.isfinite(values)
    # [Q, S] a question's finite scores, packed to the front, are permuted among its subgroups that
    # have one
    packed = np.take_along_axis(values, np.argsort(~finite, axis=0, kind="stable"), axis=0)
    packed = np.where(np.isfinite(packed), packed, 0.0).T
    counts = member @ finite.sum(axis=1)
    means = []
    for start in range(0, n_resamples, chunk_size):
        chunk = min(chunk_size, n_resamples - start)
        keys = np.where(finite, rng.random((chunk, *values.shape)), 1.0)
        order = _order(np.ascontiguousarray(keys.swapaxes(1, 2)))  # [b, Q, S]
        order += np.arange(chunk)[:, None, None] * size
        shuffled = np.broadcast_to(packed, order.shape).ravel()
        sums = np.bincount(order.ravel(), shuffled, minlength=chunk * size).reshape(chunk, size)
        means.append(ratio(sums @ member.T, counts))
    return np.concatenate(means)


def _order(keys: Floats) -> NDArray[np.int64]:
    """The argsort of random numbers of 53 bits in [0, 1], 1 included, along the last axis.

    Key and position share one whole number: sorting those is many times faster than argsort.
    """
    bits = int(keys.shape[-1]).bit_length()
    if bits > 9:  # 54 + 9 bits are what an int64 holds
        return np.argsort(keys, axis=-1)
    packed_keys = (keys * 2.0**53).astype(np.int64)
    packed_keys <<= bits
    packed_keys += np.arange(keys.shape[-1])
    packed_keys.sort(axis=-1)
    packed_keys &= (1 << bits) - 1
    return packed_keys


@dataclass(frozen=True)
class Inequality:
    """A statistic of inequality with its interval and its null."""

    statistic: str
    value: float
    ci_low: float
    ci_high: float
    null_mean: float
    null_p95: float
    p_value: float


def inequalities(
    values: Floats, member: Floats, n_resamples: int, confidence_level: float, seed: int
) -> list[Inequality]:
    """Norm.Range and CV of the group means of `values` [S, Q] over `member` [G, S].

    p_value is the share of permutations with a statistic at least as large, including the observed
    one.
    """
    means = group_means(values, member)
    drawn = resampled_means(values, member, cluster_draws(values.shape[1], n_resamples, seed))
    null = null_means(values, member, n_resamples, seed)
    results = []
    for name, statistic in STATISTICS.items():
        value, draws, null_draws = float(statistic(means)), statistic(drawn), statistic(null)
        low, high = bias_corrected(value, draws, confidence_level, (0.0, float("inf")))
        results.append(Inequality(name, value, low, high, *against_null(value, null_draws)))
    return results


def group_intervals(
    values: Floats, member: Floats, n_resamples: int, confidence_level: float, seed: int
) -> list[tuple[float, float, float]]:
    """Mean, low and high of each group; questions are resampled."""
    means = group_means(values, member)
    drawn = resampled_means(values, member, cluster_draws(values.shape[1], n_resamples, seed))
    ends = [
        percentiles(group_draws, confidence_level) for group_draws in np.ascontiguousarray(drawn.T)
    ]
    return [(float(m), low, high) for m, (low, high) in zip(means, ends, strict=True)]
