"""The finding on the noise ceiling: how close runs come to it. Pure sentences."""

from valuestrata.report.phrases import listed, points, tested, with_interval
from valuestrata.report.results import TIED, Estimate, Results
from valuestrata.report.runs import (
    BASE,
    ModelVariant,
    baseline_runs,
    label,
    llm_runs,
    tuned_runs,
)


def ceiling_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """The best normalized gain in accuracy, from the best persona-agnostic baseline."""
    settings = results.settings
    ceiling = results.ceiling("noise_ceiling", split, "accuracy")
    agnostic = [(name, BASE) for name in settings.persona_agnostic]
    if ceiling is None or not agnostic:
        return "The study has no persona-agnostic baseline to measure a normalized gain from.", []
    baselines = [run for run in baseline_runs(settings) if run not in agnostic]
    runs = tuned_runs(settings) or llm_runs(settings) or baselines
    kind = "tuned run" if tuned_runs(settings) else "run"
    gains = _gains(results, runs, split)
    if not gains:
        return _without_gain(results, agnostic, split), []
    best, baseline, gain = max(gains, key=lambda item: item[2].value)
    start = with_interval(results.metric((baseline, BASE), split, "accuracy"))
    tied = [label(run, settings) for run, _, g in gains if g.value >= gain.value - TIED]
    if gain.value > 0:
        answer = (
            f"On {split} the highest normalized gain in accuracy is "
            f"{with_interval(gain, rate=True)}, of {listed(tied)}: from {baseline} ({start}) to "
            f"the noise ceiling ({with_interval(ceiling)})."
        )
        details = [] if gain.ci_low > 0 else [f"It is not clearly above {baseline}."]
    else:
        distance = _distance(results, best, baseline, split)
        are = "is" if len(tied) == 1 else "are"
        answer = (
            f"On {split} no {kind} is above the best persona-agnostic baseline, {baseline} "
            f"({start}): {listed(tied)} {are} {distance}; the noise ceiling is "
            f"{with_interval(ceiling)}."
        )
        details = []
    if len(gains) > 1:
        details.append("The best run is selected by this same score, which favours it slightly.")
    return answer, details


def _distance(results: Results, run: ModelVariant, baseline: str, split: str) -> str:
    """`2.2 points below it (-0.022 [-0.040, -0.001], p = 0.030)`, on the pairs of both."""
    gap = results.difference(run, (baseline, BASE), split, "accuracy")
    if gap is None or not gap.exists:
        return "not above it"
    if gap.value >= 0:
        return "level with it"
    numbers = f"{with_interval(gap, signed=True)}, {tested(gap)}"
    level = results.settings.evaluation.confidence_level
    doubt = "" if gap.direction(level) else ", a difference that is not shown"
    return f"{points(gap.value)} below it ({numbers}{doubt})"


def _gains(
    results: Results, runs: list[ModelVariant], split: str
) -> list[tuple[ModelVariant, str, Estimate]]:
    """Run, baseline and normalized gain of those runs that have one."""
    by_run = [(run, results.normalized_gain(run, split, "accuracy")) for run in runs]
    return [(run, *gain) for run, gain in by_run if gain is not None and gain[1].exists]


def _without_gain(results: Results, agnostic: list[ModelVariant], split: str) -> str:
    """Why no run has a normalized gain: there is no room for one, or no run to have it."""
    ceiling = with_interval(results.ceiling("noise_ceiling", split, "accuracy"))
    starts = _gains(results, agnostic, split)
    if not starts:
        return (
            f"On {split} the noise ceiling ({ceiling}) is not clearly above the best "
            "persona-agnostic baseline, so no normalized gain is given."
        )
    baseline = starts[0][1]
    start = with_interval(results.metric((baseline, BASE), split, "accuracy"))
    if llm_runs(results.settings):
        reason = "no language model has a score"
    else:
        reason = "every baseline is persona-agnostic"
    return (
        f"On {split} {reason}, so there is no normalized gain between {baseline} ({start}) and the "
        f"noise ceiling ({ceiling})."
    )
