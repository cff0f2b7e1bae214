"""How much the subgroups of a stratum disagree: Modal Diversity Score and Wasserstein distance.

Symbols: B resamples, N respondents, S subgroups, Q questions, C codes. "..." may be B or nothing.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from valuestrata.survey.tally import Floats, Ints, Scale, finest_cells

BEHIND = 2.0
"""Stands in for the share of a subgroup that does not enter: larger than any."""


def modal_diversity(modes: Ints, present: NDArray[np.bool_], scale: Scale) -> Floats:
    """[..., Q] Modal Diversity Score, 0 (one mode for all) to 1 (as spread as can be).

    H = -sum_m p(m) log2 p(m) over the modes m of the subgroups, divided by
    log2 min(subgroups present, points of the scale); NaN with fewer than two subgroups
    (paper.md, Conflict scores).

    Args:
        modes: [..., S, Q] positions of the modal codes.
        present: [..., S, Q] whether a subgroup has enough answers to have a mode.
        scale: the questions' scales.
    """
    *lead, questions = modes.shape[:-2] + modes.shape[-1:]
    width = scale.codes.shape[1]
    # one bin a (resample, question, code); those who have no mode go to a bin of their own
    bins = np.arange(int(np.prod(lead)) * questions).reshape(*lead, 1, questions) * (width + 1)
    place = bins + np.where(present, modes, width)
    found = np.bincount(place.ravel(), minlength=int(np.prod(lead)) * questions * (width + 1))
    found = found.reshape(*lead, questions, width + 1)[..., :width]
    here = present.sum(axis=-2)
    share = found / np.maximum(here, 1)[..., None]
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    # modes off the scale can be more than the scale has points
    points = np.maximum(scale.width, (share > 0).sum(axis=-1))
    bound = np.minimum(here, points)
    widest = np.where(bound > 1, np.log2(np.maximum(bound, 2)), np.nan)
    return np.asarray(np.abs((share * logs).sum(axis=-1)) / widest)


def mean_wasserstein(weighted: Floats, present: NDArray[np.bool_], scale: Scale) -> Floats:
    """[..., Q] mean over pairs of subgroups of the Wasserstein-1 distance, scale width 1.

    Codes off the scale are left out and the rest sums to 1; nominal questions are NaN. With the
    cumulative shares F sorted over the S subgroups, sum over pairs |F_i - F_j| is
    sum_i (2i - S + 1) F_(i), i from 0, so no pair is ever formed.

    Args:
        weighted: [..., S, Q, C] weighted counts.
        present: [..., S, Q] whether a subgroup enters.
        scale: the questions' scales.
    """
    step = np.diff(scale.codes, axis=1, append=scale.codes[:, -1:])
    step = np.where(scale.on_scale & np.roll(scale.on_scale, -1, axis=1), step, 0)
    # only these cumulative shares enter: not padding, not the last code's, which is 1
    q, c = np.nonzero((step > 0) & scale.ordinal[:, None])
    cumulative = weighted * scale.on_scale
    for code in range(1, scale.codes.shape[1]):  # cumsum is slow on a short axis
        cumulative[..., code] += cumulative[..., code - 1]
    total = cumulative[..., -1]
    enters = present & (total > 0)
    flat = cumulative.reshape(*total.shape[:-1], -1)
    # absent subgroups sort behind all others and get weight 0
    below = np.take(flat, q * scale.codes.shape[1] + c, axis=-1)
    below /= np.where(enters, total, 1.0)[..., q]
    if not enters.all():
        below[~enters[..., q]] = BEHIND
    # contiguous numbers sort many times faster: subgroups to the end
    ordered = np.ascontiguousarray(np.swapaxes(below, -1, -2))
    ordered.sort(axis=-1)
    ordered[ordered == BEHIND] = 0.0
    here = enters.sum(axis=-2)
    size = weighted.shape[-3]
    # sum_i (2i - here + 1) F_(i), with S for here and then mended
    gaps = ordered @ (2.0 * np.arange(size) - size + 1)
    gaps += ordered.sum(axis=-1) * (size - here)[..., q]
    gaps *= step[q, c]
    sums = np.zeros((*gaps.shape[:-1], len(scale.questions)))
    some, first = np.unique(q, return_index=True)
    if len(some):
        sums[..., some] = np.add.reduceat(gaps, first, axis=-1)
    pairs = here * (here - 1) / 2
    span = (scale.scale_max - scale.scale_min) * np.where(pairs > 0, pairs, np.nan)
    return np.asarray(np.where(scale.ordinal, sums / span, np.nan))


def respondent_draws(respondents: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """[B, N] how often each respondent is drawn in each bootstrap resample; rows sum to N.

    All strata share the draws: the same people stand in several of them.
    """
    rng = np.random.default_rng(seed)
    share = np.full(respondents, 1 / respondents)
    return rng.multinomial(respondents, share, size=resamples).astype(np.float32)


def resampled_counts(
    encoded: Ints,
    cell: Ints,
    subgroups: int,
    width: int,
    weight: Floats,
    draws: NDArray[np.float32],
    slab: int = 64,
) -> Iterator[tuple[Floats, Floats]]:
    """Tallies of bootstrap resamples, a slab of resamples at a time.

    Each is a product of draws [B, n] with one-hot answers [n, Q*C]; no respondent is visited twice.

    Yields:
        counts and weighted counts, each [B, S, Q, C].
    """
    questions = encoded.shape[1]
    hot = _one_hot(encoded, width)
    rows = [np.flatnonzero(cell == s) for s in range(subgroups)]
    answers = [hot[own] for own in rows]
    weights = weight.astype(np.float32)
    for start in range(0, len(draws), slab):
        part = draws[start : start + slab]
        heads = np.empty((len(part), subgroups, questions * width), dtype=np.float32)
        sums = np.empty_like(heads)
        for s, own in enumerate(rows):
            drawn = part[:, own]
            heads[:, s] = drawn @ answers[s]
            sums[:, s] = (drawn * weights[own]) @ answers[s]
        shape = (len(part), subgroups, questions, width)
        yield heads.reshape(shape).astype(np.float64), sums.reshape(shape).astype(np.float64)


def permuted_counts(
    encoded: Ints,
    cells: Sequence[Ints],
    subgroups: Sequence[int],
    width: int,
    weight: Floats,
    permutations: int,
    seed: int,
    slab: int = 16,
    block: Ints | None = None,
) -> Iterator[list[tuple[Floats, Floats]]]:
    """Tallies of all strata if subgroups meant nothing, a slab of permutations at a time.

    Respondents change places: each is dealt another one's subgroups, of all strata at once, and
    brings along answers, gaps and weight. So subgroups keep their sizes and strata their overlap,
    and the answers of one respondent stay together: a mean over questions or strata varies as it
    should, which drawing each question's table from its margins (multivariate hypergeometric)
    would understate. Everyone takes part, those in no subgroup of a stratum too. As gaps move, a
    question that whole subgroups were not asked is compared on fewer answers than were given; noise
    makes subgroups differ, so the null then lies high and its p-values err on the cautious side.

    Args:
        encoded: [N, Q] positions, NO_ANSWER for none.
        cells: for each stratum [N] subgroup of each respondent, -1 for none.
        subgroups: S of each stratum.
        width: C.
        weight: [N].
        permutations: B.
        seed: of the permutations.
        slab: permutations at a time.
        block: [N] respondents change places within their block alone; None for one block.

    Yields:
        For each stratum counts and weighted counts, each [B, S, Q, C].
    """
    respondents, questions = encoded.shape
    hot = _one_hot(encoded, width)
    finest, merge = finest_cells(cells, subgroups)
    rng = np.random.default_rng([seed, 1])  # not the bootstrap's
    ends = np.cumsum(subgroups)[:-1]
    everyone = np.zeros(respondents, dtype=np.int64) if block is None else block
    blocks = [np.flatnonzero(everyone == b) for b in np.unique(everyone)]
    for start in range(0, permutations, slab):
        size = min(slab, permutations - start)
        dealt = np.empty((size, respondents), dtype=np.int64)
        for own in blocks:
            dealt[:, own] = rng.permuted(np.tile(own, (size, 1)), axis=1)
        who = dealt.ravel()
        place = (np.arange(size)[:, None] * merge.shape[1] + finest).ravel()
        every = sparse.kron(sparse.eye_array(size), merge, format="csr").astype(np.float32)
        tallies = []
        for each in (np.ones(len(who)), weight[who]):
            shape = (size * merge.shape[1], respondents)
            fine = sparse.csr_array((each.astype(np.float32), (place, who)), shape=shape) @ hot
            sums = (every @ fine).reshape(size, -1, questions, width)
            tallies.append(np.split(sums.astype(np.float64), ends, axis=1))
        yield list(zip(*tallies, strict=True))


def _one_hot(encoded: Ints, width: int) -> NDArray[np.float32]:
    """[N, Q * C] 1 where a respondent gave a code; a row of a question without answer is 0."""
    hot = encoded[:, :, None] == np.arange(width)
    return hot.reshape(len(encoded), -1).astype(np.float32)
