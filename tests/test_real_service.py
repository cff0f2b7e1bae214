"""Real servers of chat completions over a toy, against the local backend.

`transformers serve` is among the slow tests; vLLM's server runs where vLLM is: make test-vllm.
"""

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

import numpy as np
import pytest

from tests import toys
from tests.asking import generate, predict
from valuestrata.errors import InputError
from valuestrata.inference.backends import open_model
from valuestrata.inference.protocol import Sampling
from valuestrata.study.models import OpenAIModel

COMMANDS = {
    "transformers": [
        "-c", "from transformers.cli.transformers import main; main()", "serve", "{folder}",
        "--device", "cpu", "--dtype", "float32", "--port", "{port}",
    ],
    "vllm": [
        "-m", "vllm.entrypoints.openai.api_server", "--model", "{folder}", "--dtype", "float32",
        "--enforce-eager", "--max-model-len", "512", "--port", "{port}",
    ],
}  # fmt: skip
NEEDED = {"transformers": ("fastapi", "uvicorn", "openai"), "vllm": ("vllm", "openai")}
SETTINGS = {
    "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}  # fmt: skip


def real(kind: str, *marks: Any) -> Any:
    """A kind of server; its tests are skipped with one line where a package is missing."""
    missing = [name for name in NEEDED[kind] if importlib.util.find_spec(name) is None]
    reason = f"{kind}'s server needs {', '.join(missing)}: pip install them"
    group = pytest.mark.xdist_group(f"server {kind}")
    return pytest.param(
        kind, marks=[pytest.mark.skipif(bool(missing), reason=reason), group, *marks]
    )


TRANSFORMERS = real("transformers", pytest.mark.slow)
VLLM = real("vllm", pytest.mark.vllm, pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A taught toy whose heads are wide enough for vLLM's attention on a CPU."""
    words = toys.tokenizer("llama")
    network = toys.network("Llama", words, hidden_size=64, intermediate_size=96)
    taught = toys.teach(network, toys.Chat(words))
    return toys.save(taught, words, tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def address(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [word.format(folder=folder, port=port) for word in COMMANDS[request.param]]
    log = folder.parent / "server.log"
    with open(log, "wb") as file:
        server = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **SETTINGS}, stdout=file, stderr=file
        )
    try:
        wait_for(f"http://localhost:{port}/health", server, log)
        yield f"http://localhost:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return once a server answers; fail with its log where it does not."""
    end = time.monotonic() + 400
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server does not answer: {log.read_text()[-2000:]}")


def served(folder: Path, address: str, **changes: Any) -> OpenAIModel:
    """The toy as a server has it; transformers knows max_tokens alone."""
    settings: dict[str, Any] = {"length_parameter": "max_tokens", "temperature": 0.0, **changes}
    return OpenAIModel(backend="openai", model=str(folder), base_url=address, **settings)


@pytest.mark.parametrize("address", [TRANSFORMERS, VLLM], indirect=True)
def test_texts_are_those_of_the_local_backend(folder: Path, address: str, tmp_path: Path) -> None:
    written = ["text", "outcome", "answer", "finish_reason"]
    here = predict(tmp_path, toys.model(folder), cache="here")
    there = predict(tmp_path, served(folder, address), cache="there")
    assert here[written].equals(there[written])
    assert set(here["outcome"]) == {"answer"}
    texts = generate(tmp_path, toys.model(folder), cache="here-texts", max_new_tokens=24)
    others = generate(tmp_path, served(folder, address), cache="there-texts", max_new_tokens=24)
    columns = ["text", "outcome", "finish_reason"]
    assert texts[columns].equals(others[columns])
    prompts = [request.messages for request in toys.questions()]
    for length in (2, 4):  # cut by their length
        local = open_model(toys.model(folder), 1).generate(prompts, Sampling(length))
        remote = open_model(served(folder, address), 1).generate(prompts, Sampling(length))
        assert [(c.text, c.finish_reason) for c in local] == [
            (c.text, c.finish_reason) for c in remote
        ]
        assert {completion.finish_reason for completion in remote} == {"length"}


@pytest.mark.parametrize("address", [TRANSFORMERS], indirect=True)
def test_what_a_server_ignores_is_said(folder: Path, address: str, tmp_path: Path) -> None:
    """It takes logprobs and response_format, and does neither."""
    table = predict(tmp_path, served(folder, address, top_logprobs=5))
    assert set(table["notes"]) == {
        "top_logprobs: 0 of 12 replies have a distribution; 12 came without log-probabilities"
    }
    with pytest.raises(InputError, match="does not keep to the options"):
        predict(tmp_path, served(folder, address, structured_output=True), constrained=True)
    with pytest.raises(InputError, match="Unexpected fields in the request"):
        predict(tmp_path, served(folder, address, extra_body={"top_k": 5}), cache="other")


@pytest.mark.parametrize("address", [VLLM], indirect=True)
def test_likeliest_tokens_and_structured_output_of_a_real_server(
    folder: Path, address: str, tmp_path: Path
) -> None:
    here = predict(tmp_path, toys.model(folder), cache="here")
    there = predict(tmp_path, served(folder, address, top_logprobs=20), cache="there")
    print(there["notes"].iloc[0])
    for exact, read, open_mass in zip(
        here["distribution"], there["distribution"], there["unread_mass"], strict=True
    ):
        if read is not None:
            np.testing.assert_allclose(exact, read, atol=open_mass + 0.01)
    assert there.loc[there["question"].isin(["Q0", "Q1"]), "distribution"].notna().all()
    model = served(folder, address, structured_output=True)
    table = predict(tmp_path, model, cache="constrained", constrained=True)
    assert set(table["outcome"]) == {"answer"}
    assert (table["text"] == "Answer: " + table["answer"].astype(str)).all()
