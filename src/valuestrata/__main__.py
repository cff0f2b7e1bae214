"""Command line: `valuestrata STAGE ...`, as the rules call it, and commands such as `check`."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from valuestrata.errors import InputError
from valuestrata.stages.names import STAGES

COMMANDS = {
    "check": "check study files, and the survey's columns and questions",
    "power": "say which differences a study can find before a model runs",
    "status": "say which results are done, missing or stale, and why",
    "accept": "count a run's results as valid although they were made otherwise",
    "cost": "say what a study's models at services will cost, before anything is paid",
    "pin": "write the commit of each hub model into study files",
    "convert": "convert a GGUF file into a folder that a study can name as a model",
    "codebook": "draft a codebook from the labels of an SPSS or Stata file",
    "annotate": "write a page on which people judge text pairs blind, and its key",
    "agreement": "compare people's annotations with each other and with the judges",
    "compare": "compare two runs, or two folders of results, on the pairs that both answered",
    "probe-judge": "try judges with texts that tell them what to answer, longer or equal ones",
    "export": "copy what may be published, without small cells",
    "schema": "write the JSON schema of study files",
}
"""Commands that a person types."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage or command. Returns 0, or 2 where the user's input cannot be used."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="valuestrata", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((a for a in given if a in STAGES or a in COMMANDS), None)
    # `compare --study ...` is the stage as its rule calls it, `compare A B` what a person types
    is_stage = chosen in STAGES and (chosen not in COMMANDS or "--study" in given)
    for name, does in {**COMMANDS, **STAGES, **COMMANDS}.items():
        command = commands.add_parser(name, help=does, description=does)
        if name == chosen and is_stage:
            _add_stage(command, name)
        elif name == chosen:
            module = importlib.import_module(f"valuestrata.commands.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    options = parser.parse_args(given)
    try:
        options.run(options)
    except InputError as error:
        print(f"valuestrata {options.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `valuestrata status | head`: whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _add_stage(parser: argparse.ArgumentParser, stage: str) -> None:
    """Arguments of a stage: the study, what names the run, other paths for its files, options."""
    from valuestrata.stages.job import run_keys, stage_module

    module = stage_module(stage)
    parser.add_argument("--study", required=True, help="results/STUDY/study.json, by snakemake")
    for key in run_keys(stage):
        parser.add_argument(f"--{key.replace('_', '-')}", required=True, metavar=key.upper())
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="another path for an input or output, such as pairs=mine.parquet",
    )
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser)
    parser.set_defaults(run=_run_stage)


def _run_stage(options: argparse.Namespace) -> None:
    from valuestrata.stages import ahead
    from valuestrata.stages.hardware import record_hardware
    from valuestrata.stages.job import make_job, run_keys, stage_module
    from valuestrata.study.study import Study

    try:
        study = Study.from_json(Path(options.study).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"{options.study}: not a study that snakemake wrote; run snakemake, or give "
            "results/STUDY/study.json"
        ) from None
    stage = options.command
    run = {key: getattr(options, key) for key in run_keys(stage)}
    other = dict(item.partition("=")[::2] for item in options.file)
    job = make_job(study, stage, run, options, other)
    if ahead.take(study, job):
        logging.info("%s: made ahead, by `answer`", stage)
        return
    record_hardware(study.results, stage, run)
    stage_module(stage).run(job)


if __name__ == "__main__":
    sys.exit(main())
