"""What a study's survey file and codebook lack is found from the headers, before anything runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import world
from tests.graph import ROOT
from valuestrata.study.load import load_files
from valuestrata.survey.columns import check_columns

LACKING = {
    "survey": {
        "questions": ["Q1", "Q57", "Q999", "Q1640"],
        "exclude": ["Q1000"],
        "filter": {"LANGUAGE": ["1"]},
        "weight": "WEIGHT",
        "axes": {"sex": {"column": "Q2600"}},
    }
}


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write_csv(tmp_path_factory.mktemp("columns"))


def problems(file: Path, overlay: dict[str, Any] | None = None) -> list[str]:
    return check_columns(world.study(overlay or {}, file), Path())


def test_a_study_whose_columns_and_questions_are_all_there_has_no_problem(
    csv: Path, tmp_path: Path
) -> None:
    assert problems(csv) == []
    assert problems(world.write_sav(tmp_path, {})) == []
    # the fallback of an axis is as good as its column, one country column as good as two
    frame = world.world().drop(columns=["X003R", "B_COUNTRY_ALPHA"])
    assert problems(world.write_csv(tmp_path, frame)) == []


def test_all_that_is_missing_is_one_line_a_file_with_names_that_are_near(
    csv: Path, tmp_path: Path
) -> None:
    for file in (csv, world.write_sav(tmp_path, {})):
        book, columns = problems(file, LACKING)
        assert book.startswith(f"survey.questions: {world.BOOK} has no questions Q999 (is it Q99?)")
        assert "Q1640 (is it Q164?), Q1000 (is it Q10" in book
        assert columns.startswith(f"survey.file: {file}: no columns WEIGHT (is it W_WEIGHT?), ")
        assert "LANGUAGE, Q2600 of axis sex (is it Q260?); " in columns
        assert "an axis is left out by survey.axes.sex: null" in columns


def test_likeness_is_by_letters_in_any_case_and_only_where_few_are_missing(tmp_path: Path) -> None:
    frame = world.world().rename(columns={"W_WEIGHT": "w_weights", "Q1": "q1a", "Q57": "Q57_R"})
    (line,) = problems(world.write_csv(tmp_path, frame))
    assert "no columns W_WEIGHT (is it w_weights?), Q1 (is it " in line
    assert "Q57 (is it Q57_R?)" in line
    every = {"survey": {"questions": "all"}}
    (line,) = problems(world.write_csv(tmp_path), every)
    assert line.count("Q") > 200
    assert "is it Q" not in line


def test_a_file_with_none_of_the_columns_is_another_file_and_shows_no_row(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("1007;34;male\n1008;35;female\n")
    (line,) = problems(path)
    assert "none of the study's columns is among its 3: is it the right file" in line
    assert "1007" not in line


def test_all_columns_that_stand_twice_are_one_line(tmp_path: Path) -> None:
    frame = world.world().assign(**{"q1": 1, "Q57: trust": 1, "Q57: more": 1})
    frame = frame.rename(columns={"Q1": "Q1: family", "q1": "q1: family", "Q57": "Q57: old"})
    (line,) = problems(world.write_csv(tmp_path, frame.rename(columns={"q1: family": "Q1: twice"})))
    assert "column Q1: 2 columns match" in line
    assert "column Q57: 3 columns match" in line
    assert "\n" not in line


def test_a_recoding_of_no_question_is_refused(tmp_path: Path) -> None:
    overlay = {"survey": {"recode": {"Q1": {9: None}, "Q1O": {9: None}, "Q9999": {1: 2}}}}
    (line,) = problems(tmp_path / "no.csv", overlay)
    assert "has no questions Q1O (is it Q1" in line
    assert "Q9999" in line


def test_questions_are_checked_without_the_survey_file(tmp_path: Path) -> None:
    (line,) = problems(tmp_path / "no.csv", LACKING)
    assert "has no questions Q999" in line
    splits = {"ood": {"questions": {"without": ["Q1", "Q9999"]}}}
    assert "has no question Q9999" in problems(tmp_path / "no.csv", {"splits": splits})[0]
    demo = load_files([ROOT / "config.yaml"])
    assert check_columns(demo, ROOT) == []
    wrong = demo.replace(survey=demo.survey.replace(questions=("Q1", "X"), exclude=()))
    assert "has no question X; " in check_columns(wrong, ROOT)[0]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.sav"
    path.write_bytes(b"no survey")
    (line,) = problems(path)
    assert line.startswith(f"survey.file: {path}: not an SPSS file")
    assert "\n" not in line


def test_headers_of_csv_files_are_read_without_the_libraries_for_whole_files(csv: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from valuestrata.study.load import load_files;"
        "from valuestrata.survey.columns import check_columns;"
        "study = load_files(['studies/wvs-any.yaml'], files=False);"
        "study = study.replace(survey=study.survey.replace(file=sys.argv[1]));"
        "print(len(check_columns(study, Path())),"
        "{'pandas', 'numpy', 'pyreadstat', 'openpyxl'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(csv)], cwd=ROOT, env={"PYTHONPATH": "src"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "1 set()\n"
