"""Human ceilings: what can be reached against labels that come from a sample of people.

half: how well one random half of a subgroup predicts the other. The first half's mode and
distribution predict the second's. Drawing the first half's counts from the multivariate
hypergeometric distribution is the same as dealing out respondents, question by question, and needs
no respondent. Halves are half as large as the sample that labels a pair, so it is a cautious
figure: against the whole sample a model can score above it, as rules that pool people often do.

known: what a model would score that knew what all people of a subgroup answer, against the label of
a sample as large as the survey's (a noise ceiling, estimated by the parametric bootstrap): the
shares found are taken for those of all people, samples of the same size are drawn from them, and
the known mode and distribution predict the sample's. A sample's shares are more extreme than
its people's, so with few respondents it is a little too high: by 0.02 in accuracy with 30 answers,
by less than 0.01 from 60 on (tests/test_ceiling.py).

Both count heads, whatever weights the study's labels carry.

Symbols: R splits or samples, S subgroups, Q questions, C codes.
"""

import numpy as np
import pandas as pd

from valuestrata.metrics import distribution, ordinal, resample
from valuestrata.specs import Evaluation
from valuestrata.survey import modal
from valuestrata.survey.tally import Floats, Ints, Scale

METRICS = ("accuracy", "nmae", "wasserstein")
ALL = "all"
SPLIT_HALF, NOISE_CEILING = "split_half", "noise_ceiling"


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
    """[R, S, Q] by metric: how well the first counts predict the second; NaN where they cannot.

    Counts without an answer have neither mode nor distribution; nominal questions have no distance.
    """
    asked = (one.sum(axis=-1) > 0) & (other.sum(axis=-1) > 0)
    first, second = one.astype(np.float64), other.astype(np.float64)
    place = np.arange(len(scale.questions))
    answer = np.where(asked, scale.codes[place, modal.modes(first)], np.nan)
    true = scale.codes[place, modal.modes(second)].astype(np.float64)
    scale_min, scale_max = scale.scale_min.astype(np.float64), scale.scale_max.astype(np.float64)
    pairs = (int(np.prod(one.shape[:2])), 1)  # the questions' scales, once a split and subgroup
    w1 = distribution.wasserstein(
        first.reshape(-1, first.shape[-1]),
        second.reshape(-1, second.shape[-1]),
        np.tile(scale.codes.astype(np.float64), pairs),
        np.tile(scale_min, pairs[0]),
        np.tile(scale_max, pairs[0]),
    ).reshape(asked.shape)
    return {
        "accuracy": ordinal.accuracy(answer, true),
        "nmae": ordinal.nmae(answer, true, scale_min, scale_max, scale.ordinal),
        "wasserstein": np.where(scale.ordinal & asked, w1, np.nan),
    }


def samples(counts: Ints, draws: int, rng: np.random.Generator) -> Ints:
    """[R, S, Q, C] answers of new samples, as large as those of `counts` [S, Q, C], R of each."""
    n = counts.sum(axis=-1)
    share = counts / np.maximum(n, 1)[..., None]
    share[..., -1] = np.where(n == 0, 1.0, share[..., -1])  # of nobody, nobody is drawn
    return rng.multinomial(n, share, size=(draws, *n.shape))


def of_stratum(
    stratum: str, counts: Floats, scale: Scale, draws: int, seed: int
) -> dict[str, dict[str, Floats]]:
    """Of each ceiling [S, Q] by metric, the mean over the draws; NaN where none has a value.

    The draws depend on the seed and the stratum alone, so a new stratum moves no other's figures.
    """
    rng = np.random.default_rng([seed, *stratum.encode()])
    whole = counts.astype(np.int64)
    drawn = {
        SPLIT_HALF: halves(whole, draws, rng),
        NOISE_CEILING: (np.broadcast_to(whole, (draws, *whole.shape)), samples(whole, draws, rng)),
    }
    return {
        kind: {metric: _mean(values) for metric, values in agreement(*two, scale).items()}
        for kind, two in drawn.items()
    }


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
    return {"value": value, "ci_low": low, "ci_high": high, "n": n, "missing": len(values) - n}


def figures(
    ceilings: pd.DataFrame, kind: str, split: str, level: str = ALL, group: str = ALL
) -> dict[str, dict[str, object]]:
    """Metric -> value, low, high, n and missing, of a split or of one of a level's groups."""
    wanted = {"ceiling": kind, "split": split, "level": level, "group": group}
    own = ceilings[(ceilings[list(wanted)] == list(wanted.values())).all(axis=1)]
    kept = own.set_index("metric")[["value", "ci_low", "ci_high", "n", "missing"]]
    return {str(metric): dict(kept.loc[metric]) for metric in kept.index}


def _mean(values: Floats) -> Floats:
    """[S, Q] mean of the finite values over the draws, [R, S, Q]."""
    known = np.isfinite(values)
    return resample.ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))
