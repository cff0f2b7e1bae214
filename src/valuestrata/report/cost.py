"""What models at a service cost: a table and a sentence, from USAGE. Pure."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from valuestrata.io import records
from valuestrata.report.display import Cell, Table
from valuestrata.report.phrases import NONE, count, listed, plural
from valuestrata.study.budget import money

COLUMNS = (
    "Job",
    "Calls",
    "Cached replies",
    "Prompt tokens",
    "Reply tokens",
    "Cost",
)


def cost_table(usage: pd.DataFrame) -> Table:
    """A row for each job that asked a service."""
    rows = tuple(_row(row) for row in records(usage))
    return Table(
        "Cost of models at a service",
        COLUMNS,
        rows,
        note=(
            "Tokens are those that the service counted. Where it counted none they are estimated, "
            "at four bytes a token; a call that failed and may have been billed counts with its "
            "longest reply. Attempts that were turned down are not billed."
        ),
    )


def _row(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    calls, cached = int(row["calls"]), int(row["cached_tokens"])
    run = [str(row[key]) for key in ("model", "variant", "split", "judge") if row[key]]
    n_estimated = calls - int(row["by_usage"]) - int(row["unsure"])
    parts = {"estimated": n_estimated, "unsure": int(row["unsure"])}
    parts |= {"turned down": int(row["unbilled"]), "without price": int(row["unpriced"])}
    small = ", ".join(f"{name} {count(n)}" for name, n in parts.items() if n)
    has_price = not pd.isna(row["amount"])
    return (
        Cell("/".join(run), small=str(row["stage"])),
        Cell(count(calls), small=small),
        Cell(count(int(row["cached_replies"]))),
        Cell(
            count(int(row["prompt_tokens"])),
            small=f"cached by the service {count(cached)}" if cached else "",
        ),
        Cell(count(int(row["completion_tokens"]))),
        Cell(money(float(row["amount"]), str(row["currency"])) if has_price else NONE),
    )


def cost_sentence(usage: pd.DataFrame) -> str:
    """What all jobs together cost, how it is known, and what is not in it.

    >>> frame = pd.DataFrame([{"calls": 9, "by_usage": 8, "unsure": 1, "unpriced": 0,
    ...                        "amount": 0.5, "currency": "USD"}])
    >>> cost_sentence(frame)
    'Models at a service cost USD 0.50 in 9 calls; 1 of these failed and may have been billed.'
    """
    if usage.empty:
        return "No call of a service is on record: the study's ledger is not there."
    sums = usage[["calls", "by_usage", "unsure", "unpriced"]].sum()
    calls, by_usage, unsure, unpriced = (int(n) for n in sums)
    priced = usage[usage["amount"].notna()]
    amounts = [
        money(float(rows["amount"].sum()), str(currency))
        for currency, rows in priced.groupby("currency")
    ]
    doubts = [
        f"{count(n)} of these {what}"
        for n, what in (
            (calls - by_usage - unsure, "by estimated tokens"),
            (unsure, "failed and may have been billed"),
            (unpriced, "without a price, which the sum leaves out"),
        )
        if n
    ]
    paid = listed(amounts) if amounts else "what nobody knows: none has a price"
    return "; ".join([f"Models at a service cost {paid} in {plural(calls, 'call')}", *doubts]) + "."
