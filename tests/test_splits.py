"""Splits of every kind: what is tested was not trained on."""

import contextlib
import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.graph import ROOT
from tests.world import BOOK, read_pairs, run_stage, run_stages
from valuestrata import io, paths
from valuestrata.errors import InputError
from valuestrata.stages import pairs as pairs_stage
from valuestrata.study.load import load
from valuestrata.study.splits import Fold, Selection
from valuestrata.study.study import Study, part_name
from valuestrata.study.yaml import read_mapping
from valuestrata.survey.folds import in_fold

RAW = read_mapping(ROOT / "tests/fixtures/mini.yaml")
RAW["survey"]["codebook"] = str(BOOK)
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


def study_of(splits: dict[str, Any]) -> Study:
    raw = copy.deepcopy(RAW)
    raw["splits"] = splits
    raw["generation"]["splits"] = ["test"]
    if "train" not in splits:
        raw["recipes"]["sft"]["split"] = "test"
        del raw["judges"]
        raw["generation"]["splits"] = ["other"]
    return load(raw, files=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splits")
    run_stages(study_of(KINDS["compositional"]), folder, "simulate", "clean")
    return folder


def pairs_of(study: Study, split: str, folder: Path) -> pd.DataFrame:
    io.write_text(study.to_json(), folder / study.results / paths.STUDY)
    with contextlib.chdir(folder):
        assert run_stage(study, "tally", split=study.parts.get(split, (split,))[0]) == 0
        assert run_stage(study, "pairs", split=split) == 0
    return read_pairs(folder / study.results, split)


@pytest.mark.parametrize("kind", KINDS)
def test_no_test_pair_is_trained_on(kind: str, folder: Path) -> None:
    study = study_of(KINDS[kind])
    pairs = {name: pairs_of(study, name, folder) for name in study.splits}
    units = {
        name: {
            (frozenset(re.split(" & ", s)), q) for s, q in zip(p.subgroup, p.question, strict=True)
        }
        for name, p in pairs.items()
    }
    assert all(units.values())
    for name in units:
        if KINDS[kind][name]["role"] == "test":
            assert not units[name] & units["train"]


@pytest.mark.parametrize("unit", UNITS)
def test_the_folds_of_a_k_fold_split_cover_it_and_none_is_tuned_on(unit: str, folder: Path) -> None:
    study = study_of(kfold(unit))
    whole = keys(pairs_of(study, "test", folder))
    tested: list[tuple[str, str]] = []
    for i in range(3):
        test, train = (
            keys(pairs_of(study, part_name("test", role, i), folder)) for role in ("test", "train")
        )
        assert test
        assert not test & train
        assert test | train == whole
        tested += test
        if unit != "pair":
            place = UNITS.index(unit) - 1  # of the unit in (question, subgroup)
            first, second = ({(q, s)[place] for s, q in part} for part in (test, train))
            assert not first & second
    assert len(tested) == len(whole)
    assert set(tested) == whole


def test_each_fold_is_tuned_on_the_others_and_answers_for_itself() -> None:
    study = study_of(kfold("pair"))
    assert study.fine_tunes("tiny") == ["sft-1", "sft-2", "sft-3"]
    assert study.variants("tiny") == ["base", "sft"]
    assert study.tuned_recipes["sft-2"].split == "test-train-2"
    assert study.parts["test-train-2"][1].disjoint(study.parts["test-test-2"][1])
    assert ("tiny", "sft", "test") in study.runs()
    assert ("tiny", "base", "other") in study.runs()
    # its models could answer other splits, and are not asked
    assert ("tiny", "sft", "other") not in study.runs()
    # only a split that a recipe is tuned on is divided
    parts = [run["split"] for run in pairs_stage.runs(study)]
    assert parts == ["test", "other", *study.parts]
    raw = copy.deepcopy(RAW)
    raw["splits"]["ood"]["folds"] = {"of": 3}
    raw["generation"]["splits"] = ["train"]
    undivided = load(raw, files=False)
    assert undivided.parts
    assert [run["split"] for run in pairs_stage.runs(undivided)] == ["train", "ood"]


def test_a_fold_without_pairs_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = copy.deepcopy(KINDS["held-out pairs, by question"])
    for split in splits.values():
        split["fold"]["of"] = 97
    splits["train"]["fold"]["without"] = splits["test"]["fold"]["only"] = [7]
    study = study_of(splits)
    with pytest.raises(AssertionError):
        pairs_of(study, "test", folder)
    assert "pairs is in the parts that its fold keeps" in capsys.readouterr().err


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


def fold_of(of: int, unit: Any = "pair", seed: int = 1, **parts: tuple[int, ...]) -> Fold:
    return Fold(of=of, unit=unit, seed=seed, **parts)


def test_a_pair_stays_in_its_fold_whatever_else_there_is() -> None:
    fold = fold_of(5, only=(2,))
    subgroups = [f"sex={s} & age={a}" for s in ("male", "female") for a in range(20)]
    questions = [f"Q{i}" for i in range(30)]
    kept = in_fold(fold, subgroups, questions)
    assert 0.1 < kept.mean() < 0.3
    fewer = in_fold(fold, subgroups[::-3], questions[::-2])
    np.testing.assert_array_equal(fewer, kept[::-3, ::-2])
    turned = [f"age={a} & sex={s}" for s in ("male", "female") for a in range(20)]
    np.testing.assert_array_equal(in_fold(fold, turned, questions), kept)
    assert (in_fold(fold_of(5, seed=2, only=(2,)), subgroups, questions) != kept).any()
    parts = [in_fold(fold_of(5, only=(i,)), subgroups, questions) for i in range(5)]
    assert (np.sum(parts, axis=0) == 1).all()


def test_folds_are_apart_only_where_they_divide_alike() -> None:
    for first, second, apart in (
        (fold_of(5, only=(0,)), fold_of(5, without=(0,)), True),
        (fold_of(5, only=(0,)), fold_of(5, only=(1, 2)), True),
        (fold_of(5, only=(0, 1)), fold_of(5, without=(0,)), False),
        (fold_of(5, without=(0,)), fold_of(5, without=(1,)), False),
        (fold_of(2, without=(0,)), fold_of(2, without=(1,)), True),
        (fold_of(5, only=(0,)), fold_of(4, only=(1,)), False),
        (fold_of(5, only=(0,)), fold_of(5, seed=2, only=(1,)), False),
        (fold_of(5, only=(0,)), fold_of(5, "question", only=(1,)), False),
        (fold_of(5, only=(0,)), None, False),
    ):
        assert first.disjoint(second) is apart
        assert second is None or second.disjoint(first) is apart


def test_selections_keep_their_groups_and_questions(folder: Path) -> None:
    study = study_of(KINDS["a held-out group"])
    assert set(pairs_of(study, "test", folder)["subgroup"]) == {"religion=Muslim"}
    study = study_of(KINDS["held-out questions"])
    assert set(pairs_of(study, "test", folder)["question"]) == {"Q1"}
    assert "Q1" not in set(pairs_of(study, "train", folder)["question"])


def test_splits_that_share_a_pair_are_refused() -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
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
    ]
    for train, test in cases:
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


def test_selections_are_apart_only_where_they_must_be() -> None:
    for first, second, apart in (
        (Selection(only=("a",)), Selection(only=("b",)), True),
        (Selection(only=("a",)), Selection(without=("a",)), True),
        (Selection(only=("a", "b")), Selection(without=("a",)), False),
        (Selection(without=("a",)), Selection(without=("b",)), False),
        (Selection(), Selection(only=("a",)), False),
    ):
        assert first.disjoint(second) is second.disjoint(first) is apart
