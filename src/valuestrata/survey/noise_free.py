"""Conflict scores without sampling noise: what all people of the subgroups would show.

Modes and shares of samples differ more than those of all people, so both scores are too high.
True shares are drawn by partial pooling (`partial_pooling.py`) at several sizes of the true
differences, and a sample from each. In each draw the size is chosen at which the sample shows what
was observed; the score of the true shares at that size is a draw of the true score. Bootstrap
samples of respondents, the same for all strata, are the sampling errors: overlapping subgroups,
weights, and that one respondent answers many questions are accounted for.
Symbols: M measures, B draws, G sizes, S subgroups, Q questions, C codes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.metrics.resample import ratio
from valuestrata.survey.encoded import EncodedSurvey, Floats
from valuestrata.survey.partial_pooling import PooledShares, pool_shares
from valuestrata.survey.resampled import resampled_counts
from valuestrata.survey.tally import Members, count

SIZES = (0.0, 0.3, 1.0, 2.5)
"""Multiples of the estimated variance between subgroups at which scores are worked out: G."""
DRAWS = 200
"""Draws of the true scores: B."""
SLAB = 25
"""Draws at a time."""
LEAST_SHARE = 0.02
"""Of the sampling variance: the variance between subgroups that is tried where none shows."""
LEAST = 1e-12

Score = Callable[[Floats], Floats]
"""[..., Q] score of shares [..., S, Q, C]."""


@dataclass(frozen=True, eq=False)
class ScoreDraws:
    """Draws of a score at each size of the true differences, [G, B] and then the same axes.

    true: of all people. sample: of a sample of them.
    """

    true: Floats
    sample: Floats

    def mean(self, axis: int) -> "ScoreDraws":
        """Means over the finite scores of an axis."""
        return ScoreDraws(finite_mean(self.true, axis), finite_mean(self.sample, axis))

    def __getitem__(self, place: Any) -> "ScoreDraws":
        """Some of the axes behind [G, B]."""
        return ScoreDraws(self.true[(..., *place)], self.sample[(..., *place)])

    def matched(self, observed: Floats) -> Floats:
        """[B, ...] true scores at the size at which a draw's sample shows what was observed.

        A score below what samples show on average without any difference is luck: it counts as
        that average. Above the largest size, the true score rises by as much as the sample's.
        """
        sample = np.maximum.accumulate(self.sample, axis=0)
        true = np.maximum.accumulate(self.true, axis=0)
        least = np.maximum(observed, self.sample[0].mean(axis=0))
        result = true[0] + np.maximum(least - sample[-1], 0.0)
        for g in range(1, len(SIZES)):
            step = np.maximum(sample[g] - sample[g - 1], LEAST)
            result += np.clip((least - sample[g - 1]) / step, 0.0, 1.0) * (true[g] - true[g - 1])
        return np.asarray(result)


def finite_mean(values: Floats, axis: int) -> Floats:
    """Mean over the finite entries of an axis; NaN where there are none."""
    finite = np.isfinite(values)
    return ratio(np.where(finite, values, 0.0).sum(axis=axis), finite.sum(axis=axis))


def draw_scores(
    survey: EncodedSurvey,
    subgroups: Members,
    scores: Mapping[str, Sequence[Score]],
    respondents: NDArray[np.float32],
    seed: Sequence[int],
) -> ScoreDraws:
    """[G, B, M, Q] draws of a stratum's scores, M in the order of `scores`.

    Args:
        survey: of the respondents.
        subgroups: of the stratum.
        scores: those of counts of respondents under `unweighted`, of weights under `weighted`.
        respondents: [B, N] how often each respondent is drawn in a bootstrap sample.
        seed: of the sizes of single questions' differences.
    """
    rng = np.random.default_rng(seed)
    pooled = {kind: _pooled(survey, subgroups, kind) for kind, wanted in scores.items() if wanted}
    true: list[Floats] = []
    sample: list[Floats] = []
    for counts in resampled_counts(survey, subgroups, respondents, slab=SLAB):
        by_kind = dict(zip(("unweighted", "weighted"), counts, strict=True))
        parts = [
            _slab(pooled[kind], by_kind[kind], wanted, rng)
            for kind, wanted in scores.items()
            if wanted
        ]
        for slabs, place in ((true, 0), (sample, 1)):
            slabs.append(np.concatenate([part[place] for part in parts], axis=2))
    return ScoreDraws(np.concatenate(true, axis=1), np.concatenate(sample, axis=1))


def _pooled(survey: EncodedSurvey, subgroups: Members, kind: str) -> PooledShares:
    """Partial pooling of respondents or of their weights, whose effective number is smaller."""

    def tally(weight: Floats | None) -> Floats:
        return count(survey.answers, subgroups.cell, subgroups.size, survey.width, weight)

    if kind == "unweighted":
        return pool_shares(tally(None), survey.scale).with_least_spread(LEAST_SHARE)
    sums, squares = tally(survey.weight), tally(survey.weight**2).sum(axis=-1)
    n = np.nan_to_num(ratio(sums.sum(axis=-1) ** 2, squares))  # Kish 1965
    return pool_shares(sums, survey.scale, n).with_least_spread(LEAST_SHARE)


def _slab(
    pooled: PooledShares, counts: Floats, scores: Sequence[Score], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """[G, b, M, Q] scores of true shares, and of samples, from bootstrap counts [b, S, Q, C]."""
    noise = ratio(counts, counts.sum(axis=-1, keepdims=True)) - pooled.shares
    noise = np.nan_to_num(noise)  # a subgroup that is not drawn
    spread = pooled.draw_spread(len(noise), rng)
    true, sample = [], []
    for size in SIZES:  # the errors of a draw's neighbours are independent of its own
        shares = pooled.draw_shares(size * spread, noise, np.roll(noise, 1, axis=0))
        true.append(np.stack([score(shares) for score in scores], axis=1))
        shares += np.roll(noise, 2, axis=0)
        sample.append(np.stack([score(shares) for score in scores], axis=1))
    return np.stack(true), np.stack(sample)
