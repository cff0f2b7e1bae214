"""On what jobs ran: recorded beside the results, shown in the report and in an export."""

import json
import socket
from pathlib import Path

import pytest

from valuestrata.inference import gpus
from valuestrata.publication.crate import CrateAbout, write_crate
from valuestrata.stages import hardware, surroundings
from valuestrata.stages.hardware import Hardware
from valuestrata.study.evaluation import Evaluation

SMI = """#!/bin/sh
if [ "$1" = -L ]; then printf 'GPU 0: A\\nGPU 1: B\\n'; exit; fi
printf '0, GPU-aa11, NVIDIA A100\\n1, GPU-bb22, NVIDIA L4\\n'
"""


def test_each_job_leaves_what_it_ran_on_and_not_where(tmp_path: Path) -> None:
    hardware.record_hardware(tmp_path, "clean", {})
    hardware.record_hardware(tmp_path, "score", {"model": "a", "variant": "base", "split": "ood"})
    hardware.record_hardware(tmp_path, "score", {"model": "b", "variant": "base", "split": "ood"})
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.json"))
    jobs = [
        "hardware/clean.json",
        "hardware/score/a/base/ood.json",
        "hardware/score/b/base/ood.json",
    ]
    assert files == jobs
    text = (tmp_path / "hardware/clean.json").read_text(encoding="utf-8")
    assert set(json.loads(text)) == {"cpu", "cores", "memory_gb", "gpus"}
    assert socket.gethostname() not in text
    (kind,) = hardware.job_hardware(tmp_path)
    assert kind == hardware.this_machine()
    assert kind.cores >= 1
    (line,) = hardware.hardware_lines(tmp_path)
    assert line == f"{kind}: clean (1 job), score (2 jobs)"
    facts = dict(surroundings.facts("none.parquet", tmp_path, Evaluation()))
    assert facts["Hardware of each job's last run"] == line


def test_kinds_are_told_apart_and_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    assert hardware.hardware_lines(tmp_path) == ["not recorded"]
    folder = tmp_path / "hardware" / "finetune" / "a"
    folder.mkdir(parents=True)
    gpu = {"cpu": "Xeon", "cores": 16, "memory_gb": 128, "gpus": ["NVIDIA A100", "NVIDIA A100"]}
    (folder / "sft.json").write_text(json.dumps(gpu), encoding="utf-8")
    (folder / "dpo.json").write_text(json.dumps({**gpu, "gpus": []}), encoding="utf-8")
    for name, text in (("x", "not json"), ("y", "{}"), ("z", '{"cpu": "a"}')):
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    assert hardware.hardware_lines(tmp_path) == [
        "Xeon, 16 cores, 128 GB, no GPU: finetune (1 job)",
        "Xeon, 16 cores, 128 GB, 2 x NVIDIA A100: finetune (1 job)",
    ]
    assert str(Hardware("M1", 1, 0)) == "M1, 1 core, no GPU"


def test_a_processor_is_named_by_its_model_where_the_system_says_it(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor : 0\nmodel name\t: AMD  EPYC 7763\nmodel name : B\n", encoding="utf-8"
    )
    assert hardware._cpu_model(info) == "AMD EPYC 7763"
    info.write_text("processor : 0\nCPU part : 0xd0c\n", encoding="utf-8")  # as ARM says it
    assert hardware._cpu_model(info) == hardware._cpu_model(tmp_path / "nowhere") != ""


def test_gpus_are_named_that_the_job_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in gpus.VISIBLE:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    smi = tmp_path / "nvidia-smi"
    smi.write_text(SMI, encoding="utf-8")
    smi.chmod(0o755)
    for visible, names in (
        (None, ("NVIDIA A100", "NVIDIA L4")),
        ("1", ("NVIDIA L4",)),
        ("1,0", ("NVIDIA L4", "NVIDIA A100")),
        ("GPU-bb", ("NVIDIA L4",)),
        ("", ()),
        ("-1", ()),
        ("MIG-1", ("GPU of unknown model",)),
    ):
        with monkeypatch.context() as patch:
            if visible is not None:
                patch.setenv("CUDA_VISIBLE_DEVICES", visible)
            assert gpus.gpu_names(tmp_path / "dev") == names, visible
    smi.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    assert gpus.gpu_names(tmp_path / "dev") == ()


def test_a_crate_says_on_what_its_run_ran(tmp_path: Path) -> None:
    (tmp_path / "workflow").mkdir()
    for name in ("Snakefile", "README.md", "study.json", "workflow/a.smk"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    about = CrateAbout(
        "x", "y", "z", {}, "survey", {}, 0.0, {"valuestrata": "1", "snakemake": "9"}, ("A", "B")
    )
    write_crate(tmp_path, about)
    crate = json.loads((tmp_path / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    values = [entities[item["@id"]]["value"] for item in entities["#run"]["resourceUsage"]]
    assert values == ["A", "B"]
    assert "resourceUsage" in json.dumps(crate["@context"])
