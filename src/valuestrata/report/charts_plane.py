"""The fairness plane: inequality of accuracy against that of NMAE, and where the null lies."""

from collections.abc import Sequence
from math import atan2, degrees, isfinite
from typing import Any

from valuestrata.report.charts import (
    GREY,
    POINT,
    ChartPanel,
    Drawing,
    Layer,
    Row,
    at,
    empty,
    estimate_words,
    layer,
    look,
    number,
    place,
    points,
    run_row,
    tooltip,
)
from valuestrata.report.charts_runs import IS_BASE
from valuestrata.report.phrases import METRIC_NAMES, STATISTICS, tested
from valuestrata.report.results import Results, corrected, to_estimate
from valuestrata.report.runs import BASE, all_runs, tested_splits

NET = "_net"
READINGS = {"": "", "_corrected": " without noise", NET: " against its null"}
"""Of a statistic of inequality: a field's ending, and what a panel's title adds."""


def plane_drawing(results: Results) -> Drawing:
    """Inequality of accuracy against that of NMAE: raw, without noise, and against its null."""
    settings = results.settings
    panels = []
    for split in tested_splits(settings):
        for statistic, title in STATISTICS.items():
            runs = _points(results, split, statistic)
            if not runs:
                continue
            for reading, words in READINGS.items():
                ends = (f"x{reading}", f"y{reading}")
                shown = [run for run in runs if all(isfinite(run[end]) for end in ends)]
                if shown:
                    panels.append(_plane(results, shown, ends, f"{title}{words}, {split}"))
    if not panels:
        return empty("Inequality was not measured on the test split.")
    notes = (
        "Left: the statistics as observed. Middle: what is left of them without sampling noise, "
        "where that can be estimated. Right: 0 is the null's mean and 1 its 95th percentile, run "
        "by run; within the grey square neither is above its null.",
    )
    return Drawing(tuple(panels), len(READINGS), notes)


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
                "x_corrected": corrected(x).value, "y_corrected": corrected(y).value,
                f"x{NET}": _net(x), f"y{NET}": _net(y),
                "accuracy": _in_words(x), "NMAE": _in_words(y),
            }
        )  # fmt: skip
    return rows_of_runs


def _net(row: dict[str, Any]) -> float:
    """0 at the null's mean, 1 at its 95th percentile."""
    reach = float(row["null_p95"]) - float(row["null_mean"])
    return (float(row["value"]) - float(row["null_mean"])) / reach if reach > 0 else float("nan")


def _in_words(row: dict[str, Any]) -> str:
    return (
        f"{float(row['value']):.3f}, null {float(row['null_mean']):.3f}, "
        f"{tested(to_estimate(row))}; without noise {estimate_words(corrected(row))}"
    )


def _plane(results: Results, runs: Sequence[Row], ends: tuple[str, str], title: str) -> ChartPanel:
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
    to = {"x2": place("x2"), "y2": place("y2")}
    turned = {"field": "angle", "type": "quantitative", "scale": None}
    layers = [
        *([SQUARE] if ends[0].endswith(NET) else []),
        layer("arrows", line, x=at(x, "x1"), y=at(y, "y1"), **to),
        layer("arrows", head, x=at(x, "x"), y=at(y, "y"), angle=turned),
        layer("runs", POINT, **shown),
        *(layer(side, {"type": "text", **SIDES[side]}, x=x, y=y, text=NAME) for side in SIDES),
    ]
    named = _named(runs, *ends)
    return ChartPanel(title, 300, tuple(layers), {"runs": runs, "arrows": arrows, **named})


NAME = {"field": "model"}
SIDES: dict[str, dict[str, Any]] = {
    "right above": {"align": "left", "dx": 8, "dy": -7},
    "right below": {"align": "left", "dx": 8, "dy": 11},
    "left above": {"align": "right", "dx": -8, "dy": -7},
    "left below": {"align": "right", "dx": -8, "dy": 11},
}
"""Where a name may stand beside its point, in pixels."""
LETTER, LINE, MARK = 6.0, 13.0, 12.0
"""About how wide a letter is, how high a line and how large a point, in pixels."""
Box = tuple[float, float, float, float]


def _named(runs: Sequence[Row], x: str, y: str) -> dict[str, list[Row]]:
    """Runs by the side on which their name covers least of other names and points."""
    inner = 260.0  # of a panel, without the margin that its scales keep free
    low = [min(run[field] for run in runs) for field in (x, y)]
    at_pixel = [
        (
            (run[x] - low[0]) / _reach(runs, x) * inner,
            -(run[y] - low[1]) / _reach(runs, y) * inner,
        )
        for run in runs
    ]
    taken: list[Box] = [
        (a - MARK / 2, b - MARK / 2, a + MARK / 2, b + MARK / 2) for a, b in at_pixel
    ]
    named: dict[str, list[Row]] = {side: [] for side in SIDES}
    for run, (across, down) in zip(runs, at_pixel, strict=True):
        if run["variant"] == BASE:
            continue
        boxes = {side: _box(str(run["model"]), across, down, **SIDES[side]) for side in SIDES}
        side = min(boxes, key=lambda each: sum(_overlap(boxes[each], other) for other in taken))
        taken.append(boxes[side])
        named[side].append(run)
    return named


def _box(name: str, across: float, down: float, align: str, dx: float, dy: float) -> Box:
    """What a name takes up: left, top, right, bottom, in pixels."""
    width = LETTER * len(name)
    left = across + dx - (width if align == "right" else 0)
    return left, down + dy - LINE / 2, left + width, down + dy + LINE / 2


def _overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


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
