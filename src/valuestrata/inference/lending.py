"""A local model that several jobs of one process ask, one after another, after one load.

Each job sees what a model of its own would show it: the notes that were taken while the weights
were loaded, and none of another job's work; how far the adapter moves its own first prompt; and
whether the network reads the job's own prompts right.
"""

import importlib
from pathlib import Path
from typing import cast

from valuestrata.inference.backends import BACKENDS
from valuestrata.inference.local import LocalBackend
from valuestrata.inference.protocol import LoadCheck, Messages
from valuestrata.prefix import forward
from valuestrata.study.models import TransformersModel, VllmModel


class SharedBackend(LocalBackend):
    """What a local backend is, too, where it is shared; it stands before the backend's own class.

    Its entries stay those of the backend: replies do not depend on who else asks.
    """

    _notes_at_load: list[str] | None = None

    def begin_job(self) -> None:
        """Forget what the job before has noted, and what its prompts showed of the network."""
        self._load_check = None
        network = getattr(self, "_network", None)  # vLLM's engine has none that is judged
        if network is not None:
            forward.forget_verdicts(network)
        if self._notes_at_load is not None:
            self.notes[:] = self._notes_at_load

    def check_load(self, messages: Messages) -> LoadCheck:
        """What the model is like, on a job's first prompt; every job begins its work with it."""
        check = super().check_load(messages)
        if self._notes_at_load is None:
            self._notes_at_load = [*self.notes]
        return check


class ModelLender:
    """Opens each local model once; those who ask for it again get the same, with its weights."""

    def __init__(self) -> None:
        """Nothing opened yet."""
        self._opened: dict[tuple[str, str], SharedBackend] = {}

    def open_model(
        self, model: TransformersModel | VllmModel, threads: int, adapter: Path | str | None = None
    ) -> SharedBackend:
        """The backend of a model for the next job; the job before must have ended.

        Raises:
            InputError: its tokenizer cannot be had.
        """
        key = (model.model_dump_json(), str(adapter))
        if key not in self._opened:
            module, _, name = BACKENDS[model.backend].partition(":")
            backend: type[LocalBackend] = vars(importlib.import_module(module))[name]
            shared = cast("type[SharedBackend]", type(name, (SharedBackend, backend), {}))
            self._opened[key] = shared.open(model, threads, adapter)
        self._opened[key].begin_job()
        return self._opened[key]
