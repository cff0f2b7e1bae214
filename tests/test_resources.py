"""GPUs and processes that jobs ask for, by the functions of workflow/rules/common.smk."""

from argparse import Namespace
from typing import Any

import pytest

from valuestrata.validate import ROOT, load, read_yaml

HUB = {"weights": "owner/name", "revision": "0123456789" * 4, "gpus": 4}
MODELS = {
    "whole": {"backend": "transformers", **HUB},
    "spread": {"backend": "transformers", **HUB, "device_map": "auto"},
    "fast": {"backend": "vllm", **HUB},
    "fast-spread": {"backend": "vllm", **HUB, "device_map": "auto"},
    "cpu": {"backend": "transformers", **HUB, "gpus": 0},
}


def functions() -> dict[str, Any]:
    """Those from `asked` on, over the embedded study with MODELS in place of its own."""
    study = read_yaml(ROOT / "config.yaml")
    study["models"] = {**study["models"], **MODELS}
    text = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    known: dict[str, Any] = {"STUDY": load(study), "workflow": Namespace(local_exec=True)}
    exec(text[text.index("def asked(") :], known)
    return known


@pytest.mark.parametrize(
    ("model", "answering", "tuning", "processes"),
    [
        ("whole", 1, 4, 4),
        ("spread", 4, 4, 1),
        ("fast", 4, 4, 4),
        ("fast-spread", 4, 4, 1),
        ("cpu", 0, 0, 1),
        ("toy-llama", 0, 0, 1),
    ],
)
def test_a_job_asks_for_the_gpus_that_it_uses(
    model: str, answering: int, tuning: int, processes: int
) -> None:
    known, job = functions(), Namespace(model=model)
    assert known["gpus"](job) == answering
    assert known["gpus_to_tune"](job) == tuning
    assert known["processes"](job) == processes


def test_a_judge_asks_by_its_own_settings_and_a_toy_for_a_gpu_on_a_cluster() -> None:
    known, job = functions(), Namespace(model="whole", judge="toy-judge")
    assert known["gpus"](job) == 0
    known["workflow"].local_exec = False
    assert known["gpus"](job) == 1
