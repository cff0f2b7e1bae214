"""Which network a model's settings describe, and whether it writes text; no weights are needed.

A wrapper is a text decoder with towers for images or sound around it (Mistral 3, Gemma 3, Llama 4,
Qwen-VL). It is loaded whole, asked in text alone, and tuned in its decoder alone.
"""

import inspect
from pathlib import Path
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.inference import model_files
from valuestrata.study.models import LocalModel


def read_config(model: LocalModel, folder: Path) -> Any:
    """A model's settings as transformers reads them.

    Raises:
        InputError: they are damaged, or the library does not know such a network.
    """
    from transformers import AutoConfig

    model_files.read_json(folder / model_files.CONFIG)
    return from_pretrained(AutoConfig, model, folder)


def from_pretrained(kind: Any, model: LocalModel, folder: Path, **options: Any) -> Any:
    """What a class of transformers' makes of a folder.

    Raises:
        InputError: the first line of whatever the library says instead.
    """
    try:
        return kind.from_pretrained(folder, trust_remote_code=model.trust_remote_code, **options)
    except InputError:
        raise
    except Exception as error:  # quantisers, tokenizers and loaders raise what they like
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{model.model}: cannot be loaded ({first})") from error


def network_class(model: LocalModel, config: Any) -> Any:
    """The automatic class that loads a network.

    Raises:
        InputError: the network writes no text, or cannot be asked for chosen logits.
    """
    import transformers
    from transformers.models.auto import modeling_auto

    causal = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    wrappers = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    declared = (getattr(config, "architectures", None) or [None])[0]
    kind = config.model_type
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return transformers.AutoModelForCausalLM
    writes = {*causal.values(), *wrappers.values()}
    is_other = declared not in writes and hasattr(transformers, str(declared))
    is_unknown = kind not in causal and kind not in wrappers
    if is_other or is_unknown or getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{model.model}: is a {declared or kind}, which is no decoder that writes text; use an "
            "instruction-tuned language model"
        )
    is_causal = kind in causal and (declared in causal.values() or kind not in wrappers)
    name = (causal if is_causal else wrappers)[kind]
    if "logits_to_keep" not in inspect.signature(getattr(transformers, name).forward).parameters:
        raise InputError(
            f"{model.model}: a {name} cannot be asked for the logits of options alone; use another "
            "model"
        )
    return (
        transformers.AutoModelForCausalLM if is_causal else transformers.AutoModelForImageTextToText
    )


def is_wrapper(config: Any) -> bool:
    """Whether a network has towers for images or sound around its text decoder."""
    return any(getattr(config, f"{kind}_config", None) for kind in ("vision", "audio"))


def empty_network(model: LocalModel, config: Any) -> Any:
    """The network without weights: names and shapes of its tensors, and no memory."""
    with torch.device("meta"):
        return network_class(model, config).from_config(
            config, trust_remote_code=model.trust_remote_code
        )


def decoder_prefix(network: Any) -> str:
    """What the names of all layers of the text decoder begin with; '' where there is no tower.

    >>> decoder_prefix(Mistral3ForConditionalGeneration(config))  # doctest: +SKIP
    'model.language_model.'
    """
    decoder = network.get_decoder()
    if decoder is network:
        return ""
    prefix = next((f"{name}." for name, part in network.named_modules() if part is decoder), "")
    output = network.get_output_embeddings()
    outside = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module is not output
        and not name.startswith(prefix)
    ]
    return prefix if outside else ""
