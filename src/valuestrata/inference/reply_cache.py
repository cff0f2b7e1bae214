"""A content-addressed store of replies behind predict, generate and judge.

The key of a reply is a hash of all that it depends on, so a changed model, adapter, prompt, set of
options or sampling is another key. Each job appends shards of its own, written whole; nobody ever
changes a shard, so several jobs share a folder, a network one too. Deleting the folder costs time,
never results. Only answers are kept: refusals, what cannot be read and failures are asked again.

A run that takes up a killed one, or shares its folder with another, ends with the table of one run:
answers to the last bit; a local model's refusals with the same text, and with log-probabilities to
1e-5 in fp32, since they are asked again without the answers that they first shared a batch with.
"""

import contextlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from valuestrata.io import PRIVATE, replacing

log = logging.getLogger(__name__)
Reply = dict[str, Any]


class ReplyCache:
    """Replies of one model and variant in `folder`; `get` sees what was there at the start."""

    def __init__(self, folder: Path | str) -> None:
        """Read all shards; one that cannot be read is set aside with a warning."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, 0o700)
        self._replies: dict[str, Reply] = {}
        for shard in sorted(self.folder.glob("*.jsonl")):
            self._replies.update(_read(shard))

    def get(self, key: str) -> Reply | None:
        """The reply of a key, or None."""
        return self._replies.get(key)

    def put(self, replies: Mapping[str, Reply]) -> None:
        """Keep replies, as one new shard."""
        if not replies:
            return
        lines = (json.dumps({"key": key, **reply}) + "\n" for key, reply in replies.items())
        with replacing(self.folder / f"{uuid.uuid4().hex}.jsonl", PRIVATE) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")


def get_or_compute(
    store: ReplyCache,
    keys: Sequence[str],
    ask: Callable[[list[int]], list[Reply]],
    keep: Callable[[int, Reply], bool],
    shard: int = 4096,
) -> list[Reply]:
    """The reply of each key, from the store or, where it is absent, by asking.

    Prompts are asked in parts that do not depend on what is stored, so that a run which takes up a
    killed one asks the same batches: batches of another shape move log-probabilities a little.

    Args:
        store: where replies are looked up and kept.
        keys: one a prompt; equal keys are asked once.
        ask: replies for the prompts at some positions, in their order.
        keep: whether the reply to the prompt at a position may be stored.
        shard: prompts between two writes, which is what a killed job loses at most.
    """
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    known = {key: reply for key in first if (reply := store.get(key)) is not None}
    log.info("%d of %d replies are stored", len(known), len(first))
    distinct = sorted(first.values())
    for start in range(0, len(distinct), shard):
        part = [i for i in distinct[start : start + shard] if keys[i] not in known]
        if part:
            fresh = dict(zip(part, ask(part), strict=True))
            store.put({keys[i]: reply for i, reply in fresh.items() if keep(i, reply)})
            known |= {keys[i]: reply for i, reply in fresh.items()}
            log.info("asked %d, have %d of %d", len(part), len(known), len(first))
    return [known[key] for key in keys]


def _read(shard: Path) -> dict[str, Reply]:
    try:
        records = [json.loads(line) for line in shard.read_text(encoding="utf-8").splitlines()]
        return {record.pop("key"): record for record in records}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        log.warning("%s: not a readable shard (%s); set aside", shard, error)
        with contextlib.suppress(FileNotFoundError):  # another job was faster
            shard.rename(shard.with_suffix(".corrupt"))
        return {}
