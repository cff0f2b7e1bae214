"""Score one run's predictions pair by pair: one table a stratum."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.metrics import distribution, ordinal
from valuestrata.specs import Score, from_json
from valuestrata.tables import PAIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--predictions", required=True)
    parser.add_argument("--output", required=True, nargs="+", help="a file a stratum, named by it")


def run(arguments: argparse.Namespace) -> None:
    """Score every pair; a pair without prediction or prediction without pair is an error."""
    spec = from_json(Score, arguments.spec)
    pairs = io.read_table(arguments.pairs, "pairs")
    predictions = io.read_table(arguments.predictions, "predictions")
    both = pairs.merge(
        predictions[[*PAIR, "outcome", "answer", "distribution", "non_option_mass"]],
        on=PAIR,
        how="outer",
        suffixes=("", "_model"),
        validate="one_to_one",
    )
    for column, what in (
        ("mode", "predictions have no pair"),
        ("outcome", "pairs have no outcome"),
    ):
        if both[column].isna().any():
            raise ValueError(f"{arguments.predictions}: {both[column].isna().sum()} {what}")
    scores = _scores(both)
    for path in arguments.output:
        own = scores[scores["stratum"] == Path(path).stem]
        io.write_table(own, path, "scores", spec.caveat)


def _scores(both: pd.DataFrame) -> pd.DataFrame:
    answer, mode, scale_min, scale_max = (
        both[name].to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("answer", "mode", "scale_min", "scale_max")
    )
    is_ordinal = (both["measurement_level"] == "ordinal").to_numpy(dtype=bool)
    codes = _padded(both["codes"], both["codes"].map(len).max(), last=True)
    people = _padded(both["distribution"], codes.shape[1])
    model = _padded(both["distribution_model"], codes.shape[1])
    w1 = distribution.wasserstein(model, people, codes, scale_min, scale_max)
    top, confidence = distribution.likeliest(model)
    likeliest = np.where(np.isnan(confidence), np.nan, codes[np.arange(len(codes)), top])
    return pd.DataFrame(
        {
            **{
                name: both[name]
                for name in [*PAIR, "block", "measurement_level", "outcome", "answer"]
            },
            "accuracy": ordinal.accuracy(answer, mode),
            "nmae": ordinal.nmae(answer, mode, scale_min, scale_max, is_ordinal),
            "wasserstein": np.where(is_ordinal, w1, np.nan),
            "jensen_shannon": distribution.jensen_shannon(model, people),
            "total_variation": distribution.total_variation(model, people),
            "argmax_accuracy": ordinal.accuracy(likeliest, mode),
            "confidence": confidence,
            "non_option_mass": both["non_option_mass"],
        }
    )


def _padded(lists: pd.Series, width: int, last: bool = False) -> np.ndarray:
    """[n, width] rows of the lists, padded with 0 or their last value; NaN rows where missing."""
    rows = np.full((len(lists), width), np.nan)
    for i, values in enumerate(lists):
        if values is not None and not np.isscalar(values):
            rows[i, : len(values)] = values
            rows[i, len(values) :] = values[-1] if last else 0.0
    return rows
