"""The finding of a study of baselines alone: which is best, and whether clearly. Pure sentences."""

from valuestrata.report.phrases import listed, p_value, with_interval
from valuestrata.report.results import Results
from valuestrata.report.runs import baseline_runs, label


def best_baseline_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """The baseline with the highest accuracy against each other one, on the same pairs."""
    settings = results.settings
    scores = {
        run: score
        for run in baseline_runs(settings)
        if (score := results.metric(run, split, "accuracy")) is not None and score.exists
    }
    if not scores:
        return f"No baseline has a score on {split}.", []
    best = max(scores, key=lambda run: scores[run].value)
    answer = (
        f"On {split} the highest accuracy is {with_interval(scores[best])}, "
        f"of {label(best, settings)}"
    )
    gaps = {
        label(run, settings): gap
        for run in scores
        if run != best and (gap := results.difference(best, run, split, "accuracy")) is not None
    }
    if not gaps:
        return f"{answer}, which is compared with no other baseline.", []
    level = settings.evaluation.confidence_level
    below = [name for name, gap in gaps.items() if gap.direction(level) > 0]
    unclear = [name for name in gaps if name not in below]
    clauses = [f"clearly above {listed(below)}"] if below else []
    clauses += [f"not clearly above {listed(unclear)}"] if unclear else []
    nearest = min(gaps, key=lambda name: gaps[name].value)
    details = [
        f"Nearest is {nearest}: the difference is {with_interval(gaps[nearest], signed=True)}, "
        f"{p_value(gaps[nearest].p_value)}.",
        "The best baseline is selected by this same score, which favours it slightly.",
    ]
    return f"{answer}: {', '.join(clauses)}.", details
