"""Ask a run's model once more in perturbed prompts, and how probable the wordings of items are."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from valuestrata import evaluation_tables, io, paths, tables
from valuestrata.contracts import frame_of
from valuestrata.inference.backends import BACKENDS
from valuestrata.inference.protocol import Backend, ScoringRequest
from valuestrata.prompting.perturbations import ITEM_PROMPT, item_texts
from valuestrata.prompting.settings import PromptSettings, prompt_settings
from valuestrata.stages import predict
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.models import add_model_options, model_files, open_job_model
from valuestrata.stages.perturb import perturbed_pairs
from valuestrata.study.base import Part
from valuestrata.study.perturbed import asked_runs, probes_items, reworded, wordings_input
from valuestrata.study.study import Study
from valuestrata.survey.wordings import read_wordings

log = logging.getLogger(__name__)


class ItemProbe(PromptSettings):
    """How the items are worded that a model is probed with.

    Attributes:
        survey: its name, which the prompt before an item says.
        seed: of the order of shuffled words.
    """

    survey: str
    seed: int


class Settings(predict.Settings):
    """What answers to perturbed prompts depend on; `items` where items are probed, too."""

    items: ItemProbe | None = None


def runs(study: Study) -> list[dict[str, str]]:
    """The runs that are asked again."""
    return [{"model": m, "variant": v, "split": s} for m, v, s in asked_runs(study)]


def settings(study: Study, model: str, variant: str, split: str) -> Settings:
    """Settings of a run's answers to perturbed prompts: those of its own answers, and the probe."""
    items = None
    if study.sensitivity is not None and probes_items(study):
        seed = study.sensitivity.seed
        items = ItemProbe(**_fields(prompt_settings(study)), survey=study.survey.name, seed=seed)
    return Settings(**_fields(predict.settings(study, model, variant, split)), items=items)


def _fields(part: Part) -> dict[str, Any]:
    return {name: getattr(part, name) for name in type(part).model_fields}


def inputs(study: Study, model: str, variant: str, split: str) -> Files:
    """The pairs in perturbed prompts, the questions if items are probed, and the model."""
    items = {
        "asked": at(study, paths.PAIRS, split=split),
        "questions": at(study, paths.QUESTIONS),
        **wordings_input(study),
    }
    return {
        "pairs": perturbed_pairs(study, split),
        **(items if probes_items(study) else {}),
        **model_files(study, model, variant),
    }


def outputs(study: Study, model: str, variant: str, split: str) -> Files:
    """One prediction a pair for each perturbation, and a row for each text of an item."""
    run = {"model": model, "variant": variant, "split": split}
    answers = (at(study, paths.PERTURBED, **run, perturbation=name) for name in reworded(study))
    items = {"item_texts": at(study, paths.ITEM_TEXTS, **run)} if probes_items(study) else {}
    return {"perturbed": tuple(answers), **items}


def entries(settings: Settings) -> tuple[str, ...]:
    """The backend."""
    return (BACKENDS[settings.model.backend],)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Resources of the job."""
    add_model_options(parser)


def run(job: Job[Settings]) -> None:
    """Write the answers to each perturbed prompt, and the log-probabilities of items."""
    model = open_job_model(job)
    for pairs, answers in zip(job.paths("pairs"), job.paths("perturbed"), strict=True):
        log.info("asking %s", Path(pairs).stem)
        files = {"pairs": pairs, "predictions": answers}
        answering = Job[predict.Settings](
            job.settings, files, job.record, job.options, job.study, model
        )
        predict.run(answering)
    if job.settings.items is None:
        return
    asked = io.read_table(job.path("asked"), tables.PAIRS, ["question"])
    questions = io.read_table(job.path("questions"), tables.QUESTIONS)
    questions = questions[questions["question"].isin(asked["question"])]
    other = job.paths("wordings")
    wordings = read_wordings(Path(other[0])) if other else {}
    frame = probed(model, job.settings.items, io.records(questions), wordings)
    io.write_table(frame, job.path("item_texts"), evaluation_tables.ITEM_TEXTS, job.record)


def probed(
    model: Backend,
    settings: ItemProbe,
    questions: Sequence[Mapping[str, object]],
    wordings: Mapping[str, str],
) -> pd.DataFrame:
    """How probable each text of each item is, as a reply to a prompt without persona and topic.

    Empty for a service, which scores no text that it is given. A text that is too long for the
    model has no number.
    """
    if model.chat is None:
        return frame_of([], evaluation_tables.ITEM_TEXTS)
    first, second = ITEM_PROMPT
    messages = (first, second.format(survey=settings.survey))
    room = (model.max_length or 0) - (model.render(messages).num_tokens or 0)
    rows: list[dict[str, object]] = []
    requests = []
    for question in questions:
        texts = item_texts(settings, question, wordings, settings.seed)
        tokens = {kind: len(model.chat.encode_reply(text)) for kind, text in texts.items()}
        fitting = [kind for kind, n in tokens.items() if n <= room]
        rows += [
            {"question": question["question"], "kind": kind, "n_bytes": len(text.encode())}
            | {"tokens": tokens[kind], "fits": kind in fitting}
            for kind, text in texts.items()
        ]
        if fitting:
            requests.append(ScoringRequest(messages, tuple(texts[kind] for kind in fitting)))
    model.check_load(messages)
    scored = (reply.logprobs for reply in model.score(requests, 1))
    logprobs = iter([float(p) for of_item in scored if of_item is not None for p in of_item])
    for row in rows:
        row["logprob"] = next(logprobs) if row.pop("fits") else None
    return frame_of(rows, evaluation_tables.ITEM_TEXTS)
