"""What a fine-tune refuses, and when; adapters say what they belong to, and not where it lay."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tests import fake_hub, toys
from tests.toys import RECIPE, chat
from valuestrata import io
from valuestrata.__main__ import main
from valuestrata.errors import InputError
from valuestrata.inference import hub, local
from valuestrata.specs import Finetune, HeldBack, Model, Recipe, to_json
from valuestrata.training import lora
from valuestrata.validate import ROOT

DPO = dataclasses.replace(RECIPE, method="dpo")
GRPO = dataclasses.replace(RECIPE, method="grpo")


def stage(folder: Path, recipe: Recipe, network: Any = None, tied: bool = False) -> list[str]:
    """A folder with a toy's weights and pairs, and the stage's command on it."""
    words = chat("llama").tokenizer
    toys.save(network or toys.network("Llama", words), words, folder / "w")
    io.write_table(toys.pairs().assign(tied=tied), folder / "pairs.parquet", "pairs")
    spec = Finetune(toys.model(folder / "w"), recipe, "english", "toy")
    return [
        *("finetune", "--spec", to_json(spec), "--pairs", str(folder / "pairs.parquet")),
        *("--threads", "1", "--every", "999", "--checkpoints", str(folder / "checkpoints")),
        *("--output", str(folder / "adapter")),
    ]


def short_of(words: Any) -> Any:
    return toys.network("Llama", words, max_position_embeddings=64)


# ---- before weights are loaded


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (dataclasses.replace(RECIPE, held_back=HeldBack(0.01, "pair")), "held_back"),
        (dataclasses.replace(DPO, held_back=HeldBack(0.01, "question")), "held_back"),
        (dataclasses.replace(GRPO, max_new_tokens=2), "max_new_tokens: 2 cut off"),
        (dataclasses.replace(GRPO, max_new_tokens=500), "made for 512"),
    ],
)
def test_what_cannot_be_learned_is_one_line_before_weights_are_loaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recipe: Recipe,
    said: str,
) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(local, "load_network", load)
    command = stage(tmp_path, recipe)
    for more in ([], ["--check"]):
        capsys.readouterr()
        assert main([*command, *more]) == 2
        assert said in refusal(capsys.readouterr().err)


def refusal(text: str) -> str:
    """The one line that the stage refuses its input by."""
    (line,) = [one for one in text.splitlines() if one.startswith("valuestrata finetune: ")]
    return line


def test_a_sequence_longer_than_the_network_is_refused_with_its_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = short_of(chat("llama").tokenizer)
    assert main(stage(tmp_path, RECIPE, network)) == 2
    line = refusal(capsys.readouterr().err)
    assert "question Q0" in line
    assert "made for 64" in line


def test_pairs_that_cannot_be_compared_are_refused_before_weights_are_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = stage(tmp_path, DPO, tied=True)
    (tmp_path / "w" / "model.safetensors").unlink()
    assert main(command) == 2
    assert "untied" in refusal(capsys.readouterr().err)


def test_input_that_is_fine_is_checked_without_a_word_and_without_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = stage(tmp_path, RECIPE)
    (tmp_path / "w" / "model.safetensors").unlink()
    capsys.readouterr()
    assert main([*command, "--check"]) == 0
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "adapter").exists()


def test_a_reply_that_just_fits_is_not_refused() -> None:
    data = lora.examples(toys.pairs(), chat("llama"), "english")
    longest = max(len(option) for pair in data for option in pair.options)
    whole = max(len(pair.prompt) for pair in data) + longest
    recipe = dataclasses.replace(GRPO, max_new_tokens=longest)
    lora.check(recipe, data, whole)
    lora.check(recipe, data, None)
    with pytest.raises(InputError, match=f"made for {whole - 1}"):
        lora.check(recipe, data, whole - 1)
    with pytest.raises(InputError, match="max_new_tokens"):
        lora.check(dataclasses.replace(recipe, max_new_tokens=longest - 1), data, None)


@pytest.mark.parametrize("recipe", [RECIPE, DPO], ids=["sft", "dpo"])
def test_a_loss_that_is_no_number_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: Recipe
) -> None:
    network = toys.network("Llama", chat("llama").tokenizer)
    with torch.no_grad():
        network.model.norm.weight[0] = torch.nan
    assert main(stage(tmp_path, recipe, network)) == 2
    line = refusal(capsys.readouterr().err)
    assert "loss is nan" in line
    assert "learning_rate" in line


def shell_prefix() -> str:
    """What the workflow puts before every rule's command."""
    text = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    (said,) = re.findall(r"^shell\.prefix\((.*?)^\)", text, re.DOTALL | re.MULTILINE)
    known = {"shlex": shlex, "SOURCE": ROOT / "src", "PYTHON": shlex.quote(sys.executable)}
    return str(eval(f"({said})", known)).format()


def in_two_processes(command: list[str]) -> subprocess.CompletedProcess[str]:
    script = f"set -eu; {shell_prefix()} processes=2 valuestrata {shlex.join(command)}"
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=240
    )


def test_two_processes_refuse_as_one_does(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, held_back=HeldBack(0.01, "pair"))
    done = in_two_processes(stage(tmp_path, recipe))
    assert done.returncode == 2
    assert done.stderr == f"{refusal(done.stderr)}\n"


@pytest.mark.slow
def test_two_processes_tune_once_their_input_is_checked(tmp_path: Path) -> None:
    done = in_two_processes(stage(tmp_path, RECIPE))
    assert done.returncode == 0, done.stderr
    assert io.read_json(tmp_path / "adapter" / "training_log.json")["processes"] == 2


# ---- what an adapter says it belongs to


def adapter(base: Model, folder: Path) -> dict[str, bytes]:
    """The files of an adapter that was tuned a little, by name."""
    network = local.load_network(base)
    tuned = lora.add_lora(network, RECIPE)
    lora.save(tuned, folder, base)
    PeftModel.from_pretrained(local.load_network(base), str(folder))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def saved(folder: Path) -> Path:
    words = chat("llama").tokenizer
    return toys.save(toys.network("Llama", words), words, folder)


def test_an_adapter_of_a_folder_is_the_same_wherever_it_lay(tmp_path: Path) -> None:
    one, other = (
        adapter(toys.model(saved(tmp_path / home / "mine")), tmp_path / f"{home}-adapter")
        for home in ("a", "b")
    )
    assert one == other
    assert json.loads(one["adapter_config.json"])["base_model_name_or_path"] == "mine"
    assert not any(str(tmp_path).encode() in content for content in one.values())


def test_an_adapter_of_a_hub_model_names_it_and_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = saved(tmp_path / "served")
    base = dataclasses.replace(
        toys.model(weights), weights=fake_hub.REPOSITORY, revision=fake_hub.COMMIT
    )
    found = []
    for home in ("a", "b"):
        hub.snapshot.cache_clear()
        with fake_hub.hub(weights, tmp_path / home, monkeypatch):
            found.append(adapter(base, tmp_path / f"{home}-adapter"))
    hub.snapshot.cache_clear()
    assert found[0] == found[1]
    said = json.loads(found[0]["adapter_config.json"])
    assert said["base_model_name_or_path"] == fake_hub.REPOSITORY
    assert said["revision"] == fake_hub.COMMIT
    assert not any(str(tmp_path).encode() in content for content in found[0].values())
