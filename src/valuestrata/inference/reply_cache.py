"""A content-addressed cache of replies behind predict, generate and judge.

The key of a reply is a hash of all that it depends on (inference/fill.py), so a changed model,
adapter, prompt, set of options or sampling is another key. Each job appends to a shard of its own
as soon as replies arrive, and nobody changes another's, so several jobs share a folder, a network
one too. A line that a killed job left half written is not read. Deleting the folder costs time,
never results. Only answers are cached: refusals, invalid replies
and failed calls are retried on the next run.

A run that resumes a killed one, or shares its folder with another, ends with the table of one run:
answers to the last bit; a local model's refusals with the same text, and with log-probabilities to
1e-5 in fp32, since they are scored again without the answers that they first shared a batch with.
"""

import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from valuestrata.io import PRIVATE

log = logging.getLogger(__name__)
CachedReply = dict[str, Any]


class ReplyCache:
    """Replies of one model and variant in `folder`; `get` sees what was there at the start."""

    def __init__(self, folder: Path | str) -> None:
        """Read all shards; a corrupt one is renamed, with a warning."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, 0o700)
        self.shard = self.folder / f"{uuid.uuid4().hex}.jsonl"
        self._replies: dict[str, CachedReply] = {}
        for shard in sorted(self.folder.glob("*.jsonl")):
            self._replies.update(_read(shard))

    def get(self, key: str) -> CachedReply | None:
        """The reply of a key, or None."""
        return self._replies.get(key)

    def put(self, replies: Mapping[str, CachedReply]) -> None:
        """Append replies to this job's shard, in one write."""
        if not replies:
            return
        lines = (json.dumps({"key": key, **reply}) + "\n" for key, reply in replies.items())
        shard = os.open(self.shard, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE)
        with open(shard, "wb") as file:
            file.write("".join(lines).encode())


def get_or_compute(
    cache: ReplyCache,
    keys: Sequence[str],
    compute: Callable[[list[int]], Iterable[Mapping[int, CachedReply]]],
    should_cache: Callable[[int, CachedReply], bool],
    shard_size: int = 4096,
) -> list[CachedReply]:
    """The reply of each key, from the cache or, where it is absent, computed.

    Prompts are asked in parts that do not depend on what is cached, so that a run which resumes a
    killed one asks the same batches: batches of another shape move log-probabilities a little.

    Args:
        cache: where replies are looked up and written.
        keys: one a prompt; equal keys are asked once.
        compute: replies to the prompts at some positions, by position, as they come.
        should_cache: whether the reply to the prompt at a position may be cached.
        shard_size: prompts that are asked together.
    """
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    replies = {key: reply for key in first if (reply := cache.get(key)) is not None}
    log.info("%d of %d replies are cached", len(replies), len(first))
    progress = Progress(len(first))
    distinct = sorted(first.values())
    for start in range(0, len(distinct), shard_size):
        part = [i for i in distinct[start : start + shard_size] if keys[i] not in replies]
        for fresh in compute(part) if part else ():
            cache.put({keys[i]: reply for i, reply in fresh.items() if should_cache(i, reply)})
            replies |= {keys[i]: reply for i, reply in fresh.items()}
            progress.show(len(replies))
    return [replies[key] for key in keys]


class Progress:
    """Lines on how many replies there are, ten seconds apart, and one at the end."""

    SECONDS = 10.0

    def __init__(self, total: int) -> None:
        """None shown yet."""
        self.total = total
        self.shown_at = float("-inf")

    def show(self, done: int) -> None:
        """Log a line if it is time for one."""
        now = time.monotonic()
        if done == self.total or now - self.shown_at >= self.SECONDS:
            log.info("have %d of %d replies", done, self.total)
            self.shown_at = now


def _read(shard: Path) -> dict[str, CachedReply]:
    """Replies of a shard; a last line without its end is being written, or its job was killed."""
    try:
        lines = shard.read_bytes().split(b"\n")[:-1]
        replies = [json.loads(line) for line in lines]
        return {reply.pop("key"): reply for reply in replies}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        log.warning("%s: corrupt (%s), ignored and renamed", shard, error)
        with contextlib.suppress(FileNotFoundError):  # another job was faster
            shard.rename(shard.with_suffix(".corrupt"))
        return {}
