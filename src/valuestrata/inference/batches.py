"""Calls through a service's batch API: at half the price, within a day.

Requests are uploaded as files, a batch is made of each, and its replies are collected once it has
ended. What was submitted is noted on disk (batch_notes.py): a job that is killed at any moment goes
on with its batches and never submits a request twice. Requests that a batch leaves without a reply
for a passing reason (it expired, the service was full) are submitted again; what the service turns
down, and what somebody cancelled, has failed.
"""

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from valuestrata.errors import InputError
from valuestrata.inference.batch_files import (
    ENDPOINT,
    batch_parts,
    read_reply_line,
    request_body,
    request_digest,
    request_line,
)
from valuestrata.inference.batch_notes import BatchNote, new_note, read_notes
from valuestrata.inference.batch_state import CANCELLED, missing, progress, status_of
from valuestrata.inference.completions import ServiceReply
from valuestrata.inference.service import Failure, Result, client_errors, failure_of

log = logging.getLogger(__name__)

LISTING_DELAY = 120.0
"""Seconds after which a batch that was made stands in the service's list for sure."""
MAKING_TIMEOUT = 60.0
"""Seconds to wait for the answer when a batch is made; less than the delay above."""
MAX_MISSED_POLLS = 30
"""Polls in a row that may go without an answer, or with a status that nobody knows."""
TIMEOUT = 600.0
"""Seconds between two bytes of an upload or a download."""
LONGEST_BATCH = 36 * 3600.0
"""Seconds after which a batch that has not ended is given up on; services promise 24 hours."""
_NAME = "requests.jsonl"


class Accounts(Protocol):
    """Who keeps count of what requests cost."""

    def reserve(self, bodies: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        """Announce requests before they are submitted; a name for each.

        Raises:
            InputError: they may cost more than there is.
        """

    def settle(self, reservation: str, result: Result) -> None:
        """Say how a request ended; the second time nothing is counted."""


@dataclass(frozen=True)
class BatchSettings:
    """How batches are made.

    Attributes:
        folder: of their notes.
        max_requests: requests of a batch at most.
        poll_seconds: between two looks at a batch.
        max_retries: times that requests without a reply are submitted again.
        accounts: who keeps count of costs; None for nobody.
    """

    folder: Path
    max_requests: int
    poll_seconds: float
    max_retries: int
    accounts: Accounts | None = None


def batch_calls(
    client: Any, payloads: Sequence[Mapping[str, Any]], settings: BatchSettings
) -> Iterator[tuple[int, Result]]:
    """(position, result) of every payload, as batches end.

    Args:
        client: an `openai.OpenAI`.
        payloads: bodies of requests.
        settings: how batches are made.

    Raises:
        InputError: a batch that was submitted cannot be looked up or collected; one line.
    """
    bodies = [request_body(payload) for payload in payloads]
    address = str(client.base_url)
    positions: dict[str, list[int]] = {}
    for i, body in enumerate(bodies):
        positions.setdefault(request_digest(address, body), []).append(i)
    todo = {request_id: bodies[at[0]] for request_id, at in positions.items()}
    failures: dict[str, Failure] = {}
    for attempt in range(settings.max_retries + 1):
        if attempt:
            time.sleep(settings.poll_seconds)
        submission = _Submission(client, settings)
        failures = {}
        for request_id, result in submission.results(todo):
            if isinstance(result, ServiceReply) or result.is_refused or result.kind == CANCELLED:
                del todo[request_id]
                yield from ((i, result) for i in positions[request_id])
            else:
                failures[request_id] = result
        if not todo or submission.is_futile:
            break
    for request_id, failure in failures.items():
        yield from ((i, failure) for i in positions[request_id])


class _Submission:
    """Requests under way in batches, those of earlier jobs and new ones."""

    def __init__(self, client: Any, settings: BatchSettings) -> None:
        self.client, self.settings = client, settings
        self.n_submitted = self.n_replies = 0

    @property
    def is_futile(self) -> bool:
        """Whether batches were made, and not one reply came."""
        return self.n_submitted > 0 and self.n_replies == 0

    def results(self, todo: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Result]]:
        """(request id, result) of all requests in `todo`, which the caller may shorten.

        Raises:
            InputError: as `batch_calls`; where the accounts allow no more, after what was submitted
                has been collected.
        """
        asked, refusal = set(todo), None
        failed: dict[str, Result] = {}
        waiting = self._resumed(asked)
        taken = {request_id for note in waiting for request_id in note.request_ids}
        rest = {i: body for i, body in todo.items() if i not in taken}
        for part in batch_parts(rest, self.settings.max_requests):
            try:
                submitted = self._submit({i: rest[i] for i in part})
            except InputError as error:
                refusal = error
                break
            if isinstance(submitted, BatchNote):
                waiting.append(submitted)
            else:
                failed |= dict.fromkeys(part, submitted)
        yield from failed.items()
        asked -= set(failed)
        for note, batch in self._ended(waiting):
            for request_id, result in self._collected(note, batch):
                if request_id in asked:
                    asked.discard(request_id)
                    yield request_id, result
        if refusal is not None:
            raise refusal

    def _submit(self, requests: Mapping[str, Mapping[str, Any]]) -> BatchNote | Failure:
        """Upload requests and make their batch.

        A failure after which nobody knows whether the batch was made leaves its note on disk.
        """
        with tempfile.TemporaryFile() as file:
            file.writelines(request_line(request_id, body) for request_id, body in requests.items())
            file.seek(0)
            create = self.client.files.create
            upload = self._ask(lambda: create(file=(_NAME, file), purpose="batch"))
        if isinstance(upload, Failure):
            return upload
        accounts = self.settings.accounts
        reserved = accounts.reserve([*requests.values()]) if accounts is not None else ()
        note = new_note(self.settings.folder, upload.id, tuple(requests), reserved)
        once = self.client.with_options(max_retries=0, timeout=MAKING_TIMEOUT)
        batch = self._ask(
            lambda: once.batches.create(
                input_file_id=note.file_id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={"valuestrata": note.name},
            )
        )
        if isinstance(batch, Failure):
            if batch.is_refused:
                self._forget(note, batch)
            return batch
        self.n_submitted += 1
        log.info("submitted batch %s of %d requests", batch.id, len(requests))
        return note.with_batch(batch.id)

    def _ask(self, call: Callable[[], Any]) -> Any:
        """What a call gives, an object with an id, or its failure."""
        try:
            answer = call()
        except client_errors() as error:
            return failure_of(error, self.client)
        is_whole = isinstance(getattr(answer, "id", None), str)
        return answer if is_whole else Failure(None, "an unreadable reply")

    def _resumed(self, asked: set[str]) -> list[BatchNote]:
        """Batches of earlier jobs that hold some of the requests."""
        notes = []
        for note in read_notes(self.settings.folder):
            if asked.isdisjoint(note.request_ids):
                continue
            batch_id = note.batch_id or self._listed(note)
            if batch_id is None:
                self._forget(note, Failure(None, "never submitted"))
                continue
            log.info("going on with batch %s of %d requests", batch_id, len(note.request_ids))
            notes.append(note if note.batch_id else note.with_batch(batch_id))
        return notes

    def _listed(self, note: BatchNote) -> str | None:
        """The id of the batch that was made of a note's file, None where none was."""
        wait = max(0.0, note.submitted_at + LISTING_DELAY - time.time())
        log.info("looking in %.0f s whether a batch was made of file %s", wait, note.file_id)
        time.sleep(wait)
        now = BatchNote.read(note.path)  # another job may have had its answer meanwhile
        if now is None or now.batch_id is not None:
            return None if now is None else now.batch_id
        errors: tuple[type[Exception], ...] = (AttributeError, TypeError, *client_errors())
        try:
            files = _batches_by_file(self.client)
        except errors as error:
            raise InputError(
                f"{note.path}: cannot tell whether this batch was submitted "
                f"({failure_of(error, self.client)}); try again later, or look at your service's "
                f"batches and delete the file if none was made of {note.file_id}"
            ) from None
        return files.get(note.file_id)

    def _ended(self, waiting: list[BatchNote]) -> Iterator[tuple[BatchNote, Any]]:
        """Each batch once it has ended, with its note.

        Raises:
            InputError: one has not ended long after it should have, or nobody can tell whether it
                has; those that did come first.
        """
        shown: dict[str, str] = {}
        unclear: dict[str, int] = {}
        while waiting:
            for note in list(waiting):
                batch = self._look_up(note)
                line, status = progress(batch), status_of(batch)
                if shown.get(note.name) != line:
                    log.info("batch %s: %s", note.batch_id, line)
                    shown[note.name] = line
                unclear[note.name] = unclear.get(note.name, 0) + 1 if status is None else 0
                if status:
                    waiting.remove(note)
                    yield note, batch
            unknown = [n for n in waiting if unclear[n.name] > MAX_MISSED_POLLS]
            if waiting and len(unknown) == len(waiting):
                first = unknown[0]
                raise InputError(
                    f"batch {first.batch_id}: the service calls it {shown[first.name]!r}, which "
                    "does not say whether it has ended; look at it there, and run snakemake again "
                    f"to go on with it, or delete {first.path} to submit its requests anew"
                )
            late = [n for n in waiting if n.submitted_at + LONGEST_BATCH < time.time()]
            if waiting and len(late) == len(waiting):
                raise InputError(
                    f"batch {late[0].batch_id} is {shown[late[0].name]!r} after more than "
                    f"{LONGEST_BATCH / 3600:.0f} hours; look at it at your service, and run "
                    "snakemake again once it has ended, or cancel it there"
                )
            if waiting:
                time.sleep(self.settings.poll_seconds)

    def _look_up(self, note: BatchNote) -> Any:
        """A batch as it is now.

        Raises:
            InputError: the service does not tell.
        """
        for missed in range(MAX_MISSED_POLLS):
            if missed:
                time.sleep(self.settings.poll_seconds)
            batch = self._ask(lambda: self.client.batches.retrieve(note.batch_id))
            if not isinstance(batch, Failure):
                return batch
            if batch.status == 404:
                raise InputError(
                    f"{note.path}: the service has no batch {note.batch_id}; delete the file to "
                    "submit its requests anew"
                )
            if batch.is_refused:
                break
            log.warning("batch %s: %s; looking again", note.batch_id, batch)
        raise InputError(
            f"batch {note.batch_id} cannot be looked up: {batch}; it goes on at the service, "
            "run snakemake again to collect it"
        )

    def _collected(self, note: BatchNote, batch: Any) -> Iterator[tuple[str, Result]]:
        """(request id, result) of every request of a batch that has ended; replies first."""
        reservations = dict(zip(note.request_ids, note.reservations, strict=False))
        failures = dict.fromkeys(note.request_ids, missing(batch, str(self.client.api_key)))
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            with self._downloaded(note, file_id) as file:
                for line in file:
                    request_id, result = read_reply_line(line, str(self.client.api_key))
                    if request_id not in failures:
                        continue
                    if isinstance(result, Failure):
                        failures[request_id] = result
                        continue
                    del failures[request_id]
                    self.n_replies += 1
                    self._settle(reservations.get(request_id), result)
                    yield request_id, result
        for request_id, failure in failures.items():
            self._settle(reservations.get(request_id), failure)
        note.remove()  # all that was paid for is kept by now
        yield from failures.items()

    def _forget(self, note: BatchNote, failure: Failure) -> None:
        """Drop a batch that was never made."""
        for reservation in note.reservations:
            self._settle(reservation, failure)
        note.remove()

    def _settle(self, reservation: str | None, result: Result) -> None:
        if self.settings.accounts is not None and reservation is not None:
            self.settings.accounts.settle(reservation, result)

    @contextlib.contextmanager
    def _downloaded(self, note: BatchNote, file_id: str) -> Iterator[BinaryIO]:
        """A file of a batch, on disk while it is read.

        Raises:
            InputError: it cannot be had.
        """
        with tempfile.TemporaryFile() as file:
            for _ in range(self.settings.max_retries + 1):
                failure = self._download(file_id, file)
                if failure is None or failure.is_refused:
                    break
            if failure is not None:
                raise InputError(
                    f"replies of batch {note.batch_id} cannot be fetched: {failure}; they stay at "
                    "the service, run snakemake again to collect them"
                )
            file.seek(0)
            yield file

    def _download(self, file_id: str, file: BinaryIO) -> Failure | None:
        """Write a file of the service over one here."""
        file.seek(0)
        file.truncate()
        try:
            with self.client.files.with_streaming_response.content(file_id) as response:
                file.writelines(response.iter_bytes())
        except client_errors() as error:
            return failure_of(error, self.client)
        return None


def _batches_by_file(client: Any) -> dict[str, str]:
    """Ids of all batches at a service, by the ids of their files.

    Raises:
        ValueError, AttributeError, TypeError: the list is malformed.
        Exception: as a request of the client.
    """
    files: dict[str, str] = {}
    for page in client.batches.list(limit=100).iter_pages():
        if not isinstance(page.data, list):
            raise ValueError("no list")
        fresh = {batch.input_file_id: batch.id for batch in page.data}
        if not all(isinstance(text, str) for text in (*fresh, *fresh.values())):
            raise ValueError("no batches")
        if fresh.keys() <= files.keys():  # the end, or a service that knows no pages
            break
        files |= fresh
    return files
