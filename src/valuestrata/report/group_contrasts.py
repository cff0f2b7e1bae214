"""Groups compared with each other in every run: effects with tests, and over models. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.columns import METRIC
from valuestrata.metrics import contrasts
from valuestrata.metrics.contrasts import Effects
from valuestrata.report.comparison import ANSWERED, CEILED, ORDINAL_ONLY, Metric, Row, RunValues
from valuestrata.report.families import BY_AXIS, BY_SUBGROUP, with_q_values, with_smallest_gaps
from valuestrata.report.grids import SUBGROUPS, Grid, Side, grid_of, sides
from valuestrata.report.runs import ModelVariant, llm_runs
from valuestrata.report.settings import ContrastSettings
from valuestrata.survey.tally import subgroup_groups

Floats = NDArray[np.float64]
CONTRASTED = (*CEILED, "refusal", ANSWERED)
RAW, NET = "raw", "net"
CONTRAST = ["level", "group", "other_group", "contrast", *METRIC, "reading"]


@dataclass(frozen=True, eq=False)
class Compared:
    """The effects of one metric in one run, one for each side."""

    metric: Metric
    reading: str
    effects: Effects
    n: Floats
    missing: Floats


def contrast_split(
    split: str,
    runs: Mapping[ModelVariant, RunValues],
    reachable: pd.DataFrame,
    axes: Mapping[str, Sequence[str]],
    settings: ContrastSettings,
) -> tuple[list[Row], list[Row]]:
    """Rows of GROUP_CONTRASTS and of CONSISTENCY for one split, without families.

    Args:
        split: name of the split.
        runs: all runs on it.
        reachable: what perfect knowledge of a pair would score, by pair, a column a metric.
        axes: axis -> its groups in order.
        settings: which groups are compared.
    """
    rows: list[Row] = []
    effects: dict[ModelVariant, list[Compared]] = {}
    compared_sides: list[Side] = []
    for (model, variant), run in runs.items():
        grid = grid_of(run.pairs)
        compared_sides = sides(grid, axes, settings.ordered_axes, settings.reference_groups)
        if not compared_sides:
            continue
        effects[model, variant] = _effects(run, grid, reachable, compared_sides)
        key: Row = {"model": model, "variant": variant, "split": split}
        rows += [
            {**key, **row}
            for compared in effects[model, variant]
            for row in _rows(compared, compared_sides, settings.evaluation.confidence_level)
        ]
    llms = {run: effects[run] for run in llm_runs(settings) if run in effects}
    return rows, [{"split": split, **row} for row in _over_models(llms, compared_sides, settings)]


def _effects(
    run: RunValues, grid: Grid, reachable: pd.DataFrame, compared: Sequence[Side]
) -> list[Compared]:
    first = np.array([side.first for side in compared], dtype=np.float64)
    second = np.array([side.second for side in compared], dtype=np.float64)
    wins = [metric for metric in run.values if metric.metric == "win_rate"]
    result = []
    for metric in (*map(Metric, CONTRASTED), *wins):
        values = grid.spread(run.array(metric, run.pairs))
        expected = grid.spread(_expected(run, metric))
        result.append(_compare(metric, RAW, values, expected, first, second))
        if metric.metric in CEILED:
            reached = reachable[metric.metric].reindex(run.pairs).to_numpy(dtype=np.float64)
            net = values - grid.spread(reached)
            result.append(_compare(metric, NET, net, expected, first, second))
    return result


def _expected(run: RunValues, metric: Metric) -> Floats:
    """[n] 1 where a pair could have a value of a metric, else NaN."""
    could = np.ones(len(run.pairs))
    if metric.judge:
        could = np.where(np.isfinite(run.array(metric, run.pairs)), 1.0, np.nan)
    elif metric.metric in ORDINAL_ONLY:
        could = np.where(run.is_ordinal, 1.0, np.nan)
    return could


def _compare(
    metric: Metric,
    reading: str,
    values: Floats,
    expected: Floats,
    first: Floats,
    second: Floats,
) -> Compared:
    compare = contrasts.difference_of_means if metric.judge else contrasts.matched_difference
    sides_of = [contrasts.totals(values, member) for member in (first, second)]
    effects = compare(sides_of[0], sides_of[1])
    n = sum(counts.sum(axis=1) for _, counts in sides_of)
    possible = np.isfinite(expected).sum(axis=1) @ (first + second).T
    return Compared(metric, reading, effects, np.asarray(n), np.asarray(possible - n))


def _rows(compared: Compared, all_sides: Sequence[Side], confidence_level: float) -> list[Row]:
    effects = compared.effects
    error = effects.error
    low, high = contrasts.interval(effects, confidence_level)
    p = contrasts.two_sided(effects)
    return [
        {
            **_key(side, compared),
            "value": effects.value[i],
            "ci_low": low[i],
            "ci_high": high[i],
            "n": int(compared.n[i]),
            "missing": int(compared.missing[i]),
            "p_value": p[i],
            "questions": int(effects.questions[i]),
            "std_error": error[i],
        }
        for i, side in enumerate(all_sides)
        if np.isfinite(effects.value[i])
    ]


def _key(side: Side, compared: Compared) -> Row:
    return {
        "level": side.level,
        "group": side.group,
        "other_group": side.other_group,
        "contrast": side.contrast,
        **{name: getattr(compared.metric, name) for name in METRIC},
        "reading": compared.reading,
    }


def _over_models(
    effects: Mapping[ModelVariant, Sequence[Compared]],
    all_sides: Sequence[Side],
    settings: ContrastSettings,
) -> list[Row]:
    """Each contrast of axes' groups over the models of each variant, where there are several."""
    rows: list[Row] = []
    for variant in dict.fromkeys(variant for _, variant in effects):
        by_model = [compared for (_, v), compared in effects.items() if v == variant]
        keyed: dict[tuple[Metric, str], list[Compared]] = {}
        for compared in (c for model in by_model for c in model):
            keyed.setdefault((compared.metric, compared.reading), []).append(compared)
        for same in keyed.values():
            for i, side in enumerate(all_sides):
                if side.level == SUBGROUPS or len(same) < 2:
                    continue
                value = np.array([c.effects.value[i] for c in same])
                influence = np.array([c.effects.influence[i] for c in same])
                level = settings.evaluation.confidence_level
                mean = contrasts.over_models(value, influence, level)
                if mean.models > 1:
                    row = {k: v for k, v in vars(mean).items() if k != "models"}
                    row |= {"variant": variant, "n_models": mean.models}
                    rows.append({**_key(side, same[0]), **row})
    return rows


def adjusted_contrasts(frame: pd.DataFrame, confidence_level: float) -> pd.DataFrame:
    """GROUP_CONTRASTS with families: a run's contrasts over all axes, or over all subgroups."""
    family = np.where(frame["level"] == SUBGROUPS, BY_SUBGROUP, BY_AXIS)
    frame = frame.assign(family=pd.array(family, dtype="string"))
    keys = ["model", "variant", "split", "family", *METRIC, "reading"]
    test = names_of_tests(frame, keys)
    return with_smallest_gaps(with_q_values(frame, keys, test=test), keys, confidence_level, test)


def adjusted_consistency(frame: pd.DataFrame) -> pd.DataFrame:
    """CONSISTENCY with families: a variant's contrasts over all axes."""
    frame = frame.assign(family=pd.array([BY_AXIS] * len(frame), dtype="string"))
    keys = ["variant", "split", "family", *METRIC, "reading"]
    return with_q_values(frame, keys, test=names_of_tests(frame, keys))


def names_of_tests(frame: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Which test each contrast is: one name for all that compare the same two sides.

    Of two groups each is the other's rest, and the ends of the axis, too: one test, in two signs.
    """
    if not len(frame):
        return []
    peers = np.where(frame["level"] == SUBGROUPS, frame["group"].map(_stratum), frame["level"])
    frame = frame.assign(peers=peers, is_rest=frame["contrast"] == "rest")
    within = [*keys, "peers"]
    groups = frame["group"].where(frame["is_rest"])
    sizes = groups.groupby([frame[key] for key in within], dropna=False).transform("nunique")
    columns = (frame[name] for name in ("peers", "group", "other_group", "is_rest"))
    return [
        _test_name(str(of), str(group), str(other), bool(is_rest), int(size))
        for of, group, other, is_rest, size in zip(*columns, sizes, strict=True)
    ]


def _test_name(of: str, group: str, other: str, is_rest: bool, size: int) -> str:
    if size == 2:
        return of
    return "\t".join([of, *([group] if is_rest else sorted([group, other]))])


def _stratum(subgroup: str) -> str:
    """The axes of a subgroup's name."""
    return "&".join(sorted(subgroup_groups(subgroup)))
