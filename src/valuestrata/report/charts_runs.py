"""Charts of runs: scores of each model before and after tuning, win rates, refusals by topic."""

from collections.abc import Collection, Sequence

from valuestrata.report.charts import (
    CEILING,
    GREY,
    HEAT,
    ROW,
    ChartPanel,
    Drawing,
    Layer,
    Row,
    at,
    band,
    beside,
    empty,
    estimate_row,
    layer,
    look,
    nominal,
    number,
    place,
    rows_axis,
    run_row,
    shift,
    spread,
    tooltip,
    upright,
    values_axis,
    with_interval,
)
from valuestrata.report.comparison import Metric
from valuestrata.report.human_agreement import unreliable
from valuestrata.report.phrases import count, decimal, percent
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

AXIS = {
    "accuracy": "accuracy (higher is better)",
    "nmae": "NMAE, share of the scale (lower is better)",
    "wasserstein": "Wasserstein distance, share of the scale (lower is better)",
}


IS_BASE = f"datum.variant === '{BASE}'"


def metric_drawing(results: Results, metric: str) -> Drawing:
    """A metric of every run by split: a row a model, from base to tuned."""
    panels = [_metric_panel(results, metric, split) for split in splits(results.settings)]
    notes = [interval_note(results)]
    if llm_runs(results.settings) and baseline_runs(results.settings):
        notes.append("Dotted: the best baseline.")
    return Drawing(tuple(panels), 2, (*notes, "Ochre band: interval of the noise ceiling."))


def _metric_panel(results: Results, metric: str, split: str) -> ChartPanel:
    settings = results.settings
    models = list(dict.fromkeys(model for model, _ in all_runs(settings)))
    n_variants = max((len(settings.variants[model]) for model in models), default=1)
    height = max(30, 19 * n_variants) * len(models)
    shifts = {
        (model, variant): down
        for model, variants in settings.variants.items()
        for variant, down in zip(
            variants, spread(len(variants), height, len(models), gap=15), strict=True
        )
    }
    rows: list[Row] = []
    for run in all_runs(settings):
        estimate = results.metric(run, split, metric)
        if estimate is not None and estimate.exists:
            end = estimate.ci_high if estimate.has_interval else estimate.value
            more = {"end": end, "text": _shown(estimate), "shift": shifts[run]}
            rows.append({**run_row(run, settings), **estimate_row(estimate), **more})
    y = rows_axis("model", models)
    x = values_axis(AXIS[metric], [0, 1] if metric == "accuracy" else None)
    looks = look(settings, rows)
    joins = {"type": "rule", "color": GREY, "opacity": 0.35, "strokeWidth": 3}
    layers = [
        *_behind(results, metric, split),
        layer("joins", joins, x=at(x, "from"), x2=place("to"), y=y, yOffset=shift()),
        *with_interval("runs", x, y, ["run"], IS_BASE, yOffset=shift(), **looks),
        beside("runs", x, y, yOffset=shift()),
    ]
    title = f"{split} ({settings.roles.get(split, '')} split)"
    return ChartPanel(title, height, tuple(layers), {"runs": rows, "joins": _joins(rows)})


def _shown(estimate: Estimate) -> str:
    """A value beside its mark, with the share of pairs that have none."""
    expected = estimate.n + estimate.missing
    share = f"  ({estimate.missing / expected:.0%} missing)" if estimate.missing else ""
    return f"{estimate.value:.3f}{share}"


def _behind(results: Results, metric: str, split: str) -> list[Layer]:
    """The noise ceiling, and the best baseline where there are language models."""
    layers = []
    ceiling = results.ceiling("noise_ceiling", split, metric)
    if ceiling is not None and ceiling.exists:
        if ceiling.has_interval:
            layers.append(band(ceiling.ci_low, ceiling.ci_high, CEILING))
        layers.append(upright(ceiling.value, CEILING))
    scores = [results.metric(run, split, metric) for run in baseline_runs(results.settings)]
    values = [score.value for score in scores if score is not None and score.exists]
    if values and llm_runs(results.settings):
        layers.append(upright((max if metric == "accuracy" else min)(values), GREY, (1, 3)))
    return layers


def _joins(rows: Sequence[Row]) -> list[Row]:
    """A bar from each model's base to each of its variants."""
    bases = {row["model"]: row for row in rows if row["variant"] == BASE}
    return [
        {
            "model": row["model"], "from": bases[row["model"]]["value"], "to": row["value"],
            "shift": (bases[row["model"]]["shift"] + row["shift"]) / 2,
        }
        for row in rows
        if row["model"] in bases and row["variant"] != BASE
    ]  # fmt: skip


WITHOUT_NOISE = "Marks: as observed. Lines: intervals of what is left without sampling noise."


def interval_note(results: Results) -> str:
    """What the lines through marks are."""
    return f"Lines: {results.settings.evaluation.confidence_level:.0%} intervals."


# open-ended answers ----------------------------------------------------------------------------


def win_rates_drawing(results: Results) -> Drawing:
    """Win rates by judge, split and dimension, one row a run."""
    settings = results.settings
    keys = [
        (split, Metric("win_rate", judge, dimension))
        for judge in settings.judges
        for split in splits(settings)
        if split in settings.text_splits
        for dimension in results.dimensions(judge, split)
    ]
    if not keys:
        return empty("No judge compared open-ended answers in this study.")
    doubtful = unreliable(results)
    notes = [
        f"{interval_note(results)} 0.5: as good as the reference; the reference itself is at 0.5. "
        "Cross: controlled for length. Wide bar: position bias, from the win rate when shown "
        "second to that when shown first. Flip: share of verdicts that changed with the order.",
    ]
    if any((win.judge, win.dimension) in doubtful for _, win in keys):
        notes.append(f"Doubtful: the judge is less reliable than {results.annotators} there.")
    panels = (_win_panel(results, split, win, doubtful) for split, win in keys)
    return Drawing(tuple(panels), 3, tuple(notes))


def _win_panel(
    results: Results, split: str, win: Metric, doubtful: Collection[tuple[str, str]]
) -> ChartPanel:
    settings = results.settings
    names, rows = [], []
    for run in llm_runs(settings):
        name = label(run, settings) + " (ref.)" * (run == settings.references.get(win.judge))
        names.append(name)
        rate = results.metric(run, split, win)
        if rate is not None and rate.exists:
            row = {**run_row(run, settings), **estimate_row(rate), "run": name}
            rows.append({**row, **_verdicts(results, run, split, win, rate)})
    is_doubtful = (win.judge, win.dimension) in doubtful
    judge = f", {win.judge}" if len(settings.judges) > 1 else ""
    title = f"{win.dimension}, {split}{judge}{' (doubtful)' if is_doubtful else ''}"
    x, y, looks = values_axis("win rate", [0, 1]), rows_axis("run", names), look(settings, rows)
    if is_doubtful:
        looks = {**looks, "color": {"value": GREY}}
    bias = {"type": "bar", "height": 12, "color": GREY, "opacity": 0.25}
    cross = {"type": "point", "shape": "cross", "angle": 45, "size": 45, "color": GREY}
    fields = ["run", "flips", "position bias", "length-controlled"]
    layers = (
        upright(0.5),
        layer("runs", bias, x=at(x, "second"), x2=place("first"), y=y),
        *with_interval("runs", x, y, fields, IS_BASE, **looks),
        layer("runs", cross, x=at(x, "controlled"), y=y),
        beside("runs", x, y),
    )
    return ChartPanel(title, ROW * len(names), layers, {"runs": rows})


def _verdicts(results: Results, run: ModelVariant, split: str, win: Metric, rate: Estimate) -> Row:
    """What else verdicts show of a run: both orders, flips, the win rate at equal length."""

    def value(statistic: str) -> float:
        row = results.verdicts(run, split, win.judge, win.dimension, statistic)
        return float("nan") if row is None else to_estimate(row).value

    flips = percent(value("flip_rate"))
    return {
        "first": value("shown_first"),
        "second": value("shown_second"),
        "controlled": value("length_controlled"),
        "flips": flips,
        "position bias": decimal(value("position_bias"), signed=True),
        "length-controlled": decimal(value("length_controlled")),
        "end": rate.ci_high if rate.has_interval else rate.value,
        "text": f"{rate.value:.2f}, {flips} flip",
    }


# replies without an answer ---------------------------------------------------------------------


def refusals_drawing(results: Results) -> Drawing:
    """The share of pairs without an answer by run and block of questions."""
    settings = results.settings
    counts = results.outcomes
    if counts is None or not len(counts) or not llm_runs(settings):
        return empty("No language model was asked in this study.")
    panels = []
    for split in splits(settings):
        rows: list[Row] = []
        part = counts[counts["split"] == split]
        for (model, variant, block), group in part.groupby(
            ["model", "variant", "block"], sort=False
        ):
            run, sizes = (
                (str(model), str(variant)),
                dict(zip(group["outcome"], group["n"], strict=True)),
            )
            if run not in llm_runs(settings):
                continue
            n = sum(sizes.values())
            shares = {name: sizes.get(name, 0) / n for name in ("refusal", "invalid", "truncated")}
            words = {name: f"{percent(share)}" for name, share in shares.items()}
            unanswered = 1 - sizes.get("answer", 0) / n
            rows.append(
                {
                    **run_row(run, settings), **words, "block": str(block), "pairs": count(n),
                    "unanswered": unanswered, "text": f"{unanswered:.0%}",
                }
            )  # fmt: skip
        panels.append(_topics_panel(results, split, rows))
    note = "Numbers: share of the block's pairs without an answer; point at one for its parts."
    return Drawing(tuple(panels), 1, (note,))


def _topics_panel(results: Results, split: str, rows: Sequence[Row]) -> ChartPanel:
    runs = [label(run, results.settings) for run in llm_runs(results.settings)]
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    worst = {b: max(row["unanswered"] for row in rows if row["block"] == b) for b in blocks}
    blocks.sort(key=lambda block: -worst[block])
    angled = {"labelAngle": -35, "labelLimit": 150, "orient": "bottom"}
    x = nominal("block", title="block of questions", axis=angled, scale={"domain": blocks})
    y = rows_axis("run", runs, padding=0.05)
    shade = number(
        "unanswered", "share without an answer",
        scale={"scheme": HEAT, "domain": [0, 1]}, legend={"format": ".0%"},
    )  # fmt: skip
    parts = tooltip("run", "block", "text", "refusal", "invalid", "truncated", "pairs")
    ink = {"condition": {"test": "datum.unanswered > 0.5", "value": "#111"}, "value": "#fff"}
    layers = (
        layer("cells", "rect", x=x, y=y, color=shade, tooltip=parts),
        layer("cells", "text", x=x, y=y, color=ink, text={"field": "text"}),
    )
    return ChartPanel(split, ROW * len(runs) + 10, layers, {"cells": rows})
