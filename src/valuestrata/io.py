"""Tables and JSON on disk: written whole or not at all, checked against their contracts.

A file appears under its name only when it is complete (temporary file in the same folder, then one
rename), so a killed job leaves nothing that a later one could take for whole. Each artefact carries
the record of what it is made of, and the study's caveat ("simulated survey, toy models").
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuestrata.contracts import Contract, check
from valuestrata.errors import InputError
from valuestrata.paths import MADE_OF
from valuestrata.records import JSON_KEY, METADATA_KEY, Record

PRIVATE = 0o600
SHARED = 0o644


@contextmanager
def replacing(path: Path | str, mode: int = SHARED) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it there once the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, mode)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path | str, record: Record) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it takes its place once the block ends without error.

    An older folder at `path` goes. Files are made readable for all who can enter the folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        (temporary / MADE_OF).write_text(record.to_json() + "\n", encoding="utf-8")
        for file in temporary.rglob("*"):
            file.chmod(0o755 if file.is_dir() else SHARED)
        temporary.chmod(0o755)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_table(
    frame: pd.DataFrame, path: Path | str, contract: Contract, record: Record, mode: int = SHARED
) -> None:
    """Check `frame` against a contract and write it as parquet, with its record."""
    checked = check(frame, contract)
    checked.attrs = {}
    arrow = pa.Table.from_pandas(checked, preserve_index=False)
    about = {
        b"valuestrata.table": contract.name.encode(),
        b"valuestrata.caveat": record.caveat.encode(),
        METADATA_KEY: record.to_json().encode(),
    }
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **about})
    with replacing(path, mode) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def read_table(
    paths: Path | str | Sequence[Path | str],
    contract: Contract,
    columns: list[str] | None = None,
) -> pd.DataFrame:
    """Read one parquet file, or several stacked in the order given, and check the contract.

    With `columns`, only these are read and the contract is left to the file's writer.
    """
    many = [paths] if isinstance(paths, str | Path) else list(paths)
    frames = [_read_one(Path(p), contract, columns) for p in many]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    return frame if columns else check(frame, contract)


def _read_one(path: Path, contract: Contract, columns: list[str] | None) -> pd.DataFrame:
    try:
        arrow = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path}: not a readable table ({str(error).splitlines()[0]}); "
            "delete it and run snakemake again"
        ) from None
    written = (arrow.schema.metadata or {}).get(b"valuestrata.table", b"").decode()
    if written != contract.name:
        raise InputError(f"{path}: holds the table {written!r}, not {contract.name!r}")
    return arrow.to_pandas()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dicts by column name."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def caveat_of(path: Path | str) -> str:
    """The caveat a table was written with, '' for none."""
    metadata = pq.read_schema(path).metadata or {}
    return bytes(metadata.get(b"valuestrata.caveat", b"")).decode()


def write_json(content: Any, path: Path | str, record: Record | None = None) -> None:
    """Write JSON with an indent of two, with its record; a NaN is an error, not a number."""
    if record is not None:
        content = {**content, JSON_KEY: json.loads(record.to_json())}
    write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", path)


def write_text(content: str, path: Path | str) -> None:
    """Write text in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def write_record(record: Record, folder: Path | str) -> None:
    """Write the record of a folder's text files beside them."""
    write_text(record.to_json() + "\n", Path(folder) / MADE_OF)


def read_json(path: Path | str) -> Any:
    """Read JSON, without its record."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    if isinstance(content, dict):
        content.pop(JSON_KEY, None)
    return content
