"""peft's LoRA layers in fewer passes over a layer's output.

peft computes W x + s (B (A x)) as three passes over the output after the product with B: it is
written, scaled and added. Here the few numbers A x are scaled, and the product with B adds itself
to W x in place. Gradients lose the same passes, and 16-bit results are rounded less often. Where s
is a power of two, fp32 results are peft's to the bit.
"""

from typing import Any

import torch
from peft.tuners import lora


class LoraLinear(lora.Linear):  # type: ignore[misc]
    """Over `torch.nn.Linear`; whatever is not plain LoRA of one adapter is left to peft."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """[..., in] -> [..., out]."""
        (name, *others) = self.active_adapters or [""]
        if (
            self.disable_adapters or self.merged or others or args or kwargs or x.dim() < 2
            or name not in self.lora_A or name in self.lora_variant
            or self.lora_A[name].weight.dtype != x.dtype
            or torch.is_autocast_enabled(x.device.type)
        ):  # fmt: skip
            return super().forward(x, *args, **kwargs)
        rows = x.flatten(0, -2)
        out = self.base_layer(rows)
        down = self.lora_A[name](self.lora_dropout[name](rows)) * self.scaling[name]
        # a view of the output would be copied in the backward pass, so that it takes shape last
        return out.addmm_(down, self.lora_B[name].weight.t()).unflatten(0, x.shape[:-1])


def fuse(tuned: Any) -> Any:
    """A network with adapters, its layers over plain linear ones as `LoraLinear`; names stay."""
    for module in tuned.modules():
        plain = type(module) is lora.Linear and type(module.base_layer) is torch.nn.Linear
        if plain and not any(module.lora_bias.values()):
            module.__class__ = LoraLinear
    return tuned
