"""Answers by the full cross-tabulation of the axes: what subgroups are subtracted from.

Each respondent is in one cell, so the counts of a marginal less those of a subgroup are a sum of
cells, exact to the last answer. Symbols: N respondents, K cells that somebody is in, A axes,
S subgroups, Q questions, C codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.survey.encoded import EncodedSurvey, Floats, Ints
from valuestrata.survey.tally import count, subgroup_groups

Masks = NDArray[np.bool_]

NO_GROUP = -1


@dataclass(frozen=True)
class CrossTab:
    """The cells of all axes together.

    axes: A names. labels: each axis' groups, sorted. groups: [K, A] position of the cell's group,
    NO_GROUP where its respondents are in none. respondents: [K]. counts: [K, Q, C], unweighted.
    """

    axes: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    groups: Ints
    respondents: Ints
    counts: Floats

    def axis(self, name: str) -> int:
        """Position of an axis."""
        return self.axes.index(name)

    def group(self, axis: str, label: str) -> Masks:
        """[K] whether a cell lies in a group; none does where the survey has nobody in it."""
        labels = self.labels[self.axis(axis)]
        if label not in labels:
            return np.zeros(len(self.groups), dtype=bool)
        return np.asarray(self.groups[:, self.axis(axis)] == labels.index(label))

    def within(self, axis: str, label: str) -> "CrossTab":
        """The cells of one group, without its axis."""
        inside, gone = self.group(axis, label), self.axis(axis)
        return CrossTab(
            axes=tuple(name for name in self.axes if name != axis),
            labels=tuple(names for a, names in enumerate(self.labels) if a != gone),
            groups=np.delete(self.groups[inside], gone, axis=1),
            respondents=self.respondents[inside],
            counts=self.counts[inside],
        )

    def subgroup(self, name: str) -> Masks:
        """[K] whether a cell lies in a subgroup; all do in everyone."""
        inside = np.ones(len(self.groups), dtype=bool)
        for axis, label in subgroup_groups(name).items():
            inside &= self.group(axis, label)
        return inside

    def cells_of(self, axes: Sequence[str]) -> tuple[Ints, Masks]:
        """The non-empty subgroups of a stratum: [S, len(axes)] groups, [S, K] their cells."""
        here = self.groups[:, [self.axis(axis) for axis in axes]]
        grouped = (here != NO_GROUP).all(axis=1)
        subgroups = np.unique(here[grouped], axis=0)
        return subgroups, (here[None, :, :] == subgroups[:, None, :]).all(axis=2)

    def total(self, masks: Masks) -> Floats:
        """[..., Q, C] answers of each mask's cells, [..., K]; whole numbers, so exact."""
        flat = self.counts.reshape(len(self.counts), -1)
        return (masks.astype(np.float64) @ flat).reshape(*masks.shape[:-1], *self.counts.shape[1:])


def cross_tab(survey: EncodedSurvey) -> CrossTab:
    """Cross-tabulate respondents over all axes, in one pass."""
    axes = tuple(map(str, survey.groups.columns))
    columns = [pd.Categorical(survey.groups[axis]) for axis in axes]
    places = np.stack([column.codes.astype(np.int64) for column in columns], axis=1)
    groups, cell = np.unique(places, axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    return CrossTab(
        axes=axes,
        labels=tuple(tuple(map(str, column.categories)) for column in columns),
        groups=groups,
        respondents=np.bincount(cell, minlength=len(groups)),
        counts=count(survey.answers, cell, len(groups), survey.width),
    )
