"""Codebooks and prompt files: what is typed is what is shown."""

import json
from pathlib import Path

import pytest

from valuestrata.errors import InputError
from valuestrata.prompting import judging, prompts, settings
from valuestrata.study.rubrics import rubric_path
from valuestrata.study.yaml import read_yaml
from valuestrata.survey import codebook


def complaint(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        [codebook.load(path), codebook.columns(path)]
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_what_a_codebook_says_is_shown_as_it_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "book.yaml"
    rest = "text: 'is it?', block: b, measurement_level: nominal, scale: [1, 2]"
    entry = f"topic: t, {rest}"
    typed = ("yes", "NO", "on", "012", "1_000", "12:30", "2020-01-01", "0x1F", "1e", "3", "Null")
    for text in typed:
        path.write_text(
            f"columns: {{C: {{1: {text}, NO: {text}}}}}\n"
            f"questions: {{{text}: {{topic: {text}, text: {text}, block: {text}, scale: [1, 2], "
            f"measurement_level: nominal, labels: {{1: {text}}}, extra: {{7: {text}}}}}}}"
        )
        loaded = codebook.load(path)[text]
        shown = (loaded.question, loaded.topic, loaded.text, loaded.block, loaded.labels[1])
        assert {*shown, loaded.extra[7]} == {text}
        assert codebook.columns(path) == {"C": {"1": text, "NO": text}}
    for text in ("true", "false", "~", "", "1.50", "1e5", "[a]", "{a: b}"):
        cases = {
            f"questions: {{Q1: {{{entry}, labels: {{2: {text}}}}}}}": "Q1: labels: 2",
            f"questions: {{Q1: {{{entry}, labels: {{}}, extra: {{7: {text}}}}}}}": "Q1: extra: 7",
            f"questions: {{Q1: {{topic: {text}, {rest}, labels: {{}}}}}}": "Q1: topic",
            f"questions: {{}}\ncolumns: {{C: {{2: {text}}}}}": "C: labels: 2",
        }
        for content, where in cases.items():
            path.write_text(content)
            line = complaint(path)
            if where.startswith("Q1: extra") and text in ("~", ""):
                assert "Q1: extra code 7 has no label" in line
                continue
            assert line.startswith(f"{path}: {where}: ")
            assert "put it in quotes" in line


def test_an_order_is_of_whole_numbers(tmp_path: Path) -> None:
    for order in ([True, 2, 3, 4], ["1", 2, 3, 4], [1, 2, 3], [1, 2, 3, 4, 4], "1234"):
        path = tmp_path / "book.yaml"
        path.write_text(
            f"questions: {{Q1: {{topic: t, text: t, block: b, scale: [1, 4], labels: {{}}, "
            f"measurement_level: nominal, order: {json.dumps(order)}}}}}"
        )
        assert "order names each code of the scale once" in complaint(path)


def test_words_of_prompt_files_and_rubrics_stay_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "FOLDER", tmp_path)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/typed.yaml").write_text("glossary: {no: tidak, NO: on, 012: 1_000}")
    assert prompts.template("typed")["glossary"] == {"no": "tidak", "NO": "on", "012": "1_000"}
    content = read_yaml(rubric_path("toy")) | {"dimensions": {"on": "no"}, "reply": "off"}
    path = tmp_path / "typed.yaml"
    path.write_text(json.dumps(content).replace('"on"', "on").replace('"no"', "no"))
    assert judging.rubric(str(path)).dimensions == {"on": "no"}


def test_an_edited_codebook_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "codebook.yaml"
    keys = "text: A?, block: b, measurement_level: ordinal, scale: [1, 2], labels: {}"
    text = f"questions: {{Q: {{{keys}}}}}"
    for shown in ("A?", "B?"):
        path.write_text(text.replace("A?", shown), encoding="utf-8")
        assert codebook.load(path)["Q"].text == shown
        assert codebook.columns(path) == {}
