"""Combine the verdicts of several judges on a run into those of a panel."""

import logging
from typing import Literal

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.metrics import panels, winrate
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.judging import caveat
from valuestrata.study.base import Part
from valuestrata.study.study import Study
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)

COMBINE = {"majority": panels.majority, "mean": panels.mean}
NO_VERDICT = ("failed", "truncated", "invalid")
"""Outcomes of pairs without a verdict, the gravest first."""


class Settings(Part):
    """Which judges decide together, and how."""

    judges: tuple[str, ...]
    combine: Literal["majority", "mean"]
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every run that writes open-ended answers, by every panel."""
    keys = ("model", "variant", "split", "judge")
    named = [dict(zip(keys, names, strict=True)) for names in study.judgements()]
    return [run for run in named if study.panel(run["judge"])]


def settings(study: Study, model: str, variant: str, split: str, judge: str) -> Settings:
    """Settings of a panel's verdicts on a run.

    Raises:
        ValueError: the judge is no panel.
    """
    config = study.judges[judge]
    if config.panel is None:
        raise ValueError(f"{judge} is no panel")
    models = {model, config.reference.model, *config.panel.judges}
    return Settings(
        judges=config.panel.judges,
        combine=config.panel.combine,
        caveat=caveat(study, models),
    )


def inputs(study: Study, model: str, variant: str, split: str, judge: str) -> Files:
    """The verdicts of each judge."""
    run = {"model": model, "variant": variant, "split": split}
    members = study.panel(judge)
    return {"verdicts_of": tuple(at(study, paths.VERDICTS, **run, judge=m) for m in members)}


def outputs(study: Study, model: str, variant: str, split: str, judge: str) -> Files:
    """A row for each pair and dimension, as of any judge."""
    run = {"model": model, "variant": variant, "split": split}
    return {"verdicts": at(study, paths.VERDICTS, **run, judge=judge)}


def run(job: Job[Settings]) -> None:
    """Write a row for each pair and dimension."""
    members = [io.read_table(path, tables.VERDICTS) for path in job.paths("verdicts_of")]
    verdicts = combined(dict(zip(job.settings.judges, members, strict=True)), job.settings.combine)
    n_missing = int((verdicts["outcome"] != "verdict").sum())
    log.info("%d verdicts, %d without", len(verdicts), n_missing)
    io.write_table(verdicts, job.path("verdicts"), tables.VERDICTS, job.record)


def combined(members: dict[str, pd.DataFrame], combine: str) -> pd.DataFrame:
    """The verdicts of a panel, from those of its judges on the same pairs and dimensions.

    A judge takes part where it gave a verdict in both orders; where no more than half of them did
    there is none. With `mean`, `as_first` and `as_second` may lie between 0, 0.5 and 1; the order
    changed who won where they lie on two sides of 0.5.

    Raises:
        ValueError: two judges judged different pairs.
    """
    keys = [*PAIR, "dimension"]
    first, *others = (frame.sort_values(keys, ignore_index=True) for frame in members.values())
    if not all(frame[keys].equals(first[keys]) for frame in others):
        raise ValueError("judges of a panel judged different pairs")
    frames = [first, *others]
    outcomes = np.stack([frame["outcome"].to_numpy(dtype=object) for frame in frames])
    has_verdict = outcomes == "verdict"
    is_valid = panels.is_quorate(has_verdict)
    sides = {}
    for side in ("as_first", "as_second"):
        scores = np.stack([frame[side].to_numpy(dtype=np.float64) for frame in frames])
        together = COMBINE[combine](np.where(has_verdict, scores, np.nan))
        sides[side] = np.where(is_valid, together, np.nan)
    signs = [np.sign(sides[side] - 0.5) for side in ("as_first", "as_second")]
    missing = np.select([(outcomes == name).any(axis=0) for name in NO_VERDICT], NO_VERDICT, "")
    names = [(name, frame["judge_notes"].iloc[0]) for name, frame in members.items() if len(frame)]
    return first[keys].assign(
        outcome=np.where(is_valid, "verdict", missing),
        **sides,
        score=winrate.score(sides["as_first"], sides["as_second"]),
        flipped=winrate.flipped(*signs),
        length_difference=first["length_difference"],
        judge_version="; ".join(
            dict.fromkeys(frame["judge_version"].iloc[0] for frame in frames if len(frame))
        ),
        judge_notes="\n".join(
            f"{name}: {line}" for name, notes in names for line in str(notes).splitlines()
        ),
    )
