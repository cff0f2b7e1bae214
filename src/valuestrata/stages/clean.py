"""Read a survey into responses and questions."""

import logging

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.study import Study
from valuestrata.survey import codebook, readers
from valuestrata.survey.codebook import Question
from valuestrata.survey.left_out import axis_notices, leave_out_axes
from valuestrata.survey.readers import CleanSurvey
from valuestrata.survey.select_all import one_code_notices
from valuestrata.survey.settings import ReadingSettings, reading_settings
from valuestrata.survey.undeclared import undeclared_notices

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
    """Both tables, the groups of each axis, and what is doubtful."""
    return {
        "responses": at(study, paths.RESPONSES),
        "questions": at(study, paths.QUESTIONS),
        "groups": at(study, paths.GROUPS_OF_AXES),
        "notices": at(study, paths.NOTICES),
    }


def run(job: Job[Settings]) -> None:
    """Read, clean and write; respondents' rows are readable by their owner alone."""
    chosen, (responses, groups, notices) = read(
        job.path("survey"), job.path("codebook"), job.settings
    )
    questions = pd.DataFrame([readers.question_row(responses, question) for question in chosen])
    log.info("%d respondents, %d questions", len(responses), len(questions))
    for notice in notices:
        log.warning("%s", notice)
    for name in (name for name, axis in job.settings.axes.items() if axis.is_auto):
        shown = ", ".join(f"{label} {n}" for label, n in groups.sizes()[name].items())
        log.info("groups of axis %s: %s", name, shown)
    io.write_table(responses, job.path("responses"), tables.RESPONSES, job.record, io.PRIVATE)
    io.write_table(questions, job.path("questions"), tables.QUESTIONS, job.record)
    io.write_json(groups.model_dump(mode="json"), job.path("groups"), job.record)
    io.write_json({"notices": notices}, job.path("notices"), job.record)


def chosen_questions(book: str, settings: ReadingSettings) -> list[Question]:
    """The questions of a study, recoded, from its codebook's file."""
    chosen = codebook.select(codebook.load(book), settings.questions, settings.exclude)
    return [codebook.recoded(q, settings.recode_of(q.question)) for q in chosen]


def read(survey: str, book: str, settings: ReadingSettings) -> tuple[list[Question], CleanSurvey]:
    """The questions of a study, recoded, and its survey, with all that is doubtful of it.

    Raises:
        InputError: one line with what cannot be right.
    """
    chosen = chosen_questions(book, settings)
    clean = readers.read_survey(survey, settings, chosen, codebook.columns(book))
    responses, groups = leave_out_axes(
        clean.responses, clean.groups, settings.axes, settings.min_subgroup_n
    )
    clean = clean._replace(responses=responses, groups=groups)
    readers.check_axes(clean.responses, settings, survey)
    notices = [*clean.notices, *axis_notices(groups), *undeclared_notices(clean.responses, chosen)]
    notices += one_code_notices(clean.responses, chosen, settings.select_all)
    empty = [q.question for q in chosen if clean.responses[q.question].isna().all()]
    if empty:
        notices.append(f"questions without any valid answer: {', '.join(empty)}")
    return chosen, clean._replace(notices=notices)
