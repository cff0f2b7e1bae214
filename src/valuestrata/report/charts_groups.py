"""Charts of subgroups: the fairness plane, inequality and its null, the heat map, axes' groups."""

from collections.abc import Sequence
from math import atan2, degrees
from typing import Any

from valuestrata.io import records
from valuestrata.report.charts import (
    CEILING,
    GREY,
    HEAT,
    POINT,
    ROW,
    ChartPanel,
    Drawing,
    Layer,
    Row,
    at,
    empty,
    estimate_row,
    layer,
    look,
    nominal,
    null_bars,
    number,
    place,
    points,
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
from valuestrata.report.results import SUBGROUPS, Results, cell_label, to_estimate
from valuestrata.report.runs import (
    BASE,
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


# the plane -------------------------------------------------------------------------------------


def plane_drawing(results: Results) -> Drawing:
    """Inequality of accuracy against that of NMAE: raw, and as a share of the null's reach."""
    settings = results.settings
    panels = []
    for split in tested_splits(settings):
        for statistic, title in STATISTICS.items():
            runs = _points(results, split, statistic)
            if not runs:
                continue
            for is_net, name in ((False, title), (True, f"{title} against its null")):
                panels.append(_plane(results, runs, is_net, f"{name}, {split}"))
    if not panels:
        return empty("Inequality was not measured on the test split.")
    notes = (
        "Left: the statistics themselves. Right: 0 is the null's mean and 1 its 95th percentile, "
        "run by run; within the grey square neither is above its null.",
    )
    return Drawing(tuple(panels), 2, notes)


def _points(results: Results, split: str, statistic: str) -> list[Row]:
    rows_of_runs = []
    for run in all_runs(results.settings):
        rows = [results.inequality(run, split, metric, statistic) for metric in METRIC_NAMES]
        if any(row is None or not to_estimate(row).exists for row in rows):
            continue
        x, y = (row for row in rows if row is not None)
        rows_of_runs.append(
            {
                **run_row(run, results.settings), "x": float(x["value"]), "y": float(y["value"]),
                "x_net": _net(x), "y_net": _net(y),
                "accuracy": _in_words(x), "NMAE": _in_words(y),
            }
        )  # fmt: skip
    return rows_of_runs


def _net(row: dict[str, Any]) -> float:
    """0 at the null's mean, 1 at its 95th percentile."""
    reach = float(row["null_p95"]) - float(row["null_mean"])
    return (float(row["value"]) - float(row["null_mean"])) / reach if reach > 0 else float("nan")


def _in_words(row: dict[str, Any]) -> str:
    estimate = to_estimate(row)
    return f"{estimate.value:.3f}, null {float(row['null_mean']):.3f}, {tested(estimate)}"


def _plane(results: Results, runs: Sequence[Row], is_net: bool, title: str) -> ChartPanel:
    ends = ("x_net", "y_net") if is_net else ("x", "y")
    what = title.rsplit(",", 1)[0]
    scale = {"zero": True, "nice": True, "padding": 14}
    axis = {"grid": True, "domain": True, "tickCount": 5}
    x, y = (
        number(end, f"{what}: {metric}", scale=scale, axis=axis)
        for end, metric in zip(ends, METRIC_NAMES.values(), strict=True)
    )
    arrows = _arrows(runs, *ends)
    line = {"type": "rule", "color": GREY, "strokeWidth": 1.5}
    head = {"type": "point", "shape": "triangle-up", "filled": True, "color": GREY, "opacity": 1}
    looks = points(IS_BASE, **look(results.settings, runs))
    shown = {"x": x, "y": y, "tooltip": tooltip("run", *METRIC_NAMES.values()), **looks}
    name = {"type": "text", "align": "left", "dx": 8, "dy": -7}
    to = {"x2": place("x2"), "y2": place("y2")}
    turned = {"field": "angle", "type": "quantitative", "scale": None}
    layers = [
        *([SQUARE] if is_net else []),
        layer("arrows", line, x=at(x, "x1"), y=at(y, "y1"), **to),
        layer("arrows", head, x=at(x, "x"), y=at(y, "y"), angle=turned),
        layer("runs", POINT, **shown),
        layer("named", name, x=x, y=y, text={"field": "model"}),
    ]
    named = [run for run in runs if run["variant"] != BASE]
    return ChartPanel(title, 300, tuple(layers), {"runs": runs, "named": named, "arrows": arrows})


SQUARE: Layer = {
    "data": {"values": [{}]},
    "mark": {"type": "rect", "color": GREY, "opacity": 0.2},
    "encoding": {
        "x": {"datum": 0, "type": "quantitative"},
        "x2": {"datum": 1},
        "y": {"datum": 0, "type": "quantitative"},
        "y2": {"datum": 1},
    },
}
"""Where neither metric's inequality is above its null."""


def _arrows(runs: Sequence[Row], x: str, y: str) -> list[Row]:
    """From each model's base to its variants: both ends, the middle, and the angle of its head."""
    bases = {point["model"]: point for point in runs if point["variant"] == BASE}
    pairs = [(bases[p["model"]], p) for p in runs if p["model"] in bases and p["variant"] != BASE]
    arrows = []
    for base, tuned in pairs:
        across = (tuned[x] - base[x]) / _reach(runs, x)
        up = (tuned[y] - base[y]) / _reach(runs, y)
        arrows.append(
            {
                "x1": base[x], "y1": base[y], "x2": tuned[x], "y2": tuned[y],
                "x": (base[x] + tuned[x]) / 2, "y": (base[y] + tuned[y]) / 2,
                # clockwise from upward, as both axes are drawn about equally long
                "angle": degrees(atan2(across, up)),
            }
        )  # fmt: skip
    return arrows


def _reach(runs: Sequence[Row], field: str) -> float:
    values = [run[field] for run in runs]
    return (max(values) - min(values)) or 1.0


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
                    **run_row(run, settings), **estimate_row(estimate), "subgroup": cell_label(name)
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
        "is better in both. Point at a cell for its interval and n."
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
        tooltip=tooltip("run", "subgroup", "shown", "interval", "n", "missing"),
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
