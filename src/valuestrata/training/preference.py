"""Preference tuning through trl: DPO against another answer, GRPO by closeness to the mode.

trl trains; what it reads is ours. Prompts and replies reach its trainers as token ids of the one
renderer (models/chat.py), which neither apply a template nor tokenise. The adapter, the optimiser
and the learning rate's course are those of the other recipes; the reference is the same network
with the adapter disabled. Nothing is reported to anyone.

- DPO: Rafailov et al. 2023, Direct Preference Optimization, eq. 7.
- GRPO: Shao et al. 2024, DeepSeekMath, section 4.1; trl's default loss (DAPO's normalisation).
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat
from valuestrata.inference.local import device
from valuestrata.io import records
from valuestrata.prompting import answers, prompts
from valuestrata.specs import Finetune, Recipe
from valuestrata.training import distributed, loop, lora
from valuestrata.training.checkpoint import Checkpoint

try:
    from datasets import Dataset
    from transformers import PrinterCallback, Trainer, TrainerCallback
    from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference
except ImportError as error:
    raise InputError(
        f"the methods dpo and grpo need trl ({error}): pip install 'valuestrata[preference]'"
    ) from error

log = logging.getLogger(__name__)

COMPLETE = "complete"
"""File that a checkpoint holds once all of it is written."""
TRIES = 10
"""Steps of grpo at least, a tenth of them where that is more, before it is given up as hopeless."""


class _Ours(Trainer):  # type: ignore[misc]
    """What we ask of both of trl's trainers: our log, no usage reports, no model cards."""

    progress: "_Progress"

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs.update(self.progress.tell(self.state, logs["loss"]))
        super().log(logs, start_time)

    def _send_telemetry(self) -> None:
        """Nothing is sent."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None is written: peft writes the adapter's own."""


class _Dpo(_Ours, DPOTrainer):  # type: ignore[misc]
    """Takes comparisons that are token ids already."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class _Grpo(_Ours, GRPOTrainer):  # type: ignore[misc]
    """Takes prompts that are token ids already."""

    def _tokenize_prompts(self, prompts: list[list[int]]) -> Any:
        return prompts, None, {}


class _Progress(TrainerCallback):  # type: ignore[misc]
    """Says how far training is, measures on the way, and saves when it is time to."""

    def __init__(self, checkpoint: Checkpoint, measure: Callable[[], loop.Record]) -> None:
        self.checkpoint = checkpoint
        self.measure = measure
        self.began = time.monotonic()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.monotonic()

    def tell(self, state: Any, loss: float) -> loop.Record:
        """What to add to a step's log: seconds, and at some steps what is measured."""
        found = {"seconds": time.monotonic() - self.began}
        step, steps = state.global_step, state.max_steps
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss is {loss} at step {step}; lower learning_rate")
        if step == steps or step % max(1, steps // loop.N_EVALS) == 0:
            found |= self.measure()
            log.info("step %d of %d: loss %.4f, %.2f s", step, steps, loss, found["seconds"])
        return found

    def on_log(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        if state.global_step == max(TRIES, state.max_steps // 10):
            logged = [r for r in state.log_history if "frac_reward_zero_std" in r]
            if logged:  # of grpo alone
                _refuse_equal_rewards(logged)

    def on_step_end(self, _: Any, state: Any, control: Any, **__: Any) -> None:
        due = distributed.all_reduce_sum(torch.tensor([float(self.checkpoint.due())]))
        control.should_save = bool(due) and state.global_step < state.max_steps

    def on_save(self, arguments: Any, state: Any, *_: Any, **__: Any) -> None:
        if distributed.rank() == 0:
            (Path(arguments.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()
        self.checkpoint.saved()


def finetune(
    spec: Finetune, network: Any, chat: Chat, pairs: pd.DataFrame, checkpoint: Checkpoint
) -> tuple[Any, dict[str, Any]]:
    """Tune; returns the network with its adapter, and the log, as lora.finetune does.

    The steps' records hold step, loss, learning_rate, gradient_norm, tokens (read and written,
    padding left out), seconds and at some steps held_accuracy and held_wasserstein. Of dpo also
    token_accuracy (share of the modal answers' tokens that greedy decoding token_accuracy), margin (beta times how much
    further apart the log-probabilities of the two answers are than at the reference) and accuracy
    (share of margins above 0). Of grpo also reward (mean of `rewards`), answered (share of the
    replies that are answers) and, where beta > 0, kl (divergence from the reference).

    Raises:
        InputError: nothing can be compared, or no reply was better than another one.
        FloatingPointError: a loss is no finite number.
    """
    recipe = spec.recipe
    if recipe.batch % distributed.world_size():
        raise InputError(
            f"recipe: batch: {recipe.batch} is no multiple of the {distributed.world_size()} GPUs"
        )
    train, held = parts(pairs, recipe)
    if tied := len(pairs) - len(train) - len(held):
        log.info("dpo: %d of %d pairs left out: mode tied", tied, len(pairs))
    examples = lora.examples(held, chat, spec.template)
    tuned = lora.add_lora(network, recipe)
    method = {"dpo": _dpo, "grpo": _grpo}[recipe.method]
    trainer, data, record = method(spec, tuned, chat, train, checkpoint.home())
    if "ref" in tuned.peft_config:
        # trl's copy of the fresh adapter; without it the reference is the network itself
        tuned.delete_adapter("ref")
    probe = loop.collate(data[: lora.PROBE], chat.pad)
    before = lora.logits(tuned, probe)

    def measure() -> loop.Record:
        if not examples:
            return {}
        tuned.eval()
        found = lora.held_scores(tuned, examples, recipe.batch, chat.pad)
        tuned.train()
        return found

    trainer.progress = _Progress(checkpoint, measure)
    trainer.add_callback(trainer.progress)
    trainer.remove_callback(PrinterCallback)
    log.info("%s: %d examples, %d held back", recipe.method, len(train), len(held))
    trainer.train(resume_from_checkpoint=_last(checkpoint.home()))
    tuned.eval()
    history = record([r for r in trainer.state.log_history if "loss" in r])
    moved = lora.mean_logit_change(before, lora.logits(tuned, probe))
    return tuned, lora.training_log(len(train), len(held), moved, history)


def parts(pairs: pd.DataFrame, recipe: Recipe) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs to train on, of dpo those that can be compared, and pairs held back.

    Raises:
        InputError: one of them would be empty.
    """
    train, held = (
        pairs.loc[[row.Index for row in part]]
        for part in lora.split(list(pairs.itertuples()), recipe.held_back, recipe.seed)
    )
    return comparable(train) if recipe.method == "dpo" else train, held


def _dpo(spec: Finetune, tuned: Any, chat: Chat, pairs: pd.DataFrame, home: Path) -> Any:
    """A trainer, what it learns as examples, and how its log becomes records."""
    recipe = spec.recipe
    data = comparisons(pairs, chat, spec.template, recipe)
    steps = len(data) // recipe.batch
    trainer = _Dpo(
        tuned,
        args=_on_one_device(
            DPOConfig(
                **_arguments(recipe, steps, home),
                per_device_train_batch_size=recipe.batch // distributed.world_size(),
                beta=recipe.beta,
                max_length=None,
                disable_dropout=False,
                train_sampling_strategy="sequential",
            )
        ),
        data_collator=DataCollatorForPreference(pad_token_id=chat.pad),
        train_dataset=Dataset.from_list(data),
        processing_class=chat.tokenizer,
        optimizers=_optimizer(tuned, recipe, steps),
    )

    def record(logged: list[dict[str, Any]]) -> list[loop.Record]:
        names = {
            "token_accuracy": "mean_token_accuracy",
            "margin": "rewards/margins",
            "accuracy": "rewards/accuracies",
        }
        read = [
            2 * len(r["prompt_ids"]) + len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in data
        ]
        return _records(logged, names, np.reshape(read, (steps, -1)).sum(axis=1))

    chosen = [loop.Example(tuple(r["prompt_ids"]), tuple(r["chosen_ids"])) for r in data]
    return trainer, chosen, record


def _grpo(spec: Finetune, tuned: Any, chat: Chat, pairs: pd.DataFrame, home: Path) -> Any:
    """A trainer, what it should write as examples, and how its log becomes records."""
    recipe = spec.recipe
    rows = records(pairs[["measurement_level", "scale_min", "scale_max", "mode", "codes"]])
    modal = lora.examples(pairs, chat, spec.template)
    order = passes(len(pairs), recipe)
    data = [{"prompt": list(modal[i].prompt), **rows[i]} for i in order]
    steps = len(data) // recipe.batch
    # both may end a reply, as where TransformersModel writes
    tuned.generation_config.eos_token_id = sorted(chat.ends)

    def closeness(
        completion_ids: list[list[int]], log_metric: Callable[[str, float], None], **said: Any
    ) -> list[float]:
        texts = [chat.decode(ids) for ids in completion_ids]
        parsed = [answers.parse(t, codes) for t, codes in zip(texts, said["codes"], strict=True)]
        log_metric("answered", float(np.mean([outcome == "answer" for outcome, _ in parsed])))
        found = rewards(
            [code for _, code in parsed],
            np.asarray(said["mode"]),
            (np.asarray(said["scale_min"]), np.asarray(said["scale_max"])),
            np.asarray(said["measurement_level"]) == "nominal",
        )
        return [float(reward) for reward in found]

    trainer = _Grpo(
        tuned,
        closeness,
        args=_on_one_device(
            GRPOConfig(
                **_arguments(recipe, steps, home),
                # a step reads `batch` pairs and every reply to them
                per_device_train_batch_size=recipe.batch
                * recipe.generations
                // distributed.world_size(),
                num_generations=recipe.generations,
                max_completion_length=recipe.max_new_tokens,
                temperature=recipe.temperature,
                beta=recipe.beta,
                shuffle_dataset=False,
            )
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=chat.tokenizer,
        optimizers=_optimizer(tuned, recipe, steps),
    )

    def record(logged: list[dict[str, Any]]) -> list[loop.Record]:
        _refuse_equal_rewards(logged)
        names = {"reward": "reward", "answered": "answered"}
        names |= {"kl": "kl"} if recipe.beta else {}
        return _records(logged, names, np.diff([0, *(step["num_tokens"] for step in logged)]))

    return trainer, [modal[i] for i in order], record


def _refuse_equal_rewards(logged: list[dict[str, Any]]) -> None:
    """Raise InputError where none of some steps told one reply from another."""
    if all(step["frac_reward_zero_std"] == 1 for step in logged):
        raise InputError(
            f"grpo: in {len(logged)} steps all replies to a prompt earned the same reward, so "
            "nothing was learned; raise temperature or generations, or tune a model that answers "
            "more often"
        )


def passes(pairs: int, recipe: Recipe) -> list[int]:
    """Positions of the pairs in the order of training, each epoch in another order.

    The last batch is filled up from one more pass.
    """
    steps = -(-pairs * recipe.epochs // recipe.batch)
    rng = np.random.default_rng(recipe.seed)
    epochs = [rng.permutation(pairs) for _ in range(-(-steps * recipe.batch // pairs))]
    return [int(i) for i in np.concatenate(epochs)[: steps * recipe.batch]]


def comparable(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs with one modal answer and another option.

    Where the mode is tied, one of two equally common answers is not to be rejected.

    Raises:
        InputError: there is no such pair.
    """
    left = pairs[[not row["tied"] and bool(_others(row)) for row in records(pairs)]]
    if left.empty:
        raise InputError("dpo: no pair has an untied mode and another option; use method sft")
    return left


def comparisons(
    pairs: pd.DataFrame, chat: Chat, template: str, recipe: Recipe
) -> list[dict[str, list[int]]]:
    """prompt_ids, chosen_ids (the modal answer) and rejected_ids in the order of training."""
    rows, modal = records(pairs), lora.examples(pairs, chat, template)
    rng = np.random.default_rng(recipe.seed)
    order = passes(len(rows), recipe)
    others = [rejected(rows[i], recipe.rejected, rng) for i in order]
    return [
        {
            "prompt_ids": list(modal[i].prompt),
            "chosen_ids": list(modal[i].reply),
            "rejected_ids": list(chat.encode_reply(prompts.answer(template, code))),
        }
        for i, code in zip(order, others, strict=True)
    ]


def rejected(row: dict[str, Any], rule: str, rng: np.random.Generator) -> int:
    """The answer that a pair's modal one is preferred to; of equally common ones the lowest code.

    >>> row = {"mode": 2, "lowest": 1, "highest": 4, "codes": [1, 2, 3, 4, 9]}
    >>> row["distribution"] = [0.1, 0.5, 0.3, 0.1, 0.0]
    >>> rng = np.random.default_rng(0)
    >>> [rejected(row, rule, rng) for rule in ("runner-up", "rarest")]
    [3, 1]
    >>> sorted({rejected(row, "random", rng) for _ in range(50)})
    [1, 3, 4]
    """
    others = _others(row)
    if rule == "random":
        return int(rng.choice(sorted(others)))
    sign = {"runner-up": -1, "rarest": 1}[rule]
    return min(others, key=lambda code: (sign * others[code], code))


def _others(row: dict[str, Any]) -> dict[int, float]:
    """Share of each option but the modal one; codes off the scale were not asked for."""
    return {
        int(code): float(share)
        for code, share in zip(row["codes"], row["distribution"], strict=True)
        if code != row["mode"] and row["scale_min"] <= code <= row["scale_max"]
    }


def rewards(
    found: Sequence[int | None],
    mode: NDArray[Any],
    ends: tuple[NDArray[Any], NDArray[Any]],
    nominal: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """[n] 1 at the mode, falling with the distance to 0 at one width of the scale.

    A nominal answer earns 1 or 0; what is no answer (None) earns 0.

    >>> ends = np.array([1, 1, 1, 1]), np.array([5, 5, 5, 5])
    >>> nominal = np.array([False, False, True, False])
    >>> rewards([4, 1, 4, None], np.array([4, 4, 3, 4]), ends, nominal).tolist()
    [1.0, 0.25, 0.0, 0.0]
    """
    given = np.array([np.nan if code is None else code for code in found])
    near = np.clip(1 - np.abs(given - mode) / (ends[1] - ends[0]), 0, 1)
    return np.nan_to_num(np.where(nominal, (given == mode).astype(float), near), nan=0.0)


def _arguments(recipe: Recipe, steps: int, home: Path) -> dict[str, Any]:
    """What both trainers are told: our settings in full precision, no reports, no bars."""
    return {
        "output_dir": str(home),
        "max_steps": steps,
        "learning_rate": recipe.learning_rate,
        "max_grad_norm": recipe.gradient_norm,
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


def _on_one_device(config: Any) -> Any:
    """The network lies on one device; trl refuses to run where it could spread it over several."""
    config._n_gpu = min(config.n_gpu, 1)
    return config


def _optimizer(tuned: Any, recipe: Recipe, steps: int) -> tuple[Any, Any]:
    """AdamW and the learning rate's course, as in the loop of the other recipes."""
    trained = [p for p in tuned.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    settings = loop.Settings(
        recipe.learning_rate, steps, recipe.warmup, recipe.weight_decay, recipe.gradient_norm
    )
    course = loop.SCHEDULES[recipe.schedule]
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: course(step, settings)
    )


def _last(home: Path) -> str | None:
    """The newest whole checkpoint; one that a kill cut short goes."""
    whole: dict[int, Path] = {}
    for path in home.glob("checkpoint-*"):
        if (path / COMPLETE).is_file():
            whole[int(path.name.rpartition("-")[2])] = path
        elif distributed.rank() == 0:
            shutil.rmtree(path)
    if not whole:
        return None
    step = max(whole)
    log.info("resuming after step %d", step)
    return str(whole[step])


def _records(
    logged: list[dict[str, Any]], names: dict[str, str], tokens: NDArray[Any]
) -> list[loop.Record]:
    """The steps' logs under our names; `names` maps ours to trl's."""
    names = {"step": "step", "loss": "loss", **names, "learning_rate": "learning_rate"}
    names |= {"gradient_norm": "grad_norm", "seconds": "seconds"}
    return [
        {
            **{ours: step[theirs] for ours, theirs in names.items()},
            "tokens": int(n),
            **{name: value for name, value in step.items() if name.startswith("held_")},
        }
        for step, n in zip(logged, tokens, strict=True)
    ]
