"""`valuestrata compare`: two runs of a study, and two folders of results."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.graph import ROOT
from tests.score_tables import crossed, scores_table
from tests.test_comparison import write
from valuestrata import paths, tables
from valuestrata.__main__ import main
from valuestrata.study.load import load, merge_files

FEW = {"evaluation": {"n_resamples": 50}}
SCORES = {("toy-llama", "base"): 0, ("toy-llama", "sft"): 1, ("toy-qwen", "base"): None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results/demo with scores of two runs, and none of a third."""
    folder = tmp_path_factory.mktemp("compare")
    raw = {**merge_files([ROOT / "config.yaml"], ROOT), **FEW, "generation": None, "judges": {}}
    study = load(raw, ROOT, files=False)
    results = folder / study.results
    results.mkdir(parents=True)
    (results / paths.STUDY).write_text(study.to_json(), encoding="utf-8")
    pairs = crossed(12)
    for (model, variant), value in SCORES.items():
        for stratum in ("age_group-x-religion", "age_group-x-ethnicity", "ethnicity-x-religion"):
            if value is None:
                continue
            accuracy = np.full(len(pairs), float(value))
            accuracy[:4] = float("nan") if variant == "base" else 0.0
            scores = scores_table(pairs.assign(stratum=stratum), accuracy)
            run = {"model": model, "variant": variant, "split": "ood"}
            write(scores, results / paths.SCORES.format(**run, stratum=stratum), tables.SCORES)
    return folder


def outcome(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with contextlib.chdir(folder):
        code = main(["compare", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_two_runs_differ_on_the_pairs_that_both_answered(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = ("toy-llama/sft", "toy-llama", "--split", "ood", "--config", str(ROOT / "config.yaml"))
    code, out, _ = outcome(folder, capsys, *runs)
    assert code == 0
    assert "say nothing about people or real models" in out
    assert "ood: toy-llama sft of results/demo minus toy-llama base of results/demo" in out
    (line,) = [line for line in out.splitlines() if line.startswith("Accuracy")]
    # 3 strata x 48 pairs, of which the base has no answer to 4
    assert line.split()[1:4] == ["1.000", "0.000", "+1.000"]
    assert line.split()[-2:] == ["132", "12"]
    code, out, _ = outcome(folder, capsys, "toy-llama", "toy-llama/sft", *runs[2:])
    assert code == 0
    assert "−1.000 [−1.000, −0." in out  # all questions differ, and these are no more than they are


def test_two_folders_are_compared_run_by_run_wherever_they_lie(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "results/demo", folder / "moved")
    code, out, _ = outcome(folder, capsys, "results/demo", "moved", "--split", "ood")
    assert code == 0
    assert "ood: toy-llama sft of results/demo minus toy-llama sft of moved" in out
    assert out.count("0.000 [0.000, 0.000]") == 6
    assert "Note: results/demo/pairs/ood.parquet is not there, so labels are not compared." in out
    assert "Note: 5 runs without scores in both left out." in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("toy-llama", "toy-lama"), "toy-lama: neither a folder of results nor one of the runs"),
        (("results/demo", "toy-llama"), "toy-llama: no folder with study.json"),
        (("results", "nowhere"), "results: a folder without study.json"),
        (
            ("toy-llama", "toy-llama/sft", "--split", "odd"),
            "toy-llama and toy-llama/sft share no run on a split 'odd'",
        ),
        (
            ("toy-llama", "toy-qwen", "--split", "ood"),
            "toy-qwen base of results/demo: no scores on ood",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    code, out, err = outcome(folder, capsys, *words, "--config", str(ROOT / "config.yaml"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_two_mistyped_names_are_what_is_wrong_where_no_study_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("toy-lama", "toy-lama/sft"), ("results/dmo", "results/dme")):
        code, out, err = outcome(tmp_path, capsys, *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert all(word in err for word in words)
        assert "no folder of results here" in err
        assert "--config" in err
    code, _, err = outcome(tmp_path, capsys, "a", "b", "--config", "mine.yaml")
    assert (code, "mine.yaml: no such file" in err) == (2, True)


def test_the_stage_of_the_same_name_is_still_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = outcome(folder, capsys, "--study", "nowhere.json")
    assert code == 2
    assert "not a study that snakemake wrote" in err
