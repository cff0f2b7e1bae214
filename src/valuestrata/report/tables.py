"""The report's csv tables: readable frames in the study's order, nothing rounded. Pure."""

import pandas as pd

from valuestrata.report.phrases import METRICS
from valuestrata.report.results import RUN, Results, all_runs, baselines, in_order, worded

PARTS = ("value", "ci_low", "ci_high", "n", "missing")
LEVELS = {"metric": ("accuracy", "nmae"), "statistic": ("norm_range", "cv")}


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Every table of the report by file name."""
    made = {
        "main": main(results),
        "differences": differences(results),
        "fairness": fairness(results),
        "groups": groups(results),
        "diversity": diversity(results),
        "agreement": results.agreement,
        "ceilings": results.ceilings,
        "ties": ties(results),
    }
    return {name: _with_caveat(frame, results.spec.caveat) for name, frame in made.items()}


def main(results: Results) -> pd.DataFrame:
    """One row a run; per metric its value, ends of the interval, n and missing as columns.

    A metric's value carries the metric's name, the rest `{metric}_low` and so on; a judge's are
    `win_rate_{judge}_{dimension}` and `flip_rate_{judge}_{dimension}`.
    """
    spec = results.spec
    wide = results.runs.pivot(index=list(RUN), columns="metric", values=list(PARTS))
    present = [str(m) for m in results.runs["metric"].unique()]
    judged = [m for m in present if m not in METRICS]
    columns = {}
    for metric in [*(m for m in METRICS if m in present), *judged]:
        name = metric.replace(":", "_")
        for part in PARTS:
            column = name if part == "value" else f"{name}_{part}"
            whole = part in ("n", "missing")
            columns[column] = wide[(part, metric)].astype("Int64" if whole else "float64")
    flat = pd.DataFrame(columns, index=wide.index).reset_index()
    known = {*all_runs(spec), *worded(spec)}
    is_known = [
        (str(m), str(v)) in known for m, v in zip(flat["model"], flat["variant"], strict=True)
    ]
    flat = flat[is_known]
    rules = {model for model, _ in baselines(spec)}
    flat.insert(3, "role", flat["split"].map(dict(spec.roles)))
    flat.insert(4, "is_baseline", flat["model"].isin(rules))
    first = ["split", "role", "model", "variant", "is_baseline"]
    return in_order(flat[[*first, *(c for c in flat if c not in first)]], spec)


def differences(results: Results) -> pd.DataFrame:
    """Paired differences, first system less second: tuned against base, then against baselines."""
    metrics = list(dict.fromkeys([*METRICS, *map(str, results.differences["metric"])]))
    frame = in_order(results.differences, results.spec, {"metric": metrics})
    is_own = frame["model"] == frame["other_model"]
    own_first = frame.assign(rank=(~is_own).astype(int))
    order = own_first.groupby(["split", "metric"], sort=False).ngroup()
    ranked = own_first.assign(order=order).sort_values(["order", "rank"], kind="stable")
    return ranked.drop(columns=["order", "rank"]).reset_index(drop=True)


def fairness(results: Results) -> pd.DataFrame:
    """Inequality over subgroups, then over each axis' groups, beside the null of equal groups."""
    levels = ["subgroups", *results.spec.axes]
    frame = in_order(results.fairness, results.spec, {"level": levels, **LEVELS})
    return frame[["split", "level", "metric", "statistic", *_rest(frame, 4)]]


def groups(results: Results) -> pd.DataFrame:
    """Scores of each axis' groups, then of each subgroup, runs below one another.

    `noise_ceiling` and its interval are what perfect knowledge of the group's people would score.
    """
    levels = [*results.spec.axes, "subgroups"]
    names = list(dict.fromkeys(map(str, results.groups["group"])))
    by = {"level": levels, "metric": LEVELS["metric"], "group": names}
    keys = ["split", "level", "group", "metric"]
    known = results.ceilings[results.ceilings["ceiling"] == "noise_ceiling"].set_index(keys)
    ends = {"value": "noise_ceiling", "ci_low": "reachable_low", "ci_high": "reachable_high"}
    known = known[list(ends)].rename(columns=ends)
    frame = in_order(results.groups.join(known, on=keys), results.spec, by)
    return frame[["split", "level", "metric", "group", *_rest(frame, 4)]]


def diversity(results: Results) -> pd.DataFrame:
    """Conflict scores: blocks from most to least divided, then questions, then each stratum."""
    frame = results.diversity.copy()
    is_block = frame["question"] == "mean"
    is_mean = (frame["stratum"] == "mean") & ~is_block
    frame["part"] = (~is_block).astype(int) + (~is_block & ~is_mean).astype(int)
    down = -frame["value"].where(frame["part"] < 2).astype("float64").fillna(0.0)
    frame = frame.assign(down=down).sort_values(["part", "measure", "down"], kind="stable")
    return frame.drop(columns=["part", "down"]).reset_index(drop=True)


def ties(results: Results) -> pd.DataFrame:
    """Every pair whose modal answer is a tie: the tied codes, and the answers of each of them."""
    frame = in_order(results.ties, results.spec)
    codes = [" ".join(map(str, own)) for own in frame["codes"]]
    return frame.assign(codes=codes)[["split", *(c for c in frame if c != "split")]]


def _rest(frame: pd.DataFrame, first: int) -> list[str]:
    leading = ["split", "level", "metric", "statistic" if "statistic" in frame else "group"]
    return [str(c) for c in frame if c not in leading[:first]]


def _with_caveat(frame: pd.DataFrame, caveat: str) -> pd.DataFrame:
    return frame.assign(caveat=caveat) if caveat else frame
