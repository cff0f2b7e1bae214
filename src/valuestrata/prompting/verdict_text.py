"""A judge's reply made ready for reading, character for character: what is quoted is blank.

Every function returns a text of the length that it was given, so that a place in one is the same
place in all, and an echo of what the judge was shown can be looked for around a verdict.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_ALIKE = {
    "-": "‐‑‒–—―−﹣－",
    "'": "‘’‛´`",
    '"': "“”‟„«»「」『』＂",
    "(": "（〔",
    ")": "）〕",
    "[": "【［",
    "]": "】］",
    "|": "｜│┃",
    ":": "：﹕∶",
    ">": "→⇒➜➔⟶⟹➡➤▶↦＞≻",
    "<": "←＜",
    "=": "＝≈",
    ",": "，、",
    ".": "。",
    ";": "；",
    "?": "？",
    "!": "！",
    "/": "／",
    "%": "％",
    " ": "*_#№＊＿＃\t\u00a0\u3000•◦▪●·・✅✔☑✓🏆🥇🤝👍⭐\ufe0f\u20e3",
}
_WIDE = {
    code: chr(code - 0xFEE0) for first in (0xFF21, 0xFF41) for code in range(first, first + 26)
}
"""Wide Latin letters, large and small."""
_SIGNS = _WIDE | {ord(char): sign for sign, chars in _ALIKE.items() for char in chars}
_CIRCLED = {ord(c): str(i + 1) for first in "①❶➀➊" for i in range(2) for c in [chr(ord(first) + i)]}
_STRIKES = re.compile(r"~~[^~\n]*~~|<(s|del|strike)>.*?</\1>", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|p|/p|/?div|/?li|/?tr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?>", re.IGNORECASE)
_LATEX = re.compile(
    r"\\(?:boxed|fbox|text|textbf|mathbf|mathrm)\s*\{|\\[()\[\]]|(?<!\w)\$(?=[\\1-2AB])|(?<=[12AB])\$(?!\w)"
)
_FENCE = re.compile(r"^[ ]*(?:```|~~~)[ ]*\w*[ ]*$", re.MULTILINE)
_QUOTED_LINE = re.compile(r"^[ ]*(?:[-\d.)]{0,3}[ ])?[ ]*(?:[>＞]|&gt;).*$", re.MULTILINE)
_QUOTED_TAG = re.compile(r"<(blockquote|q|cite)\b.*?(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL)
_QUOTATION = re.compile(r'(?:(?<=[\s(\[{:,;-])|^)"(?=\S)[^"]*"(?!\w)', re.MULTILINE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Shown:
    """What a judge was shown and may repeat: the marker around the answers, and the answers."""

    marker: str = ""
    texts: tuple[str, ...] = ()


def blank(text: str, pattern: re.Pattern[str]) -> str:
    """A text with all matches made blank; line ends stay."""
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def flat(text: str) -> str:
    """A reply in ASCII signs and digits, without markup and without what is struck out.

    >>> flat("**Value**：１")
    '  Value  :1'
    """
    text = text.translate({13: " ", 0x2028: "\n", 0x2029: "\n", 0x85: "\n"})
    text = blank(text, _STRIKES)
    text = _BREAK.sub(lambda m: "\n".rjust(len(m[0])), text)
    text = blank(blank(text, _TAG), _LATEX)
    text = blank(text, _FENCE)
    text = text.translate({**_SIGNS, **_CIRCLED})
    return "".join(str(unicodedata.decimal(c, c)) if ord(c) > 127 else c for c in text)


def without_quoted_lines(text: str, shown: Shown) -> str:
    """A reply without lines that quote, and without what stands between the prompt's markers."""
    text = blank(blank(text, _QUOTED_TAG), _QUOTED_LINE)
    if shown.marker and text.count(shown.marker) > 1:
        start, end = text.index(shown.marker), text.rindex(shown.marker) + len(shown.marker)
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text


def without_quotations(flattened: str) -> str:
    """A flat reply without quotations that hold a line end or stand for whole lines."""

    def keep(match: re.Match[str]) -> str:
        before = flattened[: match.start()].rpartition("\n")[2]
        after = flattened[match.end() :].partition("\n")[0]
        is_whole = not before.strip(" -.)0123456789") and not after.strip(" .,")
        if "\n" in match[0] or is_whole:
            return re.sub(r"[^\n]", " ", match[0])
        return match[0]

    return _QUOTATION.sub(keep, flattened)


def words(text: str) -> list[tuple[str, int, int]]:
    """Words of a text in small letters, with where they begin and end."""
    return [(m[0].casefold(), m.start(), m.end()) for m in _WORD.finditer(text)]


def echoes(text: str, spans: Sequence[tuple[int, int]], shown: Shown, least: int = 3) -> list[bool]:
    """Whether each span of a reply stands inside a repetition of an answer that was shown.

    A span is inside one where its words, and at least `least` words around it that are in no span,
    follow each other in an answer as well; fewer where the repetition is the whole answer.
    """
    reply = words(text)
    outside = [not any(a < end and start < b for a, b in spans) for _, start, end in reply]
    plain = [word for word, _, _ in reply]
    answers = [[word for word, _, _ in words(flat(answer))] for answer in shown.texts]
    result = []
    for start, end in spans:
        inside = [i for i, (_, a, b) in enumerate(reply) if a >= start and b <= end]
        result.append(
            bool(inside)
            and any(
                _repeats(plain, outside, (inside[0], inside[-1] + 1), answer, least)
                for answer in answers
            )
        )
    return result


def _repeats(
    reply: list[str], outside: list[bool], span: tuple[int, int], answer: list[str], least: int
) -> bool:
    """Whether a span of the reply's words lies in a run that is in the answer, too."""
    begin, end = span
    length = end - begin
    for place in range(len(answer) - length + 1):
        if answer[place : place + length] != reply[begin:end]:
            continue
        left = right = 0
        while min(begin, place) > left and reply[begin - left - 1] == answer[place - left - 1]:
            left += 1
        while (
            end + right < len(reply)
            and place + length + right < len(answer)
            and reply[end + right] == answer[place + length + right]
        ):
            right += 1
        around = sum(outside[begin - left : begin]) + sum(outside[end : end + right])
        is_whole = left + length + right == len(answer)
        if around >= least or (is_whole and around):
            return True
    return False
