"""The page's first screen: who is served, by how much, how sure, and the table of runs. Pure."""

from valuestrata.report.baseline_findings import best_run
from valuestrata.report.display import Cell, Table, cell
from valuestrata.report.findings import Finding
from valuestrata.report.phrases import METRICS, NONE, percent, plural, tested, with_interval
from valuestrata.report.results import SUBGROUPS, Estimate, Results, cell_label, to_estimate
from valuestrata.report.runs import (
    ModelVariant,
    all_runs,
    baseline_runs,
    label,
    llm_runs,
    tested_splits,
)

MAX_SENTENCES = 4
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
    """The best and worst served subgroup of the most accurate run, and whether that is chance."""
    settings = results.settings
    best = best_run(results, split) or _best_baseline(results, split)
    row = results.inequality(best[0], split, "accuracy", "norm_range") if best else None
    if best is None or row is None or not to_estimate(row).exists:
        return ""
    run, score = best
    ends = [
        (
            str(row[f"{end}_group"]),
            results.group(run, split, SUBGROUPS, str(row[f"{end}_group"]), "accuracy"),
        )
        for end in ("best", "worst")
    ]
    (high, top), (low, bottom) = ends
    n_groups = plural(int(row["n_groups"]), "subgroup")
    estimate = to_estimate(row)
    shown = tested(estimate)
    alpha = 1 - settings.evaluation.confidence_level
    what = "run" if llm_runs(settings) else "baseline"
    if estimate.tested is None:
        sure = "Whether that is more than chance is not tested."
    elif estimate.tested < alpha:
        sure = f"That is a wider gap than between {n_groups} that are served equally ({shown})."
    else:
        sure = f"As wide a gap is no surprise among {n_groups} that are served equally ({shown})."
    return (
        f"The most accurate {what}, {label(run, settings)}, gives the modal answer of "
        f"{_share(score)} of the pairs on {split}: most often for {cell_label(high)} "
        f"({_share(top)}), least often for {cell_label(low)} ({_share(bottom)}). "
        f"{sure}"
    )


def _best_baseline(results: Results, split: str) -> tuple[ModelVariant, Estimate] | None:
    scores = [
        (run, results.metric(run, split, "accuracy")) for run in baseline_runs(results.settings)
    ]
    valid = [(run, score) for run, score in scores if score is not None and score.exists]
    return max(valid, key=lambda pair: pair[1].value) if valid else None


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
        row = results.inequality(run, split, "accuracy", "norm_range") or {}
        ends = [_served(results, run, split, row.get(end)) for end in ("best_group", "worst_group")]
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


def _served(results: Results, run: ModelVariant, split: str, group: object) -> Cell:
    if group is None:
        return Cell(NONE)
    score = results.group(run, split, SUBGROUPS, str(group), "accuracy")
    return Cell(cell_label(str(group)), small=_share(score) if score else "")
