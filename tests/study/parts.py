"""What the tests of studies share: changes of a raw study, and every typed part with a new key."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import Field, create_model

from valuestrata.errors import InputError
from valuestrata.study.base import Part
from valuestrata.study.load import ROOT, load
from valuestrata.study.study import Study
from valuestrata.study.yaml import read_yaml

Raw = dict[str, Any]
Changes = Mapping[str, Any]
Case = tuple[Changes, str, tuple[str, ...]]
CONFIG: Raw = read_yaml(ROOT / "config.yaml")
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]
OVERLAYS = sorted((ROOT / "studies/overlays").glob("*.yaml"))
REMOVED = object()


def changed(changes: Changes, raw: Raw = CONFIG) -> Raw:
    """A copy with some keys set, each named by its parts joined by /; REMOVED takes one out."""
    raw = copy.deepcopy(raw)
    for path, value in changes.items():
        *folders, last = path.split("/")
        inner: Any = raw
        for folder in folders:
            key = next((k for k in inner if str(k) == folder), folder)
            inner = inner.setdefault(key, {})
        key = next((k for k in inner if str(k) == last), last)
        if value is REMOVED:
            del inner[key]
        else:
            inner[key] = copy.deepcopy(value)
    return raw


def study(changes: Changes | None = None, **options: Any) -> Study:
    """The embedded study with changes."""
    return load(changed(changes or {}), **options)


def complaint(changes: Changes, **options: Any) -> str:
    """The one line that a changed study is refused with."""
    try:
        load(changed(changes), **options)
    except InputError as error:
        line = str(error)
        assert "\n" not in line
        assert line.startswith("config: ")
        return line.removeprefix("config: ")
    raise AssertionError(f"{changes} is not refused")


def check(cases: Iterable[Case]) -> None:
    """Each study is refused with a line that starts so and contains these words."""
    for changes, start, words in cases:
        line = complaint(changes)
        assert line.startswith(start), f"{changes}: {line}"
        for word in words:
            assert word in line, f"{changes}: {line}"


def part_classes(kind: Any = Study, seen: set[Any] | None = None) -> list[type[Part]]:
    """Every typed part that a study is made of."""
    seen = set() if seen is None else seen
    if isinstance(kind, type) and issubclass(kind, Part):
        if kind in seen:
            return []
        seen.add(kind)
        fields = kind.model_fields.values()
        return [kind, *(c for field in fields for c in part_classes(field.annotation, seen))]
    return [c for argument in get_args(kind) for c in part_classes(argument, seen)]


def parts_of(part: Any) -> Iterator[Part]:
    """Every typed part inside a value, itself included."""
    if isinstance(part, Part):
        yield part
        for name in type(part).model_fields:
            yield from parts_of(getattr(part, name))
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from parts_of(value)


def with_new_key(part: Part) -> Part:
    """The same part of a class that has one more field, with a default."""
    new: Any = (int, Field(default=0, description="A key that a later version adds."))
    wider = create_model(type(part).__name__, __base__=type(part), a_new_key=new)
    return wider(**{name: getattr(part, name) for name in type(part).model_fields})
