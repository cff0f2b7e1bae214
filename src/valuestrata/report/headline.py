"""The closing lines of a run: where the report is, the caveat, the main figures. Plain text."""

import textwrap

from valuestrata.report.findings import against_baselines, best_of, tuning
from valuestrata.report.phrases import caveat_sentence, count, decimal, estimate, percent
from valuestrata.report.results import Estimate, Results, System, all_runs, baselines, label, tested

WIDE = 100
ROWS = 7


def headline(results: Results) -> str:
    """8 to 15 lines of at most 100 columns."""
    spec = results.spec
    split = tested(spec)[0]
    lines = [f"Report: results/{spec.study}/report/index.html"]
    lines += textwrap.wrap(caveat_sentence(spec.caveat), WIDE)[:1]
    lines += ["", *_table(results, split), ""]
    lines += _wrapped(tuning(results, split)[0])
    lines += _wrapped(f"Do baselines still win? {against_baselines(results, split)[0]}")
    return "\n".join(lines) + "\n"


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDE, max_lines=2, placeholder=" ...", break_on_hyphens=False)


def _table(results: Results, split: str) -> list[str]:
    spec = results.spec
    some = _shown(results, split)
    level = spec.compare.evaluation.level
    head = (split, f"accuracy [{level:.0%}]", "n", "NMAE", "refusals")
    rows = [head, *(_row(results, s, split) for s in some)]
    rows = [(_short(row[0]), *row[1:]) for row in rows]
    wide = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]
    left = len(all_runs(spec)) - len(some)
    return lines + ([f"... and {left} more in the report"] if left else [])


def _short(name: str, width: int = 40) -> str:
    return name if len(name) <= width else f"{name[: width - 3]}..."


def _shown(results: Results, split: str) -> list[System]:
    """All all_runs, or the best of each kind where there are too many for a glance."""
    some = all_runs(results.spec)
    if len(some) <= ROWS:
        return some
    rules = sorted(baselines(results.spec), key=lambda s: -_accuracy(results, s, split))[:1]
    others = [s for s in some if s not in baselines(results.spec)]
    ranked = sorted(others, key=lambda s: -_accuracy(results, s, split))
    best = best_of(results, split)
    first = [best[0], (best[0][0], "base")] if best else []
    kept = list(dict.fromkeys([*first, *ranked]))[: ROWS - 1 - len(rules)]
    return [s for s in some if s in {*kept, *rules}]


def _accuracy(results: Results, system: System, split: str) -> float:
    one = results.of(system, split, "accuracy")
    return one.value if one is not None and one.known else -1.0


def _row(results: Results, system: System, split: str) -> tuple[str, ...]:
    def of(metric: str) -> Estimate | None:
        return results.of(system, split, metric)

    accuracy, nmae, refusal = of("accuracy"), of("nmae"), of("refusal")
    return (
        label(system, results.spec),
        estimate(accuracy),
        count(accuracy.n) if accuracy else "",
        decimal(nmae.value) if nmae else "",
        percent(refusal.value) if refusal else "",
    )
