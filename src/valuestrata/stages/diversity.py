"""Score how much the subgroups of each stratum disagree, by question and block."""

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.evaluation import Evaluation, Labels
from valuestrata.study.study import Study
from valuestrata.survey.diversity import Scorer, agreement_rows, diversity_rows
from valuestrata.survey.encoded import encode_survey
from valuestrata.survey.groups import read_groups


class Settings(Part):
    """Strata of all splits, the smallest subgroups and pairs, labels and intervals."""

    strata: tuple[tuple[str, ...], ...]
    min_subgroup_n: int
    min_pair_n: int
    labels: Labels
    evaluation: Evaluation
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """One table a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """Settings of the conflict scores."""
    strata = [stratum for split in study.splits for stratum in study.strata(split)]
    return Settings(
        strata=tuple(dict.fromkeys(strata)),
        min_subgroup_n=study.min_subgroup_n,
        min_pair_n=study.min_pair_n,
        labels=study.labels,
        evaluation=study.evaluation,
        caveat=study.survey_caveat,
    )


def inputs(study: Study) -> Files:
    """Responses, questions, and the groups of each axis."""
    return {
        "responses": at(study, paths.RESPONSES),
        "questions": at(study, paths.QUESTIONS),
        "groups": at(study, paths.GROUPS_OF_AXES),
    }


def outputs(study: Study) -> Files:
    """Conflict scores, and how far they rank questions alike."""
    return {"diversity": at(study, paths.DIVERSITY), "agreement": at(study, paths.AGREEMENT)}


def run(job: Job[Settings]) -> None:
    """Score each stratum and question, their means over strata, blocks and all questions."""
    config = job.settings
    responses = io.read_table(job.path("responses"), tables.RESPONSES)
    questions = io.read_table(job.path("questions"), tables.QUESTIONS)
    survey = encode_survey(responses, questions)
    scorer = Scorer(survey, config.min_pair_n, config.labels, config.evaluation)
    groups = read_groups(job.path("groups"))
    scored = scorer.score(config.strata, groups, config.min_subgroup_n)
    rows = diversity_rows(scored, questions, config.evaluation.confidence_level)
    agreement = agreement_rows(scored, config.evaluation)
    for name, content, contract in (
        ("diversity", rows, tables.DIVERSITY),
        ("agreement", agreement, tables.AGREEMENT),
    ):
        io.write_table(pd.DataFrame(list(content)), job.path(name), contract, job.record)
