"""Scores of a single predicted code against the modal answer. Arrays in, arrays out; NaN = none."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def accuracy(answer: Floats, mode: Floats) -> Floats:
    """[n] 1 where the answer is the mode, 0 where it is not, NaN without an answer."""
    return np.where(np.isnan(answer), np.nan, (answer == mode).astype(np.float64))


def nmae(
    answer: Floats, mode: Floats, scale_min: Floats, scale_max: Floats, ordinal: NDArray[np.bool_]
) -> Floats:
    """[n] |answer - mode| / (highest - lowest); NaN without an answer or without an order.

    # ASSUME paper.md, Structured results: the scale's width is its highest less its lowest code. A
    code off the scale can make a value above 1.
    """
    error = np.abs(answer - mode) / (scale_max - scale_min)
    return np.where(ordinal, error, np.nan)
