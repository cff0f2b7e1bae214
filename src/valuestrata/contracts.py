"""Contracts of tables: which columns a table has, and what may stand in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd


class ContractError(ValueError):
    """A table does not keep its contract: what, in which column, and what was expected."""


@dataclass(frozen=True)
class Column:
    """One column: its dtype, what it means, whether it may be missing, its closed range.

    dtype is one of text, int, float, bool, ints, floats, texts (the last three: a list a row).
    """

    name: str
    dtype: str
    meaning: str
    optional: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Contract:
    """The columns of a table; an `open` one may have others behind them, of any name."""

    name: str
    columns: tuple[Column, ...]
    open: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return [column.name for column in self.columns]


_DTYPES = {"text": "string", "int": "Int64", "float": "float64", "bool": "boolean"}

_LISTS: dict[str, tuple[type, ...]] = {
    "ints": (int, np.integer),
    "floats": (int, float, np.integer, np.floating),
    "texts": (str,),
}


def frame_of(rows: Sequence[Mapping[str, Any]], contract: Contract) -> pd.DataFrame:
    """The rows of a table as a frame with the contract's columns; missing where a row lacks one.

    Raises:
        ContractError: a row has a key that is no column: it would be lost without a word.
    """
    unknown = {key for row in rows for key in row} - set(contract.names)
    if unknown:
        raise ContractError(f"{contract.name}: rows have {sorted(unknown)}, which are no columns")
    return pd.DataFrame(list(rows), columns=contract.names)


def check(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Return the frame with its contract's dtypes, or raise ContractError.

    Columns outside the contract are refused, unless it is open.
    """
    table, names = contract.name, contract.names
    absent = [n for n in names if n not in frame.columns]
    extra = [n for n in frame.columns if n not in names]
    if absent:
        raise ContractError(f"table {table}: column {absent[0]} is missing")
    if extra and not contract.open:
        raise ContractError(f"table {table}: column {extra[0]} is not part of the contract")
    checked = {c.name: _checked(frame[c.name], c, table) for c in contract.columns}
    rest = {n: frame[n] for n in extra}
    return pd.DataFrame({**checked, **rest}).reset_index(drop=True)


def _is_list(value: object, kinds: tuple[type, ...]) -> bool:
    listed = isinstance(value, list | tuple | np.ndarray)
    return listed and all(isinstance(one, kinds) for one in cast(list[object], value))


def _checked(series: pd.Series, column: Column, table: str) -> pd.Series:
    where = f"table {table}, column {column.name}"
    try:
        typed = (
            series.astype(cast(Any, _DTYPES[column.dtype])) if column.dtype in _DTYPES else series
        )
    except (TypeError, ValueError) as error:
        raise ContractError(f"{where}: not {column.dtype}: {error}") from None
    missing = typed.isna()
    n_missing = int(missing.sum())
    present: Any = typed[~missing] if n_missing else typed
    if column.dtype in _LISTS:
        wrong = next((v for v in present if not _is_list(v, _LISTS[column.dtype])), None)
        if wrong is not None:
            raise ContractError(f"{where}: {wrong!r} is not a list of {column.dtype}")
    if not column.optional and n_missing:
        raise ContractError(f"{where}: {n_missing} values are missing")
    if column.values is not None:
        unknown = set(present) - set(column.values)
        if unknown:
            raise ContractError(f"{where}: {sorted(unknown)[0]!r} is not one of {column.values}")
    if column.low is not None and (present < column.low - 1e-9).any():
        raise ContractError(f"{where}: {present.min()} is below {column.low}")
    if column.high is not None and (present > column.high + 1e-9).any():
        raise ContractError(f"{where}: {present.max()} is above {column.high}")
    return typed
