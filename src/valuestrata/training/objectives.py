"""Learning a distribution over answers: losses on the probabilities of whole replies.

Every option of a pair is a whole reply, terminator included, so that "1" is not the beginning of
"10". All of them are read in one pass, as a forest of what they share (prefix/forests.py), and the
gradient is that of one forward pass an option.

Symbols: n pairs, C options of the pair with most, L steps of the longest reply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from valuestrata.prefix import attention, forests, forward
from valuestrata.training.examples import Pair
from valuestrata.training.objective import Batch, Objective

NONE = torch.finfo(torch.float32).min


@dataclass(frozen=True)
class OptionsObjective(Objective):
    """What soft and ordinal recipes share: log p of every option. `pad` fills up the last block."""

    reads_forests: ClassVar[bool] = True
    pad: int

    def collate(self, examples: Sequence[Pair]) -> Batch:
        """The batch's forest, where each option's steps are, and the target.

        The tensors of `forests.to_model_inputs`; nodes: how many there are; column, token, is_step
        [n, C, L]: the kept logit and the token of each step, and whether it is one; exists, mode
        [n, C]; shares, place [n, C]; ordinal [n].
        """
        forest = forests.build_forest(
            [forests.PrefixItem(pair.prompt, pair.options) for pair in examples]
        )
        inputs, kept = forests.to_model_inputs(forest, self.pad)
        n_options = np.array([len(pair.options) for pair in examples])
        exists = np.arange(n_options.max()) < n_options[:, None]
        lengths = np.zeros(exists.shape, dtype=np.int64)
        lengths[exists] = forest.lengths
        is_step = np.arange(lengths.max()) < lengths[..., None]
        column, token = np.zeros(is_step.shape, dtype=np.int64), np.zeros(is_step.shape, np.int64)
        column[is_step], token[is_step] = kept, forest.follows
        shares, place = np.zeros(exists.shape), np.zeros(exists.shape)
        mode = np.zeros(exists.shape, dtype=bool)
        for i, pair in enumerate(examples):
            shares[i, : n_options[i]] = pair.shares
            place[i, : len(pair.place)] = pair.place
            mode[i, : n_options[i]] = [option == pair.reply for option in pair.options]
        return {
            **attention.tensors(inputs),
            "nodes": torch.tensor(len(forest)),
            "column": torch.from_numpy(column),
            "token": torch.from_numpy(token),
            "is_step": torch.from_numpy(is_step),
            "exists": torch.from_numpy(exists),
            "mode": torch.from_numpy(mode),
            "shares": torch.from_numpy(shares).float(),
            "place": torch.from_numpy(place).float(),
            "ordinal": torch.tensor([bool(pair.place) for pair in examples]),
        }

    def logprobs(self, network: Any, batch: Batch) -> torch.Tensor:
        """[n, C] log p of each option as a whole reply, in fp32; NONE where there is no option."""
        logits = forward.forest_logits(network, batch, use_cache=False).float()
        steps = logits.log_softmax(dim=-1)[batch["column"], batch["token"]]
        return steps.where(batch["is_step"], 0.0).sum(dim=-1).where(batch["exists"], NONE)

    def losses(self, network: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of each pair, and 1 where its likeliest option is the subgroup's mode."""
        logprobs = self.logprobs(network, batch)
        return self.loss(logprobs, batch), mode_accuracy(logprobs, batch)

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """[n] loss of the options' log-probabilities [n, C]."""
        raise NotImplementedError

    def num_tokens(self, batch: Batch) -> int:
        """Nodes of the forest."""
        return int(batch["nodes"])


class SoftObjective(OptionsObjective):
    """Cross-entropy to the subgroup's distribution over its options.

    The probabilities are those of whole replies and add up to less than 1, so that mass on no
    option is unlearned, too: the loss is -log(mass on the options) plus the cross-entropy between
    the two distributions over them.
    """

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """[n] in nats."""
        return -(batch["shares"] * logprobs).sum(dim=1)


class OrdinalObjective(OptionsObjective):
    """Wasserstein-1 distance to the subgroup's distribution, the scale's width as 1.

    Of the distributions on the scale, as metrics/distribution.py has it; a nominal question has no
    scale, and where every two codes are 1 apart the distance is the total variation. What it leaves
    open is how much mass the options have at all: a model that refuses would go on refusing. So
    -log(mass on the scale) is added; it does not say how the mass lies, and ends at 0.
    """

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """[n] distance plus -log(mass), in nats."""
        mass = logprobs.where(on_scale(batch), NONE).logsumexp(dim=1)
        return wasserstein(logprobs, batch) - mass


def on_scale(batch: Batch) -> torch.Tensor:
    """[n, C] options whose codes lie on the scale; all of a nominal question's."""
    place = batch["place"]
    inside = (place > -1e-6) & (place < 1 + 1e-6)
    return batch["exists"] & (inside | ~batch["ordinal"][:, None])


def wasserstein(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """[n] Wasserstein-1 distance to the subgroup on the scale; total variation if nominal."""
    counts = on_scale(batch)
    people = batch["shares"].where(counts, 0.0)
    people = people / people.sum(dim=1, keepdim=True).clamp(min=1e-12)
    gap = logprobs.where(counts, NONE).softmax(dim=1) - people
    step = torch.diff(batch["place"], dim=1, append=batch["place"][:, -1:])
    step = step.where(counts & torch.roll(counts, -1, dims=1), 0.0)
    along_scale = (gap.cumsum(dim=1).abs() * step).sum(dim=1)
    return torch.where(batch["ordinal"], along_scale, gap.abs().sum(dim=1) / 2)


def mode_accuracy(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """[n] 1 where the likeliest option is the subgroup's mode, ties to the lowest code."""
    best = logprobs.argmax(dim=1, keepdim=True)
    return batch["mode"].gather(1, best)[:, 0].float()
