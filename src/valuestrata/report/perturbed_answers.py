"""Answers to perturbed prompts against those to the study's own, pair by pair. Pure.

Pairs of one question share wording and respondents, so whole questions are resampled, as everywhere
(metrics/resample.py). Symbols: n pairs, Q questions, C codes (padded).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.metrics import contrasts, distribution, ordinal, resample
from valuestrata.metrics.swapped import NO_PARTNER, partners
from valuestrata.report.comparison import Row
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.splits import COUNTRY
from valuestrata.survey.tally import subgroup_groups
from valuestrata.tables import PAIR

AGREEMENT, ARGMAX_AGREEMENT = "agreement", "argmax_agreement"
SHARE, CHANGE = (0.0, 1.0), (-1.0, 1.0)
"""Bounds of a share or a distance, and of a difference of two."""
CHANGES = ("answered", "accuracy", "nmae", "accuracy_all_pairs", "argmax_accuracy")
"""Metrics whose change is tested: perturbed minus unperturbed."""
OF_LIKELIEST = ("accuracy", "nmae", "accuracy_all_pairs")
"""Those that the likeliest option can have where it stands for the text."""
DISTANCES = ("total_variation", "wasserstein")
"""How far the options' probabilities move."""
CHANGED_DIFFER, CHANGED_ALIKE = "changed_where_people_differ", "changed_where_people_agree"
FOLLOWS = "follows_people"
"""Of swapped personas: how much more often answers change where people's modal answers differ."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairArrays:
    """Pairs as arrays.

    Attributes:
        keys: [n] stratum, subgroup and question.
        codes: [n, C] ascending, padded with their last value.
        mode: [n] modal answer.
        scale_min: [n] lowest code of the scale.
        scale_max: [n] highest code of the scale.
        is_ordinal: [n] whether the answers have an order.
        cluster: [n] the question as an index.
    """

    keys: pd.MultiIndex
    codes: Floats
    mode: Floats
    scale_min: Floats
    scale_max: Floats
    is_ordinal: NDArray[np.bool_]
    cluster: NDArray[np.intp]

    @classmethod
    def of(cls, pairs: pd.DataFrame) -> "PairArrays":
        """The arrays of a table of pairs."""

        width = max(map(len, pairs["codes"]), default=0)
        return cls(
            keys=pd.MultiIndex.from_frame(pairs[PAIR]),
            codes=padded(list(pairs["codes"]), width, last=True),
            mode=pairs["mode"].to_numpy(dtype=np.float64),
            scale_min=pairs["scale_min"].to_numpy(dtype=np.float64),
            scale_max=pairs["scale_max"].to_numpy(dtype=np.float64),
            is_ordinal=pairs["measurement_level"].eq("ordinal").to_numpy(dtype=bool),
            cluster=pd.factorize(pairs["question"], sort=True)[0],
        )

    def among(self, pairs: pd.MultiIndex) -> "PairArrays":
        """Those of some pairs, in this order; questions are numbered anew."""
        kept = self.keys.isin(pairs)
        return PairArrays(
            keys=self.keys[kept],
            codes=self.codes[kept],
            mode=self.mode[kept],
            scale_min=self.scale_min[kept],
            scale_max=self.scale_max[kept],
            is_ordinal=self.is_ordinal[kept],
            cluster=np.unique(self.cluster[kept], return_inverse=True)[1],
        )


@dataclass(frozen=True, eq=False)
class PairAnswers:
    """A run's answers on pairs: [n] the code, NaN for none, and [n, C] the options' probability."""

    answer: Floats
    distribution: Floats

    def at(self, places: NDArray[np.intp]) -> "PairAnswers":
        """Answers at other places, none at NO_PARTNER."""
        answer, probability = self.answer[places].copy(), self.distribution[places].copy()
        answer[places == NO_PARTNER] = np.nan
        probability[places == NO_PARTNER] = np.nan
        return PairAnswers(answer, probability)


def answers_on(predictions: pd.DataFrame, pairs: PairArrays) -> PairAnswers:
    """Answers of a table of predictions on pairs; none where it does not have a pair."""
    rows = predictions.set_index(PAIR)[["answer", "distribution"]].reindex(pairs.keys)

    answer = np.asarray(rows["answer"].astype("Float64").astype("float64"), dtype=np.float64)
    return PairAnswers(answer, padded(list(rows["distribution"]), pairs.codes.shape[1]))


def padded(rows: list[object], width: int, last: bool = False) -> Floats:
    """[n, width] rows of lists, padded with 0 or with their last value; NaN where there is none."""
    array = np.full((len(rows), width), np.nan)
    for i, values in enumerate(rows):
        if isinstance(values, list | tuple | np.ndarray):
            array[i, : len(values)] = values
            array[i, len(values) :] = values[-1] if last else 0.0
    return array


def likeliest(pairs: PairArrays, answers: PairAnswers) -> Floats:
    """[n] the code of the likeliest option, ties to the lowest; NaN without probabilities."""
    top, confidence = distribution.likeliest(answers.distribution)
    return np.where(np.isnan(confidence), np.nan, pairs.codes[np.arange(len(top)), top])


def by_probability(pairs: PairArrays, answers: PairAnswers) -> PairAnswers:
    """The likeliest option in the place of the text."""
    return replace(answers, answer=likeliest(pairs, answers))


def of_partners(pairs: PairArrays, answers: PairAnswers, seed: int) -> tuple[PairAnswers, Floats]:
    """Each pair's answer as another subgroup gave it, and that subgroup's modal answer [n].

    The other one is of the same stratum (of the same axes), and of the same country. The same
    question with its persona is a pair of the split, so nothing is asked anew.
    """
    sets = [
        (str(stratum), subgroup_groups(str(subgroup)).get(COUNTRY, ""), str(question))
        for stratum, subgroup, question in pairs.keys
    ]
    places = partners(sets, [str(name) for name in pairs.keys.get_level_values("subgroup")], seed)
    modes = np.where(places == NO_PARTNER, np.nan, pairs.mode[places])
    return answers.at(places), modes


def compared(
    pairs: PairArrays,
    first: PairAnswers,
    second: PairAnswers,
    evaluation: Evaluation,
    with_probabilities: bool = True,
) -> list[Row]:
    """Agreement of two answers to the same pairs, changes in scores, and how far options move.

    Args:
        pairs: with their labels.
        first: answers to the study's own prompt.
        second: answers to the perturbed one.
        evaluation: of intervals and tests.
        with_probabilities: whether the second has probabilities of its own.
    """
    both = np.isfinite(first.answer) & np.isfinite(second.answer)
    same = np.where(both, first.answer == second.answer, np.nan)
    rows = [mean_row(AGREEMENT, same, pairs.cluster, evaluation, is_rate=True)]
    before, after = _scores(pairs, first), _scores(pairs, second)
    if with_probabilities:
        tops = likeliest(pairs, first), likeliest(pairs, second)
        same = np.where(np.isfinite(tops).all(axis=0), tops[0] == tops[1], np.nan)
        rows.append(mean_row(ARGMAX_AGREEMENT, same, pairs.cluster, evaluation, is_rate=True))
    for name in CHANGES if with_probabilities else OF_LIKELIEST:
        expected = pairs.is_ordinal if name == "nmae" else np.ones(len(both), dtype=bool)
        gap = (after[name] - before[name])[expected]
        rows.append(tested_row(name, gap, pairs.cluster[expected], evaluation, CHANGE))
    for name in DISTANCES if with_probabilities else ():
        moved = distance(name, pairs, first.distribution, second.distribution)
        expected = pairs.is_ordinal if name == "wasserstein" else np.ones(len(both), dtype=bool)
        moved, cluster = moved[expected], pairs.cluster[expected]
        bounds = SHARE if np.nansum(moved) else None  # copies are at no distance, exactly
        rows.append(mean_row(name, moved, cluster, evaluation, bounds=bounds))
    return rows


def _scores(pairs: PairArrays, answers: PairAnswers) -> Mapping[str, Floats]:
    """[n] of each metric in CHANGES; NaN where a pair has no value."""
    accuracy = ordinal.accuracy(answers.answer, pairs.mode)
    ends = (pairs.scale_min, pairs.scale_max)
    return {
        "answered": np.isfinite(answers.answer).astype(np.float64),
        "accuracy": accuracy,
        "nmae": ordinal.nmae(answers.answer, pairs.mode, *ends, pairs.is_ordinal),
        "accuracy_all_pairs": np.nan_to_num(accuracy),
        "argmax_accuracy": ordinal.accuracy(likeliest(pairs, answers), pairs.mode),
    }


def distance(name: str, pairs: PairArrays, first: Floats, second: Floats) -> Floats:
    """[n] total variation or Wasserstein distance of two distributions [n, C] over the codes."""
    if name == "total_variation":
        return distribution.total_variation(first, second)
    return distribution.wasserstein(first, second, pairs.codes, pairs.scale_min, pairs.scale_max)


def following(
    pairs: PairArrays,
    first: PairAnswers,
    second: PairAnswers,
    modes: Floats,
    evaluation: Evaluation,
) -> list[Row]:
    """How often a swapped persona changes the answer, where people differ and where they agree.

    The last row is the difference of the two, with Student's t over questions: 0 for a model whose
    answers change no more often where the modal answers of the two subgroups differ.
    """
    both = np.isfinite(first.answer) & np.isfinite(second.answer) & np.isfinite(modes)
    changed = np.where(both, first.answer != second.answer, np.nan)
    differ = np.isfinite(modes) & (modes != pairs.mode)
    alike = np.isfinite(modes) & (modes == pairs.mode)
    rows = [
        mean_row(name, changed[kept], pairs.cluster[kept], evaluation, is_rate=True)
        for name, kept in ((CHANGED_DIFFER, differ), (CHANGED_ALIKE, alike))
    ]
    size = int(pairs.cluster.max(initial=-1)) + 1

    where_differ = _totals(np.where(differ, changed, np.nan), pairs.cluster, size)
    where_alike = _totals(np.where(alike, changed, np.nan), pairs.cluster, size)
    effect = contrasts.difference_of_means(where_differ, where_alike)
    value, error, p = effect.value, effect.error, contrasts.two_sided(effect)
    low, high = contrasts.interval(effect, evaluation.confidence_level)
    n = int(both.sum())
    numbers = {"value": value[0], "ci_low": low[0], "ci_high": high[0]}
    about = {"p_value": p[0], "questions": int(effect.questions[0]), "std_error": error[0]}
    counts = {"n": n, "missing": len(both) - n}
    return [*rows, {"metric": FOLLOWS, **numbers, **counts, **about}]


def _totals(values: Floats, cluster: NDArray[np.intp], size: int) -> tuple[Floats, Floats]:
    """[1, Q] sums and counts of the finite values [n]."""
    finite = np.isfinite(values)
    sums = np.bincount(cluster[finite], values[finite], minlength=size)
    counts = np.bincount(cluster[finite], minlength=size)
    return sums[None].astype(np.float64), counts[None].astype(np.float64)


def mean_row(
    metric: str,
    values: Floats,
    cluster: NDArray[np.intp],
    evaluation: Evaluation,
    is_rate: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Row:
    """The mean of the finite values [n] with its interval; n and missing.

    `bounds` are the least and the greatest possible value, where there are some: they give an
    interval where no value differs from another.
    """
    resampling = (evaluation.n_resamples, evaluation.confidence_level, evaluation.seed)
    n = int(np.isfinite(values).sum())
    value, low, high = resample.mean_with_interval(values, cluster, *resampling, is_rate, bounds)
    numbers = {"value": value, "ci_low": low, "ci_high": high}
    return {"metric": metric, **numbers, "n": n, "missing": len(values) - n}


def tested_row(
    metric: str,
    gaps: Floats,
    cluster: NDArray[np.intp],
    evaluation: Evaluation,
    bounds: tuple[float, float] | None,
) -> Row:
    """The mean of paired differences [n] with interval, and the test that it is 0.

    `bounds` as in `mean_row`. Where nothing varies and nothing bounds the differences there is no
    interval, but of copies, which differ by 0.
    """
    row = mean_row(metric, gaps, cluster, evaluation, bounds=bounds)
    if not row["n"]:
        return row
    if bounds is None and row["value"] != 0 and np.ptp(gaps[np.isfinite(gaps)]) < 1e-12:
        row |= {"ci_low": np.nan, "ci_high": np.nan}
    test = resample.sign_flip(gaps, cluster, evaluation.n_resamples, evaluation.seed)
    effect = contrasts.clustered_mean_effect(gaps, cluster)
    spread = {"questions": int(effect.questions[0]), "std_error": float(effect.error[0])}
    return {**row, **test._asdict(), **spread}
