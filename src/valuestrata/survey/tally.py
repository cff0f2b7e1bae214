"""The tally: how many of each subgroup gave each answer. One pass over the respondents makes it.

Symbols: N respondents, S subgroups, Q questions, C codes (the widest question's; narrower ones
are padded with codes that nobody gave), B resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NO_ANSWER = -1


@dataclass(frozen=True)
class Scale:
    """The questions' codes as arrays.

    codes: [Q, C] ascending, padded at the right. real: [Q, C] whether a code exists. lowest,
    highest: [Q]. ordinal: [Q].
    """

    questions: tuple[str, ...]
    codes: Ints
    real: NDArray[np.bool_]
    lowest: Ints
    highest: Ints
    ordinal: NDArray[np.bool_]

    @property
    def on_scale(self) -> NDArray[np.bool_]:
        """[Q, C] whether a code lies between the scale's ends."""
        inside = (self.codes >= self.lowest[:, None]) & (self.codes <= self.highest[:, None])
        return self.real & inside

    @property
    def width(self) -> Ints:
        """[Q] points of each scale."""
        return self.highest - self.lowest + 1


def scale_of(questions: pd.DataFrame) -> Scale:
    """The scales of a questions table."""
    lists = [np.asarray(codes, dtype=np.int64) for codes in questions["codes"]]
    widest = max(len(codes) for codes in lists)
    codes = np.stack([np.pad(c, (0, widest - len(c)), mode="maximum") for c in lists])
    real = np.arange(widest) < np.array([len(c) for c in lists])[:, None]
    return Scale(
        questions=tuple(questions["question"]),
        codes=codes,
        real=real,
        lowest=questions["lowest"].to_numpy(dtype=np.int64),
        highest=questions["highest"].to_numpy(dtype=np.int64),
        ordinal=(questions["kind"] == "ordinal").to_numpy(dtype=bool),
    )


def encode(responses: pd.DataFrame, scale: Scale) -> Ints:
    """[N, Q] position of each answer among its question's codes, or NO_ANSWER."""
    columns = []
    for q, name in enumerate(scale.questions):
        codes = scale.codes[q, scale.real[q]]
        given = responses[name]
        position = np.searchsorted(codes, given.fillna(codes[0]).to_numpy(dtype=np.int64))
        columns.append(np.where(given.isna(), NO_ANSWER, position))
    return np.stack(columns, axis=1)


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
    cell = np.zeros(len(responses), dtype=np.int64)
    names = [""]
    for axis in axes:
        labels = list(groups[axis])
        position = pd.Categorical(responses[axis], categories=labels).codes.astype(np.int64)
        cell = np.where((cell < 0) | (position < 0), -1, cell * len(labels) + position)
        names = [subgroup_name(name, axis, label) for name in names for label in labels]
    sizes = np.bincount(cell[cell >= 0], minlength=len(names))
    kept = np.flatnonzero((sizes >= minimum) & (sizes > 0))
    place = np.full(len(names) + 1, -1)
    place[kept] = np.arange(len(kept))
    return [names[k] or "all" for k in kept], place[cell]


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
    questions = encoded.shape[1]
    given = (encoded != NO_ANSWER) & (cell >= 0)[:, None]
    flat = (cell[:, None] * questions + np.arange(questions)) * width + encoded
    weights = None if weight is None else np.broadcast_to(weight[:, None], encoded.shape)[given]
    sums = np.bincount(flat[given], weights, minlength=subgroups * questions * width)
    return sums.reshape(subgroups, questions, width).astype(np.float64)


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
