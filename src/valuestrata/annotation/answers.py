"""Reading what annotators sent back: csv files of the page, checked against the samples' keys."""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pandas as pd

from valuestrata.annotation.sample import ALL, CHOICES
from valuestrata.errors import InputError

COLUMNS = ("sample_id", "annotator", "dimension", "choice", "seconds")
DELIMITERS = ",;\t"
"""Spreadsheet programs save csv with any of these."""
Row = tuple[str, dict[str, str]]
"""Where a row stands, and its fields."""


_SEPARATOR_LINE = re.compile(r"\A\"?sep=.\"?\r?\n", re.IGNORECASE)
"""What some spreadsheet programs write above the header."""


def read_answers(
    paths: Sequence[Path | str], sample_ids: Mapping[str, Sequence[str]], study: str
) -> pd.DataFrame:
    """All answers of some files: the columns COLUMNS; an empty choice is left out.

    Args:
        paths: csv files of the page.
        sample_ids: the study's sample ids, and the dimensions of each.
        study: name of the study.

    Raises:
        InputError: a file cannot be read, is not of this study, or answers something twice; or two
            names of annotators are one.
    """
    seen: dict[tuple[str, str, str], str] = {}
    spellings: dict[str, tuple[str, str]] = {}
    rows = []
    for where, row in (row for path in paths for row in _rows(Path(path))):
        _check_sample(where, row["sample_id"], sample_ids, study)
        dimensions = sample_ids[row["sample_id"]]
        if row["dimension"] not in dimensions:
            _refuse(where, f"no dimension {row['dimension']!r}; it has {', '.join(dimensions)}")
        if row["annotator"] in ("", ALL):
            _refuse(where, f"annotator {row['annotator']!r} is no annotator's name; give another")
        _check_spelling(where, row["annotator"], spellings)
        key = (row["annotator"], row["sample_id"], row["dimension"])
        if key in seen:
            _refuse(
                where,
                f"{key[0]} has answered {key[2]} of {key[1]} already, in {seen[key]}; give each "
                "file once, and each annotator another name",
            )
        seen[key] = where
        if row["choice"]:
            choice, seconds = _choice(where, row["choice"]), _seconds(where, row["seconds"])
            rows.append({**row, "choice": choice, "seconds": seconds})
    if not rows:
        raise InputError(f"{paths[0]}: holds no answer" if paths else "no csv file of annotators")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(path: Path) -> Iterator[Row]:
    """Each row of a file, with `file, line n`."""
    try:
        content = path.read_bytes()
        is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # Excel's "Unicode text"
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not text in UTF-8; give the csv file of the page") from None
    text = _SEPARATOR_LINE.sub("", text)
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        while names and not names[-1]:  # spreadsheets fill up the columns that others have
            del names[-1]
        absent = [name for name in COLUMNS if name not in names]
        if absent or len(set(names)) < len(names):
            problem = f"no column {absent[0]}" if absent else "a column stands there twice"
            raise InputError(f"{path}: {problem}; a csv file of the page has {', '.join(COLUMNS)}")
        for fields in reader:
            where = f"{path}, line {reader.line_num}"
            if not any(field.strip() for field in fields):
                continue
            if not any(field.strip() for field in fields[len(names) :]):
                del fields[len(names) :]
            if len(fields) != len(names):
                _refuse(where, f"{len(fields)} fields, not {len(names)}")
            row = dict(zip(names, (field.strip() for field in fields), strict=True))
            yield where, {name: row[name] for name in COLUMNS}
    except csv.Error as error:
        raise InputError(f"{path}: not a csv file: {error}") from None


def _check_sample(
    where: str, sample_id: str, sample_ids: Mapping[str, Sequence[str]], study: str
) -> None:
    if sample_id in sample_ids:
        return
    sample, _, number = sample_id.rpartition("-")
    names = {each.rpartition("-")[0] for each in sample_ids}
    if number and sample in names:
        _refuse(where, f"sample {sample} has no {sample_id}")
    if sample.rpartition("-")[0] == study:
        _refuse(where, f"no key of sample {sample}: it lay beside the page that was annotated")
    _refuse(where, f"{sample_id[:60]!r} is no sample id of the study {study}")


def _check_spelling(where: str, name: str, spellings: dict[str, tuple[str, str]]) -> None:
    """Refuse a name that another one differs from in capitals, blanks or signs alone.

    Two names of one person would be two annotators who agree with each other.
    """
    plain = (
        "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum()) or name
    )
    other, other_where = spellings.setdefault(plain, (name, where))
    if other != name:
        _refuse(
            where,
            f"annotator {name!r} and {other!r} ({other_where}) differ in capitals, blanks or signs "
            "alone; write a person's name in one way, and give other people other names",
        )


def _choice(where: str, text: str) -> str:
    choices = {choice.lower(): choice for choice in CHOICES}
    if text.lower() not in choices:
        _refuse(where, f"choice {text[:20]!r} is not A, tie or B")
    return choices[text.lower()]


def _seconds(where: str, text: str) -> float:
    """Seconds of an answer, NaN where they are left out."""
    if not text:
        return math.nan
    try:
        seconds = float(text.replace(",", "."))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        _refuse(where, f"seconds {text[:20]!r} is not a number from 0 on")
    return seconds


def _refuse(where: str, problem: str) -> NoReturn:
    raise InputError(f"{where}: {problem}")
