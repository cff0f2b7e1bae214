"""Parquet and Arrow (Feather) files; `isolated` calls this in a process of its own.

Arrow checks little of what it reads: a damaged file can crash it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.survey.table import ColumnLabels, ReadOptions, Source

if TYPE_CHECKING:
    import pandas as pd

Columns = Callable[[Sequence[str]], Any]
"""From names of columns to an Arrow table of them."""


def open_parquet(path: Path, options: ReadOptions) -> Source:
    """A .parquet file."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    return _File(file.schema_arrow, lambda names: file.read(list(names), use_threads=False))


def open_arrow(path: Path, options: ReadOptions) -> Source:
    """A .feather or .arrow file, written as a file or as a stream."""
    import pyarrow as pa

    def open_file() -> Any:
        try:
            return pa.ipc.open_file(pa.memory_map(str(path)))
        except pa.ArrowInvalid:
            return pa.ipc.open_stream(pa.memory_map(str(path)))

    return _File(open_file().schema, lambda names: open_file().read_all().select(list(names)))


class _File(Source):
    """The columns of a file, read when they are first asked for."""

    def __init__(self, schema: Any, read: Columns) -> None:
        super().__init__()
        self.read = read
        self.headers = tuple(schema.names)
        self.labels = tuple(_labels(column, read) for column in schema)
        self.table: Any = None
        self.names: list[str] = []

    def rows(self, where: Sequence[int], start: int, count: int) -> "pd.DataFrame":
        import pandas as pd

        names = [self.headers[position] for position in where]
        if self.names != names:
            self.table, self.names = self.read(names), names
        # Arrow's own types keep whole numbers whole where cells are missing
        part = self.table.slice(start, count).to_pandas(
            types_mapper=pd.ArrowDtype, ignore_metadata=True
        )
        return part.set_axis(list(where), axis=1)


def _labels(column: Any, read: Columns) -> ColumnLabels:
    """The levels of a column of texts that is stored as a dictionary; nothing of another one."""
    import pyarrow as pa

    kind = column.type
    is_dictionary = pa.types.is_dictionary(kind)
    if not is_dictionary or not pa.types.is_string(_plain(kind.value_type)):
        return ColumnLabels()
    chunks = read([column.name]).column(0).unify_dictionaries().chunks
    levels = chunks[0].dictionary.to_pylist() if chunks else []
    return ColumnLabels(levels=tuple(str(level) for level in levels if level is not None))


def _plain(kind: Any) -> Any:
    """The type of short strings for that of long ones."""
    import pyarrow as pa

    return pa.string() if pa.types.is_large_string(kind) else kind
