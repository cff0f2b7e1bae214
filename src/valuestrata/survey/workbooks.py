"""Spreadsheets other than .xlsx by calamine; `isolated` calls this in a process of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from valuestrata.errors import InputError
from valuestrata.survey.table import ReadOptions, Source, cell

if TYPE_CHECKING:
    import pandas as pd


def open_workbook(path: Path, options: ReadOptions) -> Source:
    """The sheet that has most of the wanted columns, the first of equals.

    Raises:
        InputError: no sheet has a cell.
    """
    from python_calamine import CalamineWorkbook

    with CalamineWorkbook.from_path(path) as book:
        sheets = [_Sheet(book.get_sheet_by_name(name).to_python()) for name in book.sheet_names]
    if not sheets:
        raise InputError("the workbook has no sheet with cells")
    return max(sheets, key=lambda sheet: options.count_wanted(sheet.headers))


class _Sheet(Source):
    """A sheet's rows below the first that has a cell in it, which holds the headers."""

    def __init__(self, cells: Sequence[Sequence[object]]) -> None:
        super().__init__()
        texts = ([cell(value) for value in row] for row in cells)
        filled = [row for row in texts if any(row)]
        self.headers = tuple(filled[0]) if filled else ()
        self.cells = filled[1:]

    def rows(self, where: Sequence[int], start: int, count: int) -> "pd.DataFrame":
        import pandas as pd

        part = [[row[p] for p in where] for row in self.cells[start : start + count]]
        return pd.DataFrame(part, columns=list(where), dtype="string")
