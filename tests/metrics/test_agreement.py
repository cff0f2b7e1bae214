"""Agreement of raters equals what scikit-learn and the krippendorff package say."""

import warnings
from itertools import product

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from valuestrata.metrics import agreement as raters
from valuestrata.metrics.resample import cluster_draws

C = 3
POWERS = {1: "linear", 2: "quadratic"}


def rated(n: int, n_raters: int, seed: int, missing: float = 0.0) -> np.ndarray:
    """Ratings that agree in part, some left out."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(C, size=n, p=[0.5, 0.2, 0.3])
    noise = rng.random((n, n_raters)) < 0.4
    ratings = np.where(noise, rng.choice(C, size=(n, n_raters)), truth[:, None])
    return np.where(rng.random((n, n_raters)) < missing, -1, ratings)


def counts_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    one = np.zeros(len(first), dtype=np.intp)
    return raters.pair_counts(first, second, C, one, 1)[0]


def test_weighted_kappa_is_that_of_scikit_learn() -> None:
    for n, seed in product((2, 5, 30, 400), range(5)):
        first, second = rated(n, 2, seed).T
        for power, name in POWERS.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one category alone: NaN in both
                theirs = cohen_kappa_score(first, second, labels=[*range(C)], weights=name)
            ours = raters.weighted_kappa(counts_of(first, second), power)
            np.testing.assert_allclose(ours, theirs, atol=1e-12)
        np.testing.assert_allclose(
            raters.observed_agreement(counts_of(first, second)), (first == second).mean()
        )


def test_ratings_left_out_are_left_out() -> None:
    first, second = rated(60, 2, 1, missing=0.3).T
    both = (first >= 0) & (second >= 0)
    assert 0 < both.sum() < 60
    theirs = cohen_kappa_score(first[both], second[both], weights="linear")
    np.testing.assert_allclose(raters.weighted_kappa(counts_of(first, second), 1), theirs)


def test_krippendorffs_alpha_is_that_of_the_package() -> None:
    for n, n_raters, missing, seed in product((5, 40, 300), (2, 3, 5), (0, 0.3), range(3)):
        ratings = rated(n, n_raters, seed, missing)
        one = np.zeros(n, dtype=np.intp)
        pairs = raters.coincidences(ratings, C, one, 1)[0]
        data = np.where(ratings < 0, np.nan, ratings).T
        for level in ("nominal", "ordinal"):
            theirs = krippendorff.alpha(data, level_of_measurement=level, value_domain=[*range(C)])
            ours = raters.krippendorff_alpha(pairs, level)
            np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_identical_raters_agree_fully_and_opposite_ones_less_than_by_chance() -> None:
    first = np.array([0, 1, 2, 2, 0, 1])
    for power in POWERS:
        assert raters.weighted_kappa(counts_of(first, first), power) == 1
        assert raters.weighted_kappa(counts_of(first, 2 - first), power) < 0
    constant = np.ones(6, dtype=int)
    assert np.isnan(raters.weighted_kappa(counts_of(constant, constant), 1))
    one = np.zeros(6, dtype=np.intp)
    pairs = raters.coincidences(np.stack([constant, constant], axis=1), C, one, 1)
    assert np.isnan(raters.krippendorff_alpha(pairs[0], "ordinal"))
    # ratings of one rater alone pair with nothing
    alone = raters.coincidences(np.stack([first, np.full(6, -1)], axis=1), C, one, 1)
    assert alone.sum() == 0
    assert np.isnan(raters.krippendorff_alpha(alone[0], "nominal"))


def test_a_resample_is_the_statistic_of_the_clusters_drawn() -> None:
    ratings = rated(50, 3, 2, missing=0.1)
    cluster = np.arange(50) % 7
    draws = cluster_draws(7, 20, 1)
    counts = raters.pair_counts(ratings[:, 0], ratings[:, 1], C, cluster, 7)
    kappas = raters.weighted_kappa(raters.resample(counts, draws), 1)
    pairs = raters.coincidences(ratings, C, cluster, 7)
    alphas = raters.krippendorff_alpha(raters.resample(pairs, draws), "ordinal")
    for b, draw in enumerate(draws.astype(int)):
        rows = np.concatenate([np.flatnonzero(cluster == k) for k in np.repeat(range(7), draw)])
        again = ratings[rows]
        both = (again[:, :2] >= 0).all(axis=1)
        first, second = again[both, :2].T
        theirs = cohen_kappa_score(first, second, labels=[*range(C)], weights="linear")
        np.testing.assert_allclose(kappas[b], theirs, atol=1e-12)
        data = np.where(again < 0, np.nan, again).T
        theirs = krippendorff.alpha(data, level_of_measurement="ordinal", value_domain=[*range(C)])
        np.testing.assert_allclose(alphas[b], theirs, atol=1e-10)


def test_the_mean_of_pairs_weighs_by_items_and_leaves_out_what_is_undefined() -> None:
    values, n = np.array([0.2, 0.8, np.nan]), np.array([30.0, 10.0, 99.0])
    assert raters.weighted_mean(values, n) == pytest.approx(0.35)
    assert np.isnan(raters.weighted_mean(values[2:], n[2:]))


def test_the_variance_of_kappa_is_that_of_simulated_raters() -> None:
    """Fleiss, Cohen and Everitt's formula against 4,000 samples of 200 items."""
    rng = np.random.default_rng(1)
    n = 200
    for shares, kappa in (([1 / 3] * 3, 0.55), ([0.6, 0.1, 0.3], 0.3), ([0.45, 0.1, 0.45], 0.8)):
        joint = raters.expected_joint(np.array(shares), kappa)
        assert joint.sum() == pytest.approx(1)
        samples = rng.multinomial(n, joint.ravel(), size=4000).reshape(-1, C, C).astype(float)
        for power in POWERS:
            values = raters.weighted_kappa(samples, power)
            assert values.mean() == pytest.approx(kappa, abs=0.01)
            assert raters.kappa_variance(joint, power) == pytest.approx(values.var() * n, rel=0.08)


def test_as_many_items_as_are_said_give_the_width_asked_for() -> None:
    joint = raters.expected_joint(np.array([0.45, 0.1, 0.45]), 0.55)
    variance = raters.kappa_variance(joint, 1)
    n = raters.items_for_half_width(variance, 0.1, 0.95)
    assert raters.kappa_half_width(variance, n, 0.95) <= 0.1
    assert raters.kappa_half_width(variance, n - 1, 0.95) > 0.1
    assert raters.items_for_half_width(variance, 0.05, 0.95) > 3 * n
    assert raters.items_for_half_width(variance, 0.1, 0.99) > n
    assert np.isnan(raters.kappa_variance(np.diag([0.0, 1.0, 0.0]), 1))


def test_a_p_value_is_small_where_no_draw_crosses_zero() -> None:
    assert raters.bootstrap_p_value(np.full(99, 0.2)) == pytest.approx(0.02)
    assert raters.bootstrap_p_value(np.zeros(99)) == 1
    assert raters.bootstrap_p_value(np.array([-1.0, 1.0] * 50)) == 1
    assert np.isnan(raters.bootstrap_p_value(np.array([np.nan])))
