"""How many GPUs a process may use, found without torch, which takes seconds to import."""

import os
import shutil
import subprocess
from pathlib import Path

VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""Environment variables that hide GPUs from a process."""


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


def _listed_by_driver() -> int:
    """GPUs that nvidia-smi lists: some containers and WSL have no device files."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return 0
    try:
        done = subprocess.run(
            [command, "-L"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
