"""What a judge's reply says of each dimension. Pure functions; no reply raises.

A verdict is claimed by a line (`Value: 1`, `**Value** - Answer 2 (why)`), by a row of a table or by
a field of a JSON object. A quoted line claims nothing, nor does a repetition of an answer that the
judge was shown. Where claims differ, or a reply takes one back, there is no verdict.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache

from valuestrata.prompting import verdict_words as words
from valuestrata.prompting.patterns import late
from valuestrata.prompting.verdict_choices import CORRECTION, Verdict, choice_at, named
from valuestrata.prompting.verdict_json import json_fields
from valuestrata.prompting.verdict_prose import sentence_claims
from valuestrata.prompting.verdict_tables import table_cells
from valuestrata.prompting.verdict_text import (
    Shown,
    echoes,
    flat,
    without_quotations,
    without_quoted_lines,
)

SCORES = {"1": 1.0, "2": 0.0, "tie": 0.5}
Verdicts = dict[str, float | None]
Parser = Callable[[str, Sequence[str], Shown], Verdicts]

_OPENING = r"[ \-+]*(?:[(\[]?(?:\d{1,2}|[a-z])[.)\]:] ?)?[ \-+{]*"
_SEPARATOR = r" *(?:[:|=,]|-*>|-+|\bis\b|\.{2,}) *"
_SECTION = late(rf"[ \-\d.)]*{words.SECTION} *:", re.I)
_SECTION_ENDS = late(
    r"[ \-\d.)]*(?:(?:my|the|final|overall|so|in) )*(?:final|verdicts?|conclusions?|comparison"
    r"|summary|judge?ments?|decision|results?|ratings?)\b",
    re.I,
)


def lines(text: str, dimensions: Sequence[str], shown: Shown = Shown()) -> Verdicts:  # noqa: B008
    """Verdicts in any of the forms that judges write: lines, sentences, tables, JSON.

    >>> lines("1. Value: 1 (warmer)\\n**Persona** - Answer B\\nOverall：tie",
    ...     ["Value", "Persona", "Overall"])
    {'Value': 1.0, 'Persona': 0.0, 'Overall': 0.5}
    >>> lines("| Value | 2 |\\n|---|---|\\n| Persona | tie |", ["Value", "Persona"])
    {'Value': 0.0, 'Persona': 0.5}
    >>> lines("> Value: 1\\nValue: 1 or 2", ["Value"])
    {'Value': None}
    """
    unquoted = without_quoted_lines(text, shown)
    unquoted = _without_tags(unquoted, dimensions)
    flattened = flat(unquoted)
    claims = list(_json_claims(unquoted, dimensions))
    for claim in claims:
        blank = re.sub(r"[^\n]", " ", flattened[claim.start : claim.end])
        flattened = flattened[: claim.start] + blank + flattened[claim.end :]
    claims = [claim for claim in claims if claim.choice]
    flattened = without_quotations(flattened)
    claims += _table_claims(flattened, dimensions)
    claims += _line_claims(flattened, dimensions)
    claims = _not_echoed(flat(unquoted), claims, shown)
    if not claims and len(dimensions) == 1:
        claims = _only_claim(flattened, dimensions[0])
        claims = _not_echoed(flattened, claims, shown)
    if _is_taken_back(flattened, claims):
        return dict.fromkeys(dimensions)
    return _resolved(claims, dimensions)


def json_object(text: str, dimensions: Sequence[str], shown: Shown = Shown()) -> Verdicts:  # noqa: B008
    """Verdicts of a JSON object alone, fenced or not; whatever stands around it does not count.

    >>> json_object('So: {"Value": "Answer 2", "Overall": {"winner": "tie"}}', ["Value", "Overall"])
    {'Value': 0.0, 'Overall': 0.5}
    """
    unquoted = without_quoted_lines(text, shown)
    claims = _not_echoed(flat(unquoted), list(_json_claims(unquoted, dimensions)), shown)
    return _resolved(claims, dimensions)


def brackets(text: str, dimensions: Sequence[str], shown: Shown = Shown()) -> Verdicts:  # noqa: B008
    """The one verdict in double brackets of a rubric with one dimension: [[A]], [[B]] or [[C]].

    The form of MT-Bench (Zheng et al. 2023) and, with A>>B, A>B, A=B, B>A and B>>A, of Arena-Hard;
    C is a tie.

    >>> brackets("My final verdict is: [[B]].", ["Overall"])
    {'Overall': 0.0}
    >>> brackets("[[A]] at first, then [[A=B]]", ["Overall"])
    {'Overall': None}
    """
    signs = {"a": "1", "b": "2", "c": "tie", "1": "1", "2": "2", "tie": "tie", "a=b": "tie"}
    signs |= {"a>b": "1", "a>>b": "1", "b>a": "2", "b>>a": "2", "b=a": "tie"}
    flattened = flat(without_quoted_lines(text, shown))
    claims = [
        Verdict(dimensions[0], signs[m[1].casefold().replace(" ", "")], m.start(), m.end())
        for m in re.finditer(r"\[\[ *([abc12]|tie|[ab] *(?:>{1,2}|=) *[ab]) *\]\]", flattened, re.I)
        if m[1].casefold().replace(" ", "") in signs
    ]
    return _resolved(_not_echoed(flattened, claims, shown), dimensions)


def _resolved(claims: Iterable[Verdict], dimensions: Sequence[str]) -> Verdicts:
    """The score of each dimension on which all claims agree, one of them firm."""
    result: Verdicts = dict.fromkeys(dimensions)
    for name in dimensions:
        mine = [claim for claim in claims if claim.dimension == name and claim.choice]
        choices = {claim.choice for claim in mine}
        if len(choices) == 1 and any(claim.is_firm for claim in mine):
            result[name] = SCORES.get(choices.pop())
    return result


def _not_echoed(text: str, claims: list[Verdict], shown: Shown) -> list[Verdict]:
    repeated = echoes(text, [(claim.start, claim.end) for claim in claims], shown)
    return [claim for claim, is_echo in zip(claims, repeated, strict=True) if not is_echo]


# ---- lines


def _without_tags(text: str, dimensions: Sequence[str]) -> str:
    """A text with `<Value>1</Value>` written as a line `Value: 1` of its length."""
    names = "|".join(re.escape(name) for name in dimensions)
    text = re.sub(rf"<({names})>", r" \1:", text, flags=re.I)
    return re.sub(rf"</(?:{names})>", lambda m: "\n".rjust(len(m[0])), text, flags=re.I)


@cache
def _names(dimensions: tuple[str, ...]) -> tuple[re.Pattern[str], Mapping[str, str]]:
    """A pattern of the dimensions' names, the longest first, and the name of each in small."""
    parts = {name: r"[ _]+".join(map(re.escape, name.split())) for name in dimensions}
    longest = sorted(parts.values(), key=len, reverse=True)
    name = rf"[\"'(\[]?(?P<name>{'|'.join(longest)})(?!\w)[\"')\]]?"
    pattern = re.compile(rf"{words.BEFORE_NAME}{name}{words.AFTER_NAME}", re.I)
    return pattern, {" ".join(n.casefold().split()): n for n in dimensions}


def _line_claims(text: str, dimensions: Sequence[str]) -> Iterator[Verdict]:
    """Claims that open lines, and firm ones' contradictions inside lines."""
    pattern, by_name = _names(tuple(dimensions))
    start, is_of_answer, waiting = 0, False, ""
    for line in text.split("\n"):
        if waiting and line.strip():
            choice = choice_at(line, _opening(line))
            if choice is not None:
                yield Verdict(waiting, choice[0], start, start + len(line.rstrip()))
                waiting, start = "", start + len(line) + 1
                continue
            waiting = ""
        if _SECTION.fullmatch(line.rstrip()):
            is_of_answer = True
        elif _SECTION_ENDS.match(line):
            is_of_answer = False
        if not is_of_answer:
            claims, name = _claims_of(line, pattern, by_name)
            yield from (_moved(claim, start) for claim in claims)
            waiting = name or waiting
        start += len(line) + 1


def _moved(claim: Verdict, by: int) -> Verdict:
    return Verdict(claim.dimension, claim.choice, claim.start + by, claim.end + by, claim.is_firm)


def _opening(line: str) -> int:
    match = re.match(_OPENING, line, re.I)
    return match.end() if match else 0


def _claims_of(
    line: str, pattern: re.Pattern[str], by_name: Mapping[str, str]
) -> tuple[list[Verdict], str]:
    """Claims of a line, and the dimension that stands alone on it, '' for none."""
    claims, place = sentence_claims(line, _opening(line), pattern, by_name)
    is_firm = not claims
    next_name = [m.start() for m in re.finditer(rf"{pattern.pattern} *[:=]", line, re.I)]
    next_name.append(len(line))
    while True:
        match = pattern.match(line, place) if is_firm else pattern.search(line, place)
        if match is None:
            if not is_firm:
                return claims, ""
            is_firm = False
            continue
        name = by_name[" ".join(match["name"].replace("_", " ").casefold().split())]
        separator = re.match(_SEPARATOR, line[match.end() :])
        after = match.end() + (separator.end() if separator else 0)
        if not line[after:].strip(" .:-\"')]}") and not claims and is_firm:
            return [], name
        is_whole_line = separator is None and is_firm
        choice = None
        if separator or is_whole_line:
            part = line[: next_name[bisect_left(next_name, after)]]
            choice = choice_at(part, after, whole=is_whole_line)
        is_quoted = is_firm and _is_open_quote(line, match, choice[1] if choice else 0)
        if choice is not None and not is_quoted:
            claims.append(Verdict(name, choice[0], match.start(), choice[1], is_firm))
            follows = re.match(r"[ )\]}\"'.]*[.,;|/] *[(\[{\"']?", line[choice[1] :])
            place = choice[1] + (follows.end() if follows else 0)
            is_firm = is_firm and follows is not None and bool(pattern.match(line, place))
        else:
            place, is_firm = max(after, match.end()), False


def _is_open_quote(line: str, name: re.Match[str], end: int) -> bool:
    """Whether a quotation opens before a name and does not close right after it."""
    before, after = line[: name.start()] + name[0][:1], name[0][-1:] + line[name.end() :][:1]
    opened = next((q for q in "\"'" if before.rstrip().endswith(q)), "")
    return bool(opened) and opened not in after


def _only_claim(text: str, dimension: str) -> list[Verdict]:
    """The verdict of a reply that names no dimension, where there is one alone."""
    line = next((line for line in text.split("\n") if line.strip()), "")
    is_heading = re.match(rf"{_OPENING}{words.SECTION} *:", line, re.I)
    choice = None if is_heading else choice_at(line, _opening(line))
    start = text.find(line)
    return [Verdict(dimension, choice[0], start, start + choice[1])] if choice else []


def _is_taken_back(text: str, claims: Sequence[Verdict]) -> bool:
    """Whether a later line corrects itself with another choice, of whatever dimension."""
    if not claims:
        return False
    choices = {claim.choice for claim in claims}
    end = min(claim.end for claim in claims)
    for line in text[end:].split("\n"):
        for correction in CORRECTION.finditer(line):
            rest = line[correction.end() :].lstrip(" ,:.-")
            match = re.search(words.CHOICE, rest, re.I)
            if match and match.start() < 40 and (named(match) not in choices or len(choices) > 1):
                return True
    return False


# ---- tables and JSON


def _table_claims(text: str, dimensions: Sequence[str]) -> Iterator[Verdict]:
    """Claims of the rows, or of the columns, of tables."""
    _, by_name = _names(tuple(dimensions))
    for name, value, start, end in table_cells(text, by_name, _cell_choice):
        yield Verdict(name, value, start, end)


def _cell_choice(cell: str) -> str | None:
    choice = choice_at(cell.strip(), 0)
    return choice[0] if choice else None


def _json_claims(text: str, dimensions: Sequence[str]) -> Iterator[Verdict]:
    """Claims of the fields of JSON objects; an object without any is a claim of nothing."""
    _, by_name = _names(tuple(dimensions))
    for name, value, start, end in json_fields(text, by_name):
        choice = choice_at(flat(value), 0)
        yield Verdict(name, choice[0] if choice else "", start, end)
