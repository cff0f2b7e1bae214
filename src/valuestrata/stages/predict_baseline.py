"""Answer the structured questionnaire of a split by a rule over the survey's own answers."""

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.baselines.predict import predict
from valuestrata.baselines.registry import described, load_rule, rule_entry
from valuestrata.prompting import prompts
from valuestrata.prompting.settings import template_id
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.models import BaselineModel
from valuestrata.study.study import Study
from valuestrata.survey.crosstab import cross_tab
from valuestrata.survey.encoded import encode_survey
from valuestrata.tables import PAIR


class Settings(Part):
    """The rule, and the template that words its replies."""

    rule: str
    template: str
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every run of a baseline."""
    return [
        {"model": model, "variant": variant, "split": split}
        for model, variant, split in study.runs()
        if study.is_baseline(model)
    ]


def settings(study: Study, model: str, variant: str, split: str) -> Settings:
    """Settings of a baseline's answers."""
    config = study.model(model)
    assert isinstance(config, BaselineModel), f"{model} is no baseline"
    return Settings(
        rule=config.rule,
        template=template_id(study.prompt.template),
        caveat=study.run_caveat(model),
    )


def entries(settings: Settings) -> tuple[str, ...]:
    """The rule's code."""
    return (rule_entry(settings.rule),)


def inputs(study: Study, model: str, variant: str, split: str) -> Files:
    """The split's pairs, the questions and the respondents' answers."""
    return {
        "pairs": at(study, paths.PAIRS, split=split),
        "questions": at(study, paths.QUESTIONS),
        "responses": at(study, paths.RESPONSES),
    }


def outputs(study: Study, model: str, variant: str, split: str) -> Files:
    """The predictions."""
    run = {"model": model, "variant": variant, "split": split}
    return {"predictions": at(study, paths.PREDICTIONS, **run)}


def run(job: Job[Settings]) -> None:
    """Write one prediction a pair."""
    pairs = io.read_table(job.path("pairs"), tables.PAIRS)
    questions = io.read_table(job.path("questions"), tables.QUESTIONS)
    responses = io.read_table(job.path("responses"), tables.RESPONSES)
    survey = encode_survey(responses, questions)
    rule = load_rule(job.settings.rule)
    answer, shares = predict(rule, pairs, cross_tab(survey), survey.scale)
    frame = pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "text": [prompts.answer(job.settings.template, code) for code in answer],
            **dict.fromkeys(("thought", "finish_reason")),
            "outcome": "answer",
            "answer": answer,
            "codes": pairs["codes"],
            "logprobs": None,
            "distribution": shares,
            "non_option_mass": 0.0,
            "unread_mass": float("nan"),
            "passes": None,
            "prompt_tokens": pd.NA,
            "prompt_hash": "",
            "model_version": described(job.settings.rule),
            "adapter": "",
            "adapter_shift": float("nan"),
            "notes": "",
        }
    )
    io.write_table(frame, job.path("predictions"), tables.PREDICTIONS, job.record)
