"""From YAML to a checked study; the first problem is one line."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from valuestrata.errors import InputError
from valuestrata.study.checks import problems
from valuestrata.study.explain import explain
from valuestrata.study.splits import axes_of
from valuestrata.study.study import Study
from valuestrata.study.yaml import NAMED, lay, mapping_at, read_mapping

ROOT = Path(__file__).resolve().parents[3]
"""The repository."""
EMBEDDED = "config.yaml"
"""The study that overlays without one of their own are laid over."""


def load(raw: Mapping[str, Any], root: Path = ROOT, files: bool = True) -> Study:
    """Make a study of merged YAML, and check it.

    Args:
        raw: the merged YAML.
        root: folder that relative paths start from.
        files: whether the codebook, the survey and local weights must exist.

    Raises:
        InputError: one line with the key, what is wrong and what would be right.
    """
    plain = _without_nulls(raw)
    try:
        study = Study.model_validate(plain)
    except ValidationError as error:
        raise InputError(explain(error, plain)) from None
    problem = next(problems(study, root, files), None)
    if problem:
        raise InputError(f"config: {problem}")
    return study


def load_files(paths: Sequence[Path | str], root: Path = ROOT, files: bool = True) -> Study:
    """Make a study of a study file and overlays, each laid over those before it.

    Where no file has the key `study`, they are laid over the embedded study, as in the Snakefile.
    """
    return load(merge_files(paths, root), root, files)


def merge_files(paths: Sequence[Path | str], root: Path = ROOT) -> dict[str, Any]:
    """The merged YAML of a study file and overlays."""
    raws = [read_mapping(path) for path in paths]
    if not any("study" in raw for raw in raws):
        raws.insert(0, read_mapping(root / EMBEDDED))
    merged: dict[str, Any] = {}
    for raw in raws:
        merged = lay(merged, raw)
    return merged


def is_overlay(raw: Mapping[str, Any]) -> bool:
    """Whether a file is to be laid over a study: it names none, or no splits and models of one."""
    return "study" not in raw or not {"splits", "models"} & set(raw)


def _without_nulls(raw: Any) -> Any:
    """The study without what an overlay made null, and without it in the lists that name it."""
    if not isinstance(raw, Mapping):
        return raw
    whole = {key: value for key, value in raw.items() if value is not None}
    gone = {path[-1]: _nulls(whole, path) for path in NAMED}
    for path in NAMED:
        whole = _without(whole, path, gone[path[-1]])
    if gone["axes"]:
        whole = _each(whole, "splits", partial(_without_axes, gone=gone["axes"]))
    for key in ("recipes", "prompt_variants"):
        if gone[key]:
            whole = _each(whole, "models", partial(_unlisted, key=key, gone=gone[key]))
    if gone["splits"] and isinstance(whole.get("generation"), Mapping):
        whole["generation"] = _unlisted(whole["generation"], "splits", gone["splits"])
    return whole


def _nulls(raw: Any, path: Sequence[str]) -> set[str]:
    """Names that are null in a mapping of named parts."""
    return {str(name) for name, part in mapping_at(raw, path).items() if part is None}


def _without(raw: Mapping[Any, Any], path: Sequence[str], gone: set[str]) -> dict[Any, Any]:
    """A copy without some entries of a mapping inside it."""
    if not gone:
        return dict(raw)
    if not path:
        return {key: value for key, value in raw.items() if str(key) not in gone}
    return {**raw, path[0]: _without(raw[path[0]], path[1:], gone)}


def _each(
    raw: Mapping[Any, Any], section: str, change: Callable[[Mapping[Any, Any]], Any]
) -> dict[Any, Any]:
    """A copy with every mapping of a section changed."""
    parts = mapping_at(raw, [section])
    changed = {k: change(v) if isinstance(v, Mapping) else v for k, v in parts.items()}
    return {**raw, section: changed} if parts else dict(raw)


def _unlisted(part: Mapping[Any, Any], key: str, gone: set[str]) -> dict[Any, Any]:
    """A part whose list of names lacks those that are gone."""
    if not isinstance(part.get(key), list | tuple):
        return dict(part)
    return {**part, key: [name for name in part[key] if name not in gone]}


def _without_axes(split: Mapping[Any, Any], gone: set[str]) -> dict[Any, Any]:
    """A split without the strata and the selections of groups that name an axis that is gone."""
    kept = dict(split)
    if isinstance(split.get("strata"), list | tuple):
        strata = split["strata"]
        kept["strata"] = [s for s in strata if not gone & set(axes_of(str(s)))]
    if isinstance(split.get("groups"), Mapping):
        kept["groups"] = {a: chosen for a, chosen in split["groups"].items() if a not in gone}
    return kept
