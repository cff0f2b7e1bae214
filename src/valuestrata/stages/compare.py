"""Put all runs of a study side by side: every metric with its interval, differences with a test."""

import logging

import pandas as pd

from valuestrata import io, judged_tables, paths, tables
from valuestrata.report.comparison import Row, compare_split, run_values
from valuestrata.report.runs import ModelVariant, judgements, run_keys, runs_on
from valuestrata.report.settings import ComparisonSettings, comparison_settings
from valuestrata.report.win_rates import win_rate_rows
from valuestrata.stages.job import Files, Job, at
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
    compared = comparison_settings(study)
    scores = [
        at(study, paths.SCORES, model=model, variant=variant, split=split, stratum=stratum)
        for model, variant, split in run_keys(compared)
        for stratum in compared.strata[split]
    ]
    verdicts = [
        at(study, paths.VERDICTS, model=model, variant=variant, split=split, judge=judge)
        for model, variant, split, judge in judgements(compared)
    ]
    return {
        "scores": tuple(scores),
        "verdicts": tuple(verdicts),
        "noise_ceiling": at(study, paths.NOISE_CEILING),
    }


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
    scores = iter(job.paths("scores"))
    verdicts = dict(zip(judgements(job.settings), job.paths("verdicts"), strict=True))
    metrics: list[Row] = []
    differences: list[Row] = []
    win_rates: list[Row] = []
    for split, strata in job.settings.strata.items():
        values = {}
        by_judge: dict[str, dict[ModelVariant, pd.DataFrame]] = {}
        for model, variant in runs_on(job.settings, split):
            files = [next(scores) for _ in strata]
            judged = {
                judge: io.read_table(path, tables.VERDICTS)
                for (*run, judge), path in verdicts.items()
                if run == [model, variant, split]
            }
            for judge, frame in judged.items():
                by_judge.setdefault(judge, {})[model, variant] = frame
            values[model, variant] = run_values(io.read_table(files, tables.SCORES), judged)
        split_metrics, split_differences = compare_split(split, values, noise_ceiling, job.settings)
        metrics += split_metrics
        differences += split_differences
        for judge, frames in by_judge.items():
            reference = job.settings.references.get(judge)
            level = job.settings.evaluation.confidence_level
            key = {"split": split, "judge": judge}
            win_rates += [{**key, **row} for row in win_rate_rows(frames, reference, level)]
    log.info("%d metrics, %d paired differences", len(metrics), len(differences))
    for name, rows, contract in (
        ("runs", metrics, tables.RUNS),
        ("differences", differences, tables.DIFFERENCES),
        ("win_rates", win_rates, judged_tables.WIN_RATES),
    ):
        frame = pd.DataFrame(rows, columns=contract.names)
        io.write_table(frame, job.path(name), contract, job.record)
