"""Findings on baselines: whether they still win, and which of them is best. Pure sentences."""

from valuestrata.report.answer_findings import answers_few
from valuestrata.report.comparison import ALL_PAIRS
from valuestrata.report.phrases import listed, tested, with_interval
from valuestrata.report.results import TIED, Estimate, Results
from valuestrata.report.runs import ModelVariant, baseline_runs, label, llm_runs, tuned_runs

SELECTED = "The best run is selected by this same score, which favours it slightly."


def best_runs(
    results: Results, split: str, runs: list[ModelVariant] | None = None
) -> dict[ModelVariant, Estimate]:
    """The runs with the highest accuracy, all that tie; of tuned runs where there are any.

    Where one of the runs answers few pairs, over all pairs: a run that answers what is easy leads
    otherwise. The score is the accuracy that it is best by.
    """
    candidates = runs or tuned_runs(results.settings) or llm_runs(results.settings)
    metric = score_name(results, split, candidates)
    scores = {
        run: score
        for run in candidates
        if (score := results.metric(run, split, metric)) is not None and score.exists
    }
    top = max((score.value for score in scores.values()), default=0.0)
    return {run: score for run, score in scores.items() if score.value >= top - TIED}


def score_name(results: Results, split: str, runs: list[ModelVariant]) -> str:
    """Accuracy among answers, or over all pairs where one of the runs answers few."""
    few = any(answers_few(results, run, split) for run in runs)
    return ALL_PAIRS if few else "accuracy"


def best_run(results: Results, split: str) -> tuple[ModelVariant, Estimate] | None:
    """The first of the best runs."""
    return next(iter(best_runs(results, split).items()), None)


def baselines_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """The best tuned run, or all that tie, against each baseline on the same pairs."""
    settings = results.settings
    best = best_runs(results, split)
    if not best or not baseline_runs(settings):
        missing = "language model" if not best else "baseline"
        return f"There is no {missing} with a score to compare.", []
    candidates = tuned_runs(settings) or llm_runs(settings)
    metric = score_name(results, split, candidates)
    names = [label(run, settings) for run in best]
    directions: dict[str, list[int | None]] = {}
    is_shared = False
    level = settings.evaluation.confidence_level
    for baseline in baseline_runs(settings):
        gaps = [results.difference(run, baseline, split, metric) for run in best]
        is_shared = is_shared or any(gap is not None and gap.exists for gap in gaps)
        directions[baseline[0]] = [
            None if gap is None or gap.tested is None else gap.direction(level) for gap in gaps
        ]
    if not is_shared:
        return f"No baseline shares a pair with {listed(names)} on {split}.", []
    answer, unclear, untested = _verdict(
        directions, _named(results, split, best, metric), len(best) > 1
    )
    details = [f"No clear difference to {listed(unclear)}."] if unclear else []
    details += [f"Not tested against {listed(untested)}."] if untested else []
    if len(candidates) > 1:
        details.append(SELECTED)
    return answer, details


def _named(results: Results, split: str, best: dict[ModelVariant, Estimate], metric: str) -> str:
    """`the best tuned run on ood, m sft (accuracy 0.6)`; `the best tuned runs on ood, a and b`."""
    settings = results.settings
    kind = "tuned run" if tuned_runs(settings) else "language model"
    score = with_interval(next(iter(best.values())))
    where = " over all pairs" if metric == ALL_PAIRS else ""
    names = listed([label(run, settings) for run in best])
    plural = "s" if len(best) > 1 else ""
    each = " each" if len(best) > 1 else ""
    return f"the best {kind}{plural} on {split}, {names} (accuracy{where} {score}{each})"


def _verdict(
    directions: dict[str, list[int | None]], name: str, several: bool
) -> tuple[str, list[str], list[str]]:
    """The answer, the baselines that it leaves open, and those that were not tested."""
    better = [b for b, d in directions.items() if all(x == -1 for x in d)]
    worse = [b for b, d in directions.items() if all(x == 1 for x in d)]
    untested = [b for b, d in directions.items() if None in d]
    unclear = [b for b in directions if b not in {*better, *worse, *untested}]
    verb = "are" if several else "is"
    if better:
        be = "is" if len(better) == 1 else "are"
        answer = f"Yes: {listed(better)} {be} still better than {name}."
    elif len(worse) == len(directions):
        answer = f"No: {name} {verb} better than every baseline."
    elif len(untested) == len(directions):
        answer = f"Not tested: no baseline could be tested against {name}."
    else:
        answer = f"Not clearly: no baseline is clearly better than {name}."
    return answer, unclear, untested


def best_baseline_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """The baselines with the highest accuracy against each other one, on the same pairs."""
    settings = results.settings
    best = best_runs(results, split, baseline_runs(settings))
    if not best:
        return f"No baseline has a score on {split}.", []
    names = [label(run, settings) for run in best]
    first, score = next(iter(best.items()))
    answer = f"On {split} the highest accuracy is {with_interval(score)}, of {listed(names)}"
    gaps = {
        label(run, settings): gap
        for run in baseline_runs(settings)
        if run not in best
        and (gap := results.difference(first, run, split, "accuracy")) is not None
    }
    if not gaps:
        others = len(baseline_runs(settings)) > len(best) or len(best) == 1
        return f"{answer}{', which is compared with no other baseline' if others else ''}.", []
    level = settings.evaluation.confidence_level
    below = [name for name, gap in gaps.items() if gap.direction(level) > 0]
    untested = [name for name, gap in gaps.items() if gap.tested is None]
    unclear = [name for name in gaps if name not in {*below, *untested}]
    clauses = [f"clearly above {listed(below)}"] if below else []
    clauses += [f"not clearly above {listed(unclear)}"] if unclear else []
    clauses += [f"not tested against {listed(untested)}"] if untested else []
    nearest = min(gaps, key=lambda name: gaps[name].value)
    details = [
        f"Nearest is {nearest}: the difference is {with_interval(gaps[nearest], signed=True)}, "
        f"{tested(gaps[nearest])}.",
        "The best baseline is selected by this same score, which favours it slightly.",
    ]
    return f"{answer}: {', '.join(clauses)}.", details
