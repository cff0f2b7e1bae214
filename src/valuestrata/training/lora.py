"""The adapter: a fresh LoRA on a network's linear layers, and how it is written."""

import importlib.util
import json
import logging
import re
from pathlib import Path
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.inference import architectures, model_files
from valuestrata.study.models import LocalModel
from valuestrata.study.recipes import ALL_LINEAR, Recipe
from valuestrata.training.targets import Targets, check_targets, find_targets

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


def check_layers(model: LocalModel, recipe: Recipe) -> None:
    """Refuse layers that a recipe cannot tune, from the model's settings alone.

    Raises:
        InputError: one line that names layers that can be tuned.
    """
    config = architectures.read_config(model, model_files.model_folder(model, weights=False))
    try:
        network = architectures.empty_network(model, config)
    except (RuntimeError, NotImplementedError) as error:  # code of its own that wants numbers
        log.warning("%s: its layers are checked once it is loaded (%s)", model.model, error)
        return
    targets = find_targets(network, recipe.target_modules)
    check_targets(targets, recipe, getattr(torch, model.dtype))


def add_lora(network: Any, recipe: Recipe) -> Any:
    """The network with a fresh LoRA on the layers that the recipe names.

    Raises:
        InputError: the network has no layer of a name, or LoRA cannot adapt all that were asked
            for.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    from valuestrata.inference.lora_layers import fuse

    if recipe.quantize != "none":
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)
    if recipe.gradient_checkpointing:
        network.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    alpha = recipe.lora_alpha
    targets = find_targets(network, recipe.target_modules)
    check_targets(targets, recipe, network.dtype)
    decoder = architectures.decoder_prefix(network)
    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,  # peft writes it down as given
        lora_dropout=recipe.lora_dropout,
        target_modules=_layer_names(targets, recipe),
        target_parameters=sorted(targets.tensors) or None,
        exclude_modules=rf"(?!{re.escape(decoder)}).*" if decoder else None,
        task_type="CAUSAL_LM",
    )
    try:
        # in the network's dtype: peft would take fp32, and cast every activation there and back
        tuned = get_peft_model(network, config, autocast_adapter_dtype=False)
    except ValueError as error:  # peft knows layers that LoRA cannot tune, such as Mamba's
        raise InputError(f"recipe: target_modules: {str(error).splitlines()[0]}") from None
    adapted = sum(hasattr(m, "lora_A") for m in tuned.modules())
    if adapted != len(targets):
        raise InputError(
            f"recipe: target_modules: LoRA adapts {adapted} of {len(targets)} layers; name those "
            "to tune, or tune another model"
        )
    log.info("LoRA of rank %d on %d layers", recipe.lora_r, adapted)
    return fuse(tuned)


def _layer_names(targets: Targets, recipe: Recipe) -> str | list[str]:
    """What peft is told: the recipe's own words, or last names where some layers are tensors."""
    if targets.tensors:
        return sorted({name.rpartition(".")[2] for name in targets.layers})
    return ALL_LINEAR if recipe.target_modules == ALL_LINEAR else list(recipe.target_modules)


def save(tuned: Any, folder: Path, base: LocalModel | None = None) -> None:
    """Write the adapter; the same adapter makes the same bytes.

    peft keeps the names of the tuned layers in a set and writes them in another order each time. It
    also writes the path that the base was read from; `base` says what is named instead.
    """
    identity = _identity(base) if base else {}
    if identity:  # peft's model card has the path from the network
        network = tuned.get_base_model()
        network.name_or_path = network.config.name_or_path = identity["base_model_name_or_path"]
    # no embeddings are tuned; asked to look for itself, peft asks the hub about the base
    tuned.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | identity
    in_order = {
        k: sorted(v)
        for k, v in config.items()
        if k.endswith(("_modules", "_parameters")) and isinstance(v, list)
    }
    text = json.dumps({**config, **in_order}, indent=2, sort_keys=True)
    path.write_text(text, encoding="utf-8")


def _identity(base: LocalModel) -> dict[str, str | None]:
    """Name and commit of a hub model, or a folder's name, under peft's keys."""
    name = str(base.model)
    if Path(name).is_dir():
        return {"base_model_name_or_path": Path(name).name, "revision": None}
    commit = model_files.model_folder(base, weights=False).name
    return {"base_model_name_or_path": name, "revision": commit}
