"""Put all runs of a study side by side: every metric with its interval, differences with a test."""

import argparse
import logging
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.metrics import distribution, resample
from valuestrata.specs import Compare, Evaluation, from_json, reworded, variant_parts
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)
Run = tuple[str, str, str]
System = tuple[str, str]

OF_DISTRIBUTIONS = ("wasserstein", "jensen_shannon", "total_variation")
SCORES = ("accuracy", "nmae", *OF_DISTRIBUTIONS, "argmax_accuracy", "confidence", "non_option_mass")
OUTCOMES = ("refusal", "invalid", "failed")
COMPARED = ("accuracy", "nmae", *OF_DISTRIBUTIONS, "refusal")
CALIBRATION = "calibration_error"
DISAGREEMENT = "changed"
BASE = "base"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--results", required=True, type=Path, help="the study's folder")
    parser.add_argument("--noise_ceiling", required=True, help="what can be reached, by pair")
    parser.add_argument("--runs", required=True, help="output: every run's metrics")
    parser.add_argument("--differences", required=True, help="output: paired comparisons")


def run(arguments: argparse.Namespace) -> None:
    """Write both tables."""
    spec = from_json(Compare, arguments.spec)
    noise_ceiling = (
        io.read_table(arguments.noise_ceiling, "noise_ceiling").set_index(PAIR).astype("float64")
    )
    metrics: list[dict[str, object]] = []
    differences: list[dict[str, object]] = []
    for split in spec.splits:
        values = {
            (model, variant): _values(arguments.results, spec, (model, variant, split))
            for model, variants in spec.models.items()
            for variant in (*variants, *spec.wordings[model])
            if spec.speaks(variant, split)
        }
        persona_agnostic = {name: values[name, BASE] for name in spec.persona_agnostic}
        for (model, variant), table in values.items():
            shared = {"model": model, "variant": variant, "split": split}
            metrics += [{**shared, **row} for row in _metrics(table, spec.evaluation)]
            way = _way(table, persona_agnostic, noise_ceiling, spec.evaluation)
            metrics += [{**shared, **row} for row in way]
        for one, other in (pair for pair in _contrasts(spec) if pair[0] in values):
            named = {"split": split, "model": one[0], "variant": one[1]}
            named |= {"other_model": other[0], "other_variant": other[1]}
            rows = _differences(values[one], values[other], spec.evaluation)
            if _same_but_worded(one, other):
                rows.append(_changed(values[one], values[other], spec.evaluation))
            differences += [{**named, **row} for row in rows]
    log.info("%d metrics, %d paired differences", len(metrics), len(differences))
    columns = [c.name for c in tables.TABLES["differences"]]
    io.write_table(pd.DataFrame(metrics), arguments.runs, "runs", spec.caveat)
    io.write_table(
        pd.DataFrame(differences, columns=columns),
        arguments.differences,
        "differences",
        spec.caveat,
    )


def _values(results: Path, spec: Compare, run: Run) -> pd.DataFrame:
    """One row a pair, one column a metric, NaN where a run has no value.

    Columns of verdicts exist only for pairs that were judged; `asked` tells which by metric.
    """
    model, variant, split = run
    parts = {"model": model, "variant": variant, "split": split}
    files = [results / paths.SCORES.format(**parts, stratum=s) for s in spec.splits[split]]
    scores = io.read_table(files, "scores").set_index(PAIR)
    table = scores[list(SCORES)].astype("float64")
    for outcome in OUTCOMES:
        table[outcome] = (scores["outcome"] == outcome).astype("float64")
    asked = pd.DataFrame(True, index=table.index, columns=table.columns)
    asked["nmae"] = asked["wasserstein"] = scores["measurement_level"].eq("ordinal")
    judged = split in spec.judged_splits and variant in spec.models[model]
    judges = spec.judges if judged and model not in spec.baselines else ()
    for judge in judges:
        file = results / paths.VERDICTS.format(**parts, judge=judge)
        for dimension, own in io.read_table(file, "verdicts").groupby("dimension"):
            indexed = own.set_index(PAIR)
            for name, column in (("win_rate", "score"), ("flip_rate", "flipped")):
                key = f"{name}:{judge}:{dimension}"
                table[key] = indexed[column].astype("Float64").astype("float64")
                asked[key] = table.index.isin(indexed.index)
    table.attrs["asked"] = asked
    table.attrs["answer"] = scores["answer"].astype("Float64").astype("float64")
    return table


def _metrics(table: pd.DataFrame, e: Evaluation) -> list[dict[str, object]]:
    cluster = _clusters(table)
    asked = table.attrs["asked"]
    rows = []
    for metric in table.columns:
        values = table[metric].to_numpy(dtype=np.float64)
        n = int(np.isfinite(values).sum())
        value, low, high = resample.mean_with_interval(
            values, cluster, e.resamples, e.level, e.seed
        )
        missing = int(asked[metric].sum()) - n
        rows.append(_row(metric, value, low, high, n, missing))
    known = int(np.isfinite(table["confidence"]).sum())
    error = distribution.calibration_error(
        *_confidence(table), cluster, e.resamples, e.level, e.seed
    )
    return [*rows, _row(CALIBRATION, *error, known, len(table) - known)]


def _confidence(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """[n] probability of the likeliest code, and whether it is the mode."""
    return table["confidence"].to_numpy(), table["argmax_accuracy"].to_numpy()


def _way(
    table: pd.DataFrame,
    persona_agnostic: dict[str, pd.DataFrame],
    noise_ceiling: pd.DataFrame,
    e: Evaluation,
) -> list[dict[str, object]]:
    """How much of the way a run goes from the best persona-persona_agnostic baseline to what can be reached.

    The best is the one with the best mean over all pairs, for each metric on its own.
    """
    cluster = _clusters(table)
    rows = []
    for metric in noise_ceiling.columns if persona_agnostic else ():
        sign = -1 if metric == "accuracy" else 1
        means = {name: sign * own[metric].mean() for name, own in persona_agnostic.items()}
        start = min(means, key=lambda name: means[name])
        own, begin, end = (
            frame[metric].reindex(table.index).to_numpy(dtype=np.float64)
            for frame in (table, persona_agnostic[start], noise_ceiling)
        )
        n = int(np.isfinite([own, begin, end]).all(axis=0).sum())
        value, low, high = resample.normalized_gain(
            own, begin, end, cluster, e.resamples, e.level, e.seed
        )
        missing = int(table.attrs["asked"][metric].sum()) - n
        rows.append(_row(f"normalized_gain:{start}:{metric}", value, low, high, n, missing))
    return rows


def _contrasts(spec: Compare) -> list[tuple[System, System]]:
    """Each tuned variant against its base, in every wording; each other wording against the
    study's own; then every language model against each baseline.
    """
    tuned = [
        ((model, variant), (model, BASE))
        for model, variants in spec.models.items()
        for variant in variants
        if variant != BASE
    ]
    for model, variants in spec.wordings.items():
        for variant in variants:
            plain, wording = variant_parts(variant)
            tuned.append(((model, variant), (model, plain)))
            if plain != BASE:
                tuned.append(((model, variant), (model, reworded(BASE, wording))))
    language = [(m, v) for m, vs in spec.models.items() if m not in spec.baselines for v in vs]
    return [*tuned, *product(language, [(m, BASE) for m in spec.baselines])]


def _differences(one: pd.DataFrame, other: pd.DataFrame, e: Evaluation) -> list[dict[str, object]]:
    """Paired on the pairs for which both have a value; questions are resampled together."""
    cluster = _clusters(one)
    rows = []
    wins = [c for c in one.columns if c.startswith("win_rate:") and c in other.columns]
    for metric in (*COMPARED, *wins):
        gap = (one[metric] - other[metric].reindex(one.index)).to_numpy(dtype=np.float64)
        n = int(np.isfinite(gap).sum())
        if not n:
            continue
        value, low, high = resample.mean_with_interval(gap, cluster, e.resamples, e.level, e.seed)
        p = resample.sign_flip(gap, cluster, e.resamples, e.seed)
        missing = int(one.attrs["asked"][metric].sum()) - n
        rows.append({**_row(metric, value, low, high, n, missing), "p_value": p})
    value, low, high, p, n = distribution.calibration_difference(
        _confidence(one),
        _confidence(other.reindex(one.index)),
        cluster,
        e.resamples,
        e.level,
        e.seed,
    )
    if n:
        row = _row(CALIBRATION, value, low, high, n, len(one) - n)
        rows.append({**row, "p_value": p})
    return rows


def _same_but_worded(one: System, other: System) -> bool:
    """Whether two systems differ in the wording of their prompts alone."""
    return one != other and (one[0], variant_parts(one[1])[0]) == other


def _changed(one: pd.DataFrame, other: pd.DataFrame, e: Evaluation) -> dict[str, object]:
    """Share of pairs answered otherwise, among those that both answered; nothing to test."""
    first, second = one.attrs["answer"], other.attrs["answer"].reindex(one.index)
    both = first.notna() & second.notna()
    values = np.where(both, first != second, np.nan)
    number = resample.mean_with_interval(values, _clusters(one), e.resamples, e.level, e.seed)
    return _row(DISAGREEMENT, *number, int(both.sum()), int((~both).sum()))


def _clusters(table: pd.DataFrame) -> np.ndarray:
    """[n] the question of each pair as an index, in order of name."""
    return pd.factorize(table.index.get_level_values("question"), sort=True)[0]


def _row(
    metric: str, value: float, low: float, high: float, n: int, missing: int
) -> dict[str, object]:
    row = {"metric": metric, "value": value, "ci_low": low, "ci_high": high}
    return {**row, "n": n, "missing": missing}
