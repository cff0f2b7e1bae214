"""Jobs at a service in processes of their own, that a test may kill; packages are imported once."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

PARENT = """
import json, os, resource, sys
from pathlib import Path
import pytest
from tests import served
served.make_quick(pytest.MonkeyPatch())
settings = json.loads(sys.argv[2])
model = served.model(served.Server(None, sys.argv[1]), **settings)
for line in sys.stdin:
    folder, n = line.split()
    if pid := os.fork():
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        result = Path(folder, "result.json")
        print(status, result.read_text() if status == 0 else "[0, 0]", flush=True)
    else:
        texts = served.ask(model, Path(folder), int(n))
        wrong = sum(text != f"To {i}" for i, text in enumerate(texts))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        Path(folder, "result.json").write_text(json.dumps([wrong, peak]))
        os._exit(0)
"""


class ForkedJobs:
    """A process that forks one for each job."""

    def __init__(self, address: str, settings: str) -> None:
        """Start it; settings of the model, in JSON."""
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, address, settings],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(
        self, folder: Path, n: int, lock: Any, started: Callable[[int], None] = lambda _: None
    ) -> tuple[int, int, int]:
        """Status of a job of n prompts, how many texts are wrong, and its peak memory in MB.

        `started` gets its id while the lock is held, so that a server can wait for it.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with lock:
            print(folder, n, file=self.process.stdin, flush=True)
            started(int(self.process.stdout.readline()))
        status, _, result = self.process.stdout.readline().partition(" ")
        wrong, peak = result.strip().strip("[]").split(",")
        return int(status), int(wrong), int(peak)


@contextmanager
def forked_jobs(address: str, settings: str) -> Iterator[ForkedJobs]:
    """Jobs that end with the block."""
    jobs = ForkedJobs(address, settings)
    try:
        yield jobs
    finally:
        with suppress(subprocess.TimeoutExpired):
            jobs.process.communicate(timeout=30)
        jobs.process.kill()
