"""What the loop asks of a method: layout of a batch, its losses, weights of its examples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from valuestrata.training.examples import Example

Batch = dict[str, torch.Tensor]
StepRecord = dict[str, Any]
"""What is logged of a step, by name."""


class Objective(ABC):
    """Examples -> tensors -> losses. Subclass it to lay batches out in another way.

    `collate` lays examples out as tensors on the CPU (the loop moves them), `losses` reads what
    `collate` made. The loop may cut a batch into runs of neighbours before it collates them, and
    weighs the losses.
    """

    reads_forests: ClassVar[bool] = False
    """Whether batches are forests (prefix/forests.py); else they are padded at the left."""

    @abstractmethod
    def collate(self, examples: Sequence[Any]) -> Batch:
        """Tensors of the examples, on the CPU."""

    @abstractmethod
    def losses(self, network: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """[n] the loss of each example, and [n] how accurate its answer is, 0 to 1."""

    @abstractmethod
    def num_tokens(self, batch: Batch) -> int:
        """Tokens that a batch makes the network read, without padding."""


class ExampleWeighting:
    """How much each example counts: as much as its own weight says."""

    reads_losses: ClassVar[bool] = False
    """Whether the weights of a step depend on the losses of the one before."""

    def weights(self, examples: Sequence[Example]) -> list[float]:
        """[n] weights of a batch's examples, before its step."""
        return [example.weight for example in examples]

    def update(self, examples: Sequence[Example], losses: torch.Tensor) -> StepRecord:
        """Note a batch's losses [n]; returns what to add to the step's record."""
        return {}

    def by_group(self) -> dict[str, dict[str, float]]:
        """What to log of each subgroup now and then; nothing here."""
        return {}

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint must keep."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from a kept state."""
