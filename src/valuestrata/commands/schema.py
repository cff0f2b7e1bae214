"""Write the JSON schema of study files, from which editors complete and check them."""

import argparse
from pathlib import Path

from valuestrata.study import schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument("--output", type=Path, default=schema.PATH, help="file of the schema")


def run(arguments: argparse.Namespace) -> None:
    """Write it."""
    schema.write(arguments.output)
    print(f"wrote {arguments.output}")
