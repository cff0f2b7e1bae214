"""Write open-ended answers for some questions of each subgroup."""

import argparse

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.prompting import answers
from valuestrata.provenance import text_digest
from valuestrata.specs import Generate, from_json
from valuestrata.tables import PAIR


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
    from valuestrata.inference import protocol
    from valuestrata.inference.backends import open_model
    from valuestrata.inference.reply_cache import Reply, ReplyCache, get_or_compute

    spec = from_json(Generate, arguments.spec)
    pairs = drawn(io.read_table(arguments.pairs, "pairs"), spec.per_subgroup, spec.seed)
    model = open_model(spec.model, arguments.threads, arguments.adapter)
    asked = list(zip(pairs["persona"], pairs["open_prompt"], strict=True))
    rendered = protocol.rendered(model, asked, spec.max_new_tokens)
    sampling = [f"{spec.max_new_tokens} {spec.temperature} {spec.seed}"]
    keys = protocol.cache_keys(model, rendered, [sampling] * len(asked))

    def ask(part: list[int]) -> list[Reply]:
        chosen = [asked[i] for i in part]
        texts = model.generate(chosen, spec.max_new_tokens, spec.temperature, spec.seed)
        return [{"text": text} for text in texts]

    def is_answer(_: int, reply: Reply) -> bool:
        return answers.free_outcome(reply["text"]) == "answer"

    replies = get_or_compute(ReplyCache(arguments.store), keys, ask, is_answer, model.shard)
    texts = [reply["text"] for reply in replies]
    frame = pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "prompt": pairs["open_prompt"],
            "text": texts,
            "outcome": [answers.free_outcome(text) for text in texts],
            "prompt_hash": [prompt.digest for prompt in rendered],
            "weights": model.weights,
            "adapter": model.adapter,
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
