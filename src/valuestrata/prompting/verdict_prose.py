"""Verdicts on several dimensions in one sentence: `Overall goes to 2, Value to 1`. Pure functions.

A sentence is read clause by clause from its beginning, and only where nothing of it is left over.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from valuestrata.prompting import verdict_words as words
from valuestrata.prompting.patterns import late
from valuestrata.prompting.verdict_choices import CHOICE, VERB, Verdict, is_contradicted, named

_GIVEN = late(
    r"(?:(?:so|in (?:sum|summary|short)|finally|(?:my )?(?:final )?verdicts?)[:,] )?"
    r"(?:i(?:'d| would)? )?(?:(?:give|award|call|assign|mark|judge) )?",
    re.I,
)
_LINK = late(
    r" *(?:[:=,]|-+>?)? *(?:(?:(?:is|are) (?:won|taken|carried) by|(?:is|are) (?:given|awarded) to"
    r"|belongs? to|points? to|prefers?|comes? out(?: as)?|ends? in|to|is|are|was|were|seems?) )?",
    re.I,
)
_WINS = late(r" (?:wins|takes|leads|carries|gets|is (?:\w+ )?ahead)(?: (?:on|in|for))? ", re.I)
_OVER = late(rf" (?:than|over) (?:the other|(?P<other>(?:{words.NOUN})? ?[12AB]))(?!\w)", re.I)
_REGARDING = late(r" (?:(?:on|for|in|at|regarding|in terms of|across) )?(?:the )?", re.I)
_JOINT = late(r" ?(?:, and|,|/|&|and|as well as) ", re.I)
_EACH = late(
    r"(?:(?:on|for|in|across) )?(?:all|every|each)(?: of)?(?: the)?(?: (?:two|three|four|five|six"
    r"|\d|single))? (?:dimensions?|criteri(?:a|on)|aspects?|categor(?:y|ies)|respects?)(?!\w)",
    re.I,
)
_BREAK = late(
    r" *(?:(?P<ends>[.!](?= |$)|;|$)|[,|]| /(?= )|(?=(?:and|while|but|whereas) ))"
    r" *(?:(?:and|while|but|whereas|then) )?",
    re.I,
)
_NUMBER = late(r"\(?\d{1,2}[.)] +")


@dataclass(frozen=True)
class _Clause:
    """One choice on some dimensions; `is_whole` where a line with it alone is a verdict, too."""

    names: tuple[str, ...]
    choice: str
    start: int
    end: int
    is_whole: bool


def sentence_claims(
    line: str, place: int, pattern: re.Pattern[str], by_name: Mapping[str, str]
) -> tuple[list[Verdict], int]:
    """Claims of the clauses that follow each other from a place of a line, and where they end.

    None unless the clauses fill whole sentences, and can be read in one way alone. `Value: 1` alone
    is not looked at here.

    Args:
        line: of a flat reply (verdict_text.py).
        place: where its first clause would begin.
        pattern: a dimension's name with what may stand around it.
        by_name: the dimensions by their names in small letters.
    """
    sentences = [*islice(_sentences(line, place, pattern, by_name), 2)]
    if len(sentences) != 1:
        return [], place
    clauses, end = sentences[0]
    n_names = sum(len(clause.names) for clause in clauses)
    if not (n_names > 1 or any(clause.is_whole for clause in clauses)):
        return [], place
    if any(is_contradicted(line[end:], clause.choice) for clause in clauses):
        return [], place
    claims = [
        Verdict(name, clause.choice, clause.start, clause.end)
        for clause in clauses
        for name in clause.names
    ]
    return claims, end


def _sentences(
    line: str,
    place: int,
    pattern: re.Pattern[str],
    by_name: Mapping[str, str],
    before: tuple[_Clause, ...] = (),
) -> Iterator[tuple[tuple[_Clause, ...], int]]:
    """Each way to read clauses from a place up to the end of their last sentence, and that end."""
    n_names = sum(len(clause.names) for clause in before)
    for clause in _clauses(line, place, pattern, by_name, verb_given=bool(before)):
        after = _BREAK.match(line, clause.end)
        if after is None or n_names + len(clause.names) > 2 * len(by_name):
            continue
        clauses, start = (*before, clause), after.end()
        number = _NUMBER.match(line, start)
        if number is not None and pattern.match(line, number.end()):
            start = number.end()
        further = [*_sentences(line, start, pattern, by_name, clauses)]
        yield from further
        if after["ends"] is not None and not further:
            yield clauses, after.end()


def _clauses(
    line: str, place: int, pattern: re.Pattern[str], by_name: Mapping[str, str], verb_given: bool
) -> Iterator[_Clause]:
    """Each clause that may begin at a place."""
    given = _GIVEN.match(line, place)
    begin = given.end() if given else place
    for names, end in _names_at(line, begin, pattern, by_name):
        link = _LINK.match(line, end)
        choice = CHOICE.match(line, link.end() if link else end)
        if choice is not None and (last := _end_of(line, choice)):
            yield _Clause(names, named(choice), place, last, len(names) > 1)
    choice = CHOICE.match(line, place)
    after = _after_verb(line, place, choice, verb_given) if choice else 0
    if choice is not None and after:
        for names, end in _names_at(line, after, pattern, by_name):
            yield _Clause(names, named(choice), place, end, is_whole=True)


def _names_at(
    line: str, place: int, pattern: re.Pattern[str], by_name: Mapping[str, str]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Dimensions that stand at a place and where they end, as many as may be first."""
    if (each := _EACH.match(line, place)) is not None:
        yield tuple(by_name.values()), each.end()
        return
    listed: list[tuple[str, int]] = []
    match = pattern.match(line, place)
    while match is not None and len(listed) < len(by_name):
        small = " ".join(match["name"].replace("_", " ").casefold().split())
        listed.append((by_name[small], match.end()))
        joint = _JOINT.match(line, match.end())
        match = pattern.match(line, joint.end()) if joint else None
    for n in range(len(listed), 0, -1):
        yield tuple(name for name, _ in listed[:n]), listed[n - 1][1]


def _end_of(line: str, choice: re.Match[str]) -> int:
    """Where a choice with its verb ends, 0 where the verb does not go with it."""
    verb = VERB.match(line, choice.end())
    if verb is None:
        return choice.end()
    is_equal = re.search("equal|good", verb[0], re.I) is not None
    return 0 if is_equal and named(choice) != "tie" else verb.end()


def _after_verb(line: str, place: int, choice: re.Match[str], verb_given: bool) -> int:
    """Where the dimensions of `Answer 1 is better on` begin, 0 for another beginning."""
    wins = _WINS.match(line, choice.end())
    if wins is not None and named(choice) != "tie":
        return wins.end()
    end = _end_of(line, choice)
    has_lead = re.match(rf" *{words.LEAD}(?!\w)", line[place:], re.I) is not None
    if end == choice.end() and not (verb_given or has_lead or named(choice) == "tie"):
        return 0
    over = _OVER.match(line, end) if end else None
    if over is not None:
        other = CHOICE.match(over["other"] or "")
        if other is not None and named(other) == named(choice):
            return 0
        end = over.end()
    regarding = _REGARDING.match(line, end) if end else None
    return regarding.end() if regarding else 0
