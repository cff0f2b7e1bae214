"""On what a study's jobs ran. No result depends on it, so it lies apart from records.

Kept: the processor's model, cores and memory that a job may use, and names of its GPUs. The name of
the machine is not: it says where somebody works.
"""

import contextlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from valuestrata import io, paths
from valuestrata.inference.gpus import gpu_names

GIB = 2**30
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Hardware:
    """What a job may use. memory_gb: of the machine, in GiB, 0 where it is not known."""

    cpu: str
    cores: int
    memory_gb: int
    gpus: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`AMD EPYC 7763, 16 cores, 128 GB, 2 x NVIDIA A100`."""
        counts = {name: self.gpus.count(name) for name in self.gpus}
        gpus = [f"{n} x {name}" if n > 1 else name for name, n in counts.items()]
        memory = [f"{self.memory_gb} GB"] if self.memory_gb else []
        cores = f"{self.cores} core{'s' * (self.cores != 1)}"
        return ", ".join([self.cpu, cores, *memory, *(gpus or ["no GPU"])])


def this_machine() -> Hardware:
    """What this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = 0.0
    with contextlib.suppress(AttributeError, OSError, ValueError):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    return Hardware(_cpu_model(), cores or 1, round(memory), gpu_names())


def _cpu_model(cpuinfo: Path | str = "/proc/cpuinfo") -> str:
    """The processor's name, or else its architecture."""
    with contextlib.suppress(OSError):
        text = Path(cpuinfo).read_text(encoding="utf-8", errors="replace")
        if names := re.findall(r"^model name\s*:\s*(\S.*)$", text, flags=re.MULTILINE):
            return " ".join(str(names[0]).split())
    return platform.machine() or "processor of unknown model"


def record_hardware(results: Path | str, stage: str, run: Mapping[str, str]) -> None:
    """Write what this job runs on below a study's folder, if that is there and can be written."""
    if not Path(results).is_dir():
        return
    path = Path(results, paths.HARDWARE, stage, *run.values()).with_suffix(".json")
    with contextlib.suppress(OSError):
        io.write_text(json.dumps(asdict(this_machine())), path)


def job_hardware(results: Path | str) -> dict[Hardware, dict[str, int]]:
    """Of each kind of hardware, how many jobs of each stage ran on it: their last runs."""
    kinds: dict[Hardware, dict[str, int]] = {}
    folder = Path(results, paths.HARDWARE)
    for path in sorted(folder.rglob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            hardware = Hardware(**{**content, "gpus": tuple(content["gpus"])})
        except (OSError, ValueError, KeyError, TypeError):
            continue
        stages = kinds.setdefault(hardware, {})
        stage = path.relative_to(folder).parts[0].removesuffix(".json")
        stages[stage] = stages.get(stage, 0) + 1
    return kinds


def hardware_lines(results: Path | str) -> list[str]:
    """A line for each kind of hardware: `AMD EPYC 7763, ...: predict (4 jobs), score (8 jobs)`."""
    lines = []
    for hardware, stages in job_hardware(results).items():
        jobs = (f"{stage} ({n} job{'s' * (n != 1)})" for stage, n in stages.items())
        lines.append(f"{hardware}: {', '.join(jobs)}")
    return lines or [NOT_RECORDED]
