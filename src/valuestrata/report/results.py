"""What the report is made of: the study's tables, their order, and looking numbers up. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from valuestrata.columns import METRIC
from valuestrata.io import records
from valuestrata.report.comparison import Metric
from valuestrata.report.runs import ModelVariant, all_runs, splits, variant_names
from valuestrata.report.settings import DisplaySettings
from valuestrata.survey.tally import subgroup_groups

SUBGROUPS = "subgroups"
RUN = ("model", "variant", "split")
GAIN = "normalized_gain_"
TIED = 1e-9
"""Scores this near are equal."""
Key = tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval, the units in it, those left out, and p and q if tested.

    q_value: p adjusted within its family of tests. smallest_gap: the difference that the test would
    find in 80% of studies.
    """

    value: float
    ci_low: float
    ci_high: float
    n: int
    missing: int
    p_value: float | None = None
    q_value: float | None = None
    smallest_gap: float | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a value at all."""
        return self.value == self.value

    @property
    def has_interval(self) -> bool:
        """Whether there is a value with an interval."""
        return self.exists and self.ci_low == self.ci_low

    @property
    def tested(self) -> float | None:
        """What sentences go by: q, or p where it belongs to no family; None if not tested."""
        return self.p_value if self.q_value is None else self.q_value

    def negative(self) -> "Estimate":
        """The same difference taken the other way round."""
        return replace(self, value=-self.value, ci_low=-self.ci_high, ci_high=-self.ci_low)

    def direction(self, confidence_level: float) -> int:
        """1 or -1 where interval and test agree that a difference is not 0, else 0."""
        if self.tested is None or self.tested >= 1 - confidence_level:
            return 0
        return 1 if self.ci_low > 0 else -1 if self.ci_high < 0 else 0


@dataclass(frozen=True, eq=False)
class Results:
    """The tables of a study (see tables.py), and what they are shown by.

    `ties` are those of all splits, named in the column `split`. `human_agreement` is there where
    people have annotated text pairs, or `human_note` says why what they gave does not count, and
    `usage` where a service was asked, `probes` of each judge that was tried with texts made for it,
    `sensitivity` where prompts were perturbed.
    `fairness` and `diversity` have q-values (families.py). `outcomes` counts what texts were
    (model, variant, split, block, outcome, n); it is there where figures are drawn.
    """

    settings: DisplaySettings
    runs: pd.DataFrame
    differences: pd.DataFrame
    contrasts: pd.DataFrame
    consistency: pd.DataFrame
    inequality_changes: pd.DataFrame
    disparities: pd.DataFrame
    fairness: pd.DataFrame
    groups: pd.DataFrame
    diversity: pd.DataFrame
    agreement: pd.DataFrame
    ceilings: pd.DataFrame
    ties: pd.DataFrame
    win_rates: pd.DataFrame
    human_agreement: pd.DataFrame | None = None
    outcomes: pd.DataFrame | None = None
    human_note: str = ""
    usage: pd.DataFrame | None = None
    probes: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    sensitivity: pd.DataFrame | None = None

    @property
    def annotators(self) -> str:
        """What the annotators of text pairs are called."""
        return annotators_name(self.human_agreement)

    @cached_property
    def _runs(self) -> dict[Key, Estimate]:
        return _estimates(self.runs, [*RUN, *METRIC, "baseline"])

    @cached_property
    def _differences(self) -> dict[Key, Estimate]:
        pair = ["model", "variant", "other_model", "other_variant"]
        return _estimates(self.differences, [*pair, "split", *METRIC])

    @cached_property
    def _groups(self) -> dict[Key, Estimate]:
        return _estimates(self.groups, [*RUN, "level", "group", "metric"])

    @cached_property
    def _shrunk_groups(self) -> dict[Key, Estimate]:
        ends = {"shrunk": "value", "shrunk_low": "ci_low", "shrunk_high": "ci_high"}
        shrunk = self.groups.drop(columns=[*ends.values()]).rename(columns=ends)
        return _estimates(shrunk, [*RUN, "level", "group", "metric"])

    @cached_property
    def _ceilings(self) -> dict[Key, Estimate]:
        return _estimates(self.ceilings, ["ceiling", "split", "level", "group", "metric"])

    @cached_property
    def _perturbed(self) -> dict[Key, tuple[Estimate, str]]:
        """Estimate and note by model, variant, split, perturbation and metric."""
        if self.sensitivity is None:
            return {}
        keys = [*RUN, "perturbation", "metric"]
        return {
            tuple(str(row[k]) for k in keys): (to_estimate(row), str(row["note"]))
            for row in records(self.sensitivity)
        }

    @cached_property
    def _gains(self) -> dict[Key, tuple[str, Estimate]]:
        """Baseline and gain by model, variant, split and metric."""
        gains = ((key[:3], key[3], key[-1], gain) for key, gain in self._runs.items())
        return {
            (*run, name.removeprefix(GAIN)): (baseline, gain)
            for run, name, baseline, gain in gains
            if name.startswith(GAIN)
        }

    @cached_property
    def _verdicts(self) -> dict[Key, dict[str, Any]]:
        keys = [*RUN, "judge", "dimension", "statistic"]
        return {tuple(str(row[k]) for k in keys): row for row in records(self.win_rates)}

    @cached_property
    def _inequality(self) -> dict[Key, dict[str, Any]]:
        keys = [*RUN, "level", "metric", "statistic"]
        return {tuple(str(row[k]) for k in keys): row for row in records(self.fairness)}

    def metric(self, run: ModelVariant, split: str, metric: Metric | str) -> Estimate | None:
        """A run's metric, None where it has none."""
        key = Metric(metric) if isinstance(metric, str) else metric
        return self._runs.get((*run, split, *key))

    def difference(
        self, first: ModelVariant, second: ModelVariant, split: str, metric: Metric | str
    ) -> Estimate | None:
        """A paired difference, first minus second, None where there is none."""
        key = Metric(metric) if isinstance(metric, str) else metric
        gap = self._differences.get((*first, *second, split, *key[:3]))
        other_way = self._differences.get((*second, *first, split, *key[:3]))
        return gap if gap is not None or other_way is None else other_way.negative()

    def perturbed(
        self, run: ModelVariant, split: str, perturbation: str, metric: str
    ) -> tuple[Estimate, str] | None:
        """What a perturbation shows of a run, and why there is nothing, '' where there is."""
        return self._perturbed.get((*run, split, perturbation, metric))

    def group(
        self, run: ModelVariant, split: str, level: str, group: str, metric: str
    ) -> Estimate | None:
        """A run's metric in one group, None where it has none."""
        return self._groups.get((*run, split, level, group, metric))

    def extreme_groups(
        self, run: ModelVariant, split: str, level: str, metric: str, highest: bool
    ) -> list[str]:
        """Groups of a level with the highest score, or the lowest: all that tie."""
        by_name = {
            name: score.value
            for name in self.group_names(split, level)
            if (score := self.group(run, split, level, name, metric)) is not None and score.exists
        }
        end = (max if highest else min)(by_name.values(), default=0.0)
        return [name for name, value in by_name.items() if abs(value - end) < TIED]

    def shrunk_group(
        self, run: ModelVariant, split: str, level: str, group: str, metric: str
    ) -> Estimate | None:
        """The same drawn towards the groups' mean by its noise, with its own interval."""
        return self._shrunk_groups.get((*run, split, level, group, metric))

    def ceiling(
        self, name: str, split: str, metric: str, level: str = "all", group: str = "all"
    ) -> Estimate | None:
        """The split-half score or the noise ceiling of a split or of one of its groups."""
        return self._ceilings.get((name, split, level, group, metric))

    def normalized_gain(
        self, run: ModelVariant, split: str, metric: str
    ) -> tuple[str, Estimate] | None:
        """A run's normalized gain, and the baseline that it starts from."""
        return self._gains.get((*run, split, metric))

    def inequality(
        self, run: ModelVariant, split: str, metric: str, statistic: str, level: str = SUBGROUPS
    ) -> dict[str, Any] | None:
        """A row of the fairness table, None where it has none."""
        return self._inequality.get((*run, split, level, metric, statistic))

    def group_names(self, split: str, level: str) -> list[str]:
        """Groups of a level in a split, in the tables' order."""
        rows = self.groups[(self.groups["split"] == split) & (self.groups["level"] == level)]
        return [str(name) for name in rows["group"].unique()]

    def levels(self, split: str) -> list[str]:
        """The study's axes that a split's subgroups differ in."""
        present = set(self.groups[self.groups["split"] == split]["level"])
        return [axis for axis in self.settings.axes if axis in present]

    def verdicts(
        self, run: ModelVariant, split: str, judge: str, dimension: str, statistic: str
    ) -> dict[str, Any] | None:
        """A row of the table of win rates, None where it has none."""
        return self._verdicts.get((*run, split, judge, dimension, statistic))

    def dimensions(self, judge: str, split: str) -> list[str]:
        """What a judge compared on a split; `Overall` comes first."""
        rows = self.runs[(self.runs["split"] == split) & (self.runs["judge"] == judge)]
        names = map(str, rows["dimension"].unique())
        return sorted(names, key=lambda name: (name.lower() != "overall", name))

    def difference_metrics(self, split: str) -> list[Metric]:
        """Metrics that runs are compared by on a split, in the table's order."""
        rows = self.differences[self.differences["split"] == split][METRIC].drop_duplicates()
        return [Metric(*map(str, row)) for row in rows.itertuples(index=False, name=None)]


def to_estimate(row: Mapping[str, Any]) -> Estimate:
    """The estimate that a row or a figure of the summary holds; a missing end is NaN."""
    value, low, high = (
        float("nan") if pd.isna(row[k]) else float(row[k]) for k in ("value", "ci_low", "ci_high")
    )
    tests = (row.get(name) for name in ("p_value", "q_value", "smallest_gap"))
    tested = (None if x is None or pd.isna(x) else float(x) for x in tests)
    return Estimate(value, low, high, int(row["n"]), int(row["missing"]), *tested)


def annotators_name(human_agreement: pd.DataFrame | None) -> str:
    """`people`, or `simulated annotators` where a script took their place."""
    is_simulated = human_agreement is not None and bool(human_agreement["simulated"].any())
    return "simulated annotators" if is_simulated else "people"


def observed(row: Mapping[str, Any]) -> Estimate:
    """A score as observed of a row that has a corrected one, too: its interval is not of this."""
    return to_estimate({**row, "ci_low": float("nan"), "ci_high": float("nan")})


def corrected(row: Mapping[str, Any]) -> Estimate:
    """The estimate without sampling noise of such a row, with its interval."""
    return to_estimate({**row, "value": row["corrected"]})


def _estimates(frame: pd.DataFrame, keys: list[str]) -> dict[Key, Estimate]:
    return {tuple(str(row[k]) for k in keys): to_estimate(row) for row in records(frame)}


def cell_label(subgroup: str) -> str:
    """A subgroup's or group's name without its axes: `16-24 × Buddhist`."""
    return " × ".join(subgroup_groups(subgroup).values()) or subgroup


def stratum_label(stratum: str) -> str:
    """A stratum's axes in words: `age group × religion`."""
    return stratum.replace("-x-", " × ").replace("_", " ")


def in_order(
    frame: pd.DataFrame,
    settings: DisplaySettings,
    orders: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Sort by split, the columns of `orders` in the order given there, and run; ties stay."""
    models = [model for model, _ in all_runs(settings)]
    ranks: dict[str, Sequence[str]] = {"split": splits(settings), **(orders or {})}
    for name in ("model", "variant", "other_model"):
        ranks[name] = models if "model" in name else variant_names(settings)
    keys = pd.DataFrame(index=frame.index)
    for column, names in ranks.items():
        if column in frame:
            rank = {name: i for i, name in enumerate(dict.fromkeys(names))}
            keys[column] = frame[column].map(rank).astype("Float64").fillna(len(rank))
    order = keys.sort_values([str(c) for c in keys], kind="stable").index
    return frame.loc[order].reset_index(drop=True)
