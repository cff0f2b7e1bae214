"""Train a toy language model from scratch."""

import argparse

from valuestrata import io, paths, tables
from valuestrata.prompting.open_questions import OpenQuestions, open_questions
from valuestrata.prompting.settings import PromptSettings, prompt_settings, rubric_id
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.models import LocalModel, Toy
from valuestrata.study.study import Study
from valuestrata.survey.groups import read_groups
from valuestrata.training.methods import load

TEXTS = {
    "answer": "valuestrata.demo.toy_texts:ToyTexts",
    "judge": "valuestrata.demo.judge_texts:JudgeTexts",
}
"""What makes a toy's texts, by its task."""


class Settings(Part):
    """What a toy depends on; `texts` is of TEXTS, `rubric` is '' where it is no judge."""

    toy: Toy
    texts: str
    prompt: PromptSettings
    rubric: str
    open_questions: OpenQuestions
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every toy, judges' toys too."""
    return [{"model": name} for name in study.toys()]


def settings(study: Study, model: str) -> Settings:
    """Settings of a toy's training."""
    config = study.model(model)
    assert isinstance(config, LocalModel)
    assert config.toy
    judge = study.judges.get(model)
    return Settings(
        toy=config.toy,
        texts=TEXTS[config.toy.task],
        prompt=prompt_settings(study),
        rubric=rubric_id(judge.rubric) if judge else "",
        open_questions=open_questions(study),
        caveat=study.run_caveat(model),
    )


def entries(settings: Settings) -> tuple[str, ...]:
    """The code of the toy's task."""
    return (settings.texts,)


def inputs(study: Study, model: str) -> Files:
    """What its texts are made of."""
    return {
        "questions": at(study, paths.QUESTIONS),
        "groups": at(study, paths.GROUPS_OF_AXES),
    }


def outputs(study: Study, model: str) -> Files:
    """The model's folder."""
    return {"weights": at(study, paths.BASE_MODEL, model=model)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What no result depends on."""
    parser.add_argument("--threads", type=int, default=4, help="CPU threads (%(default)s)")


def run(job: Job[Settings]) -> None:
    """Train on texts about the study's questions and write weights, tokenizer and log."""
    from valuestrata.demo import toy
    from valuestrata.inference import runtime

    runtime.prepare(job.options.threads)
    settings = job.settings
    texts = load(settings.texts)(
        settings.toy,
        settings.prompt,
        settings.rubric,
        io.read_table(job.path("questions"), tables.QUESTIONS),
        read_groups(job.path("groups")),
        settings.open_questions,
    )
    with io.replacing_folder(job.path("weights"), job.record) as folder:
        steps = toy.make(settings.toy, texts, folder)
        log = {"caveat": settings.caveat, "steps": steps}
        io.write_json(log, folder / paths.TRAINING_LOG)
