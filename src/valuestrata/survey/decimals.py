"""Numbers in cells of text, with a point or a comma before their decimals."""

import pandas as pd

_COMMA = r"[-+]?\d+,\d+"
_THOUSANDS = r"[-+]?[1-9]\d{0,2}(,\d{3})+"


def numbers(plain: pd.Series) -> pd.Series:
    """[N] numbers as doubles, NaN where a cell is blank or no number.

    A comma is read as the decimal point where every cell with one is a number then, none has a
    point, and they are not all of the form of thousands (1,250), which might be either.
    """
    number = pd.to_numeric(plain.where(plain != ""), errors="coerce").astype("float64")
    if has_decimal_commas(plain):
        with_points = plain.where(plain.str.fullmatch(_COMMA)).str.replace(",", ".")
        number = number.fillna(pd.to_numeric(with_points).astype("float64"))
    return number


def has_decimal_commas(plain: pd.Series) -> bool:
    """Whether commas before decimals are in a column's cells."""
    with_comma = plain[plain.str.contains(",", regex=False)]
    return bool(
        len(with_comma)
        and with_comma.str.fullmatch(_COMMA).all()
        and not with_comma.str.fullmatch(_THOUSANDS).all()
        and not plain.str.contains(".", regex=False).any()
    )
