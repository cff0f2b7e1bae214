"""Checks of a study before its graph is built: one clear line for what is wrong."""

import math
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from itertools import chain, product
from pathlib import Path
from string import Formatter
from typing import Any, cast

import jsonschema
import yaml

from valuestrata import specs
from valuestrata.config import BASE, SURVEY_VARIABLE, Study, axes_of
from valuestrata.errors import InputError
from valuestrata.specs import Selection

ROOT = Path(__file__).resolve().parents[2]
RESERVED = {"respondent", "weight", "all", "mean", "subgroups", specs.COUNTRY}
GRID_METHODS = ("sft", "soft", "ordinal", "dro")
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
TUNABLE = {"transformers", "vllm"}
"""Backends whose weights are here: they have recipes and adapters, the others the base alone."""
HIGHEST_RANK = {"vllm": 512}
"""Highest rank of an adapter that a backend reads; vLLM's is the last of its RANKS."""
_LOADING = (
    "revision", "toy", "dtype", "attention", "device_map", "remote_code", "max_length",
    "batch_tokens", "gpus",
)  # fmt: skip
NO_USE = {
    "baseline": ("weights", "service", *_LOADING, "threads", "memory_mb", "minutes"),
    "transformers": ("rule", "service"),
    "vllm": ("rule", "service", "attention"),
    "openai": ("rule", *_LOADING),
}
"""Keys of a model that its backend cannot follow."""


def read_yaml(path: Path | str) -> Any:
    """Read YAML; a syntax error or a missing file is one line."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
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
    plain = _without_null_axes(_plain(raw))
    problems = sorted(validator.iter_errors(plain), key=lambda e: list(map(str, e.absolute_path)))
    if problems:
        raise InputError(_explain(problems[0]))
    filled = _filled(plain, schema, schema)
    for model in filled["models"].values():
        tunable, reads = model["backend"] in TUNABLE, model["backend"] != "baseline"
        model.setdefault("recipes", list(filled["recipes"]) if tunable else [])
        model.setdefault("wordings", list(filled["wordings"]) if reads else [])
    study = Study(filled)
    idle = chain(_misplaced(plain, schema), _without_use(plain))
    problem = next(chain(idle, _problems(study, root, files)), None)
    if problem:
        raise InputError(problem)
    return study


def _plain(value: Any) -> Any:
    """YAML data as JSON knows it: keys are text, and so is what JSON has no kind for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _without_null_axes(raw: Any) -> Any:
    """The study without the axes that an overlay made null, and without their strata."""
    try:
        axes, splits = raw["survey"]["axes"], raw["splits"]
        gone = {name for name, said in axes.items() if said is None}
        kept = {
            name: {
                **split,
                "strata": [s for s in split["strata"] if not gone & set(axes_of(s))],
                "groups": {k: v for k, v in split.get("groups", {}).items() if k not in gone},
            }
            for name, split in splits.items()
        }
    except (AttributeError, KeyError, TypeError):
        return raw  # no study at all: the schema says so
    left = {name: said for name, said in axes.items() if name not in gone}
    return {**raw, "survey": {**raw["survey"], "axes": left}, "splits": kept} if gone else raw


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


def _misplaced(raw: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Settings of recipes whose method has none of the kind: those say `methods` in the schema."""
    known = schema["properties"]["recipes"]["additionalProperties"]["properties"]
    for name, recipe in raw.get("recipes", {}).items():
        for key in recipe:
            methods = known[key].get("methods", [recipe["method"]])
            if recipe["method"] not in methods:
                yield (
                    f"config: recipes.{name}.{key}: belongs to {' or '.join(methods)}, "
                    f"not to {recipe['method']}"
                )


def _without_use(raw: Mapping[str, Any]) -> Iterator[str]:
    """Settings of models that their backends cannot follow; what is a default was not said."""
    models = [(f"models.{name}", said) for name, said in raw["models"].items()]
    models += [(f"judges.{k}.model", v["model"]) for k, v in raw.get("judges", {}).items()]
    for where, said in models:
        backend = said["backend"]
        for key in NO_USE[backend]:
            if key in said:
                yield f"config: {where}.{key}: means nothing to the backend {backend}; drop it"


def _explain(error: jsonschema.ValidationError) -> str:
    """One line for a fault: where it is, what it is, what would be right."""
    where = ".".join(map(str, error.absolute_path)) or "the study"
    schema, value = cast(dict[str, Any], error.schema), error.instance
    message = error.message
    if error.validator == "additionalProperties" and isinstance(value, dict):
        known = sorted(schema.get("properties", {}))
        extra = sorted(set(value) - set(known))
        message = f"unknown key {extra[0]!r}; known are {', '.join(known)}"
    elif error.validator == "type" and isinstance(value, str):
        message = f"{value!r} is text, not {_one_of(error.validator_value)}"
        if _number_like(value):
            message += f"; YAML reads 1e-6 as text, write {_with_point(value)}"
    elif error.validator == "pattern" and ".service." in where:
        message = _SECRET[where.rpartition(".")[2]]  # what stands there is not repeated
    elif error.validator in ("pattern", "not"):
        message = f"{value!r} cannot stand here: {_REMEDIES[_kind_of(error)]}"
    elif error.validator == "oneOf" and where.endswith("questions"):
        message = f"{value!r} is neither `all` nor a list of question ids"
    elif error.validator == "oneOf" and where.endswith("targets"):
        message = f"{value!r} is neither all-linear nor a list of layers' names"
    elif error.validator == "const" and where.endswith("groups"):
        message = f"{value!r} is neither `found` nor a list of groups, code: label"
    elif error.validator == "oneOf" and where.endswith("fold"):
        message = "give either only or without, and not both"
    elif error.validator == "oneOf":
        message = "give either groups (code: label) or bands (lower bounds), and not both"
    return f"config: {where}: {message}"


_SECRET = {
    "key_variable": "name the environment variable that holds the key, in A-Z 0-9 _; never the key",
    "address": "an address begins with http:// or https:// and holds no user name or password",
}
_REMEDIES = {
    "axis": "an axis is named in lower case, a-z 0-9 _",
    "name": "it becomes part of a path, use A-Z a-z 0-9 . _ - only",
    "label": "a group's label must not hold ' & ' or '='",
    "persona": "a persona says {group} where the group's label goes",
    "recode": "recode maps whole numbers, the codes of the file",
    "base": "the variant base is the untuned model; name the recipe otherwise",
}


def _kind_of(error: jsonschema.ValidationError) -> str:
    """Which remedy a pattern's fault asks for."""
    where = [str(part) for part in error.absolute_path]
    if error.validator == "not":
        return "base"
    if where[-1:] == ["persona"]:
        return "persona"
    if "recode" in where:
        return "recode"
    if "groups" in where:
        return "label"
    return "axis" if where[-1:] == ["axes"] else "name"


def _one_of(kinds: Any) -> str:
    return " or ".join(kinds) if isinstance(kinds, list) else f"{kinds}"


def _number_like(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_point(text: str) -> str:
    """A number as YAML 1.1 reads it: a point in the mantissa, a sign in the exponent."""
    mantissa, mark, exponent = text.lower().partition("e")
    if not mark:
        return text
    sign = "" if exponent[:1] in "+-" else "+"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{sign}{exponent}"


def _problems(study: Study, root: Path, files: bool) -> Iterator[str]:
    config = study.config
    yield from _number_problems(config, ())
    yield from _survey_problems(study, root, files)
    yield from _split_problems(study)
    if files and "simulate" not in config["survey"]:
        yield from _confidential(study, root)
    for name, recipe in config["recipes"].items():
        split = config["splits"].get(recipe["split"])
        if split is None or (split["role"] != "train" and "folds" not in split):
            yield (
                f"config: recipes.{name}.split: {recipe['split']!r} is neither a train split nor "
                "one with folds"
            )
        if recipe["grid"] and recipe["method"] not in GRID_METHODS:
            yield (
                f"config: recipes.{name}.grid: is for {', '.join(GRID_METHODS)}, "
                f"not for {recipe['method']}"
            )
        yield from _favour_problems(study, name, recipe)
        if recipe["method"] == "dpo" and recipe["beta"] == 0:
            yield f"config: recipes.{name}.beta: dpo learns nothing at 0"
    for name, model in study.models.items():
        yield from _model_problems(f"models.{name}", model, root, files)
        for recipe in model["recipes"]:
            if recipe not in config["recipes"]:
                yield f"config: models.{name}.recipes: no recipe is named {recipe!r}"
            if model["backend"] not in TUNABLE:
                yield (
                    f"config: models.{name}.recipes: the backend {model['backend']} has no weights "
                    "that we could tune; drop the recipes"
                )
        yield from _tuning_problems(study, name, model)
        for wording in model["wordings"]:
            if wording not in config["wordings"]:
                yield f"config: models.{name}.wordings: no wording is named {wording!r}"
            if model["backend"] == "baseline":
                yield f"config: models.{name}.wordings: a baseline reads no prompt"
    yield from _judge_problems(study, root, files)
    yield from _data_problems("prompt.template", config["prompt"]["template"], "templates")
    for name, wording in config["wordings"].items():
        if "template" in wording:
            yield from _data_problems(f"wordings.{name}.template", wording["template"], "templates")
        if wording.items() <= {**config["prompt"], "order": "persona"}.items():
            yield f"config: wordings.{name}: words every prompt as the study's own `prompt` does"


def _tuning_problems(study: Study, name: str, model: dict[str, Any]) -> Iterator[str]:
    """Recipes that a model's backend, or its number of GPUs, cannot follow."""
    highest = HIGHEST_RANK.get(model["backend"], math.inf)
    processes = 1 if "device_map" in model else max(1, model["gpus"])
    for recipe in model["recipes"]:
        said = study.config["recipes"].get(recipe)
        if said is None:
            continue
        if said["rank"] > highest:
            yield (
                f"config: recipes.{recipe}.rank: {said['rank']} is more than the {highest} that "
                f"the backend {model['backend']} of models.{name} reads; lower it"
            )
        if said["method"] in ("dpo", "grpo") and said["batch"] % processes:
            yield (
                f"config: recipes.{recipe}.batch: {said['batch']} is no multiple of models.{name}."
                f"gpus, {processes}, which share a batch of {said['method']}; change either"
            )


def _favour_problems(study: Study, name: str, recipe: dict[str, Any]) -> Iterator[str]:
    if recipe["favour"] and recipe["balance"] == "none":
        yield f"config: recipes.{name}.favour: does nothing without balance: weight or upsample"
    known = {f"{axis}={group}" for axis, said in study.axes.items() for group in said.names()}
    found = {axis for axis, said in study.axes.items() if said.found}
    for group in recipe["favour"]:
        if group not in known and group.partition("=")[0] not in found:
            yield (
                f"config: recipes.{name}.favour: no group {group!r}; "
                f"known are {', '.join(sorted(known))}"
            )


def _number_problems(value: Any, where: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _number_problems(item, (*where, key))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"config: {'.'.join(where)}: {value} is no finite number"


def _survey_problems(study: Study, root: Path, files: bool) -> Iterator[str]:
    survey = study.config["survey"]
    if ("country" in survey) == ("countries" in survey):
        yield "config: survey: needs either country, a name, or countries, codes in the file"
    if "countries" in survey and "country_columns" not in survey:
        yield "config: survey.country_columns: missing; name the columns that hold countries' codes"
    if "simulate" in survey and "file" in survey:
        yield "config: survey: has both file and simulate; keep one"
    if "simulate" not in survey and not study.survey_file:
        yield f"config: survey.file: missing; name the survey's file here or in ${SURVEY_VARIABLE}"
    if files and "simulate" not in survey and not (root / study.survey_file).is_file():
        yield (
            f"config: survey.file: {study.survey_file}: no such file; "
            f"set it in the study or in ${SURVEY_VARIABLE}"
        )
    if files and not (root / survey["codebook"]).is_file():
        yield f"config: survey.codebook: {survey['codebook']}: no such file"
    for name in RESERVED & set(survey["axes"]):
        yield f"config: survey.axes.{name}: the name is taken by the tables; rename the axis"
    for name, axis in study.axes.items():
        labels = axis.names()
        if not _says_group_alone(axis.persona):
            yield (
                f"config: survey.axes.{name}.persona: {axis.persona!r}: {{group}} is the only "
                "thing in braces"
            )
        if len(set(labels)) < len(labels):
            yield f"config: survey.axes.{name}: two groups share a label"
        if axis.bands and list(axis.bands) != sorted(set(axis.bands)):
            yield f"config: survey.axes.{name}.bands: not ascending"
        if axis.otherwise and axis.found:
            yield f"config: survey.axes.{name}.otherwise: groups that are found have no bands"
        elif axis.otherwise:
            bands = axis.otherwise.bands
            if list(bands) != sorted(set(bands)):
                yield f"config: survey.axes.{name}.otherwise.bands: not ascending"
            if specs.band_names(bands) != labels:
                yield (
                    f"config: survey.axes.{name}.otherwise.bands: they make the labels "
                    f"{', '.join(specs.band_names(bands))}; the axis' own are {', '.join(labels)}"
                )


def _confidential(study: Study, root: Path) -> Iterator[str]:
    """Files with respondents' answers that git would take: a survey must not be passed on."""
    for path in (root / study.survey_file, root / study.results / "survey" / "responses.parquet"):
        if _git_would_take(path):
            yield (
                f"config: survey: {path} is inside a git work tree that does not ignore it; "
                "respondents' answers must not be committed: move it out, or add it to .gitignore"
            )


def _git_would_take(path: Path) -> bool:
    """Whether a file lies in a git work tree that does not ignore it; False without git."""
    folder = next((p for p in path.absolute().parents if p.is_dir()), None)
    if folder is None or shutil.which("git") is None:
        return False
    # every work tree counts, whoever owns it
    asked = ["git", "-c", "safe.directory=*", "-C", str(folder)]
    asked += ["check-ignore", "-q", str(path.absolute())]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 1


def _says_group_alone(persona: str) -> bool:
    try:
        fields = {(field, spec) for _, field, spec, _ in Formatter().parse(persona) if field}
        return fields == {("group", "")} and "{}" not in persona
    except ValueError:
        return False


def _split_problems(study: Study) -> Iterator[str]:
    for name, strata in study.splits.items():
        twice = [s for i, s in enumerate(strata) if set(s) in map(set, strata[:i])]
        if twice:
            yield f"config: splits.{name}: stratum {' x '.join(twice[0])!r} stands there twice"
        for stratum in strata:
            shown = " x ".join(stratum)
            for axis in stratum:
                if axis not in study.axes:
                    known = ", ".join(study.axes)
                    yield f"config: splits.{name}: {shown!r}: no axis {axis!r}; known are {known}"
            if len(set(stratum)) < len(stratum):
                yield f"config: splits.{name}: {shown!r} names an axis twice"
        for axis, selection in study.selections(name)[1].items():
            if axis not in study.axes:
                yield f"config: splits.{name}.groups: no axis {axis!r}"
            elif study.axes[axis].found:
                continue  # what there is shows when the survey is read
            for group in (*(selection.only or ()), *selection.without):
                if group not in study.axes[axis].names():
                    yield f"config: splits.{name}.groups.{axis}: no group {group!r}"
        yield from _fold_problems(study, name)
    yield from _leaks(study)


def _fold_problems(study: Study, name: str) -> Iterator[str]:
    """A split's fold, or its folds, that cannot be."""
    split, where = study.config["splits"][name], f"config: splits.{name}"
    fold = study.fold(name)
    if fold and max((*(fold.only or ()), *fold.without)) >= fold.of:
        yield f"{where}.fold: parts go from 0 to {fold.of - 1}"
    elif fold and not fold.parts():
        yield f"{where}.fold: keeps no part"
    if "folds" in split and (fold or split["role"] != "test"):
        yield f"{where}.folds: only a test split without a fold of its own is cut in folds"
    own = {part for part, (whole, _) in study.parts.items() if whole == name}
    for taken in own & set(study.splits):
        yield f"config: splits.{taken}: the name is taken by a fold; rename the split"
    for recipe, said in study.config["recipes"].items():
        if said["split"] == name:
            for taken in set(study.folds(recipe)) & set(study.config["recipes"]):
                yield f"config: recipes.{taken}: the name is taken by a fold; rename the recipe"
    if "folds" in split and name in study.config.get("generation", {}).get("splits", []):
        yield (
            f"config: generation.splits: {name!r} has folds, whose models share no open-ended "
            "questions; name another split"
        )


def _leaks(study: Study) -> Iterator[str]:
    """Test pairs that are tuned on, too: same stratum, and no selection keeps them apart.

    A split with folds is tuned on as well as tested; its own folds are apart by construction.
    """
    said = study.config["splits"]
    tests = [name for name in said if said[name]["role"] == "test"]
    trains = [name for name in said if said[name]["role"] == "train" or "folds" in said[name]]
    for name, other in product(tests, trains):
        for stratum in study.splits[name] if name != other else ():
            twins = [s for s in study.splits[other] if set(s) == set(stratum)]
            if twins and not _apart(study, name, other, stratum):
                shown = " x ".join(stratum)
                kind = "train split" if said[other]["role"] == "train" else "split with folds"
                yield (
                    f"config: splits.{name}: stratum {shown!r} is in the {kind} {other!r} "
                    "too; a test pair must not be trained on: take the stratum out, or keep the "
                    "splits apart by questions, groups or fold"
                )


def _apart(study: Study, name: str, other: str, stratum: tuple[str, ...]) -> bool:
    """Whether two splits share no pair of a stratum."""
    (questions, groups), (theirs, their_groups) = study.selections(name), study.selections(other)
    everyone, fold = Selection(), study.fold(name)
    return (
        questions.disjoint(theirs)
        or bool(fold and fold.disjoint(study.fold(other)))
        or any(
            groups.get(axis, everyone).disjoint(their_groups.get(axis, everyone))
            for axis in stratum
        )
    )


def _model_problems(where: str, model: dict[str, Any], root: Path, files: bool) -> Iterator[str]:
    backend = model["backend"]
    if backend == "baseline" and "rule" not in model:
        yield f"config: {where}.rule: a baseline needs one"
    if backend == "openai":
        for key in ("weights", "service"):
            if key not in model:
                yield f"config: {where}.{key}: missing; name the model and where it is served"
    if backend in TUNABLE:
        yield from _weights_problems(where, model, root, files)


def _weights_problems(where: str, model: dict[str, Any], root: Path, files: bool) -> Iterator[str]:
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
            yield (
                f"config: {where}.revision: missing; pin the commit of {model['weights']}: "
                "write `revision: main`, then `python -m valuestrata pin` on the study's file"
            )


def unpinned(study: Study) -> list[str]:
    """One line for each hub model whose revision may move."""
    models = [(f"models.{k}", v) for k, v in study.models.items()]
    models += [(f"judges.{k}.model", v) for k, v in study.judge_models.items()]
    return [
        f"{where}: revision {model['revision']} of {model['weights']} is not pinned: "
        "`python -m valuestrata pin` on the study's file writes its commit"
        for where, model in models
        if "revision" in model and not specs.COMMIT.fullmatch(model["revision"])
    ]


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
        elif reference["variant"] != BASE and study.folds(reference["variant"]):
            yield f"config: {where}.reference.variant: a recipe on folds writes no texts"
        yield from _data_problems(f"{where}.rubric", judge["rubric"], "rubrics")


def _data_problems(key: str, name: str, folder: str) -> Iterator[str]:
    known = sorted(p.stem for p in (Path(__file__).parent / "prompting" / folder).glob("*.yaml"))
    if name not in known:
        yield f"config: {key}: no file {name!r}; known are {', '.join(known)}"
