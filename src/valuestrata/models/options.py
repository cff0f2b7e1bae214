"""Learning a distribution over answers: losses on the probabilities of whole replies.

Every option of a pair is a whole reply, terminator included, so that "1" is not the beginning of
"10". All of them are read in one pass, as a tree below the pair's prompt (models/trie.py), and the
gradient is that of one forward pass an option.

Symbols: n pairs, C options of the pair with most, L steps of the longest reply, K logits a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from valuestrata.models import loop, trie

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
    """What soft and ordinal recipes share: log p of every option. `pad` fills up short rows."""

    pad: int

    def collate(self, part: Sequence[Pair]) -> loop.Batch:
        """A tree a pair: the network's inputs, where each option's steps are, and the target.

        column, token, counts [n, C, L]: the kept logit and the token of each step, and whether it
        is one; exists, mode [n, C]; shares, place [n, C]; ordinal [n].
        """
        trees = []
        for pair in part:
            trees.append(trie.Tree.empty())
            trees[-1].add(trie.Item(pair.prompt, pair.options))
        laid = trie.batch(trees, self.pad)
        most = max(len(pair.options) for pair in part)
        shape = (len(part), most, max(len(o) for pair in part for o in pair.options))
        column, token = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        counts = np.zeros(shape, dtype=bool)
        shares, place = np.zeros(shape[:2]), np.zeros(shape[:2])
        mode, exists = np.zeros(shape[:2], dtype=bool), np.zeros(shape[:2], dtype=bool)
        for i, (pair, tree) in enumerate(zip(part, trees, strict=True)):
            own = len(pair.options)
            for k, path in enumerate(tree.paths[0]):
                column[i, k, : len(path)] = [laid.place[i][node] for node, _ in path]
                token[i, k, : len(path)] = [step for _, step in path]
                counts[i, k, : len(path)] = True
            exists[i, :own] = True
            shares[i, :own] = pair.shares
            place[i, : len(pair.place)] = pair.place
            mode[i, :own] = [option == pair.reply for option in pair.options]
        return {
            "input_ids": torch.from_numpy(laid.tokens),
            "attends": torch.from_numpy(laid.attends),
            "position_ids": torch.from_numpy(laid.depth),
            "nodes": torch.tensor([len(tree) for tree in trees]),
            "kept": torch.tensor(laid.keep),
            "column": torch.from_numpy(column),
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
        logits = network(
            input_ids=batch["input_ids"],
            attention_mask=trie.mask(batch["attends"], network.dtype),
            position_ids=batch["position_ids"],
            logits_to_keep=int(batch["kept"]),
            use_cache=False,
        ).logits.float()
        row = torch.arange(len(logits), device=logits.device)[:, None, None]
        steps = logits[row, batch["column"], batch["token"]]
        steps = steps - logits.logsumexp(dim=-1)[row, batch["column"]]
        return steps.where(batch["counts"], 0.0).sum(dim=-1).where(batch["exists"], NONE)

    def losses(self, network: Any, batch: loop.Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of each pair, and 1 where its likeliest option is the subgroup's mode."""
        logprobs = self.logprobs(network, batch)
        return self.loss(logprobs, batch), hits(logprobs, batch)

    def loss(self, logprobs: torch.Tensor, batch: loop.Batch) -> torch.Tensor:
        """[n] loss of the options' log-probabilities [n, C]."""
        raise NotImplementedError

    def read(self, batch: loop.Batch) -> int:
        """Nodes of the trees."""
        return int(batch["nodes"].sum())


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


def hits(logprobs: torch.Tensor, batch: loop.Batch) -> torch.Tensor:
    """[n] 1 where the likeliest option is the subgroup's mode, ties to the lowest code."""
    best = logprobs.argmax(dim=1, keepdim=True)
    return batch["mode"].gather(1, best)[:, 0].float()
