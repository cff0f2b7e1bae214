"""The stage summary."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.jobs import run_stage
from valuestrata import io, tables
from valuestrata.records import Record
from valuestrata.report.power import Assumptions, label_loss, power_figures, study_finds, true_gaps
from valuestrata.report.settings import ContrastSettings
from valuestrata.stages import summary
from valuestrata.stages.hardware import this_machine
from valuestrata.study.evaluation import Evaluation, Labels
from valuestrata.study.study import dump
from valuestrata.survey.groups import Group, Groups
from valuestrata.tables import PAIR

CAVEAT = "simulated survey"
RECORD = Record("test", {}, {})
SIZES = {"n": 40, "respondents": 50}
PAIRS = pd.DataFrame(
    {
        "stratum": "sex",
        "subgroup": ["sex=male", "sex=female"],
        "question": "Q1",
        "block": "x",
        "measurement_level": "ordinal",
        "scale_min": 1,
        "scale_max": 3,
        "mode": [1, 2],
        "tied": [True, False],
        "codes": [[1, 2, 3]] * 2,
        "labels": [["a", "b", "c"]] * 2,
        "distribution": [[0.5, 0.25, 0.25]] * 2,
        **SIZES,
        **dict.fromkeys(("persona", "closed_prompt"), "p"),
    }
)
QUESTIONS = pd.DataFrame(
    {
        "question": ["Q1"],
        **dict.fromkeys(("topic", "text", "block"), "x"),
        "measurement_level": "ordinal",
        "scale_min": 1,
        "scale_max": 3,
        "codes": [[1, 2, 3]],
        "labels": [["", "", ""]],
        "n": 10,
        "missing": 0,
    }
)
RESPONSES = pd.DataFrame(
    {
        "respondent": list("abc"),
        "weight": 1.0,
        "sex": ["male", "male", None],
        "Q1": [1, 1, 2],
    }
)
DIVERSITY = pd.DataFrame(
    {
        "stratum": "mean",
        "question": "mean",
        "block": ["x", "all"],
        "measure": "mds",
        "value": [0.5, None],
        "corrected": [0.45, None],
        "ci_low": [0.4, None],
        "ci_high": [0.6, None],
        "n": [1, 0],
        "missing": [0, 1],
        "null_mean": [0.2, None],
        "null_p95": [0.3, None],
        "p_value": [0.01, None],
        "p_error": [0.001, None],
    }
)
AGREEMENT = pd.DataFrame(
    {
        "stratum": ["sex", "mean"],
        "coefficient": "kendall",
        "value": [0.1, 0.2],
        "ci_low": [0.0, 0.1],
        "ci_high": [0.2, 0.3],
        "n": 5,
        "missing": 1,
    }
)
LABELS = PAIRS[[*PAIR, "codes", "n", "respondents"]].assign(
    mode_unweighted=[1, 2],
    mode_weighted=[1, 1],
    tied_unweighted=[True, False],
    reachable_accuracy=0.9,
    reachable_nmae=0.05,
    tied_weighted=False,
    distribution_unweighted=[[0.5, 0.5, 0.0], [0.2, 0.6, 0.2]],
    distribution_weighted=[[0.6, 0.4, 0.0], [0.5, 0.3, 0.2]],
)
CEILINGS = pd.DataFrame(
    {
        "ceiling": "noise_ceiling",
        "split": "ood",
        "level": ["all", "subgroups"],
        "group": ["all", "sex=male"],
        "metric": "accuracy",
        "value": [0.8, 0.7],
        "ci_low": 0.6,
        "ci_high": 0.9,
        "n": 2,
        "missing": 0,
    }
)


PARTS = ("baselines", "ceilings", "labels", "power")
CONTRASTS = ContrastSettings(
    strata={"ood": ("sex",)},
    variants={"toy": ("base", "sft"), "rule": ("base",)},
    prompt_variants={},
    baselines=("rule",),
    persona_agnostic=(),
    evaluation=Evaluation(),
    caveat=CAVEAT,
)


def summarise(folder: Path) -> Any:
    groups = Groups(
        countries=(),
        axes={
            "sex": (
                Group(label="male", codes=("1",), n=2),
                Group(label="female", codes=("2",), n=0),
            )
        },
    )
    io.write_json(dump(groups), folder / "groups.json")
    io.write_json({"notices": ["Something is doubtful."]}, folder / "notices.json")
    files: dict[str, Any] = {name: str(folder / f"{name}.json") for name in ("groups", "notices")}
    for name, frame in (
        ("responses", RESPONSES),
        ("questions", QUESTIONS),
        ("diversity", DIVERSITY),
        ("agreement", AGREEMENT),
        ("ceilings", CEILINGS),
        ("pairs", PAIRS),
        ("labels", LABELS),
    ):
        path = folder / f"{name}.parquet"
        io.write_table(frame, path, getattr(tables, name.upper()), RECORD)
        files[name] = (str(path),) if name in ("pairs", "labels") else str(path)
    settings = summary.Settings(
        study="demo",
        survey="a survey",
        country="Utopia",
        splits=("ood",),
        labels=Labels(),
        evaluation=Evaluation(n_resamples=60),
        caveat=CAVEAT,
        contrasts=CONTRASTS,
        perturbations=("sensitivity: paraphrase is doubtful",),
    )
    run_stage(summary, settings, {**files, "summary": str(folder / "summary.json")})
    return io.read_json(folder / "summary.json")


def test_the_summary_counts_and_scores_the_baselines(tmp_path: Path) -> None:
    content = summarise(tmp_path)
    assert (content["respondents"], content["questions"], content["caveat"]) == (3, 1, CAVEAT)
    assert content["countries"] == ["Utopia"]
    assert content["notices"] == ["Something is doubtful."]  # the survey's alone
    assert content["sensitivity_notices"] == ["sensitivity: paraphrase is doubtful"]
    assert content["hardware"] == str(this_machine())
    assert content["groups"] == {"sex": {"male": 2, "female": 0}}
    split = content["splits"]["ood"]
    sizes = {k: v for k, v in split.items() if k not in PARTS}
    assert sizes == {"strata": {"sex": 2}, "subgroups": 2, "pairs": 2, "tied_modes": 1}
    # without the men one woman's 2 is left, without the women the men's 1 and that 2: ties to 1
    assert set(split["baselines"]) == {"national_mode", "axis_mode"}
    for scores in split["baselines"].values():
        assert (scores["accuracy"]["value"], scores["nmae"]["value"]) == (0.0, 0.5)
        assert (scores["nmae"]["n"], scores["nmae"]["missing"]) == (2, 0)
    ceiling = {"value": 0.8, "ci_low": 0.6, "ci_high": 0.9, "n": 2, "missing": 0}
    assert split["ceilings"] == {"split_half": {}, "noise_ceiling": {"accuracy": ceiling}}
    labels = split["labels"]
    ties = (labels["mode"], labels["tied_unweighted"], labels["tied_weighted"])
    assert ties == ("unweighted", 1, 0)
    assert (labels["changed"]["value"], labels["changed"]["n"]) == (0.5, 2)
    assert labels["moved"]["value"] == pytest.approx((0.1 + 0.3) / 2)
    assert content["rank_agreement"]["kendall"]["value"] == 0.2
    row = DIVERSITY.iloc[0].drop(["stratum", "question", "block", "measure"]).to_dict()
    assert content["blocks"]["x"]["mds"] == {**row, "q_value": 0.01}
    assert content["blocks"]["all"]["mds"]["value"] is None


def test_the_summary_says_which_gaps_the_study_can_find(tmp_path: Path) -> None:
    content = summarise(tmp_path)
    assert content["power"]["assumed"] == asdict(Assumptions())
    power = content["splits"]["ood"]["power"]
    # one question alone tests nothing, which is said and not left out
    assert {name: row["tests"] for name, row in power["comparisons"].items()} == {
        "a fine-tune against its base": 1,
        "a language model against a baseline": 2,
        # of two groups, one against the other
        "sex: a group against the rest": 1,
        "a subgroup against the rest of its stratum": 1,
    }
    for row in power["comparisons"].values():
        assert set(row["smallest_gap"]) == {"accuracy", "nmae", "wasserstein", "refusal"}
        assert set(row["smallest_gap"].values()) == {None}


def test_the_smallest_gaps_are_those_that_the_command_prints() -> None:
    questions = [f"Q{q}" for q in range(40)]
    pairs = pd.concat([PAIRS.assign(question=question) for question in questions])
    axes = {"sex": ("male", "female")}
    figures = power_figures(pairs, axes, CONTRASTS, Assumptions())
    finds = {each.name: each for each in study_finds(pairs, axes, CONTRASTS, Assumptions())}
    first = next(iter(finds.values()))
    assert true_gaps(first, "accuracy", 0.05, Assumptions(), 0.5)
    for useless in (0.0, -0.1):  # two answers that are given equally often
        assert true_gaps(first, "accuracy", 0.05, Assumptions(), useless) == []
    assert figures["gap_that_labels_show"] == label_loss(pairs) < 1
    for name, row in figures["comparisons"].items():
        for metric, gap in row["smallest_gap"].items():
            gaps = finds[name].gaps(metric, 0.05, 0.8)
            scale = label_loss(pairs) if metric == "accuracy" else 1.0
            assert gap["least"] == gaps[0] / scale
            assert gap["largest"] == gaps[-1] / scale
            assert gap["least"] <= gap["middle"] <= gap["largest"]
