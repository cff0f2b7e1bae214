"""A training that was killed ends as one that was not, and several processes as one."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tuning import (
    Stage,
    adapter,
    distance,
    recipe,
    timeless,
    training_log,
    tune,
    weights,
)
from valuestrata.training import loop
from valuestrata.training.checkpoint import Checkpoint

LONG = {"epochs": 4, "batch_size": 4, "validation": {"share": 0.25}}


class KilledError(Exception):
    """What a test kills a training with."""


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int, run: Callable[[], Any]) -> None:
    """Run until a step has begun, and no further."""
    seed_step = loop._seed_step

    def stop(seed: int, at: int) -> None:
        if at == step:
            raise KilledError
        seed_step(seed, at)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_seed_step", stop)
        with pytest.raises(KilledError):
            run()


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("sft", {"group_sampling": "upsample", "group_weights": {"sex=group 1": 3.0}}),
        ("dro", {"batch_layout": "shared_prefix"}),
        ("ordinal", {}),
        pytest.param("sft", {"group_sampling": "weight"}, marks=pytest.mark.slow),
        pytest.param("soft", {"batch_layout": "shared_prefix"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_that_was_killed_ends_bitwise_as_one_that_was_not(
    method: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout is on; the optimiser, the schedule and the subgroups' weights continue, too."""
    config = recipe(method, **{**LONG, **changes, "lr_scheduler_type": "cosine"})
    if method == "dro":
        config = config.replace(group_dro_step_size=0.5)
    assert config.lora_dropout > 0
    whole, log = tune(config)
    for step in (4, 9):
        saving = Checkpoint(tmp_path, "aa", seconds=0.0)
        killed_at(monkeypatch, step, lambda: tune(config, checkpoint=saving))  # noqa: B023
        assert sorted(tmp_path.iterdir())[-1].name == f"aa-{step - 1:09d}.pt"
    again, resumed_log = tune(config, checkpoint=Checkpoint(tmp_path, "aa", seconds=1e9))
    assert distance(weights(whole), weights(again)) == 0.0
    assert timeless(resumed_log) == timeless(log)


def test_checkpoints_of_another_run_or_damaged_ones_are_never_resumed_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = recipe(**LONG)
    whole = weights(tune(config)[0])
    folder = tmp_path / "checkpoints"

    def train(key: str, seconds: float) -> dict[str, torch.Tensor]:
        return weights(tune(config, checkpoint=Checkpoint(folder, key, seconds))[0])

    killed_at(monkeypatch, 6, lambda: train("aa", 0.0))
    last = folder / "aa-000000005.pt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    (folder / ".aa-000000006.pt.half").write_bytes(b"half")
    assert distance(whole, train("aa", 1e9)) == 0.0
    assert "aa-000000005.pt is corrupt" in caplog.text
    assert f"resuming from {folder / 'aa-000000004.pt'}" in caplog.text
    caplog.clear()
    assert distance(whole, train("bb", 1e9)) == 0.0
    assert "has other settings, code or inputs, ignored" in caplog.text
    assert "resuming" not in caplog.text
    # and it makes room for those of this one, though it had come further
    killed_at(monkeypatch, 4, lambda: train("bb", 0.0))
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["bb-000000002.pt", "bb-000000003.pt"]
    for _ in range(2):
        Checkpoint(folder, "bb", seconds=0.0).remove()
        assert not folder.exists()


# ---- the stage, killed for real and in two processes


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("dro", {}),
        pytest.param("soft", {"batch_layout": "shared_prefix"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_stage_resumes_after_a_sigkill_and_ends_with_the_same_bytes(
    method: str, changes: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, recipe(method, **{**LONG, **changes, "epochs": 30}))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert stage.run(whole) == 0
    process = stage.start(killed)
    while len(list((killed / "checkpoints").glob("*.pt"))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (killed / "adapter").exists()
    caplog.set_level("INFO")
    assert stage.run(killed) == 0
    assert "resuming from" in caplog.text
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        one, other = (out / "adapter" / name for out in (whole, killed))
        assert one.read_bytes() == other.read_bytes()
    assert not (killed / "checkpoints").exists()
    left = [p.name for p in killed.iterdir() if not p.name.startswith(".adapter.")]
    assert left == ["adapter"]


def test_a_changed_setting_makes_a_checkpoint_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is at its default counts for nothing, so a new key loses no checkpoint."""
    stage = Stage(tmp_path, recipe(**LONG))
    killed_at(monkeypatch, 4, lambda: stage.run(tmp_path))
    stage.set_recipe(recipe(**LONG, seed=2))
    caplog.set_level("INFO")
    assert stage.run(tmp_path) == 0
    assert "has other settings, code or inputs, ignored" in caplog.text
    assert "resuming" not in caplog.text


def test_two_processes_tune_the_adapter_of_one(tmp_path: Path) -> None:
    """Same examples in the same batches; the last batch of an epoch is smaller than a process."""
    changes = {**LONG, "validation": {"share": 0.4}, "lora_dropout": 0.0}
    stage = Stage(tmp_path, recipe("dro", **changes))
    one, two = tmp_path / "one", tmp_path / "two"
    assert stage.run(one) == 0
    process = stage.start(two, "--processes", "2")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert distance(adapter(one), adapter(two)) < 1e-5
    alone, together = training_log(one), training_log(two)
    assert together["processes"] == 2
    for a, b in zip(alone["steps"], together["steps"], strict=True):
        for key in ("loss", "token_accuracy", "gradient_norm", "tokens", "validation_accuracy"):
            assert b.get(key, 0) == pytest.approx(a.get(key, 0), abs=1e-4), key
    assert errors.count("step 2/") == 1
