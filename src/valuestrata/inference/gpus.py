"""Which GPUs a process may use, found without torch, which takes seconds to import."""

import os
import shutil
import subprocess
from pathlib import Path

VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""Environment variables that hide GPUs from a process."""
NAMES = ("--query-gpu=index,uuid,name", "--format=csv,noheader")


def gpu_count(devices: Path | str = "/dev") -> int:
    """GPUs of this machine that the environment does not hide; 0 where none can be found."""
    devices = Path(devices)
    present = len(list(devices.glob("nvidia[0-9]*")))
    if not present and (devices / "kfd").exists():
        present = len(list(devices.glob("dri/renderD*")))
    present = present or _listed_by_driver()
    for variable in VISIBLE:
        visible = os.environ.get(variable)
        if visible is not None:
            # as CUDA reads it: what follows the first -1 is hidden, too
            names = [name.strip() for name in visible.split(",")]
            shown = next((i for i, n in enumerate(names) if n in ("", "-1")), len(names))
            present = min(present, shown)
    return present


def gpu_names(devices: Path | str = "/dev") -> tuple[str, ...]:
    """Models of the GPUs that this process may use, such as `NVIDIA A100-SXM4-80GB`."""
    n = gpu_count(devices)
    if not n:
        return ()
    rows = [line.split(", ", 2) for line in _ask_driver(*NAMES)]
    listed = [row for row in rows if len(row) == 3]
    visible = os.environ.get(VISIBLE[0])
    if visible is not None:
        chosen = [name.strip() for name in visible.split(",")][:n]
        listed = [row for c in chosen for row in listed if c == row[0] or row[1].startswith(c)]
    names = [row[2] for row in listed][:n]
    return (*names, *["GPU of unknown model"] * (n - len(names)))


def _listed_by_driver() -> int:
    """GPUs that nvidia-smi lists: some containers and WSL have no device files."""
    return sum(line.startswith("GPU ") for line in _ask_driver("-L"))


def _ask_driver(*question: str) -> list[str]:
    """Lines of nvidia-smi's answer; none where it is missing or fails."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run(
            [command, *question], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()
