"""SPSS and Stata files as tables, read in a process of their own.

The C library below pyreadstat can crash on a damaged file. In a child process that is an error
like any other, and time and memory have limits.
"""

import contextlib
import logging
import multiprocessing
import resource
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import InputError
from valuestrata.survey.table import ColumnLabels, RawTable

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SLICE = 10_000
"""Rows a request: each starts again at the head of the file, so more than of a csv file."""
CPU_SECONDS, CPU_SECONDS_PER_MB = 60, 2
MEMORY = 6 * 2**30
SPSS, STATA = "an SPSS file", "a Stata file"
KINDS = {".sav": SPSS, ".zsav": SPSS, ".dta": STATA}
"""What a file is, by its suffix."""


@contextmanager
def open_labelled(path: Path, label: str, suffix: str) -> Iterator[RawTable]:
    """Open a file; `suffix` is one of KINDS.

    Raises:
        InputError: the file is none of its kind, or a damaged one.
    """
    kind = KINDS[suffix]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pyreadstat", "pandas"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, str(path), kind), daemon=True)
    with _no_main():
        process.start()
    theirs.close()
    try:
        headers, labels = _answer(ours, label, kind)
        yield RawTable(
            label, headers, lambda where: _slices(ours, headers, where, label, kind), labels
        )
    finally:
        ours.close()
        process.kill()
        process.join()
        process.close()


@contextmanager
def _no_main() -> Iterator[None]:
    """Keep the child from importing the caller's script, which may not be written for that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _answer(pipe: Connection, label: str, kind: str) -> Any:
    try:
        status, answer = pipe.recv()
    except (EOFError, OSError):
        status, answer = "error", "it stops the reader"
    if status == "error":
        raise InputError(f"{label}: not {kind}, or a damaged one ({answer}); download it again")
    if status == "cp1252":
        log.warning("%s: the text is not in the encoding it declares; read as cp1252", label)
        return _answer(pipe, label, kind)
    return answer


def _slices(
    pipe: Connection, headers: Sequence[str], where: Sequence[int], label: str, kind: str
) -> "Iterator[pd.DataFrame]":
    names = [headers[p] for p in where]
    start = 0
    while True:
        with contextlib.suppress(OSError):
            pipe.send((names, start))
        part: pd.DataFrame = _answer(pipe, label, kind)
        rows = len(part)
        yield part.set_axis(list(where), axis=1)
        if rows < SLICE:
            return
        start += rows


# In the child --------------------------------------------------------------------------------


def _serve(pipe: Connection, path: str, kind: str) -> None:
    size = Path(path).stat().st_size
    seconds = CPU_SECONDS + CPU_SECONDS_PER_MB * size // 2**20
    _limit(resource.RLIMIT_CPU, seconds)
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CORE, 0)  # a core dump would hold respondents
    warnings.simplefilter("ignore")  # of damaged files; standard error is the caller's
    # SPSS declares codes missing, and a study may recode them; Stata's .a to .z are no codes
    declared = kind == SPSS
    try:
        import pyreadstat

        function = pyreadstat.read_sav if kind == SPSS else pyreadstat.read_dta
        read = _Reader(pipe, path, function)
        _, meta = read(metadataonly=True, user_missing=True)
        headers = tuple(str(name or "") for name in meta.column_names)
        pipe.send(("ok", (headers, _labels(meta))))
        while True:
            names, start = pipe.recv()
            part, _ = read(usecols=names, row_offset=start, row_limit=SLICE, user_missing=declared)
            pipe.send(("ok", part[names]))
    except EOFError:
        return
    except Exception as error:  # whatever a damaged file leads to
        pipe.send(("error", f"{type(error).__name__}: {error}".splitlines()[0][:120]))


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, hard))


class _Reader:
    """Calls pyreadstat; turns to cp1252 for good once the declared encoding fails."""

    def __init__(self, pipe: Connection, path: str, function: Callable[..., Any]) -> None:
        self.pipe, self.path, self.function = pipe, path, function
        self.encoding: str | None = None

    def __call__(self, **options: Any) -> Any:
        options = {**options, "disable_datetime_conversion": True}
        try:
            return self.function(self.path, encoding=self.encoding, **options)
        except Exception as error:
            is_encoding = isinstance(error, UnicodeDecodeError) or "encoding" in str(error)
            if self.encoding or not is_encoding:
                raise
            self.encoding = "WINDOWS-1252"
            answer = self.function(self.path, encoding=self.encoding, **options)
            self.pipe.send(("cp1252", None))
            return answer


def _labels(meta: Any) -> tuple[ColumnLabels, ...]:
    titles, codes = meta.column_names_to_labels, meta.variable_value_labels
    return tuple(
        ColumnLabels(
            title=titles.get(name) or "",
            codes={float(c): str(v) for c, v in codes.get(name, {}).items() if _is_number(c)},
            missing=tuple(
                (float(r["lo"]), float(r["hi"]))
                for r in meta.missing_ranges.get(name, [])
                if _is_number(r["lo"]) and _is_number(r["hi"])
            ),
        )
        for name in meta.column_names
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)
