"""The tally, modes and conflict scores against plain loops over respondents."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import wasserstein_distance

from valuestrata import io
from valuestrata.__main__ import main
from valuestrata.specs import (
    Diversity,
    Evaluation,
    Labels,
    Pairs,
    Prompt,
    Selection,
    Tally,
    Weighting,
    to_json,
)
from valuestrata.survey import diversity, modal, tally
from valuestrata.survey.groups import Group, Groups

QUICK = settings(max_examples=40, deadline=None, derandomize=True, database=None)
GROUPS = {"sex": ("male", "female"), "age": ("young", "middle", "old")}
SCALES = {  # question -> lowest, highest, codes that occur, kind
    "Q1": (1, 4, [1, 2, 3, 4], "ordinal"),
    "Q2": (1, 2, [0, 1, 2, 3], "ordinal"),
    "Q3": (0, 2, [0, 1, 2], "nominal"),
    "Q4": (1, 10, list(range(1, 11)), "ordinal"),
}


def questions(names: list[str] | None = None) -> pd.DataFrame:
    rows = []
    for name in names or list(SCALES):
        scale_min, scale_max, codes, kind = SCALES[name]
        rows.append(
            {
                "question": name,
                "topic": name,
                "text": f"{name}?",
                "block": "odd" if name in ("Q1", "Q3") else "even",
                "measurement_level": kind,
                "scale_min": scale_min,
                "scale_max": scale_max,
                "codes": codes,
                "labels": [""] * len(codes),
                "n": 0,
                "missing": 0,
            }
        )
    return pd.DataFrame(rows)


def people(n: int, seed: int) -> pd.DataFrame:
    """Respondents with gaps in axes and answers, and uneven weights."""
    rng = np.random.default_rng(seed)

    def some(values: list[Any], share: float) -> Any:
        drawn = rng.choice(np.array(values, dtype=object), n)
        return np.where(rng.random(n) < share, None, drawn)

    columns: dict[str, Any] = {
        "respondent": [f"r{i}" for i in range(n)],
        "weight": rng.gamma(2, size=n),
    }
    columns |= {axis: pd.array(some(list(v), 0.1), dtype="string") for axis, v in GROUPS.items()}
    for name, (_, _, codes, _) in SCALES.items():
        columns[name] = pd.array(some(codes, 0.15), dtype="Int16")
    frame = pd.DataFrame(columns)
    frame["weight"] /= frame["weight"].mean()
    return frame


def tallied(
    frame: pd.DataFrame, axes: tuple[str, ...], minimum: int = 1
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray, tally.Scale]:
    scale = tally.scale_of(questions())
    encoded = tally.encode(frame, scale)
    names, cell = tally.members(frame, axes, GROUPS, minimum)
    width = scale.codes.shape[1]
    weight = frame["weight"].to_numpy(dtype=np.float64)
    counts = tally.count(encoded, cell, len(names), width)
    weighted = tally.count(encoded, cell, len(names), width, weight)
    return names, np.bincount(cell[cell >= 0], minlength=len(names)), counts, weighted, scale


def naive(
    frame: pd.DataFrame, axes: tuple[str, ...]
) -> dict[tuple[str, str, int], tuple[int, float]]:
    """(subgroup, question, code) -> count and weight, by looking at one respondent at a time."""
    found: dict[tuple[str, str, int], tuple[int, float]] = {}
    for _, row in frame.iterrows():
        if any(pd.isna(row[axis]) for axis in axes):
            continue
        subgroup = " & ".join(f"{axis}={row[axis]}" for axis in axes) or "all"
        for name in SCALES:
            if not pd.isna(row[name]):
                count, weight = found.get((subgroup, name, int(row[name])), (0, 0.0))
                found[subgroup, name, int(row[name])] = (count + 1, weight + row["weight"])
    return found


STRATA = [(), ("sex",), ("age",), ("sex", "age"), ("age", "sex")]


# Counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", STRATA, ids=lambda a: "-x-".join(a) or "all")
@pytest.mark.parametrize("seed", [1, 2])
def test_the_tally_counts_what_a_loop_over_respondents_counts(
    axes: tuple[str, ...], seed: int
) -> None:
    frame = people(150, seed)
    names, sizes, counts, weighted, scale = tallied(frame, axes)
    table = tally.to_frame("s", names, sizes, scale, counts, weighted)
    expected = naive(frame, axes)
    found = {
        (row.subgroup, row.question, row.code): (row.count_, row.weighted)
        for row in table.rename(columns={"count": "count_"}).itertuples()
        if row.count_
    }
    assert found.keys() == expected.keys()
    for key, (count, weight) in expected.items():
        assert found[key][0] == count
        assert found[key][1] == pytest.approx(weight)


@QUICK
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["male", "female", None]),
            st.sampled_from(["young", "middle", "old", None]),
            st.one_of(st.none(), st.integers(1, 4)),
            st.one_of(st.none(), st.integers(0, 3)),
            st.floats(0.1, 10),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_the_tally_is_the_groupby_of_pandas(rows: list[tuple[Any, ...]]) -> None:
    frame = people(len(rows), seed=0)
    for place, column in enumerate(("sex", "age", "Q1", "Q2", "weight")):
        frame[column] = pd.array([row[place] for row in rows], dtype=frame[column].dtype)
    names, _, counts, weighted, scale = tallied(frame, ("sex", "age"))
    for q, name in enumerate(("Q1", "Q2")):
        grouped = frame.groupby(["sex", "age", name])["weight"].agg(["size", "sum"])
        assert counts[:, q].sum() == grouped["size"].sum()
        for (sex, age, code), (size, total) in grouped.iterrows():
            s = names.index(f"sex={sex} & age={age}")
            c = list(scale.codes[q]).index(code)
            assert counts[s, q, c] == size
            assert weighted[s, q, c] == pytest.approx(total)


def test_weights_of_one_give_the_counts() -> None:
    _, _, counts, weighted, _ = tallied(people(80, 3).assign(weight=1.0), ("sex", "age"))
    np.testing.assert_allclose(weighted, counts)


def test_a_cross_stratum_sums_to_its_axis_where_every_axis_is_known() -> None:
    frame = people(200, 4).dropna(subset=["sex", "age"]).reset_index(drop=True)
    names, _, crossed, _, _ = tallied(frame, ("sex", "age"))
    single, _, alone, _, _ = tallied(frame, ("sex",))
    for s, name in enumerate(single):
        own = [i for i, n in enumerate(names) if n.startswith(name + " & ")]
        np.testing.assert_array_equal(crossed[own].sum(axis=0), alone[s])


def test_subgroups_come_in_the_order_of_their_groups() -> None:
    names, _, _, _, _ = tallied(people(300, 5), ("sex", "age"))
    pairs = itertools.product(GROUPS["sex"], GROUPS["age"])
    assert names == [f"sex={sex} & age={age}" for sex, age in pairs]


@pytest.mark.parametrize(
    ("minimum", "kept"),
    [
        (1, ["young", "middle", "old"]),
        (2, ["young", "old"]),
        (3, ["young", "old"]),
        (4, ["young"]),
        (5, []),
    ],
)
def test_subgroups_below_the_minimum_are_left_out(minimum: int, kept: list[str]) -> None:
    ages = ["young"] * 4 + ["middle"] + ["old"] * 3 + [None]
    names, cell = tally.members(pd.DataFrame({"age": ages}), ["age"], GROUPS, minimum)
    assert names == [f"age={group}" for group in kept]
    assert list(cell) == [kept.index(age) if age in kept else -1 for age in ages]


def test_the_minimum_counts_heads_and_not_weights() -> None:
    frame = people(60, 6)
    heads, _ = tally.members(frame, ["age"], GROUPS, 15)
    assert tally.members(frame.assign(weight=100.0), ["age"], GROUPS, 15)[0] == heads


def test_a_group_that_nobody_is_in_is_no_subgroup() -> None:
    frame = people(50, 7)
    frame["age"] = pd.array(["old"] * 50, dtype="string")
    assert tally.members(frame, ["age"], GROUPS, 0)[0] == ["age=old"]


def test_everyone_is_the_one_subgroup_of_the_stratum_without_axes() -> None:
    names, sizes, counts, _, _ = tallied(people(50, 8), ())
    assert names == ["all"]
    assert list(sizes) == [50]
    assert counts.shape[0] == 1


def test_a_name_of_a_subgroup_tells_its_groups() -> None:
    name = tally.subgroup_name(tally.subgroup_name("", "sex", "female"), "age", "65 and over")
    assert name == "sex=female & age=65 and over"
    assert tally.subgroup_groups(name) == {"sex": "female", "age": "65 and over"}
    assert tally.subgroup_groups("all") == {}


@pytest.mark.parametrize("axes", STRATA, ids=lambda a: "-x-".join(a) or "all")
def test_a_tally_table_comes_back_as_its_arrays(axes: tuple[str, ...]) -> None:
    names, sizes, counts, weighted, scale = tallied(people(120, 9), axes)
    back = tally.from_frame(tally.to_frame("s", names, sizes, scale, counts, weighted), scale)
    assert list(back.subgroups) == names
    assert set(back.strata) == {"s"}
    np.testing.assert_array_equal(back.respondents, sizes)
    np.testing.assert_array_equal(back.counts, counts)
    np.testing.assert_array_equal(back.weighted, weighted)


def test_stacked_tally_tables_keep_subgroups_of_one_name_apart() -> None:
    first = tallied(people(60, 10), ("sex",))
    second = tallied(people(60, 11), ("sex",))
    tables = [
        tally.to_frame(stratum, names, sizes, scale, counts, weighted)
        for stratum, (names, sizes, counts, weighted, scale) in (("a", first), ("b", second))
    ]
    back = tally.from_frame(pd.concat(tables, ignore_index=True), first[4])
    assert back.strata == ("a", "a", "b", "b")
    np.testing.assert_array_equal(back.counts, np.concatenate([first[2], second[2]]))


def test_a_tally_table_has_a_row_for_every_existing_code_and_no_padding() -> None:
    names, sizes, counts, weighted, scale = tallied(people(120, 12), ("sex",))
    table = tally.to_frame("s", names, sizes, scale, counts, weighted)
    per_question = table[table["subgroup"] == names[0]].groupby("question", sort=False)["code"]
    assert per_question.apply(list).to_dict() == {q: s[2] for q, s in SCALES.items()}


def test_the_scale_pads_narrow_questions_and_knows_its_ends() -> None:
    scale = tally.scale_of(questions())
    assert scale.codes.shape == (4, 10)
    assert list(scale.codes[0]) == [1, 2, 3, 4] + [4] * 6
    assert list(scale.real.sum(axis=1)) == [4, 4, 3, 10]
    assert list(scale.width) == [4, 2, 3, 10]
    assert list(scale.on_scale[1][:4]) == [False, True, True, False]
    assert scale.on_scale[0].sum() == 4


# Modes ---------------------------------------------------------------------------------------


def test_modes_are_the_first_of_the_most_frequent_codes() -> None:
    frame = people(300, 13)
    names, _, counts, _, scale = tallied(frame, ("sex", "age"))
    mode = modal.modes(counts)
    for s, name in enumerate(names):
        own = tally.subgroup_groups(name)
        rows = frame[(frame["sex"] == own["sex"]).fillna(False) & (frame["age"] == own["age"])]
        for q, question in enumerate(scale.questions):
            assert scale.codes[q, mode[s, q]] == rows[question].mode().min()


@pytest.mark.parametrize(
    ("counts", "mode", "tied"),
    [
        ([3, 1, 2], 0, False),
        ([1, 3, 3], 1, True),
        ([2, 2, 2], 0, True),
        ([0, 0, 5], 2, False),
        ([0, 4, 4], 1, True),
    ],
)
def test_ties_go_to_the_lowest_code_and_are_told(counts: list[int], mode: int, tied: bool) -> None:
    array = np.array([[counts]], dtype=float)
    assert modal.modes(array)[0, 0] == mode
    assert bool(modal.tied(array)[0, 0]) is tied


def test_a_padding_code_never_wins_and_never_ties() -> None:
    _, _, counts, _, scale = tallied(people(100, 14), ("sex", "age"))
    assert counts[:, ~scale.real].sum() == 0
    mode = modal.modes(counts)
    assert scale.real[np.arange(4), mode].all()
    lone = np.zeros((1, 4, 10))
    lone[0, :, 2] = 1
    assert not modal.tied(lone).any()


def test_shares_sum_to_one_and_are_unknown_where_nobody_answered() -> None:
    share = modal.shares(np.array([[[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]]))
    assert list(share[0, 0]) == [0.25, 0.75, 0.0]
    assert np.isnan(share[0, 1]).all()


# Modal Diversity Score -----------------------------------------------------------------------


def one_scale(
    scale_min: int, scale_max: int, codes: list[int], kind: str = "ordinal"
) -> tally.Scale:
    frame = pd.DataFrame(
        {
            "question": ["Q"],
            "codes": [codes],
            "scale_min": [scale_min],
            "scale_max": [scale_max],
            "measurement_level": [kind],
        }
    )
    return tally.scale_of(frame)


def mds(modes: list[int], width: int, present: list[bool] | None = None) -> float:
    """Score of one question with these modal codes 1..width."""
    scale = one_scale(1, width, list(range(1, width + 1)))
    here = np.array(present if present is not None else [True] * len(modes))[:, None]
    return float(diversity.modal_diversity(np.array(modes)[:, None] - 1, here, scale)[0])


@pytest.mark.parametrize(
    ("modes", "width", "expected"),
    [
        ([2, 2, 2, 2], 4, 0.0),
        ([1, 2], 4, 1.0),
        ([1, 2], 2, 1.0),
        ([1, 1, 2, 2], 2, 1.0),
        ([1, 1, 2, 2], 4, 0.5),
        ([1, 2, 3, 4], 4, 1.0),
        ([1, 2, 3], 10, 1.0),
        ([1, 1, 1, 2], 4, 0.811278124459 / 2),
        ([1, 1, 1, 2], 2, 0.811278124459),
        ([1, 1, 2, 2, 3, 3], 3, 1.0),
        ([1, 1, 2], 10, 0.918295834054 / np.log2(3)),
    ],
)
def test_modal_diversity_by_hand(modes: list[int], width: int, expected: float) -> None:
    assert mds(modes, width) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("present", "expected"), [([True, True, False], 1.0), ([True] * 3, 0.579380)]
)
def test_subgroups_without_enough_answers_do_not_count(
    present: list[bool], expected: float
) -> None:
    assert mds([1, 2, 2], 4, present) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("present", [[True, False, False], [False] * 3])
def test_fewer_than_two_subgroups_have_no_diversity(present: list[bool]) -> None:
    assert np.isnan(mds([1, 2, 3], 4, present))


def test_a_mode_off_the_scale_is_a_mode_of_its_own() -> None:
    scale = one_scale(1, 2, [1, 2, 3])
    here = np.ones((2, 1), dtype=bool)
    assert diversity.modal_diversity(np.array([[1], [2]]), here, scale)[0] == pytest.approx(1.0)
    assert diversity.modal_diversity(np.array([[2], [2]]), here, scale)[0] == 0.0


def test_modal_diversity_never_leaves_0_to_1_even_with_codes_off_the_scale() -> None:
    scale = one_scale(1, 2, [0, 1, 2, 3])
    here = np.ones((4, 1), dtype=bool)
    for modes in itertools.product(range(4), repeat=4):
        score = diversity.modal_diversity(np.array(modes)[:, None], here, scale)[0]
        assert -1e-12 <= score <= 1 + 1e-12, modes


@QUICK
@given(modes=st.lists(st.integers(1, 5), min_size=2, max_size=12), width=st.integers(5, 10))
def test_modal_diversity_is_entropy_over_its_bound(modes: list[int], width: int) -> None:
    share = pd.Series(modes).value_counts(normalize=True)
    expected = -(share * np.log2(share)).sum() / np.log2(min(len(modes), width))
    assert mds(modes, width) == pytest.approx(expected, abs=1e-12)
    assert mds(modes[::-1], width) == pytest.approx(expected, abs=1e-12)


def test_modal_diversity_of_many_resamples_is_that_of_each() -> None:
    rng = np.random.default_rng(1)
    scale = tally.scale_of(questions())
    modes = rng.integers(0, 3, size=(5, 6, 4))
    here = rng.random((6, 4)) < 0.8
    together = diversity.modal_diversity(modes, here, scale)
    for b in range(5):
        np.testing.assert_allclose(together[b], diversity.modal_diversity(modes[b], here, scale))


# Mean Wasserstein distance -------------------------------------------------------------------


def pairwise(weighted: np.ndarray, present: np.ndarray, scale: tally.Scale, q: int) -> float:
    """Mean over pairs by scipy, pair by pair."""
    on = scale.on_scale[q]
    codes = scale.codes[q][on]
    rows = [w[on] for w, here in zip(weighted[:, q], present[:, q], strict=True) if here]
    rows = [row for row in rows if row.sum() > 0]
    if len(rows) < 2:
        return float("nan")
    gaps = [wasserstein_distance(codes, codes, a, b) for a, b in itertools.combinations(rows, 2)]
    return float(np.mean(gaps)) / (scale.scale_max[q] - scale.scale_min[q])


@pytest.mark.parametrize("seed", range(6))
def test_mean_wasserstein_is_the_mean_over_pairs_by_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = tally.scale_of(questions())
    weighted = rng.gamma(0.5, size=(6, 4, 10)) * scale.real
    weighted[rng.random((6, 4)) < 0.1] = 0
    present = rng.random((6, 4)) < 0.8
    found = diversity.mean_wasserstein(weighted, present, scale)
    expected = [pairwise(weighted, present, scale, q) for q in range(4)]
    expected[2] = np.nan
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_mean_wasserstein_of_opposite_ends_is_one() -> None:
    scale = one_scale(1, 4, [1, 2, 3, 4])
    weighted = np.array([[[5.0, 0, 0, 0]], [[0, 0, 0, 2.0]]])
    assert diversity.mean_wasserstein(weighted, np.ones((2, 1), bool), scale)[0] == pytest.approx(1)


def test_mean_wasserstein_leaves_out_codes_off_the_scale() -> None:
    scale = one_scale(1, 2, [0, 1, 2, 3])
    plain = np.array([[[0, 3.0, 1, 0]], [[0, 1.0, 3, 0]]])
    noisy = plain + np.array([[[9.0, 0, 0, 0]], [[0, 0, 0, 9.0]]])
    here = np.ones((2, 1), bool)
    assert diversity.mean_wasserstein(noisy, here, scale)[0] == pytest.approx(0.5)
    assert diversity.mean_wasserstein(plain, here, scale)[0] == pytest.approx(0.5)


def test_a_subgroup_with_answers_off_the_scale_only_does_not_enter() -> None:
    scale = one_scale(1, 2, [0, 1, 2])
    weighted = np.array([[[0, 1.0, 0]], [[0, 0, 1.0]], [[5.0, 0, 0]]])
    assert diversity.mean_wasserstein(weighted, np.ones((3, 1), bool), scale)[0] == pytest.approx(1)


def test_nominal_questions_and_lone_subgroups_have_no_wasserstein_distance() -> None:
    weighted = np.array([[[1.0, 0]], [[0, 1.0]]])
    here = np.ones((2, 1), bool)
    nominal = one_scale(1, 2, [1, 2], "nominal")
    assert np.isnan(diversity.mean_wasserstein(weighted, here, nominal)[0])
    ordinal = one_scale(1, 2, [1, 2])
    assert np.isnan(diversity.mean_wasserstein(weighted, here & [[True], [False]], ordinal)[0])


def test_mean_wasserstein_of_many_resamples_is_that_of_each() -> None:
    rng = np.random.default_rng(2)
    scale = tally.scale_of(questions())
    weighted = rng.gamma(1, size=(3, 5, 4, 10)) * scale.real
    here = rng.random((5, 4)) < 0.7
    together = diversity.mean_wasserstein(weighted, here, scale)
    for b in range(3):
        np.testing.assert_allclose(
            together[b], diversity.mean_wasserstein(weighted[b], here, scale)
        )


# The bootstrap of respondents ----------------------------------------------------------------


def resampled(frame: pd.DataFrame, resamples: int, seed: int, slab: int = 64) -> Any:
    scale = tally.scale_of(questions())
    encoded = tally.encode(frame, scale)
    names, cell = tally.members(frame, ("sex",), GROUPS, 1)
    weight = frame["weight"].to_numpy(dtype=np.float64)
    draws = diversity.respondent_draws(len(frame), resamples, seed)
    slabs = list(
        diversity.resampled_counts(
            encoded, cell, len(names), scale.codes.shape[1], weight, draws, slab
        )
    )
    heads, sums = (np.concatenate(part) for part in zip(*slabs, strict=True))
    return draws, heads, sums


def test_every_resample_draws_as_many_respondents_as_there_are() -> None:
    draws = diversity.respondent_draws(37, 20, seed=1)
    assert draws.shape == (20, 37)
    assert set(draws.sum(axis=1)) == {37.0}
    assert (draws == np.round(draws)).all()


def test_draws_depend_on_the_seed_alone() -> None:
    one = diversity.respondent_draws(50, 9, seed=4)
    np.testing.assert_array_equal(one, diversity.respondent_draws(50, 9, seed=4))
    assert (one != diversity.respondent_draws(50, 9, seed=5)).any()


def test_a_resample_counts_each_respondent_as_often_as_drawn() -> None:
    frame = people(40, 15)
    draws, heads, sums = resampled(frame, 5, seed=2)
    for b in range(5):
        again = frame.loc[np.repeat(frame.index, draws[b].astype(int))].reset_index(drop=True)
        _, _, counts, weighted, _ = tallied(again, ("sex",))
        np.testing.assert_array_equal(heads[b], counts)
        np.testing.assert_allclose(sums[b], weighted, rtol=1e-5, atol=1e-5)


def test_the_slab_does_not_change_the_resamples() -> None:
    frame = people(40, 16)
    _, heads, sums = resampled(frame, 7, seed=3)
    _, other_heads, other_sums = resampled(frame, 7, seed=3, slab=2)
    np.testing.assert_array_equal(heads, other_heads)
    np.testing.assert_allclose(sums, other_sums, rtol=1e-6)


def test_resampled_counts_are_right_on_average() -> None:
    frame = people(120, 17)
    _, heads, sums = resampled(frame, 1500, seed=4)
    _, _, counts, weighted, _ = tallied(frame, ("sex",))
    error = np.sqrt(np.maximum(counts, 1) / 1500)
    assert (np.abs(heads.mean(axis=0) - counts) < 4.5 * error).all()
    assert np.abs(sums.mean(axis=0) - weighted).max() < 1.0
    np.testing.assert_allclose(heads.var(axis=0), counts * (1 - counts / 120), rtol=0.25, atol=0.5)


# Permutations --------------------------------------------------------------------------------


def permuted(
    frame: pd.DataFrame, permutations: int, seed: int, slab: int = 16
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Members of sex x age; counts and weighted counts of sex x age and of sex."""
    scale = tally.scale_of(questions())
    encoded = tally.encode(frame, scale)
    found = tally.members_of(frame, [("sex", "age"), ("sex",)], GROUPS, 1)
    cells, sizes = [cell for _, cell in found], [len(names) for names, _ in found]
    slabs = diversity.permuted_counts(
        encoded, cells, sizes, scale.codes.shape[1], frame["weight"].to_numpy(),
        permutations, seed, slab,
    )  # fmt: skip
    every = [
        [np.concatenate(each) for each in zip(*own, strict=True)]
        for own in zip(*slabs, strict=True)
    ]
    (fine, fine_sums), (coarse, coarse_sums) = every
    return np.bincount(cells[0][cells[0] >= 0]), [fine, coarse], [fine_sums, coarse_sums]


def complete(n: int, seed: int) -> pd.DataFrame:
    """Respondents without gaps."""
    return people(3 * n, seed).dropna().iloc[:n].reset_index(drop=True)


def test_permutations_move_whole_respondents() -> None:
    frame = complete(80, 21)
    _, (fine, coarse), (fine_sums, coarse_sums) = permuted(frame, 5, seed=1)
    _, _, whole, weighted, _ = tallied(frame, ())
    assert len(np.unique(fine.reshape(5, -1), axis=0)) == 5
    np.testing.assert_array_equal(fine.sum(axis=1), np.tile(whole, (5, 1, 1)))
    np.testing.assert_allclose(
        fine_sums.sum(axis=1), np.tile(weighted, (5, 1, 1)), rtol=1e-5, atol=1e-5
    )
    # a subgroup of sex holds those of sex x age, in each permutation
    np.testing.assert_array_equal(fine.reshape(5, 2, 3, *whole.shape[1:]).sum(axis=2), coarse)
    np.testing.assert_allclose(
        fine_sums.reshape(5, 2, 3, *whole.shape[1:]).sum(axis=2), coarse_sums, rtol=1e-5, atol=1e-5
    )


def test_permuted_counts_are_those_of_tables_with_the_same_margins() -> None:
    """Without gaps a question's table is multivariate hypergeometric, as scipy draws it."""
    frame = complete(120, 22).assign(weight=1.0)
    members, (heads, _), (sums, _) = permuted(frame, 2000, seed=3)
    np.testing.assert_allclose(heads, sums, atol=1e-4)
    drawn = stats.random_table(members, heads[0, :, 0].sum(axis=0).astype(int))
    other = drawn.rvs(2000, random_state=1)
    np.testing.assert_allclose(heads[:, :, 0, :4].mean(axis=0), other[..., :4].mean(0), atol=0.25)
    np.testing.assert_allclose(
        heads[:, :, 0, :4].var(axis=0), other[..., :4].var(axis=0), rtol=0.25, atol=0.1
    )


def test_the_slab_does_not_change_the_permutations() -> None:
    frame = people(40, 23)
    one, other = permuted(frame, 7, seed=3), permuted(frame, 7, seed=3, slab=2)
    for mine, theirs in zip(one[1] + one[2], other[1] + other[2], strict=True):
        np.testing.assert_allclose(mine, theirs)


def test_meaningless_subgroups_lie_within_their_null_and_others_do_not(tmp_path: Path) -> None:
    frame = people(600, 24)
    moved = frame.assign(Q1=np.where((frame["sex"] == "male").fillna(False), 1, 3))
    moved["Q1"] = moved["Q1"].astype("Int16")
    p = {}
    for name, own in {"chance": frame, "moved": moved}.items():
        folder = tmp_path / name
        folder.mkdir()
        io.write_table(own, folder / "responses.parquet", "responses")
        io.write_table(questions(), folder / "questions.parquet", "questions")
        write_groups(folder)
        spec = Diversity(TALLY, 10, WEIGHTING, Evaluation(0.9, 99, 1))
        out = folder / "diversity"
        run_stage(folder, "diversity", spec, "--output", str(out), "--agreement", f"{out}.ranks")
        table = io.read_table(out, "diversity").set_index(["stratum", "measure", "question"])
        p[name] = table["p_value"].dropna()
    assert (p["chance"] > 0.05).mean() > 0.7
    assert p["moved"].loc["sex", "wasserstein", "Q1"] == 0.01


# The stages ----------------------------------------------------------------------------------


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    frame = people(400, 18)
    io.write_table(frame, tmp_path / "responses.parquet", "responses")
    io.write_table(questions(), tmp_path / "questions.parquet", "questions")
    write_groups(tmp_path)
    return tmp_path


def write_groups(folder: Path) -> None:
    listed = {axis: tuple(Group(name, (), 1) for name in names) for axis, names in GROUPS.items()}
    io.write_json(dataclasses.asdict(Groups((), listed)), folder / "groups.parquet")


def run_stage(folder: Path, stage: str, spec: object, *more: str) -> None:
    inputs = ["responses", "questions", "groups"]
    said = [x for n in inputs for x in (f"--{n}", str(folder / f"{n}.parquet"))]
    assert main([stage, "--spec", to_json(spec), *said, *more]) == 0


WEIGHTING = Weighting("unweighted", "weighted")
TALLY = Tally((("sex",), ("sex", "age"), ()), 5, "simulated survey")


def test_the_stage_writes_a_tally_a_stratum_with_the_caveat(survey: Path) -> None:
    paths = [survey / f"{name}.parquet" for name in ("all", "sex-x-age", "sex")]
    run_stage(survey, "tally", TALLY, "--output", *map(str, paths))
    frame = io.read_table(survey / "responses.parquet", "responses")
    for path, axes in zip(paths, ((), ("sex", "age"), ("sex",)), strict=True):
        table = io.read_table(path, "tally")
        assert set(table["stratum"]) == {path.stem}
        assert table["count"].sum() == sum(n for n, _ in naive(frame, axes).values())
        assert io.caveat_of(path) == "simulated survey"


def test_the_stage_s_diversity_has_intervals_that_hold_their_estimates(survey: Path) -> None:
    spec = Diversity(TALLY, 10, WEIGHTING, Evaluation(0.9, 60, 1))
    out = survey / "diversity.parquet"
    agreed = survey / "agreement.parquet"
    run_stage(survey, "diversity", spec, "--output", str(out), "--agreement", str(agreed))
    table = io.read_table(out, "diversity")
    known = table.dropna(subset=["value"])
    assert (known["ci_low"] <= known["value"]).all()
    assert (known["value"] <= known["ci_high"]).all()
    assert known["ci_low"].min() >= 0
    cells = table[(table["stratum"] != "mean") & (table["measure"] == "mds")]
    by_hand = cells[cells["stratum"].isin(["sex", "sex-x-age"])].groupby("question")["value"].mean()
    means = table[
        (table["stratum"] == "mean") & (table["question"] != "mean") & (table["measure"] == "mds")
    ]
    np.testing.assert_allclose(means.set_index("question")["value"], by_hand[means["question"]])
    blocks = table[(table["question"] == "mean") & (table["measure"] == "mds")]
    one = blocks[blocks["stratum"] == "sex"].set_index("block")
    own = cells[cells["stratum"] == "sex"].set_index("question")["value"]
    assert one.loc["odd", "value"] == pytest.approx(own[["Q1", "Q3"]].mean())
    blocks = blocks[blocks["stratum"] == "mean"].set_index("block")
    assert set(blocks.index) == {"odd", "even", "all"}
    assert blocks.loc["odd", "value"] == pytest.approx(by_hand[["Q1", "Q3"]].mean())
    assert blocks.loc["all", "value"] == pytest.approx(by_hand.mean())
    nominal = table[(table["question"] == "Q3") & (table["measure"] == "wasserstein")]
    assert nominal["value"].isna().all()
    assert nominal["p_value"].isna().all()
    assert known["p_value"].min() >= 1 / 61
    assert (known["null_mean"] <= 1).all()
    assert known["null_p95"].notna().all()
    ranks = io.read_table(agreed, "agreement")
    assert set(ranks["stratum"]) == {"sex", "sex-x-age", "all", "mean"}
    over = ranks[ranks["stratum"] == "mean"].set_index("coefficient")
    assert (over["n"] == 3).all()
    assert (over["missing"] == 1).all()
    both = table[(table["stratum"] == "mean") & (table["question"] != "mean")]
    pivot = both.pivot(index="question", columns="measure", values="value").dropna()
    rho = stats.spearmanr(pivot["mds"], pivot["wasserstein"]).statistic
    assert over.loc["spearman", "value"] == pytest.approx(rho)


def test_the_stage_s_diversity_is_the_same_when_run_again(survey: Path) -> None:
    spec = Diversity(TALLY, 10, WEIGHTING, Evaluation(0.9, 30, 1))
    tables = []
    for name in ("one", "two"):
        out = survey / f"{name}.parquet"
        run_stage(survey, "diversity", spec, "--output", str(out), "--agreement", f"{out}.ranks")
        tables.append(io.read_table(out, "diversity"))
    pd.testing.assert_frame_equal(*tables)


def test_the_stage_lists_ties_and_both_readings_of_the_labels(tmp_path: Path) -> None:
    counts = np.array([[[9, 9, 0, 9], [5, 6, 0, 0], [1, 2, 1, 0], [20, 0, 0, 0]]])
    counts = np.pad(counts, ((0, 0), (0, 0), (0, 6))).astype(float)
    weighted = counts.copy()
    weighted[0, 1, 0] = 6.0 + 1e-13  # weights make it a tie, up to rounding
    weighted[0, 3, :2] = 0.5, 19.5
    scale = tally.scale_of(questions())
    frame = tally.to_frame("sex", ["sex=male"], np.array([30]), scale, counts, weighted)
    io.write_table(frame, tmp_path / "tally", "tally")
    io.write_table(questions(), tmp_path / "questions", "questions")
    found = {}
    for how in ("unweighted", "weighted"):
        weighting = Weighting(how, how)
        prompt = Prompt(
            "english", "X", {"sex": "{group}"}, {"sex": "sex"}, "second", "persona", "asked"
        )
        pairs = Pairs(5, Selection(), {}, weighting, prompt, "")
        given = ["--tallies", str(tmp_path / "tally"), "--questions", str(tmp_path / "questions")]
        groups = ["--groups", str(tmp_path / "groups")]
        io.write_json(dataclasses.asdict(Groups((), {})), tmp_path / "groups")
        out = {name: str(tmp_path / f"{name}-{how}") for name in ("pairs", "labels", "ties")}
        said = ["pairs", "--spec", to_json(pairs), *given, *groups, "--output", out["pairs"]]
        assert main(said) == 0
        stage = ["labels", "--spec", to_json(Labels(weighting, "")), *given]
        assert main([*stage, *(x for name in out for x in (f"--{name}", out[name]))]) == 0
        found[how] = {name: io.read_table(path, name) for name, path in out.items()}
    heads, weights = found["unweighted"], found["weighted"]
    assert list(heads["pairs"]["question"]) == ["Q1", "Q2", "Q4"]  # four answers are too few
    assert list(heads["pairs"]["mode"]) == [1, 1, 1]
    assert list(weights["pairs"]["mode"]) == [1, 0, 2]
    assert list(heads["ties"]["question"]) == ["Q1"]
    assert [list(own) for own in heads["ties"]["codes"]] == [[1, 2, 4]]
    assert list(heads["ties"]["each"]) == [9]
    assert [list(own) for own in weights["ties"]["codes"]] == [[1, 2, 4], [0, 1]]
    labels = heads["labels"]
    assert list(labels["mode_weighted"]) == list(weights["pairs"]["mode"])
    assert list(labels["tied_weighted"]) == [True, True, False]
    for how, own in found.items():
        for mine, theirs in zip(
            own["pairs"]["distribution"], labels[f"distribution_{how}"], strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_a_stratum_without_a_large_enough_subgroup_is_one_line(
    survey: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strata = (("sex",), ("sex", "age"))
    out = [str(survey / f"{name}.parquet") for name in ("sex", "sex-x-age")]
    said = ["--output", *out]
    inputs = [x for n in ("responses", "questions", "groups")
              for x in (f"--{n}", str(survey / f"{n}.parquet"))]  # fmt: skip
    frame = io.read_table(survey / "responses.parquet", "responses")
    sizes = frame.groupby(["sex", "age"]).size()
    spec = Tally(strata, int(sizes.max()) + 1, "")
    assert main(["tally", "--spec", to_json(spec), *inputs, *said]) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert f"stratum 'sex x age' has no subgroup of {spec.minimum} respondents" in line
    sex, age = sizes.idxmax()
    assert f"'sex={sex} & age={age}' with {sizes.max()}" in line
    assert "lower minimum.respondents, merge groups" in line
    assert not Path(out[1]).exists()


def test_a_stratum_that_nobody_is_in_is_said_so() -> None:
    frame = pd.DataFrame({"sex": ["male", pd.NA], "age": [pd.NA, "old"]}, dtype="string")
    assert "nobody has a group of each axis" in tally.largest(frame, ("sex", "age"), GROUPS)


def test_respondents_change_places_within_their_block_alone() -> None:
    """Two countries that agree on nothing: no permutation brings one's answers to the other."""
    country = np.repeat([0, 1], 30)
    encoded = np.repeat(country[:, None], 2, axis=1)  # all of one country answer alike
    cell = np.where(country == 0, np.arange(60) % 2, -1)
    for block, mixed in ((country, False), (None, True)):
        slabs = diversity.permuted_counts(
            encoded, [cell], [2], 2, np.ones(60), 20, seed=1, block=block
        )
        heads = np.concatenate([strata[0][0] for strata in slabs])
        assert (heads.sum(axis=-1) == 15).all()
        assert (heads[..., 1] > 0).any() == mixed
