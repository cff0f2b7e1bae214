"""Checks of who annotates text pairs."""

from collections.abc import Iterator
from pathlib import Path

from valuestrata import paths
from valuestrata.study.people import SimulatedAnnotators
from valuestrata.study.study import Study

ALL = "all"
"""Stands for all annotators in tables, so none can have this name."""


def problems(study: Study, root: Path, files: bool) -> Iterator[str]:
    """One line for each problem; `files` says whether files must be there."""
    people = study.people
    if people is None:
        return
    if not study.judgements():
        yield "people: no judge compares texts here; give judges and generation, or people: null"
        return
    if people.simulate:
        yield from _simulated(study, people.simulate)
    elif files:
        yield from _files(study, people.files, root)


def _simulated(study: Study, annotators: SimulatedAnnotators) -> Iterator[str]:
    names = ", ".join(study.judges)
    if annotators.judge is not None and annotators.judge not in study.judges:
        yield f"people.simulate.judge: no judge {annotators.judge!r}; the judges are {names}"
    if ALL in annotators.slips:
        yield f"people.simulate.slips.{ALL}: the name is reserved for tables; take another"
    writers = {model for model, *_ in study.generation_runs()}
    if not any(study.is_toy(model) for model in writers):
        yield (
            "people.simulate: simulated annotators look for phrases of toy models, and no toy "
            "writes here; give people.files, or people: null"
        )


def _files(study: Study, given: tuple[str, ...], root: Path) -> Iterator[str]:
    for path in given:
        if not (root / path).is_file():
            yield f"people.files: no file {path}; give csv files saved on the annotators' page"
            return
    key = paths.ANNOTATION_KEY.format(sample="*")
    if not list((root / study.results).glob(key)):
        yield (
            f"people.files: no key of a sample in {study.results}/annotation; annotations are read "
            "by the key that `valuestrata annotate` wrote beside the page: put it back"
        )
