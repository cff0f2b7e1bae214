"""Draft a codebook from a survey file's variable and value labels."""

import argparse
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from valuestrata.errors import InputError
from valuestrata.study.survey import AUTO
from valuestrata.survey.files import open_survey
from valuestrata.survey.table import ColumnLabels, Headers, ReadOptions
from valuestrata.survey.value_labels import means_no_answer

log = logging.getLogger(__name__)

LABELLED = (
    *(".sav", ".zsav", ".por", ".dta", ".sas7bdat with its .sas7bcat", ".rds", ".rda"),
    *(".parquet", ".feather"),
)
"""Formats with titles or value labels."""
HEAD = """\
# Drafted from the labels of {file}. Before use, decide what stands behind `decide:` and word
# topic (a noun phrase, unique here) and text (the question as a person would be asked it).
# measurement_level: ordinal where the codes are in order, else nominal. scale: lowest and highest
# code. block: the part of the questionnaire that the report sums up by.
questions:
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, which columns, and where to."""
    parser.add_argument(
        "file", help=f"a file of a format that has labels: {', '.join(LABELLED)}; also compressed"
    )
    parser.add_argument("--questions", required=True, nargs="+", metavar="COLUMN")
    parser.add_argument("--output", required=True, help="a new .yaml file")


def run(arguments: argparse.Namespace) -> None:
    """Write the draft; an existing file stays as it is."""
    output = Path(arguments.output)
    if output.exists():
        raise InputError(f"{output}: exists already; name another file or move it away")
    text = draft(arguments.file, list(dict.fromkeys(arguments.questions)))
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None
    log.info(
        "%s: %d questions drafted; decide measurement_level and block",
        output,
        text.count("  topic:"),
    )


def draft(path: Path | str, questions: Sequence[str]) -> str:
    """YAML in the codebook's format.

    Raises:
        InputError: the file has no labels, or not all of the columns.
    """
    options = ReadOptions(AUTO, tuple(questions), headers_only=True)
    with open_survey(path, options) as table:
        headers = Headers(table.headers)
        positions = {name: headers.find(name) for name in questions}
        absent = [name for name, position in positions.items() if position is None]
        if absent:
            noun = "columns" if len(absent) > 1 else "column"
            raise InputError(f"{table.label}: no {noun} {', '.join(absent)}")
        labels = table.labels or (ColumnLabels(),) * len(table.headers)
        columns = {name: labels[p] for name, p in positions.items() if p is not None}
        if not any(column.title or column.codes or column.levels for column in columns.values()):
            raise InputError(
                f"{table.label}: has no titles and value labels of these columns; take a release "
                f"that has: {', '.join(LABELLED)}"
            )
        entries = [_entry(name, column) for name, column in columns.items()]
    return HEAD.format(file=Path(path).name) + "".join(entries)


def _entry(name: str, column: ColumnLabels) -> str:
    codes = _codes(column)
    title = " ".join(column.title.split()) or name
    has_scale = len(codes) > 1
    scale_min, scale_max = (min(codes), max(codes)) if has_scale else (1, 2)
    labels = {c: label for c, label in codes.items() if label and scale_min <= c <= scale_max}
    unsure = "" if has_scale else "  # decide: the file labels fewer than two codes"
    lines = [
        f"  {_flow(name)}:",
        f"    topic: {_flow(title)}  # decide: a noun phrase",
        f"    text: {_flow(title)}  # decide: the question's wording",
        "    block: undecided  # decide",
        "    measurement_level: ordinal  # decide: ordinal or nominal",
        f"    scale: [{scale_min}, {scale_max}]{unsure}",
        f"    labels: {{{', '.join(f'{code}: {_flow(label)}' for code, label in labels.items())}}}",
    ]
    no_answer = [_flow(level) for level in column.levels if means_no_answer(level)]
    lines += [f"    missing: [{', '.join(no_answer)}]"] if no_answer else []
    return "\n".join(lines) + "\n"


def _codes(column: ColumnLabels) -> dict[int, str]:
    """Labels by code, without codes that mean no answer.

    A column that holds labels gets codes from 1 on, in the order of its levels; levels that are
    numbers are codes that the file does not label.
    """
    if column.levels and all(re.fullmatch(r"-?\d+", level) for level in column.levels):
        return {code: "" for code in sorted(map(int, column.levels)) if code >= 0}
    answers = [level for level in column.levels if not means_no_answer(level)]
    return dict(enumerate(answers, start=1)) or {
        int(code): label
        for code, label in sorted(column.codes.items())
        if (code >= 0 or not means_no_answer(label))
        and code.is_integer()
        and not any(low <= code <= high for low, high in column.missing)
    }


def _flow(text: str) -> str:
    """A text as YAML on one line: in quotes, so that it is nothing but text."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
