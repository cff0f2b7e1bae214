"""How batches are held against a study's budget: announced whole, settled one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

from valuestrata.inference.completions import ServiceReply
from valuestrata.inference.ledger import Ledger
from valuestrata.inference.metering import at_most
from valuestrata.inference.service import Result


class BatchAccounts:
    """A study's ledger as batches use it; a later process may settle what an earlier one sent."""

    def __init__(self, ledger: Ledger) -> None:
        """Of one job."""
        self.ledger = ledger

    def reserve(self, bodies: Sequence[Mapping[str, Any]]) -> list[str]:
        """Announce requests before they are submitted, all or none; an id for each.

        Raises:
            BudgetError: they could pass the budget.
        """
        return self.ledger.reserve([at_most(body) for body in bodies], batch=True)

    def settle(self, reservation: str, result: Result) -> None:
        """Charge a request that has ended; the second time nothing is counted.

        A reply whose tokens the service did not count stays at the most that it can cost.
        """
        if result.usage is not None:
            self.ledger.charge(reservation, result.usage, "usage", batch=True)
        elif not isinstance(result, ServiceReply) and not result.is_billable:
            self.ledger.charge(reservation, None, "unbilled", batch=True)
