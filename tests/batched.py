"""The batch API of the server of tests/served.py, and the ways in which it goes wrong."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Answer = tuple[int, Any]
"""A status, and what is sent: JSON, or bytes of a file."""


@dataclass
class Batches:
    """Files and batches at a service.

    Attributes:
        reply: the status and body of a request's reply.
        fates: how the first batches end, in order; the rest are completed.
        polls: looks at a batch before it has ended.
        n_done: requests that are done in a batch that expires, fails or is cancelled.
        around: called before and after each request with its kind; may raise to drop the
            connection, or return an answer of its own.
    """

    reply: Callable[[dict[str, Any]], tuple[int, Any]]
    fates: list[str] = field(default_factory=list)
    polls: int = 1
    n_done: int = 0
    around: Callable[[str, str], Answer | None] = lambda *_: None
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    edit: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
    kinds: list[str] = field(default_factory=list)

    def submitted(self) -> Counter[str]:
        """How often each user message stands in a batch that was made."""
        lines = [
            json.loads(line)
            for batch in self.batches.values()
            for line in self.files[batch["input_file_id"]].splitlines()
        ]
        return Counter(line["body"]["messages"][1]["content"] for line in lines)

    def handle(self, method: str, path: str, body: bytes) -> Answer:
        """Answer a request for files or batches."""
        path, _, query = path.partition("?")
        _, _, what, *rest = path.split("/")
        kind = f"{method} {what}" + ("/{}" if rest else "") + "".join(f"/{p}" for p in rest[1:])
        self.kinds.append(kind)
        answer = self.around("before", kind) or self.route(kind, rest, query, body)
        return self.around("after", kind) or answer

    def route(self, kind: str, rest: list[str], query: str, body: bytes) -> Answer:
        """Do what a request asks for."""
        if kind == "POST files":
            content = re.search(rb'filename="requests.jsonl".*?\r\n\r\n(.*)\r\n--', body, re.DOTALL)
            assert content is not None
            assert b"batch" in body
            return 200, {"id": self.store(content[1]), "object": "file"}
        if kind == "POST batches":
            return 200, self.make(json.loads(body))
        if kind == "GET batches":
            last = re.search(r"after=(\w+)", query)
            ids = list(self.batches)[::-1]
            ids = ids[ids.index(last[1]) + 1 :] if last else ids
            page = [self.batches[i] for i in ids[:2]]  # small pages, so that there are several
            return 200, {"object": "list", "data": page, "has_more": len(ids) > 2}
        if kind == "GET batches/{}":
            batch = self.batches.get(rest[0])
            return (200, self.look(batch)) if batch else (404, {"error": {"message": "none"}})
        assert kind == "GET files/{}/content"
        return 200, self.files[rest[0]]

    def store(self, content: bytes) -> str:
        """Keep a file; its id."""
        self.files[f"file{len(self.files)}"] = content
        return f"file{len(self.files) - 1}"

    def make(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make a batch."""
        assert asked["endpoint"] == "/v1/chat/completions"
        n = len(self.batches)
        batch = {
            "id": f"batch{n}",
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"],
            "metadata": asked["metadata"],
            "created_at": n,
            "status": "validating",
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "_left": self.polls,
            "_fate": self.fates[n] if n < len(self.fates) else "completed",
        }
        self.batches[batch["id"]] = batch
        return batch

    def look(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch, which goes on a little with each look."""
        if batch["_left"] > 0:
            batch |= {"_left": batch["_left"] - 1, "status": "in_progress"}
        elif batch["status"] == "in_progress":
            self.end(batch)
        return batch

    def end(self, batch: dict[str, Any]) -> None:
        """Do the requests of a batch, or some of them."""
        fate = batch["_fate"]
        requests = [json.loads(r) for r in self.files[batch["input_file_id"]].splitlines()]
        n_done = len(requests) if fate == "completed" else self.n_done
        lines: dict[bool, list[bytes]] = {True: [], False: []}
        for i, request in enumerate(requests):
            error = {"code": "batch_expired", "message": "This request could not be executed."}
            line = {"id": f"r{i}", "custom_id": request["custom_id"], "response": None}
            if i < n_done:
                status, body = self.reply(request["body"])
                line |= {"response": {"status_code": status, "body": body}, "error": None}
            elif fate == "expired":
                line |= {"error": error}
            else:
                continue
            ok = line["response"] is not None and line["response"]["status_code"] == 200
            lines[ok].append(json.dumps(line).encode())
        batch |= {
            "status": fate,
            "output_file_id": self.file_of(lines[True][::-1]),  # no order is promised
            "error_file_id": self.file_of(lines[False]),
            "errors": {"object": "list", "data": self.errors} if fate == "failed" else None,
        }

    def file_of(self, lines: list[bytes]) -> str | None:
        """The id of a file of lines, None where there are none."""
        return self.store(b"".join(line + b"\n" for line in self.edit(lines))) if lines else None
