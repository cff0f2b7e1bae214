"""Findings on what can be reached: how far a run gets towards perfect knowledge. Pure sentences."""

from valuestrata.report.phrases import CEILINGS, METRICS, estimate, listed, plural
from valuestrata.report.results import (
    BASE,
    Estimate,
    Results,
    System,
    all_runs,
    label,
    llm_runs,
    tuned,
)

REACHED = ("accuracy", "nmae", "wasserstein")


def reach(results: Results, split: str) -> tuple[str, list[str]]:
    """How much of the way from the best persona-persona_agnostic baseline to the ceiling each run goes."""
    spec = results.spec
    ceiling = results.ceiling("noise_ceiling", split, "accuracy")
    if ceiling is None or not spec.compare.persona_agnostic:
        return "The study has no baseline that knows no persona, so there is no way to measure.", []
    found = [
        (s, results.normalized_gain(s, split, "accuracy")) for s in tuned(spec) or llm_runs(spec)
    ]
    ways = [(s, way) for s, way in found if way is not None and way[1].known]
    if not ways:
        answer = (
            f"On {split} perfect knowledge is not clearly better than the best baseline that "
            "knows no persona, so there is no way to go."
        )
    else:
        best, (start, share) = max(ways, key=lambda pair: pair[1][1].value)
        way = (
            f"{estimate(share, rate=True)} of the way in accuracy from {start}, which knows no "
            f"persona ({estimate(results.of((start, BASE), split, 'accuracy'))}), to perfect "
            f"knowledge ({estimate(ceiling)})."
        )
        if share.value > 0:
            answer = f"On {split}, {label(best, spec)} goes {way}"
        else:
            answer = f"On {split} no run gets ahead: the best, {label(best, spec)}, goes {way}"
    lines = [
        _line(results, split, s)
        for s in all_runs(spec)
        if s[0] not in spec.compare.persona_agnostic
    ]
    half = results.ceiling("split_half", split, "accuracy")
    note = (
        f"{CEILINGS['known'].capitalize()} is what a model would score that knew what all people "
        "of a subgroup answer; labels come from a sample, so it is no 1."
    )
    if half is not None:
        note += f" One half of a subgroup gives the other half's mode in {estimate(half)}."
    picked = " The best run was picked by this same score." if len(ways) > 1 else ""
    return answer, [*lines, note + picked]


def _line(results: Results, split: str, system: System) -> str:
    said, unclear = [], []
    n: Estimate | None = None
    for metric in REACHED:
        way = results.normalized_gain(system, split, metric)
        if way is None:
            continue
        n = n or way[1]
        if way[1].known:
            said.append(f"{METRICS[metric]} {estimate(way[1], rate=True)} from {way[0]}")
        else:
            unclear.append(METRICS[metric])
    counted = f" ({plural(n.n, 'pair')}, {n.missing:,} left out)" if n else ""
    text = "; ".join(said) or "no way to measure"
    text += f"; no room or no value in {listed(unclear)}" if unclear and said else ""
    return f"{label(system, results.spec)}: {text}{counted}."
