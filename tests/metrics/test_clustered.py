"""Means over few or many clusters: what their intervals cover."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from valuestrata.metrics.clustered import clustered_mean, extreme_interval

LEVEL = 0.95


def test_it_is_students_interval_on_the_logit_scale() -> None:
    values = np.random.default_rng(1).random(12)
    got = clustered_mean(values, np.arange(12), LEVEL, null=0.4)
    mean, error = values.mean(), stats.sem(values)
    reach = error / (mean * (1 - mean)) * stats.t.ppf(0.975, 11)
    assert got[:3] == pytest.approx((mean, expit(logit(mean) - reach), expit(logit(mean) + reach)))
    assert got.clusters == 12
    # with bounds far away it is the plain interval and test
    far = clustered_mean(values, np.arange(12), LEVEL, (-1e4, 1e4), 0.4)
    theirs = stats.ttest_1samp(values, 0.4)
    low, high = theirs.confidence_interval(LEVEL)
    assert far[:4] == pytest.approx((mean, low, high, theirs.pvalue), rel=1e-4)
    # interval and test agree
    at_end = clustered_mean(values, np.arange(12), LEVEL, null=got.ci_low)
    assert at_end.p_value == pytest.approx(1 - LEVEL)


def test_values_of_one_cluster_are_not_independent() -> None:
    values = np.random.default_rng(1).random(12)
    once = clustered_mean(values, np.arange(12), LEVEL, null=0.4)
    tenfold = clustered_mean(np.repeat(values, 10), np.repeat(np.arange(12), 10), LEVEL, null=0.4)
    assert tenfold == pytest.approx(once)


def test_hard_cases() -> None:
    cluster = np.array([0, 0, 1, 1, 2, 2])
    nan = float("nan")
    assert np.isnan(clustered_mean(np.full(6, nan), cluster, LEVEL)[:4]).all()
    # two clusters have a mean and nothing else
    two = clustered_mean(np.array([1.0, 0.5, 0.5, 0.0, nan, nan]), cluster, LEVEL, null=0.5)
    assert two.value == 0.5
    assert np.isnan(two[1:4]).all()
    assert two.clusters == 2
    # alike, but at no bound: a copy of the reference
    assert clustered_mean(np.full(6, 0.5), cluster, LEVEL, null=0.5) == (0.5, 0.5, 0.5, 1.0, 3)
    assert clustered_mean(np.zeros(6), cluster, LEVEL, (-1.0, 1.0), 0.0)[:4] == (0, 0, 0, 1)
    # at a bound: no certainty from three clusters
    always = clustered_mean(np.ones(6), cluster, LEVEL, null=0.5)
    assert always[:4] == pytest.approx((1, 0.025 ** (1 / 3), 1, 0.25))
    never = clustered_mean(np.zeros(6), cluster, LEVEL)
    assert (never.ci_low, never.ci_high) == pytest.approx((0, 1 - 0.025 ** (1 / 3)))
    assert np.isnan(never.p_value)
    for k in (1, 5, 40):
        exact = stats.binomtest(0, k).proportion_ci(LEVEL).high
        assert extreme_interval(0.0, (0.0, 1.0), k, LEVEL)[1] == pytest.approx(exact)
    # never beyond the bounds
    wide = clustered_mean(np.array([0, 0, 0, 1, 1, 1.0]), cluster, LEVEL)
    assert 0 < wide.ci_low < 0.5 < wide.ci_high < 1


def world(rng: np.random.Generator, n: int, largest: int, base: float) -> tuple[np.ndarray, ...]:
    """Scores in two orders with position bias, ties, and an effect of each question."""
    sizes = rng.integers(1, largest + 1, n)
    cluster = np.repeat(np.arange(n), sizes)
    effect = rng.normal(0, 1, n)[cluster]
    orders = []
    for bias in (0.5, -0.5):
        wins = rng.random(len(cluster)) < expit(base + effect + bias)
        orders.append(np.where(rng.random(len(cluster)) < 0.2, 0.5, wins))
    return np.mean(orders, axis=0), cluster


def test_intervals_cover_at_few_questions_as_at_many() -> None:
    rng = np.random.default_rng(3)
    effects = rng.normal(0, 1, 200_000)
    for base in (0.0, 1.5):
        means = [expit(base + effects + bias).mean() for bias in (0.5, -0.5)]
        truth = 0.1 + 0.8 * float(np.mean(means))
        for n, largest in ((3, 12), (5, 1), (5, 40), (10, 1), (10, 12), (30, 4), (60, 12)):
            covered = 0
            for _ in range(300):
                scores, cluster = world(rng, n, largest, base)
                got = clustered_mean(scores, cluster, LEVEL)
                covered += got.ci_low <= truth <= got.ci_high
            assert covered / 300 >= 0.92, (base, n, largest, covered / 300)
