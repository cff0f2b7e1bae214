"""Several countries of which some lack an axis: left out there, said, and nowhere a traceback."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import world
from tests.world import read_pairs, run_stage, run_stages, study
from valuestrata import io, paths, tables
from valuestrata.stages.names import STAGES
from valuestrata.survey.groups import Group, Groups, read_groups
from valuestrata.survey.left_out import axis_notices, leave_out_axes

Change = Callable[[pd.DataFrame], pd.DataFrame]
TWO = {"survey": {"countries": ["SGP", "DEU"]}}
ABROAD = {
    **TWO,
    "study": "abroad",
    "splits": {
        "train": {"groups": {"country": {"only": ["Singapore"]}}},
        "abroad": {
            "role": "test",
            "strata": ["sex", "ethnicity", "age_group x ethnicity"],
            "groups": {"country": {"only": ["Germany"]}},
        },
    },
}
NOTICE = "Axis ethnicity is left out in Germany: fewer than two groups of it are there."


def said(results: Path) -> list[str]:
    return list(io.read_json(results / paths.SUMMARY)["notices"])


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write_csv(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def two(csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stage, with baselines alone."""
    return run_stages(study(TWO, csv), tmp_path_factory.mktemp("two"), *STAGES)


def test_all_stages_run_and_the_other_country_keeps_the_axis(two: Path) -> None:
    responses = io.read_table(two / paths.RESPONSES, tables.RESPONSES)
    by_country = responses.groupby("country")["ethnicity"].nunique()
    assert by_country.to_dict() == {"Germany": 0, "Singapore": 3}
    named = set(read_pairs(two, "train")["subgroup"])
    assert "country=Singapore & ethnicity=Malay" in named
    assert "country=Germany & sex=male" in named
    assert not any("Germany" in name and "ethnicity" in name for name in named)
    for pattern, contract in (
        (paths.DIVERSITY, tables.DIVERSITY),
        (paths.AGREEMENT, tables.AGREEMENT),
    ):
        strata = set(io.read_table(two / pattern, contract)["stratum"])
        assert {"Singapore: ethnicity", "Germany: religion"} <= strata
        assert not any("Germany" in name and "ethnicity" in name for name in strata)
    ceilings = io.read_table(two / paths.CEILINGS, tables.CEILINGS)
    assert set(ceilings[ceilings["level"] == "country"]["group"]) == {"Singapore", "Germany"}
    assert (
        io.read_json(two / paths.SUMMARY)["splits"]["train"]["strata"]["country-x-ethnicity"] == 3
    )


def test_it_is_said_in_the_summary_the_report_and_the_closing_lines(two: Path) -> None:
    assert said(two) == [NOTICE]
    assert NOTICE in (two / paths.PAGE).read_text(encoding="utf-8")
    closing = (two / paths.HEADLINE).read_text(encoding="utf-8")
    assert f"Note: {NOTICE}" in closing.replace("\n", " ")
    assert read_groups(two / paths.GROUPS_OF_AXES).left_out == {"Germany": ("ethnicity",)}


def test_the_scores_of_the_other_country_are_those_that_it_has_alone(
    csv: Path, two: Path, tmp_path: Path
) -> None:
    alone = {"study": "alone", "survey": {"countries": ["SGP"]}}
    results = run_stages(study(alone, csv), tmp_path, "clean", "diversity")
    first, second = (
        io.read_table(folder / paths.DIVERSITY, tables.DIVERSITY) for folder in (results, two)
    )
    for stratum in ("ethnicity", "age_group-x-ethnicity"):
        one = first[first["stratum"] == stratum]
        other = second[second["stratum"] == f"Singapore: {stratum}"]
        np.testing.assert_allclose(one["value"], other["value"], equal_nan=True)


def test_a_split_of_the_country_that_lacks_it_has_the_other_strata(
    csv: Path, tmp_path: Path
) -> None:
    abroad = study(ABROAD, csv)
    results = run_stages(abroad, tmp_path)
    assert set(read_pairs(results, "abroad")["stratum"]) == {"country-x-sex"}
    assert said(results) == [NOTICE]
    run_stages(abroad, tmp_path, "predict_baseline", "score", "fairness", only="abroad")
    path = paths.GROUPS.format(model="axis-mode", variant="base", split="abroad")
    groups = io.read_table(results / path, tables.GROUPS)
    assert set(groups["level"]) == {"subgroups", "country", "sex"}


def test_a_split_with_nothing_but_the_lacking_axis_is_one_line(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = {**ABROAD, "splits": {**ABROAD["splits"]}}
    only["splits"]["abroad"] = {**ABROAD["splits"]["abroad"], "strata": ["ethnicity"]}
    wrong = study(only, csv)
    run_stages(wrong, tmp_path, "clean", "tally")
    with contextlib.chdir(tmp_path):
        assert run_stage(wrong, "pairs", split="abroad") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no subgroup of the split has 20 valid answers" in line


def changed(where: str, **values: Any) -> Change:
    """Other values in some columns of one country."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype(dict.fromkeys(values, object))
        for column, value in values.items():
            frame.loc[frame["B_COUNTRY_ALPHA"] == where, column] = value
        return frame

    return change


LISTED = {"religion": {"groups": {0: "none", 5: "Muslim", 7: "Buddhist"}}}
YEARS = {"age_group": {"column": "Q262", "groups": None, "bands": [16, 40, 60], "fallback": None}}
KINDS: Mapping[str, tuple[Change, Mapping[str, Any], dict[str, tuple[str, ...]]]] = {
    "nobody was asked": (changed("MYS", Q289=-4), {}, {"Malaysia": ("religion",)}),
    "all are of one group": (changed("MYS", Q289=5), {}, {"Malaysia": ("religion",)}),
    "blank": (changed("MYS", Q289=""), {}, {"Malaysia": ("religion",)}),
    "a code of no group": (changed("MYS", Q289=8), {"axes": LISTED}, {"Malaysia": ("religion",)}),
    "one listed group": (changed("MYS", Q289=7), {"axes": LISTED}, {"Malaysia": ("religion",)}),
    "no age": (changed("MYS", Q262=""), {"axes": YEARS}, {"Malaysia": ("age_group",)}),
    "several axes": (
        changed("SGP", Q289=1, Q260=2),
        {},
        {"Singapore": ("sex", "religion")},
    ),
    "other axes in other countries": (
        lambda frame: changed("MYS", Q290=458004)(changed("SGP", Q260=1)(frame)),
        {},
        {"Singapore": ("sex",), "Malaysia": ("ethnicity",)},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_axis_is_left_out_for_whatever_reason_it_lacks(kind: str, tmp_path: Path) -> None:
    change, survey, left_out = KINDS[kind]
    path = world.write_csv(tmp_path, change(world.world()))
    overlay = {"survey": {"countries": ["SGP", "MYS"], **survey}}
    results = run_stages(study(overlay, path), tmp_path, "clean")
    groups = read_groups(results / paths.GROUPS_OF_AXES)
    assert groups.left_out == left_out
    responses = io.read_table(results / paths.RESPONSES, tables.RESPONSES).set_index("country")
    for country in groups.countries:
        for axis in groups.axes:
            if axis != "country":
                lacks = axis in left_out.get(country, ())
                assert responses.loc[country, axis].isna().all() == lacks, (country, axis)


def test_an_axis_that_every_country_lacks_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # one group in each country is no axis, although there are two groups in all
    frame = changed("MYS", Q289=5)(changed("SGP", Q289=0)(world.world()))
    path = world.write_csv(tmp_path, frame)
    wrong = study({"survey": {"countries": ["SGP", "MYS"]}}, path)
    with pytest.raises(AssertionError):
        run_stages(wrong, tmp_path, "clean")
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "axis religion has fewer than two groups" in line
    assert "survey.axes.religion: null" in line


def test_a_stratum_whose_cells_are_all_small_in_a_country_is_said(tmp_path: Path) -> None:
    frame = world.world().reset_index(drop=True)
    dropped = frame[frame["B_COUNTRY_ALPHA"] == "MYS"].index[60:]
    path = world.write_csv(tmp_path, frame.drop(dropped))
    overlay = {"survey": {"countries": ["SGP", "MYS"]}}
    results = run_stages(study(overlay, path), tmp_path)
    notices = said(results)
    assert "Stratum age_group of train has no pair in Malaysia." in notices
    # that of an axis that is left out says so once
    assert not any("religion of" in line or "Singapore" in line for line in notices)
    strata = set(io.read_table(results / paths.DIVERSITY, tables.DIVERSITY)["stratum"])
    assert {"Malaysia: sex", "Singapore: age_group"} <= strata
    assert "Malaysia: age_group" not in strata


def test_a_survey_without_any_subgroup_that_is_large_enough_is_one_line(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {"ethnicity": {"groups": {702004: "a", 702006: "b"}}, "religion": LISTED["religion"]}
    overlay = {"survey": {"countries": ["SGP"], "axes": listed}, "min_subgroup_n": 5000}
    large = study(overlay, csv)
    run_stages(large, tmp_path, "clean")
    with contextlib.chdir(tmp_path):
        for stage, run in (("diversity", {}), ("tally", {"split": "train"})):
            assert run_stage(large, stage, **run) == 2
            assert "of 5000 respondents" in capsys.readouterr().err


def test_one_country_and_countries_that_lack_nothing_stay_as_they_are() -> None:
    people = pd.DataFrame({"country": ["A", "A", "B", "B"], "sex": ["f", "m", "f", "m"]})
    sizes = (Group(label="f", codes=("1",), n=2), Group(label="m", codes=("2",), n=2))
    axes = study(TWO).survey.axes
    for countries in ((), ("A",), ("A", "B")):
        groups = Groups(countries=countries, axes={"sex": sizes})
        same, kept = leave_out_axes(people, groups, {"sex": axes["sex"]}, 20)
        assert same is people
        assert kept is groups
        assert axis_notices(kept) == []


def test_several_countries_without_an_axis_are_one_notice() -> None:
    groups = Groups(
        countries=("A", "B", "C", "D"),
        axes={},
        left_out={"A": ("x",), "C": ("x", "y"), "D": ("x",)},
    )
    assert axis_notices(groups) == [
        "Axis x is left out in A, C and D: fewer than two groups of it are there.",
        "Axis y is left out in C: fewer than two groups of it are there.",
    ]
