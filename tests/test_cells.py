"""Cells as people's files have them: decimal commas, weights of nobody, texts, unticked items."""

import doctest
from typing import Any

import pandas as pd
import pytest

from valuestrata.errors import InputError
from valuestrata.study.survey import SelectAll
from valuestrata.survey import recoding
from valuestrata.survey.decimals import comma_notices, has_decimal_commas, with_points
from valuestrata.survey.recoding import recode_cells
from valuestrata.survey.select_all import unticked_cells
from valuestrata.survey.weights import relative_weights


def column(*cells: str) -> pd.Series:
    return pd.Series(list(cells), dtype="string", name="w")


def weighed(*cells: str, blank: Any = "refuse") -> tuple[dict[int, float], list[str]]:
    weight, notices = relative_weights(column(*cells), blank, "a.csv: column w")
    return {int(row): value for row, value in weight.items()}, notices


def refused(*cells: str, blank: Any = "refuse") -> str:
    with pytest.raises(InputError) as caught:
        weighed(*cells, blank=blank)
    line = str(caught.value)
    assert line.startswith("a.csv: column w: ")
    assert "\n" not in line
    return line


def test_a_comma_is_a_decimal_point_where_it_can_be_nothing_else() -> None:
    for cells, expected in (
        (["1,25", "0,5", "3", "", "-1,0"], ["1.25", "0.5", "3", "", "-1"]),
        (["0,875", "1,250", "2,000"], ["0.875", "1.250", "2"]),
        (["1.25", "2"], None),
        (["1,250", "2,500"], None),  # thousands, or not
        (["1,25", "1.25"], None),
        (["1,250.5", "3"], None),
        (["1,25", "a,b"], None),
        (["Yes, always", "3"], None),
        (["1,2,3"], None),
        ([], None),
    ):
        assert list(with_points(column(*cells))) == (cells if expected is None else expected)
        assert has_decimal_commas(column(*cells)) == (expected is not None)
    notice = "column w: commas are read as decimal points: 1,25 is 1.25"
    assert comma_notices(column("3", "1,25", "0,5")) == [notice]
    assert comma_notices(column("3", "1.25")) == []


def test_weights_of_0_leave_their_respondents_out_and_are_counted() -> None:
    for cells in (("1", "0", "3", "0.0"), ("1,0", "0", "3,0", "0,0")):
        weight, notices = weighed(*cells)
        assert weight == {0: 0.5, 2: 1.5}
        assert notices[-1] == "column w: 2 of 4 respondents have weight 0 and are left out"
    assert "commas are read as decimal points: 1,0 is 1" in notices[0]
    assert weighed("2", "2") == ({0: 1.0, 1: 1.0}, [])


def test_respondents_without_a_weight_are_refused_or_left_out() -> None:
    for blank in ("", "NA", "."):
        line = refused("1", blank, "2")
        assert "1 of 3 respondents have no weight (a blank cell); survey.blank_weight: drop" in line
        weight, notices = weighed("1", blank, "3", "0", blank="drop")
        assert weight == {0: 0.5, 2: 1.5}
        assert notices == [
            "column w: 1 of 4 respondents have weight 0 and are left out",
            "column w: 1 of 4 respondents have no weight and are left out",
        ]


def test_weights_that_are_none_are_told_by_their_kind() -> None:
    for cells, parts in (
        (("1", "-1", "-9"), ("of 3 weights 2 are negative ('-1', '-9'); correct them",)),
        (("1", "heavy"), ("1 are no number ('heavy')", "leave those rows out by survey.filter")),
        (("1", "inf"), ("1 are no number ('inf')",)),
        (("a", "b", "c", "d", "-1"), ("4 are no number ('a', 'b', 'c', ...) and 1 are negative",)),
        (("1,250", "2,500"), ("2 are no number", "write decimals with a point")),
        (("1,25", "1.25"), ("1 are no number ('1,25'); write decimals with a point",)),
        (("0", "0"), ("no weight is above 0; is this the column of weights?",)),
    ):
        line = refused(*cells)
        for part in parts:
            assert part in line
    assert "no weight is above 0" in refused("", "", blank="drop")


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(recoding) == (0, 2)


def test_cells_are_recoded_once_by_text_or_code() -> None:
    for cells, recode, expected in (
        (["89 or older", "20"], {"89 or older": 89}, ["89", "20"]),
        (["89  OR older"], {"89 or older": 89}, ["89"]),
        (["Yes", "yes", "YES"], {"yes": 2, "Yes": 1}, ["1", "2", "2"]),
        (["1", "2"], {"1": 2, "2": 1}, ["2", "1"]),
        (["Very", "1"], {"Very": 1, "1": 4}, ["1", "4"]),
        (["01", "+1", "1,0", "1.00", "-01", "-0"], {"1": 5, "-1": 6, "0": 7},
         ["5", "5", "5", "5", "6", "7"]),
        (["", "x"], {"": 0}, ["0", "x"]),
        (["NA", ""], {"NA": 3}, ["3", ""]),
        (["99", "1"], {"99": None}, ["", "1"]),
        (["1"], {}, ["1"]),
    ):  # fmt: skip
        assert list(recode_cells(column(*cells), recode)) == expected


def test_a_blank_item_of_a_battery_is_not_ticked() -> None:
    plain = {"a": column("1", "", "NA", "9"), "b": column("", "", "1", "."), "c": column(*"    ")}
    battery = SelectAll(questions=("a", "b", "gone"))
    unticked, notices = unticked_cells(plain, {"news": battery})
    assert {name: list(cells) for name, cells in unticked.items()} == {
        "a": ["", "0", "0", ""],
        "b": ["0", "0", "", "0"],
    }
    assert notices == [
        "survey.select_all.news: 5 blank cells of 2 items are read as not ticked, code 0; "
        "1 of 4 respondents ticked none and count as asked"
    ]
    missing = battery.replace(unticked=2, all_blank="missing")
    unticked, notices = unticked_cells(plain, {"news": missing})
    assert {name: list(cells) for name, cells in unticked.items()} == {
        "a": ["", "", "2", ""],
        "b": ["2", "", "", "2"],
    }
    assert "3 blank cells of 2 items are read as not ticked, code 2; 1 of 4" in notices[0]
    assert notices[0].endswith("are taken as not asked")
    assert unticked_cells(plain, {"x": SelectAll(questions=("gone",))}) == ({}, [])
