"""What calls of services cost, and the most that a study may spend. No result depends on either."""

import math
from typing import Self

from pydantic import Field, model_validator

from valuestrata.study.base import Part, Text

MILLION = 1_000_000
CURRENCY = "USD"


class Prices(Part):
    """A service's prices of a model."""

    prompt: float = Field(ge=0, description="Price of a million prompt tokens.")
    completion: float = Field(
        ge=0, description="Price of a million tokens of replies, thoughts included."
    )
    cached_prompt: float | None = Field(
        default=None,
        ge=0,
        description=(
            "Price of a million prompt tokens that the service had cached itself; as prompt by "
            "default."
        ),
    )
    batch_discount: float = Field(
        default=0.0, ge=0, le=1, description="Share that the service takes off calls in a batch."
    )
    currency: Text = Field(default=CURRENCY, description="Currency of the prices.")
    as_of: Text | None = Field(
        default=None, description='Day of the price list, in quotes, such as "2025-06-30".'
    )

    def amount(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        batch: bool = False,
    ) -> float:
        """What tokens cost, in the currency; cached tokens are among those of the prompt.

        >>> Prices(prompt=2, completion=8, cached_prompt=0.5).amount(1_000_000, 500_000, 200_000)
        5.7
        """
        cached_price = self.prompt if self.cached_prompt is None else self.cached_prompt
        full = (
            (prompt_tokens - cached_tokens) * self.prompt
            + cached_tokens * cached_price
            + completion_tokens * self.completion
        )
        return full / MILLION * (1 - self.batch_discount if batch else 1)


class Budget(Part):
    """The most that a study may spend on services, over all of its jobs."""

    amount: float | None = Field(
        default=None, gt=0, description="Most that may be spent, in the currency of the prices."
    )
    currency: Text = Field(default=CURRENCY, description="Currency of the amount.")
    calls: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Most calls that services answer, or may have answered. An attempt that is turned down "
            "is none."
        ),
    )

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.amount is None and self.calls is None:
            raise ValueError("give amount, calls or both")
        return self


def money(amount: float, currency: str) -> str:
    """An amount in words, with two digits, or with two that say something where it is small.

    >>> money(1234.5, "USD"), money(0.00123, "USD"), money(0, "EUR")
    ('USD 1,234.50', 'USD 0.0012', 'EUR 0.00')
    """
    if 0 < abs(amount) < 0.1:
        digits = max(2, 1 - math.floor(math.log10(abs(amount))))
        return f"{currency} {amount:.{digits}f}"
    return f"{currency} {amount:,.2f}"
