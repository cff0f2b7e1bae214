"""Numbers in cells of text that have a comma before their decimals."""

import re

import pandas as pd

_COMMA = r"[-+]?\d+,\d+"
_THOUSANDS = r"[-+]?[1-9]\d{0,2}(,\d{3})+"


def with_points(plain: pd.Series) -> pd.Series:
    """[N] cells with points for decimal commas: `1,25` as 1.25 and `3,0` as 3."""
    if not has_decimal_commas(plain):
        return plain
    points = plain.str.replace(",", ".", regex=False)
    return points.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def has_decimal_commas(plain: pd.Series) -> bool:
    """Whether commas in a column's cells can be nothing but decimal points.

    So every cell with a comma is a number then, none has a point, and they are not all of the form
    of thousands (1,250), which might be either.
    """
    cells = [str(cell) for cell in plain.unique()]
    with_comma = [cell for cell in cells if "," in cell]
    return (
        bool(with_comma)
        and all(re.fullmatch(_COMMA, cell) for cell in with_comma)
        and not all(re.fullmatch(_THOUSANDS, cell) for cell in with_comma)
        and not any("." in cell for cell in cells)
    )


def comma_notices(plain: pd.Series) -> list[str]:
    """A line with an example where a column's commas are read as decimal points."""
    if not has_decimal_commas(plain):
        return []
    example = plain[plain.str.contains(",", regex=False)].iloc[0]
    number = example.replace(",", ".")
    return [f"column {plain.name}: commas are read as decimal points: {example} is {number}"]
