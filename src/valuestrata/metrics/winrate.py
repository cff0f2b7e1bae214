"""Pairwise judgements in both orders. Pure functions on arrays.

A response is compared with a reference's twice, once shown first and once second; its score is the
mean of the two (paper.md, Open-ended generation), and a run's win rate the mean score of its pairs.
Scores are 1 (better), 0.5 (a tie) and 0; NaN where the judge gave no verdict.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def flip_score(shown_first: Floats) -> Floats:
    """[n] scores of what was shown second, from those of what was shown first.

    >>> flip_score(np.array([1.0, 0.5, 0.0]))
    array([0. , 0.5, 1. ])
    """
    return 1.0 - shown_first


def score(as_first: Floats, as_second: Floats) -> Floats:
    """[n] mean of a response's scores in both orders, NaN where one of them is.

    >>> score(np.array([1.0, 1.0, np.nan]), np.array([1.0, 0.5, 1.0]))
    array([1.  , 0.75,  nan])
    """
    return (as_first + as_second) / 2


def flipped(as_first: Floats, as_second: Floats) -> Floats:
    """[n] 1 where the order changed who won, 0 where not, NaN where a verdict is missing.

    >>> flipped(np.array([1.0, 0.5, np.nan]), np.array([1.0, 0.0, 1.0]))
    array([ 0.,  1., nan])
    """
    is_missing = np.isnan(as_first) | np.isnan(as_second)
    return np.where(is_missing, np.nan, (as_first != as_second).astype(np.float64))
