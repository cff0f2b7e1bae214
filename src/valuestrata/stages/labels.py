"""Put a split's labels with and without weights side by side, and list its ties."""

import argparse

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.specs import Labels, from_json
from valuestrata.survey import modal, tally
from valuestrata.tables import PAIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--tallies", required=True, nargs="+")
    parser.add_argument("--questions", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--labels", required=True, help="output: both readings")
    parser.add_argument("--ties", required=True, help="output: tied pairs")


def run(arguments: argparse.Namespace) -> None:
    """Write a row for each pair, and one for each pair that is tied as the study reads modes."""
    spec = from_json(Labels, arguments.spec)
    scale = tally.scale_of(io.read_table(arguments.questions, "questions"))
    counted = tally.from_frame(io.read_table(arguments.tallies, "tally"), scale)
    pairs = io.read_table(arguments.pairs, "pairs")[[*PAIR, "mode", "codes", "n", "respondents"]]
    cells = pd.MultiIndex.from_arrays([counted.strata, counted.subgroups])
    s = cells.get_indexer(pd.MultiIndex.from_frame(pairs[["stratum", "subgroup"]]))
    q = pd.Index(scale.questions).get_indexer(pd.Index(pairs["question"]))
    codes, real = scale.codes[q], scale.real[q]
    # [n, C] of each reading
    sums = {
        "unweighted": counted.counts[s, q],
        "weighted": modal.comparable(counted.weighted[s, q]),
    }
    labels = pairs.drop(columns="mode")
    for how, own in sums.items():
        labels[f"mode_{how}"] = codes[np.arange(len(pairs)), modal.modes(own)]
        labels[f"tied_{how}"] = modal.tied(own)
        share = modal.shares(own)
        labels[f"distribution_{how}"] = [row[r] for row, r in zip(share, real, strict=True)]
    io.write_table(labels, arguments.labels, "labels", spec.caveat)
    own = sums[spec.labels.mode]
    first = modal.is_mode(own)
    listed = pairs.assign(
        codes=[row[lead] for row, lead in zip(codes, first, strict=True)],
        each=own.max(axis=1, initial=0),
    )
    io.write_table(listed[modal.tied(own)], arguments.ties, "ties", spec.caveat)
