"""What a study's ledger says: spent at services so far, in all and by job. See ledger.py.

Each file of the ledger is of one process: a line that says which job it is, then lines of attempts
that are announced (`reserve`) and settled (`charge`), the latter by another process, too. An
attempt that is announced and not settled counts at the most that it can cost.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from valuestrata.errors import InputError
from valuestrata.study.budget import Budget, money

Line = dict[str, Any]
ROUNDING = 1e-9
"""Share of a budget by which a sum of floating-point numbers may be off."""


@dataclass
class Spending:
    """Calls and what they took.

    Attributes:
        calls: attempts that were answered, or may have been billed.
        by_usage: of these, those whose tokens the service counted.
        unsure: of these, those that failed, were cut off, or are under way.
        unbilled: attempts that were turned down; they are no calls.
        prompt_tokens: of the calls.
        cached_tokens: of these, those that the service had cached.
        completion_tokens: of the calls.
        amount: price of the calls that have one.
        unpriced: calls without a price.
    """

    calls: int = 0
    by_usage: int = 0
    unsure: int = 0
    unbilled: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    amount: float = 0.0
    unpriced: int = 0

    def count(self, line: Line, times: int = 1) -> None:
        """Add an attempt, or with -1 take it out again."""
        basis = line.get("basis", "unsure")
        if basis == "unbilled":
            self.unbilled += times
            return
        self.calls += times
        self.by_usage += times * (basis == "usage")
        self.unsure += times * (basis == "unsure")
        self.prompt_tokens += times * line["prompt"]
        self.cached_tokens += times * line.get("cached", 0)
        self.completion_tokens += times * line["completion"]
        self.amount += times * (line["amount"] or 0.0)
        self.unpriced += times * (line["amount"] is None)

    def __add__(self, other: "Spending") -> "Spending":
        """Both together."""
        names = [field.name for field in fields(self)]
        return Spending(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True)
class Account:
    """What one process of a job has spent.

    Attributes:
        node: what names the job: stage, model, variant, split, ...
        currency: of the amounts; None where the model has no price.
        started: when, in seconds since 1970.
        cached_replies: replies that it needed and that were cached already.
        spending: its calls.
    """

    node: Mapping[str, str]
    currency: str | None
    started: int
    cached_replies: int
    spending: Spending


class Books:
    """All files of a ledger's folder; each reading goes on where the last one ended."""

    def __init__(self, folder: Path | str) -> None:
        """Nothing read yet."""
        self.folder = Path(folder)
        self._offsets: dict[str, int] = {}
        self._heads: dict[str, Line] = {}
        self._settled: dict[str, Spending] = {}
        self._open: dict[str, dict[str, Line]] = {}
        self._announced: dict[str, Spending] = {}
        self._early: dict[str, Line] = {}

    def accounts(self) -> list[Account]:
        """What each process has spent so far, announced attempts included.

        Raises:
            InputError: a line cannot be read.
        """
        self._read()
        return [
            Account(
                head["node"],
                head["currency"],
                head["started"],
                head.get("cached_replies", 0),
                self._settled[name] + self._announced[name],
            )
            for name, head in self._heads.items()
        ]

    def currencies(self) -> list[str]:
        """Currencies in which something was spent."""
        return sorted({a.currency for a in self.accounts() if a.currency and a.spending.calls})

    def _read(self) -> None:
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in self._new_lines(path):
                self._enter(path, line)

    def _new_lines(self, path: Path) -> Iterator[bytes]:
        """Whole lines since the last reading; one without its end is being written, or lost."""
        offset = self._offsets.get(path.stem, 0)
        with open(path, "rb") as file:
            file.seek(offset)
            whole, end, _ = file.read().rpartition(b"\n")
        self._offsets[path.stem] = offset + len(whole) + len(end)
        return iter(whole.split(b"\n") if end else ())

    def _enter(self, path: Path, text: bytes) -> None:
        """Take a line into account.

        Raises:
            InputError: it cannot be read.
        """
        try:
            line = _checked(json.loads(text))
            if "withdraw" in line:
                self._close(line["withdraw"])
            elif "charge" in line:
                self._settle(line["charge"], line)
            elif "reserve" in line:
                self._open[path.stem][line["reserve"]] = line
                self._announced[path.stem].count(line)
                if line["reserve"] in self._early:
                    self._settle(line["reserve"], self._early.pop(line["reserve"]))
            else:
                self._heads.setdefault(path.stem, {}).update(line)
                for sums in (self._settled, self._announced):
                    sums.setdefault(path.stem, Spending())
                self._open.setdefault(path.stem, {})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: a line of the ledger cannot be read ({error!r}); move the file away, and "
                "what it says was spent counts no more"
            ) from None

    def _settle(self, reservation: str, line: Line) -> None:
        """Count a settled attempt once; its announcement may stand in a file not read yet."""
        if self._close(reservation):
            self._settled[_file_of(reservation)].count(line)
        else:
            self._early[reservation] = line

    def _close(self, reservation: str) -> bool:
        """Count an announced attempt no longer; whether it was there."""
        name = _file_of(reservation)
        line = self._open.get(name, {}).pop(reservation, None)
        if line is None:
            return False
        self._announced[name].count(line, -1)
        if not self._open[name]:  # sums of floating-point numbers drift
            self._announced[name] = Spending()
        return True


def _checked(line: Line) -> Line:
    """A line that has what it needs.

    Raises:
        KeyError, TypeError: it has not.
    """
    kinds: dict[str, Any] = {
        "node": dict,
        "cached_replies": int,
        "withdraw": str,
        "reserve": str,
        "charge": str,
    }
    kind = next(name for name in (*kinds, "?") if name in line or name == "?")
    wanted: dict[str, Any] = {kind: kinds[kind]}
    if kind in ("reserve", "charge"):
        wanted |= {"prompt": int, "completion": int, "amount": float | int | None}
    wrong = [name for name, type_ in wanted.items() if not isinstance(line[name], type_)]
    if wrong:
        raise TypeError(wrong[0])
    return line


def _file_of(reservation: str) -> str:
    return reservation.rpartition("-")[0]


def total(accounts: Iterable[Account]) -> Spending:
    """What all of some processes have spent."""
    return sum((account.spending for account in accounts), Spending())


def passed(budget: Budget, spent: Spending) -> str:
    """Which limit of a budget some spending is above, in a few words; '' for none.

    >>> passed(Budget(calls=10), Spending(calls=10)), passed(Budget(calls=10), Spending(calls=11))
    ('', '10 calls')
    """
    if budget.calls is not None and spent.calls > budget.calls:
        return f"{budget.calls:,} calls"
    if budget.amount is not None and spent.amount > budget.amount * (1 + ROUNDING):
        return money(budget.amount, budget.currency)
    return ""
