"""Put a split's labels with and without weights side by side, and list its ties.

Beside each stands how well a model could score on it at all, as the label comes from a sample.
"""

from valuestrata import io, paths, tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.tally import tally_paths
from valuestrata.study.base import Part
from valuestrata.study.evaluation import Labels
from valuestrata.study.study import Study
from valuestrata.survey.ceilings import DRAWS, pair_reachable
from valuestrata.survey.encoded import scale_of
from valuestrata.survey.pairs import both_labels
from valuestrata.survey.tally import from_frame
from valuestrata.tables import PAIR


class Settings(Part):
    """How the study labels, which decides what is tied, and the seed of reachable scores."""

    labels: Labels
    seed: int
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every split."""
    return [{"split": split} for split in study.splits]


def settings(study: Study, split: str) -> Settings:
    """Settings of both readings of the labels."""
    return Settings(labels=study.labels, seed=study.evaluation.seed, caveat=study.survey_caveat)


def inputs(study: Study, split: str) -> Files:
    """The split's tallies and pairs, and the questions."""
    return {
        "tallies": tally_paths(study, split),
        "questions": at(study, paths.QUESTIONS),
        "pairs": at(study, paths.PAIRS, split=split),
    }


def outputs(study: Study, split: str) -> Files:
    """Both readings of each pair's label, and the tied pairs."""
    return {
        "labels": at(study, paths.LABELS, split=split),
        "ties": at(study, paths.TIES, split=split),
    }


def run(job: Job[Settings]) -> None:
    """Write a row for each pair, and one for each pair that is tied as the study labels."""
    scale = scale_of(io.read_table(job.path("questions"), tables.QUESTIONS))
    tally = from_frame(io.read_table(job.paths("tallies"), tables.TALLY), scale)
    pairs = io.read_table(job.path("pairs"), tables.PAIRS)
    pairs = pairs[[*PAIR, "mode", "codes", "n", "respondents"]]
    both, ties = both_labels(tally, scale, pairs, job.settings.labels)
    reachable = pair_reachable(tally, scale, DRAWS, job.settings.seed)
    both = both.merge(reachable, on=PAIR, how="left", validate="one_to_one")
    io.write_table(both, job.path("labels"), tables.LABELS, job.record)
    io.write_table(ties, job.path("ties"), tables.TIES, job.record)
