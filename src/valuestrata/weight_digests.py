"""Digests of weights, remembered: a file of many GB is read once, not by every node.

A digest is remembered by path, size, times of the last change (of content and of anything) and
inode, in nanoseconds, so that a changed file is always seen: whoever sets back the one time moves
the other. A file that has just changed is not remembered, since it could change again within the
clock's step. Each digest is a file of its own that appears whole, so that several processes may
write at once; the folder is its user's alone, as `XDG_CACHE_HOME` has it, and what stands in it is
no more than these numbers. Deleting it costs time, never results.
"""

import contextlib
import json
import os
import tempfile
import time
from pathlib import Path

from valuestrata.provenance import file_digest, text_digest

SUFFIX = ".safetensors"
LARGE = 2**24
"""Bytes from which on a digest is remembered: less takes milliseconds to read."""
SETTLED = 2.0
"""Seconds after its last change from which on a file is remembered."""


def content_of(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as hex; of large weights from memory, where they are unchanged."""
    path = Path(path).absolute()
    before = _state(path)
    if path.suffix != SUFFIX or before[0] < LARGE:
        return file_digest(path)
    name = f"{text_digest([str(path)])[:32]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads((_folder() / name).read_text(encoding="utf-8"))
        if tuple(kept["state"]) == before:
            return str(kept["sha256"])
    digest = file_digest(path)
    changed = max(before[1:3]) / 1e9
    if _state(path) == before and time.time() - changed > SETTLED:
        with contextlib.suppress(OSError):  # a home that may only be read, or is full
            _write(_folder() / name, json.dumps({"state": before, "sha256": digest}))
    return digest


def _state(path: Path) -> tuple[int, int, int, int, int]:
    """Size in bytes, times in ns of the last change of content and of anything, inode, device."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev


def _folder() -> Path:
    """Where digests are remembered.

    Raises:
        OSError: this user has no home, as in some containers.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise FileNotFoundError(*error.args) from None
    return base / "valuestrata" / "weights"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(path.parent, 0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")  # for its user alone
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
