"""DPO: the modal answer, preferred to another one.

Rafailov et al. 2023, Direct Preference Optimization, eq. 7.
"""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from valuestrata.errors import InputError
from valuestrata.io import records
from valuestrata.prompting import prompts
from valuestrata.study.recipes import DPO
from valuestrata.training import distributed, preference
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.examples import Example, TuningData, split_validation
from valuestrata.training.finetune import check_lengths
from valuestrata.training.objective import StepRecord

log = logging.getLogger(__name__)


class _Trainer(preference.QuietTrainer, DPOTrainer):  # type: ignore[misc]
    """Takes comparisons that are token ids already."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


def check(recipe: DPO, data: TuningData, max_length: int) -> None:
    """Refuse pairs that cannot be compared, and what every method refuses; see finetune.check."""
    _split(recipe, data)
    check_lengths(recipe, data.examples, max_length)


def finetune(
    network: Any,
    recipe: DPO,
    code: Mapping[str, str],
    data: TuningData,
    checkpoint: Checkpoint,
) -> tuple[Any, dict[str, Any]]:
    """Tune; returns the network with its adapter, and the log, see finetune.finetune.

    The steps' records hold step, loss, learning_rate, gradient_norm, tokens (without padding),
    seconds, validation scores at some steps, token_accuracy (share of the modal answers' tokens
    that greedy decoding hits), margin (beta times how much further apart the log-probabilities of
    the two answers are than at the reference) and accuracy (share of margins above 0).
    """
    split = _split(recipe, data)
    if tied := len(data.examples) - len(split.train) - len(split.validation):
        log.info("%d of %d pairs left out: mode tied", tied, len(data.examples))
    prepare = partial(_prepare, recipe)
    return preference.finetune(network, recipe, code, data, checkpoint, split, prepare)


def _split(recipe: DPO, data: TuningData) -> preference.TrainAndValidation:
    """The pairs that can be compared, and the validation pairs."""
    train, validation = split_validation(data.examples, recipe.validation, recipe.seed)
    return preference.TrainAndValidation(comparable(data.pairs, train), validation)


def _prepare(
    recipe: DPO, tuned: Any, data: TuningData, train: list[int], folder: Path
) -> preference.Setup:
    rows = comparisons(data, train, recipe)
    max_steps = len(rows) // recipe.batch_size
    trainer = _Trainer(
        tuned,
        args=preference.on_one_device(
            DPOConfig(
                **preference.trainer_arguments(recipe, max_steps, folder),
                per_device_train_batch_size=recipe.batch_size // distributed.world_size(),
                beta=recipe.beta,
                max_length=None,
                disable_dropout=False,
                train_sampling_strategy="sequential",
            )
        ),
        data_collator=DataCollatorForPreference(pad_token_id=data.chat.pad),
        train_dataset=Dataset.from_list(rows),
        processing_class=data.chat.tokenizer,
        optimizers=preference.optimizer(tuned, recipe, max_steps),
    )

    def step_records(logs: preference.Logs) -> list[StepRecord]:
        names = {
            "token_accuracy": "mean_token_accuracy",
            "margin": "rewards/margins",
            "accuracy": "rewards/accuracies",
        }
        tokens = [
            2 * len(r["prompt_ids"]) + len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in rows
        ]
        by_step = np.reshape(tokens, (max_steps, -1)).sum(axis=1)
        return preference.step_records(logs, names, by_step)

    chosen = [Example(tuple(r["prompt_ids"]), tuple(r["chosen_ids"])) for r in rows]
    return preference.Setup(trainer, chosen, step_records)


def comparable(pairs: pd.DataFrame, positions: list[int]) -> list[int]:
    """The positions of pairs with one modal answer and another option.

    Where the mode is tied, one of two equally common answers is not to be rejected.

    Raises:
        InputError: there is no such pair.
    """
    rows = records(pairs)
    kept = [i for i in positions if not rows[i]["tied"] and _other_options(rows[i])]
    if not kept:
        raise InputError("recipe: dpo: no pair has an untied mode and another option; use sft")
    return kept


def comparisons(data: TuningData, train: list[int], recipe: DPO) -> list[dict[str, list[int]]]:
    """prompt_ids, chosen_ids (the modal answer) and rejected_ids in the order of training."""
    rows = records(data.pairs)
    rng = np.random.default_rng(recipe.seed)
    order = [train[i] for i in preference.training_order(len(train), recipe)]
    rejected = [choose_rejected(rows[i], recipe.rejected, rng) for i in order]
    return [
        {
            "prompt_ids": list(data.examples[i].prompt),
            "chosen_ids": list(data.examples[i].reply),
            "rejected_ids": list(data.chat.encode_reply(prompts.answer(data.template, code))),
        }
        for i, code in zip(order, rejected, strict=True)
    ]


def choose_rejected(row: dict[str, Any], rule: str, rng: np.random.Generator) -> int:
    """The answer that a pair's modal one is preferred to; of equally common ones the lowest code.

    >>> row = {"mode": 2, "scale_min": 1, "scale_max": 4, "codes": [1, 2, 3, 4, 9]}
    >>> row["distribution"] = [0.1, 0.5, 0.3, 0.1, 0.0]
    >>> rng = np.random.default_rng(0)
    >>> [choose_rejected(row, rule, rng) for rule in ("runner-up", "rarest")]
    [3, 1]
    >>> sorted({choose_rejected(row, "random", rng) for _ in range(50)})
    [1, 3, 4]
    """
    others = _other_options(row)
    if rule == "random":
        return int(rng.choice(sorted(others)))
    sign = {"runner-up": -1, "rarest": 1}[rule]
    return min(others, key=lambda code: (sign * others[code], code))


def _other_options(row: dict[str, Any]) -> dict[int, float]:
    """Share of each option but the modal one; codes off the scale are no options."""
    return {
        int(code): float(share)
        for code, share in zip(row["codes"], row["distribution"], strict=True)
        if code != row["mode"] and row["scale_min"] <= code <= row["scale_max"]
    }
