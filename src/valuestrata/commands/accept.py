"""Count a run's results as valid although they were made otherwise, and keep that on record."""

import argparse
from pathlib import Path
from typing import Any

from valuestrata import io, paths
from valuestrata.errors import InputError
from valuestrata.records import read_record
from valuestrata.stages.job import differences, expected, made_by, read_accepted
from valuestrata.stages.nodes import Graph, Node
from valuestrata.study.load import load_files
from valuestrata.study.study import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run of which study, and why."""
    parser.add_argument("name", metavar="RUN", help="model, model/variant or model/variant/split")
    parser.add_argument(
        "files", nargs="*", default=["config.yaml"], help="study file and overlays (config.yaml)"
    )
    parser.add_argument("--reason", required=True, help="why the change does not matter")


def run(arguments: argparse.Namespace) -> None:
    """Accept the run's artefacts and those that they are made of; say what was accepted."""
    study = load_files(arguments.files, Path())
    accepted = accept(study, arguments.name, arguments.reason)
    for path, entry in accepted.items():
        print(f"accepted {path}: {'; '.join(entry['differences'])}")
    if not accepted:
        print(f"{arguments.name}: nothing differs in settings or code; nothing to accept")


def accept(study: Study, name: str, reason: str) -> dict[str, dict[str, Any]]:
    """Write accepted.json; what it gained, by path.

    Differences of settings and code are accepted, those of inputs cannot be.

    Raises:
        InputError: the study has no such run.
    """
    graph = Graph(study)
    chosen = [n for n in graph.nodes if n.name == name or n.name.startswith(f"{name}/")]
    if not chosen:
        names = ", ".join(dict.fromkeys(node.name for node in graph.nodes))
        raise InputError(f"no run is named {name!r}; runs are {names}")
    fresh = {}
    for node in _with_upstream(graph, chosen):
        for path in node.outputs:
            record = read_record(path)
            lines = (
                differences(study, path, record) if record and made_by(study, path, record) else []
            )
            if record and lines:
                today = expected(study, record.stage, record.run).record.digest
                about = {"made": record.digest, "as": today, "differences": lines}
                fresh[path] = {**about, "reason": reason}
    entries = {**_still_valid(study), **fresh}
    if fresh:
        io.write_json(entries, Path(study.results, paths.ACCEPTED))
    return fresh


def _with_upstream(graph: Graph, chosen: list[Node]) -> list[Node]:
    """Nodes and all that they are made of."""
    closure: dict[Node, None] = {}
    waiting = list(chosen)
    while waiting:
        node = waiting.pop()
        if node not in closure:
            closure[node] = None
            waiting += graph.upstream(node)
    return [node for node in graph.nodes if node in closure]


def _still_valid(study: Study) -> dict[str, dict[str, Any]]:
    """Earlier entries whose artefact has not been made anew."""
    records = {path: (read_record(path), entry) for path, entry in read_accepted(study).items()}
    return {
        path: entry
        for path, (record, entry) in records.items()
        if record and record.digest == entry["made"]
    }
