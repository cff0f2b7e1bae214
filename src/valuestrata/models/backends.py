"""The one place where a model's backend is chosen."""

from pathlib import Path

from valuestrata.models.base import LanguageModel
from valuestrata.specs import Model


def open_model(spec: Model, threads: int, adapter: Path | str | None = None) -> LanguageModel:
    """A language model that loads its weights, or connects, when it is first asked.

    Raises:
        InputError: its tokenizer cannot be had.
    """
    if spec.backend == "openai":
        from valuestrata.models.openai import ServedModel

        return ServedModel(spec)
    from valuestrata.models import local, runtime

    runtime.prepare(threads)
    chat = local.load_chat(spec)
    if spec.backend == "vllm":
        from valuestrata.models.vllm import VllmModel

        return VllmModel(spec, chat, adapter)
    from valuestrata.models.transformers import TransformersModel

    return TransformersModel(spec, chat, adapter)
