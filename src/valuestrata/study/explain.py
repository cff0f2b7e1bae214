"""One line for the first problem that pydantic has with a study: where, what, and what to do."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from valuestrata.study.base import Part, is_list
from valuestrata.study.study import Study

TAGS = ("backend", "method")
"""Fields that say which part of a union is meant."""


@dataclass
class _Place:
    """Where an error is.

    Attributes:
        path: keys and indices as they stand in the file.
        parts: the parts by tag that could stand where the last part does, where it is a union.
        part: the last part on the path.
        description: of the last field.
        branch: path at which several plain types are allowed.
    """

    path: list[str] = field(default_factory=list)
    parts: dict[str, type[Part]] = field(default_factory=dict)
    part: type[Part] | None = None
    description: str = ""
    branch: list[str] | None = None

    @property
    def text(self) -> str:
        return ".".join(self.path)


def explain(error: ValidationError, raw: Any) -> str:
    """The line for the first problem; `raw` is what was validated."""
    if not isinstance(raw, Mapping):
        return f"config: the study: {_show(raw)} is not a mapping; write key: value"
    details = error.errors(include_url=False)
    problems = [(_locate(detail["loc"], raw), detail) for detail in details]
    place, detail = _first(problems)
    union = [d for p, d in problems if p.branch is not None and p.branch == place.branch]
    if detail in union:
        inner = [
            (p, d)
            for p, d in problems
            if d in union and (d["type"] not in _KINDS or p.path != p.branch)
        ]
        if not inner:
            return f"config: {'.'.join(place.branch or [])}: {_neither(union)}"
        place, detail = inner[0]
    where, what = _message(place, detail)
    return f"config: {where or 'the study'}: {what}"


def _first(problems: list[tuple[_Place, ErrorDetails]]) -> tuple[_Place, ErrorDetails]:
    """The first problem; an unknown key explains the missing key beside it."""
    place, detail = problems[0]
    if detail["type"] == "missing":
        for other, other_detail in problems:
            if other_detail["type"] == "extra_forbidden" and other.path[:-1] == place.path[:-1]:
                return other, other_detail
    return place, detail


# Where ----------------------------------------------------------------------------------------


def _locate(location: Sequence[int | str], raw: Any) -> _Place:
    """Follow pydantic's location, which also names the branches of unions, through the types."""
    place = _Place(part=Study)
    kind: Any = Study
    value = raw
    for element in location:
        members = _members(kind)
        parts = [m for m in members if isinstance(m, type) and issubclass(m, Part)]
        if len(parts) > 1:
            place.parts = {_tag(part): part for part in parts}
            kind = place.part = place.parts.get(str(element))
            continue
        if len(members) > 1:
            place.branch, kind = list(place.path), _branch(members, value)
            continue
        if element != "[key]":
            kind = _step(place, parts[0] if parts else next(iter(members), None), element)
            place.path.append(str(element))
        value = _item(value, element)
    return place


def _step(place: _Place, kind: Any, element: int | str) -> Any:
    """The type of an item of a part, a mapping or a list."""
    if isinstance(kind, type) and issubclass(kind, Part):
        if kind is not place.part:
            place.part, place.parts = kind, {}
        info = kind.model_fields.get(str(element))
        place.description = (info.description or "") if info else ""
        return info.annotation if info else None
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return get_args(kind)[0] if get_origin(kind) is tuple else None


def _members(kind: Any) -> list[Any]:
    """The types that an annotation allows, without null and without annotations."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [member for arm in get_args(kind) for member in _members(arm)]
    return [] if kind in (None, type(None)) else [kind]


def _branch(members: list[Any], value: Any) -> Any:
    wanted = dict if isinstance(value, Mapping) else tuple
    return next((member for member in members if get_origin(member) is wanted), None)


def _item(value: Any, element: int | str) -> Any:
    if isinstance(value, Mapping):
        return next((v for k, v in value.items() if str(k) == str(element)), None)
    if isinstance(value, list | tuple) and isinstance(element, int) and element < len(value):
        return value[element]
    return None


def _tag(part: type[Part]) -> str:
    name = next(name for name in TAGS if name in part.model_fields)
    return str(get_args(part.model_fields[name].annotation)[0])


# What -----------------------------------------------------------------------------------------

_KINDS = {
    "literal_error": "",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "float_type": "a number",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}


def _neither(details: list[ErrorDetails]) -> str:
    """A value that is none of several plain types."""
    names = [
        _KINDS[d["type"]] or str(d.get("ctx", {})["expected"]).replace("'", "") for d in details
    ]
    return f"{_show(details[0]['input'])} is neither {' nor '.join(dict.fromkeys(names))}"


def _message(place: _Place, detail: ErrorDetails) -> tuple[str, str]:
    """Where and what of one problem."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(place)
    if kind == "missing":
        return place.text, f"missing; add it: {_first_sentence(place.description)}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _wrong_tag(place, value, context)
    if kind == "value_error":
        return _parent(place, detail), str(context["error"])
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "")
        return place.text, f"{_show(value)} is not allowed; choose {choices}"
    if kind in _KINDS:
        return place.text, f"{_show(value)} is {_not_a(value, _KINDS[kind])}"
    return place.text, f"{_show(value)} {_bound(kind, context)}"


def _parent(place: _Place, detail: ErrorDetails) -> str:
    """A bad key is a problem of the mapping that it stands in."""
    return ".".join(place.path[:-1]) if detail["loc"][-1:] == ("[key]",) else place.text


def _unknown_key(place: _Place) -> tuple[str, str]:
    key, parent = place.path[-1], ".".join(place.path[:-1])
    owners = [tag for tag, part in place.parts.items() if key in part.model_fields]
    if owners and place.part:
        return place.text, f"belongs to {_either(owners)}, not to {_tag(place.part)}; remove it"
    fields = place.part.model_fields if place.part else {}
    mark = "+" if key.endswith("+") else ""
    lists = [name for name, info in fields.items() if is_list(info.annotation)]
    valid = lists if mark and lists else list(fields)
    near = get_close_matches(key.removesuffix(mark), valid, n=1)
    advice = f"valid keys are {', '.join(sorted(valid))}"
    if near:
        advice = f"did you mean {near[0] + mark!r}?"
    return parent, f"unknown key {key!r}; {advice}"


def _wrong_tag(place: _Place, value: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    """A part of a union that does not say which one it is."""
    name = str(context["discriminator"]).strip("'")
    where = ".".join([*place.path, name])
    choices = [tag for part in _union_of(name) for tag in [_tag(part)]]
    if isinstance(value, Mapping) and value.get(name) is not None:
        near = get_close_matches(str(value[name]), choices, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        return where, f"{_show(value[name])} is not allowed; choose {_either(choices)}{guess}"
    return where, f"missing; choose {_either(choices)}"


def _union_of(name: str) -> list[type[Part]]:
    holder = {"backend": "models", "method": "recipes"}[name]
    mapping = _members(Study.model_fields[holder].annotation)[0]
    return _members(get_args(mapping)[1])


def _not_a(value: Any, wanted: str) -> str:
    """What a value is instead of what is wanted, and how to mend it."""
    if value is None:
        return f"not {wanted}; give a value, or take the key out"
    if wanted == "text":
        return "not text; put it in quotes" if isinstance(value, int | float) else "not text"
    if isinstance(value, str):
        plain = value.strip().lower()
        if wanted == "true or false":
            right = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(plain, plain)
            fix = f"; write {right}" if right in ("true", "false") else ""
        else:
            fix = f"; write {_number(plain)}, without quotes" if _number(plain) else ""
        return f"text, not {wanted}{fix}"
    return f"not {wanted}"


def _number(text: str) -> str:
    """A number as it is to be written; '' where a text is none."""
    try:
        number = float(text)
    except ValueError:
        return ""
    return str(int(number)) if text.lstrip("+-").isdigit() else text


_BOUNDS = {
    "greater_than": "is too small; it must be more than {gt}",
    "greater_than_equal": "is too small; it must be at least {ge}",
    "less_than": "is too large; it must be less than {lt}",
    "less_than_equal": "is too large; it must be at most {le}",
    "multiple_of": "is not a multiple of {multiple_of}",
    "too_short": "has too few entries; it needs at least {min_length}",
    "too_long": "has too many entries; it may have {max_length}",
    "string_too_short": "is empty; write something",
    "finite_number": "is not a finite number",
}


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    return _BOUNDS.get(kind, f"is not valid ({kind.replace('_', ' ')})").format(**context)


def _show(value: Any) -> str:
    """A value as it stands in the file, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "a mapping" if value else "{}"
    if isinstance(value, list | tuple):
        return "a list" if value else "[]"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].partition("; ")[0].rstrip(".")
