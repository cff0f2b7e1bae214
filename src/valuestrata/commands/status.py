"""Say of each run what is done, missing or stale, and why."""

import argparse
from collections import Counter
from pathlib import Path

from valuestrata.stages.nodes import DONE, MISSING, STALE, Graph, Node
from valuestrata.study.load import load_files
from valuestrata.study.study import Study

SHOWN = 3
"""Reasons a row; --all shows the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which study."""
    parser.add_argument(
        "files", nargs="*", default=["config.yaml"], help="study file and overlays (config.yaml)"
    )
    parser.add_argument("--all", action="store_true", help="every reason, not the first few")


def run(arguments: argparse.Namespace) -> None:
    """Print a line a run, its reasons below it, and what a run of snakemake would make."""
    study = load_files(arguments.files, Path())
    print(text(study, None if arguments.all else SHOWN))


def text(study: Study, most: int | None = SHOWN) -> str:
    """The status of a study; at most `most` reasons a run."""
    graph = Graph(study)
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes:
        groups.setdefault(node.name, []).append(node)
    width = max(map(len, groups))
    lines = [f"study {study.name} in {study.results}"]
    for name, members in groups.items():
        kind, reasons = _summary(graph, members)
        lines.append(f"  {name:{width}}  {kind}")
        lines += [f"  {'':{width}}    {reason}" for reason in reasons[:most]]
        if most is not None and len(reasons) > most:
            lines.append(f"  {'':{width}}    and {len(reasons) - most} more: --all")
    counts = Counter(graph.state(node).kind for node in graph.nodes)
    todo = counts[MISSING] + counts[STALE]
    lines.append(
        f"{len(graph.nodes)} jobs: {counts[DONE]} done, {counts[MISSING]} missing, "
        f"{counts[STALE]} stale" + (": snakemake makes what is not done" if todo else "")
    )
    if any(graph.state(node).kind == STALE for node in graph.nodes):
        lines.append("`valuestrata accept RUN` keeps results after a change that does not matter")
    return "\n".join(lines)


def _summary(graph: Graph, members: list[Node]) -> tuple[str, list[str]]:
    """The worst state of some nodes, and their reasons: causes first, then what waits for them."""
    states = [graph.state(node) for node in members]
    kinds = [state.kind for state in states]
    kind = STALE if STALE in kinds else MISSING if MISSING in kinds else DONE
    reasons = list(dict.fromkeys(reason for state in states for reason in state.reasons))
    return kind, sorted(reasons, key=lambda reason: ": waits for " in reason)
