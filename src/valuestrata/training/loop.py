"""The training loop shared by fine-tunes and toys.

The loop steps through the batches it is given, logs and saves; an `Objective` says how a batch is
laid out and what is learned from it, a `ExampleWeighting` how much each example counts. The loop knows
neither prompts nor options. `CompletionObjective` is the plain one: prompts are read,
replies are learned, logits are computed at reply positions only.

A step's batch is cut into equal runs of examples, one a process and accumulation pass, and its
gradient is the sum over all of them: what is learned does not depend on how many there are. All
that a step draws by chance (dropout) comes from the seed, the step's number and the process, and
the order of batches from the seed alone, so that a run that goes on from a saved step ends where
one in one go does.
"""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from valuestrata.inference import runtime
from valuestrata.provenance import text_digest
from valuestrata.training import distributed
from valuestrata.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)

POOL = 32
"""Batches that are sorted by length together; wider pools pad less and shuffle less."""
N_EVALS = 10
"""How often in a training progress is measured and told."""

Batch = dict[str, torch.Tensor]
Record = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A prompt and the reply to learn, terminator included, as token ids.

    group: the subgroup it belongs to; weight: how much it counts in the loss, 1 on average.
    """

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    group: str = field(default="", kw_only=True)
    weight: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class Settings:
    """Optimisation. learning_rate rises for `warmup`, a share of the steps, then has a `schedule`.

    accumulate: forward passes that a batch is cut into; seed: of what a step draws by chance.
    """

    learning_rate: float
    steps: int
    warmup: float
    weight_decay: float
    gradient_norm: float
    schedule: str = "linear"
    accumulate: int = 1
    seed: int = 0


class Objective(ABC):
    """Examples -> tensors -> losses. Subclass it to lay batches out in another way.

    `collate` lays examples out as tensors on the CPU (the loop moves them), `losses` reads what
    `collate` made. The loop may cut a batch into runs of neighbours before it collates them, and
    weighs the losses.
    """

    @abstractmethod
    def collate(self, part: Sequence[Any]) -> Batch:
        """Tensors of the examples, on the CPU."""

    @abstractmethod
    def losses(self, network: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """[n] the loss of each example, and [n] how far it is answered rightly, 0 to 1."""

    @abstractmethod
    def num_tokens(self, batch: Batch) -> int:
        """Tokens that a batch makes the network read, padding left out."""


class ExampleWeighting:
    """How much each example counts: as much as its own weight says."""

    def of(self, part: Sequence[Example]) -> list[float]:
        """[n] weights of a batch's examples, before its step."""
        return [example.weight for example in part]

    def update(self, part: Sequence[Example], losses: torch.Tensor) -> Record:
        """Take note of a batch's losses [n]; returns what to add to the step's record."""
        return {}

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint must keep."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a kept state."""


@dataclass(frozen=True)
class CompletionObjective(Objective):
    """Cross-entropy of the replies' tokens; `pad` fills up short rows.

    A reply's loss is the mean over its tokens, so that a long reply weighs as much as a short one.
    """

    pad: int

    def collate(self, part: Sequence[Example]) -> Batch:
        """See `collate`."""
        return collate(part, self.pad)

    def losses(self, network: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss, and the share of the reply's tokens that greedy decoding token_accuracy."""
        labels = batch["labels"]
        logits = self.logits(network, batch)
        each = stable_nll(logits, labels)
        tokens = (labels != -100).sum(dim=1)
        token_accuracy = (logits.argmax(dim=-1) == labels).sum(dim=1) / tokens
        return each.sum(dim=1) / tokens, token_accuracy

    def logits(self, network: Any, batch: Batch) -> torch.Tensor:
        """[n, K, vocabulary] what predicts the labels."""
        return network(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            position_ids=batch["position_ids"],
            logits_to_keep=batch["labels"].shape[1],
            use_cache=False,
        ).logits

    def num_tokens(self, batch: Batch) -> int:
        """Real tokens."""
        return int(batch["attention_mask"].sum())


def stable_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log p of each label in fp32, 0 where the label is -100.

    As log(1 + sum of exp(x_j - x_label) over the other tokens j): so the gradient of a token that
    is nearly certain keeps its digits, which p - 1 loses.

    Args:
        logits: [..., vocabulary].
        labels: [...] token ids, or -100.
    """
    own = labels.clamp(min=0)[..., None]
    logits = logits.float()
    others = logits.scatter(-1, own, -torch.inf).logsumexp(dim=-1)
    found = torch.nn.functional.softplus(others - logits.gather(-1, own)[..., 0])
    return found.where(labels != -100, 0.0)


def make_batches(
    examples: Sequence[Example], size: int, epochs: int, seed: int
) -> Iterator[list[Example]]:
    """Batches of all examples, each epoch in another order; like lengths come together."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(examples))
        parts: list[list[int]] = []
        for start in range(0, len(order), size * POOL):
            pool = sorted(
                order[start : start + size * POOL].tolist(),
                key=lambda i: len(examples[i].prompt) + len(examples[i].reply),
            )
            parts += [pool[i : i + size] for i in range(0, len(pool), size)]
        for part in rng.permutation(len(parts)):
            yield [examples[i] for i in parts[part]]


def collate(batch: Sequence[Example], pad: int) -> Batch:
    """input_ids, attention_mask, position_ids, all [n, T], and labels [n, K] of the last K columns.

    Padded at the left, so that replies are the last columns. labels[i, j] is the token that column
    j predicts, or -100 where it predicts none of a reply.
    """
    longest = max(len(e.prompt) + len(e.reply) for e in batch)
    keep = max(len(e.reply) for e in batch) + 1
    tokens = torch.full((len(batch), longest), pad)
    mask = torch.zeros_like(tokens)
    labels = torch.full((len(batch), keep), -100)
    for row, example in enumerate(batch):
        ids = torch.tensor([*example.prompt, *example.reply])
        tokens[row, longest - len(ids) :] = ids
        mask[row, longest - len(ids) :] = 1
        reply = torch.tensor(example.reply)
        labels[row, keep - 1 - len(reply) : keep - 1] = reply
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    return {
        "input_ids": tokens,
        "attention_mask": mask,
        "position_ids": positions,
        "labels": labels,
    }


def train(
    network: Any,
    parts: Iterator[list[Any]],
    settings: Settings,
    objective: Objective,
    weighting: ExampleWeighting | None = None,
    measure: Callable[[], Record] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Record]:
    """Minimise the weighted mean loss over the batches given; returns one record a step.

    Args:
        network: what is tuned, by the parameters that require a gradient.
        parts: batches of examples, from the first step on.
        settings: of the optimisation.
        objective: what is learned from a batch.
        weighting: how much each example counts; its own weight by default.
        measure: called N_EVALS times, the network in evaluation mode; adds to the step's record.
        checkpoint: where to save the state now and then, and to go on from if it holds any.

    Returns:
        For each step: step, loss (unweighted mean), token_accuracy, learning_rate, gradient_norm (before
        clipping), tokens (read, padding left out) and seconds; what `weighting` and `measure` add.

    Raises:
        FloatingPointError: a loss is no finite number.
    """
    weighting = weighting or ExampleWeighting()
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        trained.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    history = _resumed(checkpoint, trained, optimizer, weighting)
    often = max(1, settings.steps // N_EVALS)
    left = islice(parts, len(history), settings.steps)
    ahead = (_collate_microbatches(part, objective, settings.accumulate) for part in left)
    network.train()
    following = next(ahead, None)
    while following is not None:
        laid, began, step = following, time.monotonic(), len(history) + 1
        _seed(settings.seed, step)
        rate = settings.learning_rate * SCHEDULES[settings.schedule](step - 1, settings)
        sent = _backward(network, laid, objective, weighting.of(laid.part))
        following = next(ahead, None)  # laid out while a GPU still works on this one
        losses, token_accuracy, tokens = _brought(laid, sent)
        if not bool(losses.isfinite().all()):
            raise FloatingPointError(f"loss is {losses.mean()} at step {step}; lower learning_rate")
        norm = _update(list(trained.values()), optimizer, rate, settings.gradient_norm)
        record = {
            "step": step,
            "loss": float(losses.mean()),
            "token_accuracy": float(token_accuracy.mean()),
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens": tokens,
            "seconds": time.monotonic() - began,
            **weighting.update(laid.part, losses),
        }
        history.append(record)
        if step == settings.steps or step % often == 0:
            if measure is not None:
                network.eval()
                record |= measure()
                network.train()
            _log_progress(history[-often:], settings)
        if checkpoint is not None and checkpoint.due() and step < settings.steps:
            checkpoint.save(_state(trained, optimizer, weighting, history), step)
    network.eval()
    return history


def _state(
    trained: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    weighting: ExampleWeighting,
    history: list[Record],
) -> dict[str, Any]:
    """What a checkpoint holds, and `_resumed` sets back."""
    return {
        "weights": {name: p.detach() for name, p in trained.items()},
        "optimizer": optimizer.state_dict(),
        "weighting": weighting.state(),
        "history": history,
    }


def _resumed(
    checkpoint: Checkpoint | None,
    trained: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    weighting: ExampleWeighting,
) -> list[Record]:
    """Records of the steps that a checkpoint holds, once all is set back to it; none without."""
    saved = checkpoint.load() if checkpoint is not None else None
    if saved is None:
        return []
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved["weights"][name])
    optimizer.load_state_dict(saved["optimizer"])
    weighting.restore(saved["weighting"])
    return list(saved["history"])


def _seed(seed: int, step: int) -> None:
    """Seed what a step draws by chance; no process draws what another one does."""
    mixed = text_digest([str(seed), str(step), str(distributed.rank())])
    torch.manual_seed(int(mixed[:15], 16))


@dataclass(frozen=True)
class _Laid:
    """A step's batch and this process' runs of it: places in the batch, and tensors on the CPU."""

    part: list[Any]
    runs: list[tuple[NDArray[np.int64], Batch]]
    tokens: int


def _collate_microbatches(part: list[Any], objective: Objective, accumulate: int) -> _Laid:
    """Cut a batch into runs, one a process and accumulation pass, and lay out this process' own."""
    runs = np.array_split(np.arange(len(part)), distributed.world_size() * accumulate)
    own = [run for run in runs[distributed.rank() * accumulate :][:accumulate] if len(run)]
    laid = [objective.collate([part[i] for i in run]) for run in own]
    return _Laid(part, list(zip(own, laid, strict=True)), sum(map(objective.num_tokens, laid)))


def _backward(
    network: Any, laid: _Laid, objective: Objective, weights: Sequence[float]
) -> list[torch.Tensor]:
    """Add this process' share of the gradient; losses and token_accuracy of each run, [2, its examples].

    They lie on the network's device, and nothing waits for them.
    """
    where = next(network.parameters()).device
    sent = []
    for run, batch in laid.runs:
        moved = {k: runtime.to_device_async(v, where) for k, v in batch.items()}
        losses, token_accuracy = objective.losses(network, moved)
        weight = torch.tensor([weights[i] for i in run], dtype=losses.dtype)
        loss = losses @ runtime.to_device_async(weight, where) / len(weights)
        loss.backward()
        sent.append(torch.stack([losses.detach(), token_accuracy]))
    return sent


def _brought(laid: _Laid, sent: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Losses [n], token_accuracy [n] and tokens of the whole batch, on the CPU, once they are there."""
    found = torch.zeros(3, len(laid.part), dtype=torch.float64)
    for (run, _), values in zip(laid.runs, sent, strict=True):
        found[:2, run] = values.double().cpu()
    found[2, 0] = laid.tokens
    losses, token_accuracy, tokens = distributed.all_reduce_sum(found)
    return losses, token_accuracy, int(tokens.sum())


def _update(
    trained: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, rate: float, most: float
) -> float:
    """Take a step along the gradient of all processes; its norm before it was clipped to `most`."""
    distributed.sync_gradients(trained)
    norm = torch.nn.utils.clip_grad_norm_(trained, most)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)


def _log_progress(records: list[Record], settings: Settings) -> None:
    """One line of progress over the steps since the last one."""
    last = records[-1]
    mean = {k: sum(r[k] for r in records) / len(records) for k in ("loss", "token_accuracy")}
    speed = sum(r["tokens"] for r in records) / max(1e-9, sum(r["seconds"] for r in records))
    named = {"held_accuracy": "accuracy held back", "worst_group_loss": "worst subgroup's loss"}
    more = [f"{says} {last[k]:.3f}" for k, says in named.items() if k in last]
    log.info(
        "step %d of %d: loss %.4f, token_accuracy %.3f, gradient %.2g, learning rate %.2g, %.0f tokens/s%s",
        last["step"], settings.steps, mean["loss"], mean["token_accuracy"], last["gradient_norm"],
        last["learning_rate"], speed, "".join(f", {one}" for one in more),
    )  # fmt: skip


def _warm(step: int, settings: Settings) -> tuple[float, float]:
    """How far the rate has risen, and how far the rest of the steps is gone; both 0 to 1."""
    rising = max(1, round(settings.warmup * settings.steps))
    if step < rising:
        return (step + 1) / rising, 0.0
    return 1.0, min(1.0, (step - rising) / max(1, settings.steps - rising))


def _linear(step: int, settings: Settings) -> float:
    risen, gone = _warm(step, settings)
    return risen * (1 - gone)


def _cosine(step: int, settings: Settings) -> float:
    risen, gone = _warm(step, settings)
    return risen * (1 + math.cos(math.pi * gone)) / 2


def _constant(step: int, settings: Settings) -> float:
    return _warm(step, settings)[0]


SCHEDULES: dict[str, Callable[[int, Settings], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "constant": _constant,
}
"""Name -> share of the peak learning rate at a step, counted from 0, after its warm-up."""
