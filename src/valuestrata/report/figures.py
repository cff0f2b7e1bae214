"""The report's figures as SVG text. Pure: tables and training logs in, text out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valuestrata.io import records
from valuestrata.report.captions import FIGURES
from valuestrata.report.comparison import Metric
from valuestrata.report.disagreement_findings import agreement_lines
from valuestrata.report.figures_groups import fairness_figure, groups_figure
from valuestrata.report.figures_training import Logs, training_figure
from valuestrata.report.human_agreement import unreliable
from valuestrata.report.panels import (
    BASELINE_COLOUR,
    DOUBTFUL,
    INK,
    PALETTE,
    QUIET,
    Look,
    against_null,
    beside,
    ceiling_band,
    draw,
    empty_figure,
    finish,
    grid,
    interval_note,
    look_of,
    mark,
    marks_note,
    name_rows,
    rows_of,
)
from valuestrata.report.phrases import decimal
from valuestrata.report.results import Estimate, Results, to_estimate
from valuestrata.report.runs import (
    BASE,
    ModelVariant,
    all_runs,
    baseline_runs,
    label,
    llm_runs,
    splits,
)


def draw_figures(results: Results, logs: Logs) -> dict[str, str]:
    """Every figure by name."""
    builders = {
        "accuracy": partial(metric_figure, results, "accuracy"),
        "nmae": partial(metric_figure, results, "nmae"),
        "wasserstein": partial(metric_figure, results, "wasserstein"),
        "win_rates": partial(win_rates_figure, results),
        "diversity": partial(diversity_figure, results),
        "fairness": partial(fairness_figure, results),
        "groups": partial(groups_figure, results),
        "training": partial(training_figure, results.settings, logs),
    }
    return {name: draw(build) for name, build in builders.items()}


def metric_figure(results: Results, metric: str) -> Figure:
    """A metric of every run by split, one row a run."""
    settings = results.settings
    runs = all_runs(settings)
    rows = rows_of(runs)
    figure, panels = grid(len(splits(settings)), 2, len(runs) + 1)
    for axes, split in zip(panels, splits(settings), strict=True):
        estimates = [results.metric(run, split, metric) for run in runs]
        ceiling_band(axes, results.ceiling("noise_ceiling", split, metric))
        _join(axes, runs, estimates, rows)
        for run, estimate, y in zip(runs, estimates, rows, strict=True):
            if estimate is None or not estimate.exists:
                beside(axes, y, "no value")
                continue
            if run in baseline_runs(settings) and llm_runs(settings):
                dotted = (0, (1, 2))
                axes.axvline(estimate.value, color=BASELINE_COLOUR, lw=0.8, ls=dotted, zorder=1)
            mark(axes, estimate, y, look_of(run, settings))
            beside(axes, y, decimal(estimate.value) + _share_missing(estimate))
        name_rows(axes, [label(run, settings) for run in runs], rows)
        axes.set_title(f"{split} ({settings.roles.get(split, 'split')} split)")
        axes.set_xlabel(_AXIS[metric])
        axes.set_xlim(0, 1 if metric == "accuracy" else None)
    note = (
        f"{interval_note(settings)} {marks_note(settings)} "
        "Ochre line and band: noise ceiling with its interval."
    )
    return finish(figure, FIGURES[metric][0], [note], settings.caveat)


_AXIS = {
    "accuracy": "accuracy (higher is better)",
    "nmae": "NMAE, share of the scale (lower is better)",
    "wasserstein": "Wasserstein distance, share of the scale (lower is better)",
}


def _join(
    axes: Axes,
    runs: Sequence[ModelVariant],
    estimates: Sequence[Estimate | None],
    rows: Sequence[float],
) -> None:
    """A thin line from each model's base to each of its variants."""
    for i, (model, variant) in enumerate(runs):
        if variant != BASE:
            j = runs.index((model, BASE))
            ends = [estimates[j], estimates[i]]
            values = [end.value for end in ends if end is not None and end.exists]
            if len(values) == len(ends):
                axes.plot(values, [rows[j], rows[i]], color="#bdbdbd", lw=0.9, zorder=1)


def _share_missing(estimate: Estimate) -> str:
    expected = estimate.n + estimate.missing
    return f"  ({estimate.missing / expected:.0%} missing)" if estimate.missing else ""


def win_rates_figure(results: Results) -> Figure:
    """Win rates by judge, split and dimension, one row a run; grey where people doubt the judge."""
    settings = results.settings
    title = FIGURES["win_rates"][0]
    keys = [
        (split, Metric("win_rate", judge, dimension))
        for judge in settings.judges
        for split in splits(settings)
        if split in settings.text_splits
        for dimension in results.dimensions(judge, split)
    ]
    if not keys:
        reason = "No judge compared open-ended answers in this study."
        return empty_figure(title, reason, settings.caveat)
    runs = llm_runs(settings)
    rows = rows_of(runs)
    doubtful = unreliable(results)
    figure, panels = grid(len(keys), 3, len(runs) + 1)
    for axes, (split, win) in zip(panels, keys, strict=True):
        axes.axvline(0.5, color=QUIET, lw=1)
        is_doubtful = (win.judge, win.dimension) in doubtful
        for run, y in zip(runs, rows, strict=True):
            rate = results.metric(run, split, win)
            if rate is None or not rate.exists:
                beside(axes, y, "no value")
                continue
            look = look_of(run, settings)
            mark(axes, rate, y, replace(look, colour=DOUBTFUL) if is_doubtful else look)
            _length_controlled(
                axes, results.verdicts(run, split, *win[1:3], "length_controlled"), y
            )
            flip = results.metric(run, split, win._replace(metric="flip_rate"))
            flips = f", {flip.value:.0%} flip" if flip is not None and flip.exists else ""
            beside(axes, y, f"{rate.value:.2f}{flips}", DOUBTFUL if is_doubtful else QUIET)
        reference = settings.references.get(win.judge)
        names = [label(r, settings) + (" (reference)" if r == reference else "") for r in runs]
        name_rows(axes, names, rows)
        judge = f", {win.judge}" if len(settings.judges) > 1 else ""
        doubt = " (doubtful)" if is_doubtful else ""
        axes.set_title(f"{win.dimension}, {split}{judge}{doubt}", color=QUIET if doubt else INK)
        axes.set_xlabel("win rate")
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
    level = f"{settings.evaluation.confidence_level:.0%}"
    notes = [
        f"Lines: {level} intervals, questions as clusters. Cross: controlled for length. 0.5: as "
        "good as the reference; the reference itself is at 0.5. Flip: share of comparisons whose "
        "verdict changed with the order of the answers.",
    ]
    if any((win.judge, win.dimension) in doubtful for _, win in keys):
        notes.append(f"Grey, doubtful: the judge is less reliable than {results.annotators} there.")
    return finish(figure, title, notes, settings.caveat)


def _length_controlled(axes: Axes, row: Mapping[str, Any] | None, y: float) -> None:
    """A cross at the win rate controlled for length."""
    if row is not None and to_estimate(row).exists:
        axes.plot([float(row["value"])], [y], "x", color=QUIET, ms=4, mew=0.9, zorder=5)


def diversity_figure(results: Results) -> Figure:
    """MDS and Wasserstein distance by block beside their nulls, most divided block on top."""
    settings = results.settings
    level = settings.evaluation.confidence_level
    frame = results.diversity
    means = frame[(frame["stratum"] == "mean") & (frame["question"] == "mean")]
    scores = {(str(row["measure"]), str(row["block"])): row for row in records(means)}
    mds = {b: to_estimate(row) for (measure, b), row in scores.items() if measure == "mds"}
    valid = [block for block, score in mds.items() if block != "all" and score.exists]
    blocks = [*sorted(valid, key=lambda block: -mds[block].value), "all"]
    figure, panels = grid(2, 2, len(blocks) + 1)
    titles = {
        "mds": "Modal Diversity Score (0 to 1)",
        "wasserstein": "Wasserstein distance (share of the scale)",
    }
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        rows = [float(i) for i in range(len(blocks))]
        rows[-1] += 0.35
        for block, y in zip(blocks, rows, strict=True):
            row = scores.get((measure, block))
            if row is not None and to_estimate(row).exists:
                look = Look(BASELINE_COLOUR if block == "all" else PALETTE[0])
                against_null(axes, row, y, look, level)
                beside(axes, y, decimal(to_estimate(row).value))
        names = {block: "all blocks" if block == "all" else block for block in blocks}
        name_rows(axes, [f"{name} ({mds[b].n})" for b, name in names.items()], rows)
        axes.set_title(title)
        axes.set_xlim(left=0)
    note = (
        f"In brackets: questions of the block. Lines: {level:.0%} intervals, respondents resampled."
        " Means over the strata, then over the block's questions. Grey bar: null of random "
        "subgroups, from its mean (dark edge) to its 95th percentile. "
        f"Filled mark: p < {1 - level:.2g}."
    )
    notes = [note, *agreement_lines(results)]
    return finish(figure, FIGURES["diversity"][0], notes, settings.caveat)
