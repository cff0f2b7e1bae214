"""Regular expressions: long alternatives written one a line, and patterns compiled when used."""

import re
from functools import cached_property
from typing import Any, cast

_CONTINUED = re.compile(r"\\\n *")


def any_of(lines: str) -> str:
    r"""A group of alternatives, one a line; blanks around a line do not count.

    A line that ends with a backslash goes on in the next one.

    >>> any_of(r'''
    ...     yes
    ...     no\
    ...     thing
    ... ''')
    '(?:yes|nothing)'
    """
    whole = _CONTINUED.sub("", lines)
    return f"(?:{'|'.join(line.strip() for line in whole.strip().splitlines())})"


class _LatePattern:
    def __init__(self, text: str, flags: int) -> None:
        self.text, self.flags_given = text, flags

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.text, self.flags_given)

    def __reduce__(self) -> tuple[Any, ...]:
        # a bare copy has no text yet, and would look for it in the pattern of that text
        return late, (self.text, self.flags_given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.compiled, name)


def late(text: str, flags: int = 0) -> re.Pattern[str]:
    """`re.compile` that is done on first use: who plans a run imports all stages and reads no text.

    >>> late("no[nt]e?", re.I).findall("None, not")
    ['None', 'not']
    """
    return cast(re.Pattern[str], _LatePattern(text, flags))
