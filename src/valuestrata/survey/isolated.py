"""Survey files that a library reads in a process of its own: all but csv and new Excel files.

The compiled libraries can crash on a damaged file. In a child process that is an error like any
other, and time and memory have limits.
"""

import contextlib
import multiprocessing
import resource
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from valuestrata.errors import InputError
from valuestrata.survey import arrow_files, labelled, r_files, workbooks
from valuestrata.survey.table import RawTable, ReadOptions, Source

if TYPE_CHECKING:
    import pandas as pd

SLICE = 10_000
"""Rows a request: some start again at the head of the file, so more than of a csv file."""
CPU_SECONDS, CPU_SECONDS_PER_MB = 60, 2
MEMORY = 6 * 2**30


class _Kind(NamedTuple):
    """What a file is, and what opens it in the child."""

    name: str
    open: Callable[[Path, ReadOptions], Source]


KINDS = {
    ".sav": _Kind("an SPSS file", labelled.open_spss),
    ".zsav": _Kind("an SPSS file", labelled.open_spss),
    ".por": _Kind("an SPSS portable file", labelled.open_portable),
    ".dta": _Kind("a Stata file", labelled.open_stata),
    ".sas7bdat": _Kind("a SAS file", labelled.open_sas),
    ".xpt": _Kind("a SAS transport file", labelled.open_transport),
    ".rds": _Kind("an R file", r_files.open_r),
    ".rda": _Kind("an R file", r_files.open_r),
    ".rdata": _Kind("an R file", r_files.open_r),
    ".parquet": _Kind("a Parquet file", arrow_files.open_parquet),
    ".pq": _Kind("a Parquet file", arrow_files.open_parquet),
    ".feather": _Kind("a Feather file", arrow_files.open_arrow),
    ".arrow": _Kind("an Arrow file", arrow_files.open_arrow),
    ".ipc": _Kind("an Arrow file", arrow_files.open_arrow),
    ".ods": _Kind("a spreadsheet", workbooks.open_workbook),
    ".xls": _Kind("an Excel file", workbooks.open_workbook),
    ".xlsb": _Kind("an Excel file", workbooks.open_workbook),
}
"""By suffix."""


@contextmanager
def open_isolated(path: Path, label: str, suffix: str, options: ReadOptions) -> Iterator[RawTable]:
    """Open a file; `suffix` is one of KINDS.

    Raises:
        InputError: the file is none of its kind, or a damaged one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pyreadstat", "pandas"])
    ours, theirs = context.Pipe()
    arguments = (theirs, str(path), suffix, options)
    process = context.Process(target=_serve, args=arguments, daemon=True)
    with _no_main():
        process.start()
    theirs.close()
    notices: list[str] = []
    try:
        answer = _Answers(ours, label, KINDS[suffix].name, notices)
        headers, labels = answer()
        yield RawTable(label, headers, lambda where: _slices(answer, where), labels, notices)
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


class _Answers:
    """What the child sends; notices are collected, and errors raised."""

    def __init__(self, pipe: Connection, label: str, kind: str, notices: list[str]) -> None:
        self.pipe, self.label, self.kind, self.notices = pipe, label, kind, notices

    def __call__(self) -> Any:
        try:
            status, answer = self.pipe.recv()
        except (EOFError, OSError):
            status, answer = "error", "it stops the reader"
        if status == "refused":
            raise InputError(f"{self.label}: {answer}")
        if status == "error":
            raise InputError(
                f"{self.label}: not {self.kind}, or a damaged one ({answer}); download it again"
            )
        if status == "notice":
            self.notices.append(answer)
            return self()
        return answer


def _slices(answer: _Answers, where: Sequence[int]) -> "Iterator[pd.DataFrame]":
    start = 0
    while True:
        with contextlib.suppress(OSError):
            answer.pipe.send((list(where), start))
        part: pd.DataFrame = answer()
        yield part
        if len(part) < SLICE:
            return
        start += SLICE


# In the child --------------------------------------------------------------------------------


def _serve(pipe: Connection, path: str, suffix: str, options: ReadOptions) -> None:
    seconds = CPU_SECONDS + CPU_SECONDS_PER_MB * Path(path).stat().st_size // 2**20
    _limit(resource.RLIMIT_CPU, seconds)
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CORE, 0)  # a core dump would hold respondents
    warnings.simplefilter("ignore")  # of damaged files; standard error is the caller's
    try:
        source = KINDS[suffix].open(Path(path), options)
        _send_notices(pipe, source)
        pipe.send(("ok", (source.headers, source.labels)))
        while True:
            where, start = pipe.recv()
            part = source.rows(where, start, SLICE)
            _send_notices(pipe, source)
            pipe.send(("ok", part))
    except EOFError:
        return
    except InputError as error:
        pipe.send(("refused", str(error)))
    except BaseException as error:  # whatever a damaged file leads to, panics of Rust included
        pipe.send(("error", f"{type(error).__name__}: {error}".splitlines()[0][:120]))


def _send_notices(pipe: Connection, source: Source) -> None:
    while source.notices:
        pipe.send(("notice", source.notices.pop(0)))


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, hard))
