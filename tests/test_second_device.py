"""What would fail or wait on a GPU, without one: on a device that is the CPU by another name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READING = ("runtime.py: copy = tensor.to", "decoding.py: ", "writing.py: ")
"""Lines that may wait while prompts are answered: for scores, and now and then for texts."""
WRITTEN = 3 * 2 * 20
"""Tokens at least of the texts one after another: three calls, two batches each."""


@pytest.mark.parametrize(
    "architectures",
    [
        ("Llama",),
        pytest.param(("Gemma3", "GptOss", "Qwen3Moe", "DeepseekV3"), marks=pytest.mark.slow),
    ],
)
def test_nothing_mixes_devices_and_no_step_waits(architectures: tuple[str, ...]) -> None:
    """Scoring, texts and training give the CPU's own numbers; a training step waits once."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.second_device", *architectures],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["sees"] == {"refused": True, "waits": 4}
    assert len(printed["rows"]) == 5 * len(architectures)
    for row in printed["rows"]:
        assert row["far"] < 1e-4, row
        assert row["same_texts"], row
        if row["work"] == "answers":
            assert all(line.startswith(READING) for line in row["waits"]), row
            assert 0 < sum(row["waits"].values()) < WRITTEN / 2, row
        else:
            assert [*row["waits"].values()] == [4], row
