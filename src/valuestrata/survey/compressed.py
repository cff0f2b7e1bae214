"""Survey files that are compressed one by one: .csv.gz, .dta.bz2, .csv.xz."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from valuestrata.errors import InputError
from valuestrata.survey.table import RawTable, ReadOptions
from valuestrata.survey.zipped import HEAD, MAX_UNPACKED, Opener

OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""By suffix."""


@contextmanager
def open_compressed(
    path: Path, label: str, options: ReadOptions, open_plain: Opener, text_suffixes: Collection[str]
) -> Iterator[RawTable]:
    """Open the file in a compressed one; its name without the last suffix says the format.

    What is unpacked lies in a folder that only its owner can enter, and goes with the block.

    Raises:
        InputError: the file is damaged, or holds several.
    """
    inner = Path(path.stem)
    if inner.suffix.lower() == ".tar":
        raise InputError(f"{label}: may hold several files; unpack it and name the survey's")
    is_head = options.headers_only and inner.suffix.lower() in (*text_suffixes, "")
    with TemporaryDirectory(prefix="valuestrata-") as folder:
        file = Path(folder) / f"survey{inner.suffix}"
        _unpack(path, file, label, HEAD if is_head else None)
        with open_plain(file, label, options) as table:
            yield table


def _unpack(path: Path, file: Path, label: str, limit: int | None) -> None:
    """Write what is packed, or about the first `limit` bytes of it up to the end of a line."""
    try:
        with OPENERS[path.suffix.lower()](path) as packed, file.open("wb") as plain:
            if limit is not None:
                plain.write(packed.read(limit) + packed.readline())
            left = MAX_UNPACKED
            while limit is None and (block := packed.read(2**20)):
                left -= len(block)
                if left < 0:
                    limit_gib = MAX_UNPACKED >> 30
                    raise InputError(
                        f"{label}: unpacks to more than {limit_gib} GiB; unpack it yourself"
                    )
                plain.write(block)
    except InputError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise InputError(
            f"{label}: cannot be unpacked ({type(error).__name__}); download it again"
        ) from None
    if not file.stat().st_size:
        raise InputError(f"{label}: holds an empty file (0 bytes)")
