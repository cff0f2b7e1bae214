"""What a training has done: how far the logits moved, and the log that is kept of it."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.inference import runtime
from valuestrata.training import distributed
from valuestrata.training.completion import CompletionObjective
from valuestrata.training.examples import Example
from valuestrata.training.objective import StepRecord

log = logging.getLogger(__name__)

PROBE = 8
"""Examples on which the change of the logits is measured."""


@torch.no_grad()
def probe_logits(network: Any, examples: Sequence[Example], pad: int) -> torch.Tensor:
    """Logits at the replies of the first examples, on the CPU; leaves evaluation mode on."""
    network.eval()
    device = next(network.parameters()).device
    objective = CompletionObjective(pad)
    batch = runtime.to_device(objective.collate(examples[:PROBE]), device)
    return objective.logits(network, batch).float().cpu()


def mean_logit_change(before: torch.Tensor, after: torch.Tensor) -> float:
    """Mean |change| of logits.

    Raises:
        InputError: it is 0 or no finite number, so the adapter does nothing or is broken.
    """
    change = float((after - before).abs().mean())
    if not 0 < change < math.inf:
        raise InputError(
            f"recipe: learning_rate: the tuned adapter changes logits by {change}; "
            f"{'lower' if change else 'raise'} it"
        )
    log.info("mean logit change: %.2g", change)
    return change


def training_log(
    examples: int,
    validation: int,
    logit_change: float,
    steps: list[StepRecord],
    passes: str | None,
) -> dict[str, Any]:
    """What is kept of a training.

    Returns:
        examples: trained on. validation: pairs that were not. processes, tokens_per_second.
        mean_logit_change: at the replies of the first examples; 0 would mean an adapter that does
        nothing. passes: how forests were read (passes.check_passes). steps: a record of each.
    """
    seconds = sum(record["seconds"] for record in steps)
    return {
        "examples": examples,
        "validation": validation,
        "processes": distributed.world_size(),
        "tokens_per_second": sum(record["tokens"] for record in steps) / seconds,
        "mean_logit_change": logit_change,
        "passes": passes,
        "steps": steps,
    }
