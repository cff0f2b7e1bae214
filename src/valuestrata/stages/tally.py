"""Count answers by subgroup, question and code: one table a stratum."""

import argparse
from pathlib import Path

import numpy as np

from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.specs import Tally, from_dict, from_json, stratum_id
from valuestrata.survey import tally
from valuestrata.survey.groups import Groups


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--responses", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--groups", required=True)
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
    labels = from_dict(Groups, io.read_json(arguments.groups)).labels()
    found = tally.members_of(responses, spec.strata, labels, spec.minimum)
    for axes, (names, _) in zip(spec.strata, found, strict=True):
        if not names:
            largest = tally.largest(responses, axes, labels)
            raise InputError(
                f"{outputs[stratum_id(axes)]}: stratum {' x '.join(axes)!r} has no subgroup of "
                f"{spec.minimum} respondents; the largest is {largest}: lower minimum.respondents, "
                "merge groups, or take the stratum out of its split"
            )
    cells, sizes = [cell for _, cell in found], [len(names) for names, _ in found]
    counts = tally.count_strata(encoded, cells, sizes, width)
    weighted = tally.count_strata(encoded, cells, sizes, width, weight)
    for axes, (names, cell), heads, sums in zip(spec.strata, found, counts, weighted, strict=True):
        respondents = np.bincount(cell[cell >= 0], minlength=len(names))
        stratum = stratum_id(axes)
        frame = tally.to_frame(stratum, names, respondents, scale, heads, sums)
        io.write_table(frame, outputs[stratum], "tally", spec.caveat)
