"""Differences between groups, question by question, with a test that holds for few questions, too.

Answers of all groups to a question share its wording, and subgroups share respondents, so questions
are the clusters: a difference's standard error comes from how much it varies over them.
Symbols: G differences, Q questions, M models.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from valuestrata.metrics.clustered import extreme_reach
from valuestrata.metrics.resample import FEW_EXCEPTIONS, ratio

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
NAN = float("nan")
MIN_QUESTIONS = 3
"""Fewest questions that an interval and a test are made of."""
MIN_MODELS = 4
"""Fewest models that an effect is generalised from."""
FEW_GAPS = 2 * FEW_EXCEPTIONS
"""The error of fewer questions that differ has no more degrees of freedom than these."""
ROUNDING = 1e-12
"""What is smaller comes from adding up in another order."""


@dataclass(frozen=True, eq=False)
class Effects:
    """G differences and what each question contributes to their errors.

    value: [G] NaN where nothing can be compared. influence: [G, Q] errors sum to that of the value.
    questions: [G] questions in it. effective: [G] as many equally weighted questions would count as
    much; where few questions differ at all, no more than those. is_flat: [G] whether no score
    varies over questions, on either side: groups that never refuse are no copies of each other.
    """

    value: Floats
    influence: Floats
    questions: Floats
    effective: Floats
    is_flat: Flags

    @property
    def error(self) -> Floats:
        """[G] standard error, linearised and clustered by question; NaN below MIN_QUESTIONS."""
        scale = ratio(self.questions, self.questions - 1)
        error = np.sqrt(scale * (self.influence**2).sum(axis=1))
        return np.where(self.questions >= MIN_QUESTIONS, error, np.nan)

    @property
    def df(self) -> Floats:
        """[G] degrees of freedom of the error, at least 1."""
        return np.maximum(self.effective - 1, 1.0)


def totals(values: Floats, member: Floats) -> tuple[Floats, Floats]:
    """[G, Q] sums and counts of the finite `values` [S, Q] of the members [G, S]."""
    finite = np.isfinite(values)
    return member @ np.where(finite, values, 0.0), member @ finite.astype(np.float64)


def matched_difference(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Effects:
    """First minus second within each question that both have, averaged over those questions.

    Common support: a group that answered only easy questions gains nothing by it. A question counts
    by n1 n2 / (n1 + n2), the weight of least variance.

    Args:
        first: sums and counts [G, Q].
        second: sums and counts [G, Q].
    """
    n1, n2 = first[1], second[1]
    weight = np.nan_to_num(ratio(n1 * n2, n1 + n2))
    means = [np.nan_to_num(ratio(*side)) for side in (first, second)]
    gap = np.where(weight > 0, means[0] - means[1], 0.0)
    total = weight.sum(axis=1)
    value = ratio((weight * gap).sum(axis=1), total)
    centred = weight * (gap - np.nan_to_num(value)[:, None])
    effects = _effects(value, np.nan_to_num(ratio(centred, total[:, None])), weight)
    differing = ((weight > 0) & (np.abs(gap) > ROUNDING)).sum(axis=1)
    most = np.where(differing < FEW_GAPS, np.maximum(differing, 1), np.inf)
    effective = np.minimum(effects.effective, most)
    is_flat = np.all([_spans_nothing(each, weight > 0) for each in means], axis=0)
    return replace(effects, effective=effective, is_flat=is_flat)


def _spans_nothing(values: Floats, where: Flags) -> Flags:
    """[G] whether the values [G, Q] of each row are equal, of those that count."""
    highest = np.where(where, values, -np.inf).max(axis=1, initial=-np.inf)
    lowest = np.where(where, values, np.inf).min(axis=1, initial=np.inf)
    return np.asarray(highest - lowest < ROUNDING)


def difference_of_means(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Effects:
    """First mean minus second, whatever questions each has; both [G, Q] sums and counts.

    For verdicts, of which a subgroup has a few questions that others lack.
    """
    means, errors = [], []
    for sums, n in (first, second):
        total = n.sum(axis=1)
        mean = ratio(sums.sum(axis=1), total)
        means.append(mean)
        errors.append(ratio(sums - np.nan_to_num(mean)[:, None] * n, total[:, None]))
    value = means[0] - means[1]
    influence = np.nan_to_num(errors[0] - errors[1])
    return _effects(value, influence, np.where(np.isfinite(value)[:, None], first[1], 0.0))


def clustered_mean_effect(values: Floats, cluster: NDArray[np.intp]) -> Effects:
    """The mean of the finite `values` [n] as one effect, with `cluster` [n] as its questions."""
    finite = np.isfinite(values)
    size = int(cluster.max()) + 1 if len(cluster) else 0
    sums = np.bincount(cluster[finite], values[finite], minlength=size)[None]
    n = np.bincount(cluster[finite], minlength=size).astype(np.float64)[None]
    value = ratio(sums.sum(axis=1), n.sum(axis=1))
    influence = ratio(sums - np.nan_to_num(value)[:, None] * n, n.sum(axis=1)[:, None])
    return _effects(value, np.nan_to_num(influence), n)


def _effects(value: Floats, influence: Floats, weight: Floats) -> Effects:
    questions = (weight > 0).sum(axis=1).astype(np.float64)
    effective = ratio(weight.sum(axis=1) ** 2, (weight**2).sum(axis=1))
    value, influence = (np.where(np.abs(x) < ROUNDING, 0.0, x) for x in (value, influence))
    never = np.zeros(len(value), dtype=bool)
    return Effects(value, influence, questions, np.nan_to_num(effective), never)


def interval(effects: Effects, confidence_level: float) -> tuple[Floats, Floats]:
    """[G] ends of Student's t interval of differences between scores of 0 to 1.

    Where all questions differ alike there is no variance to see: each then counts as one
    observation, and so large a share of all questions may differ otherwise as that many would miss.
    Scores that vary and are the same on both sides are copies, and the interval has no width.
    """
    value, error = effects.value, effects.error
    half = error * stdtrit(effects.df, (1 + confidence_level) / 2)
    is_alike = (error == 0) & ((value != 0) | effects.is_flat)
    share = np.where(is_alike, extreme_reach(effects.questions, confidence_level), 0.0)
    return value - half - (1 + value) * share, value + half + (1 - value) * share


def two_sided(effects: Effects) -> Floats:
    """[G] p-values of a difference of 0, by Student's t.

    Never below 2^(1 - Q), the least that flipping the signs of Q questions could give: a few
    questions that agree by luck prove little. 1 where nothing varies around 0, NaN where there is
    no error.
    """
    value, error = effects.value, effects.error
    t = np.abs(np.divide(value, error, out=np.full(value.shape, np.inf), where=error > 0))
    p = np.maximum(2 * stdtr(effects.df, -t), 2.0 ** (1 - effects.questions))
    p = np.where((error == 0) & (value == 0), 1.0, np.minimum(p, 1.0))
    return np.where(np.isfinite(error) & np.isfinite(value), p, np.nan)


@dataclass(frozen=True)
class Consistency:
    """An effect over models: its mean with interval and p, and how far models agree on its sign.

    between_sd: standard deviation of the models' true effects, as far as questions do not explain
    it. same_sign: models with the sign of the mean.
    """

    value: float
    ci_low: float
    ci_high: float
    p_value: float
    between_sd: float
    models: int
    same_sign: int


def over_models(value: Floats, influence: Floats, confidence_level: float) -> Consistency:
    """One effect in M models, crossed random effects of models and questions.

    Models answer the same questions and are scored by the same labels, so their errors go
    together: a meta-analysis of independent studies would take a shared error for M of its own.
    Here the error of the mean is what the mean varies by over questions, shared errors included,
    plus the variance between models / M; that variance is what is left of the models' variance
    once the errors that they do not share are taken off (DerSimonian and Laird's moments, with
    covariances). Degrees of freedom after Satterthwaite.

    Args:
        value: [M] effects.
        influence: [M, Q] their questions' contributions (see Effects).
        confidence_level: of the interval; no ends and no p with fewer than MIN_MODELS models, whose
            variance between models cannot be told, or MIN_QUESTIONS questions.
    """
    valid = np.isfinite(value)
    value, influence = value[valid], influence[valid]
    models = len(value)
    if not models:
        return Consistency(NAN, NAN, NAN, NAN, NAN, 0, 0)
    mean = float(value.mean())
    same = int((np.sign(value) == np.sign(mean)).sum())
    questions = int((np.abs(influence).sum(axis=0) > 0).sum())
    if models < MIN_MODELS or questions < MIN_QUESTIONS:
        return Consistency(mean, NAN, NAN, NAN, NAN, models, same)
    covariance = influence @ influence.T * questions / (questions - 1)
    off = (covariance.sum() - covariance.trace()) / (models * (models - 1))
    between = max(float(value.var(ddof=1)) - float(covariance.trace() / models - off), 0.0)
    parts = np.array([covariance.sum() / models**2, between / models])
    error = float(np.sqrt(parts.sum()))
    least_p = 2.0 ** (1 - questions)  # as of a single model, see `two_sided`
    if error == 0:
        p = 1.0 if mean == 0 else least_p
        return Consistency(mean, NAN, NAN, p, 0.0, models, same)
    df = float(parts.sum() ** 2 / (parts**2 / np.array([questions - 1, models - 1])).sum())
    half = error * float(stdtrit(df, (1 + confidence_level) / 2))
    p = max(float(2 * stdtr(df, -abs(mean) / error)), least_p)
    return Consistency(mean, mean - half, mean + half, p, between**0.5, models, same)
