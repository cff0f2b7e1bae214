"""What all charts share: panels of Vega-Lite, colour and shape of runs, marks with intervals.

A figure is defined once. The page embeds its panels as Vega-Lite, laid out as its width allows;
SVG, PNG and PDF are drawn from the same panels, side by side, without a browser.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.report.phrases import count, decimal, percent
from valuestrata.report.results import Estimate
from valuestrata.report.runs import BASE, ModelVariant, label, variant_names
from valuestrata.report.settings import DisplaySettings

Row = dict[str, Any]
Layer = dict[str, Any]
"""A layer of Vega-Lite; its data are named, and the panel holds them."""

ROW = 24
"""Pixels a row."""
PADDING = 0.25
"""Share of a row that is between it and the next."""
FONT = 'system-ui, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", Arial, sans-serif'
# Okabe and Ito's palette, told apart by all common forms of colour vision; black left out
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHAPES = ("circle", "square", "triangle-up", "cross", "triangle-down", "triangle-right")
INK, QUIET, GRID, PAPER = "#1d1f21", "#5c6166", "#dfe2e6", "#ffffff"
"""Colours of text, small text, grid lines and background, which the page turns into its own."""
GREY = "#7d848c"
"""Base models, baselines and lines: it can be seen on white and on black."""
CEILING = "#b58900"
BASELINE = "baseline"
HEAT = "cividis"


@dataclass(frozen=True)
class ChartPanel:
    """One chart of a figure, as wide as its place is.

    Attributes:
        title: what it shows, above it.
        height: in pixels.
        layers: from back to front.
        data: rows by the names that layers call them by.
    """

    title: str
    height: int
    layers: tuple[Layer, ...]
    data: Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Drawing:
    """The panels of a figure, so many side by side where there is room, and notes below it.

    `one_scale`: whether colours mean the same in all panels.
    """

    panels: tuple[ChartPanel, ...]
    columns: int = 2
    notes: tuple[str, ...] = ()
    one_scale: bool = True


def empty(sentence: str) -> Drawing:
    """A figure that has nothing to show, and says why."""
    return Drawing((), 1, (sentence,))


def config(is_page: bool = True) -> dict[str, Any]:
    """The look of all charts, as Vega-Lite's `config`; the page's colours are its variables."""
    ink, quiet, line = INK, QUIET, GRID
    if is_page:
        ink, quiet, line = "var(--ink)", "var(--quiet)", "var(--line)"
    axis = {
        "labelColor": ink, "titleColor": quiet, "gridColor": line, "tickColor": quiet,
        "domainColor": quiet, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 400,
        "labelLimit": 200,
    }  # fmt: skip
    return {
        "background": None,
        "font": FONT,
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"grid": False, "domain": False, "ticks": False, "labelPadding": 8},
        "legend": {
            "labelColor": ink, "titleColor": quiet, "labelFontSize": 12, "titleFontSize": 12,
            "orient": "top", "titleFontWeight": 400, "symbolSize": 90, "labelLimit": 240,
        },
        "title": {"color": ink, "subtitleColor": quiet, "fontSize": 13, "anchor": "start",
                  "frame": "group", "fontWeight": 600},
        "text": {"fill": quiet, "fontSize": 11.5},
        "point": {"size": 75, "strokeWidth": 1.8},
    }  # fmt: skip


# runs ------------------------------------------------------------------------------------------


def variant_of(run: ModelVariant, settings: DisplaySettings) -> str:
    """What tells the marks of a model apart: base, a recipe, or that it is a baseline."""
    model, variant = run
    if model in settings.baselines:
        return BASELINE
    folds = settings.fold_recipes.items()
    return next((name for name, names in folds if variant in names), variant)


def look(settings: DisplaySettings, rows: Iterable[Row]) -> dict[str, Row]:
    """Colour and shape by variant: grey circles for base, grey diamonds for baselines."""
    shown = {row["variant"] for row in rows}
    tuned = [name for name in variant_names(settings) if name != BASE]
    looks = {BASE: (GREY, "circle"), BASELINE: (GREY, "diamond")}
    for i, name in enumerate(tuned):
        looks[name] = (PALETTE[i % len(PALETTE)], SHAPES[(i + 1) % len(SHAPES)])
    names = [name for name in [BASE, *tuned, BASELINE] if name in shown]
    legend = {"title": None} if len(names) > 1 else None
    channels = {}
    for i, channel in enumerate(("color", "shape")):
        scale = {"domain": names, "range": [looks[name][i] for name in names]}
        channels[channel] = nominal("variant", scale=scale, legend=legend)
    return channels


def run_row(run: ModelVariant, settings: DisplaySettings) -> Row:
    """What every mark of a run says of it."""
    return {"run": label(run, settings), "model": run[0], "variant": variant_of(run, settings)}


def estimate_row(estimate: Estimate, rate: bool = False) -> Row:
    """An estimate's fields: value, ends of its interval, and both in words for the tooltip."""
    write = percent if rate else decimal
    ends = (estimate.ci_low, estimate.ci_high)
    interval = f"[{', '.join(map(write, ends))}]" if estimate.has_interval else "none"
    low, high = ends if estimate.has_interval else (None, None)
    return {
        "value": estimate.value, "low": low, "high": high, "shown": write(estimate.value),
        "interval": interval, "n": count(estimate.n), "missing": count(estimate.missing),
    }  # fmt: skip


def estimate_words(estimate: Estimate | None) -> str:
    """`0.312 [0.201, 0.420]`, or that there is no estimate."""
    if estimate is None or not estimate.exists:
        return "not estimated"
    row = estimate_row(estimate)
    return f"{row['shown']} {row['interval']}" if estimate.has_interval else str(row["shown"])


def spread(n: int, height: int, n_rows: int, gap: float) -> list[float]:
    """The `shift` of each of the n marks of a row, around its middle and this far apart."""
    band = (1 - PADDING) * height / (n_rows + PADDING)
    return [band / 2 + (i - (n - 1) / 2) * gap for i in range(n)]


def rounded(rows: Iterable[Row]) -> list[Row]:
    """Rows whose numbers have five digits, as nobody sees a sixth; null for NaN."""
    return [{key: _rounded(value) for key, value in row.items()} for row in rows]


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if value != value else float(f"{value:.5g}")


# layers and channels ---------------------------------------------------------------------------

POINT: Row = {"type": "point", "filled": True, "opacity": 1}
ESTIMATE = ("shown", "interval", "n", "missing")
TITLES = {"shown": "value"}


def layer(data: str, mark: str | Row, **encoding: Any) -> Layer:
    """A layer of one mark."""
    return {"data": {"name": data}, "mark": mark, "encoding": encoding}


def number(field: str, title: str | None = None, **options: Any) -> Row:
    """A channel of numbers."""
    return {"field": field, "type": "quantitative", "title": title, **options}


def nominal(field: str, **options: Any) -> Row:
    """A channel of names, in the order in which they come."""
    return {"field": field, "type": "nominal", "sort": None, **options}


def at(channel: Row, field: str) -> Row:
    """The same channel of another field; a panel's axis has one title this way."""
    return {**channel, "field": field}


def place(field: str) -> Row:
    """The other end of a bar or line."""
    return {"field": field}


def shift() -> Row:
    """The field `shift`: pixels down from the upper edge of a row's band."""
    return {"field": "shift", "type": "quantitative", "scale": None}


def tooltip(*fields: str) -> list[Row]:
    """Fields as they are shown when a mark is pointed at."""
    return [nominal(name, title=TITLES.get(name, name)) for name in fields]


def rows_axis(field: str, names: Sequence[str], padding: float = PADDING) -> Row:
    """Rows by name, in this order, with this share of a row between them."""
    scale = {"domain": list(names), "paddingInner": padding, "paddingOuter": padding}
    return nominal(field, scale=scale, title=None)


def values_axis(title: str, domain: Sequence[float] | None = None) -> Row:
    """The axis of values, from 0 or over `domain`."""
    scale = {"domain": list(domain)} if domain else {"zero": True, "nice": True}
    return number("value", title, scale=scale, axis={"tickCount": 5})


def points(hollow: str = "", **look: Any) -> Row:
    """Channels of marks: filled, but for those where a Vega expression over `datum` holds."""
    channels = {key: value for key, value in look.items() if key != "color"}
    if hollow:
        channels["fillOpacity"] = {"condition": {"test": hollow, "value": 0}, "value": 1}
    return {**channels, "fill": look["color"], "stroke": look["color"]}


def with_interval(
    data: str, x: Row, y: Row, fields: Sequence[str], hollow: str = "", **look: Any
) -> list[Layer]:
    """Lines over intervals, and marks on them; those where `hollow` holds are not filled."""
    line = {key: value for key, value in look.items() if key != "shape"}
    shown = {"x": x, "y": y, "tooltip": tooltip(*fields, *ESTIMATE), **points(hollow, **look)}
    ends = {"x": at(x, "low"), "x2": place("high"), "y": y}
    return [
        layer(data, {"type": "rule", "strokeWidth": 1.6}, **ends, **line),
        layer(data, POINT, **shown),
    ]


def beside(data: str, x: Row, y: Row, **channels: Any) -> Layer:
    """The field `text` to the right of each row's mark, where the field `end` says."""
    mark = {"type": "text", "align": "left", "dx": 9}
    return layer(data, mark, x=at(x, "end"), y=y, text={"field": "text"}, **channels)


def null_bars(data: str, x: Row, y: Row) -> Layer:
    """A grey bar a row, from a null's mean to its 95th percentile."""
    mark = {"type": "bar", "height": 13, "color": GREY, "opacity": 0.25}
    return layer(data, mark, x=at(x, "mean"), x2=place("p95"), y=y)


def upright(value: float, colour: str = GREY, dash: Sequence[int] = ()) -> Layer:
    """A line through all rows."""
    mark = {"type": "rule", "color": colour, "strokeDash": list(dash)}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": {"x": {"datum": value}}}


def band(low: float, high: float, colour: str) -> Layer:
    """A band behind all rows."""
    mark = {"type": "rect", "color": colour, "opacity": 0.16}
    ends = {"x": {"datum": low, "type": "quantitative"}, "x2": {"datum": high}}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": ends}


# figures as text ------------------------------------------------------------------------------


def page_specs(drawing: Drawing) -> list[Row]:
    """A specification a panel, as wide as the page makes it."""
    fit = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    return [
        {
            **fit, "height": panel.height, "title": panel.title,
            "datasets": {name: rounded(rows) for name, rows in panel.data.items()},
            "layer": _with_rows(panel),
        }
        for panel in drawing.panels
    ]  # fmt: skip


def file_spec(drawing: Drawing, title: str, caveat: str, width: int = 900) -> Row:
    """One specification of the whole figure, for a file: its title, notes and caveat are in it."""
    notes = [*drawing.notes, *([f"{caveat[0].upper()}{caveat[1:]}."] if caveat else [])]
    lines = [line for note in notes for line in textwrap.wrap(note, 140)]
    heading = {"text": title, "subtitle": lines, "fontSize": 16, "subtitleFontSize": 11}
    columns = min(drawing.columns, max(1, len(drawing.panels)))
    datasets: dict[str, list[Row]] = {}
    panels: list[Row] = []
    for i, panel in enumerate(drawing.panels):
        datasets |= {f"{i} {name}": rounded(rows) for name, rows in panel.data.items()}
        layers = [_renamed(part, f"{i} ") for part in _with_rows(panel)]
        size = {"width": width // columns, "height": panel.height, "title": panel.title}
        panels.append({**size, "layer": layers})
    resolve = {"scale": {"color": "shared" if drawing.one_scale else "independent"}}
    blank = {"data": {"values": []}, "mark": "point", "width": width, "height": 1}
    return {
        "title": {**heading, "offset": 18}, "datasets": datasets, "columns": columns,
        "concat": panels or [blank], "spacing": 36, "resolve": resolve,
        "config": {**config(is_page=False), "background": PAPER},
    }  # fmt: skip


def _with_rows(panel: ChartPanel) -> list[Layer]:
    """The layers that have something to show; all where none has."""
    empty_data = {name for name, rows in panel.data.items() if not rows}
    layers = [part for part in panel.layers if part["data"].get("name") not in empty_data]
    return layers or list(panel.layers)


def _renamed(part: Layer, prefix: str) -> Layer:
    name = part["data"].get("name")
    return {**part, "data": {"name": prefix + name}} if name else part
