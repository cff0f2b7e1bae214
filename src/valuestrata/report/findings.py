"""Findings: a question, one sentence made from the numbers, and at most three details. Pure.

A difference counts as clear where its interval excludes 0 and its test has a p-value below
1 - confidence_level.
"""

from collections.abc import Callable
from dataclasses import dataclass

from valuestrata.report.baseline_findings import best_baseline_finding
from valuestrata.report.ceiling_findings import ceiling_finding
from valuestrata.report.disagreement_findings import disagreement_finding
from valuestrata.report.fairness_findings import inequality_finding, paradox_finding
from valuestrata.report.judge_findings import judge_finding
from valuestrata.report.phrases import (
    count_range,
    listed,
    p_value,
    percent,
    plural,
    sentence,
    value_range,
    with_interval,
)
from valuestrata.report.prompt_sensitivity import sensitivity_finding
from valuestrata.report.results import Estimate, Results
from valuestrata.report.runs import (
    BASE,
    ModelVariant,
    baseline_runs,
    label,
    llm_runs,
    prompt_variant_runs,
    tested_splits,
    tuned_runs,
)

Answer = tuple[str, list[str]]
"""An answer and its details."""
MAX_DETAILS = 3
BEST_BASELINE = "Which baseline is best?"


@dataclass(frozen=True)
class Finding:
    """A question, its answer in a sentence, and at most three details."""

    question: str
    answer: str
    details: tuple[str, ...] = ()


def findings(results: Results) -> list[Finding]:
    """All findings, those on a test split for each such split."""
    questions = _questions(results)
    splits = tested_splits(results.settings)
    made = []
    for split in splits:
        where = f" ({split})" if len(splits) > 1 else ""
        for question, find in questions.items():
            answer, details = find(results, split)
            made.append(Finding(question + where, answer, tuple(details)))
    answer, details = disagreement_finding(results)
    return [*made, Finding("Where do subgroups disagree?", answer, tuple(details))]


def _questions(results: Results) -> dict[str, Callable[[Results, str], Answer]]:
    """What can be asked of the study's runs."""
    settings = results.settings
    if not llm_runs(settings):
        return {
            BEST_BASELINE: best_baseline_finding,
            "How close do baselines come to the noise ceiling?": ceiling_finding,
            "Is inequality above its null?": inequality_finding,
        }
    questions: dict[str, Callable[[Results, str], Answer]] = {
        "Does fine-tuning help?": tuning_finding,
        "Do baselines still win?": baselines_finding,
        "How close do runs come to the noise ceiling?": ceiling_finding,
        "Who refuses to answer?": refusals_finding,
        "Is inequality above its null?": inequality_finding,
        "Does accuracy become fairer and error less fair with tuning?": paradox_finding,
    }
    if settings.judges:
        questions["What does the judge prefer?"] = judge_finding
    if prompt_variant_runs(settings):
        questions["How sensitive are answers to the prompt?"] = sensitivity_finding
    return questions


def tuning_finding(results: Results, split: str) -> Answer:
    """Each tuned variant's accuracy against its base's, on the same pairs."""
    level = results.settings.evaluation.confidence_level
    gaps = base_differences(results, split, "accuracy")
    apart = _incomparable(results, split, [run for run, _ in gaps])
    if not gaps:
        return _no_difference(results, split, bool(apart)), apart[:MAX_DETAILS]
    rises = [gap.value for _, gap in gaps if gap.direction(level) > 0]
    falls = [-gap.value for _, gap in gaps if gap.direction(level) < 0]
    of = f"of {plural(len(gaps), 'fine-tune')}"
    clauses = []
    if rises:
        clauses.append(f"raises accuracy on {split} in {len(rises)} {of}, by {value_range(rises)}")
    if falls and rises:
        clauses.append(f"lowers it in {len(falls)}, by {value_range(falls)}")
    elif falls:
        clauses.append(f"lowers accuracy on {split} in {len(falls)} {of}, by {value_range(falls)}")
    if clauses:
        answer = f"Fine-tuning {', and '.join(clauses)}."
    else:
        answer = f"In none {of} does accuracy on {split} change clearly."
    n, missing = [gap.n for _, gap in gaps], [gap.missing for _, gap in gaps]
    details = [f"Based on {count_range(n)} pairs that both runs answered."] if any(missing) else []
    return answer, [*details, *_open_differences(results, gaps), *apart][:MAX_DETAILS]


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


def base_differences(
    results: Results, split: str, metric: str
) -> list[tuple[ModelVariant, Estimate]]:
    """Tuned variants minus their base."""
    gaps = [
        (run, results.difference(run, (run[0], BASE), split, metric))
        for run in tuned_runs(results.settings)
    ]
    return [(run, gap) for run, gap in gaps if gap is not None and gap.exists]


def _open_differences(
    results: Results, gaps: list[tuple[ModelVariant, Estimate]], rate: bool = False
) -> list[str]:
    """A line for the differences whose interval and test disagree."""
    alpha = 1 - results.settings.evaluation.confidence_level
    undecided = [
        f"{label(run, results.settings)} ({with_interval(gap, rate, signed=True)}, "
        f"{p_value(gap.p_value)})"
        for run, gap in gaps
        if gap.p_value is not None and (gap.ci_low > 0 or gap.ci_high < 0) != (gap.p_value < alpha)
    ]
    return [f"Interval and test disagree for {listed(undecided)}."] if undecided else []


def best_run(results: Results, split: str) -> tuple[ModelVariant, Estimate] | None:
    """The tuned run with the highest accuracy; where none is tuned, of all language models."""
    candidates = tuned_runs(results.settings) or llm_runs(results.settings)
    scores = [(run, results.metric(run, split, "accuracy")) for run in candidates]
    valid = [(run, score) for run, score in scores if score is not None and score.exists]
    return max(valid, key=lambda pair: pair[1].value) if valid else None


def baselines_finding(results: Results, split: str) -> Answer:
    """The best tuned run against each baseline, on the same pairs."""
    settings = results.settings
    best = best_run(results, split)
    if best is None or not baseline_runs(settings):
        missing = "language model" if best is None else "baseline"
        return f"There is no {missing} with a score to compare.", []
    run, score = best
    by_baseline = [
        (b[0], results.difference(run, b, split, "accuracy")) for b in baseline_runs(settings)
    ]
    gaps = [(name, gap) for name, gap in by_baseline if gap is not None and gap.exists]
    if not gaps:
        return f"No baseline shares a pair with {label(run, settings)} on {split}.", []
    level = settings.evaluation.confidence_level
    better = [name for name, gap in gaps if gap.direction(level) < 0]
    unclear = [name for name, gap in gaps if gap.direction(level) == 0]
    what = "tuned run" if tuned_runs(settings) else "language model"
    name = f"the best {what} on {split}, {label(run, settings)} (accuracy {with_interval(score)})"
    if better:
        verb = "is" if len(better) == 1 else "are"
        answer = f"Yes: {listed(better)} {verb} still better than {name}."
    elif not unclear:
        answer = f"No: {name} is better than every baseline."
    else:
        answer = f"Not clearly: no baseline is clearly better than {name}."
    details = [f"No clear difference to {listed(unclear)}."] if unclear else []
    if len(tuned_runs(settings) or llm_runs(settings)) > 1:
        details.append("The best run is selected by this same score, which favours it slightly.")
    return answer, details


def refusals_finding(results: Results, split: str) -> Answer:
    """Refusal rates before and after tuning, and answers that could not be read."""
    level = results.settings.evaluation.confidence_level
    by_run = [(run, results.metric(run, split, "refusal")) for run in llm_runs(results.settings)]
    rates = {run: rate for run, rate in by_run if rate is not None and rate.exists}
    if not rates:
        return f"No language model was asked on {split}.", []
    before = [rate.value for run, rate in rates.items() if run[1] == BASE]
    after = [rate.value for run, rate in rates.items() if run[1] != BASE]
    clauses = []
    if before:
        refused = value_range(before, rate=True)
        clauses.append(f"base models refuse {refused} of the pairs on {split}")
    if after:
        clauses.append(f"tuned ones {value_range(after, rate=True)}")
    gaps = base_differences(results, split, "refusal")
    if gaps:
        falls = sum(gap.direction(level) < 0 for _, gap in gaps)
        clauses.append(f"a clear fall in {falls} of {plural(len(gaps), 'fine-tune')}")
    details = _open_differences(results, gaps, rate=True)
    unreadable = _unreadable(results, split, "invalid", "gave invalid answers")
    truncated = _unreadable(results, split, "truncated", "ran out of tokens before an answer")
    return sentence(", ".join(clauses)), [*unreadable, *truncated, *details]


def _unreadable(results: Results, split: str, metric: str, what: str) -> list[str]:
    """Which runs did something instead of answering, as a sentence; none if none did."""
    shares = {}
    for run in llm_runs(results.settings):
        invalid = results.metric(run, split, metric)
        if invalid is not None and invalid.value > 0:
            shares[label(run, results.settings)] = invalid.value
    if not shares:
        return []
    worst = max(shares, key=lambda name: shares[name])
    return [
        f"{plural(len(shares), 'run')} {what}, {worst} most: {percent(shares[worst])} of its pairs."
    ]
