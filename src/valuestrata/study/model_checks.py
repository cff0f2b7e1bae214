"""Checks of recipes and models against each other."""

import math
from collections.abc import Iterator
from pathlib import Path

from valuestrata.study.models import BaselineModel, LocalModel, Model, OpenAIModel
from valuestrata.study.recipes import AnyRecipe, SupervisedRecipe
from valuestrata.study.study import Study

MAX_LORA_R = {"vllm": 512}
"""Highest rank of an adapter that a backend reads."""
SHARE_BATCHES = ("dpo", "grpo")
"""Methods whose batch is divided over processes."""


def problems(study: Study, root: Path) -> Iterator[str]:
    """One line for each problem; `root` is where relative paths start."""
    for name, recipe in study.recipes.items():
        yield from recipe_split(study, name, recipe)
        yield from group_weights(study, name, recipe)
    for name, model in study.models.items():
        yield from revision(f"models.{name}", model, root)
        yield from listed_names(study, name, model)
        yield from tuning_limits(study, name, model)
        yield from constrained_answers(study, name, model)
    yield from generation_splits(study)
    yield from budget(study)


def recipe_split(study: Study, name: str, recipe: AnyRecipe) -> Iterator[str]:
    """A recipe on a split that nothing may be trained on."""
    split = study.splits.get(recipe.split)
    if split is None or (split.role != "train" and not split.folds):
        valid = [n for n, s in study.splits.items() if s.role == "train" or s.folds]
        yield (
            f"recipes.{name}.split: {recipe.split!r} is neither a train split nor one with folds; "
            f"such are {', '.join(valid) or 'none'}"
        )


def group_weights(study: Study, name: str, recipe: AnyRecipe) -> Iterator[str]:
    """Weights of groups that do nothing, or of groups that do not exist."""
    if not isinstance(recipe, SupervisedRecipe):
        return
    if recipe.group_weights and recipe.group_sampling == "none":
        yield (
            f"recipes.{name}.group_weights: no effect without group_sampling; "
            "set group_sampling: weight or upsample"
        )
    groups = {f"{name}={group}" for name, axis in study.axes.items() for group in axis.names()}
    for group in recipe.group_weights:
        axis = study.axes.get(group.partition("=")[0])
        if group not in groups and not (axis and axis.is_auto):
            yield (
                f"recipes.{name}.group_weights: no group {group!r}; "
                f"groups are {', '.join(sorted(groups))}"
            )


def is_directory(model: str, root: Path) -> bool:
    """Whether a model is a local directory, or looks like one that should be there."""
    return model.startswith((".", "/", "~")) or model.count("/") > 1 or (root / model).is_dir()


def revision(where: str, model: Model, root: Path) -> Iterator[str]:
    """A hub model that is not pinned at all."""
    if not isinstance(model, LocalModel) or model.model is None or model.revision is not None:
        return
    if not is_directory(model.model, root):
        yield (
            f"{where}.revision: missing; pin the commit of {model.model}: write `revision: main`, "
            "then run `valuestrata pin` on the study's file"
        )


def listed_names(study: Study, name: str, model: Model) -> Iterator[str]:
    """Recipes and prompt variants of a model that the study does not have."""
    if isinstance(model, LocalModel):
        for recipe in model.recipes or ():
            if recipe not in study.recipes:
                recipes = ", ".join(study.recipes) or "none"
                yield f"models.{name}.recipes: no recipe {recipe!r}; recipes are {recipes}"
    if not isinstance(model, BaselineModel):
        for variant in model.prompt_variants or ():
            if variant not in study.prompt_variants:
                variants = ", ".join(study.prompt_variants) or "none"
                yield (
                    f"models.{name}.prompt_variants: no prompt variant {variant!r}; "
                    f"prompt variants are {variants}"
                )


def tuning_limits(study: Study, name: str, model: Model) -> Iterator[str]:
    """Recipes that a model's backend, or its number of GPUs, cannot follow."""
    if not isinstance(model, LocalModel):
        return
    highest = MAX_LORA_R.get(str(getattr(model, "backend", "")), math.inf)
    for recipe_name in study.model_recipes(name):
        recipe = study.recipes.get(recipe_name)
        if recipe is None:
            continue
        if recipe.lora_r > highest:
            yield (
                f"recipes.{recipe_name}.lora_r: {recipe.lora_r} is more than the {highest} that "
                f"the backend vllm of models.{name} reads; lower it"
            )
        if recipe.method in SHARE_BATCHES and recipe.batch_size % model.processes:
            yield (
                f"recipes.{recipe_name}.batch_size: {recipe.batch_size} is not a multiple of "
                f"models.{name}.gpus, {model.processes}, which share a batch of {recipe.method}; "
                "change one of them"
            )


def constrained_answers(study: Study, name: str, model: Model) -> Iterator[str]:
    """Answers that are limited to the options, by a service that may not be able to."""
    is_able = not isinstance(model, OpenAIModel) or model.structured_output
    if study.prediction.constrained and not is_able:
        yield (
            f"models.{name}: prediction.constrained needs structured output; where its service has "
            f"it set models.{name}.structured_output: true, elsewhere prediction.constrained: false"
        )


def generation_splits(study: Study) -> Iterator[str]:
    """Open-ended answers on splits that do not exist."""
    for split in study.generation.splits if study.generation else ():
        if split not in study.splits:
            yield f"generation.splits: no split {split!r}; splits are {', '.join(study.splits)}"


def budget(study: Study) -> Iterator[str]:
    """Prices that cannot be added up, or a budget of money that a model has no price for."""
    amounts = {
        f"{place}.prices.currency": model.prices.currency
        for place, model in study.service_models().items()
        if model.prices
    }
    has_amount = study.budget is not None and study.budget.amount is not None
    if study.budget is not None and has_amount:
        amounts["budget.currency"] = study.budget.currency
    for place, currency in amounts.items():
        first, expected = next(iter(amounts.items()))
        if currency != expected:
            yield f"{place}: {currency}, and {first} is {expected}; give all in one currency"
    for place, model in study.service_models().items():
        if has_amount and model.prices is None:
            yield (
                f"{place}.prices: missing, so budget.amount cannot be kept; give its prices, or 0 "
                "and 0 where it costs nothing"
            )
