"""Croissant metadata of an export's tables: what each column holds, for dataset search and loaders.

Source: the Croissant format, version 1.0 (https://docs.mlcommons.org/croissant).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valuestrata import evaluation_tables, judge_tables, tables
from valuestrata.contracts import Column, Contract
from valuestrata.provenance import file_digest

CONTRACTS = {
    table.name: table
    for module in (tables, evaluation_tables, judge_tables)
    for table in vars(module).values()
    if isinstance(table, Contract)
}
"""Contracts of the tables that any study has, by the name that a parquet file carries."""

_TYPES = {"text": "sc:Text", "int": "sc:Integer", "float": "sc:Float", "bool": "sc:Boolean"}
_LISTS = {"texts": "sc:Text", "ints": "sc:Integer", "floats": "sc:Float"}
_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}


def metadata(
    about: Mapping[str, str],
    authors: Mapping[str, str],
    root: Path,
    files: Mapping[Path, Contract],
) -> dict[str, Any]:
    """The content of croissant.json.

    Args:
        about: name, description, license and datePublished (YYYY-MM-DD) of the data set.
        authors: names, each with an ORCID URL or ''.
        root: the folder that croissant.json lies in.
        files: each parquet table within it, with its contract.
    """
    ids = {path: path.relative_to(root).as_posix() for path in files}
    creators = [
        {"@type": "sc:Person", "name": name, **({"url": orcid} if orcid else {})}
        for name, orcid in authors.items()
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "version": "1.0.0",
        **about,
        **({"creator": creators} if creators else {}),
        "distribution": [_file(path, name) for path, name in ids.items()],
        "recordSet": [_record_set(ids[path], contract) for path, contract in files.items()],
    }


def _file(path: Path, name: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": file_digest(path),
    }


def _record_set(name: str, contract: Contract) -> dict[str, Any]:
    """A table's columns; those of an open table that its contract does not name are left out."""
    key = f"{name.removesuffix('.parquet')}-rows"
    return {
        "@type": "cr:RecordSet",
        "@id": key,
        "name": key,
        "description": f"The table {contract.name}.",
        "field": [_field(key, name, column) for column in contract.columns],
    }


def _field(key: str, name: str, column: Column) -> dict[str, Any]:
    is_list = column.dtype in _LISTS
    return {
        "@type": "cr:Field",
        "@id": f"{key}/{column.name}",
        "name": column.name,
        "description": column.meaning,
        "dataType": _LISTS[column.dtype] if is_list else _TYPES[column.dtype],
        **({"repeated": True} if is_list else {}),
        "source": {"fileObject": {"@id": name}, "extract": {"column": column.name}},
    }
