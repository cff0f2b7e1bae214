"""The options of a closed question, and what a plain reply says of them. Pure functions."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from valuestrata.prompting import answer_words as words

_COUNTS = re.compile(words.COUNTS, re.I)
_NUMBERED = re.compile(words.NUMBERED, re.I)
_MENTION = re.compile(
    r"(?<![A-Za-z0-9_.$€£])(?<!\d[,:])\d{1,9}(?![\d%°]|[.:,]\d| ?%|(?:st|nd|rd|th)\b)"
)


@dataclass(frozen=True)
class Options:
    """The codes of a question, and the label of each that has one, in small letters."""

    codes: frozenset[int]
    labels: Mapping[int, str]

    @classmethod
    def of(cls, codes: Collection[int], labels: Collection[str] = ()) -> "Options":
        """Options from parallel codes and labels; '' for none."""
        pairs = zip(codes, labels, strict=True) if labels else ()
        return cls(frozenset(codes), {code: _simple(label) for code, label in pairs if label})

    @cached_property
    def by_label(self) -> dict[str, int]:
        """The code of each label that one option alone has, and that is no number."""
        texts = list(self.labels.values())
        return {
            text: code
            for code, text in self.labels.items()
            if texts.count(text) == 1 and text.strip("0123456789")
        }

    @cached_property
    def scale(self) -> re.Pattern[str]:
        """What tells the scale and no answer: `on a scale from 1 (never) to 10 (always)`."""
        ends = rf"(?:{min(self.codes, default=0)}|{max(self.codes, default=0)})(?!\d)"
        to, means = words.SCALE_TO, words.SCALE_MEANS
        named = rf"(?: ?\([^()]*\)| ?{means}[^\d.;]{{1,60}}?)?"
        after = rf"(?: ?\([^()]*\)| {means} [^\d.;,]{{1,60}})?"
        return re.compile(
            rf"{words.SCALE_HEAD}:? (?:of |from |between )?{ends}{named},? ?{to} ?{ends}{after}"
            rf"|[(\[] ?{ends} ?{to} ?{ends}[^()\[\]\d]*[)\]]"
            rf"|从 ?{ends}[^\d]{{0,20}}?[到至] ?{ends}",
            re.I,
        )

    def without_scale(self, text: str) -> str:
        """A line without what tells the scale."""
        return " ".join(self.scale.sub("", text).split())

    def without_share(self, rest: str, code: int) -> str:
        """What follows a code, without the scale's end in `7/10`; below ten, 3/4 is a choice."""
        highest = max(self.codes, default=0)
        if not 0 <= code <= highest or (highest < 10 and rest.lstrip().startswith("/")):
            return rest
        return re.sub(rf"^[\"') ]*(?:/|out of) ?{highest}(?![\d%]|[.,/-]\d)", "", rest)

    def label_at(self, text: str) -> tuple[int, int] | None:
        """Code and length of the label that a text begins with; the longest, if several fit."""
        lowered = text.casefold()
        fits = [
            (len(label), code)
            for label, code in self.by_label.items()
            if lowered.startswith(label) and not lowered[len(label) : len(label) + 1].isalnum()
        ]
        return (max(fits)[1], max(fits)[0]) if fits else None

    def names_other(self, text: str, code: int) -> bool:
        """Whether a text holds the label of another option."""
        return any(
            re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text.casefold())
            for label, other in self.by_label.items()
            if other != code and label not in self.labels[code]
        )

    def others_in(self, text: str, code: int | None) -> bool:
        """Whether a text names another option by its code; a number that counts things does not."""
        text = _NUMBERED.sub(" ", text)
        return any(
            int(match[0]) in self.codes - {code} and not _COUNTS.match(text[match.end() :])
            for match in _MENTION.finditer(text)
        )


def _simple(label: str) -> str:
    return " ".join(label.casefold().split()).strip(" .!\"'")
