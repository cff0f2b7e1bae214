"""Splits of every kind: what is tested was not trained on."""

import copy
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.graph import ROOT
from valuestrata import config, io, specs, validate
from valuestrata.__main__ import main
from valuestrata.errors import InputError
from valuestrata.specs import Selection

RAW = validate.read_yaml(ROOT / "tests/fixtures/mini.yaml")
SINGLE = ["sex", "age_group", "religion"]
CROSSED = ["age_group x religion"]

KINDS: dict[str, dict[str, Any]] = {
    "compositional": {
        "train": {"role": "train", "strata": SINGLE},
        "test": {"role": "test", "strata": CROSSED},
    },
    "held-out questions": {
        "train": {"role": "train", "strata": SINGLE, "questions": {"without": ["Q1"]}},
        "test": {"role": "test", "strata": SINGLE, "questions": {"only": ["Q1"]}},
    },
    "seen and unseen questions and intersections": {
        "train": {"role": "train", "strata": SINGLE, "questions": {"without": ["Q1"]}},
        "test": {"role": "test", "strata": SINGLE, "questions": {"only": ["Q1"]}},
        "new": {"role": "test", "strata": CROSSED, "questions": {"without": ["Q1"]}},
        "both": {"role": "test", "strata": CROSSED, "questions": {"only": ["Q1"]}},
    },
    "a held-out group": {
        "train": {
            "role": "train",
            "strata": ["religion"],
            "groups": {"religion": {"without": ["Muslim"]}},
        },
        "test": {
            "role": "test",
            "strata": ["religion"],
            "groups": {"religion": {"only": ["Muslim"]}},
        },
    },
}


def study_of(splits: dict[str, Any]) -> config.Study:
    raw = copy.deepcopy(RAW)
    raw["splits"] = splits
    raw["generation"]["splits"] = ["test"]
    return validate.load(raw, files=False)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splits")
    study = study_of(KINDS["compositional"])
    book = str(ROOT / RAW["survey"]["codebook"])
    said = specs.to_json(config.spec_simulate(study))
    survey = str(folder / "survey.csv")
    assert main(["simulate", "--spec", said, "--codebook", book, "--output", survey]) == 0
    said = specs.to_json(config.spec_clean(study))
    outputs = ["--responses", str(folder / "responses"), "--questions", str(folder / "questions")]
    read = ["--survey", survey, "--codebook", book]
    assert main(["clean", "--spec", said, *read, *outputs]) == 0
    return folder


def pairs_of(study: config.Study, split: str, tables: Path, folder: Path) -> pd.DataFrame:
    given = ["--responses", str(tables / "responses"), "--questions", str(tables / "questions")]
    strata = [str(folder / f"{specs.stratum_id(s)}.parquet") for s in study.splits[split]]
    said = specs.to_json(config.spec_tally(study, split))
    assert main(["tally", "--spec", said, *given, "--output", *strata]) == 0
    said = specs.to_json(config.spec_pairs(study, split))
    output = str(folder / f"{split}.pairs")
    assert (
        main(["pairs", "--spec", said, *given[2:], "--tallies", *strata, "--output", output]) == 0
    )
    return io.read_table(output, "pairs")


@pytest.mark.parametrize("kind", KINDS)
def test_no_test_pair_is_trained_on(kind: str, tables: Path, tmp_path: Path) -> None:
    study = study_of(KINDS[kind])
    pairs = {name: pairs_of(study, name, tables, tmp_path) for name in study.splits}
    held = {
        name: {
            (frozenset(re.split(" & ", s)), q) for s, q in zip(p.subgroup, p.question, strict=True)
        }
        for name, p in pairs.items()
    }
    assert all(held.values())
    for name in held:
        if KINDS[kind][name]["role"] == "test":
            assert not held[name] & held["train"]


def test_selections_keep_the_groups_and_questions_that_they_say(
    tables: Path, tmp_path: Path
) -> None:
    study = study_of(KINDS["a held-out group"])
    assert set(pairs_of(study, "test", tables, tmp_path)["subgroup"]) == {"religion=Muslim"}
    study = study_of(KINDS["held-out questions"])
    assert set(pairs_of(study, "test", tables, tmp_path)["question"]) == {"Q1"}
    assert "Q1" not in set(pairs_of(study, "train", tables, tmp_path)["question"])


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ({}, {}),
        ({"questions": {"without": ["Q1"]}}, {"questions": {"only": ["Q1", "Q57"]}}),
        ({"questions": {"without": ["Q1"]}}, {"questions": {"without": ["Q57"]}}),
        ({}, {"questions": {"only": ["Q1"]}}),
        # sex is no axis of the stratum, so it keeps nothing apart
        ({"groups": {"sex": {"only": ["male"]}}}, {"groups": {"sex": {"only": ["female"]}}}),
    ],
)
def test_splits_that_share_a_pair_are_refused(train: dict[str, Any], test: dict[str, Any]) -> None:
    splits = {
        "train": {"role": "train", "strata": ["religion"], **train},
        "test": {"role": "test", "strata": ["religion"], **test},
    }
    with pytest.raises(InputError, match=r"config: splits\.test: .*trained on"):
        study_of(splits)


def test_a_group_that_the_axis_lacks_is_one_line() -> None:
    split = {"role": "test", "strata": ["sex"], "groups": {"sex": {"only": ["martian"]}}}
    with pytest.raises(InputError, match=r"splits\.test\.groups\.sex: no group 'martian'"):
        study_of({"test": split, "train": {"role": "train", "strata": ["religion"]}})


@pytest.mark.parametrize(
    ("one", "two", "apart"),
    [
        (Selection(only=("a",)), Selection(only=("b",)), True),
        (Selection(only=("a",)), Selection(without=("a",)), True),
        (Selection(only=("a", "b")), Selection(without=("a",)), False),
        (Selection(without=("a",)), Selection(without=("b",)), False),
        (Selection(), Selection(only=("a",)), False),
    ],
)
def test_selections_are_apart_only_where_they_must_be(
    one: Selection, two: Selection, apart: bool
) -> None:
    assert one.disjoint(two) is two.disjoint(one) is apart
