"""Findings on inequality: above its null, changed by tuning, and which groups. Pure sentences."""

import pandas as pd

from valuestrata.io import records
from valuestrata.report.comparison import Row
from valuestrata.report.phrases import (
    METRIC_NAMES,
    STATISTICS,
    decimal,
    listed,
    plural,
    tested,
    value_range,
    with_interval,
)
from valuestrata.report.results import SUBGROUPS, Results, cell_label, to_estimate
from valuestrata.report.runs import ModelVariant, label, llm_runs, main_runs, tuned_runs

NET = "net_sd"
"""Inequality of scores less what perfect knowledge of each group would reach."""
NAMED = 3
"""Contrasts that a sentence names."""


def inequality_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """How many runs are more unequal over subgroups than groups served alike would be."""
    settings = results.settings
    alpha = 1 - settings.evaluation.confidence_level
    rows = {
        run: row
        for run in main_runs(settings)
        if (row := results.inequality(run, split, "accuracy", "norm_range"))
    }
    kind = "language-model run" if llm_runs(settings) else "baseline"
    if not rows:
        return f"Inequality was not measured for a {kind} on {split}.", []
    tests = [(m, t) for m in METRIC_NAMES for t in STATISTICS]
    values = {(m, t): [_test(results, run, split, m, t) for run in rows] for m, t in tests}
    hits = {key: sum(q is not None and q < alpha for q in qs) for key, qs in values.items()}
    untested = sum(q is None for qs in values.values() for q in qs)
    counts = ", ".join(
        f"{name} in {hits[m, 'norm_range']} by Norm.Range and {hits[m, 'cv']} by CV"
        for m, name in METRIC_NAMES.items()
    )
    net = {m: [_test(results, run, split, m, NET) for run in rows] for m in METRIC_NAMES}
    given = " and ".join(
        f"{name} in {sum(q is not None and q < alpha for q in net[m])}"
        for m, name in METRIC_NAMES.items()
    )
    n_groups = int(next(iter(rows.values()))["n_groups"])
    answer = (
        f"Of {plural(len(rows), kind)} on the {plural(n_groups, 'subgroup')} of "
        f"{split}, inequality is above its null (q < {alpha:.2g}) for {counts}; given what a model "
        f"would score that knows each subgroup's modal answers, {given}."
    )
    details = []
    if sum(hits.values()) < len(tests) * len(rows) - untested:
        details.append(not_shown(results, split, list(rows)))
    if untested:
        details.append(f"{plural(untested, 'test')} of {len(tests) * len(rows)} not done.")
    return answer, [line for line in details if line]


def _test(
    results: Results, run: ModelVariant, split: str, metric: str, statistic: str
) -> float | None:
    row = results.inequality(run, split, metric, statistic)
    return None if row is None else to_estimate(row).tested


def smallest_gap(
    results: Results, run: ModelVariant, split: str, metric: str, level: str = SUBGROUPS
) -> float | None:
    """The gap between a typical group of a level and the rest that 80% of studies would find.

    The median over the groups; None where none was tested.
    """
    frame = results.contrasts
    is_row = (frame["model"] == run[0]) & (frame["variant"] == run[1]) & (frame["split"] == split)
    is_row &= (frame["level"] == level) & (frame["metric"] == metric)
    is_row &= (frame["contrast"] == "rest") & (frame["reading"] == "raw")
    gaps = frame[is_row]["smallest_gap"].dropna()
    return float(gaps.median()) if len(gaps) else None


def not_shown(results: Results, split: str, runs: list[ModelVariant]) -> str:
    """What "not above its null" can mean: how large a gap would have been missed."""
    parts = []
    for metric, name in METRIC_NAMES.items():
        gaps = [smallest_gap(results, run, split, metric) for run in runs]
        known_gaps = [gap for gap in gaps if gap is not None]
        if known_gaps:
            parts.append(f"{value_range(known_gaps)} in {name}")
    if not parts:
        return ""
    return (
        "Elsewhere it is not shown, which does not make it absent: one subgroup's gap to the rest "
        f"would have to be {listed(parts)} for 80% of such studies to find it."
    )


def paradox_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """Whether accuracy's inequality fell while NMAE's rose, both shown by one joint test."""
    alpha = 1 - results.settings.evaluation.confidence_level
    frame = results.inequality_changes
    frame = frame[(frame["split"] == split) & (frame["level"] == SUBGROUPS)]
    shown: dict[str, list[str]] = {}
    n_tested: dict[str, int] = {}
    for statistic in STATISTICS:
        rows = frame[(frame["statistic"] == statistic) & (frame["metric"] == "nmae")]
        valid = rows[rows["q_joint"].notna()]
        n_tested[statistic] = len(valid)
        shown[statistic] = [
            label((str(row["model"]), str(row["variant"])), results.settings)
            for row in records(valid[valid["q_joint"] < alpha])
        ]
    total = max(n_tested.values(), default=0)
    if not total:
        if tuned_runs(results.settings) and len(frame):
            return "A change of inequality with tuning could not be tested.", []
        return "There is no fine-tune whose inequality can be compared with its base's.", []
    counts = " and ".join(
        f"in {len(shown[s]) or 'none'} of {plural(n_tested[s], 'fine-tune')} by {name}"
        for s, name in STATISTICS.items()
    )
    answer = (
        "The paradox (inequality of accuracy falls, that of NMAE rises) is shown "
        f"{counts}, where one test asks for both (q < {alpha:.2g})."
    )
    names = list(dict.fromkeys(name for each in shown.values() for name in each))
    details = [f"Shown in {listed(names)}."] if names else []
    details += _single_changes(frame, alpha)
    return answer, details[:NAMED]


def _single_changes(frame: pd.DataFrame, alpha: float) -> list[str]:
    """How CV of each metric changed, and how much of it the mean alone would do."""
    lines = []
    for metric, name in METRIC_NAMES.items():
        rows = frame[(frame["metric"] == metric) & (frame["statistic"] == "cv")]
        rows = rows[rows["q_value"].notna()]
        if not len(rows):
            continue
        clear = rows[rows["q_value"] < alpha]
        falls, rises = int((clear["value"] < 0).sum()), int((clear["value"] > 0).sum())
        raw = (rows["raw_tuned"] - rows["raw_base"]).tolist()
        by_mean = rows["raw_by_mean"].tolist()
        lines.append(
            f"CV of {name}: a clear fall in {falls}, a clear rise in {rises} of "
            f"{plural(len(rows), 'fine-tune')}; its plain change is {_signed_range(raw)}, of which "
            f"the mean alone makes {_signed_range(by_mean)}."
        )
    return lines


def _signed_range(values: list[float]) -> str:
    low, high = decimal(min(values), signed=True), decimal(max(values), signed=True)
    return low if low == high else f"{low} to {high}"


def groups_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """Which groups of the axes a run serves better or worse than the rest, by test."""
    settings = results.settings
    alpha = 1 - settings.evaluation.confidence_level
    frame = results.contrasts
    frame = frame[(frame["split"] == split) & (frame["level"] != SUBGROUPS)]
    frame = frame[(frame["metric"] == "accuracy") & (frame["reading"] == "raw")]
    runs = [run for run in main_runs(settings) if len(_of_run(frame, run))]
    if not runs:
        return f"No groups of an axis can be compared on {split}.", []
    clear: dict[ModelVariant, list[Row]] = {}
    for run in runs:
        rows = records(_of_run(frame, run))
        clear[run] = [row for row in rows if _is_clear(row, alpha)]
    n_tests = sum(int(_of_run(frame, run)["q_value"].notna().sum()) for run in runs)
    if not n_tests:
        return f"No contrast of groups could be tested on {split}.", []
    count = sum(map(len, clear.values()))
    kind = "language-model run" if llm_runs(settings) else "baseline"
    answer = (
        f"Of {plural(n_tests, 'contrast')} of groups in accuracy over {plural(len(runs), kind)} "
        f"on {split}, {count or 'none'} {'is' if count <= 1 else 'are'} clear (q < {alpha:.2g})."
    )
    ranked = sorted(
        ((run, row) for run, rows in clear.items() for row in rows),
        key=lambda item: -abs(float(str(item[1]["value"]))),
    )
    details = [_contrast_line(results, run, row) for run, row in ranked[:NAMED]]
    if not details:
        gaps = frame["smallest_gap"].dropna().astype(float).tolist()
        if gaps:
            details = [
                "What is not shown may be there: 80% of such studies would find a gap of "
                f"{value_range(gaps)}, by group and run."
            ]
    return answer, details


def _of_run(frame: pd.DataFrame, run: ModelVariant) -> pd.DataFrame:
    return frame[(frame["model"] == run[0]) & (frame["variant"] == run[1])]


def _is_clear(row: Row, alpha: float) -> bool:
    return bool(to_estimate(row).direction(1 - alpha))


def _contrast_line(results: Results, run: ModelVariant, row: Row) -> str:
    gap = to_estimate(row)
    axis = results.settings.axes.get(str(row["level"]), str(row["level"]))
    other = "the rest" if row["other_group"] == "rest" else cell_label(str(row["other_group"]))
    return (
        f"{label(run, results.settings)}, {axis}: {cell_label(str(row['group']))} against {other} "
        f"{with_interval(gap, signed=True)}, {tested(gap)}."
    )
