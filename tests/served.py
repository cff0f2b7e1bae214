"""A server of chat completions on this machine, for tests of the backend openai."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from valuestrata.specs import Model, Service

VARIABLE = "VALUESTRATA_TEST_KEY"
KEY = "sk-THIS-IS-A-SECRET-0123456789"

Says = Callable[[str, str], Any]


@dataclass
class Server:
    """What it says to (persona, user), and what it was asked.

    `says` returns a text; None for a message without text; an int for an error's status; a dict to
    change the message; a float to wait that long first.
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
        return [said["messages"][1]["content"] for said in self.asked]


@contextmanager
def serving(says: Says) -> Iterator[Server]:
    """Run a server until the block ends."""
    state = Server(says)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def encode_reply(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.asked.append(said)
                state.keys.add(self.headers["Authorization"])
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                found = state.says(*(message["content"] for message in said["messages"]))
                if isinstance(found, float):
                    time.sleep(found)
                    found = "late"
            finally:
                with state.lock:
                    state.at_once -= 1
            if isinstance(found, int):
                # as real services do, it repeats part of the key
                return self.encode_reply(
                    found, {"error": {"message": f"not with {KEY}", "code": found}}
                )
            message = {"role": "assistant", "content": found, "refusal": None}
            message |= found if isinstance(found, dict) else {}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            return self.encode_reply(
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


def model(server: Server, **changes: Any) -> Model:
    """The spec of a model that the server serves."""
    settings = {"parallel": 4, "timeout": 5.0, "retries": 0, "key_variable": VARIABLE}
    service = Service(server.address, **settings | changes)  # type: ignore[arg-type]
    return Model(
        backend="openai",
        rule=None,
        weights="toy-gpt",
        revision=None,
        dtype="bfloat16",
        remote_code=False,
        batch_tokens=0,
        service=service,
    )
