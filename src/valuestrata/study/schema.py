"""The JSON schema of study files, generated from the parts, by which editors complete a study."""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from valuestrata import io
from valuestrata.study.base import FrozenDict
from valuestrata.study.load import ROOT
from valuestrata.study.study import Study
from valuestrata.study.survey import Survey
from valuestrata.study.yaml import NAMED

FOLDER = ROOT / "workflow" / "schemas"
STUDY = "study.schema.json"
OVERLAY = "overlay.schema.json"
PATH = FOLDER / STUDY
_AXES = Survey.model_fields["axes"]


class _Generator(GenerateJsonSchema):
    """Pydantic's generator without titles, which repeat the keys."""

    def encode_default(self, dft: Any) -> Any:
        return dict(dft) if isinstance(dft, FrozenDict) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """The schema of a whole study; unions by `method` and `backend` are oneOf with a const."""
    schema = _plain(Study.model_json_schema(schema_generator=_Generator))
    head = {"$schema": _Generator.schema_dialect, "title": "valuestrata study"}
    return {**head, **{k: v for k, v in schema.items() if k != "title"}}


def overlay_schema() -> dict[str, Any]:
    """The schema of an overlay: it may leave out every key, add to lists, and remove by null."""
    schema = _optional(json_schema())
    survey = schema["$defs"]["Survey"]["properties"]
    _allow_marks(schema)
    sections = {path[-1]: schema["properties"] if len(path) == 1 else survey for path in NAMED}
    for name, properties in sections.items():
        entries = properties[name]["patternProperties"]
        entries |= {pattern: _or_null(part) for pattern, part in entries.items()}
        properties[f"{name}="] = properties[name] | {"description": f"Instead of all {name}."}
        if not Study.model_fields.get(name, _AXES).is_required():
            properties[name] = _or_null(properties[name])
    return {**schema, "title": "valuestrata overlay on a study"}


def _allow_marks(node: Any) -> None:
    """Beside every list, what adds to it."""
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            _allow_marks(child)
    for name, part in list(node.get("properties", {}).items()) if isinstance(node, dict) else ():
        kinds = part.get("anyOf", [part]) if isinstance(part, dict) else []
        lists = [kind for kind in kinds if kind.get("type") == "array"]
        if lists:
            added = {"type": "array", "items": lists[0].get("items", {})}
            node["properties"][f"{name}+"] = {**added, "description": f"Added to {name}."}


def _or_null(part: Any) -> dict[str, Any]:
    return {"anyOf": [part, {"type": "null"}]}


def texts() -> dict[str, str]:
    """The schemas by file name, as their files have them."""
    schemas = {STUDY: json_schema(), OVERLAY: overlay_schema()}
    return {
        name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }


def write(path: Path | str = PATH) -> None:
    """Write the schema of studies to a path, and that of overlays beside it."""
    schemas = texts()
    io.write_text(schemas[STUDY], path)
    io.write_text(schemas[OVERLAY], Path(path).with_name(OVERLAY))


def _optional(node: Any) -> Any:
    """Without what an overlay may leave to the study: required keys and which part is meant."""
    if isinstance(node, list):
        return [_optional(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        "anyOf" if key == "oneOf" else key: _optional(value)
        for key, value in node.items()
        if not (key == "required" and isinstance(value, list))
        and key not in ("minProperties", "default")
    }


def _plain(node: Any) -> Any:
    """A node without noise, that refuses names of another pattern."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _plain(value) for key, value in node.items() if not _is_noise(key, value)}
    if "patternProperties" in plain:
        plain.setdefault("additionalProperties", False)
    return plain


def _is_noise(key: str, value: Any) -> bool:
    """OpenAPI's discriminators, titles, and the default null, which says only: may be left out."""
    is_discriminator = key == "discriminator" and isinstance(value, dict) and "mapping" in value
    return (
        is_discriminator
        or (key == "title" and isinstance(value, str))
        or (key == "default" and value is None)
    )
