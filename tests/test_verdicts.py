"""What judges write is read for what it says: every form, and no quoted or echoed verdict."""

import doctest
import random
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verdict_forms import CLEAR, NAMES, SENTENCES, UNCLEAR
from valuestrata.errors import InputError
from valuestrata.metrics import panels, proportion
from valuestrata.prompting import judging, probing, verdict_text, verdicts
from valuestrata.prompting.verdict_text import Shown
from valuestrata.study import rubrics

SCORES = {1.0, 0.5, 0.0, None}
SWAPPED = {1.0: 0.0, 0.0: 1.0, 0.5: 0.5, None: None}


def test_examples_in_docstrings_hold() -> None:
    modules = (judging, probing, verdict_text, verdicts, panels, proportion)
    results = [doctest.testmod(module) for module in modules]
    assert all(result.attempted for result in results)
    assert not any(result.failed for result in results)


def test_every_form_that_judges_write_is_read() -> None:
    wrong = [
        (text, score, got)
        for text, score in CLEAR
        if (got := verdicts.lines(text, NAMES)["Value"]) != score
    ]
    assert wrong == []


def test_what_is_no_verdict_quoted_or_contradicted_is_none() -> None:
    got = {text: verdicts.lines(text, NAMES)["Value"] for text in UNCLEAR}
    assert {text: score for text, score in got.items() if score is not None} == {}


def test_a_sentence_on_several_dimensions_is_read_whole_or_not_at_all() -> None:
    got = {text: tuple(verdicts.lines(text, NAMES).values()) for text in SENTENCES}
    assert got == SENTENCES
    other = str.maketrans("12", "21")
    for text, scores in SENTENCES.items():
        if not re.search(r"\b[123]\. |second|\bB\b", text):
            swapped = verdicts.lines(text.translate(other), NAMES).values()
            assert [*swapped] == [SWAPPED[score] for score in scores], text


def test_one_dimension_is_not_read_for_another() -> None:
    assert verdicts.lines("Value:\nPersona: 2", NAMES) == {
        "Overall": None, "Value": None, "Persona": 0.0,
    }  # fmt: skip
    longer = ["Value", "Value fit", "Personal value"]
    assert verdicts.lines("Value fit: 1\nPersonal value: 2", longer) == {
        "Value": None, "Value fit": 1.0, "Personal value": 0.0,
    }  # fmt: skip
    odd = ["Fit (all)"[:3], "Größe", "Ease of reading"]
    text = "Fit: 1\nGRÖSSE: 2\nEase of  reading: tie"
    assert verdicts.lines(text, odd) == {"Fit": 1.0, "Größe": None, "Ease of reading": 0.5}


def test_a_single_dimension_needs_no_name() -> None:
    cases = {
        "1": 1.0, "Answer B is better.": 0.0, "Tie": 0.5, "[[A]]": 1.0, "The second one.": 0.0,
        "I prefer Answer 1 because it is warm.": 1.0, "Both have merit, 1 or 2.": None,
        "1 or 2": None, "It depends.": None, "> 1": None, "Answer 1: it is long": None,
    }  # fmt: skip
    assert {text: verdicts.lines(text, ["Overall"])["Overall"] for text in cases} == cases


def test_an_echoed_answer_holds_no_verdict() -> None:
    answer = "I like tea.\nValue: 1\nOverall: 1\nPersona: 1\nBye now, friends."
    shown = Shown("402918", (answer, "No."))
    block = "Value: 1\nOverall: 1\nPersona: 1"
    cases = {
        f"Answer 1: {answer}\n\nValue: 2": 0.0,
        f"{answer}\n\nOverall: 2\nValue: 2\nPersona: 2": 0.0,
        f"Answer 1 says:\n{answer}": None,
        "402918 Answer 1\nWell\nValue: 1\n402918\nValue: 2": 0.0,
        "> I like tea.\n> Value: 1\nValue: tie": 0.5,
        "&gt; Value: 1\nValue: tie": 0.5,
        "I like tea.\nValue: 1": None,
        "i LIKE *tea*.\n**Value**: 1": None,
        f"{block}": 1.0,  # the judge's own, although the answer holds the same lines
        f"{block}\n\nThe first is warm.": 1.0,
    }
    for text, score in cases.items():
        assert verdicts.lines(text, NAMES, shown)["Value"] == score, text
    fields = Shown("1", ('Well, as I said: {"Value": 1} and no more.', "No."))
    for parse in (verdicts.lines, verdicts.json_object):
        text = f'{fields.texts[0]}\n\n{{"Value": "2"}}'
        assert parse(text, ["Value"], fields) == {"Value": 0.0}
    assert verdicts.brackets(
        "Done: I say [[A]] it is. [[B]]", ["O"], Shown("1", ("I say [[A]] it is",))
    ) == {"O": 0.0}


def test_the_other_parsers_read_their_form_alone() -> None:
    assert verdicts.json_object('Value: 1\n{"Value": 2}', ["Value"]) == {"Value": 0.0}
    assert verdicts.json_object("Value: 1", ["Value"]) == {"Value": None}
    assert verdicts.json_object('{"Value": 2', ["Value"]) == {"Value": None}
    for text, score in (
        ("[[A]]", 1.0), ("[[B>>A]]", 0.0), ("[[A=B]]", 0.5), ("[[C]]", 0.5), ("[A]", None),
        ("> [[A]]\n[[B]]", 0.0), ("[[A]] or [[B]]", None), ("[[A]]. Yes, [[A]].", 1.0),
    ):  # fmt: skip
        assert verdicts.brackets(text, ["Overall"]) == {"Overall": score}, text


def test_every_whole_verdict_is_read_in_every_layout() -> None:
    """Each combination, dressed in each of the forms, gives back what was put in."""
    layouts = (
        "{n}: {c}", "**{n}:** {c}", "- {n} — Answer {c}", "1. {n}: {c} (because)", "{n}：{c}",
        "| {n} | {c} |", '"{n}": "{c}",', "### {n}\n{c}", "{n} = {c}.",
    )  # fmt: skip
    wrong = []
    for choices, layout in product(product(rubrics.CHOICES, repeat=len(NAMES)), layouts):
        pairs = [*zip(NAMES, choices, strict=True)]
        text = "\n".join(layout.format(n=n, c=c).replace("Answer tie", "tie") for n, c in pairs)
        expected = {n: {"1": 1.0, "2": 0.0, "tie": 0.5}[c] for n, c in pairs}
        if verdicts.lines(text, NAMES) != expected:
            wrong.append(text)
    assert wrong == []


def test_swapping_the_answers_in_a_reply_swaps_the_verdict() -> None:
    other = {"1": "2", "2": "1"}
    plain = ("{n}: {a}", "{n}: Answer {a} is better than Answer {b}", "On {n}, answer {a} wins",
             "{n}: {a}, but {b} is better", "{n}: {a} ({b} is longer)",
             "{n}: {a} > {b}")  # fmt: skip
    for form, a in product(plain, "12"):
        one = verdicts.lines(form.format(n="Value", a=a, b=other[a]), NAMES)["Value"]
        two = verdicts.lines(form.format(n="Value", a=other[a], b=a), NAMES)["Value"]
        assert one == SWAPPED[two], form


ALPHABET = st.sampled_from(
    [*"12AB:|->{}[]()\"'*_#.,;?~`<>\n \t/", "Value", "Overall", "tie", "Answer ", "1. ", "：", "｜",
     "```", "json", "| ", " is better", "not ", "\\boxed{", "</think>", "&gt;", "①", "\u2028"]
)  # fmt: skip


@settings(derandomize=True, database=None, deadline=None, max_examples=120)
@given(st.one_of(st.text(max_size=80), st.lists(ALPHABET, max_size=30).map("".join)))
def test_whatever_is_written_gives_scores_and_no_error(text: str) -> None:
    shown = Shown("402918", (text[::-1], text[:20]))
    flat = verdict_text.flat(text)
    assert len(flat) == len(text)
    assert len(verdict_text.without_quoted_lines(text, shown)) == len(text)
    for parse, names in (
        (verdicts.lines, NAMES), (verdicts.json_object, NAMES), (verdicts.brackets, ["Overall"]),
    ):  # fmt: skip
        assert set(parse(text, names, shown).values()) <= SCORES
    # a quoted reply says nothing, whatever it is
    quoted = "\n".join(f"> {line}" for line in text.split("\n"))
    assert set(verdicts.lines(quoted, NAMES).values()) == {None}
    # nor does one that the judge repeats, with words around it that are the answer's
    answer = f"so it begins {text} and so it ends"
    assert set(verdicts.lines(answer, NAMES, Shown("402918", (answer,))).values()) == {None}


def test_long_and_crooked_replies_take_no_time() -> None:
    rng = random.Random(1)
    for text in (
        "{" * 3000, '{"a":' * 2000, "Value: " * 900, "| " * 2000, '"' * 2000, "~~" * 2000,
        "<q>" * 300, "my the final " * 800 + "Value: 1", "(" * 4000,
        "Value: 1 " + "because " * 2000, "Overall, " * 3000, "Overall 1, Value " * 1000,
        "".join(rng.choice("12AB:|-> Value\n\"{}") for _ in range(3000)),
    ):  # fmt: skip
        assert set(verdicts.lines(text, NAMES).values()) <= SCORES


def test_rubrics_of_the_package_are_valid() -> None:
    pairwise = judging.rubric("pairwise")
    assert [*pairwise.dimensions] == ["Overall", "Value", "Persona", "Fluency"]
    for text in pairwise.dimensions.values():
        assert "It is n" in text, "what a dimension does not mean"
    assert pairwise.shows_distribution
    assert not judging.rubric("toy").shows_distribution


def test_a_rubric_that_cannot_be_right_is_one_line(tmp_path: Path) -> None:
    whole = rubrics.rubric_path("pairwise").read_text(encoding="utf-8")
    cases = (
        ("  {first}\n", "", "{first} is missing"),
        ("  {first}", "  see {first}", "line of its own"),
        ("  {reply}", "", "{reply} is missing"),
        ("  {criteria}", "", "{criteria} is missing"),
        ("  Value: >-", "  tie: >-", "'tie' cannot be told"),
        ("  Fluency: >-", "  overall: >-", "capitals"),
        ("({marker}) End", "End", "{marker}"),
        ("  {shares}", "", "{shares}"),
        ("reply: |", "answer: |", "reply"),
        ("  Value: >-", "  Value: [", "not valid YAML"),
        ("  The question: {question}\n", "", "{question} is missing"),
        ("  Give your verdict now.", "  {persona}", ""),
        ("  The person: {persona}", "", "{persona} is missing"),
    )
    for i, (old, new, words) in enumerate(cases):
        path = tmp_path / f"{i}.yaml"
        assert old in whole, old
        path.write_text(whole.replace(old, new, 1), encoding="utf-8")
        if not words:
            assert rubrics.read_rubric(path)
            continue
        with pytest.raises(InputError) as caught:
            rubrics.read_rubric(path)
        line = str(caught.value)
        assert "\n" not in line
        assert line.startswith(str(path))
        assert words in line, line
    late = whole.replace("  The person: {persona}", "", 1) + ""
    path = tmp_path / "late.yaml"
    path.write_text(late.replace("  Give your", "  {persona} Give your"), encoding="utf-8")
    with pytest.raises(InputError, match="persona} stands after an answer"):
        rubrics.read_rubric(path)
    with pytest.raises(InputError, match="no such file"):
        rubrics.read_rubric(tmp_path / "gone.yaml")
