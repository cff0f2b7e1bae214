"""Answer the structured questionnaire of a split by a rule over the survey's tallies."""

import argparse

import pandas as pd

from valuestrata import io, prompts
from valuestrata.models import baseline
from valuestrata.specs import Predict, from_json
from valuestrata.survey import tally

PAIR = ["stratum", "subgroup", "question"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--marginal", required=True, nargs="+")
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write one prediction a pair."""
    spec = from_json(Predict, arguments.spec)
    pairs = io.read_table(arguments.pairs, "pairs")
    scale = tally.scale_of(io.read_table(arguments.questions, "questions"))
    tables = [io.read_table(path, "tally") for path in arguments.marginal]
    marginal = {t["stratum"].iloc[0]: tally.from_frame(t, scale) for t in tables}
    answer, shares = baseline.predict(str(spec.model.rule), pairs, marginal, scale)
    frame = pd.DataFrame(
        {
            **{name: pairs[name] for name in PAIR},
            "text": [prompts.answer(spec.template, code) for code in answer],
            "outcome": "answer",
            "answer": answer,
            "codes": pairs["codes"],
            "distribution": shares,
            "off_options": 0.0,
            "tokens": pd.NA,
            "prompt_hash": "",
            "weights": str(spec.model.rule),
            "adapter": "",
        }
    )
    io.write_table(frame, arguments.output, "predictions", spec.caveat)
