"""Weights in few bits: checkpoints that are stored so, and 8 bits at load.

Whether a checkpoint can be read here is asked of the library that reads it, by its settings alone,
so that what lacks a package or a GPU is refused before weights are downloaded.
"""

import importlib.util
import json
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.study.models import LocalModel

ON_CPU = ("compressed-tensors", "awq", "gptq", "torchao")
"""Formats that vLLM's build for CPUs reads."""


def stored_format(config: Any) -> dict[str, Any]:
    """The quantization_config of a checkpoint, of its own or of its text decoder; empty if none."""
    for part in (config, config.get_text_config(decoder=True)):
        settings = getattr(part, "quantization_config", None)
        if settings:
            return dict(settings if isinstance(settings, dict) else settings.to_dict())
    return {}


def format_name(settings: dict[str, Any]) -> str:
    """What a format is called: gptq, awq, fp8, mxfp4, compressed-tensors, bitsandbytes, ..."""
    is_bitsandbytes = settings.get("load_in_8bit") or settings.get("load_in_4bit")
    return str(settings.get("quant_method") or ("bitsandbytes" if is_bitsandbytes else "unnamed"))


def check_format(model: LocalModel, config: Any, backend: str) -> None:
    """Refuse a quantised checkpoint that transformers cannot read here, by its settings alone.

    Raises:
        InputError: one line that says what is missing, and what to do.
    """
    settings = stored_format(config)
    if model.quantize != "none":
        if settings:
            raise InputError(
                f"{model.model}: is stored in {format_name(settings)} already; leave out quantize"
            )
        _require_torchao(model)
    if settings and backend == "transformers":
        _quantizer(model, settings)


def check_tunable(model: LocalModel, config: Any, quantize: str) -> None:
    """Refuse to tune over a checkpoint whose format lets no gradient through.

    Raises:
        InputError: one line that names the format.
    """
    settings = stored_format(config)
    if not settings:
        return
    name = format_name(settings)
    if quantize != "none":
        raise InputError(f"recipe: quantize: {model.model} is stored in {name} already; use none")
    quantizer = _quantizer(model, settings)
    is_unpacked = getattr(quantizer.quantization_config, "dequantize", False)
    if not (quantizer.is_trainable or is_unpacked):
        raise InputError(
            f"{model.model}: is stored in {name}, which cannot be tuned; tune the model in full "
            "precision, with quantize: 4bit where memory is short"
        )


def _quantizer(model: LocalModel, settings: dict[str, Any]) -> Any:
    """transformers' reader of a format, once it has found all that it needs."""
    from transformers.quantizers.auto import AutoHfQuantizer

    name = format_name(settings)
    try:
        if not AutoHfQuantizer.supports_quant_method(settings):
            raise ValueError("transformers does not read it")
        quantizer = AutoHfQuantizer.from_config(dict(settings), pre_quantized=True)
        quantizer.validate_environment(device_map=_device_map(model), weights_only=True)
    except Exception as error:  # each format has its own errors
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{model.model}: is stored in {name}: {first}; or use backend vllm on a GPU, or name "
            "the model in full precision"
        ) from None
    return quantizer


def _device_map(model: LocalModel) -> Any:
    if model.device_map or not torch.cuda.is_available():
        return model.device_map
    return {"": torch.cuda.current_device()}


def check_vllm(model: LocalModel, config: Any) -> None:
    """Refuse a quantised checkpoint that vLLM, which is installed, cannot read here.

    Raises:
        InputError: one line that names the format.
    """
    settings = stored_format(config)
    if not settings:
        return
    name = format_name(settings)
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS

    if name not in QUANTIZATION_METHODS:
        problem = f"which vLLM does not read; it reads {', '.join(sorted(QUANTIZATION_METHODS))}"
    elif not torch.cuda.is_available() and name not in ON_CPU:
        problem = "which vLLM reads on a GPU alone, and no GPU was found"
    else:
        return
    raise InputError(f"{model.model}: is stored in {name}, {problem}; name another checkpoint")


def _require_torchao(model: LocalModel) -> None:
    if not importlib.util.find_spec("torchao"):
        raise InputError(
            f"{model.model}: quantize: {model.quantize} needs the package torchao: "
            "pip install 'valuestrata[int8]'"
        )


def load_options(model: LocalModel, config: Any) -> dict[str, Any]:
    """What transformers is told of a model's weights: 8 bits, and where a stored format goes."""
    if model.quantize == "8bit":
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        options: dict[str, Any] = {"quantization_config": TorchAoConfig(Int8WeightOnlyConfig())}
        return options | {"device_map": _device_map(model)}
    return {"device_map": _device_map(model)} if stored_format(config) else {}


def vllm_options(model: LocalModel) -> dict[str, Any]:
    """What vLLM is told of weights in 8 bits."""
    if model.quantize == "none":
        return {}
    from torchao.core.config import config_to_dict
    from torchao.quantization import Int8WeightOnlyConfig

    settings = json.dumps(config_to_dict(Int8WeightOnlyConfig()))
    return {
        "quantization": "torchao",
        "hf_overrides": {"quantization_config_dict_json": settings},
    }


def check_8bit(model: LocalModel, network: Any) -> None:
    """Refuse a network that is not stored as was asked for: some loaders ignore it.

    Raises:
        InputError: no linear layer is in 8 bits.
    """
    linear = (m.weight for m in network.modules() if isinstance(m, torch.nn.Linear))
    if model.quantize == "8bit" and not any("Int8" in type(w.data).__name__ for w in linear):
        raise InputError(
            f"{model.model}: quantize: 8bit: no linear layer came out in 8 bits; leave it out"
        )
