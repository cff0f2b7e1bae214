"""The stages score and fairness."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.jobs import run_stage
from tests.score_tables import NAN, crossed, scores_table
from valuestrata import io, tables
from valuestrata.records import Record
from valuestrata.stages import fairness, score
from valuestrata.study.evaluation import Evaluation
from valuestrata.tables import PAIR

CAVEAT = "simulated survey"
RUN = {"model": "m", "variant": "base", "split": "ood"}
EVALUATION = Evaluation(n_resamples=60)
LEVELS = {"Q1": "ordinal", "Q2": "ordinal", "Q3": "nominal"}
SUBGROUPS = {"sex": ["sex=female", "sex=male"], "age": ["age=old", "age=young"]}


def pairs_table() -> pd.DataFrame:
    pairs = {
        (stratum, subgroup, question): (level, 1 + (i + s) % 3)
        for stratum, names in SUBGROUPS.items()
        for s, subgroup in enumerate(names)
        for i, (question, level) in enumerate(LEVELS.items())
    }
    frame = pd.DataFrame(list(pairs), columns=PAIR)
    frame["measurement_level"], frame["mode"] = zip(*pairs.values(), strict=True)
    frame["codes"] = [[1, 2, 3]] * len(frame)
    frame["labels"] = [["a", "b", "c"]] * len(frame)
    frame["distribution"] = [[0.5, 0.25, 0.25]] * len(frame)
    frame = frame.assign(block="values", scale_min=1, scale_max=3, tied=False, n=40)
    return frame.assign(respondents=50, persona="p", closed_prompt="c")


def predictions_table(pairs: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    columns = {
        "text": "Answer: 1",
        "thought": None,
        "finish_reason": "stop",
        "outcome": "answer",
        "answer": 1,
        "codes": [[1, 2, 3]] * len(pairs),
        "logprobs": None,
        "distribution": [[0.5, 0.25, 0.25]] * len(pairs),
        "non_option_mass": 0.1,
        "unread_mass": None,
        "passes": None,
        "prompt_tokens": 20,
        "prompt_hash": "h",
        "model_version": "w",
        "adapter": "",
        "adapter_shift": None,
        "notes": "",
    }
    return pairs[PAIR].assign(**{**columns, **changes})


def run_score(folder: Path, pairs: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    settings = score.Settings(caveat=CAVEAT)
    strata = sorted(set(pairs["stratum"]))
    files = {name: str(folder / f"{name}.parquet") for name in ("pairs", "predictions")}
    write(pairs, files["pairs"], tables.PAIRS)
    write(predictions, files["predictions"], tables.PREDICTIONS)
    outputs = tuple(str(folder / f"{stratum}.parquet") for stratum in strata)
    run_stage(score, settings, {**files, "scores": outputs}, RUN)
    return io.read_table(outputs, tables.SCORES)


def write(frame: pd.DataFrame, path: Path | str, contract: tables.Contract) -> None:
    io.write_table(frame, path, contract, Record("test", {}, {}))


def test_the_stage_scores_every_pair_of_every_stratum(tmp_path: Path) -> None:
    pairs = pairs_table()
    scores = run_score(tmp_path, pairs, predictions_table(pairs).sample(frac=1, random_state=1))
    assert len(scores) == len(pairs)
    both = scores.drop(columns="measurement_level").merge(pairs, on=PAIR)
    is_ordinal = both["measurement_level"] == "ordinal"
    np.testing.assert_array_equal(both["accuracy"], (both["mode"] == 1).astype(float))
    np.testing.assert_allclose(both["nmae"], np.where(is_ordinal, (both["mode"] - 1) / 2, NAN))
    np.testing.assert_allclose(both["wasserstein"], np.where(is_ordinal, 0, NAN))
    for distance in ("jensen_shannon", "total_variation"):
        np.testing.assert_allclose(both[distance], 0, atol=1e-12)
    np.testing.assert_allclose(both["confidence"], 0.5)
    np.testing.assert_array_equal(both["argmax_accuracy"], both["mode"] == 1)
    assert (both["answer"] == 1).all()
    assert io.caveat_of(tmp_path / "sex.parquet") == CAVEAT


def test_a_pair_without_answer_has_no_accuracy_and_is_not_wrong(tmp_path: Path) -> None:
    pairs = pairs_table()
    for outcome in ("refusal", "invalid", "failed"):
        predictions = predictions_table(pairs)
        predictions.loc[[0, 5], "outcome"] = outcome
        predictions["answer"] = predictions["answer"].where(predictions["outcome"] == "answer")
        scores = run_score(tmp_path, pairs, predictions)
        lost = scores["outcome"] == outcome
        assert lost.sum() == 2
        assert scores.loc[lost, ["accuracy", "nmae"]].isna().all(axis=None)
        assert scores.loc[~lost, "accuracy"].notna().all()
        assert scores["jensen_shannon"].notna().all()


def test_without_a_distribution_there_is_no_distance(tmp_path: Path) -> None:
    pairs = pairs_table()
    lists: list[Any] = [[0.2, 0.3, 0.5]] * len(pairs)
    lists[4] = None
    scores = run_score(tmp_path, pairs, predictions_table(pairs, distribution=lists))
    for metric in ("jensen_shannon", "total_variation", "argmax_accuracy", "confidence"):
        assert scores[metric].isna().sum() == 1
    assert scores["accuracy"].notna().all()


def test_pairs_and_predictions_must_match_one_to_one(tmp_path: Path) -> None:
    pairs = pairs_table()
    twice = pairs.iloc[[*range(len(pairs)), 2]]
    for pairs_given, predicted, message in (
        (pairs, pairs.drop(index=3), "outcome"),
        (pairs.drop(index=3), pairs, "prediction"),
        (pairs, twice, "one-to-one"),
    ):
        with pytest.raises(ValueError, match=message):
            run_score(tmp_path, pairs_given, predictions_table(predicted))


# Fairness ------------------------------------------------------------------------------------


def run_fairness(folder: Path, scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    inputs = []
    for stratum, rows in scores.groupby("stratum"):
        inputs.append(str(folder / f"{stratum}.parquet"))
        write(rows, inputs[-1], tables.SCORES)
    files = {name: str(folder / f"{name}.parquet") for name in ("fairness", "groups")}
    settings = fairness.Settings(evaluation=EVALUATION, caveat=CAVEAT)
    labels = scores[PAIR].assign(
        **dict.fromkeys(("mode_unweighted", "mode_weighted"), 1),
        **dict.fromkeys(("tied_unweighted", "tied_weighted"), False),
        **dict.fromkeys(("n", "respondents"), 40),
        reachable_accuracy=0.9,
        reachable_nmae=np.where(scores["measurement_level"] == "ordinal", 0.05, NAN),
    )
    for column in ("codes", "distribution_unweighted", "distribution_weighted"):
        labels[column] = [[1, 0]] * len(labels)
    files["labels"] = str(folder / "labels.parquet")
    write(labels, files["labels"], tables.LABELS)
    run_stage(fairness, settings, {"scores": tuple(inputs), **files}, RUN)
    groups = io.read_table(files["groups"], tables.GROUPS)
    return io.read_table(files["fairness"], tables.FAIRNESS), groups


def test_all_groups_that_tie_are_named(tmp_path: Path) -> None:
    pairs = crossed()
    for value in (0.0, 1.0):
        inequality, _ = run_fairness(tmp_path, scores_table(pairs, np.full(len(pairs), value)))
        ages = inequality[inequality["level"] == "age"]
        assert {*ages["best_group"], *ages["worst_group"]} == {"old; young"}


def test_best_and_worst_group_are_found(tmp_path: Path) -> None:
    pairs = crossed()
    rng = np.random.default_rng(1)
    old = pairs["subgroup"].str.contains("age=old").to_numpy()
    accuracy = (rng.random(len(pairs)) < np.where(old, 0.3, 0.9)).astype(float)
    inequality, groups = run_fairness(tmp_path, scores_table(pairs, accuracy))
    assert set(inequality["level"]) == {"subgroups", "sex", "age"}
    assert {*inequality["model"], *inequality["variant"], *inequality["split"]} == {*RUN.values()}
    ages = inequality[inequality["level"] == "age"]
    assert set(ages["metric"]) == {"accuracy", "nmae"}
    assert set(ages["best_group"]) == {"young"}
    assert set(ages["worst_group"]) == {"old"}
    assert (ages["p_value"] < 0.05).all()
    assert set(ages["n_groups"]) == {2}
    assert (inequality[inequality["level"] == "sex"]["p_value"] > 0.02).all()
    by_hand = {"old": accuracy[old].mean(), "young": accuracy[~old].mean()}
    rows = groups[(groups["level"] == "age") & (groups["metric"] == "accuracy")]
    assert rows.set_index("group")["value"].to_dict() == pytest.approx(by_hand)
    gap = ages[(ages["metric"] == "accuracy") & (ages["statistic"] == "norm_range")]
    expected = (by_hand["young"] - by_hand["old"]) / by_hand["young"]
    assert gap["value"].item() == pytest.approx(expected)
    assert (inequality["ci_low"] <= inequality["corrected"]).all()
    assert (inequality["corrected"] <= inequality["ci_high"]).all()
    assert set(inequality["statistic"]) == set(tables.INEQUALITIES)
    # what is reachable is the same for all: net differences are the plain ones
    net, plain = (
        inequality[inequality["statistic"] == name].set_index(["level", "metric"])
        for name in ("net_sd", "sd")
    )
    assert (plain["reachable"] == 0).all()
    for column in ("value", "corrected", "p_value"):
        np.testing.assert_allclose(net[column], plain[column])
    assert set(rows["reachable"].round(6)) == {0.9}
    middle = rows["value"].mean()
    assert (abs(rows["shrunk"] - middle) < abs(rows["value"] - middle)).all()


def test_only_pairs_that_were_asked_can_be_missing(tmp_path: Path) -> None:
    pairs = crossed()
    not_asked = (pairs["subgroup"] == "sex=male & age=old") & (pairs["question"] >= "Q030")
    pairs = pairs[~not_asked].reset_index(drop=True)
    accuracy = np.ones(len(pairs))
    accuracy[:3] = NAN
    _, groups = run_fairness(tmp_path, scores_table(pairs, accuracy))
    rows = groups[groups["metric"] == "accuracy"].set_index(["level", "group"])
    counts = rows[["n", "missing"]].T.to_dict("list")
    assert counts["subgroups", "sex=male & age=old"] == [30, 0]
    assert counts["subgroups", "sex=male & age=young"] == [37, 3]
    assert counts["subgroups", "sex=female & age=old"] == [40, 0]
    assert (counts["sex", "male"][1], counts["sex", "female"][1]) == (3, 0)


def test_a_nominal_pair_has_no_nmae_and_is_not_missing_one(tmp_path: Path) -> None:
    pairs = crossed()
    accuracy = np.ones(len(pairs))
    accuracy[:2] = NAN
    inequality, groups = run_fairness(tmp_path, scores_table(pairs, accuracy))
    rows = groups[(groups["metric"] == "nmae") & (groups["level"] == "subgroups")]
    counts = rows.set_index("group")[["n", "missing"]].T.to_dict("list")
    refused = "sex=male & age=young"
    assert counts == {
        name: [28, 2] if name == refused else [30, 0] for name in pairs["subgroup"].unique()
    }
    assert set(inequality[inequality["metric"] == "nmae"]["missing"]) == {2}


def test_the_groups_of_an_axis_pool_all_strata_with_it(tmp_path: Path) -> None:
    pairs = pd.concat([crossed(20), crossed(20).assign(stratum="age", subgroup="age=old")])
    pairs = pairs.drop_duplicates(PAIR).reset_index(drop=True)
    accuracy = np.where(pairs["stratum"] == "age", 1.0, 0.5)
    _, groups = run_fairness(tmp_path, scores_table(pairs, accuracy))
    rows = groups[groups["metric"] == "accuracy"].set_index(["level", "group"])
    assert rows.loc[("age", "old"), "n"] == 60
    assert rows.loc[("age", "old"), "value"] == pytest.approx((40 * 0.5 + 20) / 60)
    assert rows.loc[("sex", "male"), "n"] == 40


def test_a_subgroup_without_any_score_is_not_compared(tmp_path: Path) -> None:
    pairs = crossed(20)
    accuracy = (np.arange(len(pairs)) % 3 > 0).astype(float)
    accuracy[:20] = NAN
    inequality, groups = run_fairness(tmp_path, scores_table(pairs, accuracy))
    rows = inequality[(inequality["level"] == "subgroups") & (inequality["metric"] == "accuracy")]
    assert set(rows["n_groups"]) == {3}
    assert set(rows["missing"]) == {20}
    assert groups[groups["group"] == "sex=male & age=young"]["value"].isna().all()


def test_a_single_group_has_no_inequality(tmp_path: Path) -> None:
    pairs = crossed(10)
    pairs = pairs[pairs["subgroup"] == "sex=male & age=old"].reset_index(drop=True)
    inequality, groups = run_fairness(tmp_path, scores_table(pairs))
    assert inequality.empty
    assert len(groups) == 6
