"""GPUs and processes that jobs ask for, by the functions of workflow/rules/common.smk."""

import re
import subprocess
import sys
from argparse import Namespace
from typing import Any

import pytest

from valuestrata.study.load import ROOT, load
from valuestrata.study.models import VllmModel
from valuestrata.study.yaml import read_yaml

HUB = {"model": "owner/name", "revision": "0123456789" * 4, "gpus": 4}
MODELS = {
    "whole": {"backend": "transformers", **HUB},
    "spread": {"backend": "transformers", **HUB, "device_map": "auto"},
    "fast": {"backend": "vllm", **HUB},
    "fast-spread": {"backend": "vllm", **HUB, "device_map": "auto"},
    "cpu": {"backend": "transformers", **HUB, "gpus": 0},
}


def functions() -> dict[str, Any]:
    """Those on models, over the embedded study with MODELS beside its own."""
    study = read_yaml(ROOT / "config.yaml")
    study["models"] = {**study["models"], **MODELS}
    text = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    functions: dict[str, Any] = {"STUDY": load(study), "VllmModel": VllmModel}
    functions["workflow"] = Namespace(local_exec=True)
    exec(text[text.index("def model_of(") :], functions)
    return functions


@pytest.mark.parametrize(
    ("model", "answering", "tuning", "processes", "required"),
    [
        ("whole", 1, 4, 4, 4),
        ("spread", 4, 4, 1, 4),
        ("fast", 4, 4, 4, 4),
        ("fast-spread", 4, 4, 1, 4),
        ("cpu", 0, 0, 1, 0),
        ("toy-llama", 0, 0, 1, 0),
    ],
)
def test_a_job_asks_for_the_gpus_that_it_uses(
    model: str, answering: int, tuning: int, processes: int, required: int
) -> None:
    rules, job = functions(), Namespace(model=model)
    assert rules["gpus"](job) == answering
    assert rules["gpus_to_tune"](job) == tuning
    assert rules["processes"](job) == processes
    assert rules["required_gpus"](job) == required


def test_a_judge_asks_by_its_own_settings_and_a_toy_for_a_gpu_on_a_cluster() -> None:
    rules, job = functions(), Namespace(model="whole", judge="toy-judge")
    assert rules["gpus"](job) == 0
    rules["workflow"].local_exec = False
    assert rules["gpus"](job) == 1


@pytest.mark.slow
def test_fine_tunes_can_share_a_cluster_job() -> None:
    """docs/performance.md, several recipes of one model: each remains a node of its own."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--dry-run"]
    command += ["--groups", "finetune=tuned", "--group-components", "tuned=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (_, group) = done.stdout.split("Group job tuned")
    named = re.findall(r"^    Job \d+: (.*)", group, flags=re.MULTILINE)
    assert named == ["tuning toy-llama by sft", "tuning toy-qwen by sft"]
