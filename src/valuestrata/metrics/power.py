"""The smallest difference that a design finds, from sizes and stated assumptions. Pure.

A difference on a question is that of the means of n1 and n2 pairs. Questions differ in their true
difference with a standard deviation `between`; a pair's score varies around what its question and
group make of it. The difference is tested by Student's t over questions.
Symbols: Q questions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
MOST_QUESTIONS = 100_000
MOST_RESPONDENTS = 64.0
"""Times as many respondents as a study has, beyond which none are asked for."""
MOST_PAIRS = 1000
"""Pairs that chances of a wrong label are simulated for, evenly spaced among all."""
DRAWS = 100
"""Samples of respondents drawn for each."""


@dataclass(frozen=True)
class Design:
    """What a difference is estimated from, and how sure it is.

    error: its standard error. questions: effective number of them, (sum w)^2 / sum w^2 of their
    weights w.
    """

    error: float
    questions: float

    def smallest_gap(self, alpha: float, power: float) -> float:
        """The difference that a two-sided test at level alpha finds with this power.

        (t of the test + t of the power) standard errors, with Q - 1 degrees of freedom; NaN below 3
        questions.
        """
        return _reach(self.questions, alpha, power) * self.error

    def questions_for(self, gap: float, alpha: float, power: float) -> int | None:
        """Questions of the same kind that a gap needs; None beyond MOST_QUESTIONS."""
        low, high = 2, MOST_QUESTIONS
        error_of_one = self.error * self.questions**0.5

        def is_enough(questions: int) -> bool:
            return _reach(questions, alpha, power) * error_of_one / questions**0.5 <= gap

        if not is_enough(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_enough(middle) else (middle, high)
        return high


def _reach(questions: float, alpha: float, power: float) -> float:
    df = questions - 1
    if df < 2:
        return float("nan")
    return float(stdtrit(df, 1 - alpha / 2) + stdtrit(df, power))


def matched_design(first: Floats, second: Floats, pair_sd: float, between: float) -> Design:
    """Of a difference within questions (metrics/contrasts.py, matched_difference).

    Args:
        first: [Q] pairs of the first group, or run, on each question.
        second: [Q] of the second.
        pair_sd: standard deviation of a pair's score, questions and groups apart.
        between: standard deviation over questions of their true difference.
    """
    shared = (first > 0) & (second > 0)
    first, second = first[shared], second[shared]
    if not len(first):
        return Design(float("nan"), 0.0)
    weight = first * second / (first + second)
    weight = weight / weight.sum()
    within = max(pair_sd**2 - between**2 / 4, 0.0)  # half a difference shifts either side
    variance = between**2 + within * (1 / first + 1 / second)
    effective = float(1 / (weight**2).sum())
    return Design(float(np.sqrt((weight**2 * variance).sum())), effective)


def label_share(distribution: Floats, n: Floats, times: float = 1.0) -> float:
    """How much of a true difference in accuracy survives labels from a sample of people.

    The mode of a sample is the population's with a chance r, which is simulated; where it is not, a
    wrong answer hits it with 1 / (C - 1). So a difference shrinks to r - (1 - r) / (C - 1) of
    itself, on average over pairs.

    Args:
        distribution: [n, C] shares of the answers, taken for the population's; 0 where none is.
        n: [n] valid answers.
        times: as many respondents.
    """
    rng = np.random.default_rng(1)
    every = -(-len(n) // MOST_PAIRS)
    shares, people = distribution[::every], np.rint(n[::every] * times).astype(np.int64)
    shares = shares / shares.sum(axis=1, keepdims=True)
    counts = rng.multinomial(people, shares, size=(DRAWS, len(people)))
    right = (counts.argmax(axis=-1) == shares.argmax(axis=-1)).mean(axis=0)
    options = np.maximum((shares > 0).sum(axis=1), 2)
    return float((right - (1 - right) / (options - 1)).mean())


def respondents_for(
    gap: float, observed_gap: float, distribution: Floats, n: Floats
) -> float | None:
    """Times as many respondents that make a true gap show as `observed_gap`; None if none do."""
    for times in np.geomspace(1, MOST_RESPONDENTS, 25):
        if gap * label_share(distribution, n, float(times)) >= observed_gap:
            return float(times)
    return None
