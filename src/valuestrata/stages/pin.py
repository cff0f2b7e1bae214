"""Pin the hub models of study files: write the commit in place of a branch or a tag."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import yaml

from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.inference.hub import commit_of
from valuestrata.specs import COMMIT
from valuestrata.validate import read_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which files."""
    parser.add_argument("files", nargs="+", help="study files, which are changed in place")


def run(arguments: argparse.Namespace) -> None:
    """Print one line a model that was not pinned; everything else in a file stays as it is."""
    for path in arguments.files:
        read_yaml(path)
        text = Path(path).read_text(encoding="utf-8")
        changes = []
        for name, weights, revision in unpinned(text):
            commit = commit_of(weights, str(revision.value))
            print(f"{path}: {name}: {weights} at {revision.value} is {commit}")
            changes.append((revision.start_mark.index, revision.end_mark.index, commit))
        for start, end, commit in sorted(changes, reverse=True):
            text = text[:start] + commit + text[end:]
        if changes:
            io.write_text(text, path)
        else:
            print(f"{path}: nothing to pin")


def unpinned(text: str) -> Iterator[tuple[str, str, yaml.ScalarNode]]:
    """(where, hub name, the revision in the text) of each model whose revision is no commit."""
    study = _entries(yaml.compose(text, Loader=yaml.SafeLoader))
    models = [(f"models.{name}", node) for name, node in _entries(study.get("models")).items()]
    for name, node in _entries(study.get("judges")).items():
        models += [(f"judges.{name}.model", n) for k, n in _entries(node).items() if k == "model"]
    for where, node in models:
        said = _entries(node)
        weights, revision = said.get("weights"), said.get("revision")
        if not isinstance(revision, yaml.ScalarNode) or COMMIT.fullmatch(str(revision.value)):
            continue
        if not isinstance(weights, yaml.ScalarNode):
            raise InputError(f"{where}: has a revision and no weights")
        yield where, str(weights.value), revision


def _entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value}
