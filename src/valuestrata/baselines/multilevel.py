"""Partial pooling: a regression with penalised interactions, then poststratification.

Multinomial logistic regression on the groups of all axes and on pairs of groups of two axes,
averaged over a subgroup's cells (Gelman and Little 1997; Park, Gelman and Bafumi 2004). A ridge
penalty is the normal prior of a multilevel model, at the posterior's mode. That of interactions is
chosen by cross-validation; an infinite one, which leaves the additive model, is a candidate.

Symbols: S subgroups, Q questions, C codes, K cells of all axes together, P effects.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from valuestrata.baselines import multinomial
from valuestrata.baselines.rules import (
    PENALTY,
    filled,
    folds_of,
    members_of,
    national_mode,
    one_hot,
    strata_of,
)
from valuestrata.survey.crosstab import CrossTab, Masks
from valuestrata.survey.encoded import Floats, Ints, Scale

PENALTIES = (np.inf, 300.0, 100.0, 30.0)
"""Candidates for interactions, strongest first; main effects have PENALTY."""
MAX_QUESTIONS = 60
"""That choose a penalty, spread evenly over the survey's: it is one number for all of them."""


def partial_pooling(crosstab: CrossTab, scale: Scale, subgroups: Sequence[str]) -> Floats:
    """[S, Q, C] a multinomial logistic model with main effects and two-way interactions.

    Cross-fitted by the folds of `additive`: all respondents of a fold are left out of the fit that
    predicts it, and of the choice of its penalty.
    """
    design, is_main = two_way_design(crosstab)
    shares = np.full((len(subgroups), *scale.codes.shape), np.nan)
    for axes, places in strata_of(subgroups).items():
        fold = folds_of(crosstab, axes)
        members = {s: members_of(crosstab, [subgroups[s]])[0] for s in places}
        for f, penalty in chosen_penalties(design, is_main, crosstab.counts, fold).items():
            inside = {s: cells for s, cells in members.items() if f in fold[cells]}
            if not inside:
                continue
            share = cell_shares(design, is_main, crosstab.counts, fold == f, penalty)
            for s, cells in inside.items():
                shares[s] = np.average(share[cells], axis=0, weights=crosstab.respondents[cells])
    return filled(shares, national_mode(crosstab, scale, subgroups))


def two_way_design(crosstab: CrossTab) -> tuple[Floats, Masks]:
    """[K, P] 1 in cells of a group, and of two groups of two axes; [P] which is a main effect.

    The first column is the intercept. Pairs of groups that nobody is in have no column.
    """
    main = one_hot(crosstab)
    axis = np.repeat(np.arange(len(crosstab.axes)), [len(names) for names in crosstab.labels])
    pairs = [
        main[:, i] * main[:, j] for i, j in combinations(range(len(axis)), 2) if axis[i] < axis[j]
    ]
    columns = [np.ones(len(main)), *main.T, *(pair for pair in pairs if pair.any())]
    return np.stack(columns, axis=1), np.arange(len(columns)) <= main.shape[1]


def chosen_penalties(
    design: Floats, is_main: Masks, counts: Floats, fold: Ints
) -> dict[int, float]:
    """The penalty of interactions for each fold of a stratum, chosen without its answers.

    It is the candidate under which the answers of the other folds are likeliest, each predicted
    without itself and without the fold that the penalty is for. All questions choose together:
    answers to one of them are too few. With no other fold, or no answers, it is infinite.

    Args:
        design, is_main: as `two_way_design` gives them.
        counts: [K, Q, C].
        fold: [K], negative for cells outside the stratum.
    """
    folds = [int(f) for f in np.unique(fold[fold >= 0])]
    counts = counts[:, :: -(-counts.shape[1] // MAX_QUESTIONS)]
    loss = {f: np.zeros(len(PENALTIES)) for f in folds}
    for first, second in combinations(folds, 2):
        out = (fold == first) | (fold == second)
        for place, penalty in enumerate(PENALTIES):
            log_share = _log(cell_shares(design, is_main, counts, out, penalty))
            for mine, other in ((first, second), (second, first)):
                here = fold == other
                loss[mine][place] -= (counts[here] * log_share[here]).sum()
    return {f: PENALTIES[int(values.argmin())] for f, values in loss.items()}


def cell_shares(
    design: Floats, is_main: Masks, counts: Floats, out: Masks, penalty: float
) -> Floats:
    """[K, Q, C] predictions of models fitted without the cells `out`; NaN where nobody answered.

    Args:
        design, is_main: as `two_way_design` gives them.
        counts: [K, Q, C].
        out: [K].
        penalty: of interactions.
    """
    shares = np.full(counts.shape, np.nan)
    kept = counts[~out]
    if not kept.any():
        return shares
    used = is_main | np.isfinite(penalty)
    ridge = np.where(is_main[used], PENALTY, penalty)
    ridge[0] = 0.0
    effects = multinomial.fit(design[~out][:, used], ridge, kept)
    columns = multinomial.given_codes(kept)
    shares[:, columns.question] = 0.0
    part, _ = multinomial.shares(design[:, used] @ effects, columns)
    shares[:, columns.question, columns.code] = part
    return shares


def _log(shares: Floats) -> Floats:
    """Logarithm; 0 for a code that no fit has seen, as it tells no penalty from another."""
    return np.log(np.where(shares > 0, shares, 1.0))
