"""Figures of subgroups: inequality against its null, and scores by group."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valuestrata.report.captions import FIGURES
from valuestrata.report.panels import (
    QUIET,
    against_null,
    beside,
    ceiling_tick,
    empty_figure,
    finish,
    grid,
    interval_note,
    look_of,
    mark,
    name_rows,
    rows_of,
)
from valuestrata.report.phrases import METRIC_NAMES, STATISTICS
from valuestrata.report.results import Results, to_estimate
from valuestrata.report.runs import (
    BASE,
    ModelVariant,
    all_runs,
    label,
    llm_runs,
    main_runs,
    tested_splits,
)

GroupRow = tuple[str, str, float]
"""Axis, group and y; a heading row has the group ''."""


def fairness_figure(results: Results) -> Figure:
    """Norm.Range and CV of accuracy and NMAE over subgroups, each beside its null."""
    settings = results.settings
    level = settings.evaluation.confidence_level
    runs = all_runs(settings)
    rows = rows_of(runs)
    keys = [(s, m, t) for s in tested_splits(settings) for m in METRIC_NAMES for t in STATISTICS]
    figure, panels = grid(len(keys), 2, len(runs) + 1)
    for axes, (split, metric, statistic) in zip(panels, keys, strict=True):
        for run, y in zip(runs, rows, strict=True):
            row = results.inequality(run, split, metric, statistic)
            if row is None or not to_estimate(row).exists:
                beside(axes, y, "no value")
                continue
            against_null(axes, row, y, look_of(run, settings), level)
            p = to_estimate(row).tested
            beside(axes, y, "" if p is None else "p < .001" if p < 0.0005 else f"p {p:.3f}"[:7])
        name_rows(axes, [label(run, settings) for run in runs], rows)
        axes.set_title(f"{STATISTICS[statistic]} of {METRIC_NAMES[metric]}, {split}")
        axes.set_xlim(left=0)
    note = (
        "Grey bar: null of equal groups, from its mean (dark edge) to its 95th percentile. "
        f"Filled mark: p < {1 - level:.2g}. {interval_note(settings)}"
    )
    return finish(figure, FIGURES["fairness"][0], [note], settings.caveat)


def groups_figure(results: Results) -> Figure:
    """Accuracy by group of each axis on the test splits, a panel a model, its variants in it."""
    settings = results.settings
    title = FIGURES["groups"][0]
    models = list(dict.fromkeys(model for model, _ in main_runs(settings)))
    splits = [split for split in tested_splits(settings) if results.levels(split)]
    if not splits:
        reason = "The test split has no subgroups to compare."
        return empty_figure(title, reason, settings.caveat)
    rows = {split: _group_rows(results, split) for split in splits}
    height = max(split_rows[-1][2] for split_rows in rows.values())
    keys = [(split, model) for split in splits for model in models]
    columns = 2 if len(keys) < 5 else 3
    figure, panels = grid(len(keys), columns, int(height) + 2, share=len(splits) == 1)
    for axes, (split, model) in zip(panels, keys, strict=True):
        runs = [run for run in all_runs(settings) if run[0] == model]
        for level, group, y in rows[split]:
            if group:
                ceiling = results.ceiling("noise_ceiling", split, "accuracy", level, group)
                ceiling_tick(axes, ceiling, y)
                _draw_group(axes, results, runs, split, (level, group, y))
        named = [(group, y) for _, group, y in rows[split] if group]
        name_rows(axes, [group for group, _ in named], [y for _, y in named])
        axes.set_ylim(rows[split][-1][2] + 0.7, -0.7)
        _name_axes(axes, [(settings.axes[a], y) for a, group, y in rows[split] if not group])
        axes.set_title(model if len(splits) == 1 else f"{model}, {split}")
        axes.set_xlabel("accuracy")
        axes.set_xlim(0, 1)
        if llm_runs(settings):  # a baseline has no variants to tell apart
            _name_variants(axes, results, runs, split, rows[split])
    marks = "Hollow: base; filled: tuned. " if llm_runs(settings) else ""
    note = (
        f"Split: {', '.join(splits)}. {interval_note(settings)} {marks}"
        "Ochre: noise ceiling of the group with its interval."
    )
    return finish(figure, title, [note], settings.caveat)


def _group_rows(results: Results, split: str) -> list[GroupRow]:
    """Rows from the top, each axis under a heading row."""
    rows: list[GroupRow] = []
    y = 0.0
    for level in results.levels(split):
        for group in ["", *results.group_names(split, level)]:
            rows.append((level, group, y))
            y += 1.0
        y += 0.25
    return rows


def _name_axes(axes: Axes, heads: list[tuple[str, float]]) -> None:
    """Write each axis' label over its groups' names, left of the first panel of a line."""
    place = axes.get_subplotspec()
    if place is not None and place.is_first_col():
        for text, y in heads:
            transform = axes.get_yaxis_transform()
            style: Any = {"fontsize": 8, "fontweight": "bold", "color": QUIET}
            axes.text(-0.02, y, text, transform=transform, ha="right", va="center", **style)


def _draw_group(
    axes: Axes, results: Results, runs: list[ModelVariant], split: str, row: GroupRow
) -> None:
    """One row: a variant's mark each, a little apart, base and tuned joined."""
    level, group, y = row
    estimates = {run: results.group(run, split, level, group, "accuracy") for run in runs}
    step = 0.3 / max(1, len(runs) - 1)
    base = next((estimate for run, estimate in estimates.items() if run[1] == BASE), None)
    for i, (run, estimate) in enumerate(estimates.items()):
        if estimate is None or not estimate.exists:
            continue
        shifted = y + (i * step - 0.15 if len(runs) > 1 else 0.0)
        if run[1] != BASE and base is not None and base.exists:
            values = [base.value, estimate.value]
            axes.plot(values, [y - 0.15, shifted], color="#c4c4c4", lw=0.9, zorder=1)
        mark(axes, estimate, shifted, look_of(run, results.settings), size=4.2)


def _name_variants(
    axes: Axes, results: Results, runs: list[ModelVariant], split: str, rows: list[GroupRow]
) -> None:
    """Write each variant's name over its mark, in the heading's row."""
    level, group, _ = next(row for row in rows if row[1])
    estimates = [(run, results.group(run, split, level, group, "accuracy")) for run in runs]
    placed = [(e.value, run) for run, e in estimates if e is not None and e.exists]
    placed.sort(key=lambda pair: pair[0])
    places = spread([x for x, _ in placed], [run[1] for _, run in placed])
    for x, (_, run) in zip(places, placed, strict=True):
        style: Any = {"fontsize": 7.5, "color": look_of(run, results.settings).colour}
        axes.text(x, rows[0][2], run[1], ha="center", va="center", **style)


def spread(places: list[float], words: list[str], letter: float = 0.024) -> list[float]:
    """Ascending places moved just far enough apart for words centred on them not to touch."""
    moved: list[float] = []
    for i, x in enumerate(places):
        if i:
            width = letter * ((len(words[i - 1]) + len(words[i])) / 2 + 1)
            x = max(x, moved[-1] + width)
        moved.append(x)
    shift = (sum(moved) - sum(places)) / len(places) if places else 0.0
    return [x - shift for x in moved]
