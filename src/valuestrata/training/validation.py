"""Scores on the part of a split that is never trained on."""

from collections.abc import Sequence
from typing import Any

import torch

from valuestrata.inference import runtime
from valuestrata.training import distributed, objectives
from valuestrata.training.examples import Pair
from valuestrata.training.objective import StepRecord


@torch.no_grad()
def scores(network: Any, pairs: Sequence[Pair], batch_size: int, pad: int) -> StepRecord:
    """Accuracy of the likeliest options, mean Wasserstein-1 distance, and number of pairs.

    Each process reads its part of the pairs, `batch_size` at a time.

    Returns:
        validation_accuracy, validation_wasserstein and validation_n.
    """
    objective = objectives.OptionsObjective(pad)
    mine = sorted(pairs, key=lambda pair: pair.prompt)[
        distributed.rank() :: distributed.world_size()
    ]
    sums = torch.zeros(3, dtype=torch.float64, device=network.device)
    for start in range(0, len(mine), batch_size):
        part = mine[start : start + batch_size]
        batch = runtime.to_device(objective.collate(part), network.device)
        logprobs = objective.logprobs(network, batch)
        hits = objectives.mode_accuracy(logprobs, batch).sum()
        distance = objectives.wasserstein(logprobs, batch).sum()
        sums += torch.stack([hits, distance, torch.full_like(distance, len(part))])
    total_hits, total_distance, n = distributed.all_reduce_sum(sums).tolist()
    return {
        "validation_accuracy": total_hits / n,
        "validation_wasserstein": total_distance / n,
        "validation_n": int(n),
    }
