"""The finding on fine-tuning: accuracy against the base's, in every reading. Pure sentences."""

from valuestrata.report.answer_findings import answers_few, readings_line
from valuestrata.report.comparison import ALL_PAIRS
from valuestrata.report.phrases import (
    count_range,
    listed,
    plural,
    tested,
    value_range,
    with_interval,
)
from valuestrata.report.results import Estimate, Results
from valuestrata.report.runs import BASE, ModelVariant, label, tuned_runs

MAX_DETAILS = 3
Gaps = list[tuple[ModelVariant, Estimate]]


def tuning_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """Each tuned variant's accuracy against its base's, on the same pairs.

    Where a run answers few pairs, also over all pairs, no answer counted as not met.
    """
    gaps = base_differences(results, split, "accuracy")
    apart = _incomparable(results, split, [run for run, _ in gaps])
    few = [
        run
        for run in tuned_runs(results.settings)
        if any(answers_few(results, each, split) for each in ((run[0], BASE), run))
    ]
    readings = [line for run in few if (line := readings_line(results, split, run))]
    over_all = _over_all(results, split) if few else ""
    if not gaps:
        answer = _no_difference(results, split, bool(apart))
        if over_all:
            answer = f"{answer.removesuffix('.')}; {over_all}."
        return answer, [*readings, *apart][:MAX_DETAILS]
    level = results.settings.evaluation.confidence_level
    answer = _changes([gap for _, gap in gaps], level, f"accuracy on {split}")
    if over_all:
        answer += f"; {over_all}"
    n, missing = [gap.n for _, gap in gaps], [gap.missing for _, gap in gaps]
    details = [f"Based on {count_range(n)} pairs that both runs answered."] if any(missing) else []
    details += [*readings, *_open_differences(results, gaps), *apart]
    return f"{answer}.", details[:MAX_DETAILS]


def _changes(gaps: list[Estimate], level: float, what: str) -> str:
    """How many fine-tunes raise and lower something clearly, and by how much."""
    rises = [gap.value for gap in gaps if gap.direction(level) > 0]
    falls = [-gap.value for gap in gaps if gap.direction(level) < 0]
    of = f"of {plural(len(gaps), 'fine-tune')}"
    clauses = []
    if rises:
        clauses.append(f"raises {what} in {len(rises)} {of}, by {value_range(rises)}")
    if falls and rises:
        clauses.append(f"lowers it in {len(falls)}, by {value_range(falls)}")
    elif falls:
        clauses.append(f"lowers {what} in {len(falls)} {of}, by {value_range(falls)}")
    if clauses:
        return f"Fine-tuning {', and '.join(clauses)}"
    untested = sum(gap.tested is None for gap in gaps)
    if untested == len(gaps):
        return f"In none {of} was a change of {what} tested"
    rest = f" ({untested} not tested)" if untested else ""
    return f"In none {of} does {what} change clearly{rest}"


def _over_all(results: Results, split: str) -> str:
    """The same over all pairs, as a clause; '' where that was not compared."""
    gaps = [gap for _, gap in base_differences(results, split, ALL_PAIRS)]
    if not gaps:
        return ""
    level = results.settings.evaluation.confidence_level
    rises, falls = ([abs(gap.value) for gap in gaps if gap.direction(level) == d] for d in (1, -1))
    of = f"of {plural(len(gaps), 'fine-tune')}"
    parts = [f"rises clearly in {len(rises)} {of}, by {value_range(rises)}"] if rises else []
    parts += [f"falls clearly in {len(falls)} {of}, by {value_range(falls)}"] if falls else []
    what = listed(parts) or f"changes clearly in none {of}"
    return f"over all pairs, with no answer counted as not met, it {what}"


def _no_difference(results: Results, split: str, is_tested: bool) -> str:
    """Why no fine-tune has a difference to its base on a split."""
    if is_tested:
        return f"No fine-tune answers a pair on {split} that its base answers, too."
    if tuned_runs(results.settings):
        return f"No fine-tune is tested on {split}."
    return "No model was fine-tuned in this study."


def _incomparable(results: Results, split: str, compared: list[ModelVariant]) -> list[str]:
    """A line for each fine-tune tested on a split that shares no answered pair with its base."""
    lines = []
    for run in tuned_runs(results.settings):
        pair = [(run[0], BASE), run]
        scores = [results.metric(each, split, "accuracy") for each in pair]
        counts = [
            f"{label(each, results.settings)} answers {score.n:,} of {score.n + score.missing:,}"
            for each, score in zip(pair, scores, strict=True)
            if score is not None
        ]
        if run not in compared and len(counts) == len(pair):
            lines.append(f"{', '.join(counts)} pairs, and none is answered by both.")
    return lines


def base_differences(results: Results, split: str, metric: str) -> Gaps:
    """Tuned variants minus their base."""
    gaps = [
        (run, results.difference(run, (run[0], BASE), split, metric))
        for run in tuned_runs(results.settings)
    ]
    return [(run, gap) for run, gap in gaps if gap is not None and gap.exists]


def _open_differences(results: Results, gaps: Gaps) -> list[str]:
    """A line for the differences whose interval and test disagree."""
    alpha = 1 - results.settings.evaluation.confidence_level
    undecided = [
        f"{label(run, results.settings)} ({with_interval(gap, signed=True)}, {tested(gap)})"
        for run, gap in gaps
        if gap.tested is not None and (gap.ci_low > 0 or gap.ci_high < 0) != (gap.tested < alpha)
    ]
    return [f"Interval and test disagree for {listed(undecided)}."] if undecided else []
