"""Checks of judges: what they judge, what they compare with, and how they are asked."""

from collections.abc import Iterator
from pathlib import Path

from valuestrata.errors import InputError
from valuestrata.study.file_checks import packaged
from valuestrata.study.model_checks import revision
from valuestrata.study.models import BaselineModel, OpenAIModel
from valuestrata.study.rubrics import FOLDER, read_rubric, rubric_path
from valuestrata.study.study import BASE, Study


def problems(study: Study, root: Path) -> Iterator[str]:
    """One line for each problem; `root` is where relative paths start."""
    for name in study.judges:
        yield from judge(study, name, root)
        yield from reference(study, name)
        yield from panel(study, name)
    unread = [line for name in study.judge_models for line in rubric(study, name)]
    yield from unread
    if unread:
        return
    for name in study.judges:
        if study.panel(name):
            yield from panel_rubrics(study, name)
        else:
            yield from reply(study, name)


def judge(study: Study, name: str, root: Path) -> Iterator[str]:
    """A judge with nothing to judge, with a taken name, or that is no language model."""
    where, config = f"judges.{name}", study.judges[name]
    if study.generation is None:
        yield f"{where}: nothing to judge; add a generation block"
    if name in study.models:
        yield f"{where}: a model has the same name; rename the judge"
    if isinstance(config.model, BaselineModel):
        yield f"{where}.model: a baseline cannot judge; choose a language model"
    if config.model is not None:
        yield from revision(f"{where}.model", config.model, root)


def reference(study: Study, name: str) -> Iterator[str]:
    """A reference that is no run which writes open-ended answers."""
    where, config = f"judges.{name}", study.judges[name]
    model, variant = config.reference.model, config.reference.variant
    if model not in study.models or study.is_baseline(model):
        language_models = [m for m in study.models if not study.is_baseline(m)]
        yield (
            f"{where}.reference.model: no language model {model!r}; "
            f"language models are {', '.join(language_models) or 'none'}"
        )
    elif variant not in study.variants(model):
        yield (
            f"{where}.reference.variant: {model} has no variant {variant!r}; "
            f"variants are {', '.join(study.variants(model))}"
        )
    elif variant != BASE and study.fold_recipes(variant):
        yield (
            f"{where}.reference.variant: {variant!r} is tuned on folds and writes no texts; "
            "choose another"
        )


def panel(study: Study, name: str) -> Iterator[str]:
    """A panel of judges that are none, or that compare with something else."""
    where, config = f"judges.{name}.panel.judges", study.judges[name]
    for member in study.panel(name):
        other = study.judges.get(member)
        if other is None:
            yield f"{where}: no judge {member!r}; judges are {', '.join(study.judge_models)}"
        elif other.panel is not None:
            yield f"{where}: {member} is a panel itself; name its judges"
        elif other.reference != config.reference:
            yield f"{where}: {member} compares with another reference; give both the same"


def rubric(study: Study, name: str) -> Iterator[str]:
    """A rubric that is not there, or is none."""
    where, chosen = f"judges.{name}.rubric", study.judges[name].rubric
    path = rubric_path(chosen)
    if not path.is_file():
        names = ", ".join(packaged(FOLDER))
        yield f"{where}: no file {chosen!r}; files are {names}, or give the path of your own"
        return
    try:
        read_rubric(path)
    except InputError as error:
        yield f"{where}: {error}"


def reply(study: Study, name: str) -> Iterator[str]:
    """A way to reply that does not fit the rubric, the sampling or the service."""
    where, config = f"judges.{name}", study.judges[name]
    read = read_rubric(rubric_path(config.rubric))
    n = len(read.dimensions)
    if config.parser == "brackets" and n > 1:
        yield (
            f"{where}.parser: brackets hold one verdict, and the rubric {config.rubric} has {n} "
            "dimensions; set parser: lines"
        )
    wanted = {"json": "json", "brackets": "[["}.get(config.parser, "")
    if wanted not in read.reply.casefold():
        yield (
            f"{where}.parser: {config.parser}, and the rubric {config.rubric} asks for another "
            "form; set parser: lines, which reads JSON as well, or ask for it in the rubric's reply"
        )
    if not config.constrained:
        return
    others = {"parser": "lines", "reason": False, "temperature": 0.0}
    for key, value in others.items():
        if getattr(config, key) != value:
            yield (
                f"{where}.{key}: a constrained verdict is greedy and one word; remove "
                f"{key}, or set constrained: false"
            )
    if isinstance(config.model, OpenAIModel) and not config.model.structured_output:
        yield (
            f"{where}.constrained: needs structured output; where the service has it set "
            f"{where}.model.structured_output: true, elsewhere constrained: false"
        )


def panel_rubrics(study: Study, name: str) -> Iterator[str]:
    """A panel whose judges compare on different dimensions."""
    members = study.panel(name)
    read = [read_rubric(rubric_path(study.judges[member].rubric)) for member in members]
    for member, other in zip(members, read, strict=True):
        if [*other.dimensions] != [*read[0].dimensions]:
            yield (
                f"judges.{name}.panel.judges: {member} judges other dimensions than {members[0]}; "
                "give both a rubric with the same"
            )
