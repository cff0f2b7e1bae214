"""Prompts and answers: what is asked, and what is made of what comes back."""

import copy
import doctest
import pickle
import re
import time
from string import Formatter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graph import ROOT
from tests.toys import PROMPT
from valuestrata.prompting import answers, judging, patterns, prompts
from valuestrata.prompting.answers import free_outcome, parse
from valuestrata.prompting.settings import prompt_settings, rubric_id, template_id
from valuestrata.study.load import load_files
from valuestrata.study.prompts import PromptVariant
from valuestrata.survey import codebook

LANGUAGES = sorted(p.stem for p in (ROOT / "src/valuestrata/prompting/templates").iterdir())
FOUR, TEN = [1, 2, 3, 4], list(range(1, 11))
QUESTIONS = [
    question
    for path in sorted((ROOT / "studies/codebooks").glob("*.yaml"))
    for question in codebook.load(path).values()
]


def test_examples_in_docstrings_hold() -> None:
    for module in (prompts, answers, judging, patterns):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


def test_a_pattern_that_is_compiled_late_is_one_and_so_are_its_copies() -> None:
    late = patterns.late(r"(?P<word>no)t?", re.I)
    copies = [copy.copy(late), copy.deepcopy(late), pickle.loads(pickle.dumps(late))]
    for pattern in (late, *copies):
        assert (pattern.pattern, pattern.flags) == (r"(?P<word>no)t?", re.I | re.U)
        assert pattern.groupindex == {"word": 1}
        assert pattern.sub("-", "NOT, no") == "-, -"


# ---- prompts


def test_the_persona_names_country_and_every_trait_in_order() -> None:
    text = prompts.persona(PROMPT, {"sex": "female", "age": "25-34"})
    assert "living in Utopia" in text
    assert "female, aged 25-34" in text


def test_a_persona_of_one_axis_says_nothing_of_the_other() -> None:
    text = prompts.persona(PROMPT, {"age": "65 and over"})
    assert "aged 65 and over" in text
    assert "male" not in text


def test_wordings_with_braces_are_left_alone() -> None:
    text = prompts.closed(PROMPT, "Is {this} so?", [1, 2], ["{yes}", "no"], (1, 2))
    assert "Is {this} so?" in text
    assert "1 = {yes}" in text


def test_every_question_is_rendered_with_both_ends_labelled() -> None:
    for question in QUESTIONS:
        scale = (question.scale_min, question.scale_max)
        codes = sorted({*range(scale[0], scale[1] + 1), *question.extra})
        named = {**question.labels, **question.extra}
        labels = [named.get(code, "") for code in codes]
        prompt = prompts.closed(PROMPT, question.text, codes, labels, scale)
        assert prompt.startswith(question.text)
        for end in scale:
            label = question.labels[end]
            assert label.strip()
            assert f"\n{end} = {label}\n" in prompt or f"{end} ({label})" in prompt
        assert "()" not in prompt
        assert "{" not in prompt
        # codes off the scale are never offered
        options = prompt.split("\n", 1)[1]
        assert not any(label in options for label in question.extra.values())


def test_every_reply_that_is_asked_for_is_parsed_as_its_code_and_no_prompt_is() -> None:
    """Trap 9: a parser that matches its own prompt."""
    for question in QUESTIONS:
        codes = [*range(question.scale_min, question.scale_max + 1)]
        labels = [question.labels.get(code, "") for code in codes]
        for language in LANGUAGES:
            for code in codes:
                assert parse(prompts.answer(language, code), codes) == ("answer", code)
            prompt = PROMPT.replace(template=language)
            text = prompts.closed(prompt, question.text, codes, labels, (codes[0], codes[-1]))
            assert parse(text, codes)[0] != "answer"


# ---- wordings


def test_a_template_has_every_sentence_with_its_fields() -> None:
    def fields(text: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(text)} - {None}

    english = prompts.template("english")
    for language in LANGUAGES:
        template = prompts.template(language)
        assert template.keys() == english.keys()
        assert template["persona"].keys() == english["persona"].keys()
        for key in ("closed", "option", "scale", "reply", "answer", "attribute"):
            assert fields(template[key]) == fields(english[key]), key
        for key, text in english["persona"].items():
            assert fields(template["persona"][key]) == fields(text), key


def test_an_id_names_a_file_and_its_content() -> None:
    assert re.fullmatch(r"english@[0-9a-f]{12}", template_id("english"))
    assert re.fullmatch(r"pairwise@[0-9a-f]{12}", rubric_id("pairwise"))
    assert prompts.template(template_id("malay")) == prompts.template("malay")
    assert len({template_id(language) for language in LANGUAGES}) == len(LANGUAGES)


def test_a_persona_of_the_paper_s_study_is_wholly_in_the_language() -> None:
    study = load_files([ROOT / "config.yaml"])
    settings = prompt_settings(study)
    english_words = {"aged", "and", "over", "female", "religion", "Chinese", "age"}
    for language in (name for name in LANGUAGES if name != "english"):
        for form in ("second", "third", "list"):
            english = settings.replace(persona=form)
            prompt = english.replace(template=language)
            for name, axis in study.axes.items():
                for group in axis.names():
                    persona = prompts.persona(prompt, {name: group})
                    assert group in prompts.persona(english, {name: group})
                    if language == "malay":
                        assert not {*re.findall(r"[a-z]+", persona)} & english_words
                    else:
                        assert not re.search("[A-Za-z]", persona)


def test_a_prompt_variant_changes_only_what_it_gives() -> None:
    variants = {
        "malay": PromptVariant(template="malay"),
        "turned": PromptVariant(order="question", options="reversed"),
    }
    study = load_files([ROOT / "config.yaml"]).replace(prompt_variants=variants)
    plain = prompt_settings(study)
    assert plain.order == "persona"
    assert prompt_settings(study, "malay") == plain.replace(template=template_id("malay"))
    turned = plain.replace(order="question", options="reversed")
    assert prompt_settings(study, "turned") == turned


def test_a_word_without_translation_stays_as_it_is() -> None:
    prompt = PROMPT.replace(template="tamil")
    text = prompts.persona(prompt, {"sex": "non-binary", "age": "18-29"})
    assert "Utopia" in text
    assert "non-binary, aged 18-29" in text.replace("வயது", "aged")


def test_a_persona_as_a_list_names_country_and_axes() -> None:
    text = prompts.persona(PROMPT.replace(persona="list"), {"sex": "female", "age": "25-34"})
    lines = ["- country of residence: Utopia", "- sex: female", "- age: 25-34"]
    assert text.splitlines()[1:] == lines
    third = prompts.persona(PROMPT.replace(persona="third"), {"sex": "female"})
    assert "You" not in third
    assert "living in Utopia: female." in third


def test_the_order_of_messages_changes_nothing_that_is_said() -> None:
    asked = prompts.render_question(PROMPT, "Is it so?", [1, 2], ["yes", "no"], (1, 2))
    first, second = prompts.messages(PROMPT, "You are old.", asked)
    question_first = PROMPT.replace(order="question")
    turned = prompts.messages(question_first, "You are old.", asked)
    assert first == "You are old."
    assert second.startswith("Is it so?\n1 = yes\n2 = no\nReply")
    assert turned == (asked, "You are old.\n" + second.splitlines()[-1])


def test_codes_keep_their_labels_in_any_order_of_the_options() -> None:
    labels = [f"label {code}" for code in FOUR]
    texts = [f"Question {i}?" for i in range(30)]
    orders = {}
    for options in ("asked", "reversed", "shuffled"):
        prompt = PROMPT.replace(options=options)
        rendered, again = (
            [prompts.render_question(prompt, text, FOUR, labels, (1, 4)) for text in texts]
            for _ in range(2)
        )
        assert rendered == again
        orders[options] = [tuple(text.splitlines()[1:]) for text in rendered]
        for lines in orders[options]:
            assert sorted(lines) == [f"{code} = label {code}" for code in FOUR]
    assert orders["reversed"] == [order[::-1] for order in orders["asked"]]
    assert len(set(orders["shuffled"])) > 10


def test_a_scale_without_labels_is_shown_from_either_end() -> None:
    labels = ["never", *[""] * 8, "always"]
    texts = [f"Question {i}?" for i in range(20)]
    prompt = PROMPT.replace(options="shuffled")
    text = {prompts.render_question(prompt, t, TEN, labels, (1, 10)).splitlines()[1] for t in texts}
    assert text == {
        "Choose a number from 1 (never) to 10 (always).",
        "Choose a number from 10 (always) to 1 (never).",
    }


# ---- answers


def test_a_code_in_the_form_asked_for_or_alone_is_an_answer() -> None:
    texts = [
        "Answer: 3", "answer: 3", "ANSWER: 3", "Answer:3", "Answer = 3", "Answer: 3.",
        "answer is 3", "My answer is: 3", "The answer is **3**.", "**Answer: 3**", "**Answer:** 3",
        "Answer: (3)", "  Answer: 3\n", "3", " 3 ", "3.", "(3)", "**3**", "3 = agree",
        "3. rather important", "3) rather", "3: rather", "- 3",
        "Answer: 3\n\nI have 2 children and 1 dog.",
        "Answer: 3\nAnswer: 3", "Answer: 3 (rather important)",
        "Answer: <3>", "Answer:<3>", "**Answer: <3>**", "Answer: <3>\n\nI have 2 children.",
        "Answer: ＜3＞", "Answer: 〈3〉", "Answer：3", "Answer： 3", "Answer：<3>", "<3>",
    ]  # fmt: skip
    for text in texts:
        assert parse(text, FOUR) == ("answer", 3), text


def test_prose_and_several_numbers_are_no_answer() -> None:
    """Traps 9 and 10: neither a number out of prose nor a first option for nothing."""
    texts = [
        "", "   ", "\n", "Answer:", "Answer: <number>", "rather important",
        "I have 2 children and 3 cats.", "There are 3 of us.", "In 3 words, family comes first.",
        "1, 2, 3", "1 2", "2 or 3", "3.5", "Answer: 3.5", "Answer: 1\nAnswer: 2",
        "The question has 4 options to answer.", "My answer is not 3.",
    ]  # fmt: skip
    for text in texts:
        assert parse(text, FOUR) == ("invalid", None), text


def test_brackets_make_no_answer_of_what_is_none() -> None:
    """Trap 9."""
    texts = [
        "Answer: <3 or 4>", "Answer: <3.5>", "Answer: <3", "Answer: <3 of us>", "Answer: <7>",
        "Answer: <3>\nAnswer: <4>", "Answer： 3 or 4", "Answer：<number>", "<3> or <4>",
    ]  # fmt: skip
    for text in texts:
        assert parse(text, FOUR) == ("invalid", None), text


def test_an_answer_that_names_two_codes_is_none() -> None:
    """Trap 9."""
    texts = [
        "Answer: 3 or 4", "Answer: 3-4", "Answer: 3/4", "Answer: 1 to 4", "Answer: <3> or <4>",
        "Answer: <3>-<4>", "Answer: <3>, <4>", "Answer：3/4", "答案：＜3＞或＜4＞",
    ]  # fmt: skip
    for text in texts:
        assert parse(text, FOUR) == ("invalid", None), text


def test_a_number_after_the_verb_answer_is_prose() -> None:
    """Trap 9: only 'answer is', 'answer:' and 'answer =' announce a code."""
    texts = [
        "I can't answer 3 of these questions.",
        "I was asked to answer 2 questions, no thanks.",
    ]
    for text in texts:
        assert parse(text, FOUR)[1] is None


def test_a_number_that_is_no_option_is_invalid() -> None:
    texts = ["Answer: 0", "Answer: 5", "Answer: 7", "9", "Answer: 11", "34"]
    for text in texts:
        assert parse(text, FOUR) == ("invalid", None), text


def test_ten_is_not_read_as_one() -> None:
    """Trap 6."""
    assert parse("Answer: 10", TEN) == ("answer", 10)
    assert parse("10", TEN) == ("answer", 10)
    assert parse("Answer: 10", FOUR) == ("invalid", None)


def test_a_negative_code_is_not_read_without_its_sign() -> None:
    texts = ["-1", "Answer: -1", " -1. ", "**-1**"]
    for text in texts:
        assert parse(text, FOUR) == ("invalid", None)
        assert parse(text, [-1, *FOUR]) == ("answer", -1)


def test_an_answer_is_read_in_each_language() -> None:
    texts = [
        "答案：3", "答案: 3", "答案是3", "我的答案是：3。", "正确答案为 3", "**答案：3**",
        "答案：３", "3、比较重要", "3。", "答案：“3”", "Jawapan: 3", "JAWAPAN: 3",
        "Jawapan saya ialah 3.",
        "Jawapan = 3", "**Jawapan:** 3",
        "பதில்: 3", "பதில் : 3", "பதில்: 3.", "**பதில்: 3**", "என் பதில்: 3",
        "答案：<3>", "答案：＜3＞", "答案：〈3〉", "Jawapan: <3>", "Jawapan：3",
        "பதில்: <3>", "பதில்：3",
    ]  # fmt: skip
    for text in texts:
        assert parse(text, FOUR) == ("answer", 3), text


def test_prose_and_several_numbers_are_no_answer_in_any_language() -> None:
    texts = [
        "答案：<数字>", "我有2个孩子和3只猫。", "答案：2或3", "答案：1至4", "答案：3、4",
        "我的答案不是3。", "我3岁。",
        "Jawapan: <nombor>", "Saya ada 2 anak dan 3 kucing.", "Jawapan: 2 atau 3",
        "Jawapan: 1 hingga 4",
        "பதில்: <எண்>", "எனக்கு 2 பிள்ளைகள்.", "பதில்: 2 அல்லது 3", "பதில்: 1 முதல் 4",
        "答案：1\n答案：2", "Jawapan: 1\nJawapan: 2", "பதில்: 1\nபதில்: 2",
    ]  # fmt: skip
    for text in texts:
        assert parse(text, FOUR) == ("invalid", None), text


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


def test_a_refusal_is_a_refusal_however_it_is_put() -> None:
    """Trap 10: curly apostrophes included."""
    for text in REFUSALS:
        assert parse(text, FOUR) == ("refusal", None), text
        assert free_outcome(text) == "refusal"


def test_a_refusal_with_a_number_in_it_is_still_one() -> None:
    """Traps 9 and 10."""
    assert parse("I'm sorry, I cannot choose between 1 and 4.", FOUR) == ("refusal", None)


def test_a_view_that_says_cannot_or_will_not_is_no_refusal() -> None:
    """Trap 10, the other way round: a stand put strongly is an answer."""
    texts = [
        "Family comes first for me.",
        "I cannot imagine life without my family.",
        "I can't forgive those who take bribes.",
        "I won't lie: money matters to me.",
        "I am not comfortable with strangers as neighbours.",
    ]
    for text in texts:
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


def test_a_number_longer_than_python_reads_is_invalid() -> None:
    texts = ["9" * 5000, "Answer: " + "9" * 5000]
    for text in texts:
        assert parse(text, FOUR) == ("invalid", None), text


def test_degenerate_texts_are_parsed_at_once() -> None:
    texts = ["1." + " " * 1000 + "2", "Answer" + " " * 1000, "1" + "\n" * 999]
    for text in texts:
        began = time.process_time()
        parse(text, FOUR)
        assert time.process_time() - began < 0.5
