"""Checks of which perturbations are tried, and on what."""

from collections.abc import Iterator

from valuestrata.study.perturbed import compared_runs, perturbed_splits
from valuestrata.study.study import Study

REWORDING = ("paraphrase", "item_text")
"""What other wordings of questions are for."""


def problems(study: Study) -> Iterator[str]:
    """One line for each problem."""
    config = study.sensitivity
    if config is None:
        return
    for key, names, known_names in (
        ("splits", config.splits, list(study.splits)),
        ("models", config.models, list(study.models)),
    ):
        for name in names or ():
            if name not in known_names:
                yield (
                    f"sensitivity.{key}: no {key.removesuffix('s')} {name!r}; {key} are "
                    f"{', '.join(known_names)}"
                )
    if not perturbed_splits(study):
        yield "sensitivity: the study has no test split; name splits under sensitivity.splits"
    elif not any(not study.is_baseline(model) for model, _, _ in compared_runs(study)):
        yield (
            "sensitivity: no language model to ask, and a baseline reads no prompt; name one under "
            "sensitivity.models, or remove sensitivity"
        )
    if config.wordings is not None and not set(REWORDING) & set(config.perturbations):
        yield (
            "sensitivity.wordings: used by paraphrase and item_text alone; add one to "
            "sensitivity.perturbations, or remove it"
        )
