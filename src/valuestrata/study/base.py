"""What every part of a study is made of: the frozen base class, frozen mappings and named texts."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn, Self, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

K = TypeVar("K")
V = TypeVar("V")
Items = TypeVar("Items", bound=tuple[Any, ...])


class Part(BaseModel):
    """A frozen piece of a study: no unknown keys, and nothing is converted but lists to tuples."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, data: Any) -> Any:
        return to_tuples(_with_additions(cls.model_fields, data))

    def replace(self, **changes: Any) -> Self:
        """A checked copy with other values in some fields."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**values, **changes})


def _with_additions(fields: Mapping[str, FieldInfo], data: Any) -> Any:
    """Plain data with what `KEY+` adds in the lists themselves, or behind their defaults."""
    if not isinstance(data, Mapping):
        return data
    whole = dict(data)
    for mark in [key for key in whole if str(key).endswith("+") and key[:-1] in fields]:
        name, added = mark[:-1], whole.pop(mark)
        if not is_list(fields[name].annotation):
            raise ValueError(f"{mark}: {name} is no list to add to; write {name}: ...")
        if not isinstance(added, list | tuple):
            shown = "null" if added is None else repr(added)
            raise ValueError(f"{mark}: {shown} is not a list; write {mark}: [...]")
        default = () if fields[name].is_required() else fields[name].default
        below = whole.get(name, default)
        if not isinstance(below, list | tuple):
            shown = "not set" if below is None else repr(below)
            raise ValueError(f"{mark}: {name} is {shown}, no list to add to; write {name}: [...]")
        whole[name] = [*below, *added]
    return whole


def is_list(kind: Any) -> bool:
    """Whether an annotation allows a list; what stands inside a mapping does not count."""
    if get_origin(kind) in (tuple, dict):
        return get_origin(kind) is tuple
    return any(map(is_list, get_args(kind)))


def to_tuples(data: Any) -> Any:
    """A copy of plain data with tuples in place of lists; parts stay as they are."""
    if isinstance(data, Mapping):
        return {key: to_tuples(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return tuple(map(to_tuples, data))
    return data


class FrozenDict(dict[K, V]):
    """A mapping that cannot be changed and can be hashed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a study cannot be changed; make another one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> Any:
        return FrozenDict, (dict(self),)


EMPTY: FrozenDict[Any, Any] = FrozenDict()
FrozenMap = Annotated[dict[K, V], AfterValidator(FrozenDict)]
"""A field's mapping, which cannot be changed."""
FilledMap = Annotated[dict[K, V], Field(min_length=1), AfterValidator(FrozenDict)]
"""The same, with one entry at least."""


def _matching(pattern: str, remedy: str, show: bool = True) -> Callable[[str], str]:
    """A check that a text has a form; where `show` is False the text may hold a secret."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not allowed; {remedy}" if show else remedy)
        return text

    return check


def _schema(**keys: Any) -> Any:
    return Field(json_schema_extra=keys)


def _no_duplicates(items: Items) -> Items:
    for i, item in enumerate(items):
        if item in items[:i]:
            raise ValueError(f"duplicate {item!r}; remove one of the two")
    return items


def _ascending(bounds: tuple[int, ...]) -> tuple[int, ...]:
    if list(bounds) != sorted(set(bounds)):
        raise ValueError("not ascending; sort the lower bounds and remove duplicates")
    return bounds


def _keys_to_text(mapping: Any) -> Any:
    """Codes are compared as text: {1: male} is {"1": male}."""
    if not isinstance(mapping, Mapping):
        return mapping
    return {str(k) if type(k) is int else k: v for k, v in mapping.items()}


def _group_labels(groups: Any) -> Any:
    """Code -> label. A group of several codes, `label: [codes]`, has an entry for each of them."""
    if not isinstance(groups, Mapping):
        return groups
    labels: dict[Any, Any] = {}
    for key, value in groups.items():
        for code, label in _entries(key, value):
            if code in labels:
                raise ValueError(
                    f"code {code} is in two groups, {labels[code]!r} and {label!r}; "
                    "take it out of one"
                )
            labels[code] = label
    return labels


def _entries(key: Any, value: Any) -> list[tuple[Any, Any]]:
    """Code and label of each code of an entry, `code: label`, `label: code` or `label: [codes]`."""
    is_code = re.fullmatch(CODE, str(key)) is not None
    if not isinstance(value, list | tuple) and (is_code or type(value) is not int):
        return [(str(key) if type(key) is int else key, value)]
    codes = value if isinstance(value, list | tuple) else (value,)
    if is_code:
        raise ValueError(f"{key}: a list is no label; write label: [codes]")
    if not codes:
        raise ValueError(f"{key}: [] has no code; name at least one, or take the group out")
    wrong = [code for code in codes if type(code) not in (str, int)]
    if wrong:
        raise ValueError(f"{key}: {wrong[0]!r} is no code; put it in quotes as the file has it")
    return [(str(code), key) for code in codes]


def _items_to_text(items: Any) -> Any:
    if not isinstance(items, list | tuple):
        return items
    return tuple(str(item) if type(item) is int else item for item in items)


NAME = "[A-Za-z0-9_][A-Za-z0-9._-]*"
AXIS_NAME = "[a-z][a-z0-9_]*"
CODE = "-?[0-9]+"
URL = (
    r"(?!.*(%3[Bb]|%3[Ff]|%40|/(sk|pk|gsk|xai)[-_][A-Za-z0-9_-]{12,}))"
    r"https?://[^/@?#;\s]+(/[^@?#;\s]*)?"
)
VARIABLE = "[A-Z_][A-Z0-9_]*"

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[
    str,
    AfterValidator(_matching(NAME, "it becomes part of a path: use A-Z a-z 0-9 . _ - only")),
    _schema(pattern=f"^{NAME}$"),
]
"""A name that is part of a path."""
RecipeName = Annotated[
    Name,
    AfterValidator(_matching("(?!base$).*", "base is the untuned model: choose another name")),
    _schema(pattern=f"^(?!base$){NAME}$"),
]
AxisName = Annotated[
    str,
    AfterValidator(_matching(AXIS_NAME, "an axis is named in lower case: a-z 0-9 _")),
    _schema(pattern=f"^{AXIS_NAME}$"),
]
Label = Annotated[
    Text,
    AfterValidator(
        _matching("(?!.*( & |=))(?s:.)+", "a group's label must not contain ' & ' or '='")
    ),
    _schema(pattern="^(?!.*( & |=)).+$"),
]
Url = Annotated[
    str,
    AfterValidator(
        _matching(
            URL,
            "must begin with http:// or https:// and hold no user, password, query or fragment, no "
            "blank and nothing that looks like a key",
            False,
        )
    ),
    _schema(pattern=f"^{URL}$"),
]
Variable = Annotated[
    str,
    AfterValidator(
        _matching(
            VARIABLE,
            "write the name of the environment variable that holds the key (A-Z 0-9 _), "
            "never the key",
            False,
        )
    ),
    _schema(pattern=f"^{VARIABLE}$"),
]

Unique = Annotated[Items, AfterValidator(_no_duplicates), _schema(uniqueItems=True)]
"""A list without duplicates."""
FilledUnique = Annotated[
    Items, Field(min_length=1), AfterValidator(_no_duplicates), _schema(uniqueItems=True)
]
"""The same, with one item at least."""
Bands = Annotated[tuple[int, ...], Field(min_length=2), AfterValidator(_ascending)]
"""Lower bounds of bands, the last one open."""
_Written = Annotated[tuple[str | int, ...], Field(min_length=1)]
Codes = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_items_to_text, json_schema_input_type=_Written),
]
"""Values of a column, kept as text."""
CodeMap = Annotated[dict[K, V], BeforeValidator(_keys_to_text), AfterValidator(FrozenDict)]
"""A mapping from codes, which are kept as text."""
_WrittenGroups = Annotated[
    dict[str, Label | int | Annotated[tuple[str | int, ...], Field(min_length=1)]],
    Field(min_length=2),
]
GroupLabels = Annotated[
    dict[str, Label],
    Field(min_length=2),
    BeforeValidator(_group_labels, json_schema_input_type=_WrittenGroups),
    AfterValidator(FrozenDict),
]
"""Code -> label of an axis' groups; several codes may share a label."""
Seed = Annotated[int, Field(ge=0)]
