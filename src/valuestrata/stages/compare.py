"""Put all runs of a study side by side: every metric with its interval, differences with a test."""

import logging

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.report.comparison import Row, compare_split
from valuestrata.report.families import adjusted_differences
from valuestrata.report.settings import ComparisonSettings, comparison_settings
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.scored_runs import read_runs, scored_inputs
from valuestrata.study.study import Study

log = logging.getLogger(__name__)

Settings = ComparisonSettings


def runs(study: Study) -> list[dict[str, str]]:
    """One comparison a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """The runs, and how they are compared."""
    return comparison_settings(study)


def inputs(study: Study) -> Files:
    """Scores of every run, a file a stratum; verdicts of every judge; the noise ceiling."""
    return scored_inputs(study)


def outputs(study: Study) -> Files:
    """Metrics of every run, and paired differences."""
    return {"runs": at(study, paths.RUNS), "differences": at(study, paths.DIFFERENCES)}


def run(job: Job[Settings]) -> None:
    """Write both tables, split by split."""
    noise_ceiling = io.read_table(job.path("noise_ceiling"), tables.NOISE_CEILING)
    metrics: list[Row] = []
    differences: list[Row] = []
    for split, values in read_runs(job):
        split_metrics, split_differences = compare_split(split, values, noise_ceiling, job.settings)
        metrics += split_metrics
        differences += split_differences
    log.info("%d metrics, %d paired differences", len(metrics), len(differences))
    frame = pd.DataFrame(metrics, columns=tables.RUNS.names)
    io.write_table(frame, job.path("runs"), tables.RUNS, job.record)
    frame = pd.DataFrame(differences, columns=tables.DIFFERENCES.names)
    frame = adjusted_differences(frame, job.settings)
    io.write_table(frame, job.path("differences"), tables.DIFFERENCES, job.record)
