"""Answer all prompts that a study has for a model, or for one of its adapters, after one load.

Off unless the study says `one_load`. The nodes stay what they are: this makes their tables ahead
of them (stages/ahead.py), one after another and each as its own job would, to the last bit. A job
that is killed leaves the tables that it had written and the replies that it had stored, and the
next one goes on from there. A table that cannot be made is left to its own job, which says why.
"""

import argparse
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from valuestrata import io, paths
from valuestrata.errors import InputError
from valuestrata.stages import ahead
from valuestrata.stages.hardware import record_hardware
from valuestrata.stages.job import Files, Job, at, make_job, paths_of, stage_module
from valuestrata.stages.models import add_model_options, asked_model
from valuestrata.study.base import Part
from valuestrata.study.models import LocalModel
from valuestrata.study.study import BASE, Study, variant_parts

log = logging.getLogger(__name__)

Load = tuple[str, str]
"""Name of a model or judge, and its recipe; `base` where it has no adapter."""
Node = tuple[str, dict[str, str]]
"""A stage and its run."""


class Settings(Part):
    """Nothing depends on how tables are made."""


def runs(study: Study) -> list[dict[str, str]]:
    """None of its own: what it makes are the tables of other nodes."""
    return []


def loads(study: Study) -> dict[Load, list[Node]]:
    """The nodes that need the same weights, in the order of their stages; no services.

    A model has the base in all splits and prompt variants, and each adapter; a judge has all that
    it judges. Whoever has one node alone is left out, as nothing would be shared.
    """
    shared: dict[Load, list[Node]] = {}
    for stage in ahead.ASKING:
        for run in stage_module(stage).runs(study):
            name = asked_model(run)
            variant = BASE if "judge" in run else variant_parts(run["variant"])[0]
            if isinstance(study.model(name), LocalModel):
                shared.setdefault((name, variant), []).append((stage, run))
    return {load: nodes for load, nodes in shared.items() if len(nodes) > 1}


def settings(study: Study, model: str, variant: str) -> Settings:
    """No settings."""
    return Settings()


def inputs(study: Study, model: str, variant: str) -> Files:
    """All that the nodes read."""
    files = [
        path
        for stage, run in loads(study)[model, variant]
        for path in paths_of(stage_module(stage).inputs(study, **run))
    ]
    return {"files": tuple(dict.fromkeys(files))}


def outputs(study: Study, model: str, variant: str) -> Files:
    """A list of the tables, which says that they need not be waited for any longer."""
    return {"answered": at(study, paths.ANSWERED, model=model, variant=variant)}


def tables_of(study: Study, load: Load) -> list[str]:
    """The tables of all nodes of a load, where their own jobs put them."""
    return [
        path
        for stage, run in loads(study)[load]
        for path in paths_of(stage_module(stage).outputs(study, **run))
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Resources of the job."""
    add_model_options(parser)


def run(job: Job[Settings]) -> None:
    """Make the tables of all nodes that are not done."""
    from valuestrata.inference.lending import ModelLender

    assert job.study is not None
    lender, load = ModelLender(), job.record.run
    nodes = loads(job.study)[load["model"], load["variant"]]
    left = [f"{stage} {'/'.join(named.values())}" for stage, named in nodes]
    n_answered, errors = 0, set()
    for shown, (stage, named) in zip([*left], nodes, strict=True):
        try:
            is_new = _answer(job, job.study, stage, named, lender)
            left.remove(shown)
            log.info("%s: done%s", shown, "" if is_new else " before")
            n_answered += is_new
        except InputError as error:
            log.warning("%s: left to its own job: %s", shown, error)
            if not n_answered and str(error) in errors:
                break  # it is the weights: others need not try to load them here
            errors.add(str(error))
    log.info("%d of %d tables were asked for here", n_answered, len(nodes))
    content = {"tables": tables_of(job.study, (load["model"], load["variant"])), "left": left}
    io.write_json(content, job.path("answered"), job.record)


def _answer(
    job: Job[Settings], study: Study, stage: str, run: Mapping[str, str], lender: Any
) -> bool:
    """Make the tables of a node ahead of it; False where they are there already.

    Raises:
        InputError: they cannot be made.
    """
    if ahead.keep(study, stage, run):
        return False
    made = ahead.outputs_ahead(study, stage, run)
    node = make_job(study, stage, run, job.options, made)
    if ahead.are_made(made, node.record):
        return False
    log.info("%s %s: begins", stage, "/".join(run.values()))  # the next line may be a crash
    record_hardware(study.results, stage, run)
    stage_module(stage).run(replace(node, open_model=lender.open_model))
    return True
