"""Train a toy language model from scratch."""

import argparse

from valuestrata import io, paths
from valuestrata.specs import MakeToy, from_dict, from_json
from valuestrata.survey.groups import Groups


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--output", required=True, help="folder of the model")


def run(arguments: argparse.Namespace) -> None:
    """Train on the wordings of the study's questions and write weights, tokenizer and log."""
    from valuestrata.demo import toy, toy_texts
    from valuestrata.inference import runtime

    spec = from_json(MakeToy, arguments.spec)
    runtime.prepare(arguments.threads)
    questions = io.read_table(arguments.questions, "questions")
    groups = from_dict(Groups, io.read_json(arguments.groups))
    with io.replacing_folder(arguments.output) as folder:
        history = toy.make(toy_texts.Speaker(spec, questions, groups), folder)
        io.write_json({"caveat": spec.caveat, "steps": history}, folder / paths.TRAINING_LOG)
