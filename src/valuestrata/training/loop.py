"""The training loop shared by fine-tunes and toys.

The loop steps through the batches it is given, logs and saves; an `Objective` says how a batch is
laid out and what is learned from it, an `ExampleWeighting` how much each example counts. The loop
knows neither prompts nor options.

A step's batch is cut into equal microbatches, one a process and accumulation pass, and its gradient
is the sum over all of them: what is learned does not depend on how many there are. All that a step
draws by chance (dropout) comes from the seed, the step's number and the process, and the order of
batches from the seed alone, so that a run that resumes from a saved step ends where one in one go
does.

Nothing within a step waits for the device: what a step computed stays there until it is logged or
saved, or until the weighting needs it for the next one. So a device never idles while the next
step's kernels are launched.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from valuestrata.inference import runtime
from valuestrata.provenance import text_digest
from valuestrata.training import distributed
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.objective import Batch, ExampleWeighting, Objective, StepRecord
from valuestrata.training.optimizer import MasterAdamW
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
        Steps that are read together share their seconds by their tokens: the host runs ahead of a
        GPU, and the time of a single step is not known.

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
        started, step = time.monotonic(), len(run.history) + len(run.unread) + 1
        _seed_step(settings.seed, step)
        weights = run.weighting.weights(batch.examples)
        results = _backward(network, batch, objective, weights, run.optimizer)
        following = next(coming, None)  # collated while a GPU still works on this one
        run.finish_step(step, started, batch, results)
        is_last = step == settings.max_steps
        is_logged = is_last or step % interval == 0
        is_saved = checkpoint is not None and not is_last and checkpoint.is_due()
        if is_logged or is_saved or run.weighting.reads_losses:
            run.read_steps()
        if is_logged:
            if measure is not None:
                run.history[-1] |= _evaluate(network, measure)
            _log_progress(run.history[-interval:], settings)
        if checkpoint is not None and is_saved:
            checkpoint.save(run.state(), step)
        batch = following
    run.read_steps()
    network.eval()
    return run.history


@dataclass(frozen=True)
class _Step:
    """A step that was taken. What it computed may still be on its way, on the device.

    results: losses, token accuracy and tokens [3, n] of its n examples, then the gradient's norm,
    in one row [3 n + 1].
    """

    number: int
    started: float
    learning_rate: float
    examples: list[Any]
    results: torch.Tensor


@dataclass
class _Run:
    """A training at a step: what a checkpoint holds, and what a step changes."""

    trained: dict[str, torch.nn.Parameter]
    optimizer: MasterAdamW
    settings: OptimizerSettings
    weighting: ExampleWeighting
    history: list[StepRecord]
    unread: list[_Step]

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
        optimizer = MasterAdamW(trained.values(), settings.learning_rate, settings.weight_decay)
        run = cls(trained, optimizer, settings, weighting, [], [])
        saved = checkpoint.load() if checkpoint is not None else None
        if saved is not None:
            run.restore(saved)
        return run

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds, once all steps are read."""
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

    def finish_step(
        self, step: int, started: float, batch: "_Microbatches", results: list[torch.Tensor]
    ) -> None:
        """Take a step along the gradient of all processes."""
        rate = self.settings.rate(step - 1)
        norm = self._update(rate)
        table = _gather(batch, results, norm.device)
        row = torch.cat([table.flatten(), norm.double()[None]])
        self.unread.append(_Step(step, started, rate, batch.examples, row))

    def _update(self, rate: float) -> torch.Tensor:
        """Move the weights; the gradient's norm before it was clipped."""
        parameters = self.optimizer.masters
        distributed.sync_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def read_steps(self) -> None:
        """Wait for the device once, and write down the steps since it was last waited for.

        Raises:
            FloatingPointError: a loss is no finite number.
        """
        if not self.unread:
            return
        steps, self.unread = self.unread, []
        rows = torch.cat([step.results for step in steps]).cpu()
        seconds = time.monotonic() - steps[0].started
        records = []
        for step, row in zip(steps, rows.split([len(s.results) for s in steps]), strict=True):
            losses, token_accuracy, tokens = row[:-1].view(3, -1)
            if not bool(losses.isfinite().all()):
                raise FloatingPointError(
                    f"loss is {losses.mean()} at step {step.number}; lower learning_rate"
                )
            records.append(
                {
                    "step": step.number,
                    "loss": float(losses.mean()),
                    "token_accuracy": float(token_accuracy.mean()),
                    "learning_rate": step.learning_rate,
                    "gradient_norm": float(row[-1]),
                    "tokens": int(tokens.sum()),
                    "seconds": 0.0,
                    **self.weighting.update(step.examples, losses),
                }
            )
        speed = sum(record["tokens"] for record in records) / seconds
        self.history += [{**record, "seconds": record["tokens"] / speed} for record in records]


def _seed_step(seed: int, step: int) -> None:
    """Seed what a step draws by chance; no process draws what another one does."""
    mixed = text_digest([str(seed), str(step), str(distributed.rank())])
    torch.manual_seed(int(mixed[:15], 16))


@dataclass(frozen=True)
class _Microbatches:
    """A step's batch, and this process' microbatches: places and CPU tensors."""

    examples: list[Any]
    parts: list[tuple[slice, Batch]]
    tokens: int


def _collate_microbatches(examples: list[Any], objective: Objective, passes: int) -> _Microbatches:
    """Cut a batch into one part a process and pass, and collate those of this process."""
    parts = np.array_split(np.arange(len(examples)), distributed.world_size() * passes)
    mine = [
        slice(int(part[0]), int(part[-1]) + 1)
        for part in parts[distributed.rank() * passes :][:passes]
        if len(part)
    ]
    batches = [objective.collate(examples[part]) for part in mine]
    tokens = sum(map(objective.num_tokens, batches))
    return _Microbatches(examples, list(zip(mine, batches, strict=True)), tokens)


def _backward(
    network: Any,
    batch: _Microbatches,
    objective: Objective,
    weights: Sequence[float],
    optimizer: MasterAdamW,
) -> list[torch.Tensor]:
    """Collect this process' share of the gradient; losses and accuracy of each part, [2, n].

    They lie on the network's device, and nothing waits for them.
    """
    device = next(network.parameters()).device
    results = []
    for places, tensors in batch.parts:
        moved = runtime.to_device(tensors, device)
        losses, token_accuracy = objective.losses(network, moved)
        weight = torch.tensor(weights[places], dtype=losses.dtype)
        loss = losses @ runtime.to_device_async(weight, device) / len(weights)
        loss.backward()
        optimizer.collect()
        results.append(torch.stack([losses.detach(), token_accuracy]))
    return results


def _gather(
    batch: _Microbatches, results: list[torch.Tensor], device: torch.device
) -> torch.Tensor:
    """Losses, token accuracy and tokens of the whole batch [3, n], on the device."""
    table = torch.zeros(3, len(batch.examples), dtype=torch.float64, device=device)
    for (places, _), values in zip(batch.parts, results, strict=True):
        table[:2, places] = values
    table[2, 0] = batch.tokens
    return distributed.all_reduce_sum(table)


def _evaluate(network: Any, measure: Callable[[], StepRecord]) -> StepRecord:
    """What is measured of a network in evaluation mode."""
    network.eval()
    record = measure()
    network.train()
    return record


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
