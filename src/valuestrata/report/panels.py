"""Drawing with matplotlib: the style, panels, notes, and the same bytes for the same data."""

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valuestrata.report.charts import GREY, GRID, INK, PALETTE, PAPER, QUIET, variant_of
from valuestrata.report.runs import BASE, ModelVariant, variant_names
from valuestrata.report.settings import DisplaySettings

WIDTH = 9.0
"""Inches, at 72 points each; all figures are as wide."""
LINES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "valuestrata",
    "text.parse_math": False,  # a $ in a group's label is a dollar
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def draw(build: Callable[[], Figure]) -> str:
    """The figure as SVG text: same data, same bytes, whatever the machine's settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        for key, value in STYLE.items():
            mpl.rcParams[key] = value
        figure = build()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def grid(panels: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `panels` axes, each `height` inches high, left to right."""
    columns = min(columns, panels)
    lines = -(-panels // columns)
    figure = Figure(figsize=(WIDTH, lines * height + 0.75))
    axes = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for blank in axes[panels:]:
        blank.set_visible(False)
    return figure, axes[:panels]


def finish(figure: Figure, title: str, notes: Sequence[str], caveat: str) -> Figure:
    """Put the title above and, in small print below, the notes and the caveat."""
    figure.suptitle(title, x=0.005, ha="left", fontsize=11.5, fontweight="bold")
    lines = [*notes, *([f"{caveat[0].upper()}{caveat[1:]}."] if caveat else [])]
    wrapped = [line for note in lines for line in textwrap.wrap(note, 150)]
    figure.supxlabel("\n".join(wrapped), x=0.005, ha="left", fontsize=7.5, color=QUIET)
    return figure


def empty_figure(title: str, sentence: str, caveat: str) -> Figure:
    """A small panel that says why there is nothing to draw."""
    figure = Figure(figsize=(WIDTH, 1.3))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.0, 0.5, sentence, va="center", color=QUIET)
    return finish(figure, title, [], caveat)


def line_of(run: ModelVariant, settings: DisplaySettings) -> tuple[str, Any]:
    """Colour and dashes of a run's line; all folds of a k-fold recipe look alike."""
    variant = variant_of(run, settings)
    if variant == BASE:
        return GREY, LINES[0]
    place = variant_names(settings).index(variant) - 1
    return PALETTE[place % len(PALETTE)], LINES[place % len(LINES)]
