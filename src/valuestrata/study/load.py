"""From YAML to a checked study; the first problem is one line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from valuestrata.errors import InputError
from valuestrata.study.checks import problems
from valuestrata.study.explain import explain
from valuestrata.study.splits import axes_of
from valuestrata.study.study import Study
from valuestrata.study.yaml import merge, read_mapping

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
    plain = _without_null_axes(raw)
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
        merged = merge(merged, raw)
    return merged


def is_overlay(raw: Mapping[str, Any]) -> bool:
    """Whether a file is to be laid over a study: it names none, or no splits and models of one."""
    return "study" not in raw or not {"splits", "models"} & set(raw)


def _without_null_axes(raw: Any) -> Any:
    """The study without the axes that an overlay made null, and without their strata."""
    try:
        axes, splits = raw["survey"]["axes"], raw["splits"]
        gone = {name for name, axis in axes.items() if axis is None}
        kept = {name: _without_axes(split, gone) for name, split in splits.items()}
    except (AttributeError, KeyError, TypeError):
        return raw  # not a study: validation says what is missing
    left = {name: axis for name, axis in axes.items() if name not in gone}
    return {**raw, "survey": {**raw["survey"], "axes": left}, "splits": kept} if gone else raw


def _without_axes(split: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    strata = [stratum for stratum in split["strata"] if not gone & set(axes_of(stratum))]
    groups = {axis: chosen for axis, chosen in split.get("groups", {}).items() if axis not in gone}
    return {**split, "strata": strata, "groups": groups}
