"""From a survey's csv file to clean responses; what cannot be used is one line."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from valuestrata.errors import InputError
from valuestrata.study.survey import Axis
from valuestrata.survey import codebook, files, readers
from valuestrata.survey.codebook import Question
from valuestrata.survey.settings import ReadingSettings

SEX = Axis(column="Q260", groups={"1": "male", "2": "female"})
AGE = Axis(column="Q262", bands=(16, 30, 65))
BOOK = {"Q260": {"1": "male", "2": "female"}}
"""The codebook's labels of columns: a group of theirs may be empty."""
HEADER = "id,w,B_COUNTRY,Q260,Q262,Q1,Q2"
ROWS = ["a,1,702,1,20,1,4", "b,3,702,2,40,2,-1", "c,2,702,1,70,,3"]
QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def question(name: str, scale_min: int = 1, scale_max: int = 4) -> Question:
    return Question(name, name, f"{name}?", "block", "ordinal", scale_min, scale_max, {}, {})


QUESTIONS = [question("Q1"), question("Q2")]


def reading(**changes: Any) -> ReadingSettings:
    fields: dict[str, Any] = {
        "delimiter": ",",
        "respondent": "id",
        "weight": "w",
        "missing": (-1, -2),
        "axes": {"sex": SEX, "age_group": AGE},
    }
    return ReadingSettings(**{**fields, **changes})


def csv(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "survey.csv"
    path.write_text(csv(*ROWS))
    return path


def read(file: Path, text: str | bytes | None = None, **changes: Any) -> pd.DataFrame:
    if isinstance(text, str):
        file.write_text(text, encoding="utf-8")
    elif isinstance(text, bytes):
        file.write_bytes(text)
    return readers.read_survey(file, reading(**changes), QUESTIONS, BOOK)[0]


def answers(frame: pd.DataFrame, name: str = "Q1") -> list[int | None]:
    return [None if pd.isna(code) else int(code) for code in frame[name]]


def groups(frame: pd.DataFrame, name: str) -> list[str | None]:
    return [None if pd.isna(label) else str(label) for label in frame[name]]


def complaint(file: Path, text: str | bytes | None = None, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(file, text, **changes)
    line = str(caught.value)
    assert "\n" not in line
    assert str(file) in line
    return line


# What is read --------------------------------------------------------------------------------


def test_a_survey_is_read_into_ids_weights_groups_and_codes(file: Path) -> None:
    frame = read(file)
    assert list(frame) == ["respondent", "weight", "sex", "age_group", "Q1", "Q2"]
    assert list(frame["respondent"]) == ["a", "b", "c"]
    assert list(frame["weight"]) == [0.5, 1.5, 1.0]
    assert groups(frame, "sex") == ["male", "female", "male"]
    assert groups(frame, "age_group") == ["16-29", "30-64", "65 and over"]
    assert answers(frame, "Q1") == [1, 2, None]
    assert answers(frame, "Q2") == [4, None, 3]


def test_the_same_survey_written_in_another_way_is_read_the_same(file: Path) -> None:
    text = csv(*ROWS)
    expected = read(file, filter={"B_COUNTRY": ("702",)})
    for content in (
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n").encode(),
        text.encode("utf-16"),
        HEADER.encode() + text[len(HEADER) :].replace(",", " , ").encode(),
        text.replace("702", "702.0").encode(),
        text.replace(",1\n", ",1.000\n").encode(),
        text.rstrip("\n").encode(),
        text.replace("702", '"702"').encode(),
        text.replace("\n", ",x\n").encode(),
        text.replace("\n", ",\n").encode(),
    ):
        frame = read(file, content, filter={"B_COUNTRY": ("702",)})
        pd.testing.assert_frame_equal(frame, expected)


def test_a_row_that_is_cut_in_the_middle_of_the_file_is_named(file: Path) -> None:
    for row in ("b", "b,3,702", "b,3,702,2,40,2"):
        line = complaint(file, csv(ROWS[0], row, ROWS[2]))
        assert "row 2 below the headers stops early" in line
    many = [f"r{i}" + ROWS[0][1:] for i in range(files.SLICE + 10)]
    many[files.SLICE + 4] = "b,3,702"
    line = complaint(file, csv(*many))
    assert f"row {files.SLICE + 5} below the headers stops early" in line


def test_blank_cells_at_the_end_of_a_row_are_no_cut(file: Path) -> None:
    frame = read(file, csv(ROWS[0], "b,3,702,2,40,2,", ROWS[2], ""))
    assert answers(frame, "Q2") == [4, None, 3]
    # a header may end in a delimiter that its rows lack
    assert len(read(file, csv(*ROWS, header=HEADER + ","))) == 3


def test_rows_that_end_in_a_stray_comma_do_not_shift_the_columns(file: Path) -> None:
    expected = read(file)
    pd.testing.assert_frame_equal(read(file, csv(*(row + "," for row in ROWS))), expected)


def test_fields_can_be_parted_by_another_character(file: Path) -> None:
    expected = read(file)
    for delimiter in (";", "\t", "|"):
        text = csv(*ROWS).replace(",", delimiter)
        pd.testing.assert_frame_equal(read(file, text, delimiter=delimiter), expected)


def test_text_that_is_not_utf_8_is_read_as_cp1252_which_is_said(file: Path) -> None:
    file.write_bytes(csv(*ROWS).replace("a,", "\xe9,").encode("latin-1"))
    clean = readers.read_survey(file, reading(), QUESTIONS, BOOK)
    assert list(clean.responses["respondent"]) == ["\xe9", "b", "c"]
    assert "not UTF-8; read as cp1252" in clean.notices[0]
    assert "survey.encoding" in clean.notices[0]


def test_text_is_read_in_the_encoding_that_the_study_names(file: Path) -> None:
    axis = Axis(column="Q260", groups={"мужчина": "male", "женщина": "female"})
    text = csv("a,1,702,мужчина,20,1,1", "b,1,702,женщина,20,1,1")
    for encoding in ("cp1251", "koi8_r", "utf-16-le", "gb18030", "utf-8"):
        file.write_bytes(text.encode(encoding))
        config = reading(axes={"sex": axis}, encoding=encoding)
        clean = readers.read_survey(file, config, QUESTIONS, {})
        assert groups(clean.responses, "sex") == ["male", "female"]
        assert clean.notices == []
    line = complaint(file, b"\xff" + text.encode(), axes={"sex": axis}, encoding="utf-8")
    assert "text not in utf-8; save it as UTF-8, or name its encoding as survey.encoding" in line


def test_only_rows_of_the_filter_are_read(file: Path) -> None:
    for cell in ("702", "702.0", " 702 "):
        text = csv(f"a,1,{cell},1,20,1,1", "b,1,840,2,20,1,text", f"c,1,{cell},2,30,2,2")
        frame = read(file, text, filter={"B_COUNTRY": ("702",)})
        assert list(frame["respondent"]) == ["a", "c"]


def test_weights_are_normalised_over_the_rows_of_the_filter(file: Path) -> None:
    text = csv("a,1,702,1,20,1,1", "b,100,840,2,20,1,1", "c,3,702,2,30,2,2")
    frame = read(file, text, filter={"B_COUNTRY": ("702",)})
    assert list(frame["weight"]) == [0.5, 1.5]


def test_a_filter_takes_several_values_and_columns(file: Path) -> None:
    text = csv("a,1,702,1,20,1,1", "b,1,840,1,20,1,1", "c,1,1,1,30,2,2", "d,1,702,2,20,1,1")
    frame = read(file, text, filter={"B_COUNTRY": ("702", "840"), "Q260": ("1",)})
    assert list(frame["respondent"]) == ["a", "b"]


def test_rows_in_slices_are_read_as_in_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        f"r{i},{1 + i % 3},{(702, 840)[i % 2]},{1 + i % 2},{16 + i},{1 + i % 4},2"
        for i in range(40)
    ]
    whole = read(file, csv(*rows), filter={"Q260": ("1",)})
    monkeypatch.setattr(files, "SLICE", 7)
    pd.testing.assert_frame_equal(read(file, filter={"Q260": ("1",)}), whole)
    assert len(whole) == 20


def test_a_column_that_no_one_needs_may_hold_anything(file: Path) -> None:
    text = csv(*(f'{row},"free, text"' for row in ROWS), header=HEADER + ",note")
    assert len(read(file, text)) == 3


def test_without_a_weight_all_weigh_the_same(file: Path) -> None:
    assert list(read(file, weight=None)["weight"]) == [1.0, 1.0, 1.0]


def test_missing_codes_and_blanks_are_no_answers(file: Path) -> None:
    cells = ["-1", "-2", "", " ", "NA", "nan", ".", "-1.0", "3"]
    rows = [f"r{i},1,702,1,20,{cell},1" for i, cell in enumerate(cells)]
    assert answers(read(file, csv(*rows))) == [None] * 8 + [3]


def test_codes_off_the_scale_are_kept(file: Path) -> None:
    frame = read(file, csv("a,1,702,1,20,0,1", "b,1,702,1,20,7,1"))
    assert answers(frame) == [0, 7]
    codes, labels = readers.observed(frame, QUESTIONS[0])
    assert codes == [0, 1, 2, 3, 4, 7]
    assert labels == [""] * 6


def test_observed_codes_are_those_of_the_scale_with_their_labels(file: Path) -> None:
    labelled = Question("Q1", "t", "?", "b", "ordinal", 1, 3, {1: "low", 3: "high"}, {4: "unsure"})
    frame = read(file, csv("a,1,702,1,20,4,1", "b,1,702,1,20,,1"))
    assert readers.observed(frame, labelled) == ([1, 2, 3, 4], ["low", "", "high", "unsure"])


def test_codes_are_replaced_before_anything_else_sees_them(file: Path) -> None:
    text = csv(*(f"{i},1,702,1,20,{code},1" for i, code in enumerate((1, 2, 3, -1))))
    cases: list[tuple[dict[str, int | None], list[int | None]]] = [
        ({"1": 3}, [3, 2, 3, None]),
        ({"1": None}, [None, 2, 3, None]),
        ({"1": 2, "2": 1}, [2, 1, 3, None]),
        ({"-1": 4}, [1, 2, 3, 4]),
        ({"3": -2}, [1, 2, None, None]),
        ({"9": 1}, [1, 2, 3, None]),
        ({}, [1, 2, 3, None]),
    ]
    for recode, expected in cases:
        frame = read(file, text, recode={"Q1": recode})
        assert answers(frame, "Q1") == expected
        assert answers(frame, "Q2") == [1, 1, 1, 1]


def test_a_number_falls_in_its_band(file: Path) -> None:
    bands = {
        "15": None,
        "16": "16-29",
        "29": "16-29",
        "29.9": "16-29",
        "30": "30-64",
        "64": "30-64",
        "65": "65 and over",
        "104": "65 and over",
        "-2": None,
        "": None,
        "NA": None,
    }
    frame = read(file, csv(*(f"r{i},1,702,1,{age},1,1" for i, age in enumerate(bands))))
    assert groups(frame, "age_group") == list(bands.values())


def test_a_code_of_no_group_leaves_the_respondent_without_one(file: Path) -> None:
    frame = read(file, csv("a,1,702,3,20,1,1", "b,1,702,2.0,20,1,1", "c,1,702,,20,1,1"))
    assert groups(frame, "sex") == [None, "female", None]


def test_groups_can_be_named_by_text(file: Path) -> None:
    axis = Axis(column="Q260", groups={"Male": "male", "Female": "female"})
    frame = read(file, csv("a,1,702, Male,20,1,1", "b,1,702,Female,20,1,1"), axes={"sex": axis})
    assert groups(frame, "sex") == ["male", "female"]


# What is refused -----------------------------------------------------------------------------


def with_cell(column: str, *cells: str) -> str:
    """A survey whose rows hold the cells in one column and are fine otherwise."""
    place = HEADER.split(",").index(column)
    rows = []
    for i, cell in enumerate(cells):
        row = f"r{i},1,702,1,20,1,1".split(",")
        row[place] = cell
        rows.append(",".join(row))
    return csv(*rows)


def test_a_file_that_is_no_survey_is_one_line(file: Path) -> None:
    text = csv(*ROWS)
    for content, part in (
        (b"", "readable"),
        (b"\n", "readable"),
        (b"\x00" * 64, ""),
        (csv(header=HEADER).encode(), "no row is left"),
        (text.replace("a,", "\xe9,").encode("latin-1") + b"\x81", "readable"),
        (text.encode() + b"d,1,702", "stops early"),
        (text.replace("b,", ",").encode(), "no id"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ""),
        (csv('"a,1,702,1,20,1,1').encode(), "readable"),
    ):
        assert part in complaint(file, content)


def test_a_survey_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert complaint(tmp_path / "no.csv").endswith("no such file")


def test_a_folder_as_survey_is_one_line(tmp_path: Path) -> None:
    complaint(tmp_path)


def test_a_wrong_delimiter_is_told_as_such(file: Path) -> None:
    assert "is survey.delimiter right?" in complaint(file, delimiter=";")


def test_a_delimiter_that_can_be_none_is_one_line(file: Path) -> None:
    for delimiter in ('"', "\n", "\r", "é", " ", "\\"):
        complaint(file, delimiter=delimiter)


def test_all_columns_that_the_file_lacks_are_named_at_once(file: Path) -> None:
    for column in HEADER.split(","):
        names = ["other" if name == column else name for name in HEADER.split(",")]
        line = complaint(file, csv(*ROWS, header=",".join(names)), filter={"B_COUNTRY": ("702",)})
        assert f"no column {column}" in line
        assert "check the study's column names" in line
    line = complaint(file, csv(*ROWS, header="id,weight,country,sex,age,Q1,Q20"))
    assert "no columns w, Q2 (is it Q20?), Q260 of axis sex (is it Q20?), Q262 of axis age_" in line
    assert "survey.axes.sex: null, survey.axes.age_group: null" in line


def test_respondents_that_share_an_id_are_one_line(file: Path) -> None:
    line = complaint(file, with_cell("id", "x", "y", "x", "x"))
    assert "column id" in line
    assert "share an id" in line


def test_a_cell_that_is_no_code_is_one_line_with_file_column_and_cell(file: Path) -> None:
    for cell in ("yes", "0x10", "1_0", "True", "1;2", "--1", "1/5"):
        line = complaint(file, with_cell("Q2", "1", cell))
        assert "column Q2" in line
        assert repr(cell) in line
    for cell in ("1.5", "0.1", "-1.5"):
        line = complaint(file, with_cell("Q1", "1", cell))
        assert "column Q1" in line
        assert "fractions" in line
    # too large to be a code, and never wrapped
    for cell in ("40000", "65537", "1e5", "1e400", "inf", "-inf", "99999999999999999999"):
        line = complaint(file, with_cell("Q1", "1", cell))
        assert "column Q1" in line
        assert not re.search(r"code -\d", line)


def test_a_recode_to_a_code_too_large_is_refused_and_never_wrapped(file: Path) -> None:
    complaint(file, recode={"Q1": {"1": 70000}})


def test_a_negative_code_that_is_not_declared_is_one_line_with_the_remedy(file: Path) -> None:
    line = complaint(file, with_cell("Q1", "1", "-7"))
    assert "column Q1: code -7 " in line
    assert "survey.missing" in line


def test_a_weight_that_is_no_positive_number_is_one_line(file: Path) -> None:
    for cell, part in (
        ("-1", "of 2 weights 1 are negative ('-1')"),
        ("", "1 of 2 respondents have no weight (a blank cell); survey.blank_weight: drop"),
        ("nan", "1 of 2 respondents have no weight"),
        ("inf", "1 are no number ('inf')"),
        ("heavy", "1 are no number ('heavy')"),
        ("True", "1 are no number ('True')"),
        ("1_0", "1 are no number ('1_0')"),
    ):
        line = complaint(file, with_cell("w", "1", cell))
        assert "column w: " in line
        assert part in line


def test_who_has_no_weight_is_left_out_before_anything_else_is_looked_at(file: Path) -> None:
    text = csv("a,1,702,1,20,1,4", "a,0,702,7,old,99,9", "b,,702,2,40,2,1", "c,3,702,2,70,2,1")
    file.write_text(text)
    clean = readers.read_survey(file, reading(blank_weight="drop"), QUESTIONS, {})
    assert list(clean.responses["respondent"]) == ["a", "c"]
    assert list(clean.responses["weight"]) == [0.5, 1.5]
    assert clean.notices[:2] == [
        "column w: 1 of 4 respondents have weight 0 and are left out",
        "column w: 1 of 4 respondents have no weight and are left out",
    ]


def test_an_axis_whose_groups_no_row_is_in_is_one_line_with_what_is_there(file: Path) -> None:
    line = complaint(file, with_cell("Q260", "homme", "femme"))
    assert "column Q260" in line
    assert "axis sex" in line
    assert "the column holds 'homme' (1), 'femme' (1)" in line


def test_text_where_bands_need_numbers_is_one_line(file: Path) -> None:
    line = complaint(file, with_cell("Q262", "20", "young"))
    assert "column Q262" in line
    assert "'young'" in line


def test_a_filter_that_leaves_nothing_is_one_line(file: Path) -> None:
    line = complaint(file, filter={"B_COUNTRY": ("360",)})
    assert "no row is left" in line
    assert "360" in line


# Any survey, any bytes -----------------------------------------------------------------------


@st.composite
def surveys(draw: st.DrawFn) -> dict[str, list[Any]]:
    n = draw(st.integers(1, 12))

    def column(cell: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(cell, min_size=n, max_size=n))

    ids = st.text(st.characters(categories=["L"], max_codepoint=0x17F), min_size=1, max_size=4)
    code = st.one_of(st.none(), st.integers(0, 12))
    return {
        "id": draw(st.lists(ids, min_size=n, max_size=n, unique=True)),
        "w": column(st.floats(0.01, 100)),
        "Q260": ["1", *column(st.sampled_from(["1", "2", "3", ""]))[1:]],
        "Q262": [20, *column(st.integers(0, 100))[1:]],
        "Q1": column(code),
        "Q2": column(code),
    }


@QUICK
@given(
    survey=surveys(),
    delimiter=st.sampled_from(",;\t|"),
    blank=st.sampled_from(["", "NA", "-1"]),
    floats=st.booleans(),
    bom=st.booleans(),
)
def test_any_survey_is_read_back_as_it_was_written(
    tmp_path: Path,
    survey: dict[str, list[Any]],
    delimiter: str,
    blank: str,
    floats: bool,
    bom: bool,
) -> None:
    path = tmp_path / "any.csv"
    written = pd.DataFrame(survey)
    for name in ("Q1", "Q2"):
        cells = [
            blank if code is None else f"{code}.0" if floats else code for code in survey[name]
        ]
        written[name] = pd.Series(cells, dtype=object)
    encoding = "utf-8-sig" if bom else "utf-8"
    written.to_csv(path, sep=delimiter, index=False, encoding=encoding)
    frame = readers.read_survey(path, reading(delimiter=delimiter), QUESTIONS, BOOK).responses
    assert list(frame["respondent"]) == survey["id"]
    weight = np.array(survey["w"])
    np.testing.assert_allclose(frame["weight"], weight / weight.mean())
    assert groups(frame, "sex") == [{"1": "male", "2": "female"}.get(c) for c in survey["Q260"]]
    bands = [(65, "65 and over"), (30, "30-64"), (16, "16-29"), (-1, None)]
    assert groups(frame, "age_group") == [
        next(label for low, label in bands if age >= low) for age in survey["Q262"]
    ]
    assert answers(frame, "Q1") == survey["Q1"]
    assert answers(frame, "Q2") == survey["Q2"]


def accepts_or_explains(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    line = None
    try:
        frame = readers.read_survey(path, reading(), QUESTIONS, BOOK).responses
    except InputError as error:
        line = str(error)
    if line is not None:
        assert line.startswith(str(path))
        assert "\n" not in line
    else:
        assert len(frame)
        assert (frame["weight"] > 0).all()
        assert np.isclose(frame["weight"].mean(), 1)
        assert (frame[["Q1", "Q2"]].min() >= 0).fillna(True).all()


@QUICK
@given(content=st.binary(max_size=300))
@example(content=b"\xef\xbb\xbf")
@example(content=b"\xef\xbb\xbf" + csv(*ROWS).encode())
@example(content=b'"')
@example(content=b"\r")
def test_any_bytes_give_a_frame_or_one_line(tmp_path: Path, content: bytes) -> None:
    accepts_or_explains(tmp_path / "any.csv", content)


CELLS = st.one_of(
    st.sampled_from(
        ["", "1", "2", "-1", "1.0", "1e400", "nan", "inf", '"', "\x00", "\r", "é", "1e5"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=5),
)


@QUICK
@given(rows=st.lists(st.lists(CELLS, min_size=5, max_size=9).map(",".join), max_size=5))
@example(rows=["a,1,702,1,20,1e400,1"])
@example(rows=["a,1e308,702,1,20,1,1", "b,1e308,702,1,20,1,1"])
@example(rows=["a,1,702,1,20,1,1", "b,1,702,1,20,1,1,1,1"])
@example(rows=["a,1,702,1,1e400,1,1"])
def test_any_cells_give_a_frame_or_one_line(tmp_path: Path, rows: list[str]) -> None:
    accepts_or_explains(tmp_path / "any.csv", csv(*rows).encode("utf-8", "surrogatepass"))


# The codebook --------------------------------------------------------------------------------

ENTRY = {
    "topic": "family",
    "text": "How important?",
    "block": "values",
    "measurement_level": "ordinal",
    "scale": [1, 4],
    "labels": {1: "very", 4: "not at all"},
}


def book(path: Path, **changes: Any) -> Path:
    entry = {k: v for k, v in {**ENTRY, **changes}.items() if v != "gone"}
    path.write_text(yaml.safe_dump({"questions": {"Q1": entry, "Q2": ENTRY}}))
    return path


def test_a_codebook_is_read_in_its_order(tmp_path: Path) -> None:
    loaded = codebook.load(book(tmp_path / "book.yaml", extra={5: "unsure"}))
    assert list(loaded) == ["Q1", "Q2"]
    assert loaded["Q1"].labels == {1: "very", 4: "not at all"}
    assert loaded["Q1"].extra == {5: "unsure"}
    assert (loaded["Q2"].scale_min, loaded["Q2"].scale_max, loaded["Q2"].extra) == (1, 4, {})


def test_a_wrong_entry_of_a_codebook_is_one_line_with_the_question(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"text": "gone"}, "no 'text'"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"scale": [4, 1]}, "not below"),
        ({"scale": [1]}, "two integers"),
        ({"scale": ["1", "4"]}, "two integers"),
        ({"scale": [True, 4]}, "two integers"),
        ({"measurement_level": "metric"}, "ordinal, nominal"),
        ({"labels": {9: "x"}}, "code 9"),
        ({"extra": {2: "x"}}, "code 2"),
        ({"labels": {"one": "x"}}, "label"),
        ({"labels": ["a", "b"]}, "label"),
        ({"labels": None}, "label"),
        ({"extra": {"x": "y"}}, "extra"),
        ({"extra": None}, "extra"),
    ]
    for changes, part in cases:
        path = book(tmp_path / "book.yaml", **changes)
        with pytest.raises(InputError) as caught:
            codebook.load(path)
        assert str(caught.value).startswith(f"{path}: Q1: ")
        assert part in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_codebook_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "book.yaml"
    for content in (b"", b"[1]", b"questions: []", b"a: [", b"\xff", b"questions: 3"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"book\.yaml") as caught:
            codebook.load(path)
        assert "\n" not in str(caught.value)


def test_labels_that_yaml_would_take_for_something_else_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "book.yaml"
    entry = "{topic: t, text: 'is it?', block: b, measurement_level: nominal, scale: [1, 2],"
    path.write_text(f"questions: {{Q1: {entry} labels: {{1: yes, 2: NO}}}}}}")
    assert codebook.load(path)["Q1"].labels == {1: "yes", 2: "NO"}


def test_a_codebook_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml: "):
        codebook.load(tmp_path / "no.yaml")


def test_questions_are_chosen_in_the_order_given() -> None:
    loaded = {name: question(name) for name in ("Q1", "Q2", "Q3")}
    for chosen, exclude, expected in (
        (None, (), ["Q1", "Q2", "Q3"]),
        (None, ("Q2",), ["Q1", "Q3"]),
        (("Q3", "Q1"), (), ["Q3", "Q1"]),
        (("Q3", "Q1"), ("Q1",), ["Q3"]),
    ):
        assert [q.question for q in codebook.select(loaded, chosen, exclude)] == expected
    with pytest.raises(InputError, match=r"no questions Q9, Q8$"):
        codebook.select(loaded, ("Q9", "Q1"), ("Q8",))
