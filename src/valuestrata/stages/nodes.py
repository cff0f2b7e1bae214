"""All nodes of a study's graph, and which of their artefacts are done, missing or stale, and why.

It knows what Snakemake knows of the graph, from the stages' own functions; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from valuestrata.records import Record, changed_inputs, content_digest, read_record
from valuestrata.stages.job import differences, made_by, paths_of, shown_run, stage_module
from valuestrata.stages.names import STAGES
from valuestrata.study.study import Study

DONE, MISSING, STALE = "done", "missing", "stale"
SURVEY_STAGES = {
    "simulate", "clean", "tally", "diversity", "pairs", "labels", "ceiling", "summary",
    "perturb",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One run of a stage, with the files that it reads and writes."""

    stage: str
    run: tuple[tuple[str, str], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the node belongs to: toy-llama/sft/ood, toy-llama/sft, a judge, or its side."""
        keys = dict(self.run)
        if "model" in keys:
            named = [keys[key] for key in ("model", "recipe", "variant", "split") if key in keys]
            return "/".join(named)
        if "judge" in keys:
            return keys["judge"]
        return "survey" if self.stage in SURVEY_STAGES else "report"


@dataclass(frozen=True)
class State:
    """done, missing or stale; `reasons` say why in words, a line each."""

    kind: str
    reasons: tuple[str, ...] = ()


def nodes(study: Study) -> list[Node]:
    """Every node of the study, in the order of the stages."""
    return [
        Node(
            stage,
            tuple(run.items()),
            tuple(paths_of(stage_module(stage).inputs(study, **run))),
            tuple(paths_of(stage_module(stage).outputs(study, **run))),
        )
        for stage in STAGES
        for run in stage_module(stage).runs(study)
    ]


class Graph:
    """The nodes of a study and their states."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.nodes = nodes(study)
        self._digest = cache(content_digest)
        self._states: dict[Node, State] = {}

    @cached_property
    def makers(self) -> Mapping[str, Node]:
        """The node that makes a path."""
        return {path: node for node in self.nodes for path in node.outputs}

    def upstream(self, node: Node) -> list[Node]:
        """The nodes that make a node's inputs."""
        makers = (self.makers.get(path) for path in node.inputs)
        return list(dict.fromkeys(maker for maker in makers if maker))

    def state(self, node: Node) -> State:
        """Whether a node's artefacts are there and are what the study and the code ask for."""
        if node not in self._states:
            self._states[node] = self._find_state(node)
        return self._states[node]

    def _find_state(self, node: Node) -> State:
        absent = [path for path in node.outputs if not Path(path).exists()]
        if absent:
            return State(MISSING, (f"{node.stage}: {Path(absent[0]).name} is not there",))
        reasons = list(dict.fromkeys(r for path in node.outputs for r in self._reasons(path)))
        reasons = [f"{node.stage}: {reason}" for reason in reasons]
        waiting = [n for n in self.upstream(node) if self.state(n).kind != DONE]
        reasons += [f"{node.stage}: waits for {n.stage} of {n.name}" for n in waiting]
        return State(STALE if reasons else DONE, tuple(reasons))

    def _reasons(self, path: str) -> list[str]:
        record = read_record(path)
        if record is None:
            return [f"{Path(path).name} says nothing of what it is made of"]
        if not made_by(self.study, path, record):
            return [f"{Path(path).name} was made by {record.stage} for {shown_run(record)}"]
        failed = [f"{record.n_failed:,} calls failed and are retried"] if record.n_failed else []
        return failed + differences(self.study, path, record) + self._changed_inputs(record)

    def _changed_inputs(self, record: Record) -> list[str]:
        """Changed inputs; each file is read once, however many artefacts are made of it."""
        return changed_inputs(record, "", self._digest)
