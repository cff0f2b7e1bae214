"""Checks of who annotates text pairs."""

from collections.abc import Iterator
from pathlib import Path

from valuestrata import paths
from valuestrata.study.people import SimulatedAnnotators
from valuestrata.study.study import Study


def problems(study: Study, root: Path, files: bool) -> Iterator[str]:
    """One line for each problem; `files` says whether files must be there."""
    if study.simulated_annotators:
        yield from _simulated(study, study.simulated_annotators)
    if study.annotator_files and not study.judgements():
        yield "people: no judge compares texts here; give judges and generation, or people: null"
    elif study.annotator_files and files:
        yield from _files(study, study.annotator_files, root)


def _simulated(study: Study, annotators: SimulatedAnnotators) -> Iterator[str]:
    names = ", ".join(study.judges)
    if annotators.judge is not None and annotators.judge not in study.judges:
        yield f"people.simulate.judge: no judge {annotators.judge!r}; the judges are {names}"


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
