"""Which code a closed reply claims: a small grammar over its lines. Pure functions.

A line claims a code after a name (`Answer: 3`), after a verb (`I would choose 3`), alone or with
its label (`3 = agree`), or by a label that one option alone has. Nothing else is a claim, and a
claim counts only where nothing after the number makes it another thing (a range, a sign, a unit),
where no other code is claimed, and where nobody changes their mind. A list of options claims none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from valuestrata.prompting import answer_words as words
from valuestrata.prompting.options import Options
from valuestrata.prompting.patterns import late
from valuestrata.prompting.plain_text import STRUCK

_WORDS = "|".join(sorted(map(re.escape, words.NUMBER_WORDS), key=len, reverse=True))
_NUMBER = late(rf"(?P<digits>[-+]?\d+)|(?P<word>(?i:{_WORDS}))|(?P<roman>[IVX]{{2,4}})")
_LEFT = late(r"(?:[\s\"'(\[{]|#(?=\d))*")
_NOUN_KEY = late("|".join(f"(?:{key})" for key in words.NOUN_KEYS), re.I)
_VERB_KEYS = [late(key, re.I) for key in words.VERB_KEYS]
_BEFORE_NOUN = late(words.BEFORE_NOUN, re.I)
_FILLER = late(words.FILLER, re.I)
_TAMIL_CHOICE = late(words.TAMIL_CHOICE)
_OPENING = late(words.BULLET + words.SPEAKER, re.I)
_LEAD_IN = late(words.LEAD_IN, re.I)
_CODE_NOUN = late(rf"(?:the )?{words.CODE_NOUN} ?[#:.;]? ?", re.I)
_ENDS_IN_NOUN = late(rf"{words.CODE_NOUN}\s*$", re.I)
_AFFIRMED = late(words.AFFIRMED, re.I)
_NEGATED = late(words.NEGATED, re.I)
_QUOTED = late(words.QUOTED, re.I)
_OTHERS = late(words.OTHERS, re.I)
_FIRST_PERSON = late(r"\b(?:i|my|me|saya)\b|我", re.I)
_CHANGE = late(words.CHANGE, re.I | re.M)
_WEAK = late(words.WEAK, re.I)
_HEDGED = late(rf"['\"]?{words.HEDGED}", re.I)
_GOES_ON = late(words.GOES_ON, re.I)
_CHOICE = late(
    rf"\d+[\s)\]\"'>]*(?:[-–~/|&;,+]|\b{words.OR}\b|{words.OR})[\s(\[\"'<]*(?:[a-z]+ )?-?\d", re.I
)
_CLOSERS = late(r"['\"]*(?P<bracket> ?[)\]}]+)?['\"]*")
_SPOILED = late(rf"\W{{0,3}}\?| ?[%°?$€£+~/^&@<>|\\_{STRUCK}]|[\w]|[.,:']\d|-\S|[-–] ?\d")
_DELIMITER = late(r" ?(?:[.!;,:=…]+|[-–](?= |[^\W\d])|->|→|(?=[(\[{]))+ ?")
_NOT_LABELS = late(rf" ?(?:{words.OR}|of|%)(?!\w)", re.I)
_AFTER_LABEL = late(r"[)\]\"']*(?:[.!;,:–]|-) ?| (?:because|since|kerana)\b", re.I)
_AFTER_WORD = late(r"[)\]\"']*[.!]\s|,? (?:because|since|kerana)\b", re.I)
_ALONE_AGAIN = late(r"\W*(?:[a-z']+[ ,.]+){0,4}-?\d+\W*", re.I)
_LIST_MARK = late(r"\s*[-*•]? ?(?P<code>\d{1,9})[.)] (?=\S)")
_NEAR, _FAR = 40, 400
"""Characters before a key in which a word belongs to it: right before it, or in its sentence."""
_SHORT_LABEL = 6
"""Words of a label at most, where labels are not known."""


@dataclass(frozen=True)
class Claim:
    """A code that a line claims.

    Attributes:
        code: the code, None for a line that looks like an answer and is none.
        start: where it begins in the reply.
        line: which line it is in.
        kind: after a name or a verb; a code alone; or a code with a text, as a list has them.
        is_marked: whether it opens as a list's item does, as `1. ...`.
    """

    code: int | None
    start: int
    line: int
    kind: Literal["keyed", "alone", "listed"] = "keyed"
    is_marked: bool = False


def _end(pattern: re.Pattern[str], text: str, place: int = 0) -> int:
    """Where a pattern that may be empty ends."""
    match = pattern.match(text, place)
    return match.end() if match else place


def claimed(text: str, options: Options, is_cut: bool = False) -> Claim | None:
    """The one claim of a plain reply, None where there is none or several.

    Args:
        text: made plain (prompting/plain_text.py).
        options: what was asked.
        is_cut: whether the reply ended at its limit, so that its last line may be unfinished.
    """
    if STRUCK in text:
        return None
    claims = list(_Reader(text, options).claims())
    listed = _listed_lines(text, claims)
    if len(listed) > 1 and len({_line(text, i).casefold() for i in listed}) > 1:
        claims = [claim for claim in claims if claim.kind == "keyed" or claim.line not in listed]
    if is_cut and claims and claims[-1].is_marked and claims[-1].line == text.count("\n"):
        return None  # the first line of a list looks the same
    codes = {claim.code for claim in claims}
    if len(codes) != 1 or not codes <= options.codes:
        return None
    if _is_taken_back(text, claims, listed, options):
        return None
    if is_cut:
        *_, (start, _, _) = _sentences(text)
        whole = claimed(text[:start].rstrip(), options)
        return claims[0] if whole and whole.code == claims[0].code else None
    return claims[0]


def _listed_lines(text: str, claims: list[Claim]) -> set[int]:
    """Lines that are items of a list, and a code alone that goes on with it, as a cut list ends."""
    codes = {claim.line: claim.code or 0 for claim in claims if claim.kind == "listed"}
    if codes:
        marks = ((i, _LIST_MARK.match(line)) for i, line in enumerate(text.split("\n")))
        codes |= {i: int(mark["code"]) for i, mark in marks if mark and i not in codes}
    for claim in claims:
        line, code = claim.line, claim.code
        if claim.kind == "alone" and code is not None and line - 1 in codes:
            last = codes[line - 1]
            steps = {last - codes[line - 2]} if line - 2 in codes else {1, -1}
            if code - last in steps:
                codes[line] = code
    return set(codes)


def _is_taken_back(text: str, claims: list[Claim], listed: set[int], options: Options) -> bool:
    """Whether a reply changes its mind, or names another code as good."""
    first, code = claims[0].start, claims[0].code
    change = _CHANGE.search(f"{text},")
    if change and (change.end() > first or options.others_in(text[: change.start()], code)):
        return True
    for start, sentence, line in _sentences(text):
        is_claim = any(start <= claim.start < start + len(sentence) for claim in claims)
        if start < first or is_claim or (line in listed and len(listed) > 1):
            continue
        rest = _LIST_MARK.sub("", sentence)
        if options.others_in(rest, code) and (_WEAK.search(rest) or _ALONE_AGAIN.fullmatch(rest)):
            return True
    return False


def _line(text: str, number: int) -> str:
    return text.split("\n")[number]


def _sentences(text: str) -> Iterator[tuple[int, str, int]]:
    """Start, text and line of each sentence; a list's number alone is a sentence as well."""
    start = 0
    for number, line in enumerate(text.split("\n")):
        for match in re.finditer(r"\S.*?(?:(?<!e\.g)[.!?](?=\s)|$)", line):
            yield start + match.start(), match[0], number
        start += len(line) + 1


@dataclass(frozen=True)
class _Reader:
    """Finds the claims of a plain reply."""

    text: str
    options: Options

    def claims(self) -> Iterator[Claim]:
        """Every claim, in order; those of one line may come twice."""
        start = 0
        for number, line in enumerate(self.text.split("\n")):
            if (claim := self._opening(line, start, number)) is not None:
                yield claim
            start += len(line) + 1
        for start, sentence, number in _sentences(self.text):
            for place, code in self._keyed(sentence):
                yield Claim(code, start + place, number)

    # ---- a name or a verb, then a code

    def _keyed(self, sentence: str) -> Iterator[tuple[int, int | None]]:
        """Places and codes after a name or a verb; None for a name with another number."""
        sentence = self.options.without_scale(sentence)
        for key in _NOUN_KEY.finditer(sentence):
            near = sentence[max(0, key.start() - _NEAR) : key.start()]
            if not _BEFORE_NOUN.search(near) or self._is_hypothetical(sentence, key):
                continue
            code = self._slot(sentence, key)
            if code is not None or re.match(r"[^\n]{0,40}?\d", sentence[key.end() :]):
                yield key.start(), code
        for key in (key for keys in _VERB_KEYS for key in keys.finditer(sentence)):
            if self._is_hypothetical(sentence, key):
                continue
            code = self._slot(sentence, key, by_verb=True)
            if code is not None or _CHOICE.match(sentence, _end(_FILLER, sentence, key.end())):
                yield key.start(), code
        for key in _TAMIL_CHOICE.finditer(sentence):
            if not self.options.others_in(sentence, int(key["code"])):
                yield key.start(), int(key["code"])

    def _is_hypothetical(self, sentence: str, key: re.Match[str]) -> bool:
        """Whether a key is denied, asked, quoted, of another person, or under a condition."""
        before = sentence[max(0, key.start() - _FAR) : key.start()]
        clause = re.split(r"[,;:–]\s|\b(?:but|so|therefore)\b", before)[-1]
        near = clause if _FIRST_PERSON.search(clause + key[0]) else before
        return (
            sentence.endswith("?")
            or _NEGATED.search(clause + key[0]) is not None
            or _OTHERS.search(near + key[0]) is not None
            or _QUOTED.search(before + key[0]) is not None
        )

    def _slot(self, sentence: str, key: re.Match[str], by_verb: bool = False) -> int | None:
        """The code or label after a key, if nothing around it spoils it."""
        direct, filled = (_end(pattern, sentence, key.end()) for pattern in (_LEFT, _FILLER))
        for place in dict.fromkeys((direct, filled)):
            if (label := self.options.label_at(sentence[place:])) is not None:
                code, length = label
                return code if self._ends_label(sentence[place + length :], code) else None
        number = self._number(sentence, filled)
        if number is None:
            return None
        code, after, in_words = number
        if by_verb and in_words and not _ENDS_IN_NOUN.search(sentence[:filled]):
            return None  # `I would choose one` is no code
        is_clear = not self.options.others_in(sentence[: key.start()], code)
        return code if is_clear and self._closes(sentence[:after], sentence[after:], code) else None

    # ---- a code or a label that opens a line

    def _opening(self, line: str, start: int, number: int) -> Claim | None:
        """The claim of a line by what it opens with."""
        line = self.options.without_scale(line)
        place = _end(_OPENING, line)
        is_dashed = line[:place].startswith("-") and min(self.options.codes, default=0) < 0
        after_lead_in = _end(_LEAD_IN, line, place)
        for begin in dict.fromkeys(_end(_LEFT, line, i) for i in (place, after_lead_in)):
            if (label := self.options.label_at(line[begin:])) is not None:
                code, length = label
                end = begin + length
                is_word = " " not in line[begin:end]
                is_claim = self._ends_label(line[end:], code, is_word)
                return Claim(code, start, number, "listed") if is_claim else None
        noun = _CODE_NOUN.match(line, after_lead_in)
        place = _end(_LEFT, line, noun.end() if noun else after_lead_in)
        parsed = self._number(line, place)
        if parsed is None or is_dashed:
            return None
        code, after, in_words = parsed
        rest = self.options.without_share(line[after:], code)
        if (affirmed := _AFFIRMED.match(rest)) and not self.options.others_in(rest, code):
            return None if _NEGATED.search(affirmed[0]) else Claim(code, start, number)
        if _CHOICE.match(line[place:after] + rest) or re.match(r"\W{0,3}\?|[^.!?]*\?", rest):
            return Claim(None, start, number)
        if not self._closes(line[:after], rest, code):
            return None
        has_text = re.search(r"[^\W\d_]", rest) is not None
        if has_text and noun is None and (in_words or not self._is_own_text(rest, code, number)):
            return None
        marked = has_text and re.match(r"[)\]\"' ]*[.):=-]| ?[-–] ", rest) is not None
        return Claim(code, start, number, "listed" if has_text else "alone", marked)

    def _is_own_text(self, rest: str, code: int, number: int) -> bool:
        """Whether the text after a code may be its label: `1. ...` may also begin a list."""
        if code != 1 or not re.match(r"['\"]*[.)]", rest):
            return True
        text = rest.lstrip(" .)\"'")
        if self.options.labels:
            return self._label(text) == code
        before = self.text.split("\n")[:number]
        return (
            not any(line.strip() for line in before)
            and len(re.split(r"[.!]\s|[.!]$", text)[0].split()) <= _SHORT_LABEL
        )

    # ---- what follows

    def _number(self, text: str, place: int) -> tuple[int, int, bool] | None:
        """A number at a position, where it ends, and whether it is in words."""
        match = _NUMBER.match(text, place)
        if match is None:
            return None
        if match["digits"]:
            digits = match["digits"]
            is_plain = len(digits) < 10 and not re.match(r"[-+]?0\d|\+|-0", digits)
            return (int(digits), match.end(), False) if is_plain else None
        if re.match(r"[^\W\d_]|[\u0b82-\u0bcd]", text[match.end() :]):
            return None
        if match["roman"]:
            value = words.ROMAN.get(match["roman"])
            return None if value is None else (value, match.end(), True)
        return words.NUMBER_WORDS[match["word"].casefold()], match.end(), True

    def _closes(self, before: str, rest: str, code: int) -> bool:
        """Whether what follows a code, after what is before its end, leaves it as it is."""
        if rest[:1] in ("'", '"') and rest[0] not in before:
            return False  # inches, not the end of a quotation
        rest = self.options.without_share(rest, code)
        closers = _CLOSERS.match(rest)
        has_bracket = closers is not None and closers["bracket"] is not None
        after = rest[closers.end() :] if closers else rest
        goes_on = any(p.match(part) for p in (_GOES_ON, _AFFIRMED) for part in (rest, after))
        if not goes_on and (_SPOILED.match(rest) or (_SPOILED.match(after) and not has_bracket)):
            return False
        delimiter = _DELIMITER.match(after)
        if delimiter is not None:
            after = after[delimiter.end() :].lstrip("([{\"' ")
            ends_here = not self._is_more(after, code, delimiter[0].strip())
        elif has_bracket:
            ends_here = not _NOT_LABELS.match(after)
        else:
            ends_here = goes_on or not after.strip() or self._label(after) == code
        if not ends_here:
            return False
        return self._label(after) in (None, code) and not self.options.others_in(after, code)

    def _is_more(self, text: str, code: int, delimiter: str) -> bool:
        """Whether a text after a delimiter makes another answer of a code: a number, a hedge."""
        if re.match(r"[-+~]?\d", text):
            return bool(delimiter) or not re.match(rf"{code}\W*$", text)
        if re.match(r"(?:or|atau)\b|或", text, re.I):
            return True
        is_sentence = re.search(r"[.!]", delimiter) is not None
        return not is_sentence and self._label(text) != code and _HEDGED.match(text) is not None

    def _label(self, text: str) -> int | None:
        """The code of the label that a text begins with."""
        label = self.options.label_at(text.strip(" \"'([{"))
        return None if label is None else label[0]

    def _ends_label(self, rest: str, code: int, is_word: bool = False) -> bool:
        """Whether nothing after a label makes it another thing; after one word little may."""
        rest = rest.lstrip("\"' ")
        if numbered := re.match(r"[-–:,=.(\[]? ?[(\[]?(-?\d+)[)\]]?[.!]?$", rest):
            return int(numbered[1]) == code
        if not rest.strip(" .!)]\"'"):
            return True
        match = (_AFTER_WORD if is_word else _AFTER_LABEL).match(rest)
        if match is None or _HEDGED.match(rest[match.end() :]):
            return False
        more = rest[match.end() :]
        return not self.options.names_other(more, code) and not self.options.others_in(more, code)
