"""The one place where a model's backend is chosen."""

from pathlib import Path

from valuestrata.inference.protocol import LanguageModel
from valuestrata.specs import Model


def open_model(spec: Model, threads: int, adapter: Path | str | None = None) -> LanguageModel:
    """A language model that loads its weights, or connects, when it is first asked.

    Raises:
        InputError: its tokenizer cannot be had.
    """
    if spec.backend == "openai":
        from valuestrata.inference.openai import OpenAIModel

        return OpenAIModel(spec)
    from valuestrata.inference import local, runtime

    runtime.prepare(threads)
    chat = local.load_chat(spec)
    if spec.backend == "vllm":
        from valuestrata.inference.vllm import VllmModel

        return VllmModel(spec, chat, adapter)
    from valuestrata.inference.transformers import TransformersModel

    return TransformersModel(spec, chat, adapter)
