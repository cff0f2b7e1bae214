"""The tally: how many of each subgroup gave each answer. One pass over the respondents makes it.

Symbols: N respondents, S subgroups, Q questions, C codes, A axes, F finest cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from valuestrata.errors import InputError
from valuestrata.study.splits import stratum_id
from valuestrata.survey.encoded import NO_ANSWER, SLAB, EncodedSurvey, Floats, Ints, Scale


@dataclass(frozen=True)
class Members:
    """The subgroups of a stratum, and who is in them.

    names: S, ordered by the axes' group order. cell: [N] position of each respondent's subgroup, -1
    for none.
    """

    names: tuple[str, ...]
    cell: Ints

    @property
    def size(self) -> int:
        """S."""
        return len(self.names)

    def respondents(self) -> Ints:
        """[S] size of each subgroup, unweighted."""
        return np.bincount(self.cell[self.cell >= 0], minlength=self.size)


def stratum_members(
    people: pd.DataFrame,
    axes: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    min_subgroup_n: int,
) -> Members:
    """The subgroups of a stratum with at least `min_subgroup_n` respondents, unweighted.

    Args:
        people: [N, A] label of each respondent's group on each axis.
        axes: of the stratum.
        groups: labels of each axis' groups, in order.
        min_subgroup_n: fewest respondents.
    """
    return strata_members(people, [axes], groups, min_subgroup_n)[0]


def strata_members(
    people: pd.DataFrame,
    strata: Sequence[Sequence[str]],
    groups: Mapping[str, Sequence[str]],
    min_subgroup_n: int,
) -> list[Members]:
    """The `stratum_members` of several strata; each axis is looked up once."""
    group = {}
    for axis in dict.fromkeys(axis for axes in strata for axis in axes):
        label, seen = pd.factorize(people[axis])
        group[axis] = np.append(pd.Index(groups[axis]).get_indexer(pd.Index(seen)), -1)[label]
    result = []
    for axes in strata:
        cell = np.zeros(len(people), dtype=np.int64)
        names = [""]
        for axis in axes:
            labels, position = groups[axis], group[axis]
            cell = np.where((cell < 0) | (position < 0), -1, cell * len(labels) + position)
            names = [subgroup_name(name, axis, label) for name in names for label in labels]
        sizes = np.bincount(cell[cell >= 0], minlength=len(names))
        kept = np.flatnonzero((sizes >= min_subgroup_n) & (sizes > 0))
        place = np.full(len(names) + 1, -1)
        place[kept] = np.arange(len(kept))
        result.append(Members(tuple(names[k] or "all" for k in kept), place[cell]))
    return result


def _largest(people: pd.DataFrame, axes: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """The largest subgroup of a stratum, with its respondents; for a message."""
    subgroups = stratum_members(people, axes, groups, 1)
    if not subgroups.size:
        return "empty, nobody has a group of each axis"
    sizes = subgroups.respondents()
    return f"{subgroups.names[sizes.argmax()]!r} with {sizes.max()}"


def subgroup_name(name: str, axis: str, label: str) -> str:
    """Extend a subgroup's name by one axis: 'sex=Female & age_group=25-34'."""
    return f"{name} & {axis}={label}" if name else f"{axis}={label}"


def subgroup_groups(name: str) -> dict[str, str]:
    """Axis -> group of a subgroup's name; {} for everyone."""
    return dict(part.split("=", 1) for part in name.split(" & ")) if "=" in name else {}


def count(
    answers: Ints, cell: Ints, subgroups: int, width: int, weight: Floats | None = None
) -> Floats:
    """[S, Q, C] respondents (or the sum of their weights) by subgroup, question and code.

    Args:
        answers: [N, Q] positions, NO_ANSWER for none.
        cell: [N] subgroup of each respondent, -1 for none.
        subgroups: S.
        width: C.
        weight: [N], or None to count heads.
    """
    sums, q, c = _sums(answers, cell, subgroups, weight)
    return _spread(sums, q, c, answers.shape[1], width)


def _sums(
    answers: Ints, cell: Ints, subgroups: int, weight: Floats | None
) -> tuple[Floats, Ints, Ints]:
    """[S, K] sums of the K pairs of question and code up to the highest given, and q, c of each."""
    questions = answers.shape[1]
    # the first bin of a question is for no answer: cheaper than to leave these out
    bins = answers.max(axis=0, initial=NO_ANSWER).astype(np.int64) - NO_ANSWER + 1
    offset = bins.cumsum() - bins
    every = int(bins.sum())
    inside = np.flatnonzero(cell >= 0)
    rows = max(1, SLAB // max(1, questions))
    sums = np.zeros(subgroups * every)
    for top in range(0, len(inside), rows):
        part = inside[top : top + rows]
        flat = np.add.outer(cell[part] * every, offset - NO_ANSWER)
        flat += answers[part]
        weights = None if weight is None else np.repeat(weight[part], questions)
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
    answers: Ints, strata: Sequence[Members], width: int, weight: Floats | None = None
) -> list[Floats]:
    """The `count` of several strata at once, one [S, Q, C] a stratum.

    Respondents who stand in the same subgroup of every stratum are counted together, once; the
    strata are sums of these few cells.

    Args:
        answers: [N, Q] positions, NO_ANSWER for none.
        strata: subgroups of each.
        width: C.
        weight: [N], or None to count heads.
    """
    finest, merge = finest_cells(strata)
    fine, q, c = _sums(answers, finest, merge.shape[1], weight)
    sums = merge @ fine
    starts = np.cumsum([members.size for members in strata])[:-1]
    return np.split(_spread(sums, q, c, answers.shape[1], width), starts)


def finest_cells(strata: Sequence[Members]) -> tuple[Ints, csr_array]:
    """The cells of respondents who stand in the same subgroup of every stratum, F in all.

    Returns:
        [N] finest cell of each respondent; [S of all strata, F] 1 where a subgroup holds a cell.
    """
    key, size = np.zeros(len(strata[0].cell), dtype=np.int64), 1
    for members in strata:
        cell, s = members.cell, members.size
        if size > 2**62 // (s + 1):
            seen, key = np.unique(key, return_inverse=True)
            size = len(seen)
        key, size = key * (s + 1) + cell + 1, size * (s + 1)
    _, first, finest = np.unique(key, return_index=True, return_inverse=True)
    of = np.stack([members.cell[first] for members in strata])  # [stratum, finest cell]
    subgroups = np.array([members.size for members in strata])
    starts = np.cumsum(subgroups) - subgroups
    stratum, part = np.nonzero(of >= 0)
    to = starts[stratum] + of[stratum, part]
    shape = (int(np.sum(subgroups)), len(first))
    return finest, csr_array((np.ones(len(to)), (to, part)), shape=shape)


def tally_strata(
    survey: EncodedSurvey,
    strata: Sequence[tuple[str, ...]],
    groups: Mapping[str, Sequence[str]],
    min_subgroup_n: int,
) -> Iterator[pd.DataFrame]:
    """The tally tables of several strata, in their order.

    Raises:
        InputError: a stratum has no subgroup that is large enough.
    """
    subgroups = strata_members(survey.groups, strata, groups, min_subgroup_n)
    for axes, members in zip(strata, subgroups, strict=True):
        if not members.size:
            raise InputError(
                f"stratum {' x '.join(axes)!r} has no subgroup of {min_subgroup_n} respondents; "
                f"the largest is {_largest(survey.groups, axes, groups)}: lower min_subgroup_n, "
                "merge groups, or take the stratum out of its split"
            )
    counts = count_strata(survey.answers, subgroups, survey.width)
    weighted = count_strata(survey.answers, subgroups, survey.width, survey.weight)
    for axes, members, heads, sums in zip(strata, subgroups, counts, weighted, strict=True):
        yield to_frame(stratum_id(axes), members, survey.scale, heads, sums)


def to_frame(
    stratum: str, subgroups: Members, scale: Scale, counts: Floats, weighted: Floats
) -> pd.DataFrame:
    """The tally table of one stratum: one row for each subgroup, question and existing code."""
    s, q, c = np.nonzero(np.broadcast_to(scale.real, counts.shape))
    return pd.DataFrame(
        {
            "stratum": stratum,
            "subgroup": np.asarray(subgroups.names, dtype=object)[s],
            "question": np.asarray(scale.questions, dtype=object)[q],
            "code": scale.codes[q, c],
            "count": counts[s, q, c].astype(np.int64),
            "weighted": weighted[s, q, c],
            "respondents": subgroups.respondents()[s],
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
