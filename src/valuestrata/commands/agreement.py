"""Compare people's annotations with each other and with the judges of a study."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io, judge_tables, paths
from valuestrata.errors import InputError
from valuestrata.records import Record, content_digest
from valuestrata.report.human_agreement import reliabilities, reliability_sentence
from valuestrata.report.phrases import NONE, caveat_sentence, plural
from valuestrata.report.results import annotators_name
from valuestrata.stages.annotation import (
    Annotated,
    annotation_caveat,
    compare_annotations,
    read_annotations,
    read_keys,
)
from valuestrata.stages.human_agreement import key_files
from valuestrata.stages.job import at
from valuestrata.stages.text_pairs import TextPairs
from valuestrata.study.load import load_files
from valuestrata.study.study import Study

KEYS = ["dimension", "comparison", "judge"]
STUDY_FILES = (".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which study, and the annotators' files."""
    parser.add_argument(
        "files", nargs="+", help="study file and overlays (config.yaml), then csv files of the page"
    )
    parser.add_argument("--wage", type=float, help="of a person's hour, for the cost")


def run(arguments: argparse.Namespace) -> None:
    """Write annotation/agreement.parquet and .csv; print a sentence a dimension and judge."""
    config = [path for path in arguments.files if Path(path).suffix.lower() in STUDY_FILES]
    given = [path for path in arguments.files if path not in config]
    if not given:
        raise InputError("no csv file of annotators; the page of `valuestrata annotate` saves them")
    study = load_files(config or ["config.yaml"], Path(), files=False)
    if study.annotator_files:
        raise InputError(
            f"{study.name}: people.files names the annotators' files, and snakemake compares them; "
            "add yours there"
        )
    pairs = TextPairs.of_study(study)
    keys = read_keys(key_files(study))
    if not keys:
        folder = Path(at(study, paths.ANNOTATION_KEY, sample="")).parent
        raise InputError(f"{folder}: no key of a sample; run `valuestrata annotate` first")
    annotated = read_annotations(pairs, keys, given)
    frame = compare_annotations(pairs, annotated, study.evaluation)
    output = Path(at(study, paths.HUMAN_AGREEMENT))
    judges = {str(judge) for judge in frame["judge"].unique()}
    verdicts = [path for (*_, judge), path in pairs.verdict_files().items() if judge in judges]
    caveat = annotation_caveat(study.caveat, annotated.is_simulated)
    _write(study, frame, caveat, output, [*verdicts, *given])
    _print(study, annotated, frame, caveat, arguments.wage)
    print(f"wrote {output} and {output.with_suffix('.csv').name}")


def _write(study: Study, frame: pd.DataFrame, caveat: str, output: Path, files: list[str]) -> None:
    about = {**study.evaluation.model_dump(mode="json"), "caveat": caveat}
    digests = {path: content_digest(path) for path in files}
    record = Record("agreement", {}, about, inputs=digests)
    io.write_table(frame, output, judge_tables.HUMAN_AGREEMENT, record)
    shown = frame.assign(caveat=caveat) if caveat else frame
    io.write_text(shown.to_csv(index=False, lineterminator="\n"), output.with_suffix(".csv"))


def _print(
    study: Study, annotated: Annotated, frame: pd.DataFrame, caveat: str, wage: float | None
) -> None:
    n_changed, answers = annotated.n_changed, annotated.answers
    if n_changed:
        print(f"{plural(n_changed, 'text pair')} left out: the texts have changed since the page")
    for name, rows in answers.groupby("annotator"):
        print(f"{name}: {_effort(rows, len(annotated.items), wage)}")
    for line in _coefficients(frame):
        print(line)
    if answers["annotator"].nunique() < 2:
        print("one annotator: how well people agree with each other takes two")
    for each in reliabilities(frame):
        print(reliability_sentence(each, study.evaluation.confidence_level))
    if caveat:
        print(caveat_sentence(caveat))


def _effort(rows: pd.DataFrame, n_items: int, wage: float | None) -> str:
    """Pairs that an annotator answered, the time that they took, and its price."""
    n_dimensions = rows["dimension"].nunique()
    by_pair = rows.groupby("sample_id")
    finished = int((by_pair.size() == n_dimensions).sum())
    seconds = by_pair["seconds"].sum(min_count=1)
    line = f"{finished} of {n_items} text pairs finished"
    if seconds.isna().all():
        return line
    hours = float(seconds.sum()) / 3600
    paid = "" if wage is None else f", {hours * wage:,.2f} at {wage:g} an hour"
    return f"{line}, {np.nanmedian(seconds):.0f} s a pair (median), {hours:.1f} hours{paid}"


def _coefficients(frame: pd.DataFrame) -> list[str]:
    """A table of every coefficient by dimension, among all annotators and with each judge."""
    overall = frame[frame["rater"] == "all"]
    people = annotators_name(frame)
    rows = [["", *(name.replace("_", " ") for name in judge_tables.COEFFICIENTS)]]
    for (dimension, comparison, judge), group in overall.groupby(KEYS, sort=False):
        cells = {str(row["coefficient"]): _interval(row) for row in io.records(group)}
        who = {"human_human": people, "human_judge": f"{people}, {judge}"}
        name = f"{dimension}: {who.get(str(comparison), f'{judge} minus {people}')}"
        rows.append([name, *(cells.get(name, NONE) for name in judge_tables.COEFFICIENTS)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _interval(row: Mapping[str, Any]) -> str:
    """`0.55 [0.41, 0.66]`; the csv has every digit."""
    value, low, high = (
        f"{round(row[name], 2) + 0.0:.2f}" for name in ("value", "ci_low", "ci_high")
    )
    return f"{value} [{low}, {high}]"
