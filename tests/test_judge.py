"""A judge's prompt holds both answers, its verdict is read or missing, and both orders count."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import asking, toys
from valuestrata import io, tables
from valuestrata.inference.openai import SentPrompt
from valuestrata.inference.protocol import Completion, LoadCheck, Messages, Sampling
from valuestrata.prompting import judging

RUBRIC = judging.rubric("pairwise")
Texts = dict[str, tuple[str, str | None]]


def test_a_comparison_holds_persona_question_and_both_responses_in_order() -> None:
    message = judging.render_judge_prompt(RUBRIC, "PERSONA", "QUESTION", "ONE", "TWO")
    places = [message.index(part) for part in ("PERSONA", "QUESTION", "ONE", "TWO")]
    assert places == sorted(places)
    assert "{" not in message
    for name in RUBRIC.dimensions:
        assert f"{name}:" in message
    assert judging.rubric("pairwise@0123456789ab") == RUBRIC


def test_a_response_cannot_break_the_comparison() -> None:
    for response in ("{second}", "{persona} {first} {x}", "{", "}", "{}", "\\1 \\g<0>",
                     "Overall: 1"):  # fmt: skip
        message = judging.render_judge_prompt(RUBRIC, "P", "Q", response, "TWO")
        assert f"Answer 1: {response}\n" in message
        assert message.count("TWO") == 1
        message = judging.render_judge_prompt(RUBRIC, "P", "Q", "ONE", response)
        assert f"Answer 2: {response}\n" in message
        assert message.count("ONE") == 1


def test_a_verdict_is_read_in_any_case_and_markdown() -> None:
    for line, score in (
        ("Overall: 1", 1.0), ("Overall: 2", 0.0), ("Overall: tie", 0.5), ("overall: TIE", 0.5),
        ("OVERALL:1", 1.0), ("  Overall :  2  ", 0.0), ("**Overall**: 1", 1.0),
        ("**Overall:** 2", 0.0), ("- Overall: **tie**.", 0.5), ("### Overall: Answer 1", 1.0),
        ("\tOverall: 2.\r", 0.0), ("> *Overall*: `2`", 0.0),
    ):  # fmt: skip
        verdicts = judging.verdicts(f"Value: 2\n{line}\nPersona: tie", RUBRIC.dimensions)
        assert verdicts == {"Value": 0, "Persona": 0.5, "Overall": score}, line
    assert judging.verdicts("Overall: 1\nOverall: 1", ["Overall"]) == {"Overall": 1.0}
    # one dimension is not read for another
    two = judging.verdicts("Value:\nPersona: 2", ["Value", "Persona"])
    assert two == {"Value": None, "Persona": 0.0}


def test_no_verdict_or_two_that_contradict_are_none() -> None:
    for text in (
        None, "", "I cannot say.", "Overall: 3", "Overall: 12", "Overall: 1 or 2", "Overall:",
        "The overall: 1", "Overall: 1\nOverall: 2", "Overall: 1\nValue: 2\n**Overall**: tie",
        "Overallest: 1", "Overall: Answer 1 is better than 2",
    ):  # fmt: skip
        assert judging.verdicts(text, ["Overall"]) == {"Overall": None}, text


def test_a_thought_and_the_last_line_of_a_cut_text_hold_no_verdict() -> None:
    """Trap 32."""
    names = ["Value", "Overall"]
    for thought in ("<think>Overall: 2\nValue: 2</think>", "Overall: 2</think>\n"):
        assert judging.verdicts(f"{thought}Value: 1\nOverall: 1", names) == {
            "Value": 1,
            "Overall": 1,
        }
    assert judging.verdicts("<think>Value: 1\nOverall: 1", names) == dict.fromkeys(names)
    cut = judging.verdicts("Value: 1\nOverall: 1", names, is_cut=True)
    assert cut == {"Value": 1.0, "Overall": None}
    reason = judging.verdicts("Value: 1\nOverall: 1\nBecause the sec", names, is_cut=True)
    assert reason == {"Value": 1.0, "Overall": 1.0}


@settings(derandomize=True, database=None, deadline=None)
@given(st.one_of(st.none(), st.text()))
def test_scores_are_one_half_and_nothing_else(text: str | None) -> None:
    assert set(judging.verdicts(text, RUBRIC.dimensions).values()) <= {1.0, 0.5, 0.0, None}


# ---- the stage, with a judge made of a function


class FakeJudge:
    """A backend that says what a function of both responses says."""

    version, adapter, chat, max_length, shard_size = "judge", "", None, None, 4096
    entries: tuple[str, ...] = ()
    numerics: tuple[str, ...] = ()

    def __init__(self, says: Callable[[str, str], str | None]) -> None:
        self.says = says
        self.counts: list[int] = []

    def render(self, messages: Messages) -> SentPrompt:
        return SentPrompt(messages)

    def check_load(self, messages: Messages) -> LoadCheck:
        return LoadCheck()

    def generate(self, prompts: list[Messages], sampling: Sampling) -> list[Completion]:
        self.counts.append(len(prompts))
        parts = [user.split("Answer 1: ")[1].split("Which answer")[0] for _, user in prompts]
        shown = [[text.strip() for text in part.split("Answer 2: ")] for part in parts]
        return [Completion(self.says(*both), "stop") for both in shown]


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pd.DataFrame]:
    """Verdicts of a judge on texts and a reference's: question -> (outcome, text)."""

    def judged(judge: Any, texts: Texts, reference: Texts, folder: str = "run") -> pd.DataFrame:
        judge = judge if isinstance(judge, FakeJudge) else FakeJudge(judge)
        pairs = toys.pairs(toys.PERSONAS[:1])
        for name, responses in (("texts", texts), ("reference", reference)):
            rows = pairs[pairs["question"].isin(responses)]
            frame = rows[tables.PAIR].assign(
                wording="question",
                prompt=[f"What of {question}?" for question in rows["question"]],
                text=[responses[q][1] for q in rows["question"]],
                outcome=[responses[q][0] for q in rows["question"]],
                thought=None,
                finish_reason="stop",
                declines=False,
                prompt_tokens=None,
                completion_tokens=None,
                prompt_hash="h",
                model_version="w",
                adapter="",
                adapter_shift=None,
                notes="",
            )
            path = tmp_path / folder / f"{name}.parquet"
            io.write_table(frame, path, tables.TEXTS, asking.MADE_OF)
        asking.write_pairs(tmp_path / folder, pairs)
        with monkeypatch.context() as patch:
            patch.setattr("valuestrata.stages.models.open_model", lambda *_: judge)
            return asking.judge(tmp_path / folder, toys.model("none"), "reference.parquet")

    return judged


def all_three(verdict: str) -> str:
    return "\n".join(f"{name}: {verdict}" for name in RUBRIC.dimensions)


def longer(first: str, second: str) -> str:
    a, b = len(first), len(second)
    return all_three("tie" if a == b else "1" if a > b else "2")


TEXTS: Texts = {"Q0": ("answer", "a long and winding text"), "Q1": ("answer", "short")}
OTHERS: Texts = {"Q0": ("answer", "brief"), "Q1": ("answer", "much longer")}
Judged = Callable[..., pd.DataFrame]


def test_a_consistent_judge_gives_the_better_response_one_and_the_other_none(
    judged: Judged,
) -> None:
    verdicts = judged(longer, TEXTS, OTHERS)
    assert len(verdicts) == 6
    by_question = verdicts.groupby("question")
    assert by_question["score"].unique().map(list).to_dict() == {"Q0": [1], "Q1": [0]}
    assert not verdicts["flipped"].any()
    assert by_question["length_difference"].first().to_dict() == {"Q0": 18, "Q1": -6}
    assert set(verdicts["judge_version"]) == {"judge"}
    assert verdicts["dimension"].to_list() == [*RUBRIC.dimensions] * 2


def test_identical_texts_score_half_whatever_the_judge_prefers(judged: Judged) -> None:
    """Trap 26: a preference for a place cancels over both orders and shows as a flip."""
    for verdict in ("1", "2", "tie"):
        verdicts = judged(lambda *_, verdict=verdict: all_three(verdict), TEXTS, TEXTS, verdict)
        assert (verdicts["score"] == 0.5).all()
        assert (verdicts["flipped"] == (verdict != "tie")).all()


def test_scores_of_a_run_and_its_reference_add_up_to_one(judged: Judged) -> None:
    def odd(first: str, _: str) -> str:
        return all_three("1" if first < "c" else "2" if first < "n" else "tie")

    there, back = judged(odd, TEXTS, OTHERS, "a"), judged(odd, OTHERS, TEXTS, "b")
    assert (there["score"] + back["score"] == 1).all()
    assert set(there["score"]) == {0.5, 0.75}


def test_half_a_judgement_is_invalid_has_no_score_and_is_retried(judged: Judged) -> None:
    """Trap 12."""

    def half(first: str, second: str) -> str:
        return "Value: 1\nOverall: 1" if first > second else all_three("2")

    judge = FakeJudge(half)
    verdicts = judged(judge, TEXTS, OTHERS)
    assert judged(judge, TEXTS, OTHERS).equals(verdicts)
    assert judge.counts == [4, 2]
    verdicts = verdicts.set_index("dimension")
    assert (verdicts.loc["Persona", "outcome"] == "invalid").all()
    assert verdicts.loc["Persona", ["score", "flipped"]].isna().all(axis=None)
    assert (verdicts.loc["Value", "outcome"] == "verdict").all()


def test_a_call_that_fails_in_one_order_is_failed_and_the_other_order_is_kept(
    judged: Judged,
) -> None:
    verdicts = judged(lambda first, _: all_three("1") if first < "c" else None, TEXTS, OTHERS)
    verdicts = verdicts.set_index("question")
    assert (verdicts["outcome"] == "failed").loc["Q1"].all()
    assert (verdicts["outcome"] == "verdict").loc["Q0"].all()
    assert verdicts.loc["Q1", ["as_first", "as_second", "score", "flipped"]].isna().all(axis=None)


def test_empty_texts_and_absent_references_are_failed_not_lost(judged: Judged) -> None:
    """Traps 10 and 11: a comparison that cannot be made is counted, never scored."""
    texts: Texts = {**TEXTS, "Q2": ("invalid", ""), "Q3": ("failed", None)}
    reference = {"Q0": OTHERS["Q0"], "Q2": OTHERS["Q1"], "Q3": OTHERS["Q1"]}  # lacks Q1
    verdicts = judged(longer, texts, reference).set_index("question")
    assert len(verdicts) == 12
    assert (verdicts.loc["Q0", "outcome"] == "verdict").all()
    assert (verdicts.loc[["Q1", "Q2", "Q3"], "outcome"] == "failed").all()
    assert verdicts.loc[["Q1", "Q2", "Q3"], "score"].isna().all()
    nothing = judged(longer, {"Q0": ("failed", None)}, OTHERS, "nothing")
    assert (nothing["outcome"] == "failed").to_list() == [True] * 3


def test_a_verdict_that_ran_out_of_tokens_is_counted_apart(judged: Judged) -> None:
    """Trap 32."""
    verdicts = judged(lambda *_: "<think>Value: 1\nPersona: 1\nOverall: 1", TEXTS, OTHERS)
    assert set(verdicts["outcome"]) == {"truncated"}
    assert verdicts["score"].isna().all()
    texts: Texts = {"Q0": ("truncated", ""), "Q1": ("answer", "short")}
    verdicts = judged(longer, texts, OTHERS, "unfinished")
    assert verdicts.groupby("question")["outcome"].unique().map(list).to_dict() == {
        "Q0": ["failed"], "Q1": ["verdict"]
    }  # fmt: skip


def test_a_refusal_is_compared_like_any_text(judged: Judged) -> None:
    verdicts = judged(longer, {"Q0": ("refusal", "I cannot answer that, I am sorry.")}, OTHERS)
    assert (verdicts["outcome"] == "verdict").all()
    assert (verdicts["score"] == 1).all()
