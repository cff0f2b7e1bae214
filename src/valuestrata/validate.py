"""Checks of a study before its graph is built: one clear line for what is wrong."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jsonschema
import yaml

from valuestrata.config import SURVEY_VARIABLE, Study
from valuestrata.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


def read_yaml(path: Path | str) -> Any:
    """Read YAML; a syntax error or a missing file is one line."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "not UTF-8 text"
        raise InputError(f"{path}{line}: not valid YAML: {what}") from None


def load(raw: Mapping[str, Any], root: Path = ROOT, files: bool = True) -> Study:
    """Check a study against the schema and itself, fill in defaults, and return it.

    Args:
        raw: the merged YAML.
        root: folder that relative paths start from.
        files: whether the codebook, the survey and local weights must exist.

    Raises:
        InputError: one line with the key, what is wrong and what would be right.
    """
    schema = read_yaml(SCHEMA)
    validator = jsonschema.Draft202012Validator(schema)
    plain = json.loads(json.dumps(raw, default=str))
    problems = sorted(validator.iter_errors(plain), key=lambda e: list(map(str, e.absolute_path)))
    if problems:
        raise InputError(_explain(problems[0]))
    filled = _filled(plain, schema, schema)
    for model in filled["models"].values():
        tuned = list(filled["recipes"]) if model["backend"] != "baseline" else []
        model.setdefault("recipes", tuned)
    study = Study(filled)
    problem = next(_problems(study, root, files), None)
    if problem:
        raise InputError(problem)
    return study


def _filled(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A copy of `value` with the schema's defaults; dicts that default to {} are filled too."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}
    if isinstance(value, dict):
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        filled = {}
        for key, item in value.items():
            inner = known.get(key, rest if isinstance(rest, dict) else {})
            filled[key] = _filled(item, inner, root)
        for key, inner in known.items():
            if key not in filled and "default" in inner:
                filled[key] = _filled(inner["default"], inner, root)
        return filled
    return list(value) if isinstance(value, list) else value


def _explain(error: jsonschema.ValidationError) -> str:
    while error.context:
        error = min(error.context, key=lambda e: -len(e.absolute_path))
    where = ".".join(map(str, error.absolute_path)) or "the study"
    message = error.message
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = sorted(cast(dict[str, Any], error.schema).get("properties", {}))
        extra = sorted(set(error.instance) - set(known))
        message = f"unknown key {extra[0]!r}; known are {', '.join(known)}"
    elif error.validator == "type" and isinstance(error.instance, str):
        message = f"{error.instance!r} is text, not {_one_of(error.validator_value)}"
        if _number_like(error.instance):
            message += f"; YAML reads 1e-6 as text, write {_with_point(error.instance)}"
    elif (
        error.validator == "pattern"
        and where.count(".") < 3
        and "A-Za-z0-9" in str(error.validator_value)
    ):
        message = f"{error.instance!r} becomes part of a path: use A-Z a-z 0-9 . _ - only"
    return f"config: {where}: {message}"


def _one_of(kinds: Any) -> str:
    return " or ".join(kinds) if isinstance(kinds, list) else f"{kinds}"


def _number_like(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_point(text: str) -> str:
    mantissa, mark, exponent = text.lower().partition("e")
    return f"{mantissa}.0{mark}{exponent}" if mark and "." not in mantissa else text


def _problems(study: Study, root: Path, files: bool) -> Iterator[str]:
    config = study.config
    yield from _survey_problems(study, root, files)
    yield from _split_problems(study)
    for name, recipe in config["recipes"].items():
        split = config["splits"].get(recipe["split"])
        if split is None or split["role"] != "train":
            yield f"config: recipes.{name}.split: {recipe['split']!r} is not a train split"
    for name, model in study.models.items():
        yield from _model_problems(f"models.{name}", model, root, files)
        for recipe in model["recipes"]:
            if recipe not in config["recipes"]:
                yield f"config: models.{name}.recipes: no recipe is named {recipe!r}"
            if model["backend"] == "baseline":
                yield f"config: models.{name}.recipes: a baseline has nothing to tune"
    yield from _judge_problems(study, root, files)
    for key, folder in (("prompt.template", "prompts"),):
        yield from _data_problems(key, config["prompt"]["template"], folder)


def _survey_problems(study: Study, root: Path, files: bool) -> Iterator[str]:
    survey = study.config["survey"]
    if "simulate" in survey and "file" in survey:
        yield "config: survey: has both file and simulate; keep one"
    if "simulate" not in survey and not study.survey_file:
        yield f"config: survey.file: missing; name the csv file here or in ${SURVEY_VARIABLE}"
    if files and "simulate" not in survey and not (root / study.survey_file).is_file():
        yield (
            f"config: survey.file: {study.survey_file}: no such file; "
            f"set it in the study or in ${SURVEY_VARIABLE}"
        )
    if files and not (root / survey["codebook"]).is_file():
        yield f"config: survey.codebook: {survey['codebook']}: no such file"
    for name, axis in study.axes.items():
        labels = axis.names()
        if len(set(labels)) < len(labels):
            yield f"config: survey.axes.{name}: two groups share a label"
        if axis.bands and list(axis.bands) != sorted(set(axis.bands)):
            yield f"config: survey.axes.{name}.bands: not ascending"


def _split_problems(study: Study) -> Iterator[str]:
    roles: dict[frozenset[str], tuple[str, str]] = {}
    for name, strata in study.splits.items():
        role = study.config["splits"][name]["role"]
        if name == "marginal":
            yield "config: splits.marginal: the name is taken by the baselines' tallies"
        for stratum in strata:
            shown = " x ".join(stratum)
            for axis in stratum:
                if axis not in study.axes:
                    known = ", ".join(study.axes)
                    yield f"config: splits.{name}: {shown!r}: no axis {axis!r}; known are {known}"
            if len(set(stratum)) < len(stratum):
                yield f"config: splits.{name}: {shown!r} names an axis twice"
            other, other_role = roles.setdefault(frozenset(stratum), (name, role))
            if other_role != role:
                yield (
                    f"config: splits.{name}: stratum {shown!r} is in the {other_role} split "
                    f"{other!r} too; a test stratum must not be trained on"
                )


def _model_problems(where: str, model: dict[str, Any], root: Path, files: bool) -> Iterator[str]:
    if model["backend"] == "baseline":
        if "rule" not in model:
            yield f"config: {where}.rule: a baseline needs one"
        return
    if "rule" in model:
        yield f"config: {where}.rule: only a baseline has one"
    if ("toy" in model) == ("weights" in model):
        yield f"config: {where}: needs either weights or toy"
    elif "weights" in model:
        local = (root / model["weights"]).is_dir()
        looks_local = (
            model["weights"].startswith((".", "/", "~")) or model["weights"].count("/") > 1
        )
        if files and looks_local and not local:
            yield f"config: {where}.weights: {model['weights']}: no such directory"
        if not local and not looks_local and "revision" not in model:
            yield f"config: {where}.revision: missing; pin the commit of {model['weights']}"


def _judge_problems(study: Study, root: Path, files: bool) -> Iterator[str]:
    config = study.config
    for split in config.get("generation", {}).get("splits", []):
        if split not in study.splits:
            yield f"config: generation.splits: no split is named {split!r}"
    for name, judge in config["judges"].items():
        where = f"judges.{name}"
        reference = judge["reference"]
        if "generation" not in config:
            yield f"config: {where}: nothing to judge without a generation block"
        if name in study.models:
            yield f"config: {where}: a model has the same name"
        if judge["model"]["backend"] == "baseline":
            yield f"config: {where}.model: a baseline cannot judge"
        yield from _model_problems(f"{where}.model", judge["model"], root, files)
        known = study.models.get(reference["model"])
        if known is None or known["backend"] == "baseline":
            yield f"config: {where}.reference.model: no language model {reference['model']!r}"
        elif reference["variant"] not in study.variants(reference["model"]):
            yield (
                f"config: {where}.reference.variant: {reference['model']} has no variant "
                f"{reference['variant']!r}"
            )
        yield from _data_problems(f"{where}.rubric", judge["rubric"], "rubrics")


def _data_problems(key: str, name: str, folder: str) -> Iterator[str]:
    known = sorted(p.stem for p in (Path(__file__).parent / "data" / folder).glob("*.yaml"))
    if name not in known:
        yield f"config: {key}: no file {name!r}; known are {', '.join(known)}"
