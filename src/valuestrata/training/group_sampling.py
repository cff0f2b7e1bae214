"""Subgroups that count alike in training, whatever their number of pairs, and some count more."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from valuestrata.survey.tally import subgroup_groups
from valuestrata.training.examples import Example

E = TypeVar("E", bound=Example)


def weight(data: Sequence[E], group_weights: Mapping[str, float], seed: int) -> list[E]:
    """The examples with their importance as weight in the loss, 1 on average.

    A pair's importance is 1 / (pairs of its subgroup), times the factor of each of the subgroup's
    groups that `group_weights` names.

    Args:
        data: the training pairs.
        group_weights: axis=group -> factor.
        seed: not used; nothing is drawn.
    """
    importance = _importance(data, group_weights)
    weights = importance / importance.mean()
    return [dataclasses.replace(e, weight=float(w)) for e, w in zip(data, weights, strict=True)]


def upsample(data: Sequence[E], group_weights: Mapping[str, float], seed: int) -> list[E]:
    """Each pair repeated in proportion to its importance, see `weight`; the least important once.

    Fractions of a repeat are drawn.
    """
    importance = _importance(data, group_weights)
    times = importance / importance.min()
    draw = np.random.default_rng(seed).random(len(data))
    repeats = np.floor(times + draw * (1 - 1e-9)).astype(int)
    return [e for e, n in zip(data, repeats, strict=True) for _ in range(n)]


def _importance(data: Sequence[Example], group_weights: Mapping[str, float]) -> NDArray[np.float64]:
    """[n] importance of each pair, up to a factor."""
    pairs = Counter(example.group for example in data)
    factor = {group: _factor(group, group_weights) for group in pairs}
    return np.array([factor[e.group] / pairs[e.group] for e in data])


def _factor(subgroup: str, group_weights: Mapping[str, float]) -> float:
    names = (f"{axis}={group}" for axis, group in subgroup_groups(subgroup).items())
    return float(np.prod([group_weights.get(name, 1.0) for name in names]))
