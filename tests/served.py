"""A server of chat completions on this machine, for tests of the backend openai."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

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

    def users(self) -> list[str]:
        """The user messages that were asked, in order of arrival."""
        return [request["messages"][1]["content"] for request in self.asked]


@contextmanager
def serving(says: Says) -> Iterator[Server]:
    """Run a server until the block ends."""
    state = Server(says)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def send(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def send_raw(self, raw: Raw) -> None:
            self.send_response(raw.status)
            for name, value in {"Content-Length": str(len(raw.body)), **raw.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # whoever asked has hung up
                for i in range(0, len(raw.body), 1 if raw.drip else max(1, len(raw.body))):
                    self.wfile.write(raw.body[i : i + 1] if raw.drip else raw.body)
                    self.wfile.flush()
                    time.sleep(raw.drip)
            self.close_connection = True

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.asked.append(request)
                state.keys.add(self.headers["Authorization"])
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                reply = state.says(*(message["content"] for message in request["messages"]))
                if isinstance(reply, float):
                    time.sleep(reply)
                    reply = "late"
            finally:
                with state.lock:
                    state.at_once -= 1
            if isinstance(reply, Raw):
                return self.send_raw(reply)
            if isinstance(reply, int):
                # as real services do, it repeats part of the key
                return self.send(reply, {"error": {"message": f"not with {KEY}", "code": reply}})
            message = {"role": "assistant", "content": reply, "refusal": None}
            message |= reply if isinstance(reply, dict) else {}
            ended = message.pop("finish_reason", "stop")
            choice = {"index": 0, "finish_reason": ended, "message": message}
            return self.send(
                200,
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "toy",
                    "choices": [choice],
                },
            )

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def model(server: Server, **changes: Any) -> OpenAIModel:
    """A model that the server serves."""
    settings = {"max_concurrency": 4, "timeout": 5.0, "max_retries": 0, "api_key_env": VARIABLE}
    return OpenAIModel(
        backend="openai", model="toy-gpt", base_url=server.address, **{**settings, **changes}
    )
