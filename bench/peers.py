"""The same work with other people's tools, as a competent user of each would write it.

All take a table that stands in the peer's own memory already, so nothing is counted against them
that a user would not wait for. Ties go to the lowest code. polars, duckdb and fairlearn come with
the extra `bench` and are imported where they are used.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from bench.data import AXES, STRATA

Modes = dict[tuple[str | None, ...], int]
"""(group on each of AXES or None, ..., question) -> code."""


def _collect(frames: Sequence[pd.DataFrame]) -> Modes:
    """The modes in tables with some of the axes, question and code."""
    modes: Modes = {}
    for frame in frames:
        columns = [
            frame[axis].astype(object).to_list() if axis in frame else [None] * len(frame)
            for axis in AXES
        ]
        columns = [[None if pd.isna(cell) else cell for cell in column] for column in columns]
        keys = zip(*columns, frame["question"].to_list(), strict=True)
        modes |= dict(zip(keys, map(int, frame["code"]), strict=True))
    return modes


# Modes ---------------------------------------------------------------------------------------


def pandas_mode(responses: pd.DataFrame, names: list[str]) -> list[pd.DataFrame]:
    """groupby().agg() with the mode of pandas, on long data."""
    long = responses.melt([*AXES], names, var_name="question", value_name="code").dropna(
        subset="code"
    )
    return [
        long.groupby([*axes, "question"], sort=False)["code"]
        .agg(lambda codes: codes.mode().min())
        .reset_index()
        for axes in STRATA
    ]


def pandas_size(responses: pd.DataFrame, names: list[str]) -> list[pd.DataFrame]:
    """The quickest way in pandas: count each code, sort, keep the first."""
    long = responses.melt([*AXES], names, var_name="question", value_name="code").dropna(
        subset="code"
    )
    long = long.astype(dict.fromkeys([*AXES, "question"], "category")).astype({"code": "int16"})
    tables = []
    for axes in STRATA:
        keys = [*axes, "question"]
        counts = long.groupby([*keys, "code"], observed=True).size().reset_index(name="n")
        counts = counts.sort_values("n", ascending=False, kind="stable")
        tables.append(counts.drop_duplicates(keys).drop(columns="n"))
    return tables


def polars_table(responses: pd.DataFrame, names: list[str]) -> Any:
    """The responses as a polars frame."""
    import polars as pl

    return pl.from_pandas(responses[[*AXES, *names]])


def polars_mode(table: Any, names: list[str]) -> list[Any]:
    """Lazy group_by over unpivoted data, with the mode of polars; one collect_all."""
    import polars as pl

    long = (
        table.lazy()
        .unpivot(names, index=[*AXES], variable_name="question", value_name="code")
        .drop_nulls("code")
    )
    plans = [
        long.drop_nulls([*axes]).group_by(*axes, "question").agg(pl.col("code").mode().min())
        for axes in STRATA
    ]
    return pl.collect_all(plans)


def polars_len(table: Any, names: list[str]) -> list[Any]:
    """The same by counting each code, then the first of the most frequent."""
    import polars as pl

    long = (
        table.lazy()
        .unpivot(names, index=[*AXES], variable_name="question", value_name="code")
        .drop_nulls("code")
    )
    plans = [
        long.drop_nulls([*axes])
        .group_by(*axes, "question", "code")
        .agg(n=pl.len())
        .group_by(*axes, "question")
        .agg(pl.col("code").filter(pl.col("n") == pl.col("n").max()).min())
        for axes in STRATA
    ]
    return pl.collect_all(plans)


def duckdb_sql(names: list[str], how: str) -> str:
    """One query for all strata. how: mode, window or arg_max."""
    sets = ", ".join(f"({', '.join(axes)}, question)" for axes in STRATA)
    coded = sets.replace("question)", "question, code)")
    axes = ", ".join(AXES)
    long = f"SELECT * FROM (UNPIVOT responses ON {', '.join(names)} INTO NAME question VALUE code)"
    # a stratum leaves out those whose group on one of its axes is not known
    known = " OR ".join(
        "("
        + " AND ".join(
            f"GROUPING({a}) = 0 AND {a} IS NOT NULL" if a in s else f"GROUPING({a}) = 1"
            for a in AXES
        )
        + ")"
        for s in STRATA
    )
    counts = (
        f"SELECT {axes}, question, code, count(*) AS n FROM ({long}) "
        f"GROUP BY GROUPING SETS ({coded}) HAVING {known}"
    )
    if how == "mode":
        return (
            f"SELECT {axes}, question, mode(code ORDER BY code) AS code FROM ({long}) "
            f"GROUP BY GROUPING SETS ({sets}) HAVING {known}"
        )
    if how == "window":
        return (
            f"SELECT {axes}, question, code FROM ({counts}) QUALIFY row_number() OVER "
            f"(PARTITION BY {axes}, question ORDER BY n DESC, code) = 1"
        )
    return (
        f"SELECT {axes}, question, arg_max(code, n * 100000 - code) AS code FROM ({counts}) "
        f"GROUP BY {axes}, question"
    )


def duckdb_table(responses: pd.DataFrame, names: list[str]) -> Any:
    """A connection of one thread with the responses as a table."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.register("given", responses[[*AXES, *names]])
    connection.execute("CREATE TABLE responses AS SELECT * FROM given")
    return connection


def duckdb_modes(connection: Any, names: list[str], how: str = "window") -> Any:
    """The modes of all strata by one query; an Arrow table."""
    return connection.sql(duckdb_sql(names, how)).to_arrow_table()


def as_modes(answer: Any) -> Modes:
    """What any of these peers get_or_compute, comparable."""
    if isinstance(answer, list):
        return _collect([a if isinstance(a, pd.DataFrame) else a.to_pandas() for a in answer])
    return _collect([answer.to_pandas()])


# Wasserstein distance ------------------------------------------------------------------------


def scipy_wasserstein(
    weighted: np.ndarray, present: np.ndarray, scale: Any, questions: Sequence[int]
) -> list[float]:
    """Mean over pairs of subgroups of [S, Q, C], for these questions."""
    means = []
    for q in questions:
        on = scale.on_scale[q]
        codes = scale.codes[q, on]
        groups = [weights[on] for weights in weighted[present[:, q], q] if weights[on].sum() > 0]
        span = scale.scale_max[q] - scale.scale_min[q]
        distances = [wasserstein_distance(codes, codes, a, b) for a, b in combinations(groups, 2)]
        means.append(sum(distances) / len(distances) / span if distances else float("nan"))
    return means


# Resampled group means -----------------------------------------------------------------------


def pandas_wide(scores: pd.DataFrame, questions: Sequence[np.ndarray]) -> np.ndarray:
    """[B, G + 2] group means, Norm.Range and CV: a loop that draws rows of a wide table.

    scores: one row a question, one column a group. questions: [Q] those drawn, B times.
    """
    rows = []
    for drawn in questions:
        means = scores.take(drawn).mean()
        top = means.max()
        rows.append([*means, (top - means.min()) / top, means.std(ddof=0) / means.mean()])
    return np.array(rows)


def pandas_long(
    long: pd.DataFrame, questions: Sequence[np.ndarray], groups: Sequence[str]
) -> np.ndarray:
    """[B, G + 2] the same by groupby on long data, one row a group and question."""
    at = long.reset_index(drop=True).groupby("question").indices
    rows = []
    for drawn in questions:
        resample = long.take(np.concatenate([at[q] for q in drawn]))
        means = resample.groupby("group", observed=True)["score"].mean()[groups]
        top = means.max()
        rows.append([*means, (top - means.min()) / top, means.std(ddof=0) / means.mean()])
    return np.array(rows)


def mean_prediction(y_true: Any, y_pred: Any) -> float:
    """A metric for MetricFrame: the mean of the scores."""
    return float(np.mean(y_pred))


def fairlearn_frame(long: pd.DataFrame, resamples: int, level: float, seed: int) -> Any:
    """Fairlearn's group means with the quantiles of its own bootstrap."""
    from fairlearn.metrics import MetricFrame

    tail = (1 - level) / 2
    return MetricFrame(
        metrics=mean_prediction,
        y_true=long["score"],
        y_pred=long["score"],
        sensitive_features=long["group"],
        n_boot=resamples,
        ci_quantiles=[tail, 1 - tail],
        random_state=seed,
    )


def fairlearn_draws(rows: int, resamples: int, seed: int) -> np.ndarray:
    """[B, rows] how often fairlearn's bootstrap of this seed draws each row."""
    seeds = np.random.default_rng(seed).integers(
        0, np.iinfo(np.uint32).max, size=resamples, dtype=np.uint32
    )
    row = pd.Series(np.arange(rows))
    drawn = [
        row.sample(frac=1, replace=True, random_state=seed, ignore_index=True) for seed in seeds
    ]
    return np.array([np.bincount(index, minlength=rows) for index in drawn], dtype=np.float64)
