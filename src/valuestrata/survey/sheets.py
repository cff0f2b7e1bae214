"""Excel workbooks as tables, read cell by cell."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import InputError
from valuestrata.survey.table import SLICE, RawTable, ReadOptions, cell

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".xlsx", ".xlsm")
MAX_ROWS = 1_048_576
"""Rows of the largest sheet that Excel writes; more is a damaged file."""
HEADER_ROWS = 100
"""Rows in which the headers are looked for."""


@contextmanager
def open_workbook(path: Path, label: str, options: ReadOptions) -> Iterator[RawTable]:
    """Open a workbook at the sheet that has most of the wanted columns, the first of equals.

    Raises:
        InputError: the file is no workbook, or a damaged one.
    """
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles and extensions it skips
        book = None
        try:
            try:
                book = openpyxl.load_workbook(path, read_only=True, data_only=True)
                heads = [_head(sheet) for sheet in book.worksheets]
            except Exception as error:  # damaged archives and XML raise nearly anything
                raise _unreadable(label, error) from None
            if not heads:
                raise InputError(f"{label}: the workbook has no sheet with cells")
            best = max(range(len(heads)), key=lambda i: options.count_wanted(heads[i][1]))
            sheet, (row, headers) = book.worksheets[best], heads[best]
            yield RawTable(label, headers, lambda where: _slices(sheet, row, where, label))
        finally:
            if book is not None:
                book.close()


def _head(sheet: Any) -> tuple[int, tuple[str, ...]]:
    """The row below the headers, and the headers: the first row with a cell in it."""
    sheet.reset_dimensions()
    rows = sheet.iter_rows(values_only=True)
    for number, cells in enumerate(islice(rows, HEADER_ROWS), start=1):
        headers = tuple(cell(value) for value in cells)
        if any(headers):
            return number + 1, headers
    return HEADER_ROWS, ()


def _slices(sheet: Any, first: int, where: Sequence[int], label: str) -> "Iterator[pd.DataFrame]":
    held: list[list[str]] = []
    try:
        rows = sheet.iter_rows(min_row=first, values_only=True)
        for number, cells in enumerate(rows):
            if number > MAX_ROWS:
                raise InputError(f"{label}: more rows than a sheet can have; the file is damaged")
            kept = [cell(cells[p]) if p < len(cells) else "" for p in where]
            if any(kept):
                held.append(kept)
            if len(held) == SLICE:
                yield _frame(held, where)
                held = []
    except InputError:
        raise
    except Exception as error:  # as above
        raise _unreadable(label, error) from None
    yield _frame(held, where)


def _frame(rows: list[list[str]], where: Sequence[int]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=list(where), dtype="string")


def _unreadable(label: str, error: Exception) -> InputError:
    return InputError(
        f"{label}: not a readable .xlsx file ({type(error).__name__}); download it again, or open "
        "it and save it as csv"
    )
