"""Answer the structured questionnaire of a split by a language model."""

import argparse
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from valuestrata import io, paths, tables
from valuestrata.inference.backends import BACKENDS, LanguageModel
from valuestrata.inference.fill import Reply, Requests
from valuestrata.inference.protocol import Completion, Sampling
from valuestrata.inference.top_logprobs import MAX_UNREAD
from valuestrata.prompting import answers, prompts
from valuestrata.prompting.settings import prompt_settings
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
from valuestrata.study.models import OpenAIModel
from valuestrata.study.study import Study, part_name, variant_name, variant_parts
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)


class Settings(Part):
    """What structured answers depend on; `template` words the replies that are scored."""

    model: LanguageModel
    template: str
    max_new_tokens: int
    constrained: bool = False
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every run of a language model; of a k-fold recipe, one a fold on the pairs it left out."""
    predictions = []
    for model, variant, split in study.runs():
        if study.is_baseline(model):
            continue
        folds = study.fold_recipes(variant) if variant in study.recipes else []
        parts = [(fold, part_name(split, "test", i)) for i, fold in enumerate(folds)]
        predictions += [(model, *part) for part in parts or [(variant, split)]]
    return [{"model": m, "variant": v, "split": s} for m, v, s in predictions]


def settings(study: Study, model: str, variant: str, split: str) -> Settings:
    """Settings of a run's answers."""
    return Settings(
        model=loaded_model(study, model),
        template=prompt_settings(study, variant_parts(variant)[1]).template,
        max_new_tokens=study.prediction.max_new_tokens,
        constrained=study.prediction.constrained,
        caveat=study.run_caveat(model),
    )


def inputs(study: Study, model: str, variant: str, split: str) -> Files:
    """The pairs as they are asked, and what the model is read from."""
    asked = variant_name(split, variant_parts(variant)[1])
    return {"pairs": at(study, paths.PAIRS, split=asked), **model_files(study, model, variant)}


def outputs(study: Study, model: str, variant: str, split: str) -> Files:
    """One prediction a pair."""
    path = at(study, paths.PREDICTIONS, model=model, variant=variant, split=split)
    return {"predictions": path}


def entries(settings: Settings) -> tuple[str, ...]:
    """The backend."""
    return (BACKENDS[settings.model.backend],)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Resources of the job."""
    add_model_options(parser)


def run(job: Job[Settings]) -> None:
    """Write one prediction a pair."""
    pairs = io.read_table(job.path("pairs"), tables.PAIRS)
    codes = [tuple(int(code) for code in row) for row in pairs["codes"]]
    labels = [tuple(row) for row in pairs["labels"]]
    template = job.settings.template
    requests = Requests(
        messages=list(zip(pairs["persona"], pairs["closed_prompt"], strict=True)),
        options=[tuple(prompts.answer(template, code) for code in row) for row in codes],
        sampling=Sampling(job.settings.max_new_tokens),
        should_cache=lambda i, written: _parse(written, codes[i], labels[i])[0] == "answer",
        constrained=job.settings.constrained,
    )
    answered = ask(job, reply_cache(job, "predict"), requests)
    replies = answered.replies
    record, loaded = note_failures(job, answered.loaded, [reply.written for reply in replies])
    loaded = loaded.with_note(_note_on_logprobs(job.settings.model, replies))
    parsed = [_parse(r.written, *row) for r, *row in zip(replies, codes, labels, strict=True)]
    predictions = _predictions(pairs, parsed, replies).assign(
        model_version=answered.version, adapter=answered.adapter, **loaded.columns
    )
    counts = predictions["outcome"].value_counts().items()
    log.info("%d predictions: %s", len(pairs), ", ".join(f"{n} {name}" for name, n in counts))
    io.write_table(predictions, job.path("predictions"), tables.PREDICTIONS, record)


def _parse(
    written: Completion, codes: Sequence[int], labels: Sequence[str]
) -> tuple[str, int | None]:
    if written.is_refused:
        return "refusal", None
    return answers.parse(written.text, codes, labels, written.is_cut)


def _predictions(
    pairs: pd.DataFrame, parsed: Sequence[tuple[str, int | None]], replies: Sequence[Reply]
) -> pd.DataFrame:
    """What each reply says: the text's outcome and code, and the probability of every option.

    Probabilities are missing where the backend cannot tell them.
    """
    logprobs = [reply.logprobs for reply in replies]
    return pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            **written_columns([reply.written for reply in replies]),
            "outcome": [outcome for outcome, _ in parsed],
            "answer": pd.array([code for _, code in parsed], dtype="Int64"),
            "codes": pairs["codes"],
            "logprobs": logprobs,
            "distribution": _of_rows(softmax, logprobs, None),
            "non_option_mass": _of_rows(_non_option_mass, logprobs, np.nan),
            "unread_mass": np.array([r.written.unread_mass for r in replies], dtype=np.float64),
            "passes": [reply.passes for reply in replies],
            "prompt_tokens": pd.array([reply.prompt_tokens for reply in replies], dtype="Int64"),
            "prompt_hash": [reply.prompt_hash for reply in replies],
        }
    )


def _note_on_logprobs(model: LanguageModel, replies: Sequence[Reply]) -> str:
    """How far distributions that were read off a service's likeliest tokens hold; '' elsewhere."""
    if not isinstance(model, OpenAIModel) or model.top_logprobs is None:
        return ""
    answered = [reply for reply in replies if reply.written.text is not None]
    shown = [reply for reply in answered if reply.written.unread_mass is not None]
    errors = [
        unread / (unread + np.exp(logsumexp(reply.logprobs)))
        for reply in shown
        if reply.logprobs is not None and (unread := reply.written.unread_mass) is not None
    ]
    parts = [f"top_logprobs: {len(errors):,} of {len(answered):,} replies have a distribution"]
    if errors:
        parts[0] += (
            f", off by {np.mean(errors):.2g} in total variation at most on average, "
            f"by {max(errors):.2g} at worst"
        )
    if n_unread := len(shown) - len(errors):
        parts.append(f"{n_unread:,} leave more than {MAX_UNREAD:.0%} of the options' mass open")
    if n_without := len(answered) - len(shown):
        parts.append(f"{n_without:,} came without log-probabilities")
    return "; ".join(parts)


def _non_option_mass(logprobs: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Probability mass that fell on no option; 1 - sum would round a small one away."""
    mass: NDArray[np.float64] = np.maximum(0.0, -np.expm1(logsumexp(logprobs, axis=axis)))
    return mass + 0.0  # no -0.0


def _of_rows(
    compute: Callable[..., Any], rows: Sequence[Sequence[float] | None], missing: object
) -> list[Any]:
    """What `compute` makes of each row of log-probabilities, `missing` where there is none.

    Rows of one length are computed at once: one by one, they take seconds in a study's node.
    """
    results: list[Any] = [missing] * len(rows)
    lengths = [-1 if row is None else len(row) for row in rows]
    for length in {*lengths} - {-1}:
        places = [i for i, n in enumerate(lengths) if n == length]
        made = compute(np.array([rows[i] for i in places]), axis=1)
        for i, value in zip(places, made, strict=True):
            results[i] = value
    return results
