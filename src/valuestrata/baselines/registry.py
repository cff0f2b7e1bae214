"""Finds a baseline's rule by name, so that a run depends on its own rule and not on the others."""

import importlib
from collections.abc import Callable, Sequence
from typing import cast

from valuestrata.survey.crosstab import CrossTab
from valuestrata.survey.encoded import Floats, Scale

Rule = Callable[[CrossTab, Scale, Sequence[str]], Floats]
"""Cells, scale and S subgroups -> [S, Q, C] shares."""


MODULES = {"partial_pooling": "multilevel"}
"""Where a rule is, if not in `rules`."""


def rule_entry(name: str) -> str:
    """Where the code of a rule is, as `module:function`."""
    return f"valuestrata.baselines.{MODULES.get(name, 'rules')}:{name}"


def load_rule(name: str) -> Rule:
    """The function of a rule."""
    module, _, function = rule_entry(name).partition(":")
    return cast(Rule, getattr(importlib.import_module(module), function))


def described(name: str) -> str:
    """What answered, for the predictions' column `model_version`."""
    return name if name == "uniform" else f"{name}, without the subgroup"
