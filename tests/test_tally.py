"""The tally and modes against plain loops over respondents."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.jobs import run_stage
from tests.respondents import AXIS_GROUPS, GROUPS, SCALE, SCALES, counted, people, questions
from valuestrata import io, tables
from valuestrata.errors import InputError
from valuestrata.prompting.settings import PromptSettings
from valuestrata.records import Record
from valuestrata.stages import labels as labels_stage
from valuestrata.stages import pairs as pairs_stage
from valuestrata.stages import tally as tally_stage
from valuestrata.study.evaluation import Labels
from valuestrata.study.splits import Selection
from valuestrata.study.study import dump
from valuestrata.survey import modal, tally
from valuestrata.survey.groups import Groups

QUICK = settings(max_examples=40, deadline=None, derandomize=True, database=None)
STRATA = [(), ("sex",), ("age",), ("sex", "age"), ("age", "sex")]
RECORD = Record("test", {}, {})


def naive(
    frame: pd.DataFrame, axes: tuple[str, ...]
) -> dict[tuple[str, str, int], tuple[int, float]]:
    """(subgroup, question, code) -> count and weight, by looking at one respondent at a time."""
    counts: dict[tuple[str, str, int], tuple[int, float]] = {}
    for _, row in frame.iterrows():
        if any(pd.isna(row[axis]) for axis in axes):
            continue
        subgroup = " & ".join(f"{axis}={row[axis]}" for axis in axes) or "all"
        for name in SCALES:
            if not pd.isna(row[name]):
                count, weight = counts.get((subgroup, name, int(row[name])), (0, 0.0))
                counts[subgroup, name, int(row[name])] = (count + 1, weight + row["weight"])
    return counts


# Counting ------------------------------------------------------------------------------------


def test_the_tally_counts_what_a_loop_over_respondents_counts() -> None:
    for axes, seed in itertools.product(STRATA, (1, 2)):
        frame = people(150, seed)
        table = counted(frame, axes).frame()
        expected = naive(frame, axes)
        table = table[table["count"] > 0].set_index(["subgroup", "question", "code"])
        assert set(table.index) == expected.keys()
        for key, (count, weight) in expected.items():
            assert table.loc[key, "count"] == count
            assert table.loc[key, "weighted"] == pytest.approx(weight)


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
    result = counted(frame, ("sex", "age"))
    for q, name in enumerate(("Q1", "Q2")):
        grouped = frame.groupby(["sex", "age", name])["weight"].agg(["size", "sum"])
        assert result.counts[:, q].sum() == grouped["size"].sum()
        for (sex, age, code), (size, total) in grouped.iterrows():
            s = result.members.names.index(f"sex={sex} & age={age}")
            c = list(SCALE.codes[q]).index(code)
            assert result.counts[s, q, c] == size
            assert result.weighted[s, q, c] == pytest.approx(total)


def test_weights_of_one_give_the_counts() -> None:
    result = counted(people(80, 3).assign(weight=1.0), ("sex", "age"))
    np.testing.assert_allclose(result.weighted, result.counts)


def test_a_cross_stratum_sums_to_its_axis_where_every_axis_is_known() -> None:
    frame = people(200, 4).dropna(subset=["sex", "age"]).reset_index(drop=True)
    crossed, single = counted(frame, ("sex", "age")), counted(frame, ("sex",))
    for s, name in enumerate(single.members.names):
        parts = [i for i, n in enumerate(crossed.members.names) if n.startswith(name + " & ")]
        np.testing.assert_array_equal(crossed.counts[parts].sum(axis=0), single.counts[s])


def test_subgroups_come_in_the_order_of_their_groups() -> None:
    pairs = itertools.product(GROUPS["sex"], GROUPS["age"])
    expected = tuple(f"sex={sex} & age={age}" for sex, age in pairs)
    assert counted(people(300, 5), ("sex", "age")).members.names == expected


def test_subgroups_below_the_minimum_are_left_out() -> None:
    ages = ["young"] * 4 + ["middle"] + ["old"] * 3 + [None]
    for min_n, kept in (
        (1, ["young", "middle", "old"]),
        (2, ["young", "old"]),
        (3, ["young", "old"]),
        (4, ["young"]),
        (5, []),
    ):
        members = tally.stratum_members(pd.DataFrame({"age": ages}), ["age"], GROUPS, min_n)
        assert members.names == tuple(f"age={group}" for group in kept)
        assert list(members.cell) == [kept.index(age) if age in kept else -1 for age in ages]


def test_a_group_that_nobody_is_in_is_no_subgroup() -> None:
    frame = pd.DataFrame({"age": pd.array(["old"] * 50, dtype="string")})
    assert tally.stratum_members(frame, ["age"], GROUPS, 0).names == ("age=old",)


def test_everyone_is_the_one_subgroup_of_the_stratum_without_axes() -> None:
    members = counted(people(50, 8), ()).members
    assert members.names == ("all",)
    assert list(members.respondents()) == [50]


def test_a_name_of_a_subgroup_tells_its_groups() -> None:
    name = tally.subgroup_name(tally.subgroup_name("", "sex", "female"), "age", "65 and over")
    assert name == "sex=female & age=65 and over"
    assert tally.subgroup_groups(name) == {"sex": "female", "age": "65 and over"}
    assert tally.subgroup_groups("all") == {}


def test_a_tally_table_comes_back_as_its_arrays() -> None:
    for axes in STRATA:
        result = counted(people(120, 9), axes)
        back = tally.from_frame(result.frame(), SCALE)
        assert back.subgroups == result.members.names
        assert set(back.strata) == {"s"}
        np.testing.assert_array_equal(back.respondents, result.members.respondents())
        np.testing.assert_array_equal(back.counts, result.counts)
        np.testing.assert_array_equal(back.weighted, result.weighted)


def test_stacked_tally_tables_keep_subgroups_of_one_name_apart() -> None:
    first, second = counted(people(60, 10), ("sex",)), counted(people(60, 11), ("sex",))
    stacked = pd.concat([first.frame("a"), second.frame("b")], ignore_index=True)
    back = tally.from_frame(stacked, SCALE)
    assert back.strata == ("a", "a", "b", "b")
    np.testing.assert_array_equal(back.counts, np.concatenate([first.counts, second.counts]))


def test_a_tally_table_has_a_row_for_every_existing_code_and_no_padding() -> None:
    result = counted(people(120, 12), ("sex",))
    table = result.frame()
    rows = table[table["subgroup"] == result.members.names[0]]
    codes = rows.groupby("question", sort=False)["code"].apply(list)
    assert codes.to_dict() == {name: scale[2] for name, scale in SCALES.items()}


def test_the_scale_pads_narrow_questions_and_knows_its_ends() -> None:
    assert SCALE.codes.shape == (4, 10)
    assert list(SCALE.codes[0]) == [1, 2, 3, 4] + [4] * 6
    assert list(SCALE.real.sum(axis=1)) == [4, 4, 3, 10]
    assert list(SCALE.width) == [4, 2, 3, 10]
    assert list(SCALE.on_scale[1][:4]) == [False, True, True, False]
    assert SCALE.on_scale[0].sum() == 4


# Modes ---------------------------------------------------------------------------------------


def test_modes_are_the_first_of_the_most_frequent_codes() -> None:
    frame = people(300, 13)
    result = counted(frame, ("sex", "age"))
    mode = modal.modes(result.counts)
    for s, name in enumerate(result.members.names):
        groups = tally.subgroup_groups(name)
        rows = frame[
            (frame["sex"] == groups["sex"]).fillna(False) & (frame["age"] == groups["age"])
        ]
        for q, question in enumerate(SCALE.questions):
            assert SCALE.codes[q, mode[s, q]] == rows[question].mode().min()


def test_ties_go_to_the_lowest_code_and_are_flagged() -> None:
    for counts, mode, tied in (
        ([3, 1, 2], 0, False),
        ([1, 3, 3], 1, True),
        ([2, 2, 2], 0, True),
        ([0, 0, 5], 2, False),
        ([0, 4, 4], 1, True),
    ):
        array = np.array([[counts]], dtype=float)
        assert modal.modes(array)[0, 0] == mode
        assert bool(modal.tied(array)[0, 0]) is tied


def test_a_padding_code_never_wins_and_never_ties() -> None:
    counts = counted(people(100, 14), ("sex", "age")).counts
    assert counts[:, ~SCALE.real].sum() == 0
    assert SCALE.real[np.arange(4), modal.modes(counts)].all()
    lone = np.zeros((1, 4, 10))
    lone[0, :, 2] = 1
    assert not modal.tied(lone).any()


def test_shares_sum_to_one_and_are_unknown_where_nobody_answered() -> None:
    share = modal.shares(np.array([[[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]]))
    assert list(share[0, 0]) == [0.25, 0.75, 0.0]
    assert np.isnan(share[0, 1]).all()


# The stages ----------------------------------------------------------------------------------


def survey_files(folder: Path, frame: pd.DataFrame) -> dict[str, Any]:
    files = {name: str(folder / f"{name}.parquet") for name in ("responses", "questions")}
    io.write_table(frame, files["responses"], tables.RESPONSES, RECORD)
    io.write_table(questions(), files["questions"], tables.QUESTIONS, RECORD)
    io.write_json(dump(AXIS_GROUPS), folder / "groups.json")
    return {**files, "groups": str(folder / "groups.json")}


def test_the_stage_writes_a_tally_a_stratum_with_the_caveat(tmp_path: Path) -> None:
    frame = people(400, 18)
    strata = {"all": (), "sex-x-age": ("sex", "age"), "sex": ("sex",)}
    paths = tuple(str(tmp_path / f"{name}.parquet") for name in strata)
    settings = tally_stage.Settings(
        strata=tuple(strata.values()), min_subgroup_n=5, caveat="simulated survey"
    )
    files = survey_files(tmp_path, frame)
    run_stage(tally_stage, settings, {**files, "tallies": paths})
    for path, (name, axes) in zip(paths, strata.items(), strict=True):
        table = io.read_table(path, tables.TALLY)
        assert set(table["stratum"]) == {name}
        assert table["count"].sum() == sum(n for n, _ in naive(frame, axes).values())
        assert io.caveat_of(path) == "simulated survey"


def test_a_stratum_without_a_large_enough_subgroup_is_one_line(tmp_path: Path) -> None:
    frame = people(400, 18)
    sizes = frame.groupby(["sex", "age"]).size()
    min_n = int(sizes.max()) + 1
    settings = tally_stage.Settings(
        strata=(("sex",), ("sex", "age")), min_subgroup_n=min_n, caveat=""
    )
    paths = tuple(str(tmp_path / name) for name in ("sex", "sex-x-age"))
    with pytest.raises(InputError) as caught:
        run_stage(tally_stage, settings, {**survey_files(tmp_path, frame), "tallies": paths})
    line = str(caught.value)
    assert "\n" not in line
    assert f"stratum 'sex x age' has no subgroup of {min_n} respondents" in line
    sex, age = sizes.idxmax()
    assert f"'sex={sex} & age={age}' with {sizes.max()}" in line
    assert "lower min_subgroup_n, merge groups" in line
    assert not (tmp_path / "sex-x-age").exists()
    nobody = frame.assign(age=frame["age"].where(frame["sex"].isna()))
    with pytest.raises(InputError, match="nobody has a group of each axis"):
        run_stage(tally_stage, settings, {**survey_files(tmp_path, nobody), "tallies": paths})


def test_the_stages_list_ties_and_both_readings_of_the_labels(tmp_path: Path) -> None:
    counts = np.array([[[9, 9, 0, 9], [5, 6, 0, 0], [1, 2, 1, 0], [20, 0, 0, 0]]])
    counts = np.pad(counts, ((0, 0), (0, 0), (0, 6))).astype(float)
    weighted = counts.copy()
    weighted[0, 1, 0] = 6.0 + 1e-13  # weights make it a tie, up to rounding
    weighted[0, 3, :2] = 0.5, 19.5
    members = tally.Members(("sex=male",), np.zeros(30, dtype=np.int64))
    frame = tally.to_frame("sex", members, SCALE, counts, weighted)
    files = survey_files(tmp_path, people(5, 1))
    io.write_json(dump(Groups(countries=(), axes={})), files["groups"])
    files["tallies"] = (str(tmp_path / "tally.parquet"),)
    io.write_table(frame, files["tallies"][0], tables.TALLY, RECORD)
    prompt = PromptSettings(
        template="english", country="X", personas={"sex": "{group}"}, labels={"sex": "sex"},
        persona="second", order="persona", options="asked",
    )  # fmt: skip
    result = {}
    for reading in ("unweighted", "weighted"):
        labels = Labels(mode=reading, distribution=reading)
        out = {n: str(tmp_path / f"{n}-{reading}.parquet") for n in ("pairs", "labels", "ties")}
        settings = pairs_stage.Settings(
            min_pair_n=5, questions=Selection(), groups={}, labels=labels, prompt=prompt, caveat=""
        )
        run_stage(pairs_stage, settings, {**files, **out})
        run_stage(
            labels_stage, labels_stage.Settings(labels=labels, seed=1, caveat=""), {**files, **out}
        )
        contracts = {name: getattr(tables, name.upper()) for name in out}
        result[reading] = {n: io.read_table(path, contracts[n]) for n, path in out.items()}
    heads, weights = result["unweighted"], result["weighted"]
    assert list(heads["pairs"]["question"]) == ["Q1", "Q2", "Q4"]  # four answers are too few
    assert list(heads["pairs"]["mode"]) == [1, 1, 1]
    assert list(weights["pairs"]["mode"]) == [1, 0, 2]
    assert list(heads["ties"]["question"]) == ["Q1"]
    assert [list(codes) for codes in heads["ties"]["codes"]] == [[1, 2, 4]]
    assert list(heads["ties"]["each"]) == [9]
    assert [list(codes) for codes in weights["ties"]["codes"]] == [[1, 2, 4], [0, 1]]
    both = heads["labels"]
    assert list(both["mode_weighted"]) == list(weights["pairs"]["mode"])
    assert list(both["tied_weighted"]) == [True, True, False]
    for reading, written in result.items():
        expected = both[f"distribution_{reading}"]
        for first, second in zip(written["pairs"]["distribution"], expected, strict=True):
            np.testing.assert_array_equal(first, second)
