"""Intervals and paired tests by resampling whole questions, and rank agreement."""

from itertools import product

import numpy as np
import pytest
from scipy import stats
from scipy.stats import binomtest

from bench import statistics
from valuestrata.metrics import agreement, resample

NAN = float("nan")


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_every_resample_draws_as_many_clusters_as_there_are() -> None:
    draws = resample.cluster_draws(17, 40, seed=1)
    assert draws.shape == (40, 17)
    assert set(draws.sum(axis=1)) == {17.0}
    np.testing.assert_array_equal(draws, resample.cluster_draws(17, 40, seed=1))
    assert (draws != resample.cluster_draws(17, 40, seed=2)).any()


def test_clusters_are_drawn_as_often_as_by_a_multinomial() -> None:
    draws = resample.cluster_draws(300, 2000, seed=1)
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.12)
    np.testing.assert_allclose(draws.var(axis=0).mean(), 1 - 1 / 300, atol=0.02)


def test_a_normalized_gain_by_hand() -> None:
    start, target = np.full(40, 0.2), np.full(40, 0.6)
    cluster = np.arange(40)
    halfway = np.where(np.arange(40) % 2 == 0, 0.2, 0.6)
    value, low, high = resample.normalized_gain(halfway, start, target, cluster, 400, 0.95, 1)
    assert value == pytest.approx(0.5)
    assert 0.2 < low < 0.5 < high < 0.8
    # missing values do not count, and an error gains by falling
    gap = np.where(np.arange(40) < 20, NAN, halfway)
    assert resample.normalized_gain(gap, start, target, cluster, 400, 0.95, 1)[0] == pytest.approx(
        0.5
    )
    down = resample.normalized_gain(1 - halfway, 1 - start, 1 - target, cluster, 400, 0.95, 1)
    assert down == pytest.approx((value, low, high))
    for extreme in (start, target):
        ends = resample.normalized_gain(extreme, start, target, cluster, 50, 0.95, 1)
        assert ends == pytest.approx((float(extreme[0] == 0.6),) * 3)


def test_there_is_no_gain_where_start_and_target_may_be_equal() -> None:
    rng = np.random.default_rng(1)
    start = rng.random(30)
    cluster = np.arange(30)
    for target in (start, start + rng.normal(size=30)):
        ends = resample.normalized_gain(start + 1, start, target, cluster, 200, 0.95, 1)
        assert np.isnan(ends).all()


def test_a_value_against_its_null() -> None:
    null = np.append(np.arange(99.0), NAN)
    mean, high, (p, error) = resample.against_null(97.0, null)
    assert (mean, high, p) == pytest.approx((49, np.quantile(np.arange(99.0), 0.95), 3 / 100))
    assert error == pytest.approx(np.sqrt(0.03 * 0.97 / 100))
    assert resample.against_null(97.0, null, is_exact=True)[2] == pytest.approx((2 / 99, 0.0))
    assert np.isnan(resample.against_null(NAN, null)[2]).all()
    mean, high, test = resample.against_null(1.0, floats(NAN))
    assert np.isnan([mean, high, *test]).all()


def test_rank_agreement_is_that_of_scipy_in_every_resample() -> None:
    rng = np.random.default_rng(1)
    one = rng.integers(0, 6, 25).astype(float)
    other = one + rng.integers(-2, 3, 25)
    draws = resample.cluster_draws(25, 30, seed=2)
    result = agreement.resampled_agreement(one, other, draws)
    for b, times in enumerate(draws.astype(int)):
        x, y = np.repeat(one, times), np.repeat(other, times)
        assert result["spearman"][b] == pytest.approx(stats.spearmanr(x, y).statistic)
        assert result["kendall"][b] == pytest.approx(stats.kendalltau(x, y).statistic)
    value, low, high = agreement.rank_agreement(one, other, 400, 0.95, 1)["kendall"]
    assert low < value < high
    assert value == pytest.approx(stats.kendalltau(one, other).statistic)


def test_what_is_all_the_same_has_no_order() -> None:
    for one in (np.ones(5), floats(), floats(1)):
        result = agreement.rank_agreement(one, one, 20, 0.95, 1)
        assert np.isnan(list(result.values())).all()


def test_a_ratio_without_count_is_unknown() -> None:
    np.testing.assert_array_equal(resample.ratio(floats(1, 0), floats(2, 0)), [0.5, NAN])


def test_percentiles_are_central_and_leave_out_what_is_unknown() -> None:
    draws = np.append(np.arange(101.0), NAN)
    assert resample.percentiles(draws, 0.9) == pytest.approx((5, 95))
    assert np.isnan(resample.percentiles(floats(NAN), 0.9)).all()


def test_a_corrected_interval_holds_its_estimate_inside_the_bounds() -> None:
    for estimate, shift in product((0.0, 0.02, 0.3, 0.5, 0.97, 1.0), (-0.3, 0.0, 0.1, 0.4)):
        draws = np.random.default_rng(1).normal(estimate + shift, 0.05, 400)
        low, high = resample.bias_corrected(estimate, draws, 0.95, (0.0, 1.0))
        assert 0 <= low <= estimate <= high <= 1


def test_a_corrected_interval_is_shifted_back_by_the_bias() -> None:
    draws = np.random.default_rng(2).normal(0.6, 0.05, 4000)
    plain = resample.percentiles(draws, 0.95)
    low, high = resample.bias_corrected(0.5, draws, 0.95, (0.0, 1.0))
    assert low == pytest.approx(plain[0] - 0.1, abs=0.005)
    assert high == pytest.approx(plain[1] - 0.1, abs=0.005)


def test_an_unknown_estimate_has_no_interval() -> None:
    assert np.isnan(resample.bias_corrected(NAN, floats(0.1, 0.2), 0.95, (0, 1))).all()
    assert np.isnan(resample.bias_corrected(0.1, floats(NAN, NAN), 0.95, (0, 1))).all()


def clustered(seed: int, clusters: int, size: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores around 0 whose clusters share a part of standard deviation `spread`."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, spread, clusters)
    values = shared[:, None] + rng.normal(0, 1, (clusters, size))
    return values.ravel(), np.repeat(np.arange(clusters), size)


def test_a_mean_is_that_of_the_values_there_are() -> None:
    values, cluster = floats(1, NAN, 0, 0.5), np.array([0, 0, 1, 2])
    mean, low, high = resample.mean_with_interval(values, cluster, 200, 0.95, 1)
    assert mean == 0.5
    assert low <= mean <= high
    assert np.isnan(resample.mean_with_interval(floats(NAN), np.array([0]), 9, 0.95, 1)).all()


def test_a_constant_has_an_interval_of_no_width() -> None:
    values, cluster = np.full(12, 0.25), np.repeat(np.arange(4), 3)
    assert resample.mean_with_interval(values, cluster, 99, 0.95, 1) == (0.25, 0.25, 0.25)


def test_copies_inside_a_question_widen_the_interval_instead_of_narrowing_it() -> None:
    values = np.random.default_rng(3).normal(size=50)
    once = resample.mean_with_interval(values, np.arange(50), 1000, 0.95, 1)
    copied, cluster = np.repeat(values, 20), np.repeat(np.arange(50), 20)
    clusters = resample.mean_with_interval(copied, cluster, 1000, 0.95, 1)
    naive = resample.mean_with_interval(copied, np.arange(1000), 1000, 0.95, 1)
    assert clusters == pytest.approx(once)
    assert clusters[2] - clusters[1] > 3.5 * (naive[2] - naive[1])


def test_the_cluster_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    covers = []
    for seed in range(120):
        values, cluster = clustered(seed, 40, 6, spread=1.0)
        _, low, high = resample.mean_with_interval(values, cluster, 200, 0.9, seed)
        covers.append(low <= 0 <= high)
    assert 0.81 <= np.mean(covers) <= 0.97


def test_an_interval_that_ignores_the_clusters_would_not() -> None:
    covers = []
    for seed in range(100):
        values, _ = clustered(seed, 40, 6, spread=1.0)
        _, low, high = resample.mean_with_interval(values, np.arange(240), 100, 0.9, seed)
        covers.append(low <= 0 <= high)
    assert np.mean(covers) < 0.75


def test_an_identical_copy_has_a_difference_of_no_width_and_p_1() -> None:
    values, cluster = clustered(1, 30, 5, 1.0)
    gap = values - values.copy()
    assert resample.mean_with_interval(gap, cluster, 500, 0.95, 1) == (0.0, 0.0, 0.0)
    assert resample.sign_flip(gap, cluster, 500, 1) == (1.0, 0.0)
    assert resample.mean_with_interval(gap[:25], cluster[:25], 500, 0.95, 1) == (0.0, 0.0, 0.0)


def test_pairing_finds_what_two_intervals_side_by_side_hide() -> None:
    base, cluster = clustered(2, 60, 4, spread=2.0)
    tuned = base + 0.1 + np.random.default_rng(4).normal(0, 0.2, base.size)
    _, low, high = resample.mean_with_interval(tuned - base, cluster, 1000, 0.95, 1)
    one = resample.mean_with_interval(base, cluster, 1000, 0.95, 1)
    other = resample.mean_with_interval(tuned, cluster, 1000, 0.95, 1)
    assert low > 0
    assert high - low < (one[2] - one[1]) / 5
    assert other[1] < one[2]
    assert resample.sign_flip(tuned - base, cluster, 999, 1).p_value < 0.01


def test_the_sign_flip_test_is_exact_where_it_can_be_worked_out() -> None:
    rng = np.random.default_rng(1)
    assert resample.sign_flip(np.ones(8), np.arange(8), 10, 1) == (binomtest(8, 8).pvalue, 0.0)
    for unit in (1.0, 0.5, 1 / 3, 0.25, 1 / 9, NAN):
        sums = rng.integers(-9, 12, 10) * unit if unit == unit else rng.normal(0.3, 1, 10)
        signs = np.array(list(product((1, -1), repeat=10)))
        by_hand = (np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).mean()
        result = resample.sign_flip(sums, np.arange(10), 1024, 1)
        assert result == pytest.approx((by_hand, 0.0)), unit
    # a seed changes nothing where hits are counted, whatever the number of questions
    hits = rng.integers(-1, 2, (214, 48)).ravel().astype(float)
    questions = np.repeat(np.arange(214), 48)
    first, second = (resample.sign_flip(hits, questions, 10, seed) for seed in (1, 2))
    assert first == second
    assert first.p_error == 0
    drawn = resample.sign_flip(hits + 1e-6, questions, 20_000, 1)
    assert drawn.p_value == pytest.approx(first.p_value, abs=5 * drawn.p_error)
    assert 0 < drawn.p_error < 0.004


def test_the_sign_flip_test_flips_whole_questions() -> None:
    gap = np.repeat(floats(1, 1, 1, 1), 50)
    together = resample.sign_flip(gap, np.repeat(np.arange(4), 50), 4000, 1)
    assert together == (2 / 16, 0.0)
    assert resample.sign_flip(gap, np.arange(200), 4000, 1).p_value < 0.01


def test_a_p_value_is_never_0_and_leaves_out_what_is_unknown() -> None:
    steps = 5.0 + np.arange(40) * np.pi
    gap, cluster = np.append(steps, NAN), np.append(np.arange(40), 3)
    assert resample.sign_flip(gap, cluster, 99, 1).p_value == pytest.approx(1 / 100)
    assert resample.sign_flip(np.append(np.full(40, 5.0), NAN), cluster, 99, 1).p_value == 2**-39


def test_p_values_of_equal_runs_are_spread_over_0_to_1() -> None:
    p = []
    for seed in range(100):
        gap, cluster = clustered(seed, 25, 4, spread=1.0)
        p.append(resample.sign_flip(gap, cluster, 199, seed).p_value)
    assert 0.4 < np.mean(p) < 0.6
    assert np.mean(np.array(p) <= 0.1) < 0.2


def test_few_questions_get_a_t_interval_that_covers() -> None:
    """The full run: docs/statistics.md. Of 100 worlds, 88 or more with a chance of 99.9%."""
    for kind, questions in product(("accuracy", "difference", "never"), (3, 5, 10)):
        row = statistics.few_row(kind, questions, 100)
        assert float(row["coverage"].split()[0]) >= 88 / 100, (kind, questions)
    assert float(statistics.few_row("difference", 3, 100)["percentiles"].split()[0]) < 0.87
    values, cluster = floats(1, 2, 4, 7), np.arange(4)
    low, high = stats.t.interval(0.95, 3, loc=3.5, scale=stats.sem(values))
    assert resample.mean_with_interval(values, cluster, 99, 0.95, 1) == pytest.approx(
        (3.5, low, high)
    )
    assert np.isnan(resample.mean_with_interval(floats(0.5, 0.7), np.zeros(2, int), 9, 0.95, 1)[1])


def test_a_rate_that_rests_on_few_questions_is_covered() -> None:
    """The full run: docs/statistics.md. Of 200 worlds, 176 or more with a chance of 99.9%."""
    for kind, questions in product(("rare", "uncommon"), (20, 40)):
        row = statistics.few_row(kind, questions, 200)
        assert float(row["coverage"].split()[0]) >= 0.92, (kind, questions)


def test_fewer_questions_with_a_hit_never_make_an_interval_shorter_than_none_would() -> None:
    """At equal rates; and answers that all go together are worth their question."""
    cluster, widths = np.repeat(np.arange(40), 48), []
    for hits in (1, 2, 4, 8):
        values = np.zeros((40, 48))
        values[:hits, : 16 // hits] = 1
        low, high = resample.mean_with_interval(values.ravel(), cluster, 99, 0.95, 1, True)[1:]
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    bound = binomtest(0, 40).proportion_ci(0.95, "exact").high
    assert widths[0] > bound / 2


def test_a_rate_of_0_or_1_has_a_binomial_bound_with_the_questions_as_trials() -> None:
    cluster = np.repeat(np.arange(40), 48)
    bound = binomtest(0, 40).proportion_ci(0.95, "exact").high
    never = resample.mean_with_interval(np.zeros(1920), cluster, 99, 0.95, 1, is_rate=True)
    assert never == pytest.approx((0.0, 0.0, bound))
    always = resample.mean_with_interval(np.ones(1920), cluster, 99, 0.95, 1, is_rate=True)
    assert always == pytest.approx((1.0, 1 - bound, 1.0))
    # single answers, so questions are worth themselves, less for the few degrees of freedom
    few = resample.mean_with_interval(np.eye(12)[0], np.arange(12), 99, 0.95, 1, is_rate=True)
    exact = binomtest(1, 12).proportion_ci(0.95, "exact")
    assert 0 <= few[1] < exact.low
    assert exact.high < few[2] < 1.5 * exact.high
    # answers of a question that all go together are worth one
    copied = np.repeat(np.eye(12)[0], 50), np.repeat(np.arange(12), 50)
    assert resample.mean_with_interval(*copied, 99, 0.95, 1, is_rate=True)[2] > exact.high


def test_a_mean_that_every_cluster_has_is_that_of_as_many_observations() -> None:
    """Errors of 0, a run that answers all against one that answers none; a copy has no width."""
    cluster = np.repeat(np.arange(40), 6)
    reach = 1 - 0.025 ** (1 / 40)
    for value, bounds, ends in (
        (0.0, (0.0, 1.0), (0.0, reach)),
        (1.0, (0.0, 1.0), (1 - reach, 1.0)),
        (1.0, (-1.0, 1.0), (1 - 2 * reach, 1.0)),
        (-1.0, (-1.0, 1.0), (-1.0, 2 * reach - 1)),
        (0.5, (-1.0, 1.0), (0.5 - 1.5 * reach, 0.5 + 0.5 * reach)),
        (0.0, (-1.0, 1.0), (0.0, 0.0)),
    ):
        values = np.full(240, value)
        mean, *shown = resample.mean_with_interval(values, cluster, 99, 0.95, 1, bounds=bounds)
        assert mean == value
        assert shown == pytest.approx(ends)
    two = resample.mean_with_interval(np.ones(4), np.arange(4) % 2, 99, 0.95, 1, bounds=(-1, 1))
    assert np.isnan(two[1:]).all()
    copy = resample.mean_with_interval(np.zeros(4), np.arange(4) % 2, 99, 0.95, 1, bounds=(-1, 1))
    assert copy == (0.0, 0.0, 0.0)


def test_differences_of_runs_that_seldom_differ_are_covered() -> None:
    """Refusals that fall from 1% to none: few questions carry the error, percentiles cover .82."""
    held = {"printed": 0, "percentiles": 0}
    draws = resample.cluster_draws(30, 300, 1)
    for world in range(300):
        rng = np.random.default_rng([world, 30])
        sums = -rng.binomial(48, rng.beta(0.1, 9.9, 30)).astype(np.float64)
        counts = np.full(30, 48.0)
        ((_, *printed),) = resample.means_of_clusters(sums[None], counts[None], 300, 0.95, 1)
        plain = resample.percentiles(draws @ sums / counts.sum(), 0.95)
        for name, (low, high) in (("printed", printed), ("percentiles", plain)):
            held[name] += low <= -0.01 <= high
    assert held["printed"] >= 0.92 * 300
    assert held["percentiles"] < 0.87 * 300
