"""Measure the survey's array code against other people's tools, on one file and in one run.

`make bench-survey` prints the table and writes results/bench/survey.json. docs/performance.md says
how to read it.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bench import data, growth, peers
from bench.timing import Row, Size, beside, print_table, row, versions
from valuestrata.metrics import fairness, resample
from valuestrata.survey import modal, tally
from valuestrata.survey.conflict import mean_wasserstein
from valuestrata.survey.encoded import Scale, encode, scale_of

OUTPUT = data.ROOT / "results/bench/survey.json"
LEVEL = 0.95


def main() -> None:
    """Run everything; with --quick a small part, to see that it runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; the ratios mean nothing")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported, in peers
    size = Size.quick() if arguments.quick else Size()
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        survey = data.simulated(Path(folder), 2012, size.questions)
        rows = [*modes(survey, size), *wasserstein(survey, size), *resamples(survey, size)]
        rows += grown(Path(folder), size)
    rows = [{**entry, "threads": 1, "versions": versions()} for entry in rows]
    print_table(rows)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


# Modes ---------------------------------------------------------------------------------------


def our_modes(survey: data.Tables) -> list[tuple[Sequence[str], np.ndarray]]:
    """From the responses frame to subgroups and [S, Q] modal codes, -1 for none, per stratum."""
    encoded = survey.encoded()
    codes = encoded.scale.codes
    strata = tally.strata_members(encoded.groups, data.STRATA, survey.groups, data.MIN_N)
    counts = tally.count_strata(encoded.answers, strata, encoded.width)
    place = np.arange(len(codes))
    return [
        (members.names, np.where(count.any(axis=-1), codes[place, modal.modes(count)], -1))
        for members, count in zip(strata, counts, strict=True)
    ]


def same_modes(
    ours: Sequence[tuple[Sequence[str], np.ndarray]], theirs: peers.Modes, questions: list[str]
) -> bool:
    """Whether a peer has exactly our mode for each of our subgroups and questions."""
    for names, codes in ours:
        for name, row_of_codes in zip(names, codes, strict=True):
            group = tally.subgroup_groups(name)
            key = [group.get(axis) for axis in data.AXES]
            for question, code in zip(questions, row_of_codes, strict=True):
                if theirs.get((*key, question), -1) != code:
                    return False
    return True


def modes(survey: data.Tables, size: Size) -> list[Row]:
    """Modes of every subgroup and question."""
    names = survey.names
    work = f"modes, {len(survey.responses):,} x {len(names)} questions, 10 strata"
    todo: list[tuple[str, float | None, Callable[[], Any]]] = [
        (
            "pandas groupby().agg(mode)",
            100,
            lambda: peers.pandas_mode(survey.responses, names),
        ),
        (
            "pandas groupby().size()",
            None,
            lambda: peers.pandas_size(survey.responses, names),
        ),
    ]
    if importlib.util.find_spec("polars"):
        table = peers.polars_table(survey.responses, names)
        todo += [
            # 20 and 17 on a quiet machine, and 13 seen on a busy one
            ("polars group_by().agg(mode)", 8, lambda: peers.polars_mode(table, names)),
            ("polars group_by().len()", 8, lambda: peers.polars_len(table, names)),
        ]
    if importlib.util.find_spec("duckdb"):
        connection = peers.duckdb_table(survey.responses, names)
        todo += [
            (f"duckdb, {how}", 10, lambda how=how: peers.duckdb_modes(connection, names, how))
            for how in ("mode", "window", "arg_max")
        ]
    rows = []
    for against, at_least, theirs in todo:
        repeats = min(size.repeats, 3) if against.endswith("agg(mode)") else size.repeats
        a, b, modes_here, modes_there = beside(lambda: our_modes(survey), theirs, repeats)
        equal = same_modes(modes_here, peers.as_modes(modes_there), names)
        rows.append(row(against, work, a, b, at_least, equal))
    return rows


# Wasserstein distance ------------------------------------------------------------------------


def counted(survey: data.Tables) -> tuple[Scale, list[str], list[Any], list[Any]]:
    """The scale, subgroups' names, and per stratum counts and weighted counts."""
    encoded = survey.encoded()
    strata = tally.strata_members(encoded.groups, data.STRATA, survey.groups, data.MIN_N)
    heads = tally.count_strata(encoded.answers, strata, encoded.width)
    sums = tally.count_strata(encoded.answers, strata, encoded.width, encoded.weight)
    return encoded.scale, [name for members in strata for name in members.names], heads, sums


def wasserstein(survey: data.Tables, size: Size) -> list[Row]:
    """Mean pairwise distance within each stratum, from the same weighted counts."""
    scale, names, heads, sums = counted(survey)
    present = [count.sum(axis=-1) >= data.MIN_N for count in heads]
    questions = len(scale.questions)
    # a sample of the questions, spread over the questionnaire
    sample = np.linspace(0, questions - 1, min(size.scipy_questions, questions)).astype(int)

    def ours() -> list[Any]:
        return [
            mean_wasserstein(weighted, here, scale)
            for weighted, here in zip(sums, present, strict=True)
        ]

    def theirs() -> list[list[float]]:
        return [
            peers.scipy_wasserstein(weighted, here, scale, sample)
            for weighted, here in zip(sums, present, strict=True)
        ]

    a, b, first, second = beside(ours, theirs, size.repeats, slow=True)
    ordinal = scale.ordinal[sample]
    equal = all(
        np.allclose(x[sample][ordinal], np.array(y)[ordinal], rtol=0, atol=1e-12, equal_nan=True)
        for x, y in zip(first, second, strict=True)
    )
    work = f"mean pairwise W1, {len(names)} subgroups in 10 strata x {questions} questions"
    part = f"{len(sample)} of {questions} questions"
    b *= questions / len(sample)
    return [row("scipy wasserstein_distance in a loop", work, a, b, 1000, equal, part)]


# Resampled group means -----------------------------------------------------------------------


def our_resamples(values: np.ndarray, resamples: int) -> np.ndarray:
    """[B, G + 2] means of each group, Norm.Range, CV."""
    resample.cluster_draws.cache_clear()
    draws = resample.cluster_draws(values.shape[1], resamples, seed=1)
    means = drawn_means(values, draws)
    return np.column_stack([means, fairness.norm_range(means), fairness.cv(means)])


def drawn_means(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """[B, G] means of the scores that each group has, when questions are drawn."""
    finite = np.isfinite(values)
    scores = np.where(finite, values, 0.0)
    return resample.resampled_means(scores, finite.astype(np.float64), draws).T


def our_intervals(values: np.ndarray, resamples: int) -> list[tuple[float, float, float]]:
    """Mean and interval of each group."""
    resample.cluster_draws.cache_clear()
    return fairness.group_intervals(values, np.eye(len(values)), resamples, LEVEL, 1)


def national_scores(survey: data.Tables) -> tuple[list[str], np.ndarray]:
    """[S, Q] 1 where a subgroup's mode is the nation's, NaN where too few answered."""
    _, names, heads, _ = counted(survey)
    counts = np.concatenate(heads)
    nation = modal.modes(heads[0].sum(axis=0))
    scores = (modal.modes(counts) == nation).astype(np.float64)
    return names, np.where(counts.sum(axis=-1) >= data.MIN_N, scores, np.nan)


def resamples(survey: data.Tables, size: Size) -> list[Row]:
    """Bootstrap of the group means; questions are resampled, fairlearn resamples rows."""
    names, values = national_scores(survey)
    groups, questions = values.shape
    wide = pd.DataFrame(values.T, columns=names)
    long = (
        wide.rename_axis("question")
        .reset_index()
        .melt("question", var_name="group", value_name="score")
        .dropna(subset="score")
        .astype({"group": "category"})
        .reset_index(drop=True)
    )
    few = size.pandas_resamples
    draws = resample.cluster_draws(questions, size.resamples, seed=1)[:few].astype(np.int64)
    drawn = [np.repeat(np.arange(questions), times) for times in draws]
    about = f"{size.resamples:,} resamples, {groups} subgroups x {questions} questions"
    work = f"group means, Norm.Range, CV: {about}"
    rows = []
    for against, at_least, theirs in (
        ("pandas loop, groupby().mean()", 100, lambda: peers.pandas_long(long, drawn, names)),
        ("pandas loop, wide take().mean()", None, lambda: peers.pandas_wide(wide, drawn)),
    ):
        a, b, first, second = beside(
            lambda: our_resamples(values, size.resamples), theirs, size.repeats, slow=True
        )
        equal = bool(np.allclose(first[:few], second, rtol=0, atol=1e-12))
        part = f"{few} of {size.resamples:,} resamples"
        rows.append(row(against, work, a, b * size.resamples / few, at_least, equal, part))
    if importlib.util.find_spec("fairlearn"):
        few = size.fairlearn_resamples
        a, b, intervals, frame = beside(
            lambda: our_intervals(values, size.resamples),
            lambda: peers.fairlearn_frame(long, few, LEVEL, 1),
            size.repeats,
            slow=True,
        )
        equal = same_frame(values, names, intervals, long, frame, few)
        part = f"{few} of {size.resamples:,} resamples"
        scaled = b * size.resamples / few
        work = f"group means with intervals: {about}"
        rows.append(row("fairlearn MetricFrame(n_boot)", work, a, scaled, 3000, equal, part))
    return rows


def same_frame(
    values: np.ndarray, names: list[str], ours: Any, long: pd.DataFrame, frame: Any, few: int
) -> bool:
    """Whether the means agree, and the intervals where we are fed fairlearn's own draws of rows."""
    means = frame.by_group[names].to_numpy()
    draws = peers.fairlearn_draws(len(long), few, 1)
    # each row becomes a question that one group alone was asked
    apart = np.full((len(names), len(long)), np.nan)
    apart[pd.Index(names).get_indexer(pd.Index(long["group"])), np.arange(len(long))] = long[
        "score"
    ]
    fed = drawn_means(apart, draws)
    ends = np.array([resample.percentiles(draws, LEVEL) for draws in fed.T]).T
    theirs = np.array([quantile[names].to_numpy() for quantile in frame.by_group_ci])
    return bool(
        np.allclose([m for m, _, _ in ours], means, rtol=0, atol=1e-12)
        and np.allclose(ends, theirs, rtol=0, atol=1e-12)
    )


# Growth --------------------------------------------------------------------------------------


def grown(folder: Path, size: Size) -> list[Row]:
    """A file of many countries: CPU and memory of one process, and one country checked."""
    study, chosen, _ = data.load_study()
    path, about, output = folder / "many.parquet", folder / "about.json", folder / "scores.npz"
    subprocess.run(
        [sys.executable, "-m", "bench.data", str(path), str(size.countries), str(size.each)],
        check=True,
    )
    questions = [
        {
            "question": q.question,
            "measurement_level": q.measurement_level,
            "scale_min": q.scale_min,
            "scale_max": q.scale_max,
            "codes": sorted({*range(q.scale_min, q.scale_max + 1), *q.extra}),
        }
        for q in chosen
    ]
    groups = {"country": [f"C{i:02d}" for i in range(size.countries)], **data.groups_of(study)}
    content = {
        "questions": questions,
        "strata": data.STRATA,
        "groups": groups,
        "min_n": data.MIN_N,
    }
    about.write_text(json.dumps(content), encoding="utf-8")
    command = [sys.executable, "-m", "bench.growth", str(path), str(about), str(output)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result = json.loads(done.stdout)
    work = (
        f"modes and W1, {result['respondents']:,} respondents, {size.countries} countries x 10 "
        f"strata ({result['subgroups']:,} subgroups) x {len(questions)} questions"
    )
    line = {
        **row("nothing: absolute", work, result["cpu_s"], float("nan"), None, False),
        "theirs_s": None,
        "ratio": None,
        "equal": same_country(path, output, pd.DataFrame(questions)),
        "cpu_s": result["cpu_s"],
        "cpu_s_at_most": 10,
        "peak_mb": result["peak_mb"],
        "peak_mb_at_most": 1000,
    }
    return [line]


def same_country(path: Path, output: Path, questions: pd.DataFrame) -> bool:
    """Whether the last country's modes are those of pandas, and some distances those of scipy."""
    responses = growth.last_country(path)
    country = responses["country"].iloc[0]
    names = list(questions["question"])
    theirs = peers.as_modes(peers.pandas_size(responses, names))
    scale = scale_of(questions)
    encoded = encode(responses, scale)
    sample = np.linspace(0, len(names) - 1, 3).astype(int)
    with np.load(output) as scores:
        for i in range(len(data.STRATA)):
            subgroups = [str(name) for name in scores[f"names_{i}"]]
            inside = [k for k, n in enumerate(subgroups) if n.startswith(f"country={country} & ")]
            short = [subgroups[k].split(" & ", 1)[1] for k in inside]
            if not same_modes([(short, scores[f"modes_{i}"][inside])], theirs, names):
                return False
            cell = np.full(len(responses), -1)
            for s, name in enumerate(short):
                group = tally.subgroup_groups(name)
                cell[(responses[list(group)] == pd.Series(group)).all(axis=1).to_numpy(bool)] = s
            width = scale.codes.shape[1]
            weight = responses["weight"].to_numpy(dtype=np.float64)
            heads = tally.count(encoded, cell, len(short), width)
            sums = tally.count(encoded, cell, len(short), width, weight)
            enough = heads.sum(axis=-1) >= data.MIN_N
            expected = peers.scipy_wasserstein(sums, enough, scale, sample)
            distances = scores[f"distance_{i}"][-1, sample]
            if not np.allclose(distances, expected, rtol=0, atol=1e-12):
                return False
    return True


if __name__ == "__main__":
    main()
