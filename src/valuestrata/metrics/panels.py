"""Scores of several judges as one. Pure functions on arrays.

Symbols: J judges, n comparisons; scores are 1, 0.5 and 0, NaN where a judge gave no verdict.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def majority(scores: Floats) -> Floats:
    """[n] the choice with more votes than each other one, a tie (0.5) where there is none.

    Args:
        scores: [J, n]; judges without a verdict do not vote. NaN where nobody does.

    >>> majority(np.array([[1, 1, 0.5], [1, 0, np.nan], [0, 0.5, np.nan]]))
    array([1. , 0.5, 0.5])
    """
    votes = np.stack([(scores == choice).sum(axis=0) for choice in (0.0, 0.5, 1.0)])
    most = votes.max(axis=0)
    is_single = (votes == most).sum(axis=0) == 1
    choice = np.where(is_single, votes.argmax(axis=0) / 2, 0.5)
    return np.where(most > 0, choice, np.nan)


def mean(scores: Floats) -> Floats:
    """[n] mean over the judges that gave a verdict, NaN where none did.

    >>> mean(np.array([[1, np.nan], [0.5, np.nan]]))
    array([0.75,  nan])
    """
    n = np.isfinite(scores).sum(axis=0)
    total = np.nansum(scores, axis=0)
    return np.divide(total, n, out=np.full(scores.shape[1], np.nan), where=n > 0)


def is_quorate(has_verdict: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[n] whether more than half of the judges gave a verdict, from [J, n].

    >>> is_quorate(np.array([[True, True], [True, False], [False, False]]))
    array([ True, False])
    """
    return 2 * has_verdict.sum(axis=0) > len(has_verdict)
