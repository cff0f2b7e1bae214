"""The report's csv tables: readable frames in the study's order, nothing rounded. Pure."""

import pandas as pd

from valuestrata.columns import METRIC
from valuestrata.judge_tables import HUMAN_AGREEMENT
from valuestrata.report.comparison import Metric
from valuestrata.report.human_agreement import reliabilities
from valuestrata.report.phrases import METRICS
from valuestrata.report.results import RUN, SUBGROUPS, Results, in_order
from valuestrata.report.runs import all_runs, prompt_variant_runs
from valuestrata.study.sensitivity import PERTURBATIONS
from valuestrata.tables import INEQUALITIES

PARTS = ("value", "ci_low", "ci_high", "n", "missing")
ORDERS = {"metric": ("accuracy", "nmae"), "statistic": INEQUALITIES}
NAMES = (
    "main",
    "differences",
    "contrasts",
    "consistency",
    "inequality_changes",
    "disparities",
    "fairness",
    "groups",
    "diversity",
    "agreement",
    "ceilings",
    "ties",
    "win_rates",
    "human_agreement",
)
"""File names of the tables of every study."""
USAGE = "usage"
"""The table of what services cost, where a study asks one."""


SENSITIVITY = "sensitivity"
"""The table of perturbed prompts and probes, where a study has them."""


def report_tables(results: Results) -> dict[str, pd.DataFrame]:
    """Every table of the report by its name."""
    tables = {
        "main": main_table(results),
        "differences": differences_table(results),
        "contrasts": _by_level(results, results.contrasts),
        "consistency": _by_level(results, results.consistency),
        "inequality_changes": _by_level(results, results.inequality_changes),
        "disparities": _by_level(results, results.disparities),
        "fairness": fairness_table(results),
        "groups": groups_table(results),
        "diversity": diversity_table(results),
        "agreement": results.agreement,
        "ceilings": results.ceilings,
        "ties": ties_table(results),
        "win_rates": win_rates_table(results),
        "human_agreement": human_agreement_table(results),
    }
    if results.usage is not None:
        tables[USAGE] = results.usage
    if results.sensitivity is not None:
        orders = {"perturbation": PERTURBATIONS}
        frame = in_order(results.sensitivity, results.settings, orders)
        tables[SENSITIVITY] = _leading(frame, ["split", "perturbation"])
    return {name: _with_caveat(frame, results.settings.caveat) for name, frame in tables.items()}


def main_table(results: Results) -> pd.DataFrame:
    """One row a run; per metric its value, ends of the interval, n and missing as columns.

    A metric's value carries the metric's name, the rest `{metric}_ci_low` and so on; a judge's are
    `win_rate_{judge}_{dimension}`, a gain's `normalized_gain_{metric}_{baseline}`.
    """
    settings = results.settings
    keys = [*METRIC, "baseline"]
    wide = results.runs.pivot(index=list(RUN), columns=keys, values=list(PARTS))
    present = results.runs[keys].drop_duplicates().itertuples(index=False, name=None)
    metrics = [Metric(*map(str, row)) for row in present]
    plain = [metric for name in METRICS if (metric := Metric(name)) in metrics]
    columns = {}
    for metric in [*plain, *(m for m in metrics if m not in plain)]:
        name = "_".join(filter(None, metric))
        for part in PARTS:
            column = name if part == "value" else f"{name}_{part}"
            values = wide[(part, *metric)]
            is_count = part in ("n", "missing")
            columns[column] = values.astype("Int64") if is_count else values.astype("float64")
    flat = pd.DataFrame(columns, index=wide.index).reset_index()
    shown = {*all_runs(settings), *prompt_variant_runs(settings)}
    is_shown = [
        (str(m), str(v)) in shown for m, v in zip(flat["model"], flat["variant"], strict=True)
    ]
    flat = flat[is_shown]
    flat.insert(3, "role", flat["split"].map(dict(settings.roles)))
    flat.insert(4, "is_baseline", flat["model"].isin(settings.baselines))
    first = ["split", "role", "model", "variant", "is_baseline"]
    return in_order(flat[[*first, *(c for c in flat if c not in first)]], settings)


def differences_table(results: Results) -> pd.DataFrame:
    """Paired differences, first run minus second: tuned against base, then against baselines."""
    names = list(dict.fromkeys([*METRICS, *map(str, results.differences["metric"])]))
    frame = in_order(results.differences, results.settings, {"metric": names})
    is_other_model = frame["model"] != frame["other_model"]
    order = frame.groupby(["split", *METRIC], sort=False).ngroup()
    keys = frame.assign(order=order, is_other_model=is_other_model)
    ranked = keys.sort_values(["order", "is_other_model"], kind="stable")
    return ranked.drop(columns=["order", "is_other_model"]).reset_index(drop=True)


def fairness_table(results: Results) -> pd.DataFrame:
    """Inequality over subgroups, then over each axis' groups, beside the null of equal groups."""
    levels = [SUBGROUPS, *results.settings.axes]
    frame = in_order(results.fairness, results.settings, {"level": levels, **ORDERS})
    return _leading(frame, ["split", "level", "metric", "statistic"])


def _by_level(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """A table by level: each axis' groups, then subgroups; runs in the study's order."""
    orders = {"level": [*results.settings.axes, SUBGROUPS], "metric": list(METRICS)}
    return _leading(in_order(frame, results.settings, orders), ["split", "level", "metric"])


def groups_table(results: Results) -> pd.DataFrame:
    """Scores of each axis' groups, then of each subgroup, runs below one another.

    `noise_ceiling` and its interval are those of the group.
    """
    levels = [*results.settings.axes, SUBGROUPS]
    names = list(dict.fromkeys(map(str, results.groups["group"])))
    orders = {"level": levels, "metric": ORDERS["metric"], "group": names}
    keys = ["split", "level", "group", "metric"]
    ceilings = results.ceilings[results.ceilings["ceiling"] == "noise_ceiling"].set_index(keys)
    columns = {part: f"noise_ceiling_{part}" for part in ("ci_low", "ci_high")}
    columns = {"value": "noise_ceiling", **columns}
    ceilings = ceilings[list(columns)].rename(columns=columns)
    frame = in_order(results.groups.join(ceilings, on=keys), results.settings, orders)
    return _leading(frame, ["split", "level", "metric", "group"])


def diversity_table(results: Results) -> pd.DataFrame:
    """Conflict scores: blocks from most to least divided, then questions, then each stratum."""
    frame = results.diversity.copy()
    is_block = frame["question"] == "mean"
    is_mean = (frame["stratum"] == "mean") & ~is_block
    frame["part"] = (~is_block).astype(int) + (~is_block & ~is_mean).astype(int)
    descending = -frame["value"].where(frame["part"] < 2).astype("float64").fillna(0.0)
    keys = frame.assign(descending=descending)
    ranked = keys.sort_values(["part", "measure", "descending"], kind="stable")
    return ranked.drop(columns=["part", "descending"]).reset_index(drop=True)


def ties_table(results: Results) -> pd.DataFrame:
    """Every pair whose modal answer is a tie: the tied codes, and the answers of each of them."""
    frame = in_order(results.ties, results.settings)
    codes = [" ".join(map(str, tied)) for tied in frame["codes"]]
    return _leading(frame.assign(codes=codes), ["split"])


def win_rates_table(results: Results) -> pd.DataFrame:
    """What verdicts show by judge, dimension and run.

    `less_reliable_than_people` says what annotations show of the judge on the dimension, empty
    where they do not tell; `annotators` whether these were people or simulated.
    """
    directions = {
        (each.judge, each.dimension): each.direction(results.settings.evaluation.confidence_level)
        for each in reliabilities(results.human_agreement)
    }
    dimensions = list(dict.fromkeys(map(str, results.win_rates["dimension"])))
    orders = {"judge": results.settings.judges, "dimension": dimensions}
    frame = in_order(results.win_rates, results.settings, orders)
    judged = zip(frame["judge"], frame["dimension"], strict=True)
    of_rows = [directions.get((str(judge), str(dimension))) for judge, dimension in judged]
    worse = pd.array([None if d is None else d < 0 for d in of_rows], dtype="boolean")
    first = ["split", "judge", "dimension", "statistic"]
    frame = frame.assign(less_reliable_than_people=worse, annotators=results.annotators)
    return _leading(frame, first)


def human_agreement_table(results: Results) -> pd.DataFrame:
    """Agreement of annotators with each other and with judges; no row without annotations.

    Those of single annotators are left out: the report may be published, and they have names.
    """
    frame = results.human_agreement
    if frame is None:
        return pd.DataFrame(columns=HUMAN_AGREEMENT.names)
    return frame[frame["rater"] == "all"].reset_index(drop=True)


def _leading(frame: pd.DataFrame, first: list[str]) -> pd.DataFrame:
    """The frame with these columns first."""
    return frame[[*first, *(str(column) for column in frame if column not in first)]]


def _with_caveat(frame: pd.DataFrame, caveat: str) -> pd.DataFrame:
    return frame.assign(caveat=caveat) if caveat else frame
