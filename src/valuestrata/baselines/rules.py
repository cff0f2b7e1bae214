"""Baselines: rules over the survey's counts that need no language model. All are cross-fitted.

Cross-fitted: no pair is predicted from answers of its own subgroup's respondents. They are taken
out of every count that a rule uses, which is an exact subtraction (survey/crosstab.py); so changing
the answers of a subgroup's members never changes what a rule predicts for them. Counts are
unweighted heads. Where a rule is left without an answer to go by, everyone outside the subgroup
speaks for it; where there is nobody, `uniform`. A rule of another name is a function of this module
or of one in registry.py, and a name in study/models.py.

Symbols: S subgroups, Q questions, C codes, K cells of all axes together, T subgroups of a stratum.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from valuestrata.survey import modal
from valuestrata.survey.crosstab import CrossTab, Masks
from valuestrata.survey.encoded import Floats, Ints, Scale
from valuestrata.survey.tally import subgroup_groups

NEIGHBOURS = 5
FOLDS = 4
SMOOTHING = 0.5
PENALTY = 10.0
"""Half of it times the sum of squared effects is added to the loss, which sums respondents."""
TOLERANCE = 1e-3


def uniform(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] the same share for each code of the scale; its answer is the middle code."""
    share = scale.on_scale / scale.on_scale.sum(axis=1, keepdims=True)
    return np.repeat(share[None], len(subgroups), axis=0)


def national_mode(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] the answers of everyone outside the subgroup."""
    share = modal.shares(crosstab.total(~members_of(crosstab, subgroups)))
    return filled(share, uniform(crosstab, scale, subgroups))


def first_axis(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] the answers of the subgroup's group on its stratum's first axis, less its own.

    On a stratum of a single axis nobody is left, and everyone outside the subgroup speaks.
    """
    return _one_axis(crosstab, scale, subgroups, 0)


def second_axis(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] as `first_axis`, by the stratum's second axis."""
    return _one_axis(crosstab, scale, subgroups, 1)


def axis_mode(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] mean of the distributions of the subgroup's groups on each axis, less its own."""
    means = []
    for name in subgroups:
        share = _axes(crosstab, name)
        finite = np.isfinite(share)
        total = np.where(finite, share, 0.0).sum(axis=0)
        n = finite.sum(axis=0)
        means.append(np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0))
    return filled(np.stack(means), national_mode(crosstab, scale, subgroups))


def best_axis(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] the distribution of the axis that predicts a question best in the pair's stratum.

    Chosen for each pair on the stratum's other subgroups: the axis whose groups give their
    respondents' answers the higher likelihood (half an answer added to each code), each group less
    the subgroup it predicts and less the pair's own. Ties go to the first axis.
    """
    shares = np.full((len(subgroups), *scale.codes.shape), np.nan)
    for axes, places in strata_of(subgroups).items():
        groups, masks = crosstab.cells_of(axes)
        counts = crosstab.total(masks)  # [T, Q, C]
        for s in places:
            members = members_of(crosstab, [subgroups[s]])[0]
            other = ~(masks & members).any(axis=1)
            fits = []
            for place, axis in enumerate(axes):
                in_group = crosstab.groups[:, crosstab.axis(axis)] == groups[other, place][:, None]
                rest = crosstab.total(in_group & ~masks[other] & ~members)
                fits.append(_likelihood(counts[other], rest, scale))
            choice = np.stack(fits).argmax(axis=0)  # [Q]
            shares[s] = _axes(crosstab, subgroups[s])[choice, np.arange(len(choice))]
    return filled(shares, national_mode(crosstab, scale, subgroups))


def additive(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] a multinomial logistic model with one effect for each group of each axis.

    One model a question, with a ridge penalty, on the cells of all axes with their counts as
    weights. A subgroup's prediction is the mean over its members' cells, weighted by respondents.
    Cross-fitted by FOLDS folds of the stratum's subgroups, diagonals of its grid, so that each row
    and column keeps cells: all respondents of a fold are left out, and no fit starts from another
    one's, which may have seen them.
    """
    design = one_hot(crosstab)
    shares = np.full((len(subgroups), *scale.codes.shape), np.nan)
    for axes, places in strata_of(subgroups).items():
        fold = folds_of(crosstab, axes)  # [K]
        for s in places:
            members = members_of(crosstab, [subgroups[s]])[0]
            if not members.any() or np.isfinite(shares[s]).any():
                continue
            out = fold == fold[members][0]
            share = _additive_shares(design, crosstab.counts, out)  # [K, Q, C]
            for same in places:
                inside = members_of(crosstab, [subgroups[same]])[0]
                if inside.any() and out[inside].all():
                    weights = crosstab.respondents[inside]
                    shares[same] = np.average(share[inside], axis=0, weights=weights)
    return filled(shares, national_mode(crosstab, scale, subgroups))


def nearest(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] weighted mean of the NEIGHBOURS nearest other subgroups of the same stratum.

    They share no respondent with the pair's own, so nothing needs to be taken out. Distance: the
    share of the axes on which the groups differ, plus the mean total variation distance, over all
    other questions, between the neighbour's answers and the subgroup's profile. That profile is
    what `axis_mode` predicts, as the members' own answers to other questions must not enter either.
    Weight: answers over distance.
    """
    profile = axis_mode(crosstab, scale, subgroups)
    shares = np.full(profile.shape, np.nan)
    for axes, places in strata_of(subgroups).items():
        masks = crosstab.cells_of(axes)[1]
        counts = crosstab.total(masks)
        share = modal.shares(counts)
        for s in places:
            members = members_of(crosstab, [subgroups[s]])[0]
            groups = subgroup_groups(subgroups[s]).items()
            in_group = np.stack([crosstab.group(axis, label) for axis, label in groups])  # [A, K]
            differs = 1 - (masks[:, None, :] <= in_group[None]).all(axis=2).mean(axis=1)  # [T]
            far = differs[:, None] + _elsewhere(np.abs(share - profile[s]).sum(axis=2) / 2)
            answers = counts.sum(axis=2)
            far = np.where((masks & members).any(axis=1)[:, None] | (answers == 0), np.inf, far)
            near = np.argsort(far, axis=0, kind="stable")[:NEIGHBOURS]  # [k, Q]
            weight = 1 / np.maximum(np.take_along_axis(far, near, axis=0), 1e-9)
            taken = np.take_along_axis(counts, near[:, :, None], axis=0)
            shares[s] = modal.shares((weight[:, :, None] * taken).sum(axis=0))
    return filled(shares, national_mode(crosstab, scale, subgroups))


def members_of(crosstab: CrossTab, subgroups: Sequence[str]) -> Masks:
    """[S, K] each subgroup's cells."""
    return np.stack([crosstab.subgroup(name) for name in subgroups])


def filled(share: Floats, fallback: Floats) -> Floats:
    """`share` where it exists, `fallback` where nobody answered."""
    return np.where(np.isfinite(share), share, fallback)


def _axes(crosstab: CrossTab, name: str) -> Floats:
    """[A, Q, C] answers of the subgroup's group on each of its axes, less its own; NaN for none."""
    members = crosstab.subgroup(name)
    groups = subgroup_groups(name).items()
    rest = [crosstab.group(axis, label) & ~members for axis, label in groups]
    return modal.shares(crosstab.total(np.stack(rest or [np.zeros_like(members)])))


def _one_axis(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str], place: int) -> Floats:
    none = np.full(scale.codes.shape, np.nan)
    axes = [_axes(crosstab, name) for name in subgroups]
    shares = np.stack([share[place] if place < len(share) else none for share in axes])
    return filled(shares, national_mode(crosstab, scale, subgroups))


def strata_of(subgroups: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Axes of each stratum -> positions of its subgroups; everyone is in no stratum."""
    strata: dict[tuple[str, ...], list[int]] = {}
    for s, name in enumerate(subgroups):
        if axes := tuple(subgroup_groups(name)):
            strata.setdefault(axes, []).append(s)
    return strata


def _likelihood(counts: Floats, rest: Floats, scale: Scale) -> Floats:
    """[Q] log likelihood of the answers `counts`, [T, Q, C], under shares of `rest`, smoothed."""
    added = np.where(scale.real, rest + SMOOTHING, 0.0)
    share = added / added.sum(axis=2, keepdims=True)
    return (counts * np.log(np.where(scale.real, share, 1.0))).sum(axis=(0, 2))


def _elsewhere(gap: Floats) -> Floats:
    """[T, Q] mean of a row's other columns, NaN ones left out; 1 where there are none."""
    finite = np.isfinite(gap)
    kept = np.where(finite, gap, 0.0)
    n = finite.sum(axis=1, keepdims=True) - finite
    total = kept.sum(axis=1, keepdims=True) - kept
    return np.divide(total, n, out=np.ones(gap.shape), where=n > 0)


def one_hot(crosstab: CrossTab) -> Floats:
    """[K, groups of all axes] 1 where a cell lies in a group."""
    columns: Iterator[Masks] = (
        crosstab.groups[:, a] == g
        for a, labels in enumerate(crosstab.labels)
        for g in range(len(labels))
    )
    return np.stack(list(columns), axis=1).astype(np.float64)


def folds_of(crosstab: CrossTab, axes: Sequence[str]) -> Ints:
    """[K] fold of each cell among a stratum's, -1 for cells outside the stratum."""
    here = crosstab.groups[:, [crosstab.axis(axis) for axis in axes]]
    return np.where((here >= 0).all(axis=1), here.sum(axis=1) % FOLDS, -1)


def _additive_shares(design: Floats, counts: Floats, out: Masks) -> Floats:
    """[K, Q, C] predictions of models fitted without the cells `out`; NaN where nobody answered.

    Args:
        design: [K, groups].
        counts: [K, Q, C].
        out: [K].
    """
    from sklearn.linear_model import LogisticRegression

    shares = np.full(counts.shape, np.nan)
    kept = np.where(out[:, None, None], 0.0, counts)
    for q in range(counts.shape[1]):
        k, c = np.nonzero(kept[:, q])
        given = np.unique(c)
        if len(given):
            shares[:, q] = 0.0
        if len(given) == 1:
            shares[:, q, given[0]] = 1.0
        elif len(given):
            model = LogisticRegression(C=1 / PENALTY, tol=TOLERANCE, max_iter=1000)
            model.fit(design[k], c, sample_weight=kept[k, q, c])
            shares[:, q, given] = model.predict_proba(design)
    return shares
