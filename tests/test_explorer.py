"""What the page's explorer holds: no small pair, every reply once, as much as there is room for."""

import base64
import gzip
import json
from typing import Any

import pandas as pd
import pytest

from tests.test_report import made
from valuestrata.report import explorer as module
from valuestrata.report.explorer import Explorer, explorer, without_small
from valuestrata.report.packed import as_script, pack
from valuestrata.report.settings import ReportSettings

RUN = ("model-0", "base", "ood")
QUESTIONS = pd.DataFrame({"question": ["Q1", "Q2"], "topic": ["<family>", ""]})


def pairs_table(**others: Any) -> pd.DataFrame:
    rows = [
        {
            "stratum": "sex", "subgroup": f"sex={sex}", "question": question, "block": "b",
            "measurement_level": "ordinal" if question == "Q1" else "nominal", "scale_min": 1,
            "scale_max": 4, "mode": 2, "tied": question == "Q2", "codes": [1, 2, 4],
            "labels": ["yes", "", "no </script>"], "distribution": [0.125, 0.625, 0.25],
            "n": 40, "respondents": 50, "persona": f"You are {sex}.",
            "closed_prompt": f"{question}?",
        }
        for sex in ("male", "female")
        for question in ("Q1", "Q2")
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**others)


def predictions(texts: list[Any], answers: list[Any], outcomes: list[str]) -> pd.DataFrame:
    frame = pairs_table()[["stratum", "subgroup", "question", "codes"]]
    shares = [[0.5, 0.5, 0.0], None, [0.0, 1.0, 0.0], [0.1, 0.2, 0.7]]
    more = {"text": texts, "outcome": outcomes, "distribution": shares}
    return frame.assign(answer=pd.array(answers, dtype="Int64"), **more)


def explored(pairs: pd.DataFrame, **changes: Any) -> Explorer:
    settings = replace_settings(**changes)
    run = predictions(
        ["Answer: 4", "No.", "Answer: 2", "Answer: 4"],
        [4, None, 2, 4],
        ["answer", "refusal", "answer", "answer"],
    )
    return explorer(settings, QUESTIONS, {("ood", ""): pairs}, {RUN: run.iloc[::-1]})


def replace_settings(**changes: Any) -> ReportSettings:
    settings = made().settings
    assert isinstance(settings, ReportSettings)
    return settings.replace(**changes)


def test_parts_hold_every_pair_in_one_order_and_every_text_once() -> None:
    parts = explored(pairs_table()).parts
    survey, prompts, run = parts["survey-ood"], parts["prompts-ood-"], parts["run-0"]
    assert [s["name"] for s in survey["subgroups"]] == ["male", "female"]
    assert survey["questions"][0] == {
        "id": "Q1", "topic": "<family>", "block": "b", "ordinal": True, "low": 1, "high": 4,
    }  # fmt: skip
    assert survey["shares"] == [[12, 62, 25]] * 4
    assert survey["options"] == [{"codes": (1, 2, 4), "labels": ("yes", "", "no </script>")}]
    assert survey["tied"] == [0, 1, 0, 1]
    assert prompts["first_texts"] == ["You are male.", "You are female."]
    assert [prompts["second_texts"][i] for i in prompts["second"]] == ["Q1?", "Q2?", "Q1?", "Q2?"]
    assert run["answer"] == [4, None, 2, 4]
    assert run["shares"][1:3] == [None, [0, 100, 0]]
    assert [run["replies"][i] for i in run["reply"]] == [
        "Answer: 4", "No.", "Answer: 2", "Answer: 4",
    ]  # fmt: skip
    assert len(run["replies"]) == 3


def test_pairs_that_are_too_small_are_in_no_part() -> None:
    for changes in ({"n": [40, 29, 40, 40]}, {"respondents": [50, 29, 50, 50]}):
        result = explored(pairs_table(**changes))
        assert result.n_hidden == 1
        for part in result.parts.values():
            assert all(len(v) in (1, 2, 3) for k, v in part.items() if isinstance(v, list) and k)
        assert result.parts["run-0"]["answer"] == [4, 2, 4]
    assert explored(pairs_table(), min_pair_n=41).n_hidden == 4


def test_an_exported_page_says_nothing_of_smaller_pairs() -> None:
    parts = explored(pairs_table(n=[40, 35, 40, 40])).parts
    page = "".join(as_script(name, pack(part)) for name, part in parts.items())
    for min_n, hidden in ((20, 0), (36, 1), (41, 4), (51, 4)):
        text = without_small(page, min_n)
        start = text.index('id="data-survey-ood">') + len('id="data-survey-ood">')
        packed = text[start : text.index("<", start)]
        survey = json.loads(gzip.decompress(base64.b64decode(packed)))
        for name in ("mode", "tied", "n", "shares"):
            assert survey[name].count(None) == hidden
        assert text.count("<script") == page.count("<script")


def test_where_there_is_no_room_the_most_telling_replies_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_REPLIES", len("No.") + len("Answer: 4"))
    result = explored(pairs_table())
    run = result.parts["run-0"]
    assert run["replies"] == ["No.", "Answer: 4"]  # no answer, then the largest error
    assert run["reply"] == [1, 0, -2, 1]
    assert result.n_left_out == 1
    monkeypatch.setattr(module, "MAX_REPLY", 2)
    assert explored(pairs_table()).parts["run-0"]["replies"][0] == "No …"


def test_probabilities_of_other_codes_than_the_pair_s_are_not_shown() -> None:
    pairs = pairs_table()
    run = predictions([None] * 4, [2] * 4, ["answer"] * 4)
    run["codes"] = [[1, 2, 4], [1, 2, 3], [1, 2], [1, 2, 4]]
    part = explorer(replace_settings(), QUESTIONS, {("ood", ""): pairs}, {RUN: run}).parts["run-0"]
    assert [share is None for share in part["shares"]] == [False, True, True, False]
    assert part["reply"] == [-1] * 4


def test_packing_is_the_same_twice_and_safe_in_a_page() -> None:
    content = {"a": ["</script>", "Ω", None, 1.5]}
    assert pack(content) == pack(content)
    element = as_script("x", pack(content))
    assert element.count("<") == 2
