"""Splits of every kind: what is tested was not trained on."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.graph import ROOT
from valuestrata import config, io, specs, validate
from valuestrata.__main__ import main
from valuestrata.errors import InputError
from valuestrata.specs import Fold, Selection
from valuestrata.survey import folds

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
    **{
        f"held-out pairs, by {unit}": {
            "train": {
                "role": "train",
                "strata": [*SINGLE, *CROSSED],
                "fold": {"of": 3, "unit": unit, "without": [0]},
            },
            "test": {
                "role": "test",
                "strata": [*SINGLE, "religion x age_group"],
                "fold": {"of": 3, "unit": unit, "only": [0]},
            },
        }
        for unit in ("pair", "question", "subgroup")
    },
}
UNITS = ("pair", "question", "subgroup")


def study_of(splits: dict[str, Any]) -> config.Study:
    raw = copy.deepcopy(RAW)
    raw["splits"] = splits
    if "train" not in splits:
        raw["recipes"]["sft"]["split"] = "test"
        del raw["judges"]
        raw["generation"]["splits"] = ["other"]
        return validate.load(raw, files=False)
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
    outputs = [f"--{name}={folder / name}" for name in ("responses", "questions", "groups")]
    read = ["--survey", survey, "--codebook", book]
    assert main(["clean", "--spec", said, *read, *outputs]) == 0
    return folder


def pairs_of(study: config.Study, split: str, tables: Path, folder: Path) -> pd.DataFrame:
    given = [f"--{name}={tables / name}" for name in ("responses", "questions", "groups")]
    whole = study.parts.get(split, (split,))[0]
    strata = [str(folder / f"{specs.stratum_id(s)}.parquet") for s in study.splits[whole]]
    said = specs.to_json(config.spec_tally(study, whole))
    assert main(["tally", "--spec", said, *given, "--output", *strata]) == 0
    said = specs.to_json(config.spec_pairs(study, split))
    output = str(folder / f"{split}.pairs")
    assert (
        main(["pairs", "--spec", said, *given[1:], "--tallies", *strata, "--output", output]) == 0
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


@pytest.mark.parametrize("unit", UNITS)
def test_the_folds_of_a_k_fold_split_cover_it_and_none_is_tuned_on(
    unit: str, tables: Path, tmp_path: Path
) -> None:
    study = study_of(kfold(unit))
    whole = keys(pairs_of(study, "test", tables, tmp_path))
    tested: list[tuple[str, str]] = []
    for i in range(3):
        held, rest = (
            keys(pairs_of(study, config.part_name("test", role, i), tables, tmp_path))
            for role in ("test", "train")
        )
        assert held
        assert not held & rest
        assert held | rest == whole
        tested += held
        if unit != "pair":
            place = UNITS.index(unit) - 1  # of the unit in (question, subgroup)
            of = [{(q, s)[place] for s, q in some} for some in (held, rest)]
            assert not of[0] & of[1]
    assert len(tested) == len(whole)
    assert set(tested) == whole


def test_each_fold_is_tuned_on_the_others_and_answers_for_itself() -> None:
    study = study_of(kfold("pair"))
    assert study.tuned("tiny") == ["sft-1", "sft-2", "sft-3"]
    assert study.variants("tiny") == ["base", "sft"]
    assert study.recipes["sft-2"].split == "test-train-2"
    assert study.parts["test-train-2"][1].disjoint(study.parts["test-test-2"][1])
    assert ("tiny", "sft", "test") in study.runs()
    assert ("tiny", "base", "other") in study.runs()
    # its models know other splits no more than they should, but have no say there
    assert ("tiny", "sft", "other") not in study.runs()


def test_a_fold_that_nothing_falls_in_is_one_line(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = copy.deepcopy(KINDS["held-out pairs, by question"])
    for split in splits.values():
        split["fold"]["of"] = 97
    splits["train"]["fold"]["without"] = splits["test"]["fold"]["only"] = [7]
    study = study_of(splits)
    with pytest.raises(AssertionError):
        pairs_of(study, "test", tables, tmp_path)
    said = capsys.readouterr().err
    assert "pairs falls in the parts that its fold keeps" in said
    assert not (tmp_path / "test.pairs").exists()


def kfold(unit: str) -> dict[str, Any]:
    return {
        "test": {
            "role": "test",
            "strata": [*SINGLE, *CROSSED],
            "folds": {"of": 3, "unit": unit, "seed": 3},
        },
        "other": {"role": "test", "strata": ["sex x age_group"]},
    }


def keys(pairs: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(pairs["subgroup"], pairs["question"], strict=True))


def test_a_pair_stays_in_its_fold_whatever_else_there_is() -> None:
    fold = Fold(5, "pair", 1, only=(2,))
    people = [f"sex={s} & age={a}" for s in ("male", "female") for a in range(20)]
    asked = [f"Q{i}" for i in range(30)]
    kept = folds.kept(fold, people, asked)
    assert 0.1 < kept.mean() < 0.3
    some = folds.kept(fold, people[::-3], asked[::-2])
    np.testing.assert_array_equal(some, kept[::-3, ::-2])
    turned = [f"age={a} & sex={s}" for s in ("male", "female") for a in range(20)]
    np.testing.assert_array_equal(folds.kept(fold, turned, asked), kept)
    assert (folds.kept(replace(fold, seed=2), people, asked) != kept).any()
    parts = [folds.kept(replace(fold, only=(i,)), people, asked) for i in range(5)]
    assert (np.sum(parts, axis=0) == 1).all()


@pytest.mark.parametrize(
    ("one", "two", "apart"),
    [
        (Fold(5, "pair", 1, only=(0,)), Fold(5, "pair", 1, without=(0,)), True),
        (Fold(5, "pair", 1, only=(0,)), Fold(5, "pair", 1, only=(1, 2)), True),
        (Fold(5, "pair", 1, only=(0, 1)), Fold(5, "pair", 1, without=(0,)), False),
        (Fold(5, "pair", 1, without=(0,)), Fold(5, "pair", 1, without=(1,)), False),
        (Fold(2, "pair", 1, without=(0,)), Fold(2, "pair", 1, without=(1,)), True),
        (Fold(5, "pair", 1, only=(0,)), Fold(4, "pair", 1, only=(1,)), False),
        (Fold(5, "pair", 1, only=(0,)), Fold(5, "pair", 2, only=(1,)), False),
        (Fold(5, "pair", 1, only=(0,)), Fold(5, "question", 1, only=(1,)), False),
        (Fold(5, "pair", 1, only=(0,)), None, False),
    ],
)
def test_folds_are_apart_only_where_they_cut_alike(
    one: Fold, two: Fold | None, apart: bool
) -> None:
    assert one.disjoint(two) is apart
    assert two is None or two.disjoint(one) is apart


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
        ({}, {"fold": {"of": 5, "only": [0]}}),
        ({"fold": {"of": 5, "without": [0]}}, {"fold": {"of": 5, "only": [0, 1]}}),
        ({"fold": {"of": 5, "without": [0]}}, {"fold": {"of": 4, "only": [0]}}),
        ({"fold": {"of": 5, "without": [0]}}, {"fold": {"of": 5, "unit": "question", "only": [0]}}),
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
