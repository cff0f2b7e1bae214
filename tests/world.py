"""A small cross-national file in the format of WVS wave 7, and the survey stages on it."""

import contextlib
import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat

from tests.graph import ROOT
from valuestrata import io, paths, tables
from valuestrata.__main__ import main
from valuestrata.demo import simulate
from valuestrata.stages.job import stage_module
from valuestrata.study.load import load
from valuestrata.study.study import Study
from valuestrata.study.yaml import merge, read_mapping
from valuestrata.survey import codebook

BOOK = ROOT / "studies/codebooks/wvs7.yaml"
ANY = read_mapping(ROOT / "studies/wvs-any.yaml")
QUESTIONS = ["Q1", "Q57", "Q164", "Q171", "Q182"]
SMALL = {
    "survey": {"codebook": str(BOOK), "questions": QUESTIONS, "exclude": []},
    "min_subgroup_n": 20,
    "min_pair_n": 20,
    "evaluation": {"n_resamples": 20},
}
EACH = 420
ETHNIC: dict[tuple[int, str], dict[int, int]] = {
    (702, "SGP"): {},
    (458, "MYS"): {702004: 458012, 702006: 458004, 702003: 458014, 702999: -2},
    (276, "DEU"): dict.fromkeys((702004, 702006, 702003, 702999), -4),
}
"""Countries, and the ethnic groups that Singapore's become there; Germany was not asked."""
SURVEY_STAGES = ("clean", "tally", "pairs", "labels", "diversity", "ceiling", "summary")


@cache
def world() -> pd.DataFrame:
    """Respondents of three countries, mixed."""
    book = codebook.load(BOOK)
    items = pd.DataFrame([book[name] for name in QUESTIONS])
    parts = []
    for seed, ((number, alpha), ethnic) in enumerate(ETHNIC.items()):
        part = simulate.simulate(items, EACH, seed)
        part = part.assign(B_COUNTRY=number, B_COUNTRY_ALPHA=alpha)
        part["D_INTERVIEW"] = number * 1_000_000 + part["D_INTERVIEW"] % 1_000_000
        part["Q290"] = part["Q290"].replace(ethnic)
        parts.append(part)
    return pd.concat(parts).sample(frac=1, random_state=1)


def write_csv(folder: Path, frame: pd.DataFrame | None = None) -> Path:
    """The file as the WVS hands it out."""
    path = folder / "wvs7.csv"
    simulate.write(world() if frame is None else frame, path)
    return path


def write_sav(folder: Path, labels: Mapping[str, Mapping[float, str]], **more: Any) -> Path:
    """The file as SPSS writes it, with value labels."""
    path = folder / "wvs7.sav"
    pyreadstat.write_sav(world(), str(path), variable_value_labels=dict(labels), **more)
    return path


def study(overlay: Mapping[str, Any], file: Path | str = "x.csv") -> Study:
    """studies/wvs-any.yaml with few questions, and an overlay as Snakemake lays it."""
    raw = merge(merge(copy.deepcopy(ANY), SMALL), {"survey": {"file": str(file)}})
    return load(merge(raw, overlay), files=False)


def run_stages(study: Study, folder: Path, *stages: str, only: str = "") -> Path:
    """Run stages of a study in a folder by the command line; returns the results' folder.

    `only` leaves out the runs of other splits.
    """
    results = folder / study.results
    io.write_text(study.to_json(), results / paths.STUDY)
    with contextlib.chdir(folder):
        for stage in stages or SURVEY_STAGES:
            for run in stage_module(stage).runs(study):
                if not only or run.get("split", only) == only:
                    assert run_stage(study, stage, **run) == 0
    return results


def run_stage(study: Study, stage: str, **run: str) -> int:
    """Run one stage of a study, in whose folder we are; returns the exit code."""
    options = [part for key, value in run.items() for part in (f"--{key}", value)]
    return main([stage, "--study", f"{study.results}/{paths.STUDY}", *options])


def read_pairs(results: Path, split: str) -> pd.DataFrame:
    """The pairs of a split."""
    return io.read_table(results / paths.PAIRS.format(split=split), tables.PAIRS)
