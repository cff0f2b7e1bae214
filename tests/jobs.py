"""Run a stage on files of a test's own."""

from collections.abc import Mapping
from typing import Any

from valuestrata.records import Record
from valuestrata.stages.job import Files, Job
from valuestrata.study.base import Part
from valuestrata.study.study import dump


def run_stage(
    module: Any, settings: Part, files: Files, run: Mapping[str, str] | None = None
) -> None:
    """Run a stage module with these settings; `files` are its inputs and outputs by name."""
    stage = module.__name__.rpartition(".")[2]
    module.run(Job(settings, files, Record(stage, dict(run or {}), dump(settings))))
