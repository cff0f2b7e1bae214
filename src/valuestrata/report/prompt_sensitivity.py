"""Prompt sensitivity: what other prompts change, as a table and as a finding. Pure."""

from collections.abc import Mapping

from valuestrata.report.comparison import Metric
from valuestrata.report.display import Cell, Table, cell, difference_cell
from valuestrata.report.phrases import listed, plural, value_range
from valuestrata.report.results import Estimate, Results
from valuestrata.report.runs import BASE, ModelVariant, label, prompt_variant_runs
from valuestrata.study.prompts import PromptVariant
from valuestrata.study.study import variant_name, variant_parts

COLUMNS = (
    "Run",
    "Prompt variant",
    "Accuracy",
    "Accuracy, minus the study's prompt",
    "Disagreement rate",
    "Refusals, minus the study's prompt",
    "Accuracy in this prompt, minus base",
)


def sensitivity_table(
    results: Results, split: str, prompt_rules: Mapping[str, PromptVariant]
) -> Table:
    """A row a run in another prompt: its accuracy, and what changed on the same pairs."""
    settings = results.settings
    rows = []
    for run in prompt_variant_runs(settings):
        plain = _own_prompt(run)
        prompt = variant_parts(run[1])[1]
        base = (run[0], variant_name(BASE, prompt))
        tuning = results.difference(run, base, split, "accuracy") if plain[1] != BASE else None
        accuracy = results.difference(run, plain, split, "accuracy")
        refusal = results.difference(run, plain, split, "refusal")
        rows.append(
            (
                Cell(label(plain, settings)),
                Cell(prompt),
                cell(results.metric(run, split, "accuracy")),
                difference_cell(accuracy, Metric("accuracy")),
                cell(results.difference(run, plain, split, "disagreement_rate"), rate=True),
                difference_cell(refusal, Metric("refusal")),
                difference_cell(tuning, Metric("accuracy")),
            )
        )
    note = " ".join(f"{name}: {rule_text(rule)}." for name, rule in prompt_rules.items())
    return Table(f"Prompt sensitivity, {split}", COLUMNS, tuple(rows), heads=2, note=note)


def rule_text(rule: PromptVariant) -> str:
    """What a prompt variant changes: `template mandarin, options reversed`."""
    return ", ".join(f"{key} {value}" for key, value in rule.changes().items())


def sensitivity_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """How many answers change with the prompt, and whether accuracy does."""
    level = results.settings.evaluation.confidence_level
    rates: list[Estimate] = []
    directions: list[int] = []
    for run in prompt_variant_runs(results.settings):
        rate = results.difference(run, _own_prompt(run), split, "disagreement_rate")
        accuracy = results.difference(run, _own_prompt(run), split, "accuracy")
        if rate is not None and rate.exists:
            rates.append(rate)
            directions.append(0 if accuracy is None else accuracy.direction(level))
    if not rates:
        return f"No pair of {split} was answered in two prompts.", []
    changes = [f"falls clearly in {directions.count(-1)}"] if -1 in directions else []
    changes += [f"rises clearly in {directions.count(1)}"] if 1 in directions else []
    answer = (
        f"Another prompt changes {value_range([r.value for r in rates], rate=True)} of the answers "
        f"on {split}; accuracy {listed(changes) or 'changes clearly in none'} of "
        f"{plural(len(rates), 'run')} in a prompt variant."
    )
    return answer, []


def _own_prompt(run: ModelVariant) -> ModelVariant:
    """The same variant in the study's own prompt."""
    return run[0], variant_parts(run[1])[0]
