"""Try a study's judges with texts that are told up, longer, or the same, and say what they do."""

import argparse
from argparse import Namespace
from pathlib import Path

from valuestrata import io, judge_tables, paths
from valuestrata.errors import InputError
from valuestrata.report.probes import probe_lines
from valuestrata.stages import probe
from valuestrata.stages.job import at, check_input, is_stale, make_job
from valuestrata.study.load import load_files
from valuestrata.study.models import LocalModel
from valuestrata.study.study import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which study, which judge, and the resources that its model may use."""
    parser.add_argument(
        "files", nargs="*", default=["config.yaml"], help="study file and overlays (config.yaml)"
    )
    parser.add_argument("--judge", help="the judge to try; all that are models by default")
    parser.add_argument("--cache", help="folder of cached replies; by default the study's own")


def run(arguments: argparse.Namespace) -> None:
    """Write results/STUDY/probes/JUDGE.parquet where it is not there yet, and print its lines."""
    study = load_files(arguments.files, Path(), files=False)
    for judge in chosen_judges(study, arguments.judge):
        path = at(study, paths.PROBES, judge=judge)
        if not Path(path).exists() or is_stale(study, path):
            probe.run(
                make_job(study, "probe", {"judge": judge}, _options(study, judge, arguments), {})
            )
        check_input(study, path)
        for line in probe_lines(judge, io.read_table(path, judge_tables.PROBES)):
            print(line)
        print(f"table: {path}; the report shows it when snakemake runs next")


def chosen_judges(study: Study, name: str | None) -> list[str]:
    """The judge of a name, or all that are models.

    Raises:
        InputError: there is none, or the name is a panel's or nobody's.
    """
    names = list(study.judge_models)
    if not names:
        raise InputError(f"{study.name}: has no judges, so there is nothing to try")
    if name is not None and name in study.judges and name not in names:
        members = ", ".join(study.panel(name))
        raise InputError(f"--judge {name}: a panel asks no model; try its judges: {members}")
    if name is not None and name not in names:
        raise InputError(f"--judge {name}: the judges of {study.name} are {', '.join(names)}")
    return [name] if name else names


def _options(study: Study, judge: str, arguments: argparse.Namespace) -> Namespace:
    """Options of the stage: what the study lets the judge's jobs use."""
    model = study.judge_models[judge]
    gpus = model.gpus if isinstance(model, LocalModel) and not study.is_toy(judge) else 0
    return Namespace(
        study=f"{study.results}/{paths.STUDY}",
        threads=getattr(model, "threads", 1),
        gpus=gpus,
        cache=arguments.cache,
    )
