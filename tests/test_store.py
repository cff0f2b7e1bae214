"""Stored replies are those of the same question to the same model, whole, private, and answers."""

import dataclasses
import json
import logging
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import toys
from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.inference import local, transformers
from valuestrata.inference.backends import open_model
from valuestrata.inference.chat import Prompt
from valuestrata.inference.protocol import ScoredReply, ScoringRequest, options
from valuestrata.inference.reply_cache import Reply, ReplyCache, get_or_compute
from valuestrata.specs import Finetune, Generate, Predict, to_json
from valuestrata.stages import generate as generate_stage
from valuestrata.stages import predict as predict_stage
from valuestrata.training import lora

SOURCE = Path(__file__).parent.parent / "src"


def keep_all(_: int, __: Reply) -> bool:
    return True


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for s in shards(folder) for line in s.read_text().splitlines()]


def child(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


# ---- the store


def test_what_was_put_is_there_for_the_next_store(tmp_path: Path) -> None:
    replies = {
        "a": {"text": "Answer: 1\n\u2028\x85\x1d“é”", "logprobs": [-0.1, -1 / 3, -1e-300]},
        "b": {"text": "", "logprobs": [-math.inf]},
    }
    store = ReplyCache(tmp_path / "deep" / "store")
    store.put(replies)
    assert ReplyCache(store.folder).get("a") == replies["a"]
    assert ReplyCache(store.folder).get("b") == replies["b"]
    assert ReplyCache(store.folder).get("c") is None


def test_nothing_put_writes_nothing(tmp_path: Path) -> None:
    ReplyCache(tmp_path).put({})
    assert not list(tmp_path.iterdir())


def test_each_put_is_a_shard_of_its_own(tmp_path: Path) -> None:
    store = ReplyCache(tmp_path)
    store.put({"a": {"text": "1"}})
    before = shards(tmp_path)[0].read_bytes()
    store.put({"b": {"text": "2"}})
    assert len(shards(tmp_path)) == 2
    assert before in [shard.read_bytes() for shard in shards(tmp_path)]


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
    "cut": b'{"key": "b", "text": "Answ',
    "binary": b"\x00\xff\xfe",
    "no key": b'{"text": "Answer: 1"}\n',
    "list": b'["key"]\n',
    "empty list": b"[]\n",
    "number": b"3\n",
    "null": b"null\n",
    "text": b'"key"\n',
}


@pytest.mark.parametrize("content", CORRUPT.values(), ids=list(CORRUPT))
def test_a_corrupt_shard_is_set_aside_with_a_warning(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ReplyCache(tmp_path).put({"a": {"text": "1"}})
    bad = tmp_path / "0.jsonl"
    bad.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        store = ReplyCache(tmp_path)
    assert store.get("a") == {"text": "1"}
    assert store.get("b") is None
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert str(bad) in caplog.text
    assert bad.with_suffix(".corrupt").read_bytes() == content
    caplog.clear()
    ReplyCache(tmp_path)
    assert not caplog.records


def test_a_corrupt_shard_that_another_job_sets_aside_first_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0.jsonl").write_bytes(CORRUPT["cut"])
    rename = Path.rename

    def second(self: Path, target: Path) -> Path:
        rename(self, target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second)
    assert ReplyCache(tmp_path).get("b") is None


DIES = """
import os, signal, sys
from pathlib import Path
from valuestrata.models.store import ReplyCache
store, where = ReplyCache(sys.argv[1]), sys.argv[2]
store.put({"kept": {"text": "1"}})
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
def half(path, text, encoding):
    with open(path, "w", encoding=encoding) as file:
        file.write(text[: len(text) // 2])
        file.flush()
        die()
if where == "writing":
    Path.write_text = half
else:
    os.replace = die
store.put({str(i): {"text": "Answer: 1"} for i in range(100)})
"""


@pytest.mark.parametrize("where", ["writing", "renaming"])
def test_a_killed_put_leaves_no_half_shard(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert child(DIES, tmp_path, where).wait(60) == -signal.SIGKILL
    store = ReplyCache(tmp_path)
    assert len(shards(tmp_path)) == 1
    assert store.get("kept") == {"text": "1"}
    assert all(store.get(str(i)) is None for i in range(100))
    assert not caplog.records


WRITES = """
import sys, time
from valuestrata.models.store import ReplyCache
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
    folder = tmp_path / "store"
    folder.mkdir()
    (tmp_path / "start").write_text(str(time.time() + 3))
    writers = {name: child(WRITES, folder, name) for name in ("one", "two")}
    assert [writer.wait(60) for writer in writers.values()] == [0, 0]
    store = ReplyCache(folder)
    for name in writers:
        for i in range(25):
            assert all(store.get(f"{name}-{i}-{j}") == {"text": name} for j in range(10))
    assert store.get("both") == {"text": "x"}
    assert len(shards(folder)) == 50
    assert len(list(folder.iterdir())) == 50
    assert not caplog.records


def test_threads_of_one_store_lose_nothing(tmp_path: Path) -> None:
    store = ReplyCache(tmp_path)
    threads = [
        threading.Thread(target=store.put, args=({f"k{i}": {"text": str(i)}},)) for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(ReplyCache(tmp_path).get(f"k{i}") == {"text": str(i)} for i in range(20))


# ---- get_or_compute


class Asker:
    """Replies with the position asked and notes all positions."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.asked: list[list[int]] = []

    def __call__(self, part: list[int]) -> list[Reply]:
        self.asked.append(part)
        return [{"text": self.keys[i].upper()} for i in part]


def test_only_what_is_missing_is_asked_and_order_is_kept(tmp_path: Path) -> None:
    ReplyCache(tmp_path).put({"c": {"text": "stored"}})
    asker = Asker(["d", "c", "a", "b"])
    replies = get_or_compute(ReplyCache(tmp_path), asker.keys, asker, keep_all)
    assert [reply["text"] for reply in replies] == ["D", "stored", "A", "B"]
    assert asker.asked == [[0, 2, 3]]
    again = Asker(asker.keys)
    assert get_or_compute(ReplyCache(tmp_path), again.keys, again, keep_all) == replies
    assert again.asked == []


def test_equal_keys_are_asked_once(tmp_path: Path) -> None:
    asker = Asker(["a", "b", "a", "a", "b"])
    replies = get_or_compute(ReplyCache(tmp_path), asker.keys, asker, keep_all)
    assert [reply["text"] for reply in replies] == ["A", "B", "A", "A", "B"]
    assert asker.asked == [[0, 1]]


def test_replies_that_may_not_be_kept_are_returned_and_asked_again(tmp_path: Path) -> None:
    """Trap 12."""
    keys = ["a", "b", "c"]

    def keep(i: int, reply: Reply) -> bool:
        assert reply["text"] == keys[i].upper()
        return keys[i] != "b"

    first = get_or_compute(ReplyCache(tmp_path), keys, Asker(keys), keep)
    assert [reply["text"] for reply in first] == ["A", "B", "C"]
    assert ReplyCache(tmp_path).get("b") is None
    again = Asker(keys)
    assert get_or_compute(ReplyCache(tmp_path), keys, again, keep) == first
    assert again.asked == [[1]]


def test_a_job_that_fails_keeps_the_shards_before(tmp_path: Path) -> None:
    keys = list("abcde")
    asker = Asker(keys)

    def breaks(part: list[int]) -> list[Reply]:
        if 4 in part:
            raise MemoryError
        return asker(part)

    with pytest.raises(MemoryError):
        get_or_compute(ReplyCache(tmp_path), keys, breaks, keep_all, shard=2)
    assert asker.asked == [[0, 1], [2, 3]]
    again = Asker(keys)
    get_or_compute(ReplyCache(tmp_path), keys, again, keep_all, shard=2)
    assert again.asked == [[4]]


def test_too_few_replies_are_an_error_not_a_shift(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        get_or_compute(ReplyCache(tmp_path), ["a", "b"], lambda _: [{"text": "1"}], keep_all)
    assert not shards(tmp_path)


def test_no_keys_ask_nothing(tmp_path: Path) -> None:
    assert get_or_compute(ReplyCache(tmp_path), [], Asker([]), keep_all) == []


# ---- the stages


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.taught("Llama", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes little: what is answered is still an answer."""
    folder = tmp_path_factory.mktemp("adapter")
    recipe = dataclasses.replace(toys.RECIPE, learning_rate=1e-4, epochs=1)
    spec = Finetune(toys.model(base), recipe, "english", "toy model")
    talk = local.load_chat(spec.model)
    data = lora.examples(toys.pairs(), talk, "english")
    tuned, _ = lora.finetune(spec, local.load_network(spec.model), data, talk.pad)
    lora.save(tuned, folder)
    return folder


def predicted(
    folder: Path,
    model: Path,
    pairs: pd.DataFrame,
    adapter: Path | None = None,
    store: str = "store",
    dtype: str = "float32",
    most: int = 16,
) -> pd.DataFrame:
    io.write_table(pairs, folder / "pairs.parquet", "pairs")
    spec = Predict(toys.model(model, dtype=dtype), "english", most, "toy")
    predict_stage.run(
        Namespace(
            spec=to_json(spec),
            pairs=folder / "pairs.parquet",
            adapter=adapter,
            store=folder / store,
            threads=1,
            output=folder / "predictions.parquet",
        )
    )
    return io.read_table(folder / "predictions.parquet", "predictions")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions were put to the model, call by call."""
    counts: list[int] = []
    answer = transformers.TransformersModel.answer

    def counting(self: Any, questions: list[Any], most: int) -> list[ScoredReply]:
        counts.append(len(questions))
        return answer(self, questions, most)

    monkeypatch.setattr(transformers.TransformersModel, "answer", counting)
    return counts


def alike(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Two tables of predictions are the same, numbers up to 1e-5."""
    numbers = ["logprobs", "distribution"]
    exact = one.columns.difference([*numbers, "non_option_mass"])
    pd.testing.assert_frame_equal(one[exact], other[exact], check_exact=True)
    np.testing.assert_allclose(one["non_option_mass"], other["non_option_mass"], atol=1e-5)
    for name in numbers:
        for a, b in zip(one[name], other[name], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "load_network", lambda _: pytest.fail("weights were loaded"))


def test_predictions_say_what_was_asked_of_whom(base: Path, tmp_path: Path) -> None:
    """Traps 4, 7 and 10."""
    pairs = toys.pairs(toys.PERSONAS)
    table = predicted(tmp_path, base, pairs)
    answers = table[:12]
    assert (answers["outcome"] == "answer").all()
    assert (answers["answer"].to_numpy() == pairs["mode"][:12].to_numpy()).mean() > 0.7
    assert (table["outcome"][12:] == "refusal").all()
    assert table["answer"][12:].isna().all()
    assert table["distribution"].map(sum).to_numpy() == pytest.approx(np.ones(16))
    for name in ("logprobs", "distribution"):
        assert [len(own) for own in table[name]] == [len(c) for c in pairs["codes"]]
    assert table["non_option_mass"][:12].max() < 0.5 < table["non_option_mass"][12:].min()
    assert set(table["weights"]) == {local.weights_digest(toys.model(base))}
    assert set(table["adapter"]) == {""}
    talk = local.load_chat(toys.model(base))
    taught = [example.prompt for example in lora.examples(pairs, talk, "english")]
    assert table["prompt_hash"].to_list() == [Prompt(ids).digest for ids in taught]
    assert table["tokens"].to_list() == [len(ids) for ids in taught]


def test_log_probabilities_are_kept_however_small_and_mass_keeps_its_digits(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One option holds nearly all, next to nothing, or by rounding a little more than all."""
    pairs = toys.pairs()[:3]
    most = [math.log1p(-1e-12), -46.0, 1e-9]
    said = [[one, *[-800.0] * (len(c) - 1)] for one, c in zip(most, pairs["codes"], strict=True)]
    monkeypatch.setattr(
        transformers.TransformersModel,
        "answer",
        lambda *_: [ScoredReply("I'm sorry.", np.array(own)) for own in said],
    )
    table = predicted(tmp_path, base, pairs)
    assert [own.tolist() for own in table["logprobs"]] == said
    assert all(own[0] == 1 for own in table["distribution"])
    np.testing.assert_allclose(table["non_option_mass"], [1e-12, 1 - 1e-20, 0], rtol=1e-9)


def test_with_everything_stored_no_weights_are_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = predicted(tmp_path, base, toys.pairs())
    kept = {shard: shard.read_bytes() for shard in shards(tmp_path / "store")}
    no_weights(monkeypatch)
    pd.testing.assert_frame_equal(predicted(tmp_path, base, toys.pairs()), first, check_exact=True)
    assert {shard: shard.read_bytes() for shard in shards(tmp_path / "store")} == kept


def test_a_reply_that_would_be_cut_off_is_one_line_before_weights_load(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = len(local.load_chat(toys.model(base)).encode_reply("Answer: 10"))
    with monkeypatch.context() as patch:
        no_weights(patch)
        with pytest.raises(InputError) as error:
            predicted(tmp_path, base, toys.pairs(), most=longest - 1)
    said = str(error.value)
    assert "\n" not in said
    assert f"'Answer: 10' takes {longest} tokens" in said
    assert f"prediction.max_new_tokens is {longest - 1}; set it to {longest}" in said
    assert (predicted(tmp_path, base, toys.pairs(), most=longest)["outcome"] == "answer").all()


def test_options_are_keyed_as_the_model_reads_them(base: Path) -> None:
    model = open_model(toys.model(base), 1)
    replies = ("Answer: 1", "Answer: 10")
    asked = [ScoringRequest("P", "Q", replies), ScoringRequest("P", "Q", replies[::-1])]
    talk = local.load_chat(toys.model(base))
    first, second = (" ".join(map(str, talk.encode_reply(text))) for text in replies)
    assert options(model, asked, 16) == [[first, second], [second, first]]
    assert options(model, [], 16) == []


def test_deleting_the_store_changes_nothing(base: Path, tmp_path: Path) -> None:
    first = predicted(tmp_path, base, toys.pairs(toys.PERSONAS))
    shutil.rmtree(tmp_path / "store")
    again = predicted(tmp_path, base, toys.pairs(toys.PERSONAS))
    pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_a_table_half_from_the_store_is_the_table_of_one_run(
    base: Path, tmp_path: Path, asked: list[int]
) -> None:
    """Trap 28: rows added ask only what is new, and equal those of one run up to a tolerance."""
    whole = predicted(tmp_path, base, toys.pairs(), store="other")
    part = predicted(tmp_path, base, toys.pairs(toys.PERSONAS[:1]))
    grown = predicted(tmp_path, base, toys.pairs())
    assert asked == [12, 4, 8]
    pd.testing.assert_frame_equal(grown[:4], part, check_exact=True)
    alike(grown, whole)


def test_subgroups_with_one_persona_are_asked_once(
    base: Path, tmp_path: Path, asked: list[int]
) -> None:
    pairs = toys.pairs()
    twice = pd.concat([pairs, pairs.assign(stratum="another")], ignore_index=True)
    table = predicted(tmp_path, base, twice)
    assert asked == [12]
    assert table["text"][:12].to_list() == table["text"][12:].to_list()


def test_a_new_stratum_asks_only_its_new_prompts(
    base: Path, tmp_path: Path, asked: list[int]
) -> None:
    """Half of the stratum's subgroups have personas that another stratum's had."""
    pairs = toys.pairs(toys.PERSONAS[:2])
    predicted(tmp_path, base, pairs)
    another = toys.pairs(toys.PERSONAS[1:3]).assign(stratum="another")
    grown = predicted(tmp_path, base, pd.concat([pairs, another], ignore_index=True))
    assert asked == [8, 4]
    assert len(grown) == 16


def test_a_corrupt_shard_is_asked_again_and_kept_for_inspection(
    base: Path, tmp_path: Path, asked: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    first = predicted(tmp_path, base, toys.pairs())
    (shard,) = shards(tmp_path / "store")
    half = shard.read_bytes()[: shard.stat().st_size // 2]
    shard.write_bytes(half)
    with caplog.at_level(logging.WARNING):
        again = predicted(tmp_path, base, toys.pairs())
    assert asked == [12, 12]
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    assert [f"{shard}: not a readable shard" in r.message for r in caplog.records] == [True]
    assert shard.with_suffix(".corrupt").read_bytes() == half


SERVER = """
import argparse, json, os, sys
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from valuestrata.models import local, transformers
from valuestrata.stages import predict
local.LocalModel.shard = 2
parser = argparse.ArgumentParser()
predict.add_arguments(parser)
for line in sys.stdin:
    if line.strip() == "wait":
        print(*os.wait(), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        predict.run(parser.parse_args(json.loads(line)))
        os._exit(0)
"""
"""Forks a process for each run of the stage, so that torch is imported once; shards of two."""


class Server:
    """Runs the stage predict in processes of their own, over one store."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        # by question, so that a refusal is first asked beside an answer and then alone
        pairs = toys.pairs(toys.PERSONAS).sort_values("question", kind="stable")
        some = [pairs.assign(closed_prompt=pairs["closed_prompt"] + "." * i) for i in range(5)]
        many = [own.assign(stratum=f"{i}") for i, own in enumerate(some)]
        io.write_table(pd.concat(many, ignore_index=True), folder / "pairs.parquet", "pairs")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
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

    def start(self, output: str, store: str) -> int:
        """Id of a process that predicts into a file."""
        spec = Predict(toys.model(self.model), "english", 16, "toy")
        said = {"spec": to_json(spec), "pairs": self.folder / "pairs.parquet", "threads": 1}
        said |= {"store": self.folder / store, "output": self.folder / output}
        return int(self.say(json.dumps([str(x) for k, v in said.items() for x in (f"--{k}", v)])))

    def wait(self) -> int:
        """Status of the next process that ends: 0, or the signal that killed it."""
        return int(self.say("wait").split()[1])

    def table(self, output: str) -> pd.DataFrame:
        return io.read_table(self.folder / output, "predictions")


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"), base)
    yield made
    made.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def whole(server: Server) -> pd.DataFrame:
    """The table of one run that nothing disturbs."""
    server.start("whole.parquet", "whole")
    assert server.wait() == 0
    table = server.table("whole.parquet")
    assert (table["outcome"] == "answer").to_list() == [True, True, True, False] * 20
    assert (table["outcome"] == "refusal").sum() >= 5
    assert len(set(table["prompt_hash"])) == len(table)
    return table


def is_of_one_run(table: pd.DataFrame, whole: pd.DataFrame) -> None:
    """What is said is the same, answers to the last bit; refusals are asked again: up to 1e-5."""
    alike(table, whole)
    stored = whole["outcome"] == "answer"
    pd.testing.assert_frame_equal(table[stored], whole[stored], check_exact=True)


def kept(server: Server, store: str) -> int:
    """How many replies a store holds."""
    return len({record["key"] for record in records(server.folder / store)})


def test_a_run_killed_at_ten_moments_ends_with_the_table_of_one_run(
    server: Server, whole: pd.DataFrame
) -> None:
    began = time.monotonic()
    server.start("again.parquet", "again")
    assert server.wait() == 0
    took = time.monotonic() - began
    rng = np.random.default_rng(1)
    left = []
    while len(left) < 10:
        process = server.start("killed.parquet", "killed")
        time.sleep(rng.uniform(0, took))
        os.kill(process, signal.SIGKILL)
        if server.wait() == signal.SIGKILL:
            left.append(kept(server, "killed"))
        else:  # it had ended before: the next one starts anew
            shutil.rmtree(server.folder / "killed")
    assert any(0 < replies < 60 for replies in left)
    server.start("killed.parquet", "killed")
    assert server.wait() == 0
    is_of_one_run(server.table("killed.parquet"), whole)
    assert kept(server, "killed") == 60


def test_two_jobs_at_once_on_one_store_lose_nothing(server: Server, whole: pd.DataFrame) -> None:
    for output in ("one.parquet", "two.parquet"):
        server.start(output, "both")
    assert [server.wait(), server.wait()] == [0, 0]
    for output in ("one.parquet", "two.parquet"):
        is_of_one_run(server.table(output), whole)
    assert kept(server, "both") == 60
    assert not [p for p in (server.folder / "both").iterdir() if p.suffix != ".jsonl"]


def test_refusals_are_counted_but_not_kept(base: Path, tmp_path: Path, asked: list[int]) -> None:
    """Traps 10 and 12."""
    first = predicted(tmp_path, base, toys.pairs(toys.PERSONAS))
    again = predicted(tmp_path, base, toys.pairs(toys.PERSONAS))
    assert asked == [16, 4]
    assert (first["outcome"] == "refusal").sum() == 4
    assert first["text"].to_list() == again["text"].to_list()
    stored = records(tmp_path / "store")
    assert len(stored) == 12
    assert not any("sorry" in reply["text"] for reply in stored)


def test_an_adapter_is_named_and_changes_what_is_said(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    """Trap 13."""
    plain = predicted(tmp_path, base, toys.pairs())
    tuned = predicted(tmp_path, base, toys.pairs(), adapter)
    assert set(tuned["adapter"]) == {local.adapter_digest(adapter)} != {""}
    assert (tuned["weights"] == plain["weights"]).all()
    assert (tuned["prompt_hash"] == plain["prompt_hash"]).all()
    both = zip(plain["distribution"], tuned["distribution"], strict=True)
    assert max(np.abs(one - other).max() for one, other in both) > 1e-6


@pytest.fixture
def keys(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """Keys under which a run of the stage stores its replies; nothing is really asked."""
    monkeypatch.setattr(
        transformers.TransformersModel,
        "answer",
        lambda _, qs, __: [ScoredReply(q.replies[0], np.full(len(q.replies), -9.0)) for q in qs],
    )
    runs = iter(range(99))

    def made(model: Path = base, pairs: pd.DataFrame | None = None, **changes: Any) -> set[str]:
        store = f"run {next(runs)}"
        predicted(tmp_path, model, toys.pairs() if pairs is None else pairs, store=store, **changes)
        return {record["key"] for record in records(tmp_path / store)}

    return made


def test_the_same_questions_to_the_same_model_have_the_same_keys(
    keys: Callable[..., set[str]], base: Path, tmp_path: Path
) -> None:
    first = keys()
    assert len(first) == 12
    assert keys() == first
    # neither the folder's name, nor batches, nor labels, nor the order of rows is part of them
    assert keys(Path(shutil.copytree(base, tmp_path / "copy"))) == first
    assert keys(model=base, pairs=toys.pairs()[::-1]) == first
    assert keys(pairs=toys.pairs().assign(mode=1, stratum="x", subgroup="y", n=7)) == first


def test_another_model_adapter_prompt_option_template_or_length_is_another_key(
    keys: Callable[..., set[str]], base: Path, adapter: Path, tmp_path: Path
) -> None:
    """Trap 19."""
    pairs = toys.pairs()

    def copy(name: str) -> Path:
        return Path(shutil.copytree(base, tmp_path / name))

    words = toys.tokenizer("llama")
    weights = toys.save(toys.network("Llama", words, seed=5), words, tmp_path / "weights")
    template = copy("template")
    jinja = template / "chat_template.jinja"
    jinja.write_text(jinja.read_text().replace("<|assistant|>", "<|assistant|>So: "))
    other_adapter = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    config = other_adapter / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8.0', '"lora_alpha": 9.0'))
    sets = {
        "first": keys(),
        "weights": keys(weights),
        "template": keys(template),
        "adapter": keys(adapter=adapter),
        "other adapter": keys(adapter=other_adapter),
        "question": keys(pairs=pairs.assign(closed_prompt=pairs["closed_prompt"] + " Please.")),
        "persona": keys(pairs=pairs.assign(persona=pairs["persona"] + " Be brief.")),
        "options": keys(pairs=pairs.assign(codes=[codes[:-1] for codes in pairs["codes"]])),
        "order of options": keys(pairs=pairs.assign(codes=[c[::-1] for c in pairs["codes"]])),
        "length": keys(most=17),
        "precision": keys(dtype="bfloat16"),
    }
    assert all(len(found) == 12 for found in sets.values())
    assert len(set.union(*sets.values())) == 12 * len(sets)


def written(folder: Path, model: Path, pairs: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    io.write_table(pairs, folder / "pairs.parquet", "pairs")
    settings = {"per_subgroup": 2, "max_new_tokens": 12, "temperature": 0.0, "seed": 1}
    spec = Generate(toys.model(model), **settings | changes, caveat="toy")
    generate_stage.run(
        Namespace(
            spec=to_json(spec),
            pairs=folder / "pairs.parquet",
            adapter=None,
            store=folder / "store",
            threads=1,
            output=folder / "texts.parquet",
        )
    )
    return io.read_table(folder / "texts.parquet", "texts")


def test_open_answers_come_back_from_the_store_without_weights(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(tmp_path, base, toys.pairs())
    assert len(first) == 6
    assert (first["outcome"] == "answer").all()
    shutil.rmtree(tmp_path / "store")
    pd.testing.assert_frame_equal(written(tmp_path, base, toys.pairs()), first)
    no_weights(monkeypatch)
    pd.testing.assert_frame_equal(written(tmp_path, base, toys.pairs()), first)


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"max_new_tokens": 11}, {"seed": 2}])
def test_other_sampling_is_asked_anew(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """Trap 19."""
    texts = iter(range(99))
    monkeypatch.setattr(
        transformers.TransformersModel,
        "generate",
        lambda _, prompts, *__: [f"View {next(texts)}." for _ in prompts],
    )
    whole = {"per_subgroup": 4}
    first = written(tmp_path, base, toys.pairs(), **whole)
    other = written(tmp_path, base, toys.pairs(), **whole | change)
    assert not set(first["text"]) & set(other["text"])
    pd.testing.assert_frame_equal(written(tmp_path, base, toys.pairs(), **whole), first)


def test_sampled_answers_do_not_depend_on_what_is_stored(base: Path, tmp_path: Path) -> None:
    """Deleting the store costs time, never results; at a temperature too."""
    hot = {"temperature": 1.5, "per_subgroup": 4}
    written(tmp_path, base, toys.pairs(toys.PERSONAS[:1]), **hot)
    grown = written(tmp_path, base, toys.pairs(), **hot)
    shutil.rmtree(tmp_path / "store")
    whole = written(tmp_path, base, toys.pairs(), **hot)
    assert grown["text"].to_list() == whole["text"].to_list()


def test_a_subgroups_draw_of_questions_is_its_own() -> None:
    pairs = toys.pairs()
    drawn = generate_stage.drawn(pairs, 2, seed=1)
    assert drawn.groupby("subgroup").size().to_list() == [2, 2, 2]
    assert drawn.equals(generate_stage.drawn(pairs, 2, seed=1))
    assert any(not drawn.equals(generate_stage.drawn(pairs, 2, seed=s)) for s in (2, 3, 4))
    alone = generate_stage.drawn(toys.pairs(toys.PERSONAS[1:2]), 2, seed=1)
    own = drawn[drawn["subgroup"] == alone["subgroup"][0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, own)
    assert len(generate_stage.drawn(pairs, 99, seed=1)) == len(pairs)
