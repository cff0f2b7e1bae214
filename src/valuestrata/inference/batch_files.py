"""The files of a batch: a line for each request, and a line for each reply."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from valuestrata.inference.completions import without_keys
from valuestrata.inference.service import GAVE_UP, Failure, Result, read_reply, words_of
from valuestrata.provenance import text_digest

MAX_BYTES = 200_000_000
"""Largest file of requests that services take."""
ENDPOINT = "/v1/chat/completions"
"""What the requests of a batch ask for."""


def request_body(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A call's body as it is sent; the package's client mixes `extra_body` in by itself."""
    body = dict(payload)
    return body | dict(body.pop("extra_body", {}))


def request_digest(address: str, body: Mapping[str, Any]) -> str:
    """A request's name in its batch: a hash of who is asked for what."""
    return text_digest([address, json.dumps(body, sort_keys=True)])[:40]


def batch_parts(bodies: Mapping[str, Mapping[str, Any]], max_requests: int) -> Iterator[list[str]]:
    """Request ids of each batch; files stay below the limits of services."""
    part: list[str] = []
    size = 0
    for request_id, body in bodies.items():
        n_bytes = len(request_line(request_id, body))
        if part and (len(part) == max_requests or size + n_bytes > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(request_id)
        size += n_bytes
    if part:
        yield part


def request_line(request_id: str, body: Mapping[str, Any]) -> bytes:
    """A request in a batch's file."""
    request = {"custom_id": request_id, "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(request).encode() + b"\n"


def read_reply_line(line: bytes, key: str) -> tuple[str | None, Result]:
    """Request id and result of a line of a batch's files; no id where nobody can tell it."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None, Failure(None, "a malformed line")
    request_id = entry.get("custom_id") if isinstance(entry, dict) else None
    if not isinstance(request_id, str):
        return None, Failure(None, "a malformed line")
    response, error = entry.get("response"), entry.get("error")
    if isinstance(response, dict) and isinstance(status := response.get("status_code"), int):
        if status != 200:
            words = words_of(response.get("body"), key)
            billable = status in GAVE_UP
            return request_id, Failure(status, f"status {status}", *words, is_billable=billable)
        return request_id, read_reply(json.dumps(response.get("body")).encode(), key)
    code = without_keys(str(error.get("code")), key) if isinstance(error, dict) else "unknown"
    return request_id, Failure(None, f"error {code}", *words_of(error, key))
