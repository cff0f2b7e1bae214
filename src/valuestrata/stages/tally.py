"""Count answers by subgroup, question and code: one table a stratum."""

from valuestrata import io, paths, tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.splits import stratum_id
from valuestrata.study.study import Study
from valuestrata.survey.encoded import encode_survey
from valuestrata.survey.groups import read_groups
from valuestrata.survey.tally import tally_strata


class Settings(Part):
    """Strata (tuples of axes) and the smallest subgroup, in respondents."""

    strata: tuple[tuple[str, ...], ...]
    min_subgroup_n: int
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """One run a split, so that a new stratum of one leaves the others' tallies alone."""
    return [{"split": split} for split in study.splits]


def settings(study: Study, split: str) -> Settings:
    """Settings of one split's tallies."""
    return Settings(
        strata=study.strata(split),
        min_subgroup_n=study.min_subgroup_n,
        caveat=study.survey_caveat,
    )


def inputs(study: Study, split: str) -> Files:
    """Responses, questions, and the groups of each axis."""
    return {
        "responses": at(study, paths.RESPONSES),
        "questions": at(study, paths.QUESTIONS),
        "groups": at(study, paths.GROUPS_OF_AXES),
    }


def outputs(study: Study, split: str) -> Files:
    """A table a stratum."""
    return {"tallies": tally_paths(study, split)}


def tally_paths(study: Study, split: str) -> tuple[str, ...]:
    """The tally tables of a split, or of the whole of which it is a part."""
    whole, _ = study.parts.get(split, (split, None))
    strata = [stratum_id(axes) for axes in study.strata(whole)]
    return tuple(at(study, paths.TALLY, split=whole, stratum=stratum) for stratum in strata)


def run(job: Job[Settings]) -> None:
    """Tally each stratum."""
    responses = io.read_table(job.path("responses"), tables.RESPONSES)
    questions = io.read_table(job.path("questions"), tables.QUESTIONS)
    groups = read_groups(job.path("groups"))
    frames = tally_strata(
        encode_survey(responses, questions),
        job.settings.strata,
        groups.labels(),
        job.settings.min_subgroup_n,
    )
    for frame, path in zip(frames, job.paths("tallies"), strict=True):
        io.write_table(frame, path, tables.TALLY, job.record)
