"""The codebook: what each question asks, on which scale, with which labels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from valuestrata.errors import InputError

MEASUREMENT_LEVELS = ("ordinal", "nominal")
_KEYS = {"topic", "text", "block", "measurement_level", "scale", "labels", "extra", "order"}
_OPTIONAL = {"extra", "order"}


@dataclass(frozen=True)
class Question:
    """One question. `labels` name codes of the scale, `extra` codes that occur outside it.

    A nominal question may tell in which `order` its codes would be ordinal.
    """

    question: str
    topic: str
    text: str
    block: str
    measurement_level: str
    scale_min: int
    scale_max: int
    labels: dict[int, str]
    extra: dict[int, str]
    order: tuple[int, ...] = ()


def load(path: Path | str) -> dict[str, Question]:
    """Read a codebook file; raises InputError naming the file, the question and the key."""
    return {q: _question(f"{path}: {q}", q, said) for q, said in _read(path)["questions"].items()}


def columns(path: Path | str) -> dict[str, dict[str, str]]:
    """Labels by code of the demographic columns that a codebook file knows.

    Raises:
        InputError: a column's labels are no mapping.
    """
    known = _read(path).get("columns", {})
    if not isinstance(known, dict) or not all(isinstance(v, dict) for v in known.values()):
        raise InputError(f"{path}: columns: maps each column to its labels, code: label")
    return {
        str(column): {str(code): str(label) for code, label in labels.items()}
        for column, labels in known.items()
    }


def recoded(question: Question, recode: Mapping[int, int | None]) -> Question:
    """The question as a study's recoding leaves it.

    Labels go with their codes, which matters where codes change places. A nominal question whose
    codes the recoding brings into their order becomes ordinal.
    """
    moved = {code: recode.get(code, code) for code in (*question.labels, *question.extra)}
    said = {**question.labels, **question.extra}
    # a code that stays keeps its label; one that joins it brings none
    named = sorted(moved, key=lambda code: moved[code] == code)
    labels = {new: said[code] for code in named if (new := moved[code]) is not None}
    places = [recode.get(code, code) for code in question.order]
    known = [code for code in places if code is not None]
    in_order = len(known) == len(places) > 0 and known in (sorted(known), sorted(known)[::-1])
    ends = (question.scale_min, question.scale_max)
    return replace(
        question,
        labels={c: labels[c] for c in sorted(labels) if ends[0] <= c <= ends[1]},
        extra={c: labels[c] for c in sorted(labels) if not ends[0] <= c <= ends[1]},
        measurement_level="ordinal" if in_order else question.measurement_level,
    )


def _read(path: Path | str) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable codebook: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("questions"), dict):
        raise InputError(f"{path}: a codebook is a mapping with the key `questions`")
    return raw


def select(
    book: Mapping[str, Question], chosen: tuple[str, ...] | None, exclude: tuple[str, ...]
) -> list[Question]:
    """The chosen questions in the order given, or all but the excluded ones."""
    for name in (*(chosen or ()), *exclude):
        if name not in book:
            raise InputError(f"survey.questions: the codebook has no question {name!r}")
    if chosen is not None:
        return [book[name] for name in chosen if name not in exclude]
    return [question for name, question in book.items() if name not in exclude]


def _question(where: str, name: str, said: Any) -> Question:
    if not isinstance(said, dict):
        raise InputError(f"{where}: not a mapping")
    unknown = sorted(set(said) - _KEYS)
    absent = sorted(_KEYS - _OPTIONAL - set(said))
    if unknown or absent:
        raise InputError(
            f"{where}: " + (f"unknown key {unknown[0]!r}" if unknown else f"no {absent[0]!r}")
        )
    scale, labels, extra = said["scale"], said["labels"], said.get("extra", {})
    if not (isinstance(scale, list) and len(scale) == 2 and all(type(v) is int for v in scale)):
        raise InputError(f"{where}: scale is [lowest, highest], two integers")
    scale_min, scale_max = scale
    if scale_min >= scale_max:
        raise InputError(f"{where}: the scale's lowest code is not below its highest")
    if said["measurement_level"] not in MEASUREMENT_LEVELS:
        raise InputError(f"{where}: kind is one of {', '.join(MEASUREMENT_LEVELS)}")
    for key, named in (("labels", labels), ("extra", extra)):
        if not (isinstance(named, dict) and all(type(code) is int for code in named)):
            raise InputError(f"{where}: {key} maps codes, which are integers, to labels")
    order = said.get("order", [])
    if order and (not isinstance(order, list) or {*order} != {*range(scale_min, scale_max + 1)}):
        raise InputError(f"{where}: order names each code of the scale once")
    outside = [code for code in labels if not scale_min <= code <= scale_max]
    inside = [code for code in extra if scale_min <= code <= scale_max]
    if outside:
        raise InputError(f"{where}: label of code {outside[0]}, which is off the scale")
    if inside:
        raise InputError(f"{where}: extra code {inside[0]} is on the scale")
    return Question(
        question=name,
        topic=str(said["topic"]),
        text=str(said["text"]),
        block=str(said["block"]),
        measurement_level=said["measurement_level"],
        scale_min=scale_min,
        scale_max=scale_max,
        labels={int(k): str(v) for k, v in labels.items()},
        extra={int(k): str(v) for k, v in extra.items()},
        order=tuple(order),
    )
