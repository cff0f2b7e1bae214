"""Codes that nobody declared: said where people look, refused where they would become a label."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests import survey_file, world
from tests.graph import ROOT
from tests.jobs import run_stage
from tests.survey_file import frame, question
from valuestrata import io, paths, tables
from valuestrata.__main__ import main
from valuestrata.errors import InputError
from valuestrata.stages import clean
from valuestrata.study.load import load_files
from valuestrata.survey.undeclared import refuse_undeclared_modes, undeclared_notices


def answers(*given: int | None, name: str = "Q") -> pd.DataFrame:
    return pd.DataFrame({name: pd.array(given, dtype="Int16")})


def test_undeclared_codes_are_said_with_their_numbers() -> None:
    asked = question(extra={5: "other"})
    assert undeclared_notices(answers(1, 2, 4, 5, None), [asked]) == []
    (line,) = undeclared_notices(answers(1, 1, 1, 99, 99, 0, None), [asked])
    assert "Q 0 (1 of 6)" in line
    assert "Q 99 (2 of 6)" in line
    for remedy in ("survey.missing", "survey.recode", "extra", "codebook"):
        assert remedy in line
    table = pd.concat([answers(1, 1, 7, name=f"Q{i}") for i in range(20)], axis=1)
    (line,) = undeclared_notices(table, [question(f"Q{i}") for i in range(20)])
    assert "Q7 7 (1 of 3) and 12 more" in line


def test_an_undeclared_code_given_most_often_is_refused() -> None:
    for given in ((99, 99, 1), (99,), (0, 0, 0, 1, 1), (5, 5, 5, 4, 4, None)):
        with pytest.raises(InputError, match="is the answer given most often") as caught:
            undeclared_notices(answers(*given), [question()])
        assert f"question Q: code {given[0]}, which is off the scale 1 to 4" in str(caught.value)
    assert undeclared_notices(answers(99, 99, 1), [question(extra={99: "other"})]) == []
    assert len(undeclared_notices(answers(99, 99, 1, 1), [question()])) == 1  # a tie: the lowest


def test_an_undeclared_code_that_is_a_subgroup_s_mode_is_refused() -> None:
    questions = pd.DataFrame(
        {
            "question": ["Q", "P"],
            "scale_min": [1, 1],
            "scale_max": [4, 2],
            "codes": [[1, 2, 3, 4, 8, 99], [1, 2, 3]],
            "labels": [["a", "", "", "d", "hard to say", ""], ["yes", "no", ""]],
        }
    )

    def pairs(*modes: int, name: str = "Q") -> pd.DataFrame:
        subgroups = [f"sex={i}" for i in range(len(modes))]
        return pd.DataFrame({"subgroup": subgroups, "question": name, "mode": modes})

    refuse_undeclared_modes(pairs(1, 4, 8, 2), questions)
    for table, part in (
        (pairs(1, 99, 99), "question Q: code 99"),
        (pd.concat([pairs(1, 2), pairs(1, 3, name="P")]), "question P: code 3"),
    ):
        with pytest.raises(InputError) as caught:
            refuse_undeclared_modes(table, questions)
        assert part in str(caught.value)
        assert "(the first is sex=1)" in str(caught.value)
        assert "\n" not in str(caught.value)


ENTRY = {
    "topic": "t",
    "text": "How?",
    "block": "b",
    "measurement_level": "ordinal",
    "scale": [1, 4],
    "labels": {1: "low", 4: "high"},
}
STUDY: dict[str, Any] = {
    "study": "doubtful",
    "survey": {
        "name": "A survey",
        "country": "Utopia",
        "respondent": "id",
        "axes": {
            "sex": {"column": "sex", "groups": {1: "male", 2: "female"}},
            "age": {"column": "age", "bands": [18, 40]},
        },
    },
    "splits": {"train": {"role": "train", "strata": ["sex"]}},
    "models": {"national-mode": {"backend": "baseline", "rule": "national_mode"}},
}


def study_of(folder: Path, table: pd.DataFrame, **entry: Any) -> Path:
    table.to_csv(folder / "survey.csv", index=False)
    (folder / "book.yaml").write_text(yaml.safe_dump({"questions": {"Q": {**ENTRY, **entry}}}))
    files = {"file": str(folder / "survey.csv"), "codebook": str(folder / "book.yaml")}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "survey": {**STUDY["survey"], **files}}))
    return path


def test_check_reads_the_file_and_says_what_is_doubtful(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ages = [20, 30, 999, 50]
    path = study_of(tmp_path, frame(Q=[1, 1, 99, 4], age=ages))
    assert main(["check", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("warning: codes off their question's scale" in line for line in lines)
    assert any("Q 99 (1 of 4)" in line for line in lines)
    assert any("warning: axis age: the open band '40 and over'" in line for line in lines)
    for table, part in (
        (frame(Q=[99, 99, 99, 4], age=ages), "code 99, which is off the scale 1 to 4"),
        (frame(Q=["Low", "Lov", "High", "x"], age=ages), "'Lov' (1 cell"),
    ):
        assert main(["check", str(study_of(tmp_path, table))]) == 2
        assert part in capsys.readouterr().err


def run_survey(folder: Path, *stages: str) -> dict[str, Any]:
    """Run the stages of the study in a folder; its summary."""
    results = world.run_stages(load_files([folder / "study.yaml"]), folder, *stages)
    return dict(io.read_json(results / paths.SUMMARY)) if not stages else {}


def test_what_is_doubtful_gets_into_the_summary(tmp_path: Path) -> None:
    n = 400
    scale = {"scale": [-2, 2], "labels": {-2: "against", 2: "for"}}
    table = frame(
        Q=[(-2, -2, -2, -2, 0, 1, 2, -1)[i % 8] if i % 50 else 77 for i in range(n)],
        age=[20 + i % 40 if i % 100 else 999 for i in range(n)],
    )
    study_of(tmp_path, table, **scale)
    notices = run_survey(tmp_path)["notices"]
    assert [any(part in line for line in notices) for part in (
        "count as answers: Q (-2 to 2)", "Q 77 (8 of 400)", "the largest is 999 (4 of them)",
    )] == [True] * 3  # fmt: skip
    pairs = world.read_pairs(tmp_path / "results/doubtful", "train")
    assert list(pairs["mode"]) == [-2, -2]
    assert list(pairs["codes"][0]) == [-2, -1, 0, 1, 2, 77]
    assert "from -2 (against) to 2 (for)" in pairs["closed_prompt"][0]


def test_a_subgroup_of_which_an_undeclared_code_is_the_mode_ends_the_survey(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n = 400
    given = [1 if i % 2 == 0 else 99 if i % 4 == 1 or i % 20 == 3 else 2 for i in range(n)]
    study = load_files([study_of(tmp_path, frame(Q=given, age=[30] * n))])
    assert main(["check", str(tmp_path / "study.yaml")]) == 2  # one age group
    table = frame(Q=given, age=[30 + i % 20 for i in range(n)])
    study = load_files([study_of(tmp_path, table)])
    results = world.run_stages(study, tmp_path, "clean", "tally")
    assert "Q 99" in (results / paths.NOTICES).read_text()
    capsys.readouterr()
    with contextlib.chdir(tmp_path):
        assert world.run_stage(study, "pairs", split="train") == 2
    error = capsys.readouterr().err
    assert "question Q: code 99" in error
    assert "the modal answer of 1 subgroups (the first is sex=female)" in error


def test_the_end_of_a_run_says_what_is_doubtful(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, snakemake.cli; sys.path.insert(0, 'workflow'); import terminal; "
        "terminal.print_notices(pathlib.Path(sys.argv[1])); print('last', file=sys.stderr)"
    )
    summary = tmp_path / "summary.json"
    for content, expected in (
        ({"notices": ["one is odd", "two, too"]}, ["last", "", "Doubtful in the survey's file:"]),
        ({"notices": []}, ["last"]),
        ({}, ["last"]),
    ):
        summary.write_text(json.dumps(content))
        command = [sys.executable, "-c", code, str(summary)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stderr.splitlines()[:3] == expected
        assert ("  one is odd\n  two, too\n" in done.stderr) == bool(content.get("notices"))


def test_clean_writes_what_is_doubtful(tmp_path: Path) -> None:
    table = frame(Q=[1, 1, 99, 4], age=[20, 30, 999, 50])
    study_of(tmp_path, table)
    names = ("responses", "questions", "groups", "notices")
    files = {
        "survey": str(tmp_path / "survey.csv"),
        "codebook": str(tmp_path / "book.yaml"),
        **{name: str(tmp_path / "out" / name) for name in names},
    }
    run_stage(clean, clean.Settings(**dict(survey_file.settings()), caveat=""), files)
    (notice,) = json.loads(Path(files["notices"]).read_text())["notices"]
    assert "Q 99 (1 of 4)" in notice
    questions = io.read_table(files["questions"], tables.QUESTIONS)
    assert list(questions["codes"][0]) == [1, 2, 3, 4, 99]
