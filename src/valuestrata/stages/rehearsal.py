"""What a study's jobs would ask of services: its stages are run where nothing is asked or kept.

What the graph has made already is read; what it has not is made in a folder that goes away: the
survey's tables from its file, texts as long as they may be. Without the survey's file every group
of every axis is taken to be large enough, which gives the most calls that there can be.
"""

import math
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.errors import InputError
from valuestrata.inference.counting import CountingBackend
from valuestrata.inference.ledger import Tokens
from valuestrata.records import Record
from valuestrata.stages import clean
from valuestrata.stages.ahead import ASKING
from valuestrata.stages.job import Job, stage_module
from valuestrata.stages.models import asked_model
from valuestrata.stages.nodes import DONE, Graph, Node
from valuestrata.study.models import OpenAIModel
from valuestrata.study.study import Study, dump
from valuestrata.survey import readers
from valuestrata.survey.groups import Group, Groups

WEIGHTS = ("weights", "adapter")
"""Inputs that nothing is read from here."""
FEWEST_RESAMPLES = 10
"""Resampling takes time and changes no call."""
MOST_ROWS = 1_000_000
"""Respondents of a survey that is made up."""
OTHER_SCRIPT = 0.25
"""Share of bytes outside ASCII from which prompts count as of another script than Latin."""
NO_SURVEY = "the survey's file is not here: every group is taken to be large enough"
NO_TEXTS = "texts that are not written yet count as the longest"


@dataclass(frozen=True)
class JobPlan:
    """What a job would ask.

    Attributes:
        node: the job.
        asked: name of the model, or of the judge.
        calls: what each call would take: prompt estimated, reply at its longest.
        n_cached: replies that are cached.
        is_done: whether its results are there.
        doubts: why it may ask less.
        other_script: whether much of its prompts is in another script than Latin.
    """

    node: Node
    asked: str
    calls: tuple[Tokens, ...] = ()
    n_cached: int = 0
    is_done: bool = False
    doubts: tuple[str, ...] = ()
    other_script: bool = False


class Rehearsal:
    """The graph of a study as it would run in a folder of its own."""

    def __init__(self, study: Study, folder: Path) -> None:
        """Link the cached replies, so that none that is made up joins them."""
        self.study, self.folder = study, folder
        self.graph = Graph(study)
        self._plans: dict[Node, JobPlan] = {}
        self._doubts: dict[Node, set[str]] = {}
        quick = study.evaluation.replace(n_resamples=FEWEST_RESAMPLES)
        self._quick = study.replace(evaluation=quick)
        for shard in Path(study.results).glob(f"{paths.REPLIES}/**/*.jsonl"):
            link = folder / shard
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(shard.resolve())

    def plans(self) -> list[JobPlan]:
        """What each job that asks a service would ask.

        Raises:
            InputError: what the jobs need cannot be made; one line.
        """
        asking = [node for node in self.graph.nodes if node.stage in ASKING]
        served = [node for node in asking if self.study.is_service(_asked(node))]
        for node in served:
            if self.graph.state(node).kind == DONE:
                self._plans[node] = JobPlan(node, _asked(node), is_done=True)
            else:
                self._make(node)
        return [self._plans[node] for node in served]

    def _make(self, node: Node) -> None:
        """Run a node's stage, once."""
        if node in self._doubts:
            return
        module, run = stage_module(node.stage), dict(node.run)
        doubts = self._doubts.setdefault(node, set())
        inputs = {
            name: self._moved(files, doubts)
            for name, files in module.inputs(self.study, **run).items()
            if name not in WEIGHTS
        }
        outputs = {
            name: _each(files, lambda path: str(self.folder / path))
            for name, files in module.outputs(self.study, **run).items()
        }
        settings = module.settings(self._quick, **run)
        backend = CountingBackend(self._service(node)) if node.stage in ASKING else None
        options = Namespace(
            study=str(self.folder / self.study.results / paths.STUDY), cache=None, threads=1, gpus=0
        )
        record = Record(node.stage, run, dump(settings))
        job = Job(settings, {**inputs, **outputs}, record, options, backend=backend)
        if node.stage == "clean" and not Path(job.path("survey")).is_file():
            doubts.add(NO_SURVEY)
            make_up(self.study, job)
        else:
            module.run(job)
        if backend is not None:
            self._plans[node] = JobPlan(
                node,
                _asked(node),
                tuple(backend.calls),
                backend.n_cached,
                doubts=tuple(sorted(doubts)),
                other_script=backend.n_other_bytes > OTHER_SCRIPT * backend.n_bytes,
            )

    def _moved(self, files: str | tuple[str, ...], doubts: set[str]) -> str | tuple[str, ...]:
        """Files as the graph has made them, or as they are made here."""

        def path_of(path: str) -> str:
            maker = self.graph.makers.get(path)
            if maker is None or self.graph.state(maker).kind == DONE:
                return path
            self._make(maker)
            doubts.update(self._doubts[maker], {NO_TEXTS} if maker.stage == "generate" else ())
            return str(self.folder / path)

        return _each(files, path_of)

    def _service(self, node: Node) -> OpenAIModel:
        """The model that a node asks; one that stands for a model that is here."""
        model = self.study.model(_asked(node))
        if isinstance(model, OpenAIModel):
            return model
        return OpenAIModel(backend="openai", model=_asked(node), base_url="http://localhost")


def _asked(node: Node) -> str:
    return asked_model(dict(node.run))


def _each(files: str | tuple[str, ...], change: Callable[[str], str]) -> str | tuple[str, ...]:
    return change(files) if isinstance(files, str) else tuple(map(change, files))


def make_up(study: Study, job: Job[clean.Settings]) -> None:
    """Write a survey's tables in which every subgroup of every stratum has enough respondents.

    Raises:
        InputError: the groups of an axis are only in the file, or there are too many subgroups.
    """
    groups = {name: tuple(axis.names()) for name, axis in study.axes.items()}
    where = f"{study.survey_file or 'the survey'}: not here"
    unnamed = [name for name, labels in groups.items() if not labels]
    if unnamed:
        raise InputError(f"{where}, and only it says which groups axis {unnamed[0]} has")
    strata = {axes for split in study.splits for axes in study.strata(split)}
    n_each = max(study.min_subgroup_n, study.min_pair_n)
    if n_each * sum(math.prod(len(groups[a]) for a in axes) for axes in strata) > MOST_ROWS:
        raise InputError(f"{where}, and there are too many subgroups to count without it")
    cells = [
        dict(zip(axes, labels, strict=True))
        for axes in sorted(strata)
        for labels in product(*(groups[axis] for axis in axes))
    ]
    cell = np.repeat(np.arange(len(cells)), n_each)
    chosen = clean.chosen_questions(job.path("codebook"), job.settings)
    people = pd.DataFrame([cells[i] for i in cell], columns=[*groups]).astype("string")
    answers = pd.DataFrame(  # which divide subgroups, some questions more than others
        {
            question.question: question.scale_min
            + cell * i % (question.scale_max - question.scale_min + 1)
            for i, question in enumerate(chosen)
        }
    )
    about = pd.DataFrame({"respondent": people.index.astype(str), "weight": 1.0})
    responses = pd.concat([about, people, answers], axis=1)
    questions = pd.DataFrame([readers.question_row(responses, question) for question in chosen])
    axes = {
        name: tuple(Group(label=label, codes=(), n=n_each) for label in labels)
        for name, labels in groups.items()
    }
    io.write_table(responses, job.path("responses"), tables.RESPONSES, job.record)
    io.write_table(questions, job.path("questions"), tables.QUESTIONS, job.record)
    content = Groups(countries=(), axes=axes).model_dump(mode="json")
    io.write_json(content, job.path("groups"), job.record)
    io.write_json({"notices": []}, job.path("notices"), job.record)
