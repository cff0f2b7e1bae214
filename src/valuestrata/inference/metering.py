"""How calls under way are held against a study's budget: announced, sent, settled."""

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from valuestrata.inference.ledger import Basis, BudgetError, Ledger, Tokens

log = logging.getLogger(__name__)

BYTES_PER_TOKEN = 4
"""Of prompts and replies in English, a rule of thumb."""
MESSAGE_TOKENS = 5
"""That a chat template adds around a message, about."""
MOST_ADDED = 64
"""More than a service adds around the messages of a call."""
TRIES = 5
"""Attempts to fit a call into what is left while other jobs settle theirs."""
PAUSE = 0.2
"""Longest pause between two of these, in seconds."""
SECONDS = 10.0
"""Between two lines of a log that say what is spent."""


def at_most(payload: Mapping[str, Any]) -> Tokens:
    """The most tokens that a call can take: a token a byte of its request, and the longest reply.

    >>> at_most({"messages": [], "max_tokens": 10}).completion
    10
    """
    size = len(json.dumps(payload, ensure_ascii=False).encode())
    return Tokens(size + MOST_ADDED, longest_reply(payload))


def estimated(payload: Mapping[str, Any], text: str | None = None) -> Tokens:
    """The tokens that a call takes, by the bytes of its messages and of the text written.

    Args:
        payload: the body of the call.
        text: what was written; None counts the longest reply.
    """
    messages, schema = payload["messages"], payload.get("response_format")
    size = sum(len(str(message["content"]).encode()) for message in messages)
    size += len(json.dumps(schema)) if schema else 0
    written = longest_reply(payload) if text is None else _tokens(len(text.encode()))
    return Tokens(_tokens(size) + MESSAGE_TOKENS * len(messages), written)


def longest_reply(payload: Mapping[str, Any]) -> int:
    """Tokens that the replies to a call may have, together."""
    sent = {**payload, **payload.get("extra_body", {})}
    longest = sent.get("max_completion_tokens", sent.get("max_tokens", 0))
    return int(longest) * int(sent.get("n") or 1)


def _tokens(n_bytes: int) -> int:
    return -(-n_bytes // BYTES_PER_TOKEN)


class Meter:
    """The calls of one event loop and their ledger; without a ledger it lets all pass."""

    def __init__(self, ledger: Ledger | None) -> None:
        """No call under way."""
        self.ledger = ledger
        self.error: BudgetError | None = None
        self._under_way = 0
        self._settled = asyncio.Event()
        self._shown_at = float("-inf")

    async def reserve(self, payload: Mapping[str, Any]) -> str | None:
        """Announce an attempt, as soon as there is room for it; None once the budget is used up.

        While other attempts are under way room may come, as replies are mostly shorter than the
        longest.
        """
        tries = TRIES
        while self.ledger is not None and self.error is None:
            try:
                (reservation,) = self.ledger.reserve([at_most(payload)])
            except BudgetError as error:
                if self._under_way:
                    self._settled.clear()
                    await self._settled.wait()
                elif tries:
                    tries -= 1
                    await asyncio.sleep(random.uniform(0, PAUSE))
                else:
                    self.error = error
            else:
                self._under_way += 1
                return reservation
        return None if self.error else ""

    def settle(self, reservation: str, tokens: Tokens | None, basis: Basis) -> None:
        """Charge an attempt that has ended; see `Ledger.charge`."""
        if self.ledger is None:
            return
        self.ledger.charge(reservation, tokens, basis)
        self._under_way -= 1
        self._settled.set()
        now = time.monotonic()
        if now - self._shown_at >= SECONDS:
            self.show()

    def show(self) -> None:
        """Log the running total."""
        if self.ledger is not None:
            log.info("spent by all jobs of the study: %s", self.ledger.told())
            self._shown_at = time.monotonic()
