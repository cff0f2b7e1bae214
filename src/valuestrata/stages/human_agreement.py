"""Compare the study's annotators with each other and with its judges."""

import logging
from pathlib import Path

from valuestrata import io, judge_tables, paths
from valuestrata.stages.annotation import (
    annotation_caveat,
    compare_annotations,
    read_annotations,
    read_keys,
)
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.text_pairs import (
    TextPairs,
    TextPairSettings,
    text_pair_inputs,
    text_pair_settings,
)
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.study import Study

log = logging.getLogger(__name__)


class Settings(TextPairSettings):
    """What agreement depends on."""

    evaluation: Evaluation


def runs(study: Study) -> list[dict[str, str]]:
    """One table a study, where it names its annotators."""
    return [{}] if study.annotator_files or study.simulated_annotators else []


def settings(study: Study) -> Settings:
    """How agreement is measured."""
    caveat = annotation_caveat(study.caveat, not study.annotator_files)
    return Settings(
        **{**text_pair_settings(study), "caveat": caveat},
        evaluation=study.evaluation,
    )


def inputs(study: Study) -> Files:
    """All texts and verdicts, the annotators' csv files, and the keys of their samples."""
    files = text_pair_inputs(study)
    if study.annotator_files:
        keys = tuple(key_files(study))
        return {**files, "annotations": study.annotator_files, "sample_keys": keys}
    simulated = {"annotations": paths.SIMULATED_ANNOTATIONS, "sample_keys": paths.SIMULATED_KEY}
    return {**files, **{name: at(study, path) for name, path in simulated.items()}}


def key_files(study: Study) -> list[str]:
    """The keys of all samples that `valuestrata annotate` wrote."""
    pattern = Path(at(study, paths.ANNOTATION_KEY, sample="*"))
    return sorted(map(str, pattern.parent.glob(pattern.name)))


def outputs(study: Study) -> Files:
    """A row for each dimension, comparison, pair of raters and coefficient."""
    path = paths.HUMAN_AGREEMENT if study.annotator_files else paths.SIMULATED_AGREEMENT
    return {"agreement": at(study, path)}


def run(job: Job[Settings]) -> None:
    """Write the table; text pairs whose texts have changed since are left out, and counted."""
    pairs = TextPairs.of_job(job)
    keys = read_keys(job.paths("sample_keys"))
    annotated = read_annotations(pairs, keys, job.paths("annotations"))
    if annotated.n_changed:
        log.warning("%d text pairs left out: their texts have changed", annotated.n_changed)
    table = compare_annotations(pairs, annotated, job.settings.evaluation)
    io.write_table(table, job.path("agreement"), judge_tables.HUMAN_AGREEMENT, job.record)
