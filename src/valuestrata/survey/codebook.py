"""The codebook: what each question asks, on which scale, with which labels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from valuestrata.errors import InputError
from valuestrata.study.yaml import parse, read_text

MEASUREMENT_LEVELS = ("ordinal", "nominal")
_REQUIRED = {"text", "block", "measurement_level", "scale", "labels"}
_KEYS = _REQUIRED | {"topic", "extra", "order", "missing"}


@dataclass(frozen=True)
class Question:
    """One question. `labels` name codes of the scale, `extra` codes that occur outside it.

    Its `topic` is a noun phrase; where the codebook has none it is the text in quotes.

    A nominal question may tell in which `order` its codes would be ordinal. `missing` are the codes
    and texts that mean no answer, None where the study's survey.missing holds. `file_labels` are
    the labels by the codes of the file, where the study recodes these.
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
    missing: tuple[int | str, ...] | None = None
    file_labels: Mapping[int, str] | None = None

    @property
    def has_topic(self) -> bool:
        """Whether the codebook gives it a topic."""
        return self.topic != _quoted(self.text)

    def labels_in_file(self) -> Mapping[int, str]:
        """Code -> label as they stand in the file, of the scale and outside it."""
        return {**self.labels, **self.extra} if self.file_labels is None else self.file_labels


def load(path: Path | str) -> dict[str, Question]:
    """Read a codebook file; raises InputError naming the file, the question and the key."""
    questions = _read(path)["questions"]
    return {
        str(name): _question(f"{path}: {name}", str(name), keys) for name, keys in questions.items()
    }


def columns(path: Path | str) -> dict[str, dict[str, str]]:
    """Labels by code of the demographic columns that a codebook file describes.

    Raises:
        InputError: a column's labels are no mapping.
    """
    described = _read(path).get("columns", {})
    if not isinstance(described, dict) or not all(isinstance(v, dict) for v in described.values()):
        raise InputError(f"{path}: columns: maps each column to its labels, code: label")
    return {
        str(column): _labels(f"{path}: {column}: labels", labels)
        for column, labels in described.items()
    }


def recoded(question: Question, recode: Mapping[int, int | None]) -> Question:
    """The question as a study's recoding leaves it.

    Labels go with their codes, which matters where codes change places. A nominal question whose
    codes the recoding brings into their order becomes ordinal.
    """
    moved = {code: recode.get(code, code) for code in (*question.labels, *question.extra)}
    old = {**question.labels, **question.extra}
    # a code that stays keeps its label; one that joins it brings none
    named = sorted(moved, key=lambda code: moved[code] == code)
    labels = {new: old[code] for code in named if (new := moved[code]) is not None}
    order = [recode.get(code, code) for code in question.order]
    kept = [code for code in order if code is not None]
    in_order = len(kept) == len(order) > 0 and kept in (sorted(kept), sorted(kept)[::-1])
    on_scale = {c for c in labels if question.scale_min <= c <= question.scale_max}
    return replace(
        question,
        labels={code: labels[code] for code in sorted(labels) if code in on_scale},
        extra={code: labels[code] for code in sorted(labels) if code not in on_scale},
        measurement_level="ordinal" if in_order else question.measurement_level,
        file_labels=question.labels_in_file(),
    )


def _read(path: Path | str) -> Mapping[str, Any]:
    return _parse(read_text(path), path)


@lru_cache(maxsize=1)  # several checks of a study read its codebook, one after the other
def _parse(text: str, path: Path | str) -> Mapping[str, Any]:
    raw = parse(text, path)
    if not isinstance(raw, dict) or not isinstance(raw.get("questions"), dict):
        raise InputError(f"{path}: a codebook is a mapping with the key `questions`")
    return raw


def select(
    book: Mapping[str, Question], chosen: tuple[str, ...] | None, exclude: tuple[str, ...]
) -> list[Question]:
    """The chosen questions in the order given, or all but the excluded ones.

    Raises:
        InputError: one line with all questions that the codebook lacks.
    """
    absent = [name for name in dict.fromkeys((*(chosen or ()), *exclude)) if name not in book]
    if absent:
        noun = "questions" if len(absent) > 1 else "question"
        raise InputError(f"survey.questions: the codebook has no {noun} {', '.join(absent)}")
    if chosen is not None:
        return [book[name] for name in chosen if name not in exclude]
    return [question for name, question in book.items() if name not in exclude]


def _question(where: str, name: str, keys: Any) -> Question:
    """A checked question from its keys in the file."""
    if not isinstance(keys, dict):
        raise InputError(f"{where}: not a mapping")
    unknown = sorted(set(keys) - _KEYS)
    absent = sorted(_REQUIRED - set(keys))
    if unknown or absent:
        raise InputError(
            f"{where}: " + (f"unknown key {unknown[0]!r}" if unknown else f"no {absent[0]!r}")
        )
    scale_min, scale_max = _scale(where, keys["scale"])
    if keys["measurement_level"] not in MEASUREMENT_LEVELS:
        raise InputError(f"{where}: measurement_level is one of {', '.join(MEASUREMENT_LEVELS)}")
    labels, extra = keys["labels"], keys.get("extra", {})
    for key, named in (("labels", labels), ("extra", extra)):
        if not (isinstance(named, dict) and all(type(code) is int for code in named)):
            raise InputError(f"{where}: {key} maps codes, which are integers, to labels")
    order = keys.get("order", [])
    every = list(range(scale_min, scale_max + 1))
    is_list = isinstance(order, list) and all(type(code) is int for code in order)
    if order and not (is_list and sorted(order) == every):
        raise InputError(f"{where}: order names each code of the scale once")
    outside = [code for code in labels if not scale_min <= code <= scale_max]
    inside = [code for code in extra if scale_min <= code <= scale_max]
    if outside:
        raise InputError(f"{where}: label of code {outside[0]}, which is off the scale")
    if inside:
        raise InputError(f"{where}: extra code {inside[0]} is on the scale")
    unnamed = [code for code, label in extra.items() if label in (None, "")]
    if unnamed:
        raise InputError(f"{where}: extra code {unnamed[0]} has no label; say what it means")
    missing = _missing(where, keys.get("missing"), scale_min, scale_max, extra)
    text = _text(f"{where}: text", keys["text"])
    return Question(
        question=name,
        topic=_text(f"{where}: topic", keys["topic"]) if "topic" in keys else _quoted(text),
        text=text,
        block=_text(f"{where}: block", keys["block"]),
        measurement_level=keys["measurement_level"],
        scale_min=scale_min,
        scale_max=scale_max,
        labels={int(code): name for code, name in _labels(f"{where}: labels", labels).items()},
        extra={int(code): name for code, name in _labels(f"{where}: extra", extra).items()},
        order=tuple(order),
        missing=missing,
    )


def _quoted(text: str) -> str:
    return f"“{text}”"


def _missing(
    where: str, entries: Any, scale_min: int, scale_max: int, extra: Mapping[int, str]
) -> tuple[int | str, ...] | None:
    """The question's own codes for no answer, None where it has no list."""
    if entries is None:
        return None
    if not (isinstance(entries, list) and all(type(entry) in (int, str) for entry in entries)):
        raise InputError(f"{where}: missing is a list of codes and texts that mean no answer")
    for code in (entry for entry in entries if isinstance(entry, int)):
        if scale_min <= code <= scale_max or code in extra:
            place = "an extra code" if code in extra else "on the scale"
            raise InputError(f"{where}: missing code {code} is {place}; remove it from one")
    return tuple(entries)


def _labels(where: str, labels: Mapping[str | int, Any]) -> dict[str, str]:
    """Labels by code, both as text."""
    return {str(code): _text(f"{where}: {code}", label) for code, label in labels.items()}


def _text(where: str, value: Any) -> str:
    """A text, or a whole number, as the file has it; no other type, which would lose its form."""
    if type(value) in (str, int):
        return str(value)
    shown = json.dumps(value) if not isinstance(value, dict | list) else "a list or mapping"
    raise InputError(f"{where}: {shown} is not text; put it in quotes as it should be shown")


def _scale(where: str, scale: Any) -> tuple[int, int]:
    """Lowest and highest code."""
    if not (isinstance(scale, list) and len(scale) == 2 and all(type(v) is int for v in scale)):
        raise InputError(f"{where}: scale is [lowest, highest], two integers")
    if scale[0] >= scale[1]:
        raise InputError(f"{where}: the scale's lowest code is not below its highest")
    return scale[0], scale[1]
