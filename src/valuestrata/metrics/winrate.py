"""Pairwise judgements in both orders. Pure functions on arrays.

A response is compared with a reference's twice, once shown first and once second; its score is the
mean of the two (paper.md, Open-ended generation), and a run's win rate the mean score of its pairs.
Scores are 1 (better), 0.5 (a tie) and 0; NaN where the judge gave no verdict.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MISSING = ("none", "nan", "<na>", "null", "")
"""How None, NaN and pandas' NA are written."""


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


class WinRate(NamedTuple):
    """A win rate over some comparisons: shares are of n_total, which leaves out n_missing."""

    win_rate: float
    standard_error: float
    n_wins: int
    n_losses: int
    n_draws: int
    n_total: int
    n_missing: int


def winrate(preferences: Iterable[float | None]) -> WinRate:
    """Win rate of a model against a baseline, from preferences in AlpacaEval's coding.

    A preference is 1 where the baseline is better, 2 where the model is, 1.5 for a draw, or any
    number between them, as a judge's probabilities give; older files write 0 for a draw. Null, None
    and NaN are dropped and counted. The estimator is that of AlpacaEval (Li et al. 2023, `win_rate`
    of its leaderboards): with s = preference - 1, the mean of s over what is left, so a draw is
    half a win; its standard error is the standard deviation of s, with n - 1, over the root of n. A
    win is s > .5, a loss s < .5, a draw s = .5. AlpacaEval prints shares times 100, and calls
    losses n_wins_base. The standard error takes comparisons for independent; `clustered_mean` does
    not.

    Raises:
        ValueError: a preference is no number from 1 to 2, nor 0.

    >>> winrate([2, 2, 1.5, 1, None])
    WinRate(win_rate=0.625, standard_error=0.23935677693908453, n_wins=2, n_losses=1, n_draws=1, \
n_total=4, n_missing=1)
    """
    coded = np.array([_number(preference) for preference in preferences], dtype=np.float64)
    valid = coded[~np.isnan(coded)]
    outside = valid[(valid != 0) & ~((valid >= 1) & (valid <= 2))]
    if len(outside):
        raise ValueError(f"preference {outside[0]:g} is neither 0 nor from 1 to 2")
    scores = np.where(valid == 0, 0.5, valid - 1)
    n = len(scores)
    return WinRate(
        win_rate=float(scores.mean()) if n else float("nan"),
        standard_error=float(scores.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
        n_wins=int((scores > 0.5).sum()),
        n_losses=int((scores < 0.5).sum()),
        n_draws=int((scores == 0.5).sum()),
        n_total=n,
        n_missing=len(coded) - n,
    )


def _number(preference: float | None) -> float:
    """The preference as a number, NaN for whatever stands for a missing one."""
    text = str(preference).strip()
    try:
        return float("nan") if text.lower() in MISSING else float(text)
    except ValueError:
        raise ValueError(f"preference {text!r} is no number") from None
