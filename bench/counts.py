"""What a training step asks of a device, counted on a CPU: the counts are the same on any machine.

Kernels are torch's operations that are no views; fused ones count once. A synchronisation is an
operation whose result the host has to know before it can go on. A cast is a copy of a LoRA layer's
activations in another floating dtype; a backward pass casts only what its forward pass did.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
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
    aten.unique_consecutive.default,
    aten.unique_dim.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
}
TAKES, PUTS = aten.index.Tensor, {aten.index_put_.default, aten.index_put.default}
"""They wait where they are given a mask: how much they take or write hangs on it."""
FREE = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::_unsafe_view"}
"""No views, and yet they launch nothing."""
READS = {
    torch.Tensor.cpu, torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__,
}  # fmt: skip
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
    """Counts operations while it is on: kernels within a step, what waits or casts beside it, too.

    Attributes:
        in_step: whether a step is being taken.
        is_aside: whether the host is at its own work, which counts for nothing.
    """

    def __init__(self, counts: StepCounts) -> None:
        super().__init__()
        self.counts = counts
        self.in_lora = 0
        self.in_step = self.is_aside = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if self.is_aside:
            return made
        self.counts.kernels += self.in_step and _launches(func)
        # what was not made of the device's is the host's own
        self.counts.waits += _waits(func, args) and hasattr(args[0], MADE)
        if not _is_of_host(func, args):
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

    def __init__(self, operations: _Operations) -> None:
        super().__init__()
        self.operations = operations

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        more = kwargs or {}
        if not self.operations.is_aside and _reads(func, args, more):
            self.operations.counts.waits += hasattr(args[0], MADE)
        return func(*args, **more)


def _is_of_host(func: Any, args: Any) -> bool:
    """Whether an operation gives the host's own numbers: of a list, or another view of such."""
    return func is aten.lift_fresh.default or (func.is_view and not hasattr(args[0], MADE))


def _waits(func: Any, args: Any) -> bool:
    """Whether the host has to know an operation's result before it can go on."""
    if func in PUTS:  # one number of the host's is filled in without asking
        is_number = args[2].numel() == 1 and not hasattr(args[2], MADE)
        return _by_mask(args[1]) and not is_number
    return func in WAITS or (func is TAKES and _by_mask(args[1]))


def _reads(func: Any, args: Any, more: Any) -> bool:
    """Whether a call copies a tensor to the host: by a name of its own, or by `to("cpu")`.

    `to` some tensor's own device, which is the CPU here, would copy nothing on a GPU.
    """
    if func is not torch.Tensor.to:
        return func in READS
    return "cpu" in (g for g in (*args[1:2], more.get("device")) if isinstance(g, str))


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
    operations = _Operations(counts)
    operations.in_step = True
    with operations, _Reads(operations):
        yield


@contextmanager
def counted(network: Any) -> Iterator[StepCounts]:
    """Count what `loop.train` does with a network's steps within the block.

    The optimiser is the fused one, as on a GPU: torch's default on a CPU counts its steps on the
    host.
    Collating, weighting and what is measured at some steps are the host's own work and no part of
    it; what is read together after some steps counts as one synchronisation.
    """
    counts = StepCounts()
    operations = _Operations(counts)
    start, backward = loop._Run.start, loop._backward
    finish, read = loop._Run.finish_step, loop._Run.read_steps

    def aside(work: Any, *given: Any) -> Any:
        was, operations.is_aside = operations.is_aside, True
        try:
            return work(*given)
        finally:
            operations.is_aside = was

    def fused_start(*given: Any) -> Any:
        run = aside(start, *given)
        weights = partial(aside, run.weighting.weights)  # made of losses that were read
        stack.enter_context(patch.object(run.weighting, "weights", weights))
        for group in run.optimizer.param_groups:
            group["fused"] = True
        return run

    def count(work: Any, *given: Any) -> Any:
        begun, operations.in_step = time.perf_counter(), True
        result = work(*given)
        operations.in_step = False
        counts.seconds += time.perf_counter() - begun
        return result

    def counted_finish(*given: Any) -> None:
        count(finish, *given)
        counts.steps += 1

    def counted_read(run: Any) -> None:
        counts.reads += bool(run.unread)
        aside(read, run)

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
        for name in ("_collate_microbatches", "_evaluate"):
            stack.enter_context(patch.object(loop, name, partial(aside, getattr(loop, name))))
        stack.enter_context(operations)
        stack.enter_context(_Reads(operations))
        yield counts
