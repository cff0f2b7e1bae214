"""Put a k-fold recipe's predictions together: each pair's by the model not tuned on it."""

import argparse

from valuestrata import io
from valuestrata.specs import Pool, from_json
from valuestrata.tables import PAIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--pairs", required=True, help="of the whole split")
    parser.add_argument("--predictions", required=True, nargs="+", help="a file a fold")
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write one prediction a pair, in the order of the pairs."""
    spec = from_json(Pool, arguments.spec)
    pairs = io.read_table(arguments.pairs, "pairs", PAIR)
    parts = io.read_table(arguments.predictions, "predictions")
    pooled = pairs.merge(parts, on=PAIR, validate="one_to_one")
    assert len(pooled) == len(pairs) == len(parts), "the folds are not a partition of the split"
    io.write_table(pooled, arguments.output, "predictions", spec.caveat)
