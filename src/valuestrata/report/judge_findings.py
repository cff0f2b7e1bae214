"""The finding on judges: which runs they rank above or below the reference. Pure.

A run is ranked where interval and test (q over the runs) agree, on enough comparisons.
"""

from collections.abc import Mapping
from typing import Any

from valuestrata.report.comparison import Metric
from valuestrata.report.human_agreement import unreliable
from valuestrata.report.phrases import listed, plural, sentence, value_range
from valuestrata.report.results import Results, to_estimate
from valuestrata.report.runs import BASE, ModelVariant, label, llm_runs, tuned_runs
from valuestrata.report.win_rate_tables import is_enough, self_preference, too_few

Row = Mapping[str, Any]
MAX_DETAILS = 3


def judge_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """Win rates against the reference by each judge's first dimension, and what they are worth."""
    judges = [
        (judge, dimensions[0])
        for judge in results.settings.judges
        if (dimensions := results.dimensions(judge, split))
    ]
    if not judges:
        return f"No judge compared open-ended answers on {split}.", []
    answer = "; ".join(_preference(results, split, *each) for each in judges)
    doubtful = unreliable(results)
    details = [
        f"{judge} is less reliable than {results.annotators} on {dimension}, by their annotations."
        for judge, dimension in judges
        if (judge, dimension) in doubtful
    ]
    for make in (_flips, _tuning, _length):
        details += [line for each in judges if (line := make(results, split, *each))]
    details += [line for judge, _ in judges for line in self_preference(results.settings, judge)]
    return sentence(answer), details[:MAX_DETAILS]


def _preference(results: Results, split: str, judge: str, dimension: str) -> str:
    """`on Overall, judge ranks a above b`; of runs with too few comparisons nothing but that."""
    settings = results.settings
    reference = settings.references.get(judge)
    target = label(reference, settings) if reference else "its reference"
    rows = _rows(results, split, judge, dimension, "win_rate")
    if not rows:
        return f"on {dimension}, {judge} gave no verdict on {split}"
    enough = {run: _direction(row, results) for run, row in rows.items() if is_enough(row)}
    if not enough:
        most = max(rows.values(), key=lambda row: int(row["n"]))
        return f"on {dimension}, {judge} has compared too little to rank a run ({too_few(most)})"
    above, below = (
        [label(run, settings) for run, way in enough.items() if way == sign] for sign in (1, -1)
    )
    parts = [f"{listed(above)} above {target}"] if above else []
    parts += [f"{listed(below)} below {target}"] if below else []
    verdict = f"ranks {' and '.join(parts)}" if parts else f"tells no run apart from {target}"
    return f"on {dimension}, {judge} {verdict}"


def _rows(
    results: Results, split: str, judge: str, dimension: str, statistic: str
) -> dict[ModelVariant, Row]:
    """A statistic of each run that has one, but of the reference's."""
    reference = results.settings.references.get(judge)
    by_run = {
        run: results.verdicts(run, split, judge, dimension, statistic)
        for run in llm_runs(results.settings)
        if run != reference
    }
    return {r: row for r, row in by_run.items() if row is not None and to_estimate(row).exists}


def _direction(row: Row, results: Results) -> int:
    """1 where a win rate is clearly above one half, -1 below, 0 where it is not told apart."""
    estimate = to_estimate(row)
    alpha = 1 - results.settings.evaluation.confidence_level
    if estimate.tested is None or not estimate.tested < alpha:
        return 0
    return 1 if estimate.ci_low > 0.5 else -1 if estimate.ci_high < 0.5 else 0


def _flips(results: Results, split: str, judge: str, dimension: str) -> str:
    """How often a judge's verdict depends on the order of the answers; '' if unknown."""
    plain = _rows(results, split, judge, dimension, "win_rate")
    rows = _rows(results, split, judge, dimension, "flip_rate")
    rates = [row for run, row in rows.items() if is_enough(plain.get(run))]
    if not rates:
        return ""
    flips = [float(row["value"]) for row in rates]
    line = f"{judge} flips its verdict with the order of answers in "
    line += f"{value_range(flips, rate=True)} of comparisons"
    is_shown = any(to_estimate(row).ci_low > 0.5 for row in rates)
    return f"{line}: its win rates carry little weight." if is_shown else f"{line}."


def _tuning(results: Results, split: str, judge: str, dimension: str) -> str:
    """In how many fine-tunes the win rate rises or falls, by the paired test; '' without one."""
    level = results.settings.evaluation.confidence_level
    metric = Metric("win_rate", judge, dimension)
    gaps = []
    for run in tuned_runs(results.settings):
        rows = [
            results.verdicts(r, split, judge, dimension, "win_rate") for r in (run, (run[0], BASE))
        ]
        gap = results.difference(run, (run[0], BASE), split, metric)
        if gap is not None and gap.exists and all(map(is_enough, rows)):
            gaps.append(gap)
    if not gaps:
        return ""
    rises, falls = (sum(gap.direction(level) == sign for gap in gaps) for sign in (1, -1))
    changes = f"rises with tuning in {rises} and falls in {falls}"
    return f"The win rate by {judge} {changes} of {plural(len(gaps), 'fine-tune')}, paired."


def _length(results: Results, split: str, judge: str, dimension: str) -> str:
    """Which runs the test ranks otherwise once length is controlled for; '' for none."""
    reference = results.settings.references.get(judge)
    target = label(reference, results.settings) if reference else "its reference"
    plain = _rows(results, split, judge, dimension, "win_rate")
    controlled = _rows(results, split, judge, dimension, "length_controlled")
    ways = {1: f"ranked above {target}", -1: f"ranked below {target}", 0: "not told apart"}
    changed: dict[str, list[str]] = {}
    for run, row in controlled.items():
        if not is_enough(plain.get(run)):
            continue
        before, after = _direction(plain[run], results), _direction(row, results)
        if before != after:
            change = f"{ways[after]} (without: {ways[before]})"
            changed.setdefault(change, []).append(label(run, results.settings))
    if not changed:
        return ""
    sentences = [
        f"{listed(runs)} {'is' if len(runs) == 1 else 'are'} {change}"
        for change, runs in changed.items()
    ]
    return f"With length controlled, {listed(sentences)} by {judge}."
