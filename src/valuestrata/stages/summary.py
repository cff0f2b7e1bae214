"""Sum up the survey side: the figures that a reader checks first."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.baselines import rules
from valuestrata.metrics import ordinal, resample
from valuestrata.specs import Summary, from_dict, from_json
from valuestrata.survey import ceilings, crosstab, tally
from valuestrata.survey.groups import Groups

BASELINES = ("national_mode", "axis_mode")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--responses", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--diversity", required=True)
    parser.add_argument("--agreement", required=True)
    parser.add_argument("--ceilings", required=True)
    parser.add_argument("--pairs", required=True, nargs="+", help="a file a split")
    parser.add_argument("--labels", required=True, nargs="+", help="a file a split")
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write summary.json: sizes; pairs, baselines and ceilings by split; conflict by block."""
    spec = from_json(Summary, arguments.spec)
    questions = io.read_table(arguments.questions, "questions")
    responses = io.read_table(arguments.responses, "responses")
    scale = tally.scale_of(questions)
    cells = crosstab.cross_tab(responses, scale)
    figures = io.read_table(arguments.ceilings, "ceilings")
    splits = {}
    for name, path, labels in zip(spec.splits, arguments.pairs, arguments.labels, strict=True):
        pairs = io.read_table(path, "pairs")
        splits[name] = {
            **_sizes(pairs),
            "labels": _labels(io.read_table(labels, "labels"), spec),
            "baselines": {
                rule: _scores(pairs, _answers(rule, pairs, cells, scale), spec)
                for rule in BASELINES
            },
            "ceilings": {
                kind: {m: _figure(row) for m, row in ceilings.figures(figures, kind, name).items()}
                for kind in (ceilings.SPLIT_HALF, ceilings.NOISE_CEILING)
            },
        }
    found = from_dict(Groups, io.read_json(arguments.groups))
    diversity = io.read_table(arguments.diversity, "diversity")
    blocks = diversity[(diversity["stratum"] == "mean") & (diversity["question"] == "mean")]
    agreement = io.read_table(arguments.agreement, "agreement")
    overall = agreement[agreement["stratum"] == "mean"]
    content = {
        "study": spec.study,
        "survey": spec.survey,
        "countries": found.countries or (spec.country,),
        "caveat": spec.caveat,
        "respondents": len(responses),
        "questions": len(questions),
        "groups": {
            axis: {group.label: group.n for group in groups} for axis, groups in found.axes.items()
        },
        "splits": splits,
        "blocks": {
            str(block): {str(row["measure"]): _figure(row) | _null(row) for row in io.records(own)}
            for block, own in blocks.groupby("block", sort=False)
        },
        "rank_agreement": {str(row["coefficient"]): _figure(row) for row in io.records(overall)},
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


def _labels(labels: pd.DataFrame, spec: Summary) -> dict[str, object]:
    """How labels are read, ties of either reading, and how far the two readings differ.

    changed: whether the modal answer is another one. moved: total variation distance of the two
    distributions, from 0 to 1.
    """
    width = int(labels["codes"].map(len).max())
    one, other = (
        np.stack([np.pad(own, (0, width - len(own))) for own in labels[f"distribution_{how}"]])
        for how in ("unweighted", "weighted")
    )
    changed = (labels["mode_unweighted"] != labels["mode_weighted"]).to_numpy(dtype=np.float64)
    differ = {"changed": changed, "moved": np.abs(one - other).sum(axis=1) / 2}
    return {
        **dataclasses.asdict(spec.labels),
        **{f"tied_{how}": int(labels[f"tied_{how}"].sum()) for how in ("unweighted", "weighted")},
        **{k: _mean(own, labels["question"], len(own), spec) for k, own in differ.items()},
    }


def _answers(
    rule: str, pairs: pd.DataFrame, cells: crosstab.CrossTab, scale: tally.Scale
) -> tally.Floats:
    return rules.predict(rule, pairs, cells, scale)[0].astype(np.float64)


def _scores(pairs: pd.DataFrame, answer: tally.Floats, spec: Summary) -> dict[str, object]:
    mode, scale_min, scale_max = (
        pairs[name].to_numpy(dtype=np.float64) for name in ("mode", "scale_min", "scale_max")
    )
    is_ordinal = (pairs["measurement_level"] == "ordinal").to_numpy(dtype=bool)
    nmae = ordinal.nmae(answer, mode, scale_min, scale_max, is_ordinal)
    question = pairs["question"]
    return {
        "accuracy": _mean(ordinal.accuracy(answer, mode), question, len(pairs), spec),
        "nmae": _mean(nmae, question, int(is_ordinal.sum()), spec),
    }


def _mean(
    values: tally.Floats, question: pd.Series, asked: int, spec: Summary
) -> dict[str, object]:
    """Mean of a value a pair with its interval over questions; `asked` pairs could have one."""
    e = spec.evaluation
    cluster = pd.factorize(question, sort=True)[0]
    n = int(np.isfinite(values).sum())
    ends = resample.mean_with_interval(values, cluster, e.resamples, e.level, e.seed)
    row = dict(zip(("value", "ci_low", "ci_high"), ends, strict=True))
    return _figure({**row, "n": n, "missing": asked - n})


def _figure(row: dict[str, Any]) -> dict[str, object]:
    """A number with its interval, n and missing count; None where it does not exist."""
    ends = _known(row, ("value", "ci_low", "ci_high"))
    return {**ends, "n": int(row["n"]), "missing": int(row["missing"])}


def _null(row: dict[str, Any]) -> dict[str, object]:
    """What a conflict score would be if subgroups meant nothing, and the chance of its value."""
    return _known(row, ("null_mean", "null_p95", "p_value"))


def _known(row: dict[str, Any], names: Sequence[str]) -> dict[str, object]:
    return {name: None if pd.isna(row[name]) else float(row[name]) for name in names}
