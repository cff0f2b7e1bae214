"""What annotations cost, and how many are needed. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.metrics import agreement

Floats = NDArray[np.float64]
CHARACTERS_PER_TOKEN = 4
"""Of English prose, a rule of thumb; in many other languages a token is shorter."""
HALF_WIDTH = 0.1
"""Of the interval of kappa that a sample is planned for."""
LINEAR = 1
"""Power of the weights that a sample is planned for."""


@dataclass(frozen=True)
class Plan:
    """Pairs needed for a kappa within +- HALF_WIDTH, and the half-width that a sample gives."""

    needed: int
    half_width: float


def plan(verdicts: pd.DataFrame, n: int, kappa: float, confidence_level: float) -> Plan:
    """How precise a sample of n text pairs makes a kappa, with linear weights.

    The variance is that of Fleiss, Cohen and Everitt (1969), for the shares of wins, ties and
    losses that the judge gave, on the dimension where it is largest. Pairs are taken for
    independent; several on one question, or a higher kappa than was expected, change that.

    Args:
        verdicts: dimension and score of a judge's verdicts.
        n: text pairs in the sample.
        kappa: the kappa that is expected.
        confidence_level: coverage of the interval.
    """
    variance = max(
        agreement.kappa_variance(
            agreement.expected_joint(category_shares(scores.to_numpy(dtype=np.float64)), kappa),
            LINEAR,
        )
        for _, scores in verdicts.groupby("dimension")["score"]
    )
    return Plan(
        agreement.items_for_half_width(variance, HALF_WIDTH, confidence_level),
        agreement.kappa_half_width(variance, n, confidence_level),
    )


def category_shares(scores: Floats) -> Floats:
    """[3] share of scores below, at and above 0.5; even ones where all are in one category.

    >>> category_shares(np.array([0.0, 0.25, 1.0, 0.5, np.nan]))
    array([0.5 , 0.25, 0.25])
    """
    finite = scores[np.isfinite(scores)]
    counts = np.array([(finite < 0.5).sum(), (finite == 0.5).sum(), (finite > 0.5).sum()])
    return counts / counts.sum() if (counts > 0).sum() > 1 else np.full(3, 1 / 3)


def people_line(n: int, annotators: int, minutes: float, wage: float | None) -> str:
    """Hours that some annotators need for n text pairs, and their wages where one is given.

    >>> people_line(90, 2, 2, 20)
    '2 annotators x 90 text pairs x 2 minutes = 6.0 hours; at 20 an hour 120.00'
    """
    hours = annotators * n * minutes / 60
    paid = "" if wage is None else f"; at {wage:g} an hour {hours * wage:,.2f}"
    who = f"{annotators} annotator{'s' if annotators > 1 else ''}"
    return f"{who} x {n} text pairs x {minutes:g} minutes = {hours:.1f} hours{paid}"


def judge_line(
    pairs: pd.DataFrame, rubric: str, max_new_tokens: int, prices: tuple[float, float] | None
) -> str:
    """Tokens that a judge needs for some text pairs, in both orders, and their price.

    Args:
        pairs: persona, prompt, text and reference of each pair.
        rubric: what stands around them in each prompt.
        max_new_tokens: longest verdict.
        prices: of a million tokens in and of a million out, None where they are not given.
    """
    shown = pairs[["persona", "prompt", "text", "reference"]].map(len).to_numpy().sum()
    calls = 2 * len(pairs)
    tokens_in = round((2 * shown + calls * len(rubric)) / CHARACTERS_PER_TOKEN)
    tokens_out = calls * max_new_tokens
    line = f"{calls:,} calls, about {tokens_in:,} tokens in and at most {tokens_out:,} out"
    if prices is None:
        return line
    paid = (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6
    amount = f"{paid:,.2f}" if paid >= 1 else f"{paid:.2g}"
    return f"{line}; at {prices[0]:g} and {prices[1]:g} a million {amount}"
