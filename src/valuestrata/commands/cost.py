"""Say what a study's models at services will cost, before anything is paid."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from valuestrata import paths
from valuestrata.inference.books import Books, Spending, total
from valuestrata.stages.job import at
from valuestrata.stages.rehearsal import JobPlan, Rehearsal
from valuestrata.study.budget import CURRENCY, Prices, money
from valuestrata.study.load import load_files
from valuestrata.study.models import OpenAIModel
from valuestrata.study.study import Study

MARGIN, OTHER_MARGIN = 1 / 3, 1.0
"""Share by which a prompt may take more tokens than four bytes each: in Latin script, in others."""
FEWER = 1 / 3
"""Share by which it may take fewer."""
COLUMNS = ("job", "calls", "cached", "prompt tokens", "reply tokens", "cost")


@dataclass(frozen=True)
class CostRange:
    """What some calls take: at the least and at the most; no cost where there is no price."""

    fewest: int
    calls: int
    prompt: int
    longest: int
    low: float | None
    high: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which study."""
    parser.add_argument(
        "files", nargs="*", default=["config.yaml"], help="study file and overlays (config.yaml)"
    )
    parser.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help="more overlays, as snakemake's"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print a line a job, the sum, what was spent, and whether the budget is enough."""
    study = load_files([*arguments.files, *arguments.configfile], Path(), files=False)
    print("counting what the study's jobs would ask; a large study takes a minute", file=sys.stderr)
    print("\n".join(lines(study)))


def lines(study: Study) -> list[str]:
    """What the jobs of a study will cost.

    Raises:
        InputError: what they will ask cannot be told; one line.
    """
    if not study.service_models():
        return [f"study {study.name}: asks no service, so nothing is paid"]
    logging.disable(logging.WARNING)  # the stages' own lines, of what is only rehearsed
    try:
        with tempfile.TemporaryDirectory() as folder:
            plans = Rehearsal(study, Path(folder)).plans()
    finally:
        logging.disable(logging.NOTSET)
    spent = total(Books(at(study, paths.LEDGER)).accounts())
    estimates = {plan: estimate(plan, _model(study, plan)) for plan in plans}
    currency = next((p.currency for p in map(_prices, study.service_models().values()) if p), "")
    doubts = sorted({doubt for plan in plans for doubt in plan.doubts})
    return [
        f"study {study.name}: what its models at services will cost; nothing is asked now",
        *_table(estimates, currency),
        *_sums(study, list(estimates.values()), spent, currency, at_most=bool(doubts)),
        *(f"at most, as {doubt}" for doubt in doubts),
        *_uncertainty(plans),
    ]


def estimate(plan: JobPlan, model: OpenAIModel) -> CostRange:
    """What a job's calls take and cost, at the least and at the most."""
    prompt = sum(tokens.prompt for tokens in plan.calls)
    longest = sum(tokens.completion for tokens in plan.calls)
    low = high = None
    if model.prices is not None:
        batch = bool(getattr(model, "batch", False))
        more = OTHER_MARGIN if plan.other_script else MARGIN
        low = (
            0.0
            if plan.doubts
            else model.prices.amount(round(prompt * (1 - FEWER)), len(plan.calls), batch=batch)
        )
        high = model.prices.amount(round(prompt * (1 + more)), longest, batch=batch)
    fewest = 0 if plan.doubts else len(plan.calls)
    return CostRange(fewest, len(plan.calls), prompt, longest, low, high)


def _model(study: Study, plan: JobPlan) -> OpenAIModel:
    model = study.model(plan.asked)
    assert isinstance(model, OpenAIModel)
    return model


def _prices(model: OpenAIModel) -> Prices | None:
    return model.prices


def _table(estimates: dict[JobPlan, CostRange], currency: str) -> list[str]:
    """A line a job; those that are done cost nothing more."""
    rows = [COLUMNS]
    for plan, expected in estimates.items():
        name = f"{plan.node.stage} {'/'.join(value for _, value in plan.node.run)}"
        sign = "<=" if plan.doubts else ""
        if plan.is_done:
            rows.append((name, "done", "", "", "", ""))
            continue
        rows.append(
            (
                name,
                f"{sign}{expected.calls:,}",
                f"{plan.n_cached:,}",
                f"{sign}{expected.prompt:,}",
                f"<={expected.longest:,}",
                _range(expected, currency),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return [
        "  ".join(
            cell.ljust(width) if i in (0, len(COLUMNS) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _range(expected: CostRange, currency: str) -> str:
    if expected.low is None or expected.high is None:
        return "no price"
    if not expected.low:
        return f"up to {money(expected.high, currency)}"
    return f"{money(expected.low, currency)} to {money(expected.high, currency)}"


def _sums(
    study: Study, estimates: Sequence[CostRange], spent: Spending, currency: str, at_most: bool
) -> list[str]:
    """What is to come, what was spent, and both against the budget."""
    priced = [e for e in estimates if e.low is not None and e.high is not None]
    calls = sum(e.calls for e in estimates)
    unpriced = calls - sum(e.calls for e in priced)
    together = CostRange(
        sum(e.fewest for e in estimates),
        calls,
        sum(e.prompt for e in estimates),
        sum(e.longest for e in estimates),
        sum(e.low or 0.0 for e in priced) if priced else None,
        sum(e.high or 0.0 for e in priced) if priced else None,
    )
    sign = "at most " if at_most else ""
    to_come = f"to come: {sign}{calls:,} calls, {_range(together, currency)}"
    if priced and unpriced:
        to_come += f"; {unpriced:,} calls have no price and are not in it"
    paid = money(spent.amount, currency or CURRENCY)
    so_far = f"spent so far: {paid} in {spent.calls:,} calls" if spent.calls else ""
    if spent.unpriced:
        so_far += f"; {spent.unpriced:,} of them had no price and are not in it"
    if spent.unsure:
        so_far += f"; {spent.unsure:,} failed or were cut off, and count with the longest reply"
    return [line for line in (to_come, so_far, *_verdicts(study, together, spent, at_most)) if line]


def _verdicts(study: Study, to_come: CostRange, spent: Spending, at_most: bool) -> list[str]:
    """Whether each limit of the budget is enough."""
    budget = study.budget
    if budget is None:
        return ["budget: none; nothing limits what is spent (set budget.amount or budget.calls)"]
    verdicts = []
    if budget.amount is not None:
        low, high = (spent.amount + (part or 0.0) for part in (to_come.low, to_come.high))
        shown = money(high, budget.currency)
        limit = money(budget.amount, budget.currency)
        verdicts.append(f"budget: {limit}, {_verdict(budget.amount, low, high)}: up to {shown}")
    if budget.calls is not None:
        least, most = (spent.calls + calls for calls in (to_come.fewest, to_come.calls))
        verdict = _verdict(budget.calls, least, most)
        verdicts.append(f"budget: {budget.calls:,} calls, {verdict}: {'up to ' * at_most}{most:,}")
    return verdicts


def _verdict(limit: float, low: float, high: float) -> str:
    """Whether a limit is above all that may come.

    >>> _verdict(10, 3, 9), _verdict(10, 3, 12), _verdict(10, 11, 12)
    ('enough', 'may not be enough', 'not enough')
    """
    return "enough" if high <= limit else "not enough" if low > limit else "may not be enough"


def _uncertainty(plans: Sequence[JobPlan]) -> list[str]:
    """How sure the numbers are."""
    if not any(plan.calls for plan in plans):
        return []
    text = (
        "how sure: prompts are taken to have a token for four bytes and five for each message, and "
        "may have a third more or fewer; replies are between one token and the longest allowed"
    )
    if any(plan.other_script for plan in plans):
        text += "; prompts in other scripts than Latin may have twice as many tokens"
    return [
        f"{text}.",
        "Calls that fail and are made again come on top, and replies that are no answers are asked "
        "for again whenever their job runs again. Prices are the study's: compare them with the "
        "service's list.",
    ]
