"""Long alternatives of regular expressions, written one a line."""

import re

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
