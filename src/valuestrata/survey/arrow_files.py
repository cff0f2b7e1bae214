"""Parquet and Arrow (Feather) files as tables, read in batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import InputError
from valuestrata.survey.table import SLICE, ColumnLabels, RawTable

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")
ARROW = (".feather", ".arrow", ".ipc")
Batches = Callable[[Sequence[str]], Iterator[Any]]
"""From names of columns to record batches."""


@contextmanager
def open_arrow(path: Path, label: str, suffix: str) -> Iterator[RawTable]:
    """Open a file; `suffix` is one of PARQUET or ARROW.

    Raises:
        InputError: the file is none of its kind, or a damaged one.
    """
    try:
        schema, batches = (_parquet if suffix in PARQUET else _arrow)(path)
        labels = tuple(_labels(column, batches) for column in schema)
    except Exception as error:  # damaged files raise nearly anything
        raise _unreadable(label, suffix, error) from None
    headers = tuple(schema.names)
    yield RawTable(
        label, headers, lambda where: _slices(batches, headers, where, label, suffix), labels
    )


def _parquet(path: Path) -> tuple[Any, Batches]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    return file.schema_arrow, lambda names: file.iter_batches(SLICE, columns=list(names))


def _arrow(path: Path) -> tuple[Any, Batches]:
    import pyarrow as pa

    def open_file() -> Any:
        try:
            return pa.ipc.open_file(pa.memory_map(str(path)))
        except pa.ArrowInvalid:  # written as a stream
            return pa.ipc.open_stream(pa.memory_map(str(path)))

    def batches(names: Sequence[str]) -> Iterator[Any]:
        reader = open_file()
        if not hasattr(reader, "num_record_batches"):
            yield from (batch.select(list(names)) for batch in reader)
            return
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number).select(list(names))

    return open_file().schema, batches


def _labels(column: Any, batches: Batches) -> ColumnLabels:
    """The levels of a column of texts that is stored as a dictionary; nothing of another one."""
    import pyarrow as pa

    kind = column.type
    if not pa.types.is_dictionary(kind) or not _is_text(kind.value_type):
        return ColumnLabels()
    first = next(batches([column.name]), None)
    levels = first.column(0).dictionary.to_pylist() if first is not None else []
    return ColumnLabels(levels=tuple(map(str, levels)))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _slices(
    batches: Batches, headers: Sequence[str], where: Sequence[int], label: str, suffix: str
) -> "Iterator[pd.DataFrame]":
    import pandas as pd
    import pyarrow as pa

    names = [headers[position] for position in where]
    try:
        for batch in batches(names):
            part = pa.Table.from_batches([batch]).select(names)
            # Arrow's own types keep whole numbers whole where cells are missing
            frame = part.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
            yield frame.set_axis(list(where), axis=1)
    except Exception as error:  # as above
        raise _unreadable(label, suffix, error) from None


def _unreadable(label: str, suffix: str, error: Exception) -> InputError:
    return InputError(
        f"{label}: not a readable {suffix} file ({type(error).__name__}); download it again, or "
        "write it anew"
    )
