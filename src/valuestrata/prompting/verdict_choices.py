"""Which answer a judge's words name: 1, 2 or a tie, and whether what follows spoils it. Pure."""

import re
from dataclasses import dataclass

from valuestrata.prompting import verdict_words as words
from valuestrata.prompting.patterns import late

CHOICE = late(rf" *[(\[{{\"']{{0,3}} *(?:{words.LEAD} *)?[(\[\"']{{0,3}} *{words.CHOICE}", re.I)
VERB = late(rf" *[)\]\"']{{0,3}} *{words.VERB}(?!\w)", re.I)
_CLOSERS = late(r"[ )\]}\"']*")
_END = late(
    rf"$|[.!](?=\s|$|[(\"'])|[;,](?!\d)|:(?! *\d)|\||\(|\[|--? |--?$| -|{words.GOES_ON}", re.I
)
_COMPARED = late(
    rf" *(?P<sign>>+|<+|=+) *(?:{words.NOUN} ?)?(?P<other>[12]|(?-i:[AB]))(?!\w)", re.I
)
_BARE_NEXT = late(
    rf"[\s.,;:/|&()\[\]\"'-]*(?:or |and |vs\.? )?(?:maybe |perhaps |possibly |even )?"
    rf"(?:{words.CHOICE}|\d{{1,2}})"
    r"[\s.)\]\"']*(?:$|[,;]|(?:or|and)\b)",
    re.I,
)
_STATED = late(
    rf"(?:(?:{words.NOUN}) ?(?P<a>[12一二]|(?-i:[AB]))|(?<![a-z\d.,])(?P<b>[12])"
    r"|the (?P<c>first|second)(?: one)?)"
    rf" ?{words.VERB}"
    rf"|prefer(?:red)? (?:the )?(?:{words.NOUN} )?(?P<d>[12]|(?-i:[AB])|first|second)(?!\w)",
    re.I,
)
CORRECTION = late(words.CORRECTION, re.I)
_CONCESSION = late(words.CONCESSION, re.I)
_LISTED = late(
    rf" *(?P<sign>[:=(-])[^\n]*?(?:[;,.|/)]|\b(?:and|while|vs)\b) *(?:{words.NOUN} ?)?"
    r"(?P<other>[12]|(?-i:[AB])) *(?P=sign)(?!\d)",
    re.I,
)
"""What follows an answer that is listed, not chosen: `: cold; Answer 2: warm`."""
_BEATEN = late(r"[12AB一二]$", re.I)
_CROSSED = late(r"[ )\]]*[✗✘❌✖👎]")
_SAME = {"a": "1", "b": "2", "first": "1", "second": "2", "one": "1", "two": "2"}
_SAME |= {"一": "1", "二": "2"}


@dataclass(frozen=True)
class Verdict:
    """A claim of a dimension's verdict; `is_firm` where it opens a line, a cell or a field."""

    dimension: str
    choice: str
    start: int
    end: int
    is_firm: bool = True


def choice_at(line: str, place: int, whole: bool = False) -> tuple[str, int] | None:
    """The choice at a place of a line and where it ends, if nothing behind it spoils it.

    `whole`: nothing may follow it.
    """
    match = CHOICE.match(line, place)
    if match is None:
        return None
    choice, end = named(match), match.end()
    if (compared := _COMPARED.match(line, end)) is not None:
        other = _same(compared["other"])
        if other == choice or choice == "tie":
            return None
        sign = compared["sign"][0]
        choice = "tie" if sign == "=" else choice if sign == ">" else other
        end = compared.end()
    verb = VERB.match(line, end)
    if verb is not None:
        if re.search(r"equal|good", verb[0], re.I) and choice != "tie":
            return None
        if (beaten := _BEATEN.search(verb[0])) and _same(beaten[0]) == choice:
            return None
        end = verb.end()
    closed = _CLOSERS.match(line, end)
    rest = line[closed.end() if closed else end :]
    if whole and rest.strip(" ."):
        return None
    if verb is None and not _END.match(rest):
        return None
    if "?" in rest[:2] or (choice != "tie" and _BARE_NEXT.match(rest)):
        return None
    if _CROSSED.match(rest) or _lists_both(rest, choice):
        return None
    return None if is_contradicted(rest, choice) else (choice, end)


def _lists_both(rest: str, choice: str) -> bool:
    """Whether a line goes on with the other answer as it went on with this one."""
    listed = _LISTED.match(rest)
    return listed is not None and _same(listed["other"]) != choice


def named(match: re.Match[str]) -> str:
    """1, 2 or tie."""
    if match["tie"]:
        return "tie"
    given = [name for name, text in match.groupdict().items() if text]
    if ordinal := next((name for name in given if name.startswith(("one", "two"))), ""):
        return "1" if ordinal.startswith("one") else "2"
    return _same(match["named"] or match["bare"] or match["alone"])


def _same(word: str) -> str:
    """1 or 2, of a digit, a letter or a word for it."""
    return _SAME.get(word.casefold(), word.casefold())


def is_contradicted(rest: str, choice: str) -> bool:
    """Whether what follows a verdict on its line says otherwise, or takes it back."""
    stated = set()
    for match in _STATED.finditer(rest):
        if not _CONCESSION.search(rest[: match.start()]):
            stated.add(_same(next(group for group in match.groups() if group)))
    if choice == "tie" and len(stated) == 1:
        return True
    if choice != "tie" and stated and choice not in stated:
        return True
    correction = CORRECTION.search(rest)
    return correction is not None and CHOICE.match(rest, correction.end()) is not None
