"""What is spent at services: one ledger for all jobs, and a budget that none of them passes."""

import contextlib
import doctest
import json
import multiprocessing
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.served import KEY, Raw, Server, serving
from valuestrata.errors import InputError
from valuestrata.inference import batch_accounts, books, completions, metering, service
from valuestrata.inference.batch_accounts import BatchAccounts
from valuestrata.inference.books import Books, Spending, total
from valuestrata.inference.completions import ServiceReply
from valuestrata.inference.ledger import BudgetError, Ledger, Tokens
from valuestrata.inference.service import Failure, Limits, Result, calls
from valuestrata.study import budget as budgets
from valuestrata.study.budget import Budget, Prices

NODE = {"stage": "predict", "model": "m", "variant": "base", "split": "s"}
PRICES = Prices(prompt=1_000_000, completion=2_000_000, cached_prompt=500_000, batch_discount=0.5)
"""A unit for each token of a prompt, two for each of a reply."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(service, "LONGEST_WAIT", 0.01)
    monkeypatch.setattr(metering, "PAUSE", 0.01)


def spent(folder: Path) -> Spending:
    return total(Books(folder).accounts())


def test_examples_of_prices_and_usage_hold() -> None:
    for module in (budgets, books, metering, completions, batch_accounts):
        assert doctest.testmod(module).failed == 0


def test_an_attempt_counts_at_the_most_until_it_is_charged(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE, PRICES, Budget(amount=1000))
    first, second, third, fourth = ledger.reserve([Tokens(10, 5)] * 4)
    assert spent(tmp_path) == Spending(4, 0, 4, 0, 40, 0, 20, 80.0)
    ledger.charge(first, Tokens(8, 1, cached=4), "usage")
    ledger.charge(second, Tokens(9, 2), "estimated")
    ledger.charge(third, None, "unbilled")
    after = Spending(
        calls=3, by_usage=1, unsure=1, unbilled=1, prompt_tokens=27, cached_tokens=4,
        completion_tokens=8, amount=8.0 + 13.0 + 20.0,
    )  # fmt: skip
    assert spent(tmp_path) == after
    # the job is killed; a later process settles what it sent, and nothing is counted twice
    later = Ledger(tmp_path, NODE, PRICES, Budget(amount=1000))
    for _ in range(2):
        later.charge(fourth, Tokens(10, 1), "usage", batch=True)
    assert spent(tmp_path).amount == 21.0 + 6.0
    assert later.spent() == spent(tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_calls_without_a_price_are_counted_and_said_to_have_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    (reservation,) = ledger.reserve([Tokens(10, 5)])
    ledger.charge(reservation, Tokens(9, 1), "usage")
    assert (spent(tmp_path).calls, spent(tmp_path).unpriced) == (1, 1)
    assert ledger.told() == "1 call, 1 of them without a price"


def test_no_order_of_jobs_passes_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three jobs reserve, settle and are killed in random order; the most counts all along."""
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    for seed in range(12):
        draw = random.Random(seed)
        limit = Budget(amount=200.0) if seed % 2 else Budget(calls=12)
        folder = tmp_path / str(seed)
        jobs = [Ledger(folder, NODE, PRICES, limit) for _ in range(3)]
        at_most, paid, n_calls, refused = 0.0, 0.0, 0, 0
        waiting: list[tuple[Ledger, str, Tokens]] = []
        for _ in range(60):
            job, tokens = draw.choice(jobs), Tokens(draw.randint(1, 9), draw.randint(1, 9))
            try:
                (reservation,) = job.reserve([tokens])
            except BudgetError:
                refused += 1
            else:
                n_calls += 1
                waiting.append((job, reservation, tokens))
            if waiting and draw.random() < 0.5:
                owner, reservation, tokens = waiting.pop(draw.randrange(len(waiting)))
                if draw.random() < 0.8:  # else it was killed
                    owner.charge(reservation, Tokens(tokens.prompt, 1), "usage")
                    paid += tokens.prompt + 2
                else:
                    at_most += tokens.prompt + 2 * tokens.completion
            open_now = sum(t.prompt + 2 * t.completion for _, _, t in waiting)
            assert limit.amount is None or paid + at_most + open_now <= limit.amount
            assert limit.calls is None or n_calls <= limit.calls
        assert refused
        seen = spent(folder)
        assert seen.calls == n_calls
        assert seen.amount == pytest.approx(paid + at_most + open_now)
        assert not seen.unbilled  # what was taken back was never sent


def _spend(folder: Path, granted: Any) -> None:
    ledger = Ledger(folder, NODE, PRICES, Budget(calls=60))
    try:
        while True:
            (reservation,) = ledger.reserve([Tokens(1, 1)])
            with granted.get_lock():
                granted.value += 1
            ledger.charge(reservation, Tokens(1, 1), "usage")
    except BudgetError:
        pass


def test_processes_at_once_keep_to_one_budget(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    granted = context.Value("i", 0)
    processes = [context.Process(target=_spend, args=(tmp_path, granted)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert {process.exitcode for process in processes} == {0}
    assert 57 <= granted.value <= 60
    assert spent(tmp_path).calls == granted.value


def test_a_torn_line_is_no_line_and_a_corrupt_one_is_one_line_of_error(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE, PRICES)
    ledger.reserve([Tokens(1, 1)])
    path = tmp_path / f"{ledger.name}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"reserve": "x-1", "pro')
    assert spent(tmp_path).calls == 1
    for broken in (b"nonsense\n", b"[]\n", b'{"charge": 3}\n', b'{"reserve": "a-1"}\n', b"\xff\n"):
        path.write_bytes(whole + broken)
        with pytest.raises(InputError, match="move the file away") as error:
            spent(tmp_path)
        assert "\n" not in str(error.value)


def test_two_currencies_are_never_added(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE, PRICES)
    ledger.reserve([Tokens(1, 1)])
    euros = PRICES.replace(currency="EUR")
    with pytest.raises(InputError, match="USD was spent already"):
        Ledger(tmp_path, NODE, euros, Budget(amount=10, currency="EUR"))


# ---- calls


def body(text: str = "Fine.", **more: Any) -> bytes:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], **more}).encode()


def usage(prompt: Any, completion: Any, cached: Any = None) -> dict[str, Any]:
    details = {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion, **details}}


def ask(
    server: Server, n: int, ledger: Ledger | None, concurrency: int = 4, **limits: Any
) -> dict[int, Result]:
    import openai

    client = openai.AsyncOpenAI(api_key=KEY, base_url=server.address, max_retries=0)
    payloads = [
        {
            "model": "toy",
            "messages": [
                {"role": "system", "content": "P"},
                {"role": "user", "content": f"Question {i}"},
            ],
            "max_tokens": 8,
        }
        for i in range(n)
    ]
    chosen = Limits(concurrency, **{"timeout": 1.0, "max_retries": 0, **limits})
    results: dict[int, Result] = {}
    with contextlib.suppress(BudgetError):
        for i, result in calls(client, payloads, chosen, ledger):
            results[i] = result
    return results


def test_usage_of_all_forms_is_read_or_left_alone() -> None:
    good = {(9, 2, None): Tokens(9, 2), (9, 2, 4): Tokens(9, 2, 4), (9, 2, 99): Tokens(9, 2)}
    for given, expected in good.items():
        assert completions.completion(body(**usage(*given))).usage == expected
    # zeros are filled in where nobody counts
    for given in ((0, 0), (-1, 2), (1.5, 2), ("9", 2), (True, 2), (None, 2), (10**12, 2)):
        assert completions.completion(body(**usage(*given))).usage is None
    for wrong in ("x", [], None, {"prompt_tokens": 3}):
        assert completions.completion(body(usage=wrong)).usage is None


def test_each_way_an_attempt_ends_is_charged_as_the_service_may_bill_it(tmp_path: Path) -> None:
    estimated = Tokens(prompt=3 + 10, completion=2)  # of 11 bytes in two messages, and of 5
    longest = Tokens(prompt=3 + 10, completion=8)
    ways: dict[str, tuple[Any, Tokens | None, str]] = {
        "counted": (Raw(body(**usage(20, 3))), Tokens(20, 3), "by_usage"),
        "not counted": (Raw(body()), estimated, "calls"),
        "malformed": (Raw(b'{"choices": []}'), longest, "unsure"),
        "malformed and counted": (
            Raw(b'{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}'),
            Tokens(5, 6),
            "by_usage",
        ),
        "too slow": (3.0, longest, "unsure"),
        "cut off": (Raw(b"x", 200, {"Content-Length": "99"}), longest, "unsure"),
        "too large": (Raw(b"x" * 3_000_000), longest, "unsure"),
        "gateway": (Raw(b"{}", 504), longest, "unsure"),
        "server error": (Raw(b"{}", 500), None, "unbilled"),
        "full": (Raw(b"{}", 429), None, "unbilled"),
        "refused": (Raw(b"{}", 400), None, "unbilled"),
    }
    for name, (reply, tokens, column) in ways.items():
        folder = tmp_path / name
        with serving(lambda *_, reply=reply: reply) as server:
            ask(server, 1, Ledger(folder, NODE, PRICES), timeout=1.5)
        (account,) = Books(folder).accounts()
        seen = account.spending
        assert (seen.calls, seen.unbilled) == ((1, 0) if tokens else (0, 1)), name
        assert getattr(seen, column) == 1, name
        used = tokens or Tokens(0, 0)
        assert (seen.prompt_tokens, seen.completion_tokens) == (used.prompt, used.completion), name
        assert seen.amount == used.prompt + 2 * used.completion, name
    ask(server, 1, Ledger(tmp_path / "gone", NODE, PRICES))  # it listens no more
    assert spent(tmp_path / "gone") == Spending(unbilled=1)


def test_calls_stop_before_the_budget_and_those_under_way_are_given(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE, PRICES, Budget(calls=10))
    with serving(lambda *_: Raw(body(**usage(10, 1)))) as server:
        results = ask(server, 30, ledger)
        assert len(server.asked) == 10
        assert [isinstance(result, ServiceReply) for result in results.values()] == [True] * 10
        with pytest.raises(BudgetError, match=r"budget of 10 calls \(USD 120.00 in 10 calls\)"):
            ledger.reserve([Tokens(1, 1)])
        # 12 units a call; before it is sent a call counts with some 160
        bounded = Ledger(tmp_path / "bounded", NODE, PRICES, Budget(amount=500.0))
        ask(server, 90, bounded)
        assert 200 < spent(bounded.folder).amount <= 500
        assert len(ask(server, 30, Ledger(tmp_path, NODE, PRICES, Budget(calls=40)))) == 30


def test_retries_are_calls_of_their_own_and_stop_at_the_budget(tmp_path: Path) -> None:
    with serving(lambda *_: Raw(b'{"choices": []}')) as server:
        results = ask(server, 5, Ledger(tmp_path, NODE, PRICES, Budget(calls=7)), max_retries=3)
    assert len(server.asked) == spent(tmp_path).unsure == 7
    assert len(results) < 5


def test_a_service_that_counts_more_than_can_be_is_reckoned_with(tmp_path: Path) -> None:
    """A prompt of its own, or a limit that it does not keep; what was under way may pass."""
    with serving(lambda *_: Raw(body(**usage(1000, 500)))) as server:
        ask(server, 50, Ledger(tmp_path, NODE, PRICES, Budget(amount=9_000.0)), concurrency=1)
    assert len(server.asked) == 4
    assert spent(tmp_path).amount == 8_000.0


def test_what_a_request_can_take_is_never_below_what_it_is_estimated_to() -> None:
    for text in ("", "Answer: 1", "你好，世界" * 9, "வணக்கம்" * 50, '"\\\n' * 40):
        for extra in ({}, {"extra_body": {"n": 3}}, {"response_format": {"a": ["x" * 400]}}):
            payload = {"messages": [{"content": text}], "max_completion_tokens": 9, **extra}
            most, likely = metering.at_most(payload), metering.estimated(payload)
            assert most.prompt >= likely.prompt
            assert most.prompt >= len(text.encode())
            assert most.completion == likely.completion == (27 if "extra_body" in extra else 9)
    assert metering.longest_reply({"max_tokens": 3, "extra_body": {"max_tokens": 70}}) == 70


def test_a_batch_is_announced_whole_and_settled_by_whoever_collects_it(tmp_path: Path) -> None:
    bodies = [{"messages": [{"content": str(i)}], "max_tokens": 5} for i in range(4)]
    accounts = BatchAccounts(Ledger(tmp_path, NODE, PRICES, Budget(calls=5)))
    ids = accounts.reserve(bodies)
    with pytest.raises(BudgetError):
        accounts.reserve(bodies[:2])
    later = BatchAccounts(Ledger(tmp_path, NODE, PRICES, Budget(calls=5)))
    results: list[Result] = [
        ServiceReply("A", "stop", usage=Tokens(10, 2)),
        Failure(500, "status 500"),
        ServiceReply("A", "stop"),
        Failure(None, "malformed", is_billable=True),
    ]
    for reservation, result in [*zip(ids, results, strict=True)] * 2:
        later.settle(reservation, result)
    seen = spent(tmp_path)
    assert (seen.calls, seen.by_usage, seen.unsure, seen.unbilled) == (3, 1, 2, 1)
    most = sum(metering.at_most(bodies[i]).prompt + 2 * 5 for i in (2, 3))
    assert seen.amount == 0.5 * (10 + 2 * 2 + most)
