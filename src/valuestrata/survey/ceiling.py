"""Human ceilings: how well one random half of a subgroup predicts the other half.

A question's answerers are split at random; the first half's mode and distribution predict the
second's. Drawing the first half's counts from the multivariate hypergeometric distribution is the
same as dealing out respondents, question by question, and needs no respondent. Halves are half as
large as the sample that labels a pair, so they are noisier than a label, and the figure is
a cautious ceiling: a perfect model of the people can score above it against the whole sample.

Symbols: R splits, S subgroups, Q questions, C codes.
"""

import numpy as np
import pandas as pd

from valuestrata.metrics import distribution, ordinal, resample
from valuestrata.specs import Evaluation
from valuestrata.survey import modal
from valuestrata.survey.tally import Floats, Ints, Scale

METRICS = ("accuracy", "nmae", "wasserstein")
ALL = "all"


def halves(counts: Ints, splits: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Two [R, S, Q, C] of answers by random halves; the second has the odd answerer.

    Args:
        counts: [S, Q, C] answers.
        splits: R.
        rng: where the draws come from.

    The multivariate hypergeometric distribution, code by code: how many of those with this code
    are among those still to be drawn, out of all with this code or a later one.
    """
    rest = np.repeat(counts.sum(axis=-1)[None], splits, axis=0)
    wanted = rest // 2
    first = []
    for c in range(counts.shape[-1]):
        here = np.broadcast_to(counts[..., c], rest.shape)
        rest = rest - here
        taken = rng.hypergeometric(here, rest, wanted)
        wanted = wanted - taken
        first.append(taken)
    one = np.stack(first, axis=-1)
    return one, counts[None] - one


def agreement(one: Ints, other: Ints, scale: Scale) -> dict[str, Floats]:
    """[R, S, Q] by metric: how well the first half predicts the second; NaN where it cannot.

    A half without an answer has neither mode nor distribution; nominal questions have no distance.
    """
    asked = (one.sum(axis=-1) > 0) & (other.sum(axis=-1) > 0)
    first, second = one.astype(np.float64), other.astype(np.float64)
    place = np.arange(len(scale.questions))
    answer = np.where(asked, scale.codes[place, modal.modes(first)], np.nan)
    true = scale.codes[place, modal.modes(second)].astype(np.float64)
    lowest, highest = scale.lowest.astype(np.float64), scale.highest.astype(np.float64)
    pairs = (int(np.prod(one.shape[:2])), 1)  # the questions' scales, once a split and subgroup
    w1 = distribution.wasserstein(
        first.reshape(-1, first.shape[-1]),
        second.reshape(-1, second.shape[-1]),
        np.tile(scale.codes.astype(np.float64), pairs),
        np.tile(lowest, pairs[0]),
        np.tile(highest, pairs[0]),
    ).reshape(asked.shape)
    return {
        "accuracy": ordinal.accuracy(answer, true),
        "nmae": ordinal.nmae(answer, true, lowest, highest, scale.ordinal),
        "wasserstein": np.where(scale.ordinal & asked, w1, np.nan),
    }


def of_stratum(
    stratum: str, counts: Floats, scale: Scale, splits: int, seed: int
) -> dict[str, Floats]:
    """[S, Q] by metric, the mean over the splits; NaN where no split has a value.

    The draws depend on the seed and the stratum alone, so a new stratum moves no other's figures.
    """
    rng = np.random.default_rng([seed, *stratum.encode()])
    one, other = halves(counts.astype(np.int64), splits, rng)
    return {k: _mean(v) for k, v in agreement(one, other, scale).items()}


def row(values: Floats, question: Ints, evaluation: Evaluation) -> dict[str, float | int]:
    """Mean of [n] values with its interval over questions, how many there are and are missing.

    Args:
        values: [n], NaN for missing.
        question: [n] question of each, any numbering.
        evaluation: of the interval.
    """
    e = evaluation
    cluster = np.unique(question, return_inverse=True)[1]
    n = int(np.isfinite(values).sum())
    value, low, high = resample.mean_with_interval(values, cluster, e.resamples, e.level, e.seed)
    return {"value": value, "low": low, "high": high, "n": n, "missing": len(values) - n}


def figures(
    ceilings: pd.DataFrame, split: str, stratum: str = ALL, subgroup: str = ALL
) -> dict[str, dict[str, object]]:
    """Metric -> value, low, high, n and missing, of a split or of one of its subgroups."""
    own = ceilings[
        (ceilings["split"] == split)
        & (ceilings["stratum"] == stratum)
        & (ceilings["subgroup"] == subgroup)
    ]
    kept = own.set_index("metric")[["value", "low", "high", "n", "missing"]]
    return {str(metric): dict(kept.loc[metric]) for metric in kept.index}


def _mean(values: Floats) -> Floats:
    """[S, Q] mean of the finite values over the splits, [R, S, Q]."""
    known = np.isfinite(values)
    return resample.ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))
