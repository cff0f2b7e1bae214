"""Baselines: rules over the survey's tallies that need no language model.

Symbols: S subgroups, Q questions, C codes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from valuestrata.survey import modal
from valuestrata.survey.tally import Floats, Ints, Scale, Tally, subgroup_groups


def national_mode(subgroups: Sequence[str], marginal: Mapping[str, Tally]) -> Floats:
    """[S, Q, C] everyone's answer distribution, the same for every subgroup."""
    everyone = modal.shares(marginal["all"].counts)
    return np.repeat(everyone, len(subgroups), axis=0)


def axis_mode(subgroups: Sequence[str], marginal: Mapping[str, Tally]) -> Floats:
    """[S, Q, C] mean of the distributions of each subgroup's single axes.

    For a subgroup of a single axis that is its own distribution, so on such a split it restates the
    labels; only unseen intersections tell anything.
    """
    place = {
        name: (axis, i)
        for axis, tally in marginal.items()
        for i, name in enumerate(tally.subgroups)
    }
    share = {axis: modal.shares(tally.counts) for axis, tally in marginal.items()}
    means = []
    for name in subgroups:
        own = [place[f"{axis}={group}"] for axis, group in subgroup_groups(name).items()]
        means.append(np.mean([share[axis][i] for axis, i in own], axis=0))
    return np.stack(means)


RULES = {"national_mode": national_mode, "axis_mode": axis_mode}


def predict(
    rule: str, pairs: pd.DataFrame, marginal: Mapping[str, Tally], scale: Scale
) -> tuple[Ints, list[Floats]]:
    """What a rule says of each pair: [n] the code, and the shares of its question's codes."""
    subgroups = list(dict.fromkeys(pairs["subgroup"]))
    share = RULES[rule](subgroups, marginal)
    s = pd.Index(subgroups).get_indexer(pd.Index(pairs["subgroup"]))
    q = pd.Index(scale.questions).get_indexer(pd.Index(pairs["question"]))
    code = scale.codes[q, modal.modes(share)[s, q]]
    return code, [share[i, j, scale.real[j]] for i, j in zip(s, q, strict=True)]
