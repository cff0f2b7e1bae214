"""Countries that lack an axis, as nobody was asked or all are of one group: it is left out there.

With one country such an axis is refused. With several, the others can still use it: in the country
that lacks it nobody has a group of it, so that no stratum with the axis has a subgroup there.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from valuestrata.study.splits import COUNTRY, Selection, stratum_id
from valuestrata.study.survey import Axis
from valuestrata.survey.groups import Groups
from valuestrata.survey.tally import subgroup_groups


def leave_out_axes(
    responses: pd.DataFrame, groups: Groups, axes: Mapping[str, Axis], min_auto_n: int
) -> tuple[pd.DataFrame, Groups]:
    """Respondents without a group of an axis that their country lacks, and the groups left.

    Args:
        responses: one row a respondent; the country and each axis are columns.
        groups: of each axis.
        axes: how each axis is made; a group of one with `groups: auto` has `min_auto_n`
            respondents in a country, one that is listed has one.
        min_auto_n: respondents.
    """
    if len(groups.countries) < 2:
        return responses, groups
    whole, left_out = responses.copy(), dict[str, tuple[str, ...]]()
    for country, (name, axis) in product(groups.countries, axes.items()):
        here = responses[COUNTRY] == country
        sizes = responses.loc[here, name].value_counts()
        if (sizes >= (max(1, min_auto_n) if axis.is_auto else 1)).sum() < 2:
            whole.loc[here, name] = pd.NA
            left_out[country] = (*left_out.get(country, ()), name)
    if not left_out:
        return responses, groups
    sized = {
        name: tuple(
            sized
            for group in members
            for sized in [group.replace(n=int((whole[name] == group.label).sum()))]
            if sized.n or not (name in axes and axes[name].is_auto)
        )
        for name, members in groups.axes.items()
    }
    return whole, groups.replace(axes=sized, left_out=left_out)


def axis_notices(groups: Groups) -> list[str]:
    """A sentence for each axis that is left out in some countries."""
    countries: dict[str, list[str]] = {}
    for country, axes in groups.left_out.items():
        for axis in axes:
            countries.setdefault(axis, []).append(country)
    return [
        f"Axis {axis} is left out in {_listed(names)}: fewer than two groups of it are there."
        for axis, names in countries.items()
    ]


def stratum_notices(
    groups: Groups,
    split: str,
    strata: Sequence[tuple[str, ...]],
    kept: Selection,
    pairs: pd.DataFrame,
) -> list[str]:
    """A sentence for each stratum of a split without a pair in a country that the split keeps.

    Args:
        groups: of each axis.
        split: its name.
        strata: of the split.
        kept: countries that the split keeps.
        pairs: stratum and subgroup of its pairs.
    """
    if len(groups.countries) < 2:
        return []
    subgroups = pairs[["stratum", "subgroup"]].drop_duplicates()
    country = [subgroup_groups(name).get(COUNTRY) for name in subgroups["subgroup"]]
    present = set(zip(subgroups["stratum"], country, strict=True))
    sentences = []
    for axes in strata:
        lacking = [
            name
            for name in groups.countries
            if kept.keeps(name)
            and (stratum_id(axes), name) not in present
            and not set(axes) & set(groups.left_out.get(name, ()))
        ]
        if lacking:
            shown = " x ".join(axis for axis in axes if axis != COUNTRY) or COUNTRY
            sentences.append(f"Stratum {shown} of {split} has no pair in {_listed(lacking)}.")
    return sentences


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
