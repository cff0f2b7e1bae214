"""Calls of a service that misbehaves: what is asked again, what fails, and at what pace."""

import asyncio
import base64
import email.utils
import itertools
import json
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests import served
from tests.served import KEY, Raw, Server, serving
from valuestrata.inference import service
from valuestrata.inference.completions import ServiceReply, completion, without_key, without_keys
from valuestrata.inference.ledger import Tokens
from valuestrata.inference.service import Failure, Limits, Result, calls, words_of

QUICK = Limits(concurrency=4, timeout=2.0, max_retries=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    served.make_quick(monkeypatch)


def ask(server: Server, n: int, limits: Limits = QUICK) -> Iterator[tuple[int, Result]]:
    import openai

    client = openai.AsyncOpenAI(api_key=KEY, base_url=server.address, max_retries=0)
    messages = [
        [{"role": "system", "content": "P"}, {"role": "user", "content": str(i)}] for i in range(n)
    ]
    payloads = [{"model": "toy", "messages": m, "max_tokens": 8} for m in messages]
    return calls(client, payloads, limits)


def body(**message: Any) -> bytes:
    return json.dumps(
        {"choices": [{"message": {"content": "Fine.", **message}, "finish_reason": "stop"}]}
    ).encode()


def ended(finish_reason: str) -> bytes:
    choice = {"message": {"content": "Answer: 1"}, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice]}).encode()


MALFORMED = {
    "null message": b'{"choices": [{"message": null, "finish_reason": "stop"}]}',
    "choices a text": b'{"choices": "none today"}',
    "choices empty": b'{"choices": []}',
    "choices of null": b'{"choices": [null]}',
    "null content": body(content=None),
    "no object": b'"fine"',
    "null": b"null",
    "empty": b"",
    "content a number": body(content=3),
    "content an object": body(content={"text": "Fine."}),
    "content of parts in parts": body(content=[{"text": [{"text": "Fine."}]}]),
    "content deep": body().replace(b'"Fine."', b'[{"text":' * 400 + b'"x"' + b"}]" * 400),
    "a tool call": body(content="", tool_calls=[{"type": "function"}]),
    "an error beside it": b'{"error": {"message": "half"}, ' + body()[1:],
    "content of images": body(content=[{"type": "image_url"}]),
    "finish a number": b'{"choices": [{"message": {"content": "Fine."}, "finish_reason": 3}]}',
    "ended by an error": ended("error"),
    "ended by a tool": ended("tool_calls"),
    "ended by nothing": ended(""),
    "ended by the server": ended("insufficient_system_resource"),
    "truncated": body()[:-9],
    "not utf-8": b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',
    "half a character": b'{"choices": [{"message": {"content": "Answer: 1 \\ud800"}}]}',
    "html": b"<html>Bad gateway</html>",
    "deep": b"[" * 200_000,
    "huge": b'{"choices": [{"message": {"content": "' + b"x" * 20_000_000 + b'"}}]}',
}


def test_a_malformed_reply_is_asked_for_again_and_then_a_failure() -> None:
    for name, content in MALFORMED.items():
        with serving(lambda *_, content=content: Raw(content)) as server:
            ((_, result),) = ask(server, 1)
            assert isinstance(result, Failure), name
            assert not result.is_refused, name
            assert len(server.asked) == 3, name
        replies = iter([content, body()])
        with serving(lambda *_, replies=replies: Raw(next(replies))) as server:
            assert list(ask(server, 1)) == [(0, ServiceReply("Fine.", "stop"))], name


def test_replies_of_many_forms_are_read() -> None:
    reply = {
        "choices": [
            {"finish_reason": "length", "message": {"content": "A", "reasoning_content": "Hm."}}
        ],
    }
    assert completion(json.dumps(reply).encode()) == ServiceReply("A", "length", "", "Hm.")
    parts = [{"type": "text", "text": "An"}, {"type": "text", "text": "swer"}]
    assert completion(body(content=parts)).text == "Answer"
    assert completion(body(content=None, refusal="No.")).refusal == "No."
    declined = completion(body(content=[{"type": "refusal", "refusal": "No."}]))
    assert (declined.text, declined.refusal) == ("", "No.")
    for thought in ("Hm.", [{"type": "text", "text": "Hm."}]):
        parts = [{"type": "thinking", "thinking": thought}, {"type": "text", "text": "3"}]
        assert completion(body(content=parts)) == ServiceReply("3", "stop", "", "Hm.")
    assert completion(b"\xef\xbb\xbf" + body()).text == "Fine."
    assert completion(body(content="")).text == ""


def test_a_text_that_was_cut_or_filtered_is_known_by_every_name_of_it() -> None:
    names = {
        "stop": ("stop", "STOP", "eos", "end_turn", "stop_sequence"),
        "length": ("length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens"),
        "content_filter": ("content_filter", "SAFETY", "RECITATION", "content_filter: PROHIBITED"),
    }
    for wanted, reasons in names.items():
        assert {completion(ended(reason)).finish_reason for reason in reasons} == {wanted}


def test_counts_that_cannot_be_right_are_no_counts() -> None:
    for prompt, written, expected in (
        (9, 2, Tokens(9, 2)), (9, 0, None), (0, 0, None), (0, 2, None), (-1, 2, None),
        ("9", 2, None), (9.0, 2, None), (None, 2, None), (True, 2, None), (10**12, 2, None),
    ):  # fmt: skip
        usage = {"prompt_tokens": prompt, "completion_tokens": written}
        content = json.loads(body()) | {"usage": usage}
        assert completion(json.dumps(content).encode()).usage == expected, usage
    silent = json.loads(body(content="")) | {"usage": {"prompt_tokens": 9, "completion_tokens": 0}}
    assert completion(json.dumps(silent).encode()).usage == Tokens(9, 0)


def test_a_services_words_are_read_in_every_form_that_services_use() -> None:
    for content in (
        {"error": {"message": "no such model"}}, {"error": "no such model"},
        [{"error": {"message": "no such model"}}], {"message": "no such model"},
        {"detail": "no such model"}, {"detail": [{"loc": ["body"], "msg": "no such model"}]},
        "no such model",
    ):  # fmt: skip
        assert words_of(content, KEY)[0] == "no such model", content
        for status in (200, 400):
            with serving(lambda *_, c=content, s=status: Raw(json.dumps(c).encode(), s)) as server:
                ((_, result),) = ask(server, 1, Limits(1, 2.0, 0))
            assert "no such model" in str(result), content
    for content in (None, 3, [], {}, {"error": None}, {"error": []}, {"detail": [3]}, [[[]]]):
        assert words_of(content, KEY) == ("", "")


def test_a_wait_is_read_in_every_form_and_none_is_no_storm() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    for headers, least, most in (
        ({"retry-after": date}, 98, 100), ({"retry-after": date.replace(" GMT", "")}, 98, 100),
        ({"retry-after": "-5"}, 0, 0), ({"retry-after": "nan"}, 0, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7, 7), ({"retry-after": "1e9"}, 1e9, 1e9),
    ):  # fmt: skip
        wait = service.retry_after(headers)
        assert wait is not None, headers
        assert least <= wait <= most, headers
    assert service.retry_after({"retry-after": "soon"}) is None
    pauses = []
    with pytest.MonkeyPatch.context() as patch:  # `0` is answered by pauses of our own
        patch.setattr("random.uniform", lambda *_: pauses.append(1) or 0.0)
        with serving(lambda *_: Raw(b"{}", 429, {"Retry-After": "0"})) as server:
            ((_, result),) = ask(server, 1)
    assert isinstance(result, Failure)
    assert len(server.asked) == 1 + len(pauses) == 3


def test_an_error_with_status_200_is_a_failure_in_the_services_words() -> None:
    content = json.dumps({"error": {"message": f"No credits left for {KEY}", "code": 402}}).encode()
    with serving(lambda *_: Raw(content)) as server:
        ((_, result),) = ask(server, 1)
    assert isinstance(result, Failure)
    assert "No credits left" in str(result)
    assert KEY not in str(result)


def test_an_attempt_ends_at_its_time_limit_however_it_is_spent() -> None:
    limits = Limits(concurrency=2, timeout=0.3, max_retries=0)
    for slow in (Raw(body(), drip=0.1), 3.0):
        with serving(lambda *_, slow=slow: slow) as server:
            start = time.monotonic()
            results = [result for _, result in ask(server, 2, limits)]
            assert time.monotonic() - start < 2.9
        assert all(isinstance(r, Failure) and "0.3 s" in r.kind for r in results)


def test_what_a_service_turns_down_is_not_asked_again_and_its_words_are_shown() -> None:
    error = {"error": {"message": f"Unsupported: temperature. Key {KEY}", "param": "temperature"}}
    for status in (400, 401, 403, 404, 413, 422):
        with serving(lambda *_, s=status: Raw(json.dumps(error).encode(), s)) as server:
            ((_, result),) = ask(server, 1)
            assert len(server.asked) == 1
        assert isinstance(result, Failure)
        assert result.is_refused
        assert (result.status, result.param) == (status, "temperature")
        assert "Unsupported: temperature" in result.words
        assert KEY not in str(result)


def test_a_full_service_is_asked_again_after_its_own_wait() -> None:
    for headers, least in (({"Retry-After": "0.4"}, 0.4), ({"retry-after-ms": "300"}, 0.3)):
        replies = itertools.chain([Raw(b"{}", 429, headers)], itertools.repeat(Raw(body())))
        lock = threading.Lock()

        def says(*_: str, replies: Any = replies, lock: Any = lock) -> Raw:
            with lock:
                return next(replies)

        with serving(says) as server:
            start = time.monotonic()
            results = [result for _, result in ask(server, 8)]
            assert time.monotonic() - start >= least
        assert all(isinstance(result, ServiceReply) for result in results)
        assert len(server.asked) == 9
    with serving(lambda *_: Raw(b"{}", 429, {"Retry-After": "86400"})) as server:
        ((_, result),) = ask(server, 1)
        assert isinstance(result, Failure)
        assert len(server.asked) == 1


def test_calls_keep_to_the_rates_that_the_study_allows() -> None:
    with serving(lambda *_: "Fine.") as server:
        for limits, least in (
            (Limits(8, 2.0, 0, requests_per_minute=1200), 9 / 20),
            (Limits(8, 2.0, 0, tokens_per_minute=8 * 1200), 9 / 20),
        ):
            start = time.monotonic()
            assert len(list(ask(server, 10, limits))) == 10
            assert time.monotonic() - start >= least


def test_no_more_results_wait_to_be_taken_than_calls_run_at_a_time() -> None:
    with serving(lambda *_: "Fine.") as server:
        results = ask(server, 50)
        next(results)
        time.sleep(0.3)
        assert len(server.asked) <= QUICK.concurrency
        results.close()
        asked = len(server.asked)
        time.sleep(0.1)
        assert len(server.asked) == asked
    assert server.most_at_once <= QUICK.concurrency


def test_a_storm_loses_and_doubles_nothing() -> None:
    seen: Counter[str] = Counter()
    lock = threading.Lock()
    faults = [
        Raw(b"{", 200),
        Raw(b"{}", 500),
        Raw(MALFORMED["null message"]),
        Raw(b"{}", 429, {"Retry-After": "0"}),
    ]

    def says(_: str, user: str) -> Any:
        with lock:
            seen[user] += 1
            return faults[int(user) % 4] if int(user) % 20 < 4 and seen[user] == 1 else f"To {user}"

    with serving(says) as server:
        results = dict(ask(server, 600, Limits(16, 5.0, 3)))
    assert {i: r.text for i, r in results.items() if isinstance(r, ServiceReply)} == {
        i: f"To {i}" for i in range(600)
    }
    assert sum(seen.values()) == 600 + 120


def test_memory_does_not_grow_with_the_number_of_calls() -> None:
    large = Raw(body(content="x" * 100_000))
    with serving(lambda *_: large) as server:
        for _ in ask(server, 4):
            pass
        tracemalloc.start()
        for _ in ask(server, 120):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8_000_000  # 120 replies would be 12 MB


def test_an_unreachable_service_is_a_failure() -> None:
    with serving(lambda *_: "Fine.") as server:
        pass
    ((_, result),) = ask(server, 1)
    assert isinstance(result, Failure)
    assert result.status is None
    assert result.kind == "no connection"


def test_a_programming_error_reaches_the_caller() -> None:
    class Broken:
        api_key = KEY

        async def close(self) -> None: ...

    with pytest.raises(AttributeError):
        list(calls(Broken(), [{"messages": []}], QUICK))


def test_a_client_whose_calls_are_ended_early_closes_all_its_connections() -> None:
    import openai

    closed = threading.Event()

    class SlowToClose(openai.AsyncOpenAI):
        async def close(self) -> None:
            await asyncio.sleep(0.05)  # the caller stops meanwhile
            await super().close()
            closed.set()

    messages = [{"role": "system", "content": "P"}, {"role": "user", "content": "Q"}]
    with serving(lambda *_: "Yes") as server:
        client = SlowToClose(api_key=KEY, base_url=server.address, max_retries=0)
        next(calls(client, [{"model": "toy", "messages": messages}], QUICK))
    assert closed.is_set()


def test_a_key_is_taken_out_however_it_is_spelled() -> None:
    """Broken over lines, escaped, in other case, in base64 or hex; a word is no key."""
    spelled = [
        KEY,
        KEY.lower(),
        f"{KEY[:12]}\n{KEY[12:]}",
        " ".join(KEY),
        "\u200b".join(KEY),
        f'{KEY[:9]}" + "{KEY[9:]}',
        KEY.replace("-", "%2D"),
        "".join(f"%{ord(c):02X}" for c in KEY),
        KEY.replace("-", "\\u002d"),
        KEY.encode().hex(),
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(f"Bearer {KEY}".encode()).decode(),
    ]
    for text in spelled:
        reply = without_key(ServiceReply(f"It is {text} .", "stop", f"no {text} .", text), KEY)
        assert (reply.text, reply.refusal, reply.thought) == ("It is *** .", "no *** .", "***")
        assert without_keys(f"Bad {text} .", KEY) == "Bad *** ."
    empty = ServiceReply("An EMPTY, empty house; so it goes.", "stop")
    assert without_key(empty, "EMPTY").text == "An ***, empty house; so it goes."
    assert without_key(empty, "").text == empty.text


def test_words_hold_nothing_that_looks_like_a_key() -> None:
    for words in (
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-proj-********************abcd.",
        "Bearer abc.def was refused",
        "key=AIzaSyA1234567890abcdefghijklmnopqrstu is wrong",
        "organisation org-1 key_live_0123456789",
    ):
        shown = without_keys(words, KEY)
        assert "***" in shown
        for part in (KEY, "sk-proj", "abc.def", "AIza", "0123456789"):
            assert part not in shown
    plain = "Unsupported value: 'temperature' does not support 0 with this model."
    assert without_keys(plain, KEY) == plain
    assert len(without_keys("a\nb " * 500, KEY)) <= 160
