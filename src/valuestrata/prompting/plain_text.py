"""A reply as plain text: markup, wide digits, emoji and JSON brought to one form. Pure functions.

Nothing that could change a number is dropped: signs, units, fractions and struck text stay, so that
a reader can turn them down.
"""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

STRUCK = "✗"
"""What stands for text that was struck out, and for a cross."""

_SPACES = dict.fromkeys(
    map(ord, "\u00a0\u1680\u2007\u202f\u205f\u3000\t\v\f"), " "
) | dict.fromkeys(range(0x2000, 0x200B), " ")
_NOTHING = dict.fromkeys([0xAD, 0xFE0F, 0x20E3, 0xFEFF, *range(0x200B, 0x2010), 0x2060])
_ALIKE = {
    "-": "\u2212\ufe63\uff0d\u2010\u2011",
    "\u2013": "\u2012\u2014\u2015",
    "~": "\u301c\uff5e\u223c\u02dc",
    "'": "\u2018\u2019\u201b`´",
    '"': "\u201c\u201d\u201e«»",
    "(": "【「『《〔（",
    ")": "】」』》〕）",
    "<": "〈＜‹",
    ">": "〉＞›",
    STRUCK: "❌❎✖✗✘🚫⛔👎",
    ", ": "、，",
    "; ": "；",
    ". ": "。",
    "! ": "！",
    "? ": "？",
    ": ": "：",
    "10": "🔟",
}
_SIGNS = {ord(char): sign for sign, chars in _ALIKE.items() for char in chars}
_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_CIRCLED = {
    ord(char): f"({value})"
    for first in "①❶➀➊⑴"
    for value, char in ((i + 1, chr(ord(first) + i)) for i in range(10))
}
_TABLE = {**_WIDE, **_SPACES, **_NOTHING, **_CIRCLED, **_SIGNS}
_EMOJI = re.compile(f"(?:(?!{STRUCK})[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff])+")

_BLOCK = re.compile(r"</?(?:br|p|div|li|ul|ol|h[1-6]|tr|table|body|html|pre)\b[^<>]*>", re.I)
_INLINE = re.compile(
    r"</?(?:b|i|u|em|strong|span|code|font|mark|big|small|a|center|td|th|tt|sub|response|output"
    r"|final|result)\b[^<>]*>",
    re.I,
)
_STRIKES = re.compile(r"~~|<(?:s|del|strike)>", re.I)
_ANSWER_TAG = re.compile(
    r"<(/?)\s*(?:final[_ ]?)?(answer|jawapan|答案|பதில்|choice|option)\s*>", re.I
)
_BRACKETED = re.compile(r"<([^<>\n]{1,40})>")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|textit|mathbf|mathrm|mathit|bf)\s*\{([^{}]*)\}")
_DOLLARS = re.compile(r"(?<![\w$])(\${1,2})\s*(Answer: [^$\n]*|-?\d+)\s*\1(?![\w$])")
_EMPHASIS = re.compile(r"\*+(?!\s)|(?<=\S)\*+|__+|(?<!\w)_|_(?!\w)")


def to_plain(text: str) -> str:
    """A reply without markup, in ASCII digits and signs; JSON and boxes become `Answer: ...` lines.

    >>> to_plain("**Answer:** `３`").split()
    ['Answer:', "'3'"]
    >>> to_plain('{"answer": 3, "reason": "I have 2 sons"}').strip()
    'Answer: 3'
    >>> to_plain("The answer is $\\\\boxed{3}$.").split()
    ['The', 'answer', 'is', 'Answer:', '3', '.']
    """
    text = re.sub(r"\r\n?|\\n(?![a-z])", "\n", html.unescape(text))
    text = _open_json(text)
    text = _STRIKES.sub(STRUCK, text)
    text = _open_tags(_open_latex(text))
    text = re.sub(r"\d", lambda m: str(unicodedata.decimal(m[0])), text.translate(_TABLE))
    text = _BRACKETED.sub(r"(\1)", _EMOJI.sub(" ", text))
    return _EMPHASIS.sub(" ", text)


def _open_latex(text: str) -> str:
    text = _LATEX_TEXT.sub(r"\1", text)
    text = re.sub(r"\\[()\[\],;! ]", " ", text) if "\\" in text else text
    return _DOLLARS.sub(r" \2 ", _BOXED.sub(r"Answer: \1 ", text))


def _open_tags(text: str) -> str:
    text = _ANSWER_TAG.sub(lambda tag: "\n" if tag[1] else "\nAnswer: ", text)
    return _INLINE.sub(" ", _BLOCK.sub("\n", text))


ANSWER_NAMES = re.compile(
    r"(?:(?:final|my|the|selected|chosen)[ _-]?)?"
    r"(?:answer|response|choice|option|selection|rating|score|number|code|reply|selected)"
    r"|jawapan|jawaban|pilihan|skor|nombor|答案|回答|选择|选项|评分|数字|பதில்|விடை|தேர்வு|எண்",
    re.IGNORECASE,
)
"""Names of the field of an object that holds the answer."""


def _open_json(text: str) -> str:
    """A text with its JSON object, if it has one, as lines of answers."""
    text = re.sub(r"^[ \t]*```[ \t]*\w*[ \t]*$", "", text, flags=re.MULTILINE)
    start, end = text.find("{"), text.rfind("}") + 1
    if start < 0 or end <= start:
        return text
    try:
        content = json.loads(text[start:end])
    except (ValueError, RecursionError):
        return text
    lines = "".join(f"\nAnswer: {value}" for value in _answers_in(content))
    return f"{text[:start]}{lines}\n{text[end:]}"


def _answers_in(content: Any) -> Iterator[Any]:
    """Values of the fields that are named as answers, at any depth."""
    if isinstance(content, dict):
        for name, value in content.items():
            if isinstance(value, dict):
                yield from _answers_in(value)
            elif ANSWER_NAMES.fullmatch(str(name)):
                yield value
    elif isinstance(content, list):
        for value in content:
            yield from _answers_in(value)
