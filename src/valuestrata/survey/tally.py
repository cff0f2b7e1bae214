"""The tally: how many of each subgroup gave each answer. One pass over the respondents makes it.

Symbols: N respondents, S subgroups, Q questions, C codes (the widest question's; narrower ones
are padded with codes that nobody gave), B resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

NO_ANSWER = -1
SLAB = 2_000_000
"""Answers encoded or counted at a time: what bounds the temporary arrays."""


@dataclass(frozen=True)
class Scale:
    """The questions' codes as arrays.

    codes: [Q, C] ascending, padded at the right. real: [Q, C] whether a code exists. lowest,
    highest: [Q]. ordinal: [Q].
    """

    questions: tuple[str, ...]
    codes: Ints
    real: NDArray[np.bool_]
    scale_min: Ints
    scale_max: Ints
    ordinal: NDArray[np.bool_]

    @property
    def on_scale(self) -> NDArray[np.bool_]:
        """[Q, C] whether a code lies between the scale's ends."""
        inside = (self.codes >= self.scale_min[:, None]) & (self.codes <= self.scale_max[:, None])
        return self.real & inside

    @property
    def width(self) -> Ints:
        """[Q] points of each scale."""
        return self.scale_max - self.scale_min + 1


def scale_of(questions: pd.DataFrame) -> Scale:
    """The scales of a questions table."""
    lists = [list(codes) for codes in questions["codes"]]
    sizes = np.array([len(codes) for codes in lists])
    real = np.arange(sizes.max()) < sizes[:, None]
    codes = np.repeat([[max(own)] for own in lists], sizes.max(), axis=1).astype(np.int64)
    codes[real] = np.concatenate(lists)
    return Scale(
        questions=tuple(questions["question"]),
        codes=codes,
        real=real,
        scale_min=questions["scale_min"].to_numpy(dtype=np.int64),
        scale_max=questions["scale_max"].to_numpy(dtype=np.int64),
        ordinal=(questions["measurement_level"] == "ordinal").to_numpy(dtype=bool),
    )


def encode(responses: pd.DataFrame, scale: Scale) -> Ints:
    """[N, Q] position of each answer among its question's codes, or NO_ANSWER.

    Of the smallest type that holds them: with 200 questions a respondent is 200 bytes.
    """
    questions = len(scale.questions)
    first = int(scale.codes.min()) - 1  # stands for no answer
    span = int(scale.codes.max()) - first + 2
    # [Q, code - first] how many of the question's codes lie below a code: its position
    below = np.zeros((questions, span), dtype=np.int16)
    q, c = np.nonzero(scale.real)
    below[q, scale.codes[q, c] - first + 1] = 1
    table = below.cumsum(axis=1, dtype=np.int16)
    table[:, 0] = NO_ANSWER
    if scale.codes.shape[1] <= np.iinfo(np.int8).max:
        table = table.astype(np.int8)
    start = np.arange(questions)[:, None] * span - first
    positions = np.empty((len(responses), questions), dtype=table.dtype)
    answers = responses[list(scale.questions)]
    rows = max(1, SLAB // questions)
    for top in range(0, len(responses), rows):
        # columns lie together in a frame, so questions come first
        part = answers if len(answers) <= rows else answers.iloc[top : top + rows]
        place = part.to_numpy(dtype=np.int64, na_value=first).T
        place = np.clip(place, first, first + span - 1)
        place += start
        positions[top : top + rows] = table.ravel()[place].T
    return positions


def members(
    responses: pd.DataFrame,
    axes: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    minimum: int,
) -> tuple[list[str], Ints]:
    """The subgroups of a stratum with at least `minimum` respondents, unweighted.

    Returns:
        Their names, ordered by the axes' group order, and [N] the position of each respondent's
        subgroup among them, -1 for none.
    """
    return members_of(responses, [axes], groups, minimum)[0]


def members_of(
    responses: pd.DataFrame,
    strata: Sequence[Sequence[str]],
    groups: Mapping[str, Sequence[str]],
    minimum: int,
) -> list[tuple[list[str], Ints]]:
    """The `members` of several strata; each axis is looked up once."""
    group = {}
    for axis in dict.fromkeys(axis for axes in strata for axis in axes):
        label, seen = pd.factorize(responses[axis])
        group[axis] = np.append(pd.Index(groups[axis]).get_indexer(pd.Index(seen)), -1)[label]
    found = []
    for axes in strata:
        cell = np.zeros(len(responses), dtype=np.int64)
        names = [""]
        for axis in axes:
            labels, position = groups[axis], group[axis]
            cell = np.where((cell < 0) | (position < 0), -1, cell * len(labels) + position)
            names = [subgroup_name(name, axis, label) for name in names for label in labels]
        sizes = np.bincount(cell[cell >= 0], minlength=len(names))
        kept = np.flatnonzero((sizes >= minimum) & (sizes > 0))
        place = np.full(len(names) + 1, -1)
        place[kept] = np.arange(len(kept))
        found.append(([names[k] or "all" for k in kept], place[cell]))
    return found


def largest(
    responses: pd.DataFrame, axes: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> str:
    """The largest subgroup of a stratum, with its respondents; for a message."""
    names, cell = members(responses, axes, groups, 1)
    if not names:
        return "empty, nobody has a group of each axis"
    sizes = np.bincount(cell[cell >= 0])
    return f"{names[sizes.argmax()]!r} with {sizes.max()}"


def subgroup_name(name: str, axis: str, label: str) -> str:
    """Extend a subgroup's name by one axis: 'sex=Female & age_group=25-34'."""
    return f"{name} & {axis}={label}" if name else f"{axis}={label}"


def subgroup_groups(name: str) -> dict[str, str]:
    """Axis -> group of a subgroup's name; {} for everyone."""
    return dict(part.split("=", 1) for part in name.split(" & ")) if "=" in name else {}


def count(
    encoded: Ints, cell: Ints, subgroups: int, width: int, weight: Floats | None = None
) -> Floats:
    """[S, Q, C] respondents (or the sum of their weights) by subgroup, question and code.

    Args:
        encoded: [N, Q] positions, NO_ANSWER for none.
        cell: [N] subgroup of each respondent, -1 for none.
        subgroups: S.
        width: C.
        weight: [N], or None to count heads.
    """
    sums, q, c = _sums(encoded, cell, subgroups, weight)
    return _spread(sums, q, c, encoded.shape[1], width)


def _sums(
    encoded: Ints, cell: Ints, subgroups: int, weight: Floats | None
) -> tuple[Floats, Ints, Ints]:
    """[S, K] sums of the K pairs of question and code up to the highest given, and q, c of each."""
    questions = encoded.shape[1]
    # the first bin of a question is for no answer: cheaper than to leave these out
    bins = encoded.max(axis=0, initial=NO_ANSWER).astype(np.int64) - NO_ANSWER + 1
    offset = bins.cumsum() - bins
    every = int(bins.sum())
    inside = np.flatnonzero(cell >= 0)
    rows = max(1, SLAB // max(1, questions))
    sums = np.zeros(subgroups * every)
    for top in range(0, len(inside), rows):
        own = inside[top : top + rows]
        flat = np.add.outer(cell[own] * every, offset - NO_ANSWER)
        flat += encoded[own]
        weights = None if weight is None else np.repeat(weight[own], questions)
        sums += np.bincount(flat.ravel(), weights, minlength=len(sums))
    q = np.repeat(np.arange(questions), bins)
    c = np.arange(every) - offset[q] + NO_ANSWER
    kept = np.flatnonzero(c != NO_ANSWER)
    return sums.reshape(subgroups, every)[:, kept], q[kept], c[kept]


def _spread(sums: Floats, q: Ints, c: Ints, questions: int, width: int) -> Floats:
    """[S, Q, C] from [S, K]."""
    spread = np.zeros((len(sums), questions * width))
    spread[:, q * width + c] = sums
    return spread.reshape(len(sums), questions, width)


def count_strata(
    encoded: Ints,
    cells: Sequence[Ints],
    subgroups: Sequence[int],
    width: int,
    weight: Floats | None = None,
) -> list[Floats]:
    """The `count` of several strata at once, one [S, Q, C] a stratum.

    Respondents who stand in the same subgroup of every stratum are counted together, once; the
    strata are sums of these few cells.

    Args:
        encoded: [N, Q] positions, NO_ANSWER for none.
        cells: for each stratum [N] subgroup of each respondent, -1 for none.
        subgroups: S of each stratum.
        width: C.
        weight: [N], or None to count heads.
    """
    finest, merge = finest_cells(cells, subgroups)
    fine, q, c = _sums(encoded, finest, merge.shape[1], weight)
    sums = merge @ fine
    starts = np.cumsum(subgroups)[:-1]
    return np.split(_spread(sums, q, c, encoded.shape[1], width), starts)


def finest_cells(cells: Sequence[Ints], subgroups: Sequence[int]) -> tuple[Ints, csr_array]:
    """The cells of respondents who stand in the same subgroup of every stratum, F in all.

    Args:
        cells: for each stratum [N] subgroup of each respondent, -1 for none.
        subgroups: S of each stratum.

    Returns:
        [N] finest cell of each respondent; [S of all strata, F] 1 where a subgroup holds a cell.
    """
    key, size = np.zeros(len(cells[0]), dtype=np.int64), 1
    for cell, s in zip(cells, subgroups, strict=True):
        if size > 2**62 // (s + 1):
            seen, key = np.unique(key, return_inverse=True)
            size = len(seen)
        key, size = key * (s + 1) + cell + 1, size * (s + 1)
    _, first, finest = np.unique(key, return_index=True, return_inverse=True)
    of = np.stack([cell[first] for cell in cells])  # [stratum, finest cell]
    starts = np.cumsum(subgroups) - subgroups
    stratum, part = np.nonzero(of >= 0)
    to = starts[stratum] + of[stratum, part]
    shape = (int(np.sum(subgroups)), len(first))
    return finest, csr_array((np.ones(len(to)), (to, part)), shape=shape)


def to_frame(
    stratum: str,
    subgroups: Sequence[str],
    sizes: Ints,
    scale: Scale,
    counts: Floats,
    weighted: Floats,
) -> pd.DataFrame:
    """The tally table of one stratum: one row for each subgroup, question and existing code."""
    s, q, c = np.nonzero(np.broadcast_to(scale.real, counts.shape))
    return pd.DataFrame(
        {
            "stratum": stratum,
            "subgroup": np.asarray(subgroups, dtype=object)[s],
            "question": np.asarray(scale.questions, dtype=object)[q],
            "code": scale.codes[q, c],
            "count": counts[s, q, c].astype(np.int64),
            "weighted": weighted[s, q, c],
            "respondents": sizes[s],
        }
    )


@dataclass(frozen=True)
class Tally:
    """A tally as arrays. counts, weighted: [S, Q, C]; respondents: [S]."""

    strata: tuple[str, ...]
    subgroups: tuple[str, ...]
    respondents: Ints
    counts: Floats
    weighted: Floats


def from_frame(frame: pd.DataFrame, scale: Scale) -> Tally:
    """The arrays of one or several stacked tally tables, subgroups in order of appearance."""
    cells = frame[["stratum", "subgroup", "respondents"]].drop_duplicates(["stratum", "subgroup"])
    key = pd.MultiIndex.from_frame(cells[["stratum", "subgroup"]])
    s = key.get_indexer(pd.MultiIndex.from_frame(frame[["stratum", "subgroup"]]))
    q = pd.Index(scale.questions).get_indexer(pd.Index(frame["question"]))
    code = frame["code"].to_numpy(dtype=np.int64)
    c = (scale.codes[q] == code[:, None]).argmax(axis=1)
    shape = (len(cells), *scale.codes.shape)
    counts, weighted = np.zeros(shape), np.zeros(shape)
    counts[s, q, c] = frame["count"]
    weighted[s, q, c] = frame["weighted"]
    return Tally(
        tuple(cells["stratum"]),
        tuple(cells["subgroup"]),
        cells["respondents"].to_numpy(dtype=np.int64),
        counts,
        weighted,
    )
