"""Cells that hold labels instead of codes: which code of the codebook or the study each text is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import pandas as pd

from valuestrata.survey.groups import BLANK
from valuestrata.survey.missing import MissingCodes
from valuestrata.survey.value_labels import comparable, split_code

SHOWN = 30
"""Texts that a message lists."""
LONGEST = 40
"""Characters of a text that a message shows."""


@dataclass(frozen=True)
class UnmatchedText:
    """A text of a column that no label is; how many cells have it, and the label most like it."""

    column: str
    text: str
    cells: int
    near: str

    def __str__(self) -> str:
        text = self.text if len(self.text) <= LONGEST else f"{self.text[:LONGEST]}..."
        guess = f"; is it {self.near!r}?" if self.near else ""
        return f"{text!r} ({self.cells} cell{'s' if self.cells > 1 else ''}{guess})"


def answers_to_codes(
    plain: pd.Series, labels: Mapping[int, str], missing: MissingCodes
) -> tuple[pd.Series, list[UnmatchedText]]:
    """[N] cells with codes for labels, blank for texts that mean no answer; and the other texts.

    Numbers stay, but where a label is a number and the column holds labels. A text may have its
    code before it: `1. Always`.

    Args:
        plain: [N] cells of a question's column, named by it.
        labels: code -> label as they stand in the file.
        missing: texts and codes that mean no answer.
    """
    sizes = plain.value_counts()
    texts = [str(text) for text in sizes.index if text not in BLANK]
    numbers = {text for text in texts if _is_number(text)}
    if len(numbers) == len(texts):
        return plain, []
    codes = _codes_by_label(labels)
    replaced: dict[str, str] = {}
    unmatched = []
    for text in (text for text in texts if text not in numbers):
        code = _code(text, codes, labels, missing)
        if code is not None:
            replaced[text] = code
        else:
            near = get_close_matches(comparable(text), list(codes), n=1, cutoff=0.8)
            unmatched.append(UnmatchedText(str(plain.name), text, int(sizes[text]), *near or [""]))
    if any(replaced.values()) and numbers <= set(codes):
        replaced |= {text: codes[text] for text in numbers}
    return _replaced(plain, replaced), unmatched


def groups_to_codes(
    plain: pd.Series, listed: Mapping[str, str], book: Mapping[str, str]
) -> pd.Series:
    """[N] cells with the code of a group for its label, as the study or the codebook has it.

    Args:
        plain: [N] cells of an axis' column.
        listed: code -> label of the axis' groups.
        book: code -> label of the column in the codebook.
    """
    codes = {comparable(label): code for code, label in book.items() if code in listed}
    codes |= {comparable(label): code for code, label in listed.items()}
    codes |= {comparable(code): code for code in listed}
    cells = [str(text) for text in plain.unique() if text not in ("", *listed)]
    texts = [text for text in cells if not _is_number(text)]
    return _replaced(plain, {t: codes[comparable(t)] for t in texts if comparable(t) in codes})


def list_unmatched(texts: Iterable[UnmatchedText]) -> str:
    """All texts in one line, column by column: `column Q1: 'Maybe' (3 cells); column Q2: ...`."""
    every = list(texts)
    by_column: dict[str, list[str]] = {}
    for text in every[:SHOWN]:
        by_column.setdefault(text.column, []).append(str(text))
    columns = [f"column {name}: {', '.join(shown)}" for name, shown in by_column.items()]
    more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(columns) + more


def _codes_by_label(labels: Mapping[int, str]) -> dict[str, str]:
    """Code by comparable label, without labels that several codes have."""
    codes: dict[str, str] = {}
    for code, label in labels.items():
        form = comparable(label)
        codes[form] = "" if form in codes else str(code)
    return {form: code for form, code in codes.items() if form and code}


def _code(
    text: str, codes: Mapping[str, str], labels: Mapping[int, str], missing: MissingCodes
) -> str | None:
    """The code that a text means, '' for no answer, None where it is unknown."""
    form = comparable(text)
    if form in missing.texts:
        return ""
    if form in codes:
        return codes[form]
    parts = split_code(text)
    if not parts:
        return None
    code, label = parts
    is_same = comparable(label) in (comparable(labels.get(code, "")), str(code))
    return str(code) if code in missing.codes or (is_same and label) else None


def _replaced(plain: pd.Series, replaced: Mapping[str, str]) -> pd.Series:
    """[N] cells, each text replaced once."""
    if not replaced:
        return plain
    return plain.map({text: replaced.get(text, text) for text in plain.unique()}).astype("string")


def _is_number(text: str) -> bool:
    return bool(pd.notna(pd.to_numeric(text, errors="coerce")))
