"""Opens a survey file in any format it is handed out in, also compressed."""

import codecs
import csv
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import InputError
from valuestrata.study.survey import AUTO
from valuestrata.survey import compressed, isolated, sheets
from valuestrata.survey.table import SLICE, RawTable, ReadOptions
from valuestrata.survey.zipped import open_zip

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = ",;\t|"
TEXT = (".csv", ".tsv", ".txt", ".tab", ".dat")
SUFFIXES = (*TEXT, *isolated.KINDS, *sheets.SUFFIXES)
FORMATS = f"{', '.join(SUFFIXES)}; each also in a .zip or as {', '.join(compressed.OPENERS)}"
FOREIGN = (
    *(".sas7bcat", ".sas", ".sps", ".do", ".r", ".json", ".jsonl", ".xml", ".html", ".htm"),
    *(".pdf", ".doc", ".docx", ".mdb", ".accdb", ".db", ".sqlite", ".orc", ".numbers"),
    *(".7z", ".rar", ".tar", ".tgz", ".zst", ".z"),
)
"""Suffixes of files that come with surveys, or hold some, and are not read."""
BEGINNINGS = {
    b"PK\x03\x04": "an Excel file (.xlsx), an .ods or a .zip",
    b"\x1f\x8b": "compressed (.gz), or R's .rds",
    b"$FL": "an SPSS file (.sav, .zsav)",
    b"PAR1": "a .parquet file",
    b"ARROW1": "a .feather file",
    b"<stata_dta>": "a Stata file (.dta)",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls)",
    b"%PDF": "a .pdf, which holds no table that can be read",
    b"<!DOCTYPE": "a web page: the download needs a login, or is not finished",
    b"<!doctype": "a web page: the download needs a login, or is not finished",
    b"<html": "a web page: the download needs a login, or is not finished",
}
"""What a file is that is named as text, by its first bytes."""


@contextmanager
def open_survey(path: Path | str, options: ReadOptions) -> Iterator[RawTable]:
    """Open a survey file; its suffix says the format, and one that is unknown means csv.

    Raises:
        InputError: one line with the file, what is wrong and what to do.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder, not a survey file; name the file in it")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: not readable as a survey: the file is empty (0 bytes)")
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        raise InputError(f"{path}: {'no such file' if is_missing else error.strerror}") from None
    except ValueError:  # a NUL in the path
        raise InputError(f"{str(path)!r}: not a file's name") from None
    try:
        with _open_any(path, options) as table:
            yield table
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _open_any(path: Path, options: ReadOptions) -> AbstractContextManager[RawTable]:
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return open_zip(path, str(path), options, _open_plain, SUFFIXES, TEXT)
    if suffix in compressed.OPENERS:
        return compressed.open_compressed(path, str(path), options, _open_plain, TEXT)
    return _open_plain(path, str(path), options)


def _open_plain(path: Path, label: str, options: ReadOptions) -> AbstractContextManager[RawTable]:
    suffix = path.suffix.lower()
    if suffix in FOREIGN:
        raise InputError(f"{label}: {suffix} files are not read; readable are {FORMATS}")
    if suffix in isolated.KINDS:
        return isolated.open_isolated(path, label, suffix, options)
    if suffix in sheets.SUFFIXES:
        return sheets.open_workbook(path, label, options)
    return _open_text(path, label, options)


# Text ----------------------------------------------------------------------------------------


@contextmanager
def _open_text(path: Path, label: str, options: ReadOptions) -> Iterator[RawTable]:
    notices: list[str] = []
    _check_beginning(path, label)
    encoding = _encoding(path, label, options, notices)
    delimiters = DELIMITERS if options.delimiter == AUTO else (options.delimiter,)
    try:
        heads = {delimiter: _head(path, encoding, delimiter) for delimiter in delimiters}
    except (ValueError, TypeError, csv.Error) as error:
        raise _unreadable(label, error) from None
    sep = max(heads, key=lambda s: (options.count_wanted(heads[s]), len(heads[s])))
    if not heads[sep]:
        raise InputError(f"{label}: not a readable csv file: no line of headers")
    if not options.headers_only:
        _check_rows(path, label, encoding, sep, heads[sep])
    shape: dict[str, Any] = {"sep": sep, "encoding": encoding}
    yield RawTable(
        label, heads[sep], lambda where: _rows(path, label, where, shape), notices=notices
    )


def _check_beginning(path: Path, label: str) -> None:
    """Refuse another kind of file that is named as text."""
    with path.open("rb") as file:
        start = file.read(16).lstrip()
    for beginning, kind in BEGINNINGS.items():
        if start.startswith(beginning):
            raise InputError(
                f"{label}: not a readable csv file but {kind}; name it by its kind: readable are "
                f"{FORMATS}"
            )


def _head(path: Path, encoding: str, sep: str) -> tuple[str, ...]:
    """Headers: the fields of the first line that is not blank."""
    with path.open(encoding=encoding, newline="") as lines:
        for fields in csv.reader(lines, delimiter=sep):
            if len(fields) > 1 or "".join(fields).strip():
                return tuple(fields)
    return ()


def _check_rows(path: Path, label: str, encoding: str, sep: str, headers: Sequence[str]) -> None:
    """Refuse a file with a row that has fewer fields than headers."""
    named = [position for position, header in enumerate(headers) if header.strip()]
    try:
        row = _short_row(path, encoding, sep, named[-1] + 1 if named else 0)
    except csv.Error as error:
        raise _unreadable(label, error) from None
    if row:
        raise InputError(
            f"{label}: not readable to its end: row {row} below the headers stops early; download "
            "the file again, or mend or drop that row"
        )


def _short_row(path: Path, encoding: str, sep: str, width: int) -> int:
    """Number of the first row below the headers with fewer fields than these; 0 if none."""
    with path.open(encoding=encoding) as lines:
        row = -1  # of the headers: 0
        for line in lines:
            if not line.strip():
                continue
            row += 1
            if '"' in line:  # a delimiter, or the end of a line, may stand within quotes
                fields = len(next(csv.reader(chain([line], lines), delimiter=sep)))
            else:
                fields = line.count(sep) + 1
            if row and fields < width:
                return row
    return 0


def _rows(
    path: Path, label: str, where: Sequence[int], shape: dict[str, Any]
) -> "Iterator[pd.DataFrame]":
    import pandas as pd

    kept = sorted(where)
    try:
        slices = pd.read_csv(
            path,
            usecols=kept,
            header=0,
            index_col=False,  # a row that ends in a stray delimiter must not shift the columns
            dtype="string",
            keep_default_na=False,
            chunksize=SLICE,
            engine="c",
            **shape,
        )
        with slices:
            for part in slices:
                yield part.set_axis(kept, axis=1)
    except (ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
        raise _unreadable(label, error) from None


def _unreadable(label: str, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{label}: not a readable csv file: {reason}")


def _encoding(path: Path, label: str, options: ReadOptions, notices: list[str]) -> str:
    """The study's; or UTF-8 or, by its mark, UTF-16; else cp1252, with a notice."""
    with path.open("rb") as file:
        start = file.read(2)
    if options.encoding != AUTO:
        candidates: tuple[str, ...] = (options.encoding,)
    elif start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        candidates = ("utf-16",)
    else:
        candidates = ("utf-8-sig", "cp1252")
    for encoding in candidates:
        if _decodes(path, encoding, options.headers_only):
            if encoding == "cp1252" and options.encoding == AUTO:
                notices.append(
                    "not UTF-8; read as cp1252 (Windows Latin-1): if letters look wrong, name the "
                    "encoding as survey.encoding"
                )
            return encoding
    tried = " nor in ".join(candidates).replace("-sig", "")
    raise InputError(
        f"{label}: not a readable csv file: text not in {tried}; save it as UTF-8, or name its "
        "encoding as survey.encoding"
    )


def _decodes(path: Path, encoding: str, head_only: bool) -> bool:
    """Whether a file, or its first two million bytes, are text in an encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                decoder.decode(block)
                if head_only and file.tell() >= 2**21:
                    return True
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True
