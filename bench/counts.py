"""What a training step asks of a device, counted on a CPU: the counts are the same on any machine.

Kernels are torch's operations that are no views; fused ones count once. A synchronisation is an
operation whose result the host has to know before it can go on. A cast is a copy of a LoRA layer's
activations in another floating dtype; a backward pass casts only what its forward pass did.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from valuestrata.training import loop

aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten._unique2.default,
}
FREE = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::_unsafe_view"}
"""No views, and yet they launch nothing."""
READS = {torch.Tensor.cpu, torch.Tensor.tolist, torch.Tensor.numpy}
MADE = "_made_in_a_step"


@dataclass
class StepCounts:
    """Totals over the steps of a training, and the host's seconds in them."""

    steps: int = 0
    kernels: int = 0
    casts: int = 0
    waits: int = 0
    reads: int = 0
    seconds: float = 0.0

    def syncs_per_step(self) -> float:
        """Times that the host waits for the device, a step."""
        return (self.waits + self.reads) / self.steps


class _Operations(TorchDispatchMode):
    """Counts operations while it is on."""

    def __init__(self, counts: StepCounts) -> None:
        super().__init__()
        self.counts = counts
        self.in_lora = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.counts.kernels += _launches(func)
        waits = func in WAITS or (func is aten.index.Tensor and _by_mask(args[1]))
        # what no operation of the step has made is the host's own
        self.counts.waits += waits and hasattr(args[0], MADE)
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor):
                setattr(tensor, MADE, True)
        if func is aten._to_copy.default and self.in_lora:
            self.counts.casts += args[0].is_floating_point() and made.dtype != args[0].dtype
        return made

    def enter(self, *_: Any) -> None:
        """Before a LoRA layer."""
        self.in_lora += 1

    def leave(self, *_: Any) -> None:
        """After it."""
        self.in_lora -= 1


class _Reads(TorchFunctionMode):
    """Counts calls that copy to the host: on a CPU they are no operations."""

    def __init__(self, counts: StepCounts) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts.waits += func in READS and hasattr(args[0], MADE)
        return func(*args, **(kwargs or {}))


def _launches(func: Any) -> bool:
    """Whether an operation runs something on the device."""
    is_free = func.namespace == "profiler" or func.name().partition(".")[0] in FREE
    return not (func.is_view or is_free)


def _by_mask(indices: Any) -> bool:
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)


@contextmanager
def counting(counts: StepCounts, *of_device: torch.Tensor) -> Iterator[None]:
    """Count what is done within the block; some tensors are the device's from the start."""
    for tensor in of_device:
        setattr(tensor, MADE, True)
    with _Operations(counts), _Reads(counts):
        yield


@contextmanager
def counted(network: Any) -> Iterator[StepCounts]:
    """Count what `loop.train` does with a network's steps within the block.

    The optimiser is the fused one, as on a GPU: torch's default on a CPU counts its steps on the
    host.
    Collating is the host's own work and no part of it; what is read together after some steps
    counts as one synchronisation.
    """
    counts = StepCounts()
    operations, reads = _Operations(counts), _Reads(counts)
    start, backward = loop._Run.start, loop._backward
    finish, read = loop._Run.finish_step, loop._Run.read_steps

    def fused_start(*given: Any) -> Any:
        run = start(*given)
        for group in run.optimizer.param_groups:
            group["fused"] = True
        return run

    def count(work: Any, *given: Any) -> Any:
        begun = time.perf_counter()
        with operations, reads:
            result = work(*given)
        counts.seconds += time.perf_counter() - begun
        return result

    def counted_finish(*given: Any) -> None:
        count(finish, *given)
        counts.steps += 1

    def counted_read(run: Any) -> None:
        counts.reads += bool(run.unread)
        read(run)

    with ExitStack() as stack:
        for layer in (m for m in network.modules() if hasattr(m, "lora_A")):
            for hook in (
                layer.register_forward_pre_hook(operations.enter),
                layer.register_forward_hook(operations.leave),
            ):
                stack.callback(hook.remove)
        stack.enter_context(patch.object(loop._Run, "start", fused_start))
        stack.enter_context(patch.object(loop, "_backward", lambda *g: count(backward, *g)))
        stack.enter_context(patch.object(loop._Run, "finish_step", counted_finish))
        stack.enter_context(patch.object(loop._Run, "read_steps", counted_read))
        yield counts
