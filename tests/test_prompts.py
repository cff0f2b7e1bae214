"""Prompts, answers and judgements: what is asked, and what is made of what comes back."""

import doctest
import json
import re
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from string import Formatter
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import toys
from tests.graph import ROOT
from valuestrata import io
from valuestrata.config import spec_pairs
from valuestrata.prompting import answers, judging, prompts
from valuestrata.prompting.answers import free_outcome, parse
from valuestrata.specs import Judge, Prompt, to_json
from valuestrata.stages import judge as judge_stage
from valuestrata.survey import codebook
from valuestrata.validate import load, read_yaml

STUDIES = Path(__file__).parent.parent / "studies"
AXES = {"sex": "{group}", "age": "aged {group}"}, {"sex": "sex", "age": "age"}
SAID = Prompt("english", "Utopia", *AXES, "second", "persona", "asked")
LANGUAGES = sorted(p.stem for p in (ROOT / "src/valuestrata/prompting/templates").iterdir())
FOUR, TEN = [1, 2, 3, 4], list(range(1, 11))
RUBRIC = judging.rubric("pairwise")
BOOKS = {path.stem: codebook.load(path) for path in sorted((STUDIES / "codebooks").glob("*.yaml"))}
ASKED = [
    pytest.param(q, id=f"{book}-{name}") for book, qs in BOOKS.items() for name, q in qs.items()
]


@pytest.mark.parametrize("module", [prompts, answers, judging], ids=lambda m: m.__name__)
def test_examples_in_docstrings_hold(module: object) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


# ---- prompts


def test_the_persona_names_country_and_every_trait_in_order() -> None:
    said = prompts.persona(SAID, {"sex": "female", "age": "25-34"})
    assert "living in Utopia" in said
    assert "female, aged 25-34" in said


def test_a_persona_of_one_axis_says_nothing_of_the_other() -> None:
    said = prompts.persona(SAID, {"age": "65 and over"})
    assert "aged 65 and over" in said
    assert "male" not in said


def test_wordings_with_braces_are_left_alone() -> None:
    said = prompts.closed(SAID, "Is {this} so?", [1, 2], ["{yes}", "no"], (1, 2))
    assert "Is {this} so?" in said
    assert "1 = {yes}" in said
    assert "{this}" in prompts.open_ended(SAID, "Is {this} so?")


@pytest.mark.parametrize("question", ASKED)
def test_every_question_is_rendered_with_both_ends_labelled(question: codebook.Question) -> None:
    codes = sorted({*range(question.scale_min, question.scale_max + 1), *question.extra})
    named = {**question.labels, **question.extra}
    labels = [named.get(code, "") for code in codes]
    said = prompts.closed(
        SAID, question.text, codes, labels, (question.scale_min, question.scale_max)
    )
    assert said.startswith(question.text)
    for end in (question.scale_min, question.scale_max):
        label = question.labels[end]
        assert label.strip()
        assert f"\n{end} = {label}\n" in said or f"{end} ({label})" in said
    assert "()" not in said
    assert "{" not in said
    # codes off the scale are never offered
    assert not any(label in said.split("\n", 1)[1] for label in question.extra.values())
    assert question.text in prompts.open_ended(SAID, question.text)


@pytest.mark.parametrize("question", ASKED)
def test_every_reply_that_is_asked_for_is_parsed_as_its_code(question: codebook.Question) -> None:
    codes = [*range(question.scale_min, question.scale_max + 1)]
    for code in codes:
        for language in LANGUAGES:
            assert parse(prompts.answer(language, code), codes) == ("answer", code)


@pytest.mark.parametrize("question", ASKED)
def test_no_prompt_is_parsed_as_an_answer(question: codebook.Question) -> None:
    """Trap 9: a parser that matches its own prompt."""
    codes = [*range(question.scale_min, question.scale_max + 1)]
    labels = [question.labels.get(code, "") for code in codes]
    for language in LANGUAGES:
        prompt = replace(SAID, template=language)
        said = prompts.closed(prompt, question.text, codes, labels, (codes[0], codes[-1]))
        assert parse(said, codes)[0] != "answer"


# ---- wordings


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_template_has_every_sentence_with_its_fields(language: str) -> None:
    english, own = prompts.template("english"), prompts.template(language)
    assert own.keys() == english.keys()
    assert own["persona"].keys() == english["persona"].keys()

    def fields(said: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(said)} - {None}

    for key in ("closed", "option", "scale", "reply", "answer", "open", "attribute"):
        assert fields(own[key]) == fields(english[key]), key
    for key, said in english["persona"].items():
        assert fields(own["persona"][key]) == fields(said), key


@pytest.mark.parametrize("form", ["second", "third", "list"])
@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "english"])
def test_a_persona_of_the_paper_s_study_is_wholly_in_the_language(language: str, form: str) -> None:
    study = load(read_yaml(ROOT / "config.yaml"))
    own = replace(spec_pairs(study, "ood").prompt, template=language, persona=form)
    english = replace(own, template="english")
    for name, axis in study.axes.items():
        for group in axis.names():
            said = prompts.persona(own, {name: group})
            assert group in prompts.persona(english, {name: group})
            if language == "malay":
                words = set(re.findall(r"[a-z]+", said))
                assert not words & {"aged", "and", "over", "female", "religion", "Chinese", "age"}
            else:
                assert not re.search("[A-Za-z]", said)


def test_a_word_without_translation_stays_as_it_is() -> None:
    prompt = replace(SAID, template="tamil")
    said = prompts.persona(prompt, {"sex": "non-binary", "age": "18-29"})
    assert "Utopia" in said
    assert "non-binary, aged 18-29" in said.replace("வயது", "aged")


def test_a_persona_as_a_list_names_country_and_axes() -> None:
    said = prompts.persona(replace(SAID, persona="list"), {"sex": "female", "age": "25-34"})
    lines = ["- country of residence: Utopia", "- sex: female", "- age: 25-34"]
    assert said.splitlines()[1:] == lines
    third = prompts.persona(replace(SAID, persona="third"), {"sex": "female"})
    assert "You" not in third
    assert "living in Utopia: female." in third


def test_the_order_of_messages_changes_nothing_that_is_said() -> None:
    asked = prompts.render_question(SAID, "Is it so?", [1, 2], ["yes", "no"], (1, 2))
    first, second = prompts.messages(SAID, "You are old.", asked)
    question_first = replace(SAID, order="question")
    turned = prompts.messages(question_first, "You are old.", asked)
    assert first == "You are old."
    assert second.startswith("Is it so?\n1 = yes\n2 = no\nReply")
    assert turned == (asked, "You are old.\n" + second.splitlines()[-1])


def test_codes_keep_their_labels_in_any_order_of_the_options() -> None:
    labels = [f"label {code}" for code in FOUR]
    texts = [f"Question {i}?" for i in range(30)]
    orders = {}
    for options in ("asked", "reversed", "shuffled"):
        prompt = replace(SAID, options=options)
        said = [prompts.render_question(prompt, text, FOUR, labels, (1, 4)) for text in texts]
        assert said == [
            prompts.render_question(prompt, text, FOUR, labels, (1, 4)) for text in texts
        ]
        for one in said:
            assert sorted(one.splitlines()[1:]) == [f"{c} = label {c}" for c in FOUR]
        orders[options] = [tuple(one.splitlines()[1:]) for one in said]
    assert orders["reversed"] == [order[::-1] for order in orders["asked"]]
    assert len(set(orders["shuffled"])) > 10


def test_a_scale_without_labels_is_shown_from_either_end() -> None:
    labels = ["never", *[""] * 8, "always"]
    texts = [f"Question {i}?" for i in range(20)]
    prompt = replace(SAID, options="shuffled")
    said = {prompts.render_question(prompt, t, TEN, labels, (1, 10)).splitlines()[1] for t in texts}
    assert said == {
        "Choose a number from 1 (never) to 10 (always).",
        "Choose a number from 10 (always) to 1 (never).",
    }


# ---- answers


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 3", "answer: 3", "ANSWER: 3", "Answer:3", "Answer = 3", "Answer: 3.",
        "answer is 3", "My answer is: 3", "The answer is **3**.", "**Answer: 3**", "**Answer:** 3",
        "Answer: (3)", "  Answer: 3\n", "3", " 3 ", "3.", "(3)", "**3**", "3 = agree",
        "3. rather important", "3) rather", "3: rather", "- 3",
        "Answer: 3\n\nI have 2 children and 1 dog.",
        "Answer: 3\nAnswer: 3", "Answer: 3 (rather important)",
        "Answer: <3>", "Answer:<3>", "**Answer: <3>**", "Answer: <3>\n\nI have 2 children.",
        "Answer: ＜3＞", "Answer: 〈3〉", "Answer：3", "Answer： 3", "Answer：<3>", "<3>",
    ],
)  # fmt: skip
def test_a_code_in_the_form_asked_for_or_alone_is_an_answer(text: str) -> None:
    assert parse(text, FOUR) == ("answer", 3)


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "\n", "Answer:", "Answer: <number>", "rather important",
        "I have 2 children and 3 cats.", "There are 3 of us.", "In 3 words, family comes first.",
        "1, 2, 3", "1 2", "2 or 3", "3.5", "Answer: 3.5", "Answer: 1\nAnswer: 2",
        "The question has 4 options to answer.", "My answer is not 3.",
    ],
)  # fmt: skip
def test_prose_and_several_numbers_are_no_answer(text: str) -> None:
    """Traps 9 and 10: neither a number out of prose nor a first option for nothing."""
    assert parse(text, FOUR) == ("invalid", None)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: <3 or 4>", "Answer: <3.5>", "Answer: <3", "Answer: <3 of us>", "Answer: <7>",
        "Answer: <3>\nAnswer: <4>", "Answer： 3 or 4", "Answer：<number>", "<3> or <4>",
    ],
)  # fmt: skip
def test_brackets_make_no_answer_of_what_is_none(text: str) -> None:
    """Trap 9."""
    assert parse(text, FOUR) == ("invalid", None)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 3 or 4", "Answer: 3-4", "Answer: 3/4", "Answer: 1 to 4", "Answer: <3> or <4>",
        "Answer: <3>-<4>", "Answer: <3>, <4>", "Answer：3/4", "答案：＜3＞或＜4＞",
    ],
)  # fmt: skip
def test_an_answer_that_names_two_codes_is_none(text: str) -> None:
    """Trap 9."""
    assert parse(text, FOUR) == ("invalid", None)


@pytest.mark.parametrize(
    "text",
    ["I can't answer 3 of these questions.", "I was asked to answer 2 questions, no thanks."],
)
def test_a_number_after_the_verb_answer_is_prose(text: str) -> None:
    """Trap 9: only 'answer is', 'answer:' and 'answer =' announce a code."""
    assert parse(text, FOUR)[1] is None


@pytest.mark.parametrize("text", ["Answer: 0", "Answer: 5", "Answer: 7", "9", "Answer: 11", "34"])
def test_a_number_that_is_no_option_is_invalid(text: str) -> None:
    assert parse(text, FOUR) == ("invalid", None)


def test_ten_is_not_read_as_one() -> None:
    """Trap 6."""
    assert parse("Answer: 10", TEN) == ("answer", 10)
    assert parse("10", TEN) == ("answer", 10)
    assert parse("Answer: 10", FOUR) == ("invalid", None)


@pytest.mark.parametrize("text", ["-1", "Answer: -1", " -1. ", "**-1**"])
def test_a_negative_code_is_not_read_without_its_sign(text: str) -> None:
    assert parse(text, FOUR) == ("invalid", None)
    assert parse(text, [-1, *FOUR]) == ("answer", -1)


@pytest.mark.parametrize(
    "text",
    [
        "答案：3", "答案: 3", "答案是3", "我的答案是：3。", "正确答案为 3", "**答案：3**",
        "答案：３", "3、比较重要", "3。", "答案：“3”", "Jawapan: 3", "JAWAPAN: 3",
        "Jawapan saya ialah 3.",
        "Jawapan = 3", "**Jawapan:** 3",
        "பதில்: 3", "பதில் : 3", "பதில்: 3.", "**பதில்: 3**", "என் பதில்: 3",
        "答案：<3>", "答案：＜3＞", "答案：〈3〉", "Jawapan: <3>", "Jawapan：3",
        "பதில்: <3>", "பதில்：3",
    ],
)  # fmt: skip
def test_an_answer_is_read_in_each_language(text: str) -> None:
    assert parse(text, FOUR) == ("answer", 3)


@pytest.mark.parametrize(
    "text",
    [
        "答案：<数字>", "我有2个孩子和3只猫。", "答案：2或3", "答案：1至4", "答案：3、4",
        "我的答案不是3。", "我3岁。",
        "Jawapan: <nombor>", "Saya ada 2 anak dan 3 kucing.", "Jawapan: 2 atau 3",
        "Jawapan: 1 hingga 4",
        "பதில்: <எண்>", "எனக்கு 2 பிள்ளைகள்.", "பதில்: 2 அல்லது 3", "பதில்: 1 முதல் 4",
        "答案：1\n答案：2", "Jawapan: 1\nJawapan: 2", "பதில்: 1\nபதில்: 2",
    ],
)  # fmt: skip
def test_prose_and_several_numbers_are_no_answer_in_any_language(text: str) -> None:
    assert parse(text, FOUR) == ("invalid", None)


REFUSALS = [
    "抱歉，我无法回答这个问题。",
    "对不起，我不能提供个人意见。",
    "作为一个人工智能，我没有宗教信仰。",
    "作为AI语言模型，我没有观点。",
    "我拒绝回答。",
    "Maaf, saya tidak dapat menjawab soalan ini.",
    "Sebagai model bahasa, saya tiada pendapat.",
    "Saya enggan memberikan pandangan.",
    "மன்னிக்கவும், இந்தக் கேள்விக்கு என்னால் பதிலளிக்க முடியாது.",
    "நான் ஒரு மொழி மாதிரி.",
    "கருத்து சொல்ல விரும்பவில்லை.",
    "I'm sorry, I cannot answer that.",
    "I’m sorry, but that is private.",
    "I am sorry, no.",
    "I can't answer this question.",
    "I can’t answer this question.",
    "I can not answer this question.",
    "I cannot share a view on religion.",
    "I won't choose.",
    "I won’t choose.",
    "I am unable to give an opinion.",
    "I'm not able to respond.",
    "As an AI, I have no views.",
    "As an AI language model, I have no religion.",
    "I must decline to answer.",
    "I prefer not to say.",
    "I’d prefer not to answer.",
    "It would not be appropriate to pick a number.",
    "I CANNOT ANSWER THAT.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_a_refusal_however_it_is_put(text: str) -> None:
    """Trap 10: curly apostrophes included."""
    assert parse(text, FOUR) == ("refusal", None)
    assert free_outcome(text) == "refusal"


def test_a_refusal_with_a_number_in_it_is_still_one() -> None:
    """Traps 9 and 10."""
    assert parse("I'm sorry, I cannot choose between 1 and 4.", FOUR) == ("refusal", None)


@pytest.mark.parametrize(
    "text",
    [
        "Family comes first for me.",
        "I cannot imagine life without my family.",
        "I can't forgive those who take bribes.",
        "I won't lie: money matters to me.",
        "I am not comfortable with strangers as neighbours.",
    ],
)
def test_a_view_that_says_cannot_or_will_not_is_no_refusal(text: str) -> None:
    """Trap 10, the other way round: a stand put strongly is an answer."""
    assert free_outcome(text) == "answer"


def test_nothing_said_is_invalid_and_no_text_is_failed() -> None:
    """Trap 10: each outcome is counted as what it is."""
    assert parse(None, FOUR) == ("failed", None)
    assert parse("", FOUR) == ("invalid", None)
    assert free_outcome(None) == "failed"
    assert free_outcome("") == "invalid"
    assert free_outcome(" \n") == "invalid"


PIECES = st.sampled_from(
    [*"0123456789-.:=()*/ \n'’", "Answer", "answer is", "Answer: ", "1", "10", "I can’t", "٣", "²"]
)


@settings(derandomize=True, database=None, deadline=None)
@given(
    st.one_of(st.none(), st.text(), st.lists(PIECES, max_size=12).map("".join)),
    st.sets(st.integers(-2, 12), max_size=11),
)
def test_only_codes_of_the_question_ever_come_out(text: str | None, codes: set[int]) -> None:
    outcome, code = parse(text, codes)
    assert outcome in ("answer", "refusal", "invalid", "failed")
    assert (outcome == "answer") == (code is not None)
    assert code is None or code in codes
    assert (outcome == "failed") == (text is None)


@pytest.mark.parametrize("text", ["9" * 5000, "Answer: " + "9" * 5000])
def test_a_number_longer_than_python_reads_is_invalid(text: str) -> None:
    assert parse(text, FOUR) == ("invalid", None)


@pytest.mark.parametrize("text", ["1." + " " * 1000 + "2", "Answer" + " " * 1000, "1" + "\n" * 999])
def test_degenerate_texts_are_parsed_at_once(text: str) -> None:
    began = time.monotonic()
    parse(text, FOUR)
    assert time.monotonic() - began < 0.5


# ---- judgements


def test_a_comparison_holds_persona_question_and_both_responses_in_order() -> None:
    said = judging.render_judge_prompt(RUBRIC, "PERSONA", "QUESTION", "ONE", "TWO")
    assert said.index("PERSONA") < said.index("QUESTION") < said.index("ONE") < said.index("TWO")
    assert "{" not in said
    for name in RUBRIC.dimensions:
        assert f"{name}:" in said


@pytest.mark.parametrize(
    "response", ["{second}", "{persona} {first} {x}", "{", "}", "{}", "\\1 \\g<0>", "Overall: 1"]
)
def test_a_response_cannot_break_the_comparison(response: str) -> None:
    said = judging.render_judge_prompt(RUBRIC, "P", "Q", response, "TWO")
    assert f"Answer 1: {response}\n" in said
    assert said.count("TWO") == 1
    said = judging.render_judge_prompt(RUBRIC, "P", "Q", "ONE", response)
    assert f"Answer 2: {response}\n" in said
    assert said.count("ONE") == 1


@pytest.mark.parametrize(
    ("line", "score"),
    [
        ("Overall: 1", 1.0), ("Overall: 2", 0.0), ("Overall: tie", 0.5), ("overall: TIE", 0.5),
        ("OVERALL:1", 1.0), ("  Overall :  2  ", 0.0), ("**Overall**: 1", 1.0),
        ("**Overall:** 2", 0.0), ("- Overall: **tie**.", 0.5), ("### Overall: Answer 1", 1.0),
        ("\tOverall: 2.\r", 0.0), ("> *Overall*: `2`", 0.0),
    ],
)  # fmt: skip
def test_a_verdict_is_read_in_any_case_and_markdown(line: str, score: float) -> None:
    text = f"Value: 2\n{line}\nPersona: tie"
    assert judging.verdicts(text, RUBRIC.dimensions) == {
        "Value": 0,
        "Persona": 0.5,
        "Overall": score,
    }


@pytest.mark.parametrize(
    "text",
    [
        None, "", "I cannot say.", "Overall: 3", "Overall: 12", "Overall: 1 or 2", "Overall:",
        "The overall: 1", "Overall: 1\nOverall: 2", "Overall: 1\nValue: 2\n**Overall**: tie",
        "Overallest: 1", "Overall: Answer 1 is better than 2",
    ],
)  # fmt: skip
def test_no_verdict_or_two_that_contradict_are_none(text: str | None) -> None:
    assert judging.verdicts(text, ["Overall"]) == {"Overall": None}


def test_a_verdict_said_twice_alike_counts_once() -> None:
    assert judging.verdicts("Overall: 1\nOverall: 1", ["Overall"]) == {"Overall": 1.0}


def test_one_dimension_is_not_read_for_another() -> None:
    assert judging.verdicts("Value:\nPersona: 2", ["Value", "Persona"]) == {
        "Value": None,
        "Persona": 0.0,
    }


@settings(derandomize=True, database=None, deadline=None)
@given(st.one_of(st.none(), st.text()))
def test_scores_are_one_half_and_nothing_else(text: str | None) -> None:
    assert set(judging.verdicts(text, RUBRIC.dimensions).values()) <= {1.0, 0.5, 0.0, None}


@pytest.mark.parametrize("score", [1.0, 0.5, 0.0, None])
def test_swapping_twice_changes_nothing(score: float | None) -> None:
    assert judging.flip_score(judging.flip_score(score)) == score


# ---- the judge stage, with a judge made of a function


def judged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, says: object, texts: dict, reference: dict
) -> pd.DataFrame:
    """Verdicts of a judge that says(first, second); texts: question -> (outcome, text)."""
    from valuestrata.inference import backends

    table = toys.pairs(toys.PERSONAS[:1])
    for name, said in (("texts", texts), ("reference", reference)):
        rows = table[table["question"].isin(said)]
        frame = rows[["stratum", "subgroup", "question"]].assign(
            prompt=rows["open_prompt"],
            text=[said[q][1] for q in rows["question"]],
            outcome=[said[q][0] for q in rows["question"]],
            prompt_hash="h",
            weights="w",
            adapter="",
        )
        io.write_table(frame, folder / name, "texts")
    io.write_table(table, folder / "pairs", "pairs")

    class FakeModel:
        __module__ = "valuestrata.inference.transformers"  # whose code is part of the store's keys
        weights, adapter, settings, longest, shard = "judge", "", (), None, 4096

        def prompt(self, *said: str) -> SimpleNamespace:
            return SimpleNamespace(digest=json.dumps(said), tokens=None)

        def generate(self, asked: list[tuple[str, str]], *_: object) -> list[str]:
            parts = [user.split("Answer 1: ")[1].split("Which answer")[0] for _, user in asked]
            shown = [[t.strip() for t in part.split("Answer 2: ")] for part in parts]
            return [says(*both) for both in shown]  # type: ignore[operator]

    monkeypatch.setattr(backends, "open_model", lambda *_: FakeModel())
    spec = Judge(toys.model(folder), "pairwise", 16, "")
    judge_stage.run(
        Namespace(
            spec=to_json(spec), pairs=folder / "pairs", texts=folder / "texts",
            reference=folder / "reference", store=folder / "store", threads=1,
            output=folder / "verdicts",
        )
    )  # fmt: skip
    return io.read_table(folder / "verdicts", "verdicts")


def all_three(verdict: str) -> str:
    return "\n".join(f"{name}: {verdict}" for name in RUBRIC.dimensions)


def longer(first: str, second: str) -> str:
    a, b = len(first), len(second)
    return all_three("tie" if a == b else "1" if a > b else "2")


SPOKEN = {"Q0": ("answer", "a long and winding text"), "Q1": ("answer", "short")}
OTHERS = {"Q0": ("answer", "brief"), "Q1": ("answer", "much longer")}


def test_a_consistent_judge_gives_the_better_response_one_and_the_other_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(tmp_path, monkeypatch, longer, SPOKEN, OTHERS)
    assert len(found) == 6
    assert found.groupby("question")["score"].unique().map(list).to_dict() == {"Q0": [1], "Q1": [0]}
    assert not found["flipped"].any()
    assert found.groupby("question")["length_difference"].first().to_dict() == {"Q0": 18, "Q1": -6}


@pytest.mark.parametrize("verdict", ["1", "2", "tie"])
def test_identical_texts_score_half_whatever_the_judge_prefers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    """Trap 26: a preference for a place cancels over the two swaps and shows as a flip."""
    found = judged(tmp_path, monkeypatch, lambda *_: all_three(verdict), SPOKEN, SPOKEN)
    assert (found["score"] == 0.5).all()
    assert (found["flipped"] == (verdict != "tie")).all()


def test_scores_of_a_run_and_its_reference_add_up_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(first: str, _: str) -> str:
        return all_three("1" if first < "c" else "2" if first < "n" else "tie")

    there = judged(tmp_path / "a", monkeypatch, odd, SPOKEN, OTHERS)
    back = judged(tmp_path / "b", monkeypatch, odd, OTHERS, SPOKEN)
    assert (there["score"] + back["score"] == 1).all()
    assert set(there["score"]) == {0.5, 0.75}


def test_half_a_judgement_is_invalid_and_has_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(first: str, second: str) -> str:
        return "Value: 1\nOverall: 1" if first > second else all_three("2")

    found = judged(tmp_path, monkeypatch, half, SPOKEN, OTHERS).set_index("dimension")
    assert (found.loc["Persona", "outcome"] == "invalid").all()
    assert found.loc["Persona", ["score", "flipped"]].isna().all(axis=None)
    assert (found.loc["Value", "outcome"] == "verdict").all()


def test_silence_and_absent_references_are_failed_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traps 10 and 11: a comparison that cannot be made is counted, never scored."""
    texts = {**SPOKEN, "Q2": ("invalid", ""), "Q3": ("failed", None)}
    reference = {"Q0": OTHERS["Q0"], "Q2": OTHERS["Q1"], "Q3": OTHERS["Q1"]}  # lacks Q1
    found = judged(tmp_path, monkeypatch, longer, texts, reference).set_index("question")
    assert len(found) == 12
    assert (found.loc["Q0", "outcome"] == "verdict").all()
    assert (found.loc[["Q1", "Q2", "Q3"], "outcome"] == "failed").all()
    assert found.loc[["Q1", "Q2", "Q3"], "score"].isna().all()


def test_a_refusal_is_compared_like_any_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"Q0": ("refusal", "I cannot answer that, I am sorry.")}
    found = judged(tmp_path, monkeypatch, longer, texts, OTHERS)
    assert (found["outcome"] == "verdict").all()
    assert (found["score"] == 1).all()
