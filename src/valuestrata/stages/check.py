"""Check study files."""

import argparse
import os

from valuestrata.config import SURVEY_VARIABLE
from valuestrata.errors import InputError
from valuestrata.validate import load, read_yaml, unpinned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which files."""
    parser.add_argument("files", nargs="+", help="study files")
    parser.add_argument(
        "--survey", action="store_true", help="the survey file and local weights must exist, too"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print one line a file and warning; the first fault of each bad file ends in exit 2."""
    faults = []
    if not arguments.survey:
        os.environ.setdefault(SURVEY_VARIABLE, "any")
    for path in arguments.files:
        try:
            study = load(read_yaml(path), files=arguments.survey)
            print(f"{path}: study {study.name}, {len(study.runs())} runs: fine")
            for warning in unpinned(study):
                print(f"{path}: warning: {warning}")
        except InputError as error:
            faults.append(f"{path}: {error}")
    if faults:
        raise InputError("\n".join(faults))
