"""Human ceilings: what can be reached against labels that come from a sample of people.

Split half: how well one random half of a subgroup predicts the other. The first half's mode and
distribution predict the second's. Drawing the first half's counts from the multivariate
hypergeometric distribution is the same as dealing out respondents, question by question, and needs
no respondent. Halves are half as large as the sample that labels a pair, so it is a cautious
figure: against the whole sample a model can score above it, as rules that pool people often do.

Noise ceiling: what a model would score that knew what all people of a subgroup answer, against the
label of a sample as large as the survey's, estimated by the parametric bootstrap: the survey's
shares are taken for those of all people, samples of the same size are drawn from them, and these
shares' mode and distribution predict the sample's. A sample's shares are more extreme than its
people's, so with few respondents it is a little too high: by 0.02 in accuracy with 30 answers, by
less than 0.01 from 60 on (tests/test_ceiling.py).

Reachable score: the same, with the shares of all people drawn by partial pooling instead. It has no
such excess for the smallest subgroups, so that it can tell whether subgroups are served unequally,
or only labelled unequally well (metrics/fairness.py).

All count heads, whatever weights the study's labels carry.

Symbols: R splits or samples, S subgroups, Q questions, C codes.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from valuestrata.metrics import distribution, ordinal, resample
from valuestrata.study.evaluation import Evaluation
from valuestrata.survey import modal
from valuestrata.survey.encoded import Floats, Ints, Scale
from valuestrata.survey.partial_pooling import pool_shares
from valuestrata.survey.tally import Tally, from_frame, subgroup_groups
from valuestrata.tables import PAIR

METRICS = ("accuracy", "nmae", "wasserstein")
ALL = "all"
SPLIT_HALF, NOISE_CEILING = "split_half", "noise_ceiling"
REACHABLE = {"accuracy": "reachable_accuracy", "nmae": "reachable_nmae"}
"""Metrics of a modal answer, and the columns of the score that perfect knowledge would reach."""
DRAWS = 50
"""Splits, and samples, of each subgroup: R."""


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
        with_code = np.broadcast_to(counts[..., c], rest.shape)
        rest = rest - with_code
        taken = rng.hypergeometric(with_code, rest, wanted)
        wanted = wanted - taken
        first.append(taken)
    half = np.stack(first, axis=-1)
    return half, counts[None] - half


def prediction_scores(
    predicting: Ints | Floats, predicted: Ints, scale: Scale
) -> dict[str, Floats]:
    """[R, S, Q] by metric: how well the first counts predict the second; NaN where they cannot.

    Counts without an answer have neither mode nor distribution; nominal questions have no distance.
    """
    answered = (predicting.sum(axis=-1) > 0) & (predicted.sum(axis=-1) > 0)
    first, second = predicting.astype(np.float64), predicted.astype(np.float64)
    place = np.arange(len(scale.questions))
    answer = np.where(answered, scale.codes[place, modal.modes(first)], np.nan)
    true = scale.codes[place, modal.modes(second)].astype(np.float64)
    scale_min, scale_max = scale.scale_min.astype(np.float64), scale.scale_max.astype(np.float64)
    pairs = (
        int(np.prod(predicting.shape[:2])),
        1,
    )  # the questions' scales, once a split and subgroup
    w1 = distribution.wasserstein(
        first.reshape(-1, first.shape[-1]),
        second.reshape(-1, second.shape[-1]),
        np.tile(scale.codes.astype(np.float64), pairs),
        np.tile(scale_min, pairs[0]),
        np.tile(scale_max, pairs[0]),
    ).reshape(answered.shape)
    return {
        "accuracy": ordinal.accuracy(answer, true),
        "nmae": ordinal.nmae(answer, true, scale_min, scale_max, scale.ordinal),
        "wasserstein": np.where(scale.ordinal & answered, w1, np.nan),
    }


def samples(counts: Ints, draws: int, rng: np.random.Generator) -> Ints:
    """[R, S, Q, C] answers of new samples, as large as those of `counts` [S, Q, C], R of each."""
    n = counts.sum(axis=-1)
    share = counts / np.maximum(n, 1)[..., None]
    share[..., -1] = np.where(n == 0, 1.0, share[..., -1])  # of nobody, nobody is drawn
    return rng.multinomial(n, share, size=(draws, *n.shape))


def stratum_ceilings(
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
        ceiling: {metric: _mean(v) for metric, v in prediction_scores(*both, scale).items()}
        for ceiling, both in drawn.items()
    }


def reachable_scores(
    stratum: str, counts: Floats, scale: Scale, draws: int, seed: int
) -> dict[str, Floats]:
    """[S, Q] accuracy and NMAE that perfect knowledge of a stratum's subgroups would reach.

    True shares are drawn by partial pooling, and a sample from each draw; the true mode predicts
    the sample's. NaN where nobody answered.
    """
    rng = np.random.default_rng([seed, 1, *stratum.encode()])
    pooled = pool_shares(counts, scale)
    n = counts.sum(axis=-1).astype(np.int64)
    sums: dict[str, Floats] = {}
    for spread in pooled.draw_spread(draws, rng):  # one by one: few draws fit into a cache
        noise = pooled.gaussian_noise(2, rng)
        true = np.maximum(pooled.draw_shares(spread[None], noise[:1], noise[1:]), 0.0)
        true /= true.sum(axis=-1, keepdims=True)
        scores = prediction_scores(true, rng.multinomial(n, true), scale)
        for metric, column in REACHABLE.items():
            sums[column] = sums.get(column, 0.0) + scores[metric][0] / draws
    return sums


def _mean(values: Floats) -> Floats:
    """[S, Q] mean of the finite values over the draws, [R, S, Q]."""
    finite = np.isfinite(values)
    return resample.ratio(np.where(finite, values, 0.0).sum(axis=0), finite.sum(axis=0))


# Tables --------------------------------------------------------------------------------------


def pair_ceilings(tally: pd.DataFrame, scale: Scale, draws: int, seed: int) -> pd.DataFrame:
    """A row for each subgroup and question of a stratum's tally: PAIR, q, and a column `CEILING
    METRIC` for each ceiling and metric."""
    arrays = from_frame(tally, scale)
    stratum = arrays.strata[0]
    s, q = np.indices(arrays.counts.shape[:2]).reshape(2, -1)
    frame = pd.DataFrame(
        {
            "stratum": stratum,
            "subgroup": np.asarray(arrays.subgroups, dtype=object)[s],
            "question": np.asarray(scale.questions, dtype=object)[q],
            "q": q,
        }
    )
    columns = {
        _column(ceiling, metric): values.reshape(-1)
        for ceiling, by_metric in stratum_ceilings(
            stratum, arrays.counts, scale, draws, seed
        ).items()
        for metric, values in by_metric.items()
    }
    return frame.assign(**columns)


def pair_reachable(tally: Tally, scale: Scale, draws: int, seed: int) -> pd.DataFrame:
    """A row for each subgroup and question of a tally: PAIR, and the columns of REACHABLE."""
    strata = np.asarray(tally.strata, dtype=object)
    frames = []
    for stratum in dict.fromkeys(tally.strata):
        rows = np.flatnonzero(strata == stratum)
        scores = reachable_scores(stratum, tally.counts[rows], scale, draws, seed)
        s, q = np.indices((len(rows), len(scale.questions))).reshape(2, -1)
        names = np.asarray(tally.subgroups, dtype=object)[rows]
        questions = np.asarray(scale.questions, dtype=object)
        about = {"stratum": stratum, "subgroup": names[s], "question": questions[q]}
        columns = {column: values.reshape(-1) for column, values in scores.items()}
        frames.append(pd.DataFrame({**about, **columns}))
    return pd.concat(frames, ignore_index=True)


def _column(ceiling: str, metric: str) -> str:
    return f"{ceiling} {metric}"


def noise_ceiling(pairs: pd.DataFrame) -> pd.DataFrame:
    """PAIR and the noise ceiling's metrics, of `pair_ceilings`."""
    return pairs[PAIR].assign(**{m: pairs[_column(NOISE_CEILING, m)] for m in METRICS})


def ceiling_rows(
    pairs_of_splits: Mapping[str, pd.DataFrame], evaluation: Evaluation
) -> Iterator[dict[str, Any]]:
    """Rows of the table of ceilings: each split's levels and groups, then all pairs together.

    Args:
        pairs_of_splits: `pair_ceilings` and measurement_level of each split's pairs.
        evaluation: of the intervals.
    """
    for split, pairs in pairs_of_splits.items():
        for level, group, members in _levels(pairs):
            about = {"split": split, "level": level, "group": group}
            yield from _rows(about, members, evaluation)
    every = pd.concat(list(pairs_of_splits.values())).drop_duplicates(PAIR)
    yield from _rows({"split": ALL, "level": ALL, "group": ALL}, every, evaluation)


def _levels(pairs: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Level, group and pairs: all, each subgroup, and each axis' groups in whatever stratum."""
    yield ALL, ALL, pairs
    for subgroup, members in pairs.groupby("subgroup", sort=False):
        yield "subgroups", str(subgroup), members
    names = pairs["subgroup"].unique()
    groups = pd.DataFrame([subgroup_groups(name) for name in names], index=names)
    for axis in groups:
        for group in groups[axis].dropna().unique():
            inside = groups.index[groups[axis] == group]
            yield str(axis), str(group), pairs[pairs["subgroup"].isin(inside)]


def _rows(
    about: dict[str, Any], pairs: pd.DataFrame, evaluation: Evaluation
) -> Iterator[dict[str, Any]]:
    """A row a ceiling and metric; only ordinal questions have a distance."""
    for ceiling, metric in product((SPLIT_HALF, NOISE_CEILING), METRICS):
        scored = pairs if metric == "accuracy" else pairs[pairs["measurement_level"] == "ordinal"]
        values = scored[_column(ceiling, metric)].to_numpy(dtype=np.float64)
        interval = mean_over_questions(values, scored["q"].to_numpy(), evaluation)
        yield {"ceiling": ceiling, **about, "metric": metric, **interval}


def mean_over_questions(
    values: Floats, question: Ints, evaluation: Evaluation
) -> dict[str, float | int]:
    """Mean of [n] values with its interval over questions, how many there are and are missing.

    Args:
        values: [n], NaN for missing.
        question: [n] question of each, any numbering.
        evaluation: of the interval.
    """
    cluster = np.unique(question, return_inverse=True)[1]
    n = int(np.isfinite(values).sum())
    value, low, high = resample.mean_with_interval(
        values, cluster, evaluation.n_resamples, evaluation.confidence_level, evaluation.seed
    )
    return {"value": value, "ci_low": low, "ci_high": high, "n": n, "missing": len(values) - n}


def select_ceiling(
    ceilings: pd.DataFrame, ceiling: str, split: str, level: str = ALL, group: str = ALL
) -> dict[str, dict[str, object]]:
    """Metric -> value, ci_low, ci_high, n and missing, of a split or of one of a level's groups."""
    wanted = {"ceiling": ceiling, "split": split, "level": level, "group": group}
    rows = ceilings[(ceilings[list(wanted)] == list(wanted.values())).all(axis=1)]
    kept = rows.set_index("metric")[["value", "ci_low", "ci_high", "n", "missing"]]
    return {str(metric): dict(kept.loc[metric]) for metric in kept.index}
