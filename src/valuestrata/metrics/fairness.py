"""How unequally groups are served, and whether that is more than chance: Norm.Range, CV and SD.

A range over many groups is large by chance alone, so each statistic comes with what it would be if
all groups were served alike: whole questions change the sign of the groups' deviations. Groups that
share respondents, and questions that all groups share, move together in this null as they do in
the data, so nothing need be exchangeable between groups. What is left once sampling noise is taken
off, and its intervals, is in `between_groups.py`.
Symbols: S subgroups, Q questions, G groups (subgroups, or unions of them), B resamples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from valuestrata.metrics.resample import (
    FEW_CLUSTERS,
    PValue,
    against_null,
    means_of_clusters,
    ratio,
    sign_patterns,
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
    return ratio(sd(performance), performance.mean(axis=-1))


def sd(performance: Floats) -> Floats:
    """[...] sigma over the last axis, in the metric's units; divides by the number of groups."""
    return np.asarray(performance.std(axis=-1))


STATISTICS = {"norm_range": norm_range, "cv": cv, "sd": sd}


@dataclass(frozen=True, eq=False)
class GroupScores:
    """The scores of groups, question by question.

    means: [G] mean of each group's finite scores; NaN where it has none.
    influence: [G, Q] what each question adds to the error of a mean; 0 on average over questions,
        and its spread over questions says how uncertain the mean is.
    deviation: [G, Q] mean over questions is a group's mean less the groups' mean. Scores are
        compared within each question, so a question that a group lacks counts neither for nor
        against it.
    """

    means: Floats
    influence: Floats
    deviation: Floats

    @property
    def questions(self) -> int:
        """Q."""
        return int(self.influence.shape[1])


def group_scores(values: Floats, member: Floats) -> GroupScores:
    """The scores of groups of subgroups.

    Of few questions with a score only these are taken: those without are no observations.

    Args:
        values: [S, Q] scores, NaN where missing.
        member: [G, S] 1 where a subgroup belongs to a group, else 0.
    """
    asked = np.isfinite(values).any(axis=0)
    if 0 < asked.sum() < FEW_CLUSTERS:
        values = values[:, asked]
    finite = np.isfinite(values)
    scores, n = np.where(finite, values, 0.0), finite.astype(np.float64)
    counts = member @ n
    weight = counts.sum(axis=1, keepdims=True) / values.shape[1]
    means = group_means(values, member)
    influence = ratio(member @ scores - means[:, None] * counts, weight)
    centred = np.where(finite, values - ratio(scores.sum(axis=0), n.sum(axis=0)), 0.0)
    deviation = ratio(member @ centred, weight)
    common = deviation.sum(axis=0) / max(len(member), 1)
    return GroupScores(means, influence, deviation - common)


def group_means(values: Floats, member: Floats) -> Floats:
    """[G] mean of the finite values of each group.

    Args:
        values: [S, Q] scores, NaN where missing.
        member: [G, S] 1 where a subgroup belongs to a group, else 0.
    """
    finite = np.isfinite(values)
    return ratio(member @ np.where(finite, values, 0.0).sum(axis=1), member @ finite.sum(axis=1))


@dataclass(frozen=True)
class EqualGroups:
    """A statistic under the null of groups that are served alike: its mean, its 95th percentile and
    the test of the observed value."""

    null_mean: float
    null_p95: float
    test: PValue


def equal_groups(scores: GroupScores, n_resamples: int, seed: int) -> dict[str, EqualGroups]:
    """Statistic -> its null, where the signs of whole questions are flipped.

    Under the null a group's deviations are as likely positive as negative over questions. p is the
    share of flips that reach the observed value, the observed signs included; all sign patterns
    where there are no more of them than `n_resamples`.
    """
    signs, exact = sign_patterns(scores.questions, n_resamples, seed)
    centre = scores.means.mean()
    observed = centre + scores.deviation.mean(axis=1)
    drawn = centre + signs @ (scores.deviation.T / scores.questions)
    results = {}
    for name, statistic in STATISTICS.items():
        value, null = float(statistic(observed)), statistic(drawn)
        results[name] = EqualGroups(*against_null(value, null, exact))
    return results


def group_intervals(
    values: Floats,
    member: Floats,
    n_resamples: int,
    confidence_level: float,
    seed: int,
    is_rate: bool = False,
) -> list[tuple[float, float, float]]:
    """Mean, low and high of each group's scores of 0 to 1, as `means_of_clusters` has them.

    Args:
        values: [S, Q] scores, NaN where missing.
        member: [G, S] 1 where a subgroup belongs to a group, else 0.
        n_resamples: B.
        confidence_level: coverage.
        seed: of the draws.
        is_rate: whether scores are shares of 0 to 1.
    """
    finite = np.isfinite(values)
    sums = member @ np.where(finite, values, 0.0)
    counts = member @ finite.astype(np.float64)
    resampling = (n_resamples, confidence_level, seed)
    return means_of_clusters(sums, counts, *resampling, is_rate, (0.0, 1.0))
