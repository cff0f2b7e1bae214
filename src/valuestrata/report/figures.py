"""The report's figures as SVG text. Pure: tables and training logs in, text out."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valuestrata.report.captions import FIGURES
from valuestrata.report.disagreement_findings import agreement
from valuestrata.report.figures_groups import fairness_figure, groups_figure
from valuestrata.report.figures_training import Logs, training_figure
from valuestrata.report.panels import (
    BASELINE_COLOUR,
    PALETTE,
    QUIET,
    Look,
    against_null,
    beside,
    ceiling_band,
    draw,
    finish,
    grid,
    interval_note,
    look_of,
    mark,
    name_rows,
    rows_of,
    words,
)
from valuestrata.report.phrases import decimal
from valuestrata.report.results import (
    BASE,
    Estimate,
    Results,
    System,
    all_runs,
    baselines,
    label,
    llm_runs,
    number,
    records,
    splits,
)


def figures(results: Results, logs: Logs) -> dict[str, str]:
    """Every figure by name."""
    made = {
        "accuracy": partial(runs_figure, results, "accuracy"),
        "nmae": partial(runs_figure, results, "nmae"),
        "wasserstein": partial(runs_figure, results, "wasserstein"),
        "win_rates": partial(win_rates_figure, results),
        "diversity": partial(diversity_figure, results),
        "fairness": partial(fairness_figure, results),
        "groups": partial(groups_figure, results),
        "training": partial(training_figure, results.spec, logs),
    }
    return {name: draw(build) for name, build in made.items()}


def runs_figure(results: Results, metric: str) -> Figure:
    """A metric of every run by split, one row a run."""
    spec = results.spec
    some = all_runs(spec)
    places = rows_of(some)
    figure, panels = grid(len(splits(spec)), 2, len(some) + 1)
    for axes, split in zip(panels, splits(spec), strict=True):
        found = [results.of(system, split, metric) for system in some]
        ceiling_band(axes, results.ceiling("noise_ceiling", split, metric))
        _join(axes, some, found, places)
        for system, one, y in zip(some, found, places, strict=True):
            if one is None or not one.known:
                beside(axes, y, "no value")
                continue
            if system in baselines(spec):
                axes.axvline(one.value, color=BASELINE_COLOUR, lw=0.8, ls=(0, (1, 2)), zorder=1)
            mark(axes, one, y, look_of(system, spec))
            beside(axes, y, decimal(one.value) + _left_out(one))
        name_rows(axes, [label(s, spec) for s in some], places)
        axes.set_title(f"{split} ({spec.roles.get(split, 'split')} split)")
        axes.set_xlabel(_AXIS[metric])
        axes.set_xlim(0, 1 if metric == "accuracy" else None)
    notes = [
        f"{interval_note(spec)} Hollow: base; filled: tuned; diamond and dotted: baseline. Ochre "
        "line and band: perfect knowledge of every subgroup's answers, with its interval."
    ]
    return finish(figure, FIGURES[metric][0], notes, spec.caveat)


_AXIS = {
    "accuracy": "accuracy (higher is better)",
    "nmae": "NMAE, share of the scale (lower is better)",
    "wasserstein": "Wasserstein distance, share of the scale (lower is better)",
}


def _join(
    axes: Axes, some: Sequence[System], found: Sequence[Estimate | None], places: Sequence[float]
) -> None:
    """A thin line from each model's base to each of its variants."""
    for i, (model, variant) in enumerate(some):
        if variant != BASE:
            j = some.index((model, BASE))
            ends = [found[j], found[i]]
            if all(e is not None and e.known for e in ends):
                values = [e.value for e in ends if e is not None]
                axes.plot(values, [places[j], places[i]], color="#bdbdbd", lw=0.9, zorder=1)


def _left_out(one: Estimate) -> str:
    asked = one.n + one.missing
    return f"  ({one.missing / asked:.0%} missing)" if one.missing and asked else ""


def win_rates_figure(results: Results) -> Figure:
    """Win rates by judge, split and dimension, one row a run."""
    spec = results.spec
    title = FIGURES["win_rates"][0]
    judged = [s for s in splits(spec) if s in spec.compare.judged_splits]
    panels = [
        (j, s, d) for j in spec.compare.judges for s in judged for d in results.dimensions(j, s)
    ]
    if not panels:
        return words(title, "No judge compared open-ended answers in this study.", spec.caveat)
    some = llm_runs(spec)
    places = rows_of(some)
    figure, drawn = grid(len(panels), 3, len(some) + 1)
    for axes, (judge, split, dimension) in zip(drawn, panels, strict=True):
        axes.axvline(0.5, color=QUIET, lw=1)
        for system, y in zip(some, places, strict=True):
            one = results.of(system, split, f"win_rate:{judge}:{dimension}")
            if one is None or not one.known:
                beside(axes, y, "no value")
                continue
            mark(axes, one, y, look_of(system, spec))
            flips = results.of(system, split, f"flip_rate:{judge}:{dimension}")
            said = f", {flips.value:.0%} flip" if flips is not None and flips.known else ""
            beside(axes, y, f"{one.value:.2f}{said}")
        reference = spec.reference.get(judge)
        names = [label(s, spec) + (" (reference)" if s == reference else "") for s in some]
        name_rows(axes, names, places)
        axes.set_title(
            f"{dimension}, {split}" + (f", {judge}" if len(spec.compare.judges) > 1 else "")
        )
        axes.set_xlabel("win rate")
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
    notes = [
        f"{interval_note(spec)} 0.5: as good as the reference; the reference against itself is 0.5 "
        "by construction. Flip: share of comparisons whose verdict changed with the answers' order."
    ]
    return finish(figure, title, notes, spec.caveat)


def diversity_figure(results: Results) -> Figure:
    """MDS and Wasserstein distance by block beside their nulls, most divided block on top."""
    spec = results.spec
    level = spec.compare.evaluation.level
    frame = results.diversity
    means = frame[(frame["stratum"] == "mean") & (frame["question"] == "mean")]
    found = {(str(r["measure"]), str(r["block"])): r for r in records(means)}
    mds = {b: number(row) for (m, b), row in found.items() if m == "mds"}
    known = [b for b, n in mds.items() if b != "all" and n.known]
    blocks = [*sorted(known, key=lambda b: -mds[b].value), "all"]
    figure, panels = grid(2, 2, len(blocks) + 1)
    axis = {
        "mds": "Modal Diversity Score (0 to 1)",
        "wasserstein": "Wasserstein distance (share of the scale)",
    }
    for axes, (measure, says) in zip(panels, axis.items(), strict=True):
        places = [float(i) for i in range(len(blocks))]
        places[-1] += 0.35
        for block, y in zip(blocks, places, strict=True):
            row = found.get((measure, block))
            if row is not None and number(row).known:
                look = Look(BASELINE_COLOUR if block == "all" else PALETTE[0])
                against_null(axes, row, y, look, level)
                beside(axes, y, decimal(number(row).value))
        names = ["all blocks" if b == "all" else b for b in blocks]
        name_rows(axes, [f"{n} ({mds[b].n})" for b, n in zip(blocks, names, strict=True)], places)
        axes.set_title(says)
        axes.set_xlim(left=0)
    notes = [
        f"In brackets: questions of the block. Lines: {level:.0%} intervals, respondents resampled."
        " Means over the strata, then over the block's questions. Grey bar: if membership in a "
        "subgroup meant nothing, from the mean (dark edge) to the 95th percentile. "
        f"Filled mark: p < {1 - level:.2g}; hollow: within chance.",
        *agreement(results),
    ]
    return finish(figure, FIGURES["diversity"][0], notes, spec.caveat)
