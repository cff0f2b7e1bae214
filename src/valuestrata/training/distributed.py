"""One training over several processes, a GPU each, as torchrun or accelerate start them.

Every process holds the whole model and reads its own part of each batch; gradients and losses are
summed. A training that was started as one process takes no part in any of this.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn

import torch


@cache
def _state() -> Any:
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def world_size() -> int:
    """How many processes there are."""
    return int(_state().num_processes)


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(_state().process_index)


def is_launched() -> bool:
    """Whether this process was started as one of several."""
    return "LOCAL_RANK" in os.environ


def relaunch(processes: int) -> NoReturn:
    """Replace this process by several that run the same command line, one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, "-m", "valuestrata", *sys.argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """The sum over the processes of a tensor, on this process' device."""
    if world_size() == 1:
        return tensor
    from accelerate.utils import reduce

    return torch.as_tensor(reduce(tensor.to(_state().device), "sum"))


def sync_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Replace each gradient by its sum over the processes; a process without one adds nothing."""
    if world_size() == 1:
        return
    from accelerate.utils import reduce

    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    total: Any = reduce(torch.cat([g.flatten() for g in grads]), "sum")
    for p, grad in zip(parameters, total.split([g.numel() for g in grads]), strict=True):
        p.grad = grad.view_as(p)


@contextmanager
def distributed_context() -> Iterator[bool]:
    """Join the processes that were started with this one; gives whether this one is the first.

    The first writes, files as well as the log's lines. They part at the end of the block, once all
    have come there.
    """
    state = _state()
    if not state.is_main_process:
        logging.getLogger("valuestrata").setLevel(logging.WARNING)
    yield bool(state.is_main_process)
    state.wait_for_everyone()
    state.destroy_process_group()
