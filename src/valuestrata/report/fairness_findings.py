"""Findings on inequality: above its null or not, and the paper's paradox. Pure sentences."""

from typing import NamedTuple

from valuestrata.report.phrases import METRIC_NAMES, STATISTICS, listed, plural
from valuestrata.report.results import Results
from valuestrata.report.runs import BASE, ModelVariant, label, llm_runs, main_runs, tuned_runs


def inequality_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """How many runs are more unequal over subgroups than identical groups would be."""
    settings = results.settings
    alpha = 1 - settings.evaluation.confidence_level
    rows = {
        run: row
        for run in main_runs(settings)
        if (row := results.inequality(run, split, "accuracy", "norm_range"))
    }
    kind = "language-model run" if llm_runs(settings) else "baseline"
    if not rows:
        return f"Inequality was not measured for a {kind} on {split}.", []
    tests = [(m, t) for m in METRIC_NAMES for t in STATISTICS]
    hits = {(m, t): sum(_p(results, run, split, m, t) < alpha for run in rows) for m, t in tests}
    counts = ", ".join(
        f"{name} in {hits[m, 'norm_range']} by Norm.Range and {hits[m, 'cv']} by CV"
        for m, name in METRIC_NAMES.items()
    )
    n_groups = int(next(iter(rows.values()))["n_groups"])
    answer = (
        f"Of {plural(len(rows), kind)} on the {plural(n_groups, 'subgroup')} of "
        f"{split}, inequality is above its null (p < {alpha:.2g}) for {counts}."
    )
    n_tests = len(rows) * len(tests)
    note = f"About {alpha * n_tests:.1f} of these {n_tests} tests are expected by chance alone."
    return answer, [note]


def _p(results: Results, run: ModelVariant, split: str, metric: str, statistic: str) -> float:
    row = results.inequality(run, split, metric, statistic)
    p = None if row is None else row["p_value"]
    return 1.0 if p is None or p != p else float(p)


class Change(NamedTuple):
    """Change of Norm.Range from base to tuned, for accuracy and for NMAE."""

    accuracy: float
    nmae: float

    @property
    def is_paradox(self) -> bool:
        """Whether accuracy became fairer and error less fair."""
        return self.accuracy < 0 < self.nmae


def paradox_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """Whether Norm.Range of accuracy fell while that of NMAE rose, raw and minus the null mean."""
    changes = {
        run: change
        for run in tuned_runs(results.settings)
        if (change := _changes(results, split, run)) is not None
    }
    if not changes:
        return "There is no fine-tune whose inequality can be compared with its base's.", []
    raw = [run for run, (change, _) in changes.items() if change.is_paradox]
    net = [run for run, (_, change) in changes.items() if change.is_paradox]
    answer = (
        "The paradox (Norm.Range of accuracy falls, that of NMAE rises) is seen in "
        f"{len(raw) or 'none'} of {plural(len(changes), 'fine-tune')}, and in {len(net) or 'none'} "
        "once the null mean is subtracted."
    )
    if not raw and not net:
        return answer, []
    names = {
        key: listed([label(run, results.settings) for run in runs])
        for key, runs in (("raw", raw), ("net", net))
    }
    details = [f"Seen in {names['raw']}."] if raw else []
    details += [f"Minus the null mean, seen in {names['net']}."] if net and net != raw else []
    return answer, [*details, "The change between two estimates is not tested."]


def _changes(results: Results, split: str, run: ModelVariant) -> tuple[Change, Change] | None:
    """Tuned minus base, and the same after each null mean is subtracted."""
    raw, net = [], []
    for metric in METRIC_NAMES:
        before = results.inequality((run[0], BASE), split, metric, "norm_range")
        after = results.inequality(run, split, metric, "norm_range")
        if before is None or after is None:
            return None
        change = float(after["value"]) - float(before["value"])
        raw.append(change)
        net.append(change - (float(after["null_mean"]) - float(before["null_mean"])))
    return Change(*raw), Change(*net)
