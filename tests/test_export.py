"""What may be published leaves; what was given in confidence stays."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.graph import ROOT, Graph
from valuestrata import io, tables
from valuestrata.__main__ import main
from valuestrata.errors import InputError
from valuestrata.records import read_record
from valuestrata.study.load import load
from valuestrata.study.yaml import read_mapping


@pytest.fixture(scope="module")
def exported(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("public") / "mini"
    assert main(["export", str(graph.results), str(output), "--min-n", "60"]) == 0
    return output


def test_no_respondent_and_no_tally_leaves(exported: Path) -> None:
    names = {path.name for path in exported.rglob("*")}
    assert "index.html" in names
    assert "adapter_model.safetensors" in names
    assert not names & {"responses.parquet", "simulated.csv", "replies", "tally", "survey"}
    assert not list(exported.rglob("*.jsonl"))


def test_small_subgroups_are_left_out_of_every_table(graph: Graph, exported: Path) -> None:
    pairs = io.read_table(graph.results / "pairs/ood.parquet", tables.PAIRS)
    small = set(pairs[(pairs["respondents"] < 60) | (pairs["n"] < 60)]["subgroup"])
    whole = set(pairs["subgroup"])
    assert small
    assert whole - small
    for name, contract in (
        ("predictions.parquet", tables.PREDICTIONS),
        ("texts.parquet", tables.TEXTS),
    ):
        rows = io.read_table(exported / "runs/tiny/sft/ood" / name, contract)
        assert set(rows["subgroup"]) == whole - small
    text = (exported / "pairs/ood.csv").read_text(encoding="utf-8")
    assert not [name for name in small if name in text]
    assert "distribution" not in text
    assert "simulated survey" in text
    text = (graph.results / "report/tables/ties.csv").read_text(encoding="utf-8")
    assert [name for name in small if name in text]
    text = (exported / "report/tables/ties.csv").read_text(encoding="utf-8")
    assert not [name for name in small if name in text]


def test_prompts_of_a_variant_are_no_pairs_of_their_own(graph: Graph, tmp_path: Path) -> None:
    """A run in a prompt variant leaves with its split's pairs."""
    results = tmp_path / "mini"
    for part in ("report", "pairs", "runs/tiny/base/ood"):
        shutil.copytree(graph.results / part, results / part)
    shutil.copytree(results / "runs/tiny/base", results / "runs/tiny/base+w")
    shutil.copy(results / "pairs/ood.parquet", results / "pairs/ood+w.parquet")
    assert main(["export", str(results), str(tmp_path / "out")]) == 0
    names = {path.name for path in (tmp_path / "out/pairs").iterdir()}
    assert "ood.csv" in names
    assert not [name for name in names if "+" in name]
    plain, variant = (
        io.read_table(tmp_path / f"out/runs/tiny/{v}/ood/predictions.parquet", tables.PREDICTIONS)
        for v in ("base", "base+w")
    )
    assert plain.equals(variant)


def test_caveat_and_records_go_along(graph: Graph, exported: Path) -> None:
    path = "runs/tiny/sft/ood/predictions.parquet"
    assert io.caveat_of(exported / path) == "simulated survey, toy model"
    assert read_record(exported / path) == read_record(graph.results / path)
    record = read_record(exported)
    assert record is not None
    assert record.settings == {"min_n": 60, "caveat": "simulated survey, toy models"}


def test_an_export_overwrites_nothing(
    graph: Graph, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(graph.results), str(exported)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_study_without_report_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_survey_that_git_would_take_is_refused(tmp_path: Path) -> None:
    raw = read_mapping(ROOT / "studies/nonvoters.yaml")
    raw["survey"] |= {"file": "answers.csv", "codebook": str(ROOT / raw["survey"]["codebook"])}
    (tmp_path / "answers.csv").touch()
    assert load(raw, tmp_path).name == "nonvoters"
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with pytest.raises(InputError, match="must not be committed"):
        load(raw, tmp_path)
    (tmp_path / ".gitignore").write_text("answers.csv\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"responses\.parquet"):
        load(raw, tmp_path)
    (tmp_path / ".gitignore").write_text("*.csv\n/results/\n", encoding="utf-8")
    assert load(raw, tmp_path).name == "nonvoters"
