"""Verdicts in the cells of a judge's tables, whose rows or columns are dimensions. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping

from valuestrata.prompting import verdict_words as words

_RULE = re.compile(r"[\s|:=+-]*-[\s|:=+-]*")
_HEADER = re.compile(rf"(?:final |the )?(?:{words.HEADER})(?: (?:answer|response|one))?", re.I)
Cells = list[tuple[str, int, int]]
"""Text of each cell of a row, and where it begins and ends."""


def table_cells(
    text: str, by_name: Mapping[str, str], choice_of: Callable[[str], str | None]
) -> Iterator[tuple[str, str, int, int]]:
    """Dimension, choice and place of each verdict in the text's tables.

    Args:
        text: a flat reply (verdict_text.py).
        by_name: the dimensions by their names in small letters.
        choice_of: the choice that a cell is, None for another text.
    """
    for rows in _tables(text):
        has_rule = len(rows) > 1 and _is_rule(rows[1])
        header = rows[0] if has_rule else []
        names = [_dimension(cell, by_name) for cell, _, _ in header]
        body = [row for row in rows if row and not _is_rule(row)]
        if sum(map(bool, names)) > 1:
            for row in body[1:]:
                for name, (cell, start, end) in zip(names, row, strict=False):
                    if name and (choice := choice_of(cell)):
                        yield name, choice, start, end
            continue
        column = _verdict_column(header)
        for row in body:
            verdict_cell = _cell_of(row, column, bool(header), choice_of)
            name = _dimension(row[0][0], by_name)
            if name and verdict_cell and (choice := choice_of(verdict_cell[0])):
                yield name, choice, row[0][1], verdict_cell[2]


def _cell_of(
    row: Cells, column: int | None, has_header: bool, choice_of: Callable[[str], str | None]
) -> tuple[str, int, int] | None:
    """The cell of a row that holds its verdict, None where nobody can tell."""
    if column is not None:
        return row[column] if column < len(row) else None
    if len(row) == 2:
        return row[1]
    if has_header or len(row) < 2:
        return None
    others = {choice_of(cell) for cell, _, _ in row[2:]} - {None}
    return row[1] if others <= {choice_of(row[1][0])} else None


def _verdict_column(header: Cells) -> int | None:
    """The one column whose head says that it holds verdicts."""
    columns = [i for i, (cell, _, _) in enumerate(header) if _HEADER.fullmatch(cell)]
    return columns[0] if len(columns) == 1 and columns[0] > 0 else None


def _tables(text: str) -> Iterator[list[Cells]]:
    """Rows of each run of lines that begin with a bar or hold two."""
    rows: list[Cells] = []
    start = 0
    for line in [*text.split("\n"), ""]:
        if line.lstrip().startswith("|") or line.count("|") > 1:
            rows.append(_cells(line, start))
        elif rows:
            yield rows
            rows = []
        start += len(line) + 1


def _cells(line: str, start: int) -> Cells:
    """Text and place of each cell, empty ones too; what is outside the outer bars is none."""
    cells, place = [], start
    for part in line.split("|"):
        cells.append((part.strip(), place, place + len(part)))
        place += len(part) + 1
    first = 1 if line.lstrip().startswith("|") else 0
    last = len(cells) - 1 if line.rstrip().endswith("|") else len(cells)
    return cells[first:last]


def _is_rule(row: Cells) -> bool:
    """Whether a row is the line below a header."""
    return bool(row) and all(_RULE.fullmatch(cell) or not cell for cell, _, _ in row)


def _dimension(cell: str, by_name: Mapping[str, str]) -> str:
    small = re.sub(r"^[\d.)( ]+|[\s:.\"']+$", "", cell.casefold())
    return by_name.get(" ".join(small.replace("_", " ").split()), "")
