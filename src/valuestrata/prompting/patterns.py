"""Long alternatives of regular expressions, written one a line."""


def any_of(lines: str) -> str:
    """A group of alternatives, one a line; blanks around a line do not count.

    >>> any_of('''
    ...     yes
    ...     no
    ... ''')
    '(?:yes|no)'
    """
    return f"(?:{'|'.join(line.strip() for line in lines.strip().splitlines())})"
