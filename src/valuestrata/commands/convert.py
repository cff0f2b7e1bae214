"""Convert a GGUF file into a folder that a study can name as a model."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and where to."""
    parser.add_argument("file", help="a .gguf file")
    parser.add_argument("folder", help="a new folder")


def run(arguments: argparse.Namespace) -> None:
    """Write the folder; say what to name in a study."""
    from valuestrata.inference import gguf

    gguf.convert(Path(arguments.file), Path(arguments.folder))
    log.info(
        "%s: written; its weights stay as %s rounded them. In a study: `model: %s`",
        arguments.folder,
        arguments.file,
        arguments.folder,
    )
