"""Answer the structured questionnaire of a split by a language model."""

import argparse
import logging
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp, softmax

from valuestrata import io
from valuestrata.prompting import answers, prompts
from valuestrata.specs import Predict, from_json
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument(
        "--adapter", nargs="?", help="folder of the adapter, none for the base model"
    )
    parser.add_argument("--store", required=True, help="folder of stored replies")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write one prediction a pair."""
    from valuestrata.inference import protocol
    from valuestrata.inference.backends import open_model
    from valuestrata.inference.protocol import ScoringRequest
    from valuestrata.inference.reply_cache import Reply, ReplyCache, get_or_compute

    spec = from_json(Predict, arguments.spec)
    pairs = io.read_table(arguments.pairs, "pairs")
    model = open_model(spec.model, arguments.threads, arguments.adapter)
    asked = [
        ScoringRequest(
            row["persona"],
            row["closed_prompt"],
            tuple(prompts.answer(spec.template, int(code)) for code in row["codes"]),
        )
        for row in io.records(pairs)
    ]
    said = [(question.persona, question.user) for question in asked]
    rendered = protocol.rendered(model, said, spec.max_new_tokens)
    options = protocol.options(model, asked, spec.max_new_tokens)
    keys = protocol.cache_keys(
        model, rendered, [(str(spec.max_new_tokens), *own) for own in options]
    )
    codes = [[int(code) for code in row] for row in pairs["codes"]]

    def ask(part: list[int]) -> list[Reply]:
        found = model.answer([asked[i] for i in part], spec.max_new_tokens)
        return [
            {"text": one.text, "logprobs": None if one.logprobs is None else one.logprobs.tolist()}
            for one in found
        ]

    def is_answer(i: int, reply: Reply) -> bool:
        return answers.parse(reply["text"], codes[i])[0] == "answer"

    replies = get_or_compute(ReplyCache(arguments.store), keys, ask, is_answer, model.shard)
    frame = _predictions(pairs, codes, replies).assign(
        tokens=pd.array([prompt.tokens for prompt in rendered], dtype="Int64"),
        prompt_hash=[prompt.digest for prompt in rendered],
        weights=model.weights,
        adapter=model.adapter,
    )
    counts = frame["outcome"].value_counts().to_dict()
    log.info("%d predictions: %s", len(frame), ", ".join(f"{v} {k}" for k, v in counts.items()))
    io.write_table(frame, arguments.output, "predictions", spec.caveat)


def _predictions(
    pairs: pd.DataFrame, codes: list[list[int]], replies: list[dict[str, Any]]
) -> pd.DataFrame:
    """What each reply says: the text's outcome and code, and the probability of every option.

    Probabilities are missing where the backend cannot tell them.
    """
    parsed = [answers.parse(r["text"], own) for r, own in zip(replies, codes, strict=True)]
    logprobs = [reply["logprobs"] for reply in replies]
    return pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "text": [reply["text"] for reply in replies],
            "outcome": [outcome for outcome, _ in parsed],
            "answer": pd.array([code for _, code in parsed], dtype="Int64"),
            "codes": pairs["codes"],
            "logprobs": logprobs,
            "distribution": [None if v is None else softmax(v) for v in logprobs],
            "non_option_mass": [np.nan if v is None else _on_no_option(v) for v in logprobs],
        }
    )


def _on_no_option(logprobs: list[float]) -> float:
    """Probability mass that fell on no option; 1 - sum would round a small one away."""
    return max(0.0, float(-np.expm1(logsumexp(logprobs))))
