"""Preference tuning in two processes learns what one learns."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests import toys
from tests.toys import RECIPE, chat
from valuestrata import __main__ as program
from valuestrata import io
from valuestrata.specs import Finetune, HeldBack, to_json


@pytest.mark.slow
def test_dpo_in_two_processes_tunes_the_adapter_of_one(tmp_path: Path) -> None:
    """Same comparisons in the same batches; each process reads half of every batch."""
    words = chat("llama").tokenizer
    model = toys.model(toys.save(toys.network("Llama", words), words, tmp_path / "model"))
    io.write_table(toys.pairs(), tmp_path / "pairs", "pairs")
    recipe = dataclasses.replace(
        RECIPE, method="dpo", batch=6, dropout=0.0, held_back=HeldBack(0.25, "pair")
    )

    def stage(out: Path) -> list[str]:
        return [
            *("finetune", "--spec", to_json(Finetune(model, recipe, "english", "toy"))),
            *("--pairs", str(tmp_path / "pairs"), "--threads", "1", "--every", "999"),
            *("--checkpoints", str(out / "checkpoints"), "--output", str(out / "adapter")),
        ]

    one, two = tmp_path / "one", tmp_path / "two"
    shared = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    both = subprocess.run(
        [*shared, "-m", "valuestrata", *stage(two)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert both.returncode == 0, both.stderr
    assert program.main(stage(one)) == 0
    alone, together = (load_file(f / "adapter" / "adapter_model.safetensors") for f in (one, two))
    assert alone.keys() == together.keys()
    assert max(float((alone[k] - together[k]).abs().max()) for k in alone) < 1e-5
    logs = [io.read_json(f / "adapter" / "training_log.json") for f in (one, two)]
    assert [log["processes"] for log in logs] == [1, 2]
    for a, b in zip(logs[0]["steps"], logs[1]["steps"], strict=True):
        for key in ("loss", "hits", "margin", "accuracy", "gradient_norm", "held_accuracy"):
            assert b.get(key, 0) == pytest.approx(a.get(key, 0), abs=1e-4), key
    # the adapter has moved by far more than the two differ
    assert max(float(w.abs().max()) for k, w in alone.items() if "lora_B" in k) > 1e-3
