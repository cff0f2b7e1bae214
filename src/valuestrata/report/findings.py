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
from valuestrata.report.disagreement_findings import disagreement_finding
from valuestrata.report.fairness_findings import (
    groups_finding,
    inequality_finding,
    paradox_finding,
)
from valuestrata.report.judge_findings import judge_finding
from valuestrata.report.perturbation_tables import perturbation_finding
from valuestrata.report.prompt_sensitivity import sensitivity_finding
from valuestrata.report.results import Results
from valuestrata.report.runs import (
    llm_runs,
    prompt_variant_runs,
    tested_splits,
)
from valuestrata.report.tuning_findings import tuning_finding

Answer = tuple[str, list[str]]
"""An answer and its details."""
MAX_DETAILS = 3
PERTURBED = "How far do answers hang on how they are asked?"
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
    if results.sensitivity is not None:
        questions[PERTURBED] = perturbation_finding
    if prompt_variant_runs(settings):
        questions["How sensitive are answers to the prompt?"] = sensitivity_finding
    return questions
