"""How well one random half of each subgroup predicts the other half."""

import argparse
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.schemas import PAIR
from valuestrata.specs import Ceiling, Evaluation, from_json
from valuestrata.survey import ceiling, tally
from valuestrata.survey.ceiling import ALL, METRICS
from valuestrata.survey.tally import Scale


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--tallies", required=True, nargs="+", help="split by split as in the spec")
    parser.add_argument("--pairs", required=True, nargs="+", help="a file a split")
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write a row for each subgroup and metric, for each split, and for all splits."""
    spec = from_json(Ceiling, arguments.spec)
    scale = tally.scale_of(io.read_table(arguments.questions, "questions"))
    paths = iter(arguments.tallies)
    rows: list[dict[str, Any]] = []
    scored = []
    for split, pairs in zip(spec.splits, arguments.pairs, strict=True):
        tables = [io.read_table(next(paths), "tally") for _ in range(spec.splits[split])]
        found = pd.concat([_pairs_of(table, scale, spec) for table in tables])
        asked = io.read_table(pairs, "pairs")[[*PAIR, "kind"]]
        own = asked.merge(found, on=PAIR, how="left", validate="one_to_one")
        for (stratum, subgroup), some in own.groupby(["stratum", "subgroup"], sort=False):
            about = {"stratum": stratum, "subgroup": subgroup, "split": split}
            rows += _rows(about, some, spec.evaluation)
        rows += _rows({"stratum": ALL, "subgroup": ALL, "split": split}, own, spec.evaluation)
        scored.append(own)
    everything = pd.concat(scored).drop_duplicates(PAIR)
    rows += _rows(dict.fromkeys(("stratum", "subgroup", "split"), ALL), everything, spec.evaluation)
    io.write_table(pd.DataFrame(rows), arguments.output, "ceilings", spec.caveat)


def _pairs_of(table: pd.DataFrame, scale: Scale, spec: Ceiling) -> pd.DataFrame:
    """A row for each subgroup and question of a stratum's tally, with a column a metric."""
    counted = tally.from_frame(table, scale)
    stratum = counted.strata[0]
    found = ceiling.of_stratum(stratum, counted.counts, scale, spec.halves, spec.evaluation.seed)
    s, q = np.indices(counted.counts.shape[:2]).reshape(2, -1)
    return pd.DataFrame(
        {
            "stratum": stratum,
            "subgroup": np.asarray(counted.subgroups, dtype=object)[s],
            "question": np.asarray(scale.questions, dtype=object)[q],
            "q": q,
            **{metric: values.reshape(-1) for metric, values in found.items()},
        }
    )


def _rows(about: dict[str, Any], own: pd.DataFrame, evaluation: Evaluation) -> list[dict[str, Any]]:
    """A row a metric; only ordinal questions are asked for a distance."""
    rows = []
    for metric in METRICS:
        asked = own if metric == "accuracy" else own[own["kind"] == "ordinal"]
        values = asked[metric].to_numpy(dtype=np.float64)
        rows.append(
            {**about, "metric": metric} | ceiling.row(values, asked["q"].to_numpy(), evaluation)
        )
    return rows
