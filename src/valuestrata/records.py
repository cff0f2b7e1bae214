"""What an artefact is made of: its stage, run, settings, code and inputs, carried by the artefact.

A parquet table carries its record in its metadata, a JSON file under the key `made_of`, a folder in
the file made_of.json, and any other file in a made_of.json beside it. Snakemake's own records say
what should run; these say what did, whoever started it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from valuestrata.paths import MADE_OF, TRAINING_LOG
from valuestrata.provenance import explain, text_digest
from valuestrata.weight_digests import content_of

METADATA_KEY = b"valuestrata.made_of"
JSON_KEY = "made_of"


@dataclass(frozen=True)
class Record:
    """What an artefact is made of.

    Attributes:
        stage: the stage that made it.
        run: its part of the study: model, variant, split, ...
        settings: all settings that it depends on, defaults included.
        digest: hex digits over the settings that are not at their default, and the code.
        code: digest of each definition that the stage reaches.
        inputs: digest of each file or folder that was read, by path.
        n_failed: calls of a service that failed, where they are more than the study accepts: the
            artefact is incomplete, and made again with the replies that it has.
    """

    stage: str
    run: Mapping[str, str]
    settings: Mapping[str, Any]
    digest: str = ""
    code: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    n_failed: int = 0

    @property
    def caveat(self) -> str:
        """What the artefact says about toy models and simulated data; '' if neither."""
        return str(self.settings.get("caveat", ""))

    def to_json(self) -> str:
        """The record as one line of JSON."""
        content = asdict(self)
        if not self.n_failed:
            del content["n_failed"]
        return json.dumps(content, ensure_ascii=False)


def parse_record(text: str | bytes) -> Record:
    """The inverse of `Record.to_json`."""
    return Record(**json.loads(text))


def read_record(path: Path | str) -> Record | None:
    """The record that an artefact carries, None where it has none or does not exist."""
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            metadata = pq.read_schema(path).metadata or {}
            return parse_record(metadata[METADATA_KEY])
        if path.suffix == ".json" and path.name != MADE_OF:
            return Record(**json.loads(path.read_text(encoding="utf-8"))[JSON_KEY])
        folder = path if path.is_dir() else path.parent
        return parse_record((folder / MADE_OF).read_text(encoding="utf-8"))
    except (OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError):
        return None


def content_digest(path: Path | str) -> str:
    """Sixteen hex digits over the bytes of a file, or of a folder's files, but not of its log."""
    path = Path(path)
    if path.is_file():
        return content_of(path)[:16]
    files = sorted(p for p in path.rglob("*") if p.is_file())
    kept = [p for p in files if p.name not in (MADE_OF, TRAINING_LOG)]
    return text_digest(part for p in kept for part in (str(p.relative_to(path)), content_of(p)))[
        :16
    ]


def changed_settings(
    recorded: Mapping[str, Any], current: Mapping[str, Any], not_default: Mapping[str, Any]
) -> list[str]:
    """What differs between recorded and current settings, a line each: `recipe.epochs: 1 -> 2`.

    A setting that the record does not have yet differs only if it is not at its default.
    """
    old, new, explicit = dict(_flat(recorded)), dict(_flat(current)), dict(_flat(not_default))
    lines = []
    for key in [*new, *(k for k in old if k not in new)]:
        if key not in new:
            lines.append(f"{key}: {_shown(old[key])} -> not set")
        elif key in old and old[key] != new[key]:
            lines.append(f"{key}: {_shown(old[key])} -> {_shown(new[key])}")
        elif key not in old and key in explicit:
            lines.append(f"{key}: not set -> {_shown(new[key])}")
    return lines


def changed_code(recorded: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """What differs between definitions, a line each: `metrics.ordinal.nmae was edited`."""
    return [] if recorded == current else explain(recorded, current)


def changed_inputs(
    record: Record, folder: str, digest_of: Callable[[str], str] = content_digest
) -> list[str]:
    """Inputs below a folder that are no longer what the artefact was made of, a line each."""
    return [
        f"input {path} has changed"
        for path, digest in record.inputs.items()
        if path.startswith(folder) and Path(path).exists() and digest_of(path) != digest
    ]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf; an empty mapping or list is a leaf."""
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    if not items:
        yield prefix, list(value) if isinstance(value, tuple) else value
    for key, item in items:
        yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
