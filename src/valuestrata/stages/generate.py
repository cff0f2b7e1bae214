"""Write open-ended answers for some questions of each subgroup."""

import argparse

import numpy as np
import pandas as pd

from valuestrata import answers, io
from valuestrata.provenance import code_digest, text_digest
from valuestrata.schemas import PAIR
from valuestrata.specs import Generate, from_json


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
    """Write one text for each pair drawn; the draw is the same for every model."""
    from valuestrata.models import runtime, transformers
    from valuestrata.models.store import Reply, Store, answered

    spec = from_json(Generate, arguments.spec)
    runtime.prepare(arguments.threads)
    pairs = drawn(io.read_table(arguments.pairs, "pairs"), spec.per_subgroup, spec.seed)
    chat = transformers.load_chat(spec.model)
    model = transformers.TransformersModel(spec.model, chat, arguments.adapter)
    weights = transformers.weights_digest(spec.model)
    adapter = transformers.adapter_digest(arguments.adapter)
    asked = list(zip(pairs["persona"], pairs["open_prompt"], strict=True))
    hashes = [chat.prompt(*prompt).digest for prompt in asked]
    settings = f"{spec.max_new_tokens} {spec.temperature} {spec.seed} {spec.model.dtype}"
    about = [code_digest(transformers.__name__), weights, adapter, settings]
    keys = [text_digest([*about, digest]) for digest in hashes]

    def ask(part: list[int]) -> list[Reply]:
        chosen = [asked[i] for i in part]
        texts = model.generate(chosen, spec.max_new_tokens, spec.temperature, spec.seed)
        return [{"text": text} for text in texts]

    def is_answer(_: int, reply: Reply) -> bool:
        return answers.free_outcome(reply["text"]) == "answer"

    texts = [r["text"] for r in answered(Store(arguments.store), keys, ask, is_answer)]
    frame = pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "prompt": pairs["open_prompt"],
            "text": texts,
            "outcome": [answers.free_outcome(text) for text in texts],
            "prompt_hash": hashes,
            "weights": weights,
            "adapter": adapter,
        }
    )
    io.write_table(frame, arguments.output, "texts", spec.caveat)


def drawn(pairs: pd.DataFrame, per_subgroup: int, seed: int) -> pd.DataFrame:
    """At most `per_subgroup` pairs of each subgroup.

    A subgroup's draw depends on its own name, its questions and the seed, so that another subgroup
    or stratum changes nothing.
    """
    rows = []
    for (stratum, subgroup), own in pairs.groupby(["stratum", "subgroup"], sort=False):
        named = [int(text_digest([str(stratum), str(subgroup)])[:8], 16), seed]
        order = np.random.default_rng(named).permutation(len(own))
        rows.append(own.iloc[np.sort(order[:per_subgroup])])
    return pd.concat(rows, ignore_index=True)
