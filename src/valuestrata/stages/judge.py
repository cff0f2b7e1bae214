"""Compare a run's open-ended answers with the reference's, each pair in both orders."""

import argparse
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.inference.backends import BACKENDS, LanguageModel
from valuestrata.inference.fill import Requests, fill
from valuestrata.inference.load_check import load_check
from valuestrata.inference.protocol import Completion, Sampling
from valuestrata.metrics import winrate
from valuestrata.prompting import judging
from valuestrata.prompting.settings import rubric_id
from valuestrata.prompting.thinking import split_thought
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.models import (
    add_model_options,
    loaded_model,
    model_files,
    note_failures,
    open_job_model,
    reply_cache,
)
from valuestrata.study.base import Part
from valuestrata.study.study import Study
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)

ORDERS = ("first", "second")
"""Where the run's answer is shown."""


class Settings(Part):
    """What verdicts depend on."""

    model: LanguageModel
    rubric: str
    max_new_tokens: int
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every run that writes open-ended answers, by every judge."""
    keys = ("model", "variant", "split", "judge")
    return [dict(zip(keys, names, strict=True)) for names in study.judgements()]


def settings(study: Study, model: str, variant: str, split: str, judge: str) -> Settings:
    """Settings of a judge's verdicts on a run."""
    config = study.judges[judge]
    return Settings(
        model=loaded_model(study, judge),
        rubric=rubric_id(config.rubric),
        max_new_tokens=config.max_new_tokens,
        caveat=_caveat(study, {model, judge, config.reference.model}),
    )


def _caveat(study: Study, models: set[str]) -> str:
    """What verdicts say about the survey, and toys among judge, judged and reference."""
    toys = sum(map(study.is_toy, models))
    parts = [study.survey_caveat, "toy models" if toys > 1 else "toy model" if toys else ""]
    return ", ".join(filter(None, parts))


def inputs(study: Study, model: str, variant: str, split: str, judge: str) -> Files:
    """The pairs, both runs' texts, and what the judge is read from."""
    reference = study.judges[judge].reference.model_dump()
    return {
        "pairs": at(study, paths.PAIRS, split=split),
        "texts": at(study, paths.TEXTS, model=model, variant=variant, split=split),
        "reference": at(study, paths.TEXTS, **reference, split=split),
        **model_files(study, judge),
    }


def outputs(study: Study, model: str, variant: str, split: str, judge: str) -> Files:
    """A row for each pair and dimension."""
    run = {"model": model, "variant": variant, "split": split}
    return {"verdicts": at(study, paths.VERDICTS, **run, judge=judge)}


def entries(settings: Settings) -> tuple[str, ...]:
    """The backend."""
    return (BACKENDS[settings.model.backend],)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Resources of the job."""
    add_model_options(parser)


def run(job: Job[Settings]) -> None:
    """Write a row for each pair and dimension; answers that either run lacks count as failed."""
    rubric = judging.rubric(job.settings.rubric)
    responses = _responses(job)
    compared = responses[responses["comparable"]]
    shown = {"first": ["text", "reference"], "second": ["reference", "text"]}
    user_messages = [
        judging.render_judge_prompt(rubric, row["persona"], row["prompt"], *(row[c] for c in both))
        for row in io.records(compared)
        for both in (shown[order] for order in ORDERS)
    ]
    requests = Requests(
        messages=[(rubric.system, message) for message in user_messages],
        sampling=Sampling(job.settings.max_new_tokens),
        should_cache=lambda _, written: None not in _verdict(written, rubric.dimensions).values(),
    )
    model = open_job_model(job)
    cache = reply_cache(job, f"judge-{job.record.run['judge']}")
    texts = [reply.written for reply in fill(cache, model, requests)]
    loaded = load_check(cache, model, requests)
    record, loaded = note_failures(job, loaded, texts)
    # those that were compared come first
    responses = pd.concat([compared, responses[~responses["comparable"]]], ignore_index=True)
    verdicts = _verdicts(responses, texts, rubric.dimensions).assign(
        judge_version=model.version, judge_notes=loaded.columns["notes"]
    )
    n_missing = int((verdicts["outcome"] != "verdict").sum())
    log.info("%d verdicts, %d invalid, truncated or failed", len(verdicts), n_missing)
    io.write_table(verdicts, job.path("verdicts"), tables.VERDICTS, record)


def _responses(job: Job[Settings]) -> pd.DataFrame:
    """The run's and the reference's texts side by side, with the persona they speak for."""
    texts = io.read_table(job.path("texts"), tables.TEXTS)
    reference = io.read_table(job.path("reference"), tables.TEXTS)
    reference = reference[[*PAIR, "text", "outcome"]]
    reference = reference.rename(columns={"text": "reference", "outcome": "reference_outcome"})
    personas = io.read_table(job.path("pairs"), tables.PAIRS, [*PAIR, "persona"])
    both = texts.merge(reference, on=PAIR, how="left", validate="one_to_one")
    both = both.merge(personas, on=PAIR, how="left", validate="one_to_one")
    no_text = ["failed", "invalid", "truncated"]
    has_text = ~both["outcome"].isin(no_text) & ~both["reference_outcome"].isin(no_text)
    return both.assign(comparable=has_text & both["reference"].notna())


def _verdict(written: Completion, dimensions: Sequence[str]) -> dict[str, float | None]:
    text = None if written.is_refused else written.text
    return judging.verdicts(text, dimensions, written.is_cut)


def _verdicts(
    responses: pd.DataFrame, texts: Sequence[Completion], dimensions: Sequence[str]
) -> pd.DataFrame:
    """A row for each response and dimension.

    Args:
        responses: n of them, of which the first k were compared.
        texts: [2 k] what the judge wrote, in both orders of each.
        dimensions: what was compared.
    """
    n, width = len(responses), len(dimensions)
    scores = np.full((n, len(ORDERS), width), np.nan)
    has_reply = np.zeros((n, len(ORDERS)), dtype=bool)
    is_cut = np.zeros((n, len(ORDERS)), dtype=bool)
    for i, text in enumerate(texts):
        place = divmod(i, len(ORDERS))
        verdict = _verdict(text, dimensions)
        scores[place] = [np.nan if score is None else score for score in verdict.values()]
        has_reply[place] = text.text is not None
        is_cut[place] = text.is_cut or not split_thought(text.text or "").is_finished
    as_first, as_second = scores[:, 0].ravel(), winrate.flip_score(scores[:, 1]).ravel()
    score = winrate.score(as_first, as_second)
    is_answered = np.repeat(has_reply.all(axis=1), width)
    no_verdict = np.where(np.repeat(is_cut.any(axis=1), width), "truncated", "invalid")
    repeated = responses.loc[responses.index.repeat(width)].reset_index(drop=True)
    lengths = repeated[["text", "reference"]].fillna("").map(len)
    return pd.DataFrame(
        {
            **{name: repeated[name] for name in PAIR},
            "dimension": list(dimensions) * n,
            "outcome": np.where(
                ~is_answered, "failed", np.where(np.isnan(score), no_verdict, "verdict")
            ),
            "as_first": as_first,
            "as_second": as_second,
            "score": score,
            "flipped": winrate.flipped(as_first, as_second),
            "length_difference": lengths["text"] - lengths["reference"],
        }
    )
