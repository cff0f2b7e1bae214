"""A small cross-national file in the format of WVS wave 7, simulated, and the survey side on it."""

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat

from tests.graph import ROOT
from valuestrata import config, specs, validate
from valuestrata.__main__ import main
from valuestrata.config import Study
from valuestrata.demo import simulate
from valuestrata.survey import codebook

BOOK = ROOT / "studies/codebooks/wvs7.yaml"
ANY = validate.read_yaml(ROOT / "studies/wvs-any.yaml")
QUESTIONS = ["Q1", "Q57", "Q164", "Q171", "Q182"]
EACH = 420
ETHNIC: dict[tuple[int, str], dict[int, int]] = {
    (702, "SGP"): {},
    (458, "MYS"): {702004: 458012, 702006: 458004, 702003: 458014, 702999: -2},
    (276, "DEU"): dict.fromkeys((702004, 702006, 702003, 702999), -4),
}
"""Countries, and the ethnic groups that Singapore's become there; Germany was not asked."""


@cache
def world() -> pd.DataFrame:
    """Respondents of three countries, mixed."""
    book = codebook.load(BOOK)
    items = pd.DataFrame([book[name] for name in QUESTIONS])
    parts = []
    for seed, ((number, alpha), ethnic) in enumerate(ETHNIC.items()):
        own = simulate.simulate(items, EACH, seed)
        own = own.assign(B_COUNTRY=number, B_COUNTRY_ALPHA=alpha)
        own["D_INTERVIEW"] = number * 1_000_000 + own["D_INTERVIEW"] % 1_000_000
        own["Q290"] = own["Q290"].replace(ethnic)
        parts.append(own)
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
    raw = copy.deepcopy(ANY)
    small = {
        "survey": {"file": str(file), "questions": QUESTIONS, "exclude": []},
        "minimum": {"respondents": 20, "answers": 20},
        "evaluation": {"resamples": 20},
    }
    for change in (small, overlay):
        _lay(raw, copy.deepcopy(change))
    return validate.load(raw, files=False)


def _lay(raw: dict[str, Any], change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, Mapping) and isinstance(raw.get(key), dict):
            _lay(raw[key], value)
        else:
            raw[key] = value


def survey_side(found: Study, survey: Path, folder: Path) -> Path:
    """Run the stages up to summary.json, in the graph's order; returns where they wrote."""
    made = {name: str(folder / name) for name in ("responses", "questions", "groups")}
    tables = [part for name, path in made.items() for part in (f"--{name}", path)]
    book = str(found.config["survey"]["codebook"])
    stage("clean", config.spec_clean(found), "--survey", str(survey), "--codebook",
          str(ROOT / book), *tables)  # fmt: skip
    tallies = {}
    for split, strata in found.splits.items():
        (folder / split).mkdir(exist_ok=True)
        tallies[split] = [str(folder / split / f"{specs.stratum_id(s)}.parquet") for s in strata]
        stage("tally", config.spec_tally(found, split), *tables, "--output", *tallies[split])
    for split in (*found.splits, *found.parts):
        whole = found.parts.get(split, (split,))[0]
        stage("pairs", config.spec_pairs(found, split), *tables[2:], "--tallies", *tallies[whole],
              "--output", str(folder / f"{split}.pairs"))  # fmt: skip
    for split in found.splits:
        own = [f"--{name}={folder / split}.{name}" for name in ("pairs", "labels", "ties")]
        given = [*tables[2:4], "--tallies", *tallies[split], *own]
        stage("labels", config.spec_labels(found), *given)
    pairs = [str(folder / f"{split}.pairs") for split in found.splits]
    labels = [str(folder / f"{split}.labels") for split in found.splits]
    conflict = ["--agreement", str(folder / "agreement")]
    diversity, ceilings = str(folder / "diversity"), str(folder / "ceilings")
    stage("diversity", config.spec_diversity(found), *tables, "--output", diversity, *conflict)
    every = [path for split in found.splits for path in tallies[split]]
    stage("ceiling", config.spec_ceiling(found), *tables[2:4], "--tallies", *every, "--pairs",
          *pairs, "--output", ceilings, "--noise_ceiling", str(folder / "noise_ceiling"))  # fmt: skip
    stage("summary", config.spec_summary(found), *tables, "--diversity", diversity, *conflict,
          "--ceilings", ceilings, "--pairs", *pairs, "--labels", *labels, "--output",
          str(folder / "summary.json"))  # fmt: skip
    return folder


def stage(name: str, spec: Any, *arguments: str) -> None:
    """Run one stage in this process."""
    assert main([name, "--spec", specs.to_json(spec), *arguments]) == 0
