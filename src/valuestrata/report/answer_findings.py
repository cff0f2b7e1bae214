"""Who does not answer: shares, refusals, and what that means for accuracy. Pure sentences."""

from valuestrata.report.comparison import ALL_PAIRS, ANSWERED, READINGS
from valuestrata.report.phrases import (
    count,
    decimal,
    percent,
    plural,
    sentence,
    value_range,
    with_interval,
)
from valuestrata.report.results import Estimate, Results
from valuestrata.report.runs import BASE, ModelVariant, label, llm_runs, tuned_runs

FEW_ANSWERS = 0.9
"""Below this share accuracy among answers alone says too little."""


def answers_few(results: Results, run: ModelVariant, split: str) -> bool:
    """Whether a run answers fewer than 90% of its pairs."""
    share = results.metric(run, split, ANSWERED)
    return share is not None and share.exists and share.value < FEW_ANSWERS


def answer_warnings(results: Results, split: str) -> list[str]:
    """A line where some run answers fewer than 90% of its pairs."""
    settings = results.settings
    few = {
        run: share
        for run in llm_runs(settings)
        if answers_few(results, run, split)
        and (share := results.metric(run, split, ANSWERED)) is not None
    }
    if not few:
        return []
    worst = min(few, key=lambda run: few[run].value)
    total = few[worst].n
    line = (
        f"{plural(len(few), 'run')} of {len(llm_runs(settings))} "
        f"{'answers' if len(few) == 1 else 'answer'} fewer than {FEW_ANSWERS:.0%} of the pairs on "
        f"{split}, {label(worst, settings)} {count(round(few[worst].value * total))} of "
        f"{count(total)}: accuracy is of these alone"
    )
    low, high = (results.metric(worst, split, name) for name in READINGS)
    if low is not None and high is not None:
        line += f"; over all its pairs it lies between {decimal(low.value)} (none met) and "
        line += f"{decimal(high.value)} (all met)"
    return [f"{line}."]


def readings_line(results: Results, split: str, run: ModelVariant) -> str:
    """What a fine-tune changes in each reading of accuracy; '' if both runs answer enough."""
    base = (run[0], BASE)
    if not any(answers_few(results, each, split) for each in (base, run)):
        return ""
    parts = []
    for metric, name in (
        (ANSWERED, "share answered"),
        (ALL_PAIRS, "accuracy over all pairs"),
        ("argmax_accuracy", "accuracy of the likeliest option"),
    ):
        before, after = (results.metric(each, split, metric) for each in (base, run))
        if before is None or after is None or not (before.exists and after.exists):
            continue
        write = percent if metric == ANSWERED else decimal
        gap = results.difference(run, base, split, metric)
        change = f"{write(before.value)} to {write(after.value)}"
        if gap is not None and gap.exists:
            change += f" ({with_interval(gap, metric == ANSWERED, signed=True)})"
        parts.append(f"{name} {change}")
    return f"{label(run, results.settings)}: {', '.join(parts)}." if parts else ""


def refusals_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """Refusal rates before and after tuning, and answers that could not be read."""
    by_run = [(run, results.metric(run, split, "refusal")) for run in llm_runs(results.settings)]
    rates = {run: rate for run, rate in by_run if rate is not None and rate.exists}
    if not rates:
        return f"No language model was asked on {split}.", []
    before = [rate.value for run, rate in rates.items() if run[1] == BASE]
    after = [rate.value for run, rate in rates.items() if run[1] != BASE]
    clauses = []
    if before:
        refused = value_range(before, rate=True)
        clauses.append(f"base models refuse {refused} of the pairs on {split}")
    if after:
        clauses.append(f"tuned ones {value_range(after, rate=True)}")
    changes = _changes(results, split)
    if changes:
        clauses.append(changes)
    details = answer_warnings(results, split)
    details += _unreadable(results, split, "invalid", "gave invalid answers")
    details += _unreadable(results, split, "truncated", "ran out of tokens before an answer")
    return sentence(", ".join(clauses)), details


def _changes(results: Results, split: str) -> str:
    """`a clear fall in 1 of 2 fine-tunes and a clear rise in 1`; '' where nothing was compared."""
    level = results.settings.evaluation.confidence_level
    gaps = [
        gap
        for run in tuned_runs(results.settings)
        if (gap := results.difference(run, (run[0], BASE), split, "refusal")) is not None
        and gap.exists
    ]
    if not gaps:
        return ""
    of = f"of {plural(len(gaps), 'fine-tune')}"
    directions = [gap.direction(level) for gap in gaps]
    names = {-1: "a clear fall", 1: "a clear rise"}
    shown = [(names[d], directions.count(d)) for d in (-1, 1) if d in directions]
    if not shown:
        return f"a change shown in none {of}{_untested(gaps)}"
    (first, n), *rest = shown
    return f"{first} in {n} {of}{''.join(f' and {name} in {m}' for name, m in rest)}"


def _untested(gaps: list[Estimate]) -> str:
    n = sum(gap.tested is None for gap in gaps)
    return f" ({n} not tested)" if n else ""


def _unreadable(results: Results, split: str, metric: str, what: str) -> list[str]:
    """Which runs did something instead of answering, as a sentence; none if none did."""
    shares = {}
    for run in llm_runs(results.settings):
        invalid = results.metric(run, split, metric)
        if invalid is not None and invalid.value > 0:
            shares[label(run, results.settings)] = invalid.value
    if not shares:
        return []
    worst = max(shares, key=lambda name: shares[name])
    return [
        f"{plural(len(shares), 'run')} {what}, {worst} most: {percent(shares[worst])} of its pairs."
    ]
