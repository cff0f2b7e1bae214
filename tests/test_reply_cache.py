"""Cached replies are whole, private, and never lost; what is missing is computed, once."""

import logging
import math
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests import asking, toys
from tests.asking import alike, cached
from valuestrata import io, tables
from valuestrata.inference.reply_cache import CachedReply, ReplyCache, get_or_compute

ROOT = Path(__file__).parent.parent


def always(_: int, __: CachedReply) -> bool:
    return True


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def child(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


# ---- the cache


def test_what_was_put_is_there_for_the_next_job(tmp_path: Path) -> None:
    replies = {
        "a": {"text": "Answer: 1\n\u2028\x85\x1d“é”", "logprobs": [-0.1, -1 / 3, -1e-300]},
        "b": {"text": "", "logprobs": [-math.inf]},
    }
    cache = ReplyCache(tmp_path / "deep" / "cache")
    cache.put({})
    assert not shards(cache.folder)
    cache.put(replies)
    assert {key: ReplyCache(cache.folder).get(key) for key in "abc"} == {**replies, "c": None}
    (first,) = shards(cache.folder)
    before = first.read_bytes()
    cache.put({"c": {"text": "2"}})
    assert shards(cache.folder) == [first]
    assert first.read_bytes().startswith(before)
    other = ReplyCache(cache.folder)
    other.put({"d": {"text": "3"}})
    assert len(shards(cache.folder)) == 2


def test_folder_and_shards_are_their_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(mode=0o777)
    mask = os.umask(0)
    try:
        for name in ("old", "new"):
            ReplyCache(tmp_path / name).put({"a": {"text": "1"}})
    finally:
        os.umask(mask)
    for name in ("old", "new"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
        (shard,) = shards(tmp_path / name)
        assert stat.S_IMODE(shard.stat().st_mode) == 0o600


CORRUPT = {
    "cut": b'{"key": "b", "text": "Answ\n',
    "binary": b"\x00\xff\xfe\n",
    "no key": b'{"text": "Answer: 1"}\n',
    "list": b'["key"]\n',
    "empty list": b"[]\n",
    "number": b"3\n",
    "null": b"null\n",
    "text": b'"key"\n',
}


def test_a_corrupt_shard_is_renamed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, content in CORRUPT.items():
        folder = tmp_path / name
        ReplyCache(folder).put({"a": {"text": "1"}})
        corrupt = folder / "0.jsonl"
        corrupt.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            cache = ReplyCache(folder)
        assert cache.get("a") == {"text": "1"}
        assert cache.get("b") is None
        assert [r.levelname for r in caplog.records] == ["WARNING"], name
        assert str(corrupt) in caplog.text
        assert corrupt.with_suffix(".corrupt").read_bytes() == content
        caplog.clear()
        ReplyCache(folder)
        assert not caplog.records


def test_a_corrupt_shard_that_another_job_renames_first_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0.jsonl").write_bytes(CORRUPT["cut"])
    rename = Path.rename

    def second(self: Path, target: Path) -> Path:
        rename(self, target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second)
    assert ReplyCache(tmp_path).get("b") is None


def test_half_a_line_of_a_killed_job_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ReplyCache(tmp_path)
    cache.put({"kept": {"text": "1"}})
    whole = cache.shard.read_bytes()
    for end in range(1, len(whole)):
        cache.shard.write_bytes(whole + whole.replace(b"kept", b"half")[:end])
        after = ReplyCache(tmp_path)
        assert after.get("kept") == {"text": "1"}
        assert (after.get("half") is None) == (end < len(whole))
    assert not caplog.records


WRITES = """
import sys, time
from valuestrata.inference.reply_cache import ReplyCache
folder, name = sys.argv[1:]
while time.time() < float(open(folder + "/../start").read()):
    pass
for i in range(25):
    own = {f"{name}-{i}-{j}": {"text": name} for j in range(10)}
    ReplyCache(folder).put({**own, "both": {"text": "x"}})
"""


def test_processes_that_write_at_once_lose_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (tmp_path / "start").write_text(str(time.time() + 3))
    writers = {name: child(WRITES, folder, name) for name in ("one", "two")}
    assert [writer.wait(60) for writer in writers.values()] == [0, 0]
    cache = ReplyCache(folder)
    for name in writers:
        for i in range(25):
            assert all(cache.get(f"{name}-{i}-{j}") == {"text": name} for j in range(10))
    assert cache.get("both") == {"text": "x"}
    assert len(shards(folder)) == 50
    assert len(list(folder.iterdir())) == 50
    assert not caplog.records


def test_threads_of_one_cache_lose_nothing(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    threads = [
        threading.Thread(target=cache.put, args=({f"k{i}": {"text": str(i)}},)) for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(ReplyCache(tmp_path).get(f"k{i}") == {"text": str(i)} for i in range(20))


# ---- get_or_compute


class Model:
    """Replies with the key in capitals, and notes the positions of all prompts."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.parts: list[list[int]] = []

    def __call__(self, part: list[int]) -> Iterator[dict[int, CachedReply]]:
        self.parts.append(part)
        yield {i: {"text": self.keys[i].upper()} for i in part}


def test_only_what_is_missing_is_computed_and_order_is_kept(tmp_path: Path) -> None:
    ReplyCache(tmp_path).put({"c": {"text": "cached"}})
    model = Model(["d", "c", "a", "b"])
    replies = get_or_compute(ReplyCache(tmp_path), model.keys, model, always)
    assert [reply["text"] for reply in replies] == ["D", "cached", "A", "B"]
    assert model.parts == [[0, 2, 3]]
    again = Model(model.keys)
    assert get_or_compute(ReplyCache(tmp_path), again.keys, again, always) == replies
    assert again.parts == []
    assert get_or_compute(ReplyCache(tmp_path), [], again, always) == []
    twice = Model(["x", "y", "x", "x", "y"])
    replies = get_or_compute(ReplyCache(tmp_path), twice.keys, twice, always)
    assert [reply["text"] for reply in replies] == ["X", "Y", "X", "X", "Y"]
    assert twice.parts == [[0, 1]]


def test_replies_that_should_not_be_cached_are_returned_and_retried(tmp_path: Path) -> None:
    """Trap 12."""
    keys = ["a", "b", "c"]

    def should_cache(i: int, reply: CachedReply) -> bool:
        assert reply["text"] == keys[i].upper()
        return keys[i] != "b"

    first = get_or_compute(ReplyCache(tmp_path), keys, Model(keys), should_cache)
    assert [reply["text"] for reply in first] == ["A", "B", "C"]
    assert ReplyCache(tmp_path).get("b") is None
    again = Model(keys)
    assert get_or_compute(ReplyCache(tmp_path), keys, again, should_cache) == first
    assert again.parts == [[1]]


def test_a_job_that_fails_keeps_the_shards_before(tmp_path: Path) -> None:
    keys = list("abcde")
    model = Model(keys)

    def breaks(part: list[int]) -> Iterator[dict[int, CachedReply]]:
        if 4 in part:
            raise MemoryError
        yield from model(part)

    with pytest.raises(MemoryError):
        get_or_compute(ReplyCache(tmp_path), keys, breaks, always, shard_size=2)
    assert model.parts == [[0, 1], [2, 3]]
    again = Model(keys)
    get_or_compute(ReplyCache(tmp_path), keys, again, always, shard_size=2)
    assert again.parts == [[4]]


def test_replies_are_kept_as_they_come(tmp_path: Path) -> None:
    def one_by_one(part: list[int]) -> Iterator[dict[int, CachedReply]]:
        for i in reversed(part):
            yield {i: {"text": str(i)}}
            if i == 2:
                raise MemoryError

    with pytest.raises(MemoryError):
        get_or_compute(ReplyCache(tmp_path), list("abcde"), one_by_one, always)
    cache = ReplyCache(tmp_path)
    assert [key for key in "abcde" if cache.get(key)] == ["c", "d", "e"]


def test_too_few_replies_are_an_error_not_a_shift(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        get_or_compute(ReplyCache(tmp_path), ["a", "b"], lambda _: [{0: {"text": "1"}}], always)


# ---- the stage predict, killed and shared


SERVER = """
import os, shutil, sys
from pathlib import Path
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from tests import asking, toys
from valuestrata.inference import local, transformers
from valuestrata import io, tables
local.LocalBackend.shard_size = 2
folder, model = Path(sys.argv[1]), toys.model(sys.argv[2])
pairs = io.read_table(folder / "all.parquet", tables.PAIRS)
for line in sys.stdin:
    if line.strip() == "wait":
        print(*os.wait(), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        name, cache = line.split()
        os.makedirs(folder / name, exist_ok=True)
        (folder / name / "cache").unlink(missing_ok=True)
        (folder / name / "cache").symlink_to(folder / cache)
        os.makedirs(folder / cache, exist_ok=True)
        asking.predict(folder / name, model, pairs)
        os._exit(0)
"""
"""Forks a process for each run of the stage, so that torch is imported once; shards of two."""


class Server:
    """Runs the stage predict in processes of their own, over one cache or several."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        # by question, so that a refusal is first asked beside an answer and then alone
        pairs = toys.pairs(toys.PERSONAS).sort_values("question", kind="stable")
        wordings = [pairs.assign(closed_prompt=pairs["closed_prompt"] + "." * i) for i in range(5)]
        many = [wording.assign(stratum=f"{i}") for i, wording in enumerate(wordings)]
        frame = pd.concat(many, ignore_index=True)
        io.write_table(frame, folder / "all.parquet", tables.PAIRS, asking.MADE_OF)
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder), str(model)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def say(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def start(self, name: str, cache: str) -> int:
        """Id of a process that predicts into a folder."""
        return int(self.say(f"{name} {cache}"))

    def wait(self) -> int:
        """Status of the next process that ends: 0, or the signal that killed it."""
        return int(self.say("wait").split()[1])

    def table(self, name: str) -> pd.DataFrame:
        return io.read_table(self.folder / name / "predictions.parquet", tables.PREDICTIONS)

    def lines(self, cache: str) -> int:
        """How many replies have been written into a cache."""
        return sum(
            shard.read_bytes().count(b"\n") for shard in (self.folder / cache).glob("*.jsonl")
        )

    def keys(self, cache: str) -> set[str]:
        """Keys of the replies in a cache."""
        return {reply["key"] for reply in cached(self.folder / cache)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = toys.taught("Llama", tmp_path_factory.mktemp("base"))
    server = Server(tmp_path_factory.mktemp("server"), model)
    yield server
    server.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def whole(server: Server) -> pd.DataFrame:
    """The table of one run that nothing disturbs."""
    server.start("whole", "whole-cache")
    assert server.wait() == 0
    table = server.table("whole")
    assert (table["outcome"] == "answer").to_list() == [True, True, True, False] * 20
    assert (table["outcome"] == "refusal").sum() >= 5
    assert len(set(table["prompt_hash"])) == len(table)
    return table


def check_is_of_one_run(table: pd.DataFrame, whole: pd.DataFrame) -> None:
    """What is said is the same, answers to the last bit; refusals are scored again: up to 1e-5."""
    alike(table, whole)
    is_cached = whole["outcome"] == "answer"
    pd.testing.assert_frame_equal(table[is_cached], whole[is_cached], check_exact=True)


def test_a_run_killed_at_several_moments_ends_with_the_table_of_one_run(
    server: Server, whole: pd.DataFrame
) -> None:
    left = []
    for enough in (0, 1, 20, 40):
        process = server.start("killed", "killed-cache")
        while server.lines("killed-cache") < enough:
            time.sleep(0.002)
        os.kill(process, signal.SIGKILL)
        assert server.wait() in (0, signal.SIGKILL)
        left.append(len(server.keys("killed-cache")))
    assert left == sorted(left)
    assert any(0 < replies < 60 for replies in left)
    server.start("killed", "killed-cache")
    assert server.wait() == 0
    check_is_of_one_run(server.table("killed"), whole)
    assert len(server.keys("killed-cache")) == 60


def test_two_jobs_at_once_on_one_cache_lose_nothing(server: Server, whole: pd.DataFrame) -> None:
    for name in ("one", "two"):
        server.start(name, "both-cache")
    assert [server.wait(), server.wait()] == [0, 0]
    for name in ("one", "two"):
        check_is_of_one_run(server.table(name), whole)
    assert len(server.keys("both-cache")) == 60
    assert not [p for p in (server.folder / "both-cache").iterdir() if p.suffix != ".jsonl"]
