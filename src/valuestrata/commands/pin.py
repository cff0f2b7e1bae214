"""Pin the hub models of study files: write the commit in place of a branch or a tag."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import yaml

from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.inference.hub import commit_of
from valuestrata.study.models import COMMIT
from valuestrata.study.yaml import read_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which files."""
    parser.add_argument("files", nargs="+", help="study files, which are changed in place")


def run(arguments: argparse.Namespace) -> None:
    """Print one line for each model that was not pinned; the rest of a file stays as it is."""
    for path in arguments.files:
        read_yaml(path)
        text = Path(path).read_text(encoding="utf-8")
        changes = []
        for where, name, revision in unpinned(text):
            commit = commit_of(name, str(revision.value))
            print(f"{path}: {where}: {name} at {revision.value} is {commit}")
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
    for name, judge in _entries(study.get("judges")).items():
        models += [(f"judges.{name}.model", n) for k, n in _entries(judge).items() if k == "model"]
    for where, node in models:
        fields = _entries(node)
        model, revision = fields.get("model"), fields.get("revision")
        if not isinstance(revision, yaml.ScalarNode) or COMMIT.fullmatch(str(revision.value)):
            continue
        if not isinstance(model, yaml.ScalarNode):
            raise InputError(f"{where}: has a revision and no model")
        yield where, str(model.value), revision


def _entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value}
