"""What the report is made of: the study's tables, their order, and looking numbers up. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from valuestrata.specs import Report
from valuestrata.survey.tally import subgroup_groups

BASE = "base"
SUBGROUPS = "subgroups"
RUN = ("model", "variant", "split")
System = tuple[str, str]
"""A model and its variant."""


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval, the units in it, those left out, and a p-value if tested."""

    value: float
    ci_low: float
    ci_high: float
    n: int
    missing: int
    p: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is an estimate at all."""
        return self.value == self.value

    def direction(self, level: float) -> int:
        """1 or -1 where interval and test agree that a difference is not 0, else 0."""
        if self.p is None or self.p >= 1 - level:
            return 0
        return 1 if self.ci_low > 0 else -1 if self.ci_high < 0 else 0


@dataclass(frozen=True, eq=False)
class Results:
    """The tables of a study (see schemas.TABLES) and the spec that heads the report.

    `ties` are those of all splits, named in the column `split`.
    """

    spec: Report
    runs: pd.DataFrame
    differences: pd.DataFrame
    fairness: pd.DataFrame
    groups: pd.DataFrame
    diversity: pd.DataFrame
    agreement: pd.DataFrame
    ceilings: pd.DataFrame
    ties: pd.DataFrame

    @cached_property
    def _runs(self) -> dict[tuple[str, ...], Estimate]:
        return _numbers(self.runs, [*RUN, "metric"])

    @cached_property
    def _differences(self) -> dict[tuple[str, ...], Estimate]:
        pair = ["model", "variant", "other_model", "other_variant"]
        return _numbers(self.differences, [*pair, "split", "metric"])

    @cached_property
    def _groups(self) -> dict[tuple[str, ...], Estimate]:
        return _numbers(self.groups, [*RUN, "level", "group", "metric"])

    @cached_property
    def _ceilings(self) -> dict[tuple[str, ...], Estimate]:
        return _numbers(self.ceilings, ["ceiling", "split", "level", "group", "metric"])

    @cached_property
    def _gains(self) -> dict[tuple[str, ...], tuple[str, Estimate]]:
        parts = ((key[:3], key[3].split(":"), one) for key, one in self._runs.items())
        return {(*run, p[2]): (p[1], one) for run, p, one in parts if p[0] == "way"}

    @cached_property
    def _unequal(self) -> dict[tuple[str, ...], dict[str, Any]]:
        keys = [*RUN, "level", "metric", "statistic"]
        return {tuple(str(row[k]) for k in keys): row for row in records(self.fairness)}

    def of(self, system: System, split: str, metric: str) -> Estimate | None:
        """A run's metric, None where it has none."""
        return self._runs.get((*system, split, metric))

    def gap(self, one: System, other: System, split: str, metric: str) -> Estimate | None:
        """A paired difference, first less second, None where there is none."""
        return self._differences.get((*one, *other, split, metric))

    def group(
        self, system: System, split: str, level: str, group: str, metric: str
    ) -> Estimate | None:
        """A run's metric in one group, None where it has none."""
        return self._groups.get((*system, split, level, group, metric))

    def ceiling(
        self, kind: str, split: str, metric: str, level: str = "all", group: str = "all"
    ) -> Estimate | None:
        """What halves of subgroups, or perfect knowledge, score in a split or one of its groups."""
        return self._ceilings.get((kind, split, level, group, metric))

    def normalized_gain(
        self, system: System, split: str, metric: str
    ) -> tuple[str, Estimate] | None:
        """How much of the way a run goes to perfect knowledge, and the baseline it starts from."""
        return self._gains.get((*system, split, metric))

    def inequality(
        self, system: System, split: str, metric: str, statistic: str, level: str = SUBGROUPS
    ) -> dict[str, Any] | None:
        """A row of the fairness table, None where it has none."""
        return self._unequal.get((*system, split, level, metric, statistic))

    def members(self, split: str, level: str) -> list[str]:
        """Groups of a level in a split, in the tables' order."""
        own = self.groups[(self.groups["split"] == split) & (self.groups["level"] == level)]
        return [str(name) for name in own["group"].unique()]

    def levels(self, split: str) -> list[str]:
        """The study's axes that a split's subgroups differ in."""
        present = set(self.groups[self.groups["split"] == split]["level"])
        return [axis for axis in self.spec.axes if axis in present]

    def dimensions(self, judge: str, split: str) -> list[str]:
        """What a judge compared on a split; `Overall` comes first."""
        own = self.runs[self.runs["split"] == split]["metric"]
        start = f"win_rate:{judge}:"
        names = [str(m).removeprefix(start) for m in own.unique() if str(m).startswith(start)]
        return sorted(names, key=lambda name: (name.lower() != "overall", name))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dicts."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def number(row: dict[str, Any]) -> Estimate:
    """The number that a row or a summary's figure holds; a missing end is NaN."""
    ends = [
        float("nan") if pd.isna(row[k]) else float(row[k]) for k in ("value", "ci_low", "ci_high")
    ]
    p = row.get("p_value")
    tested = None if p is None or pd.isna(p) else float(p)
    value, low, high = ends
    return Estimate(value, low, high, int(row["n"]), int(row["missing"]), tested)


def _numbers(frame: pd.DataFrame, keys: list[str]) -> dict[tuple[str, ...], Estimate]:
    return {tuple(str(row[k]) for k in keys): number(row) for row in records(frame)}


def splits(spec: Report) -> list[str]:
    """Splits in the study's order, those that models are tested on first."""
    return sorted(spec.compare.splits, key=lambda split: spec.roles.get(split) != "test")


def tested(spec: Report) -> list[str]:
    """The test splits, or all where a study has none."""
    return [s for s in splits(spec) if spec.roles.get(s) == "test"] or splits(spec)


def llm_runs(spec: Report) -> list[System]:
    """Language models with their variants, base first."""
    baselines = set(spec.compare.baselines)
    return [(m, v) for m, vs in spec.compare.models.items() if m not in baselines for v in vs]


def baselines(spec: Report) -> list[System]:
    """The rules that need no language model."""
    return [(model, BASE) for model in spec.compare.baselines]


def all_runs(spec: Report) -> list[System]:
    """Language models with their variants, then the baselines."""
    return [*llm_runs(spec), *baselines(spec)]


def tuned(spec: Report) -> list[System]:
    """All fine-tuned variants."""
    return [(model, variant) for model, variant in llm_runs(spec) if variant != BASE]


def worded(spec: Report) -> list[System]:
    """Language models' variants in other wordings than the study's own."""
    return [(m, v) for m, vs in spec.compare.wordings.items() for v in vs]


def variants(spec: Report) -> list[str]:
    """Names of all variants of language models, base first, other wordings last."""
    some = [*llm_runs(spec), *worded(spec)]
    return list(dict.fromkeys([BASE, *(variant for _, variant in some)]))


def label(system: System, spec: Report) -> str:
    """How a figure or table calls a system; a baseline has no variants."""
    model, variant = system
    return model if model in spec.compare.baselines else f"{model} {variant}"


def cell_label(subgroup: str) -> str:
    """A subgroup's or group's name without its axes: `16-24 × Buddhist`."""
    return " × ".join(subgroup_groups(subgroup).values()) or subgroup


def stratum_label(stratum: str) -> str:
    """A stratum's axes in words: `age group × religion`."""
    return stratum.replace("-x-", " × ").replace("_", " ")


def in_order(
    frame: pd.DataFrame, spec: Report, more: dict[str, Sequence[str]] | None = None
) -> pd.DataFrame:
    """Sort by split, the columns of `more` in the order given there, and system; ties stay."""
    models = [model for model, _ in all_runs(spec)]
    ranks: dict[str, Sequence[str]] = {"split": splits(spec), **(more or {})}
    for name in ("model", "variant", "other_model"):
        ranks[name] = models if "model" in name else variants(spec)
    keys = pd.DataFrame(index=frame.index)
    for column, names in ranks.items():
        if column in frame:
            place = {name: i for i, name in enumerate(dict.fromkeys(names))}
            keys[column] = frame[column].map(place).astype("Float64").fillna(len(place))
    order = keys.sort_values([str(c) for c in keys], kind="stable").index
    return frame.loc[order].reset_index(drop=True)
