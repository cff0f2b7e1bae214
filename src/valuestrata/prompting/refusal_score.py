"""How much a text is worded as refusals are: a linear model of words and letters.

It sees refusals that no pattern foresees. Weights: `python -m bench.refusals`, from the texts of
tests/data.
"""

import json
import math
import re
from functools import cache
from itertools import pairwise

from valuestrata.paths import resource

LETTERS = (2, 3, 4)
"""Lengths of the runs of letters within words that are features."""
_WORD = re.compile(r"[\w']+")


def features(text: str) -> set[str]:
    """Words, pairs of words, and runs of letters within words.

    >>> sorted(features("No."))
    [' n', ' no', ' no ', 'no', 'no ', 'no#', 'o ']
    """
    words = _WORD.findall(text.lower())
    whole = {f"{word}#" for word in words}
    pairs = {f"{first}#{second}" for first, second in pairwise(words)}
    padded = [f" {word} " for word in words]
    runs = {w[i : i + n] for w in padded for n in LETTERS for i in range(len(w) - n + 1)}
    return whole | pairs | runs


def refusal_score(text: str) -> float:
    """From 0 to 1: logistic of the mean weight of a text's features, by their root.

    Args:
        text: plain, quotes left out.

    >>> refusal_score("Any answer would be made up, so I leave this item blank.") > 0.5
    True
    >>> refusal_score("My faith guides me every day.") < 0.1
    True
    """
    present = features(text)
    weights, constant = _weights()
    total = sum(weights.get(feature, 0.0) for feature in present)
    return 1 / (1 + math.exp(-constant - total / math.sqrt(max(len(present), 1))))


@cache
def _weights() -> tuple[dict[str, float], float]:
    """Weight of each feature, and the constant."""
    text = resource("prompting/refusal_weights.json").read_text(encoding="utf-8")
    stored = json.loads(text)
    return stored["weights"], stored["constant"]
