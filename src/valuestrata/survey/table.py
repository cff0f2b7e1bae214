"""A survey file's table, whatever its format: headers, and columns read in slices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from valuestrata.errors import InputError
from valuestrata.study.survey import AUTO

if TYPE_CHECKING:
    import pandas as pd

SLICE = 4_000
"""Rows of a file held at a time."""


@dataclass(frozen=True)
class ColumnLabels:
    """What a file says of a column.

    Attributes:
        title: of the column.
        codes: labels by code.
        missing: ranges of codes that the file declares missing.
        levels: of a column that holds labels instead of codes, an R factor for one: its labels,
            in the file's order.
    """

    title: str = ""
    codes: dict[float, str] = field(default_factory=dict)
    missing: tuple[tuple[float, float], ...] = ()
    levels: tuple[str, ...] = ()


FileLabels = dict[str, ColumnLabels]
"""What a file says of its columns, by the study's names."""


@dataclass(frozen=True)
class RawTable:
    """An open file. `slices` takes positions of headers and yields frames named by them.

    Notices say how the file was read where that is doubtful; some come with the rows.
    """

    label: str
    headers: tuple[str, ...]
    slices: "Callable[[Sequence[int]], Iterator[pd.DataFrame]]"
    labels: tuple[ColumnLabels, ...] = ()
    notices: list[str] = field(default_factory=list)


class Source:
    """A file as a library reads it: its headers, its labels if it has any, and rows on demand."""

    def __init__(self) -> None:
        self.headers: tuple[str, ...] = ()
        self.labels: tuple[ColumnLabels, ...] = ()
        self.notices: list[str] = []

    def rows(self, where: Sequence[int], start: int, count: int) -> "pd.DataFrame":
        """At most `count` rows from `start` on of the columns at these positions, named by them."""
        raise NotImplementedError


@dataclass(frozen=True)
class ReadOptions:
    """How to open a survey file.

    Attributes:
        delimiter: of a csv file, or `auto`.
        names: the wanted columns, which decide between delimiters, sheets and zipped files.
        headers_only: the rows will not be read: what only they need is left out.
        encoding: of text, or `auto`.
    """

    delimiter: str
    names: tuple[str, ...] = ()
    headers_only: bool = False
    encoding: str = AUTO

    def count_wanted(self, headers: Sequence[str]) -> int:
        """How many of the wanted columns stand in headers, ambiguous ones included."""
        present = {header.partition(":")[0].strip().casefold() for header in headers}
        present |= {header.strip().casefold() for header in headers}
        return sum(name.casefold() in present for name in self.names)


class Headers:
    """Finds columns: by the header, else by what stands before its colon, else in any case."""

    def __init__(self, headers: Sequence[str]) -> None:
        self.headers = headers
        self._forms: list[dict[str, list[int]]] = [{}, {}, {}]
        for position, header in enumerate(headers):
            short = header.partition(":")[0].strip()
            forms = (header.strip(), short, short.casefold())
            for positions, form in zip(self._forms, forms, strict=True):
                positions.setdefault(form, []).append(position)

    def find(self, name: str) -> int | None:
        """Position of a column, None where there is none.

        Raises:
            InputError: where two columns match equally well; the caller names the file.
        """
        for positions, form in zip(self._forms, (name, name, name.casefold()), strict=True):
            hits = positions.get(form, [])
            if len(hits) > 1:
                shown = " and ".join(repr(self.headers[p][:60]) for p in hits[:2])
                raise InputError(
                    f"column {name}: {len(hits)} columns match, {shown}; rename or drop one"
                )
            if hits:
                return hits[0]
        return None

    def names(self) -> list[str]:
        """What columns can be called: the headers, up to their colon."""
        return list(self._forms[1])


def cell(value: Any) -> str:
    """A cell as a csv file would hold it; whole numbers without a point, true and false as 1, 0."""
    if value is None:
        return ""
    if type(value).__name__ == "bool":  # Python's or numpy's
        return str(int(value))
    if isinstance(value, Real) and not isinstance(value, Integral):
        number = float(value)
        if number != number:  # NaN
            return ""
        return str(int(number)) if number.is_integer() else repr(number)
    return str(value)
