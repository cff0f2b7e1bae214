"""The tables of the page whose scores stand beside a null and without sampling noise. Pure."""

from dataclasses import replace
from typing import Any

from valuestrata.io import records
from valuestrata.report.display import NO_BREAK, Cell, Table, cell, run_cell
from valuestrata.report.phrases import (
    MEASURES,
    METRICS,
    NONE,
    STATISTICS,
    decimal,
    listed_some,
    p_value,
)
from valuestrata.report.results import (
    SUBGROUPS,
    Results,
    cell_label,
    corrected,
    observed,
    to_estimate,
)
from valuestrata.report.runs import all_runs

WITHOUT_NOISE, NET = "Without sampling noise", "Net SD"


def fairness_table(results: Results, split: str, level: str) -> Table:
    """Norm.Range and CV over the groups of a level, each beside its null, and net inequality."""
    settings = results.settings
    alpha = 1 - settings.evaluation.confidence_level
    rows = []
    for run in all_runs(settings):
        for metric in ("accuracy", "nmae"):
            statistics = [results.inequality(run, split, metric, s, level) for s in STATISTICS]
            first = next((row for row in statistics if row is not None), None)
            if first is None:
                continue
            is_best = metric == "accuracy"
            ends = [
                Cell(listed_some(list(map(cell_label, names))))
                for highest in (is_best, not is_best)
                for names in [results.extreme_groups(run, split, level, metric, highest)]
            ]
            cells = [part for row in statistics for part in _inequality(row, alpha)]
            cells += _net(results.inequality(run, split, metric, "net_sd", level), alpha)
            rows.append((run_cell(results, run), Cell(METRICS[metric]), *cells, *ends))
    over = "subgroups" if level == SUBGROUPS else f"groups of {settings.axes.get(level, level)}"
    heads = (h for name in STATISTICS.values() for h in (name, WITHOUT_NOISE, "Null mean", "p"))
    columns = ("Run", "Metric", *heads, NET, "p", "Best group", "Worst group")
    note = (
        f"{NET}: standard deviation between groups of the score less what a model would reach that "
        "knows every group's modal answers, without sampling noise; p: served equally given that."
    )
    return Table(f"Inequality over {over}, {split}", columns, tuple(rows), heads=2, note=note)


def _inequality(row: dict[str, Any] | None, alpha: float) -> tuple[Cell, ...]:
    if row is None:
        return _against_null(row, alpha)
    reachable = f"of perfect knowledge {decimal(float(row['reachable']))}"
    return _against_null(row, alpha, f"{int(row['n_groups'])} groups", reachable)


def _net(row: dict[str, Any] | None, alpha: float) -> tuple[Cell, Cell]:
    """Inequality net of what perfect knowledge would show, and its test."""
    if row is None:
        return Cell(NONE), Cell(NONE)
    return cell(corrected(row)), _p_cell(row, alpha)


def _against_null(
    row: dict[str, Any] | None, alpha: float, extra: str = "", more: str = ""
) -> tuple[Cell, ...]:
    """A score as observed, without sampling noise, the mean of its null, and the p-value."""
    if row is None:
        return (Cell(NONE),) * 4
    mean, high = float(row["null_mean"]), float(row["null_p95"])
    null = Cell(decimal(mean), small=f"95th percentile {decimal(high)}")
    without_noise = replace(cell(corrected(row)), small=more.replace(" ", NO_BREAK))
    return cell(observed(row), extra=extra), without_noise, null, _p_cell(row, alpha)


def _p_cell(row: dict[str, Any], alpha: float) -> Cell:
    """p and q; p with its Monte Carlo error where another seed might cross the threshold."""
    estimate, error = to_estimate(row), float(row["p_error"])
    p = p_value(estimate.p_value).removeprefix("p ").removeprefix("= ")
    is_near = estimate.p_value is not None and abs(estimate.p_value - alpha) < 3 * error
    q = "" if estimate.q_value is None else p_value(estimate.q_value).replace("p", "q", 1)
    small = ", ".join(filter(None, [f"± {decimal(error)}" if is_near else "", q]))
    return Cell(p.replace(" ", NO_BREAK), small=small.replace(" ", NO_BREAK))


def diversity_table(results: Results) -> Table:
    """Conflict scores by block beside their nulls, most divided first."""
    alpha = 1 - results.settings.evaluation.confidence_level
    frame = results.diversity
    means = frame[(frame["stratum"] == "mean") & (frame["question"] == "mean")]
    scores = {(str(r["block"]), str(r["measure"])): r for r in records(means)}
    blocks = [block for block, measure in scores if measure == "mds" and block != "all"]
    ranked = sorted(blocks, key=lambda block: -_or_zero(float(scores[block, "mds"]["value"])))
    rows = [
        (
            Cell("all blocks" if block == "all" else block),
            *(part for m in MEASURES for part in _against_null(scores.get((block, m)), alpha)),
        )
        for block in [*ranked, *(["all"] if ("all", "mds") in scores else [])]
    ]
    heads = (h for name in MEASURES.values() for h in (name, WITHOUT_NOISE, "Null mean", "p"))
    note = (
        "n and missing count questions. Null: mean and 95th percentile when respondents are "
        "assigned to subgroups at random."
    )
    caption = "Conflict between subgroups by block"
    return Table(caption, ("Block", *heads), tuple(rows), note=note)


def _or_zero(value: float) -> float:
    return value if value == value else 0.0
