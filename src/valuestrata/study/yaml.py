"""Reading study files: YAML as version 1.2 has it, where nothing is another type by surprise.

Text is text: yes, no, on, off, NO, 01, 1:30, 2020-01-01, 1_000 and 0x1F are not converted. Only
true and false are booleans, only null, ~ and nothing are null, and 1e-6 is a number. Keys are text,
or whole numbers as in {1: male}. A key that stands twice in a mapping is an error.
"""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from valuestrata.errors import InputError

MAX_BYTES = 5_000_000
MAX_DEPTH = 50
MAX_NODES = 200_000
"""Values of a file with every alias written out."""

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_RESOLVERS = (
    ("null", re.compile(r"(?:null|~|)\Z"), ["n", "~", ""]),
    ("bool", re.compile(r"(?:true|false)\Z"), list("tf")),
    ("int", _INT, list("-+0123456789")),
    (
        "float",
        re.compile(
            r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"
            r"|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
        ),
        list("-+.0123456789"),
    ),
    ("merge", re.compile(r"<<\Z"), ["<"]),
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """SafeLoader, in C where it is there, with the types above."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - SafeLoader's are not inherited
    yaml_constructors = {  # noqa: RUF012
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in ("null", "str", "seq", "map")
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping with merges written out, and keys that are text or whole numbers."""
        self.flatten_mapping(node)
        return {_key(key): self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_scalar_value(self, node: Any) -> bool | int | float:
        """A boolean or a number; an explicit tag may name what it is not."""
        kind, text = node.tag.removeprefix(_TAG), node.value
        try:
            if kind == "bool":
                return {"true": True, "false": False}[text]
            return int(text) if kind == "int" else _float(text)
        except (KeyError, ValueError):
            raise _error(f"{text!r} is not of the type {kind}", node) from None


for _kind, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", _pattern, _first)
for _kind in ("bool", "int", "float"):
    _Loader.add_constructor(f"{_TAG}{_kind}", _Loader.construct_scalar_value)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _key(node: Any) -> str | int:
    text = str(node.value)
    return int(text) if node.tag == f"{_TAG}int" and str(int(text)) == text else text


def _error(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def read_yaml(path: Path | str) -> Any:
    """Read one YAML or JSON file.

    Raises:
        InputError: one line with the path, the line where there is one, and what is wrong.
    """
    return parse(read_text(path), path)


def parse(text: str, path: Path | str = "text") -> Any:
    """Read YAML; `path` is where errors say that it is from."""
    try:
        _check_depth(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node, {}, set())
        _check_keys(node, set())
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise InputError(f"{path}{line}: not valid YAML: {_one_line(problem)}") from None


def resolve(text: str) -> Any:
    """What a plain scalar is: `5` a number, `no` text."""
    for kind, pattern, _ in _RESOLVERS:
        if kind != "merge" and pattern.match(text):
            return parse(text)
    return text


def read_text(path: Path | str) -> str:
    """The text of a file; raises InputError as `read_yaml` does."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB; not a study")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not valid YAML: not UTF-8 text") from None


def _check_depth(text: str) -> None:
    """Refuse deep nesting before anything descends into it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _error(f"nested deeper than {MAX_DEPTH} levels", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_keys(node: Any, seen: set[int]) -> None:
    """Keys of every mapping are scalars and differ as text."""
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    lines: dict[str, int] = {}
    for child in node.value:
        key, value = child if isinstance(child, tuple) else (None, child)
        if key is not None:
            if not isinstance(key, yaml.ScalarNode):
                raise _error("a key must be text or a number", key)
            if key.tag != f"{_TAG}merge" and key.value in lines:
                raise _error(f"duplicate key {key.value!r}, first in line {lines[key.value]}", key)
            lines[key.value] = key.start_mark.line + 1
        _check_keys(value, seen)


def _check_size(
    node: Any, sizes: dict[int, tuple[int, int]], open_nodes: set[int]
) -> tuple[int, int]:
    """Values and depth of a node with every alias written out, within the limits."""
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in open_nodes:
        raise _error("an alias stands inside what it refers to", node)
    open_nodes.add(id(node))
    total, depth = 1, 0
    children: Sequence[Any] = () if isinstance(node, yaml.ScalarNode) else node.value
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            size, levels = _check_size(part, sizes, open_nodes)
            total, depth = total + size, max(depth, levels)
    if depth >= MAX_DEPTH:
        raise _error(f"nested deeper than {MAX_DEPTH} levels", node)
    if total > MAX_NODES:
        raise _error(f"more than {MAX_NODES:,} values with aliases written out", node)
    open_nodes.discard(id(node))
    sizes[id(node)] = (total, depth + 1)
    return sizes[id(node)]


def _one_line(text: str) -> str:
    return " ".join(str(text).split())[:200]


# Several files --------------------------------------------------------------------------------

ADD, REPLACE = "+", "="
"""Ends of keys: `exclude+` adds to a list, `models=` replaces a mapping."""
NAMED = (
    ("survey", "axes"),
    ("splits",),
    ("models",),
    ("recipes",),
    ("judges",),
    ("prompt_variants",),
)
"""Where a study has mappings of named parts; in an overlay null removes one."""
FILE_WORDS = ("groups", "recode", "rename")
"""Mappings whose keys are the survey file's own words: a group `65+` is no addition."""


def merge(base: Any, overlay: Mapping[Any, Any], words: bool = False) -> dict[Any, Any]:
    """A copy of `base` with `overlay` laid over it, as Snakemake lays config files, and two marks.

    Mappings are merged key by key; anything else replaces what is there. `KEY+: [...]` adds to the
    list KEY, `KEY=: ...` replaces KEY whole. Where there is no list yet, `KEY+` stays: the part
    that it belongs to adds it to its default. Keys are compared as text, so that "1" and 1 are one
    code.

    Args:
        base: what lies below.
        overlay: what is laid over it.
        words: whether the keys are words of the survey file, where + and = mean nothing.
    """
    merged = dict(base) if isinstance(base, Mapping) else {}
    names = {str(key): key for key in merged}
    for key, value in sorted(overlay.items(), key=lambda item: _adds(*item)):
        name = str(key)
        if not words and _adds(key, value):
            list_key = names.get(name[:-1], key)
            here = merged.get(list_key)
            if not isinstance(here, list):
                list_key = names.setdefault(name, key)
                here = merged.get(list_key, [])
            merged[list_key] = [*here, *value]
            continue
        is_whole = not words and name.endswith(REPLACE)
        name = name.removesuffix(REPLACE) if is_whole else name
        place = names.setdefault(name, name if is_whole else key)
        merged.pop(names.get(f"{name}{ADD}"), None)
        below = None if is_whole else merged.get(place)
        inner_words = name in FILE_WORDS
        merged[place] = merge(below, value, inner_words) if isinstance(value, Mapping) else value
    return merged


def _adds(key: Any, value: Any) -> bool:
    """Whether an entry adds to a list."""
    return str(key).endswith(ADD) and isinstance(value, list)


def lay(base: Mapping[Any, Any], overlay: Mapping[Any, Any]) -> dict[Any, Any]:
    """`merge` for studies: a null that removes nothing is refused.

    Raises:
        InputError: one line with the place, and the name that is near.
    """
    for path in NAMED:
        below, above = (mapping_at(raw, path) for raw in (base, overlay))
        for key in (key for key, value in above.items() if value is None):
            if below and str(key) not in map(str, below):
                near = get_close_matches(str(key), list(map(str, below)), n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(below)}"
                raise InputError(
                    f"config: {'.'.join(path)}.{key}: null removes nothing, as the study below has "
                    f"no {key!r}; {advice}"
                )
    return merge(base, overlay)


def mapping_at(raw: Any, path: Sequence[str]) -> Mapping[Any, Any]:
    """A mapping inside another; an empty one where there is none."""
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw if isinstance(raw, Mapping) else {}


def reload(config: Mapping[str, Any], files: Sequence[Path | str]) -> dict[str, Any]:
    """The config of a workflow, its files read anew by this module's rules.

    Snakemake reads config files as YAML 1.1, where `NO` is false and 1e-6 is text. What it made of
    the files is recomputed here; where `config` differs from that, the value was given by
    `--config` (or by a workflow around this one) and is laid over the files as this module reads
    them. In a mapping from `--config` all values are text: those are read as YAML again.

    Args:
        config: Snakemake's config.
        files: the files that it is merged from, in that order. In a Snakefile they are
            [*workflow.configfiles[len(workflow.overwrite_configfiles):],
            *workflow.overwrite_configfiles]: those of a `configfile:` line come first.
    """
    ours: dict[Any, Any] = {}
    theirs: dict[Any, Any] = {}
    for path in files:
        ours = lay(ours, read_mapping(path))
        theirs = _merge_exactly(theirs, _read_as_snakemake(path))
    keys = {str(key).rstrip(ADD + REPLACE) for key in config}
    ours = {key: value for key, value in ours.items() if str(key).rstrip(ADD) in keys}
    return lay(ours, {key: _typed(value) for key, value in _changes(config, theirs).items()})


def read_mapping(path: Path | str) -> dict[Any, Any]:
    """Read a file that holds a mapping; an empty one holds an empty mapping."""
    raw = read_yaml(path)
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise InputError(f"{path}: not a study: the file must hold a mapping (key: value)")
    return raw


def _merge_exactly(base: Any, overlay: Mapping[Any, Any]) -> dict[Any, Any]:
    merged = dict(base) if isinstance(base, Mapping) else {}
    for key, value in overlay.items():
        is_mapping = isinstance(value, Mapping)
        merged[key] = _merge_exactly(merged.get(key), value) if is_mapping else value
    return merged


def _read_as_snakemake(path: Path | str) -> Mapping[Any, Any]:
    """JSON where it is JSON, else YAML 1.1."""
    text = read_text(path)
    try:
        raw = json.loads(text)
    except ValueError:
        raw = yaml.load(text, Loader=yaml.FullLoader)
    return raw if isinstance(raw, Mapping) else {}


def _changes(config: Mapping[Any, Any], files: Mapping[Any, Any]) -> dict[Any, Any]:
    """What a config has beside, or instead of, what its files say."""
    changes: dict[Any, Any] = {}
    for key, value in config.items():
        before = files.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = _changes(value, before)
            changes.update({key: inner} if inner else {})
        elif key not in files or type(value) is not type(before) or value != before:
            changes[key] = value
    return changes


def _typed(value: Any) -> Any:
    """A value with its texts read as YAML, if it is a list or mapping of nothing but texts."""
    if isinstance(value, str) or not all(isinstance(leaf, str) for leaf in _leaves(value)):
        return value
    return _resolved(value)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _resolved(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    return resolve(value)
