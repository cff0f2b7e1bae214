"""The adapter: a fresh LoRA on a network's linear layers, and how it is written."""

import importlib.util
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.inference import architectures, local
from valuestrata.study.models import LocalModel
from valuestrata.study.recipes import ALL_LINEAR, Recipe

log = logging.getLogger(__name__)


def check_quantization(recipe: Recipe) -> None:
    """Refuse a quantized recipe where there is no GPU, or not the package for it.

    Raises:
        InputError: one line that says what is missing.
    """
    if recipe.quantize == "none":
        return
    missing = "a GPU, and no GPU was found" if not torch.cuda.is_available() else ""
    if not missing and not importlib.util.find_spec("bitsandbytes"):
        missing = "the package bitsandbytes: pip install 'valuestrata[quantize]'"
    if missing:
        raise InputError(
            f"recipe: quantize: {recipe.quantize} needs {missing}; or use quantize: none"
        )


def add_lora(network: Any, recipe: Recipe) -> Any:
    """The network with a fresh LoRA on the layers that the recipe names.

    Raises:
        InputError: the network has no layer of a name, or LoRA cannot adapt all that were asked
            for.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if recipe.quantize != "none":
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)
    if recipe.gradient_checkpointing:
        network.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    targets, alpha = recipe.target_modules, recipe.lora_alpha
    decoder = architectures.decoder_prefix(network)
    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,  # peft writes it down as given
        lora_dropout=recipe.lora_dropout,
        target_modules=targets if targets == ALL_LINEAR else list(targets),
        exclude_modules=rf"(?!{re.escape(decoder)}).*" if decoder else None,
        task_type="CAUSAL_LM",
    )
    expected = len(_target_layers(network, targets))
    tuned = get_peft_model(network, config)
    adapted = sum(hasattr(m, "lora_A") for m in tuned.modules())
    fused = [
        name for name, p in network.named_parameters() if p.dim() > 2 and name.startswith(decoder)
    ]
    if targets == ALL_LINEAR and fused:
        raise InputError(
            f"recipe: target_modules: LoRA adapts no fused experts, such as {fused[0]}; name the "
            "layers to tune, or tune another model"
        )
    if adapted != expected:
        raise InputError(
            f"recipe: target_modules: LoRA adapts {adapted} of {expected} linear layers; name "
            "those to tune, or tune another model"
        )
    log.info("LoRA of rank %d on %d linear layers", recipe.lora_r, adapted)
    return tuned


def _target_layers(network: Any, targets: str | Sequence[str]) -> list[str]:
    """Names of the linear layers to adapt: all but the output layer, or those of the last names.

    Of a wrapper only its text decoder is tuned, never a tower for images or sound.
    """
    output = network.get_output_embeddings()
    decoder = architectures.decoder_prefix(network)
    linear = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output and name.startswith(decoder)
    ]
    if targets == ALL_LINEAR:
        return linear
    last_names = {name.rpartition(".")[2] for name in linear}
    for target in targets:
        if target not in last_names:
            raise InputError(
                f"recipe: target_modules: the model has no linear layer {target!r}; "
                f"it has {', '.join(sorted(last_names))}"
            )
    return [name for name in linear if name.rpartition(".")[2] in targets]


def save(tuned: Any, folder: Path, base: LocalModel | None = None) -> None:
    """Write the adapter; the same adapter makes the same bytes.

    peft keeps the names of the tuned layers in a set and writes them in another order each time. It
    also writes the path that the base was read from; `base` says what is named instead.
    """
    identity = _identity(base) if base else {}
    if identity:  # peft's model card has the path from the network
        network = tuned.get_base_model()
        network.name_or_path = network.config.name_or_path = identity["base_model_name_or_path"]
    tuned.save_pretrained(folder, safe_serialization=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | identity
    in_order = {
        k: sorted(v) for k, v in config.items() if k.endswith("_modules") and isinstance(v, list)
    }
    text = json.dumps({**config, **in_order}, indent=2, sort_keys=True)
    path.write_text(text, encoding="utf-8")


def _identity(base: LocalModel) -> dict[str, str | None]:
    """Name and commit of a hub model, or a folder's name, under peft's keys."""
    name = str(base.model)
    if Path(name).is_dir():
        return {"base_model_name_or_path": Path(name).name, "revision": None}
    commit = local.model_folder(base, weights=False).name
    return {"base_model_name_or_path": name, "revision": commit}
