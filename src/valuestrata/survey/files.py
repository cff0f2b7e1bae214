"""Opens a survey file in any format it is handed out in: csv, SPSS, Stata, Excel, also zipped."""

import codecs
import csv
import logging
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from valuestrata.errors import InputError
from valuestrata.survey import labelled, sheets, table
from valuestrata.survey.table import Found, RawTable

log = logging.getLogger(__name__)

AUTO = "auto"
DELIMITERS = ",;\t|"
TEXT = (".csv", ".tsv", ".txt", ".tab", ".dat")
KINDS = (*TEXT, *labelled.READERS, ".xlsx")
READ = f"{', '.join(KINDS)}, or a .zip that holds one of these"
FOREIGN = (".xls", ".ods", ".rds", ".rdata", ".rda", ".sas7bdat", ".xpt", ".por", ".gz", ".7z")
UNPACKED = 16 * 2**30
"""Bytes that a zipped file may unpack to."""


def opened(
    path: Path | str, delimiter: str, names: Sequence[str]
) -> AbstractContextManager[RawTable]:
    """Open a survey file.

    Args:
        path: the file; its suffix says the format, and one that is unknown means csv.
        delimiter: of a csv file, or `auto`.
        names: the wanted columns. They decide between delimiters, sheets and zipped files.

    Raises:
        InputError: one line with the file, what is wrong and what to do.
    """
    return _opened(Path(path), delimiter, lambda headers: table.found(headers, names))


@contextmanager
def _opened(path: Path, delimiter: str, found: Found) -> Iterator[RawTable]:
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder, not a survey file; name the file in it")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: not readable as a survey: the file is empty (0 bytes)")
    except OSError as error:
        said = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: {said}") from None
    except ValueError:  # a NUL in the path
        raise InputError(f"{str(path)!r}: not a file's name") from None
    opener = _zipped if path.suffix.lower() == ".zip" else _plain
    try:
        with opener(path, str(path), delimiter, found) as opened_table:
            yield opened_table
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _plain(
    path: Path, label: str, delimiter: str, found: Found
) -> AbstractContextManager[RawTable]:
    kind = path.suffix.lower()
    if kind in FOREIGN:
        raise InputError(f"{label}: {kind} files are not read; take the release as one of {READ}")
    if kind in labelled.READERS:
        return labelled.opened(path, label, kind)
    if kind == ".xlsx":
        return sheets.opened(path, label, found)
    return _text(path, label, delimiter, found)


# Text ----------------------------------------------------------------------------------------


@contextmanager
def _text(path: Path, label: str, delimiter: str, found: Found) -> Iterator[RawTable]:
    encoding = _encoding(path, label)
    try:
        heads = {
            sep: _head(path, encoding, sep)
            for sep in (DELIMITERS if delimiter == AUTO else (delimiter,))
        }
    except (ValueError, TypeError, csv.Error) as error:
        raise _unreadable(label, error) from None
    sep = max(heads, key=lambda s: (found(heads[s]), len(heads[s])))
    if not heads[sep]:
        raise InputError(f"{label}: not a readable csv file: no line of headers")
    named = [p for p, header in enumerate(heads[sep]) if header.strip()]
    try:
        row = _short_row(path, encoding, sep, named[-1] + 1 if named else 0)
    except csv.Error as error:
        raise _unreadable(label, error) from None
    if row:
        raise InputError(
            f"{label}: not readable to its end: row {row} below the headers stops early; download "
            "the file again, or mend or drop that row"
        )
    shape: dict[str, Any] = {"sep": sep, "encoding": encoding}
    yield RawTable(label, heads[sep], lambda where: _rows(path, label, where, shape))


def _head(path: Path, encoding: str, sep: str) -> tuple[str, ...]:
    """Headers: the fields of the first line that is not blank."""
    with path.open(encoding=encoding, newline="") as lines:
        for fields in csv.reader(lines, delimiter=sep):
            if len(fields) > 1 or "".join(fields).strip():
                return tuple(fields)
    return ()


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
) -> Iterator[pd.DataFrame]:
    kept = sorted(where)
    try:
        slices = pd.read_csv(
            path,
            usecols=kept,
            header=0,
            index_col=False,  # a row that ends in a stray delimiter must not shift the columns
            dtype="string",
            keep_default_na=False,
            chunksize=table.SLICE,
            engine="c",
            **shape,
        )
        with slices:
            for part in slices:
                yield part.set_axis(kept, axis=1)
    except (ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
        raise _unreadable(label, error) from None


def _unreadable(label: str, error: Exception) -> InputError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{label}: not a readable csv file: {said}")


def _encoding(path: Path, label: str) -> str:
    """UTF-8 or, by its mark, UTF-16; else cp1252, with a warning."""
    with path.open("rb") as file:
        start = file.read(2)
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        candidates: tuple[str, ...] = ("utf-16",)
    else:
        candidates = ("utf-8-sig", "cp1252")
    for encoding in candidates:
        if _decodes(path, encoding):
            if encoding == "cp1252":
                log.warning("%s: not UTF-8; read as cp1252 (Windows Latin-1)", label)
            return encoding
    raise InputError(
        f"{label}: not a readable csv file: text neither in UTF-8 nor in cp1252; save it as UTF-8"
    )


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


# Zip -----------------------------------------------------------------------------------------


@contextmanager
def _zipped(path: Path, label: str, delimiter: str, found: Found) -> Iterator[RawTable]:
    """The one survey file in a zip, or the one with most of the wanted columns.

    What is unpacked lies in a folder that only its owner can enter, and goes with the block.
    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
        except OSError:
            raise
        except Exception:  # damaged archives raise nearly anything
            raise InputError(
                f"{label}: not a whole zip file; it may be truncated: download it again"
            ) from None
        members = _members(archive, label)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="valuestrata-")))
        candidates: list[tuple[int, str, Path]] = []
        for number, member in enumerate(members):
            file = folder / f"{number}{Path(member.filename).suffix.lower()}"
            _unpack(archive, member, file, label)
            inner = f"{label}: {member.filename!r}"
            count = 0
            if len(members) > 1:
                with _plain(file, inner, delimiter, found) as one:
                    count = found(one.headers)
            candidates.append((count, inner, file))
        most = max(count for count, _, _ in candidates)
        best = [(inner, file) for count, inner, file in candidates if count == most]
        if len(best) > 1:
            names = ", ".join(repr(m.filename) for m in members[:4])
            raise InputError(
                f"{label}: holds {len(members)} survey files ({names}) and the columns do not "
                "tell which is meant; unpack it and name one"
            )
        yield stack.enter_context(_plain(best[0][1], best[0][0], delimiter, found))


def _members(archive: zipfile.ZipFile, label: str) -> list[zipfile.ZipInfo]:
    members = [
        member
        for member in archive.infolist()
        if Path(member.filename).suffix.lower() in KINDS
        and not Path(member.filename).name.startswith((".", "~"))
        and not member.filename.startswith("__MACOSX")
    ]
    if not members:
        inner = [m.filename for m in archive.infolist() if m.filename.lower().endswith(".zip")]
        if inner:
            raise InputError(
                f"{label}: holds another zip ({inner[0]!r}); unpack it and name the file in it: "
                f"{READ}"
            )
        raise InputError(f"{label}: holds no survey file; read are {', '.join(KINDS)}")
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{label}: is encrypted; unpack it and name the file")
    if sum(member.file_size for member in members) > UNPACKED:
        raise InputError(f"{label}: unpacks to more than {UNPACKED >> 30} GiB; unpack it yourself")
    return members


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path, label: str) -> None:
    try:
        with archive.open(member) as packed, file.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 2**20)
    except Exception as error:  # damaged archives raise nearly anything
        raise InputError(
            f"{label}: {member.filename!r} cannot be unpacked ({type(error).__name__}); "
            "download it again"
        ) from None
    if not file.stat().st_size:
        raise InputError(f"{label}: {member.filename!r} is empty (0 bytes)")
