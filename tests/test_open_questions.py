"""Open questions: their wordings, which pairs they are asked of, and what is kept of a text."""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import asking, toys
from tests.study.parts import REMOVED, check, study
from valuestrata import io, tables
from valuestrata.commands.check import described, findings
from valuestrata.errors import InputError
from valuestrata.inference.openai import SentPrompt
from valuestrata.inference.protocol import REFUSED, Completion, LoadCheck, Messages
from valuestrata.paths import resource
from valuestrata.prompting.open_questions import OpenQuestions, open_questions
from valuestrata.provenance import text_digest
from valuestrata.records import Record
from valuestrata.stages import generate, toy
from valuestrata.stages.job import Job
from valuestrata.stages.nodes import nodes
from valuestrata.study.load import ROOT
from valuestrata.study.study import Study
from valuestrata.study.yaml import read_yaml
from valuestrata.survey import codebook
from valuestrata.survey.draw import BETWEEN, DIVISIVE, UNIFYING, conflict_thirds, draw_pairs
from valuestrata.survey.open_questions import open_question, stances

FOLDER = resource("prompting/open_questions")
LANGUAGES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
WORDINGS = ("question", "topic", "stance", "conversation")
BLOCKS = ("values", "trust", "faith")


def row(question: codebook.Question) -> dict[str, Any]:
    """A question's row of the table of questions."""
    codes = list(range(question.scale_min, question.scale_max + 1))
    labels = [question.labels.get(code, "") for code in codes]
    return {**vars(question), "codes": codes, "labels": labels}


# ---- wordings


def test_every_language_has_the_same_wordings_and_no_number_is_asked_for() -> None:
    templates = sorted(path.stem for path in resource("prompting/templates").glob("*.yaml"))
    assert templates == LANGUAGES == ["english", "malay", "mandarin", "tamil"]
    english = read_yaml(FOLDER / "english.yaml")
    for language in LANGUAGES:
        words = read_yaml(FOLDER / f"{language}.yaml")
        assert words.keys() == english.keys()
        assert tuple(words["wordings"]) == WORDINGS
        for name, text in words["wordings"].items():
            parts = {part for _, part, *_ in string.Formatter().parse(text) if part}
            other = string.Formatter().parse(english["wordings"][name])
            assert parts == {part for _, part, *_ in other if part}, (language, name)
            assert "question" in parts
            assert not any(c.isdigit() for c in text)


def test_every_question_of_wave_7_is_worded_in_every_language() -> None:
    """Topic, stance and question are shown whole; no code of the scale is."""
    book = codebook.load(ROOT / "studies/codebooks/wvs7.yaml")
    assert all(question.has_topic for question in book.values())
    for language in LANGUAGES:
        for wording in WORDINGS:
            settings = OpenQuestions(file=language, wordings=(wording,))
            for question in book.values():
                name, text = open_question(settings, row(question))
                assert name == wording
                assert question.text in text
                assert (question.topic in text) or wording in ("question", "stance")
                if wording == "stance":
                    assert f"“{question.labels[question.scale_min]}”" in text
                    assert f"“{question.labels[question.scale_max]}”" in text
                assert "{" not in text
                assert " = " not in text


def test_the_wording_is_drawn_for_a_question_whoever_is_asked() -> None:
    rows = [{**row(QUESTION), "question": f"Q{i}"} for i in range(400)]
    settings = OpenQuestions(file="english", wordings=WORDINGS, seed=3)
    drawn = [open_question(settings, each)[0] for each in rows]
    counts = pd.Series(drawn).value_counts()
    assert counts.min() > 60
    assert set(counts.index) == set(WORDINGS)
    assert drawn[100:] == [open_question(settings, each)[0] for each in rows[100:]]
    other = settings.replace(seed=4)
    assert drawn != [open_question(other, each)[0] for each in rows]


def test_the_default_wording_is_the_question_itself() -> None:
    settings = open_questions(study())
    assert settings.wordings == ("question",)
    braces = {**row(QUESTION), "text": "Is {this} so?"}
    assert open_question(settings, braces) == (
        "question",
        "In your own words, in two or three sentences: Is {this} so?",
    )
    malay = open_questions(study({"prompt/template": "malay"}))
    assert "Dengan kata-kata" in open_question(malay, braces)[1]
    silent = open_questions(study({"generation": REMOVED, "judges": REMOVED}))
    assert silent == settings


def test_stances_are_the_ends_of_a_scale_or_all_answers_without_an_order() -> None:
    cases: list[tuple[Mapping[int, str], tuple[int, int], str, tuple[str, ...]]] = [
        ({1: "never", 10: "always"}, (1, 10), "ordinal", ("never", "always")),
        ({-2: "left", 0: "centre", 2: "right"}, (-2, 2), "ordinal", ("left", "right")),
        ({1: "better", 2: "worse", 3: "same"}, (1, 3), "nominal", ("better", "worse", "same")),
        ({1: "red", 2: "blue", 3: "Don't know"}, (1, 3), "nominal", ("red", "blue")),
        ({1: "ya", 2: "tidak"}, (1, 2), "nominal", ("ya", "tidak")),
        ({1: "重要", 2: "不重要"}, (1, 2), "ordinal", ("重要", "不重要")),
        ({1: "never"}, (1, 4), "ordinal", ()),
        ({1: "red", 3: "blue"}, (1, 3), "nominal", ()),
        ({1: "1", 5: "5"}, (1, 5), "ordinal", ()),
        ({}, (1, 2), "nominal", ()),
    ]
    for labels, scale, level, expected in cases:
        assert stances(labels, scale, level) == expected


QUESTION = codebook.load(ROOT / "studies/codebooks/wvs7.yaml")["Q1"]
BOOK = """
questions:
  a: {text: 'How is work?', block: b, measurement_level: ordinal, scale: [1, 3],
      labels: {1: good, 3: bad}}
  b: {topic: rest, text: 'How is rest?', block: b, measurement_level: ordinal, scale: [1, 3],
      labels: {}}
"""


def own_survey(folder: Path, **generation: Any) -> Study:
    (folder / "book.yaml").write_text(BOOK, encoding="utf-8")
    own = {
        "survey/codebook": str(folder / "book.yaml"),
        "survey/questions": "all",
        "survey/exclude": [],
        **{f"generation/{key}": value for key, value in generation.items()},
    }
    return study(own)


def test_a_codebook_without_topics_quotes_its_questions_and_check_says_so(tmp_path: Path) -> None:
    made = own_survey(tmp_path, wordings=["topic"])
    book = codebook.load(tmp_path / "book.yaml")
    assert (book["a"].topic, book["b"].topic) == ("“How is work?”", "rest")
    assert [each.has_topic for each in book.values()] == [False, True]
    text = open_question(open_questions(made), row(book["a"]))[1]
    assert text.startswith("Let us talk about “How is work?”.")
    (line,) = [line for line in findings(made)[0] if "topic" in line]
    assert line == (
        "warning: generation.wordings: the codebook has no topic for a; open questions quote the "
        "question in its place"
    )
    assert not [line for line in findings(own_survey(tmp_path))[0] if "topic" in line]


def test_a_wording_of_stances_needs_words_for_the_answers(tmp_path: Path) -> None:
    _, wrong = findings(own_survey(tmp_path, wordings=["stance", "question"]))
    assert wrong == [
        "generation.wordings: stance names the answers at the ends of a scale, and the codebook "
        "has no words for those of b; add labels, or take another wording"
    ]
    assert findings(own_survey(tmp_path))[1] == []


def test_what_generation_cannot_be_is_one_line() -> None:
    check(
        [
            ({"generation/wordings": ["view"]}, "generation.wordings: no wording 'view'",
             ("question, topic, stance, conversation",)),
            ({"generation/wordings": []}, "generation.wordings: ", ("at least 1",)),
            ({"generation/wordings": ["topic", "topic"]}, "generation.wordings: ", ("duplicate",)),
            ({"generation/per_subgroup": 0}, "generation.per_subgroup: ", ()),
            ({"generation/per_subgroup": "some"}, "generation.per_subgroup: ", ("all",)),
            ({"generation/per_block": 0}, "generation.per_block: ", ("at least 1",)),
            ({"generation/stratify_by": "block"}, "generation.stratify_by: ", ("none or mds",)),
            ({"generation/stratify_by": "mds", "generation/per_subgroup": 1}, "generation: ",
             ("from 2 on",)),
            ({"generation/stratify_by": "mds", "generation/per_subgroup": "all"}, "generation: ",
             ("from 2 on",)),
            ({"generation/stratify_by": "mds", "generation/per_block": 1}, "generation: ",
             ("remove one",)),
        ]
    )  # fmt: skip


def test_a_study_says_how_many_runs_write_and_where_none_can() -> None:
    assert "14 runs, 4 of which write open-ended answers" in described(study())
    mute = study({"models": {"axis-mode": {"backend": "baseline", "rule": "axis_mode"}},
                  "judges": REMOVED, "recipes": REMOVED})  # fmt: skip
    assert [line for line in findings(mute)[0] if "no language model" in line]
    assert not [line for line in findings(study())[0] if "no language model" in line]


def test_a_study_without_a_judge_writes_texts_in_its_graph() -> None:
    made = study({"judges": REMOVED})
    by_stage = [node for node in nodes(made) if node.stage == "generate"]
    assert len(by_stage) == 4
    (page,) = [node for node in nodes(made) if node.stage == "report"]
    assert {path for node in by_stage for path in node.outputs} <= set(page.inputs)


def test_toys_are_taught_the_wordings_that_they_are_asked_in() -> None:
    plain, worded = study(), study({"generation/wordings": ["topic"]})
    assert toy.settings(worded, "toy-llama") != toy.settings(plain, "toy-llama")
    assert toy.settings(worded, "toy-llama").open_questions.wordings == ("topic",)


# ---- the draw


def table(subgroups: int = 12, questions: int = 30) -> pd.DataFrame:
    rows = [
        {"stratum": "s", "subgroup": f"g={g}", "question": f"Q{q}", "block": BLOCKS[q % 3]}
        for g in range(subgroups)
        for q in range(questions)
    ]
    return pd.DataFrame(rows)


def test_so_many_of_each_subgroup_are_drawn_as_ever() -> None:
    """The draw of studies that were made before there were others."""
    pairs = table()
    rows = []
    for name, group in pairs.groupby("subgroup", sort=False):
        entropy = [int(text_digest(["s", str(name)])[:8], 16), 7]
        order = np.random.default_rng(entropy).permutation(len(group))
        rows.append(group.iloc[np.sort(order[:4])])
    pd.testing.assert_frame_equal(draw_pairs(pairs, 7, 4), pd.concat(rows, ignore_index=True))
    assert not draw_pairs(pairs, 8, 4).equals(draw_pairs(pairs, 7, 4))


def test_a_subgroups_draw_of_questions_is_its_own() -> None:
    scores = {f"Q{q}": q / 30 for q in range(30)}
    thirds = conflict_thirds(scores, list(scores))
    rules: list[dict[str, Any]] = [
        {"per_subgroup": 5},
        {"per_subgroup": None},
        {"per_subgroup": None, "per_block": 2},
        {"per_subgroup": 4, "per_block": 2},
        {"per_subgroup": 7, "thirds": thirds},
    ]
    small, large = table(subgroups=6), table(subgroups=12)
    for rule in rules:
        drawn, more = (draw_pairs(pairs, 1, **rule) for pairs in (small, large))
        pd.testing.assert_frame_equal(more[more["subgroup"].isin(drawn["subgroup"])], drawn)
        assert more.equals(draw_pairs(large, 1, **rule))
    assert draw_pairs(large, 1, None).equals(large)
    assert draw_pairs(large, 1, 99).equals(large)


def test_blocks_have_their_share_of_every_subgroup() -> None:
    whole = draw_pairs(table(), 1, None, per_block=2)
    assert (whole.groupby(["subgroup", "block"]).size() == 2).all()
    assert len(whole) == 12 * 3 * 2
    few = draw_pairs(table(), 1, 3, per_block=1)
    assert (few.groupby("subgroup")["block"].nunique() == 3).all()
    # drawn, not the first of each block
    assert whole["question"].nunique() > 20
    lone = draw_pairs(table(questions=2), 1, None, per_block=5)
    assert len(lone) == 24


def test_divisive_and_unifying_questions_are_both_in_every_draw() -> None:
    rng = np.random.default_rng(1)
    scores = dict(zip((f"Q{q}" for q in range(30)), rng.random(30), strict=True))
    thirds = conflict_thirds(scores, list(scores))
    ranked = sorted(scores, key=lambda q: scores[q])
    assert {q for q in thirds if thirds[q] == UNIFYING} == set(ranked[:10])
    assert {q for q in thirds if thirds[q] == DIVISIVE} == set(ranked[-10:])
    for n, expected in ((2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (12, (4, 4, 4))):
        drawn = draw_pairs(table(), 1, n, thirds=thirds)
        found_thirds = drawn["question"].map(thirds)
        for _, of_group in found_thirds.groupby(drawn["subgroup"]):
            counts = tuple(int((of_group == t).sum()) for t in (DIVISIVE, UNIFYING, BETWEEN))
            assert counts == expected
    assert drawn["question"].nunique() > 25


def test_thirds_need_scores_that_tell_questions_apart() -> None:
    names = list("abcdef")
    scores = dict(zip(names, (0.0, 0.0, 0.1, 0.2, np.nan, 0.4), strict=True))
    thirds = conflict_thirds(scores, names)
    assert thirds == {"a": UNIFYING, "b": BETWEEN, "c": BETWEEN, "d": BETWEEN, "e": BETWEEN,
                      "f": DIVISIVE}  # fmt: skip
    for wrong in ({}, dict.fromkeys(names, 0.0), {"a": 0.1, "b": 0.2}):
        with pytest.raises(InputError, match="conflict scores of"):
            conflict_thirds(wrong, names)


# ---- the stage

THOUGHT = "<think>She would say yes.</think>Family comes first."
PART = "As an AI I have no faith. But speaking as a Muslim woman, I would say that God guides me."


class Scribe:
    """A backend that writes some completions in turn."""

    version, adapter, chat, max_length, shard_size = "scribe", "", None, None, 4096
    entries: tuple[str, ...] = ()
    numerics: tuple[str, ...] = ()

    def __init__(self, completions: list[Completion]) -> None:
        self.completions = completions

    def render(self, messages: Messages) -> SentPrompt:
        return SentPrompt(messages)

    def check_load(self, messages: Messages) -> LoadCheck:
        return LoadCheck()

    def generate(self, prompts: Any, sampling: Any) -> list[Completion]:
        return [self.completions[i % len(self.completions)] for i in range(len(prompts))]


def texts_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, completions: list[Completion], **changes: Any
) -> pd.DataFrame:
    with monkeypatch.context() as patch:
        patch.setattr("valuestrata.stages.models.open_model", lambda *_: Scribe(completions))
        return asking.generate(folder, toys.model("none"), **changes)


def test_what_is_kept_of_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    completions = [
        Completion(THOUGHT, "stop", 20, 9),
        Completion(PART, "length", 21, 30),
        Completion("I'm sorry, I cannot answer that.", "stop"),
        Completion("No.", REFUSED, 22, 2),
        Completion("<think>What would she", "length", 23, 12),
        Completion(None),
    ]
    texts = texts_of(tmp_path, monkeypatch, completions, per_subgroup=2)
    kept = texts.set_index(pd.Index(range(6)))
    assert kept["outcome"].to_list() == [
        "answer", "answer", "refusal", "refusal", "truncated", "failed",
    ]  # fmt: skip
    assert kept["declines"].to_list() == [False, True, True, True, False, False]
    assert kept["text"].to_list()[0] == "Family comes first."
    assert kept["thought"][0] == "<think>She would say yes.</think>"
    assert kept["finish_reason"].fillna("").to_list() == [
        "stop", "length", "stop", REFUSED, "length", "",
    ]  # fmt: skip
    assert kept["prompt_tokens"].fillna(-1).to_list() == [20, 21, -1, 22, 23, -1]
    assert kept["completion_tokens"].fillna(-1).to_list() == [9, 30, -1, 2, 12, -1]
    assert set(kept["wording"]) == {"question"}
    assert kept["prompt"][0].startswith("In your own words")


def test_tokens_come_from_the_cache_and_old_entries_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts_of(tmp_path, monkeypatch, [Completion("Yes.", "stop", 20, 3)])
    again = texts_of(tmp_path, monkeypatch, [Completion("Never asked.")])
    assert set(again["completion_tokens"]) == {3}
    (shard,) = (tmp_path / "cache").glob("*.jsonl")
    old = shard.read_text().replace(', "prompt_tokens": 20, "completion_tokens": 3', "")
    assert "tokens" not in old
    shard.write_text(old)
    aged = texts_of(tmp_path, monkeypatch, [Completion("Never asked.")])
    assert aged["text"].to_list() == again["text"].to_list()
    assert aged["completion_tokens"].isna().all()


def test_wordings_and_conflict_scores_reach_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [
        {"stratum": stratum, "question": f"Q{q}", "block": "values", "measure": measure,
         "value": value if (stratum, measure) == ("mean", "mds") else 0.5, "corrected": None,
         "p_error": None, "ci_low": None,
         "ci_high": None, "n": 1, "missing": 0, "null_mean": None, "null_p95": None,
         "p_value": None}
        for stratum in ("sex", "mean")
        for measure in ("mds", "wasserstein")
        for q, value in enumerate((0.9, 0.4, 0.0, 0.5))
    ]  # fmt: skip
    path = tmp_path / "diversity.parquet"
    io.write_table(pd.DataFrame(scores), path, tables.DIVERSITY, asking.MADE_OF)
    config = generate.Settings(
        model=toys.model("none"), per_subgroup=2, stratify_by="mds", max_new_tokens=9,
        temperature=0.0, seed=1, caveat="", open_questions=OpenQuestions(file="english"),
    )  # fmt: skip
    job: Job[Any] = Job(config, {"diversity": str(path)}, Record("generate", {}, {}))
    drawn = generate.draw(job, toys.pairs())
    assert set(drawn["question"]) == {"Q0", "Q2"}
    worded = OpenQuestions(file="tamil", wordings=("topic", "stance"), seed=2)
    texts = texts_of(tmp_path, monkeypatch, [Completion("So.", "stop")], open_questions=worded)
    assert set(texts["wording"]) == {"topic", "stance"}
    assert len(texts.drop_duplicates(["question", "prompt"])) == texts["question"].nunique()
