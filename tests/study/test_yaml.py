"""Study files are read as YAML 1.2, with limits; what Snakemake misreads does not matter."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.study.parts import ROOT
from valuestrata.errors import InputError
from valuestrata.study.load import load, load_files, merge_files
from valuestrata.study.yaml import MAX_DEPTH, merge, parse, read_yaml, reload, resolve


def test_only_numbers_booleans_and_null_are_other_than_text() -> None:
    texts = (
        "yes no on off NO No y n Y True TRUE False NULL Null 01 007 0o17 0x1F 0b1 1_000 "
        "1:30 12:30:45 2020-01-01 2020-01-01T10:00:00Z 1e 1e+ e5 . -- + 1.2.3 = Infinity nan inf"
    )
    for text in texts.split():
        for value in (parse(f"a: {text}")["a"], parse(f"[{text}]")[0], resolve(text)):
            assert value == text, text
            assert type(value) is str
    for text, value in (
        ("1e-6", 1e-6),
        ("1E6", 1e6),
        ("5E-4", 5e-4),
        ("-1.5e+3", -1500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
    ):
        read = parse(f"a: {text}")["a"]
        assert (read, type(read)) == (value, type(value)), text
    for text in ("1", "true", "1e-6", "~"):
        assert parse(f"a: '{text}'") == {"a": text}
    assert parse("") is None
    assert parse("# nothing\n") is None


def test_keys_are_text_or_whole_numbers() -> None:
    keys = parse("{1: a, NO: b, true: c, 01: d, 2020-01-01: e, 1.5: f, ~: g, -2: h, '3': i}")
    assert list(keys) == [1, "NO", "true", "01", "2020-01-01", "1.5", "~", -2, "3"]


def test_a_merge_key_copies_and_is_overridden() -> None:
    text = "a: &a {x: 1, y: {z: 2}}\nb: &b {<<: *a, x: 3}\nc: {<<: [*b, *a], w: 4}\n"
    assert parse(text)["b"] == {"x": 3, "y": {"z": 2}}
    assert parse(text)["c"] == {"x": 3, "y": {"z": 2}, "w": 4}


def test_a_file_that_is_no_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    deep = f"a: {'[' * 60}{']' * 60}\n"
    bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 8)
    )
    chain = "a: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))
    for content, expected in (
        (b"a: [1, 2\nb: 3\n", "line 2: not valid YAML"),
        (b"a: 1\n  b: 2\n", "line 2: not valid YAML"),
        (b"\xff\xfea", "not valid YAML"),
        (b"a: \x00", "not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML"),
        (b"\n\na: !!python/object:os.system {}\n", "line 3: not valid YAML"),
        (b"a: !!timestamp 2020-01-01\n", "line 1: not valid YAML"),
        (b"a: !!int many\n", "'many' is not of the type int"),
        (b"? [1, 2]\n: 3\n", "line 1: not valid YAML: a key must be text"),
        (b"a: 1\nb: 2\na: 3\n", "line 3: not valid YAML: duplicate key 'a', first in line 1"),
        (b"x:\n  1: a\n  '1': b\n", "line 3: not valid YAML: duplicate key '1'"),
        (b"{a: 1, a: 2}", "duplicate key 'a'"),
        (b"a: &a [*a]\n", "an alias stands inside"),
        (deep.encode(), f"nested deeper than {MAX_DEPTH} levels"),
        (b"[" * 100_000, "not valid YAML"),
        (chain.encode(), f"nested deeper than {MAX_DEPTH} levels"),
        (bomb.encode(), "values with aliases written out"),
        (b"a: x\n" + b"#" * 5_000_001, "larger than 5 MB"),
    ):
        path.write_bytes(content)
        try:
            line = f"no error: {str(read_yaml(path))[:99]}"
        except InputError as error:
            line = str(error)
        assert line.startswith(str(path)), expected
        assert expected in line
        assert "\n" not in line
        assert len(line) < len(str(path)) + 200
    for place, expected in ((tmp_path / "no.yaml", "no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(InputError, match=expected):
            read_yaml(place)


def test_a_json_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [1, 1e-6, None, True, "no", "ü\n"]}, indent=2))
    assert read_yaml(path) == {"a": [1, 1e-6, None, True, "no", "ü\n"]}


def test_files_are_merged_key_by_key() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1, "g": {1: "male"}}
    overlay = {"a": {"y": [3]}, "b": {"c": 2}, "g": {"1": "man", 2: "woman"}, "d": None}
    merged = merge(base, overlay)
    assert merged == {
        "a": {"x": 1, "y": [3]}, "b": {"c": 2}, "g": {1: "man", 2: "woman"}, "d": None,
    }  # fmt: skip
    assert base["a"] == {"x": 1, "y": [1, 2]}


def test_a_plus_adds_to_a_list_and_an_equals_sign_replaces_a_mapping() -> None:
    base = {"a": {"x": [1], "m": {"k": 1}}, "l": [1, 2], "text": "all"}
    for overlay, expected in (
        ({"l+": [3]}, {**base, "l": [1, 2, 3]}),
        ({"a": {"x+": [2]}}, {**base, "a": {"x": [1, 2], "m": {"k": 1}}}),
        ({"l+": [3], "l": [9]}, {**base, "l": [9, 3]}),  # whatever comes first in the file
        ({"a": {"m=": {"n": 2}}}, {**base, "a": {"x": [1], "m": {"n": 2}}}),
        ({"a=": {"y+": [1]}}, {**base, "a": {"y+": [1]}}),
        ({"l=": [7]}, {**base, "l": [7]}),
        # what is no list, or is not there, is for the part to judge
        ({"text+": ["b"]}, {**base, "text+": ["b"]}),
        ({"new+": ["b"]}, {**base, "new+": ["b"]}),
        ({"l+": "no list"}, {**base, "l+": "no list"}),
    ):
        assert merge(base, overlay) == expected, overlay
    assert base["l"] == [1, 2]
    twice = merge(merge({}, {"new+": [1]}), {"new+": [2]})
    assert twice == {"new+": [1, 2]}
    assert merge(twice, {"new": [3]}) == {"new": [3]}
    assert merge(merge(twice, {"new": [3]}), {"new+": [4]}) == {"new": [3, 4]}


def test_words_of_the_survey_file_may_end_in_a_mark() -> None:
    ages = {"groups": {"65": "65", "65+": "older", "a=": "b"}}
    assert merge(ages, {"groups": {"65+": ["6", "7"], "x=": "y"}})["groups"] == {
        "65": "65", "65+": ["6", "7"], "a=": "b", "x=": "y",
    }  # fmt: skip


def test_overlays_lie_over_the_embedded_study_or_over_the_one_given(tmp_path: Path) -> None:
    overlay, bad = tmp_path / "mine.yaml", tmp_path / "bad.yaml"
    overlay.write_text("title: Mine\nrecipes: {sft: {epochs: 2}}\n")
    assert load_files([overlay]).name == "demo"
    mine = load_files([ROOT / "tests/fixtures/mini.yaml", overlay])
    assert (mine.name, mine.title, mine.recipes["sft"].epochs) == ("mini", "Mine", 2)
    assert load_files([ROOT / "config.yaml"]) == load(read_yaml(ROOT / "config.yaml"))
    bad.write_text("- a\n")
    with pytest.raises(InputError, match=r"bad\.yaml: not a study"):
        load_files([bad])
    bad.write_text("")
    assert merge_files([bad]) == read_yaml(ROOT / "config.yaml")


def as_snakemake(files: list[Path], config: dict[str, Any]) -> dict[str, Any]:
    """What snakemake hands to a Snakefile."""
    from snakemake.common.configfile import load_configfile
    from snakemake.utils import update_config

    merged: dict[str, Any] = {}
    for path in files:
        update_config(merged, load_configfile(path))
    update_config(merged, config)
    return merged


def test_what_snakemake_misreads_is_read_anew_and_its_config_option_is_laid_over(
    tmp_path: Path,
) -> None:
    from snakemake.cli import parse_config

    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(
        "study: s\nrate: 1e-6\nlabel: NO\nwhen: 2020-01-01\ntime: 1:30\nkeep: yes\nempty: {}\n"
        "groups: {1: male, NO: Norwegian, 01: x}\nlist: [no, 1e-6]\nmore: {a: {b: off}}\n"
    )
    second.write_text("more: {a: {c: on}, d: ~}\nlabel: no\n")
    ours = merge(read_yaml(first), read_yaml(second))
    files = [first, second]
    assert reload(as_snakemake(files, {}), files) == ours
    assert ours["groups"] == {1: "male", "NO": "Norwegian", "01": "x"}
    options = parse_config(
        ["title=no", "nn=5", "rate=1e-3", "more={a: {b: 5, c: no}}", "new={x: [1, true, 1e-6, '']}",
         "groups={1: man}"]
    )  # fmt: skip
    laid = reload(as_snakemake(files, options), files)
    expected = merge(
        ours,
        {
            "title": "no",
            "nn": 5,
            "rate": 1e-3,
            "more": {"a": {"b": 5, "c": "no"}},
            "new": {"x": [1, True, 1e-6, None]},
            "groups": {1: "man"},
        },
    )
    assert laid == expected
    assert list(laid["groups"]) == [1, "NO", "01"]


def test_marks_mean_the_same_by_way_of_snakemake(tmp_path: Path) -> None:
    from snakemake.cli import parse_config

    overlay = tmp_path / "mine.yaml"
    overlay.write_text(
        "survey: {exclude+: [Q1], missing+: [99]}\nsplits: {train: {strata+: [age x sex]}}\n"
        "prompt_variants=: {a: {options: reversed}}\nmodels: {toy-llama: null}\n"
    )
    files = [ROOT / "config.yaml", overlay]
    assert reload(as_snakemake(files, {}), files) == merge_files(files)
    options = parse_config(['survey={"exclude+": [Q4]}', 'models={"toy-qwen": null}'])
    raw = reload(as_snakemake(files, options), files)
    assert raw["survey"]["exclude"][-2:] == ["Q1", "Q4"]
    assert raw["survey"]["missing+"] == [99]
    assert [name for name, model in raw["models"].items() if model is None] == [
        "toy-llama",
        "toy-qwen",
    ]
    # a module's config comes with no files
    outer = {"study": "s", "survey": {"exclude": ["Q1"], "exclude+": ["Q2"]}}
    assert reload(outer, [])["survey"] == {"exclude": ["Q1", "Q2"]}


def test_a_study_is_the_same_by_way_of_snakemake() -> None:
    for names in (
        ["studies/wvs-sg.yaml", "studies/overlays/baselines.yaml"],
        ["config.yaml"],
        ["tests/fixtures/mini.yaml"],
        [
            "studies/wvs-sg.yaml",
            "studies/overlays/wvs7-recode.yaml",
            "studies/overlays/closed.yaml",
        ],
    ):
        files = [ROOT / name for name in names]
        config = reload(as_snakemake(files, {}), files)
        assert config == merge_files(files)
    assert reload({"study": "s"}, []) == {"study": "s"}


def test_a_workflow_around_this_one_gives_the_config() -> None:
    outer = {"study": "mine", "survey": {"name": "1990", "simulate": {"respondents": 200}}}
    assert reload(outer, [ROOT / "studies/overlays/closed.yaml"]) == outer


def test_yaml_1_1_would_misread_what_is_tried_above() -> None:
    misread = yaml.safe_load("[yes, NO, 01, 1:30, 1_000]")
    assert not any(isinstance(value, str) for value in misread)
    assert isinstance(yaml.safe_load("1e-6"), str)
