"""Fields of JSON objects in a judge's reply that are named as dimensions. Pure functions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

VERDICT_NAMES = (
    "verdict",
    "winner",
    "choice",
    "answer",
    "better",
    "preference",
    "result",
    "decision",
)
"""Fields of an object that hold a verdict."""
DIMENSION_NAMES = ("dimension", "name", "criterion", "category", "aspect")
"""Fields of an object that hold what the verdict is on."""
DEPTH = 6
_SIGNS = {ord(c): '"' for c in "“”„＂"} | {
    ord("："): ":",
    ord("，"): ",",
    ord("｛"): "{",
    ord("｝"): "}",
}

Field = tuple[str, Any]


def json_fields(text: str, by_name: Mapping[str, str]) -> Iterator[tuple[str, str, int, int]]:
    """Dimension, value as text, and place of every field of the reply's JSON objects.

    Each object comes first by itself, with ''. One that is not closed, or is no JSON, has none. A
    dimension that stands twice in an object comes twice.

    Args:
        text: the reply.
        by_name: the dimensions by their names in small letters.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_Object, strict=False)
    text = text.translate(_SIGNS)
    place = text.find("{")
    while place >= 0:
        try:
            content, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            end = max(error.pos, place + 1)  # objects inside a broken one do not count
        except (ValueError, RecursionError):
            return  # a number, or a nesting, beyond all bounds
        else:
            yield "", "", place, end
            for name, value in _fields(content, by_name, DEPTH):
                yield name, value, place, end
        place = text.find("{", end)


class _Object(list[Field]):
    """The fields of an object in order, doubled ones too; a list is something else."""


def _fields(content: Any, by_name: Mapping[str, str], depth: int) -> Iterator[tuple[str, str]]:
    if not depth:
        return
    if isinstance(content, _Object):
        heads = [by_name.get(_small(v)) for k, v in content if _small(k) in DIMENSION_NAMES]
        for key, value in content:
            small = _small(key)
            if small in by_name:
                yield from ((by_name[small], text) for text in _values(value))
            elif small in VERDICT_NAMES and len(heads) == 1 and heads[0]:
                yield from ((heads[0], text) for text in _values(value))
            else:
                yield from _fields(value, by_name, depth - 1)
    elif isinstance(content, list):
        for item in content:
            yield from _fields(item, by_name, depth - 1)


def _values(value: Any) -> Iterator[str]:
    """What a field says: itself, or the fields that hold a verdict where it is an object."""
    if isinstance(value, _Object):
        yield from (str(inner) for key, inner in value if _small(key) in VERDICT_NAMES)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield str(value)
    elif isinstance(value, float) and value in (1.0, 2.0):
        yield str(int(value))


def _small(name: Any) -> str:
    return " ".join(str(name).replace("_", " ").casefold().split())
