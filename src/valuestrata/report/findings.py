"""Findings: a question, one sentence made from the numbers, and at most three details. Pure.

A difference counts as clear where its interval excludes 0 and its q-value, or its p-value where it
belongs to no family of tests, is below 1 - confidence_level. What was not tested is said to be so,
and what is not clear is never said to be absent.
"""

from collections.abc import Callable
from dataclasses import dataclass

from valuestrata.report.answer_findings import refusals_finding
from valuestrata.report.baseline_findings import baselines_finding, best_baseline_finding
from valuestrata.report.ceiling_findings import ceiling_finding
from valuestrata.report.comparison import Metric
from valuestrata.report.disagreement_findings import disagreement_finding
from valuestrata.report.fairness_findings import (
    groups_finding,
    inequality_finding,
    paradox_finding,
)
from valuestrata.report.human_agreement import unreliable
from valuestrata.report.phrases import listed, sentence, value_range
from valuestrata.report.prompt_sensitivity import sensitivity_finding
from valuestrata.report.results import Estimate, Results
from valuestrata.report.runs import (
    ModelVariant,
    label,
    llm_runs,
    prompt_variant_runs,
    tested_splits,
)
from valuestrata.report.tuning_findings import tuning_finding

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
            made.append(Finding(question + where, answer, tuple(details[:MAX_DETAILS])))
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
            "Which groups are served differently?": groups_finding,
        }
    questions: dict[str, Callable[[Results, str], Answer]] = {
        "Does fine-tuning help?": tuning_finding,
        "Do baselines still win?": baselines_finding,
        "How close do runs come to the noise ceiling?": ceiling_finding,
        "Who refuses to answer?": refusals_finding,
        "Is inequality above its null?": inequality_finding,
        "Which groups are served differently?": groups_finding,
        "Does accuracy become fairer and error less fair with tuning?": paradox_finding,
    }
    if settings.judges:
        questions["What does the judge prefer?"] = judge_finding
    if prompt_variant_runs(settings):
        questions["How sensitive are answers to the prompt?"] = sensitivity_finding
    return questions


def judge_finding(results: Results, split: str) -> Answer:
    """Win rates against the reference by each judge's first dimension, and how often it flips."""
    judges = [
        (judge, dimensions[0])
        for judge in results.settings.judges
        if (dimensions := results.dimensions(judge, split))
    ]
    if not judges:
        return f"No judge compared open-ended answers on {split}.", []
    clauses = [_preference(results, split, judge, dimension) for judge, dimension in judges]
    doubtful = unreliable(results)
    details = [
        f"{judge} is less reliable than people on {dimension}, by their annotations."
        for judge, dimension in judges
        if (judge, dimension) in doubtful
    ]
    details += [line for each in judges if (line := _flips(results, split, *each))]
    return sentence("; ".join(clauses)), details[:MAX_DETAILS]


def _preference(results: Results, split: str, judge: str, dimension: str) -> str:
    """`on Overall, judge puts a above b`."""
    settings = results.settings
    reference = settings.references.get(judge)
    target = label(reference, settings) if reference else "its reference"
    rates = _judged(results, split, Metric("win_rate", judge, dimension))
    above = [label(run, settings) for run, rate in rates if rate.ci_low > 0.5]
    below = [label(run, settings) for run, rate in rates if rate.ci_high < 0.5]
    parts = [f"{listed(above)} above {target}"] if above else []
    parts += [f"{listed(below)} below {target}"] if below else []
    verdict = f"ranks {' and '.join(parts)}" if parts else f"tells no run apart from {target}"
    return f"on {dimension}, {judge} {verdict}"


def _flips(results: Results, split: str, judge: str, dimension: str) -> str:
    """How often a judge's verdict depends on the order of the answers; '' if unknown."""
    rates = _judged(results, split, Metric("flip_rate", judge, dimension))
    if not rates:
        return ""
    flips = [rate.value for _, rate in rates]
    line = f"{judge} flips its verdict with the order of answers in "
    line += f"{value_range(flips, rate=True)} of comparisons"
    return f"{line}: its win rates carry little weight." if max(flips) >= 0.5 else f"{line}."


def _judged(results: Results, split: str, metric: Metric) -> list[tuple[ModelVariant, Estimate]]:
    """A judge's rate for each run but its reference."""
    reference = results.settings.references.get(metric.judge)
    by_run = [
        (run, results.metric(run, split, metric))
        for run in llm_runs(results.settings)
        if run != reference
    ]
    return [(run, rate) for run, rate in by_run if rate is not None and rate.exists]
