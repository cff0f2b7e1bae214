"""Answer the structured questionnaire of a split by a language model."""

import argparse
import logging
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from valuestrata import answers, io, prompts
from valuestrata.provenance import code_digest, text_digest
from valuestrata.schemas import PAIR
from valuestrata.specs import Predict, from_json

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
    from valuestrata.models import runtime
    from valuestrata.models.base import Question
    from valuestrata.models.store import Reply, Store, answered
    from valuestrata.models.transformers import (
        TransformersModel,
        adapter_digest,
        load_chat,
        weights_digest,
    )

    spec = from_json(Predict, arguments.spec)
    pairs = io.read_table(arguments.pairs, "pairs")
    runtime.prepare(arguments.threads)
    chat = load_chat(spec.model)
    model = TransformersModel(spec.model, chat, arguments.adapter)
    weights, adapter = weights_digest(spec.model), adapter_digest(arguments.adapter)
    asked = [
        Question(
            row["persona"],
            row["closed_prompt"],
            tuple(prompts.answer(spec.template, int(code)) for code in row["codes"]),
        )
        for row in io.records(pairs)
    ]
    rendered = [chat.prompt(q.persona, q.user) for q in asked]
    scorer = code_digest(TransformersModel.__module__)
    settings = [scorer, spec.model.backend, spec.model.dtype, str(spec.max_new_tokens)]
    keys = [
        text_digest([weights, adapter, *settings, prompt.digest, *question.replies])
        for prompt, question in zip(rendered, asked, strict=True)
    ]
    codes = [[int(code) for code in row] for row in pairs["codes"]]

    def ask(part: list[int]) -> list[Reply]:
        found = model.answer([asked[i] for i in part], spec.max_new_tokens)
        return [{"text": reply.text, "logprobs": reply.logprobs.tolist()} for reply in found]

    def is_answer(i: int, reply: Reply) -> bool:
        return answers.parse(reply["text"], codes[i])[0] == "answer"

    replies = answered(Store(arguments.store), keys, ask, is_answer)
    frame = _predictions(pairs, codes, replies).assign(
        tokens=[len(prompt.ids) for prompt in rendered],
        prompt_hash=[prompt.digest for prompt in rendered],
        weights=weights,
        adapter=adapter,
    )
    counts = frame["outcome"].value_counts().to_dict()
    log.info("%d predictions: %s", len(frame), ", ".join(f"{v} {k}" for k, v in counts.items()))
    io.write_table(frame, arguments.output, "predictions", spec.caveat)


def _predictions(
    pairs: pd.DataFrame, codes: list[list[int]], replies: list[dict[str, Any]]
) -> pd.DataFrame:
    """What each reply says: the text's outcome and code, and the probability of every option."""
    parsed = [answers.parse(r["text"], own) for r, own in zip(replies, codes, strict=True)]
    logprobs = [np.asarray(reply["logprobs"]) for reply in replies]
    return pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "text": [reply["text"] for reply in replies],
            "outcome": [outcome for outcome, _ in parsed],
            "answer": pd.array([code for _, code in parsed], dtype="Int64"),
            "codes": pairs["codes"],
            "distribution": [softmax(values) for values in logprobs],
            "off_options": [float(np.clip(1 - np.exp(v).sum(), 0, 1)) for v in logprobs],
        }
    )
