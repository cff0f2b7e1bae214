"""Thousands of calls of a service that fails in many ways, and a kill in their midst."""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from tests import served
from tests.forked import forked_jobs
from tests.served import Raw, serving

CONCURRENCY = 16


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    served.make_quick(monkeypatch)


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

    def __init__(self) -> None:
        self.lock = Lock()
        self.seen: Counter[int] = Counter()
        self.paid: Counter[int] = Counter()
        self.victim: tuple[int, int] = (0, 0)

    def kill(self, pid: int, after: int) -> None:
        """Kill a job after so many calls that were answered."""
        self.victim = (pid, after)

    def is_never_whole(self, i: int) -> bool:
        return i % 1000 == 7

    def __call__(self, _: str, user: str) -> Any:
        i = int(user)
        with self.lock:
            self.seen[i] += 1
            if i % 20 == 0 and self.seen[i] == 1:
                return FAULTS[i // 20 % len(FAULTS)]
            self.paid[i] += 1
            if self.paid.total() == self.victim[1]:
                os.kill(self.victim[0], signal.SIGKILL)
        if self.is_never_whole(i):
            return {"content": "To 1", "finish_reason": CUT[i // 1000 % 2]}
        return f"To {user}"


@pytest.mark.parametrize("n", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_storm_and_a_kill_lose_and_double_and_keep_nothing_wrong(n: int, tmp_path: Path) -> None:
    storm = Storm()
    never = [i for i in range(n) if storm.is_never_whole(i)]
    settings = {"max_retries": 4, "timeout": 20.0, "max_concurrency": CONCURRENCY}
    with serving(storm) as server, forked_jobs(server.address, json.dumps(settings)) as jobs:
        status, *_ = jobs.run(tmp_path, n, storm.lock, lambda pid: storm.kill(pid, n // 2))
        assert status == signal.SIGKILL
        status, wrong, peak = jobs.run(tmp_path, n, storm.lock)
        assert (status, wrong) == (0, len(never))
        assert server.most_at_once <= CONCURRENCY
        twice = [i for i, times in storm.paid.items() if times > 1 and i not in never]
        assert len(twice) <= CONCURRENCY
        assert max(storm.paid.values()) == 2
        assert len(storm.paid) == n
        shards = [shard.read_text().splitlines() for shard in tmp_path.glob("*.jsonl")]
        kept = Counter(json.loads(line)["text"] for lines in shards for line in lines)
        assert kept == Counter(f"To {i}" for i in range(n) if i not in never)
        before = storm.paid.total()
        jobs.run(tmp_path, n, storm.lock)
        assert storm.paid.total() - before == len(never)  # a rerun asks for these alone
    print(f"{n} calls: {len(twice)} paid twice, {len(never)} never whole, peak {peak} MB")
    assert peak < 300
