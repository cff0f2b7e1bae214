"""A server of chat completions on this machine, for tests of the backend openai."""

import json
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

from tests.batched import Batches
from valuestrata.inference import batches, service
from valuestrata.inference.fill import Requests, fill
from valuestrata.inference.openai import OpenAIBackend
from valuestrata.inference.protocol import Sampling
from valuestrata.inference.reply_cache import ReplyCache
from valuestrata.study.budget import Budget
from valuestrata.study.models import OpenAIModel

VARIABLE = "VALUESTRATA_TEST_KEY"
KEY = "sk-THIS-IS-A-SECRET-0123456789"

Says = Callable[[str, str], Any]


@dataclass(frozen=True)
class Raw:
    """A reply as bytes: its status, headers, and seconds between its bytes."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0


@dataclass
class Server:
    """What it says to (persona, user), and what it was asked.

    `says` returns a text; None for a message without text; an int for an error's status; a dict to
    change the message or its finish_reason; a float to wait that long first; a Raw for a reply as
    bytes.
    """

    says: Says
    address: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    lock: Any = field(default_factory=Lock)
    batches: Batches = field(init=False)

    def __post_init__(self) -> None:
        self.batches = Batches(lambda request: answer(self.says, request))

    def users(self) -> list[str]:
        """The user messages that were asked, in order of arrival."""
        return [request["messages"][1]["content"] for request in self.asked]


def answer(says: Says, request: dict[str, Any]) -> tuple[int, Any]:
    """Status and body of the reply to a request; a Raw is for single calls alone."""
    reply = says(*(message["content"] for message in request["messages"]))
    if isinstance(reply, float):
        time.sleep(reply)
        reply = "late"
    if isinstance(reply, Raw):
        return reply.status, reply
    if isinstance(reply, int):
        # as real services do, it repeats part of the key
        return reply, {"error": {"message": f"not with {KEY}", "code": reply}}
    message = {"role": "assistant", "content": reply, "refusal": None}
    message |= reply if isinstance(reply, dict) else {}
    choice = {"index": 0, "finish_reason": message.pop("finish_reason", "stop")}
    choice |= {"logprobs": message.pop("logprobs", None), "message": message}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "toy"}
    return 200, {**body, "choices": [choice], "usage": message.pop("usage", None)}


class _QuietServer(ThreadingHTTPServer):
    """Shows its own errors, and not that somebody hung up or was killed."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(says: Says) -> Iterator[Server]:
    """Run a server until the block ends."""
    state = Server(says)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None: ...

        def send(self, status: int, content: Any) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # whoever asked has hung up
                self.wfile.write(body)

        def handle_batches(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with state.lock:
                state.keys.add(self.headers["Authorization"])
                try:
                    answered = state.batches.handle(method, self.path, body)
                except ConnectionError:  # it hangs up without an answer
                    self.close_connection = True
                    return
            self.send(*answered)

        def do_GET(self) -> None:
            self.handle_batches("GET")

        def send_raw(self, raw: Raw) -> None:
            self.send_response(raw.status)
            usual = {"Content-Length": str(len(raw.body)), "Connection": "close"}
            for name, value in {**usual, **raw.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # whoever asked has hung up
                for i in range(0, len(raw.body), 1 if raw.drip else max(1, len(raw.body))):
                    self.wfile.write(raw.body[i : i + 1] if raw.drip else raw.body)
                    self.wfile.flush()
                    time.sleep(raw.drip)
            self.close_connection = True

        def do_POST(self) -> None:
            if not self.path.endswith("/chat/completions"):
                self.handle_batches("POST")
                return
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.asked.append(request)
                state.keys.add(self.headers["Authorization"])
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                status, body = answer(state.says, request)
            finally:
                with state.lock:
                    state.at_once -= 1
            self.send_raw(body) if isinstance(body, Raw) else self.send(status, body)

    server = _QuietServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """Make clients quick, of which tests need many: certificates are read once, pauses short."""
    context = ssl.create_default_context()
    patch.setattr(ssl, "create_default_context", lambda *_, **__: context)
    patch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    patch.setattr(service, "LONGEST_WAIT", 0.01)
    patch.setattr(batches, "LISTING_DELAY", 0.0)
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.setenv(VARIABLE, KEY)


def model(server: Server, **changes: Any) -> OpenAIModel:
    """A model that the server serves."""
    settings = {"max_concurrency": 4, "timeout": 5.0, "max_retries": 0, "api_key_env": VARIABLE}
    return OpenAIModel(
        backend="openai", model="toy-gpt", base_url=server.address, **{**settings, **changes}
    )


def ask(
    model: OpenAIModel, folder: Path, n: int, ledger: Path | None = None, **budget: Any
) -> list[str | None]:
    """Texts of n prompts, as a job on a cache's folder has them; `No` and no answers are not kept.

    An answer has ended by itself. Calls are charged to the ledger in a folder.
    """
    backend = OpenAIBackend(model)
    if ledger is not None:
        backend.charge_to(ledger, {"stage": "test"}, Budget(**budget))
    requests = Requests(
        [("You are old.", f"{i}") for i in range(n)],
        Sampling(8),
        lambda _, w: w.text not in (None, "No") and not w.is_cut and not w.is_refused,
    )
    return [r.written.text for r in fill(ReplyCache(folder), backend, requests)]
