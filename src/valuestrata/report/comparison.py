"""All runs side by side: every metric with its interval, paired differences with a test. Pure.

Pairs of one question share respondents, so whole questions are resampled (metrics/resample.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.metrics import distribution, resample
from valuestrata.metrics.clustered import clustered_mean
from valuestrata.metrics.contrasts import clustered_mean_effect
from valuestrata.report.runs import (
    BASE,
    ModelVariant,
    baseline_runs,
    is_prompt_contrast,
    llm_runs,
    runs_on,
)
from valuestrata.report.settings import ComparisonSettings
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.study import variant_name, variant_parts
from valuestrata.tables import PAIR

DISTANCES = ("wasserstein", "jensen_shannon", "total_variation")
SCORES = ("accuracy", "nmae", *DISTANCES, "argmax_accuracy", "confidence", "non_option_mass")
ORDINAL_ONLY = ("nmae", "wasserstein")
OUTCOMES = ("refusal", "invalid", "truncated", "failed")
ANSWERED = "answered"
ALL_PAIRS = "accuracy_all_pairs"
UPPER_BOUND = "accuracy_upper_bound"
READINGS = (ALL_PAIRS, UPPER_BOUND)
"""Accuracy over all pairs, where no answer counts as not met, or as met: it lies between."""
GAP_LOWER, GAP_UPPER = "accuracy_gap_lower", "accuracy_gap_upper"
"""Difference in accuracy with no answer against, or for, the first run, and the reverse."""
COMPARED = (
    "accuracy",
    "nmae",
    *DISTANCES,
    "refusal",
    ANSWERED,
    *READINGS,
    "argmax_accuracy",
)
JUDGED = {"win_rate": "score", "flip_rate": "flipped"}
"""Metrics of verdicts, and the column that each is the mean of."""
RATES = ("accuracy", "argmax_accuracy", *OUTCOMES, ANSWERED, *READINGS)
"""Metrics that are shares of pairs; few questions, or hardly a hit, get a binomial interval."""
CEILED = ("accuracy", "nmae", "wasserstein")
"""Metrics that have a noise ceiling."""
CALIBRATION = "calibration_error"
DISAGREEMENT = "disagreement_rate"

Row = dict[str, object]
Floats = NDArray[np.float64]
Numbers = tuple[float, float, float]
"""Estimate and the ends of its interval."""


class Metric(NamedTuple):
    """A metric of a run: its name, and the judge, dimension and baseline that it is about."""

    metric: str
    judge: str = ""
    dimension: str = ""
    baseline: str = ""


@dataclass(frozen=True, eq=False)
class RunValues:
    """Every metric of a run, pair by pair.

    Attributes:
        values: a series over the run's pairs for each metric, NaN where there is no value.
        expected: pairs that could have a value: ordinal ones, those that were judged, or all.
        answer: the code answered, NaN for none.
        is_ordinal: [n] whether the question's answers have an order.
    """

    values: dict[Metric, pd.Series]
    expected: dict[Metric, int]
    answer: pd.Series
    is_ordinal: NDArray[np.bool_]

    @property
    def pairs(self) -> pd.Index:
        """[n] stratum, subgroup and question of each pair."""
        return self.answer.index

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """[n] the question of each pair as an index, in order of name."""
        return pd.factorize(self.pairs.get_level_values("question"), sort=True)[0]

    def array(self, metric: Metric, pairs: pd.Index) -> Floats:
        """[n] values on some pairs, NaN for those that the run does not have."""
        return self.values[metric].reindex(pairs).to_numpy(dtype=np.float64)

    def confidence(self, pairs: pd.Index) -> tuple[Floats, Floats]:
        """[n] probability of the likeliest code on some pairs, and whether it is the mode."""
        return (
            self.array(Metric("confidence"), pairs),
            self.array(Metric("argmax_accuracy"), pairs),
        )


def run_values(scores: pd.DataFrame, verdicts: Mapping[str, pd.DataFrame]) -> RunValues:
    """The values of a run from its scores (all strata) and its verdicts by judge."""
    scores = scores.set_index(PAIR)
    columns = {Metric(name): scores[name].astype("float64") for name in SCORES}
    for outcome in OUTCOMES:
        columns[Metric(outcome)] = (scores["outcome"] == outcome).astype("float64")
    is_answer = (scores["outcome"] == "answer").to_numpy()
    columns[Metric(ANSWERED)] = pd.Series(is_answer.astype(np.float64), index=scores.index)
    for name, value in zip(READINGS, (0.0, 1.0), strict=True):
        columns[Metric(name)] = columns[Metric("accuracy")].where(is_answer, value)
    is_ordinal = scores["measurement_level"].eq("ordinal").to_numpy(dtype=bool)
    n_ordinal = int(is_ordinal.sum())
    expected = {
        metric: n_ordinal if metric.metric in ORDINAL_ONLY else len(scores) for metric in columns
    }
    for judge, frame in verdicts.items():
        for dimension, rows in frame.groupby("dimension"):
            judged = rows.set_index(PAIR)
            for name, column in JUDGED.items():
                metric = Metric(name, judge, str(dimension))
                values = judged[column].astype("Float64").astype("float64")
                columns[metric] = values.reindex(scores.index)
                expected[metric] = int(scores.index.isin(judged.index).sum())
    answer = scores["answer"].astype("Float64").astype("float64")
    return RunValues(columns, expected, answer, is_ordinal)


def compare_split(
    split: str,
    runs: Mapping[ModelVariant, RunValues],
    noise_ceiling: pd.DataFrame,
    settings: ComparisonSettings,
) -> tuple[list[Row], list[Row]]:
    """Rows of RUNS and of DIFFERENCES for one split.

    Args:
        split: name of the split.
        runs: all runs on it.
        noise_ceiling: the table NOISE_CEILING.
        settings: what is compared.
    """
    evaluation = settings.evaluation
    ceiling = noise_ceiling.set_index(PAIR).astype("float64")
    starts = {name: runs[name, BASE] for name in settings.persona_agnostic}
    metrics: list[Row] = []
    for (model, variant), run in runs.items():
        key = {"model": model, "variant": variant, "split": split}
        rows = run_metrics(run, evaluation) + normalized_gains(run, starts, ceiling, evaluation)
        metrics += [{**key, **row} for row in rows]
    differences: list[Row] = []
    for first, second in contrasts(settings, split):
        key = {"split": split, "model": first[0], "variant": first[1]}
        key |= {"other_model": second[0], "other_variant": second[1]}
        rows = paired_differences(runs[first], runs[second], evaluation)
        if is_prompt_contrast(first, second):
            rows.append(disagreement_rate(runs[first], runs[second], evaluation))
        differences += [{**key, **row} for row in rows]
    return metrics, differences


def run_metrics(run: RunValues, evaluation: Evaluation) -> list[Row]:
    """Mean of each metric, and the calibration error."""
    rows = []
    for metric, series in run.values.items():
        values = series.to_numpy(dtype=np.float64)
        n = int(np.isfinite(values).sum())
        numbers = _mean_of(metric, values, run, evaluation)
        rows.append(_row(metric, numbers, n, run.expected[metric] - n))
    confidence, hit = run.confidence(run.pairs)
    numbers = distribution.calibration_error(
        confidence, hit, run.clusters, *_resampling(evaluation)
    )
    n = int(np.isfinite(confidence).sum())
    return [*rows, _row(Metric(CALIBRATION), numbers, n, len(run.pairs) - n)]


def normalized_gains(
    run: RunValues,
    starts: Mapping[str, RunValues],
    ceiling: pd.DataFrame,
    evaluation: Evaluation,
) -> list[Row]:
    """(run - baseline) / (noise ceiling - baseline) for each metric that has a ceiling.

    The baseline is the persona-agnostic one with the best mean over all pairs, for each metric on
    its own; without such a baseline there is no gain.
    """
    rows = []
    for name in CEILED if starts else ():
        metric = Metric(name)
        sign = -1 if name == "accuracy" else 1
        means = {key: sign * start.values[metric].mean() for key, start in starts.items()}
        best = min(means, key=lambda key: means[key])
        values = run.array(metric, run.pairs)
        start = starts[best].array(metric, run.pairs)
        target = ceiling[name].reindex(run.pairs).to_numpy(dtype=np.float64)
        n = int(np.isfinite([values, start, target]).all(axis=0).sum())
        numbers = resample.normalized_gain(
            values, start, target, run.clusters, *_resampling(evaluation)
        )
        gain = Metric(f"normalized_gain_{name}", baseline=best)
        rows.append(_row(gain, numbers, n, run.expected[metric] - n))
    return rows


def contrasts(settings: ComparisonSettings, split: str) -> list[tuple[ModelVariant, ModelVariant]]:
    """The pairs of runs that are compared on a split.

    Each tuned variant with its base; each prompt variant with the study's own prompt and, tuned,
    with its base in the same prompt; then every language model with each baseline. Without a
    language model every baseline with those before it.
    """
    pairs = [
        ((model, variant), (model, BASE))
        for model, variants in settings.variants.items()
        for variant in variants
        if variant != BASE
    ]
    for model, variants in settings.prompt_variants.items():
        for variant in variants:
            plain, prompt = variant_parts(variant)
            pairs.append(((model, variant), (model, plain)))
            if plain != BASE:
                pairs.append(((model, variant), (model, variant_name(BASE, prompt))))
    baselines = baseline_runs(settings)
    pairs += product(llm_runs(settings), baselines)
    if not llm_runs(settings):
        pairs += [(run, baselines[i]) for j, run in enumerate(baselines) for i in range(j)]
    present = set(runs_on(settings, split))
    return [pair for pair in pairs if pair[0] in present]


def paired_differences(first: RunValues, second: RunValues, evaluation: Evaluation) -> list[Row]:
    """First run minus second, on the pairs for which both have a value."""
    rows = []
    wins = [m for m in first.values if m.metric == "win_rate" and m in second.values]
    compared = {metric: (metric, metric) for metric in (*map(Metric, COMPARED), *wins)}
    compared |= _bounds(first, second)
    for metric, (one, other) in compared.items():
        gap = first.array(one, first.pairs) - second.array(other, first.pairs)
        n = int(np.isfinite(gap).sum())
        if not n:
            continue
        numbers = _mean_of(metric, gap, first, evaluation, bounds=(-1.0, 1.0))
        test = resample.sign_flip(gap, first.clusters, evaluation.n_resamples, evaluation.seed)
        effect = clustered_mean_effect(gap, first.clusters)
        spread = {"questions": int(effect.questions[0]), "std_error": float(effect.error[0])}
        row = _row(metric, numbers, n, first.expected[one] - n)
        rows.append({**row, **test._asdict(), **spread})
    value, low, high, test, n = distribution.calibration_difference(
        first.confidence(first.pairs),
        second.confidence(first.pairs),
        first.clusters,
        *_resampling(evaluation),
    )
    if n:
        row = _row(Metric(CALIBRATION), (value, low, high), n, len(first.pairs) - n)
        rows.append({**row, **test._asdict()})
    return rows


def _bounds(first: RunValues, second: RunValues) -> dict[Metric, tuple[Metric, Metric]]:
    """What bounds a difference in accuracy, where one of the runs left a pair unanswered."""
    if all(run.values[Metric(ANSWERED)].all() for run in (first, second)):
        return {}
    lowest, highest = map(Metric, READINGS)
    return {Metric(GAP_LOWER): (lowest, highest), Metric(GAP_UPPER): (highest, lowest)}


def disagreement_rate(first: RunValues, second: RunValues, evaluation: Evaluation) -> Row:
    """Share of different answers, among the pairs that both answered; it has no test."""
    answers = second.answer.reindex(first.pairs)
    is_shared = first.answer.notna() & answers.notna()
    values = np.where(is_shared, first.answer != answers, np.nan)
    numbers = _mean(values, first, evaluation)
    return _row(Metric(DISAGREEMENT), numbers, int(is_shared.sum()), int((~is_shared).sum()))


def _mean_of(
    metric: Metric,
    values: Floats,
    run: RunValues,
    evaluation: Evaluation,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Numbers:
    """Mean of a metric; judges' are of few questions, for which a bootstrap is too narrow."""
    if not metric.judge:
        is_rate = metric.metric in RATES and bounds == (0.0, 1.0)
        of = bounds if metric.metric in COMPARED else None
        return _mean(values, run, evaluation, is_rate, of)
    return clustered_mean(values, run.clusters, evaluation.confidence_level, bounds)[:3]


def _mean(
    values: Floats,
    run: RunValues,
    evaluation: Evaluation,
    is_rate: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Numbers:
    resampling = _resampling(evaluation)
    return resample.mean_with_interval(values, run.clusters, *resampling, is_rate, bounds)


def _resampling(evaluation: Evaluation) -> tuple[int, float, int]:
    return evaluation.n_resamples, evaluation.confidence_level, evaluation.seed


def _row(metric: Metric, numbers: Numbers, n: int, missing: int) -> Row:
    value, low, high = numbers
    row = {"value": value, "ci_low": low, "ci_high": high, "n": n, "missing": missing}
    return {**metric._asdict(), **row}
