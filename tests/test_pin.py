"""Pinning writes commits and touches nothing else."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import errors

from valuestrata.__main__ import main
from valuestrata.commands import pin
from valuestrata.errors import InputError
from valuestrata.inference import hub

COMMIT = "0123456789" * 4
OTHER = "abcdef0123" * 4

STUDY = f"""# a study
study: s
models:
  one: {{backend: transformers, model: a/one, revision: main, gpus: 2}} # by name
  two:
    revision: v1.0  # a tag
    model: "b/two"
    backend: vllm
  three: {{backend: vllm, model: c/three, revision: {OTHER}}}
  toy: {{backend: transformers, toy: {{architecture: llama}}}}
judges:
  four: {{model: {{backend: vllm, model: d/four, revision: 'main'}}, reference: {{model: one}}}}
recipes: {{sft: {{split: main}}}}
"""


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """What the hub was asked; each model stands at its own commit."""
    asked: list[tuple[str, str | None]] = []

    class Api:
        def model_info(self, name: str, revision: str | None) -> Any:
            asked.append((name, revision))
            return Namespace(sha=name[0] + COMMIT[1:])

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return asked


def test_branches_and_tags_become_commits_and_the_rest_stays(
    tmp_path: Path,
    resolved: list[tuple[str, str | None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    assert main(["pin", str(study)]) == 0
    expected = STUDY
    for old, new in (
        ("model: a/one, revision: main", f"model: a/one, revision: a{COMMIT[1:]}"),
        ("revision: v1.0", f"revision: b{COMMIT[1:]}"),
        ("revision: 'main'", f"revision: d{COMMIT[1:]}"),
    ):
        assert old in expected
        expected = expected.replace(old, new)
    assert study.read_text(encoding="utf-8") == expected
    assert resolved == [("a/one", "main"), ("b/two", "v1.0"), ("d/four", "main")]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert f"judges.four.model: d/four at main is d{COMMIT[1:]}" in said[2]
    assert main(["pin", str(study)]) == 0
    assert "nothing to pin" in capsys.readouterr().out
    assert len(resolved) == 3


def test_a_hub_that_refuses_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")

    def asked(name: str, _: object, ask: Callable[[], str]) -> str:
        if name == "d/four":
            raise InputError("d/four at main: is gated")
        return COMMIT

    monkeypatch.setattr(hub, "_call_hub", asked)
    assert main(["pin", str(study)]) == 2
    assert "d/four at main: is gated" in capsys.readouterr().err
    assert study.read_text(encoding="utf-8") == STUDY


def test_offline_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="cannot be reached"):
        hub.commit_of("a/one", "main")


@pytest.mark.parametrize(
    "error", [errors.HTTPError("no route\nto host"), ConnectionError(), OSError("  \n")]
)
def test_a_network_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fails)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    for ask in (lambda: hub.commit_of("a/one", "main"), lambda: hub.snapshot("a/one", "main", ())):
        with pytest.raises(
            InputError, match="a/one at main: cannot be loaded from the hub"
        ) as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert "()" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "models: 3\n", "models: {a: 1}\n", "study: x\n"])
def test_a_file_without_models_has_nothing_to_pin(text: str) -> None:
    assert list(pin.unpinned(text)) == []
