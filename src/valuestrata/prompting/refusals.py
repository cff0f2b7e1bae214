"""Whether a text declines to answer: one detector for closed and open-ended answers.

A refusal is about answering: the speaker is a machine, will not or cannot answer, choose or share a
view, or finds that the question is not one to be answered. A stand put strongly, sorrow for others
and a persona's own limits are answers. Patterns say where a text declines; where none fits, its
wording as a whole decides.
"""

import re
from dataclasses import dataclass

from valuestrata.prompting import refusal_forms as forms
from valuestrata.prompting import refusal_short as short
from valuestrata.prompting import refusal_words as words
from valuestrata.prompting.patterns import late
from valuestrata.prompting.refusal_score import refusal_score

_FLAGS = re.IGNORECASE | re.MULTILINE
_REFUSAL = late(
    "|".join(
        (*words.ENGLISH, *forms.FORMS, *words.MANDARIN, *words.MALAY, *words.TAMIL, *short.SHORT)
    ),
    _FLAGS,
)
_MACHINE = late("|".join((*words.MACHINE, *forms.ARTEFACT)), _FLAGS)
_CONTRAST = late(words.CONTRAST, _FLAGS)
_PERSONA = late(words.PERSONA, _FLAGS)
_QUOTED = late(
    r"""\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」|«[^»\n]*»|(?<!\w)'(?=\w)(?:[^'\n]|'(?=\w)){1,600}+'"""
)
_IDIOM = late(short.IDIOM, _FLAGS)
_SUPPOSED = late(words.SUPPOSED + r"[^.!?\n]*\Z", _FLAGS)
_WORD = late(r"[^\W\d]{2,}|[\u4e00-\u9fff]")
_ANSWER_IN_QUOTES = late(words.ANSWER_IN_QUOTES, _FLAGS)
_CURLY = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'", "，": ", ", "。": ". ", "：": ": "})

MIN_WORDS = 3
"""Words that a text has at least where its wording as a whole decides."""
MIN_SCORE = 0.75
"""Score above which a text that no pattern fits is a refusal."""
LOOK_BACK = 120
"""Characters before a refusal in which its sentence may begin with `If a policeman asked me`."""


@dataclass(frozen=True)
class Refusal:
    """Where a text declines to answer, or says that no person speaks.

    Attributes:
        start: where it begins.
        end: where it ends.
        is_disclaimer: whether it only says that no person speaks.
    """

    start: int
    end: int
    is_disclaimer: bool


def find_refusals(text: str) -> list[Refusal]:
    """Every place where a text declines or disclaims, but where somebody else were to ask."""
    return [
        Refusal(*match.span(), pattern is _MACHINE)
        for pattern in (_REFUSAL, _MACHINE)
        for match in pattern.finditer(text)
        if not _SUPPOSED.search(text, max(0, match.start() - LOOK_BACK), match.start())
    ]


def is_refusal(text: str) -> bool:
    """Whether a text declines to answer.

    >>> [is_refusal(text) for text in ("I cannot answer that.", "As an AI, I have no religion.")]
    [True, True]
    >>> [is_refusal(text) for text in ("I cannot give up my faith.", "I'm sorry for the poor.")]
    [False, False]

    A text that goes on in the persona's voice is an answer, and what others are quoted to say is
    no refusal:

    >>> is_refusal("As an AI I have no faith. But as a Muslim woman I would say it guides me.")
    False
    >>> is_refusal("My boss says, 'I cannot answer that', so I do not trust companies.")
    False
    """
    text = spoken(text)
    by_rule = find_refusals(text)
    if by_rule:
        return any(not _goes_on(text, refusal.end) for refusal in by_rule)
    return len(_WORD.findall(text)) >= MIN_WORDS and refusal_score(text) > MIN_SCORE


def declines(text: str) -> bool:
    """Whether a text declines or disclaims anywhere, in an answer too.

    >>> declines("As an AI I have no faith. But as a Muslim woman I would say it guides me.")
    True
    """
    return bool(find_refusals(spoken(text)))


def is_overcome(text: str, refusal: Refusal, claim: int, ends: str = ".!\n") -> bool:
    """Whether an answer claimed at a position stands in spite of a refusal.

    A disclaimer does not touch an answer in another sentence; a refusal is overcome by a contrast
    between it and the answer alone.

    Args:
        text: the reply.
        refusal: one of its refusals.
        claim: where the answer is claimed.
        ends: what ends a sentence; a line alone where the answer opens it, as in `1. As an AI`.
    """
    before, after = text[claim : refusal.start], text[refusal.end : max(claim, refusal.end)]
    if refusal.is_disclaimer and re.search(f"[{ends}]", before + after):
        return True
    return _CONTRAST.search(after) is not None


def spoken(text: str) -> str:
    """A text as patterns read it: marks made even, no quotes, and no denials in words alone."""
    return _IDIOM.sub("always ", _spoken(_even(text)))


def _even(text: str) -> str:
    """A text with straight quotes, and marks of other scripts as English has them."""
    return " ".join(text.translate(_CURLY).replace("\n", " \n ").split(" "))


def _spoken(text: str) -> str:
    """A text without what is quoted in it, unless quotes are most of it or its speaker's answer."""
    rest = _QUOTED.sub("...", text)
    is_framed = _letters(rest) < _letters(text) - _letters(rest)
    return text if is_framed or _ANSWER_IN_QUOTES.search(text) else rest


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _goes_on(text: str, end: int) -> bool:
    contrast = _CONTRAST.search(text, end)
    return contrast is not None and _PERSONA.search(text, contrast.start()) is not None
