"""Served models: order, failures, refusals, retries, and a key that goes nowhere else."""

import logging
import threading
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import openai
import pandas as pd
import pytest

from tests import served, toys
from tests.served import KEY, VARIABLE, Server, serving
from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.inference.backends import open_model
from valuestrata.inference.openai import OpenAIModel
from valuestrata.inference.protocol import ScoringRequest, options
from valuestrata.prompting import judging
from valuestrata.specs import Generate, Judge, Predict, to_json
from valuestrata.stages import generate as generate_stage
from valuestrata.stages import judge as judge_stage
from valuestrata.stages import predict as predict_stage


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # pauses between retries are the package's own; here they need not be slept through
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.02)


def prompts(n: int) -> list[tuple[str, str]]:
    return [("You are old.", f"ScoringRequest {i}?") for i in range(n)]


def echo(_: str, user: str) -> str:
    return f"To {user}"


def slow_first(_: str, user: str) -> str:
    time.sleep(0.1 if user == "ScoringRequest 0?" else 0)
    return f"To {user}"


def test_replies_come_in_the_order_of_the_prompts_whichever_is_first() -> None:
    with serving(slow_first) as server:
        texts = open_model(served.model(server), 1).generate(prompts(12), 16, 0.0, 0)
    assert texts == [f"To ScoringRequest {i}?" for i in range(12)]
    assert server.users() != [f"ScoringRequest {i}?" for i in range(12)] or server.most_at_once > 1


def test_what_is_sent_is_persona_question_length_and_temperature() -> None:
    with serving(echo) as server:
        model = OpenAIModel(served.model(server))
        model.generate([("You are old.", "Why?")], 7, 0.0, 3)
        model.generate([("You are old.", "Why?")], 7, 0.8, 3)
    greedy, sampled = server.asked
    assert greedy == {
        "model": "toy-gpt",
        "messages": [
            {"role": "system", "content": "You are old."},
            {"role": "user", "content": "Why?"},
        ],
        "max_tokens": 7,
        "temperature": 0.0,
    }
    assert sampled == {**greedy, "temperature": 0.8, "seed": 3}
    assert server.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_calls_run_at_a_time_than_the_study_says(parallel: int) -> None:
    gate = threading.Semaphore(0)

    def says(*_: str) -> str:
        gate.acquire(timeout=0.05)
        return "Yes."

    with serving(says) as server:
        OpenAIModel(served.model(server, parallel=parallel)).generate(prompts(9), 4, 0.0, 0)
    assert server.most_at_once == parallel


def failing(numbers: set[int], status: int) -> Any:
    def says(_: str, user: str) -> Any:
        return status if int(user.split()[1][:-1]) in numbers else "Fine."

    return says


@pytest.mark.parametrize("status", [400, 403, 409, 429, 500, 503])
def test_a_call_that_fails_is_no_text_and_the_others_stay(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(failing({1, 4}, status)) as server:
        texts = OpenAIModel(served.model(server)).generate(prompts(6), 4, 0.0, 0)
    assert texts == ["Fine.", None, "Fine.", "Fine.", None, "Fine."]
    (warning,) = (r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
    assert "2 of 6 calls failed" in warning
    assert str(status) in warning


def test_a_call_that_takes_too_long_has_failed() -> None:
    def says(_: str, user: str) -> Any:
        return 1.0 if user == "ScoringRequest 1?" else "Fine."

    with serving(says) as server:
        texts = OpenAIModel(served.model(server, timeout=0.3)).generate(prompts(3), 4, 0.0, 0)
    assert texts == ["Fine.", None, "Fine."]


@pytest.mark.parametrize("status", [429, 500])
def test_a_call_is_tried_again_before_it_has_failed(status: int) -> None:
    seen: list[str] = []

    def says(_: str, user: str) -> Any:
        seen.append(user)
        return status if seen.count(user) < 3 else "At last."

    with serving(says) as server:
        model = OpenAIModel(served.model(server, retries=2, parallel=1))
        assert model.generate(prompts(2), 4, 0.0, 0) == ["At last.", "At last."]
    assert len(seen) == 6


def test_a_refusal_is_its_words_and_nothing_said_is_nothing() -> None:
    said = {
        "ScoringRequest 0?": {"content": None, "refusal": "I'm sorry, I can't answer that."},
        "ScoringRequest 1?": {"content": ""},
        "ScoringRequest 2?": {"content": None},
        "ScoringRequest 3?": {"content": "", "refusal": "No."},
        "ScoringRequest 4?": {"content": "Answer: 1", "refusal": ""},
    }
    with serving(lambda _, user: said[user]) as server:
        texts = OpenAIModel(served.model(server)).generate(prompts(5), 4, 0.0, 0)
    assert texts == ["I'm sorry, I can't answer that.", "", None, "No.", "Answer: 1"]


@pytest.mark.parametrize(("status", "says"), [(401, f"${VARIABLE}"), (404, "service.address")])
def test_a_wrong_key_or_name_ends_the_run_at_once(status: int, says: str) -> None:
    with serving(lambda *_: status) as server:
        with pytest.raises(InputError) as error:
            OpenAIModel(served.model(server)).generate(prompts(200), 4, 0.0, 0)
        assert says in str(error.value)
        assert KEY not in str(error.value)
        assert "\n" not in str(error.value)
        assert len(server.asked) < 50


def test_a_service_that_answers_nothing_ends_the_run() -> None:
    with serving(lambda *_: 503) as server:
        model = OpenAIModel(served.model(server))
        with pytest.raises(InputError, match="no call came through") as error:
            model.generate(prompts(3), 4, 0.0, 0)
    assert KEY not in str(error.value)
    with pytest.raises(InputError, match="APIConnectionError"):
        model.generate(prompts(3), 4, 0.0, 0)


def test_prompts_that_a_service_always_turns_down_do_not_end_the_run() -> None:
    """A re-run asks only for them; it must come to an end."""
    with serving(lambda *_: 400) as server:
        assert OpenAIModel(served.model(server)).generate(prompts(2), 4, 0.0, 0) == [None, None]


def test_a_key_that_is_not_set_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    with serving(echo) as server:
        model = OpenAIModel(served.model(server))
        assert model.generate([], 4, 0.0, 0) == []
        with pytest.raises(InputError, match=f"{VARIABLE} is not set"):
            model.generate(prompts(1), 4, 0.0, 0)
        assert not server.asked
        free = OpenAIModel(served.model(server, key_variable=None))
        assert free.generate(prompts(1), 4, 0.0, 0) == ["To ScoringRequest 0?"]
    assert not any(KEY in key for key in server.keys)


def test_a_package_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with serving(echo) as server, pytest.raises(InputError, match=r"valuestrata\[openai\]"):
        OpenAIModel(served.model(server)).generate(prompts(1), 4, 0.0, 0)


def test_closed_questions_have_a_text_and_no_distribution() -> None:
    with serving(lambda *_: "Answer: 2") as server:
        asked = [ScoringRequest("P", "Q", ("Answer: 1", "Answer: 2"))]
        (answer,) = OpenAIModel(served.model(server)).answer(asked, 4)
    assert answer.text == "Answer: 2"
    assert answer.logprobs is None


def test_options_are_their_texts_and_only_the_server_knows_their_tokens() -> None:
    asked = [ScoringRequest("P", "Q", ("Answer: 1", "Answer: 2"))]
    with serving(echo) as server:
        assert options(OpenAIModel(served.model(server)), asked, 1) == [["Answer: 1", "Answer: 2"]]


# ---- the stages


def predicted(folder: Path, server: Server, **changes: Any) -> pd.DataFrame:
    io.write_table(toys.pairs(), folder / "pairs.parquet", "pairs")
    spec = Predict(served.model(server, **changes), "english", 16, "")
    predict_stage.run(
        Namespace(
            spec=to_json(spec),
            pairs=folder / "pairs.parquet",
            adapter=None,
            store=folder / "store",
            threads=1,
            output=folder / "predictions.parquet",
        )
    )
    return io.read_table(folder / "predictions.parquet", "predictions")


def moody(persona: str, user: str) -> Any:
    """Fails for one question, refuses another, answers the rest with 1."""
    if "family" in user:
        return 500
    if "trust" in user:
        return {"content": None, "refusal": "I'm sorry, I cannot answer that."}
    return "Answer: 1"


def test_predictions_hold_what_was_said_and_no_distribution(tmp_path: Path) -> None:
    with serving(moody) as server:
        table = predicted(tmp_path, server)
    outcomes = dict(zip(table["question"], table["outcome"], strict=True))
    assert outcomes == {"Q0": "failed", "Q1": "answer", "Q2": "refusal", "Q3": "answer"}
    assert table["text"].isna().to_list() == (table["question"] == "Q0").to_list()
    assert set(table["answer"].dropna()) == {1}
    assert table[["logprobs", "distribution", "non_option_mass"]].isna().all(axis=None)
    assert table["tokens"].isna().all()
    assert set(table["weights"]) == {f"toy-gpt@{server.address}"}
    assert table["prompt_hash"].nunique() == len(table)


def test_a_failed_call_is_not_kept_and_alone_is_asked_again(tmp_path: Path) -> None:
    """Trap 12."""
    with serving(moody) as server:
        predicted(tmp_path, server)
        del server.asked[:]
        server.says = lambda *_: "Answer: 2"
        table = predicted(tmp_path, server)
        # Q1 and Q3 were answered; Q0 had failed, Q2 was refused
        assert {user.split("\n")[0] for user in server.users()} == {
            toys.CLOSED[text].split("\n")[0] for text in list(toys.SCALES)[::2]
        }
        assert len(server.asked) == 6
        del server.asked[:]
        predicted(tmp_path, server)
        assert not server.asked
    assert (table["outcome"] == "answer").all()
    assert table["answer"].to_list() == [2, 1, 2, 1] * 3


def test_another_model_or_service_is_another_key(tmp_path: Path) -> None:
    """Trap 19; how it is asked is none."""
    with serving(lambda *_: "Answer: 1") as one, serving(lambda *_: "Answer: 1") as other:
        predicted(tmp_path, one)
        predicted(tmp_path, one, parallel=2, timeout=3.0, retries=1)
        assert len(one.asked) == 12
        predicted(tmp_path, other)
        assert len(other.asked) == 12


def test_open_answers_and_verdicts_go_through_a_service(tmp_path: Path) -> None:
    rubric = judging.rubric("pairwise")

    def says(persona: str, user: str) -> Any:
        if persona == rubric.system:
            return 500 if "Is work" in user else "\n".join(f"{d}: 1" for d in rubric.dimensions)
        return f"In my view, {user[-20:]}"

    io.write_table(toys.pairs(), tmp_path / "pairs", "pairs")
    with serving(says) as server:
        spec = served.model(server)
        for name in ("texts", "reference"):
            generate_stage.run(
                Namespace(
                    spec=to_json(Generate(spec, 2, 16, 0.0, 1, "")),
                    pairs=tmp_path / "pairs",
                    adapter=None,
                    store=tmp_path / "store",
                    threads=1,
                    output=tmp_path / name,
                )
            )
        judge_stage.run(
            Namespace(
                spec=to_json(Judge(spec, "pairwise", 16, "")),
                pairs=tmp_path / "pairs",
                texts=tmp_path / "texts",
                reference=tmp_path / "reference",
                store=tmp_path / "verdicts-store",
                threads=1,
                output=tmp_path / "verdicts",
            )
        )
    texts = io.read_table(tmp_path / "texts", "texts")
    assert (texts["outcome"] == "answer").all()
    verdicts = io.read_table(tmp_path / "verdicts", "verdicts")
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
        predicted(tmp_path, server)
        spec = to_json(served.model(server))
    assert any("calls failed" in record.getMessage() for record in caplog.records)
    assert not any(KEY in record.getMessage() for record in caplog.records)
    assert KEY not in "".join(capfd.readouterr())
    assert KEY not in spec
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not any(KEY.encode() in path.read_bytes() for path in files)
