"""The closing lines of a run: where the report is, the caveat, the main numbers. Plain text."""

import textwrap
from collections.abc import Sequence

from valuestrata.report.answer_findings import answer_warnings, answers_few
from valuestrata.report.baseline_findings import (
    baselines_finding,
    best_baseline_finding,
    best_run,
)
from valuestrata.report.ceiling_findings import ceiling_finding
from valuestrata.report.comparison import ALL_PAIRS, ANSWERED
from valuestrata.report.cost import cost_sentence
from valuestrata.report.findings import BEST_BASELINE, PERTURBED
from valuestrata.report.perturbation_tables import perturbation_finding
from valuestrata.report.phrases import caveat_sentence, count, decimal, percent, with_interval
from valuestrata.report.results import Results
from valuestrata.report.runs import (
    BASE,
    ModelVariant,
    all_runs,
    baseline_runs,
    label,
    llm_runs,
    tested_splits,
)
from valuestrata.report.tuning_findings import tuning_finding

WIDTH = 100
MAX_ROWS = 7
MAX_NOTICES = 3
MIN_NAME, MAX_NAME = 10, 40


def headline(results: Results, notices: Sequence[str] = ()) -> str:
    """8 to 15 lines of at most 100 columns, and what is doubtful about models and survey data."""
    settings = results.settings
    split = tested_splits(settings)[0]
    lines = [f"Report: results/{settings.study}/report/index.html"]
    lines += textwrap.wrap(caveat_sentence(settings.caveat), WIDTH)[:1]
    lines += ["", *_table(results, split), ""]
    if llm_runs(settings):
        lines += _wrapped(tuning_finding(results, split)[0])
        lines += _wrapped(f"Do baselines still win? {baselines_finding(results, split)[0]}")
        if results.sensitivity is not None:
            lines += _wrapped(f"{PERTURBED} {perturbation_finding(results, split)[0]}")
    else:
        lines += _wrapped(f"{BEST_BASELINE} {best_baseline_finding(results, split)[0]}")
        lines += _wrapped(ceiling_finding(results, split)[0])
    if results.usage is not None:
        lines += _wrapped(cost_sentence(results.usage))
    lines += _notices([*answer_warnings(results, split), *notices])
    return "\n".join(lines) + "\n"


def _notices(notices: Sequence[str]) -> list[str]:
    """The first notices; the report has all."""
    lines = [line for notice in notices[:MAX_NOTICES] for line in _wrapped(f"Note: {notice}")]
    n_left_out = len(notices) - MAX_NOTICES
    return [*lines, *([f"... and {n_left_out} more notes in the report"] if n_left_out > 0 else [])]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, max_lines=2, placeholder=" ...", break_on_hyphens=False)


def _table(results: Results, split: str) -> list[str]:
    settings = results.settings
    runs = _main_runs(results, split)
    level = settings.evaluation.confidence_level
    rates: dict[str, str] = {}
    if llm_runs(settings):  # a rule never refuses
        rates = {ANSWERED: "answered", "refusal": "refusals"}
    for metric, name in (("invalid", "invalid"), ("truncated", "ran out of tokens")):
        if any(_rate(results, run, split, metric) for run in runs):
            rates[metric] = name
    few = any(answers_few(results, run, split) for run in runs)
    readings = {ALL_PAIRS: "all pairs", "argmax_accuracy": "argmax"} if few else {}
    head = (split, f"accuracy [{level:.0%}]", "n", "NMAE", *rates.values(), *readings.values())
    rows = [head, *(_row(results, run, split, tuple(rates), tuple(readings)) for run in runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    room = WIDTH - sum(2 + width for width in widths[1:])
    room = min(max(room, MIN_NAME), MAX_NAME)
    rows = [(_shortened(row[0], room), *row[1:]) for row in rows]
    widths[0] = max(len(row[0]) for row in rows)
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    n_left_out = len(all_runs(settings)) - len(runs)
    return lines + ([f"... and {n_left_out} more in the report"] if n_left_out else [])


def _shortened(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 3]}..."


def _main_runs(results: Results, split: str) -> list[ModelVariant]:
    """All runs, or the best of each kind where there are too many for a glance."""
    settings = results.settings
    runs = all_runs(settings)
    if len(runs) <= MAX_ROWS:
        return runs

    def accuracy(run: ModelVariant) -> float:
        score = results.metric(run, split, "accuracy")
        return score.value if score is not None and score.exists else -1.0

    n_baselines = 1 if llm_runs(settings) else MAX_ROWS
    baseline = sorted(baseline_runs(settings), key=lambda run: -accuracy(run))[:n_baselines]
    ranked = sorted(llm_runs(settings), key=lambda run: -accuracy(run))
    best = best_run(results, split)
    first = [best[0], (best[0][0], BASE)] if best else []
    kept = list(dict.fromkeys([*first, *ranked]))[: MAX_ROWS - 1 - len(baseline)]
    return [run for run in runs if run in {*kept, *baseline}]


def _rate(results: Results, run: ModelVariant, split: str, metric: str) -> float:
    rate = results.metric(run, split, metric)
    return rate.value if rate is not None and rate.exists else 0.0


def _row(
    results: Results,
    run: ModelVariant,
    split: str,
    rates: tuple[str, ...],
    readings: tuple[str, ...],
) -> tuple[str, ...]:
    accuracy, nmae = (results.metric(run, split, metric) for metric in ("accuracy", "nmae"))
    shares = [results.metric(run, split, metric) for metric in rates]
    scores = [results.metric(run, split, metric) for metric in readings]
    return (
        label(run, results.settings),
        with_interval(accuracy),
        count(accuracy.n) if accuracy else "",
        decimal(nmae.value) if nmae else "",
        *(percent(share.value) if share else "" for share in shares),
        *(decimal(score.value) if score else "" for score in scores),
    )
