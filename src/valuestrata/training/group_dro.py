"""The worst subgroup first: pairs of the subgroups with the highest loss weigh more and more.

Symbols: G subgroups, n pairs of a batch.
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import torch

from valuestrata.training.examples import Example
from valuestrata.training.objective import ExampleWeighting, StepRecord

MOMENTUM = 0.1
"""Weight of a new loss in a group's running mean."""


class GroupDROWeighting(ExampleWeighting):
    """Group distributionally robust optimisation (Sagawa et al. 2020, algorithm 1), online.

    Minimises the loss of the mixture of subgroups that is worst for the model: sum over g of
    q_g L_g, where q ascends by exponentiated gradient: q_g is multiplied by exp(step_size * L_g)
    and normalised to sum 1 after every step. Batches are drawn over all pairs, not over groups,
    so a pair weighs q_g / p_g, p_g its subgroup's share of the pairs, and L_g is estimated by
    (1 / n p_g) times the sum of its losses in the batch: both without bias.
    """

    reads_losses: ClassVar[bool] = True

    def __init__(self, data: Sequence[Example], step_size: float) -> None:
        """Start from equal weights."""
        pairs = Counter(example.group for example in data)
        self.names = list(pairs)
        self.index = {name: g for g, name in enumerate(self.names)}
        self.share = torch.tensor([pairs[name] for name in self.names]).double() / len(data)
        self.step_size = step_size
        self.q = torch.full((len(pairs),), 1 / len(pairs), dtype=torch.float64)
        self.running = torch.full((len(pairs),), torch.nan, dtype=torch.float64)

    def weights(self, examples: Sequence[Example]) -> list[float]:
        """[n] q_g / p_g of each example, times its own weight."""
        ratio = self.q / self.share
        return [float(ratio[self.index[e.group]]) * e.weight for e in examples]

    def update(self, examples: Sequence[Example], losses: torch.Tensor) -> StepRecord:
        """Move q; records the worst running loss, whose it is, and the weights and losses [G]."""
        g = torch.tensor([self.index[example.group] for example in examples])
        total = torch.zeros_like(self.q).index_add(0, g, losses)
        n = torch.zeros_like(self.q).index_add(0, g, torch.ones_like(losses))
        mean = total / n
        before = self.running.where(self.running.isfinite(), mean)
        self.running = torch.where(n > 0, before + MOMENTUM * (mean - before), self.running)
        gradient = total / (len(examples) * self.share)
        self.q = (self.q.log() + self.step_size * gradient).softmax(dim=0)
        worst = int(self.running.nan_to_num(nan=-torch.inf).argmax())
        return {
            "worst_group": self.names[worst],
            "worst_group_loss": float(self.running[worst]),
            "worst_group_weight": float(self.q[worst]),
            "largest_weight": float(self.q.max()),
        }

    def state(self) -> dict[str, torch.Tensor]:
        """Weights and running losses."""
        return {"q": self.q, "running": self.running}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from them."""
        self.q, self.running = state["q"].clone(), state["running"].clone()

    def by_group(self) -> dict[str, dict[str, float]]:
        """Weight and running loss of each subgroup seen, by name."""
        return {
            name: {"weight": float(q), "loss": float(loss)}
            for name, q, loss in zip(self.names, self.q, self.running, strict=True)
            if loss.isfinite()
        }
