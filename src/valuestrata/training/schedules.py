"""The optimiser's settings, and the course of the learning rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from valuestrata.study.recipes import Recipe


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its course.

    Attributes:
        learning_rate: the peak.
        max_steps: optimiser steps of the whole training.
        warmup_ratio: share of the steps in which the rate rises.
        weight_decay: AdamW's.
        max_grad_norm: gradients are clipped to this norm.
        lr_scheduler_type: a name of SCHEDULES.
        gradient_accumulation_steps: forward passes that a batch is cut into.
        seed: of what a step draws by chance.
    """

    learning_rate: float
    max_steps: int
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    lr_scheduler_type: str = "linear"
    gradient_accumulation_steps: int = 1
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate at a step, counted from 0."""
        return self.learning_rate * self.share_of_peak(step)

    def share_of_peak(self, step: int) -> float:
        """The same as a share of its peak."""
        return SCHEDULES[self.lr_scheduler_type](step, self)


def optimizer_settings(
    recipe: Recipe, max_steps: int, gradient_accumulation_steps: int = 1
) -> OptimizerSettings:
    """The settings of a recipe's training."""
    return OptimizerSettings(
        learning_rate=recipe.learning_rate,
        max_steps=max_steps,
        warmup_ratio=recipe.warmup_ratio,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        lr_scheduler_type=recipe.lr_scheduler_type,
        gradient_accumulation_steps=gradient_accumulation_steps,
        seed=recipe.seed,
    )


def _progress(step: int, settings: OptimizerSettings) -> tuple[float, float]:
    """Shares of the warm-up, and of the steps after it, that are over; both 0 to 1."""
    warmup = max(1, round(settings.warmup_ratio * settings.max_steps))
    if step < warmup:
        return (step + 1) / warmup, 0.0
    return 1.0, min(1.0, (step - warmup) / max(1, settings.max_steps - warmup))


def _linear(step: int, settings: OptimizerSettings) -> float:
    risen, elapsed = _progress(step, settings)
    return risen * (1 - elapsed)


def _cosine(step: int, settings: OptimizerSettings) -> float:
    risen, elapsed = _progress(step, settings)
    return risen * (1 + math.cos(math.pi * elapsed)) / 2


def _constant(step: int, settings: OptimizerSettings) -> float:
    return _progress(step, settings)[0]


SCHEDULES: dict[str, Callable[[int, OptimizerSettings], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "constant": _constant,
}
"""Name -> share of the peak learning rate at a step, counted from 0, after its warm-up."""
