"""The (subgroup, question) pairs of a split: which are kept, and their labels.

Symbols: S subgroups, Q questions, C codes, n pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.errors import InputError
from valuestrata.study.base import FrozenMap, Part
from valuestrata.study.evaluation import Labels
from valuestrata.study.splits import Fold, Selection
from valuestrata.survey import modal
from valuestrata.survey.encoded import Floats, Ints, Scale
from valuestrata.survey.folds import in_fold
from valuestrata.survey.groups import Groups
from valuestrata.survey.tally import Tally, subgroup_groups
from valuestrata.tables import PAIR


class PairSelection(Part):
    """Which pairs of a split's strata are kept.

    Attributes:
        min_pair_n: fewest valid answers.
        questions: that the split keeps.
        groups: of each axis that the split keeps.
        fold: parts that are kept; None for all.
    """

    min_pair_n: int
    questions: Selection
    groups: FrozenMap[str, Selection]
    fold: Fold | None = None


@dataclass(frozen=True)
class Pairs:
    """Positions of pairs among a tally's subgroups and questions: s, q [n]."""

    s: Ints
    q: Ints


def select_pairs(tally: Tally, scale: Scale, selection: PairSelection, groups: Groups) -> Pairs:
    """The pairs that a split keeps, subgroup by subgroup.

    Raises:
        InputError: none is kept, or a selection names a group that the survey does not have.
    """
    _check_groups(selection.groups, groups)
    enough = tally.counts.sum(axis=-1) >= selection.min_pair_n
    kept = enough & _selected(selection, tally, scale)
    if not kept.any():
        raise InputError(
            f"no subgroup of the split has {selection.min_pair_n} valid answers to any of its "
            "questions; lower min_pair_n and min_subgroup_n, merge groups, or look at the split's "
            "questions and groups"
        )
    in_parts = kept
    if selection.fold:
        in_parts = kept & in_fold(selection.fold, tally.subgroups, scale.questions)
    if not in_parts.any():
        raise InputError(
            f"none of the split's {int(kept.sum())} pairs is in the parts that its fold keeps; "
            "divide into fewer parts, by another unit or by another seed"
        )
    s, q = np.nonzero(in_parts)
    return Pairs(s, q)


def _selected(selection: PairSelection, tally: Tally, scale: Scale) -> NDArray[np.bool_]:
    """[S, Q] whether the split's questions and groups keep a pair."""
    everyone = Selection()
    subgroups = [
        all(selection.groups.get(axis, everyone).keeps(group) for axis, group in groups.items())
        for groups in map(subgroup_groups, tally.subgroups)
    ]
    return np.outer(subgroups, [selection.questions.keeps(name) for name in scale.questions])


def _check_groups(selections: Mapping[str, Selection], groups: Groups) -> None:
    """Refuse a selection by a group that the survey does not have."""
    for axis, selection in selections.items():
        labels = groups.labels()[axis]
        for name in (*(selection.only or ()), *selection.without):
            if name not in labels:
                raise InputError(
                    f"config: splits: groups.{axis}: the survey has no group {name!r}; "
                    f"it has {', '.join(labels)}"
                )


def label_pairs(
    tally: Tally, scale: Scale, pairs: Pairs, questions: pd.DataFrame, labels: Labels
) -> pd.DataFrame:
    """[n rows] what names a pair, its question's scale, its mode and distribution, and its size."""
    s, q = pairs.s, pairs.q
    sums = _readings(tally.counts[s, q], tally.weighted[s, q])
    counts, shares = sums[labels.mode], modal.shares(sums[labels.distribution])
    about = questions.iloc[q].reset_index(drop=True)
    return pd.DataFrame(
        {
            "stratum": np.asarray(tally.strata, dtype=object)[s],
            "subgroup": np.asarray(tally.subgroups, dtype=object)[s],
            "question": about["question"],
            "block": about["block"],
            "measurement_level": about["measurement_level"],
            "scale_min": about["scale_min"],
            "scale_max": about["scale_max"],
            "mode": scale.codes[q, modal.modes(counts)],
            "tied": modal.tied(counts),
            "codes": list(about["codes"]),
            "labels": list(about["labels"]),
            "distribution": [row[real] for row, real in zip(shares, scale.real[q], strict=True)],
            "n": tally.counts[s, q].sum(axis=-1).astype(np.int64),
            "respondents": tally.respondents[s],
        }
    )


def both_labels(
    tally: Tally, scale: Scale, pairs: pd.DataFrame, labels: Labels
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels of pairs with and without weights, and the pairs that are tied as the study labels.

    Args:
        tally: of the split's strata.
        scale: of the questions.
        pairs: [n rows] PAIR, mode, codes, n and respondents.
        labels: how the study labels.
    """
    cells = pd.MultiIndex.from_arrays([tally.strata, tally.subgroups])
    s = cells.get_indexer(pd.MultiIndex.from_frame(pairs[["stratum", "subgroup"]]))
    q = pd.Index(scale.questions).get_indexer(pd.Index(pairs["question"]))
    codes, real = scale.codes[q], scale.real[q]
    both = pairs[[*PAIR, "codes", "n", "respondents"]].copy()
    readings = _readings(tally.counts[s, q], tally.weighted[s, q])
    for name, sums in readings.items():
        both[f"mode_{name}"] = codes[np.arange(len(pairs)), modal.modes(sums)]
        both[f"tied_{name}"] = modal.tied(sums)
        shares = modal.shares(sums)
        both[f"distribution_{name}"] = [row[r] for row, r in zip(shares, real, strict=True)]
    sums = readings[labels.mode]
    tied_codes = [row[mode] for row, mode in zip(codes, modal.is_mode(sums), strict=True)]
    ties = pairs.assign(codes=tied_codes, each=sums.max(axis=1, initial=0))
    return both, ties[modal.tied(sums)]


def _readings(counts: Floats, weighted: Floats) -> dict[str, Floats]:
    """[n, C] respondents, or their weights, by how labels are read."""
    return {"unweighted": counts, "weighted": modal.comparable(weighted)}
