"""A node that is made again while all its replies are stored opens no model."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests import toys
from tests.asking import generate, predict
from tests.graph import ROOT
from valuestrata.errors import InputError
from valuestrata.inference import recall, transformers
from valuestrata.inference.backends import open_model
from valuestrata.inference.chat import Chat, TokenizedPrompt
from valuestrata.inference.protocol import Sampling
from valuestrata.stages import models as model_stages

AGAIN = """
import json, sys
from argparse import Namespace
from importlib import import_module
from valuestrata.records import Record
from valuestrata.stages.job import Job
stage, settings, files, cache = json.loads(sys.argv[1])
module = import_module(f"valuestrata.stages.{stage}")
run = {"model": "toy", "variant": "base", "split": "test"}
options = Namespace(threads=1, gpus=1, cache=cache)
module.run(Job(module.Settings(**settings), files, Record("test", run, {}), options))
heavy = {"torch", "transformers", "peft", "tokenizers", "accelerate", "sklearn", "vllm"}
print(json.dumps(sorted(heavy & {name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.taught("Llama", tmp_path_factory.mktemp("base"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models that are opened."""
    names: list[str] = []
    open_model = model_stages.open_model

    def opening(model, *rest):  # type: ignore[no-untyped-def]
        names.append(str(model.model))
        return open_model(model, *rest)

    monkeypatch.setattr(model_stages, "open_model", opening)
    return names


def test_a_repeated_node_imports_no_torch_and_needs_no_gpu(base: Path, tmp_path: Path) -> None:
    model = toys.model(base)
    first = predict(tmp_path, model)
    settings = {"model": model.model_dump(), "template": "english", "max_new_tokens": 16}
    files = {"pairs": str(tmp_path / "pairs.parquet"), "predictions": str(tmp_path / "b.parquet")}
    job = ["predict", {**settings, "caveat": "toy"}, files, str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, json.dumps(job)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    again = pd.read_parquet(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(again, first.reset_index(drop=True), check_exact=True)


def test_texts_are_recalled_too(base: Path, tmp_path: Path, opened: list[str]) -> None:
    model = toys.model(base)
    first = generate(tmp_path, model)
    for n in (1, 1):
        pd.testing.assert_frame_equal(generate(tmp_path, model), first, check_exact=True)
        assert len(opened) == n
    generate(tmp_path, model, temperature=1.0)
    generate(tmp_path, model, temperature=1.0, seed=2)
    generate(tmp_path, model, max_new_tokens=11)
    assert len(opened) == 4


def test_what_is_not_the_same_node_opens_the_model(
    base: Path, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    model, pairs = toys.model(folder), toys.pairs()
    first = predict(tmp_path, model, pairs)

    def opens(*changed: object, **options: object) -> bool:
        before = len(opened)
        predict(tmp_path, *(changed or (model, pairs)), **options)  # type: ignore[arg-type]
        return len(opened) > before

    assert not opens()
    # other prompts, options, and limits
    assert opens(model, pairs.iloc[:-1])
    assert opens(model, pairs.assign(persona=pairs["persona"] + "."))
    assert opens(model, pairs, constrained=True)
    assert opens(model, pairs, max_new_tokens=15)
    assert opens(model.model_copy(update={"dtype": "bfloat16"}), pairs)
    assert not opens()
    # another library may render otherwise
    with monkeypatch.context() as patch:
        patch.setattr(recall, "_version_of", lambda package: "0")
        assert opens()
    # a note that is damaged
    (tmp_path / "cache-prompts").mkdir(exist_ok=True)
    for note in (tmp_path / "cache-prompts").iterdir():
        note.write_text("{", encoding="utf-8")
    assert opens()
    assert not opens()
    # a tokenizer or weights that were edited
    file = folder / "tokenizer_config.json"
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert opens()
    assert not opens()
    # replies that are gone
    shutil.rmtree(tmp_path / "cache")
    assert opens()
    pd.testing.assert_frame_equal(
        predict(tmp_path, model, pairs).drop(columns="model_version"),
        first.drop(columns="model_version"),
        check_exact=True,
    )


def test_refusals_are_asked_again(base: Path, tmp_path: Path, opened: list[str]) -> None:
    """They are not stored, so the model is needed."""
    pairs = toys.pairs(toys.PERSONAS)
    for n in (1, 2):
        assert (predict(tmp_path, toys.model(base), pairs)["outcome"] == "refusal").any()
        assert len(opened) == n


def test_weights_load_while_prompts_are_tokenised(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a reply is missing, and only there; the loading waits for the last prompt here."""
    is_rendered = threading.Event()
    prompts: list[str] = []
    tokenize, load = Chat._tokenize, transformers.load_network
    loads = 0

    def tokenizing(self: Chat, persona: str, user: str) -> TokenizedPrompt:
        prompts.append(persona + user)
        if len(set(prompts)) == len(toys.pairs()):
            is_rendered.set()
        return tokenize(self, persona, user)

    def loading(*arguments: Any) -> Any:
        nonlocal loads
        loads += 1
        assert is_rendered.wait(60), "nothing is tokenised meanwhile"
        return load(*arguments)

    monkeypatch.setattr(Chat, "_tokenize", tokenizing)
    monkeypatch.setattr(transformers, "load_network", loading)
    first = predict(tmp_path, toys.model(base))
    assert loads == 1
    # all is stored, and the note is gone: prompts are tokenised, nothing is loaded
    shutil.rmtree(tmp_path / "cache-prompts")
    pd.testing.assert_frame_equal(predict(tmp_path, toys.model(base)), first, check_exact=True)
    assert loads == 1


def test_what_is_wrong_with_weights_that_load_meanwhile_is_one_line(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: Any) -> None:
        raise InputError("model.safetensors: is damaged")

    monkeypatch.setattr(transformers, "load_network", refusing)
    with pytest.raises(InputError, match=r"^model.safetensors: is damaged$"):
        predict(tmp_path, toys.model(base))


def test_a_full_gpu_is_one_line_though_weights_load_meanwhile(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmuch more")

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "to", full)
        with pytest.raises(InputError, match=r"weights do not fit into the GPU's free memory; use"):
            predict(tmp_path, toys.model(base))
    asked = toys.questions()[:2]
    backend = open_model(toys.model(base), 1)
    works = {
        "_forward": lambda: backend.score(asked, 4),
        "_writer": lambda: backend.generate([request.messages for request in asked], Sampling(4)),
    }
    for name, work in works.items():
        with monkeypatch.context() as patch:
            patch.setattr(backend, name, full if name == "_forward" else Full)
            with pytest.raises(InputError, match=r"4096 tokens at once; lower max_batch_tokens"):
                work()


class Full:
    """Writes texts where there is no room for any."""

    def batches(self, ids: list[Any], _: int) -> list[list[int]]:
        return [[*range(len(ids))]]

    def write(self, *_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")
