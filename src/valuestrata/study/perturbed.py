"""The runs of a study that are asked once more in perturbed prompts."""

from valuestrata.study.sensitivity import REWORDED, Perturbation
from valuestrata.study.study import BASE, Run, Study


def perturbed_splits(study: Study) -> list[str]:
    """Splits whose pairs are perturbed; none where the study tries no perturbation."""
    if study.sensitivity is None:
        return []
    tested = [name for name, split in study.splits.items() if split.role == "test"]
    named = study.sensitivity.splits
    return [name for name in study.splits if name in (tested if named is None else named)]


def reworded(study: Study) -> list[Perturbation]:
    """Perturbations for which pairs are asked again; a probe may need one that is not reported."""
    if study.sensitivity is None:
        return []
    wanted = set(study.sensitivity.perturbations)
    if "national_distribution" in wanted:
        wanted.add("persona_dropped")
    return [name for name in REWORDED if name in wanted]


def probes_items(study: Study) -> bool:
    """Whether models are probed with the wordings of questions."""
    return study.sensitivity is not None and "item_text" in study.sensitivity.perturbations


def probes_country(study: Study) -> bool:
    """Whether models are probed with what the country answered."""
    named = study.sensitivity.perturbations if study.sensitivity else ()
    return "national_distribution" in named


def wordings_input(study: Study) -> dict[str, str]:
    """The file of other wordings by its name among inputs; none where the study names none."""
    file = study.sensitivity.wordings if study.sensitivity else None
    return {} if file is None else {"wordings": file}


def compared_runs(study: Study) -> list[Run]:
    """Runs in the study's own prompt on these splits, of the models that are asked."""
    splits, named = perturbed_splits(study), study.sensitivity and study.sensitivity.models
    return [
        (model, variant, split)
        for model in study.models
        if named is None or model in named
        for variant in study.variants(model)
        for split in splits
        if study.evaluates_on(variant, split)
    ]


def asked_runs(study: Study) -> list[Run]:
    """Of them, those that are asked again: of language models, but for k-fold recipes."""
    if not (reworded(study) or probes_items(study)):
        return []
    return [
        (model, variant, split)
        for model, variant, split in compared_runs(study)
        if not study.is_baseline(model) and (variant == BASE or not study.fold_recipes(variant))
    ]


def perturbation_notices(study: Study) -> list[str]:
    """A line for each part of the perturbations that says less than its name."""
    config = study.sensitivity
    if config is None:
        return []
    lines = []
    if "paraphrase" in config.perturbations and config.wordings is None:
        lines.append(
            "sensitivity: paraphrase rewords the sentence about the persona alone; give other "
            "wordings of the questions under sensitivity.wordings"
        )
    asked = asked_runs(study)
    folded = {v for m, v, s in compared_runs(study) if (m, v, s) not in asked}
    folded &= {name for name in study.recipes if study.fold_recipes(name)}
    if folded and asked:
        lines.append(
            f"sensitivity: {', '.join(sorted(folded))} has a model for each fold and is asked "
            "nothing again"
        )
    served = sorted({model for model, _, _ in asked if study.is_service(model)})
    if served and probes_items(study):
        lines.append(
            f"sensitivity: {', '.join(served)} is a service, which scores no text that it is "
            "given: it has no item_text"
        )
    return lines
