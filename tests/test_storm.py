"""Thousands of calls of a service that fails in many ways, and a kill in their midst."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from tests.served import KEY, VARIABLE, Raw, serving

ROOT = Path(__file__).parent.parent
CONCURRENCY = 16
CHILD = """
import resource, sys
from pathlib import Path
import pytest
from tests import served
served.make_quick(pytest.MonkeyPatch())
address, folder, n, concurrency = sys.argv[1:]
settings = {"max_retries": 4, "timeout": 20.0, "max_concurrency": int(concurrency)}
texts = served.ask(served.model(served.Server(None, address), **settings), Path(folder), int(n))
wrong = [i for i, text in enumerate(texts) if text != f"To {i}"]
print(len(texts), len(wrong), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
"""A job; it prints its number of replies, how many are wrong, and its peak memory in MB."""

FAULTS = [
    500, 429, 503, None,
    Raw(b'{"choices": [{"message": null, "finish_reason": "stop"}]}'),
    Raw(b'{"choices": "none today"}'),
    Raw(b'{"choices": [{"message": {"content": "To'),
    Raw(b'{"choices": [{"message": {"content": "\xff"}}]}'),
    Raw(b'{"choices": [{"message": {"content": "To \\ud800"}}]}'),
    Raw(b"<html>Bad gateway</html>", 502),
    Raw(b"", 200, {"Content-Length": "1000"}),  # it hangs up in the middle
    Raw(b'{"x": "' + b"x" * 3_000_000 + b'"}'),
]  # fmt: skip
CUT = ("length", "content_filter")


class Storm:
    """A service: one call in twenty fails at first, one in a thousand never has a whole reply."""

    def __init__(self, n: int) -> None:
        self.n, self.lock = n, Lock()
        self.seen: Counter[int] = Counter()
        self.paid: Counter[int] = Counter()
        self.kill_at, self.process = 0, None

    def is_never_whole(self, i: int) -> bool:
        return i % 1000 == 7

    def __call__(self, _: str, user: str) -> Any:
        i = int(user)
        with self.lock:
            self.seen[i] += 1
            if i % 20 == 0 and self.seen[i] == 1:
                return FAULTS[i // 20 % len(FAULTS)]
            self.paid[i] += 1
            if self.kill_at and self.paid.total() == self.kill_at:
                os.kill(self.process.pid, signal.SIGKILL)
        if self.is_never_whole(i):
            return {"content": "To 1", "finish_reason": CUT[i // 1000 % 2]}
        return f"To {user}"


def run(storm: Storm, address: str, folder: Path, kill_at: int = 0) -> list[int]:
    """What a job prints; nothing where it is killed."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", VARIABLE: KEY}
    command = [sys.executable, "-c", CHILD, address, str(folder), str(storm.n), str(CONCURRENCY)]
    with storm.lock:
        storm.kill_at = kill_at
        storm.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    out, _ = storm.process.communicate()
    assert storm.process.returncode == (-signal.SIGKILL if kill_at else 0)
    return [int(word) for word in out.split()]


@pytest.mark.parametrize("n", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_storm_and_a_kill_lose_and_double_and_keep_nothing_wrong(n: int, tmp_path: Path) -> None:
    storm = Storm(n)
    never = [i for i in range(n) if storm.is_never_whole(i)]
    with serving(storm) as server:
        run(storm, server.address, tmp_path, kill_at=n // 2)
        n_replies, n_wrong, peak = run(storm, server.address, tmp_path)
        assert server.most_at_once <= CONCURRENCY
        assert (n_replies, n_wrong) == (n, len(never))
        twice = [i for i, times in storm.paid.items() if times > 1 and i not in never]
        assert len(twice) <= CONCURRENCY
        assert max(storm.paid.values()) == 2
        assert len(storm.paid) == n
        kept = [
            json.loads(line)["text"]
            for shard in tmp_path.glob("*.jsonl")
            for line in shard.read_text().splitlines()
        ]
        assert Counter(kept) == Counter([f"To {i}" for i in range(n) if i not in never])
        before = storm.paid.total()
        run(storm, server.address, tmp_path)
        assert storm.paid.total() - before == len(never)  # a rerun asks for these alone
    print(f"{n} calls: {len(twice)} paid twice, {len(never)} never whole, peak {peak} MB")
    assert peak < 300
