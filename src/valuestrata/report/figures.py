"""The report's figures: one definition each, for the page and as SVG, PNG and PDF files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import vl_convert

from valuestrata.report.captions import FIGURES
from valuestrata.report.charts import Drawing, file_spec, page_specs
from valuestrata.report.charts_groups import (
    contrasts_drawing,
    fairness_drawing,
    groups_drawing,
    subgroups_drawing,
)
from valuestrata.report.charts_plane import plane_drawing
from valuestrata.report.charts_runs import metric_drawing, refusals_drawing, win_rates_drawing
from valuestrata.report.charts_survey import agreement_drawing, diversity_drawing, map_drawing
from valuestrata.report.figures_training import Logs, training_figure
from valuestrata.report.panels import draw
from valuestrata.report.results import Results

DRAWINGS: Mapping[str, Callable[[Results], Drawing]] = {
    "accuracy": partial(metric_drawing, metric="accuracy"),
    "nmae": partial(metric_drawing, metric="nmae"),
    "wasserstein": partial(metric_drawing, metric="wasserstein"),
    "refusals": refusals_drawing,
    "plane": plane_drawing,
    "fairness": fairness_drawing,
    "contrasts": contrasts_drawing,
    "subgroups": subgroups_drawing,
    "groups": groups_drawing,
    "win_rates": win_rates_drawing,
    "diversity": diversity_drawing,
    "map": map_drawing,
    "agreement": agreement_drawing,
}
"""Figures whose panels the page draws."""


@dataclass(frozen=True)
class DrawnFigure:
    """A figure's files by format, and what the page draws it from.

    `panels` are Vega-Lite, none where the page shows the SVG as it is.
    """

    files: Mapping[str, bytes]
    columns: int = 1
    panels: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


def draw_figures(results: Results, logs: Logs) -> dict[str, DrawnFigure]:
    """Every figure by name."""
    drawn = {name: _drawn(name, build(results), results) for name, build in DRAWINGS.items()}
    # thousands of steps are no data to carry in a page, so this one is a drawing there, too
    training = draw(lambda: training_figure(results.settings, logs))
    return {**drawn, "training": DrawnFigure(_files(training))}


def _drawn(name: str, drawing: Drawing, results: Results) -> DrawnFigure:
    spec = file_spec(drawing, FIGURES[name][0], results.settings.caveat)
    files = _files(vl_convert.vegalite_to_svg(spec))
    return DrawnFigure(files, drawing.columns, tuple(page_specs(drawing)), drawing.notes)


def _files(svg: str) -> dict[str, bytes]:
    png, pdf = vl_convert.svg_to_png(svg, scale=2), vl_convert.svg_to_pdf(svg)
    return {"svg": svg.encode(), "png": png, "pdf": pdf}
