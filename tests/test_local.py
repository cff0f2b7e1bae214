"""A model by name and commit is found, or one line says what to do."""

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import huggingface_hub.constants
import numpy as np
import pytest

from tests import toys
from tests.fake_hub import COMMIT, REPOSITORY, hub
from valuestrata.errors import InputError
from valuestrata.inference import local, protocol
from valuestrata.inference.backends import open_model
from valuestrata.inference.hub import snapshot
from valuestrata.inference.local import model_folder, load_chat, load_network, model_version
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.specs import Model


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


def on_hub(name: str = REPOSITORY, revision: str | None = COMMIT) -> Model:
    config = toys.model(Path(name))
    return config.replace(weights=name, revision=revision)


def offline(patch: pytest.MonkeyPatch) -> None:
    snapshot.cache_clear()
    patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def refused(config: Model) -> str:
    with pytest.raises(InputError) as error:
        load_chat(config)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"{config.weights} at {config.revision}: ")
    return said


def test_a_hub_model_is_the_model_of_its_files(folder: Path, asked: list[str]) -> None:
    here, there = toys.model(folder), on_hub()
    assert load_chat(there).prompt("P", "Q") == load_chat(here).prompt("P", "Q")
    question = toys.questions()[:2]
    one, other = (
        TransformersBackend(config, load_chat(config)).score(question, 4) for config in (here, there)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.logprobs, b.logprobs)
    assert model_version(there) == f"{REPOSITORY}@{COMMIT}"


def test_the_tokenizer_is_had_without_the_weights(asked: list[str]) -> None:
    load_chat(on_hub())
    assert asked
    assert not any("safetensors" in path for path in asked)


def test_neither_pickles_nor_code_are_fetched(asked: list[str]) -> None:
    found = model_folder(on_hub(), weights=True)
    assert (found / "model.safetensors").is_file()
    assert not list(found.glob("*.bin"))
    assert not list(found.glob("*.py"))
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
    said = refused(on_hub())
    assert f"hf download {REPOSITORY} --revision {COMMIT}" in said
    assert "directory" in said
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
    said = refused(on_hub("owner/gated"))
    assert "gated" in said
    assert "hf auth login" in said


def test_a_model_that_is_not_there_says_to_check_the_name(asked: list[str]) -> None:
    assert "check the name" in refused(on_hub("owner/nope"))


def test_a_revision_that_is_not_there_is_named(asked: list[str]) -> None:
    assert "no such revision" in refused(on_hub(revision="d" * 40))


def test_a_name_that_no_model_can_have_is_one_line(asked: list[str]) -> None:
    assert "cannot be had" in refused(on_hub("a b//c"))


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


@pytest.mark.parametrize("listed", [["<|end|>", "<|user|>"], "<|user|>", None])
def test_the_ends_that_a_model_lists_are_its_chats(
    folder: Path, tmp_path: Path, listed: list[str] | str | None
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    words = toys.chat("llama").tokenizer
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


@pytest.mark.parametrize("read", [load_chat, load_network, model_version])
def test_a_folder_that_holds_no_model_is_one_line(
    read: Callable[[Model], object], folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "config.json").rename(copy / "adapter_config.json")
    with pytest.raises(InputError, match=r"no config\.json; name a whole model") as error:
        read(toys.model(copy))
    assert str(error.value).startswith(f"{copy}: ")
    assert "\n" not in str(error.value)


def test_weights_in_another_format_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match="safetensors"):
        load_network(toys.model(copy))


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


@pytest.mark.parametrize("more", [{"attn_implementation": "eager"}, {"device_map": "auto"}])
def test_kernels_and_placement_change_no_answer(folder: Path, more: dict[str, str]) -> None:
    config = toys.model(folder)
    other = config.replace(**more)
    one, two = (TransformersBackend(s, load_chat(s)) for s in (config, other))
    asked = toys.questions()[:4]
    for a, b in zip(one.score(asked, 4), two.score(asked, 4), strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)
        assert a.text == b.text
    if "attn_implementation" in more:
        assert two.network.config._attn_implementation.endswith("eager")
        assert one.settings != two.settings


def test_a_prompt_too_long_is_one_line_that_names_it_before_weights_are_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "load_network", pytest.fail)
    model = open_model(toys.model(folder).replace(max_length=200), 1)
    prompts = [("Short.", "Why?"), ("You are old.", "Tell me more. " * 90)]
    assert [p.tokens for p in protocol.rendered(model, prompts[:1], 16)] == [
        len(model.chat.prompt(*prompts[0]).ids)  # type: ignore[attr-defined]
    ]
    with pytest.raises(InputError) as error:
        protocol.rendered(model, prompts, 16)
    said = str(error.value)
    assert "max_length of 200" in said
    assert "You are old. Tell me more." in said
    assert "\n" not in said
    assert len(said) < 400


@pytest.mark.parametrize(("said", "longest"), [(4096, 512), (100, 100), (None, 512)])
def test_no_prompt_is_longer_than_the_network_was_made_for(
    folder: Path, said: int | None, longest: int
) -> None:
    model = open_model(toys.model(folder).replace(max_length=said), 1)
    assert model.longest == longest
