"""The JSON schema of study files, generated from the parts, by which editors complete a study."""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from valuestrata import io
from valuestrata.study.base import FrozenDict
from valuestrata.study.load import ROOT
from valuestrata.study.study import Study

FOLDER = ROOT / "workflow" / "schemas"
STUDY = "study.schema.json"
OVERLAY = "overlay.schema.json"
PATH = FOLDER / STUDY


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
    """The schema of an overlay, which may leave out every key and make an axis null."""
    schema = _optional(json_schema())
    axes = schema["$defs"]["Survey"]["properties"]["axes"]["patternProperties"]
    for pattern, axis in axes.items():
        axes[pattern] = {"anyOf": [axis, {"type": "null"}]}
    return {**schema, "title": "valuestrata overlay on a study"}


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
