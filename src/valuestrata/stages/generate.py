"""Write open-ended answers for some questions of each subgroup."""

import argparse

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.inference.backends import BACKENDS, LanguageModel
from valuestrata.inference.fill import Requests, fill
from valuestrata.inference.load_check import load_check
from valuestrata.inference.protocol import Completion, Sampling
from valuestrata.prompting import answers
from valuestrata.provenance import text_digest
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.models import (
    add_model_options,
    loaded_model,
    model_files,
    note_failures,
    open_job_model,
    reply_cache,
    written_columns,
)
from valuestrata.study.base import Part
from valuestrata.study.study import Study
from valuestrata.tables import PAIR


class Settings(Part):
    """What open-ended answers depend on."""

    model: LanguageModel
    per_subgroup: int
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
    return Settings(
        model=loaded_model(study, model),
        per_subgroup=study.generation.per_subgroup,
        max_new_tokens=study.generation.max_new_tokens,
        temperature=study.generation.temperature,
        seed=study.generation.seed,
        caveat=study.run_caveat(model),
    )


def inputs(study: Study, model: str, variant: str, split: str) -> Files:
    """The pairs, and what the model is read from."""
    return {"pairs": at(study, paths.PAIRS, split=split), **model_files(study, model, variant)}


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
    """Write one text for each pair drawn; the draw is the same for every model."""
    chosen = job.settings
    pairs = draw(io.read_table(job.path("pairs"), tables.PAIRS), chosen.per_subgroup, chosen.seed)
    requests = Requests(
        messages=list(zip(pairs["persona"], pairs["open_prompt"], strict=True)),
        sampling=Sampling(chosen.max_new_tokens, chosen.temperature, chosen.seed),
        should_cache=lambda _, written: _outcome(written) == "answer",
    )
    model, cache = open_job_model(job), reply_cache(job, "generate")
    replies = fill(cache, model, requests)
    loaded = load_check(cache, model, requests)
    record, loaded = note_failures(job, loaded, [reply.written for reply in replies])
    texts = pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "prompt": pairs["open_prompt"],
            **written_columns([reply.written for reply in replies]),
            "outcome": [_outcome(reply.written) for reply in replies],
            "prompt_hash": [reply.prompt_hash for reply in replies],
            "model_version": model.version,
            "adapter": model.adapter,
            **loaded.columns,
        }
    )
    io.write_table(texts, job.path("texts"), tables.TEXTS, record)


def _outcome(written: Completion) -> str:
    return "refusal" if written.is_refused else answers.free_outcome(written.text)


def draw(pairs: pd.DataFrame, per_subgroup: int, seed: int) -> pd.DataFrame:
    """At most `per_subgroup` pairs of each subgroup.

    A subgroup's draw depends on its own name, its questions and the seed, so that another subgroup
    or stratum changes nothing.
    """
    rows = []
    for (stratum, subgroup), group in pairs.groupby(["stratum", "subgroup"], sort=False):
        entropy = [int(text_digest([str(stratum), str(subgroup)])[:8], 16), seed]
        order = np.random.default_rng(entropy).permutation(len(group))
        rows.append(group.iloc[np.sort(order[:per_subgroup])])
    return pd.concat(rows, ignore_index=True)
