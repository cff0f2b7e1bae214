"""Differences between groups with sampling noise taken off: SD, CV, Norm.Range, shrunk scores.

Group means differ by chance alone, so their plain spread is too large, by as much as their sampling
covariance says. That covariance is taken over questions, which all groups share, so that common
questions and overlapping groups are in it. Methods, and how often the intervals hold the truth:
docs/statistics.md.
Symbols: G groups, Q questions, B draws.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from valuestrata.metrics.fairness import GroupScores, norm_range
from valuestrata.metrics.resample import percentiles, ratio

Floats = NDArray[np.float64]
Numbers = tuple[float, float, float]
"""Estimate and the ends of its interval."""
UNDEFINED = (float("nan"), float("nan"), float("nan"))

MIN_QUESTIONS = 10
"""Fewest questions that an interval of a statistic of inequality is made of."""
TRUE_DRAWS = 2000
"""Draws of all groups' true scores: B of the shrunk scores and of the corrected Norm.Range."""


@dataclass(frozen=True, eq=False)
class Spread:
    """What is left of the differences between groups without sampling noise.

    sd, cv, norm_range: estimate and interval. shrunk: [G, 3] each group's score drawn towards the
    mean by as much as noise makes up, with its interval.
    """

    sd: Numbers
    cv: Numbers
    norm_range: Numbers
    shrunk: Floats


def spread(scores: GroupScores, confidence_level: float, n_resamples: int, seed: int) -> Spread:
    """The corrected differences between groups; NaN with fewer than two groups or questions.

    With fewer than MIN_QUESTIONS questions no statistic has an interval: of two groups and three
    questions those at 95% cover 79 to 85%, of five 89 to 93%, and those of CV reach beyond 2.

    Args:
        scores: of G groups, each with a score.
        confidence_level: of the intervals.
        n_resamples: B, draws of sampling noise.
        seed: of the draws; the same for all runs, so that they share their draws.
    """
    groups, questions = scores.influence.shape
    if min(groups, questions) < 2:
        return Spread(UNDEFINED, UNDEFINED, UNDEFINED, np.full((groups, 3), np.nan))
    noise = sampling_noise(scores, n_resamples, seed)
    tau = _tau_draws(scores.means, noise.centred, noise.contrast)
    observed = float(scores.means.var())
    variance = observed - float((noise.covariance.trace()) / groups)
    estimate = max(variance, 0.0) ** 0.5
    centre = float(scores.means.mean())
    _, at_estimate = _true_scores(scores.means, noise, np.full(len(tau), estimate))
    statistics = [
        _with_ends(estimate, tau, confidence_level),
        _with_ends(
            estimate / centre if centre > 0 else float("nan"),
            ratio(tau, centre - noise.mean),
            confidence_level,
        ),
        _range(scores, noise, at_estimate, confidence_level),
    ]
    if questions < MIN_QUESTIONS:
        statistics = [(value, *UNDEFINED[1:]) for value, _, _ in statistics]
    sd, cv, norm_range = statistics
    shrunk = _shrunk(*_true_scores(scores.means, noise, tau), confidence_level)
    return Spread(sd, cv, norm_range, shrunk)


@dataclass(frozen=True, eq=False)
class Noise:
    """Sampling errors of group means.

    centred: [B, G] errors less their mean over groups. mean: [B] error of the groups' mean.
    covariance: [G, G] of the centred errors. contrast: [B, G] directions in which groups may truly
    differ, of mean 0 and standard deviation 1.
    """

    centred: Floats
    mean: Floats
    covariance: Floats
    contrast: Floats


def sampling_noise(scores: GroupScores, n_resamples: int, seed: int) -> Noise:
    """Errors of group means drawn from a t distribution with their covariance over questions."""
    groups, questions = scores.influence.shape
    multipliers = _multipliers(questions, n_resamples, seed)
    common = scores.influence.mean(axis=0)
    centred = scores.influence - common
    scale = np.sqrt(questions * (questions - 1))
    return Noise(
        centred=multipliers @ (centred.T / scale),
        mean=multipliers @ (common / scale),
        covariance=_regular_covariance(centred) / questions,
        contrast=_contrasts(groups, n_resamples, seed),
    )


@lru_cache(maxsize=2)
def _multipliers(questions: int, n_resamples: int, seed: int) -> Floats:
    """[B, Q] draws of a multivariate t with Q - 1 degrees of freedom."""
    rng = np.random.default_rng([seed, 2])
    draws = rng.standard_normal((n_resamples, questions))
    draws *= np.sqrt((questions - 1) / rng.chisquare(questions - 1, n_resamples))[:, None]
    draws.flags.writeable = False
    return draws


@lru_cache(maxsize=8)
def _contrasts(groups: int, n_resamples: int, seed: int) -> Floats:
    """[B, G] random directions of mean 0 and standard deviation 1."""
    draws = np.random.default_rng([seed, 3]).standard_normal((n_resamples, groups))
    draws -= draws.mean(axis=1, keepdims=True)
    draws /= draws.std(axis=1, keepdims=True)
    draws.flags.writeable = False
    return draws


def _regular_covariance(centred: Floats) -> Floats:
    """[G, G] covariance over questions, drawn towards its diagonal so that it has full rank.

    With more groups than questions the plain covariance is 0 in some directions, in which means
    would then seem exact. How far: Ledoit and Wolf (2004), of the correlations.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage  # a second, and the graph imports stages

    deviations = centred.std(axis=1)
    if not deviations.any():
        return np.zeros((len(centred), len(centred)))
    safe = np.where(deviations > 0, deviations, 1.0)
    scaled = (centred / safe[:, None]).T
    share = float(ledoit_wolf_shrinkage(scaled, assume_centered=True))
    covariance = centred @ centred.T / (centred.shape[1] - 1)
    diagonal = np.diag(np.diag(covariance))
    return np.asarray((1 - share) * covariance + share * diagonal)


def _tau_draws(means: Floats, errors: Floats, contrast: Floats) -> Floats:
    """[B] draws from the confidence distribution of the standard deviation of the true means.

    If it is tau, the observed variance is tau^2 + 2 tau mean(z e) + mean(e^2), with errors e and a
    contrast z. Each draw is the largest tau for which this is no more than what was observed; the
    quantiles of these draws are the ends of the interval that inverts the test of tau.
    """
    along = (errors * contrast).mean(axis=1)
    noise = (errors**2).mean(axis=1)
    # an observed variance below what noise makes on average is luck and no evidence of less noise
    observed = max(float(means.var()), float(np.mean(noise)))
    root = along**2 - noise + observed
    return np.maximum(np.sqrt(np.maximum(root, 0.0)) - along, 0.0) * (root >= 0)


def _true_scores(means: Floats, noise: Noise, tau: Floats) -> tuple[Floats, Floats]:
    """[G] expected true means given the observed ones, and [B, G] draws of them.

    Normal around the common mean with the standard deviation tau of each draw, in the directions in
    which errors are independent.
    """
    variances, directions = np.linalg.eigh(noise.covariance)
    variances = np.maximum(variances, 0.0)
    centre = means.mean()
    tau, error = tau[:TRUE_DRAWS], noise.mean[:TRUE_DRAWS]
    signal = tau[:, None] ** 2
    total = signal + variances
    share = np.divide(signal, total, out=np.zeros_like(total), where=total > 0)
    rng = np.random.default_rng(len(tau))
    expected = share * ((means - centre) @ directions)
    drawn = expected + np.sqrt(share * variances) * rng.standard_normal(total.shape)
    return (
        centre + expected.mean(axis=0) @ directions.T,
        centre - error[:, None] + drawn @ directions.T,
    )


def _range(scores: GroupScores, noise: Noise, true: Floats, confidence_level: float) -> Numbers:
    """Norm.Range of the true means: the median of draws at the estimated SD, and an interval.

    The interval holds for any pattern of groups, also where single ones lie far off, and is wide
    for it. With R the range of the logarithms of the true means, Norm.Range is 1 - exp(-R). The
    observed range exceeds R by at most the range of the errors. And it is at least the observed gap
    of the two groups that truly are the extremes, whichever they are. Each end may fail in half of
    the cases that an interval may.
    """
    means, questions = scores.means, scores.questions
    if (means <= 0).any():
        return UNDEFINED
    upper = (1 + confidence_level) / 2
    observed = float(np.log(means.max() / means.min()))
    errors = (noise.centred + noise.mean[:, None]) / means
    low = observed - float(np.quantile(np.ptp(errors, axis=1), upper))
    relative = scores.influence / means[:, None]
    covariance = relative @ relative.T / (questions * (questions - 1))
    variances = covariance.diagonal()
    widest = float(np.sqrt((variances[:, None] + variances - 2 * covariance).max()))
    high = observed + float(stdtrit(questions - 1, upper)) * widest
    low, high = (float(1 - np.exp(-max(end, 0.0))) for end in (low, high))
    return min(max(float(np.median(norm_range(true))), low), high), low, high


def _with_ends(value: float, draws: Floats, confidence_level: float) -> Numbers:
    low, high = percentiles(draws, confidence_level)
    return value, min(low, value), max(high, value)


def _shrunk(expected: Floats, true: Floats, confidence_level: float) -> Floats:
    """[G, 3] expected true mean of each group, and the central interval of its draws."""
    tail = (1 - confidence_level) / 2
    low, high = np.quantile(true, [tail, 1 - tail], axis=0)
    return np.stack([expected, low, high], axis=1)
