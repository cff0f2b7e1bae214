"""LoRA fine-tuning by the supervised recipes, which share our loop.

sft: cross-entropy on the modal answer (paper.md, Training). soft: cross-entropy to the subgroup's
distribution over the answers. ordinal: Wasserstein distance to it. dro: sft, worst subgroup first.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from valuestrata.errors import InputError
from valuestrata.study.recipes import GroupDRO, Recipe, SupervisedRecipe
from valuestrata.training import loop, lora, outcome
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.examples import Pair, TuningData, split_validation
from valuestrata.training.methods import load
from valuestrata.training.objective import ExampleWeighting, Objective, StepRecord
from valuestrata.training.passes import check_passes
from valuestrata.training.schedules import optimizer_settings

log = logging.getLogger(__name__)


def check(recipe: Recipe, data: TuningData, max_length: int) -> None:
    """Refuse what a recipe cannot learn from its pairs; no weights are needed.

    Args:
        recipe: what is to be done.
        data: all pairs of its split.
        max_length: tokens that the network was made for.

    Raises:
        InputError: the validation part is empty or all, or a pair is too long.
    """
    split_validation(data.examples, recipe.validation, recipe.seed)
    check_lengths(recipe, data.examples, max_length)


def check_lengths(
    recipe: Recipe, pairs: Sequence[Pair], max_length: int, max_new_tokens: int = 0
) -> None:
    """Refuse a pair that is longer, with its longest reply, than the network was made for."""
    for pair in pairs:
        tokens = len(pair.prompt) + max(max_new_tokens, *map(len, pair.options))
        if tokens > max_length:
            raise InputError(
                f"recipe: split: {recipe.split}: question {pair.question} for {pair.group!r} is "
                f"{tokens} tokens with its reply, and the network was made for {max_length}; leave "
                "the question out, or tune another model"
            )


def finetune(
    network: Any,
    recipe: SupervisedRecipe,
    code: Mapping[str, str],
    data: TuningData,
    checkpoint: Checkpoint | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Tune; returns the network with its adapter, and the log (`outcome.training_log`).

    The steps' records are loop.train's, with validation scores at some steps, and with `groups` at
    these steps of dro.

    Args:
        network: the untuned network.
        recipe: what is learned.
        code: what does it, see methods.code_of.
        data: all pairs of the recipe's split.
        checkpoint: where to save, and to resume from.

    Raises:
        InputError: the network cannot be adapted so, or its adapter does nothing or is broken.
        FloatingPointError: a loss is no finite number.
    """
    train, validation = _train_and_validation(recipe, code, data)
    pad = data.chat.pad
    tuned = lora.add_lora(network, recipe)
    objective: Objective = load(code["objective"])(pad)
    passes = check_passes(
        tuned,
        data.examples,
        forests=objective.reads_forests or bool(validation),
        padding=not objective.reads_forests,
    )
    if "compile" in code:
        load(code["compile"])(tuned, train, pad, objective)
    before = outcome.probe_logits(tuned, train, pad)
    batches = partial(load(code["batches"]), train, recipe.batch_size, recipe.epochs, recipe.seed)
    accumulated = recipe.gradient_accumulation_steps
    settings = optimizer_settings(recipe, sum(1 for _ in batches()), accumulated)
    weighting = ExampleWeighting()
    if isinstance(recipe, GroupDRO):
        weighting = load(code["weighting"])(train, recipe.group_dro_step_size)

    def measure() -> StepRecord:
        record: StepRecord = {}
        if validation:
            size = max(1, recipe.batch_size // accumulated)
            record |= load(code["validation"])(tuned, validation, size, pad)
        groups = weighting.by_group()
        return record | ({"groups": groups} if groups else {})

    log.info("%d training examples, %d validation pairs", len(train), len(validation))
    history = loop.train(tuned, batches(), settings, objective, weighting, measure, checkpoint)
    change = outcome.mean_logit_change(before, outcome.probe_logits(tuned, train, pad))
    return tuned, outcome.training_log(len(train), len(validation), change, history, passes)


def _train_and_validation(
    recipe: SupervisedRecipe, code: Mapping[str, str], data: TuningData
) -> tuple[list[Pair], list[Pair]]:
    """The pairs to train on, weighted or repeated as the recipe says, and those that validate."""
    positions = split_validation(data.examples, recipe.validation, recipe.seed)
    train, validation = ([data.examples[i] for i in part] for part in positions)
    if "sampling" in code:
        train = load(code["sampling"])(train, recipe.group_weights, recipe.seed)
    return train, validation
