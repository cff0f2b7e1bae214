"""Several waves, panel weights and split ballots: the worked examples of docs/designs.md run."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.test_docs import files
from tests.world import read_pairs, run_stage, run_stages
from valuestrata import io, paths, tables
from valuestrata.study.load import load_files
from valuestrata.study.study import Study

BLOCKS = files("docs/designs.md")
STUDY = "mysurvey/panel_study.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, and the survey that its script makes."""
    path = tmp_path_factory.mktemp("designs")
    (path / "mysurvey").mkdir()
    for name, text in BLOCKS.items():
        (path / name).write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, "mysurvey/make_panel.py"], cwd=path, check=True)
    return path


def study(folder: Path, *overlays: str) -> Study:
    paths_of_files = [folder / STUDY, *(folder / f"mysurvey/{name}.yaml" for name in overlays)]
    made = load_files(paths_of_files, folder)
    return made.replace(evaluation=made.evaluation.replace(n_resamples=20))


def read(folder: Path, *overlays: str) -> tuple[dict[str, Any], Path]:
    """Summary and results of a study of the page."""
    results = run_stages(study(folder, *overlays), folder)
    return io.read_json(results / paths.SUMMARY), results


def answers(results: Path) -> pd.DataFrame:
    return io.read_table(results / paths.QUESTIONS, tables.QUESTIONS).set_index("question")


def test_every_overlay_of_the_page_is_tried_here() -> None:
    overlays = {Path(name).stem for name in BLOCKS if name.endswith(".yaml")}
    assert overlays == {
        "panel_codebook", "panel_study", "wave_2016", "next_wave", "stayed", "ballots", "wording",
    }  # fmt: skip


def test_one_wave_has_its_own_people_answers_and_weights(folder: Path) -> None:
    modes = {}
    for overlay, ages in (((), 84), (("wave_2016",), 80)):
        summary, results = read(folder, *overlay)
        assert summary["respondents"] == 800
        responses = io.read_table(results / paths.RESPONSES, tables.RESPONSES)
        assert responses["respondent"].is_unique
        assert responses["weight"].mean() == pytest.approx(1)
        raw = pd.read_csv(folder / "mysurvey/panel.csv")
        wave = raw[raw["wave"] == (1 if overlay else 2)]
        assert wave["age"].max() == ages
        means = wave.set_index(wave["person"].astype(str))["weight"]
        expected = means[responses["respondent"]].to_numpy()
        assert (responses["weight"] * expected.mean()).to_numpy() == pytest.approx(expected)
        pairs = read_pairs(results, "train")
        modes[overlay] = pairs[pairs["question"] == "trust"].set_index("subgroup")["mode"]
    # trust fell between the waves
    assert set(modes[()]) == {4}
    assert (modes["wave_2016",] < 3).all()


def test_a_later_wave_is_held_out_by_an_axis(folder: Path) -> None:
    summary, results = read(folder, "next_wave")
    assert summary["respondents"] == 1600 - 400 + 400
    train, test = read_pairs(results, "train"), read_pairs(results, "ood")
    assert train["subgroup"].str.startswith("year=2016").all()
    assert test["subgroup"].str.startswith("year=2020").all()
    assert train["persona"].str.contains("asked in 2016").all()
    assert min(len(test), len(train)) > 20


def test_people_of_two_waves_under_one_id_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = study(folder, "next_wave")
    wrong = later.replace(survey=later.survey.replace(respondent="person"), study="wrong")
    with pytest.raises(AssertionError):
        run_stages(wrong, folder, "clean")
    assert "400 respondents share an id" in capsys.readouterr().err


def test_those_who_stayed_have_the_weight_of_the_panel(folder: Path) -> None:
    summary, results = read(folder, "stayed")
    assert summary["respondents"] == 400
    responses = io.read_table(results / paths.RESPONSES, tables.RESPONSES)
    raw = pd.read_csv(folder / "mysurvey/panel.csv")
    stayed = raw[(raw["wave"] == 2) & (raw["panel"] == 1)]
    weights = stayed.set_index(stayed["person"].astype(str))["panel_weight"]
    expected = weights[responses["respondent"]] / weights.mean()
    assert responses["weight"].to_numpy() == pytest.approx(expected.to_numpy())
    assert summary["splits"]["ood"]["labels"]["moved"]["value"] > 0


def test_an_item_asked_of_half_has_half_the_answers_and_fewer_pairs(folder: Path) -> None:
    summary, results = read(folder)
    questions = answers(results)
    assert questions.loc["trust", "n"] == 800
    assert questions.loc["tax_a", "n"] + questions.loc["tax_b", "n"] == 800
    assert questions.loc["tax_a", "missing"] == questions.loc["tax_b", "n"]
    pairs = read_pairs(results, "ood")
    by_question = pairs.groupby("question").size()
    assert by_question["trust"] == summary["splits"]["ood"]["subgroups"] == 12
    halves = pairs[pairs["question"] != "trust"]
    assert (halves["n"] < halves["respondents"]).all()
    assert 0 < by_question["tax_a"] < 12
    fewer, ballots = read(folder, "ballots")
    assert fewer["splits"]["ood"]["pairs"] == 3 * 12 > len(pairs)
    assert answers(ballots)["n"].equals(questions["n"])


def test_a_wording_is_held_out_by_its_question(folder: Path) -> None:
    _, results = read(folder, "wording")
    train, test = read_pairs(results, "train"), read_pairs(results, "ood")
    assert set(train["question"]) == {"tax_a"}
    assert set(test["question"]) == {"tax_b"}
    # the two wordings are answered otherwise in the made-up file
    assert set(train["mode"]) == {3}
    assert set(test["mode"]) == {1}


def test_a_baseline_answers_an_item_of_half(folder: Path) -> None:
    ballots = study(folder, "ballots")
    results = run_stages(ballots, folder, "clean", "tally", "pairs")
    with contextlib.chdir(folder):
        run = {"model": "additive", "variant": "base", "split": "ood"}
        for stage in ("predict_baseline", "score"):
            assert run_stage(ballots, stage, **run) == 0
    path = paths.PREDICTIONS.format(model="additive", variant="base", split="ood")
    predictions = io.read_table(results / path, tables.PREDICTIONS)
    answer = predictions.groupby("question")["answer"].agg(lambda codes: set(codes))
    assert (answer["tax_a"], answer["tax_b"]) == ({3}, {1})
