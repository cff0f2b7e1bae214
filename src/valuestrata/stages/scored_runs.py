"""The scores and verdicts of all runs: where they are, and reading them split by split."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from valuestrata import io, paths, tables
from valuestrata.report.comparison import RunValues, run_values
from valuestrata.report.runs import ModelVariant, judgements, run_keys, runs_on
from valuestrata.report.settings import ComparisonSettings, comparison_settings
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.study import Study

S = TypeVar("S", bound=ComparisonSettings)


def scored_inputs(study: Study) -> Files:
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


def read_runs(job: Job[S]) -> Iterator[tuple[str, Mapping[ModelVariant, RunValues]]]:
    """Each split with the values of its runs."""
    scores = iter(job.paths("scores"))
    verdicts = dict(zip(judgements(job.settings), job.paths("verdicts"), strict=True))
    for split, strata in job.settings.strata.items():
        values = {}
        for model, variant in runs_on(job.settings, split):
            files = [next(scores) for _ in strata]
            judged = {
                judge: io.read_table(path, tables.VERDICTS)
                for (*run, judge), path in verdicts.items()
                if run == [model, variant, split]
            }
            values[model, variant] = run_values(io.read_table(files, tables.SCORES), judged)
        yield split, values
