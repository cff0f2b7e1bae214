"""From what a model wrote to an outcome: answer, refusal, truncated, invalid or failed. Pure.

Only new tokens are ever read, so a prompt cannot be mistaken for an answer; and of them only what
follows the last end of thought. Replies are read in the languages of prompting/templates, whatever
the prompt's was: a model may answer in its own.
"""

import re
from collections.abc import Collection
from functools import lru_cache

from valuestrata.prompting.claims import claimed
from valuestrata.prompting.options import Options
from valuestrata.prompting.plain_text import to_plain
from valuestrata.prompting.refusals import find_refusals, is_overcome, is_refusal
from valuestrata.prompting.thinking import split_thought


def parse(
    text: str | None, codes: Collection[int], labels: Collection[str] = (), is_cut: bool = False
) -> tuple[str, int | None]:
    """Outcome and code of a reply to a closed question.

    Args:
        text: what was written, None where the call failed.
        codes: the options.
        labels: the label of each, '' for none; where they are given, a label alone is an answer,
            and a code with another one's label is none.
        is_cut: whether the text ended at its token limit. Then its last sentence claims nothing:
            `1` may be the beginning of `10`, and a change of mind may have followed.

    >>> parse("Answer: 3", [1, 2, 3])
    ('answer', 3)
    >>> parse("2. rather important", [1, 2, 3])
    ('answer', 2)
    >>> parse("Not important", [1, 2], ["Important", "Not important"])
    ('answer', 2)
    >>> parse("I have 2 children and 3 cats.", [1, 2, 3])
    ('invalid', None)
    >>> [parse(text, [1, 2, 3])[0] for text in ("Answer: 7", "Answer: 2-3", "3? No, 2.")]
    ['invalid', 'invalid', 'invalid']
    >>> parse("I'm sorry, I cannot answer that.", [1, 2, 3])
    ('refusal', None)
    >>> parse("<think>The answer is 3", [1, 2, 3])
    ('truncated', None)
    >>> parse("Answer: 1", [1, 2, 10], is_cut=True)
    ('truncated', None)
    >>> parse(None, [1, 2, 3])
    ('failed', None)

    So in the other languages:

    >>> [parse(text, [1, 2, 3])[1] for text in ("答案：3", "Jawapan: 3", "பதில்: 3")]
    [3, 3, 3]
    >>> parse("答案：2或3", [1, 2, 3])
    ('invalid', None)
    >>> [parse(text, [1, 2, 3])[0] for text in ("抱歉，我无法回答这个问题。", "我有2个孩子。")]
    ['refusal', 'invalid']
    >>> [parse(text, [1, 2, 3])[0] for text in ("Maaf, saya tidak dapat menjawab.", "Ada 2 anak.")]
    ['refusal', 'invalid']
    >>> [parse(text, [1, 2, 3])[0] for text in ("என்னால் பதிலளிக்க முடியாது.", "2 பிள்ளைகள் உண்டு.")]
    ['refusal', 'invalid']
    """
    if text is None:
        return "failed", None
    parts = split_thought(text)
    if not parts.is_finished:
        return "truncated", None
    code = _answer(parts.reply, tuple(codes), tuple(labels), is_cut)
    if code is not None:
        return "answer", code
    if is_refusal(parts.reply):
        return "refusal", None
    return ("truncated" if is_cut else "invalid"), None


@lru_cache(maxsize=4096)  # most replies of a run are a few texts
def _answer(
    reply: str, codes: tuple[int, ...], labels: tuple[str, ...], is_cut: bool
) -> int | None:
    """The code that a reply claims and does not refuse to give."""
    plain = _lines(to_plain(reply))
    claim = claimed(plain, Options.of(codes, labels), is_cut)
    if claim is None:
        return None
    ends = "\n" if claim.kind == "listed" else ".!\n"
    stands = all(is_overcome(plain, r, claim.start, ends) for r in find_refusals(plain))
    return claim.code if stands else None


def _lines(text: str) -> str:
    """A text with single blanks and no empty lines; a quoted line counts where all are quoted."""
    lines = [" ".join(line.strip("| \t").split()) for line in text.split("\n")]
    unquoted = [line for line in lines if line and not line.startswith("> ")]
    return "\n".join(unquoted or [re.sub(r"^(?:> ?)+(?=[^\W\d])", "", s) for s in lines if s])


def free_outcome(text: str | None) -> str:
    """Outcome of an open-ended answer: answer, refusal, truncated, invalid (no text) or failed.

    >>> free_outcome("Family comes first for me.")
    'answer'
    >>> free_outcome("As an AI language model, I have no religion.")
    'refusal'
    >>> free_outcome("<think>What would she say")
    'truncated'
    """
    if text is None:
        return "failed"
    parts = split_thought(text)
    if not parts.is_finished:
        return "truncated"
    if is_refusal(parts.reply):
        return "refusal"
    return "answer" if re.search(r"\S", parts.reply) else "invalid"
