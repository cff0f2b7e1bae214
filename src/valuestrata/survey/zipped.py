"""Survey files in a zip: which one is meant, and unpacking it."""

import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from valuestrata.errors import InputError
from valuestrata.survey.table import RawTable, ReadOptions

MAX_UNPACKED = 16 * 2**30
"""Bytes that a zipped file may unpack to."""
HEAD = 4 * 2**20
"""Bytes of a text file in which the headers stand."""

Opener = Callable[[Path, str, ReadOptions], AbstractContextManager[RawTable]]


@contextmanager
def open_zip(
    path: Path,
    label: str,
    options: ReadOptions,
    open_plain: Opener,
    suffixes: Collection[str],
    text_suffixes: Collection[str],
) -> Iterator[RawTable]:
    """Open the one survey file in a zip, or the one with most of the wanted columns.

    What is unpacked lies in a folder that only its owner can enter, and goes with the block.

    Args:
        path: the zip file.
        label: what messages call it.
        options: how to open the file in it.
        open_plain: opens what is unpacked.
        suffixes: of survey files.
        text_suffixes: those of them whose head is enough where only headers are read.

    Raises:
        InputError: the zip is damaged, or does not tell which file is meant.
    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
        except OSError:
            raise
        except Exception:  # damaged archives raise nearly anything
            raise InputError(
                f"{label}: not a whole zip file; it may be truncated: download it again"
            ) from None
        members = _members(archive, label, suffixes)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="valuestrata-")))
        candidates: list[tuple[int, str, Path]] = []
        for number, member in enumerate(members):
            suffix = Path(member.filename).suffix.lower()
            file = folder / f"{number}{suffix}"
            is_head = options.headers_only and suffix in text_suffixes
            _unpack(archive, member, file, label, HEAD if is_head else None)
            inner = f"{label}: {member.filename!r}"
            count = 0
            if len(members) > 1:
                with open_plain(file, inner, options) as table:
                    count = options.count_wanted(table.headers)
            candidates.append((count, inner, file))
        most = max(count for count, _, _ in candidates)
        best = [(inner, file) for count, inner, file in candidates if count == most]
        if len(best) > 1:
            names = ", ".join(repr(m.filename) for m in members[:4])
            raise InputError(
                f"{label}: holds {len(members)} survey files ({names}) and the columns do not "
                "tell which is meant; unpack it and name one"
            )
        yield stack.enter_context(open_plain(best[0][1], best[0][0], options))


def _members(
    archive: zipfile.ZipFile, label: str, suffixes: Collection[str]
) -> list[zipfile.ZipInfo]:
    members = [
        member
        for member in archive.infolist()
        if Path(member.filename).suffix.lower() in suffixes
        and not Path(member.filename).name.startswith((".", "~"))
        and not member.filename.startswith("__MACOSX")
    ]
    if not members:
        inner = [m.filename for m in archive.infolist() if m.filename.lower().endswith(".zip")]
        if inner:
            raise InputError(
                f"{label}: holds another zip ({inner[0]!r}); unpack it and name the file in it: "
                f"{', '.join(suffixes)}"
            )
        raise InputError(f"{label}: holds no survey file; read are {', '.join(suffixes)}")
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{label}: is encrypted; unpack it and name the file")
    if sum(member.file_size for member in members) > MAX_UNPACKED:
        raise InputError(
            f"{label}: unpacks to more than {MAX_UNPACKED >> 30} GiB; unpack it yourself"
        )
    return members


def _unpack(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path, label: str, limit: int | None
) -> None:
    """Write a member, or about the first `limit` bytes of it up to the end of a line."""
    try:
        with archive.open(member) as packed, file.open("wb") as plain:
            if limit is None:
                shutil.copyfileobj(packed, plain, 2**20)
            else:
                plain.write(packed.read(limit) + packed.readline())
    except Exception as error:  # damaged archives raise nearly anything
        raise InputError(
            f"{label}: {member.filename!r} cannot be unpacked ({type(error).__name__}); "
            "download it again"
        ) from None
    if not file.stat().st_size:
        raise InputError(f"{label}: {member.filename!r} is empty (0 bytes)")
