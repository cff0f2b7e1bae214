"""Sum up the survey side: the figures that a reader checks first."""

import argparse
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.metrics import ordinal, resample
from valuestrata.models import baseline
from valuestrata.specs import Summary, from_json
from valuestrata.survey import ceiling, joint, tally

BASELINES = ("national_mode", "axis_mode")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--responses", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--diversity", required=True)
    parser.add_argument("--ceilings", required=True)
    parser.add_argument("--pairs", required=True, nargs="+", help="a file a split, named by it")
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write summary.json: sizes; pairs, baselines and ceilings by split; conflict by block."""
    spec = from_json(Summary, arguments.spec)
    questions = io.read_table(arguments.questions, "questions")
    responses = io.read_table(arguments.responses, "responses")
    scale = tally.scale_of(questions)
    cells = joint.joint_of(responses, scale)
    ceilings = io.read_table(arguments.ceilings, "ceilings")
    splits = {}
    for name, path in zip(spec.splits, arguments.pairs, strict=True):
        pairs = io.read_table(path, "pairs")
        splits[name] = {
            **_sizes(pairs),
            "baselines": {
                rule: _scores(pairs, _answers(rule, pairs, cells, scale), spec)
                for rule in BASELINES
            },
            "ceiling": {
                metric: _figure(row) for metric, row in ceiling.figures(ceilings, name).items()
            },
        }
    diversity = io.read_table(arguments.diversity, "diversity")
    blocks = diversity[(diversity["stratum"] == "mean") & (diversity["question"] == "mean")]
    content = {
        "study": spec.study,
        "survey": spec.survey,
        "caveat": spec.caveat,
        "respondents": len(responses),
        "questions": len(questions),
        "groups": {
            axis: {name: int((responses[axis] == name).sum()) for name in names}
            for axis, names in spec.groups.items()
        },
        "splits": splits,
        "blocks": {
            str(block): {str(row["measure"]): _figure(row) for row in io.records(own)}
            for block, own in blocks.groupby("block", sort=False)
        },
    }
    io.write_json(content, arguments.output)


def _sizes(pairs: pd.DataFrame) -> dict[str, object]:
    cells = pairs[["stratum", "subgroup"]].drop_duplicates()
    return {
        "strata": cells["stratum"].value_counts(sort=False).to_dict(),
        "subgroups": len(cells),
        "pairs": len(pairs),
        "tied_modes": int(pairs["tied"].sum()),
    }


def _answers(
    rule: str, pairs: pd.DataFrame, cells: joint.Joint, scale: tally.Scale
) -> tally.Floats:
    return baseline.predict(rule, pairs, cells, scale)[0].astype(np.float64)


def _scores(pairs: pd.DataFrame, answer: tally.Floats, spec: Summary) -> dict[str, object]:
    mode, lowest, highest = (
        pairs[name].to_numpy(dtype=np.float64) for name in ("mode", "lowest", "highest")
    )
    is_ordinal = (pairs["kind"] == "ordinal").to_numpy(dtype=bool)
    cluster = pd.factorize(pairs["question"], sort=True)[0]
    e = spec.evaluation
    found: dict[str, object] = {}
    for metric, values, asked in (
        ("accuracy", ordinal.accuracy(answer, mode), len(pairs)),
        ("nmae", ordinal.nmae(answer, mode, lowest, highest, is_ordinal), int(is_ordinal.sum())),
    ):
        n = int(np.isfinite(values).sum())
        ends = resample.mean_with_interval(values, cluster, e.resamples, e.level, e.seed)
        row = dict(zip(("value", "low", "high"), ends, strict=True))
        found[metric] = _figure({**row, "n": n, "missing": asked - n})
    return found


def _figure(row: dict[str, Any]) -> dict[str, object]:
    """A number with its interval, n and missing count; None where it does not exist."""
    ends = {k: None if pd.isna(row[k]) else float(row[k]) for k in ("value", "low", "high")}
    return {**ends, "n": int(row["n"]), "missing": int(row["missing"])}
