"""Inequality beyond Norm.Range and CV, and how tuning changed it, on the pairs of both. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.columns import TIED
from valuestrata.metrics import disparity
from valuestrata.metrics.contrasts import totals
from valuestrata.metrics.inequality_change import inequality_changes, joint_p
from valuestrata.report.comparison import ORDINAL_ONLY, Metric, Row, RunValues
from valuestrata.report.families import with_q_values
from valuestrata.report.grids import Grid, grid_of, levels
from valuestrata.report.runs import BASE, ModelVariant, tuned_runs
from valuestrata.report.settings import ContrastSettings

Floats = NDArray[np.float64]
HIGHER_IS_BETTER = {"accuracy": True, "nmae": False}
CHANGES = "inequality changes"


def disparities_split(
    split: str,
    runs: Mapping[ModelVariant, RunValues],
    axes: Mapping[str, Sequence[str]],
    settings: ContrastSettings,
) -> list[Row]:
    """Rows of DISPARITIES for one split: every run, metric and level of at least two groups."""
    rows: list[Row] = []
    for (model, variant), run in runs.items():
        grid = grid_of(run.pairs)
        for metric, higher in HIGHER_IS_BETTER.items():
            values = grid.spread(run.array(Metric(metric), run.pairs))
            could = grid.spread(_could(run, metric))
            for level, (names, member) in levels(grid, axes).items():
                sums, n = totals(values, member)
                scored = np.flatnonzero(n.sum(axis=1))
                if len(scored) < 2:
                    continue
                measured = disparity.disparities(
                    sums[scored],
                    n[scored],
                    higher,
                    settings.evaluation.n_resamples,
                    settings.evaluation.seed,
                )
                key: Row = {"model": model, "variant": variant, "split": split, "level": level}
                size = int(n[scored].sum())
                possible = int((member @ np.isfinite(could)).sum())
                key |= {"metric": metric, "n": size, "missing": possible - size}
                key |= {"n_groups": len(scored)}
                worst = disparity.worst_groups(sums[scored], n[scored], higher)
                key |= {"worst_group": TIED.join(names[i] for i in scored[worst])}
                rows += [{**key, **vars(each)} for each in measured]
    return rows


def _could(run: RunValues, metric: str) -> Floats:
    """[n] 1 where a pair could have a value of a metric, else NaN."""
    return np.where(run.is_ordinal | (metric not in ORDINAL_ONLY), 1.0, np.nan)


def changes_split(
    split: str,
    runs: Mapping[ModelVariant, RunValues],
    axes: Mapping[str, Sequence[str]],
    settings: ContrastSettings,
) -> list[Row]:
    """Rows of INEQUALITY_CHANGES for one split: every fine-tune against its base."""
    rows: list[Row] = []
    for model, variant in tuned_runs(settings):
        if (model, variant) not in runs or (model, BASE) not in runs:
            continue
        tuned, base = runs[model, variant], runs[model, BASE]
        grid = grid_of(tuned.pairs)
        key: Row = {"model": model, "variant": variant, "split": split}
        for level, (_, member) in levels(grid, axes).items():
            by_metric = {
                metric: _level_changes(metric, tuned, base, grid, member, settings)
                for metric in HIGHER_IS_BETTER
            }
            rows += [{**key, "level": level, **row} for row in _joined(by_metric)]
    return rows


def _level_changes(
    metric: str,
    tuned: RunValues,
    base: RunValues,
    grid: Grid,
    member: Floats,
    settings: ContrastSettings,
) -> list[Row]:
    """Changes of one metric over the groups of a level, on the pairs that both answered."""
    both = [run.array(Metric(metric), tuned.pairs) for run in (base, tuned)]
    shared = np.isfinite(both).all(axis=0)
    before, after = (
        totals(grid.spread(np.where(shared, values, np.nan)), member) for values in both
    )
    scored = (before[1] > 0).sum(axis=1) > 1
    if scored.sum() < 2:
        return []
    level = settings.evaluation.confidence_level
    changes = inequality_changes(
        (before[0][scored], before[1][scored]), (after[0][scored], after[1][scored]), level
    )
    could = np.isfinite(grid.spread(_could(tuned, metric)))
    n = int(before[1].sum())
    counts = {
        "n": n,
        "missing": int((member @ could).sum()) - n,
        "n_groups": int(scored.sum()),
        "questions": int((before[1].sum(axis=0) > 0).sum()),
    }
    return [{"metric": metric, **vars(change), **counts} for change in changes]


def _joined(by_metric: Mapping[str, Sequence[Row]]) -> list[Row]:
    """All rows, each with the joint p of its statistic."""
    falls = {row["statistic"]: row["p_fall"] for row in by_metric["accuracy"]}
    rises = {row["statistic"]: row["p_rise"] for row in by_metric["nmae"]}
    nan = float("nan")
    return [
        {**row, "p_joint": joint_p(falls.get(name, nan), rises.get(name, nan))}  # type: ignore[arg-type]
        for rows in by_metric.values()
        for row in rows
        for name in (row["statistic"],)
    ]


def adjusted_changes(frame: pd.DataFrame) -> pd.DataFrame:
    """INEQUALITY_CHANGES with families: one statistic of one metric and level over fine-tunes."""
    frame = frame.assign(family=pd.array([CHANGES] * len(frame), dtype="string"))
    keys = ["split", "level", "metric", "statistic"]
    frame = with_q_values(frame, keys)
    return with_q_values(frame, keys, p="p_joint", q="q_joint")
