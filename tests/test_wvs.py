"""The paper's study on a file in the survey's own format gives the paper's counts."""

from pathlib import Path

import pandas as pd
import pytest

from tests.graph import ROOT
from tests.world import read_pairs, run_stages
from valuestrata import io, paths, tables
from valuestrata.demo.simulate import simulate, write
from valuestrata.study.load import load_files
from valuestrata.study.models import COMMIT, LocalModel
from valuestrata.study.study import Study
from valuestrata.study.yaml import read_mapping
from valuestrata.survey import codebook

CODEBOOK = ROOT / "studies/codebooks/wvs7.yaml"
STUDY = ROOT / "studies/wvs-sg.yaml"


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("survey") / "wvs7.csv"
    questions = pd.DataFrame(list(codebook.load(CODEBOOK).values()))
    write(simulate(questions, 2012, 1), path)
    return path


def study_on(survey: Path, *overlays: Path) -> Study:
    study = load_files([STUDY, *overlays], files=False)
    here = study.survey.replace(file=str(survey), codebook=str(CODEBOOK))
    return study.replace(survey=here)


@pytest.fixture(scope="module")
def study(survey: Path) -> Study:
    return study_on(survey)


@pytest.fixture(scope="module")
def cleaned(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_stages(study, tmp_path_factory.mktemp("wvs"), "clean")


def pairs_of(study: Study, cleaned: Path, split: str) -> tuple[int, int]:
    run_stages(study, cleaned.parent.parent, "tally", only=split)
    run_stages(study, cleaned.parent.parent, "pairs", only=split)
    pairs = read_pairs(cleaned, split)
    return len(pairs[["stratum", "subgroup"]].drop_duplicates()), len(pairs)


def test_the_papers_seven_models_are_tuned_and_its_closed_ones_can_be_laid_over(
    study: Study, survey: Path
) -> None:
    open_models = [name for name in study.models if not study.is_baseline(name)]
    assert len(open_models) == 7
    for name in open_models:
        model = study.models[name]
        assert isinstance(model, LocalModel)
        assert study.variants(name) == ["base", "sft"]
        assert (model.gpus, model.dtype, model.trust_remote_code) == (1, "bfloat16", False)
        assert model.revision == "main" or COMMIT.fullmatch(str(model.revision))
    wider = study_on(survey, ROOT / "studies/overlays/closed.yaml")
    closed = [name for name in wider.models if name not in study.models]
    assert closed == ["gpt-4.1", "gpt-4o", "gpt-4o-mini"]
    assert all(wider.variants(name) == ["base"] for name in closed)


RECODED = ["Q56", "Q111", "Q119", "Q222", *(f"Q{i}" for i in range(241, 250)), "Q254"]


def test_the_overlay_makes_the_cleaner_reading(cleaned: Path, survey: Path, tmp_path: Path) -> None:
    overlay = ROOT / "studies/overlays/wvs7-recode.yaml"
    raw = read_mapping(overlay)
    assert set(raw) == {"study", "survey"}
    assert list(raw["survey"]["recode"]) == RECODED
    recoded = run_stages(study_on(survey, overlay), tmp_path, "clean")
    before, after = (
        io.read_table(results / paths.QUESTIONS, tables.QUESTIONS).set_index("question")
        for results in (cleaned, recoded)
    )
    others = before.index.difference(RECODED)
    pd.testing.assert_frame_equal(before.loc[others], after.loc[others])
    assert before.loc["Q119", "codes"].tolist() == [0, 1, 2, 3, 4]
    for name in RECODED:
        scale_min, scale_max = after.loc[name, ["scale_min", "scale_max"]]
        assert after.loc[name, "codes"].tolist() == list(range(scale_min, scale_max + 1))
        assert after.loc[name, "measurement_level"] == "ordinal"
    assert before.loc["Q56", "measurement_level"] == "nominal"
    assert after.loc["Q56", "labels"].tolist() == ["worse off", "about the same", "better off"]
    first, second = (
        io.read_table(results / paths.RESPONSES, tables.RESPONSES)["Q56"]
        for results in (cleaned, recoded)
    )
    moved = first.map({1: 3, 2: 1, 3: 2}, na_action="ignore")
    assert (moved.dropna() == second.dropna()).all()


def test_all_214_questions_are_asked(cleaned: Path) -> None:
    questions = io.read_table(cleaned / paths.QUESTIONS, tables.QUESTIONS)
    assert len(questions) == 214
    assert (questions["n"] > 1000).all()


def test_the_train_strata_hold_50_subgroups_and_10700_pairs(study: Study, cleaned: Path) -> None:
    assert pairs_of(study, cleaned, "train") == (50, 10_700)


def test_the_unseen_intersections_are_48_and_lose_few_pairs(study: Study, cleaned: Path) -> None:
    subgroups, pairs = pairs_of(study, cleaned, "ood")
    assert subgroups == 48
    # the paper counts 10,177 of 48 x 214; which small cells fall below 30 answers is the draw's
    assert 48 * 214 - 130 < pairs < 48 * 214 - 60
