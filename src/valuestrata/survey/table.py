"""A survey file's table, whatever its format: headers, and columns read in slices."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from valuestrata.errors import InputError

SLICE = 4_000
"""Rows of a file held at a time."""

Found = Callable[[Sequence[str]], int]
"""How many of the wanted columns stand in headers."""


@dataclass(frozen=True)
class ColumnLabels:
    """What a file says of a column: its title, labels by code, and codes it declares missing."""

    title: str = ""
    codes: dict[float, str] = field(default_factory=dict)
    missing: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class RawTable:
    """An open file. `slices` takes positions of headers and yields frames named by them."""

    label: str
    headers: tuple[str, ...]
    slices: Callable[[Sequence[int]], Iterator[pd.DataFrame]]
    labels: tuple[ColumnLabels, ...] = ()


class Headers:
    """Finds columns: by the header, else by what stands before its colon, else in any case."""

    def __init__(self, headers: Sequence[str]) -> None:
        self.headers = headers
        self._forms: list[dict[str, list[int]]] = [{}, {}, {}]
        for position, header in enumerate(headers):
            short = header.partition(":")[0].strip()
            forms = (header.strip(), short, short.casefold())
            for known, form in zip(self._forms, forms, strict=True):
                known.setdefault(form, []).append(position)

    def find(self, name: str) -> int | None:
        """Position of a column, None where there is none.

        Raises:
            InputError: where two columns match equally well; the caller names the file.
        """
        for known, form in zip(self._forms, (name, name, name.casefold()), strict=True):
            hits = known.get(form, [])
            if len(hits) > 1:
                said = " and ".join(repr(self.headers[p][:60]) for p in hits[:2])
                raise InputError(
                    f"column {name}: {len(hits)} columns match, {said}; rename or drop one"
                )
            if hits:
                return hits[0]
        return None


def found(headers: Sequence[str], names: Sequence[str]) -> int:
    """How many of the names have a column, ambiguous ones included."""
    known = {header.partition(":")[0].strip().casefold() for header in headers}
    known |= {header.strip().casefold() for header in headers}
    return sum(name.casefold() in known for name in names)


def cell(value: Any) -> str:
    """A cell as a csv file would hold it; whole numbers without a point."""
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return ""
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def text(cells: pd.Series) -> pd.Series:
    """A column as text; what is missing is empty."""
    if isinstance(cells.dtype, pd.StringDtype):
        return cells
    codes, values = pd.factorize(cells)
    said = np.array([*map(cell, values), ""], dtype=object)
    return pd.Series(said[codes], index=cells.index, dtype="string")
