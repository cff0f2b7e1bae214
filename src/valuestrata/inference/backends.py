"""The backends by name, and how a study's model is opened with its own.

Backends are resolved when a model is opened, so that nothing is imported for another one; a stage
names the one that it opens among its entries (`valuestrata.stages.job`).
"""

import importlib
from pathlib import Path
from typing import Annotated

from pydantic import Field

from valuestrata.inference.protocol import Backend
from valuestrata.study.models import OpenAIModel, TransformersModel, VllmModel

BACKENDS = {
    "transformers": "valuestrata.inference.transformers:TransformersBackend",
    "vllm": "valuestrata.inference.vllm:VllmBackend",
    "openai": "valuestrata.inference.openai:OpenAIBackend",
}
"""Where the class of each backend is, as "module:name"."""

LanguageModel = Annotated[
    TransformersModel | VllmModel | OpenAIModel, Field(discriminator="backend")
]
"""A model of a study that answers prompts."""


def open_model(model: LanguageModel, threads: int, adapter: Path | str | None = None) -> Backend:
    """A language model that loads its weights, or connects, when it is first asked.

    Raises:
        InputError: its tokenizer cannot be had.
    """
    module, _, name = BACKENDS[model.backend].partition(":")
    backend: type[Backend] = vars(importlib.import_module(module))[name]
    return backend.open(model, threads, adapter)
