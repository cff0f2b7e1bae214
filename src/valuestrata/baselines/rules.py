"""Baselines: rules over the survey's counts that need no language model. All are cross-fitted.

Cross-fitted: no pair is predicted from answers of its own subgroup's respondents. They are taken
out of every count that a rule uses, which is an exact subtraction (survey/joint.py); so changing
what a subgroup's members said never changes what a rule says of them. In a study of several
countries a rule keeps to the subgroup's own, as if it were studied alone. Counts are unweighted
heads, and the answer is the mode, ties to the lowest code. Where a rule is left without an answer
to go by, everyone outside the subgroup speaks for it; where there is nobody, `uniform`.

Symbols: S subgroups, Q questions, C codes, K cells of all axes together, T subgroups of a stratum.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from valuestrata.specs import COUNTRY
from valuestrata.survey import modal
from valuestrata.survey.crosstab import CrossTab, Masks
from valuestrata.survey.tally import Floats, Ints, Scale, subgroup_groups

NEIGHBOURS = 5
FOLDS = 4
SMOOTHING = 0.5
PENALTY = 10.0
"""Half of it times the sum of squared effects is added to the loss, which sums respondents."""
TOLERANCE = 1e-3


def uniform(joint: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] the same share for each code of the scale; its answer is the middle code."""
    share = scale.on_scale / scale.on_scale.sum(axis=1, keepdims=True)
    return np.repeat(share[None], len(subgroups), axis=0)


def national_mode(joint: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] the answers of everyone outside the subgroup."""
    share = modal.shares(joint.total(~_own(joint, subgroups)))
    return _filled(share, uniform(joint, scale, subgroups))


def first_axis(joint: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] the answers of the subgroup's group on its stratum's first axis, less its own.

    On a stratum of a single axis nobody is left, and everyone outside the subgroup speaks.
    """
    return _one_axis(joint, scale, subgroups, 0)


def second_axis(joint: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] as `first_axis`, by the stratum's second axis."""
    return _one_axis(joint, scale, subgroups, 1)


def axis_mode(joint: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] mean of the distributions of the subgroup's groups on each axis, less its own."""
    means = []
    for name in subgroups:
        share = _axes(joint, name)
        known = np.isfinite(share)
        total = np.where(known, share, 0.0).sum(axis=0)
        n = known.sum(axis=0)
        means.append(np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0))
    return _filled(np.stack(means), national_mode(joint, scale, subgroups))


def best_axis(joint: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] the distribution of the axis that predicts a question best in the pair's stratum.

    Chosen for each pair on the stratum's other subgroups: the axis whose groups give their
    respondents' answers the higher likelihood (half an answer added to each code), each group less
    the subgroup it predicts and less the pair's own. Ties go to the first axis.
    """
    found = np.full((len(subgroups), *scale.codes.shape), np.nan)
    for axes, places in _strata(subgroups).items():
        groups, masks = joint.cells_of(axes)
        counts = joint.total(masks)  # [T, Q, C]
        for s in places:
            own = _own(joint, [subgroups[s]])[0]
            other = ~(masks & own).any(axis=1)
            fits = []
            for place, axis in enumerate(axes):
                in_group = joint.groups[:, joint.axis(axis)] == groups[other, place][:, None]
                rest = joint.total(in_group & ~masks[other] & ~own)
                fits.append(_likelihood(counts[other], rest, scale))
            choice = np.stack(fits).argmax(axis=0)  # [Q]
            found[s] = _axes(joint, subgroups[s])[choice, np.arange(len(choice))]
    return _filled(found, national_mode(joint, scale, subgroups))


def additive(joint: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] a multinomial logistic model with one effect for each group of each axis.

    One model a question, with a ridge penalty, on the cells of all axes with their counts as
    weights. A subgroup's prediction is the mean over its members' cells, weighted by respondents.
    Cross-fitted by FOLDS folds of the stratum's subgroups, diagonals of its grid, so that each row
    and column keeps cells: all respondents of a fold are left out, and no fit starts from another
    one's, which may have seen them.
    """
    design = _one_hot(joint)
    found = np.full((len(subgroups), *scale.codes.shape), np.nan)
    for axes, places in _strata(subgroups).items():
        fold = _folds(joint, axes)  # [K]
        for s in places:
            own = _own(joint, [subgroups[s]])[0]
            if not own.any() or np.isfinite(found[s]).any():
                continue
            out = fold == fold[own][0]
            share = _additive_shares(design, joint.counts, out)  # [K, Q, C]
            for same in places:
                cells = _own(joint, [subgroups[same]])[0]
                if cells.any() and out[cells].all():
                    found[same] = np.average(share[cells], axis=0, weights=joint.respondents[cells])
    return _filled(found, national_mode(joint, scale, subgroups))


def nearest(joint: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] weighted mean of the NEIGHBOURS nearest other subgroups of the same stratum.

    They share no respondent with the pair's own, so nothing needs to be taken out. Distance: the
    share of the axes on which the groups differ, plus the mean total variation distance, over all
    other questions, between the neighbour's answers and the subgroup's profile. That profile is
    what `axis_mode` says, as the members' own answers to other questions must not enter either.
    Weight: answers over distance.
    """
    profile = axis_mode(joint, scale, subgroups)
    found = np.full(profile.shape, np.nan)
    for axes, places in _strata(subgroups).items():
        masks = joint.cells_of(axes)[1]
        counts = joint.total(masks)
        share = modal.shares(counts)
        for s in places:
            own = _own(joint, [subgroups[s]])[0]
            wanted = list(subgroup_groups(subgroups[s]).items())
            in_group = np.stack([joint.group(*one) for one in wanted])  # [A, K]
            differs = 1 - (masks[:, None, :] <= in_group[None]).all(axis=2).mean(axis=1)  # [T]
            far = differs[:, None] + _elsewhere(np.abs(share - profile[s]).sum(axis=2) / 2)
            answers = counts.sum(axis=2)
            far = np.where((masks & own).any(axis=1)[:, None] | (answers == 0), np.inf, far)
            near = np.argsort(far, axis=0, kind="stable")[:NEIGHBOURS]  # [k, Q]
            weight = 1 / np.maximum(np.take_along_axis(far, near, axis=0), 1e-9)
            taken = np.take_along_axis(counts, near[:, :, None], axis=0)
            found[s] = modal.shares((weight[:, :, None] * taken).sum(axis=0))
    return _filled(found, national_mode(joint, scale, subgroups))


Rule = Callable[[CrossTab, Scale, Sequence[str]], Floats]

RULES: dict[str, Rule] = {
    "uniform": uniform,
    "national_mode": national_mode,
    "first_axis": first_axis,
    "second_axis": second_axis,
    "axis_mode": axis_mode,
    "best_axis": best_axis,
    "additive": additive,
    "nearest": nearest,
}


def about(rule: str) -> str:
    """What answered, for the predictions' column `weights`."""
    return rule if rule == "uniform" else f"{rule}, without the subgroup"


def predict(
    rule: str, pairs: pd.DataFrame, joint: CrossTab, scale: Scale
) -> tuple[Ints, list[Floats]]:
    """What a rule says of each pair: [n] the code, and the shares of its question's codes."""
    subgroups = list(dict.fromkeys(pairs["subgroup"]))
    share = np.empty((len(subgroups), *scale.codes.shape))
    for places, names, own in _by_country(joint, subgroups):
        share[places] = RULES[rule](own, scale, names)
    s = pd.Index(subgroups).get_indexer(pd.Index(pairs["subgroup"]))
    q = pd.Index(scale.questions).get_indexer(pd.Index(pairs["question"]))
    answer = _middle(scale)[q] if rule == "uniform" else modal.modes(share)[s, q]
    code = scale.codes[q, answer]
    return code, [share[i, j, scale.real[j]] for i, j in zip(s, q, strict=True)]


def _by_country(
    joint: CrossTab, subgroups: Sequence[str]
) -> Iterator[tuple[list[int], list[str], CrossTab]]:
    """Places of the subgroups within each country, their names in it, and the country's cells.

    Where a country is itself the subgroup, or there is only one, the cells are all.
    """
    places: dict[str, list[int]] = {}
    for s, name in enumerate(subgroups):
        groups = subgroup_groups(name)
        within = groups.get(COUNTRY, "") if len(groups) > 1 else ""
        places.setdefault(within, []).append(s)
    for country, own in places.items():
        names = [subgroups[s] for s in own]
        if country:
            yield own, [n.partition(" & ")[2] for n in names], joint.within(COUNTRY, country)
        else:
            yield own, names, joint


def _middle(scale: Scale) -> Ints:
    """[Q] position of the middle one of the scale's codes, the lower of two."""
    nth = scale.on_scale.cumsum(axis=1) - 1
    return (scale.on_scale & (nth == (nth[:, -1:] // 2))).argmax(axis=1)


def _own(joint: CrossTab, subgroups: Sequence[str]) -> Masks:
    """[S, K] each subgroup's cells."""
    return np.stack([joint.subgroup(name) for name in subgroups])


def _filled(share: Floats, fallback: Floats) -> Floats:
    """`share` where it exists, `fallback` where nobody answered."""
    return np.where(np.isfinite(share), share, fallback)


def _axes(joint: CrossTab, name: str) -> Floats:
    """[A, Q, C] answers of the subgroup's group on each of its axes, less its own; NaN for none."""
    own = joint.subgroup(name)
    rest = [joint.group(*one) & ~own for one in subgroup_groups(name).items()]
    return modal.shares(joint.total(np.stack(rest or [np.zeros_like(own)])))


def _one_axis(joint: CrossTab, scale: Scale, subgroups: Sequence[str], place: int) -> Floats:
    none = np.full(scale.codes.shape, np.nan)
    found = [_axes(joint, name) for name in subgroups]
    share = np.stack([f[place] if place < len(f) else none for f in found])
    return _filled(share, national_mode(joint, scale, subgroups))


def _strata(subgroups: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Axes of each stratum -> positions of its subgroups; everyone is in no stratum."""
    found: dict[tuple[str, ...], list[int]] = {}
    for s, name in enumerate(subgroups):
        if axes := tuple(subgroup_groups(name)):
            found.setdefault(axes, []).append(s)
    return found


def _likelihood(counts: Floats, rest: Floats, scale: Scale) -> Floats:
    """[Q] log likelihood of the answers `counts`, [T, Q, C], under shares of `rest`, smoothed."""
    added = np.where(scale.real, rest + SMOOTHING, 0.0)
    share = added / added.sum(axis=2, keepdims=True)
    return (counts * np.log(np.where(scale.real, share, 1.0))).sum(axis=(0, 2))


def _elsewhere(gap: Floats) -> Floats:
    """[T, Q] mean of a row's other columns, NaN ones left out; 1 where there are none."""
    known = np.isfinite(gap)
    kept = np.where(known, gap, 0.0)
    n = known.sum(axis=1, keepdims=True) - known
    total = kept.sum(axis=1, keepdims=True) - kept
    return np.divide(total, n, out=np.ones(gap.shape), where=n > 0)


def _one_hot(joint: CrossTab) -> Floats:
    """[K, groups of all axes] 1 where a cell lies in a group."""
    columns: Iterator[Masks] = (
        joint.groups[:, a] == g for a, some in enumerate(joint.labels) for g in range(len(some))
    )
    return np.stack(list(columns), axis=1).astype(np.float64)


def _folds(joint: CrossTab, axes: Sequence[str]) -> Ints:
    """[K] fold of each cell among a stratum's, -1 for cells outside the stratum."""
    here = joint.groups[:, [joint.axis(axis) for axis in axes]]
    return np.where((here >= 0).all(axis=1), here.sum(axis=1) % FOLDS, -1)


def _additive_shares(design: Floats, counts: Floats, out: Masks) -> Floats:
    """[K, Q, C] what models fitted without the cells `out` say of each cell; NaN where no answer.

    Args:
        design: [K, groups].
        counts: [K, Q, C].
        out: [K].
    """
    from sklearn.linear_model import LogisticRegression

    found = np.full(counts.shape, np.nan)
    kept = np.where(out[:, None, None], 0.0, counts)
    for q in range(counts.shape[1]):
        k, c = np.nonzero(kept[:, q])
        given = np.unique(c)
        if len(given):
            found[:, q] = 0.0
        if len(given) == 1:
            found[:, q, given[0]] = 1.0
        elif len(given):
            model = LogisticRegression(C=1 / PENALTY, tol=TOLERANCE, max_iter=1000)
            model.fit(design[k], c, sample_weight=kept[k, q, c])
            found[:, q, given] = model.predict_proba(design)
    return found
