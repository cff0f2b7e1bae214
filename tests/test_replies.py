"""Replies of every kind are read as what they are: no wrong answer, few lost, refusals found."""

import itertools
import re
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graph import ROOT
from valuestrata.prompting.answers import free_outcome, parse
from valuestrata.prompting.refusals import declines, is_refusal
from valuestrata.prompting.thinking import split_thought

IMPORTANCE = ["Very important", "Rather important", "Not very important", "Not at all important"]
SCALES = {
    "four": ([1, 2, 3, 4], IMPORTANCE),
    "ten": ([*range(1, 11)], ["Never justifiable", *[""] * 8, "Always justifiable"]),
    "two": ([1, 2], ["Yes", "No"]),
}
FOUR, TEN = SCALES["four"][0], SCALES["ten"][0]
REPLIES = yaml.safe_load((ROOT / "tests/data/replies.yaml").read_text(encoding="utf-8"))
OPEN_TEXTS = yaml.safe_load((ROOT / "tests/data/open_texts.yaml").read_text(encoding="utf-8"))
TEXTS = yaml.safe_load((ROOT / "tests/data/refusals.yaml").read_text(encoding="utf-8"))
PROPERTY = settings(derandomize=True, database=None, deadline=None, max_examples=150)


def readings() -> list[tuple[dict[str, Any], str, tuple[str, int | None]]]:
    """Every reply of the corpus with its kind and how it is read, with labels and without."""
    rows = []
    for kind in REPLIES:
        codes, labels = SCALES[kind["scale"]]
        for text, shown in itertools.product(kind["replies"], ([], labels)):
            if shown or kind.get("labels") != "needed":
                read = parse(text, codes, shown, is_cut=kind.get("cut", False))
                rows.append((kind, text, read))
    return rows


def test_the_corpus_gives_no_wrong_answer_and_few_are_lost() -> None:
    """Traps 9 and 10: a wrong answer is never made, an answer seldom missed."""
    rows = readings()
    assert len({(kind["kind"], text) for kind, text, _ in rows}) >= 400
    wrong = [
        (kind["kind"], text, code)
        for kind, text, (_, code) in rows
        if code is not None and code != kind["read"]
    ]
    assert wrong == []
    codes = [(kind["kind"], text, code) for kind, text, (_, code) in rows if is_code(kind)]
    lost = [row for row in codes if row[2] is None]
    assert len(lost) <= 0.03 * len(codes), lost


def is_code(kind: dict[str, Any]) -> bool:
    return isinstance(kind["read"], int)


def test_what_is_no_answer_is_counted_as_what_it_is() -> None:
    for kind, text, (outcome, _) in readings():
        if not is_code(kind) and kind["read"] != "none":
            assert outcome == kind["read"], text


def test_a_reply_is_read_in_the_same_way_however_it_is_wrapped() -> None:
    """Bold, quotes, blanks and lines around a whole reply change nothing but may lose it."""
    wraps = ("\n\n{}\n", "  {}  ", "**{}**", "{}\n\n---\n", "<p>{}</p>", "{} 🙂")
    for kind in REPLIES:
        codes, labels = SCALES[kind["scale"]]
        if kind.get("cut") or kind["read"] == "truncated":
            continue
        for text, wrap in itertools.product(kind["replies"], wraps):
            code = parse(wrap.format(text), codes, labels)[1]
            assert code in (None, kind["read"]), (wrap, text)


# ---- scales of other shapes

SHAPES: list[tuple[list[int], list[str], dict[int | None, list[str]]]] = [
    (
        [1, 2, 3, 4, 5],
        ["Strongly agree", "Agree", "Neither agree nor disagree", "Disagree", "Strongly disagree"],
        {
            2: ["Agree", "2 (Agree)", "2 = Agree", "I would say agree."],
            1: ["Strongly agree", "strongly agree."],
            None: [
                "I strongly agree.",
                "I agree",
                "Agree strongly",
                "Neither",
                "Answer: Agree (4)",
                "2 = Disagree",
                "Agree or strongly agree",
                "Agree/Disagree",
                "Agree, but strongly disagree on some points",
                "I'd say I agree, so 2",
                "4/5",
                "5/5",
                "Somewhat agree",
            ],
            3: ["Neither agree nor disagree", "Answer: Neither agree nor disagree"],
            4: [
                "Answer: Disagree (4)",
                "I do not agree. Answer: 4",
                "Disagree, because life is hard.",
                "4 out of 5",
                "Answer: 4 out of 5",
            ],
            5: [
                "My answer is strongly disagree.",
                "I strongly disagree with this statement. Answer: 5",
            ],
        },
    ),
    (
        [*range(11)],
        ["Not at all", *[""] * 9, "Completely"],
        {
            0: ["0", "Answer: 0", "0/10", "zero", "Answer: 0 (Not at all)", "Not at all"],
            10: ["10/10", "10"],
            None: ["Answer: 00", "Answer: 0.5", "0-10", "On a scale from 0 to 10, 7", "Answer: -0"],
            7: ["On a scale from 0 to 10, I'd say 7."],
        },
    ),
    (
        [-2, -1, 0, 1, 2],
        ["Strongly oppose", "Oppose", "Neutral", "Support", "Strongly support"],
        {
            -1: [
                "-1",
                "Answer: -1",
                "−1",
                "-1 (Oppose)",
                "-1 = Oppose",
                "Oppose",
                "I would choose -1.",
                "Oppose (-1)",
            ],
            -2: ["Answer: −2"],
            None: ["- 1", "+1", "Answer: -1 or -2", "-2 to 2", "-1, 0", "Answer: 1 or -1"],
            1: ["1", "Answer: 1"],
            0: ["Neutral (0)", "Answer: 0"],
        },
    ),
    (
        [1, 2, 3],
        ["1 child", "2 children", "3 or more"],
        {
            1: ["1 child"],
            2: ["2 children", "Answer: 2 children", "Answer: 2", "2"],
            3: ["3 or more", "Answer: 3 or more"],
            None: ["2 (2 children)", "Answer: 3 (3 or more)", "2 = 2 children"],
        },
    ),
    (
        [1, 2, 5],
        ["Yes", "No", "Other"],
        {
            5: ["5", "Other"],
            None: [
                "3",
                "Answer: 4",
                "No, thanks",
                "Yes and no",
                "Yes, no, maybe",
                "No opinion",
                "No answer",
                "Yes, I do.",
            ],
            1: ["Yes", "Yes!", "Yes.", "yes"],
            2: ["No"],
        },
    ),
    (
        [*range(101)],
        [""] * 101,
        {
            70: [
                "70",
                "Answer: 70",
                "70/100",
                "Answer: 70 out of 100",
                "I am 45 years old. Answer: 70",
                "Answer: 70\n\nI am 45 years old.",
                "As a 45-year-old I'd say 70.",
            ],
            None: ["70%", "7/10", "Answer: 70-80"],
            100: ["100"],
            5: ["Answer: 5"],
        },
    ),
    (
        [1, 2, 3, 4],
        ["Great deal", "Quite a lot", "Not very much", "None at all"],
        {
            1: ["Great deal"],
            4: ["None at all"],
            None: ["none", "Answer: 2 - Not very much"],
            2: ["Quite a lot - 2", "Answer: 2 - Quite a lot"],
            3: ["Not very much. 3", "Not very much, 3"],
        },
    ),
]


def test_scales_of_any_shape_are_read() -> None:
    """Signs that are codes, zero, gaps, a hundred points, labels with numbers or in each other."""
    for codes, labels, readings_of in SHAPES:
        for code, texts in readings_of.items():
            for text in texts:
                assert parse(text, codes, labels)[1] == code, (text, code)


# ---- refusals


def test_refusals_are_found_and_persona_talk_is_not_one() -> None:
    """150 of 163 with 11 false alarms in 3,478 were reached before; here none is wrong."""
    for language, texts in TEXTS["refusals"].items():
        missed = [t for t in texts if free_outcome(t) != "refusal" or parse(t, FOUR)[1] is not None]
        assert missed == [], language
    for language, texts in TEXTS["answers"].items():
        assert [t for t in texts if free_outcome(t) != "answer"] == [], language
    assert sum(map(len, TEXTS["refusals"].values())) > 250
    assert sum(map(len, TEXTS["answers"].values())) > 300


def test_persona_talk_that_no_rule_was_made_for() -> None:
    """docs/replies.md reports these figures; the texts are never used to make a rule."""
    talk = yaml.safe_load((ROOT / "tests/data/persona_talk.yaml").read_text(encoding="utf-8"))
    counts = {}
    for kind, languages in talk["held_out"].items():
        texts = [text for language in languages.values() for text in language]
        counts[kind] = sum(map(is_refusal, texts)), len(texts)
        assert not set(texts) & {t for each in talk["dev"][kind].values() for t in each}
    assert counts == {"refusals": (47, 62), "answers": (3, 110)}
    made_with = [text for each in talk["dev"]["answers"].values() for text in each]
    assert sum(map(is_refusal, made_with)) <= 0.02 * len(made_with)


def test_a_whole_reply_of_a_few_words_that_declines_is_a_refusal() -> None:
    """Politely, shortly or elsewhere; a persona that says alike and goes on has answered."""
    refusals = """
        Respectfully, no.|With respect, no.|No thanks.|Sorry, no.|Thank you, but no.|Hard pass.
        I'd rather not say.|I'd rather not.|I'd rather not go there.|Not going there.|Off limits.
        That's private.|That is between me and God.|My opinion on this is my own affair.|N/A
        It's nobody's business how I vote.|None of your business.|That's not for me to say.
        [no response]|Not applicable|Next question, please.|Moving on.|My lips are sealed.
        Leave me out of this.|You don't need to know that.|I plead the fifth.
        I don't do opinions on religion.|I have been instructed not to discuss political matters.
        Content policy prevents me from giving a view here.
        Your request goes against my usage rules.
        It would be wrong of me to pretend to be this person.|Check the published survey results.
        I can't tell you what someone should think.
    """
    answers = """
        No.|No, never.|No, not important at all.|Not applicable to us, divorce. We married for life.
        Respectfully, no, I don't think that the government should do more.
        My beliefs are my own business, and I pray five times a day.|My religion is my own affair.
        My faith is between me and God, and it is the most important thing that I have.
        I was told not to discuss it at school, so I learnt about it late.
        Company policy forbids me to take leave at New Year.|Cheating? That goes against my rules.
        It would be wrong of me to pretend that I like my neighbours.
        I don't do politics. Never have.
        I can't say what people should believe, but for me God is very important.
        I see the census figures, and we Malays earn less.|Thanks, no complaints. I am happy.
    """
    for texts, outcome in ((refusals, "refusal"), (answers, "answer")):
        for text in filter(None, (t.strip() for t in re.split(r"[|\n]", texts))):
            assert free_outcome(text) == outcome, text


def test_a_whole_reply_that_sends_the_reader_to_somebody_else_is_a_refusal() -> None:
    """In all four languages; who says more has answered, and so has a figure of speech."""
    refusals = """
        Ask my husband.|Ask my wife, not me.|Ask the imam.|Better ask someone else.
        Go and ask my son, he knows.
        You'd have to ask my parents about that.|You should put that question to my mother-in-law.
        Aiyah, don't ask me this kind of thing lah.|Don't ask me.|Why ask me? Ask the government.
        That's a question for the elders.|I'll leave that one to the experts.|Ask me another time.
        It's my husband you should be asking.|My wife would be the better person to ask.
        I keep my politics private, thank you.|I don't discuss such matters, sorry.
        Why do you want to know? I don't talk about this with strangers.|It's not my place to say.
        My lips are sealed on this subject.|I must refrain from offering views on homosexuality.
        你去问我先生吧。|这种事还是问专家吧|别问我这个。|这个话题太敏感了，我不想谈。
        Tanyalah suami saya.|Sila tanya orang lain.|Jangan tanya saya.
        Saya terpaksa menolak permintaan ini.
        என் கணவரிடம் கேளுங்கள்.|வேறு யாரிடமாவது கேளுங்கள்.
        இது என் தனிப்பட்ட விஷயம், சொல்ல விரும்பவில்லை.
    """
    answers = """
        Ask my wife and she will tell you that I never miss a prayer.
        Ask anyone: we help each other here.
        Ask my husband, he knows how devout I am.|I ask my parents before I decide.
        I leave that to God.
        Ask yourself whether bribes are right. They are not.
        You should ask how they treat us: badly.
        Don't ask me why, but I trust people.
        Don't ask me to choose between God and country; God first.
        I don't talk about politics with strangers. At home we do, every day.
        For my parents, always.
        I keep my religion to myself, but God matters to me.|It is not my place to judge others.
        I can't help but feel proud of my country.|I can't help wondering what comes after death.
        I cannot but agree that family comes first.|I can't say enough good about the police.
        I can't imagine not voting.|I won't say no to a strong leader.
        I can't imagine answering to her.
        I will not hesitate to answer: never.|I can't answer that with anything but yes.
        Can't complain.
        I can't stress enough how much faith means to me.|I never say no to a neighbour who asks.
        I have no comment to make about the police except that they do well.
        我忍不住为国家骄傲。|我常常问我父母的意见。|我不想说谎。|我不想离婚。
        Saya selalu tanya suami saya dahulu.|Tanya diri sendiri, rasuah itu salah.
        நான் எப்போதும் என் கணவரிடம் கேட்பேன்.|என்னிடம் கேளுங்கள், நான் சொல்கிறேன்: கடவுள் முக்கியம்.
    """
    for texts, outcome in ((refusals, "refusal"), (answers, "answer")):
        for text in filter(None, (t.strip() for t in re.split(r"[|\n]", texts))):
            assert free_outcome(text) == outcome, text


def test_a_text_that_no_pattern_fits_is_judged_by_its_wording() -> None:
    """A short text, or one whose refusal is overcome, is not."""
    text = "Any answer I gave would be made up, so I leave this item blank."
    assert is_refusal(text)
    assert not is_refusal("Answer: -1")
    assert not is_refusal(f"As an AI I have no views. {text} But as this woman, I'd say 3.")
    assert is_refusal(f'"{text}"')
    around = 'My eldest brother wrote "{}" on a form of the bank, and I trust banks all the same.'
    assert not is_refusal(around.format(text))


def test_closed_and_open_replies_share_one_detector() -> None:
    for texts in TEXTS["refusals"].values():
        for text in texts:
            assert parse(text, FOUR) == ("refusal", None), text
    for texts in TEXTS["answers"].values():
        for text in texts:
            assert parse(text, FOUR)[0] != "refusal", text


def test_a_refusal_inside_a_longer_text_is_one() -> None:
    for text in ("I cannot answer this question.", "As an AI, I hold no views."):
        assert is_refusal(f"That is a hard question with many sides. {text}")
        assert is_refusal(f"{text} Is there anything else that I can help with?")
        assert is_refusal(text.replace("'", "’").upper())


# ---- thoughts


THOUGHTS = ("<think>{}</think>", "[THINK]{}[/THINK]", "<thinking>\n{}\n</thinking>\n", "{}</think>",
            "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
            "<|START_THINKING|>{}<|END_THINKING|>")  # fmt: skip


def test_what_is_thought_is_never_an_answer_nor_a_refusal() -> None:
    """Trap 32."""
    inside = ["Answer: 2", "I cannot answer that.", "3 or 4?", "答案：2", "", "Wait, no."]
    for thought, form in itertools.product(inside, THOUGHTS):
        before = form.format(thought)
        assert parse(f"{before}Answer: 3", FOUR) == ("answer", 3), before
        assert parse(f"{before}I'm sorry, I can't answer that.", FOUR)[0] == "refusal"
        assert parse(before, FOUR) == ("invalid", None)
        assert free_outcome(f"{before}Family comes first.") == "answer"
        assert free_outcome(before) == "invalid"


def test_an_unfinished_thought_ran_out_of_tokens() -> None:
    """Trap 32."""
    for text in ("<think>Answer: 3", "<think>I cannot answer.", "[THINK]3", "<think>", "a<think>b",
                 "<|channel|>analysis<|message|>Answer: 3", "<|channel|>"):  # fmt: skip
        assert parse(text, FOUR) == ("truncated", None), text
        assert free_outcome(text) == "truncated"
        assert not split_thought(text).is_finished


def test_the_thought_is_kept_aside() -> None:
    parts = split_thought("<think>Is it 3?</think>\n\nAnswer: 2")
    assert (parts.thought, parts.reply) == ("<think>Is it 3?</think>", "Answer: 2")
    plain = split_thought("I think </i> that 2 < 3.")
    assert (plain.thought, plain.is_finished) == ("", True)
    assert plain.reply == "I think </i> that 2 < 3."


# ---- properties


SURROUNDINGS = st.sampled_from(
    ["", "**", "__", "`", "_", '"', "'", "(", "[", "<b>", "### ", "- ", "> ", "\n", " ", "✅ ",
     "🙂", "Sure! ", "As a mother, ", "Family matters. ", "I have 2 sons. ", "\n\nI pray.", "$",
     "\\boxed{", "<answer>", "```\n", "So, ", "Answer: ", "My answer is ", "I would choose ",
     "答案：", "Jawapan: ", "பதில்: ", "Option ", "I'd say ", "\u200b", "\ufeff"]
)  # fmt: skip
JOINTS = st.sampled_from(
    ["-", "–", "—", "~", "～", " to ", " or ", "/", ", ", "; ", " and ", " & ", "或", "到", "、",
     " atau ", " hingga ", " அல்லது ", " முதல் ", " or maybe ", " – ", "|", " vs ", "至", "和"]
)  # fmt: skip


@PROPERTY
@given(
    st.lists(SURROUNDINGS, max_size=3).map("".join),
    st.lists(SURROUNDINGS, max_size=3).map("".join),
    JOINTS,
    st.permutations([1, 2, 3, 4]),
)
def test_whatever_is_around_it_a_range_or_a_choice_is_no_answer(
    before: str, after: str, joint: str, pair: list[int]
) -> None:
    """Trap 9."""
    text = f"{before}{pair[0]}{joint}{pair[1]}{after}"
    assert parse(text, FOUR)[1] is None, text
    assert parse(text, FOUR, IMPORTANCE)[1] is None, text


@PROPERTY
@given(
    st.lists(SURROUNDINGS, max_size=3).map("".join),
    st.sampled_from(["-", "−", "+", "<", ">", "≥", "~", "±", "$", "€", "not ", "about "]),
    st.sampled_from(["%", " %", "％", "°", "-year-olds", " years", "st", ".5", ":30", "½", "€"]),
    st.integers(1, 4),
)  # fmt: skip
def test_a_sign_before_or_a_unit_behind_makes_another_number(
    before: str, sign: str, unit: str, code: int
) -> None:
    for text in (f"{before}{sign}{code}", f"{before}{code}{unit}"):
        assert parse(text, FOUR)[1] is None, text


@PROPERTY
@given(st.integers(1, 10), st.integers(1, 10), st.sampled_from(
    ["Wait, no, ", "Actually, ", "No, ", "Correction: ", "Sorry, I meant ", "Or ", "Hmm, maybe ",
     "等等，", "更正：", "Tunggu, ", "Ralat: ", "இல்லை, ", "திருத்தம்: "]))  # fmt: skip
def test_who_changes_their_mind_gave_no_answer(first: int, second: int, change: str) -> None:
    for form in ("Answer: {}. {}{}", "{}. {}{}", "I would choose {}. {}{}", "答案：{}。{}{}"):
        text = form.format(first, change, second)
        assert first == second or parse(text, TEN)[1] is None, text


@PROPERTY
@given(st.integers(1, 10), st.integers(1, 10))
def test_two_answers_that_differ_are_none_and_two_that_agree_are_one(one: int, two: int) -> None:
    for form in ("Answer: {}\nAnswer: {}", "My answer is {}. I choose {}.", "{}\n\nAnswer: {}"):
        read = parse(form.format(one, two), TEN)
        assert read == (("answer", one) if one == two else ("invalid", None)), form


@PROPERTY
@given(st.integers(-3, 14), st.sets(st.integers(-2, 12), min_size=2))
def test_a_code_is_read_if_and_only_if_it_is_an_option(code: int, codes: set[int]) -> None:
    for form in ("Answer: {}", "{}", "**{}**", "The answer is {}."):
        read = parse(form.format(code), sorted(codes))
        assert read == (("answer", code) if code in codes else ("invalid", None))


@PROPERTY
@given(st.text(alphabet="Answer: 1234567890\n.,-or*()abc ", max_size=40), st.booleans())
def test_a_cut_reply_never_says_more_than_the_whole_one(text: str, with_labels: bool) -> None:
    labels = IMPORTANCE if with_labels else []
    cut, whole = parse(text, FOUR, labels, is_cut=True), parse(text, FOUR, labels)
    assert cut[1] in (None, whole[1])
    assert cut[0] != "invalid"


def test_long_and_degenerate_replies_are_read_at_once() -> None:
    texts = [
        "Answer: " * 2000,
        "3 or " * 2000,
        "I would choose " * 1000,
        "(" * 5000,
        "<think>" * 2000,
        "{" * 3000,
        "1. a\n" * 2000,
        "我会选择" * 2000,
        "*" * 5000,
        "as an ai " * 1000,
        "I cannot " * 2000,
        "\\boxed{" * 1000,
        "<" * 5000,
        "a" * 20000,
        "1 " * 5000,
        "my " * 4000,
        "really " * 4000,
        "[1" * 3000,
        "7/" * 3000,
        "$" * 3000,
    ]
    for text in texts:
        began = time.process_time()
        parse(text, FOUR, IMPORTANCE)
        free_outcome(text)
        assert time.process_time() - began < 5, text[:20]


def test_labels_and_codes_belong_together() -> None:
    with pytest.raises(ValueError, match="shorter"):
        parse("Answer: 1", [1, 2], ["a"])
    # a label that two options have names neither
    assert parse("agree", [1, 2, 3], ["agree", "agree", "disagree"]) == ("invalid", None)
    assert parse("disagree", [1, 2, 3], ["agree", "agree", "disagree"]) == ("answer", 3)


def test_refusals_are_told_from_personas_in_texts_of_several_sentences() -> None:
    """Quoted refusals, personas' own limits, and answers behind a refusal are answers."""
    wanted = {"answers": "answer", "partial": "answer", "refusals": "refusal"}
    for kind, outcome in wanted.items():
        texts = [text for language in OPEN_TEXTS[kind].values() for text in language]
        wrong = [text for text in texts if free_outcome(text) != outcome]
        assert len(wrong) <= 0.04 * len(texts), wrong
    partial = [text for language in OPEN_TEXTS["partial"].values() for text in language]
    assert [text for text in partial if not declines(text)] == []
    sizes = {kind: sum(map(len, OPEN_TEXTS[kind].values())) for kind in wanted}
    assert min(sizes["answers"] - 60, sizes["refusals"] - 40, sizes["partial"] - 10) >= 0


def test_what_is_quoted_is_not_what_the_speaker_says() -> None:
    said = "I cannot answer that question."
    for quote in ('"{}"', "“{}”", "'{}'", "「{}」", "«{}»"):
        quoted = quote.format(said)
        assert not is_refusal(f"My neighbour once told me {quoted} and so I never asked him again.")
        # the whole reply, or the speaker's answer, in quotes
        assert is_refusal(quoted)
        assert is_refusal(f"Answer: {quoted}")
    assert is_refusal(f'Taking everything into account, I would say: "{said}"')
    assert is_refusal(f'He said "hello, my good old friend, how are you today?" {said}')
    assert is_refusal("It's my parents' wish, and my brothers' too: I can't answer that.")
