"""How much the subgroups of each stratum disagree: scores, intervals, nulls, rank agreement.

Symbols: M measures, B resamples, T strata, N respondents, S subgroups, Q questions, C codes.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.errors import InputError
from valuestrata.metrics.agreement import rank_agreement
from valuestrata.metrics.resample import against_null, percentiles
from valuestrata.study.evaluation import Evaluation, Labels
from valuestrata.study.splits import COUNTRY
from valuestrata.survey import modal
from valuestrata.survey.conflict import mean_wasserstein, modal_diversity
from valuestrata.survey.encoded import EncodedSurvey, Floats, Ints
from valuestrata.survey.groups import Groups
from valuestrata.survey.noise_free import DRAWS, Score, ScoreDraws, draw_scores, finite_mean
from valuestrata.survey.resampled import permuted_counts, respondent_draws
from valuestrata.survey.tally import Members, count, stratum_members

log = logging.getLogger(__name__)
MEASURES = ("mds", "wasserstein")
MEAN = "mean"
LEAST_QUESTIONS = 20
"""Of a mean that has an interval: over fewer it would not cover (docs/statistics.md)."""
WIDENED = 1.3
"""How many times as far from the median as the draws' percentiles the ends of an interval are: of
single strata the percentiles were too near in simulations (docs/statistics.md)."""


@dataclass(frozen=True)
class ScoredStrata:
    """Conflict scores of all strata, and of their mean behind them.

    names: T + 1. sizes: [T] subgroups. entered: [T, Q] subgroups with enough answers. scores:
    [M, T + 1, Q] as observed. draws: [G, B, M, T + 1, Q] of the scores of all people. null:
    [M, B, T + 1, Q].
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    entered: Ints
    scores: Floats
    draws: ScoreDraws
    null: Floats


@dataclass(frozen=True)
class Scorer:
    """Scores conflict in one survey; min_pair_n is the fewest answers that make a pair."""

    survey: EncodedSurvey
    min_pair_n: int
    labels: Labels
    evaluation: Evaluation

    def score(
        self, strata: Sequence[tuple[str, ...]], groups: Groups, min_subgroup_n: int
    ) -> ScoredStrata:
        """Score the sets of subgroups that each stratum compares; empty ones are left out.

        Raises:
            InputError: all are empty.
        """
        every = groups.compared(strata)
        subgroups_of = [
            stratum_members(self.survey.groups, axes, labels, min_subgroup_n)
            for _, axes, labels in every
        ]
        # a country may have no subgroup of a stratum
        compared = [c for c, subgroups in zip(every, subgroups_of, strict=True) if subgroups.size]
        members = [subgroups for subgroups in subgroups_of if subgroups.size]
        if not members:
            raise InputError(
                f"no stratum has a subgroup of {min_subgroup_n} respondents; lower min_subgroup_n, "
                "or merge groups"
            )
        present = [self._present(subgroups) for subgroups in members]
        n_draws = min(DRAWS, self.evaluation.n_resamples)
        respondents = respondent_draws(
            len(self.survey.answers), n_draws, self.evaluation.seed
        )  # the same people stand in several strata, so these share their draws
        scores, draws = [], []
        for (name, _, _), subgroups, enough in zip(compared, members, present, strict=True):
            scores.append(self._observed(subgroups, enough))
            seed = [self.evaluation.seed, 2, *name.encode()]
            by_kind = self.scorers(enough)
            draws.append(draw_scores(self.survey, subgroups, by_kind, respondents, seed))
            log.info("scored stratum %s", name)
        is_within = [labels != groups.labels() for _, _, labels in compared]
        null = _with_mean(self._permuted(members, present, is_within))
        log.info("permuted %d times", null.shape[1])
        return ScoredStrata(
            names=(*(name for name, _, _ in compared), MEAN),
            sizes=tuple(subgroups.size for subgroups in members),
            entered=np.array([enough.sum(axis=0) for enough in present]),
            scores=_with_mean(np.stack(scores, axis=1)),
            draws=ScoreDraws(
                _with_mean(np.stack([part.true for part in draws], axis=3)),
                _with_mean(np.stack([part.sample for part in draws], axis=3)),
            ),
            null=null,
        )

    def _present(self, subgroups: Members) -> NDArray[np.bool_]:
        """[S, Q] whether enough of a subgroup answered a question."""
        counts = count(self.survey.answers, subgroups.cell, subgroups.size, self.survey.width)
        return np.asarray(counts.sum(axis=-1) >= self.min_pair_n)

    def _observed(self, subgroups: Members, present: NDArray[np.bool_]) -> Floats:
        """[M, Q] a stratum's scores."""
        survey, cell, size = self.survey, subgroups.cell, subgroups.size
        counts = count(survey.answers, cell, size, survey.width)
        weighted = count(survey.answers, cell, size, survey.width, survey.weight)
        return self._scores(counts[None], weighted[None], present)[:, 0]

    def scorers(self, present: NDArray[np.bool_]) -> dict[str, list[Score]]:
        """The measures by what they are taken of, in the order of MEASURES."""
        scorers = (
            (self.labels.mode, lambda shares: self._mds(shares, present)),
            (self.labels.distribution, lambda shares: self._wasserstein(shares, present)),
        )
        by_kind: dict[str, list[Score]] = {}
        for kind, score in scorers:
            by_kind.setdefault(kind, []).append(score)
        return by_kind

    def _permuted(
        self,
        strata: Sequence[Members],
        present: Sequence[NDArray[np.bool_]],
        is_within: Sequence[bool],
    ) -> Floats:
        """[M, B, T, Q] scores of all strata where subgroups mean nothing.

        Where a stratum lies within a country, its people change places with their compatriots.
        """
        settings, questions = self.evaluation, self.survey.answers.shape[1]
        null = np.empty((len(MEASURES), settings.n_resamples, len(strata), questions))
        for within in sorted(set(is_within)):
            indices = [i for i, value in enumerate(is_within) if value == within]
            country = pd.factorize(self.survey.groups[COUNTRY])[0] if within else None
            slabs = permuted_counts(
                self.survey,
                [strata[i] for i in indices],
                settings.n_resamples,
                settings.seed,
                block=country,
            )
            done = 0
            for tallies in slabs:
                for i, (heads, sums) in zip(indices, tallies, strict=True):
                    enough = present[i] & (heads.sum(axis=-1) > 0)
                    null[:, done : done + len(heads), i] = self._scores(heads, sums, enough)
                done += len(tallies[0][0])
        return null

    def _scores(self, counts: Floats, weighted: Floats, present: NDArray[np.bool_]) -> Floats:
        """[M, B, Q] of [B, S, Q, C] counts."""
        sums = {"unweighted": counts, "weighted": weighted}
        return np.stack(
            [
                self._mds(sums[self.labels.mode], present),
                self._wasserstein(sums[self.labels.distribution], present),
            ]
        )

    def _mds(self, sums: Floats, present: NDArray[np.bool_]) -> Floats:
        return modal_diversity(modal.modes(sums), present, self.survey.scale)

    def _wasserstein(self, sums: Floats, present: NDArray[np.bool_]) -> Floats:
        return mean_wasserstein(sums, present, self.survey.scale)


def _with_mean(scores: Floats) -> Floats:
    """[..., T + 1, Q] the strata's scores and, behind them, their mean."""
    return np.concatenate([scores, finite_mean(scores, axis=-2)[..., None, :]], axis=-2)


# Tables --------------------------------------------------------------------------------------


def diversity_rows(
    scored: ScoredStrata, questions: pd.DataFrame, confidence_level: float
) -> Iterator[dict[str, object]]:
    """Rows of the diversity table: each stratum, then their mean; in each the questions, then the
    blocks and all together.

    A question of a stratum counts subgroups, a mean over strata counts these, a block questions.
    """
    blocks = questions["block"].to_numpy()
    inside = {str(block): blocks == block for block in dict.fromkeys(blocks)}
    inside["all"] = np.ones(len(blocks), dtype=bool)
    for m, measure in enumerate(MEASURES):
        for t, stratum in enumerate(scored.names):
            scores, null = scored.scores[m, t], scored.null[m, :, t]
            draws = scored.draws[m, t, :]
            about = {"stratum": stratum, "measure": measure}
            for q, question in enumerate(questions["question"]):
                if stratum == MEAN:
                    sizes = _sizes(scored.scores[m, :-1, q])
                else:
                    n = int(scored.entered[t, q])
                    sizes = {"n": n, "missing": scored.sizes[t] - n}
                ends = _estimate(float(scores[q]), draws[(q,)], null[:, q])
                yield {**about, "question": question, "block": blocks[q], **sizes, **ends}
            for block, members in inside.items():
                sizes = _sizes(scores[members])
                ends = _estimate(
                    float(finite_mean(scores[members], axis=0)),
                    draws[(members,)].mean(axis=-1),
                    finite_mean(null[:, members], axis=1),
                    confidence_level if sizes["n"] >= LEAST_QUESTIONS else None,
                )
                yield {**about, "question": MEAN, "block": block, **sizes, **ends}


def agreement_rows(scored: ScoredStrata, evaluation: Evaluation) -> Iterator[dict[str, object]]:
    """Rank agreement of the two measures over the questions of each stratum and of the mean.

    Questions are resampled; those without an order have no distance and are missing.
    """
    scores = scored.scores
    for t, stratum in enumerate(scored.names):
        both = scores[:, t][:, np.isfinite(scores[:, t]).all(axis=0)]
        n = both.shape[1]
        coefficients = rank_agreement(
            both[0],
            both[1],
            evaluation.n_resamples,
            evaluation.confidence_level,
            evaluation.seed,
        )
        for coefficient, ends in coefficients.items():
            interval = dict(zip(("value", "ci_low", "ci_high"), ends, strict=True))
            sizes = {"n": n, "missing": scores.shape[2] - n}
            yield {"stratum": stratum, "coefficient": coefficient, **interval, **sizes}


def widen(low: Floats, middle: Floats, high: Floats) -> tuple[Floats, Floats]:
    """The ends of intervals, WIDENED times as far from their middles, within 0 and 1."""
    further = WIDENED - 1
    lowest, highest = low - further * (middle - low), high + further * (high - middle)
    return np.maximum(lowest, 0.0), np.minimum(highest, 1.0)


def _sizes(values: Floats) -> dict[str, int]:
    valid = int(np.isfinite(values).sum())
    return {"n": valid, "missing": len(values) - valid}


def _estimate(
    value: float,
    draws: ScoreDraws,
    null: Floats,
    confidence_level: float | None = None,
) -> dict[str, float]:
    """A score as observed, without sampling noise, with its interval if asked, and its null."""
    true = np.clip(draws.matched(np.asarray(value)), 0.0, 1.0)
    ends = percentiles(true, confidence_level) if confidence_level else (np.nan, np.nan)
    corrected = float(np.median(true)) if np.isfinite(true).all() else float("nan")
    wide = widen(np.asarray(ends[0]), np.asarray(corrected), np.asarray(ends[1]))
    low, high = map(float, wide)
    mean, p95, test = against_null(value, null)
    estimate = {"value": value, "corrected": corrected, "ci_low": low, "ci_high": high}
    return {**estimate, "null_mean": mean, "null_p95": p95, **test._asdict()}
