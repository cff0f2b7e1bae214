"""Modal answers and answer distributions of a tally.

Symbols: S subgroups, Q questions, C codes; leading axes may be resamples.
"""

import numpy as np
from numpy.typing import NDArray

from valuestrata.survey.encoded import Floats, Ints


def modes(counts: Floats) -> Ints:
    """[..., Q] position of the most frequent code, ties to the lowest code.

    # ASSUME paper.md, Labels: unweighted, ties to the lowest code. argmax takes the first.
    """
    return counts.argmax(axis=-1)


def comparable(weighted: Floats) -> Floats:
    """Sums of weights without the rounding that would tell equal ones apart."""
    return weighted.round(9)


def is_mode(counts: Floats) -> NDArray[np.bool_]:
    """[..., Q, C] whether no code is more frequent; of nobody's answers, none is frequent."""
    return (counts == counts.max(axis=-1, keepdims=True)) & (counts > 0)


def tied(counts: Floats) -> NDArray[np.bool_]:
    """[..., Q] whether another code is as frequent as the mode."""
    return is_mode(counts).sum(axis=-1) > 1


def shares(counts: Floats) -> Floats:
    """[..., Q, C] share of each code; NaN where nobody answered."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
