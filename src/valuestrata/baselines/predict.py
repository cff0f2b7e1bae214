"""Predictions of a rule for pairs. Symbols: S subgroups, Q questions, C codes, n pairs."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from valuestrata.baselines.registry import Rule
from valuestrata.baselines.rules import uniform
from valuestrata.study.splits import COUNTRY
from valuestrata.survey import modal
from valuestrata.survey.crosstab import CrossTab
from valuestrata.survey.encoded import Floats, Ints, Scale
from valuestrata.survey.tally import subgroup_groups


def predict(
    rule: Rule, pairs: pd.DataFrame, crosstab: CrossTab, scale: Scale
) -> tuple[Ints, list[Floats]]:
    """What a rule predicts for each pair: [n] the code, and the shares of its question's codes.

    The code is the most frequent one, ties to the lowest code; of `uniform` the middle one. In a
    study of several countries a rule keeps to the subgroup's own, as if it were studied alone.
    """
    subgroups = list(dict.fromkeys(pairs["subgroup"]))
    share = np.empty((len(subgroups), *scale.codes.shape))
    for places, names, cells in _by_country(crosstab, subgroups):
        share[places] = rule(cells, scale, names)
    s = pd.Index(subgroups).get_indexer(pd.Index(pairs["subgroup"]))
    q = pd.Index(scale.questions).get_indexer(pd.Index(pairs["question"]))
    answer = _middle(scale)[q] if rule is uniform else modal.modes(share)[s, q]
    code = scale.codes[q, answer]
    return code, [share[i, j, scale.real[j]] for i, j in zip(s, q, strict=True)]


def _middle(scale: Scale) -> Ints:
    """[Q] position of the middle one of the scale's codes, the lower of two."""
    nth = scale.on_scale.cumsum(axis=1) - 1
    return (scale.on_scale & (nth == (nth[:, -1:] // 2))).argmax(axis=1)


def _by_country(
    crosstab: CrossTab, subgroups: Sequence[str]
) -> Iterator[tuple[list[int], list[str], CrossTab]]:
    """Places of the subgroups within each country, their names in it, and the country's cells.

    Where a country is itself the subgroup, or there is only one, the cells are all.
    """
    places: dict[str, list[int]] = {}
    for s, name in enumerate(subgroups):
        groups = subgroup_groups(name)
        country = groups.get(COUNTRY, "") if len(groups) > 1 else ""
        places.setdefault(country, []).append(s)
    for country, indices in places.items():
        names = [subgroups[s] for s in indices]
        if country:
            names = [name.partition(" & ")[2] for name in names]
            yield indices, names, crosstab.within(COUNTRY, country)
        else:
            yield indices, names, crosstab
