"""Checks across the parts of a study, in the order in which a reader would mend them."""

from collections.abc import Iterator
from pathlib import Path

from valuestrata.study import (
    file_checks,
    judge_checks,
    model_checks,
    people_checks,
    sensitivity_checks,
    split_checks,
)
from valuestrata.study.models import COMMIT
from valuestrata.study.prompts import prompt_fields
from valuestrata.study.splits import COUNTRY
from valuestrata.study.study import SURVEY_VARIABLE, Study

RESERVED = {"respondent", "weight", "all", "mean", "subgroups", COUNTRY}
"""Names that tables need for columns and rows of their own."""


def problems(study: Study, root: Path, files: bool) -> Iterator[str]:
    """One line for each problem: the key, what is wrong, what to do.

    Args:
        study: its parts are valid one by one.
        root: folder that relative paths start from.
        files: whether the codebook, the survey and local weights must exist.
    """
    yield from survey_source(study)
    if files:
        yield from file_checks.survey_files(study, root)
    yield from axis_names(study)
    yield from contrast_groups(study)
    yield from split_checks.problems(study)
    if files:
        yield from file_checks.confidential_files(study, root)
    yield from model_checks.problems(study, root)
    if files:
        yield from file_checks.model_directories(study, root)
    yield from people_checks.problems(study, root, files)
    yield from file_checks.data_files(study)
    yield from file_checks.open_wordings(study)
    yield from judge_checks.problems(study, root)
    yield from equal_prompt_variants(study)
    yield from sensitivity_checks.problems(study)


def survey_source(study: Study) -> Iterator[str]:
    """A survey that is neither simulated nor named."""
    if not study.survey_file:
        yield f"survey.file: missing; name the survey's file here or in ${SURVEY_VARIABLE}"


def axis_names(study: Study) -> Iterator[str]:
    """Axes that are named as columns of tables are."""
    for name in study.survey.axes:
        if name in RESERVED:
            yield f"survey.axes.{name}: the name is reserved for tables; rename the axis"


def contrast_groups(study: Study) -> Iterator[str]:
    """Contrasts of axes or groups that the study does not have."""
    axes = ", ".join(study.axes)
    for axis in study.contrasts.ordered_axes or ():
        if axis not in study.axes:
            yield f"contrasts.ordered_axes: no axis {axis!r}; axes are {axes}"
    for axis, group in study.contrasts.reference_groups.items():
        if axis not in study.axes:
            yield f"contrasts.reference_groups: no axis {axis!r}; axes are {axes}"
        elif not study.axes[axis].is_auto and group not in (names := study.axes[axis].names()):
            yield (
                f"contrasts.reference_groups.{axis}: no group {group!r}; "
                f"groups are {', '.join(names)}"
            )


def equal_prompt_variants(study: Study) -> Iterator[str]:
    """Prompt variants that differ from the study's own prompt in nothing."""
    for name, variant in study.prompt_variants.items():
        if prompt_fields(study.prompt, variant) == prompt_fields(study.prompt):
            yield (
                f"prompt_variants.{name}: the same as the study's own `prompt`; change something "
                "or remove it"
            )


def unpinned(study: Study) -> list[str]:
    """One line for each hub model whose revision may move."""
    return [
        f"{where}: revision {model.revision} of {model.model} is not pinned: "
        "`valuestrata pin` on the study's file writes its commit"
        for where, model in study.local_models().items()
        if model.revision is not None and not COMMIT.fullmatch(model.revision)
    ]


def uncounted(study: Study) -> list[str]:
    """A line for each model at a service whose cost is not known, and one where none is limited."""
    services = study.service_models()
    lines = [
        f"{place} has no prices: its calls are counted, and what they cost is not known"
        for place, model in services.items()
        if model.prices is None
    ]
    prices = {place: model.prices for place, model in services.items() if model.prices}
    costly = [place for place, price in prices.items() if price.prompt or price.completion]
    if costly and study.budget is None:
        lines.append(f"nothing limits what {', '.join(costly)} may cost: give the study a budget")
    return lines
