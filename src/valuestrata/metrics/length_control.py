"""Length-controlled win rates. Pure array functions.

Symbols: n comparisons of a run with the reference, R runs compared on the same n prompts, K
clusters of prompts.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from valuestrata.metrics.clustered import (
    MIN_CLUSTERS,
    NAN,
    ClusteredEstimate,
    bounded_interval,
    clustered_mean,
)

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
MIN_COMPARISONS = 30
"""Fewest comparisons of a run that a length-controlled win rate is made of."""
MIN_OVERLAP = 0.05
"""Share of texts on either side of equal length below which the rate is an extrapolation."""
PENALTY = 10.0
"""C of scikit-learn: prior variance of the effects of length and difficulty, on the logit scale."""
DIFFICULTY_VARIANCE = 1.0
"""Prior variance of a prompt's difficulty, on the logit scale."""


@dataclass(frozen=True)
class LengthControlled:
    """A length-controlled win rate, and what is doubtful about it, '' for nothing."""

    estimate: ClusteredEstimate
    note: str = ""


def length_controlled(
    scores: Floats,
    length_differences: Floats,
    difficulty: Floats,
    cluster: NDArray[np.intp],
    confidence_level: float,
) -> LengthControlled:
    """Win rate that a run would have if its texts were as long as the reference's.

    The estimator of AlpacaEval 2 (Dubois et al. 2024, Length-Controlled AlpacaEval, COLM): a
    logistic regression of the preference on tanh(difference in characters / its standard
    deviation), the difficulty of the prompt and a constant, predicted for every prompt at a
    difference of 0, averaged. As there, scores between 0 and 1 count as shares of a win, and the
    standard deviation is the run's own. What differs:

    - The reference is one run of the study; a score is the mean of both orders, so position bias
      cancels. AlpacaEval draws one order.
    - Difficulty is not a stored table of 805 instructions: it is estimated from the study's other
      runs on the same prompt (`difficulties`), never from the run itself.
    - A ridge of fixed size (`PENALTY`) on length and difficulty, none on the constant, in place of
      an L1 penalty chosen by cross-validation. So with equal lengths the rate is the plain one.
    - No extra data of verbose and concise baselines holds the effect of length in check, so a run
      that is always longer is extrapolated: `note` says so.
    - It has an interval: clustered sandwich variance, difficulty taken as given, and
      `bounded_interval`. On 8 to 60 questions x 3 or 4 it covers 91 to 97% (a test simulates it).

    n needed: below 30 comparisons there is no value. The interval's half-width is about
    1 / sqrt(n) where lengths overlap: .18 at 30 comparisons, .10 at 100, .04 at 700.

    Args:
        scores: [n] 0 to 1, NaN for missing.
        length_differences: [n] characters more than the reference.
        difficulty: [n] of each prompt, on the logit scale, 0 where it is not known.
        cluster: [n] index of each prompt's cluster.
        confidence_level: coverage.
    """
    valid = np.isfinite(scores)
    y, lengths, gamma = scores[valid], length_differences[valid], difficulty[valid]
    nothing = ClusteredEstimate(NAN, NAN, NAN, NAN, len(np.unique(cluster[valid])))
    if len(y) < MIN_COMPARISONS:
        return LengthControlled(nothing, f"fewer than {MIN_COMPARISONS} comparisons")
    if not lengths.any() or np.ptp(y) == 0:
        return LengthControlled(clustered_mean(y, cluster[valid], confidence_level, null=0.5))
    if np.ptp(lengths) == 0:
        return LengthControlled(nothing, "all texts differ from the reference's by one length")
    model = _fit(y, np.stack([length_term(lengths), gamma], axis=1))
    estimate = _estimate(model, y, length_term(lengths), gamma, cluster[valid], confidence_level)
    shorter, longer = (float(np.mean(side)) for side in (lengths <= 0, lengths >= 0))
    note = ""
    if min(shorter, longer) < MIN_OVERLAP:
        word = "longer" if shorter < longer else "shorter"
        note = f"extrapolated: {1 - min(shorter, longer):.0%} of its texts are {word}"
    return LengthControlled(estimate, note)


def length_term(differences: Floats) -> Floats:
    """[n] tanh of the differences over their standard deviation; 0 where all are alike.

    >>> length_term(np.array([-100.0, 0.0, 100.0])).round(3)
    array([-0.762,  0.   ,  0.762])
    """
    deviation = differences.std(ddof=1) if len(differences) > 1 else 0.0
    return np.tanh(differences / deviation) if deviation > 0 else np.zeros_like(differences)


def difficulties(scores: Floats, length_differences: Floats) -> Floats:
    """[n, R] how hard each prompt is to lose, for each run from the other runs' scores alone.

    Each run's scores are fitted by its constant and its length term. A prompt's difficulty is the
    effect that the other runs' residuals on it share: one Newton step, from 0, of its effect in a
    logistic regression with a ridge, sum of residuals / (sum of p (1 - p) + 1 / variance). 0
    without another run.

    Args:
        scores: [n, R], NaN for missing; runs that are compared with themselves left out.
        length_differences: [n, R] characters more than the reference.
    """
    residuals, information = np.zeros_like(scores), np.zeros_like(scores)
    for run in range(scores.shape[1]):
        valid = np.isfinite(scores[:, run])
        y = scores[valid, run]
        if len(y) < 2 or np.ptp(y) == 0:
            continue
        features = length_term(length_differences[valid, run])[:, None]
        p = _fit(y, features).predict_proba(features)[:, 1]
        residuals[valid, run], information[valid, run] = y - p, p * (1 - p)
    others = [each.sum(axis=1, keepdims=True) - each for each in (residuals, information)]
    return others[0] / (others[1] + 1 / DIFFICULTY_VARIANCE)


def _fit(scores: Floats, features: Floats) -> "LogisticRegression":
    """Logistic regression of scores that are shares: each row is a win and a loss, weighted."""
    from sklearn.linear_model import LogisticRegression  # a second, and the graph imports stages

    rows = np.concatenate([features, features])
    wins = np.repeat([1, 0], len(scores))
    model = LogisticRegression(C=PENALTY, solver="newton-cholesky", tol=1e-8, max_iter=200)
    return model.fit(rows, wins, sample_weight=np.concatenate([scores, 1 - scores]))


def _estimate(
    model: "LogisticRegression",
    scores: Floats,
    length: Floats,
    difficulty: Floats,
    cluster: NDArray[np.intp],
    confidence_level: float,
) -> ClusteredEstimate:
    """Mean prediction at equal lengths, with its clustered sandwich standard error."""
    ones = np.ones_like(scores)
    seen = np.stack([ones, length, difficulty], axis=1)
    equal = np.stack([ones, 0 * ones, difficulty], axis=1)
    weights = np.concatenate([model.intercept_, model.coef_[0]])
    p, at_equal = (1 / (1 + np.exp(-features @ weights)) for features in (seen, equal))
    ridge = np.diag([0.0, 1.0, 1.0]) / PENALTY
    hessian = (seen * (p * (1 - p))[:, None]).T @ seen + ridge
    gradient = (equal * (at_equal * (1 - at_equal))[:, None]).mean(axis=0)
    value = float(at_equal.mean())
    # what each comparison adds to the estimate: by the weights, and as a prompt that is predicted
    influence = (scores - p) * (seen @ np.linalg.solve(hessian, gradient))
    influence += (at_equal - value) / len(scores)
    _, index, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    n_clusters = len(counts)
    if n_clusters < MIN_CLUSTERS:
        return ClusteredEstimate(value, NAN, NAN, NAN, n_clusters)
    spread = float((np.bincount(index, influence) ** 2).sum())
    error = float(np.sqrt(n_clusters / (n_clusters - 1) * spread))
    return bounded_interval(value, error, counts.astype(np.float64), confidence_level, null=0.5)
