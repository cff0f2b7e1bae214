"""Measure how unequally one run serves the subgroups of a split and the groups of each axis."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata import io, paths, tables
from valuestrata.metrics.fairness import group_intervals, inequalities
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.splits import stratum_id
from valuestrata.study.study import Study
from valuestrata.survey.tally import subgroup_groups

HIGHER_IS_BETTER = {"accuracy": True, "nmae": False}
ORDINAL_ONLY = {"nmae"}
SUBGROUPS = "subgroups"
Floats = NDArray[np.float64]


class Settings(Part):
    """What inequality and its intervals depend on."""

    evaluation: Evaluation
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every run of the study."""
    return [{"model": m, "variant": v, "split": s} for m, v, s in study.runs()]


def settings(study: Study, model: str, variant: str, split: str) -> Settings:
    """Settings of a run's fairness."""
    return Settings(evaluation=study.evaluation, caveat=study.run_caveat(model))


def inputs(study: Study, model: str, variant: str, split: str) -> Files:
    """Scores of a run, a file a stratum."""
    run = {"model": model, "variant": variant, "split": split}
    strata = [stratum_id(axes) for axes in study.strata(split)]
    return {"scores": tuple(at(study, paths.SCORES, **run, stratum=s) for s in strata)}


def outputs(study: Study, model: str, variant: str, split: str) -> Files:
    """Inequality over subgroups and axes, and the groups' scores."""
    run = {"model": model, "variant": variant, "split": split}
    return {
        "fairness": at(study, paths.FAIRNESS, **run),
        "groups": at(study, paths.GROUPS, **run),
    }


def run(job: Job[Settings]) -> None:
    """Write inequality over subgroups and axes, and the groups' own scores."""
    scores = io.read_table(job.paths("scores"), tables.SCORES)
    evaluation = job.settings.evaluation
    fairness_rows: list[dict[str, Any]] = []
    group_rows: list[dict[str, Any]] = []
    for metric in HIGHER_IS_BETTER:
        keys = {"index": ["stratum", "subgroup"], "columns": "question"}
        values = scores.pivot(**keys, values=metric).astype("float64")
        applies = scores["measurement_level"].eq("ordinal") | (metric not in ORDINAL_ONLY)
        expected = scores.assign(applies=applies).pivot(**keys, values="applies")
        is_expected = expected.eq(True).fillna(False).to_numpy(dtype=bool)
        array = values.to_numpy()
        for level, (names, member) in _levels(values.index.get_level_values("subgroup")).items():
            key = {**job.record.run, "level": level, "metric": metric}
            groups = _group_scores(array, is_expected, names, member, evaluation)
            group_rows += [{**key, **row} for row in groups]
            inequality = _inequality(metric, array, member, groups, evaluation)
            fairness_rows += [{**key, **row} for row in inequality]
    fairness = pd.DataFrame(fairness_rows, columns=tables.FAIRNESS.names)
    io.write_table(fairness, job.path("fairness"), tables.FAIRNESS, job.record)
    io.write_table(pd.DataFrame(group_rows), job.path("groups"), tables.GROUPS, job.record)


def _levels(subgroups: pd.Index) -> dict[str, tuple[list[str], Floats]]:
    """Names of the groups and their members [G, S]: each subgroup alone, then each axis."""
    levels = {SUBGROUPS: (list(subgroups), np.eye(len(subgroups)))}
    parts = pd.DataFrame([subgroup_groups(name) for name in subgroups])
    for axis in parts.columns:
        names = list(dict.fromkeys(parts[axis].dropna()))
        member = parts[axis].to_numpy()[None, :] == np.array(names, dtype=object)[:, None]
        levels[str(axis)] = (names, member.astype(np.float64))
    return levels


def _group_scores(
    values: Floats,
    is_expected: NDArray[np.bool_],
    names: list[str],
    member: Floats,
    evaluation: Evaluation,
) -> list[dict[str, Any]]:
    """The mean of each group with its interval, the scores in it and those missing."""
    intervals = group_intervals(
        values, member, evaluation.n_resamples, evaluation.confidence_level, evaluation.seed
    )
    finite = np.isfinite(values)
    n = member @ finite.sum(axis=1)
    missing = member @ (is_expected & ~finite).sum(axis=1)
    return [
        {"group": name, "value": v, "ci_low": low, "ci_high": high, "n": int(a), "missing": int(b)}
        for name, (v, low, high), a, b in zip(names, intervals, n, missing, strict=True)
    ]


def _inequality(
    metric: str,
    values: Floats,
    member: Floats,
    groups: list[dict[str, Any]],
    evaluation: Evaluation,
) -> list[dict[str, Any]]:
    """The statistics over those groups that have any score; none below two groups."""
    has_score = np.array([bool(group["n"]) for group in groups])
    if has_score.sum() < 2:
        return []
    statistics = inequalities(
        values,
        member[has_score],
        evaluation.n_resamples,
        evaluation.confidence_level,
        evaluation.seed,
    )
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    compared = [group for group in groups if group["n"]]
    ranked = sorted(compared, key=lambda group: sign * float(group["value"]))
    return [
        {
            **vars(statistic),
            "n": sum(int(group["n"]) for group in groups),
            "missing": sum(int(group["missing"]) for group in groups),
            "n_groups": len(compared),
            "best_group": ranked[-1]["group"],
            "worst_group": ranked[0]["group"],
        }
        for statistic in statistics
    ]
