"""Say which differences a study can find before a model runs, and what a smaller one needs."""

import argparse
import statistics
from dataclasses import fields
from pathlib import Path
from typing import Literal

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.errors import InputError
from valuestrata.report.phrases import METRICS, count, decimal
from valuestrata.report.power import (
    Assumptions,
    Finds,
    label_loss,
    needs,
    study_finds,
    true_gaps,
    win_rate_design,
)
from valuestrata.report.settings import contrast_settings
from valuestrata.stages.job import at, check_input
from valuestrata.study.load import load_files
from valuestrata.study.study import Study
from valuestrata.survey.groups import read_groups

MEANINGS = {
    "accuracy": "share of pairs that a run gets right",
    "refusals": "share of pairs that a run refuses",
    "nmae_sd": "standard deviation of a pair's NMAE",
    "wasserstein_sd": "standard deviation of a pair's Wasserstein distance",
    "question_sd": "how much the difference of two runs differs between questions, as a standard "
    "deviation in units of that of a pair's score",
    "group_sd": "the same of the difference of two groups",
    "win_sd": "standard deviation of a verdict (1 win, 0.5 tie, 0 loss)",
    "power": "share of such studies that should find the gap",
}
"""What each assumption is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which study, what is assumed, and which gap is wanted."""
    parser.add_argument("files", nargs="+", help="study file and overlays")
    for field in fields(Assumptions):
        name = f"--{field.name.replace('_', '-')}"
        meaning = f"{MEANINGS[field.name]} ({field.default})"
        parser.add_argument(name, type=float, default=field.default, help=meaning)
    parser.add_argument(
        "--gap", type=float, help="a true gap in accuracy: say what would find it, such as 0.05"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the smallest gaps of each split."""
    study = load_files(arguments.files, Path(), files=False)
    values = {field.name: getattr(arguments, field.name) for field in fields(Assumptions)}
    assumed = Assumptions(**values)
    _check(assumed, arguments.gap)
    print(text(study, assumed, arguments.gap))


def _check(assumed: Assumptions, gap: float | None) -> None:
    """Refuse assumptions that no scores can have."""
    shares = {"accuracy": assumed.accuracy, "refusals": assumed.refusals, "power": assumed.power}
    for name, value in shares.items():
        if not 0 < value < 1:
            raise InputError(f"--{name} {value}: must lie between 0 and 1, both excluded")
    for name in ("nmae_sd", "wasserstein_sd", "win_sd", "question_sd", "group_sd"):
        if not 0 <= getattr(assumed, name) <= 2:
            shown = f"--{name.replace('_', '-')} {getattr(assumed, name)}"
            raise InputError(f"{shown}: must lie between 0 and 2")
    if gap is not None and not 0 < gap < 1:
        raise InputError(f"--gap {gap}: must lie between 0 and 1; write 0.05 for five points")


def text(study: Study, assumed: Assumptions, gap: float | None = None) -> str:
    """The smallest gaps that each split's comparisons find, and what a given gap needs.

    Raises:
        InputError: the survey side has not been made.
    """
    settings = contrast_settings(study)
    alpha = 1 - study.evaluation.confidence_level
    groups_path = _made(study, paths.GROUPS_OF_AXES)
    axes = read_groups(groups_path).labels()
    lines = [f"study {study.name}: the smallest true gaps that {assumed.power:.0%} of such studies"]
    lines[0] += f" find at q < {alpha:.2g}, were each the only one of its family"
    shown = (f"{field.name} {getattr(assumed, field.name):g}" for field in fields(Assumptions))
    lines.append(f"assumed: {', '.join(shown)}; each can be set, see --help")
    for split in study.splits:
        pairs = io.read_table(_made(study, paths.PAIRS, split=split), tables.PAIRS)
        finds = study_finds(pairs, axes, settings, assumed)
        lines += ["", *_split_lines(split, pairs, finds, alpha, assumed)]
        if study.judges and study.generation and split in study.generation.splits:
            lines.append(_win_line(pairs, study.generation.per_subgroup, alpha, assumed))
        if gap is not None:
            lines += [_needs_line(pairs, each, gap, alpha, assumed.power) for each in finds]
    return "\n".join(lines)


def _made(study: Study, pattern: str, **parts: str) -> str:
    """The path of a file of the survey side that has been made, and is what the study asks for."""
    path = at(study, pattern, **parts)
    if not Path(path).exists():
        raise InputError(
            f"{path}: not there yet; run `snakemake survey` with this study first, which runs no "
            "model"
        )
    check_input(study, path)
    return path


def _split_lines(
    split: str, pairs: pd.DataFrame, finds: list[Finds], alpha: float, assumed: Assumptions
) -> list[str]:
    sizes = (
        f"{split}: {count(pairs['subgroup'].nunique())} subgroups, "
        f"{count(pairs['question'].nunique())} questions, {count(len(pairs))} pairs"
    )
    share = label_loss(pairs)
    labels = (
        f"labels come from samples: {share:.0%} of a true gap in accuracy shows, which is counted "
        "here; the other metrics are as measured"
    )
    metrics = list(assumed.pair_sd())
    rows = [("", *(METRICS[m] for m in metrics), "tests")]
    for each in finds:
        cells = []
        for metric in metrics:
            cells.append(_range(true_gaps(each, metric, alpha, assumed, share)))
        rows.append((each.name, *cells, str(each.tests)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = [
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [sizes, labels, *table]


def _win_line(
    pairs: pd.DataFrame, per_subgroup: int | Literal["all"], alpha: float, assumed: Assumptions
) -> str:
    design = win_rate_design(pairs, per_subgroup, assumed)
    gap = design.smallest_gap(alpha, assumed.power)
    away = decimal(gap) if gap == gap else "an untested distance"
    return f"a judge's win rate, {per_subgroup} questions a subgroup: {away} from one half"


def _range(gaps: list[float]) -> str:
    """`0.041`, or the middle of several groups with the ends: `0.060 (0.051 to 0.112)`."""
    if not gaps:
        return "untested"
    middle = decimal(statistics.median(gaps))
    ends = decimal(gaps[0]), decimal(gaps[-1])
    return middle if ends[0] == ends[1] else f"{middle} ({ends[0]} to {ends[1]})"


def _needs_line(pairs: pd.DataFrame, finds: Finds, gap: float, alpha: float, power: float) -> str:
    questions, times = needs(pairs, finds, gap, alpha, power)
    n = pairs["question"].nunique()
    enough = f"{count(questions)} questions (it has {count(n)})" if questions else ""
    if questions is not None and questions <= n:
        return (
            f"  a gap of {decimal(gap)}, {finds.name}: found; {count(questions)} questions would do"
        )
    more = f"{times:.1f} times the respondents" if times else "no number of respondents at these"
    more += "" if times else " questions"
    return f"  a gap of {decimal(gap)}, {finds.name}: {enough or 'no number of questions'}; {more}"
