"""Baselines: what each rule predicts, and that no pair is predicted from its own respondents."""

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graph import ROOT
from tests.jobs import run_stage
from valuestrata import io, tables
from valuestrata.baselines import rules
from valuestrata.baselines.predict import predict
from valuestrata.baselines.registry import described, load_rule
from valuestrata.provenance import definition_digests
from valuestrata.records import Record
from valuestrata.stages import predict_baseline as stage
from valuestrata.stages.job import expected
from valuestrata.study.load import load_files
from valuestrata.study.models import BaselineModel
from valuestrata.survey import modal, tally
from valuestrata.survey.crosstab import CrossTab, cross_tab
from valuestrata.survey.encoded import EncodedSurvey, encode_survey, scale_of

GROUPS = {"sex": ("female", "male"), "age": ("old", "young"), "faith": ("a", "b", "c")}
RULES = sorted(get_args(BaselineModel.model_fields["rule"].annotation))
CROSSED = [f"age={a} & faith={f}" for a in GROUPS["age"] for f in GROUPS["faith"]]
SINGLE = [f"faith={f}" for f in GROUPS["faith"]]
SUBGROUPS = [*CROSSED, *SINGLE, "sex=male", "sex=female & faith=b"]


def table(codes: list[list[int]], scale_max: list[int]) -> pd.DataFrame:
    Q = len(codes)
    return pd.DataFrame(
        {
            "question": [f"Q{q + 1}" for q in range(Q)],
            **{name: ["x"] * Q for name in ("topic", "text", "block")},
            "measurement_level": ["ordinal"] * Q,
            "scale_min": [1] * Q,
            "scale_max": scale_max,
            "codes": codes,
            "labels": [[""] * len(c) for c in codes],
            "n": [1] * Q,
            "missing": [0] * Q,
        }
    )


QUESTIONS = table([[1, 2, 3], [1, 2], [1, 2, 3, 4, 9]], [3, 2, 4])
SCALE = scale_of(QUESTIONS)


def people(seed: int, n: int = 150) -> pd.DataFrame:
    """Respondents; some are in no group of an axis, some do not answer."""
    rng = np.random.default_rng(seed)
    drawn = {k: rng.choice([*v, None], n, p=_shares(len(v))) for k, v in GROUPS.items()}
    frame = pd.DataFrame({"respondent": [str(i) for i in range(n)], "weight": 1.0, **drawn})
    return answered(frame, np.ones(n, dtype=bool), rng)


def _shares(groups: int) -> list[float]:
    return [*([0.95 / groups] * groups), 0.05]


def answered(responses: pd.DataFrame, who: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """New answers of some respondents; the others keep theirs."""
    frame = responses.copy()
    for q, name in enumerate(SCALE.questions):
        codes = SCALE.codes[q, SCALE.real[q]]
        given = pd.Series(rng.choice(codes, len(frame)), index=frame.index, dtype="Int64")
        given = given.mask(rng.random(len(frame)) < 0.1)
        frame[name] = given.where(who, frame[name]) if name in frame else given
    return frame


def members_of(responses: pd.DataFrame, subgroup: str) -> np.ndarray:
    inside = np.ones(len(responses), dtype=bool)
    for axis, group in tally.subgroup_groups(subgroup).items():
        inside &= (responses[axis] == group).to_numpy(dtype=bool)
    return inside


def encoded(responses: pd.DataFrame) -> EncodedSurvey:
    return encode_survey(responses, QUESTIONS)


def shares(rule: str, responses: pd.DataFrame, subgroups: list[str] = SUBGROUPS) -> np.ndarray:
    return load_rule(rule)(cross_tab(encoded(responses)), SCALE, subgroups)


def recounted(responses: pd.DataFrame, who: np.ndarray) -> np.ndarray:
    """[Q, C] shares of some respondents' answers, counted one by one."""
    survey = encoded(responses)
    counts = tally.count(survey.answers, np.where(who, 0, -1), 1, survey.width)
    return modal.shares(counts)[0]


# Counts less counts --------------------------------------------------------------------------


def test_a_total_without_a_subgroup_is_a_recount_without_its_respondents() -> None:
    responses = people(1)
    cells = cross_tab(encoded(responses))
    for subgroup in SUBGROUPS:
        members = cells.subgroup(subgroup)
        for group in (np.ones_like(members), cells.group("faith", "b"), cells.group("age", "old")):
            less = cells.total(group) - cells.total(group & members)
            np.testing.assert_array_equal(less, cells.total(group & ~members))
        outside = recounted(responses, ~members_of(responses, subgroup))
        np.testing.assert_array_equal(modal.shares(cells.total(~members)), outside)


def test_the_cells_hold_every_respondent_and_answer_once() -> None:
    responses = people(2)
    cells = cross_tab(encoded(responses))
    assert cells.axes == ("sex", "age", "faith")
    assert cells.respondents.sum() == len(responses)
    given = [responses[q].notna().sum() for q in SCALE.questions]
    np.testing.assert_array_equal(cells.counts.sum(axis=(0, 2)), given)
    for name in SUBGROUPS:
        size = cells.respondents[cells.subgroup(name)].sum()
        assert size == members_of(responses, name).sum()


def test_a_group_that_nobody_is_in_has_no_cells_and_the_nation_speaks_for_it() -> None:
    responses = people(3)
    assert not cross_tab(encoded(responses)).subgroup("faith=z").any()
    for rule in ("axis_mode", "additive", "first_axis"):
        share = shares(rule, responses, ["faith=z"])
        np.testing.assert_allclose(share, shares("national_mode", responses, ["faith=z"]))


# No pair is predicted from its own respondents -----------------------------------------------


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), place=st.integers(0, len(SUBGROUPS) - 1))
def test_the_answers_of_members_never_change_what_is_predicted_for_them(
    seed: int, place: int
) -> None:
    before = people(seed)
    members = members_of(before, SUBGROUPS[place])
    after = answered(before, members, np.random.default_rng(seed + 1))
    silent = before.copy()
    silent.loc[members, list(SCALE.questions)] = pd.NA
    for rule in RULES:
        first = shares(rule, before)[place]
        np.testing.assert_array_equal(first, shares(rule, after)[place])
        np.testing.assert_array_equal(first, shares(rule, silent)[place])


def test_the_answers_of_others_do_change_it() -> None:
    before = people(5)
    others = ~members_of(before, SUBGROUPS[1])
    after = answered(before, others, np.random.default_rng(6))
    for rule in RULES:
        changes = (shares(rule, before)[1] != shares(rule, after)[1]).any()
        assert changes == (rule != "uniform")


# Every rule's distributions ------------------------------------------------------------------


def test_a_rule_gives_shares_of_existing_codes_whatever_the_order_of_people() -> None:
    responses = people(7)
    turned = responses.sample(frac=1, random_state=1)
    for rule in RULES:
        share = shares(rule, responses)
        assert share.shape == (len(SUBGROUPS), *SCALE.codes.shape)
        np.testing.assert_allclose(share.sum(axis=2), 1)
        assert (share >= 0).all()
        assert (share[:, ~SCALE.real] == 0).all()
        np.testing.assert_array_equal(share, shares(rule, turned))


def test_other_pairs_of_the_table_do_not_matter() -> None:
    responses = people(9)
    for rule in RULES:
        together = shares(rule, responses)
        for place in (0, 4, 7):
            alone = shares(rule, responses, [SUBGROUPS[place]])
            np.testing.assert_array_equal(alone[0], together[place])


def test_a_question_that_only_members_answered_is_uniform() -> None:
    responses = people(10)
    responses.loc[~members_of(responses, CROSSED[0]), "Q1"] = pd.NA
    for rule in RULES:
        share = shares(rule, responses, [CROSSED[0]])
        np.testing.assert_allclose(share[0, 0, :3], 1 / 3)


# By hand -------------------------------------------------------------------------------------

COUNTS = {
    # sex, age: answers 1, 2, 3
    ("male", "young"): (3, 0, 0),
    ("male", "old"): (1, 1, 0),
    ("female", "young"): (0, 4, 0),
    ("female", "old"): (0, 1, 2),
}
FIRST = QUESTIONS.iloc[:1]


def by_hand() -> CrossTab:
    rows = [
        {"sex": sex, "age": age, "Q1": code}
        for (sex, age), counts in COUNTS.items()
        for code, n in zip((1, 2, 3), counts, strict=True)
        for _ in range(n)
    ]
    people = pd.DataFrame(rows).assign(respondent=[str(i) for i in range(len(rows))], weight=1.0)
    return cross_tab(encode_survey(people, FIRST))


def test_a_baseline_predicts_as_its_rule_says() -> None:
    for rule, subgroup, code, share in (
        ("uniform", "sex=male", 2, [1 / 3, 1 / 3, 1 / 3]),
        ("national_mode", "sex=male & age=young", 2, [1 / 9, 6 / 9, 2 / 9]),
        ("national_mode", "sex=female", 1, [4 / 5, 1 / 5, 0]),
        ("first_axis", "sex=male & age=young", 1, [1 / 2, 1 / 2, 0]),
        ("second_axis", "sex=male & age=young", 2, [0, 1, 0]),
        ("first_axis", "age=young & sex=male", 2, [0, 1, 0]),
        ("first_axis", "sex=female", 1, [4 / 5, 1 / 5, 0]),
        ("second_axis", "sex=female", 1, [4 / 5, 1 / 5, 0]),
        ("axis_mode", "sex=male & age=young", 2, [1 / 4, 3 / 4, 0]),
        ("axis_mode", "sex=female", 1, [4 / 5, 1 / 5, 0]),
    ):
        pairs = pd.DataFrame({"subgroup": [subgroup], "question": ["Q1"]})
        answer, predicted = predict(load_rule(rule), pairs, by_hand(), scale_of(FIRST))
        assert list(answer) == [code]
        np.testing.assert_allclose(predicted[0], share, atol=1e-12)


def test_the_middle_of_an_even_scale_is_rounded_down_and_codes_off_the_scale_do_not_count() -> None:
    pairs = pd.DataFrame({"subgroup": ["sex=male"] * 3, "question": ["Q1", "Q2", "Q3"]})
    answer, predicted = predict(rules.uniform, pairs, cross_tab(encoded(people(1))), SCALE)
    assert list(answer) == [2, 1, 2]
    np.testing.assert_allclose(predicted[2], [0.25, 0.25, 0.25, 0.25, 0])


def people_who_follow(axis: str, seed: int = 1) -> pd.DataFrame:
    """Everyone answers with their group's number on one axis."""
    frame = people(seed, 400)
    code = pd.Categorical(frame[axis], categories=list(GROUPS[axis])).codes + 1
    kept = frame[axis].notna()
    for name in SCALE.questions:
        top = SCALE.scale_max[SCALE.questions.index(name)]
        frame[name] = pd.Series(np.clip(code, 1, top), dtype="Int64").where(kept)
    return frame


def test_the_best_axis_is_the_one_that_the_others_follow() -> None:
    for axis, like in (("age", "first_axis"), ("faith", "second_axis")):
        responses = people_who_follow(axis)
        best, expected = shares("best_axis", responses, CROSSED), shares(like, responses, CROSSED)
        np.testing.assert_array_equal(best[:, 0], expected[:, 0])


def test_the_additive_model_recovers_a_groups_answer() -> None:
    share = shares("additive", people_who_follow("faith"), CROSSED)
    expected = [GROUPS["faith"].index(name[-1]) for name in CROSSED]
    np.testing.assert_array_equal(share[:, 0].argmax(axis=1), expected)
    assert (share[:, 0].max(axis=1) > 0.45).all()


def test_a_question_with_one_answer_needs_no_model() -> None:
    responses = people(1)
    responses["Q2"] = responses["Q2"].where(responses["Q2"].isna(), 2)
    np.testing.assert_array_equal(
        shares("additive", responses)[:, 1, :2], [[0, 1]] * len(SUBGROUPS)
    )


def test_the_folds_of_a_stratum_part_neighbours() -> None:
    cells = cross_tab(encoded(people(1)))
    fold = rules.folds_of(cells, ["age", "faith"])
    groups = cells.groups[:, [1, 2]]
    assert set(fold[(groups < 0).any(axis=1)]) == {-1}
    for axis in (0, 1):
        for group in set(groups[:, axis]) - {-1}:
            row = (groups[:, axis] == group) & (fold >= 0)
            folds = {tuple(g): f for g, f in zip(groups[row], fold[row], strict=True)}
            assert len(set(folds.values())) == len(folds)


def test_the_nearest_subgroup_of_those_who_follow_a_faith_shares_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "NEIGHBOURS", 1)
    responses = people_who_follow("faith")
    share = shares("nearest", responses, CROSSED)
    expected = [GROUPS["faith"].index(name[-1]) for name in CROSSED]
    np.testing.assert_array_equal(share[:, 0].argmax(axis=1), expected)


# The stage -----------------------------------------------------------------------------------


def test_the_stage_says_that_it_is_cross_fitted(tmp_path: Path) -> None:
    pairs = pd.DataFrame(
        {
            "stratum": "age-x-faith",
            "subgroup": CROSSED,
            "question": "Q1",
            "block": "x",
            "measurement_level": "ordinal",
            "scale_min": 1,
            "scale_max": 3,
            "mode": 1,
            "tied": False,
            "codes": [[1, 2, 3]] * len(CROSSED),
            "labels": [["a", "b", "c"]] * len(CROSSED),
            "distribution": [[1.0, 0.0, 0.0]] * len(CROSSED),
            "n": 30,
            "respondents": 30,
            **dict.fromkeys(("persona", "closed_prompt"), "x"),
        }
    )
    files = {name: str(tmp_path / name) for name in ("pairs", "questions", "responses")}
    record = Record("test", {}, {})
    io.write_table(pairs, files["pairs"], tables.PAIRS, record)
    io.write_table(QUESTIONS, files["questions"], tables.QUESTIONS, record)
    io.write_table(people(1), files["responses"], tables.RESPONSES, record)
    for rule in ("uniform", "axis_mode"):
        settings = stage.Settings(rule=rule, template="english", caveat="simulated survey")
        out = str(tmp_path / rule)
        run_stage(stage, settings, {**files, "predictions": out})
        written = io.read_table(out, tables.PREDICTIONS)
        assert set(written["model_version"]) == {described(rule)}
        assert ("without the subgroup" in described(rule)) == (rule != "uniform")
        answer, shares = predict(load_rule(rule), pairs, cross_tab(encoded(people(1))), SCALE)
        assert list(written["answer"]) == list(answer)
        np.testing.assert_allclose(np.stack(list(written["distribution"])), np.stack(shares))
        assert written["logprobs"].isna().all()


def test_a_run_depends_on_its_own_rule_alone() -> None:
    study = load_files([ROOT / "config.yaml"], files=False)
    run = {"variant": "base", "split": "ood"}
    reached = {
        model: set(expected(study, "predict_baseline", {"model": model, **run}).record.code)
        for model in ("national-mode", "additive")
    }
    module = "valuestrata.baselines.rules"
    assert f"{module}:additive" not in reached["national-mode"]
    assert f"{module}:nearest" not in reached["additive"]
    assert f"{module}:additive" in reached["additive"]
    assert f"{module}:additive" not in definition_digests(["valuestrata.stages.summary:run"])
    assert all(callable(load_rule(rule)) for rule in RULES)
