"""The text pairs that judges compared, and their verdicts, of all runs of a study."""

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.errors import InputError
from valuestrata.stages.job import at, check_input
from valuestrata.study.study import Study
from valuestrata.tables import PAIR

Reference = tuple[str, str]
"""Model and variant of a reference run."""


def reference_of(study: Study, judge: str) -> Reference:
    """The run that a judge compares the others with."""
    reference = study.judges[judge].reference
    return reference.model, reference.variant


def text_pairs(study: Study, reference: Reference) -> pd.DataFrame:
    """Every text pair with a reference: model, variant, split, pair, persona, prompt, both texts.

    Columns: those of `annotation.sample.ITEM`, persona, prompt, text and reference. Pairs without
    one of the texts are left out, and so is the reference itself.

    Raises:
        InputError: a table is missing, or is not what the study asks for.
    """
    frames = []
    for model, variant, split in study.generation_runs():
        if (model, variant) == reference:
            continue
        texts, others = (_texts(study, *run, split) for run in ((model, variant), reference))
        path = at(study, paths.PAIRS, split=split)
        check_input(study, path)
        personas = io.read_table(path, tables.PAIRS, [*PAIR, "persona"])
        both = texts.merge(
            others[[*PAIR, "text"]].rename(columns={"text": "reference"}), on=PAIR
        ).merge(personas, on=PAIR)
        both = both.dropna(subset=["text", "reference"])
        run = {"model": model, "variant": variant, "split": split}
        frames.append(both[[*PAIR, "persona", "prompt", "text", "reference"]].assign(**run))
    if not frames:
        raise InputError(f"{study.name}: no run but the reference writes open-ended answers")
    return pd.concat(frames, ignore_index=True)


def _texts(study: Study, model: str, variant: str, split: str) -> pd.DataFrame:
    path = at(study, paths.TEXTS, model=model, variant=variant, split=split)
    check_input(study, path)
    return io.read_table(path, tables.TEXTS)


def verdicts_of(study: Study, judge: str) -> tuple[pd.DataFrame, list[str]]:
    """A judge's verdicts on every run but the reference, with the run's names, and their files.

    Raises:
        InputError: a table is missing, or is not what the study asks for.
    """
    frames, files = [], []
    for model, variant, split, name in study.judgements():
        if name != judge or (model, variant) == reference_of(study, judge):
            continue
        run = {"model": model, "variant": variant, "split": split}
        path = at(study, paths.VERDICTS, **run, judge=judge)
        check_input(study, path)
        frames.append(io.read_table(path, tables.VERDICTS).assign(**run))
        files.append(path)
    if not frames:
        raise InputError(f"{study.name}: {judge} judges no run but its reference")
    return pd.concat(frames, ignore_index=True), files
