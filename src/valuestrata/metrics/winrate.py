"""Win rates of two-swap verdicts. Scores are 1, 0.5, 0 or their mean; NaN where a swap is lost."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def win_rate(score: Floats) -> float:
    """Mean score: 1 always better than the reference, 0.5 as good (paper.md, Open-ended)."""
    return float(np.nanmean(score)) if np.isfinite(score).any() else float("nan")


def first_position_rate(as_first: Floats, as_second: Floats) -> float:
    """Mean score of whatever was shown first; 0.5 if the judge has no position bias."""
    shown_first = np.concatenate([as_first, 1 - as_second])
    return float(np.nanmean(shown_first)) if np.isfinite(shown_first).any() else float("nan")
