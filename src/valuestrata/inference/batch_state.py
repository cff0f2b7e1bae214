"""What a service says of a batch: whether it has ended, how far it is, why a request has no reply.

Fields come as the service sent them, of any type; nothing here raises.
"""

from typing import Any

from valuestrata.inference.service import Failure, words_of

CANCELLED = "its batch was cancelled"
ENDED = ("completed", "failed", "expired", "cancelled")
"""Statuses after which nothing happens any more."""
_GOES_ON = [
    "validating",
    "in_progress",
    "finalizing",
    "cancelling",
    "canceling",
    "queued",
    "pending",
    "created",
    "submitted",
    "scheduled",
    "running",
    "processing",
    "preparing",
    "cancellation_requested",
]
_OTHER_NAMES = {
    "success": "completed",
    "succeeded": "completed",
    "done": "completed",
    "ended": "completed",
    "finished": "completed",
    "error": "failed",
    "timeout": "expired",
    "timed_out": "expired",
    "timeout_exceeded": "expired",
    "canceled": "cancelled",
}
_QUEUE_FULL = "token_limit_exceeded"


def status_of(batch: Any) -> str | None:
    """One of ENDED; '' for a batch under way; None for a status that nobody knows.

    >>> from types import SimpleNamespace as Batch
    >>> [status_of(Batch(status=s)) for s in ("SUCCESS", "canceled", "in_progress", "paused", 3)]
    ['completed', 'cancelled', '', None, None]
    """
    status = getattr(batch, "status", None)
    if not isinstance(status, str):
        return None
    name = status.strip().casefold().replace("-", "_").replace(" ", "_")
    name = _OTHER_NAMES.get(name, name)
    return name if name in ENDED else "" if name in _GOES_ON else None


def progress(batch: Any) -> str:
    """What a batch is doing, in words."""
    status = str(getattr(batch, "status", None))[:40]
    counts = getattr(batch, "request_counts", None)
    total, done, failed = (getattr(counts, name, 0) for name in ("total", "completed", "failed"))
    if not (type(total) is type(done) is int and total):
        return status
    failures = f", {failed:,} failed" if type(failed) is int and failed else ""
    return f"{status}, {done:,} of {total:,} done{failures}"


def missing(batch: Any, key: str) -> Failure:
    """Why a request has no line in the files of its batch."""
    status = status_of(batch)
    if status == "cancelled":
        return Failure(None, CANCELLED)
    if status == "failed":
        errors = getattr(getattr(batch, "errors", None), "data", None)
        first = errors[0] if isinstance(errors, list) and errors else None
        words = words_of({"message": getattr(first, "message", None)}, key)
        is_passing = getattr(first, "code", None) == _QUEUE_FULL
        return Failure(None if is_passing else 400, "its batch failed", *words)
    if status == "expired":
        return Failure(None, "its batch expired")
    return Failure(None, "no reply in its batch", is_billable=True)
