"""Charts of subgroups: inequality and its null, the heat map, axes' groups."""

from collections.abc import Sequence

from valuestrata.io import records
from valuestrata.report.charts import (
    CEILING,
    HEAT,
    ROW,
    ChartPanel,
    Drawing,
    Row,
    at,
    empty,
    estimate_row,
    estimate_words,
    layer,
    look,
    nominal,
    null_bars,
    number,
    rows_axis,
    run_row,
    shift,
    spread,
    tooltip,
    upright,
    values_axis,
    with_interval,
)
from valuestrata.report.charts_runs import IS_BASE, WITHOUT_NOISE, interval_note
from valuestrata.report.phrases import METRIC_NAMES, METRICS, STATISTICS, tested
from valuestrata.report.results import (
    SUBGROUPS,
    Results,
    cell_label,
    to_estimate,
)
from valuestrata.report.runs import (
    ModelVariant,
    all_runs,
    label,
    llm_runs,
    main_runs,
    tested_splits,
)


def fairness_drawing(results: Results) -> Drawing:
    """Norm.Range and CV of accuracy and NMAE over subgroups, each beside its null."""
    settings = results.settings
    alpha = 1 - settings.evaluation.confidence_level
    names = [label(run, settings) for run in all_runs(settings)]
    panels = []
    for split in tested_splits(settings):
        for metric, metric_name in METRIC_NAMES.items():
            for statistic, title in STATISTICS.items():
                rows = [
                    {
                        **run_row(run, settings), **estimate_row(estimate := to_estimate(row)),
                        "mean": float(row["null_mean"]), "p95": float(row["null_p95"]),
                        "test": tested(estimate),
                        "above": estimate.tested is not None and estimate.tested < alpha,
                    }
                    for run in all_runs(settings)
                    if (row := results.inequality(run, split, metric, statistic)) is not None
                    and to_estimate(row).exists
                ]  # fmt: skip
                if not rows:
                    continue
                heading = f"{title} of {metric_name}, {split}"
                panels.append(_null_panel(results, rows, names, heading))
    if not panels:
        return empty("Inequality was not measured on the test split.")
    note = (
        "Grey bar: null of equal groups, from its mean to its 95th percentile. "
        f"Filled mark: q < {alpha:.2g}; hollow: inequality is not shown. {WITHOUT_NOISE}"
    )
    return Drawing(tuple(panels), 2, (note,))


def _null_panel(
    results: Results, rows: Sequence[Row], names: Sequence[str], heading: str
) -> ChartPanel:
    y = rows_axis("run", names)
    x = values_axis(f"{heading.split(' of ')[0]} (0: equal)")
    looks = look(results.settings, rows)
    layers = (
        null_bars("runs", x, y),
        *with_interval("runs", x, y, ["run", "test"], "!datum.above", **looks),
    )
    return ChartPanel(heading, 22 * len(names), layers, {"runs": rows})


# groups ----------------------------------------------------------------------------------------


def subgroups_drawing(results: Results) -> Drawing:
    """Accuracy and NMAE of every run in every subgroup, best-served subgroups on top."""
    settings = results.settings
    panels = []
    for split in tested_splits(settings):
        names = results.group_names(split, SUBGROUPS)
        for metric in METRIC_NAMES:
            rows = [
                {
                    **run_row(run, settings), **estimate_row(estimate),
                    "subgroup": cell_label(name),
                    "without noise": estimate_words(
                        results.shrunk_group(run, split, SUBGROUPS, name, metric)
                    ),
                }
                for run in all_runs(settings)
                for name in names
                if (estimate := results.group(run, split, SUBGROUPS, name, metric)) is not None
                and estimate.exists
            ]  # fmt: skip
            if rows:
                panels.append(_heat_panel(results, rows, f"{METRICS[metric]}, {split}", metric))
    if not panels:
        return empty("The test split has no subgroups to compare.")
    note = (
        "Subgroups from best to worst served, by the mean over the language models' runs. Brighter "
        "is better in both. Point at a cell for its interval and n, and for the score without "
        "noise: drawn towards the mean of the subgroups by as much of it as is chance."
    )
    return Drawing(tuple(panels), 2, (note,), one_scale=False)


def _heat_panel(results: Results, rows: Sequence[Row], title: str, metric: str) -> ChartPanel:
    runs = [label(run, results.settings) for run in all_runs(results.settings)]
    ranked = {label(run, results.settings) for run in main_runs(results.settings)}
    totals: dict[str, list[float]] = {}
    for row in rows:
        if row["run"] in ranked:
            totals.setdefault(row["subgroup"], []).append(row["value"])
    sign = -1 if metric == "accuracy" else 1
    order = sorted(totals, key=lambda name: sign * sum(totals[name]) / len(totals[name]))
    reverse = metric != "accuracy"
    name = METRICS[metric]
    tilted = {"labelAngle": -50, "labelLimit": 150}
    cells = layer(
        "cells", "rect",
        x=nominal("run", title="run", scale={"domain": runs}, axis=tilted),
        y=rows_axis("subgroup", order, padding=0.02),
        color=number("value", name, scale={"scheme": HEAT, "reverse": reverse}),
        tooltip=tooltip("run", "subgroup", "shown", "interval", "without noise", "n", "missing"),
    )  # fmt: skip
    return ChartPanel(title, 15 * len(order), (cells,), {"cells": rows})


def groups_drawing(results: Results) -> Drawing:
    """Accuracy by group of each axis on the test splits: a panel a model."""
    settings = results.settings
    models = list(dict.fromkeys(model for model, _ in main_runs(settings)))
    panels = []
    for split in tested_splits(settings):
        for model in models:
            runs = [run for run in all_runs(settings) if run[0] == model]
            rows = _group_rows(results, split, runs)
            if rows:
                panels.append(_groups_panel(results, f"{model}, {split}", rows))
    if not panels:
        return empty("The test split has no subgroups to compare.")
    marks = "Hollow: base; filled: tuned. " if llm_runs(settings) else ""
    note = f"{marks}{interval_note(results)} Ochre: noise ceiling of the group."
    return Drawing(tuple(panels), 2, (note,))


def _group_rows(results: Results, split: str, runs: Sequence[ModelVariant]) -> list[Row]:
    """A row a run and group; one without a value holds the group's noise ceiling alone."""
    rows = []
    for level in results.levels(split):
        for group in results.group_names(split, level):
            ceiling = results.ceiling("noise_ceiling", split, "accuracy", level, group)
            name: Row = {"axis": results.settings.axes[level], "group": group}
            reachable = ceiling.value if ceiling is not None and ceiling.exists else None
            name |= {"ceiling": reachable, "row": f"{name['axis']}: {group}"}
            for run in runs:
                estimate = results.group(run, split, level, group, "accuracy")
                if estimate is not None and estimate.exists:
                    shown = {**run_row(run, results.settings), **estimate_row(estimate)}
                    rows.append({**name, **shown})
    return rows


def _groups_panel(results: Results, title: str, rows: Sequence[Row]) -> ChartPanel:
    keys = list(dict.fromkeys(row["row"] for row in rows))
    height = (ROW + 2) * len(keys)
    rows = _shifted(rows, height, len(keys))
    x, y = values_axis("accuracy", [0, 1]), rows_axis("row", keys)
    tick = {"type": "tick", "color": CEILING, "thickness": 2, "size": 15}
    layers = (
        layer("groups", tick, x=at(x, "ceiling"), y=y),
        *with_interval(
            "groups", x, y, ["run", "axis", "group"], IS_BASE,
            yOffset=shift(), **look(results.settings, rows),
        ),
    )  # fmt: skip
    return ChartPanel(title, height, layers, {"groups": rows})


def contrasts_drawing(results: Results) -> Drawing:
    """Accuracy of each axis' groups minus the rest, on the test splits: a panel a model."""
    settings = results.settings
    frame = results.contrasts
    is_shown = (frame["metric"] == "accuracy") & (frame["reading"] == "raw")
    is_shown &= (frame["other_group"] == "rest") & (frame["level"] != SUBGROUPS)
    panels = []
    for split in tested_splits(settings):
        contrasts = records(frame[is_shown & (frame["split"] == split)])
        for model in dict.fromkeys(model for model, _ in main_runs(settings)):
            rows = _contrast_rows(results, [row for row in contrasts if row["model"] == model])
            if rows:
                panels.append(_contrasts_panel(results, f"{model}, {split}", rows))
    if not panels:
        return empty("No axis has groups to compare on the test split.")
    level = settings.evaluation.confidence_level
    note = f"Filled mark: q < {1 - level:.2g}; hollow: a difference is not shown. "
    return Drawing(tuple(panels), 2, (note + interval_note(results),))


def _contrast_rows(results: Results, contrasts: Sequence[Row]) -> list[Row]:
    settings = results.settings
    level = settings.evaluation.confidence_level
    shown = set(main_runs(settings))
    return [
        {
            **run_row((str(row["model"]), str(row["variant"])), settings),
            **estimate_row(estimate := to_estimate(row)),
            "row": f"{settings.axes[str(row['level'])]}: {cell_label(str(row['group']))}",
            "test": tested(estimate),
            "clear": estimate.direction(level) != 0,
        }
        for row in contrasts
        if (str(row["model"]), str(row["variant"])) in shown and to_estimate(row).exists
    ]


def _contrasts_panel(results: Results, title: str, rows: Sequence[Row]) -> ChartPanel:
    keys = list(dict.fromkeys(row["row"] for row in rows))
    height = (ROW + 2) * len(keys)
    rows = _shifted(rows, height, len(keys))
    y = rows_axis("row", keys)
    x = number("value", "accuracy, minus that of the rest", axis={"tickCount": 5})
    marks = with_interval(
        "groups", x, y, ["run", "row", "test"], "!datum.clear",
        yOffset=shift(), **look(results.settings, rows),
    )  # fmt: skip
    return ChartPanel(title, height, (upright(0), *marks), {"groups": rows})


def _shifted(rows: Sequence[Row], height: int, n_rows: int) -> list[Row]:
    """Rows whose variants are a little apart from each other."""
    names = list(dict.fromkeys(row["variant"] for row in rows))
    shifts = dict(zip(names, spread(len(names), height, n_rows, gap=9), strict=True))
    return [{**row, "shift": shifts[row["variant"]]} for row in rows]
