"""Preference tuning through trl: what dpo and grpo share.

trl trains; what it reads is ours. Prompts and replies reach its trainers as token ids of the one
renderer (inference/chat.py), which neither apply a template nor tokenise. The adapter, the
optimiser and the learning rate's course are those of the other recipes; the reference is the same
network with the adapter disabled. Nothing is reported to anyone.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PrinterCallback, Trainer, TrainerCallback

from valuestrata.errors import InputError
from valuestrata.inference.local import device
from valuestrata.study.recipes import Recipe
from valuestrata.training import distributed, lora, outcome
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.examples import Example, Pair, TuningData
from valuestrata.training.loop import N_EVALS
from valuestrata.training.methods import load
from valuestrata.training.objective import StepRecord
from valuestrata.training.optimizer import MasterAdamW
from valuestrata.training.passes import check_passes
from valuestrata.training.schedules import optimizer_settings

log = logging.getLogger(__name__)

COMPLETE = "complete"
"""File that a checkpoint holds once all of it is written."""

Logs = list[dict[str, Any]]
"""What trl logs of each step."""


@dataclass(frozen=True)
class TrainAndValidation:
    """Positions in a split's pairs of those to train on and of those that validate."""

    train: list[int]
    validation: list[int]


@dataclass(frozen=True)
class Setup:
    """A trainer, what it learns, and how its log is read.

    Attributes:
        trainer: one of trl's trainers, with `QuietTrainer` before it.
        examples: what it learns, in the order of training.
        records: makes our records of its log.
        check_logs: refuses a run whose first steps show that nothing can be learned.
    """

    trainer: Any
    examples: Sequence[Example]
    records: Callable[[Logs], list[StepRecord]]
    check_logs: Callable[[Logs, int], None] = lambda logs, max_steps: None


class QuietTrainer(Trainer):  # type: ignore[misc]
    """What we ask of both of trl's trainers: our log, no usage reports, no model cards."""

    progress: "_Progress"

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Log a step with what we record of it."""
        if "loss" in logs:
            logs.update(self.progress.record_step(self.state, logs["loss"]))
        super().log(logs, start_time)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the adapter into the weights at hand, which the optimiser holds, in their dtype.

        peft's own way goes on in fp32.
        """
        from peft import load_peft_weights, set_peft_model_state_dict

        weights = load_peft_weights(resume_from_checkpoint, device="cpu")
        set_peft_model_state_dict(model or self.model, weights)

    def _send_telemetry(self) -> None:
        """Nothing is sent."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None is written: peft writes the adapter's own."""


class _Progress(TrainerCallback):  # type: ignore[misc]
    """Logs how far training is, measures on the way, and saves when it is time to."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        measure: Callable[[], StepRecord],
        check_logs: Callable[[Logs, int], None],
    ) -> None:
        self.checkpoint = checkpoint
        self.measure = measure
        self.check_logs = check_logs
        self.started = time.monotonic()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.monotonic()

    def record_step(self, state: Any, loss: float) -> StepRecord:
        """What to add to a step's log: seconds, and at some steps what is measured."""
        record = {"seconds": time.monotonic() - self.started}
        step, steps = state.global_step, state.max_steps
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss is {loss} at step {step}; lower learning_rate")
        if step == steps or step % max(1, steps // N_EVALS) == 0:
            record |= self.measure()
            log.info("step %d/%d: loss %.4f, %.2f s", step, steps, loss, record["seconds"])
        return record

    def on_log(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        self.check_logs(state.log_history, state.max_steps)

    def on_step_end(self, _: Any, state: Any, control: Any, **__: Any) -> None:
        due = distributed.all_reduce_sum(torch.tensor([float(self.checkpoint.is_due())]))
        control.should_save = bool(due) and state.global_step < state.max_steps

    def on_save(self, arguments: Any, state: Any, *_: Any, **__: Any) -> None:
        if distributed.rank() == 0:
            (Path(arguments.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()
        self.checkpoint.restart_clock()


def finetune(
    network: Any,
    recipe: Recipe,
    code: Mapping[str, str],
    data: TuningData,
    checkpoint: Checkpoint,
    split: TrainAndValidation,
    prepare: Callable[[Any, TuningData, list[int], Path], Setup],
) -> tuple[Any, dict[str, Any]]:
    """Tune; returns the network with its adapter, and the log, as the supervised methods do.

    Args:
        network: the untuned network.
        recipe: what is learned.
        code: holds what scores the validation pairs, if there are any.
        data: all pairs of the recipe's split.
        checkpoint: where to save, and to resume from; trl needs a folder.
        split: what is trained on.
        prepare: makes the trainer of the tuned network, the data, the positions that are trained
            on, and the folder of the checkpoints.

    Raises:
        InputError: the batches cannot be divided, or the adapter does nothing or is broken.
        FloatingPointError: a loss is no finite number.
    """
    if recipe.batch_size % distributed.world_size():
        raise InputError(
            f"recipe: batch_size: {recipe.batch_size} is not a multiple of the "
            f"{distributed.world_size()} GPUs"
        )
    validation = [data.examples[i] for i in split.validation]
    tuned, pad = lora.add_lora(network, recipe), data.chat.pad
    passes = check_passes(tuned, data.examples, forests=bool(validation), padding=True)
    folder = checkpoint.subfolder()
    setup = prepare(tuned, data, split.train, folder)
    if "ref" in tuned.peft_config:
        # trl's copy of the fresh adapter; without it the reference is the network itself
        tuned.delete_adapter("ref")
    before = outcome.probe_logits(tuned, setup.examples, pad)
    measure = _measure(tuned, validation, code, recipe.batch_size, pad)
    trainer = setup.trainer
    trainer.progress = _Progress(checkpoint, measure, setup.check_logs)
    trainer.add_callback(trainer.progress)
    trainer.remove_callback(PrinterCallback)
    log.info("%d training pairs, %d validation pairs", len(split.train), len(validation))
    trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
    tuned.eval()
    history = setup.records([r for r in trainer.state.log_history if "loss" in r])
    change = outcome.mean_logit_change(before, outcome.probe_logits(tuned, setup.examples, pad))
    sizes = len(split.train), len(validation)
    return tuned, outcome.training_log(*sizes, change, history, passes)


def _measure(
    tuned: Any, validation: list[Pair], code: Mapping[str, str], batch_size: int, pad: int
) -> Callable[[], StepRecord]:
    """What scores the validation pairs, if there are any."""

    def measure() -> StepRecord:
        if not validation:
            return {}
        tuned.eval()
        scores: StepRecord = load(code["validation"])(tuned, validation, batch_size, pad)
        tuned.train()
        return scores

    return measure


def training_order(n_pairs: int, recipe: Recipe) -> list[int]:
    """Positions of the pairs in the order of training, each epoch in another order.

    The last batch is filled up from one more pass.
    """
    steps = -(-n_pairs * recipe.epochs // recipe.batch_size)
    rng = np.random.default_rng(recipe.seed)
    epochs = [rng.permutation(n_pairs) for _ in range(-(-steps * recipe.batch_size // n_pairs))]
    return [int(i) for i in np.concatenate(epochs)[: steps * recipe.batch_size]]


def trainer_arguments(recipe: Recipe, max_steps: int, folder: Path) -> dict[str, Any]:
    """What both trainers are told: our settings in full precision, no reports, no bars."""
    return {
        "output_dir": str(folder),
        "max_steps": max_steps,
        "learning_rate": recipe.learning_rate,
        "max_grad_norm": recipe.max_grad_norm,
        "seed": recipe.seed,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": device().type == "cpu",
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "ddp_find_unused_parameters": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",  # _Progress says when
        "save_total_limit": 2,  # the older one stays until the newer one is whole
    }


def on_one_device(config: Any) -> Any:
    """The network lies on one device; trl refuses to run where it could spread it over several."""
    config._n_gpu = min(config.n_gpu, 1)
    return config


def optimizer(tuned: Any, recipe: Recipe, max_steps: int) -> tuple[Any, Any]:
    """AdamW and the learning rate's course, as in the loop of the other recipes."""
    trained = [p for p in tuned.parameters() if p.requires_grad]
    adamw = MasterAdamW(trained, recipe.learning_rate, recipe.weight_decay)
    settings = optimizer_settings(recipe, max_steps)
    return adamw, torch.optim.lr_scheduler.LambdaLR(adamw, settings.share_of_peak)


def step_records(logs: Logs, names: dict[str, str], tokens: NDArray[Any]) -> list[StepRecord]:
    """The steps' logs under our names; `names` maps ours to trl's, `tokens` [steps] is added."""
    names = {"step": "step", "loss": "loss", **names, "learning_rate": "learning_rate"}
    names |= {"gradient_norm": "grad_norm", "seconds": "seconds"}
    return [
        {
            **{ours: step[theirs] for ours, theirs in names.items()},
            "tokens": int(n),
            **{name: value for name, value in step.items() if name.startswith("validation_")},
        }
        for step, n in zip(logs, tokens, strict=True)
    ]


def _last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint; one that a kill cut short is deleted."""
    whole: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / COMPLETE).is_file():
            whole[int(path.name.rpartition("-")[2])] = path
        elif distributed.rank() == 0:
            shutil.rmtree(path)
    if not whole:
        return None
    step = max(whole)
    log.info("resuming from %s", whole[step])
    return str(whole[step])
