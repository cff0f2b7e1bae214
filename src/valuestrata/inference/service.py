"""Calls of a chat completions service: many at a time, inside its limits, and none lost or doubled.

A call is made of attempts. An attempt that fails for a passing reason (a full service, a lost
connection, a malformed body, too much time) is made again after the service's own wait or a growing
one; any other failure ends the call. Results come one by one as they arrive, and no more than
`max_concurrency` calls are under way or not yet taken: that is what a killed process pays twice.
"""

import asyncio
import contextlib
import datetime
import email.utils
import json
import queue
import random
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.inference.completions import (
    ServiceReply,
    completion,
    reported_usage,
    without_key,
    without_keys,
)
from valuestrata.inference.ledger import Basis, Ledger, Tokens
from valuestrata.inference.metering import Meter, estimated

BODY_LIMIT = 2_000_000
"""Largest body that is read, in bytes; an answer of 8,000 tokens with its thought takes 100,000."""
LONGEST_WAIT = 60.0
"""Longest pause of our own between two attempts, in seconds."""
LONGEST_RETRY_AFTER = 600.0
"""Longest pause that a service may ask for, in seconds; a longer one fails the call."""
PASSING = {408, 409, 425, 429}
"""Statuses below 500 after which a call is tried again."""
GAVE_UP = {408, 502, 504}
"""Statuses by which a gateway says that it waited no longer; the model may have written."""


@dataclass(frozen=True)
class Failure:
    """A call that has no reply.

    Attributes:
        status: the service's, None where it gave none.
        kind: what went wrong, in a few words of ours.
        words: the service's own, without anything that looks like a key.
        param: the parameter of the request that the service complains of, '' for none.
        is_billable: whether the service may have billed it.
        usage: the tokens that it took, where the service says so all the same.
    """

    status: int | None
    kind: str
    words: str = ""
    param: str = ""
    is_billable: bool = False
    usage: Tokens | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the service turned the request itself down: another try would end alike."""
        return self.status is not None and self.status < 500 and self.status not in PASSING

    def __str__(self) -> str:
        """In a few words."""
        return self.kind + (f" ({self.words})" if self.words else "")


Result = ServiceReply | Failure


@dataclass(frozen=True)
class Limits:
    """What a service, and the study, allow.

    Attributes:
        concurrency: calls at a time.
        timeout: seconds that an attempt may take, from its start to the last byte.
        max_retries: attempts after the first.
        requests_per_minute: attempts; None for no limit.
        tokens_per_minute: estimated tokens of prompts and replies; None for no limit.
    """

    concurrency: int
    timeout: float
    max_retries: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Rate:
    """At most so many units a minute, spread evenly; a minute's worth may not be saved up.

    >>> rate = Rate(60)
    >>> [round(rate.wait(1, now), 3) for now in (0.0, 0.0, 0.5, 9.0)]
    [0.0, 1.0, 1.5, 0.0]
    """

    def __init__(self, per_minute: float | None) -> None:
        """Nothing used yet."""
        self.seconds = 60 / per_minute if per_minute else 0.0
        self.free_at = float("-inf")

    def wait(self, units: float, now: float) -> float:
        """Seconds to wait before so many units may be used; they count as used."""
        start = max(self.free_at, now)
        self.free_at = start + units * self.seconds
        return start - now


def calls(
    client: Any,
    payloads: Sequence[Mapping[str, Any]],
    limits: Limits,
    ledger: Ledger | None = None,
) -> Iterator[tuple[int, Result]]:
    """(position, result) of every payload, in the order in which they end.

    Args:
        client: an `openai.AsyncOpenAI` that makes no retries of its own.
        payloads: bodies of requests.
        limits: of the service.
        ledger: where attempts are charged; None where nobody counts.

    Raises:
        BudgetError: the next attempt could pass the budget; what was under way has been given.

    Ending the iteration early cancels what is under way.
    """
    arrived: queue.SimpleQueue[tuple[int, Result] | BaseException | None] = queue.SimpleQueue()
    runner = _Runner(client, payloads, limits, arrived, Meter(ledger))
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    try:
        while (item := arrived.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            runner.taken()
    finally:
        runner.stop()
        thread.join()


class _Runner:
    """The event loop that makes calls, in a thread of its own."""

    def __init__(
        self,
        client: Any,
        payloads: Sequence[Mapping[str, Any]],
        limits: Limits,
        arrived: "queue.SimpleQueue[Any]",
        meter: Meter,
    ) -> None:
        self.client, self.payloads, self.limits, self.arrived = client, payloads, limits, arrived
        self.meter = meter
        self.requests = Rate(limits.requests_per_minute)
        self.tokens = Rate(limits.tokens_per_minute)
        self.resume_at = 0.0
        self.untaken = asyncio.Semaphore(limits.concurrency)
        self.loop = asyncio.new_event_loop()
        self.main = self.loop.create_task(self._all())

    def run(self) -> None:
        """Make all calls; the last item is None, or the error that ended them."""
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(self.main)
            self.meter.show()
            if self.meter.error is not None:
                self.arrived.put(self.meter.error)
        except* Exception as errors:  # a bug of ours: the caller's thread shows it
            self.arrived.put(errors.exceptions[0])
        finally:
            try:  # outside of what `stop` cancels: half a close leaves connections open
                self.loop.run_until_complete(self.client.close())
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            finally:
                self.loop.close()
                self.arrived.put(None)

    def taken(self) -> None:
        """A result was taken: one more call may begin."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self.untaken.release)

    def stop(self) -> None:
        """Cancel what is under way."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.main.cancel)

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for position, payload in enumerate(self.payloads):
                await self.untaken.acquire()
                if self.meter.error is not None:
                    break
                group.create_task(self._deliver(position, payload))

    async def _deliver(self, position: int, payload: Mapping[str, Any]) -> None:
        result = await self._call(payload)
        if result is None:
            self.untaken.release()
        else:
            self.arrived.put((position, result))

    async def _call(self, payload: Mapping[str, Any]) -> Result | None:
        """The result of a call, after as many attempts as it takes and may have.

        None where the budget has no room for one of them.
        """
        for attempt in range(self.limits.max_retries + 1):
            await self._pace(payload)
            reservation = await self.meter.reserve(payload)
            if reservation is None:
                return None
            result, wait = await _attempt(self.client, payload, self.limits.timeout)
            self.meter.settle(reservation, *_charged(result, payload))
            if isinstance(result, ServiceReply) or result.is_refused:
                return result
            if attempt == self.limits.max_retries or (wait or 0) > LONGEST_RETRY_AFTER:
                return result
            if wait:  # the service asks all of us to wait
                self.resume_at = max(self.resume_at, time.monotonic() + wait)
            else:
                growing = min(LONGEST_WAIT, 0.5 * 2**attempt)
                await asyncio.sleep(growing * random.uniform(0.5, 1.0))
        raise AssertionError("unreachable")

    async def _pace(self, payload: Mapping[str, Any]) -> None:
        """Wait for the limits, and for as long as the service has asked."""
        now = time.monotonic()
        tokens = estimated(payload)
        waits = (
            self.requests.wait(1, now),
            self.tokens.wait(tokens.prompt + tokens.completion, now),
        )
        await asyncio.sleep(max(*waits, self.resume_at - now))
        while (wait := self.resume_at - time.monotonic()) > 0:
            await asyncio.sleep(wait)


async def _attempt(
    client: Any, payload: Mapping[str, Any], timeout: float
) -> tuple[Result, float | None]:
    """The result of one attempt, and the seconds that the service asks us to wait."""
    import openai

    try:
        async with asyncio.timeout(timeout):  # the package's own begins anew with each byte
            body = await _body(client, payload)
    except TimeoutError:
        return Failure(None, f"no whole reply within {timeout:g} s", is_billable=True), None
    except openai.APIStatusError as error:
        return failure_of(error, client), retry_after(error.response.headers)
    except client_errors() as error:
        return failure_of(error, client), None
    if body is None:
        return Failure(None, f"a reply of over {BODY_LIMIT:,} bytes", is_billable=True), None
    return read_reply(body, str(client.api_key)), None


def read_reply(body: bytes, key: str) -> Result:
    """The reply in the body of a chat completion, without the key; a failure for none."""
    try:
        return without_key(completion(body), key)
    except ValueError as error:
        kind = without_keys(f"a malformed reply: {error}", key)
        words = words_of(_json(body), key)  # some services send their errors with status 200
        return Failure(None, kind, *words, is_billable=True, usage=reported_usage(body))


def _json(body: bytes) -> Any:
    """What a body holds, None where that is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def client_errors() -> tuple[type[Exception], ...]:
    """All that a request of the package's client may raise; `failure_of` says what it means."""
    import openai

    return (openai.OpenAIError, OSError, ValueError, RuntimeError, *_transport_errors())


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the package beneath openai raises while a body arrives; it goes by two names."""
    packages = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return tuple(package.HTTPError for package in packages)


def _was_sent(error: Exception) -> bool:
    """Whether a connection was lost once there was one; without any, nothing was asked."""
    cause = error.__cause__ or error
    return not {kind.__name__ for kind in type(cause).__mro__} & {"ConnectError", "ConnectTimeout"}


def _charged(result: Result, payload: Mapping[str, Any]) -> tuple[Tokens | None, Basis]:
    """The tokens that an attempt is charged, and how they are known."""
    if result.usage is not None:
        return result.usage, "usage"
    if isinstance(result, ServiceReply):
        return estimated(payload, result.thought + result.text + result.refusal), "estimated"
    if result.is_billable:
        return estimated(payload), "unsure"
    return None, "unbilled"


def failure_of(error: Exception, client: Any) -> Failure:
    """What went wrong with a request of the package's client, in words without keys."""
    import openai

    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        words = words_of(error.body, str(client.api_key))
        kind = f"status {status}"
        if 300 <= status < 400:
            kind += ", a redirection, which is not followed: correct base_url"
        return Failure(status, kind, *words, is_billable=status in GAVE_UP)
    if isinstance(error, (openai.APIConnectionError, OSError, *_transport_errors())):
        return Failure(None, "no connection", is_billable=_was_sent(error))
    kind = f"an unreadable reply ({type(error).__name__})"
    return Failure(None, kind, is_billable=True)


async def _body(client: Any, payload: Mapping[str, Any]) -> bytes | None:
    """The body of a reply as it was sent, None where it is too large."""
    create = client.chat.completions.with_streaming_response.create
    parts, size = [], 0
    async with create(**payload) as response:
        async for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > BODY_LIMIT:
                return None
    return b"".join(parts)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a service asks to wait: `retry-after-ms`, or `Retry-After` as seconds or date.

    >>> retry_after({"retry-after": "2"}), retry_after({"retry-after-ms": "250"}), retry_after({})
    (2.0, 0.25, None)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(KeyError, ValueError):
            return max(0.0, float(headers[name]) * unit)
    try:
        date = email.utils.parsedate_to_datetime(headers["retry-after"])
        if date.tzinfo is None:  # a date is in Greenwich time, said or not
            date = date.replace(tzinfo=datetime.UTC)
        return max(0.0, date.timestamp() - time.time())
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def words_of(body: Any, key: str) -> tuple[str, str]:
    """A service's own words on a failure without keys, and the parameter that it names."""
    body = body[0] if isinstance(body, list) and body else body  # some send it in a list
    inner = body.get("error") if isinstance(body, dict) else None
    body = inner or body
    body = body if isinstance(body, dict) else {"message": body}
    message = body.get("message") or body.get("detail")  # the latter of servers by FastAPI
    if isinstance(message, list):  # and what is wrong with each field
        message = "; ".join(str(m["msg"]) for m in message if isinstance(m, dict) and "msg" in m)
    param = body.get("param")
    words = without_keys(message, key) if isinstance(message, str) else ""
    if not (isinstance(param, str) and re.fullmatch(r"[\w.]{1,40}", param)) or key in param:
        param = ""
    return words, param
