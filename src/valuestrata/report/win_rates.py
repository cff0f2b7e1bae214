"""Statistics of a judge's verdicts by run and dimension: the table WIN_RATES. Pure.

Several comparisons are about one question, so whole questions are the clusters of every interval
and test (metrics/clustered.py).
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.metrics.clustered import ClusteredEstimate, clustered_mean
from valuestrata.metrics.length_control import LengthControlled, difficulties, length_controlled
from valuestrata.metrics.multiplicity import q_values
from valuestrata.report.runs import ModelVariant
from valuestrata.tables import PAIR, VERDICT_OUTCOMES

Floats = NDArray[np.float64]
Row = dict[str, object]
LEVEL_SCORE = 0.5
"""Win rate of what is as good as the reference."""
RATE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
"""Bounds of a rate, and of the difference of two."""


def win_rate_rows(
    verdicts: Mapping[ModelVariant, pd.DataFrame],
    reference: ModelVariant | None,
    confidence_level: float,
) -> list[Row]:
    """Rows of WIN_RATES for one judge and split, without the split and the judge.

    Args:
        verdicts: the table VERDICTS of each run; all are about the same pairs.
        reference: the run that is compared with itself, too.
        confidence_level: coverage.
    """
    rows: list[Row] = []
    dimensions = dict.fromkeys(str(d) for f in verdicts.values() for d in f["dimension"].unique())
    for dimension in dimensions:
        judged = {
            run: frame[frame["dimension"] == dimension].set_index(PAIR)
            for run, frame in verdicts.items()
            if (frame["dimension"] == dimension).any()
        }
        others = {run: frame for run, frame in judged.items() if run != reference}
        hard = _difficulties(others)
        for (model, variant), frame in judged.items():
            key = {"model": model, "variant": variant, "dimension": dimension}
            gamma = hard.get((model, variant), np.zeros(len(frame)))
            rows += [{**key, **row} for row in _of_run(frame, gamma, confidence_level)]
    _adjust(rows, reference)
    return rows


def _adjust(rows: list[Row], reference: ModelVariant | None) -> None:
    """Give each row its q-value: a statistic of all runs but the reference is a family."""
    families: dict[tuple[object, object], list[Row]] = {}
    for row in rows:
        row["q_value"] = np.nan
        if (row["model"], row["variant"]) != reference:
            families.setdefault((row["dimension"], row["statistic"]), []).append(row)
    for family in families.values():
        adjusted = q_values(np.array([row["p_value"] for row in family], dtype=np.float64))
        for row, q in zip(family, adjusted, strict=True):
            row["q_value"] = float(q)


def _difficulties(judged: Mapping[ModelVariant, pd.DataFrame]) -> dict[ModelVariant, Floats]:
    """How hard each run's prompts are to lose, in the order of its rows, from the other runs."""
    if not judged:
        return {}
    pairs = next(iter(judged.values())).index
    for frame in judged.values():
        pairs = pairs.union(frame.index)
    scores, lengths = (
        np.stack([_column(frame.reindex(pairs), name) for frame in judged.values()], axis=1)
        for name in ("score", "length_difference")
    )
    hard = difficulties(scores, np.nan_to_num(lengths))
    places = {run: pairs.get_indexer(frame.index) for run, frame in judged.items()}
    return {run: hard[place, i] for i, (run, place) in enumerate(places.items())}


def _column(frame: pd.DataFrame, name: str) -> Floats:
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _of_run(frame: pd.DataFrame, difficulty: Floats, confidence_level: float) -> list[Row]:
    """Every statistic of a run on one dimension, in the order of WIN_RATE_STATISTICS."""
    questions = pd.factorize(frame.index.get_level_values("question"), sort=True)[0]
    mean = partial(clustered_mean, cluster=questions, confidence_level=confidence_level)
    score, first, second = (_column(frame, c) for c in ("score", "as_first", "as_second"))
    both = np.isfinite(score)
    orders: list[Floats] = [np.where(both, order, np.nan) for order in (first, second)]
    bias: Floats = np.subtract(*orders)
    ties = np.where(both, np.equal(orders, LEVEL_SCORE).mean(axis=0), np.nan)
    lengths = _column(frame, "length_difference")
    controlled = length_controlled(score, lengths, difficulty, questions, confidence_level)
    estimates: dict[str, ClusteredEstimate | LengthControlled] = {
        "win_rate": mean(score, null=LEVEL_SCORE),
        "length_controlled": controlled,
        "shown_first": mean(orders[0]),
        "shown_second": mean(orders[1]),
        "position_bias": mean(bias, bounds=DIFFERENCE, null=0.0),
        "flip_rate": mean(_column(frame, "flipped")),
        "tie_rate": mean(ties),
    }
    outcome = frame["outcome"].to_numpy(dtype=object)
    outcomes = {
        name: mean(np.equal(outcome, name).astype(np.float64)) for name in VERDICT_OUTCOMES[1:]
    }
    n = int(both.sum())
    return [
        *(_row(name, each, n, len(frame) - n) for name, each in estimates.items()),
        *(_row(name, each, len(frame), 0) for name, each in outcomes.items()),
    ]


def _row(name: str, result: ClusteredEstimate | LengthControlled, n: int, missing: int) -> Row:
    estimate, note = (
        (result.estimate, result.note) if isinstance(result, LengthControlled) else (result, "")
    )
    return {
        "statistic": name,
        "value": estimate.value,
        "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high,
        "n": n,
        "missing": missing,
        "p_value": estimate.p_value,
        "questions": estimate.clusters,
        "note": note,
    }
