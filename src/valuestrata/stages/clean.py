"""Read a survey into responses and questions."""

import logging

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.study import Study
from valuestrata.survey import codebook, readers
from valuestrata.survey.settings import ReadingSettings, reading_settings

log = logging.getLogger(__name__)


class Settings(ReadingSettings):
    """How the survey is read."""

    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """One survey a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """Settings of reading the survey."""
    fields = {**reading_settings(study), "caveat": study.survey_caveat}
    return Settings.model_validate(fields)


def inputs(study: Study) -> Files:
    """The survey's file and the codebook."""
    return {"survey": study.survey_file, "codebook": study.survey.codebook}


def outputs(study: Study) -> Files:
    """Both tables, and the groups of each axis."""
    return {
        "responses": at(study, paths.RESPONSES),
        "questions": at(study, paths.QUESTIONS),
        "groups": at(study, paths.GROUPS_OF_AXES),
    }


def run(job: Job[Settings]) -> None:
    """Read, clean and write; respondents' rows are readable by their owner alone."""
    survey, book = job.path("survey"), job.path("codebook")
    chosen = codebook.select(codebook.load(book), job.settings.questions, job.settings.exclude)
    chosen = [codebook.recoded(q, job.settings.recode_of(q.question)) for q in chosen]
    responses, groups = readers.read_survey(survey, job.settings, chosen, codebook.columns(book))
    readers.check_axes(responses, job.settings, survey)
    questions = pd.DataFrame([readers.question_row(responses, question) for question in chosen])
    log.info("%d respondents, %d questions", len(responses), len(questions))
    for question in questions[questions["n"] == 0]["question"]:
        log.warning("question %s has no valid answer", question)
    for name in (name for name, axis in job.settings.axes.items() if axis.is_auto):
        shown = ", ".join(f"{label} {n}" for label, n in groups.sizes()[name].items())
        log.info("groups of axis %s: %s", name, shown)
    io.write_table(responses, job.path("responses"), tables.RESPONSES, job.record, io.PRIVATE)
    io.write_table(questions, job.path("questions"), tables.QUESTIONS, job.record)
    io.write_json(groups.model_dump(mode="json"), job.path("groups"), job.record)
