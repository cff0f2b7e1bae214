"""The ledger of what a study's jobs spend at services, and the limit that its budget sets.

Every process appends lines to a file of its own in the ledger's folder, and to no other. So there
is no lock, no line of another is lost, and a network file system will do. An attempt is announced
at the most that it can cost before it is sent, and settled at what it did cost. One that is never
settled, as its job was killed, counts at the most.

A job reads what all have announced *after* its own line is written: of two jobs that would pass the
budget together, one at least sees the other and takes its line back.
"""

import contextlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from valuestrata.errors import InputError
from valuestrata.inference.books import Books, Line, Spending, passed, total
from valuestrata.io import PRIVATE
from valuestrata.study.budget import Budget, Prices, money

Basis = Literal["usage", "estimated", "unsure", "unbilled"]
"""How it is known what an attempt cost: the service counted its tokens; it did not, and they are
estimated; the attempt failed and may have been billed; it was not billed."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of a call; `cached` are those of the prompt that the service had cached."""

    prompt: int
    completion: int
    cached: int = 0


class BudgetError(InputError):
    """The next call could pass the study's budget."""


class Ledger:
    """The ledger of a study, as one job writes and reads it."""

    def __init__(
        self,
        folder: Path | str,
        node: Mapping[str, str],
        prices: Prices | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Open a file of its own.

        Args:
            folder: of the study's ledger.
            node: what names the job: stage, model, variant, split, ...
            prices: of the model that is asked; None where the study gives none.
            budget: of the study; None for no limit.

        Raises:
            InputError: something was spent in another currency than the budget's.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, 0o700)
        self.prices, self.budget = prices, budget
        self.name = uuid.uuid4().hex
        self._books = Books(self.folder)
        self._n_reserved = 0
        self._margin = 1.0
        self._at_most: dict[str, float] = {}
        if budget is not None and budget.amount is not None:
            others = [name for name in self._books.currencies() if name != budget.currency]
            if others:
                raise InputError(
                    f"budget.currency: {budget.currency}, and {others[0]} was spent already; keep "
                    f"to {others[0]}, in prices and budget"
                )
        currency = prices.currency if prices else None
        self._write([{"node": dict(node), "currency": currency, "started": int(time.time())}])

    def reserve(self, at_most: Sequence[Tokens], batch: bool = False) -> list[str]:
        """Announce attempts before they are sent: all of them, or none.

        Args:
            at_most: of each attempt, the most tokens that it can take.
            batch: whether they are sent in a batch.

        Returns:
            An id for each, by which this process or a later one settles it.

        Raises:
            BudgetError: they could pass the budget.
        """
        ids = [f"{self.name}-{self._n_reserved + i}" for i in range(len(at_most))]
        self._n_reserved += len(ids)
        lines = []
        for reservation, tokens in zip(ids, at_most, strict=True):
            amount = self._amount(tokens, batch)
            if amount is not None:
                self._at_most[reservation] = amount
                amount *= self._margin
            lines.append({"reserve": reservation, **_counts(tokens), "amount": amount})
        self._write(lines, safely=self.budget is not None)
        if self.budget is None:
            return ids
        limit = passed(self.budget, self.spent())
        if not limit:
            return ids
        for reservation in ids:
            self._at_most.pop(reservation, None)
        self._write({"withdraw": reservation} for reservation in ids)
        raise BudgetError(
            f"the next call could pass the study's budget of {limit} ({self.told()}); all replies "
            "are kept: raise `budget` and run snakemake again to go on"
        )

    def charge(
        self, reservation: str, tokens: Tokens | None, basis: Basis, batch: bool = False
    ) -> None:
        """Settle an announced attempt.

        Args:
            reservation: its id.
            tokens: what it took; None where it was not billed.
            basis: how that is known.
            batch: whether it was sent in a batch.
        """
        used = tokens or Tokens(0, 0)
        amount = self._amount(used, batch)
        reserved = self._at_most.pop(reservation, None)
        if amount and reserved:
            # where a service counts more than we can, announce more from now on
            self._margin = max(self._margin, amount / reserved)
        line = {"charge": reservation, "basis": basis, **_counts(used), "amount": amount}
        self._write([{**line, "time": int(time.time())}])

    def note_cached(self, n_replies: int) -> None:
        """Say how many of the replies that the job needs are cached already."""
        self._write([{"cached_replies": n_replies}])

    def spent(self) -> Spending:
        """What all jobs of the study have spent or announced."""
        # a network file system shows a folder's newest files after a change to it at the latest
        with contextlib.suppress(OSError):
            Path(tempfile.mkdtemp(dir=self.folder)).rmdir()
        return total(self._books.accounts())

    def told(self) -> str:
        """What all jobs have spent, in words, for a log."""
        spent = self.spent()
        words = f"{spent.calls:,} call{'' if spent.calls == 1 else 's'}"
        if self.prices is not None:
            words = f"{money(spent.amount, self.prices.currency)} in {words}"
        return words + (f", {spent.unpriced:,} of them without a price" if spent.unpriced else "")

    def _amount(self, tokens: Tokens, batch: bool) -> float | None:
        if self.prices is None:
            return None
        return self.prices.amount(tokens.prompt, tokens.completion, tokens.cached, batch)

    def _write(self, lines: Iterable[Line], safely: bool = False) -> None:
        """Append lines in one write; a file server has them when it ends, and `safely` the disk.

        A settlement that a crash of the machine loses leaves its attempt at the most.
        """
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path = self.folder / f"{self.name}.jsonl"
        with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE), "wb") as file:
            file.write(text.encode())
            file.flush()
            if safely:
                os.fdatasync(file.fileno())


def _counts(tokens: Tokens) -> Line:
    return {
        "prompt": tokens.prompt,
        "cached": tokens.cached,
        "completion": tokens.completion,
    }
