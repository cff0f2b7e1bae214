"""Labels of codes: a file's against the codebook's, and cells that hold labels."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat

from tests import world
from tests.survey_file import IMPORTANCE, codes, complaint, frame, labels, question, read, read_csv
from valuestrata.commands import codebook as codebook_command
from valuestrata.study.survey import Axis
from valuestrata.survey.columns import check_columns
from valuestrata.survey.value_labels import contradiction, means_no_answer, unlike

LIKERT = {
    1: "strongly agree",
    2: "agree",
    3: "neither agree nor disagree",
    4: "disagree",
    5: "strongly disagree",
}


def reverse(by_code: dict[int, str]) -> dict[int, str]:
    return dict(zip(by_code, reversed(by_code.values()), strict=True))


def shift(by_code: dict[int, str], by: int) -> dict[int, str]:
    return {code + by: label for code, label in by_code.items()}


def test_labels_that_stand_at_other_codes_are_a_contradiction() -> None:
    yes, satisfied = {1: "yes", 2: "no"}, {1: "dissatisfied", 10: "satisfied"}
    capital = {code: label.title() for code, label in IMPORTANCE.items()}
    table: list[tuple[dict[int, str], dict[int, str], str]] = [
        (reverse(capital), IMPORTANCE, "reversed"),
        (reverse(LIKERT), LIKERT, "reversed"),
        ({1: "No", 2: "Yes"}, yes, "reversed"),
        ({1: "Satisfied ", 10: "DISSATISFIED"}, satisfied, "reversed"),
        ({1: "1. Satisfied", 10: "10. Dissatisfied"}, satisfied, "reversed"),
        (shift(capital, -1), IMPORTANCE, "shifted by 1"),
        (shift(LIKERT, 1), LIKERT, "shifted by 1"),
        (shift(LIKERT, 10), LIKERT, "shifted by 10"),
        ({0: "No", 1: "Yes"}, yes, "exchanged"),
        ({1: "Left", 2: "Right", 3: "Centre"}, {1: "left", 2: "centre", 3: "right"}, "exchanged"),
        # the same words in another order, and nearly the same words
        ({1: "Disagree strongly", 2: "Disagree", 4: "Agree", 5: "Agree strongly"},
         {1: "strongly agree", 2: "agree", 4: "disagree", 5: "strongly disagree"}, "reversed"),
        ({1: "Not at all interested in it", 2: "Not very interested in it", 3: "Somewhat interested"
          " in it", 4: "Very interested in it"},
         {1: "very interested", 2: "somewhat interested", 3: "not very interested",
          4: "not at all interested"}, "reversed"),
        ({1: "women more than men", 2: "men more than women"},
         {1: "men more than women", 2: "women more than men"}, "reversed"),
    ]  # fmt: skip
    for file, book, how in table:
        result = contradiction(file, book)
        assert result is not None, (file, book)
        assert result.how == how, (file, book, result)
        assert set(result.codes) <= set(file)


def test_labels_that_mean_the_same_are_no_contradiction() -> None:
    table: list[tuple[dict[int, str], dict[int, str]]] = [
        (IMPORTANCE, IMPORTANCE),
        ({c: f"{c}. {label.upper()}  " for c, label in IMPORTANCE.items()}, IMPORTANCE),
        ({1: "1", 2: "2", 10: "10"}, {1: "never", 10: "always"}),
        ({1: "2", 2: "1"}, {1: "first", 2: "second"}),
        ({1: "Agree strongly", 2: "Agree", 5: "Disagree strongly"}, LIKERT),
        ({1: "Yes", 2: "No", 3: "No, never"}, {1: "yes", 2: "no"}),
        ({1: "Other", 2: "B", 3: "Other"}, {1: "other", 2: "b"}),
        ({1: "Sehr wichtig", 4: "Gar nicht wichtig"}, IMPORTANCE),
        ({1: "men more than women", 2: "women more than men"},
         {1: "men more than women", 2: "women more than men"}),
        ({1: "Extremely important", 2: "Rather", 3: "Not so", 4: "Not at all"}, IMPORTANCE),
        ({}, IMPORTANCE),
        (IMPORTANCE, {}),
        ({1: "", 2: ""}, IMPORTANCE),
    ]  # fmt: skip
    for file, book in table:
        assert contradiction(file, book) is None, (file, book, contradiction(file, book))


def test_labels_without_a_common_word_are_told_from_those_with_one() -> None:
    assert unlike({1: "Male", 2: "Female"}, IMPORTANCE) == 1
    assert unlike({1: "Very", 2: "x"}, IMPORTANCE) is None
    assert unlike({7: "Male"}, IMPORTANCE) is None


# Files with labels ------------------------------------------------------------------------------


def labelled(folder: Path, suffix: str, table: pd.DataFrame, **by_code: dict[int, str]) -> Path:
    path = folder / f"a{suffix}"
    write = pyreadstat.write_dta if suffix == ".dta" else pyreadstat.write_sav
    write(table, path, variable_value_labels=by_code)
    return path


def test_a_labelled_file_that_contradicts_the_codebook_is_refused(tmp_path: Path) -> None:
    table = frame(Q=[1.0, 2.0, 3.0, 4.0], P=[1.0, 2.0, 1.0, 2.0])
    asked = [question(labels=IMPORTANCE), question("P", high=2, labels={1: "yes", 2: "no"})]
    for suffix in (".sav", ".zsav", ".dta"):
        fine = labelled(tmp_path, suffix, table, Q=IMPORTANCE, P={1: "Yes", 2: "No"})
        assert not read(fine, asked).notices
        path = labelled(tmp_path, suffix, table, Q=reverse(IMPORTANCE), P={1: "No", 2: "Yes"})
        line = complaint(path, asked)
        assert line.startswith(str(path))
        assert "Q (reversed: 1 is 'not at all' in the file and 'very important' in" in line
        assert "P (reversed: 1 is 'No' in the file and 'yes' in the codebook" in line
        assert "correct the labels in the codebook" in line
        shifted = labelled(tmp_path, suffix, table, Q=shift(IMPORTANCE, -1))
        assert "Q (shifted by 1: 0 is 'very important' in the file and 1 in" in complaint(
            shifted, asked
        )


def test_labels_of_missing_codes_do_not_count(tmp_path: Path) -> None:
    extra = {8: "don't know"}
    asked = [question(labels=IMPORTANCE, extra=extra)]
    in_file = {**IMPORTANCE, -1: "Don't know", 99: "don't know"}
    path = labelled(tmp_path, ".sav", frame(Q=[1.0, 2.0]), Q=in_file)
    assert codes(read(path, asked, missing=(-1, 99))) == [1, 2]
    assert codes(read(path, asked, missing=(-1,), recode={"Q": {"99": None}})) == [1, 2]
    assert '99 is "don\'t know" in the file and 8 in' in complaint(path, asked, missing=(-1,))


def test_a_recoded_question_is_compared_by_the_codes_of_the_file(tmp_path: Path) -> None:
    from valuestrata.survey import codebook

    path = labelled(tmp_path, ".sav", frame(Q=[1.0, 4.0]), Q=IMPORTANCE)
    turn = {1: 4, 2: 3, 3: 2, 4: 1}
    asked = codebook.recoded(question(labels=IMPORTANCE), turn)
    assert asked.labels == reverse(IMPORTANCE)
    survey = read(path, [asked], recode={"Q": {str(old): new for old, new in turn.items()}})
    assert codes(survey) == [4, 1]
    wrong = codebook.recoded(question(labels=reverse(IMPORTANCE)), turn)
    assert "reversed" in complaint(path, [wrong], recode={"Q": {"1": 4}})


def test_groups_that_contradict_a_file_s_labels_are_refused(tmp_path: Path) -> None:
    table = frame(Q=[1.0, 2.0, 1.0, 2.0], faith=[1.0, 2.0, 3.0, 1.0])
    faiths = {1: "None", 2: "Muslim", 3: "Hindu"}
    faith = Axis(column="faith", groups={"1": "Muslim", "2": "Hindu", "3": "none"})
    path = labelled(tmp_path, ".sav", table, sex={1: "Female", 2: "Male"}, faith=faiths)
    line = complaint(path, [question()])
    assert "column sex: value labels contradict survey.axes.sex.groups: reversed" in line
    assert "1 is 'Female' in the file and 'male' in the study" in line
    assert "faith" in complaint(path, [question()], axes={"faith": faith})


def test_names_of_groups_in_the_codebook_that_contradict_a_file_s_are_refused(
    tmp_path: Path,
) -> None:
    table = frame(Q=[1.0, 2.0, 1.0, 2.0], faith=[1.0, 2.0, 1.0, 2.0])
    axes = {"faith": Axis(column="faith", groups="auto")}
    path = labelled(tmp_path, ".sav", table, faith={1: "Muslim", 2: "Hindu", 3: "White", 4: "X"})
    line = complaint(path, [question()], {"faith": {"1": "Hindu", "2": "Muslim"}}, axes=axes)
    assert "column faith: value labels contradict `columns` of the codebook: reversed" in line
    # codes of several countries may be called alike
    book = {"faith": {"1": "Muslim", "2": "Hindu", "3": "European", "9": "White"}}
    assert labels(read(path, [question()], book, axes=axes), "faith")[:2] == ["Muslim", "Hindu"]


def test_labels_that_read_as_no_answer_are_told_from_answers() -> None:
    for text in (
        *("Don't know", "DON’T KNOW.", "-9. Refused", "No answer", "Not asked in survey"),
        *("99 - Refusal", "Prefer not to say", "N/A", "DK/NA", "Missing; unknown"),
    ):
        assert means_no_answer(text), text
    for text in (
        *("No", "None", "Other", "No one", "Not at all", "Hard to say", "No religion", "Never"),
        *("Nader", "Inactive member", "No risk at all", "Not mentioned"),
    ):
        assert not means_no_answer(text), text


def test_a_file_s_no_answer_that_counts_as_an_answer_is_said(tmp_path: Path) -> None:
    table = frame(Q=[1.0, 9.0, 10.0, 2.0], faith=[1.0, 99.0, 1.0, 99.0])
    path = labelled(
        tmp_path,
        ".sav",
        table,
        Q={1: "Low", 9: "Don't know"},
        faith={1: "Christian", 99: "Refused"},
    )
    asked = [question(high=10, labels={1: "low", 10: "high"})]
    axes = {"faith": Axis(column="faith", groups="auto")}
    lines = read(path, asked, axes=axes).notices
    assert any('Q (9 is "Don\'t know")' in line for line in lines)
    assert any("axis faith: 'Refused' is a group like any other" in line for line in lines)
    fine = {"missing": (99,), "recode": {"Q": {"9": None}}}
    assert read(path, asked, axes=axes, **fine).notices == []


def test_a_draft_keeps_negative_codes_that_are_answers(tmp_path: Path) -> None:
    scale = {-9: "Refused", -2: "Against", 0: "Neither", 2: "For"}
    path = labelled(tmp_path, ".dta", frame(Q=[-2.0, 0.0, 2.0, -9.0]), Q=scale)
    draft = codebook_command.draft(path, ["Q"])
    assert "scale: [-2, 2]" in draft
    assert "-2: Against" in draft.replace('"', "")
    assert "Refused" not in draft


def test_labels_of_another_question_are_said(tmp_path: Path) -> None:
    path = labelled(tmp_path, ".sav", frame(Q=[1.0, 2.0]), Q={1: "Car", 2: "Train"})
    (line,) = read(path, [question(labels=IMPORTANCE)]).notices
    assert "Q (1 is 'Car', 'very important')" in line


def test_a_contradiction_is_found_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "a.sav"
    four = {1: "Not at all important", 2: "Not very important", 3: "Rather important",
            4: "Very important"}  # fmt: skip
    pyreadstat.write_sav(world.world().astype("object"), path, variable_value_labels={"Q1": four})
    overlay = {"survey": {"countries": [702], "missing": [-1, 3]}}
    lines = check_columns(world.study(overlay, path), Path())
    assert any("survey.missing: 3 is an answer to Q1" in line for line in lines)
    assert any("Q1 (reversed: 1 is 'Not at all important' in the file" in line for line in lines)
    assert all("\n" not in line for line in lines)


# Cells that hold labels -------------------------------------------------------------------------


def test_labels_in_cells_are_matched_to_the_codebook_s(tmp_path: Path) -> None:
    table: list[tuple[list[str], dict[int, str], dict[str, Any], list[int | None]]] = [
        (["Very important", " NOT AT ALL", "rather  important", ""], IMPORTANCE, {},
         [1, 4, 2, None]),
        (["1. Very important", "4 - Not at all", "(2) Rather important", "3"], IMPORTANCE, {},
         [1, 4, 2, 3]),
        (["Never", "2", "9", "Always."], {1: "never", 10: "always"}, {"high": 10}, [1, 2, 9, 10]),
        (["0", "1-2", "3 or more", "NA"], {1: "0", 2: "1-2", 3: "3 or more"}, {}, [1, 2, 3, None]),
        (["Very important", "Don’t know", "-1. Refused", "Not at all"], IMPORTANCE,
         {"missing": (-1, "don't know")}, [1, None, None, 4]),
        (["Hard to say", "very important", "8", "Not at all"], IMPORTANCE,
         {"extra": {8: "hard to say"}}, [8, 1, 8, 4]),
        (["Low", "High", "middle", "Low"], {-1: "low", 0: "middle", 1: "high"},
         {"low": -1, "high": 1}, [-1, 1, 0, -1]),
        (["yes", "No", "YES", "no"], {1: "Yes", 2: "No"}, {"high": 2}, [1, 2, 1, 2]),
        (["2020", "2024", "neither", "2024"], {1: "2020", 2: "2024", 3: "neither"}, {},
         [1, 2, 3, 2]),
    ]  # fmt: skip
    for cells, book, fields, expected in table:
        scale = {key: fields.pop(key) for key in ("low", "high", "extra") if key in fields}
        asked = question(labels=book, **scale)
        assert codes(read_csv(tmp_path, frame(Q=cells), asked, **fields)) == expected, cells


def test_a_workbook_may_hold_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    cells = ["Very important", "4 - Not at all", "rather important", None]
    frame(Q=cells, sex=["Male", "Female"] * 2).to_excel(path, index=False)
    survey = read(path, [question(labels=IMPORTANCE)])
    assert codes(survey) == [1, 4, 2, None]
    assert labels(survey, "sex") == ["male", "female"] * 2
    cells[0] = "Wery important"
    frame(Q=cells).to_excel(path, index=False)
    assert "'Wery important' (1 cell; is it 'very important'?)" in complaint(
        path, [question(labels=IMPORTANCE)]
    )


def test_labels_in_cells_are_recoded_as_their_codes_are(tmp_path: Path) -> None:
    from valuestrata.survey import codebook

    turn = {1: 4, 2: 3, 3: 2, 4: 1}
    asked = codebook.recoded(question(labels=IMPORTANCE), turn)
    recode = {"Q": {str(old): new for old, new in turn.items()}}
    survey = read_csv(tmp_path, frame(Q=["Very important", "Not at all"]), asked, recode=recode)
    assert codes(survey) == [4, 1]


def test_all_texts_that_match_nothing_are_listed_at_once(tmp_path: Path) -> None:
    table = frame(
        Q=["very importent", "Very important", "very importent", "Dunno"],
        P=["yes", "Maybe", "no", "yes"],
        R=[1, 2, 3, 4],
    )
    asked = [
        question(labels=IMPORTANCE),
        question("P", high=2, labels={1: "Yes", 2: "No"}),
        question("R", labels=IMPORTANCE),
    ]
    line = complaint(tmp_path, table, *asked)
    assert "column Q: 'very importent' (2 cells; is it 'very important'?), 'Dunno' (1 cell)" in line
    assert "column P: 'Maybe' (1 cell)" in line
    assert "column R" not in line
    assert "survey.missing" in line
    for cells, part in (
        (["1. Not at all", "Very important"], "'1. Not at all' (1 cell; is it 'not at all'?)"),
        (["99 - Refused", "Very important"], "'99 - Refused' (1 cell)"),
        (["1;2", "1"], "'1;2' (1 cell)"),
        (["x" * 100, "1"], f"'{'x' * 40}...'"),
    ):
        assert part in complaint(tmp_path, frame(Q=cells), asked[0])
    twice = question(high=3, labels={1: "other", 2: "b", 3: "Other"})
    assert "'other' (1 cell)" in complaint(tmp_path, frame(Q=["other", "b"]), twice)
    many = complaint(tmp_path, frame(Q=[f"text {i}" for i in range(99)]), asked[0])
    assert "and 69 more" in many


def test_labels_in_the_cells_of_an_axis_are_its_groups(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4], sex=["Male", "FEMALE", " female", "Other"])
    assert labels(read_csv(tmp_path, table, question()), "sex") == [
        "male",
        "female",
        "female",
        None,
    ]
    in_book = {"sex": {"1": "Man", "2": "Woman"}}
    table = frame(Q=[1, 2, 3, 4], sex=["man", "Woman", "2", ""])
    survey = read_csv(tmp_path, table, question(), book=in_book)
    assert labels(survey, "sex") == ["male", "female", "female", None]
    named = Axis(column="sex", groups={"Male": "a man", "Female": "a woman"})
    table = frame(Q=[1, 2, 3, 4], sex=["Male", "female", "MALE", "3"])
    survey = read_csv(tmp_path, table, question(), axes={"sex": named})
    assert labels(survey, "sex") == ["a man", "a woman", "a man", None]
