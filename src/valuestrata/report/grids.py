"""A run's values as subgroups by questions, and which subgroups are compared with which. Pure.

Symbols: S subgroups, Q questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.survey.tally import subgroup_groups

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SUBGROUPS = "subgroups"
REST = "rest"


@dataclass(frozen=True, eq=False)
class Grid:
    """Where each of n pairs lies among S subgroups and Q questions.

    strata, subgroups: [S] names. row, column: [n].
    """

    strata: tuple[str, ...]
    subgroups: tuple[str, ...]
    questions: tuple[str, ...]
    row: NDArray[np.intp]
    column: NDArray[np.intp]

    def spread(self, values: Floats) -> Floats:
        """[S, Q] of values [n], NaN where there is no pair."""
        cells = np.full((len(self.subgroups), len(self.questions)), np.nan)
        cells[self.row, self.column] = values
        return cells


def grid_of(pairs: pd.Index) -> Grid:
    """The grid of pairs: an index of stratum, subgroup and question."""
    frame = pairs.to_frame(index=False)
    keys = pd.MultiIndex.from_frame(frame[["stratum", "subgroup"]])
    row, cells = pd.factorize(keys)
    column, questions = pd.factorize(frame["question"], sort=True)
    names = [(str(stratum), str(subgroup)) for stratum, subgroup in cells]
    strata, subgroups = zip(*names, strict=True) if names else ((), ())
    return Grid(strata, subgroups, tuple(map(str, questions)), row, column)


@dataclass(frozen=True, eq=False)
class Side:
    """Two sets of subgroups that are compared: flags [S] of the first and of the second.

    contrast: `rest`, `reference` or `ends` (the last group of an ordered axis minus its first).
    """

    level: str
    group: str
    other_group: str
    contrast: str
    first: Flags
    second: Flags


def levels(grid: Grid, axes: Mapping[str, Sequence[str]]) -> dict[str, tuple[list[str], Floats]]:
    """Level -> names of its groups, and their members [G, S]: subgroups, then each axis."""
    result = {SUBGROUPS: (list(grid.subgroups), np.eye(len(grid.subgroups)))}
    parts = [subgroup_groups(name) for name in grid.subgroups]
    for axis, groups in axes.items():
        place = np.array([part.get(axis, "") for part in parts], dtype=object)
        names = [group for group in groups if (place == group).any()]
        if names:
            member = [(place == name).astype(np.float64) for name in names]
            result[axis] = (names, np.array(member))
    return result


def sides(
    grid: Grid,
    axes: Mapping[str, Sequence[str]],
    ordered: Sequence[str],
    references: Mapping[str, str],
) -> list[Side]:
    """Every comparison of groups.

    A subgroup's rest is its own stratum's other subgroups, who are other people; a group's rest all
    subgroups of the axis' other groups.
    """
    strata = np.array(grid.strata, dtype=object)
    result = []
    for level, (names, member) in levels(grid, axes).items():
        flags = dict(zip(names, member > 0, strict=True))
        everyone = member.any(axis=0)
        for i, name in enumerate(names):
            first = member[i] > 0
            peers = strata == strata[i] if level == SUBGROUPS else everyone
            result.append(Side(level, name, REST, "rest", first, peers & ~first))
        reference = references.get(level)
        if reference in flags:
            second = flags[reference]
            result += [
                Side(level, name, reference, "reference", flags[name], second)
                for name in names
                if name != reference
            ]
        if level in ordered and len(names) > 1:
            last, first_name = names[-1], names[0]
            result.append(Side(level, last, first_name, "ends", flags[last], flags[first_name]))
    return [side for side in result if side.first.any() and side.second.any()]
