"""Measure how unequally one run serves the subgroups of a split and the groups of each axis."""

import argparse
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io, tables
from valuestrata.metrics import fairness
from valuestrata.specs import Fairness, from_json
from valuestrata.survey.tally import subgroup_groups

HIGHER_IS_BETTER = {"accuracy": True, "nmae": False}
NEEDS_ORDER = {"nmae"}
SUBGROUPS = "subgroups"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--scores", required=True, nargs="+")
    parser.add_argument("--fairness", required=True)
    parser.add_argument("--groups", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write inequality over subgroups and axes, and the groups' own scores."""
    spec = from_json(Fairness, arguments.spec)
    scores = io.read_table(arguments.scores, "scores")
    unequal: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for metric in HIGHER_IS_BETTER:
        keys = {"index": ["stratum", "subgroup"], "columns": "question"}
        values = scores.pivot(**keys, values=metric).astype("float64")
        ordered = scores["measurement_level"].eq("ordinal") | (metric not in NEEDS_ORDER)
        known = scores.assign(asked=ordered).pivot(**keys, values="asked")
        asked = known.eq(True).fillna(False).to_numpy(dtype=bool)
        for level, (names, member) in _levels(values.index.get_level_values("subgroup")).items():
            shared = {**dict(zip(("model", "variant", "split"), spec.run, strict=True))}
            shared |= {"level": level, "metric": metric}
            rows = _groups(values.to_numpy(), asked, names, member, spec)
            groups += [{**shared, **row} for row in rows]
            unequal += [
                {**shared, **row} for row in _unequal(metric, values.to_numpy(), member, rows, spec)
            ]
    columns = [c.name for c in tables.TABLES["fairness"]]
    io.write_table(
        pd.DataFrame(unequal, columns=columns), arguments.fairness, "fairness", spec.caveat
    )
    io.write_table(pd.DataFrame(groups), arguments.groups, "groups", spec.caveat)


def _levels(subgroups: pd.Index) -> dict[str, tuple[list[str], np.ndarray]]:
    """Names of the groups and their members [G, S]: each subgroup alone, then each axis."""
    levels = {SUBGROUPS: (list(subgroups), np.eye(len(subgroups)))}
    parts = pd.DataFrame([subgroup_groups(name) for name in subgroups])
    for axis in parts.columns:
        names = list(dict.fromkeys(parts[axis].dropna()))
        member = parts[axis].to_numpy()[None, :] == np.array(names, dtype=object)[:, None]
        levels[str(axis)] = (names, member.astype(np.float64))
    return levels


def _groups(
    values: np.ndarray, asked: np.ndarray, names: list[str], member: np.ndarray, spec: Fairness
) -> list[dict[str, Any]]:
    e = spec.evaluation
    found = fairness.group_intervals(values, member, e.resamples, e.level, e.seed)
    finite = np.isfinite(values)
    n = member @ finite.sum(axis=1)
    missing = member @ (asked & ~finite).sum(axis=1)
    return [
        {"group": name, "value": v, "ci_low": low, "ci_high": high, "n": int(a), "missing": int(b)}
        for name, (v, low, high), a, b in zip(names, found, n, missing, strict=True)
    ]


def _unequal(
    metric: str,
    values: np.ndarray,
    member: np.ndarray,
    rows: list[dict[str, Any]],
    spec: Fairness,
) -> list[dict[str, Any]]:
    """The statistics over those groups that have any score; none below two groups."""
    scored = np.array([bool(row["n"]) for row in rows])
    if scored.sum() < 2:
        return []
    kept = [row for row in rows if row["n"]]
    e = spec.evaluation
    found = fairness.inequalities(values, member[scored], e.resamples, e.level, e.seed)
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    order = sorted(kept, key=lambda row: sign * float(row["value"]))
    return [
        {
            **vars(one),
            "n": sum(int(row["n"]) for row in rows),
            "missing": sum(int(row["missing"]) for row in rows),
            "groups": len(kept),
            "best": order[-1]["group"],
            "worst": order[0]["group"],
        }
        for one in found
    ]
