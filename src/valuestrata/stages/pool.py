"""Put a k-fold recipe's predictions together: each pair's by the model not tuned on it."""

from valuestrata import io, paths, tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.study import Study, part_name
from valuestrata.tables import PAIR


class Settings(Part):
    """What pooled predictions depend on: nothing but the predictions."""

    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every run of a k-fold recipe."""
    return [
        {"model": model, "variant": variant, "split": split}
        for model, variant, split in study.runs()
        if variant in study.recipes and study.fold_recipes(variant)
    ]


def settings(study: Study, model: str, variant: str, split: str) -> Settings:
    """Settings of a run's pooled predictions."""
    return Settings(caveat=study.run_caveat(model))


def inputs(study: Study, model: str, variant: str, split: str) -> Files:
    """The pairs of the whole split, and a table of predictions a fold."""
    predictions = tuple(
        at(study, paths.PREDICTIONS, model=model, variant=fold, split=part_name(split, "test", i))
        for i, fold in enumerate(study.fold_recipes(variant))
    )
    return {"pairs": at(study, paths.PAIRS, split=split), "predictions": predictions}


def outputs(study: Study, model: str, variant: str, split: str) -> Files:
    """One prediction a pair."""
    path = at(study, paths.PREDICTIONS, model=model, variant=variant, split=split)
    return {"pooled": path}


def run(job: Job[Settings]) -> None:
    """Write one prediction a pair, in the order of the pairs."""
    pairs = io.read_table(job.path("pairs"), tables.PAIRS, PAIR)
    folds = io.read_table(job.paths("predictions"), tables.PREDICTIONS)
    pooled = pairs.merge(folds, on=PAIR, validate="one_to_one")
    if not len(pooled) == len(pairs) == len(folds):
        raise ValueError(f"{job.path('pooled')}: the folds are not a partition of the split")
    io.write_table(pooled, job.path("pooled"), tables.PREDICTIONS, job.record)
