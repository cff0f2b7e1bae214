"""From what a model wrote to an outcome: answer, refusal, invalid or failed. Pure functions.

Only new tokens are ever parsed, so a prompt cannot be mistaken for an answer.
"""

import re
from collections.abc import Collection

_NUMBER = r"(-?\d{1,9})(?!\d)"
_ANNOUNCED = r"\banswer(?:\W{0,4}[:=]|\s+is)[\s*:]{0,4}[\[(\"']?"
_FORM = re.compile(_ANNOUNCED + _NUMBER + r"(?!\.\d|\s*(?:-|–|/|,|or|and|to)\s*\d)", re.IGNORECASE)
_BARE = re.compile(r"^\W*?" + _NUMBER + r"(?:\W*|\s?[.):=-]\D*)$")
_SAYING = (
    r"(?:answer|say|tell|share|give|provide|offer|express|discuss|comment|respond|reply|choose|pick"
    r"|select|rate|state|help|assist|participate|take part|engage|speak)"
)
_REFUSAL = re.compile(
    r"\b(?:i(?:['’]m| am) sorry|as an ai|language model|decline to"
    r"|(?:i (?:can(?:no|['’])t|can not|won['’]t|will not)|unable to|not able to|prefer not to"
    rf"|rather not|not (?:be )?(?:appropriate|comfortable)(?: for me)?(?: to)?) {_SAYING})",
    re.IGNORECASE,
)


def parse(text: str | None, codes: Collection[int]) -> tuple[str, int | None]:
    """Outcome and code of a reply to a closed question.

    A code counts where it follows "Answer:" (once, or always the same) or is all that was written;
    a number inside prose does not, nor does one that is no option.

    >>> parse("Answer: 3", [1, 2, 3])
    ('answer', 3)
    >>> parse("2. rather important", [1, 2, 3])
    ('answer', 2)
    >>> parse("I have 2 children and 3 cats.", [1, 2, 3])
    ('invalid', None)
    >>> parse("Answer: 7", [1, 2, 3])
    ('invalid', None)
    >>> parse("I'm sorry, I cannot answer that.", [1, 2, 3])
    ('refusal', None)
    >>> parse(None, [1, 2, 3])
    ('failed', None)
    """
    if text is None:
        return "failed", None
    bare = _BARE.match(text)
    said = {int(found) for found in _FORM.findall(text)} or ({int(bare[1])} if bare else set())
    if len(said) == 1 and (code := said.pop()) in codes:
        return "answer", code
    return ("refusal" if _REFUSAL.search(text) else "invalid"), None


def free_outcome(text: str | None) -> str:
    """Outcome of an open-ended answer: failed, refusal, invalid (nothing said) or answer.

    >>> free_outcome("Family comes first for me.")
    'answer'
    >>> free_outcome("As an AI language model, I have no religion.")
    'refusal'
    """
    if text is None:
        return "failed"
    if _REFUSAL.search(text):
        return "refusal"
    return "answer" if text.strip() else "invalid"
