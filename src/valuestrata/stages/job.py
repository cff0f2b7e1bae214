"""What ties a stage to a study: the part it depends on, the files it reads and writes, its record.

A stage is a module of this package with

    Settings                                     what the results depend on, and nothing else
    runs(study) -> list of dicts                 every run of the stage in a study
    settings(study, **run) -> Settings
    inputs(study, **run), outputs(study, **run)  paths by name
    run(job)                                     read, call, write
    entries(settings)                            code that the settings choose, if any
    add_arguments(parser)                        options that no result depends on, if any

The graph and the command line use the same functions, so what a stage reads and what makes it rerun
cannot differ.
"""

import argparse
import contextlib
import gc
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from valuestrata import io, paths
from valuestrata.errors import InputError
from valuestrata.provenance import PACKAGE, SOURCE, definition_digests, text_digest
from valuestrata.records import (
    Record,
    changed_code,
    changed_inputs,
    changed_settings,
    content_digest,
    read_record,
)
from valuestrata.study.base import Part
from valuestrata.study.study import Study, dump

S = TypeVar("S", bound=Part)
Files = Mapping[str, str | tuple[str, ...]]
"""Path, or paths, by name."""


@dataclass(frozen=True)
class Job(Generic[S]):
    """One run of a stage: its settings, its files by name, its record and its other options.

    `study` is for what no result depends on: a service's pace, its prices, the budget. `backend`
    takes the place of the model's own, `open_model` that of the way in which it is opened.
    """

    settings: S
    files: Files
    record: Record
    options: argparse.Namespace = field(default_factory=argparse.Namespace)
    study: Study | None = None
    backend: Any = None
    open_model: Any = None

    def path(self, name: str) -> str:
        """The one file of a name."""
        path = self.files[name]
        assert isinstance(path, str), f"{name} names several files"
        return path

    def paths(self, name: str) -> list[str]:
        """All files of a name; none where the run has none."""
        return several(self.files.get(name, ()))


@dataclass(frozen=True)
class Expected:
    """What an artefact would be made of today; `explicit` holds the settings off their defaults."""

    record: Record
    explicit: Mapping[str, Any]

    def differences(self, record: Record) -> list[str]:
        """What of settings and code is different in a record, a line each."""
        if record.settings == self.record.settings and record.code == self.record.code:
            return []
        settings = changed_settings(record.settings, self.record.settings, self.explicit)
        return settings + changed_code(record.code, self.record.code)


@cache
def stage_module(stage: str) -> Any:
    """The module of a stage."""
    return importlib.import_module(f"valuestrata.stages.{stage}")


@cache
def run_keys(stage: str) -> tuple[str, ...]:
    """What names a run of a stage: model, variant, split, ..."""
    return tuple(inspect.signature(stage_module(stage).settings).parameters)[1:]


def expected(study: Study, stage: str, run: Mapping[str, str]) -> Expected:
    """What a run's artefacts would be made of, but for its inputs."""
    module = stage_module(stage)
    settings: Part = module.settings(study, **run)
    entries = (f"{module.__name__}:run", *getattr(module, "entries", lambda _: ())(settings))
    explicit = settings.model_dump(mode="json", exclude_defaults=True)
    code = code_of(study, entries)
    digest = text_digest([json.dumps(explicit), json.dumps(code)])[:16]
    return Expected(Record(stage, dict(run), dump(settings), digest, code), explicit)


def code_of(study: Study, entries: tuple[str, ...]) -> Mapping[str, str]:
    """The digest of each definition that some entries reach.

    To find them takes a second, so they are kept beside the study for as long as no source file
    changes.
    """
    return _code_of(Path(study.results, paths.CODE), entries, _source_state())


@cache
def _source_state() -> str:
    """Sixteen hex digits over name, size and time of every file of the package."""
    files = sorted(p for p in (SOURCE / PACKAGE).rglob("*") if p.suffix not in ("", ".pyc"))
    states = ((str(p.relative_to(SOURCE)), p.stat()) for p in files)
    return text_digest(f"{name} {s.st_size} {s.st_mtime_ns}" for name, s in states)[:16]


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@cache
def _code_of(folder: Path, entries: tuple[str, ...], state: str) -> Mapping[str, str]:
    path = folder / f"{state}-{text_digest(entries)[:16]}.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        with _no_garbage_collection():  # syntax trees are many objects, and none is garbage
            code = definition_digests(entries)
    if folder.parent.is_dir():  # a dry run before the first run leaves nothing behind
        with contextlib.suppress(OSError):  # results that may only be read
            for older in set(folder.glob("*.json")) - set(folder.glob(f"{state}-*.json")):
                older.unlink(missing_ok=True)
            io.write_text(json.dumps(code), path)
    return code


def differences(study: Study, path: str, record: Record) -> list[str]:
    """Why an artefact is not what the study and the code ask for; none where it is.

    Differences that were accepted (`valuestrata accept`) count no more, until there are others.
    """
    today = expected(study, record.stage, record.run)
    lines = today.differences(record)
    accepted = read_accepted(study).get(path) if lines else None
    if accepted and accepted["made"] == record.digest and accepted["as"] == today.record.digest:
        return []
    return lines


def read_accepted(study: Study) -> dict[str, dict[str, Any]]:
    """The artefacts that count as valid although they were made otherwise, by path."""
    path = Path(study.results, paths.ACCEPTED)
    return _read_accepted(path, path.stat().st_mtime_ns) if path.exists() else {}


@cache
def _read_accepted(path: Path, _: int) -> dict[str, dict[str, Any]]:
    return dict(io.read_json(path))


def params_digest(study: Study, stage: str, run: Mapping[str, str]) -> str:
    """What a rule gives Snakemake as a param: where it changes, a node is made anew.

    It is the digest of the settings that are not at their default and of the code, so a new key
    with a default changes nothing. Accepted results keep the digest that they were made with.
    """
    today = expected(study, stage, run).record.digest
    path = next(paths_of(stage_module(stage).outputs(study, **run)))
    entry = read_accepted(study).get(path)
    return str(entry["made"]) if entry and entry["as"] == today else today


def is_stale(study: Study, path: str) -> bool:
    """Whether an artefact is there and incomplete, or not what the study and the code ask for."""
    if not Path(path).exists():
        return False
    record = read_record(path)
    if record is None or not made_by(study, path, record) or record.n_failed:
        return True
    return bool(differences(study, path, record))


def make_job(
    study: Study, stage: str, run: Mapping[str, str], options: argparse.Namespace, given: Files
) -> Job[Any]:
    """The job of a run; `given` holds other paths for some of its files.

    Raises:
        InputError: an input is missing, or is not what the study asks for.
    """
    module = stage_module(stage)
    inputs = {**module.inputs(study, **run)}
    outputs = {**module.outputs(study, **run)}
    files = {**inputs, **outputs, **given}
    digests = {}
    for name in inputs:
        for path in paths_of({name: files[name]}):
            if name not in given:
                check_input(study, path)
            digests[path] = content_digest(path)
    record = replace(expected(study, stage, run).record, inputs=digests)
    return Job(module.settings(study, **run), files, record, options, study)


def check_input(study: Study, path: str) -> None:
    """Refuse a file that is not there, or an artefact that the study would not make.

    Raises:
        InputError: one line that names the first difference.
    """
    if not Path(path).exists():
        raise InputError(f"{path}: no such file; run snakemake to make it")
    if not path.startswith(f"{study.results}/") or is_by_hand(study, path):
        return
    record = read_record(path)
    if record is None:
        raise InputError(
            f"{path}: says nothing of what it is made of; delete it and run snakemake again"
        )
    if not made_by(study, path, record):
        raise InputError(
            f"{path}: was made by {record.stage} for {shown_run(record)}, and belongs elsewhere; "
            "delete it and run snakemake again"
        )
    lines = differences(study, path, record) + changed_inputs(record, study.results)
    if lines:
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        raise InputError(
            f"{path}: was made otherwise than the study says ({lines[0]}{more}); delete it and run "
            "snakemake again, or `valuestrata accept` its run"
        )


def is_by_hand(study: Study, path: str) -> bool:
    """Whether an artefact is a command's, not a stage's."""
    if study.annotator_files and path == at(study, paths.HUMAN_AGREEMENT):
        return False
    by_hand = {at(study, paths.ACCEPTED), at(study, paths.HUMAN_AGREEMENT)}
    return path in by_hand or path.endswith(".key.json")


def made_by(study: Study, path: str, record: Record) -> bool:
    """Whether an artefact is an output of the run that its record names."""
    try:
        outputs = stage_module(record.stage).outputs(study, **record.run)
    except (ImportError, KeyError, TypeError):
        return False
    return path in paths_of(outputs)


def shown_run(record: Record) -> str:
    """A record's run in words: toy-llama/sft/ood."""
    return "/".join(record.run.values()) or "the study"


def paths_of(files: Files) -> Iterator[str]:
    """All paths of named files."""
    for path in files.values():
        yield from several(path)


def several(path: str | Sequence[str]) -> list[str]:
    """The paths of a name, be it one or more."""
    return [path] if isinstance(path, str) else list(path)


def at(study: Study, pattern: str, **parts: str) -> str:
    """The path of an artefact of a study, from a pattern of paths.py."""
    return f"{study.results}/{pattern.format(**parts)}"
