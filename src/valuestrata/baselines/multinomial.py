"""Penalised multinomial logistic regressions of many questions on one design, all fitted at once.

scikit-learn fits one question after another, which for a survey and all folds takes minutes; here
one product of matrices serves all questions, as they share a design. A test compares the fits.
Symbols: K cells, P effects, Q questions, C codes, R questions with answers, J columns: the codes
that anybody gave to these, question after question.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from valuestrata.errors import InputError
from valuestrata.metrics.resample import ratio
from valuestrata.survey.encoded import Floats, Ints

TOLERANCE = 0.1
"""Log likelihood that a question's fit may lack, of all its respondents together."""
MAX_STEPS = 2000
RECENT = 5
LEAST_VARIANCE = 1e-3


@dataclass(frozen=True)
class GivenCodes:
    """Question and code of each column, both [J]; where each question's begin, [R]; how many."""

    question: Ints
    code: Ints
    starts: Ints
    sizes: Ints

    def total(self, values: Floats) -> Floats:
        """[..., R] sum over the codes of each question."""
        return np.add.reduceat(values, self.starts, axis=-1)

    def repeat(self, values: Floats) -> Floats:
        """[..., J] each question's value, [..., R], at each of its codes."""
        return np.repeat(values, self.sizes, axis=-1)


def given_codes(counts: Floats) -> GivenCodes:
    """The columns of counts, [K, Q, C]."""
    question, code = np.nonzero(counts.any(axis=0))
    _, starts, sizes = np.unique(question, return_index=True, return_counts=True)
    return GivenCodes(question, code, starts, sizes)


def shares(utility: Floats, columns: GivenCodes) -> tuple[Floats, Floats]:
    """[K, J] shares of each question's codes, and [K, R] the log of their normalising constant."""
    top = np.maximum.reduceat(utility, columns.starts, axis=-1)
    odds = np.exp(utility - columns.repeat(top))
    total = columns.total(odds)
    return odds / columns.repeat(total), np.log(total) + top


def fit(design: Floats, penalty: Floats, counts: Floats, tolerance: float = TOLERANCE) -> Floats:
    """Effects on the log odds of the codes that were given, [P, J] by `given_codes`.

    The loss is the answers' negative log likelihood plus half the sum of penalty times squared
    effect. Steps have the lengths of Barzilai and Borwein (1988), one a question, in coordinates
    in which the curvature of the loss is about 1; a question's step that ends above its last
    losses is taken again, shorter (Raydan 1997).

    Args:
        design: [K, P], with an intercept as first column.
        penalty: [P], 0 for the intercept.
        counts: [K, Q, C] answers by cell; somebody gave one.
        tolerance: how far a question's loss may be above the least, to second order.

    Raises:
        InputError: a fit does not end.
    """
    columns = given_codes(counts)
    answers = counts[:, columns.question, columns.code]
    n = columns.total(answers)
    overall = answers.sum(axis=0) / columns.repeat(n.sum(axis=0))
    ridge = np.diag(penalty)
    information = (design.T * n.mean(axis=1)) @ design + ridge
    share, basis = eigh(ridge, information)  # of the information, what the penalty is: [P]
    share = np.clip(share, 0, 1)[:, None]
    curvature = (1 - share) * np.maximum(overall * (1 - overall), LEAST_VARIANCE) + share
    turned = design @ basis
    score = turned.T @ answers

    def per_question(first: Floats, second: Floats) -> Floats:
        return columns.total((first * second).sum(axis=0))

    def evaluate(effects: Floats) -> tuple[Floats, Floats]:
        """[R] loss and [P, J] its gradient."""
        part, constant = shares(turned @ effects, columns)
        penalised = share * effects
        loss = (n * constant).sum(axis=0) + per_question(penalised / 2 - score, effects)
        return loss, turned.T @ (part * columns.repeat(n)) - score + penalised

    effects = np.outer(basis.T @ information[:, 0], np.log(overall))  # the null model
    loss, gradient = evaluate(effects)
    recent = np.tile(loss, (RECENT, 1))
    length = np.ones(len(loss))
    for _ in range(MAX_STEPS):
        direction = gradient / curvature
        if per_question(gradient, direction).max() < 2 * tolerance:
            return basis @ effects
        trial = effects - columns.repeat(length) * direction
        trial_loss, trial_gradient = evaluate(trial)
        good = trial_loss <= recent.max(axis=0) + 1e-9 * np.abs(loss)
        step, bend = trial - effects, trial_gradient - gradient
        new_length = ratio(per_question(step * curvature, step), per_question(step, bend))
        length = np.where(good, np.where(new_length > 0, new_length, 1.0), length / 4)
        keep = columns.repeat(good)
        effects, gradient = np.where(keep, trial, effects), np.where(keep, trial_gradient, gradient)
        loss = np.where(good, trial_loss, loss)
        recent = np.vstack([recent[1:], loss])
    raise InputError(f"partial_pooling: no fit after {MAX_STEPS} steps")
