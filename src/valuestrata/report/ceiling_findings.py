"""The finding on the noise ceiling: how close runs come to it. Pure sentences."""

from valuestrata.report.phrases import with_interval
from valuestrata.report.results import Results
from valuestrata.report.runs import BASE, label, llm_runs, tuned_runs


def ceiling_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """The best normalized gain in accuracy, from the best persona-agnostic baseline."""
    settings = results.settings
    ceiling = results.ceiling("noise_ceiling", split, "accuracy")
    if ceiling is None or not settings.persona_agnostic:
        return "The study has no persona-agnostic baseline to measure a normalized gain from.", []
    runs = tuned_runs(settings) or llm_runs(settings)
    by_run = [(run, results.normalized_gain(run, split, "accuracy")) for run in runs]
    gains = [(run, *gain) for run, gain in by_run if gain is not None and gain[1].exists]
    if not gains:
        return (
            f"On {split} the noise ceiling is not clearly above the best persona-agnostic "
            "baseline, so no normalized gain is given.",
            [],
        )
    best, baseline, gain = max(gains, key=lambda item: item[2].value)
    start = with_interval(results.metric((baseline, BASE), split, "accuracy"))
    name = label(best, settings)
    answer = (
        f"On {split} the highest normalized gain in accuracy is {with_interval(gain, rate=True)}, "
        f"of {name}: from {baseline} ({start}) to the noise ceiling ({with_interval(ceiling)})."
    )
    details = []
    if gain.value <= 0:
        details.append("No run is above the baseline.")
    if len(gains) > 1:
        details.append("The best run is selected by this same score, which favours it slightly.")
    return answer, details
