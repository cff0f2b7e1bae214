"""Measure how unequally one run serves the subgroups of a split and the groups of each axis."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata import io, paths, tables
from valuestrata.columns import TIED
from valuestrata.contracts import frame_of
from valuestrata.metrics.between_groups import Spread, spread
from valuestrata.metrics.disparity import extremes
from valuestrata.metrics.fairness import (
    STATISTICS,
    EqualGroups,
    equal_groups,
    group_intervals,
    group_means,
    group_scores,
    sd,
)
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.splits import stratum_id
from valuestrata.study.study import Study
from valuestrata.survey.ceilings import REACHABLE
from valuestrata.survey.tally import subgroup_groups
from valuestrata.tables import PAIR

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
    """Scores of a run, a file a stratum, and what perfect knowledge would score."""
    run = {"model": model, "variant": variant, "split": split}
    strata = [stratum_id(axes) for axes in study.strata(split)]
    return {
        "scores": tuple(at(study, paths.SCORES, **run, stratum=s) for s in strata),
        "labels": at(study, paths.LABELS, split=split),
    }


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
    labels = io.read_table(job.path("labels"), tables.LABELS)
    scores = scores.merge(
        labels[[*PAIR, *REACHABLE.values()]], on=PAIR, how="left", validate="one_to_one"
    )
    fairness_rows: list[dict[str, Any]] = []
    group_rows: list[dict[str, Any]] = []
    for metric in HIGHER_IS_BETTER:
        applies = scores["measurement_level"].eq("ordinal") | (metric not in ORDINAL_ONLY)
        wide = scores.assign(applies=applies).pivot(
            index=["stratum", "subgroup"],
            columns="question",
            values=[metric, REACHABLE[metric], "applies"],
        )
        values, within_reach = (
            np.asarray(wide[name].astype("float64"), dtype=np.float64)
            for name in (metric, REACHABLE[metric])
        )
        is_expected = wide["applies"].eq(True).fillna(False).to_numpy(dtype=bool)
        for level, (names, member) in _levels(wide.index.get_level_values("subgroup")).items():
            key = {**job.record.run, "level": level, "metric": metric}
            measured = Measured(metric, names, member, values, within_reach, is_expected)
            spread = measured.spread(job.settings.evaluation)
            groups = measured.group_rows(spread, job.settings.evaluation)
            group_rows += [{**key, **row} for row in groups]
            inequality = measured.fairness_rows(groups, spread, job.settings.evaluation)
            fairness_rows += [{**key, **row} for row in inequality]
    fairness = frame_of(fairness_rows, tables.FAIRNESS)
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


@dataclass(frozen=True, eq=False)
class Measured:
    """A metric of a run over the groups of a level.

    names: G groups. member: [G, S] 1 where a subgroup belongs to a group. values: [S, Q] scores,
    NaN where missing. within_reach: [S, Q] what perfect knowledge would score. is_expected: [S, Q]
    pairs that could have a score.
    """

    metric: str
    names: list[str]
    member: Floats
    values: Floats
    within_reach: Floats
    is_expected: NDArray[np.bool_]

    @property
    def has_score(self) -> NDArray[np.bool_]:
        """[G] whether a group has any score."""
        return np.asarray(self.member @ np.isfinite(self.values).sum(axis=1) > 0)

    def spread(self, evaluation: Evaluation) -> Spread:
        """Differences without sampling noise between those groups that have a score."""
        return self._spread(self.values, evaluation)

    def _spread(self, values: Floats, evaluation: Evaluation) -> Spread:
        scores = group_scores(values, self.member[self.has_score])
        resampling = (evaluation.confidence_level, evaluation.n_resamples, evaluation.seed)
        return spread(scores, *resampling)

    def group_rows(self, spread: Spread, evaluation: Evaluation) -> list[dict[str, Any]]:
        """The mean of each group with its interval, raw and shrunk, and its scores and gaps."""
        intervals = group_intervals(
            self.values,
            self.member,
            evaluation.n_resamples,
            evaluation.confidence_level,
            evaluation.seed,
            is_rate=self.metric not in ORDINAL_ONLY,
        )
        finite = np.isfinite(self.values)
        shrunk = np.full((len(self.names), 3), np.nan)
        shrunk[self.has_score] = spread.shrunk
        columns: dict[str, Iterable[Any]] = {
            "group": self.names,
            **dict(zip(("value", "ci_low", "ci_high"), np.transpose(intervals), strict=True)),
            "n": (self.member @ finite.sum(axis=1)).astype(int),
            "missing": (self.member @ (self.is_expected & ~finite).sum(axis=1)).astype(int),
            **dict(zip(("shrunk", "shrunk_low", "shrunk_high"), shrunk.T, strict=True)),
            "reachable": group_means(self.within_reach, self.member),
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def fairness_rows(
        self, groups: list[dict[str, Any]], spread: Spread, evaluation: Evaluation
    ) -> list[dict[str, Any]]:
        """The statistics over those groups that have any score; none below two groups."""
        compared = [group for group in groups if group["n"]]
        if len(compared) < 2:
            return []
        means = np.array([group["value"] for group in compared])
        sign = 1.0 if HIGHER_IS_BETTER[self.metric] else -1.0
        ends = {end: extremes(sign * means * end) for end in (1.0, -1.0)}
        best, worst = (TIED.join(compared[i]["group"] for i in ends[end]) for end in ends)
        about = {
            "n": sum(group["n"] for group in groups),
            "missing": sum(group["missing"] for group in groups),
            "n_groups": len(compared),
            "best_group": best,
            "worst_group": worst,
        }
        member = self.member[self.has_score]
        rows = []
        corrected = {"norm_range": spread.norm_range, "cv": spread.cv, "sd": spread.sd}
        nulls = equal_groups(
            group_scores(self.values, member), evaluation.n_resamples, evaluation.seed
        )
        within_reach = np.array([group["reachable"] for group in compared])
        for name, statistic in STATISTICS.items():
            numbers = (float(statistic(means)), *corrected[name])
            row = _row(name, numbers, nulls[name])
            rows.append({**about, **row, "reachable": float(statistic(within_reach))})
        net = self.values - self.within_reach
        scores = group_scores(net, member)
        null = equal_groups(scores, evaluation.n_resamples, evaluation.seed)["sd"]
        numbers = (float(sd(scores.means)), *self._spread(net, evaluation).sd)
        return [*rows, {**about, **_row("net_sd", numbers, null), "reachable": float("nan")}]


def _row(
    statistic: str, numbers: tuple[float, float, float, float], null: EqualGroups
) -> dict[str, Any]:
    """A statistic as observed, without noise, with its interval, and its null."""
    estimate = dict(zip(("value", "corrected", "ci_low", "ci_high"), numbers, strict=True))
    about_null = {"null_mean": null.null_mean, "null_p95": null.null_p95}
    return {"statistic": statistic, **estimate, **about_null, **null.test._asdict()}
