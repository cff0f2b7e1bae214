"""The paper's study on a file in the survey's own format gives the paper's counts."""

from pathlib import Path

import pandas as pd
import pytest

from tests.graph import ROOT
from valuestrata import config, io, specs, validate
from valuestrata.__main__ import main
from valuestrata.config import Study

CODEBOOK = str(ROOT / "studies/codebooks/wvs7.yaml")


def stage(name: str, *arguments: str) -> None:
    assert main([name, *arguments]) == 0


@pytest.fixture(scope="module")
def study() -> Study:
    raw = validate.read_yaml(ROOT / "studies/wvs-sg.yaml")
    return validate.load(raw, files=False)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("survey") / "wvs7.csv")
    simulated = specs.to_json(specs.Simulate(respondents=2012, seed=1))
    stage("simulate", "--spec", simulated, "--codebook", CODEBOOK, "--output", path)
    return path


@pytest.fixture(scope="module")
def cleaned(study: Study, survey: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wvs")
    spec = specs.to_json(config.spec_clean(study))
    outputs = [f"--{name}={folder / name}" for name in ("responses", "questions", "groups")]
    stage("clean", "--spec", spec, "--survey", survey, "--codebook", CODEBOOK, *outputs)
    return folder


def pairs_of(study: Study, folder: Path, split: str) -> tuple[int, int]:
    tables = [f"--{name}={folder / name}" for name in ("responses", "questions", "groups")]
    tallies = [str(folder / f"{specs.stratum_id(s)}.parquet") for s in study.splits[split]]
    stage("tally", "--spec", specs.to_json(config.spec_tally(study, split)), *tables,
          "--output", *tallies)  # fmt: skip
    output = str(folder / f"{split}.pairs")
    stage("pairs", "--spec", specs.to_json(config.spec_pairs(study, split)), *tables[1:],
          "--tallies", *tallies, "--output", output)  # fmt: skip
    pairs = io.read_table(output, "pairs")
    return len(pairs[["stratum", "subgroup"]].drop_duplicates()), len(pairs)


def test_the_papers_seven_models_are_tuned_and_its_closed_ones_can_be_laid_over(
    study: Study,
) -> None:
    open_models = [m for m in study.models if not study.is_baseline(m)]
    assert len(open_models) == 7
    for name in open_models:
        said = study.models[name]
        assert study.variants(name) == ["base", "sft"]
        assert said["gpus"] == 1
        assert said["dtype"] == "bfloat16"
        assert not said["remote_code"]
        assert said["revision"] == "main" or specs.COMMIT.fullmatch(said["revision"])
    raw = validate.read_yaml(ROOT / "studies/wvs-sg.yaml")
    raw["models"] |= validate.read_yaml(ROOT / "studies/overlays/closed.yaml")["models"]
    wider = validate.load(raw, files=False)
    closed = [m for m in wider.models if m not in study.models]
    assert closed == ["gpt-4.1", "gpt-4o", "gpt-4o-mini"]
    assert all(wider.variants(name) == ["base"] for name in closed)


RECODED = ["Q56", "Q111", "Q119", "Q222", *(f"Q{i}" for i in range(241, 250)), "Q254"]


def test_the_overlay_makes_the_cleaner_reading(
    study: Study, cleaned: Path, tmp_path: Path, survey: str
) -> None:
    raw = validate.read_yaml(ROOT / "studies/wvs-sg.yaml")
    overlay = validate.read_yaml(ROOT / "studies/overlays/wvs7-recode.yaml")
    assert set(overlay) == {"study", "survey"}
    assert list(overlay["survey"]["recode"]) == RECODED
    raw["survey"] |= overlay["survey"]
    mended = validate.load({**raw, "study": overlay["study"]}, files=False)
    outputs = [f"--{name}={tmp_path / name}" for name in ("responses", "questions", "groups")]
    spec = specs.to_json(config.spec_clean(mended))
    stage("clean", "--spec", spec, "--survey", survey, "--codebook", CODEBOOK, *outputs)
    tables = [io.read_table(f / "questions", "questions") for f in (cleaned, tmp_path)]
    before, after = (table.set_index("question") for table in tables)
    others = before.index.difference(RECODED)
    pd.testing.assert_frame_equal(before.loc[others], after.loc[others])
    assert before.loc["Q119", "codes"].tolist() == [0, 1, 2, 3, 4]
    for name in RECODED:
        scale_min, scale_max = after.loc[name, ["scale_min", "scale_max"]]
        assert after.loc[name, "codes"].tolist() == list(range(scale_min, scale_max + 1))
        assert after.loc[name, "measurement_level"] == "ordinal"
    assert before.loc["Q56", "measurement_level"] == "nominal"
    assert after.loc["Q56", "labels"].tolist() == ["worse off", "about the same", "better off"]
    answers = [io.read_table(f / "responses", "responses")["Q56"] for f in (cleaned, tmp_path)]
    moved = answers[0].map({1: 3, 2: 1, 3: 2}, na_action="ignore")
    assert (moved.dropna() == answers[1].dropna()).all()


def test_all_214_questions_are_asked(cleaned: Path) -> None:
    questions = io.read_table(cleaned / "questions", "questions")
    assert len(questions) == 214
    assert (questions["n"] > 1000).all()


def test_the_train_strata_hold_50_subgroups_and_10700_pairs(study: Study, cleaned: Path) -> None:
    assert pairs_of(study, cleaned, "train") == (50, 10_700)


def test_the_unseen_intersections_are_48_and_lose_few_pairs(study: Study, cleaned: Path) -> None:
    subgroups, pairs = pairs_of(study, cleaned, "ood")
    assert subgroups == 48
    # the paper counts 10,177 of 48 x 214; which small cells fall below 30 answers is the draw's
    assert 48 * 214 - 130 < pairs < 48 * 214 - 60
