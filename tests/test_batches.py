"""Batches: what is submitted, how they end, and that no kill makes anybody pay twice."""

import json
import logging
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types import Batch

from tests import served
from tests.asking import predict
from tests.batched import Answer
from tests.forked import forked_jobs
from tests.served import KEY, VARIABLE, Server, serving
from valuestrata.errors import InputError
from valuestrata.inference import batch_files, batches
from valuestrata.inference.batch_state import missing, progress, status_of
from valuestrata.inference.books import Books, total

N = 12


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    served.make_quick(monkeypatch)


def ask(server: Server, folder: Path, n: int = N, **changes: Any) -> list[str | None]:
    settings = {"batch": True, "batch_poll_seconds": 0.01, "max_retries": 2, **changes}
    return served.ask(served.model(server, **settings), folder, n)


def echo(_: str, user: str) -> str:
    return f"To {user}"


WHOLE = [f"To {i}" for i in range(N)]


def notes(folder: Path) -> list[Path]:
    return sorted((folder / "batches").glob("*.json"))


def test_replies_of_batches_are_those_of_single_calls_and_share_their_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), serving(echo) as server:
        assert ask(server, tmp_path, extra_body={"nested": {"a": [1]}}, temperature=0.5) == WHOLE
        assert not server.asked
        (batch,) = server.batches.batches.values()
        lines = [json.loads(r) for r in server.batches.files[batch["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == N
        assert {line["url"] for line in lines} == {"/v1/chat/completions"}
        assert lines[0]["body"] == {
            "model": "toy-gpt",
            "messages": [
                {"role": "system", "content": "You are old."},
                {"role": "user", "content": "0"},
            ],
            "max_completion_tokens": 8,
            "temperature": 0.5,
            "nested": {"a": [1]},
        }
        changes = {"extra_body": {"nested": {"a": [1]}}, "temperature": 0.5}
        assert ask(server, tmp_path, batch=False, **changes) == WHOLE
        assert not server.asked
        assert not notes(tmp_path)
        assert server.keys == {f"Bearer {KEY}"}
    assert "submitted batch batch0 of 12 requests" in caplog.text
    assert "batch batch0: in_progress" in caplog.text
    assert KEY not in caplog.text


def test_batches_stay_below_the_limits_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(echo) as server:
        assert ask(server, tmp_path / "requests", max_batch_requests=5) == WHOLE
        sizes = [len(f.splitlines()) for f in server.batches.files.values() if b"method" in f]
        assert sizes == [5, 5, 2]
    one = len(batch_files.request_line("x" * 40, {"messages": "x" * 110}))
    monkeypatch.setattr(batch_files, "MAX_BYTES", 3 * one)
    with serving(echo) as server:
        assert ask(server, tmp_path / "bytes") == WHOLE
        files = [f for f in server.batches.files.values() if b"method" in f]
        assert len(files) > 3
        assert all(len(file) <= 3 * one for file in files)


def test_what_fails_in_passing_is_submitted_again_and_what_is_turned_down_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def says(_: str, user: str) -> Any:
        seen.append(user)
        if user in ("1", "2"):
            return 400
        if user == "3":
            return (500, "At last.")[seen.count(user) - 1]
        return {"content": None} if user == "4" else f"To {user}"

    with serving(says) as server:
        texts = ask(server, tmp_path)
    assert texts == ["To 0", None, None, "At last.", None, *WHOLE[5:]]
    assert {user: seen.count(user) for user in "01234"} == {"0": 1, "1": 1, "2": 1, "3": 2, "4": 3}
    assert "3 of 12 calls failed (2 status 400, 1 a malformed reply: no content)" in caplog.text
    assert not notes(tmp_path)


def test_a_batch_that_expires_keeps_what_it_has_and_the_rest_is_submitted_again(
    tmp_path: Path,
) -> None:
    with serving(echo) as server:
        server.batches.fates, server.batches.n_done = ["expired", "expired"], 5
        assert ask(server, tmp_path) == WHOLE
        assert sorted(server.batches.submitted().values()) == [1] * 5 + [2] * 5 + [3] * 2
    with serving(echo) as server:
        server.batches.fates = ["expired"] * 9
        with pytest.raises(InputError, match="batch_expired"):
            ask(server, tmp_path / "none")
    assert len(server.batches.batches) == 1  # nothing came of it: no second one


def test_a_cancelled_batch_keeps_what_it_has_and_is_submitted_by_the_next_run_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(echo) as server:
        server.batches.fates, server.batches.n_done = ["cancelled"], 5
        assert ask(server, tmp_path) == [*WHOLE[:5], *[None] * 7]
        assert "7 of 12 calls failed (7 its batch was cancelled)" in caplog.text
        assert len(server.batches.batches) == 1
        assert ask(server, tmp_path) == WHOLE
        assert sorted(server.batches.submitted().values()) == [1] * 5 + [2] * 7
    with serving(echo) as server:
        server.batches.fates = ["cancelled"]
        with pytest.raises(InputError, match="cancelled; the next run submits anew"):
            ask(server, tmp_path / "none")
        assert ask(server, tmp_path / "none") == WHOLE


def test_a_batch_that_fails_is_one_line_in_the_services_words(tmp_path: Path) -> None:
    with serving(echo) as server:
        server.batches.fates = ["failed"]
        server.batches.errors = [{"code": "invalid_model", "message": f"No model for {KEY}"}]
        with pytest.raises(InputError, match="turned down the first 5 calls alike: its batch"):
            ask(server, tmp_path)
        assert not notes(tmp_path)
        assert ask(server, tmp_path) == WHOLE
    with serving(echo) as server:  # a full queue passes once the others have ended
        server.batches.fates = ["completed", "failed"]
        server.batches.errors = [{"code": "token_limit_exceeded", "message": "Queue is full."}]
        assert ask(server, tmp_path / "queue", max_batch_requests=6) == WHOLE
        assert len(server.batches.batches) == 3


def test_a_service_without_a_batch_api_is_one_line(tmp_path: Path) -> None:
    for status, words in ((404, "set batch: false"), (401, VARIABLE), (400, "turned down")):
        error = (status, {"error": {"message": f"Not with {KEY}"}})
        with serving(echo) as server:
            server.batches.around = lambda *_, error=error: error
            with pytest.raises(InputError, match=words) as raised:
                ask(server, tmp_path)
        assert KEY not in str(raised.value)
        assert not notes(tmp_path)


def test_lines_of_files_that_are_malformed_or_of_others_are_no_replies(tmp_path: Path) -> None:
    others = [b"", b"{", b"[]", b"null", b"\xff", b'{"custom_id": 3}', b'{"custom_id": "other"}']

    def edit(lines: list[bytes]) -> list[bytes]:
        first = json.loads(lines[0])
        first["response"]["body"] = "none"
        wrong = [{**first, "response": r} for r in (None, [], {"status_code": "200"}, 3)]
        damaged = [json.dumps(line).encode() for line in wrong]
        # half a character, in a reply that is read and in words of a failure
        half = lines[1].replace(b"To ", b"\\\\ud800".replace(b"\\\\", b"\\"))
        return [*others, *damaged, half, json.dumps(first).encode(), *lines[2:], *lines[2:]]

    with serving(echo) as server:
        server.batches.edit = edit
        assert ask(server, tmp_path, max_retries=1)[:10] == WHOLE[:10]
        server.batches.edit = lambda lines: lines
        assert ask(server, tmp_path) == WHOLE
        assert max(server.batches.submitted().values()) <= 3


def test_what_is_malformed_or_dropped_on_the_way_is_asked_again_and_nothing_is_doubled(
    tmp_path: Path,
) -> None:
    """Every request of the protocol fails once, before or after the service has acted on it."""
    garbage: list[Answer | None] = [
        (200, b"<html>"), (200, b"null"), (200, b"[]"), (200, b'{"id": 3}'), (500, b"{"), None,
    ]  # fmt: skip
    kinds = ["POST files", "POST batches", "GET batches/{}", "GET files/{}/content"]
    for kind in kinds:
        for moment in ("before", "after"):
            for n, answer in enumerate(garbage):
                if kind == "GET files/{}/content" and answer and answer[0] == 200:
                    continue  # lines that are no lines: see above
                failed: list[str] = []

                def around(
                    now: str, asked: str, kind: str = kind, moment: str = moment,
                    answer: Answer | None = answer, failed: list[str] = failed,
                ) -> Answer | None:  # fmt: skip
                    if (now, asked) != (moment, kind) or failed:
                        return None
                    failed.append(kind)
                    if answer is None:
                        raise ConnectionError
                    return answer

                with serving(echo) as server:
                    server.batches.around = around
                    folder = tmp_path / f"{kinds.index(kind)}-{moment}-{n}"
                    assert ask(server, folder) == WHOLE, (kind, moment, answer)
                    assert set(server.batches.submitted().values()) == {1}, (kind, moment, answer)
                    assert failed
                    assert not notes(folder)


def test_a_batch_of_which_nobody_knows_is_never_submitted_again(tmp_path: Path) -> None:
    """The answer to its making is lost, and then the list of batches cannot be read."""
    for n, answer in enumerate(
        [
            (200, b"<html>"), (200, b"null"), (200, b"[]"), (200, b"{}"), (200, b'{"data": 3}'),
            (200, b'{"data": [3]}'), (200, b'{"data": [{"id": "x"}]}'), (500, b"{"), (403, b"{"),
        ]
    ):  # fmt: skip

        def around(moment: str, kind: str, answer: Answer = answer) -> Answer | None:
            if (moment, kind) == ("after", "POST batches"):
                raise ConnectionError
            return answer if kind == "GET batches" else None

        with serving(echo) as server:
            server.batches.around = around
            for _ in range(2):
                with pytest.raises(InputError, match="cannot tell whether") as raised:
                    ask(server, tmp_path / str(n), max_retries=1)
                assert "\n" not in str(raised.value)
            server.batches.around = lambda *_: None
            assert ask(server, tmp_path / str(n)) == WHOLE
            assert set(server.batches.submitted().values()) == {1}


def test_a_batch_that_cannot_be_looked_up_is_one_line_and_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_MISSED_POLLS", 2)
    for kind, status, words in (
        ("GET batches/{}", 403, "run snakemake again to collect it"),
        ("GET batches/{}", 503, "run snakemake again to collect it"),
        ("GET batches/{}", 404, "delete the file"),
        ("GET files/{}/content", 403, "run snakemake again to collect"),
    ):
        folder = tmp_path / f"{kind[-4:-1]}{status}"
        with serving(echo) as server:
            server.batches.around = lambda _, asked, kind=kind, status=status: (
                (status, {"error": {"message": f"No {KEY}"}}) if asked == kind else None
            )
            with pytest.raises(InputError, match=words) as raised:
                ask(server, folder, max_retries=0)
            assert KEY not in str(raised.value)
            assert "\n" not in str(raised.value)
            server.batches.around = lambda *_: None
            assert ask(server, folder) == WHOLE
            assert len(server.batches.batches) == 1


def test_a_batch_that_does_not_end_is_given_up_on_and_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(echo) as server:
        server.batches.fates = ["completed", "finalizing"]
        server.batches.n_done = N
        with monkeypatch.context() as patch:
            patch.setattr(batches, "LONGEST_BATCH", 2.0)
            with pytest.raises(InputError, match="batch1 is 'finalizing"):
                ask(server, tmp_path, max_batch_requests=N // 2)
        assert len(notes(tmp_path)) == 1  # the other one was collected
        server.batches.batches["batch1"]["status"] = "completed"
        assert ask(server, tmp_path) == WHOLE
        assert len(server.batches.batches) == 2
        assert not notes(tmp_path)


def test_a_status_that_nobody_knows_is_one_line_and_the_batch_is_not_lost(tmp_path: Path) -> None:
    """Other services have other names for the same; what means nothing is not polled for ever."""
    statuses: list[Any] = ["paused", None, 3, ["completed"]]
    with serving(echo) as server:
        look = server.batches.look
        server.batches.look = lambda batch: {**look(batch), "status": statuses[0]}
        for _ in list(statuses):
            with pytest.raises(InputError, match="does not say whether it has ended") as error:
                ask(server, tmp_path)
            assert str(error.value).count("\n") == 0
            statuses.pop(0)
            assert len(notes(tmp_path)) == 1
        names = {"completed": "SUCCESS", "in_progress": "Running"}
        server.batches.look = lambda b: (d := look(b)) | {"status": names.get(d["status"])}
        assert ask(server, tmp_path) == WHOLE
        assert set(server.batches.submitted().values()) == {1}
    for other, status in {"canceled": "cancelled", "timeout-exceeded": "expired"}.items():
        assert status_of(SimpleNamespace(status=other)) == status


def test_odd_counts_and_errors_of_a_batch_are_no_traceback(tmp_path: Path) -> None:
    counts = ("many", None, {"total": "9", "completed": None, "failed": "x"}, {"total": 9})
    for i, odd in enumerate(counts):
        with serving(echo) as server:
            look = server.batches.look
            server.batches.look = lambda b, look=look, odd=odd: {**look(b), "request_counts": odd}
            assert ask(server, tmp_path / str(i)) == WHOLE
    for errors in ("boom", None, *({"data": data} for data in ("x", ["x"], [], [None], {"a": 1}))):
        batch = Batch.construct(status="failed", errors=errors)
        assert missing(batch, KEY).is_refused, errors
        assert progress(batch) == "failed"


def test_a_note_that_another_job_completes_meanwhile_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_answer(moment: str, kind: str) -> None:
        if (moment, kind) == ("after", "POST batches"):
            raise ConnectionError

    for wrote in (True, False):
        folder = tmp_path / str(wrote)
        with serving(echo) as server:
            server.batches.around = lose_answer
            with pytest.raises(InputError, match="no connection"):
                ask(server, folder, max_retries=0)
            server.batches.around = lambda *_: None
            (note,) = notes(folder)

            def other_job(_: float, note: Path = note, wrote: bool = wrote) -> None:
                """It has its answer, or has even collected the batch."""
                if not note.exists():
                    return
                if wrote:
                    note.write_text(
                        json.dumps({**json.loads(note.read_text()), "batch_id": "batch0"})
                    )
                else:
                    note.unlink()

            monkeypatch.setattr(batches.time, "sleep", other_job)
            assert ask(server, folder) == WHOLE
            assert "GET batches" not in server.batches.kinds
            assert len(server.batches.batches) == 1 + (not wrote)
            monkeypatch.undo()
            served.make_quick(monkeypatch)


def test_a_damaged_note_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "batches").mkdir()
    for content in ("", "{", "[]", "{}", '{"request_ids": 3, "reservations": []}'):
        (tmp_path / "batches" / "x.json").write_text(content)
        with serving(echo) as server, pytest.raises(InputError, match="damaged note"):
            ask(server, tmp_path)
        assert not server.batches.kinds


def test_replies_that_are_not_kept_are_asked_again_by_the_next_run(tmp_path: Path) -> None:
    with serving(lambda _, user: "No" if user == "0" else "Yes") as server:
        assert ask(server, tmp_path) == ["No", *["Yes"] * (N - 1)]
        assert ask(server, tmp_path)[0] == "No"
        assert server.batches.submitted()["0"] == 2
        assert sum(server.batches.submitted().values()) == N + 1


def test_the_stage_asks_in_batches(tmp_path: Path) -> None:
    with serving(lambda *_: "Answer: 1") as server:
        model = served.model(server, batch=True, batch_poll_seconds=0.01)
        table = predict(tmp_path, model)
    assert (table["answer"] == 1).all()
    assert not server.asked
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)


class Till:
    """Accounts with room for some requests."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.open: list[str] = []
        self.settled: dict[str, Any] = {}

    def reserve(self, bodies: Any) -> list[str]:
        if len(self.open) + len(bodies) > self.room:
            raise InputError("the budget is spent")
        names = [f"r{len(self.open) + i}" for i in range(len(bodies))]
        self.open += names
        return names

    def settle(self, reservation: str, result: Any) -> None:
        self.settled.setdefault(reservation, result)


def test_requests_are_reserved_before_and_settled_after_and_a_full_budget_keeps_replies(
    tmp_path: Path,
) -> None:
    import openai

    with serving(lambda _, user: 400 if user == "0" else f"To {user}") as server:
        client = openai.OpenAI(api_key=KEY, base_url=server.address)
        messages = [
            [{"role": "system", "content": "P"}, {"role": "user", "content": str(i)}]
            for i in range(N)
        ]
        till = Till(room=7)
        settings = batches.BatchSettings(tmp_path, 5, 0.01, 0, till)
        replies: dict[int, Any] = {}
        with pytest.raises(InputError, match="budget is spent"):
            replies.update(
                batches.batch_calls(client, [{"messages": m} for m in messages], settings)
            )
    assert len(server.batches.batches) == 1
    assert sorted(till.settled) == sorted(till.open) == [f"r{i}" for i in range(5)]
    assert till.settled["r0"].status == 400


def test_batches_are_held_against_the_budget_and_charged_at_their_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5}
    prices = {"prompt": 2.0, "completion": 8.0, "batch_discount": 0.5}

    def says(_: str, user: str) -> Any:
        return 400 if user == "0" else {"content": f"To {user}", "usage": usage}

    def job(server: Server, name: str, calls: int) -> list[str | None]:
        settings = {"batch": True, "batch_poll_seconds": 0.01, "max_retries": 0, "prices": prices}
        model = served.model(server, **settings)
        return served.ask(model, tmp_path / name, N, tmp_path / "ledger", amount=5, calls=calls)

    with serving(says) as server:
        with pytest.raises(InputError, match="budget of 11 calls"):
            job(server, "small", 11)
        assert not server.batches.batches
        monkeypatch.setattr(batches, "MAX_MISSED_POLLS", 1)
        server.batches.around = lambda _, kind: (503, b"") if kind == "GET batches/{}" else None
        with pytest.raises(InputError, match="looked up"):  # one job submits, another collects
            job(server, "cache", 12)
        spent = total(Books(tmp_path / "ledger").accounts())
        assert (spent.calls, spent.unsure) == (12, 12)
        server.batches.around = lambda *_: None
        assert job(server, "cache", 12) == [None, *WHOLE[1:]]
        assert len(server.batches.batches) == 1
    spent = total(Books(tmp_path / "ledger").accounts())
    assert (spent.calls, spent.by_usage, spent.unsure) == (11, 11, 0)
    assert spent.amount == pytest.approx(11 * (100 * 2 + 5 * 8) / 1e6 / 2)


# ---- kill -9 at every moment


@pytest.mark.parametrize(
    "moments", [(2, 3), pytest.param(range(1, 20), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_job_killed_at_any_moment_submits_nothing_twice(moments: Any, tmp_path: Path) -> None:
    """The server kills the job at each request of the protocol, before and after it acts on it."""
    settings = {"batch": True, "batch_poll_seconds": 0.01, "max_retries": 2}
    with serving(echo) as server, forked_jobs(server.address, json.dumps(settings)) as jobs:

        def run(folder: Path, kill_at: tuple[str, int] | None) -> int:
            """Status of a job, which is killed at its n-th request."""
            seen = {"before": 0, "after": 0}
            pids: list[int] = []

            def around(moment: str, _: str) -> None:
                seen[moment] += 1
                if kill_at == (moment, seen[moment]):
                    os.kill(pids[0], signal.SIGKILL)
                    raise ConnectionError

            server.batches.around = around
            status, wrong, _ = jobs.run(folder, N, server.lock, pids.append)
            assert wrong == 0
            return status

        for n in moments:
            ended = []
            for moment in ("before", "after"):
                server.batches.batches.clear()
                folder = tmp_path / f"{n}-{moment}"
                ended.append(run(folder, (moment, n)))
                if ended[-1] == signal.SIGKILL:
                    assert run(folder, None) == 0
                assert set(server.batches.submitted().values()) == {1}, (n, moment)
                assert not notes(folder)
            if ended == [0, 0]:
                assert n > 4
                break
            assert ended[-1] in (0, signal.SIGKILL)
        else:
            assert len(moments) == 2, "no job ended by itself"
