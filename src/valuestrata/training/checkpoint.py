"""The state of a training on disk, so that a killed one resumes where it was.

A checkpoint is one file, written whole or not at all. Its name holds a digest of what it was made
of (settings, code, inputs); one that was made of anything else is never resumed from.
"""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from valuestrata import io
from valuestrata.training import distributed

log = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay: the last one, and one to fall back on should the disk have spoilt it."""


class Checkpoint:
    """Checkpoints of one training.

    Args:
        folder: where they lie; nothing else does.
        key: digest of what the training is made of; hexadecimal, part of the files' names.
        seconds: least time between two of them; 0 saves every step.
    """

    def __init__(self, folder: Path | str, key: str, seconds: float) -> None:
        """Start the clock."""
        self.folder = Path(folder)
        self.key = key
        self.seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time to save; only the first process does."""
        return distributed.rank() == 0 and time.monotonic() - self._last >= self.seconds

    def save(self, state: dict[str, Any], step: int) -> None:
        """Write the state after a step, and delete what came before the last ones."""
        with io.replacing(self.folder / f"{self.key}-{step:09d}.pt") as temporary:
            torch.save(state, temporary)
        kept = self._files()[:KEPT]
        for file in self.folder.iterdir():
            if file not in kept:  # also what a kill left half-written
                _delete(file)
        self.restart_clock()

    def restart_clock(self) -> None:
        """Count the time to the next one from now."""
        self._last = time.monotonic()

    def subfolder(self) -> Path:
        """A folder of this very training, for a library that saves files itself; all else goes."""
        mine = self.folder / self.key
        if distributed.rank() == 0:
            for other in set(self.folder.glob("*")) - {mine}:
                log.warning("%s has other settings, code or inputs: deleted", other)
                _delete(other)
        return mine

    def load(self) -> dict[str, Any] | None:
        """The last readable state of this very training, None if there is none."""
        for file in self._files():
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises what its readers raise
                log.warning("%s is corrupt (%s), ignored", file, type(error).__name__)
                continue
            log.info("resuming from %s", file)
            return dict(state)
        foreign = set(self.folder.glob("*.pt")) - set(self._files())
        if foreign:
            log.warning(
                "%s has other settings, code or inputs, ignored: training from the start",
                max(foreign),
            )
        return None

    def remove(self) -> None:
        """Delete all of them: the training has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        """Files of this very training, last step first."""
        return sorted(self.folder.glob(f"{self.key}-*.pt"), reverse=True)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
