"""A few open-ended answers as models wrote them, with their judges' scores. Pure."""

from collections.abc import Mapping, Sequence

import pandas as pd

from valuestrata.report.display import Cell, Table
from valuestrata.report.phrases import NONE
from valuestrata.report.results import System, cell_label, label, records
from valuestrata.specs import Report

PAIR = ["stratum", "subgroup", "question"]
SAMPLES = 3
LONGEST = 220
Key = tuple[str, str, str]


def samples_table(
    spec: Report,
    split: str,
    texts: Mapping[System, pd.DataFrame],
    verdicts: Mapping[tuple[System, str], pd.DataFrame],
) -> Table:
    """The same few pairs for every run: what it wrote, and its score by judge and dimension."""
    keys = _spread([_keys(frame) for frame in texts.values()])
    written = {s: {_key(row): row for row in records(frame)} for s, frame in texts.items()}
    scores = {k: _scores(frame) for k, frame in verdicts.items()}
    rows = []
    for key in keys:
        for system, own in written.items():
            row = own[key]
            said = row["text"] if isinstance(row["text"], str) else f"({row['outcome']})"
            found = [_said(scores.get((system, judge), {}), key) for judge in spec.compare.judges]
            pair = Cell(cell_label(key[1]), small=key[2])
            rows.append((pair, Cell(label(system, spec)), Cell(_short(said)), *map(Cell, found)))
    columns = (
        "Persona, question",
        "Run",
        "Answer",
        *(f"Score by {j}" for j in spec.compare.judges),
    )
    return Table(f"Sample answers, {split}", columns, tuple(rows), heads=2)


def _key(row: Mapping[str, object]) -> Key:
    return (str(row["stratum"]), str(row["subgroup"]), str(row["question"]))


def _keys(frame: pd.DataFrame) -> list[Key]:
    return sorted(_key(row) for row in records(frame[PAIR]))


def _spread(keys: Sequence[list[Key]]) -> list[Key]:
    """A few pairs that every run answered: the first, the last and what lies evenly between."""
    if not keys:
        return []
    shared = sorted(set(keys[0]).intersection(*keys[1:]))
    if len(shared) <= SAMPLES:
        return shared
    return [shared[i * (len(shared) - 1) // (SAMPLES - 1)] for i in range(SAMPLES)]


def _scores(frame: pd.DataFrame) -> dict[Key, str]:
    said: dict[Key, list[str]] = {}
    for row in records(frame):
        score = NONE if pd.isna(row["score"]) else f"{float(row['score']):g}"
        flipped = " (flipped)" if row["flipped"] is not pd.NA and bool(row["flipped"]) else ""
        said.setdefault(_key(row), []).append(f"{row['dimension']} {score}{flipped}")
    return {key: ", ".join(parts) for key, parts in said.items()}


def _said(scores: Mapping[Key, str], key: Key) -> str:
    return scores.get(key, NONE)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else f"{flat[:LONGEST].rstrip()} …"
