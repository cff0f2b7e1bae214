"""Which layers of a network a recipe tunes, and what of them LoRA can be put on.

The experts of a mixture are no linear layers but lie fused in one tensor a layer. PEFT adapts such
a tensor by adding the update to the weights themselves, which is exact in fp32; a less precise
dtype would round a small update away, and dropout has no place there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.inference import architectures
from valuestrata.study.recipes import ALL_LINEAR, Recipe, SupervisedRecipe

RENAMED = {"gate", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"}
"""Layers that PEFT 0.21 takes for experts in a network with fused ones, but not their tensors."""


@dataclass(frozen=True)
class Targets:
    """Names of the linear layers that LoRA is put beside, and of tensors that it is added to."""

    layers: tuple[str, ...]
    tensors: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many there are."""
        return len(self.layers) + len(self.tensors)


def find_targets(network: Any, names: str | Sequence[str]) -> Targets:
    """What to adapt: all linear layers and experts, or those of the last names.

    Never the output layer, and of a wrapper only its text decoder: no tower for images or sound.

    Raises:
        InputError: the network has nothing of a name.
    """
    linear = _linear_layers(network)
    experts = _fused_experts(network)
    if names != ALL_LINEAR:
        present = sorted({_last(name) for name in (*linear, *experts)})
        for name in names:
            if name not in present:
                raise InputError(
                    f"recipe: target_modules: {_absent(network, name)}; it has {', '.join(present)}"
                )
        linear = [name for name in linear if _last(name) in names]
        experts = [name for name in experts if _last(name) in names]
    if not _fused_experts(network):
        return Targets(tuple(linear))
    taken = [name for name in linear if _last(name) in RENAMED]
    layers = [name for name in linear if name not in taken]
    return Targets(tuple(layers), (*(f"{name}.weight" for name in taken), *experts))


def check_targets(targets: Targets, recipe: Recipe, dtype: torch.dtype) -> None:
    """Refuse LoRA on tensors where it would be rounded, dropped out, quantized or compiled.

    Raises:
        InputError: one line that names the layers that can be tuned.
    """
    if not targets.tensors:
        return
    others = ", ".join(sorted({_last(name) for name in targets.layers}))
    rest = f"target_modules: [{others}]" if others else "other target_modules"
    where = f"LoRA on experts ({targets.tensors[-1]})"
    if recipe.lora_dropout:
        raise InputError(
            f"recipe: lora_dropout: {where} takes no dropout; set lora_dropout: 0, or tune the "
            f"other layers, {rest}"
        )
    if isinstance(recipe, SupervisedRecipe) and recipe.compile_layers:
        raise InputError(
            f"recipe: compile_layers: {where} is added to the weights anew in each pass, which "
            f"torch does not compile; leave it out, or tune the other layers, {rest}"
        )
    if recipe.quantize != "none":
        raise InputError(
            f"recipe: quantize: {where} is added to the weights themselves, and {recipe.quantize} "
            f"has none to add to; set quantize: none, or tune the other layers, {rest}"
        )
    if dtype != torch.float32:
        raise InputError(
            f"recipe: target_modules: {where} is added to the weights themselves, and "
            f"{str(dtype).removeprefix('torch.')} would round a small update away; tune the other "
            f"layers, {rest}, or set the model's dtype: float32"
        )


def _linear_layers(network: Any) -> list[str]:
    """Names of the text decoder's linear layers; a router that is derived from one is none."""
    output, decoder = network.get_output_embeddings(), architectures.decoder_prefix(network)
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module is not output
        and name.startswith(decoder)
        and not type(module).__module__.startswith("transformers.models")
    ]


def _fused_experts(network: Any) -> list[str]:
    """Names of the text decoder's tensors that hold several experts."""
    decoder = architectures.decoder_prefix(network)
    return [
        f"{path}.{name}"
        for path, module in network.named_modules()
        if path.startswith(decoder)
        and "expert" in f"{path}.{type(module).__name__}".lower()
        and not isinstance(module, torch.nn.Linear)
        for name, tensor in module.named_parameters(recurse=False)
        if tensor.dim() > 1 and "bias" not in name
    ]


def _absent(network: Any, name: str) -> str:
    """Why there is no layer of a name to tune."""
    ends = (network.get_output_embeddings(), network.get_input_embeddings())
    embeddings = {_last(path) for path, module in network.named_modules() if module in ends}
    if name in embeddings:
        return f"{name!r} holds the embeddings or the output layer, which stay as they are"
    return f"the model has no linear layer {name!r}"


def _last(name: str) -> str:
    return name.rpartition(".")[2]
