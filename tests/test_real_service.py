"""A real server of chat completions over a toy: `transformers serve` against the local backend."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import toys
from tests.asking import generate, predict
from valuestrata.errors import InputError
from valuestrata.inference.backends import open_model
from valuestrata.inference.protocol import Sampling
from valuestrata.study.models import OpenAIModel

NEEDED = ("fastapi", "uvicorn", "openai")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("real service"),
    pytest.mark.skipif(
        bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}: pip install them"
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.taught("Llama", tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve",
        str(folder), "--device", "cpu", "--dtype", "float32", "--port", str(port),
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = folder.parent / "serve.log"
    with open(log, "wb") as file:
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        wait_for(f"http://localhost:{port}/health", server, log)
        yield f"http://localhost:{port}/v1"
    finally:
        server.kill()
        server.wait()


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return once a server answers; fail with its log where it does not."""
    end = time.monotonic() + 180
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"transformers serve does not answer: {log.read_text()[-2000:]}")


def served(folder: Path, address: str, **changes: Any) -> OpenAIModel:
    """The toy as the server has it; it takes max_tokens, and leaves out what it does not know."""
    settings: dict[str, Any] = {"length_parameter": "max_tokens", "temperature": 0.0, **changes}
    return OpenAIModel(backend="openai", model=str(folder), base_url=address, **settings)


def test_texts_are_those_of_the_local_backend(folder: Path, address: str, tmp_path: Path) -> None:
    written = ["text", "outcome", "answer", "finish_reason"]
    here = predict(tmp_path, toys.model(folder), cache="here")
    there = predict(tmp_path, served(folder, address), cache="there")
    assert here[written].equals(there[written])
    assert set(here["outcome"]) == {"answer"}
    texts = generate(tmp_path, toys.model(folder), cache="here-texts", max_new_tokens=24)
    others = generate(tmp_path, served(folder, address), cache="there-texts", max_new_tokens=24)
    assert texts[["text", "outcome", "finish_reason"]].equals(
        others[["text", "outcome", "finish_reason"]]
    )
    prompts = [request.messages for request in toys.questions()]
    for length in (2, 4):  # cut by their length
        local = open_model(toys.model(folder), 1).generate(prompts, Sampling(length))
        remote = open_model(served(folder, address), 1).generate(prompts, Sampling(length))
        assert list(local) == list(remote)
        assert {completion.finish_reason for completion in remote} == {"length"}


def test_what_the_server_ignores_is_said(folder: Path, address: str, tmp_path: Path) -> None:
    """It takes logprobs and response_format, and does neither."""
    table = predict(tmp_path, served(folder, address, top_logprobs=5))
    assert set(table["notes"]) == {
        "top_logprobs: 0 of 12 replies have a distribution; 12 came without log-probabilities"
    }
    with pytest.raises(InputError, match="does not keep to the options"):
        predict(tmp_path, served(folder, address, structured_output=True), constrained=True)
    with pytest.raises(InputError, match="Unexpected fields in the request"):
        predict(tmp_path, served(folder, address, extra_body={"top_k": 5}), cache="other")
