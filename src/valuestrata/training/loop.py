"""The training loop shared by fine-tunes and toys.

The loop steps through the batches it is given, logs and saves; an `Objective` says how a batch is
laid out and what is learned from it, an `ExampleWeighting` how much each example counts. The loop
knows neither prompts nor options.

A step's batch is cut into equal microbatches, one a process and accumulation pass, and its gradient
is the sum over all of them: what is learned does not depend on how many there are. All that a step
draws by chance (dropout) comes from the seed, the step's number and the process, and the order of
batches from the seed alone, so that a run that resumes from a saved step ends where one in one go
does.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from valuestrata.inference import runtime
from valuestrata.provenance import text_digest
from valuestrata.training import distributed
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.objective import Batch, ExampleWeighting, Objective, StepRecord
from valuestrata.training.schedules import OptimizerSettings

log = logging.getLogger(__name__)

N_EVALS = 10
"""How often in a training progress is measured and logged."""


def train(
    network: Any,
    batches: Iterator[list[Any]],
    settings: OptimizerSettings,
    objective: Objective,
    weighting: ExampleWeighting | None = None,
    measure: Callable[[], StepRecord] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[StepRecord]:
    """Minimise the weighted mean loss over the batches given; returns one record a step.

    Args:
        network: what is tuned, by the parameters that require a gradient.
        batches: batches of examples, from the first step on.
        settings: of the optimiser.
        objective: what is learned from a batch.
        weighting: how much each example counts; its own weight by default.
        measure: called N_EVALS times, the network in evaluation mode; adds to the step's record.
        checkpoint: where to save the state now and then, and to resume from if it holds any.

    Returns:
        For each step: step, loss (unweighted mean), token_accuracy, learning_rate, gradient_norm
        (before clipping), tokens (without padding) and seconds; what `weighting` and `measure` add.

    Raises:
        FloatingPointError: a loss is no finite number.
    """
    run = _Run.start(network, settings, weighting or ExampleWeighting(), checkpoint)
    interval = max(1, settings.max_steps // N_EVALS)
    passes = settings.gradient_accumulation_steps
    coming = (
        _collate_microbatches(batch, objective, passes)
        for batch in islice(batches, len(run.history), settings.max_steps)
    )
    network.train()
    batch = next(coming, None)
    while batch is not None:
        started, step = time.monotonic(), len(run.history) + 1
        _seed_step(settings.seed, step)
        results = _backward(network, batch, objective, run.weighting.weights(batch.examples))
        following = next(coming, None)  # collated while a GPU still works on this one
        losses, token_accuracy, tokens = _gather(batch, results)
        record = run.finish_step(losses, token_accuracy) | {"tokens": tokens}
        record |= {"seconds": time.monotonic() - started}
        record |= run.weighting.update(batch.examples, losses)
        run.history.append(record)
        if step == settings.max_steps or step % interval == 0:
            if measure is not None:
                network.eval()
                record |= measure()
                network.train()
            _log_progress(run.history[-interval:], settings)
        if checkpoint is not None and checkpoint.is_due() and step < settings.max_steps:
            checkpoint.save(run.state(), step)
        batch = following
    network.eval()
    return run.history


@dataclass
class _Run:
    """A training at a step: what a checkpoint holds, and what a step changes."""

    trained: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    settings: OptimizerSettings
    weighting: ExampleWeighting
    history: list[StepRecord]

    @classmethod
    def start(
        cls,
        network: Any,
        settings: OptimizerSettings,
        weighting: ExampleWeighting,
        checkpoint: Checkpoint | None,
    ) -> "_Run":
        """A training at its first step, or at the one that a checkpoint holds."""
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(
            trained.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        run = cls(trained, optimizer, settings, weighting, [])
        saved = checkpoint.load() if checkpoint is not None else None
        if saved is not None:
            run.restore(saved)
        return run

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "weights": {name: p.detach() for name, p in self.trained.items()},
            "optimizer": self.optimizer.state_dict(),
            "weighting": self.weighting.state(),
            "history": self.history,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Set everything back to a saved state."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(saved["weights"][name])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.weighting.restore(saved["weighting"])
        self.history = list(saved["history"])

    def finish_step(self, losses: torch.Tensor, token_accuracy: torch.Tensor) -> StepRecord:
        """Take a step along the gradient of all processes, if the losses are finite."""
        step = len(self.history) + 1
        if not bool(losses.isfinite().all()):
            raise FloatingPointError(f"loss is {losses.mean()} at step {step}; lower learning_rate")
        rate = self.settings.rate(step - 1)
        return {
            "step": step,
            "loss": float(losses.mean()),
            "token_accuracy": float(token_accuracy.mean()),
            "learning_rate": rate,
            "gradient_norm": self._update(rate),
        }

    def _update(self, rate: float) -> float:
        """Move the weights; the gradient's norm before it was clipped."""
        parameters = list(self.trained.values())
        distributed.sync_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)


def _seed_step(seed: int, step: int) -> None:
    """Seed what a step draws by chance; no process draws what another one does."""
    mixed = text_digest([str(seed), str(step), str(distributed.rank())])
    torch.manual_seed(int(mixed[:15], 16))


@dataclass(frozen=True)
class _Microbatches:
    """A step's batch, and this process' microbatches: places and CPU tensors."""

    examples: list[Any]
    parts: list[tuple[NDArray[np.int64], Batch]]
    tokens: int


def _collate_microbatches(examples: list[Any], objective: Objective, passes: int) -> _Microbatches:
    """Cut a batch into one part a process and pass, and collate those of this process."""
    parts = np.array_split(np.arange(len(examples)), distributed.world_size() * passes)
    mine = [part for part in parts[distributed.rank() * passes :][:passes] if len(part)]
    batches = [objective.collate([examples[i] for i in part]) for part in mine]
    tokens = sum(map(objective.num_tokens, batches))
    return _Microbatches(examples, list(zip(mine, batches, strict=True)), tokens)


def _backward(
    network: Any, batch: _Microbatches, objective: Objective, weights: Sequence[float]
) -> list[torch.Tensor]:
    """Add this process' share of the gradient; losses and accuracy of each microbatch, [2, n].

    They lie on the network's device, and nothing waits for them.
    """
    device = next(network.parameters()).device
    results = []
    for places, tensors in batch.parts:
        moved = {k: runtime.to_device_async(v, device) for k, v in tensors.items()}
        losses, token_accuracy = objective.losses(network, moved)
        weight = torch.tensor([weights[i] for i in places], dtype=losses.dtype)
        loss = losses @ runtime.to_device_async(weight, device) / len(weights)
        loss.backward()
        results.append(torch.stack([losses.detach(), token_accuracy]))
    return results


def _gather(
    batch: _Microbatches, results: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Losses [n], token accuracy [n] and tokens of the whole batch, on the CPU."""
    table = torch.zeros(3, len(batch.examples), dtype=torch.float64)
    for (places, _), values in zip(batch.parts, results, strict=True):
        table[:2, places] = values.double().cpu()
    table[2, 0] = batch.tokens
    losses, token_accuracy, tokens = distributed.all_reduce_sum(table)
    return losses, token_accuracy, int(tokens.sum())


def _log_progress(records: list[StepRecord], settings: OptimizerSettings) -> None:
    """One line of progress over the steps since the last one."""
    last = records[-1]
    loss, accuracy = (
        sum(r[key] for r in records) / len(records) for key in ("loss", "token_accuracy")
    )
    speed = sum(r["tokens"] for r in records) / max(1e-9, sum(r["seconds"] for r in records))
    extras = {"validation_accuracy": "validation accuracy", "worst_group_loss": "worst group loss"}
    more = "".join(f", {name} {last[key]:.3f}" for key, name in extras.items() if key in last)
    log.info(
        "step %d/%d: loss %.4f, token accuracy %.3f, gradient norm %.2g, learning rate %.2g, "
        "%.0f tokens/s%s",
        last["step"], settings.max_steps, loss, accuracy, last["gradient_norm"],
        last["learning_rate"], speed, more,
    )  # fmt: skip
