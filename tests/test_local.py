"""A model by name and commit is files, or one line says what to do."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub.constants
import numpy as np
import pytest
import torch

from tests import toys
from tests.fake_hub import COMMIT, REPOSITORY, hub
from valuestrata.errors import InputError
from valuestrata.inference import gpus, local
from valuestrata.inference.backends import open_model
from valuestrata.inference.hub import snapshot
from valuestrata.inference.local import load_chat, load_network
from valuestrata.inference.model_files import model_folder, model_version
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.study.models import TransformersModel, VllmModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = toys.tokenizer("llama")
    made = tmp_path_factory.mktemp("model")
    toys.save(toys.network("Llama", words), words, made)
    (made / "pytorch_model.bin").write_bytes(b"not to be read")
    (made / "modeling_own.py").write_text("raise SystemExit\n")
    return made


@pytest.fixture
def asked(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub with the folder's files and an empty cache; gives the paths that were asked for."""
    snapshot.cache_clear()
    with hub(folder, tmp_path / "cache", monkeypatch) as paths:
        yield paths
    snapshot.cache_clear()


def on_hub(name: str = REPOSITORY, revision: str | None = COMMIT) -> TransformersModel:
    return toys.model(name).replace(revision=revision)


def offline(patch: pytest.MonkeyPatch) -> None:
    snapshot.cache_clear()
    patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def refused(config: TransformersModel) -> str:
    with pytest.raises(InputError) as error:
        load_chat(config)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{config.model} at {config.revision}: ")
    return message


def test_a_hub_model_is_the_model_of_its_files(folder: Path, asked: list[str]) -> None:
    here, there = toys.model(folder), on_hub()
    assert load_chat(there).prompt("P", "Q") == load_chat(here).prompt("P", "Q")
    question = toys.questions()[:2]
    one, other = (
        TransformersBackend(config, load_chat(config)).score(question, 4)
        for config in (here, there)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.logprobs, b.logprobs)
    assert model_version(there) == f"{REPOSITORY}@{COMMIT}"


def test_the_tokenizer_is_had_without_the_weights(asked: list[str]) -> None:
    load_chat(on_hub())
    assert asked
    assert not any("safetensors" in path for path in asked)


def test_neither_pickles_nor_code_are_fetched(asked: list[str]) -> None:
    files = model_folder(on_hub(), weights=True)
    assert (files / "model.safetensors").is_file()
    assert not list(files.glob("*.bin"))
    assert not list(files.glob("*.py"))
    trusting = on_hub().replace(trust_remote_code=True)
    assert list(model_folder(trusting, weights=True).glob("*.py"))


def test_what_is_in_the_cache_needs_no_network(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_network(on_hub())
    offline(monkeypatch)
    del asked[:]
    load_chat(on_hub())
    load_network(on_hub())
    assert model_version(on_hub()) == f"{REPOSITORY}@{COMMIT}"
    assert asked == []


def test_an_empty_cache_offline_says_what_to_download(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    message = refused(on_hub())
    assert f"hf download {REPOSITORY} --revision {COMMIT}" in message
    assert "directory" in message
    assert asked == []


def test_a_tokenizer_alone_in_the_cache_is_no_model_offline(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_chat(on_hub())
    offline(monkeypatch)
    with pytest.raises(InputError, match="hf download"):
        load_network(on_hub())


def test_no_network_and_no_cache_is_one_line(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise httpx2.ConnectError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_tree", unreachable)
    assert "cannot be reached" in refused(on_hub())


def test_a_gated_model_says_to_accept_its_terms(asked: list[str]) -> None:
    message = refused(on_hub("owner/gated"))
    assert "gated" in message
    assert "hf auth login" in message


def test_a_model_that_is_not_there_says_to_check_the_name(asked: list[str]) -> None:
    assert "check the name" in refused(on_hub("owner/nope"))


def test_a_revision_that_is_not_there_is_named(asked: list[str]) -> None:
    assert "no such revision" in refused(on_hub(revision="d" * 40))


def test_a_name_that_no_model_can_have_is_one_line(asked: list[str]) -> None:
    assert "cannot be loaded from the hub" in refused(on_hub("a b//c"))


def test_a_branch_is_warned_of_and_its_commit_is_what_is_stored(
    asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Trap 19: a branch moves, so the commit and not its name identifies the weights."""
    with caplog.at_level(logging.WARNING):
        assert model_version(on_hub(revision="main")) == f"{REPOSITORY}@{COMMIT}"
    assert any("not pinned" in r.message and COMMIT in r.message for r in caplog.records)
    caplog.clear()
    model_version(on_hub())
    assert not caplog.records


def test_the_ends_that_a_model_lists_are_its_chats(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    words = toys.chat("llama").tokenizer
    cases: list[list[str] | str | None] = [["<|end|>", "<|user|>"], "<|user|>", None]
    for listed in cases:
        ids = listed and words.convert_tokens_to_ids(listed)
        (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
        names = {"<|end|>"} if listed is None else {"<|end|>", "<|user|>"}
        assert load_chat(toys.model(copy)).ends == set(words.convert_tokens_to_ids([*names]))


def test_without_a_list_of_ends_nothing_changes(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "generation_config.json").unlink()
    assert load_chat(toys.model(copy)).ends == toys.chat("llama").ends


def test_the_ends_of_a_hub_model_are_fetched(folder: Path, asked: list[str]) -> None:
    load_chat(on_hub())
    assert any(path.endswith("/generation_config.json") for path in asked)


def test_the_digest_of_a_folder_is_of_all_that_a_model_is_read_from(
    folder: Path, tmp_path: Path
) -> None:
    """Trap 19: the code of a trusted model, and whatever its tokenizer is read from."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = toys.model(copy)
    trusting = config.replace(trust_remote_code=True)
    plain, trusted = model_version(config), model_version(trusting)
    (copy / "modeling_own.py").write_text("raise SystemExit(1)\n")
    assert model_version(config) == plain
    assert model_version(trusting) != trusted
    seen = {plain}
    for name in ("tokenizer.model", "merges.txt"):
        (copy / name).write_text("a b\n")
        seen.add(model_version(config))
    assert len(seen) == 3
    (copy / "training_log.json").write_text('{"seconds": 1.5}')
    (copy / "pytorch_model.bin").write_bytes(b"never read")
    assert model_version(config) in seen


def test_a_folder_that_holds_no_model_is_one_line(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "config.json").rename(copy / "adapter_config.json")
    for read in (load_chat, load_network, model_version):
        with pytest.raises(InputError, match=r"no config\.json; name a whole model") as error:
            read(toys.model(copy))
        assert str(error.value).startswith(f"{copy}: ")
        assert "\n" not in str(error.value)


def test_weights_in_another_format_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match="safetensors"):
        load_network(toys.model(copy))


def test_what_cannot_be_read_is_refused_before_weights_are_fetched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, change, expected in [
        ("format", {"quantization_config": {"quant_method": "int1"}}, "is stored in int1"),
        ("head", {"architectures": ["LlamaForSequenceClassification"]}, "writes text"),
        ("kind", {"model_type": "yet_to_come"}, "cannot be loaded"),
        ("embeddings", {"vocab_size": 20}, "embeddings"),
    ]:
        copy = Path(shutil.copytree(folder, tmp_path / name))
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, **change}))
        snapshot.cache_clear()
        with hub(copy, tmp_path / f"{name} cache", monkeypatch) as paths:
            with pytest.raises(InputError, match=expected):
                open_model(on_hub(), 1)
            assert paths
            assert not any("safetensors" in path for path in paths), name
    snapshot.cache_clear()


def test_a_model_with_code_of_its_own_is_refused_unless_trusted(
    folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = copy / "config.json"
    own = '"auto_map": {"AutoConfig": "modeling_own.Own"}, "model_type": "own"'
    config.write_text(config.read_text().replace('"model_type": "llama"', own))
    with pytest.raises(InputError, match="cannot be loaded") as error:
        load_network(toys.model(copy))
    assert "\n" not in str(error.value)


def test_kernels_and_placement_change_no_answer(folder: Path) -> None:
    config = toys.model(folder)
    requests = toys.questions()[:4]
    plain = TransformersBackend(config, load_chat(config))
    expected = plain.score(requests, 4)
    changes: list[dict[str, Any]] = [{"attn_implementation": "eager"}, {"device_map": "auto"}]
    for change in changes:
        other = config.replace(**change)
        backend = TransformersBackend(other, load_chat(other))
        for a, b in zip(expected, backend.score(requests, 4), strict=True):
            np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)
            assert a.text == b.text
        if "attn_implementation" in change:
            assert backend.network.config._attn_implementation.endswith("eager")
            assert backend.numerics != plain.numerics


def test_a_network_that_caps_its_scores_is_read_eagerly(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "attn_logit_softcapping": 50.0}))
    vllm = VllmModel(backend="vllm", model=str(copy))
    assert local.attention_kernel(toys.model(copy)) == local.attention_kernel(vllm) == "eager"
    with pytest.raises(InputError, match="use eager"):
        local.attention_kernel(toys.model(copy).replace(attn_implementation="sdpa"))


def test_no_prompt_is_longer_than_the_network_was_made_for(folder: Path) -> None:
    for limit, expected in ((4096, 512), (100, 100)):
        config = toys.model(folder).replace(max_length=limit)
        assert open_model(config, 1).max_length == expected


# ---- GPUs


def test_a_model_that_is_meant_for_gpus_is_not_run_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    local.require_gpu(0, "models.llama")
    with pytest.raises(InputError) as error:
        local.require_gpu(2, "models.llama")
    assert str(error.value) == "no GPU found; set models.llama.gpus: 0 to run on a CPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    local.require_gpu(2, "models.llama")


def test_gpus_are_counted_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By device files, else by the driver, less those that the environment hides."""
    for variable in gpus.VISIBLE:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / "nvidiactl").touch()
    assert gpus.gpu_count(devices) == 0
    assert gpus.gpu_count(tmp_path / "nowhere") == 0

    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    for lines, expected in (("GPU 0: A\nGPU 1: B\n", 2), ("No devices were found\n", 0)):
        smi.write_text("#!/bin/sh\n" + "".join(f"echo {line!r}\n" for line in lines.splitlines()))
        smi.chmod(0o755)
        assert gpus.gpu_count(devices) == expected
    smi.unlink()

    (devices / "kfd").touch()
    (devices / "dri").mkdir()
    (devices / "dri" / "renderD128").touch()
    assert gpus.gpu_count(devices) == 1
    for number in range(3):
        (devices / f"nvidia{number}").touch()
    for variable, visible, expected in (
        ("CUDA_VISIBLE_DEVICES", None, 3),
        ("CUDA_VISIBLE_DEVICES", "", 0),
        ("CUDA_VISIBLE_DEVICES", "-1", 0),
        ("CUDA_VISIBLE_DEVICES", "1", 1),
        ("CUDA_VISIBLE_DEVICES", "0, 2", 2),
        ("CUDA_VISIBLE_DEVICES", "0,-1,2", 1),
        ("CUDA_VISIBLE_DEVICES", "0,1,2,3,4", 3),
        ("HIP_VISIBLE_DEVICES", "0", 1),
    ):
        with monkeypatch.context() as patch:
            if visible is not None:
                patch.setenv(variable, visible)
            assert gpus.gpu_count(devices) == expected, (variable, visible)
