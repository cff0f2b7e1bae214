"""Labels of codes: how they are compared, and where a file's contradict the codebook's.

It is imported where the graph is built, so it does without the libraries that read whole files.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

MARGIN = 0.25
"""By how much labels must fit better reversed or shifted than as they stand, on a scale of 0 to
1, to be called so without being the same words."""
SHOWN = 3
"""Differences that a message shows."""
_LEADING_CODE = re.compile(
    r"(?:\[(-?\d+)\]|\((-?\d+)\)|(-?\d+)(?:\s*[.:=)]|\s+-))(?:\s+|(?=[^\s\d]))"
)
_NO_ANSWER = re.compile(
    r"(?:(?:do(?:es)?n't|do(?:es)? not|can't|cannot) (?:know|say|choose)"
    r"|no (?:answer|response|opinion)|prefer not to (?:say|answer)|declined?|refus(?:ed|al)"
    r"|not (?:asked|applicable|ascertained|available|stated|answered)"
    r"|missing|inapplicable|inap|iap|skipped|unknown|dk|na|n/a|nr)(?!\w)"
)
_SIGNS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-"})


def comparable(text: str) -> str:
    """A label without what does not tell labels apart: case, spaces, form of signs, end stop.

    >>> comparable("  Don’t   KNOW. ")
    "don't know"
    """
    plain = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    return " ".join(plain.casefold().split()).rstrip(". ")


def split_code(text: str) -> tuple[int, str] | None:
    """Code and label of a text that has both, such as `1. Always`; None for any other text.

    >>> split_code("(2) Most of the time"), split_code("-9=Refused"), split_code("1.5 hours")
    ((2, 'Most of the time'), (-9, 'Refused'), None)
    """
    plain = text.strip().translate(_SIGNS)
    head = _LEADING_CODE.match(plain)
    if not head or head.end() == len(plain):
        return None
    return int(next(filter(None, head.groups()))), plain[head.end() :]


def means_no_answer(label: str) -> bool:
    """Whether a label of a file, in English, reads as one of a missing code.

    >>> [means_no_answer(text) for text in ("Don't know", "-9. Refused to answer", "No", "Other")]
    [True, True, False, False]
    """
    parts = split_code(label)
    return bool(_NO_ANSWER.match(comparable(parts[1] if parts else label)))


@dataclass(frozen=True)
class Contradiction:
    """Codes that mean one thing in the file and another in the codebook.

    how: reversed, shifted or exchanged. codes: code -> the file's label, and the codebook's or,
    where it has none, the code that has this label there. is_exchange: whether only codes that the
    codebook labels, too, change places among each other.
    """

    how: str
    codes: Mapping[int, tuple[str, str | int]]
    is_exchange: bool

    def __str__(self) -> str:
        differences = [
            f"{code} is {label!r} in the file and {other!r} in the codebook"
            for code, (label, other) in self.codes.items()
        ]
        more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        return f"{self.how}: {', '.join(differences[:SHOWN])}{more}"


def contradiction(file: Mapping[int, str], book: Mapping[int, str]) -> Contradiction | None:
    """Whether a file's labels are the codebook's at other codes: exactly, or by most of the words.

    Labels that only repeat their code say nothing.

    Args:
        file: labels by code, without codes that mean no answer.
        book: labels by code.
    """
    in_file, in_book = _plain_labels(file), _plain_labels(book)
    if not in_file or not in_book:
        return None
    moved = _moved(in_file, in_book) or _rearranged(in_file, in_book)
    if not moved:
        return None
    codes = {code: (file[code], book.get(code) or moved[code]) for code in sorted(moved)}
    return Contradiction(_how(moved, in_book), codes, {*moved} == {*moved.values()})


def unlike(file: Mapping[int, str], book: Mapping[int, str]) -> int | None:
    """The first code that both label, where no code's two labels have a word in common."""
    in_file, in_book = _plain_labels(file), _plain_labels(book)
    both = sorted(set(in_file) & set(in_book))
    alike = any(_words(in_file[code]) & _words(in_book[code]) for code in both)
    return None if alike or not both else both[0]


def _plain_labels(labels: Mapping[int, str]) -> dict[int, str]:
    """Comparable labels without their own code before them, where they are more than that."""
    result = {}
    for code, label in labels.items():
        parts = split_code(label)
        plain = comparable(parts[1] if parts and parts[0] == code else label)
        if plain and plain != str(code):
            result[code] = plain
    return result


def _moved(file: Mapping[int, str], book: Mapping[int, str]) -> dict[int, int]:
    """Code -> the code that has its label in the codebook, for labels that stand elsewhere there.

    A label that also stands where it belongs is only used twice.
    """
    places = {code: _place(code, label, book) for code, label in file.items()}
    return {
        code: place
        for code, place in places.items()
        if place not in (None, code) and places.get(place) != place
    }


def _place(code: int, label: str, book: Mapping[int, str]) -> int | None:
    """The code that has a label in the codebook, the same one before others; None where none has.

    Words in another order are the same label, unless the codebook tells labels apart by it.
    """
    forms: list[Callable[[str], str]] = [str, _sorted_words]
    for form in forms:
        by_code = {other: form(text) for other, text in book.items()}
        hits = [other for other, text in by_code.items() if text == form(label)]
        if hits and len({*by_code.values()}) == len({*book.values()}):
            return code if code in hits else hits[0]
    return None


def _rearranged(file: Mapping[int, str], book: Mapping[int, str]) -> dict[int, int]:
    """Code -> code, where labels fit much better reversed or shifted by one than as they are."""
    both = sorted(set(file) & set(book))
    if len(both) < 2:
        return {}
    ends = min(book) + max(book)
    arrangements = [
        {code: ends - code for code in both},
        {code: code + 1 for code in both},
        {code: code - 1 for code in both},
    ]
    best = max(arrangements, key=lambda places: _fit(file, book, places))
    gain = _fit(file, book, best) - _fit(file, book, {code: code for code in both})
    return best if gain >= MARGIN else {}


def _fit(file: Mapping[int, str], book: Mapping[int, str], places: Mapping[int, int]) -> float:
    """Mean share of words that labels have in common with those of the codes in their places."""
    words = [(_words(file[code]), _words(book.get(place, ""))) for code, place in places.items()]
    return fmean(len(one & other) / max(1, len(one | other)) for one, other in words)


def _how(moved: Mapping[int, int], book: Mapping[int, str]) -> str:
    ends = min(book) + max(book)
    if min(book) in moved and {code + place for code, place in moved.items()} == {ends}:
        return "reversed"
    shifts = {place - code for code, place in moved.items()}
    is_shift = len(shifts) == 1 and len(moved) > 1
    return f"shifted by {abs(shifts.pop())}" if is_shift else "exchanged"


def _words(label: str) -> set[str]:
    return set(re.findall(r"\w+", label))


def _sorted_words(label: str) -> str:
    return " ".join(sorted(re.findall(r"\w+", label)))
