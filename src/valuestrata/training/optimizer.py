"""AdamW over fp32 copies of weights that compute in a lower precision.

An adapter computes in its network's dtype, so that no activation is cast on its way through it. A
step of the optimiser is often smaller than such a dtype can add to a weight, so that the weights
are kept in fp32 beside it: the master copies of Micikevicius et al. 2018, Mixed Precision Training,
section 3.1. Weights in fp32 are their own masters, and nothing changes for them.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class MasterAdamW(torch.optim.AdamW):
    """AdamW whose parameters are the fp32 masters of a network's.

    Gradients are collected from the network's parameters, added up in fp32, and each step writes
    the rounded masters back. The state that is saved holds the masters, so that a training that
    resumes goes on from them and not from what they were rounded to.

    Attributes:
        masters: one a parameter, in order, which the optimiser moves.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], lr: float, weight_decay: float
    ) -> None:
        """Copy what is not in fp32; one fused kernel a step on a GPU, torch's default elsewhere."""
        parameters = list(parameters)
        self.masters = [p if p.dtype == torch.float32 else _master(p) for p in parameters]
        pairs = zip(parameters, self.masters, strict=True)
        self._rounded = [(p, master) for p, master in pairs if p is not master]
        fused = True if all(p.is_cuda for p in parameters) else None
        super().__init__(self.masters, lr=lr, weight_decay=weight_decay, fused=fused)

    @torch.no_grad()
    def collect(self) -> None:
        """Add the network's gradients to those of the masters, in fp32, and clear them."""
        fresh = [(p, master, p.grad) for p, master in self._rounded if p.grad is not None]
        if not fresh:
            return
        grads = [torch.empty_like(master) for _, master, _ in fresh]
        torch._foreach_copy_(grads, [grad for _, _, grad in fresh])
        sums = [(m.grad, grad) for (_, m, _), grad in zip(fresh, grads, strict=True)]
        if more := [(total, grad) for total, grad in sums if total is not None]:
            torch._foreach_add_(*map(list, zip(*more, strict=True)))
        for (p, master, _), (total, grad) in zip(fresh, sums, strict=True):
            master.grad = grad if total is None else total
            p.grad = None

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take a step along the gradients collected so far and those that still wait."""
        self.collect()
        result = super().step(closure)
        if self._rounded:
            weights, masters = zip(*self._rounded, strict=True)
            with torch.no_grad():
                torch._foreach_copy_([p.data for p in weights], masters)
            for master in masters:  # a trainer clears the gradients that it knows, the network's
                master.grad = None
        return result

    def state_dict(self) -> dict[str, Any]:
        """AdamW's, and the masters of what is not in fp32."""
        return {**super().state_dict(), "masters": [m.detach() for _, m in self._rounded]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a kept state; the network's own weights are not touched."""
        with torch.no_grad():
            for (_, master), kept in zip(self._rounded, state_dict["masters"], strict=True):
                master.copy_(kept)
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "masters"})


def _master(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    return torch.nn.Parameter(parameter.detach().float())
