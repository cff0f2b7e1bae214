"""The page's tables of readings of accuracy, group contrasts and changes of inequality. Pure."""

from typing import Any

import pandas as pd

from valuestrata.columns import TIED
from valuestrata.io import records
from valuestrata.report.comparison import ALL_PAIRS, ANSWERED, UPPER_BOUND, Metric
from valuestrata.report.display import NO_BREAK, OF_TEXTS, Cell, Table, cell
from valuestrata.report.phrases import (
    METRIC_NAMES,
    METRICS,
    NONE,
    STATISTICS,
    decimal,
    is_rate,
    metric_name,
    p_value,
    percent,
    tested,
)
from valuestrata.report.results import SUBGROUPS, Results, cell_label, to_estimate
from valuestrata.report.runs import all_runs, label, llm_runs, tuned_runs

READINGS = (ANSWERED, "accuracy", ALL_PAIRS, UPPER_BOUND, "argmax_accuracy")
CONTRASTED = ("accuracy", "nmae", "wasserstein", ANSWERED, "refusal")
DISPARITIES = {
    "theil": "Theil index",
    "max_min": "Largest gap",
    "worst_group": "Worst group",
    "worst_minus_mean": "Worst group minus mean",
}


def readings_table(results: Results, split: str) -> Table:
    """Accuracy in every reading of a pair without an answer, one row a language model's run."""
    settings = results.settings
    rows = [
        (
            Cell(label(run, settings)),
            *(cell(results.metric(run, split, metric), is_rate(metric)) for metric in READINGS),
        )
        for run in llm_runs(settings)
    ]
    note = (
        "No answer counts as not met over all pairs, and as met at the upper bound; true accuracy "
        "lies between. The likeliest option is read from probabilities, which every pair has."
    )
    columns = ("Run", *(METRICS[metric] for metric in READINGS))
    return Table(f"Answers, {split}", columns, tuple(rows), note=note)


def contrast_tables(results: Results, split: str) -> list[Table]:
    """A table a metric: groups of the axes against others, a column a run."""
    frame = results.contrasts
    frame = frame[(frame["split"] == split) & (frame["level"] != SUBGROUPS)]
    frame = frame[frame["reading"] == "raw"]
    present = frame[["metric", "judge", "dimension"]].drop_duplicates()
    metrics = [Metric(*map(str, row)) for row in present.itertuples(index=False, name=None)]
    wins = [metric for metric in metrics if metric.judge]
    names = [n for n in CONTRASTED if llm_runs(results.settings) or n not in OF_TEXTS]
    shown = [metric for name in names if (metric := Metric(name)) in metrics]
    return [_contrast_table(results, frame, metric, split) for metric in [*shown, *wins]]


def _contrast_table(results: Results, frame: pd.DataFrame, metric: Metric, split: str) -> Table:
    settings = results.settings
    rows = records(frame[(frame[list(metric._fields[:3])] == list(metric[:3])).all(axis=1)])
    runs = [
        run
        for run in all_runs(settings)
        if any((row["model"], row["variant"]) == run for row in rows)
    ]
    by_side: dict[tuple[str, str, str], dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows:
        side = (str(row["level"]), str(row["group"]), str(row["other_group"]))
        by_side.setdefault(side, {})[str(row["model"]), str(row["variant"])] = row
    sure = settings.evaluation.confidence_level
    ranked = sorted(by_side, key=lambda side: list(settings.axes).index(side[0]))
    body = tuple(
        (
            Cell(settings.axes[level]),
            Cell(cell_label(group), small=f"minus {_other(other)}"),
            *(_tested_cell(by_side[level, group, other].get(run), metric, sure) for run in runs),
        )
        for level, group, other in ranked
    )
    note = (
        "Differences within questions that both have; t test over questions, q within a run. "
        "Hollow: not shown, with the smallest gap that 80% of such studies would find."
    )
    name = f"{metric_name(metric)}, differences between groups, {split}"
    columns = ("Axis", "Group", *(label(run, settings) for run in runs))
    return Table(name, columns, body, heads=2, note=note)


def _other(group: str) -> str:
    return "the rest" if group == "rest" else cell_label(group)


def _tested_cell(row: dict[str, Any] | None, metric: Metric, level: float) -> Cell:
    """A difference with its test; where it is not shown, the gap that would have been found."""
    if row is None:
        return Cell(NONE)
    estimate, rate = to_estimate(row), is_rate(metric.metric)
    extra = tested(estimate)
    if estimate.smallest_gap is not None and estimate.direction(level) == 0:
        write = percent if rate else decimal
        extra += f", not shown (from {write(estimate.smallest_gap)} on)"
    return cell(estimate, rate, signed=True, extra=extra)


def consistency_table(results: Results, split: str) -> Table:
    """Differences between groups in accuracy, as a mean over models, a row a contrast."""
    frame = results.consistency
    frame = frame[(frame["split"] == split) & (frame["metric"] == "accuracy")]
    rows = []
    for row in records(frame[frame["reading"] == "raw"]):
        estimate = to_estimate({**row, "n": 0, "missing": 0})
        agree = f"{int(row['same_sign'])} of {int(row['n_models'])} models have this sign"
        interval = (
            f"[{decimal(estimate.ci_low, True)}, {decimal(estimate.ci_high, True)}]"
            if estimate.has_interval
            else ""
        )
        test = "too few models to test" if estimate.p_value is None else tested(estimate)
        rows.append(
            (
                Cell(str(row["variant"])),
                Cell(
                    f"{results.settings.axes[str(row['level'])]}: {cell_label(str(row['group']))}",
                    small=f"minus {_other(str(row['other_group']))}",
                ),
                Cell(decimal(estimate.value, signed=True), interval, test),
                Cell(agree),
                Cell(decimal(float(row["between_sd"])) if row["between_sd"] else NONE),
            )
        )
    note = (
        "Crossed random effects of models and questions: models answer the same questions and are "
        "scored by the same labels, so errors that they share are not counted as independent."
    )
    columns = ("Variant", "Groups", "Mean over models", "Sign", "SD between models")
    return Table(f"Accuracy between groups, over models, {split}", columns, tuple(rows), 2, note)


def changes_table(results: Results, split: str) -> Table:
    """How fine-tuning changed inequality over subgroups: raw, by the mean alone, without noise."""
    frame = results.inequality_changes
    frame = frame[(frame["split"] == split) & (frame["level"] == SUBGROUPS)]
    by_key = {
        (str(r["model"]), str(r["variant"]), str(r["metric"]), str(r["statistic"])): r
        for r in records(frame)
    }
    rows = []
    for run in tuned_runs(results.settings):
        for metric, name in METRIC_NAMES.items():
            for statistic, title in STATISTICS.items():
                row = by_key.get((*run, metric, statistic))
                if row is None:
                    continue
                estimate = to_estimate(row)
                raw, net = (
                    f"{decimal(float(row[a]))} to {decimal(float(row[b]))}"
                    for a, b in (("raw_base", "raw_tuned"), ("base", "tuned"))
                )
                rows.append(
                    (
                        Cell(label(run, results.settings)),
                        Cell(f"{title} of {name}"),
                        Cell(raw),
                        Cell(decimal(float(row["raw_by_mean"]), signed=True)),
                        Cell(net),
                        cell(estimate, signed=True, extra=tested(estimate)),
                        Cell(_joint(row)),
                    )
                )
    columns = (
        "Fine-tune",
        "Inequality",
        "Base to tuned, plain",
        "Change by the mean alone",
        "Base to tuned, without noise",
        "Change",
        "Joint test, q",
    )
    note = (
        "On the pairs that both answered. By the mean alone: each group changes by as much as the "
        "groups' mean. Joint: accuracy's falls and NMAE's rises, the larger of two one-sided p."
    )
    return Table(f"Inequality before and after tuning, {split}", columns, tuple(rows), 2, note)


def _joint(row: dict[str, Any]) -> str:
    q = row["q_joint"]
    text = p_value(None if q is None or q != q else float(q))
    return text.removeprefix("p ").removeprefix("= ").replace(" ", NO_BREAK)


def disparities_table(results: Results, split: str) -> Table:
    """Theil index, largest gap and the worst group over subgroups, each beside its null."""
    frame = results.disparities
    frame = frame[(frame["split"] == split) & (frame["level"] == SUBGROUPS)]
    by_key: dict[tuple[str, ...], dict[str, Any]] = {}
    for r in records(frame):
        key = (str(r["model"]), str(r["variant"]), str(r["metric"]), str(r["statistic"]))
        by_key[key] = r
    rows = []
    for run in all_runs(results.settings):
        for metric in METRIC_NAMES:
            figures = [by_key.get((*run, metric, name)) for name in DISPARITIES]
            if any(figures):
                cells = [Cell(NONE) if r is None else _disparity(r) for r in figures]
                name = Cell(label(run, results.settings))
                rows.append((name, Cell(METRICS[metric]), *cells))
    note = (
        "Beneath: without sampling noise, and the 5th to 95th percentile if all groups were served "
        "alike. They rest on single groups that chance has picked, so they have no interval."
    )
    columns = ("Run", "Metric", *DISPARITIES.values())
    return Table(f"Other figures of inequality, {split}", columns, tuple(rows), 2, note)


def _disparity(row: dict[str, Any]) -> Cell:
    null = f"null {decimal(float(row['null_p5']))} to {decimal(float(row['null_p95']))}"
    small = f"without noise {decimal(float(row['corrected']))}, {null}"
    if row["statistic"] == "worst_group":
        names = str(row["worst_group"]).split(TIED)
        tied = f" and {len(names) - 1} that tie" if len(names) > 1 else ""
        small = f"{cell_label(names[0])}{tied}; {small}"
    return Cell(decimal(float(row["value"])), small=small)


def statistics_tables(results: Results, split: str) -> list[Table]:
    """All of these tables that have rows."""
    tables = [
        changes_table(results, split),
        *contrast_tables(results, split),
        consistency_table(results, split),
        disparities_table(results, split),
    ]
    return [table for table in tables if table.rows]
