"""Compare groups in every run, over models, and inequality before and after fine-tuning."""

import logging
from collections.abc import Callable

import pandas as pd

from valuestrata import evaluation_tables, io, paths, tables
from valuestrata.contracts import Contract, frame_of
from valuestrata.report.comparison import Row
from valuestrata.report.group_contrasts import (
    adjusted_consistency,
    adjusted_contrasts,
    contrast_split,
)
from valuestrata.report.inequality import adjusted_changes, changes_split, disparities_split
from valuestrata.report.settings import ContrastSettings, contrast_settings
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.scored_runs import read_runs, scored_inputs
from valuestrata.study.study import Study
from valuestrata.survey.ceilings import REACHABLE
from valuestrata.survey.groups import read_groups
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)

Settings = ContrastSettings
Tested = Callable[[pd.DataFrame], pd.DataFrame]


def runs(study: Study) -> list[dict[str, str]]:
    """One comparison of groups a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """The runs, and which groups are compared."""
    return contrast_settings(study)


def inputs(study: Study) -> Files:
    """Scores and verdicts of all runs, what is reachable, and the groups of each axis."""
    return {
        **scored_inputs(study),
        "labels": tuple(at(study, paths.LABELS, split=split) for split in study.splits),
        "groups": at(study, paths.GROUPS_OF_AXES),
    }


def outputs(study: Study) -> Files:
    """Contrasts of groups, the same over models, changes of inequality, other disparities."""
    return {
        "contrasts": at(study, paths.CONTRASTS),
        "consistency": at(study, paths.CONSISTENCY),
        "inequality_changes": at(study, paths.INEQUALITY_CHANGES),
        "disparities": at(study, paths.DISPARITIES),
    }


def run(job: Job[Settings]) -> None:
    """Write the four tables, split by split."""
    config = job.settings
    axes = read_groups(job.path("groups")).labels()
    level = config.evaluation.confidence_level
    made: dict[str, tuple[list[Row], Contract, Tested]] = {
        "contrasts": (
            [],
            evaluation_tables.GROUP_CONTRASTS,
            lambda frame: adjusted_contrasts(frame, level),
        ),
        "consistency": ([], evaluation_tables.CONSISTENCY, adjusted_consistency),
        "inequality_changes": ([], evaluation_tables.INEQUALITY_CHANGES, adjusted_changes),
        "disparities": ([], evaluation_tables.DISPARITIES, lambda frame: frame),
    }
    labels = dict(zip(config.strata, job.paths("labels"), strict=True))
    for split, values in read_runs(job):
        reachable = _reachable(labels[split], job.path("noise_ceiling"))
        contrasts, consistency = contrast_split(split, values, reachable, axes, config)
        made["contrasts"][0].extend(contrasts)
        made["consistency"][0].extend(consistency)
        made["inequality_changes"][0].extend(changes_split(split, values, axes, config))
        made["disparities"][0].extend(disparities_split(split, values, axes, config))
    for name, (rows, contract, tested) in made.items():
        frame = tested(frame_of(rows, contract))
        log.info("%d rows of %s", len(frame), name)
        io.write_table(frame, job.path(name), contract, job.record)


def _reachable(labels: str, noise_ceiling: str) -> pd.DataFrame:
    """What perfect knowledge of each pair would score, by metric.

    Modes are scored as labels have it. The noise ceiling flatters pairs whose sample looks clear by
    chance; of Wasserstein distance there is no other.
    """
    columns = {column: metric for metric, column in REACHABLE.items()}
    modes = io.read_table(labels, tables.LABELS, [*PAIR, *columns]).rename(columns=columns)
    ceiling = io.read_table(noise_ceiling, tables.NOISE_CEILING, [*PAIR, "wasserstein"])
    return modes.merge(ceiling, on=PAIR, how="left").set_index(PAIR).astype("float64")
