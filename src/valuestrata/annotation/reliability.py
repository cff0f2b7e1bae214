"""How well people agree with each other, and with judges, on the same text pairs. Pure.

Scores have three categories: the run's text is worse, as good, or better than the reference's. A
judge's score is the mean of two orders and has five values; above 0.5 it is better, below worse.
Text pairs on one question are not independent, so whole questions are resampled, for people and
judges together: their difference is paired.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.annotation.sample import ALL
from valuestrata.judge_tables import COEFFICIENTS, HUMAN_AGREEMENT
from valuestrata.metrics import agreement, resample
from valuestrata.metrics.clustered import MIN_CLUSTERS, NAN, extreme_interval
from valuestrata.study.evaluation import Evaluation

Floats = NDArray[np.float64]
Ratings = NDArray[np.intp]
Level = agreement.Level
N_CATEGORIES = 3
LEVELS: tuple[Level, ...] = ("nominal", "ordinal")
BOUNDS = {"agreement": (0.0, 1.0)}
"""Least and greatest value of a coefficient; the others are at most 1."""
DIFFERENCES = ("kappa_linear", "kappa_quadratic", "agreement")
"""Coefficients that people and judges are compared by."""
PUBLISHED = {
    ("human_judge", "Overall"): 0.568,
    ("human_human", "Overall"): 0.552,
    ("human_judge", "Persona"): 0.318,
    ("human_human", "Persona"): 0.388,
}
"""Weighted kappas of arXiv 2604.12851; it does not say with which weights."""
Row = dict[str, object]


class Statistic(NamedTuple):
    """A coefficient, its bootstrap draws [B], and the items in it."""

    value: float
    draws: Floats
    n: int


def _alpha(counts: Floats, level: Level) -> Floats:
    """Alpha of two raters, from their counts."""
    return agreement.krippendorff_alpha(counts + np.swapaxes(counts, -1, -2), level)


OF_PAIRS: dict[str, Callable[[Floats], Floats]] = {
    "kappa_linear": partial(agreement.weighted_kappa, power=1),
    "kappa_quadratic": partial(agreement.weighted_kappa, power=2),
    "alpha_nominal": partial(_alpha, level="nominal"),
    "alpha_ordinal": partial(_alpha, level="ordinal"),
    "agreement": agreement.observed_agreement,
}


def categories(scores: Floats) -> Ratings:
    """[n] 0 below 0.5, 1 at it, 2 above it, -1 where a score is missing.

    >>> categories(np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan]))
    array([ 0,  0,  1,  2,  2, -1])
    """
    signs = np.sign(np.nan_to_num(scores, nan=0.5) - 0.5).astype(np.intp) + 1
    return np.where(np.isnan(scores), -1, signs)


def agreement_table(
    answers: pd.DataFrame, verdicts: pd.DataFrame, items: pd.DataFrame, evaluation: Evaluation
) -> pd.DataFrame:
    """The table HUMAN_AGREEMENT.

    Args:
        answers: sample_id, annotator, dimension and score.
        verdicts: sample_id, judge, dimension and score, NaN where the judge gave no verdict.
        items: sample_id and question of each text pair that annotators were given.
        evaluation: how intervals are made.
    """
    rows: list[Row] = []
    for dimension in answers["dimension"].unique():
        given, judged = (f[f["dimension"] == dimension] for f in (answers, verdicts))
        people = given.pivot(index="sample_id", columns="annotator", values="score")
        rated = items[items["sample_id"].isin(people.index)]
        people = people.reindex(rated["sample_id"])
        by_judge = {
            str(judge): categories(
                frame.set_index("sample_id")["score"]
                .reindex(rated["sample_id"])
                .to_numpy(dtype=np.float64)
            )
            for judge, frame in judged.groupby("judge", sort=False)
        }
        cluster = pd.factorize(rated["question"], sort=True)[0]
        ratings = {str(name): categories(people[name].to_numpy(np.float64)) for name in people}
        comparison = Comparison(ratings, cluster, evaluation)
        rows += [
            {**row, "dimension": dimension, "missing": len(items) - int(str(row["n"]))}
            for row in comparison.rows(by_judge)
        ]
    frame = pd.DataFrame(rows).reindex(columns=HUMAN_AGREEMENT.names)
    is_kappa = frame["coefficient"].str.startswith("kappa") & (frame["rater"] == ALL)
    keys = zip(frame["comparison"], frame["dimension"], strict=True)
    published = [PUBLISHED.get(key) for key in keys]
    return frame.assign(published=pd.Series(published, dtype="float64").where(is_kappa))


class Comparison:
    """Annotators' ratings of some items on one dimension.

    Args:
        people: [n] ratings of each annotator, by name.
        cluster: [n] index of each item's question.
        evaluation: how intervals are made.
    """

    def __init__(
        self, people: Mapping[str, Ratings], cluster: NDArray[np.intp], evaluation: Evaluation
    ) -> None:
        self.people = people
        self.cluster = cluster
        self.n_clusters = int(cluster.max()) + 1
        self.level = evaluation.confidence_level
        self.draws = resample.cluster_draws(
            self.n_clusters, evaluation.n_resamples, evaluation.seed
        )

    def rows(self, judges: Mapping[str, Ratings]) -> list[Row]:
        """Rows among people, then with each judge, then of their differences."""
        rows = self._among_people()
        for judge, ratings in judges.items():
            rows += self._with_judge(judge, ratings)
        return rows

    def _among_people(self) -> list[Row]:
        pairs = list(combinations(self.people, 2))
        if not pairs:
            return []
        ratings = list(self.people.values())
        statistics = self.of_pairs(list(combinations(ratings, 2))) | self.alphas(ratings)
        rows = self._rows("human_human", "", ALL, ALL, statistics)
        for first, second in pairs if len(pairs) > 1 else ():
            statistics = self.of_pairs([(self.people[first], self.people[second])])
            rows += self._rows("human_human", "", first, second, statistics)
        return rows

    def _with_judge(self, judge: str, ratings: Ratings) -> list[Row]:
        statistics = self.of_pairs([(person, ratings) for person in self.people.values()])
        rows = self._rows("human_judge", judge, ALL, judge, statistics)
        for name, person in self.people.items() if len(self.people) > 1 else ():
            statistics = self.of_pairs([(person, ratings)])
            rows += self._rows("human_judge", judge, name, judge, statistics)
        if len(self.people) > 1:
            rows += self._rows("difference", judge, ALL, judge, self.differences(ratings))
        return rows

    def of_pairs(self, pairs: Sequence[tuple[Ratings, Ratings]]) -> dict[str, Statistic]:
        """Each coefficient as its mean over pairs of raters, weighted by the items of each."""
        counts = np.stack(
            [
                agreement.pair_counts(*pair, N_CATEGORIES, self.cluster, self.n_clusters)
                for pair in pairs
            ]
        )
        whole = counts.sum(axis=1)
        drawn = np.stack([agreement.resample(each, self.draws) for each in counts])
        n = int(np.any([(first >= 0) & (second >= 0) for first, second in pairs], axis=0).sum())
        statistics = {}
        for name, coefficient in OF_PAIRS.items():
            value, draws = (
                agreement.weighted_mean(coefficient(c), c.sum(axis=(-2, -1)))
                for c in (whole, drawn)
            )
            statistics[name] = Statistic(float(value), draws, n)
        return statistics

    def alphas(self, ratings: Sequence[Ratings]) -> dict[str, Statistic]:
        """Krippendorff's alpha of all raters at once."""
        matrix = np.stack(ratings, axis=1)
        pairs = agreement.coincidences(matrix, N_CATEGORIES, self.cluster, self.n_clusters)
        drawn = agreement.resample(pairs, self.draws)
        n = int(((matrix >= 0).sum(axis=1) > 1).sum())
        statistics = {}
        for level in LEVELS:
            value = agreement.krippendorff_alpha(pairs.sum(axis=0), level)
            draws = agreement.krippendorff_alpha(drawn, level)
            statistics[f"alpha_{level}"] = Statistic(float(value), draws, n)
        return statistics

    def differences(self, judge: Ratings) -> dict[str, Statistic]:
        """People with the judge minus people among themselves, on items that all of them rated.

        An item counts if the judge and at least two people rated it.
        """
        matrix = np.stack(list(self.people.values()), axis=1)
        shared = (judge >= 0) & ((matrix >= 0).sum(axis=1) > 1)
        people = [np.where(shared, person, -1) for person in self.people.values()]
        with_judge = self.of_pairs([(person, judge) for person in people])
        among = self.of_pairs(list(combinations(people, 2)))
        return {
            name: Statistic(
                with_judge[name].value - among[name].value,
                with_judge[name].draws - among[name].draws,
                int(shared.sum()),
            )
            for name in DIFFERENCES
        }

    def _rows(
        self,
        comparison: str,
        judge: str,
        rater: str,
        other_rater: str,
        statistics: Mapping[str, Statistic],
    ) -> list[Row]:
        about = {"comparison": comparison, "judge": judge}
        about |= {"rater": rater, "other_rater": other_rater}
        rows: list[Row] = []
        for name in COEFFICIENTS:
            if name not in statistics:
                continue
            value, draws, n = statistics[name]
            is_difference = comparison == "difference"
            bounds = (-np.inf, np.inf) if is_difference else BOUNDS.get(name, (-np.inf, 1.0))
            low, high, p = self._interval(value, draws, bounds)
            ends = {"value": value, "ci_low": low, "ci_high": high, "n": n}
            test = {"p_value": p if is_difference else None}
            rows.append({**about, "coefficient": name, **ends, **test})
        return rows

    def _interval(
        self, value: float, draws: Floats, bounds: tuple[float, float]
    ) -> tuple[float, float, float]:
        """Ends of the interval, and the p-value of 0.

        None with fewer than MIN_CLUSTERS questions, nor where all agree: no draw shows how far that
        may be chance. A share of 1 or 0 has the binomial bound.
        """
        if not np.isfinite(value) or self.n_clusters < MIN_CLUSTERS:
            return NAN, NAN, NAN
        if value in bounds:
            is_share = bounds == BOUNDS["agreement"]
            if not is_share:
                return NAN, NAN, NAN
            return *extreme_interval(value, bounds, self.n_clusters, self.level), NAN
        spread = agreement.widened(value, draws, self.n_clusters, self.level)
        low, high = np.clip(resample.percentiles(spread, self.level), *bounds)
        return float(low), float(high), agreement.bootstrap_p_value(spread)
