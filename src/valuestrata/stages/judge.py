"""Compare a run's open-ended answers with the reference's, each pair in both orders."""

import argparse
import logging

import pandas as pd

from valuestrata import io
from valuestrata.prompting import judging
from valuestrata.specs import Judge, from_json
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--reference", required=True, help="texts of the reference run")
    parser.add_argument("--store", required=True, help="folder of stored replies")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write a row for each pair and dimension; answers that either run lacks count as failed."""
    from valuestrata.inference import protocol
    from valuestrata.inference.backends import open_model
    from valuestrata.inference.reply_cache import Reply, ReplyCache, get_or_compute

    spec = from_json(Judge, arguments.spec)
    rubric = judging.rubric(spec.rubric)
    pairs = _responses(arguments)
    model = open_model(spec.model, arguments.threads)
    both = pairs[pairs["comparable"]]
    prompts = [
        (rubric.system, judging.render_judge_prompt(rubric, row["persona"], row["prompt"], *shown))
        for row in io.records(both)
        for shown in ((row["text"], row["reference"]), (row["reference"], row["text"]))
    ]
    rendered = protocol.rendered(model, prompts, spec.max_new_tokens)
    keys = protocol.cache_keys(model, rendered, [[str(spec.max_new_tokens)]] * len(prompts))

    def ask(part: list[int]) -> list[Reply]:
        texts = model.generate([prompts[i] for i in part], spec.max_new_tokens, 0.0, 0)
        return [{"text": text} for text in texts]

    def is_complete(_: int, reply: Reply) -> bool:
        return None not in judging.verdicts(reply["text"], rubric.dimensions).values()

    replies = get_or_compute(ReplyCache(arguments.store), keys, ask, is_complete, model.shard)
    said = [
        None if reply["text"] is None else judging.verdicts(reply["text"], rubric.dimensions)
        for reply in replies
    ]
    rows = [
        _row(pair, name, first, second)
        for pair, (first, second) in zip(
            io.records(both), zip(said[0::2], said[1::2], strict=True), strict=True
        )
        for name in rubric.dimensions
    ]
    rows += [
        _row(pair, name, None, None)
        for pair in io.records(pairs[~pairs["comparable"]])
        for name in rubric.dimensions
    ]
    frame = pd.DataFrame(rows).assign(judge=model.weights)
    log.info("%d verdicts, %d invalid or failed", len(frame), (frame.outcome != "verdict").sum())
    io.write_table(frame, arguments.output, "verdicts", spec.caveat)


def _responses(arguments: argparse.Namespace) -> pd.DataFrame:
    """The run's and the reference's texts side by side, with the persona they speak for."""
    texts = io.read_table(arguments.texts, "texts")
    reference = io.read_table(arguments.reference, "texts")
    reference = reference[[*PAIR, "text", "outcome"]]
    reference = reference.rename(columns={"text": "reference", "outcome": "reference_outcome"})
    personas = io.read_table(arguments.pairs, "pairs", [*PAIR, "persona"])
    both = texts.merge(reference, on=PAIR, how="left", validate="one_to_one")
    both = both.merge(personas, on=PAIR, how="left", validate="one_to_one")
    silent = ["failed", "invalid"]
    spoke = ~both["outcome"].isin(silent) & ~both["reference_outcome"].isin(silent)
    return both.assign(comparable=spoke & both["reference"].notna())


def _row(
    pair: dict[str, object],
    dimension: str,
    first: dict[str, float | None] | None,
    second: dict[str, float | None] | None,
) -> dict[str, object]:
    as_first = first[dimension] if first else None
    as_second = judging.flip_score(second[dimension]) if second else None
    known = as_first is not None and as_second is not None
    outcome = "verdict" if known else "failed" if first is None or second is None else "invalid"
    return {
        **{name: pair[name] for name in PAIR},
        "dimension": dimension,
        "outcome": outcome,
        "as_first": as_first,
        "as_second": as_second,
        "score": (as_first + as_second) / 2 if known else None,  # type: ignore[operator]
        "flipped": as_first != as_second if known else None,
        "length_difference": len(str(pair["text"] or "")) - len(str(pair["reference"] or "")),
    }
