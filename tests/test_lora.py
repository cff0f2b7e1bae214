"""What a fine-tune refuses, and when; adapters say what they belong to, and not where it lay."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tests import fake_hub, toys
from tests.toys import RECIPE, chat
from tests.tuning import Stage, recipe, training_log
from valuestrata.errors import InputError
from valuestrata.inference import hub, local
from valuestrata.inference.local import load_chat
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.study.models import TransformersModel
from valuestrata.training import grpo, loop, lora
from valuestrata.training.examples import tuning_data


def refusal(text: str) -> str:
    """The one line that the stage refuses its input by."""
    (line,) = [line for line in text.splitlines() if line.startswith("valuestrata finetune: ")]
    return line


# ---- before weights are loaded


def test_what_cannot_be_learned_is_one_line_before_weights_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(local, "load_network", load)
    stage = Stage(tmp_path, RECIPE, pairs=toys.pairs())
    for config, problem in [
        (recipe(validation={"share": 0.01}), "recipe: validation: a share of 0.01"),
        (recipe("dpo", validation={"share": 0.01, "by": "question"}), "recipe: validation"),
        (recipe("grpo", max_new_tokens=2), "max_new_tokens: 2 cut off"),
        (recipe("grpo", max_new_tokens=500), "made for 512"),
    ]:
        stage.set_recipe(config)
        for more in ([], ["--check"]):
            capsys.readouterr()
            assert stage.run(tmp_path, *more) == 2
            assert problem in refusal(capsys.readouterr().err)
    if not torch.cuda.is_available():
        stage.set_recipe(RECIPE)
        assert stage.run(tmp_path, "--gpus", "1") == 2
        assert "no GPU found; set models.toy.gpus: 0" in refusal(capsys.readouterr().err)


def test_a_sequence_longer_than_the_network_is_refused_with_its_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = toys.network("Llama", chat("llama").tokenizer, max_position_embeddings=64)
    assert Stage(tmp_path, RECIPE, network).run(tmp_path) == 2
    line = refusal(capsys.readouterr().err)
    assert "question Q0" in line
    assert "made for 64" in line


def test_input_is_checked_without_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, RECIPE, pairs=toys.pairs().assign(tied=True))
    (stage.weights / "model.safetensors").unlink()
    capsys.readouterr()
    assert stage.run(tmp_path, "--check") == 0
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "adapter").exists()
    # pairs that cannot be compared
    stage.set_recipe(recipe("dpo"))
    assert stage.run(tmp_path) == 2
    assert "untied" in refusal(capsys.readouterr().err)


def test_a_reply_that_just_fits_is_not_refused() -> None:
    data = tuning_data(toys.pairs(), chat("llama"), "english")
    longest = max(len(option) for pair in data.examples for option in pair.options)
    whole = max(len(pair.prompt) for pair in data.examples) + longest
    config = recipe("grpo", max_new_tokens=longest)
    grpo.check(config, data, whole)
    with pytest.raises(InputError, match=f"made for {whole - 1}"):
        grpo.check(config, data, whole - 1)
    with pytest.raises(InputError, match="max_new_tokens"):
        grpo.check(config.replace(max_new_tokens=longest - 1), data, 10**9)


def test_a_loss_that_is_no_number_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, RECIPE, pairs=toys.pairs())
    for method in ("sft", "dpo"):
        stage.set_recipe(recipe(method, learning_rate=1e30, batch_size=4, warmup_ratio=0.0))
        assert stage.run(tmp_path) == 2
        line = refusal(capsys.readouterr().err)
        assert "recipe: loss is nan at step 2; lower learning_rate" in line


def test_a_full_gpu_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmuch more")

    monkeypatch.setattr(loop, "_backward", full)
    assert Stage(tmp_path, RECIPE, pairs=toys.pairs()).run(tmp_path) == 2
    assert "raise gradient_accumulation_steps" in refusal(capsys.readouterr().err)


@pytest.mark.slow
def test_two_processes_refuse_as_one_does(tmp_path: Path) -> None:
    """Their input is checked once, before there are two."""
    stage = Stage(tmp_path, recipe(validation={"share": 0.01}))
    process = stage.start(tmp_path, "--processes", "2")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 2
    assert errors == f"{refusal(errors)}\n"


# ---- what is written


def test_the_stage_writes_an_adapter_that_changes_answers(tmp_path: Path) -> None:
    stage = Stage(tmp_path, RECIPE, pairs=toys.pairs())
    assert stage.run(tmp_path) == 0
    names = {p.name for p in (tmp_path / "adapter").iterdir()}
    assert names == {
        "adapter_config.json", "adapter_model.safetensors", "README.md", "training_log.json",
        "made_of.json",
    }  # fmt: skip
    log = training_log(tmp_path)
    assert log["caveat"] == ""
    assert log["examples"] == 12
    assert log["mean_logit_change"] > 0
    model = toys.model(stage.weights)
    tuned = TransformersBackend(model, load_chat(model), tmp_path / "adapter")
    base = TransformersBackend(model, load_chat(model))
    requests = toys.questions()[:2]
    for one, other in zip(tuned.score(requests, 4), base.score(requests, 4), strict=True):
        assert not torch.allclose(*map(torch.as_tensor, (one.logprobs, other.logprobs)), atol=1e-6)


def adapter(base: TransformersModel, folder: Path) -> dict[str, bytes]:
    """The files of an adapter that was tuned a little, by name."""
    lora.save(lora.add_lora(local.load_network(base), RECIPE), folder, base)
    PeftModel.from_pretrained(local.load_network(base), str(folder))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def saved(folder: Path) -> Path:
    tokenizer = chat("llama").tokenizer
    return toys.save(toys.network("Llama", tokenizer), tokenizer, folder)


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
    base = toys.model(fake_hub.REPOSITORY).replace(revision=fake_hub.COMMIT)
    adapters = []
    for home in ("a", "b"):
        hub.snapshot.cache_clear()
        with fake_hub.hub(weights, tmp_path / home, monkeypatch):
            adapters.append(adapter(base, tmp_path / f"{home}-adapter"))
    hub.snapshot.cache_clear()
    assert adapters[0] == adapters[1]
    config = json.loads(adapters[0]["adapter_config.json"])
    assert config["base_model_name_or_path"] == fake_hub.REPOSITORY
    assert config["revision"] == fake_hub.COMMIT
    assert not any(str(tmp_path).encode() in content for content in adapters[0].values())
