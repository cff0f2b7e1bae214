"""Charts of the survey alone: where subgroups disagree, by block, by question and by stratum."""

from valuestrata.io import records
from valuestrata.report.charts import (
    HEAT,
    PALETTE,
    ROW,
    ChartPanel,
    Drawing,
    empty,
    estimate_row,
    layer,
    nominal,
    null_bars,
    number,
    rows_axis,
    tooltip,
    upright,
    values_axis,
    with_interval,
)
from valuestrata.report.charts_runs import WITHOUT_NOISE, interval_note
from valuestrata.report.phrases import RANKS, count, decimal, tested
from valuestrata.report.results import Results, stratum_label, to_estimate

SCORES = {
    "mds": "Modal Diversity Score (0 to 1)",
    "wasserstein": "Wasserstein distance (share of the scale)",
}
BLUE = {"value": PALETTE[0]}


def diversity_drawing(results: Results) -> Drawing:
    """MDS and Wasserstein distance by block beside their nulls, most divided block on top."""
    alpha = 1 - results.settings.evaluation.confidence_level
    frame = results.diversity
    means = records(frame[(frame["stratum"] == "mean") & (frame["question"] == "mean")])
    mds = {str(r["block"]): to_estimate(r) for r in means if r["measure"] == "mds"}
    valid = [block for block, score in mds.items() if block != "all" and score.exists]
    blocks = [*sorted(valid, key=lambda block: -mds[block].value), "all"]
    names = {b: f"{'all blocks' if b == 'all' else b} ({mds[b].n})" for b in blocks if b in mds}
    panels = []
    for measure, title in SCORES.items():
        rows = [
            {
                "block": names[block], **estimate_row(score), "mean": float(row["null_mean"]),
                "p95": float(row["null_p95"]), "test": tested(score),
                "above": score.tested is not None and score.tested < alpha,
            }
            for row in means
            if row["measure"] == measure and (block := str(row["block"])) in names
            and (score := to_estimate(row)).exists
        ]  # fmt: skip
        y = rows_axis("block", list(names.values()))
        x = values_axis(title)
        marks = with_interval("blocks", x, y, ["block", "test"], "!datum.above", color=BLUE)
        layers = (null_bars("blocks", x, y), *marks)
        panels.append(ChartPanel(title, ROW * len(names), layers, {"blocks": rows}))
    notes = (
        "In brackets: questions of the block. Means over the strata, then over the block's "
        "questions. Grey bar: null of random subgroups, from its mean to its 95th percentile. "
        f"Filled mark: q < {alpha:.2g}. {WITHOUT_NOISE}",
    )
    return Drawing(tuple(panels), 2, notes)


def map_drawing(results: Results) -> Drawing:
    """Modal Diversity Score of every question in every stratum, a panel a block."""
    frame = results.diversity
    is_cell = (frame["question"] != "mean") & (frame["measure"] == "mds")
    cells = frame[is_cell & frame["value"].notna()]
    strata = [name for name in dict.fromkeys(cells["stratum"]) if name != "mean"]
    means = cells[cells["stratum"] == "mean"].sort_values("value", ascending=False, kind="stable")
    if not strata:
        return empty("No question has a Modal Diversity Score in a stratum.")
    blocks = means.groupby("block", sort=False)["value"].mean().sort_values(ascending=False)
    panels = []
    for block in blocks.index:
        questions = list(means.loc[means["block"] == block, "question"])
        rows = [
            {
                "question": str(row["question"]), "stratum": stratum_label(str(row["stratum"])),
                "score": float(row["value"]), "MDS": decimal(float(row["value"])),
                "subgroups": count(int(row["n"])), "test": tested(to_estimate(row)),
            }
            for row in records(cells[(cells["block"] == block) & (cells["stratum"] != "mean")])
        ]  # fmt: skip
        x = nominal(
            "stratum",
            title="stratum",
            scale={"domain": list(map(stratum_label, strata))},
            axis={"labelAngle": -50, "labelLimit": 150},
        )
        cells_layer = layer(
            "cells", "rect", x=x, y=rows_axis("question", questions, padding=0.02),
            color=number("score", "MDS", scale={"scheme": HEAT, "domain": [0, 1]}),
            tooltip=tooltip("question", "stratum", "MDS", "test", "subgroups"),
        )  # fmt: skip
        panels.append(ChartPanel(str(block), 15 * len(questions), (cells_layer,), {"cells": rows}))
    notes = ("Blocks and questions from most to least divided. Bright: divided; dark: alike.",)
    return Drawing(tuple(panels), 3, notes)


def agreement_drawing(results: Results) -> Drawing:
    """How alike both conflict scores rank questions, by stratum."""
    frame = results.agreement
    rows = [
        {
            "stratum": "mean over the strata" if row["stratum"] == "mean"
            else stratum_label(str(row["stratum"])),
            "coefficient": RANKS[str(row["coefficient"])], **estimate_row(estimate),
        }
        for row in records(frame)
        if (estimate := to_estimate(row)).exists
    ]  # fmt: skip
    if not rows:
        return empty("No stratum has enough questions to rank.")
    strata = list(dict.fromkeys(str(row["stratum"]) for row in rows))
    panels = []
    for name in RANKS.values():
        part = [row for row in rows if row["coefficient"] == name]
        y = rows_axis("stratum", strata)
        marks = with_interval("strata", values_axis(name, [-1, 1]), y, ["stratum"], color=BLUE)
        panels.append(ChartPanel(name, ROW * len(strata), (upright(0), *marks), {"strata": part}))
    note = "1: both scores rank questions alike; 0: unrelated. " + interval_note(results)
    return Drawing(tuple(panels), 2, (note,))
