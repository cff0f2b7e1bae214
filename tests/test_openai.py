"""Models at a service: order, failures, refusals, retries, and a key that goes nowhere else."""

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests import asking, served, toys
from tests.asking import predict
from tests.served import KEY, VARIABLE, Raw, serving
from valuestrata.errors import InputError
from valuestrata.inference.backends import open_model
from valuestrata.inference.fill import Requests, cache_keys
from valuestrata.inference.openai import OpenAIBackend
from valuestrata.inference.protocol import Sampling, ScoringRequest
from valuestrata.prompting import judging
from valuestrata.records import read_record


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    served.make_quick(monkeypatch)


def prompts(n: int) -> list[tuple[str, str]]:
    return [("You are old.", f"Question {i}?") for i in range(n)]


def echo(_: str, user: str) -> str:
    return f"To {user}"


def slow_first(_: str, user: str) -> str:
    time.sleep(0.1 if user == "Question 0?" else 0)
    return f"To {user}"


def test_replies_come_in_the_order_of_the_prompts_whichever_is_first() -> None:
    with serving(slow_first) as server:
        texts = open_model(served.model(server), 1).generate(prompts(12), Sampling(16))
    assert toys.texts(texts) == [f"To Question {i}?" for i in range(12)]
    assert server.users() != [f"Question {i}?" for i in range(12)] or server.most_at_once > 1


def test_what_is_sent_is_persona_question_length_and_temperature() -> None:
    with serving(echo) as server:
        model = OpenAIBackend(served.model(server))
        model.generate([("You are old.", "Why?")], Sampling(7, 0.0, 3))
        model.generate([("You are old.", "Why?")], Sampling(7, 0.8, 3))
    greedy, sampled = server.asked
    assert greedy == {
        "model": "toy-gpt",
        "messages": [
            {"role": "system", "content": "You are old."},
            {"role": "user", "content": "Why?"},
        ],
        "max_completion_tokens": 7,
    }
    assert sampled == {**greedy, "temperature": 0.8, "seed": 3}
    assert server.keys == {f"Bearer {KEY}"}


def test_parameters_are_the_studys_and_another_key_of_the_cache() -> None:
    changes = {"temperature": 0.0, "top_p": 0.9, "reasoning_effort": "low"}
    changes |= {"length_parameter": "max_tokens", "extra_body": {"top_k": 5, "nested": {"a": [1]}}}
    with serving(echo) as server:
        model = OpenAIBackend(served.model(server, **changes))
        model.generate([("You are old.", "Why?")], Sampling(7, 0.0, 3))
    (sent,) = server.asked
    assert {k: v for k, v in sent.items() if k not in ("model", "messages")} == {
        "max_tokens": 7,
        "temperature": 0.0,
        "top_p": 0.9,
        "reasoning_effort": "low",
        "top_k": 5,
        "nested": {"a": [1]},
    }
    keys = set()
    for name, value in (("max_concurrency", 9), *changes.items()):
        backend = OpenAIBackend(served.model(server, **{name: value}))
        requests = Requests([("P", "Q")], Sampling(7), lambda *_: True)
        keys |= set(cache_keys(backend, requests, [backend.render(("P", "Q"))]))
    assert len(keys) == 5  # what the length is called and how many calls run change no reply


def test_a_parameter_that_a_service_refuses_is_named_after_a_few_calls() -> None:
    words = f"Unsupported value: 'temperature' does not support 0. Key {KEY}"
    error = {"error": {"message": words, "param": "temperature", "code": "unsupported_value"}}
    with serving(lambda *_: Raw(json.dumps(error).encode(), 400)) as server:
        model = OpenAIBackend(served.model(server, temperature=0.0))
        with pytest.raises(InputError) as raised:
            model.generate(prompts(400), Sampling(4))
    shown = str(raised.value)
    assert "does not support 0" in shown
    assert "'temperature'" in shown
    assert KEY not in shown
    assert "\n" not in shown
    assert len(server.asked) <= 5 + 4


def test_a_reply_that_its_length_or_a_filter_cut_is_no_answer(tmp_path: Path) -> None:
    for reason, outcome in (
        ("length", "truncated"),
        ("model_length", "truncated"),
        ("content_filter", "refusal"),
        ("SAFETY", "refusal"),
    ):
        reply = {"content": "Answer: 1", "finish_reason": reason}
        with serving(lambda *_, reply=reply: dict(reply)) as server:
            table = predict(tmp_path / reason, served.model(server))
        assert set(table["outcome"]) == {outcome}
        assert table["answer"].isna().all()


def test_a_reply_that_repeats_the_prompt_is_none(tmp_path: Path) -> None:
    """As transformers serve sends where it takes a model's chat template for another one."""

    def says(persona: str, user: str) -> str:
        echo = f"<|system|>\n{persona}<|end|>\n<|user|>\n{user}<|end|>\n<|assistant|>\nAnswer: 2"
        return echo if "family" in user else "Answer: 1"

    with serving(says) as server:
        table = predict(tmp_path, served.model(server))
    assert table["outcome"].to_list() == ["failed", "answer", "answer", "answer"] * 3
    with (
        serving(lambda p, u: p + u) as server,
        pytest.raises(InputError, match="repeats the whole"),
    ):
        predict(tmp_path / "all", served.model(server))


def test_a_service_that_writes_more_than_it_is_told_is_said(tmp_path: Path) -> None:
    """As transformers serve does, which knows max_tokens alone."""
    for n_tokens, words in ((32, ""), (33, "12 of 12 replies are longer than max_new_tokens")):
        usage = {"prompt_tokens": 9, "completion_tokens": n_tokens}
        message = {"content": "Answer: 1", "usage": usage}
        with serving(lambda *_, message=message: dict(message)) as server:
            table = predict(tmp_path / words, served.model(server), max_new_tokens=16)
        (note,) = set(table["notes"])
        assert note.startswith(words)
        assert bool(note) == note.endswith("try length_parameter: max_tokens") == bool(words)


def test_no_more_calls_run_at_a_time_than_the_study_says() -> None:
    for most in (1, 3):
        together = threading.Barrier(most)

        def says(*_: str, together: threading.Barrier = together) -> str:
            together.wait(timeout=30)
            time.sleep(0.02)  # for one too many to arrive
            return "Yes."

        with serving(says) as server:
            model = OpenAIBackend(served.model(server, max_concurrency=most))
            model.generate(prompts(9), Sampling(4))
        assert server.most_at_once == most


def failing(numbers: set[int], status: int) -> Any:
    def says(_: str, user: str) -> Any:
        return status if int(user.split()[1][:-1]) in numbers else "Fine."

    return says


def test_a_call_that_fails_is_no_text_and_the_others_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for status in (400, 403, 409, 429, 500, 503):
        caplog.clear()
        with serving(failing({1, 4}, status)) as server:
            texts = OpenAIBackend(served.model(server)).generate(prompts(6), Sampling(4))
        assert toys.texts(texts) == ["Fine.", None, "Fine.", "Fine.", None, "Fine."]
        (warning,) = (r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
        assert "2 of 6 calls failed" in warning
        assert "only these will be retried on the next run" in warning
        assert str(status) in warning


def test_a_call_that_takes_too_long_has_failed() -> None:
    def says(_: str, user: str) -> Any:
        return 4.0 if user == "Question 1?" else "Fine."

    with serving(says) as server:
        texts = OpenAIBackend(served.model(server, timeout=1.0)).generate(prompts(3), Sampling(4))
    assert toys.texts(texts) == ["Fine.", None, "Fine."]


def test_a_call_is_tried_again_before_it_has_failed() -> None:
    seen: list[str] = []

    def says(_: str, user: str) -> Any:
        seen.append(user)
        return (429, 500)[seen.count(user) - 1] if seen.count(user) < 3 else "At last."

    with serving(says) as server:
        model = OpenAIBackend(served.model(server, max_retries=2, max_concurrency=1))
        texts = toys.texts(model.generate(prompts(2), Sampling(4)))
        assert texts == ["At last.", "At last."]
    assert len(seen) == 6


def test_a_refusal_is_its_words_and_nothing_said_is_nothing() -> None:
    messages = {
        "Question 0?": {"content": None, "refusal": "I'm sorry, I can't answer that."},
        "Question 1?": {"content": ""},
        "Question 2?": {"content": None},
        "Question 3?": {"content": "", "refusal": "No."},
        "Question 4?": {"content": "Answer: 1", "refusal": ""},
    }
    with serving(lambda _, user: messages[user]) as server:
        texts = OpenAIBackend(served.model(server)).generate(prompts(5), Sampling(4))
    assert toys.texts(texts) == ["I'm sorry, I can't answer that.", "", None, "No.", "Answer: 1"]


def test_a_service_cannot_send_a_prompt_elsewhere(tmp_path: Path) -> None:
    with serving(lambda *_: "Fine.") as other:
        to = {"Location": f"{other.address}/chat/completions"}
        with (
            serving(lambda *_: Raw(b"", 307, to)) as server,
            pytest.raises(InputError, match="307"),
        ):
            served.ask(served.model(server), tmp_path, 2)
        assert other.asked == []


def test_a_wrong_key_or_name_ends_the_run_at_once() -> None:
    for status, part in ((401, f"${VARIABLE}"), (404, "base_url")):
        with serving(lambda *_, status=status: status) as server:
            with pytest.raises(InputError) as error:
                OpenAIBackend(served.model(server)).generate(prompts(200), Sampling(4))
            assert part in str(error.value)
            assert KEY not in str(error.value)
            assert "\n" not in str(error.value)
            assert len(server.asked) < 50


def test_a_service_that_answers_nothing_ends_the_run() -> None:
    with serving(lambda *_: 503) as server:
        model = OpenAIBackend(served.model(server))
        with pytest.raises(InputError, match="status 503") as error:
            model.generate(prompts(300), Sampling(4))
        assert len(server.asked) < 20
    assert KEY not in str(error.value)
    with pytest.raises(InputError, match="no connection"):
        model.generate(prompts(3), Sampling(4))


def test_prompts_that_a_service_always_turns_down_do_not_end_the_run(tmp_path: Path) -> None:
    """A re-run asks only for them; it must come to an end."""
    requests = [ScoringRequest(prompt, ()) for prompt in prompts(9)]
    with serving(lambda *_: 400) as server:
        replies = OpenAIBackend(served.model(server)).stream(requests, Sampling(4), True, tmp_path)
        assert {reply.text for _, reply in replies} == {None}
    assert len(server.asked) == 9
    with serving(lambda *_: 400) as server, pytest.raises(InputError, match="turned down"):
        OpenAIBackend(served.model(server)).generate(prompts(2), Sampling(4))


def test_a_model_that_is_withdrawn_fails_what_is_left_and_keeps_the_rest(tmp_path: Path) -> None:
    """404 of a service that has answered is a failed call, not a wrong address."""
    requests = [ScoringRequest(prompt, ()) for prompt in prompts(3)]
    with serving(lambda *_: 404) as server:
        replies = OpenAIBackend(served.model(server)).stream(requests, Sampling(4), True, tmp_path)
        assert [reply.text for _, reply in replies] == [None] * 3


def test_a_key_that_is_not_set_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    with serving(echo) as server:
        model = OpenAIBackend(served.model(server))
        assert model.generate([], Sampling(4)) == []
        with pytest.raises(InputError, match=f"{VARIABLE} is not set"):
            model.generate(prompts(1), Sampling(4))
        assert not server.asked
        free = OpenAIBackend(served.model(server, api_key_env=None))
        assert toys.texts(free.generate(prompts(1), Sampling(4))) == ["To Question 0?"]
    assert not any(KEY in key for key in server.keys)


def test_a_package_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with serving(echo) as server, pytest.raises(InputError, match=r"valuestrata\[openai\]"):
        OpenAIBackend(served.model(server)).generate(prompts(1), Sampling(4))


def test_closed_questions_have_a_text_and_no_distribution() -> None:
    with serving(lambda *_: "Answer: 2") as server:
        requests = [ScoringRequest(("P", "Q"), ("Answer: 1", "Answer: 2"))]
        (reply,) = OpenAIBackend(served.model(server)).score(requests, 4)
    assert reply.text == "Answer: 2"
    assert reply.logprobs is None


# ---- thoughts, cut replies and structured output


def test_a_thought_in_a_field_of_its_own_is_no_answer_and_a_cut_reply_is_none(
    tmp_path: Path,
) -> None:
    """Trap 32."""
    cut = {"finish_reason": "length"}
    messages = {
        "Q0": {"content": "Answer: 1", "reasoning_content": "Answer: 2 or 3?"},
        "Q1": {"content": "", "reasoning": "I cannot answer. Answer: 1", **cut},
        "Q2": {"content": "Answer: 1", **cut},
        "Q3": {"content": "Answer: 1\n\nAs a moth", **cut},
    }
    questions = list(toys.SCALES)

    def says(_: str, user: str) -> Any:
        return messages[f"Q{questions.index(user.splitlines()[0])}"]

    with serving(says) as server:
        table = predict(tmp_path, served.model(server)).set_index("question")
    outcomes = {q: set(table.loc[q, "outcome"]) for q in messages}
    assert outcomes == {
        "Q0": {"answer"}, "Q1": {"truncated"}, "Q2": {"truncated"}, "Q3": {"answer"},
    }  # fmt: skip
    assert set(table.loc["Q0", "thought"]) == {"<think>Answer: 2 or 3?</think>"}
    assert set(table.loc["Q0", "text"]) == {"Answer: 1"}
    assert set(table["finish_reason"]) == {"stop", "length"}


def enum_of(request: dict[str, Any]) -> list[str]:
    return list(request["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"])


def test_constrained_answers_are_asked_for_as_an_enum_of_the_options(tmp_path: Path) -> None:
    with serving(lambda *_: '{"answer": "Answer: 2"}') as server:
        model = served.model(server, structured_output=True)
        table = predict(tmp_path, model, constrained=True)
        assert (table["text"] == "Answer: 2").all()
        assert (table["answer"] == 2).all()
        sizes = {len(enum_of(request)) for request in server.asked}
        assert sizes == {len(codes) for codes, _ in toys.SCALES.values()}
        del server.asked[:]
        predict(tmp_path, model, constrained=True)
        assert not server.asked
        # a free reply is another one
        predict(tmp_path, model)
        assert not any("response_format" in request for request in server.asked)
        assert server.asked


def test_a_service_without_structured_output_is_one_line() -> None:
    requests = [ScoringRequest(("P", "Q"), ("Answer: 1", "Answer: 2"), constrained=True)] * 2
    for says in (400, "Answer: 2", '{"answer": "Answer: 3"}', "[]", '{"answer": 2}'):
        refused = pytest.raises(InputError, match="constrained: false")
        with serving(lambda *_, says=says: says) as server, refused:
            OpenAIBackend(served.model(server)).score(requests, 4)


def test_a_reply_that_leaves_the_options_has_failed_and_the_others_stay(tmp_path: Path) -> None:
    def says(_: str, user: str) -> str:
        stray = {"family": '{"answer": "Answer: 9"}', "duty": "[" * 100_000}
        return next((s for word, s in stray.items() if word in user), '{"answer": "Answer: 2"}')

    with serving(says) as server:
        model = served.model(server, structured_output=True, max_concurrency=1)
        pairs = toys.pairs().sort_values("question", ascending=False)  # good ones first
        table = predict(tmp_path, model, pairs, constrained=True, max_new_tokens=8)
        assert server.asked[0]["max_completion_tokens"] > 16  # room for the JSON around an option
    assert set(table.loc[table["question"].isin(["Q0", "Q1"]), "outcome"]) == {"failed"}
    assert (table.loc[table["question"].isin(["Q2", "Q3"]), "answer"] == 2).all()


def test_a_constrained_reply_may_still_be_a_refusal_cut_or_failed() -> None:
    cut = {"content": '{"answ', "finish_reason": "length"}
    messages = iter([{"content": None, "refusal": "No."}, cut, {"content": None}])
    requests = [ScoringRequest(("P", str(i)), ("1", "2"), constrained=True) for i in range(3)]
    with serving(lambda *_: next(messages)) as server:
        model = OpenAIBackend(served.model(server, max_concurrency=1))
        replies = model.score(requests, 4)
    assert [reply.text for reply in replies] == ["No.", '{"answ', None]


# ---- the stages


def moody(persona: str, user: str) -> Any:
    """Fails for one question, refuses another, answers the rest with 1."""
    if "family" in user:
        return 500
    if "trust" in user:
        return {"content": None, "refusal": "I'm sorry, I cannot answer that."}
    return "Answer: 1"


def test_predictions_hold_what_was_said_and_no_distribution(tmp_path: Path) -> None:
    with serving(moody) as server:
        table = predict(tmp_path, served.model(server))
    outcomes = dict(zip(table["question"], table["outcome"], strict=True))
    assert outcomes == {"Q0": "failed", "Q1": "answer", "Q2": "refusal", "Q3": "answer"}
    assert table["text"].isna().to_list() == (table["question"] == "Q0").to_list()
    assert set(table["answer"].dropna()) == {1}
    assert table[["logprobs", "distribution", "non_option_mass"]].isna().all(axis=None)
    assert table["prompt_tokens"].isna().all()
    assert set(table["model_version"]) == {f"toy-gpt@{server.address}"}
    assert table["prompt_hash"].nunique() == len(table)


def test_a_failed_call_is_not_kept_and_alone_is_asked_again(tmp_path: Path) -> None:
    """Trap 12."""
    with serving(moody) as server:
        predict(tmp_path, served.model(server))
        del server.asked[:]
        server.says = lambda *_: "Answer: 2"
        table = predict(tmp_path, served.model(server))
        # Q1 and Q3 were answered; Q0 had failed, Q2 was refused
        assert {user.split("\n")[0] for user in server.users()} == {
            toys.CLOSED[text].split("\n")[0] for text in list(toys.SCALES)[::2]
        }
        assert len(server.asked) == 6
        del server.asked[:]
        predict(tmp_path, served.model(server))
        assert not server.asked
    assert (table["outcome"] == "answer").all()
    assert table["answer"].to_list() == [2, 1, 2, 1] * 3


def test_a_run_with_failed_calls_is_incomplete_unless_the_study_accepts_it(tmp_path: Path) -> None:
    """Three of twelve calls fail."""
    for share, n_failed in ((0.0, 3), (0.2, 3), (0.25, 0)):
        with serving(moody) as server:
            folder = tmp_path / str(share)
            table = predict(folder, served.model(server, accepted_failures=share))
        record = read_record(folder / "predictions.parquet")
        assert record is not None
        assert record.n_failed == n_failed
        note = "incomplete: 3 of 12 calls failed; run snakemake again to retry them"
        assert set(table["notes"]) == {note if n_failed else ""}


def test_another_model_or_service_is_another_key(tmp_path: Path) -> None:
    """Trap 19; how it is asked is none."""
    with serving(lambda *_: "Answer: 1") as one, serving(lambda *_: "Answer: 1") as other:
        predict(tmp_path, served.model(one))
        predict(tmp_path, served.model(one, max_concurrency=2, timeout=3.0, max_retries=1))
        assert len(one.asked) == 12
        predict(tmp_path, served.model(other))
        assert len(other.asked) == 12


def test_open_answers_and_verdicts_go_through_a_service(tmp_path: Path) -> None:
    rubric = judging.rubric("pairwise")

    def says(persona: str, user: str) -> Any:
        if persona.startswith("You are a judge"):
            return 500 if "Is work" in user else "\n".join(f"{d}: 1" for d in rubric.dimensions)
        return f"In my view, {user[-20:]}"

    with serving(says) as server:
        model = served.model(server)
        asking.generate(tmp_path, model, output="reference.parquet")
        texts = asking.generate(tmp_path, model)
        verdicts = asking.judge(tmp_path, model, "reference.parquet")
    assert (texts["outcome"] == "answer").all()
    failed = verdicts["outcome"] == "failed"
    work = texts["prompt"].str.contains("Is work").sum()
    assert failed.sum() == len(rubric.dimensions) * work > 0
    assert verdicts.loc[~failed, "score"].eq(0.5).all()
    assert verdicts.loc[failed, "score"].isna().all()
    assert verdicts.loc[~failed, "flipped"].all()


def test_the_key_is_in_no_log_line_and_no_artefact(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), serving(moody) as server:
        predict(tmp_path, served.model(server))
        config = served.model(server).model_dump_json()
    assert any("calls failed" in record.getMessage() for record in caplog.records)
    assert not any(KEY in record.getMessage() for record in caplog.records)
    assert KEY not in "".join(capfd.readouterr())
    assert KEY not in config
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not any(KEY.encode() in path.read_bytes() for path in files)
