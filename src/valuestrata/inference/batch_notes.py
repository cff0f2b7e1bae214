"""What is noted of submitted batches, so that a killed job goes on and submits nothing twice.

A batch is made of an uploaded file, and the note of the file is on disk before the service is asked
to make the batch. So a note without a batch's id is of one that may exist, and the service's list
of batches says whether it does: it names the file of each. Several jobs may share a folder; there
is no lock, as a note that is old enough is of no job that is still submitting.
"""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from valuestrata.errors import InputError
from valuestrata.io import PRIVATE, replacing

FOLDER = "batches"
"""Where notes lie, in the folder of cached replies."""


@dataclass(frozen=True)
class BatchNote:
    """A batch that was, or may have been, submitted.

    Attributes:
        path: of the note.
        name: the batch's, in its metadata.
        file_id: the service's id of the requests.
        submitted_at: seconds since 1970.
        request_ids: of its requests.
        reservations: what the accounts call each of them; none without accounts.
        batch_id: the service's id of the batch, None where its answer never came.
    """

    path: Path
    name: str
    file_id: str
    submitted_at: float
    request_ids: tuple[str, ...]
    reservations: tuple[str, ...] = ()
    batch_id: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """A note from its file; None where another job has collected its batch.

        Raises:
            InputError: it is damaged; nobody can tell what was submitted.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            for name in ("request_ids", "reservations"):
                content[name] = tuple(content[name])
            return cls(path=path, **content)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: a damaged note of a batch ({error}); look at your service's batches, "
                "then delete it"
            ) from None

    def write(self) -> None:
        """Write it, whole or not at all."""
        content = {name: value for name, value in asdict(self).items() if name != "path"}
        with replacing(self.path, PRIVATE) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")

    def with_batch(self, batch_id: str) -> Self:
        """The note with the id of its batch, written."""
        note = replace(self, batch_id=batch_id)
        note.write()
        return note

    def remove(self) -> None:
        """Forget the batch: it was collected, or never made."""
        self.path.unlink(missing_ok=True)


def new_note(
    folder: Path, file_id: str, request_ids: Sequence[str], reservations: Sequence[str]
) -> BatchNote:
    """Note a batch that is about to be made of an uploaded file."""
    name = uuid.uuid4().hex
    path = folder / f"{name}.json"
    note = BatchNote(path, name, file_id, time.time(), tuple(request_ids), tuple(reservations))
    note.write()
    return note


def read_notes(folder: Path) -> list[BatchNote]:
    """All notes in a folder, oldest first.

    Raises:
        InputError: one is damaged.
    """
    notes = [BatchNote.read(path) for path in folder.glob("*.json")]
    return sorted(filter(None, notes), key=lambda note: (note.submitted_at, note.name))
