"""The process that runs a model: its settings, and copies that nothing waits for."""

import importlib
from collections.abc import Callable

import torch


def prepare(threads: int) -> None:
    """Use as many threads as the rule was given, and keep progress bars out of logs.

    Warnings stay: they say what may be wrong with weights, adapters and tokenizers. A second busy
    process makes torch many times slower once both use all cores.
    """
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    _import_without_sklearn()


def _import_without_sklearn() -> None:
    """Import what every model needs of transformers, without scikit-learn and SciPy.

    Assisted generation alone would use them, nothing here does, and to import them takes as long
    as torch.
    """
    from transformers import utils

    available = utils.is_sklearn_available
    utils.is_sklearn_available = lambda: False
    try:
        importlib.import_module("transformers.generation.candidate_generator")
    finally:
        utils.is_sklearn_available = available


def to_device_async(tensor: torch.Tensor, where: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device, without waiting for what the device still has to do.

    From memory that may be swapped out, CUDA copies when all before it is done.
    """
    if where.type == "cuda":
        return tensor.pin_memory().to(where, non_blocking=True)
    return tensor.to(where)


def to_device(batch: dict[str, torch.Tensor], where: torch.device) -> dict[str, torch.Tensor]:
    """A batch's tensors on a device, none waited for; single numbers stay where the host has them.

    A number of the host's goes into any operation of a device, and to ask for it waits for nothing.
    """
    return {k: v if v.dim() == 0 else to_device_async(v, where) for k, v in batch.items()}


def to_host_async(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Start to copy a tensor to the CPU; calling what is returned waits for this copy alone."""
    if not tensor.is_cuda:
        return tensor.cpu
    copy = tensor.to("cpu", non_blocking=True)
    copied = torch.cuda.current_stream(tensor.device).record_event()

    def wait() -> torch.Tensor:
        copied.synchronize()
        return copy

    return wait
