"""What all figures share: style, panels of rows, notes, and drawing the same bytes twice."""

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valuestrata.report.results import Estimate, to_estimate
from valuestrata.report.runs import BASE, ModelVariant, llm_runs, variant_names
from valuestrata.report.settings import DisplaySettings

WIDTH = 9.0
"""Inches, at 72 points each; all figures are as wide."""
ROW = 0.235
"""Inches a row."""
INK, QUIET, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
BASE_COLOUR = "#7a7a7a"
DOUBTFUL = "#b5b5b5"
"""Of what should not be relied on."""
BASELINE_COLOUR = "#111111"
CEILING_COLOUR, CEILING_BAND = "#a07d00", "#f3e9c6"
# Okabe and Ito's palette, told apart by all common forms of colour vision
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "valuestrata",
    "text.parse_math": False,  # a $ in a group's label is a dollar
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
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
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.left": False,
    "lines.solid_capstyle": "butt",
}


@dataclass(frozen=True)
class Look:
    """Colour, marker and fill of a mark."""

    colour: str
    marker: str = "o"
    filled: bool = True

    @property
    def face(self) -> str:
        """Colour inside the mark."""
        return self.colour if self.filled else "white"


def draw(build: Callable[[], Figure]) -> str:
    """The figure as SVG text: same data, same bytes, whatever the machine's matplotlib settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        for key, value in STYLE.items():
            mpl.rcParams[key] = value
        figure = build()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def grid(
    panels: int, columns: int, rows: int, share: bool = True, height: float | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure of `panels` axes, each `rows` rows high (or `height` inches), left to right."""
    columns = min(columns, panels)
    lines = -(-panels // columns)
    panel_height = height if height is not None else rows * ROW + 0.75
    figure = Figure(figsize=(WIDTH, lines * panel_height + 0.75))
    axes = figure.subplots(lines, columns, sharey=share, squeeze=False).ravel().tolist()
    for empty in axes[panels:]:
        empty.set_visible(False)
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


def mark(axes: Axes, estimate: Estimate, y: float, look: Look, size: float = 5.5) -> None:
    """A mark at the estimate, and a line over its interval."""
    if not estimate.exists:
        return
    if estimate.has_interval:
        ends = [estimate.ci_low, estimate.ci_high]
        axes.plot(ends, [y, y], color=look.colour, lw=1.3, zorder=2)
    axes.plot(
        [estimate.value], [y], marker=look.marker, color=look.colour, ms=size, zorder=4,
        markerfacecolor=look.face, markeredgewidth=1.2, ls="none",
    )  # fmt: skip


def against_null(
    axes: Axes, row: dict[str, Any], y: float, look: Look, confidence_level: float
) -> None:
    """A grey bar from a null's mean to its 95th percentile, and the mark, filled if p is small."""
    estimate = to_estimate(row)
    mean, high = float(row["null_mean"]), float(row["null_p95"])
    if mean == mean:
        axes.barh(y, high - mean, left=mean, height=0.62, color=FAINT, lw=0, zorder=1)
        axes.plot([mean, mean], [y - 0.31, y + 0.31], color="#8c8c8c", lw=1.4, zorder=1)
    p = estimate.tested
    filled = p is not None and p < 1 - confidence_level
    mark(axes, estimate, y, Look(look.colour, look.marker, filled=filled))


def ceiling_band(axes: Axes, ceiling: Estimate | None) -> None:
    """A line through all rows at the noise ceiling, in a band over its interval."""
    if ceiling is not None and ceiling.exists:
        axes.axvspan(ceiling.ci_low, ceiling.ci_high, color=CEILING_BAND, lw=0, zorder=0)
        axes.axvline(ceiling.value, color=CEILING_COLOUR, lw=1.2, zorder=1)


def ceiling_tick(axes: Axes, ceiling: Estimate | None, y: float) -> None:
    """The same in one row alone."""
    if ceiling is not None and ceiling.exists:
        width, low, value = ceiling.ci_high - ceiling.ci_low, ceiling.ci_low, ceiling.value
        axes.barh(y, width, left=low, height=0.7, color=CEILING_BAND, zorder=0.5)
        axes.plot([value, value], [y - 0.35, y + 0.35], color=CEILING_COLOUR, lw=1.2)


def beside(axes: Axes, y: float, text: str, colour: str = QUIET) -> None:
    """Small text to the right of a row."""
    transform = axes.get_yaxis_transform()
    axes.text(1.02, y, text, transform=transform, va="center", fontsize=7.5, color=colour)


def name_rows(axes: Axes, names: Sequence[str], rows: Sequence[float]) -> None:
    """Label the rows, first on top, and leave half a row above and below."""
    axes.set_yticks(list(rows), list(names))
    axes.set_ylim(max(rows) + 0.7, min(rows) - 0.7)


def look_of(run: ModelVariant, settings: DisplaySettings) -> Look:
    """Hollow grey for base, colours for tuned variants, black diamonds for baselines."""
    model, variant = run
    if model in settings.baselines:
        return Look(BASELINE_COLOUR, "D")
    if variant == BASE:
        return Look(BASE_COLOUR, "o", filled=False)
    # all folds of a k-fold recipe look alike
    folds = settings.fold_recipes.items()
    recipe = next((name for name, names in folds if variant in names), variant)
    return Look(PALETTE[(variant_names(settings).index(recipe) - 1) % len(PALETTE)])


def rows_of(runs: Sequence[ModelVariant]) -> list[float]:
    """The y of each run's row: a little apart from another model's."""
    rows: list[float] = []
    for i, (model, _) in enumerate(runs):
        step = 0.0 if not i else 1.0 if runs[i - 1][0] == model else 1.35
        rows.append((rows[-1] if rows else 0.0) + step)
    return rows


def marks_note(settings: DisplaySettings) -> str:
    """What the marks of a figure of all runs are."""
    if not llm_runs(settings):
        return "Diamond: baseline."
    return "Hollow: base; filled: tuned; diamond and dotted: baseline."


def interval_note(settings: DisplaySettings) -> str:
    """What the lines through marks are."""
    return f"Lines: {settings.evaluation.confidence_level:.0%} intervals, questions resampled."
