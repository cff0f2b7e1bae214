"""Count answers by subgroup, question and code: one table a stratum."""

import argparse
from pathlib import Path

import numpy as np

from valuestrata import io
from valuestrata.specs import Tally, from_json, stratum_id
from valuestrata.survey import tally


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--responses", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--output", required=True, nargs="+", help="a file a stratum, named by it")


def run(arguments: argparse.Namespace) -> None:
    """Tally each stratum of the spec."""
    spec = from_json(Tally, arguments.spec)
    responses = io.read_table(arguments.responses, "responses")
    scale = tally.scale_of(io.read_table(arguments.questions, "questions"))
    encoded = tally.encode(responses, scale)
    weight = responses["weight"].to_numpy(dtype=np.float64)
    width = scale.codes.shape[1]
    outputs = {Path(path).stem: path for path in arguments.output}
    for axes in spec.strata:
        names, cell = tally.members(responses, axes, spec.groups, spec.minimum)
        counts = tally.count(encoded, cell, len(names), width)
        weighted = tally.count(encoded, cell, len(names), width, weight)
        sizes = np.bincount(cell[cell >= 0], minlength=len(names))
        stratum = stratum_id(axes)
        frame = tally.to_frame(stratum, names, sizes, scale, counts, weighted)
        io.write_table(frame, outputs[stratum], "tally", spec.caveat)
