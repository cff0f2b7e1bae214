"""Groups against groups in every run, families of tests, changes of inequality, and their stage."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.jobs import run_stage
from tests.score_tables import NAN, crossed, scores_table, verdicts_table
from tests.study.parts import check as refused
from tests.study.parts import study
from tests.test_comparison import cell, drawn, write
from tests.test_comparison import settings as comparison
from valuestrata import evaluation_tables, io, tables
from valuestrata.contracts import check
from valuestrata.metrics.multiplicity import q_values
from valuestrata.report.comparison import RunValues, run_values
from valuestrata.report.families import adjusted_differences, smallest_gap
from valuestrata.report.group_contrasts import (
    adjusted_contrasts,
    contrast_split,
    names_of_tests,
)
from valuestrata.report.inequality import adjusted_changes, changes_split
from valuestrata.report.settings import ContrastSettings
from valuestrata.stages import contrasts
from valuestrata.stages.summary import missing_references
from valuestrata.study.survey import Axis
from valuestrata.survey.groups import Group, Groups
from valuestrata.tables import PAIR

ASKED = crossed(40)
AXES = {"sex": ("male", "female"), "age": ("young", "old")}
MALE = ASKED["subgroup"].str.contains("=male").to_numpy()
OLD = ASKED["subgroup"].str.contains("=old").to_numpy()
Models = dict[tuple[str, str], RunValues]


def make_settings(models: dict[str, tuple[str, ...]], **others: Any) -> ContrastSettings:
    values = dict(comparison(models))
    return ContrastSettings(**{**values, "ordered_axes": ("age",), **others})


def ceiling(male: float = 0.9) -> pd.DataFrame:
    table = ASKED[PAIR].assign(accuracy=np.where(MALE, male, 0.9), nmae=0.05, wasserstein=0.02)
    return table.set_index(PAIR)


def contrasted(
    runs: Models, reachable: pd.DataFrame | None = None, **others: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    models: dict[str, tuple[str, ...]] = {}
    for model, variant in runs:
        models[model] = (*models.get(model, ()), variant)
    given = ceiling() if reachable is None else reachable
    rows = contrast_split("ood", runs, given, AXES, make_settings(models, **others))
    contracts = (evaluation_tables.GROUP_CONTRASTS, evaluation_tables.CONSISTENCY)
    first, second = (pd.DataFrame(r, columns=c.names) for r, c in zip(rows, contracts, strict=True))
    return check(adjusted_contrasts(first, 0.95), contracts[0]), check(second, contracts[1])


def run(accuracy: np.ndarray, **columns: Any) -> RunValues:
    return run_values(scores_table(ASKED, accuracy, **columns), {})


def test_a_group_is_compared_with_the_rest_the_reference_and_its_other_end() -> None:
    accuracy = np.where(MALE, 1.0, drawn(1, 0.5))
    frame, over = contrasted({("m", "base"): run(accuracy)}, reference_groups={"sex": "female"})
    raw = frame[(frame["metric"] == "accuracy") & (frame["reading"] == "raw")]
    sides = raw[raw["level"] != "subgroups"][["level", "group", "other_group", "contrast"]]
    assert sorted(sides.itertuples(index=False, name=None)) == [
        ("age", "old", "rest", "rest"),
        ("age", "old", "young", "ends"),
        ("age", "young", "rest", "rest"),
        ("sex", "female", "rest", "rest"),
        ("sex", "male", "female", "reference"),
        ("sex", "male", "rest", "rest"),
    ]
    row = cell(raw, level="sex", group="male", contrast="rest")
    assert row["value"] == pytest.approx(1 - accuracy[~MALE].mean())
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert (row["n"], row["missing"], row["questions"]) == (160, 0, 40)
    assert row["q_value"] < 0.001
    assert row["smallest_gap"] > row["std_error"] * 2
    assert (raw["level"] == "subgroups").sum() == 4
    assert set(frame["metric"]) == {"accuracy", "nmae", "wasserstein", "refusal", "answered"}
    assert cell(frame, level="sex", group="male", contrast="rest", metric="nmae",
                reading="raw")["n"] == 120  # fmt: skip
    assert over.empty  # one model


def test_a_contrast_and_its_mirror_image_are_one_test() -> None:
    frame, _ = contrasted({("m", "base"): run(np.where(MALE, drawn(3, 0.6), drawn(4, 0.5)))})
    rows = frame[(frame["metric"] == "accuracy") & (frame["reading"] == "raw")]
    axes = rows[rows["level"] != "subgroups"].set_index(["group", "contrast"])
    tests = axes.loc[[("male", "rest"), ("old", "rest")]]  # five rows, two tests
    expected = q_values(tests["p_value"].to_numpy(dtype=float))
    for (group, _), row in axes.iterrows():
        same = expected[0 if group in ("male", "female") else 1]
        assert row["q_value"] == pytest.approx(same)
    assert axes["smallest_gap"].groupby(axes["level"]).nunique().eq(1).all()
    # of three groups each rest is a test of its own, and a reference that is an end one with it
    sides = [("a", "rest", "rest"), ("b", "rest", "rest"), ("c", "rest", "rest"),
             ("c", "a", "ends"), ("b", "a", "reference"), ("c", "a", "reference")]  # fmt: skip
    three = pd.DataFrame(sides, columns=["group", "other_group", "contrast"]).assign(level="x")
    assert len(set(names_of_tests(three.assign(family="f"), ["family"]))) == 5


def test_net_of_the_ceiling_a_gap_that_the_labels_make_is_gone() -> None:
    accuracy = np.where(MALE, 0.9, 0.6)
    frame, _ = contrasted({("m", "base"): run(accuracy)}, ceiling(male=1.2))
    rows = frame[(frame["metric"] == "accuracy") & (frame["contrast"] == "rest")]
    values = {r: cell(rows, reading=r, level="sex", group="male")["value"] for r in ("raw", "net")}
    assert values["raw"] == pytest.approx(0.3)
    assert values["net"] == pytest.approx(0)


def test_a_group_gains_nothing_by_answering_what_is_easy() -> None:
    """Common support: the share answered is a metric of its own."""
    easy = (np.arange(len(ASKED)) % 40) < 20
    accuracy = np.where(easy, 1.0, 0.0)
    accuracy[MALE & ~easy] = NAN
    frame, _ = contrasted({("m", "base"): run(accuracy)})
    rows = frame[(frame["level"] == "sex") & (frame["group"] == "male")]
    rows = rows[(rows["contrast"] == "rest") & (rows["reading"] == "raw")]
    assert cell(rows, metric="accuracy")["value"] == 0
    answered = cell(rows, metric="answered")
    assert answered["value"] == pytest.approx(-0.5)
    assert answered["q_value"] < 0.01
    assert cell(rows, metric="refusal")["value"] == pytest.approx(0.5)


def test_win_rates_of_groups_are_compared_by_their_own_questions() -> None:
    judged = ASKED.iloc[::5]
    wins = [1.0 if "=male" in name else 0.0 for name in judged["subgroup"]]
    values = run_values(scores_table(ASKED, drawn(2, 0.5)), {"j": verdicts_table(judged, wins)})
    frame, _ = contrasted({("m", "base"): values})
    row = cell(frame, metric="win_rate", level="sex", group="male", contrast="rest")
    assert (row["value"], row["judge"], row["n"]) == (1.0, "j", 32)


def test_contrasts_over_models_need_several_and_share_questions() -> None:
    runs = {
        (f"m{i}", "base"): run(np.where(MALE, drawn(i, 0.8), drawn(i + 50, 0.4))) for i in range(5)
    }
    _, over = contrasted(runs)
    row = cell(over[over["reading"] == "raw"], metric="accuracy", level="sex", group="male",
               contrast="rest")  # fmt: skip
    assert (row["n_models"], row["same_sign"]) == (5, 5)
    assert row["ci_low"] > 0.15
    assert row["p_value"] < 0.001
    assert set(over["level"]) == {"sex", "age"}


def test_one_subgroup_or_one_question_leaves_nothing_to_test() -> None:
    one = ASKED[ASKED["subgroup"] == ASKED["subgroup"].iloc[0]]
    scores = run_values(scores_table(one, np.ones(len(one))), {})
    frame, over = contrasted({("m", "base"): scores}, ceiling())
    assert frame.empty
    assert over.empty
    single = ASKED[ASKED["question"] == "Q000"]
    scores = run_values(scores_table(single, np.array([1.0, 0, 1, 0])), {})
    frame, _ = contrasted({("m", "base"): scores}, ceiling())
    assert len(frame)
    assert frame["p_value"].isna().all()
    assert frame["ci_low"].isna().all()
    assert frame["smallest_gap"].isna().all()


def test_families_are_tuning_baselines_and_prompts_by_metric() -> None:
    models = {"m": ("base", "sft"), "x-mode": ("base",)}
    given = comparison(models, prompts={"m": ("base+w", "sft+w")})
    pairs = [
        (("m", "sft"), ("m", "base"), "tuning"),
        (("m", "sft"), ("x-mode", "base"), "baselines"),
        (("m", "base"), ("x-mode", "base"), "baselines"),
        (("m", "base+w"), ("m", "base"), "prompts"),
        (("m", "sft+w"), ("m", "base+w"), "prompts"),
    ]
    rows = [
        {"split": "ood", "metric": metric, "judge": "", "dimension": "", "model": first[0],
         "variant": first[1], "other_model": other[0], "other_variant": other[1], "value": 0.1,
         "ci_low": 0, "ci_high": 1, "n": 9, "missing": 0, "p_value": p, "questions": 30,
         "std_error": 0.02}
        for metric, p in (("accuracy", 0.04), ("nmae", 0.5))
        for first, other, _ in pairs
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=tables.DIFFERENCES.names)
    frame.loc[1, "p_value"] = 0.02
    tested = check(adjusted_differences(frame, given), tables.DIFFERENCES)
    assert list(tested["family"]) == [family for *_, family in pairs] * 2
    accuracy = tested[tested["metric"] == "accuracy"]
    assert list(accuracy["q_value"]) == pytest.approx([0.04, 0.04, 0.04, 0.04, 0.04])
    one, two = (smallest_gap(np.array([0.02]), np.array([29.0]), k, 0.95)[0] for k in (1, 2))
    assert list(accuracy["smallest_gap"]) == pytest.approx([one, two, two, two, two])
    assert one < two


def changes(base: RunValues, tuned: RunValues) -> pd.DataFrame:
    given = make_settings({"m": ("base", "sft")})
    rows = changes_split("ood", {("m", "base"): base, ("m", "sft"): tuned}, AXES, given)
    contract = evaluation_tables.INEQUALITY_CHANGES
    return check(adjusted_changes(pd.DataFrame(rows, columns=contract.names)), contract)


def test_inequality_is_compared_on_the_pairs_that_both_answered() -> None:
    base, tuned = drawn(3, 0.5), drawn(4, 0.7)
    base[:30] = NAN
    frame = changes(run(base), run(tuned))
    row = cell(frame, level="sex", metric="accuracy", statistic="cv")
    assert (row["n"], row["missing"], row["n_groups"]) == (130, 30, 2)
    means = [tuned[30:][group[30:]].mean() for group in (MALE, ~MALE)]
    assert row["raw_tuned"] == pytest.approx(np.std(means) / np.mean(means))
    assert row["p_joint"] >= max(row["p_fall"], 0)
    both = frame[(frame["level"] == "sex") & (frame["statistic"] == "cv")]
    assert (both["p_joint"] == row["p_joint"]).all()
    assert row["p_joint"] == max(
        cell(both, metric="accuracy")["p_fall"], cell(both, metric="nmae")["p_rise"]
    )


def test_a_copy_changes_nothing_and_a_difference_in_signs_shows_nothing() -> None:
    base = drawn(5, 0.5)
    copied = changes(run(base), run(base.copy()))
    assert (copied[["value", "ci_low", "ci_high"]].fillna(0) == 0).all(axis=None)
    assert (copied["p_value"] == 1).all()
    again = changes(run(base), run(drawn(6, 0.5)))
    assert (again["q_joint"] > 0.05).all()


def test_which_axes_are_ordered() -> None:
    for axis, is_ordered in (
        (Axis(column="a", bands=(16, 30, 50)), True),
        (Axis(column="a", groups={1: "16-24", 2: "25-34", 3: "65 and over"}), True),
        (Axis(column="a", groups={1: "male", 2: "female"}), False),
        (Axis(column="a", groups={1: "30-40", 2: "20-30"}), False),
        (Axis(column="a", groups={1: "under 30", 2: "30 and over"}), False),
        (Axis(column="a", groups="auto"), False),
    ):
        assert axis.is_ordered == is_ordered, axis.groups
    assert study({}).ordered_axes == ("age_group",)
    assert study({"contrasts": {"ordered_axes": ["religion"]}}).ordered_axes == ("religion",)


def test_contrasts_of_what_the_study_lacks_are_refused() -> None:
    refused(
        [
            ({"contrasts": {"reference_groups": {"height": "tall"}}},
             "contrasts.reference_groups: no axis 'height'", ("axes are sex, age_group",)),
            ({"contrasts": {"reference_groups": {"sex": "tall"}}},
             "contrasts.reference_groups.sex: no group 'tall'", ("male, female",)),
            ({"contrasts": {"ordered_axes": ["height"]}}, "contrasts.ordered_axes: no axis", ()),
        ]
    )  # fmt: skip


def test_a_reference_that_the_data_lack_is_said() -> None:
    lines = missing_references({"sex": "male", "tribe": "x"}, {"sex": ("male",), "tribe": ("y",)})
    (line,) = lines
    assert line.startswith("contrasts.reference_groups.tribe: the data have no group 'x'")


def test_the_stage_writes_its_four_tables(tmp_path: Path) -> None:
    models = {"m": ("base", "sft"), "x-mode": ("base",)}
    runs = [(m, v) for m, variants in models.items() for v in variants]
    scores = []
    for i, (model, variant) in enumerate(runs):
        scores.append(tmp_path / f"{model}-{variant}.parquet")
        write(scores_table(ASKED, drawn(i, 0.5)), scores[-1], tables.SCORES)
    write(ceiling().reset_index(), tmp_path / "ceiling.parquet", tables.NOISE_CEILING)
    labels = ASKED[PAIR].assign(
        reachable_accuracy=np.where(MALE, 0.7, 0.5), reachable_nmae=0.1,
        codes=[[1, 2]] * len(ASKED), mode_unweighted=1, mode_weighted=1, tied_unweighted=False,
        tied_weighted=False, distribution_unweighted=[[0.5, 0.5]] * len(ASKED),
        distribution_weighted=[[0.5, 0.5]] * len(ASKED), n=40, respondents=40,
    )  # fmt: skip
    write(labels, tmp_path / "labels.parquet", tables.LABELS)
    groups = Groups(
        countries=(),
        axes={a: tuple(Group(label=n, codes=(), n=9) for n in names) for a, names in AXES.items()},
    )
    io.write_text(groups.model_dump_json(), tmp_path / "groups.json")
    names = {
        "contrasts": evaluation_tables.GROUP_CONTRASTS,
        "consistency": evaluation_tables.CONSISTENCY,
        "inequality_changes": evaluation_tables.INEQUALITY_CHANGES,
        "disparities": evaluation_tables.DISPARITIES,
    }
    files = {
        "scores": tuple(map(str, scores)),
        "verdicts": (),
        "noise_ceiling": str(tmp_path / "ceiling.parquet"),
        "labels": (str(tmp_path / "labels.parquet"),),
        "groups": str(tmp_path / "groups.json"),
        **{name: str(tmp_path / f"{name}.parquet") for name in names},
    }
    run_stage(contrasts, make_settings(models), files)
    frames = {name: io.read_table(files[name], contract) for name, contract in names.items()}
    assert set(frames["contrasts"]["model"]) == {"m", "x-mode"}
    assert frames["consistency"].empty
    key = {"model": "m", "variant": "base", "group": "male", "contrast": "rest"}
    raw, net = (
        cell(frames["contrasts"], metric="accuracy", reading=reading, **key)["value"]
        for reading in ("raw", "net")
    )
    # by the labels' reachable score, not by the noise ceiling, which is .9 for everyone here
    assert raw - net == pytest.approx(0.2)
    assert set(frames["inequality_changes"]["variant"]) == {"sft"}
    assert frames["inequality_changes"]["raw_by_mean"].notna().all()
    row = cell(frames["disparities"], model="m", variant="base", level="sex", metric="accuracy",
               statistic="max_min")  # fmt: skip
    means = [drawn(0, 0.5)[group].mean() for group in (MALE, ~MALE)]
    assert row["value"] == pytest.approx(abs(means[0] - means[1]))
    assert row["worst_group"] == ("male", "female")[int(np.argmin(means))]
