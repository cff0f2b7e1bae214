"""Tables that are made before the jobs that they belong to, and what those jobs do with them.

`answer` makes the tables of all nodes of a model after one load (stages/answer.py). They lie beside
the stored replies, each with the record that its own job would give it, and the job moves them into
place where that record is what the study, the code and the inputs ask for today. A table that is
anything else is never taken. Deleting them costs time, never results; a run that ends well deletes
those whose job is done.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valuestrata import io, paths
from valuestrata.records import Record, changed_inputs, read_record
from valuestrata.stages.job import Files, Job, is_stale, paths_of, stage_module
from valuestrata.study.study import Study

ASKING = ("predict", "generate", "judge", "probe", "ask_perturbed")
"""Stages that ask a model."""


def outputs_ahead(study: Study, stage: str, run: Mapping[str, str]) -> dict[str, Any]:
    """Where the outputs of a run lie when they are made ahead, by name."""
    outputs: Files = stage_module(stage).outputs(study, **run)
    return {
        name: _ahead(study, files)
        if isinstance(files, str)
        else tuple(_ahead(study, path) for path in files)
        for name, files in outputs.items()
    }


def _ahead(study: Study, path: str) -> str:
    return f"{study.results}/{paths.AHEAD}/{path.removeprefix(f'{study.results}/')}"


def are_made(files: Files, record: Record) -> bool:
    """Whether all of some tables are there and are made of exactly that."""
    return all(read_record(path) == record for path in paths_of(files))


def take(study: Study, job: Job[Any]) -> bool:
    """Move what was made ahead of a job into its place; False where it is not what it makes.

    Nothing is taken away before all is in place, and the two may lie on different disks.
    """
    stage, run = job.record.stage, job.record.run
    if stage not in ASKING:
        return False
    ahead = outputs_ahead(study, stage, run)
    if not are_made(ahead, job.record):
        return False
    places = paths_of({name: job.files[name] for name in ahead})
    for path, place in zip(paths_of(ahead), places, strict=True):
        _copy(path, place)
    for path in paths_of(ahead):
        Path(path).unlink(missing_ok=True)
    return True


def keep(study: Study, stage: str, run: Mapping[str, str]) -> bool:
    """Copy the outputs of a run aside if they are done: Snakemake deletes those that it reruns."""
    outputs = [*paths_of(stage_module(stage).outputs(study, **run))]
    for path in outputs:
        record = read_record(path)
        if record is None or is_stale(study, path) or changed_inputs(record, study.results):
            return False
    for path, ahead in zip(outputs, paths_of(outputs_ahead(study, stage, run)), strict=True):
        _copy(path, ahead)
    return True


def tidy(study: Study) -> None:
    """Delete what lies ahead of jobs that are done, what a killed job left, and empty folders.

    What was made for jobs that have yet to run stays. No job may run meanwhile.
    """
    top = Path(study.results, paths.AHEAD)
    for folder, _, names in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):  # results that may only be read; a folder that stays
            for path in (Path(folder, name) for name in names):
                is_half = path.name.startswith(".")
                if is_half or Path(study.results, path.relative_to(top)).exists():
                    path.unlink()
            Path(folder).rmdir()


def _copy(path: str, place: str) -> None:
    with io.replacing(place) as copy:
        shutil.copyfile(path, copy)
