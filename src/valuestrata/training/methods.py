"""The code that a recipe's settings choose, as "module:name".

No method is reached by a name in the code, but by these: so a fine-tune is made of the code of its
own method, batch layout and group sampling, and editing another one's does not rerun it.
"""

import importlib
from typing import Any

from valuestrata.errors import InputError
from valuestrata.study.recipes import DPO, GRPO, GroupDRO, Ordinal, Recipe, Soft, SupervisedRecipe

ROOM = "valuestrata.training"
EXTRA = ("trl", "datasets")
"""Packages of the extra `preference`."""


def code_of(recipe: Recipe) -> dict[str, str]:
    """What does a recipe's work, by its part in it.

    check and finetune always; objective and batches of a supervised method; compile, sampling,
    weighting, validation where the recipe has them.
    """
    code = _supervised(recipe) if isinstance(recipe, SupervisedRecipe) else _preference(recipe)
    if recipe.validation.share:
        code["validation"] = f"{ROOM}.validation:scores"
    return code


def _supervised(recipe: SupervisedRecipe) -> dict[str, str]:
    layout = {"plain": "completion", "shared_prefix": "shared_prefix"}[recipe.batch_layout]
    completion = {"plain": "CompletionObjective", "shared_prefix": "SharedPrefixObjective"}
    code = {
        "check": f"{ROOM}.finetune:check",
        "finetune": f"{ROOM}.finetune:finetune",
        "batches": f"{ROOM}.{layout}:make_batches",
        "objective": f"{ROOM}.{layout}:{completion[recipe.batch_layout]}",
    }
    if isinstance(recipe, Soft):
        code["objective"] = f"{ROOM}.objectives:SoftObjective"
    if isinstance(recipe, Ordinal):
        code["objective"] = f"{ROOM}.objectives:OrdinalObjective"
    if isinstance(recipe, GroupDRO):
        code["weighting"] = f"{ROOM}.group_dro:GroupDROWeighting"
    if recipe.compile_layers:
        code["compile"] = f"{ROOM}.compiled:compile_layers"
    if recipe.group_sampling != "none":
        code["sampling"] = f"{ROOM}.group_sampling:{recipe.group_sampling}"
    return code


def _preference(recipe: Recipe) -> dict[str, str]:
    module = {DPO: "dpo", GRPO: "grpo"}[type(recipe)]
    return {"check": f"{ROOM}.{module}:check", "finetune": f"{ROOM}.{module}:finetune"}


def load(entry: str) -> Any:
    """The definition that an entry ("module:name") stands for.

    Raises:
        InputError: a package of an extra is not installed.
    """
    module, _, name = entry.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        if error.name not in EXTRA:
            raise
        raise InputError(
            f"recipe: method: needs {error.name}: pip install 'valuestrata[preference]'"
        ) from error
