"""Headline findings as plain sentences made from the numbers. Pure.

A difference counts as clear where its interval excludes 0 and its test's p-value lies below
1 - level; where the two disagree, the sentence says that the question is open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from valuestrata.report.ceiling_findings import reach
from valuestrata.report.disagreement_findings import disagreement
from valuestrata.report.fairness_findings import inequality, paradox
from valuestrata.report.phrases import decimal, estimate, listed, p_value, percent, plural
from valuestrata.report.prompt_sensitivity import rewording
from valuestrata.report.results import (
    BASE,
    Estimate,
    Results,
    System,
    baselines,
    label,
    llm_runs,
    tested,
    tuned,
    worded,
)


@dataclass(frozen=True)
class Finding:
    """A question, the answer in a sentence or two, and the numbers behind it, a line each."""

    question: str
    answer: str
    details: tuple[str, ...] = ()


def findings(results: Results) -> list[Finding]:
    """All findings, those on a test split for each such split."""
    made: list[Finding] = []
    splits = tested(results.spec)
    for split in splits:
        where = f" ({split})" if len(splits) > 1 else ""
        said = {
            "Does fine-tuning help on subgroups it was not tuned on?": tuning(results, split),
            "Do simple baselines still win?": against_baselines(results, split),
            "How much of what can be reached is reached?": reach(results, split),
            "Who refuses to answer?": refusals(results, split),
            "Is inequality beyond chance?": inequality(results, split),
            "Is accuracy fairer and error less fair after tuning?": paradox(results, split),
            "What does the judge say?": judged(results, split),
        }
        if worded(results.spec):
            said["Do answers hold in another wording?"] = rewording(results, split)
        for question, (answer, details) in said.items():
            made.append(Finding(question + where, answer, tuple(details)))
    answer, details = disagreement(results)
    return [*made, Finding("Where do subgroups disagree?", answer, tuple(details))]


def tuning(results: Results, split: str) -> tuple[str, list[str]]:
    """Each tuned variant's accuracy against its base's, on the same pairs."""
    level = results.spec.compare.evaluation.level
    gaps = _own_gaps(results, split, "accuracy")
    if not gaps:
        return "No model was fine-tuned in this study.", []
    ways = [gap.direction(level) for _, gap in gaps]
    up, down = ways.count(1), ways.count(-1)
    of = f"of {plural(len(gaps), 'fine-tune')}"
    if up or down:
        rose = _range([gap.value for _, gap in gaps if gap.direction(level) > 0])
        fell = _range([-gap.value for _, gap in gaps if gap.direction(level) < 0])
        said = [f"raises accuracy on {split} in {up} {of}, by {rose}"] if up else []
        if down:
            what = f"lowers it in {down}" if up else f"lowers accuracy on {split} in {down} {of}"
            said += [f"{what}, by {fell}"]
        answer = f"Fine-tuning {'; it '.join(said)}."
    else:
        answer = f"In none {of} does accuracy on {split} change clearly."
    return answer, [_tuning_line(results, split, s, gap) for s, gap in gaps]


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = decimal(min(values)), decimal(max(values))
    return low if low == high else f"{low} to {high}"


def _tuning_line(results: Results, split: str, system: System, gap: Estimate) -> str:
    model, variant = system
    before = results.of((model, BASE), split, "accuracy")
    after = results.of(system, split, "accuracy")
    line = (
        f"{model}: {variant} less base {estimate(gap, signed=True)}, {p_value(gap.p)}, over "
        f"{plural(gap.n, 'pair')} that both answered ({gap.missing:,} left out)"
    )
    if before and after:
        line += f"; over all pairs that each answered, {_move(before, after)}"
    return line + "." + _open(gap, results)


def _open(gap: Estimate, results: Results) -> str:
    """A remark where interval and test disagree."""
    level = results.spec.compare.evaluation.level
    excludes = gap.ci_low > 0 or gap.ci_high < 0
    tested_so = gap.p is not None and gap.p < 1 - level
    return " Interval and test disagree, so this is open." if excludes != tested_so else ""


def _move(before: Estimate, after: Estimate) -> str:
    return f"{decimal(before.value)} before and {decimal(after.value)} after"


def best_of(results: Results, split: str) -> tuple[System, Estimate] | None:
    """The tuned run with the highest accuracy; where none is tuned, of all language models."""
    some = tuned(results.spec) or llm_runs(results.spec)
    found = [(s, n) for s in some if (n := results.of(s, split, "accuracy")) and n.known]
    return max(found, key=lambda pair: pair[1].value) if found else None


def against_baselines(results: Results, split: str) -> tuple[str, list[str]]:
    """The best tuned run against each baseline, on the same pairs."""
    spec = results.spec
    best = best_of(results, split)
    if best is None or not baselines(spec):
        missing = "language model" if best is None else "baseline"
        return f"There is no {missing} with a score to compare.", []
    system, own = best
    found = [(b[0], results.gap(system, b, split, "accuracy")) for b in baselines(spec)]
    gaps = [(name, gap) for name, gap in found if gap is not None and gap.known]
    if not gaps:
        return f"No baseline shares a pair with {label(system, spec)} on {split}.", []
    kind = "tuned run" if tuned(spec) else "language model"
    level = spec.compare.evaluation.level
    still = [name for name, gap in gaps if gap.direction(level) < 0]
    name = f"the best {kind} on {split}, {label(system, spec)} (accuracy {estimate(own)})"
    if still:
        verb = "is" if len(still) == 1 else "are"
        answer = f"Yes: {listed(still)} {verb} still better than {name}."
    elif all(gap.direction(level) > 0 for _, gap in gaps):
        answer = f"No: {name} is better than every baseline."
    else:
        answer = f"Not clearly: no baseline is better than {name} beyond doubt."
    lines = [_baseline_line(results, name, gap) for name, gap in gaps]
    note = "Baselines use the survey's own counts and no language model. The best run was picked"
    return answer, [*lines, f"{note} by this same score, which flatters it a little."]


def _baseline_line(results: Results, name: str, gap: Estimate) -> str:
    """`gap` is the best run less the baseline."""
    about = f"({p_value(gap.p)}, {plural(gap.n, 'pair')} that both answered)"
    way = gap.direction(results.spec.compare.evaluation.level)
    if way < 0:
        turned = Estimate(-gap.value, -gap.ci_high, -gap.ci_low, gap.n, gap.missing, gap.p)
        return f"The baseline {name} is still better by {estimate(turned)} in accuracy {about}."
    if way > 0:
        return f"The baseline {name} is beaten by {estimate(gap)} in accuracy {about}."
    said = f"cannot be told apart: the run less the baseline is {estimate(gap, signed=True)}"
    return f"The baseline {name} and the best run {said} {about}.{_open(gap, results)}"


def refusals(results: Results, split: str) -> tuple[str, list[str]]:
    """Refusal rates before and after tuning, and answers that could not be read."""
    gaps = dict(_own_gaps(results, split, "refusal"))
    level = results.spec.compare.evaluation.level
    found = [(s, results.of(s, split, "refusal")) for s in llm_runs(results.spec)]
    rates = {s: n for s, n in found if n is not None and n.known}
    if not rates:
        return f"No language model was asked on {split}.", []
    before = [n.value for s, n in rates.items() if s[1] == BASE]
    answer = f"Base models refuse {_span(before)} of the pairs on {split}" if before else ""
    after = [n.value for s, n in rates.items() if s[1] != BASE]
    answer += f", tuned ones {_span(after)}." if after else "."
    if gaps:
        fell = sum(gap.direction(level) < 0 for gap in gaps.values())
        answer += f" The change is a clear fall in {fell} of {plural(len(gaps), 'fine-tune')}."
    return answer, [_refusal_line(results, split, s, n, gaps.get(s)) for s, n in rates.items()]


def _refusal_line(
    results: Results, split: str, system: System, rate: Estimate, gap: Estimate | None
) -> str:
    line = f"{label(system, results.spec)}: {estimate(rate, rate=True)} refused, n {rate.n:,}"
    unread = results.of(system, split, "invalid")
    if unread is not None and unread.value > 0:
        line += f"; {percent(unread.value)} unreadable"
    if gap is None:
        return line + "."
    change = estimate(gap, rate=True, signed=True)
    return f"{line}; change from base {change}, {p_value(gap.p)}.{_open(gap, results)}"


def _span(values: Sequence[float]) -> str:
    low, high = percent(min(values)), percent(max(values))
    return low if low == high else f"{low} to {high}"


def _own_gaps(results: Results, split: str, metric: str) -> list[tuple[System, Estimate]]:
    """Tuned variants less their base."""
    found = [(s, results.gap(s, (s[0], BASE), split, metric)) for s in tuned(results.spec)]
    return [(s, gap) for s, gap in found if gap is not None and gap.known]


def judged(results: Results, split: str) -> tuple[str, list[str]]:
    """Win rates against the reference by each judge's first dimension, and how often it flips."""
    spec = results.spec
    lines: list[str] = []
    answers: list[str] = []
    for judge in spec.compare.judges:
        dimensions = results.dimensions(judge, split)
        if dimensions:
            answer, own = _one_judge(results, split, judge, dimensions[0])
            answers.append(answer)
            lines += own
    if not answers:
        return f"No judge compared open-ended answers on {split}.", []
    return " ".join(answers), [
        *lines,
        "A win rate of 0.5 means as good as the reference. Each pair is judged twice with the "
        "answers swapped; a verdict that flips with the order says more about the judge than about "
        "the answers.",
    ]


def _one_judge(results: Results, split: str, judge: str, dimension: str) -> tuple[str, list[str]]:
    spec = results.spec
    reference = spec.reference.get(judge)
    found = [(s, results.of(s, split, f"win_rate:{judge}:{dimension}")) for s in llm_runs(spec)]
    rates = [(s, n) for s, n in found if n is not None and n.known and s != reference]
    against = label(reference, spec) if reference else "its reference"
    better = [label(s, spec) for s, n in rates if n.ci_low > 0.5]
    worse = [label(s, spec) for s, n in rates if n.ci_high < 0.5]
    said = [f"{listed(better)} above {against}"] if better else []
    said += [f"{listed(worse)} below {against}"] if worse else []
    verdict = f"puts {listed(said)}" if said else f"tells no run apart from {against}"
    lines, flips = [], []
    for system, one in rates:
        flip = results.of(system, split, f"flip_rate:{judge}:{dimension}")
        text = f"{label(system, spec)}, {dimension}: win rate {estimate(one)}"
        if flip is not None and flip.known:
            flips.append(flip.value)
            text += f", flipped in {percent(flip.value)}"
        lines.append(f"{text} (n {one.n:,}, {one.missing:,} without a verdict).")
    turned = f" Its verdict flips with the order in {_span(flips)} of comparisons" if flips else ""
    if flips:
        turned += ", so its win rates carry little weight." if max(flips) >= 0.5 else "."
    return f"On {dimension}, the judge {judge} {verdict}.{turned}", lines
