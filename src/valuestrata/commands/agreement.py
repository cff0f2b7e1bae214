"""Compare people's annotations with each other and with the judges of a study."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.annotation import sample
from valuestrata.annotation.answers import read_answers
from valuestrata.annotation.reliability import agreement_table
from valuestrata.errors import InputError
from valuestrata.records import Record, content_digest
from valuestrata.report.human_agreement import reliabilities, reliability_sentence
from valuestrata.report.phrases import NONE, caveat_sentence, plural
from valuestrata.stages.job import at
from valuestrata.stages.text_pairs import Reference, reference_of, text_pairs, verdicts_of
from valuestrata.study.load import load_files
from valuestrata.study.study import Study

Key = Mapping[str, Any]
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
    keys = read_keys(study)
    dimensions = {item["sample_id"]: key["dimensions"] for key in keys for item in key["items"]}
    answers = read_answers(given, dimensions, study.name)
    items, dropped = _unchanged(study, keys, answers)
    answers = answers.merge(items[["sample_id", "run_is"]], on="sample_id")
    answers["score"] = sample.choice_score(answers["choice"], answers["run_is"])
    verdicts, files = _verdicts(study, items)
    frame = agreement_table(answers, verdicts, items, study.evaluation)
    output = Path(at(study, paths.HUMAN_AGREEMENT))
    _write(study, frame, output, [*files, *given])
    _print(study, answers, items, frame, dropped, arguments.wage)
    print(f"wrote {output} and {output.with_suffix('.csv').name}")


def read_keys(study: Study) -> list[Key]:
    """The keys of all samples of a study.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    pattern = Path(at(study, paths.ANNOTATION_KEY, sample="*"))
    keys = []
    for path in sorted(pattern.parent.glob(pattern.name)):
        try:
            key = io.read_json(path)
            expected = (
                key["sample"],
                key["reference"],
                key["dimensions"],
                key["items"][0]["digest"],
            )
            assert all(expected)
        except (OSError, ValueError, KeyError, IndexError, TypeError, AssertionError):
            raise InputError(f"{path}: not a key that `valuestrata annotate` wrote") from None
        keys.append(key)
    if not keys:
        raise InputError(f"{pattern.parent}: no key of a sample; run `valuestrata annotate` first")
    return keys


def _unchanged(study: Study, keys: list[Key], answers: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Items of the samples that were annotated, and how many were dropped as their texts changed.

    Columns: those of the key, and `reference_run`.

    Raises:
        InputError: all texts have changed.
    """
    answered = set(answers["sample_id"])
    frames = []
    for key in keys:
        if not answered & {item["sample_id"] for item in key["items"]}:
            continue
        reference = (key["reference"]["model"], key["reference"]["variant"])
        today = text_pairs(study, reference)
        today["today"] = [sample.pair_digest(row) for row in io.records(today)]
        items = pd.DataFrame(key["items"])
        items = items.merge(today[[*sample.ITEM, "today"]], on=sample.ITEM, how="left")
        items["reference_run"] = pd.Series([reference] * len(items), dtype="object")
        frames.append(items)
    every = pd.concat(frames, ignore_index=True)
    same = every[every["digest"] == every["today"]].reset_index(drop=True)
    if not answered & set(same["sample_id"]):
        raise InputError(
            f"{study.name}: the texts have changed since they were annotated, all of them; write a "
            "new page by `valuestrata annotate`"
        )
    return same, len(every) - len(same)


def _verdicts(study: Study, items: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Scores of the items by every judge with their reference, and the files that they are in."""
    references: set[Reference] = set(items["reference_run"])
    frames, files = [], []
    for judge in study.judges:
        if reference_of(study, judge) not in references:
            continue
        verdicts, read = verdicts_of(study, judge)
        of_judge = items[items["reference_run"] == reference_of(study, judge)]
        rows = verdicts.merge(of_judge[["sample_id", *sample.ITEM]], on=sample.ITEM)
        frames.append(rows[["sample_id", "dimension", "score"]].assign(judge=judge))
        files += read
    if not frames:
        raise InputError(f"{study.name}: no judge has the reference of the sample any more")
    return pd.concat(frames, ignore_index=True), files


def _write(study: Study, frame: pd.DataFrame, output: Path, files: list[str]) -> None:
    about = {**study.evaluation.model_dump(mode="json"), "caveat": study.caveat}
    digests = {path: content_digest(path) for path in files}
    record = Record("agreement", {}, about, inputs=digests)
    io.write_table(frame, output, tables.HUMAN_AGREEMENT, record)
    shown = frame.assign(caveat=study.caveat) if study.caveat else frame
    io.write_text(shown.to_csv(index=False, lineterminator="\n"), output.with_suffix(".csv"))


def _print(
    study: Study,
    answers: pd.DataFrame,
    items: pd.DataFrame,
    frame: pd.DataFrame,
    dropped: int,
    wage: float | None,
) -> None:
    if dropped:
        print(f"{plural(dropped, 'text pair')} left out: the texts have changed since the page")
    for name, rows in answers.groupby("annotator"):
        print(f"{name}: {_effort(rows, len(items), wage)}")
    for line in _coefficients(frame):
        print(line)
    if answers["annotator"].nunique() < 2:
        print("one annotator: how well people agree with each other takes two")
    for each in reliabilities(frame):
        print(reliability_sentence(each, study.evaluation.confidence_level))
    if study.caveat:
        print(caveat_sentence(study.caveat))


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
    rows = [["", *(name.replace("_", " ") for name in tables.COEFFICIENTS)]]
    for (dimension, comparison, judge), group in overall.groupby(KEYS, sort=False):
        cells = {str(row["coefficient"]): _interval(row) for row in io.records(group)}
        who = {"human_human": "people", "human_judge": f"people, {judge}"}
        name = f"{dimension}: {who.get(str(comparison), f'{judge} minus people')}"
        rows.append([name, *(cells.get(name, NONE) for name in tables.COEFFICIENTS)])
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
