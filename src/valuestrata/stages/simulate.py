"""Write a simulated survey."""

import argparse

import pandas as pd

from valuestrata.demo import simulate
from valuestrata.specs import Simulate, from_json
from valuestrata.survey import codebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--codebook", required=True)
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Simulate all questions of the codebook."""
    spec = from_json(Simulate, arguments.spec)
    questions = pd.DataFrame(list(codebook.load(arguments.codebook).values()))
    frame = simulate.simulate(questions, spec.respondents, spec.seed)
    simulate.write(frame, arguments.output)
