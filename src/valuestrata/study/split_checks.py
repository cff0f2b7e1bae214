"""Checks of the splits: their axes and groups exist, and no test pair is trained on."""

from collections.abc import Iterator
from itertools import product

from valuestrata.study.splits import Selection
from valuestrata.study.study import Study


def problems(study: Study) -> Iterator[str]:
    """One line for each problem."""
    for name in study.splits:
        yield from strata(study, name)
        yield from selected_groups(study, name)
        yield from fold_names(study, name)
        yield from generation_on_folds(study, name)
    yield from leaks(study)


def strata(study: Study, name: str) -> Iterator[str]:
    """Strata of unknown axes, with an axis twice, or twice in another order."""
    previous: list[set[str]] = []
    for stratum in study.strata(name):
        shown = " x ".join(stratum)
        if set(stratum) in previous:
            yield f"splits.{name}.strata: duplicate {shown!r}; remove one of the two"
        previous.append(set(stratum))
        for axis in stratum:
            if axis not in study.axes:
                axes = ", ".join(study.axes)
                yield f"splits.{name}.strata: {shown!r}: no axis {axis!r}; axes are {axes}"
        if len(set(stratum)) < len(stratum):
            yield f"splits.{name}.strata: {shown!r} names an axis twice; name it once"


def selected_groups(study: Study, name: str) -> Iterator[str]:
    """Selections of groups that no axis has; those of `groups: auto` show in the file."""
    for axis, selection in study.selections(name)[1].items():
        if axis not in study.axes:
            yield f"splits.{name}.groups: no axis {axis!r}; axes are {', '.join(study.axes)}"
        elif not study.axes[axis].is_auto:
            groups = study.axes[axis].names()
            for group in (*(selection.only or ()), *selection.without):
                if group not in groups:
                    yield (
                        f"splits.{name}.groups.{axis}: no group {group!r}; "
                        f"groups are {', '.join(groups)}"
                    )


def fold_names(study: Study, name: str) -> Iterator[str]:
    """Splits and recipes that are named as a fold is."""
    parts = {part for part, (whole, _) in study.parts.items() if whole == name}
    for split in study.splits:
        if split in parts:
            yield f"splits.{split}: the name is taken by a fold of {name!r}; rename the split"
    for recipe, config in study.recipes.items():
        if config.split == name:
            for taken in study.fold_recipes(recipe):
                if taken in study.recipes:
                    yield (
                        f"recipes.{taken}: the name is taken by a fold of {recipe!r}; "
                        "rename the recipe"
                    )


def generation_on_folds(study: Study, name: str) -> Iterator[str]:
    """Open-ended answers on a split with folds."""
    if study.splits[name].folds and study.generation and name in study.generation.splits:
        yield (
            f"generation.splits: {name!r} has folds, whose models share no open-ended questions; "
            "choose another split"
        )


def leaks(study: Study) -> Iterator[str]:
    """Test pairs that are trained on, too: same stratum, and no selection keeps them apart.

    A split with folds is trained on as well as tested; its own folds are apart by construction.
    """
    tests = [name for name, split in study.splits.items() if split.role == "test"]
    trains = [name for name, split in study.splits.items() if split.role == "train" or split.folds]
    for test, train in product(tests, trains):
        for stratum in study.strata(test) if test != train else ():
            shared = any(set(other) == set(stratum) for other in study.strata(train))
            if shared and not _apart(study, test, train, stratum):
                is_train = study.splits[train].role == "train"
                kind = "train split" if is_train else "split with folds"
                yield (
                    f"splits.{test}: stratum {' x '.join(stratum)!r} is in the {kind} {train!r} "
                    "too; a test pair must not be trained on: remove the stratum, or keep the "
                    "splits apart by questions, groups or fold"
                )


def _apart(study: Study, test: str, train: str, stratum: tuple[str, ...]) -> bool:
    """Whether two splits share no pair of a stratum."""
    questions, groups = study.selections(test)
    other_questions, other_groups = study.selections(train)
    everyone, fold = Selection(), study.fold(test)
    return (
        questions.disjoint(other_questions)
        or bool(fold and fold.disjoint(study.fold(train)))
        or any(
            groups.get(axis, everyone).disjoint(other_groups.get(axis, everyone))
            for axis in stratum
        )
    )
