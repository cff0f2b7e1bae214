"""Answer the structured questionnaire of a split by a rule over the survey's own answers."""

import argparse

import pandas as pd

from valuestrata import io
from valuestrata.baselines import rules
from valuestrata.prompting import prompts
from valuestrata.specs import Predict, from_json
from valuestrata.survey import crosstab, tally
from valuestrata.tables import PAIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--responses", required=True)
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write one prediction a pair."""
    spec = from_json(Predict, arguments.spec)
    pairs = io.read_table(arguments.pairs, "pairs")
    scale = tally.scale_of(io.read_table(arguments.questions, "questions"))
    cells = crosstab.cross_tab(io.read_table(arguments.responses, "responses"), scale)
    rule = str(spec.model.rule)
    answer, shares = rules.predict(rule, pairs, cells, scale)
    frame = pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "text": [prompts.answer(spec.template, code) for code in answer],
            "outcome": "answer",
            "answer": answer,
            "codes": pairs["codes"],
            "logprobs": None,
            "distribution": shares,
            "non_option_mass": 0.0,
            "tokens": pd.NA,
            "prompt_hash": "",
            "weights": rules.about(rule),
            "adapter": "",
        }
    )
    io.write_table(frame, arguments.output, "predictions", spec.caveat)
