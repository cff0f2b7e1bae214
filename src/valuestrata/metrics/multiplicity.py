"""Many tests at once: q-values after Benjamini and Hochberg (1995). Pure array functions."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def q_values(p: Floats) -> Floats:
    """[n] p-values of one family, adjusted so that those below q hold a share q of false ones.

    A test that was not done (NaN) stays NaN and does not count.

    >>> q_values(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    from scipy.stats import false_discovery_control  # takes a second to import

    adjusted = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    if tested.any():
        adjusted[tested] = false_discovery_control(p[tested])
    return adjusted
