"""What the stages that ask a language model share: the model as it is loaded, and their options."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from valuestrata import paths
from valuestrata.inference.backends import LanguageModel, open_model
from valuestrata.inference.fill import Requests, fill
from valuestrata.inference.load_check import load_check
from valuestrata.inference.protocol import (
    WRAPPER_TOKENS,
    Backend,
    Completion,
    LoadCheck,
    MeteredBackend,
)
from valuestrata.inference.recall import Answers, Local, recall, remember
from valuestrata.inference.reply_cache import ReplyCache
from valuestrata.prompting.thinking import split_thought
from valuestrata.records import Record
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.models import LocalModel, OpenAIModel
from valuestrata.study.study import BASE, Study, variant_parts

log = logging.getLogger(__name__)


def loaded_model(study: Study, name: str) -> LanguageModel:
    """A model, or a judge's, as it is loaded: a toy from its folder, resources at their defaults.

    Raises:
        ValueError: it is a baseline.
    """
    model = study.model(name)
    if not isinstance(model, LocalModel | OpenAIModel):
        raise ValueError(f"{name} is no language model")
    plain = model.without_resources()
    if isinstance(plain, LocalModel) and plain.toy is not None:
        return plain.replace(model=at(study, paths.BASE_MODEL, model=name), toy=None)
    return plain


def model_files(study: Study, name: str, variant: str = BASE) -> Files:
    """Files that a model is read from: a toy's folder, or a directory's weights; and its adapter.

    A hub model is no file: its revision says which one it is.
    """
    plain, _ = variant_parts(variant)
    model = study.model(name)
    files: dict[str, str | tuple[str, ...]] = {}
    if study.is_toy(name):
        files["weights"] = at(study, paths.BASE_MODEL, model=name)
    elif isinstance(model, LocalModel):
        files["weights"] = tuple(sorted(map(str, Path(str(model.model)).glob("*.safetensors"))))
    if plain != BASE:
        files["adapter"] = at(study, paths.ADAPTER, model=name, recipe=plain)
    return files


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options of a stage that asks a language model; no result depends on them."""
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; 1 by default")
    parser.add_argument(
        "--gpus",
        type=int,
        default=0,
        help="GPUs that the model needs: without any, the stage ends before it loads weights; "
        "0, the default, runs on a CPU, too",
    )
    parser.add_argument(
        "--cache", help="folder of cached replies; by default one beside the study for each run"
    )


def reply_cache(job: Job[Any], stage: str) -> ReplyCache:
    """The cache of a run's, or a judge's, replies: the folder that was given, or its own."""
    named = job.record.run
    run = {"model": named.get("model") or named["judge"], "variant": named.get("variant", BASE)}
    folder = job.options.cache
    if folder is None:
        folder = Path(job.options.study).parent / paths.CACHE.format(**run, stage=stage)
    return ReplyCache(folder)


def open_job_model(job: Job[Any]) -> Backend:
    """The language model of a job's settings, with the run's adapter.

    A service is asked at the pace that the study allows, and its calls are charged to the study.

    Raises:
        InputError: it needs a GPU and there is none; one line that names its key in the study.
    """
    if job.backend is not None:
        return cast(Backend, job.backend)
    run = job.record.run
    if job.options.gpus:
        from valuestrata.inference import local

        where = f"judges.{run['judge']}.model" if "judge" in run else f"models.{run['model']}"
        local.require_gpu(job.options.gpus, where)
    model, study = job.settings.model, job.study
    if study is not None and isinstance(model, OpenAIModel):
        model = study.model(asked_model(run))
    adapter = next(iter(job.paths("adapter")), None)
    backend: Backend = (job.open_model or open_model)(model, job.options.threads, adapter)
    if study is not None and isinstance(backend, MeteredBackend):
        node = {"stage": job.record.stage, **run}
        backend.charge_to(Path(at(study, paths.LEDGER)), node, study.budget)
    return backend


def ask(job: Job[Any], cache: ReplyCache, requests: Requests) -> Answers:
    """The answers to a job's prompts; where all are stored, the model is not even opened.

    Raises:
        InputError: a prompt or an option is too long, or the model cannot be loaded or reached.
    """
    model, is_local = job.settings.model, job.backend is None
    is_local = is_local and isinstance(model, Local)
    adapter = next(iter(job.paths("adapter")), None)
    if is_local and (answers := recall(cache, model, adapter, requests)) is not None:
        log.info("%d of %d replies are cached", len(answers.replies), len(answers.replies))
        return answers
    backend = open_job_model(job)
    replies = fill(cache, backend, requests)
    loaded = load_check(cache, backend, requests)
    answers = Answers(replies, loaded, backend.version, backend.adapter)
    if is_local:
        remember(cache, model, answers, requests)
    return answers


def asked_model(run: Mapping[str, str]) -> str:
    """The model that a run asks: the judge's, where it has one."""
    return run.get("judge") or run["model"]


def note_failures(
    job: Job[Any], loaded: LoadCheck, completions: Sequence[Completion]
) -> tuple[Record, LoadCheck]:
    """Record and notes of a job; they say how many calls failed, if the study does not accept it.

    Such an artefact counts as incomplete: the next run of snakemake asks the failed calls again.
    They say, too, where a service writes more than it is asked for.
    """
    loaded = loaded.with_note(_note_on_length(job.settings, completions))
    n_failed = sum(completion.text is None for completion in completions)
    if n_failed <= getattr(job.settings.model, "accepted_failures", 0.0) * len(completions):
        return job.record, loaded
    note = (
        f"incomplete: {n_failed:,} of {len(completions):,} calls failed; "
        "run snakemake again to retry them"
    )
    record = replace(job.record, n_failed=n_failed)
    return record, loaded.with_note(note)


def _note_on_length(settings: Any, completions: Sequence[Completion]) -> str:
    """How many replies are longer than the service was told, '' for none."""
    if not isinstance(settings.model, OpenAIModel):
        return ""
    longest = settings.max_new_tokens + WRAPPER_TOKENS
    n_longer = sum((c.completion_tokens or 0) > longest for c in completions)
    if not n_longer:
        return ""
    other = {"max_tokens", "max_completion_tokens"} - {settings.model.length_parameter}
    return (
        f"{n_longer:,} of {len(completions):,} replies are longer than max_new_tokens: the service "
        f"does not keep to {settings.model.length_parameter}; try length_parameter: {other.pop()}"
    )


def written_columns(completions: Sequence[Completion]) -> dict[str, list[str | None]]:
    """Columns of what was written: the text, the thought before it, and why it ended."""
    parts = [split_thought(c.text or "") for c in completions]
    return {
        "text": [
            None if c.text is None else part.reply
            for c, part in zip(completions, parts, strict=True)
        ],
        "thought": [part.thought or None for part in parts],
        "finish_reason": [c.finish_reason for c in completions],
    }
