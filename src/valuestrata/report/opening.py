"""The page's first screen: who is served, by how much, how sure, and the table of runs. Pure."""

from typing import Any

from valuestrata.report.baseline_findings import best_runs, score_name
from valuestrata.report.comparison import ALL_PAIRS
from valuestrata.report.display import Cell, Table, cell
from valuestrata.report.findings import Finding
from valuestrata.report.phrases import (
    METRICS,
    NONE,
    listed,
    listed_some,
    percent,
    plural,
    tested,
    with_interval,
)
from valuestrata.report.results import SUBGROUPS, Estimate, Results, cell_label, to_estimate
from valuestrata.report.runs import (
    ModelVariant,
    all_runs,
    baseline_runs,
    label,
    llm_runs,
    tested_splits,
    tuned_runs,
)

MAX_SENTENCES = 4
WITHIN_CHANCE = "As wide a gap is no surprise among"
IN_THE_PICTURE = "noise ceiling"
"""Findings on it do not lead: the picture beside the sentences shows it."""


def opening_sentences(results: Results, made: list[Finding]) -> list[tuple[str, str]]:
    """Three to five questions with an answer of a sentence or two, of the first test split."""
    split = tested_splits(results.settings)[0]
    first = [
        finding
        for finding in made
        if finding.question.endswith((f"({split})", "?")) and IN_THE_PICTURE not in finding.question
    ]
    served = served_sentence(results, split)
    pairs = [("Who is served?", served)] if served else []
    pairs += [(finding.question, finding.answer) for finding in first]
    return pairs[:MAX_SENTENCES]


def served_sentence(results: Results, split: str) -> str:
    """The subgroups that the most accurate run serves best and worst, and whether that is chance.

    All runs that tie are named, and all subgroups; of runs that tie the first one's subgroups.
    """
    settings = results.settings
    by_kind = {
        "tuned run": tuned_runs(settings),
        "language model": llm_runs(settings),
        "baseline": baseline_runs(settings),
    }
    best = {kind: best_runs(results, split, runs) for kind, runs in by_kind.items() if runs}
    kind, scores = next(((k, runs) for k, runs in best.items() if runs), ("", {}))
    if not scores:
        return ""
    run, score = next(iter(scores.items()))
    row = results.inequality(run, split, "accuracy", "norm_range")
    if row is None or not to_estimate(row).exists or not results.group_names(split, SUBGROUPS):
        return ""
    names = [label(each, settings) for each in scores]
    over_all = score_name(results, split, by_kind[kind]) == ALL_PAIRS
    alike = f"alike for all {plural(int(row['n_groups']), 'subgroup')}."
    ends = _ends(results, run, split)
    of_one = f"{names[0]}: " if len(names) > 1 else ""
    return (
        f"The most accurate {kind}{'s' if len(names) > 1 else ''}, {listed(names)}, "
        f"give{'' if len(names) > 1 else 's'} the modal answer of {_share(score)} of "
        f"{'all ' if over_all else 'the '}pairs on {split}: {of_one}"
        f"{'of those answered ' if over_all else ''}"
        + (f"{ends}. {_how_sure(row, 1 - settings.evaluation.confidence_level)}" if ends else alike)
    )


def _ends(results: Results, run: ModelVariant, split: str) -> str:
    """`most often for old (60.0%), least often for a and b (40.0%)`; '' where all are alike."""
    ends = []
    for highest in (True, False):
        groups = results.extreme_groups(run, split, SUBGROUPS, "accuracy", highest)
        names = listed_some(list(map(cell_label, groups)))
        score = results.group(run, split, SUBGROUPS, groups[0], "accuracy") if groups else None
        each = " each" if len(groups) > 1 else ""
        ends.append(f"{'most' if highest else 'least'} often for {names} ({_share(score)}{each})")
        if len(groups) == len(results.group_names(split, SUBGROUPS)):
            return ""
    return ", ".join(ends)


def _how_sure(row: dict[str, Any], alpha: float) -> str:
    """Whether a gap is more than chance, no stronger than its test."""
    estimate = to_estimate(row)
    groups = plural(int(row["n_groups"]), "subgroup")
    if estimate.tested is None:
        return "Whether that is more than chance is not tested."
    gap = "That is a wider gap than between" if estimate.tested < alpha else WITHIN_CHANCE
    return f"{gap} {groups} that are served equally ({tested(estimate)})."


def _share(estimate: Estimate | None) -> str:
    return with_interval(estimate, rate=True)


def opening_table(results: Results) -> Table:
    """A row a run: answered, accuracy, NMAE, and whom it serves best and worst."""
    settings = results.settings
    split = tested_splits(settings)[0]
    has_llms = bool(llm_runs(settings))
    rows = []
    for run in all_runs(settings):
        accuracy, nmae = (results.metric(run, split, m) for m in ("accuracy", "nmae"))
        has_ends = results.inequality(run, split, "accuracy", "norm_range") is not None
        ends = [_served(results, run, split, has_ends, highest) for highest in (True, False)]
        answered = [Cell(_answered(accuracy))] if has_llms else []
        kind = "baseline" if run in baseline_runs(settings) and has_llms else ""
        name = Cell(label(run, settings), small=kind)
        rows.append((name, *answered, cell(accuracy), cell(nmae), *ends))
    heads = ["Run", *(["Answered"] if has_llms else []), METRICS["accuracy"], METRICS["nmae"]]
    columns = (*heads, "Served best", "Served worst")
    return Table(f"All runs on {split}", columns, tuple(rows))


def _answered(accuracy: Estimate | None) -> str:
    expected = 0 if accuracy is None else accuracy.n + accuracy.missing
    return percent(accuracy.n / expected) if accuracy is not None and expected else NONE


def _served(results: Results, run: ModelVariant, split: str, has_ends: bool, highest: bool) -> Cell:
    groups = results.extreme_groups(run, split, SUBGROUPS, "accuracy", highest)
    if not groups or not has_ends:
        return Cell(NONE)
    score = results.group(run, split, SUBGROUPS, groups[0], "accuracy")
    return Cell(listed_some(list(map(cell_label, groups))), small=_share(score) if score else "")
