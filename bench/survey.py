"""Measure the survey's array code against other people's tools, on one file and in one run.

`make bench-survey` prints the table and writes results/bench/survey.json. docs/performance.md says
how to read it.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from bench import data, growth, peers
from valuestrata.metrics import fairness, resample
from valuestrata.survey import diversity, modal, tally

OUTPUT = data.ROOT / "results/bench/survey.json"
LEVEL = 0.95
PACKAGES = ("numpy", "pandas", "scipy", "polars", "duckdb", "fairlearn")
Row = dict[str, Any]


def main() -> None:
    """Run everything; with --quick a small part, to see that it runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; the ratios mean nothing")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported, in peers
    size = Size.quick() if arguments.quick else Size()
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        survey = data.survey(Path(folder), 2012, size.questions)
        rows = [*modes(survey, size), *wasserstein(survey, size), *resamples(survey, size)]
        rows += grown(Path(folder), size)
    rows = [{**one, "threads": 1, "versions": versions()} for one in rows]
    say(rows)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


class Size:
    """How much of the work is done."""

    questions: int | None = None  # all 214
    repeats = 7
    scipy_questions = 24
    resamples = 10_000
    pandas_resamples = 200
    fairlearn_resamples = 40
    countries = 90
    each = 5000

    @classmethod
    def quick(cls) -> "Size":
        """As little as shows that everything runs."""
        size = cls()
        size.questions, size.repeats, size.scipy_questions = 8, 1, 2
        size.resamples, size.pandas_resamples, size.fairlearn_resamples = 100, 5, 5
        size.countries, size.each = 2, 600
        return size


def beside(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int, slow: bool = False
) -> tuple[float, float, Any, Any]:
    """Median CPU seconds and last answers of both; they take turns on a machine that others use."""
    spent: tuple[list[float], list[float]] = ([], [])
    answers: list[Any] = [None, None]
    for turn in range(repeats):
        for place, work in enumerate((ours, theirs)):
            if place == 1 and slow and turn:
                continue
            start = time.process_time()
            answers[place] = work()
            spent[place].append(time.process_time() - start)
    return median(spent[0]), median(spent[1]), *answers


def row(
    against: str,
    work: str,
    ours: float,
    theirs: float,
    at_least: float | None,
    equal: bool,
    scaled_from: str | None = None,
) -> Row:
    """One line of the result."""
    return {
        "against": against,
        "work": work,
        "ours_s": ours,
        "theirs_s": theirs,
        "ratio": theirs / ours,
        "at_least": at_least,
        "equal": equal,
        "scaled_from": scaled_from,
    }


# Modes ---------------------------------------------------------------------------------------


def our_modes(survey: data.Survey) -> list[tuple[list[str], np.ndarray]]:
    """From the responses frame to subgroups and [S, Q] modal codes, -1 for none, per stratum."""
    scale = tally.scale_of(survey.questions)
    encoded = tally.encode(survey.responses, scale)
    found = tally.members_of(survey.responses, data.STRATA, survey.groups, data.MINIMUM)
    counts = tally.count_strata(
        encoded, [c for _, c in found], [len(n) for n, _ in found], scale.codes.shape[1]
    )
    place = np.arange(len(scale.questions))
    return [
        (names, np.where(count.any(axis=-1), scale.codes[place, modal.modes(count)], -1))
        for (names, _), count in zip(found, counts, strict=True)
    ]


def same_modes(
    ours: Sequence[tuple[list[str], np.ndarray]], theirs: peers.Modes, questions: list[str]
) -> bool:
    """Whether a peer has exactly our mode for each of our subgroups and questions."""
    for names, codes in ours:
        for name, own in zip(names, codes, strict=True):
            group = tally.subgroup_groups(name)
            key = [group.get(axis) for axis in data.AXES]
            for question, code in zip(questions, own, strict=True):
                if theirs.get((*key, question), -1) != code:
                    return False
    return True


def modes(survey: data.Survey, size: Size) -> list[Row]:
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
            ("polars group_by().agg(mode)", 15, lambda: peers.polars_mode(table, names)),
            ("polars group_by().len()", 15, lambda: peers.polars_len(table, names)),
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
        a, b, mine, found = beside(lambda: our_modes(survey), theirs, repeats)
        equal = same_modes(mine, peers.as_modes(found), names)
        rows.append(row(against, work, a, b, at_least, equal))
    return rows


# Wasserstein distance ------------------------------------------------------------------------


def counted(survey: data.Survey) -> tuple[tally.Scale, list[str], list[Any], list[Any]]:
    """The scale, subgroups' names, and per stratum counts and weighted counts."""
    scale = tally.scale_of(survey.questions)
    encoded = tally.encode(survey.responses, scale)
    found = tally.members_of(survey.responses, data.STRATA, survey.groups, data.MINIMUM)
    cells, sizes = [c for _, c in found], [len(n) for n, _ in found]
    weight = survey.responses["weight"].to_numpy(dtype=np.float64)
    width = scale.codes.shape[1]
    heads = tally.count_strata(encoded, cells, sizes, width)
    sums = tally.count_strata(encoded, cells, sizes, width, weight)
    return scale, [name for names, _ in found for name in names], heads, sums


def wasserstein(survey: data.Survey, size: Size) -> list[Row]:
    """Mean pairwise distance within each stratum, from the same weighted counts."""
    scale, names, heads, sums = counted(survey)
    present = [count.sum(axis=-1) >= data.MINIMUM for count in heads]
    questions = len(scale.questions)
    # a sample of the questions, spread over the questionnaire
    some = np.linspace(0, questions - 1, min(size.scipy_questions, questions)).astype(int)

    def ours() -> list[Any]:
        return [
            diversity.mean_wasserstein(weighted, here, scale)
            for weighted, here in zip(sums, present, strict=True)
        ]

    def theirs() -> list[list[float]]:
        return [
            peers.scipy_wasserstein(weighted, here, scale, some)
            for weighted, here in zip(sums, present, strict=True)
        ]

    a, b, mine, found = beside(ours, theirs, size.repeats, slow=True)
    known = scale.ordinal[some]
    equal = all(
        np.allclose(own[some][known], np.array(other)[known], rtol=0, atol=1e-12, equal_nan=True)
        for own, other in zip(mine, found, strict=True)
    )
    work = f"mean pairwise W1, {len(names)} subgroups in 10 strata x {questions} questions"
    said = f"{len(some)} of {questions} questions"
    b *= questions / len(some)
    return [row("scipy wasserstein_distance in a loop", work, a, b, 1000, equal, said)]


# Resampled group means -----------------------------------------------------------------------


def our_resamples(values: np.ndarray, resamples: int) -> np.ndarray:
    """[B, G + 2] means of each group, Norm.Range, CV."""
    resample.cluster_draws.cache_clear()
    draws = resample.cluster_draws(values.shape[1], resamples, seed=1)
    means = fairness.resampled_means(values, np.eye(len(values)), draws)
    return np.column_stack([means, fairness.norm_range(means), fairness.cv(means)])


def our_intervals(values: np.ndarray, resamples: int) -> list[tuple[float, float, float]]:
    """Mean and interval of each group."""
    resample.cluster_draws.cache_clear()
    return fairness.group_intervals(values, np.eye(len(values)), resamples, LEVEL, 1)


def national_scores(survey: data.Survey) -> tuple[list[str], np.ndarray]:
    """[S, Q] 1 where a subgroup's mode is the nation's, NaN where too few answered."""
    _, names, heads, _ = counted(survey)
    counts = np.concatenate(heads)
    nation = modal.modes(heads[0].sum(axis=0))
    scores = (modal.modes(counts) == nation).astype(np.float64)
    return names, np.where(counts.sum(axis=-1) >= data.MINIMUM, scores, np.nan)


def resamples(survey: data.Survey, size: Size) -> list[Row]:
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
        a, b, mine, found = beside(
            lambda: our_resamples(values, size.resamples), theirs, size.repeats, slow=True
        )
        equal = bool(np.allclose(mine[:few], found, rtol=0, atol=1e-12))
        said = f"{few} of {size.resamples:,} resamples"
        rows.append(row(against, work, a, b * size.resamples / few, at_least, equal, said))
    if importlib.util.find_spec("fairlearn"):
        few = size.fairlearn_resamples
        a, b, mine, frame = beside(
            lambda: our_intervals(values, size.resamples),
            lambda: peers.fairlearn_frame(long, few, LEVEL, 1),
            size.repeats,
            slow=True,
        )
        equal = same_frame(values, names, mine, long, frame, few)
        said = f"{few} of {size.resamples:,} resamples"
        scaled = b * size.resamples / few
        work = f"group means with intervals: {about}"
        rows.append(row("fairlearn MetricFrame(n_boot)", work, a, scaled, 3000, equal, said))
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
    fed = fairness.resampled_means(apart, np.eye(len(names)), draws)
    ends = np.array([resample.percentiles(own, LEVEL) for own in fed.T]).T
    theirs = np.array([quantile[names].to_numpy() for quantile in frame.by_group_ci])
    return bool(
        np.allclose([m for m, _, _ in ours], means, rtol=0, atol=1e-12)
        and np.allclose(ends, theirs, rtol=0, atol=1e-12)
    )


# Growth --------------------------------------------------------------------------------------


def grown(folder: Path, size: Size) -> list[Row]:
    """A file of many countries: CPU and memory of one process, and one country checked."""
    found, chosen, _ = data.study()
    path, about, output = folder / "many.parquet", folder / "about.json", folder / "found.npz"
    subprocess.run(
        [sys.executable, "-m", "bench.data", str(path), str(size.countries), str(size.each)],
        check=True,
    )
    questions = [
        {
            "question": one.question,
            "measurement_level": one.measurement_level,
            "scale_min": one.scale_min,
            "scale_max": one.scale_max,
            "codes": sorted({*range(one.scale_min, one.scale_max + 1), *one.extra}),
        }
        for one in chosen
    ]
    groups = {"country": [f"C{i:02d}" for i in range(size.countries)], **data.groups_of(found)}
    said = {
        "questions": questions,
        "strata": data.STRATA,
        "groups": groups,
        "minimum": data.MINIMUM,
    }
    about.write_text(json.dumps(said), encoding="utf-8")
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
    scale = tally.scale_of(questions)
    encoded = tally.encode(responses, scale)
    some = np.linspace(0, len(names) - 1, 3).astype(int)
    with np.load(output) as found:
        for i in range(len(data.STRATA)):
            own = [str(name) for name in found[f"names_{i}"]]
            inside = [k for k, n in enumerate(own) if n.startswith(f"country={country} & ")]
            short = [own[k].split(" & ", 1)[1] for k in inside]
            if not same_modes([(short, found[f"modes_{i}"][inside])], theirs, names):
                return False
            cell = np.full(len(responses), -1)
            for s, name in enumerate(short):
                group = tally.subgroup_groups(name)
                cell[(responses[list(group)] == pd.Series(group)).all(axis=1).to_numpy(bool)] = s
            width = scale.codes.shape[1]
            weight = responses["weight"].to_numpy(dtype=np.float64)
            heads = tally.count(encoded, cell, len(short), width)
            sums = tally.count(encoded, cell, len(short), width, weight)
            here = heads.sum(axis=-1) >= data.MINIMUM
            expected = peers.scipy_wasserstein(sums, here, scale, some)
            if not np.allclose(found[f"distance_{i}"][-1, some], expected, rtol=0, atol=1e-12):
                return False
    return True


# Saying --------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Versions of everything that was measured."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        if importlib.util.find_spec(name):
            found[name] = importlib.metadata.version(name)
    return found


def say(rows: Sequence[Row]) -> None:
    """Print the table of ratios."""
    lines = [("against", "ours", "theirs", "ratio", "asked", "equal", "work")]
    for one in rows:
        if one["ratio"] is None:
            asked = f"<= {one['cpu_s_at_most']} CPU-s, {one['peak_mb_at_most']:,} MB"
            spent = f"{one['cpu_s']:.1f} CPU-s"
            peak = f"{one['peak_mb']:,.0f} MB"
            lines.append((one["against"], spent, peak, "", asked, _yes(one["equal"]), one["work"]))
            continue
        theirs = f"{one['theirs_s']:.3g} s" + ("*" if one["scaled_from"] else "")
        asked = f"{one['at_least']:,}x" if one["at_least"] else "-"
        ours = f"{one['ours_s'] * 1000:.3g} ms"
        ratio = f"{one['ratio']:,.0f}x"
        lines.append((one["against"], ours, theirs, ratio, asked, _yes(one["equal"]), one["work"]))
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    text = "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    notes = "CPU seconds, one thread. * scaled linearly from a part of the work, named in the json."
    stated = ", ".join(f"{name} {version}" for name, version in versions().items())
    sys.stdout.write(f"{text}\n{notes}\n{stated}\n")


def _yes(equal: bool) -> str:
    return "yes" if equal else "NO"


if __name__ == "__main__":
    main()
