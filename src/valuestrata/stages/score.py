"""Score one run's predictions pair by pair: one table a stratum."""

from pathlib import Path

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.metrics import distribution, ordinal
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.splits import stratum_id
from valuestrata.study.study import Study
from valuestrata.tables import PAIR


class Settings(Part):
    """What scores depend on; their definitions have no settings."""

    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every run of the study."""
    return [{"model": m, "variant": v, "split": s} for m, v, s in study.runs()]


def settings(study: Study, model: str, variant: str, split: str) -> Settings:
    """Settings of a run's scores."""
    return Settings(caveat=study.run_caveat(model))


def inputs(study: Study, model: str, variant: str, split: str) -> Files:
    """Pairs and predictions of a run."""
    return {
        "pairs": at(study, paths.PAIRS, split=split),
        "predictions": at(study, paths.PREDICTIONS, model=model, variant=variant, split=split),
    }


def outputs(study: Study, model: str, variant: str, split: str) -> Files:
    """A table a stratum."""
    run = {"model": model, "variant": variant, "split": split}
    strata = [stratum_id(axes) for axes in study.strata(split)]
    return {"scores": tuple(at(study, paths.SCORES, **run, stratum=s) for s in strata)}


def run(job: Job[Settings]) -> None:
    """Score every pair; a pair without prediction or prediction without pair is an error."""
    pairs = io.read_table(job.path("pairs"), tables.PAIRS)
    predictions = io.read_table(job.path("predictions"), tables.PREDICTIONS)
    merged = pairs.merge(
        predictions[[*PAIR, "outcome", "answer", "distribution", "non_option_mass"]],
        on=PAIR,
        how="outer",
        suffixes=("", "_model"),
        validate="one_to_one",
    )
    for column, what in (
        ("mode", "predictions have no pair"),
        ("outcome", "pairs have no outcome"),
    ):
        if merged[column].isna().any():
            raise ValueError(f"{job.path('predictions')}: {merged[column].isna().sum()} {what}")
    scores = _scores(merged)
    for path in job.paths("scores"):
        rows = scores[scores["stratum"] == Path(path).stem]
        io.write_table(rows, path, tables.SCORES, job.record)


def _scores(merged: pd.DataFrame) -> pd.DataFrame:
    answer, mode, scale_min, scale_max = (
        merged[name].to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("answer", "mode", "scale_min", "scale_max")
    )
    is_ordinal = (merged["measurement_level"] == "ordinal").to_numpy(dtype=bool)
    codes = _padded(merged["codes"], merged["codes"].map(len).max(), last=True)
    people = _padded(merged["distribution"], codes.shape[1])
    model = _padded(merged["distribution_model"], codes.shape[1])
    w1 = distribution.wasserstein(model, people, codes, scale_min, scale_max)
    top, confidence = distribution.likeliest(model)
    likeliest = np.where(np.isnan(confidence), np.nan, codes[np.arange(len(codes)), top])
    return pd.DataFrame(
        {
            **{
                name: merged[name]
                for name in [*PAIR, "block", "measurement_level", "outcome", "answer"]
            },
            "accuracy": ordinal.accuracy(answer, mode),
            "nmae": ordinal.nmae(answer, mode, scale_min, scale_max, is_ordinal),
            "wasserstein": np.where(is_ordinal, w1, np.nan),
            "jensen_shannon": distribution.jensen_shannon(model, people),
            "total_variation": distribution.total_variation(model, people),
            "argmax_accuracy": ordinal.accuracy(likeliest, mode),
            "confidence": confidence,
            "non_option_mass": merged["non_option_mass"],
        }
    )


def _padded(lists: pd.Series, width: int, last: bool = False) -> np.ndarray:
    """[n, width] rows of the lists, padded with 0 or their last value; NaN rows where missing."""
    rows = np.full((len(lists), width), np.nan)
    for i, values in enumerate(lists):
        if values is not None and not np.isscalar(values):
            rows[i, : len(values)] = values
            rows[i, len(values) :] = values[-1] if last else 0.0
    return rows
