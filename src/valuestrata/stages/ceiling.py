"""Measure the human ceilings: split halves of subgroups, and the noise ceiling."""

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.tally import tally_paths
from valuestrata.study.base import FrozenMap, Part
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.splits import stratum_id
from valuestrata.study.study import Study
from valuestrata.survey.ceilings import DRAWS, ceiling_rows, noise_ceiling, pair_ceilings
from valuestrata.survey.encoded import scale_of
from valuestrata.tables import PAIR


class Settings(Part):
    """Strata of each split, by id, and the intervals."""

    strata: FrozenMap[str, tuple[str, ...]]
    evaluation: Evaluation
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """One table a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """Settings of the human ceilings."""
    return Settings(
        strata={split: tuple(map(stratum_id, study.strata(split))) for split in study.splits},
        evaluation=study.evaluation,
        caveat=study.survey_caveat,
    )


def inputs(study: Study) -> Files:
    """Questions, and tallies and pairs of every split."""
    return {
        "questions": at(study, paths.QUESTIONS),
        "tallies": tuple(path for split in study.splits for path in tally_paths(study, split)),
        "pairs": tuple(at(study, paths.PAIRS, split=split) for split in study.splits),
    }


def outputs(study: Study) -> Files:
    """Both ceilings by split and group, and the noise ceiling by pair."""
    return {
        "ceilings": at(study, paths.CEILINGS),
        "noise_ceiling": at(study, paths.NOISE_CEILING),
    }


def run(job: Job[Settings]) -> None:
    """Write a row for each group of each level and metric, for splits and all, and the pairs."""
    seed = job.settings.evaluation.seed
    scale = scale_of(io.read_table(job.path("questions"), tables.QUESTIONS))
    tallies = iter(job.paths("tallies"))
    by_split = {}
    for (split, strata), path in zip(job.settings.strata.items(), job.paths("pairs"), strict=True):
        frames = [io.read_table(next(tallies), tables.TALLY) for _ in strata]
        ceilings = pd.concat([pair_ceilings(frame, scale, DRAWS, seed) for frame in frames])
        pairs = io.read_table(path, tables.PAIRS)[[*PAIR, "measurement_level"]]
        by_split[split] = pairs.merge(ceilings, on=PAIR, how="left", validate="one_to_one")
    every = pd.concat(list(by_split.values())).drop_duplicates(PAIR)
    rows = pd.DataFrame(list(ceiling_rows(by_split, job.settings.evaluation)))
    io.write_table(
        noise_ceiling(every), job.path("noise_ceiling"), tables.NOISE_CEILING, job.record
    )
    io.write_table(rows, job.path("ceilings"), tables.CEILINGS, job.record)
