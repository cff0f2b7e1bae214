"""What people's own files have: codes that YAML misreads, merged groups, NA, texts, blank items."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tests.survey_file import codes, complaint, frame, labels, question, read, read_csv
from tests.world import run_stages
from valuestrata import io, paths, tables
from valuestrata.commands.check import merged_groups
from valuestrata.study.load import load
from valuestrata.study.survey import Axis, SelectAll
from valuestrata.study.yaml import parse
from valuestrata.survey.columns import check_columns


def axis(groups: Any, column: str = "c") -> dict[str, Axis]:
    return {"a": Axis(column=column, groups=groups)}


def typed(text: str) -> Any:
    """What a study file says."""
    return parse(text)


# Groups --------------------------------------------------------------------------------------


def test_codes_that_yaml_1_1_misreads_are_groups_codes(tmp_path: Path) -> None:
    for code in ("NO", "no", "yes", "ON", "012", "1_000", "12:30", "2020-01-01", "~", "null", "NA",
                 "true", "1e3", "0x1F", "nan", "NaN", "."):  # fmt: skip
        groups = typed(f"{{{code}: first, SE: second}}")
        table = frame(Q=[1, 2, 3, 4], c=[code, "SE", code, ""])
        survey = read_csv(tmp_path, table, question(), axes=axis(groups))
        assert labels(survey, "a") == ["first", "second", "first", None], code
        assert survey.groups.sizes()["a"] == {"first": 2, "second": 1}


def test_a_named_group_without_a_row_is_refused_with_what_the_column_holds(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4], c=["1", "1", "2", ""])
    for groups, group in (
        ("{1: a, 3: b}", "group 'b' (code 3)"),
        ("{1: a, 2: c, 01: b}", "group 'b' (code 01)"),
        ("{1: a, 2.0: b}", "group 'b' (code 2.0)"),
        ("{a: 1, b: [3, 4]}", "group 'b' (codes 3, 4)"),
        ("{no: x, yes: y}", "groups 'x' (code no), 'y' (code yes)"),
        ("{false: x, 1: y}", "group 'x' (code false)"),
    ):
        line = complaint(tmp_path, table, question(), axes=axis(typed(groups)))
        assert f"column c: no row is in {group} of axis a; the column holds '1' (2)" in line
        assert "'2' (1), 1 blank cells: correct the codes, or take the group out" in line
    many = frame(Q=[1] * 300, c=[f"name {i}" for i in range(300)])
    line = complaint(tmp_path, many, question(), axes=axis({"1": "a", "2": "b"}))
    assert "the column holds 300 different values; is it the right column?" in line


def test_a_named_group_that_the_codebook_or_the_file_has_may_be_empty(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4], c=[1, 1, 2, 2])
    groups = axis({"1": "Christian", "2": "Muslim", "6": "Hindu"})
    survey = read_csv(tmp_path, table, question(), axes=groups, book={"c": {"6": "Hindu"}})
    assert survey.notices == ["axis a: no row is in group 'Hindu' (code 6)"]
    assert survey.groups.sizes()["a"] == {"Christian": 2, "Muslim": 2, "Hindu": 0}


def test_a_group_of_several_codes_is_one_group(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4, 1, 2], c=["1", "2", "NA", "5", "", "9"])
    for groups in (
        "{Christian: [1, 2, NA], Muslim: 5}",
        "{Christian: [1, 2, NA], 5: Muslim}",
        "{1: Christian, 2: Christian, NA: Christian, 5: Muslim}",
    ):
        survey = read_csv(tmp_path, table, question(), axes=axis(typed(groups)))
        assert labels(survey, "a") == ["Christian"] * 3 + ["Muslim", None, None]
        assert survey.notices == []
        (christian, muslim) = survey.groups.axes["a"]
        assert (christian.label, christian.codes, christian.n) == ("Christian", ("1", "2", "NA"), 3)
        assert (muslim.label, muslim.codes, muslim.n) == ("Muslim", ("5",), 1)


def test_na_is_a_code_where_the_study_or_the_codebook_has_it(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4], c=["NA", "ZA", "NA", "ZA"])
    auto = {"a": Axis(column="c", groups="auto")}
    book = {"c": {"NA": "Namibia", "ZA": "South Africa"}}
    survey = read_csv(tmp_path, table, question(), axes=auto, min_subgroup_n=1, book=book)
    assert labels(survey, "a") == ["Namibia", "South Africa"] * 2
    assert survey.notices == []
    survey = read_csv(tmp_path, table, question(), axes=auto, min_subgroup_n=1)
    assert labels(survey, "a") == [None, "ZA"] * 2
    assert survey.notices == [
        "axis a: 2 cells hold NA, which is read as no answer; if it is a code, label it under "
        "columns: c in the codebook"
    ]
    numbers = frame(Q=[1, 2, 3, 4], c=["NA", "1", "2", "NA"])
    (line,) = read_csv(tmp_path, numbers, question(), axes=auto, min_subgroup_n=1).notices
    assert line == (
        "axis a: codes without a label stand for themselves, in prompts as well: 1, 2; label them "
        "under columns: c in the codebook"
    )
    survey = read_csv(tmp_path, table, question(), filter={"c": ("NA",)}, axes=auto)
    assert len(survey.responses) == 2
    countries = {"countries": ("NA", "ZA"), "country_columns": ("c",)}
    survey = read_csv(tmp_path, table, question(), book=book, **countries)
    assert labels(survey, "country") == ["Namibia", "South Africa"] * 2


def test_na_of_a_format_that_has_missing_cells_is_text(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4], c=pd.Series(["NA", None, "ZA", "NA"], dtype="string"))
    groups = axis({"NA": "Namibia", "ZA": "South Africa"})
    table.to_parquet(tmp_path / "a.parquet")
    table.to_feather(tmp_path / "a.feather")
    table.to_excel(tmp_path / "a.xlsx", index=False)
    for path in tmp_path.iterdir():
        assert labels(read(path, [question()], axes=groups), "a") == [
            "Namibia", None, "South Africa", "Namibia",
        ]  # fmt: skip


def test_a_value_of_the_filter_that_no_row_has_is_said(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4], c=["1", "2", "1", "2"])
    survey = read_csv(tmp_path, table, question(), filter={"c": ("1", "2", "01")})
    assert survey.notices == ["survey.filter.c: no row has '01'"]
    line = complaint(tmp_path, table, question(), filter={"c": ("01", "NO")})
    assert "no row is left after survey.filter" in line
    assert "survey.filter.c: no row has '01', 'NO'" in line


# Numbers and texts ---------------------------------------------------------------------------


def test_decimal_commas_of_weights_ages_and_answers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "survey.csv"
    path.write_text(
        "id;sex;w;age;Q\na;1;1,5;29,9;1,0\nb;2;0,5;30,0;2\nc;1;0;40,5;3,00\nd;2;1;70;\n"
    )
    axes = {"sex": Axis(column="sex", groups={"1": "m", "2": "f"}),
            "age": Axis(column="age", bands=(18, 30, 65), upper_bound=110)}  # fmt: skip
    survey = read(path, [question()], weight="w", axes=axes)
    assert list(survey.responses["weight"]) == [1.5, 0.5, 1.0]
    assert labels(survey, "age") == ["18-29", "30-64", "65 and over"]
    assert codes(survey) == [1, 2, None]
    assert survey.notices[:2] == [
        "column w: commas are read as decimal points: 1,5 is 1.5",
        "column w: 1 of 4 respondents have weight 0 and are left out",
    ]
    assert "column age: commas are read as decimal points: 29,9 is 29.9" in survey.notices


def test_ages_in_words_are_named_and_can_be_recoded(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4], age=["89 or older", "20", "Refused", "90+"])
    axes = {"age": Axis(column="age", bands=(18, 65), upper_bound=110)}
    line = complaint(tmp_path, table, question(), axes=axes)
    for part in (
        "column age: bands need numbers; no number is '89 or older' (1), 'Refused' (1), '90+' (1)",
        "by survey.recode: {age: {'89 or older': NUMBER}}",
    ):
        assert part in line
    recode = {"age": {"89 OR  older": 89, "90+": 90, "Refused": None}}
    survey = read_csv(tmp_path, table, question(), axes=axes, recode=recode)
    blank = frame(Q=[1] * 6, age=["", ".", "NA", "nan", "na", "30"])
    assert labels(read_csv(tmp_path, blank, question(), axes=axes), "age") == [None] * 5 + ["18-64"]
    assert labels(survey, "age") == ["65 and over", "18-64", None, "65 and over"]


def test_answers_in_words_are_recoded_once_and_before_labels(tmp_path: Path) -> None:
    table = frame(Q=["Agree strongly", "agree", "1", "2", "DK", "never"])
    recode = {"Q": {"agree strongly": 1, "1": 4, "DK": None, "Never": -1, "agree": 2}}
    assert codes(read_csv(tmp_path, table, question(), recode=recode)) == [1, 2, 4, 2, None, None]
    # labels of the codebook go to its codes, which are recoded; texts of the study to its own
    named = question(labels={1: "agree", 2: "never"})
    recode = {"Q": {"Agree strongly": 1, "1": 4, "DK": None}}
    assert codes(read_csv(tmp_path, table, named, recode=recode)) == [1, 4, 4, 2, None, 2]
    line = complaint(tmp_path, frame(Q=["Agree strongly", "odd"]), question(), recode=recode)
    assert "'odd' (1 cell)" in line
    assert "say which code each text is by survey.recode" in line
    assert "Agree strongly" not in line


def test_codes_of_an_axis_are_recoded_too(tmp_path: Path) -> None:
    table = frame(Q=[1, 2, 3, 4], c=["1", "7", "m", "2"])
    recode = {"c": {"7": 2, "M": 1}}
    survey = read_csv(tmp_path, table, question(), axes=axis({"1": "m", "2": "f"}), recode=recode)
    assert labels(survey, "a") == ["m", "f", "m", "f"]


# "Select all" --------------------------------------------------------------------------------

ITEMS = (question("S1", 0, 1), question("S2", 0, 1))


def test_a_blank_item_is_not_ticked_where_the_study_says_so(tmp_path: Path) -> None:
    table = frame(S1=["1", "", "", "9"], S2=["", "1", "", "NA"])
    battery = {"news": SelectAll(questions=("S1", "S2"))}
    survey = read_csv(tmp_path, table, *ITEMS, select_all=battery, recode={"S1": {"9": None}})
    assert codes(survey, "S1") == [1, 0, 0, None]
    assert codes(survey, "S2") == [0, 1, 0, 0]
    assert survey.notices == [
        "survey.select_all.news: 5 blank cells of 2 items are read as not ticked, code 0; "
        "1 of 4 respondents ticked none and count as asked"
    ]
    battery = {"news": SelectAll(questions=("S1", "S2"), all_blank="missing")}
    survey = read_csv(tmp_path, table, *ITEMS, select_all=battery, missing=(9,))
    assert codes(survey, "S1") == [1, 0, None, None]
    assert codes(survey, "S2") == [0, 1, None, 0]


# The whole way -------------------------------------------------------------------------------

BOOK = """
columns: {faith: {9: other}}
questions:
  trust: {topic: trust, text: 'Trust?', block: b, measurement_level: ordinal, scale: [1, 2],
          labels: {1: yes, 2: no}}
  paper: {topic: the paper, text: 'Read it?', block: b, measurement_level: nominal, scale: [0, 1],
          labels: {0: no, 1: yes}}
  radio: {topic: the radio, text: 'Hear it?', block: b, measurement_level: nominal, scale: [0, 1],
          labels: {0: no, 1: yes}}
"""
STUDY = """
study: mine
survey:
  name: Mine
  country: Utopia
  respondent: id
  weight: w
  blank_weight: drop
  recode: {age: {89 or older: 89}}
  select_all: {media: {questions: [paper, radio]}}
  axes:
    land: {column: land, groups: {NO: Norwegian, NA: Namibian}}
    faith: {column: faith, groups: {Christian: [1, 2, 3], Muslim: 5, 9: other}}
    age: {column: age, persona: 'aged {group}', bands: [18, 50], upper_bound: 110}
min_subgroup_n: 5
min_pair_n: 5
evaluation: {n_resamples: 20}
splits:
  train: {role: train, strata: [faith, land x age]}
  ood: {role: test, strata: [land x faith]}
models:
  mode: {backend: baseline, rule: national_mode}
"""


def survey_of(n: int = 240) -> pd.DataFrame:
    rows = range(n)
    return pd.DataFrame(
        {
            "id": rows,
            "w": ["" if i % 60 == 7 else "0" if i % 40 == 3 else "1,25" for i in rows],
            "land": ["NO" if i % 2 else "NA" for i in rows],
            "faith": [(1, 2, 3, 5, 5, 5)[i % 6] for i in rows],
            "age": ["89 or older" if i % 10 == 0 else str(18 + i % 60) for i in rows],
            "trust": [1 + i % 3 // 2 for i in rows],
            "paper": ["1" if i % 3 == 0 else "" for i in rows],
            "radio": ["1" if i % 5 == 0 else "" for i in rows],
        }
    )


def mine(folder: Path, changes: Mapping[str, Any] | None = None) -> Any:
    (folder / "book.yaml").write_text(BOOK)
    raw = parse(STUDY)
    files = {"file": str(folder / "mine.csv.gz"), "codebook": str(folder / "book.yaml")}
    raw["survey"] |= {**files, **(changes or {})}
    survey_of().to_csv(raw["survey"]["file"], index=False, sep=";")
    return load(raw, files=False)


def test_a_survey_with_all_of_this_goes_its_way(tmp_path: Path) -> None:
    made = mine(tmp_path)
    assert check_columns(made, tmp_path) == []
    assert merged_groups(made) == ["axis faith: groups of several codes: 'Christian' (1, 2, 3)"]
    results = run_stages(made, tmp_path)
    summary = io.read_json(results / paths.SUMMARY)
    assert summary["respondents"] == 240 - 4 - 6
    assert set(summary["groups"]["faith"]) == {"Christian", "Muslim", "other"}
    assert set(summary["groups"]["land"]) == {"Norwegian", "Namibian"}
    assert summary["splits"]["ood"]["subgroups"] == 4
    said = "\n".join(summary["notices"])
    for part in (
        "column w: commas are read as decimal points: 1,25 is 1.25",
        "column w: 6 of 240 respondents have weight 0 and are left out",
        "column w: 4 of 240 respondents have no weight and are left out",
        "axis faith: no row is in group 'other' (code 9)",
        "survey.select_all.media: ",
    ):
        assert part in said
    pairs = io.read_table(results / paths.PAIRS.format(split="ood"), tables.PAIRS)
    persona = pairs[pairs["subgroup"] == "land=Namibian & faith=Christian"]["persona"].iloc[0]
    assert "Namibian, Christian" in persona
    prompt = pairs[pairs["question"] == "trust"]["closed_prompt"].iloc[0]
    assert "1 = yes\n2 = no\n" in prompt


def test_what_a_study_names_and_nothing_has_is_told_before_the_file_is_read(tmp_path: Path) -> None:
    for changes, part in (
        ({"recode": {"trsut": {"1": 2}}}, "has no question trsut (is it trust?)"),
        (
            {"select_all": {"media": {"questions": ["paper", "rdio"]}}},
            "has no question rdio (is it radio?)",
        ),
    ):
        made = mine(tmp_path, changes)
        (line,) = check_columns(made, tmp_path)
        assert part in line


def test_a_question_that_all_answer_alike_may_be_an_item_of_a_battery(tmp_path: Path) -> None:
    results = run_stages(mine(tmp_path, {"select_all": {}}), tmp_path, "clean")
    notices = json.loads((results / paths.NOTICES).read_text())["notices"]
    (line,) = [notice for notice in notices if "select_all" in notice]
    assert "every answer is the same to paper (1, 152 without), radio (1, 182 without)" in line
