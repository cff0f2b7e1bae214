"""The JSON schema of study files says what the typed parts say, and its files are up to date."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.study.parts import CONFIG, OVERLAYS, REMOVED, ROOT, STUDIES, changed
from valuestrata.errors import InputError
from valuestrata.study import schema
from valuestrata.study.load import load
from valuestrata.study.yaml import read_yaml

FILES = [*STUDIES, ROOT / "tests/fixtures/mini.yaml"]


def validator(made: dict[str, Any]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.fixture(scope="module")
def whole() -> jsonschema.Draft202012Validator:
    return validator(schema.json_schema())


def as_json(raw: Any) -> Any:
    return json.loads(json.dumps(raw))


def nodes(value: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield where, value
        for key, inner in value.items():
            yield from nodes(inner, f"{where}/{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from nodes(inner, f"{where}/{i}")


def test_the_schemas_in_the_repository_are_generated() -> None:
    for name, text in schema.texts().items():
        path = schema.FOLDER / name
        assert path.read_text(encoding="utf-8") == text, "stale: run `valuestrata schema`"


def test_every_study_file_is_valid_and_names_its_schema(
    whole: jsonschema.Draft202012Validator,
) -> None:
    overlay = validator(schema.overlay_schema())
    for path in [*FILES, *OVERLAYS]:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        name = schema.OVERLAY if path in OVERLAYS else schema.STUDY
        assert first.startswith("# yaml-language-server: $schema="), path
        assert (path.parent / first.partition("=")[2]).resolve() == schema.FOLDER / name
        (overlay if path in OVERLAYS else whole).validate(as_json(read_yaml(path)))
    overlay.validate({"survey": {"axes": {"religion": None}}, "models": {"m": {"threads": 2}}})


def test_a_study_with_its_defaults_written_out_is_valid(
    whole: jsonschema.Draft202012Validator,
) -> None:
    changes: dict[str, Any] = {"splits/ood/questions": {"only": ["Q1"]}}
    written = json.loads(load(changed(changes)).to_json())
    for part, keys in ((written["survey"]["axes"]["sex"], ("bands",)),):
        for key in keys:
            del part[key]
    for model in [*written["models"].values(), written["judges"]["toy-judge"]["model"]]:
        model.pop("model", None)
    del written["splits"]["ood"]["questions"]["without"]
    for axis in written["survey"]["axes"].values():
        axis.pop("bands", None)
    whole.validate(written)


def test_the_schema_and_the_parts_refuse_the_same(whole: jsonschema.Draft202012Validator) -> None:
    for changes in (
        {"zzz": 1},
        {"study": "a/b"},
        {"study": REMOVED},
        {"survey/axes/Sex": CONFIG["survey"]["axes"]["sex"]},
        {"survey/axes/sex/groups": REMOVED},
        {"survey/axes/sex/bands": [1, 2]},
        {"survey/axes/sex/groups/1": "a & b"},
        {"survey/axes/sex/persona": "x"},
        {"survey/questions": "some"},
        {"survey/questions": ["Q1", "Q1"]},
        {"survey/filter": {"A": []}},
        {"survey/recode": {"Q1": {1: "a"}}},
        {"survey/axes/sex/groups": {"male": [1.5], "female": 2}},
        {"survey/axes/sex/groups": {"male": [], "female": 2}},
        {"splits/ood/role": "dev"},
        {"splits/ood/fold": {"of": 5}},
        {"recipes/sft/method": "ppo"},
        {"recipes/sft/beta": 0.1},
        {"recipes/base": CONFIG["recipes"]["sft"]},
        {"recipes/sft/epochs": 0},
        {"models": {}},
        {"models/m": {"backend": "openai", "model": "x", "base_url": "localhost"}},
        {"models/m": {"backend": "transformers"}},
        {"models/axis-mode/threads": 1},
        {"evaluation/seed": True},
        {"prompt_variants/w": {}},
    ):
        raw = changed(changes)
        assert list(whole.iter_errors(as_json(raw))), changes
        with pytest.raises(InputError):
            load(raw)


def test_every_level_is_described_refuses_unknown_keys_and_keeps_its_defaults(
    whole: jsonschema.Draft202012Validator,
) -> None:
    made: Any = whole.schema
    for where, node in nodes(made):
        if "properties" in node:
            assert node["additionalProperties"] is False, where
            assert node["description"], where
        if "default" in node and not where.endswith("properties"):
            inner = {**node, "$defs": made["$defs"]}
            jsonschema.Draft202012Validator(inner).validate(node["default"])
    references = {node["$ref"] for _, node in nodes(made) if "$ref" in node}
    assert references == {f"#/$defs/{name}" for name in made["$defs"]}


def test_both_schemas_are_written_beside_each_other(tmp_path: Path) -> None:
    schema.write(tmp_path / "study.schema.json")
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert written == schema.texts()
