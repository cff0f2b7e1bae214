"""What can be reached: how well halves of subgroups, and perfect knowledge, predict labels."""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.specs import Ceiling, Evaluation, from_json
from valuestrata.survey import ceilings, tally
from valuestrata.survey.ceilings import ALL, METRICS, NOISE_CEILING, SPLIT_HALF
from valuestrata.survey.tally import Scale, subgroup_groups
from valuestrata.tables import PAIR


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--tallies", required=True, nargs="+", help="split by split as in the spec")
    parser.add_argument("--pairs", required=True, nargs="+", help="a file a split")
    parser.add_argument("--output", required=True)
    parser.add_argument("--noise_ceiling", required=True, help="output: perfect knowledge, by pair")


def run(arguments: argparse.Namespace) -> None:
    """Write a row for each group of each level and metric, for splits and all, and the pairs."""
    spec = from_json(Ceiling, arguments.spec)
    scale = tally.scale_of(io.read_table(arguments.questions, "questions"))
    paths = iter(arguments.tallies)
    rows: list[dict[str, Any]] = []
    scored = []
    for split, pairs in zip(spec.splits, arguments.pairs, strict=True):
        tables = [io.read_table(next(paths), "tally") for _ in range(spec.splits[split])]
        found = pd.concat([_pairs_of(table, scale, spec) for table in tables])
        asked = io.read_table(pairs, "pairs")[[*PAIR, "measurement_level"]]
        own = asked.merge(found, on=PAIR, how="left", validate="one_to_one")
        for level, group, some in _levels(own):
            about = {"split": split, "level": level, "group": group}
            rows += _rows(about, some, spec.evaluation)
        scored.append(own)
    everything = pd.concat(scored).drop_duplicates(PAIR)
    rows += _rows(dict.fromkeys(("split", "level", "group"), ALL), everything, spec.evaluation)
    known = everything[PAIR].assign(**{m: everything[f"{NOISE_CEILING} {m}"] for m in METRICS})
    io.write_table(known, arguments.noise_ceiling, "noise_ceiling", spec.caveat)
    io.write_table(pd.DataFrame(rows), arguments.output, "ceilings", spec.caveat)


def _levels(pairs: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Level, group and pairs: all, each subgroup, and each axis' groups in whatever stratum."""
    yield ALL, ALL, pairs
    for subgroup, own in pairs.groupby("subgroup", sort=False):
        yield "subgroups", str(subgroup), own
    names = pairs["subgroup"].unique()
    groups = pd.DataFrame([subgroup_groups(name) for name in names], index=names)
    for axis in groups:
        for group in groups[axis].dropna().unique():
            inside = groups.index[groups[axis] == group]
            yield str(axis), str(group), pairs[pairs["subgroup"].isin(inside)]


def _pairs_of(table: pd.DataFrame, scale: Scale, spec: Ceiling) -> pd.DataFrame:
    """A row for each subgroup and question of a stratum's tally, a column a ceiling and metric."""
    counted = tally.from_frame(table, scale)
    stratum = counted.strata[0]
    found = ceilings.of_stratum(stratum, counted.counts, scale, spec.draws, spec.evaluation.seed)
    s, q = np.indices(counted.counts.shape[:2]).reshape(2, -1)
    frame = pd.DataFrame(
        {
            "stratum": stratum,
            "subgroup": np.asarray(counted.subgroups, dtype=object)[s],
            "question": np.asarray(scale.questions, dtype=object)[q],
            "q": q,
        }
    )
    columns = {
        f"{kind} {metric}": values.reshape(-1)
        for kind, own in found.items()
        for metric, values in own.items()
    }
    return frame.assign(**columns)


def _rows(about: dict[str, Any], own: pd.DataFrame, evaluation: Evaluation) -> list[dict[str, Any]]:
    """A row a ceiling and metric; only ordinal questions are asked for a distance."""
    rows = []
    for kind, metric in product((SPLIT_HALF, NOISE_CEILING), METRICS):
        asked = own if metric == "accuracy" else own[own["measurement_level"] == "ordinal"]
        values = asked[f"{kind} {metric}"].to_numpy(dtype=np.float64)
        numbers = ceilings.row(values, asked["q"].to_numpy(), evaluation)
        rows.append({"ceiling": kind, **about, "metric": metric, **numbers})
    return rows
