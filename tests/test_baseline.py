"""Baselines: what each rule says, and that no pair is predicted from its own respondents."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata import io
from valuestrata.__main__ import main
from valuestrata.baselines import rules
from valuestrata.specs import Model, Predict, to_json
from valuestrata.survey import crosstab, modal, tally

GROUPS = {"sex": ("female", "male"), "age": ("old", "young"), "faith": ("a", "b", "c")}
RULES = sorted(rules.RULES)
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
SCALE = tally.scale_of(QUESTIONS)


def people(seed: int, n: int = 150) -> pd.DataFrame:
    """Respondents; some are in no group of an axis, some do not answer."""
    rng = np.random.default_rng(seed)
    drawn = {k: rng.choice([*v, None], n, p=_shares(len(v))) for k, v in GROUPS.items()}
    found = pd.DataFrame({"respondent": [str(i) for i in range(n)], "weight": 1.0, **drawn})
    return answered(found, np.ones(n, dtype=bool), rng)


def _shares(groups: int) -> list[float]:
    return [*([0.95 / groups] * groups), 0.05]


def answered(responses: pd.DataFrame, who: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """New answers of some respondents; the others keep theirs."""
    found = responses.copy()
    for q, name in enumerate(SCALE.questions):
        codes = SCALE.codes[q, SCALE.real[q]]
        given = pd.Series(rng.choice(codes, len(found)), index=found.index, dtype="Int64")
        given = given.mask(rng.random(len(found)) < 0.1)
        found[name] = given.where(who, found[name]) if name in found else given
    return found


def members_of(responses: pd.DataFrame, subgroup: str) -> np.ndarray:
    inside = np.ones(len(responses), dtype=bool)
    for axis, group in tally.subgroup_groups(subgroup).items():
        inside &= (responses[axis] == group).to_numpy(dtype=bool)
    return inside


def said(rule: str, responses: pd.DataFrame, subgroups: list[str] = SUBGROUPS) -> np.ndarray:
    return rules.RULES[rule](crosstab.cross_tab(responses, SCALE), SCALE, subgroups)


def recounted(responses: pd.DataFrame, who: np.ndarray) -> np.ndarray:
    """[Q, C] shares of some respondents' answers, counted one by one."""
    cell = np.where(who, 0, -1)
    counts = tally.count(tally.encode(responses, SCALE), cell, 1, SCALE.codes.shape[1])
    return modal.shares(counts)[0]


# Counts less counts --------------------------------------------------------------------------


@pytest.mark.parametrize("subgroup", SUBGROUPS)
def test_a_total_without_a_subgroup_is_a_recount_without_its_respondents(subgroup: str) -> None:
    responses = people(1)
    cells = crosstab.cross_tab(responses, SCALE)
    own = cells.subgroup(subgroup)
    for group in (np.ones_like(own), cells.group("faith", "b"), cells.group("age", "old")):
        less = cells.total(group) - cells.total(group & own)
        np.testing.assert_array_equal(less, cells.total(group & ~own))
    outside = recounted(responses, ~members_of(responses, subgroup))
    np.testing.assert_array_equal(modal.shares(cells.total(~own)), outside)


def test_the_cells_hold_every_respondent_and_answer_once() -> None:
    responses = people(2)
    cells = crosstab.cross_tab(responses, SCALE)
    assert cells.axes == ("sex", "age", "faith")
    assert cells.respondents.sum() == len(responses)
    given = [responses[q].notna().sum() for q in SCALE.questions]
    np.testing.assert_array_equal(cells.counts.sum(axis=(0, 2)), given)
    for name in SUBGROUPS:
        size = cells.respondents[cells.subgroup(name)].sum()
        assert size == members_of(responses, name).sum()


def test_a_group_that_nobody_is_in_has_no_cells_and_the_nation_speaks_for_it() -> None:
    responses = people(3)
    assert not crosstab.cross_tab(responses, SCALE).subgroup("faith=z").any()
    for rule in ("axis_mode", "additive", "first_axis"):
        found = said(rule, responses, ["faith=z"])
        np.testing.assert_allclose(found, said("national_mode", responses, ["faith=z"]))


# No pair is predicted from its own respondents -----------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), place=st.integers(0, len(SUBGROUPS) - 1))
def test_what_members_say_never_changes_what_is_said_of_them(
    rule: str, seed: int, place: int
) -> None:
    before = people(seed)
    own = members_of(before, SUBGROUPS[place])
    after = answered(before, own, np.random.default_rng(seed + 1))
    np.testing.assert_array_equal(said(rule, before)[place], said(rule, after)[place])


@pytest.mark.parametrize("rule", RULES)
def test_silence_of_all_members_changes_nothing_either(rule: str) -> None:
    before = people(4)
    for place in (1, 7):
        after = before.copy()
        silent = members_of(before, SUBGROUPS[place])
        after.loc[silent, list(SCALE.questions)] = pd.NA
        np.testing.assert_array_equal(said(rule, before)[place], said(rule, after)[place])


@pytest.mark.parametrize("rule", [r for r in RULES if r != "uniform"])
def test_what_others_say_does_change_it(rule: str) -> None:
    before = people(5)
    others = ~members_of(before, SUBGROUPS[1])
    after = answered(before, others, np.random.default_rng(6))
    assert (said(rule, before)[1] != said(rule, after)[1]).any()


# Every rule's distributions ------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_gives_shares_of_existing_codes(rule: str) -> None:
    share = said(rule, people(7))
    assert share.shape == (len(SUBGROUPS), *SCALE.codes.shape)
    np.testing.assert_allclose(share.sum(axis=2), 1)
    assert (share >= 0).all()
    assert (share[:, ~SCALE.real] == 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_the_same_people_in_any_order_give_the_same_twice(rule: str) -> None:
    responses = people(8)
    turned = responses.sample(frac=1, random_state=1)
    np.testing.assert_array_equal(said(rule, responses), said(rule, turned))


@pytest.mark.parametrize("rule", RULES)
def test_other_pairs_of_the_table_do_not_matter(rule: str) -> None:
    responses = people(9)
    together = said(rule, responses)
    for place in (0, 4, 7):
        alone = said(rule, responses, [SUBGROUPS[place]])
        np.testing.assert_array_equal(alone[0], together[place])


@pytest.mark.parametrize("rule", RULES)
def test_a_question_that_only_members_answered_is_uniform(rule: str) -> None:
    responses = people(10)
    outside = ~members_of(responses, CROSSED[0])
    responses.loc[outside, "Q1"] = pd.NA
    found = said(rule, responses, [CROSSED[0]])
    np.testing.assert_allclose(found[0, 0, :3], 1 / 3)


# By hand -------------------------------------------------------------------------------------

COUNTS = {
    # sex, age: answers 1, 2, 3
    ("male", "young"): (3, 0, 0),
    ("male", "old"): (1, 1, 0),
    ("female", "young"): (0, 4, 0),
    ("female", "old"): (0, 1, 2),
}
ONE = tally.scale_of(QUESTIONS.iloc[:1])


def by_hand() -> crosstab.CrossTab:
    rows = [
        {"sex": sex, "age": age, "Q1": code}
        for (sex, age), counts in COUNTS.items()
        for code, n in zip((1, 2, 3), counts, strict=True)
        for _ in range(n)
    ]
    people = pd.DataFrame(rows).assign(respondent=[str(i) for i in range(len(rows))], weight=1.0)
    return crosstab.cross_tab(people, ONE)


@pytest.mark.parametrize(
    ("rule", "subgroup", "code", "share"),
    [
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
    ],
)
def test_a_baseline_answers_as_its_rule_says(
    rule: str, subgroup: str, code: int, share: list[float]
) -> None:
    pairs = pd.DataFrame({"subgroup": [subgroup], "question": ["Q1"]})
    answer, shares = rules.predict(rule, pairs, by_hand(), ONE)
    assert list(answer) == [code]
    np.testing.assert_allclose(shares[0], share, atol=1e-12)


def test_the_middle_of_an_even_scale_is_rounded_down_and_codes_off_the_scale_do_not_count() -> None:
    pairs = pd.DataFrame({"subgroup": ["sex=male"] * 3, "question": ["Q1", "Q2", "Q3"]})
    answer, shares = rules.predict("uniform", pairs, crosstab.cross_tab(people(1), SCALE), SCALE)
    assert list(answer) == [2, 1, 2]
    np.testing.assert_allclose(shares[2], [0.25, 0.25, 0.25, 0.25, 0])


def people_who_follow(axis: str, seed: int = 1) -> pd.DataFrame:
    """Everyone says their group's number on one axis."""
    found = people(seed, 400)
    code = pd.Categorical(found[axis], categories=list(GROUPS[axis])).codes + 1
    kept = found[axis].notna()
    for name in SCALE.questions:
        top = SCALE.scale_max[SCALE.questions.index(name)]
        found[name] = pd.Series(np.clip(code, 1, top), dtype="Int64").where(kept)
    return found


@pytest.mark.parametrize(("axis", "like"), [("age", "first_axis"), ("faith", "second_axis")])
def test_the_best_axis_is_the_one_that_the_others_follow(axis: str, like: str) -> None:
    responses = people_who_follow(axis)
    found, expected = said("best_axis", responses, CROSSED), said(like, responses, CROSSED)
    np.testing.assert_array_equal(found[:, 0], expected[:, 0])


def test_the_additive_model_finds_what_a_group_says() -> None:
    share = said("additive", people_who_follow("faith"), CROSSED)
    expected = [GROUPS["faith"].index(name[-1]) for name in CROSSED]
    np.testing.assert_array_equal(share[:, 0].argmax(axis=1), expected)
    assert (share[:, 0].max(axis=1) > 0.45).all()


def test_a_question_with_one_answer_needs_no_model() -> None:
    responses = people(1)
    responses["Q2"] = responses["Q2"].where(responses["Q2"].isna(), 2)
    np.testing.assert_array_equal(said("additive", responses)[:, 1, :2], [[0, 1]] * len(SUBGROUPS))


def test_the_folds_of_a_stratum_part_neighbours() -> None:
    cells = crosstab.cross_tab(people(1), SCALE)
    fold = rules._folds(cells, ["age", "faith"])
    groups = cells.groups[:, [1, 2]]
    assert set(fold[(groups < 0).any(axis=1)]) == {-1}
    for axis in (0, 1):
        for group in set(groups[:, axis]) - {-1}:
            row = (groups[:, axis] == group) & (fold >= 0)
            own = {tuple(g): f for g, f in zip(groups[row], fold[row], strict=True)}
            assert len(set(own.values())) == len(own)


def test_the_nearest_subgroup_of_those_who_follow_a_faith_shares_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "NEIGHBOURS", 1)
    responses = people_who_follow("faith")
    share = said("nearest", responses, CROSSED)
    expected = [GROUPS["faith"].index(name[-1]) for name in CROSSED]
    np.testing.assert_array_equal(share[:, 0].argmax(axis=1), expected)


# The stage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["uniform", "axis_mode"])
def test_the_stage_says_that_it_is_cross_fitted(tmp_path: Path, rule: str) -> None:
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
            "distribution": [[1.0, 0.0, 0.0]] * len(CROSSED),
            "n": 30,
            "respondents": 30,
            **dict.fromkeys(("persona", "closed_prompt", "open_prompt"), "x"),
        }
    )
    tables = {"pairs": pairs, "questions": QUESTIONS, "responses": people(1)}
    for name, frame in tables.items():
        io.write_table(frame, tmp_path / name, name)
    model = Model("baseline", rule, None, None, "float32", False, 256)
    spec = to_json(Predict(model, "english", 8, "simulated survey"))
    inputs = [x for name in tables for x in (f"--{name}", str(tmp_path / name))]
    out = tmp_path / "predictions"
    assert main(["predict_baseline", "--spec", spec, *inputs, "--output", str(out)]) == 0
    found = io.read_table(out, "predictions")
    assert set(found["weights"]) == {rules.about(rule)}
    assert ("without the subgroup" in rules.about(rule)) == (rule != "uniform")
    answer, shares = rules.predict(rule, pairs, crosstab.cross_tab(people(1), SCALE), SCALE)
    assert list(found["answer"]) == list(answer)
    np.testing.assert_allclose(np.stack(list(found["distribution"])), np.stack(shares))
    assert found["logprobs"].isna().all()
