"""Learning a distribution over answers: losses on the probabilities of whole replies.

Every option of a pair is a whole reply, terminator included, so that "1" is not the beginning of
"10". All of them are read in one pass, as a forest of what they share (models/trie.py), and the
gradient is that of one forward pass an option.

Symbols: n pairs, C options of the pair with most, L steps of the longest reply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from valuestrata.prefix import attention, forests
from valuestrata.training import loop

NONE = torch.finfo(torch.float32).min


@dataclass(frozen=True)
class Pair(loop.Example):
    """A (subgroup, question) with all of its answers; `reply` is the modal one.

    options: whole replies, one a code [C]; shares: how many of the subgroup give each [C];
    place: where each code lies between the ends of the scale, 0 and 1 [C]; off-scale codes lie
    outside. Of a nominal question it is empty.
    """

    options: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...]
    place: tuple[float, ...]
    question: str


@dataclass(frozen=True)
class Options(loop.Objective):
    """What soft and ordinal recipes share: log p of every option. `pad` fills up the last block."""

    pad: int

    def collate(self, part: Sequence[Pair]) -> loop.Batch:
        """The batch's forest, where each option's steps are, and the target.

        The tensors of `forests.to_model_inputs`; nodes: how many there are; column, token, counts [n, C, L]:
        the kept logit and the token of each step, and whether it is one; exists, mode [n, C];
        shares, place [n, C]; ordinal [n].
        """
        forest = forests.build_forest(
            [forests.PrefixItem(pair.prompt, pair.options) for pair in part]
        )
        laid, column = forests.to_model_inputs(forest, self.pad)
        own = np.array([len(pair.options) for pair in part])
        exists = np.arange(own.max()) < own[:, None]
        lengths = np.zeros(exists.shape, dtype=np.int64)
        lengths[exists] = forest.lengths
        counts = np.arange(lengths.max()) < lengths[..., None]
        columns, token = np.zeros(counts.shape, dtype=np.int64), np.zeros(counts.shape, np.int64)
        columns[counts], token[counts] = column, forest.follows
        shares, place = np.zeros(exists.shape), np.zeros(exists.shape)
        mode = np.zeros(exists.shape, dtype=bool)
        for i, pair in enumerate(part):
            shares[i, : own[i]] = pair.shares
            place[i, : len(pair.place)] = pair.place
            mode[i, : own[i]] = [option == pair.reply for option in pair.options]
        return {
            **attention.tensors(laid),
            "nodes": torch.tensor(len(forest)),
            "column": torch.from_numpy(columns),
            "token": torch.from_numpy(token),
            "counts": torch.from_numpy(counts),
            "exists": torch.from_numpy(exists),
            "mode": torch.from_numpy(mode),
            "shares": torch.from_numpy(shares).float(),
            "place": torch.from_numpy(place).float(),
            "ordinal": torch.tensor([bool(pair.place) for pair in part]),
        }

    def logprobs(self, network: Any, batch: loop.Batch) -> torch.Tensor:
        """[n, C] log p of each option as a whole reply, in fp32; NONE where there is no option."""
        logits = attention.forest_forward(network, batch, use_cache=False).logits[0].float()
        steps = logits.log_softmax(dim=-1)[batch["column"], batch["token"]]
        return steps.where(batch["counts"], 0.0).sum(dim=-1).where(batch["exists"], NONE)

    def losses(self, network: Any, batch: loop.Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of each pair, and 1 where its likeliest option is the subgroup's mode."""
        logprobs = self.logprobs(network, batch)
        return self.loss(logprobs, batch), token_accuracy(logprobs, batch)

    def loss(self, logprobs: torch.Tensor, batch: loop.Batch) -> torch.Tensor:
        """[n] loss of the options' log-probabilities [n, C]."""
        raise NotImplementedError

    def num_tokens(self, batch: loop.Batch) -> int:
        """Nodes of the forest."""
        return int(batch["nodes"])


class Soft(Options):
    """Cross-entropy to the subgroup's distribution over its options.

    The probabilities are those of whole replies and add up to less than 1, so that mass on no
    option is unlearned, too: the loss is -log(mass on the options) plus the cross-entropy between
    the two distributions over them.
    """

    def loss(self, logprobs: torch.Tensor, batch: loop.Batch) -> torch.Tensor:
        """[n] in nats."""
        return -(batch["shares"] * logprobs).sum(dim=1)


class Ordinal(Options):
    """Wasserstein-1 distance to the subgroup's distribution, the scale's width as 1.

    Of the distributions on the scale, as metrics/distribution.py has it; a nominal question has no
    scale, and where every two codes are 1 apart the distance is the total variation. What it leaves
    open is how much mass the options have at all: a model that refuses would go on refusing. So
    -log(mass on the scale) is added; it does not say how the mass lies, and ends at 0.
    """

    def loss(self, logprobs: torch.Tensor, batch: loop.Batch) -> torch.Tensor:
        """[n] distance plus -log(mass), in nats."""
        on = on_scale(batch)
        mass = logprobs.where(on, NONE).logsumexp(dim=1)
        return wasserstein(logprobs, batch) - mass


def on_scale(batch: loop.Batch) -> torch.Tensor:
    """[n, C] options whose codes lie on the scale; all of a nominal question's."""
    place = batch["place"]
    inside = (place > -1e-6) & (place < 1 + 1e-6)
    return batch["exists"] & (inside | ~batch["ordinal"][:, None])


def wasserstein(logprobs: torch.Tensor, batch: loop.Batch) -> torch.Tensor:
    """[n] Wasserstein-1 distance to the subgroup on the scale; total variation if nominal."""
    on = on_scale(batch)
    people = batch["shares"].where(on, 0.0)
    people = people / people.sum(dim=1, keepdim=True).clamp(min=1e-12)
    gap = logprobs.where(on, NONE).softmax(dim=1) - people
    step = torch.diff(batch["place"], dim=1, append=batch["place"][:, -1:])
    step = step.where(on & torch.roll(on, -1, dims=1), 0.0)
    along = (gap.cumsum(dim=1).abs() * step).sum(dim=1)
    return torch.where(batch["ordinal"], along, gap.abs().sum(dim=1) / 2)


def token_accuracy(logprobs: torch.Tensor, batch: loop.Batch) -> torch.Tensor:
    """[n] 1 where the likeliest option is the subgroup's mode, ties to the lowest code."""
    best = logprobs.argmax(dim=1, keepdim=True)
    return batch["mode"].gather(1, best)[:, 0].float()
