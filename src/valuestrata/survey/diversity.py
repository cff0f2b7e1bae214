"""How much the subgroups of a stratum disagree: Modal Diversity Score and Wasserstein distance.

Symbols: B resamples, N respondents, S subgroups, Q questions, C codes. "..." may be B or nothing.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from valuestrata.survey.tally import Floats, Ints, Scale


def modal_diversity(modes: Ints, present: NDArray[np.bool_], scale: Scale) -> Floats:
    """[..., Q] Modal Diversity Score, 0 (one mode for all) to 1 (as spread as can be).

    H = -sum_m p(m) log2 p(m) over the modes m of the subgroups, divided by
    log2 min(subgroups present, points of the scale); NaN with fewer than two subgroups
    (paper.md, Conflict scores).

    Args:
        modes: [..., S, Q] positions of the modal codes.
        present: [S, Q] whether a subgroup has enough answers to have a mode.
        scale: the questions' scales.
    """
    codes = np.arange(scale.codes.shape[1])
    with_mode = (modes[..., None] == codes) & present[..., None]
    share = with_mode.sum(axis=-3) / np.maximum(present.sum(axis=0), 1)[:, None]
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    # modes off the scale can be more than the scale has points
    points = np.maximum(scale.width, (share > 0).sum(axis=-1))
    bound = np.minimum(present.sum(axis=0), points)
    widest = np.where(bound > 1, np.log2(np.maximum(bound, 2)), np.nan)
    return np.asarray(np.abs((share * logs).sum(axis=-1)) / widest)


def mean_wasserstein(weighted: Floats, present: NDArray[np.bool_], scale: Scale) -> Floats:
    """[..., Q] mean over pairs of subgroups of the Wasserstein-1 distance, scale width 1.

    Codes off the scale are left out and the rest sums to 1; nominal questions are NaN. With the
    cumulative shares F sorted over the S subgroups, sum over pairs |F_i - F_j| is
    sum_i (2i - S + 1) F_(i), i from 0, so no pair is ever formed.

    Args:
        weighted: [..., S, Q, C] weighted counts.
        present: [S, Q] whether a subgroup enters.
        scale: the questions' scales.
    """
    inside = np.where(scale.on_scale, weighted, 0.0)
    total = inside.sum(axis=-1, keepdims=True)
    enters = present[..., None] & (total > 0)
    cumulative = inside.cumsum(axis=-1) / np.where(total > 0, total, 1.0)
    # absent subgroups sort behind all others and get weight 0
    ordered = np.sort(np.where(enters, cumulative, np.inf), axis=-3)
    here = enters.sum(axis=-3)
    rank = np.arange(weighted.shape[-3])[:, None, None]
    weight = np.where(rank < here[..., None, :, :], 2 * rank - here[..., None, :, :] + 1, 0)
    gaps = (weight * np.where(weight == 0, 0.0, ordered)).sum(axis=-3)
    step = np.diff(scale.codes, axis=1, append=scale.codes[:, -1:])
    step = np.where(scale.on_scale & np.roll(scale.on_scale, -1, axis=1), step, 0)
    pairs = here[..., 0] * (here[..., 0] - 1) / 2
    span = (scale.highest - scale.lowest) * np.where(pairs > 0, pairs, np.nan)
    return np.asarray(np.where(scale.ordinal, (gaps * step).sum(axis=-1) / span, np.nan))


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
    hot = (encoded[:, :, None] == np.arange(width)).reshape(len(encoded), -1).astype(np.float32)
    rows = [np.flatnonzero(cell == s) for s in range(subgroups)]
    for start in range(0, len(draws), slab):
        part = draws[start : start + slab]
        heads = np.empty((len(part), subgroups, questions * width), dtype=np.float32)
        sums = np.empty_like(heads)
        for s, own in enumerate(rows):
            heads[:, s] = part[:, own] @ hot[own]
            sums[:, s] = (part[:, own] * weight[own].astype(np.float32)) @ hot[own]
        shape = (len(part), subgroups, questions, width)
        yield heads.reshape(shape).astype(np.float64), sums.reshape(shape).astype(np.float64)
