"""Open-ended answers: what they are, and a few as models wrote them, with their scores. Pure."""

from collections.abc import Mapping, Sequence

import pandas as pd

from valuestrata.inference.protocol import CUT
from valuestrata.io import records
from valuestrata.report.display import Cell, Table
from valuestrata.report.phrases import NONE, listed
from valuestrata.report.results import cell_label
from valuestrata.report.runs import ModelVariant, label
from valuestrata.report.settings import ComparisonSettings
from valuestrata.tables import PAIR

N_SAMPLES = 3
MAX_LENGTH = 320
MIN_N = 30
"""Fewest valid answers and respondents of a pair whose texts are shown."""
COUNTS = {"answer": "Answers", "refusal": "Refusals", "truncated": "Unfinished thoughts"}
COUNTS |= {"invalid": "Empty", "failed": "Failed"}
CUT_NOTE = " (cut at its token limit)"
Pair = tuple[str, str, str]
"""Stratum, subgroup and question."""


def large_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs whose texts may be shown: neither their subgroup nor their answers are few.

    Args:
        pairs: stratum, subgroup, question, n and respondents of each.

    Returns:
        the three names, and `people`, the smaller of the two sizes.
    """
    people = pairs[["n", "respondents"]].min(axis=1)
    return pairs[PAIR].assign(people=people)[people >= MIN_N]


def small_cells(min_n: int) -> str:
    """What is said of the pairs whose texts are not shown."""
    return f"Pairs of fewer than {min_n} respondents or valid answers are not shown."


def texts_table(
    settings: ComparisonSettings, split: str, texts: Mapping[ModelVariant, pd.DataFrame]
) -> Table:
    """How many texts each run wrote, and what they are: every text is counted once.

    Beside that, answers with a refusal or disclaimer in them, texts that ended at their token
    limit, and the median length in tokens where it was counted.
    """
    rows = []
    for run, frame in texts.items():
        outcome = frame["outcome"]
        in_part = int(((outcome == "answer") & frame["declines"]).sum())
        length = frame["completion_tokens"].median()
        cells = [
            f"{len(frame):,}",
            *(f"{int((outcome == name).sum()):,}" for name in COUNTS),
            f"{in_part:,}",
            f"{int((frame['finish_reason'] == CUT).sum()):,}",
            NONE if pd.isna(length) else f"{length:g}",
        ]
        rows.append((Cell(label(run, settings)), *map(Cell, cells)))
    columns = ("Run", "Texts", *COUNTS.values(), "Answers that decline in part")
    columns = (*columns, "Cut at the token limit", "Median tokens")
    return Table(f"Open-ended texts, {split}", columns, tuple(rows))


def text_notes(split: str, texts: Mapping[ModelVariant, pd.DataFrame]) -> list[str]:
    """A line on the texts of a split that are no whole answers; none where all are."""
    if not texts:
        return []
    every = pd.concat(texts.values(), ignore_index=True)
    counts = {
        "decline to answer": (every["outcome"] == "refusal").sum(),
        "were cut at their token limit": (every["finish_reason"] == CUT).sum(),
        "are empty or unfinished": every["outcome"].isin(["invalid", "truncated"]).sum(),
        "failed": (every["outcome"] == "failed").sum(),
    }
    shown = [f"{n:,} {what}" for what, n in counts.items() if n]
    return [f"Of {len(every):,} open-ended texts on {split}, {listed(shown)}."] if shown else []


def samples_table(
    settings: ComparisonSettings,
    split: str,
    texts: Mapping[ModelVariant, pd.DataFrame],
    verdicts: Mapping[tuple[ModelVariant, str], pd.DataFrame],
) -> Table:
    """The same few pairs for every run: what it wrote, and its score by judge and dimension."""
    by_pair = {run: {_pair(row): row for row in records(frame)} for run, frame in texts.items()}
    scores = {key: _scores(frame) for key, frame in verdicts.items()}
    rows = []
    for pair in _spread([sorted(answers) for answers in by_pair.values()]):
        for run, answers in by_pair.items():
            row = answers[pair]
            text = (
                row["text"]
                if isinstance(row["text"], str) and row["text"]
                else f"({row['outcome']})"
            )
            text = _shortened(text) + CUT_NOTE * (row.get("finish_reason") == CUT)
            judged = [scores.get((run, j), {}).get(pair, NONE) for j in settings.judges]
            asked = ". ".join(filter(None, [pair[2], str(row.get("prompt") or "")]))
            names = (
                Cell(cell_label(pair[1]), small=asked, people=row.get("people")),
                Cell(label(run, settings)),
            )
            rows.append((*names, Cell(text), *map(Cell, judged)))
    judges = (f"Score by {judge}" for judge in settings.judges)
    columns = ("Persona, question", "Run", "Answer", *judges)
    return Table(f"Sample answers, {split}", columns, tuple(rows), heads=2, note=small_cells(MIN_N))


def _pair(row: Mapping[str, object]) -> Pair:
    stratum, subgroup, question = (str(row[name]) for name in PAIR)
    return stratum, subgroup, question


def _spread(pairs: Sequence[list[Pair]]) -> list[Pair]:
    """A few pairs that every run answered: the first, the last and evenly spaced ones between."""
    if not pairs:
        return []
    shared = sorted(set(pairs[0]).intersection(*pairs[1:]))
    if len(shared) <= N_SAMPLES:
        return shared
    return [shared[i * (len(shared) - 1) // (N_SAMPLES - 1)] for i in range(N_SAMPLES)]


def _scores(frame: pd.DataFrame) -> dict[Pair, str]:
    """What a judge gave each pair: `Overall 0.75 (flipped), Style 1`."""
    parts: dict[Pair, list[str]] = {}
    for row in records(frame):
        score = NONE if pd.isna(row["score"]) else f"{float(row['score']):g}"
        flipped = " (flipped)" if row["flipped"] is not pd.NA and bool(row["flipped"]) else ""
        parts.setdefault(_pair(row), []).append(f"{row['dimension']} {score}{flipped}")
    return {pair: ", ".join(scores) for pair, scores in parts.items()}


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MAX_LENGTH else f"{flat[:MAX_LENGTH].rstrip()} …"
