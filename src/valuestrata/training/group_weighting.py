"""How much each subgroup counts in training: equal shares, favoured groups, or the worst first.

Symbols: G subgroups, n pairs of a batch.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from valuestrata.survey.tally import subgroup_groups
from valuestrata.training import loop

E = TypeVar("E", bound=loop.Example)
RUNNING = 0.1
"""Weight of a new loss in a group's running mean."""


def balanced(data: Sequence[E], balance: str, favour: Mapping[str, float], seed: int) -> list[E]:
    """The examples so that every subgroup counts as much as the others, `favour` times over.

    A pair's importance is 1 / (pairs of its subgroup), times the factor of each of the subgroup's
    groups that `favour` names (axis=group).

    Args:
        data: the training pairs.
        balance: weight: importance weighs the loss, 1 on average. upsample: each pair is repeated
            in proportion to its importance, the least important ones once; fractions are drawn.
            none: as they are.
        favour: axis=group -> factor.
        seed: of the draw.
    """
    if balance == "none":
        return list(data)
    pairs = Counter(example.group for example in data)
    factor = {group: _favoured(group, favour) for group in pairs}
    importance = np.array([factor[e.group] / pairs[e.group] for e in data])
    if balance == "weight":
        weights = importance / importance.mean()
        return [dataclasses.replace(e, weight=float(w)) for e, w in zip(data, weights, strict=True)]
    times = importance / importance.min()
    draw = np.random.default_rng(seed).random(len(data))
    repeats = np.floor(times + draw * (1 - 1e-9)).astype(int)
    return [e for e, n in zip(data, repeats, strict=True) for _ in range(n)]


def _favoured(subgroup: str, favour: Mapping[str, float]) -> float:
    own = (f"{axis}={group}" for axis, group in subgroup_groups(subgroup).items())
    return float(np.prod([favour.get(name, 1.0) for name in own]))


class GroupDRO(loop.ExampleWeighting):
    """Group distributionally robust optimisation (Sagawa et al. 2020, algorithm 1), online.

    Minimises the loss of the mixture of subgroups that is worst for the model: sum over g of
    q_g L_g, where q ascends by exponentiated gradient: q_g is multiplied by exp(step_size * L_g)
    and brought back to sum 1 after every step. Batches are drawn over all pairs, not over groups,
    so a pair weighs q_g / p_g, p_g its subgroup's share of the pairs, and L_g is estimated by
    (1 / n p_g) times the sum of its losses in the batch: both without bias.
    """

    def __init__(self, data: Sequence[loop.Example], step_size: float) -> None:
        """Start from equal weights."""
        pairs = Counter(example.group for example in data)
        self.names = list(pairs)
        self.place = {name: g for g, name in enumerate(self.names)}
        self.share = torch.tensor([pairs[name] for name in self.names]).double() / len(data)
        self.step_size = step_size
        self.q = torch.full((len(pairs),), 1 / len(pairs), dtype=torch.float64)
        self.running = torch.full((len(pairs),), torch.nan, dtype=torch.float64)

    def of(self, part: Sequence[loop.Example]) -> list[float]:
        """[n] q_g / p_g of each example, times its own weight."""
        ratio = self.q / self.share
        return [float(ratio[self.place[e.group]]) * e.weight for e in part]

    def update(self, part: Sequence[loop.Example], losses: torch.Tensor) -> loop.Record:
        """Move q; records the worst running loss, whose it is, and the weights and losses [G]."""
        g = torch.tensor([self.place[example.group] for example in part])
        total = torch.zeros_like(self.q).index_add(0, g, losses)
        seen = torch.zeros_like(self.q).index_add(0, g, torch.ones_like(losses))
        mean = total / seen
        known = self.running.where(self.running.isfinite(), mean)
        self.running = torch.where(seen > 0, known + RUNNING * (mean - known), self.running)
        self.q = (self.q.log() + self.step_size * total / (len(part) * self.share)).softmax(dim=0)
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
        """Go on from them."""
        self.q, self.running = state["q"].clone(), state["running"].clone()

    def by_group(self) -> dict[str, dict[str, float]]:
        """Weight and running loss of each subgroup seen, by name."""
        return {
            name: {"weight": float(q), "loss": float(loss)}
            for name, q, loss in zip(self.names, self.q, self.running, strict=True)
            if loss.isfinite()
        }
