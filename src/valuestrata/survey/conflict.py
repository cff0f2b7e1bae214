"""Conflict scores of a question: Modal Diversity Score and mean Wasserstein distance.

Symbols: B resamples, S subgroups, Q questions, C codes. "..." may be B or nothing.
"""

import numpy as np
from numpy.typing import NDArray

from valuestrata.survey.encoded import Floats, Ints, Scale

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
    counts = np.bincount(place.ravel(), minlength=int(np.prod(lead)) * questions * (width + 1))
    counts = counts.reshape(*lead, questions, width + 1)[..., :width]
    entered = present.sum(axis=-2)
    share = counts / np.maximum(entered, 1)[..., None]
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    # modes off the scale can be more than the scale has points
    points = np.maximum(scale.width, (share > 0).sum(axis=-1))
    bound = np.minimum(entered, points)
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
    entered = enters.sum(axis=-2)
    size = weighted.shape[-3]
    # sum_i (2i - entered + 1) F_(i), with S for entered and then mended
    gaps = ordered @ (2.0 * np.arange(size) - size + 1)
    gaps += ordered.sum(axis=-1) * (size - entered)[..., q]
    gaps *= step[q, c]
    sums = np.zeros((*gaps.shape[:-1], len(scale.questions)))
    scored, first = np.unique(q, return_index=True)
    if len(scored):
        sums[..., scored] = np.add.reduceat(gaps, first, axis=-1)
    pairs = entered * (entered - 1) / 2
    span = (scale.scale_max - scale.scale_min) * np.where(pairs > 0, pairs, np.nan)
    return np.asarray(np.where(scale.ordinal, sums / span, np.nan))
