"""Compare the tables of two result folders: compare_results.py OLD NEW [--renames renames.yaml].

Reads every parquet, csv and JSON file of both, maps what the renames say was renamed since OLD, and
prints the first differences. Rows must be in the same order and numbers equal to the last digit;
missing equals missing. Exits with 1 if anything differs, or if there is nothing to compare.

A renames file has these keys, all optional. `files` is a glob in which * matches / too; patterns
are regular expressions that match a whole name or value, and replacements may use its groups.

    files: {old path pattern: new path}
    columns: [{files, rename: {pattern: replacement}}]            columns, or keys of JSON
    values: [{files, column, rename: {pattern: replacement}}]
    extract: [{files, column, pattern, into: {column: template}}] one text column to several
    drop: [{files, columns: [pattern]}]                           columns or keys left out, in both
    ignore: [glob]                                                files left out, in both
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import yaml

IGNORED = (
    *(".code/*", "logs/*", "replies/*", "checkpoints/*", "benchmarks/*", "hardware/*"),
    "*made_of.json",
)
TIMINGS = {
    "files": "models/*/training_log.json",
    "columns": [".*seconds", ".*tokens_per_second"],
}
"""How long a training took: never the same twice."""
MACHINE = {"files": "survey/summary.json", "columns": ["hardware"]}
"""On what a summary was written."""
RECORD = "made_of"
SHOWN = 20
Renames = dict[str, Any]


def main() -> int:
    """Compare and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--renames", type=Path, help="what was renamed since OLD")
    options = parser.parse_args()
    renames = yaml.safe_load(options.renames.read_text("utf-8")) if options.renames else {}
    tables, rows, lines = compare(options.old, options.new, renames)
    print(f"compared {tables} tables, {rows:,} rows: {len(lines)} differences")
    for line in lines[:SHOWN]:
        print(f"  {line}")
    if len(lines) > SHOWN:
        print(f"  ... and {len(lines) - SHOWN} more")
    return int(bool(lines) or not tables)


def compare(old: Path, new: Path, renames: Renames) -> tuple[int, int, list[str]]:
    """Tables compared, rows compared, and a line for each difference."""
    old_files = {_new_path(path, renames): path for path in _tables(old, renames)}
    new_files = _tables(new, renames)
    lines = [f"{old_files[p]}: only in {old}" for p in sorted(old_files.keys() - new_files)]
    lines += [f"{path}: only in {new}" for path in sorted(new_files - old_files.keys())]
    tables = rows = 0
    for path in sorted(old_files.keys() & new_files):
        before = _dropped(mapped(read(old / old_files[path]), path, renames), path, renames)
        after = _dropped(read(new / path), path, renames)
        tables, rows = tables + 1, rows + len(after)
        lines += [f"{path}: {line}" for line in differences(before, after)]
    return tables, rows, lines


def _tables(folder: Path, renames: Renames) -> set[str]:
    ignored = (*IGNORED, *renames.get("ignore", ()))
    paths = (p for p in folder.rglob("*") if p.suffix in (".parquet", ".csv", ".json"))
    names = {path.relative_to(folder).as_posix() for path in paths}
    return {name for name in names if not any(fnmatch(name, glob) for glob in ignored)}


def _new_path(path: str, renames: Renames) -> str:
    return _renamed(path, renames.get("files", {}))


def _renamed(text: str, patterns: dict[str, str]) -> str:
    for pattern, replacement in patterns.items():
        if match := re.fullmatch(pattern, text):
            text = match.expand(replacement)
    return text


def read(path: Path) -> pd.DataFrame:
    """A table; csv as text, JSON as one row with a column for each value."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pandas()
    if path.suffix == ".csv":
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    content = json.loads(path.read_text("utf-8"))
    if isinstance(content, dict):
        content.pop(RECORD, None)
    leaves = dict(_leaves(content))
    return pd.DataFrame([list(leaves.values())], columns=list(leaves), dtype=object)


def _leaves(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Path, with keys joined by /, and value of everything that is not a mapping or list."""
    items: Any = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    if not items:
        yield place, content
    for key, value in items:
        yield from _leaves(value, f"{place}/{key}" if place else str(key))


def mapped(frame: pd.DataFrame, path: str, renames: Renames) -> pd.DataFrame:
    """An old table with today's columns and values; `path` is today's."""
    for rule in _rules(renames, "columns", path):
        names = {
            column: "/".join(_renamed(key, rule["rename"]) for key in str(column).split("/"))
            for column in frame
        }
        frame = frame.rename(columns=names)
    for rule in _rules(renames, "extract", path):
        frame = _extracted(frame, rule)
    for rule in _rules(renames, "values", path):
        column = frame[rule["column"]]
        values = [_renamed(v, rule["rename"]) if isinstance(v, str) else v for v in column]
        frame = frame.assign(**{rule["column"]: pd.Series(values, frame.index, column.dtype)})
    return frame


def _extracted(frame: pd.DataFrame, rule: dict[str, Any]) -> pd.DataFrame:
    """One text column divided into several; '' where it does not match the pattern."""
    source = frame[rule["column"]]
    matches = [re.fullmatch(rule["pattern"], str(value)) for value in source]
    for column, template in rule["into"].items():
        rest = frame[column] if column in frame else pd.Series("", frame.index)
        values = [m.expand(template) if m else v for m, v in zip(matches, rest, strict=True)]
        frame = frame.assign(**{column: pd.Series(values, frame.index, source.dtype)})
    return frame


def _dropped(frame: pd.DataFrame, path: str, renames: Renames) -> pd.DataFrame:
    rules = [*_rules({"drop": [TIMINGS, MACHINE]}, "drop", path), *_rules(renames, "drop", path)]
    patterns = [p for rule in rules for p in rule["columns"]]
    gone = [c for c in frame if any(re.fullmatch(pattern, str(c)) for pattern in patterns)]
    return frame.drop(columns=gone)


def _rules(renames: Renames, kind: str, path: str) -> list[dict[str, Any]]:
    return [rule for rule in renames.get(kind, ()) if fnmatch(path, rule["files"])]


def differences(old: pd.DataFrame, new: pd.DataFrame) -> Iterator[str]:
    """A line for each column that differs, with its first difference."""
    for column in [c for c in old if c not in new]:
        yield f"column {column} is gone"
    for column in [c for c in new if c not in old]:
        yield f"column {column} is new"
    if len(old) != len(new):
        yield f"{len(old)} rows before, {len(new)} now"
        return
    for column in [c for c in new if c in old]:
        if old[column].dtype != new[column].dtype:
            yield f"column {column}: dtype {old[column].dtype} before, {new[column].dtype} now"
        pairs = zip(old[column], new[column], strict=True)
        wrong = [i for i, (before, after) in enumerate(pairs) if not _same(before, after)]
        if wrong:
            before, after = old[column].iloc[wrong[0]], new[column].iloc[wrong[0]]
            yield (
                f"column {column}: {len(wrong)} rows differ; first row {wrong[0]}: "
                f"{str(before)[:80]} before, {str(after)[:80]} now"
            )


def _same(old: Any, new: Any) -> bool:
    """Equal to the last digit, missing equal to missing, lists item by item."""
    if _is_list(old) or _is_list(new):
        both = _is_list(old) and _is_list(new) and len(old) == len(new)
        return both and all(map(_same, old, new))
    if pd.isna(old) or pd.isna(new):
        return bool(pd.isna(old) and pd.isna(new))
    return bool(old == new)


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


if __name__ == "__main__":
    sys.exit(main())
