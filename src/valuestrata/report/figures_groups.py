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
    finish,
    grid,
    interval_note,
    look_of,
    mark,
    name_rows,
    rows_of,
    words,
)
from valuestrata.report.phrases import METRIC_NAMES, STATISTICS
from valuestrata.report.results import (
    BASE,
    Results,
    System,
    all_runs,
    baselines,
    label,
    llm_runs,
    number,
    tested,
)


def fairness_figure(results: Results) -> Figure:
    """Norm.Range and CV of accuracy and NMAE over subgroups, each beside its null."""
    spec = results.spec
    some = all_runs(spec)
    places = rows_of(some)
    wanted = [(s, m, t) for s in tested(spec) for m in ("accuracy", "nmae") for t in STATISTICS]
    figure, panels = grid(len(wanted), 2, len(some) + 1)
    for axes, (split, metric, statistic) in zip(panels, wanted, strict=True):
        for system, y in zip(some, places, strict=True):
            row = results.inequality(system, split, metric, statistic)
            if row is None or not number(row).known:
                beside(axes, y, "no value")
                continue
            against_null(axes, row, y, look_of(system, spec), spec.compare.evaluation.level)
            p = number(row).p
            beside(axes, y, "" if p is None else "p < .001" if p < 0.0005 else f"p {p:.3f}"[:7])
        name_rows(axes, [label(s, spec) for s in some], places)
        axes.set_title(f"{STATISTICS[statistic]} of {METRIC_NAMES[metric]}, {split}")
        axes.set_xlim(left=0)
    alpha = 1 - spec.compare.evaluation.level
    notes = [
        "Grey bar: identical groups by chance, from their mean (dark edge) to the 95th percentile. "
        f"Filled mark: p < {alpha:.2g}; hollow: within chance. {interval_note(spec)}"
    ]
    return finish(figure, FIGURES["fairness"][0], notes, spec.caveat)


def groups_figure(results: Results) -> Figure:
    """Accuracy by group of each axis on the test splits, a panel a model, base against tuned."""
    spec = results.spec
    title = FIGURES["groups"][0]
    models = list(dict.fromkeys(m for m, _ in llm_runs(spec) or baselines(spec)))
    splits = [s for s in tested(spec) if results.levels(s)]
    if not splits:
        return words(title, "The test split has no subgroups to compare.", spec.caveat)
    rows = {s: _group_rows(results, s) for s in splits}
    high = max(r[-1][2] for r in rows.values())
    wanted = [(s, m) for s in splits for m in models]
    figure, panels = grid(
        len(wanted), 2 if len(wanted) < 5 else 3, int(high) + 2, share=len(splits) == 1
    )
    for axes, (split, model) in zip(panels, wanted, strict=True):
        own = [s for s in all_runs(spec) if s[0] == model]
        for level, group, y in rows[split]:
            if group:
                ceiling_tick(
                    axes, results.ceiling("noise_ceiling", split, "accuracy", level, group), y
                )
                _dumbbell(axes, results, own, split, level, group, y)
        shown = [(group, y) for _, group, y in rows[split] if group]
        name_rows(axes, [group for group, _ in shown], [y for _, y in shown])
        axes.set_ylim(rows[split][-1][2] + 0.7, -0.7)
        _head_axes(axes, [(spec.axes[a], y) for a, group, y in rows[split] if not group])
        axes.set_title(model if len(splits) == 1 else f"{model}, {split}")
        axes.set_xlabel("accuracy")
        axes.set_xlim(0, 1)
        _name_variants(axes, results, own, split, rows[split])
    notes = [
        f"Split: {', '.join(splits)}. {interval_note(spec)} Hollow: base; filled: tuned. "
        "Ochre: perfect knowledge of the group's answers, with its interval."
    ]
    return finish(figure, title, notes, spec.caveat)


def _group_rows(results: Results, split: str) -> list[tuple[str, str, float]]:
    """(axis, group, y) from the top, each axis under a heading row whose group is ''."""
    rows: list[tuple[str, str, float]] = []
    y = 0.0
    for level in results.levels(split):
        for group in ["", *results.members(split, level)]:
            rows.append((level, group, y))
            y += 1.0
        y += 0.25
    return rows


def _head_axes(axes: Axes, heads: list[tuple[str, float]]) -> None:
    """Write each axis' label over its groups' names, left of the first panel of a line."""
    place = axes.get_subplotspec()
    if place is not None and place.is_first_col():
        for text, y in heads:
            across = axes.get_yaxis_transform()
            style: Any = {"fontsize": 8, "fontweight": "bold", "color": QUIET}
            axes.text(-0.02, y, text, transform=across, ha="right", va="center", **style)


def _dumbbell(
    axes: Axes, results: Results, own: list[System], split: str, level: str, group: str, y: float
) -> None:
    """One row: a variant's mark each, a little apart, base and tuned joined."""
    found = [(s, results.group(s, split, level, group, "accuracy")) for s in own]
    step = 0.3 / max(1, len(own) - 1)
    base = next((n for s, n in found if s[1] == BASE), None)
    for i, (system, one) in enumerate(found):
        if one is None or not one.known:
            continue
        shifted = y + (i * step - 0.15 if len(own) > 1 else 0.0)
        if system[1] != BASE and base is not None and base.known:
            axes.plot(
                [base.value, one.value], [y - 0.15, shifted], color="#c4c4c4", lw=0.9, zorder=1
            )
        mark(axes, one, shifted, look_of(system, results.spec), size=4.2)


def _name_variants(
    axes: Axes,
    results: Results,
    own: list[System],
    split: str,
    rows: list[tuple[str, str, float]],
) -> None:
    """Write each variant's name over its mark, in the heading's row."""
    level, group, _ = next(row for row in rows if row[1])
    found = [(s, results.group(s, split, level, group, "accuracy")) for s in own]
    known = [(one.value, system) for system, one in found if one is not None and one.known]
    known.sort(key=lambda pair: pair[0])
    places = apart([x for x, _ in known], [system[1] for _, system in known])
    for x, (_, system) in zip(places, known, strict=True):
        colour = look_of(system, results.spec).colour
        axes.text(
            x, rows[0][2], system[1], ha="center", va="center", fontsize=7.5, color=colour
        )  # fmt: skip


def apart(places: list[float], words: list[str], letter: float = 0.024) -> list[float]:
    """Ascending places moved just far enough apart for words centred on them not to touch."""
    moved: list[float] = []
    for i, x in enumerate(places):
        if i:
            room = letter * ((len(words[i - 1]) + len(words[i])) / 2 + 1)
            x = max(x, moved[-1] + room)
        moved.append(x)
    shift = (sum(moved) - sum(places)) / len(places) if places else 0.0
    return [x - shift for x in moved]
