"""A device that is the CPU under another name, to see what a GPU would refuse or wait for.

An operation over tensors of both devices is an error, as with CUDA, and each time that the host
wants to know numbers of the device is counted, with the line that wanted them. Numbers are the
CPU's. `python -m tests.second_device Llama Mistral` runs scoring, texts and training of toy
networks on it and prints, as JSON, how far results are from the CPU's own and who waited.

torch lets one such device be named in a process, for good: so it has a process of its own.
"""

import copy
import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from bench import counts
from tests import toys, tuning
from valuestrata.inference import runtime
from valuestrata.inference.protocol import Sampling
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prefix import attention
from valuestrata.training import completion, group_dro, loop, lora, objectives, shared_prefix
from valuestrata.training.schedules import OptimizerSettings

aten = torch.ops.aten
NAME = "second"
WAITS: Counter[str] = Counter()
"""Line of our code -> how often the host waited for it."""
TOKENS, STEPS = 20, 4
OBJECTIVES: dict[str, tuple[Any, bool]] = {
    "plain": (completion.CompletionObjective, False),
    "shared prefixes": (shared_prefix.SharedPrefixObjective, False),
    "distributions": (objectives.SoftObjective, False),
    "distances, worst group first": (objectives.OrdinalObjective, True),
}


class Module:
    """What torch asks of a device."""

    is_available = is_initialized = staticmethod(lambda: True)
    _is_in_bad_fork = is_autocast_enabled = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.float16, torch.bfloat16])


class Stream:
    """Work of the device; it is done at once."""

    def record_event(self) -> "Stream":
        return self

    def synchronize(self) -> None:
        """Nothing to wait for."""


class Elsewhere(torch.Tensor):
    """A tensor of the device; `held` has its numbers."""

    held: torch.Tensor
    is_cuda = property(lambda self: True)  # type: ignore[assignment]  # takes a GPU's branches
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Elsewhere":
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=torch.device(NAME, 0),
        )  # fmt: skip
        made.held = held
        return made

    def __init__(self, held: torch.Tensor) -> None:
        """All is done by now."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made: Any = Elsewhere(self.held.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            made = torch.nn.Parameter(made, self.requires_grad)
        return memo.setdefault(id(self), made)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation, on whichever device its tensors are.

    Raises:
        RuntimeError: they are on both; single numbers of the host may be.
    """
    tensors: list[torch.Tensor] = []
    mapped(tensors.append, args)
    there = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    if not there and not is_there(kwargs.get("device")):
        return func(*args, **kwargs)
    here = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere) and tensor.dim()]
    indexes = func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
    if there and here and not indexes and func not in (aten._to_copy.default, aten.copy_.default):
        shapes = [(str(tensor.device), tuple(tensor.shape)) for tensor in tensors]
        raise RuntimeError(f"{func} over tensors of two devices: {shapes}")
    leaves = there and kwargs.get("device") is not None and not is_there(kwargs["device"])
    by_mask = indexes and any(i is not None and i.dtype == torch.bool for i in args[1])
    if leaves or (indexes and (here or by_mask)) or func in counts.WAITS:
        wait()
    held_args = mapped(lambda tensor: getattr(tensor, "held", tensor), args)
    held = {**kwargs, "device": "cpu"} if "device" in kwargs else kwargs
    if func is aten.histc.default:  # of whole numbers on a GPU alone
        held_args = (held_args[0].float(), *held_args[1:])
    made = func(*held_args, **held)
    if leaves:
        return made.clone()
    if func._schema.is_mutable:
        return args[0] if isinstance(made, torch.Tensor) else made
    made = mapped(Elsewhere, made)
    if not (there and func.is_view):
        return made
    return return_and_correct_aliasing(func, args, kwargs, made)


def mapped(function: Callable[[Any], Any], values: Any) -> Any:
    """Arguments or results of an operation, each tensor replaced."""
    if isinstance(values, torch.Tensor):
        return function(values)
    if isinstance(values, (list, tuple)):
        return type(values)(mapped(function, value) for value in values)
    return values


def wait() -> None:
    """Count it, for the line of ours that asked."""
    ours = [f for f in traceback.extract_stack() if "/valuestrata/" in f.filename]
    WAITS[f"{ours[-1].filename.rpartition('/')[2]}: {ours[-1].line}" if ours else "tests"] += 1


class Operations(TorchDispatchMode):
    """Sees what makes tensors, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Calls(TorchFunctionMode):
    """What torch does by itself, past any operation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and is_there(kwargs.get("device")):
            where = kwargs.pop("device")
            return func(*args, **kwargs).to(where)
        if func is torch.Tensor.tolist and isinstance(args[0], Elsewhere):
            wait()
            return args[0].held.tolist()
        return func(*args, **kwargs)


@contextmanager
def second_device() -> Iterator[torch.device]:
    """The device, which is there within the block."""
    one_thread = torch.autograd.set_multithreading_enabled(False)
    stream = patch.object(torch.cuda, "current_stream", lambda device: Stream())
    # the second forward pass of a checkpoint would come from torch's own thread
    gathered_once = patch.object(attention, "checkpoint", lambda f, *given, **_: f(*given))
    with one_thread, stream, gathered_once, Operations(), Calls():
        yield torch.device(NAME, 0)


def sees() -> dict[str, Any]:
    """Whether tensors of two devices are refused, and how many waits of four are counted."""
    WAITS.clear()
    with second_device() as device:
        there, here = torch.arange(3.0).to(device), torch.arange(3)
        try:
            refused = there + here is None
        except RuntimeError:
            refused = True
        numbers = [there.tolist(), float(there.sum()), there[here > 0].tolist()]
        assert numbers == [[0, 1, 2], 3, [1, 2]]
    return {"refused": refused, "waits": sum(WAITS.values())}


def answered(network: Any, talk: Any) -> tuple[list[Any], list[Any]]:
    """Log-probabilities of all options of some questions; texts, sampled ones among them."""
    backend = TransformersBackend(toys.model("toy", 1024), talk)
    backend._network = network
    asked = toys.questions()
    prompts = [request.messages for request in asked]
    samplings = (Sampling(TOKENS), Sampling(TOKENS, temperature=1.0))

    def ask() -> tuple[list[Any], list[Any]]:
        scored = backend.score(asked, TOKENS)
        written = [backend.generate(prompts, sampling) for sampling in samplings]
        texts = [reply.text for reply in scored], *map(toys.texts, written)
        return [reply.logprobs.tolist() for reply in scored], [*texts]

    ask()  # the architecture is judged once
    WAITS.clear()
    return ask()


def trained(name: str) -> Callable[[Any, Any], tuple[list[Any], list[Any]]]:
    """The loss and the gradient's norm of some steps by an objective; no texts."""

    def train(network: Any, talk: Any) -> tuple[list[Any], list[Any]]:
        make, is_dro = OBJECTIVES[name]
        objective, examples = make(talk.pad), tuning.examples(talk, toys.pairs())
        tuned = lora.add_lora(network, tuning.recipe(lora_dropout=0.0))
        with torch.no_grad():  # the architecture is judged once
            objective.losses(
                tuned, runtime.to_device(objective.collate(examples[:8]), network.device)
            )
        WAITS.clear()
        weighting = group_dro.GroupDROWeighting(examples, 0.1) if is_dro else None
        settings = OptimizerSettings(1e-3, STEPS, 0.1, 0.0, 1.0, gradient_accumulation_steps=2)
        batches = iter([examples[:8]] * STEPS)
        history = loop.train(tuned, batches, settings, objective, weighting)
        return [[record["loss"], record["gradient_norm"]] for record in history], []

    return train


def compared(architecture: str) -> Iterator[dict[str, Any]]:
    """What an architecture does on both devices."""
    talk = toys.chat("llama")
    for name in ("answers", *OBJECTIVES):
        work = answered if name == "answers" else trained(name)
        network = toys.network(architecture, talk.tokenizer)
        elsewhere = copy.deepcopy(network)
        numbers, texts = work(network, talk)
        with second_device() as device:
            numbers_there, texts_there = work(elsewhere.to(device), talk)
        pairs = zip(numbers, numbers_there, strict=True)
        yield {
            "architecture": architecture,
            "work": name,
            "far": max(float(np.abs(np.subtract(*pair)).max()) for pair in pairs),
            "same_texts": texts == texts_there,
            "waits": dict(WAITS),
        }


def main() -> None:
    """Print what is compared."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, Module)
    torch.set_num_threads(1)
    rows = [row for name in sys.argv[1:] for row in compared(name)]
    print(json.dumps({"sees": sees(), "rows": rows}))


if __name__ == "__main__":
    main()
