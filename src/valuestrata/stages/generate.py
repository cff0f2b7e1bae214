"""Write open-ended answers for some questions of each subgroup."""

import argparse
from typing import Literal

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.inference.backends import BACKENDS, LanguageModel
from valuestrata.inference.fill import Requests
from valuestrata.inference.protocol import Completion, Sampling
from valuestrata.prompting import answers
from valuestrata.prompting.open_questions import OpenQuestions, open_questions
from valuestrata.prompting.refusals import declines
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.models import (
    add_model_options,
    ask,
    loaded_model,
    model_files,
    note_failures,
    reply_cache,
    written_columns,
)
from valuestrata.study.base import Part
from valuestrata.study.study import Study
from valuestrata.survey.draw import conflict_thirds, draw_pairs
from valuestrata.survey.open_questions import open_question
from valuestrata.tables import PAIR


class Settings(Part):
    """What open-ended answers depend on."""

    model: LanguageModel
    per_subgroup: int | Literal["all"]
    per_block: int | None = None
    stratify_by: Literal["none", "mds"] = "none"
    open_questions: OpenQuestions
    max_new_tokens: int
    temperature: float
    seed: int
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every run that writes open-ended answers."""
    return [{"model": m, "variant": v, "split": s} for m, v, s in study.generation_runs()]


def settings(study: Study, model: str, variant: str, split: str) -> Settings:
    """Settings of a run's answers.

    Raises:
        ValueError: the study asks for none.
    """
    if study.generation is None:
        raise ValueError(f"{study.name} has no generation")
    config = study.generation
    return Settings(
        model=loaded_model(study, model),
        per_subgroup=config.per_subgroup,
        per_block=config.per_block,
        stratify_by=config.stratify_by,
        open_questions=open_questions(study),
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        seed=config.seed,
        caveat=study.run_caveat(model),
    )


def inputs(study: Study, model: str, variant: str, split: str) -> Files:
    """The pairs, the questions, conflict scores if they count, and what the model is read from."""
    files = {
        "pairs": at(study, paths.PAIRS, split=split),
        "questions": at(study, paths.QUESTIONS),
    }
    if study.generation and study.generation.stratify_by == "mds":
        files["diversity"] = at(study, paths.DIVERSITY)
    return {**files, **model_files(study, model, variant)}


def outputs(study: Study, model: str, variant: str, split: str) -> Files:
    """One text for each pair that is drawn."""
    return {"texts": at(study, paths.TEXTS, model=model, variant=variant, split=split)}


def entries(settings: Settings) -> tuple[str, ...]:
    """The backend."""
    return (BACKENDS[settings.model.backend],)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Resources of the job."""
    add_model_options(parser)


def run(job: Job[Settings]) -> None:
    """Write one text for each pair that is drawn."""
    config = job.settings
    pairs = draw(job, io.read_table(job.path("pairs"), tables.PAIRS))
    rows = io.records(io.read_table(job.path("questions"), tables.QUESTIONS))
    asked = {row["question"]: open_question(config.open_questions, row) for row in rows}
    wordings, prompts = zip(*(asked[question] for question in pairs["question"]), strict=True)
    requests = Requests(
        messages=list(zip(pairs["persona"], prompts, strict=True)),
        sampling=Sampling(config.max_new_tokens, config.temperature, config.seed),
        should_cache=lambda _, written: _outcome(written) == "answer",
    )
    answered = ask(job, reply_cache(job, "generate"), requests)
    replies = answered.replies
    completions = [reply.written for reply in replies]
    record, loaded = note_failures(job, answered.loaded, completions)
    written = written_columns(completions)
    texts = pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "wording": wordings,
            "prompt": prompts,
            **written,
            "outcome": [_outcome(c) for c in completions],
            "declines": [
                _declines(c, text) for c, text in zip(completions, written["text"], strict=True)
            ],
            "prompt_tokens": [c.prompt_tokens for c in completions],
            "completion_tokens": [c.completion_tokens for c in completions],
            "prompt_hash": [reply.prompt_hash for reply in replies],
            "model_version": answered.version,
            "adapter": answered.adapter,
            **loaded.columns,
        }
    )
    io.write_table(texts, job.path("texts"), tables.TEXTS, record)


def draw(job: Job[Settings], pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs that are asked; the draw is the same for every model."""
    config, thirds = job.settings, None
    if config.stratify_by == "mds":
        scores = io.read_table(job.path("diversity"), tables.DIVERSITY)
        scores = scores[(scores["measure"] == "mds") & (scores["stratum"] == "mean")]
        values = dict(zip(scores["question"], scores["value"], strict=True))
        thirds = conflict_thirds(values, list(dict.fromkeys(pairs["question"])))
    most = None if config.per_subgroup == "all" else config.per_subgroup
    return draw_pairs(pairs, config.seed, most, config.per_block, thirds)


def _outcome(written: Completion) -> str:
    return "refusal" if written.is_refused else answers.free_outcome(written.text)


def _declines(written: Completion, reply: str | None) -> bool:
    return written.is_refused or declines(reply or "")
