"""A study names its annotators: a script in the place of people, or people's csv files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import judged
from tests.graph import ROOT
from valuestrata import io, judge_tables, paths
from valuestrata.__main__ import main
from valuestrata.annotation.answers import COLUMNS
from valuestrata.annotation.reliability import agreement_table
from valuestrata.demo.annotators import annotations
from valuestrata.errors import InputError
from valuestrata.metrics import agreement
from valuestrata.report.human_agreement import reliabilities
from valuestrata.stages import annotators as annotators_stage
from valuestrata.stages import human_agreement as agreement_stage
from valuestrata.stages.job import at, check_input, is_stale
from valuestrata.stages.result_files import agreement_input
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.load import load_files
from valuestrata.study.study import Study

ITEMS = [
    {"id": "x-1", "a": "As someone who is old, I have a view. I would say no.", "b": "It is hard."},
    {"id": "x-2", "a": "For me, it works.", "b": "For me, it works."},
]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The demo's study in a folder of its own, judged."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    study = load_files(["config.yaml"], tmp_path)
    judged.write_results(study)
    return study


def run(study: Study, *stages: str) -> None:
    io.write_text(study.to_json(), f"{study.results}/study.json")
    for stage in stages:
        assert main([stage, "--study", f"{study.results}/study.json"]) == 0


def overlay(tmp_path: Path, text: str) -> Study:
    path = tmp_path / "overlay.yaml"
    path.write_text(text, encoding="utf-8")
    return load_files(["config.yaml", path], tmp_path)


# ---- the script


def test_the_script_reads_the_survey_answers_where_its_judge_is_told_them(
    demo: Study, tmp_path: Path
) -> None:
    assert not {"labels", "questions"} & set(annotators_stage.inputs(demo))
    told = overlay(tmp_path, "judges: {toy-judge: {rubric: pairwise}}")
    assert {"labels", "questions"} <= set(annotators_stage.inputs(told))


def test_simulated_annotators_go_by_phrases_and_slip() -> None:
    rows = list(annotations(ITEMS, ["Value", "Persona", "Overall"], {"ada": 0.0}, 1))
    assert list(rows[0]) == list(COLUMNS)
    assert {row["annotator"] for row in rows} == {"ada (simulated)"}
    choices = {(row["sample_id"], row["dimension"]): row["choice"] for row in rows}
    assert [choices["x-1", d] for d in ("Value", "Persona", "Overall")] == ["A", "A", "tie"]
    assert {choice for (item, _), choice in choices.items() if item == "x-2"} == {"tie"}
    swapped = [{**item, "a": item["b"], "b": item["a"]} for item in ITEMS]
    (first, *_) = annotations(swapped, ["Value"], {"ada": 0.0}, 1)
    assert first["choice"] == "B"
    many = [{**ITEMS[0], "id": str(i)} for i in range(400)]
    careless = [row["choice"] for row in annotations(many, ["Value"], {"ada": 0.3}, 1)]
    assert careless.count("A") == pytest.approx(0.8 * 400, abs=30)
    # an annotator's choices do not depend on the others
    both = list(annotations(ITEMS, ["Value"], {"ben": 0.5, "ada": 0.5}, 1))
    assert both[2:] == list(annotations(ITEMS, ["Value"], {"ada": 0.5}, 1))
    assert both[2:] != list(annotations(ITEMS, ["Value"], {"ada": 0.5}, 2))


def test_the_stages_from_texts_to_agreement(demo: Study) -> None:
    run(demo, "annotators", "human_agreement")
    table = io.read_table(at(demo, paths.SIMULATED_AGREEMENT), judge_tables.HUMAN_AGREEMENT)
    assert table["simulated"].all()
    assert set(table["dimension"]) == set(judged.DIMENSIONS)
    raters = set(table["rater"])
    assert raters == {"all", "ada (simulated)", "ben (simulated)"}
    assert io.caveat_of(at(demo, paths.SIMULATED_AGREEMENT)) == (
        "simulated survey, toy models, simulated annotators"
    )
    # verdicts are at random here, and annotators go by the texts: greyed, and by people's path
    assert {each.direction(0.95) for each in reliabilities(table)} == {-1}
    html = Path(at(demo, paths.SIMULATED_PAGE)).read_text(encoding="utf-8")
    assert "toy-llama" not in html
    csv = pd.read_csv(at(demo, paths.SIMULATED_ANNOTATIONS))
    assert len(csv) == 2 * 100 * 3
    before = Path(at(demo, paths.SIMULATED_ANNOTATIONS)).read_bytes()
    run(demo, "annotators")
    assert Path(at(demo, paths.SIMULATED_ANNOTATIONS)).read_bytes() == before
    for name in ("SIMULATED_PAGE", "SIMULATED_KEY", "SIMULATED_ANNOTATIONS", "SIMULATED_AGREEMENT"):
        check_input(demo, at(demo, getattr(paths, name)))
        assert not is_stale(demo, at(demo, getattr(paths, name))), name
    # the report takes them, until people's own are there
    assert agreement_input(demo) == {"human_agreement": at(demo, paths.SIMULATED_AGREEMENT)}
    Path(at(demo, paths.HUMAN_AGREEMENT)).touch()
    assert agreement_input(demo) == {"human_agreement": at(demo, paths.HUMAN_AGREEMENT)}


def test_peoples_own_files_take_the_same_path(
    demo: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotate", "config.yaml", "--n", "60"]) == 0
    (path,) = agreement_stage.key_files(demo)
    key = io.read_json(path)
    rng = np.random.default_rng(1)
    files = []
    for name in ("anna", "ben"):
        choices = {
            item["sample_id"]: {d: str(rng.choice(["A", "tie", "B"])) for d in judged.DIMENSIONS}
            for item in key["items"]
        }
        files.append(judged.annotations(key, name, choices, tmp_path).name)
    people = f"people: {{simulate: null, files: {json.dumps(files)}}}\n"
    study = overlay(tmp_path, people)
    run(study, "human_agreement")
    path = at(study, paths.HUMAN_AGREEMENT)
    by_stage = io.read_table(path, judge_tables.HUMAN_AGREEMENT)
    assert not by_stage["simulated"].any()
    assert agreement_input(study) == {"human_agreement": path}
    assert not is_stale(study, path)
    # the command says the same of the same files, where the study names none
    assert main(["agreement", "config.yaml", *files]) == 0
    by_command = io.read_table(path, judge_tables.HUMAN_AGREEMENT)
    pd.testing.assert_frame_equal(by_stage, by_command)
    capsys.readouterr()
    assert main(["agreement", "config.yaml", "overlay.yaml", *files]) == 2
    assert "people.files names the annotators' files" in capsys.readouterr().err
    # other files are other settings of nothing, but other inputs
    Path(files[0]).write_text(Path(files[1]).read_text().replace("ben", "cleo"), encoding="utf-8")
    run(study, "human_agreement")
    changed = io.read_table(path, judge_tables.HUMAN_AGREEMENT)
    assert "cleo" in set(changed["rater"])
    shutil.rmtree(Path(at(study, paths.ANNOTATION_KEY, sample="")).parent)
    with pytest.raises(InputError, match="no key of a sample in results/demo/annotation"):
        overlay(tmp_path, people)


def test_what_a_study_says_of_people_is_checked(demo: Study, tmp_path: Path) -> None:
    for text, problem in (
        ("people: {files: [a.csv]}", "give either files"),
        ("people: {simulate: null}", "give either files"),
        ("people: {simulate: null, files: [a.csv]}", "people.files: no file a.csv"),
        ("people: {simulate: null, files: [a.csv, a.csv]}", "duplicate 'a.csv'"),
        ("people: {simulate: {judge: nobody}}", "no judge 'nobody'; the judges are toy-judge"),
        ("people: {simulate: {slips: {ada: 1.5}}}", "people.simulate.slips.ada"),
        ("people: {simulate: {n: 0}}", "people.simulate.n"),
        ("people: {simulate: {noise: 1}}", "noise"),
        ("judges: null\npeople: {simulate: null, files: [a.csv]}", "people"),
    ):
        with pytest.raises(InputError) as error:
            overlay(tmp_path, text)
        assert problem in str(error.value), (text, str(error.value))
        assert "\n" not in str(error.value)
    # without a judge there is nothing to annotate
    for text in ("people: null", "judges: null", "generation: null\njudges: null"):
        study = overlay(tmp_path, text)
        assert study.simulated_annotators is None
        assert agreement_stage.runs(study) == []


# ---- what intervals of agreement cover


def ratings(rng: np.random.Generator, questions: int, each: int) -> tuple[pd.DataFrame, ...]:
    """Two people and a judge as reliable as they are, on questions of unlike difficulty."""
    n = questions * each
    names = np.arange(n).astype(str)
    items = pd.DataFrame({"sample_id": names, "question": np.repeat(np.arange(questions), each)})
    hard = np.repeat(rng.beta(2, 2, questions), each)
    truth = rng.choice([0.0, 0.5, 1.0], n, p=[0.4, 0.2, 0.4])
    score = [
        np.where(rng.random(n) < 0.6 * hard, rng.choice([0.0, 0.5, 1.0], n), truth)
        for _ in range(3)
    ]
    people = pd.DataFrame(
        {
            "sample_id": np.tile(names, 2),
            "annotator": np.repeat(["a", "b"], n),
            "dimension": "Overall",
            "score": np.concatenate(score[:2]),
        }
    )
    judge = pd.DataFrame(
        {"sample_id": names, "judge": "j", "dimension": "Overall", "score": score[2]}
    )
    return people, judge, items


def test_intervals_of_agreement_cover_and_equals_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(1)
    evaluation = Evaluation(n_resamples=200)
    truth = agreement_table(*ratings(rng, 20_000, 4), Evaluation(n_resamples=10))
    columns = ["comparison", "rater", "coefficient"]
    truth = truth.set_index(columns)["value"]
    truth[truth.index.get_level_values("comparison") == "difference"] = 0.0
    for questions, each in ((8, 5), (29, 3)):
        covered, rejected, n = 0 * truth, 0, 150
        for _ in range(n):
            table = agreement_table(*ratings(rng, questions, each), evaluation)
            row = table.set_index(columns)
            inside = (row["ci_low"] <= truth[row.index]) & (truth[row.index] <= row["ci_high"])
            covered += inside
            rejected += row.loc[("difference", "all", "kappa_linear"), "p_value"] < 0.05
        assert (covered / n).mean() >= 0.92, (questions, covered / n)
        assert (covered / n).min() >= 0.88, (questions, covered / n)
        assert rejected / n <= 0.1, (questions, rejected / n)


def test_a_planned_sample_is_as_precise_as_was_said() -> None:
    shares, kappa = np.array([0.4, 0.2, 0.4]), 0.55
    joint = agreement.expected_joint(shares, kappa)
    needed = agreement.items_for_half_width(agreement.kappa_variance(joint, 1), 0.1, 0.95)
    rng = np.random.default_rng(2)
    cells = rng.multinomial(needed, joint.ravel(), 2000).reshape(-1, 3, 3).astype(float)
    estimates = agreement.weighted_kappa(cells, 1)
    assert 1.96 * estimates.std() == pytest.approx(0.1, rel=0.06)
    assert (np.abs(estimates - kappa) <= 0.1).mean() == pytest.approx(0.95, abs=0.015)


def test_where_all_agree_there_is_no_certainty() -> None:
    people, judge, items = ratings(np.random.default_rng(3), 10, 3)
    one = people[people["annotator"] == "a"]
    same = pd.concat([one, one.assign(annotator="b")])
    table = agreement_table(same, judge, items, Evaluation(n_resamples=50))
    row = table[table["comparison"] == "human_human"].set_index("coefficient")
    assert row.loc["agreement", "value"] == 1
    assert row.loc["agreement", "ci_low"] == pytest.approx(0.025 ** (1 / 10))
    assert row.loc["kappa_linear", "value"] == 1
    assert np.isnan(row.loc["kappa_linear", "ci_low"])
