"""Put all runs of a study side by side: every metric with its interval, differences with a test."""

import logging

import pandas as pd

from valuestrata import io, judge_tables, paths, tables
from valuestrata.contracts import frame_of
from valuestrata.report.comparison import Row, compare_split
from valuestrata.report.families import adjusted_differences
from valuestrata.report.runs import ModelVariant, judgements
from valuestrata.report.settings import ComparisonSettings, comparison_settings
from valuestrata.report.win_rates import win_rate_rows
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
    """Metrics of every run, paired differences, and what verdicts show."""
    return {
        "runs": at(study, paths.RUNS),
        "differences": at(study, paths.DIFFERENCES),
        "win_rates": at(study, paths.WIN_RATES),
    }


def run(job: Job[Settings]) -> None:
    """Write all tables, split by split."""
    noise_ceiling = io.read_table(job.path("noise_ceiling"), tables.NOISE_CEILING)
    metrics: list[Row] = []
    differences: list[Row] = []
    for split, values in read_runs(job):
        split_metrics, split_differences = compare_split(split, values, noise_ceiling, job.settings)
        metrics += split_metrics
        # `baseline` says where a gain starts; no difference is one
        differences += [{k: v for k, v in d.items() if k != "baseline"} for d in split_differences]
    log.info("%d metrics, %d paired differences", len(metrics), len(differences))
    frame = frame_of(metrics, tables.RUNS)
    io.write_table(frame, job.path("runs"), tables.RUNS, job.record)
    frame = frame_of(differences, tables.DIFFERENCES)
    frame = adjusted_differences(frame, job.settings)
    io.write_table(frame, job.path("differences"), tables.DIFFERENCES, job.record)
    frame = frame_of(_win_rates(job), judge_tables.WIN_RATES)
    io.write_table(frame, job.path("win_rates"), judge_tables.WIN_RATES, job.record)


def _win_rates(job: Job[Settings]) -> list[Row]:
    """Rows of WIN_RATES: of each judge on each split, all runs together."""
    frames: dict[tuple[str, str], dict[ModelVariant, pd.DataFrame]] = {}
    files = zip(judgements(job.settings), job.paths("verdicts"), strict=True)
    for (model, variant, split, judge), path in files:
        verdicts = io.read_table(path, tables.VERDICTS)
        frames.setdefault((split, judge), {})[model, variant] = verdicts
    rows: list[Row] = []
    for (split, judge), verdicts_of in frames.items():
        reference = job.settings.references.get(judge)
        level = job.settings.evaluation.confidence_level
        judged = win_rate_rows(verdicts_of, reference, level)
        rows += [{"split": split, "judge": judge, **row} for row in judged]
    return rows
