"""Layers of a network compiled by torch: norms, rotary, gate and LoRA in fewer, larger kernels."""

import logging
from collections.abc import Sequence
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.inference import runtime
from valuestrata.prefix import forward, plain
from valuestrata.training import outcome
from valuestrata.training.examples import Example
from valuestrata.training.objective import Objective

log = logging.getLogger(__name__)

TRIED = 2
"""Examples of the gradient that is tried: no more than any recipe has room for."""


def compile_layers(tuned: Any, examples: Sequence[Example], pad: int, objective: Objective) -> None:
    """Compile each layer of the decoder, once for batches of any shape.

    Weights and names stay as they are. The first examples are read before and after, and a gradient
    is computed once, since a compiler may fail there alone.

    Args:
        tuned: the network with its adapter.
        examples: what it will learn.
        pad: fills up short rows.
        objective: how it will learn it.

    Raises:
        InputError: torch cannot compile the layers, or they give other logits then.
    """
    layers = getattr(plain.base_of(tuned).get_decoder(), "layers", None)
    if not layers:
        raise InputError("recipe: compile_layers: the network has no list of layers; leave it out")
    before = outcome.probe_logits(tuned, examples, pad)
    for layer in layers:
        layer.compile(dynamic=True)
    try:
        after = outcome.probe_logits(tuned, examples, pad)
        _try_gradient(tuned, examples[:TRIED], objective)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of torch, of a compiler, or of an architecture yet to come
        raise InputError(
            f"recipe: compile_layers: torch cannot compile the network "
            f"({forward.first_line(error)}); leave it out"
        ) from None
    nats, deviations = forward.differences(after.flatten(0, 1), before.flatten(0, 1))
    if deviations > forward.tolerance(tuned.dtype):
        raise InputError(
            f"recipe: compile_layers: compiled layers are off by {nats:.2g} nats; leave it out"
        )
    log.info("%d layers compiled; log-probabilities the same to %.1g nats", len(layers), nats)


def _try_gradient(tuned: Any, examples: Sequence[Example], objective: Objective) -> None:
    """Learn from examples as in a step, and forget it."""
    tuned.train()
    batch = runtime.to_device(objective.collate(examples), tuned.device)
    losses, _ = objective.losses(tuned, batch)
    losses.mean().backward()
    tuned.zero_grad(set_to_none=True)
    tuned.eval()
