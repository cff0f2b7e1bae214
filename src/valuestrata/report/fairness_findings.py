"""Findings on inequality: beyond chance or not, and the paper's paradox. Pure sentences."""

from valuestrata.report.phrases import METRIC_NAMES, STATISTICS, decimal, p_value, plural
from valuestrata.report.results import BASE, Results, System, all_runs, label, llm_runs, tuned


def inequality(results: Results, split: str) -> tuple[str, list[str]]:
    """How many runs serve subgroups more unequally than identical groups would be by chance."""
    spec = results.spec
    alpha = 1 - spec.compare.evaluation.level
    some = [s for s in llm_runs(spec) if results.inequality(s, split, "accuracy", "norm_range")]
    if not some:
        return f"Inequality was not measured for a language model on {split}.", []
    tests = [(m, t) for m in METRIC_NAMES for t in STATISTICS]
    hits = {(m, t): sum(_p(results, s, split, m, t) < alpha for s in some) for m, t in tests}
    counted = "; ".join(
        f"{METRIC_NAMES[m]} in {hits[m, 'norm_range']} by Norm.Range and {hits[m, 'cv']} by CV"
        for m in METRIC_NAMES
    )
    groups = results.inequality(some[0], split, "accuracy", "norm_range")
    number_of_groups = int(groups["groups"]) if groups else 0
    answer = (
        f"Of {plural(len(some), 'language-model run')}, more unequal over "
        f"{plural(number_of_groups, 'subgroup')} of {split} than chance allows (p < {alpha:.2g}): "
        f"{counted}."
    )
    expected = alpha * len(some) * len(tests)
    note = (
        f"Of these {len(some) * len(tests)} tests about {expected:.1f} would come out below "
        f"{alpha:.2g} by chance alone; they are not corrected for their number."
    )
    return answer, [*(_inequality_line(results, split, s) for s in all_runs(spec)), note]


def _p(results: Results, system: System, split: str, metric: str, statistic: str) -> float:
    row = results.inequality(system, split, metric, statistic)
    p = None if row is None else row["p_value"]
    return 1.0 if p is None or p != p else float(p)


def _inequality_line(results: Results, split: str, system: System) -> str:
    parts = []
    for metric, name in METRIC_NAMES.items():
        row = results.inequality(system, split, metric, "norm_range")
        if row is not None:
            parts.append(
                f"{name} {decimal(float(row['value']))} [{decimal(float(row['low']))}, "
                f"{decimal(float(row['high']))}] where chance gives "
                f"{decimal(float(row['null_mean']))} ({p_value(float(row['p_value']))}, "
                f"n {int(row['n']):,})"
            )
    said = "; ".join(parts) or "not measured"
    return f"{label(system, results.spec)}, Norm.Range: {said}."


def paradox(results: Results, split: str) -> tuple[str, list[str]]:
    """Whether Norm.Range of accuracy fell while that of NMAE rose, raw and beyond chance."""
    found = [
        (system, move)
        for system in tuned(results.spec)
        if (move := _moves(results, split, system)) is not None
    ]
    if not found:
        return "There is no fine-tune whose inequality can be compared with its base's.", []
    raw = sum(_is_paradox(move["raw"]) for _, move in found)
    net = sum(_is_paradox(move["net"]) for _, move in found)
    seen = f"seen in {raw} of" if raw else "not seen in any of"
    answer = (
        "The paradox (Norm.Range of accuracy falls, that of NMAE rises) is "
        f"{seen} {plural(len(found), 'fine-tune')}. "
    )
    if raw and not net:
        answer += "Once what chance gives is taken off, it is seen in none: the null moved as well."
    elif raw or net:
        answer += f"Once what chance gives is taken off, it is seen in {net}."
    else:
        answer += "Taking off what chance gives does not change that."
    note = "These are differences between estimates; no test of the change is made."
    return answer, [*(_paradox_line(system, move) for system, move in found), note]


Move = dict[str, tuple[float, float]]
"""Change of accuracy's and of NMAE's Norm.Range, `raw` and `net` of the null's mean; ends."""


def _moves(results: Results, split: str, system: System) -> Move | None:
    move: Move = {}
    raw, net = [], []
    for metric in METRIC_NAMES:
        before = results.inequality((system[0], BASE), split, metric, "norm_range")
        after = results.inequality(system, split, metric, "norm_range")
        if before is None or after is None:
            return None
        ends = [float(before["value"]), float(after["value"])]
        chance = [float(before["null_mean"]), float(after["null_mean"])]
        move[metric] = (ends[0], ends[1])
        move[f"{metric} by chance"] = (chance[0], chance[1])
        raw.append(ends[1] - ends[0])
        net.append((ends[1] - chance[1]) - (ends[0] - chance[0]))
    return {**move, "raw": (raw[0], raw[1]), "net": (net[0], net[1])}


def _is_paradox(change: tuple[float, float]) -> bool:
    return change[0] < 0 < change[1]


def _paradox_line(system: System, move: Move) -> str:
    parts = []
    for metric, name in METRIC_NAMES.items():
        (a, b), (c, d) = move[metric], move[f"{metric} by chance"]
        parts.append(
            f"{name} from {decimal(a)} to {decimal(b)} (chance: {decimal(c)} to {decimal(d)})"
        )
    seen = "paradox seen" if _is_paradox(move["raw"]) else "paradox not seen"
    net = "seen" if _is_paradox(move["net"]) else "not seen"
    return f"{system[0]}, {system[1]}: {'; '.join(parts)}. Raw: {seen}; net of chance: {net}."
