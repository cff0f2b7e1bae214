"""A model hub on this machine: one repository in one commit, served over HTTP."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import pytest

COMMIT = "c0ffee" * 6 + "c0ff"
OWNER, NAME = "owner", "name"
REPOSITORY = f"{OWNER}/{NAME}"


@contextmanager
def hub(folder: Path, cache: Path, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serve the files of a folder as owner/name, with the branch main; gives the paths asked for.

    owner/gated wants terms to be accepted, and anything else is not there.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def fail(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", f"says the hub: {code}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, body: bytes, kind: str = "application/json") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            if f"{OWNER}/gated" in path:
                return self.fail(403, "GatedRepo")
            if f"/{REPOSITORY}" not in path:
                return self.fail(404, "RepoNotFound")
            if COMMIT not in path and not path.endswith(("/main", f"/{REPOSITORY}")):
                return self.fail(404, "RevisionNotFound")
            if "/tree/" in path:
                files = [
                    {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40}
                    for p in sorted(folder.iterdir())
                ]
                return self.send(json.dumps(files).encode())
            if path.startswith("/api/"):
                return self.send(json.dumps({"id": REPOSITORY, "sha": COMMIT}).encode())
            return self.send((folder / path.rsplit("/", 1)[1]).read_bytes(), "application/octet")

        def do_HEAD(self) -> None:
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    patch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
