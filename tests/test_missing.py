"""Codes that mean no answer: never an answer lost, never an unknown age in a band."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat
import pytest
import yaml

from tests import survey_file
from tests.survey_file import codes, complaint, frame, labels, question, read, read_csv
from valuestrata.errors import InputError
from valuestrata.study.survey import Axis
from valuestrata.survey import codebook, missing
from valuestrata.survey.codebook import Question

AGE = {"column": "age", "bands": (18, 40, 60)}


def test_a_missing_code_on_a_scale_is_refused_with_the_questions(tmp_path: Path) -> None:
    answers = frame(Q=[9, 10, 99, 3], P=[1, 4, 9, 9])
    cases: list[tuple[tuple[int | str, ...], Question, str]] = [
        ((9, 99), question(high=10), "9 is an answer to Q (1 to 10)"),
        ((0,), question(low=0), "0 is an answer to Q (0 to 4)"),
        ((-1, -2), question(low=-2, high=2), "-2 is an answer to Q (-2 to 2)"),
        ((-5, -1), question(low=-5, high=5), "-5 is an answer to Q (-5 to 5)"),
        ((97, 98, 99), question(low=0, high=100), "97 is an answer to Q (0 to 100)"),
        ((4,), question(), "4 is an answer to Q (1 to 4)"),
        (("4",), question(), "4 is an answer to Q (1 to 4)"),
    ]
    for codes_missing, asked, part in cases:
        line = complaint(tmp_path, answers, asked, missing=codes_missing)
        assert part in line, line
        assert "survey.missing" in line
        assert "codebook" in line
    many = [question(f"Q{i}", high=10) for i in range(9)]
    (line,) = missing.problems(many, survey_file.settings(missing=(9,)))
    assert "Q3 (1 to 10) and 5 more" in line


def test_a_question_can_have_missing_codes_of_its_own(tmp_path: Path) -> None:
    answers = frame(Q=[9, 10, 99, 3], P=[1, 4, 9, 99])
    asked = [question("Q", high=10, missing=(99,)), question("P")]
    survey = read_csv(tmp_path, answers, *asked, missing=(9, 99))
    assert codes(survey, "Q") == [9, 10, None, 3]
    assert codes(survey, "P") == [1, 4, None, None]
    # a list of its own holds in place of the study's, and may be empty
    none = read_csv(tmp_path, answers, question("Q", high=99, missing=()), missing=(9, 99))
    assert codes(none) == [9, 10, 99, 3]


def test_a_scale_may_have_any_whole_numbers(tmp_path: Path) -> None:
    cases: list[tuple[int, int, list[int], dict[str, Any], list[int | None]]] = [
        (-2, 2, [-2, -1, 0, 1, 2, -3], {}, [-2, -1, 0, 1, 2, None]),
        (-5, 5, [-5, -1, 0, 5, -4, 3], {}, [-5, -1, 0, 5, -4, 3]),
        (-10, -6, [-10, -9, -6, -1, -7, -5], {}, [-10, -9, -6, None, -7, None]),
        (0, 100, [0, 50, 100, 99, -1, 1], {}, [0, 50, 100, 99, None, 1]),
        (-3, 3, [-3, 3, 99, 0, -1, 1], {"missing": (99,)}, [-3, 3, None, 0, -1, 1]),
        (-1, 1, [-1, 0, 1, -2, -1, 0], {"recode": {"Q": {"0": None}}},
         [-1, None, 1, None, -1, None]),
        (-2, 2, [1, 2, 3, 4, 5, -1], {"recode": {"Q": {str(c): c - 3 for c in range(1, 6)}}},
         [-2, -1, 0, 1, 2, -1]),
        (-2, 0, [1, 2, 3, -2, -1, 0], {"recode": {"Q": {"1": -2, "2": -1, "3": 0, "-2": None,
         "-1": None}}}, [-2, -1, 0, None, None, 0]),
    ]  # fmt: skip
    for low, high, given, fields, expected in cases:
        survey = read_csv(tmp_path, frame(Q=given), question(low=low, high=high), **fields)
        assert codes(survey) == expected, (low, high)
    survey = read_csv(tmp_path, frame(Q=[-2, 2]), question(low=-2, high=2))
    assert survey.notices == [
        "survey.missing is the default, -1 to -5; where these are codes of a question they count "
        "as answers: Q (-2 to 2)"
    ]
    named = question(low=-2, high=2, extra={-3: "hard to say"})
    assert codes(read_csv(tmp_path, frame(Q=[-3, -2]), named)) == [-3, -2]
    line = complaint(tmp_path, frame(Q=[-2, -7]), question(low=-2, high=2))
    assert "code -7 is neither an answer nor declared missing" in line


def test_missing_codes_can_be_texts(tmp_path: Path) -> None:
    answers = frame(Q=["1", "Refused", "don't know", " REFUSED ", "99", "2"])
    survey = read_csv(tmp_path, answers, question(), missing=("refused", "Don’t know", "99"))
    assert codes(survey) == [1, None, None, None, None, 2]


def test_missing_holds_on_axes(tmp_path: Path) -> None:
    ages = frame(age=[20, 999, 45, 998, 70, 99], Q=[1] * 6)
    table: list[tuple[dict[str, Any], dict[str, Any], list[str | None]]] = [
        ({}, {"missing": (998, 999)}, ["18-39", None, "40-59", None, "60 and over", "60 and over"]),
        ({}, {"missing": (99, 998, 999)}, ["18-39", None, "40-59", None, "60 and over", None]),
        ({"missing": (998, 999)}, {}, ["18-39", None, "40-59", None, "60 and over", "60 and over"]),
        ({"missing": (999,)}, {"missing": (99,)},
         ["18-39", None, "40-59", "60 and over", "60 and over", "60 and over"]),
        ({"upper_bound": 110}, {}, ["18-39", None, "40-59", None, "60 and over", "60 and over"]),
        ({"upper_bound": 98}, {}, ["18-39", None, "40-59", None, "60 and over", None]),
    ]  # fmt: skip
    for axis, fields, expected in table:
        survey = read_csv(
            tmp_path, ages, question(), axes={"age": Axis(**{**AGE, **axis})}, **fields
        )
        assert labels(survey, "age") == expected, (axis, fields)
    texts = frame(age=["20", "Refused", "45", "", "70", "NA"], Q=[1] * 6)
    survey = read_csv(tmp_path, texts, question(), axes={"age": Axis(**AGE)}, missing=("Refused",))
    assert labels(survey, "age") == ["18-39", None, "40-59", None, "60 and over", None]


def test_groups_from_the_data_have_no_missing_code(tmp_path: Path) -> None:
    table = frame(faith=["1", "9", "99", "1", "9", "Refused"], Q=[1] * 6)
    axis = Axis(column="faith", groups="auto")
    book = {"faith": {"1": "none", "9": "another religion"}}
    survey = read_csv(
        tmp_path, table, question(), book=book, axes={"faith": axis}, missing=(9, 99, "refused")
    )
    assert labels(survey, "faith") == ["none", None, None, "none", None, None]
    assert any("2 respondents with code 9 ('another religion'" in line for line in survey.notices)
    own = axis.replace(missing=(99, "Refused"))
    survey = read_csv(tmp_path, table, question(), book=book, axes={"faith": own}, missing=(9, 99))
    assert set(labels(survey, "faith")) == {"none", "another religion", None}
    assert not survey.notices


def test_a_missing_code_in_a_group_or_a_closed_band_is_refused(tmp_path: Path) -> None:
    years = frame(years=[9, 14, 99, 3], Q=[1, 2, 3, 4])
    listed = Axis(column="years", groups={"9": "nine", "14": "fourteen"})
    bands = Axis(column="years", bands=(0, 6, 12))
    for axis, fine in ((listed, listed.replace(missing=())), (bands, bands.replace(missing=(99,)))):
        line = complaint(tmp_path, years, question(), axes={"school": axis}, missing=(9, 99))
        assert "9 is in a group of axis school" in line
        assert "survey.axes.school.missing" in line
        survey = read_csv(tmp_path, years, question(), axes={"school": fine}, missing=(9, 99))
        assert labels(survey, "school")[0] in ("nine", "6-11")
    # the default list leaves alone what an axis names
    below = frame(left=[-2, -1, 0, 3], Q=[1, 2, 3, 4])
    for axis in (
        Axis(
            column="left", groups={"-2": "left", "-1": "rather left", "0": "centre", "3": "right"}
        ),
        Axis(column="left", bands=(-5, -1, 0, 1)),
    ):
        survey = read_csv(tmp_path, below, question(), axes={"left": axis})
        assert None not in labels(survey, "left")


def test_an_open_band_says_what_it_takes_and_a_bound_what_it_leaves_out(tmp_path: Path) -> None:
    ages = frame(age=[20, 999, 45, 999, 70, 61], Q=[1] * 6)

    def notices(**fields: Any) -> list[str]:
        axes = {"age": Axis(**{**AGE, **fields})}
        return read_csv(tmp_path, ages, question(), axes=axes).notices

    (line,) = notices()
    assert "the open band '60 and over' takes 4 respondents" in line
    assert "the largest is 999 (2 of them)" in line
    assert "survey.axes.age.upper_bound" in line
    (line,) = notices(upper_bound=110)
    assert "2 respondents are above its upper_bound 110 and in no group" in line
    assert notices(upper_bound=110, missing=(999,)) == []
    assert notices(bands=(18, 40, 2000)) == []


def test_a_bound_that_no_band_can_have_is_refused() -> None:
    for fields in (
        {**AGE, "upper_bound": 59},
        {"column": "sex", "groups": {"1": "m", "2": "f"}, "upper_bound": 9},
        {"column": "X", "groups": {"1": "18-39", "2": "40 and over"},
         "fallback": {"column": "age", "bands": (18, 40), "upper_bound": 30}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="upper_bound"):
            Axis(**fields)


def test_a_column_that_stands_in_for_an_axis_has_its_own_bound(tmp_path: Path) -> None:
    axis = Axis(
        column="X003R",
        groups={"1": "18-39", "2": "40 and over"},
        missing=(1,),
        fallback={"column": "age", "bands": (18, 40), "upper_bound": 110, "missing": (99,)},
    )
    ages = frame(age=[20, 999, 45, 99], Q=[1] * 4)
    survey = read_csv(tmp_path, ages, question(), axes={"age": axis})
    assert labels(survey, "age") == ["18-39", None, "40 and over", None]


def test_a_file_that_declares_an_answer_missing_is_refused_unless_the_study_decides(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.sav"
    table = frame(Q=[1.0, 4.0, 9.0, 2.0])
    pyreadstat.write_sav(table, path, missing_ranges={"Q": [9, {"lo": -5, "hi": -1}]})
    assert codes(read(path, [question()])) == [1, 4, None, 2]
    line = complaint(path, [question(high=10)])
    assert "column Q: the file declares 9 missing, and it is on the scale 1 to 10" in line
    for new, expected in ((9, 9), (None, None)):
        survey = read(path, [question(high=10)], recode={"Q": {"9": new}})
        assert codes(survey) == [1, 4, expected, 2]
    assert "-2 missing" in complaint(path, [question(low=-2, high=4)])


def test_missing_codes_hold_in_each_country(tmp_path: Path) -> None:
    table = frame(land=["A", "B"] * 3, age=[20, 999, 45, 30, 999, 70], Q=[9, 9, 1, 2, 99, 99])
    survey = read_csv(
        tmp_path, table, question(high=10), axes={"age": Axis(**AGE)}, missing=(99, 999),
        countries=("A", "B"), country_columns=("land",),
    )  # fmt: skip
    assert codes(survey) == [9, 9, 1, 2, None, None]
    assert labels(survey, "age") == ["18-39", None, "40-59", "18-39", None, "60 and over"]


# The codebook -----------------------------------------------------------------------------------

ENTRY = {
    "topic": "t",
    "text": "How?",
    "block": "b",
    "measurement_level": "ordinal",
    "scale": [1, 10],
    "labels": {1: "low", 10: "high"},
}


def load(path: Path, **changes: Any) -> Question:
    path.write_text(yaml.safe_dump({"questions": {"Q": {**ENTRY, **changes}}}))
    return codebook.load(path)["Q"]


def test_the_codebook_has_missing_codes_of_a_question(tmp_path: Path) -> None:
    path = tmp_path / "book.yaml"
    assert load(path).missing is None
    assert load(path, missing=[]).missing == ()
    assert load(path, missing=[99, -1, "Refused"]).missing == (99, -1, "Refused")
    assert load(path, scale=[-3, 3], labels={-3: "low", 3: "high"}).scale_min == -3
    for changes, part in (
        ({"missing": [9]}, "missing code 9 is on the scale"),
        ({"missing": [11], "extra": {11: "other"}}, "missing code 11 is an extra code"),
        ({"missing": 99}, "missing is a list"),
        ({"missing": [1.5]}, "missing is a list"),
        ({"missing": [True]}, "missing is a list"),
        ({"extra": {11: ""}}, "extra code 11 has no label"),
    ):
        with pytest.raises(InputError, match=part):
            load(path, **changes)


def test_recoding_a_question_keeps_its_missing_codes() -> None:
    asked = question(labels={1: "low", 4: "high"}, missing=(99,))
    moved = codebook.recoded(asked, {1: 4, 4: 1})
    assert moved.missing == (99,)
    assert moved.labels == {1: "high", 4: "low"}
    assert moved.labels_in_file() == {1: "low", 4: "high"}


def test_no_answer_is_lost_whatever_the_scale(tmp_path: Path) -> None:
    for low, high in ((-3, 3), (0, 10), (1, 10), (-10, 10), (95, 105)):
        given = list(range(low, high + 1))
        survey = read_csv(tmp_path, frame(Q=given), question(low=low, high=high))
        assert codes(survey) == given
        assert pd.api.types.is_integer_dtype(survey.responses["Q"])
