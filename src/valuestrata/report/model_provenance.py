"""Model provenance: which models and adapters answered, and how each adapter was trained. Pure.

All of it is taken from the records that results carry, so it says what results are made of, not
what the study says today.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.report.display import Cell, Table
from valuestrata.report.phrases import NONE
from valuestrata.report.runs import BASE, ModelVariant, all_runs, label, llm_runs
from valuestrata.report.settings import DisplaySettings

Adapters = Mapping[ModelVariant, Mapping[str, Any]]
"""The recipe that each adapter was trained with, by model and recipe."""


@dataclass(frozen=True)
class Origin:
    """What answered a run.

    Attributes:
        model: the recorded settings of the model, empty where they are not recorded.
        rule: the rule of a baseline, '' of a language model.
        versions: revision or hash of the weights, one unless runs are mixed.
        adapters: hashes of the adapters, several for a k-fold recipe.
        shifts: the largest change of a logit by each load of an adapter.
        notes: what was doubtful when the model was loaded.
        passes: how options were read, where there are several ways.
    """

    model: Mapping[str, Any]
    rule: str
    versions: tuple[str, ...]
    adapters: tuple[str, ...]
    shifts: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()


def provenance_table(
    settings: DisplaySettings, origins: Mapping[ModelVariant, Origin], toys: Sequence[str]
) -> Table:
    """A row a run: its model, the version of the weights and the adapter's hash."""
    rows = []
    for run in all_runs(settings):
        if run not in origins:
            continue
        origin = origins[run]
        base = origins.get((run[0], BASE), origin)
        model = origin.model or base.model
        details = [str(model[key]) for key in ("backend", "dtype") if model.get(key)]
        details += ["each option read by itself"] if "plain" in origin.passes else []
        rows.append(
            (
                Cell(label(run, settings)),
                Cell(_model_name(model, base.rule, run[0] in toys), small=", ".join(details)),
                Cell(
                    ", ".join(map(_without_folder, origin.versions)),
                    small="; ".join(origin.notes),
                ),
                Cell(
                    ", ".join(filter(None, origin.adapters)) or "none",
                    small=_shift(origin.shifts),
                ),
            )
        )
    columns = ("Run", "Model", "Version: revision or hash", "Adapter: hash")
    if not llm_runs(settings):
        return Table("Baselines", ("Run", "Rule", "Version"), tuple(row[:3] for row in rows))
    return Table("Model provenance", columns, tuple(rows))


def _shift(shifts: Sequence[float]) -> str:
    """How far adapters move logits, '' without any."""
    if not shifts:
        return ""
    ends = list(dict.fromkeys(f"{shift:.2g}" for shift in (min(shifts), max(shifts))))
    return f"moves a logit by up to {' to '.join(ends)}"


def notes_lines(
    settings: DisplaySettings,
    origins: Mapping[ModelVariant, Origin],
    judges: Mapping[str, Sequence[str]],
) -> list[str]:
    """What was doubtful when models and judges were loaded: a line each, with those it is of."""
    owners: dict[str, list[str]] = {}
    for run, origin in origins.items():
        for note in origin.notes:
            owners.setdefault(note, []).append(label(run, settings))
    for judge, notes in judges.items():
        for note in notes:
            owners.setdefault(note, []).append(f"judge {judge}")
    return [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in owners.items()]


def _model_name(model: Mapping[str, Any], rule: str, is_toy: bool) -> str:
    if rule:
        return f"rule {rule}"
    if is_toy:
        return "toy, trained by this study"
    return _without_folder(str(model.get("model") or NONE))


def _without_folder(name: str) -> str:
    """A local path without its folders; a name on the hub as it is."""
    return name.rsplit("/", 1)[-1] if name.startswith(("/", ".", "~")) else name


def recipes_table(adapters: Adapters, fold_recipes: Mapping[str, tuple[str, ...]]) -> Table:
    """A column a recipe, a row a setting; a column a model where models' recipes differ."""
    by_recipe: dict[str, dict[ModelVariant, Mapping[str, Any]]] = {}
    for (model, name), recipe in adapters.items():
        recipe_name = next((n for n, folds in fold_recipes.items() if name in folds), name)
        by_recipe.setdefault(recipe_name, {})[model, name] = _flat(recipe)
    columns: dict[str, dict[str, str]] = {}
    for recipe_name, recipes in by_recipe.items():
        for key, merged in _merged(recipe_name, recipes).items():
            columns[key] = merged
    keys = list(dict.fromkeys(key for column in columns.values() for key in column))
    rows = tuple(
        (Cell(key), *(Cell(column.get(key, NONE)) for column in columns.values())) for key in keys
    )
    return Table("Recipes, as the adapters were trained", ("Setting", *columns), rows)


def _merged(
    recipe_name: str, recipes: Mapping[ModelVariant, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """One column where all adapters of a recipe agree but for their fold, else one an adapter."""
    plain = [{k: v for k, v in recipe.items() if k != "split"} for recipe in recipes.values()]
    if any(recipe != plain[0] for recipe in plain):
        return {" ".join(run): dict(recipe) for run, recipe in recipes.items()}
    splits = dict.fromkeys(recipe["split"] for recipe in recipes.values())
    first = dict(next(iter(recipes.values())))
    return {recipe_name: {**first, "split": ", ".join(splits)}}


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings as text, nested ones with dotted keys; the method and the split come first."""
    flat: dict[str, str] = {}
    for key in [k for k in ("method", "split") if k in recipe] + list(recipe):
        value = recipe[key]
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = _text(value)
    return flat


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None or value == {}:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def accepted_table(accepted: Mapping[str, Mapping[str, Any]]) -> Table:
    """Results that count as valid although they were made otherwise: what differs, and why."""
    rows = tuple(
        (
            Cell(path),
            Cell("; ".join(map(str, entry["differences"]))),
            Cell(str(entry.get("reason") or "none given")),
        )
        for path, entry in accepted.items()
    )
    return Table("Accepted results", ("Result", "Differs from the study in", "Reason"), rows)
