"""Scores, intervals, paired tests, fairness with its null, and the stages built on them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import cityblock, jensenshannon
from scipy.stats import binomtest, wasserstein_distance

from valuestrata import io, paths
from valuestrata.__main__ import main
from valuestrata.metrics import agreement, distribution, fairness, ordinal, resample
from valuestrata.specs import Compare, Evaluation, Fairness, Score, Summary, Weighting, to_json
from valuestrata.survey.groups import Group, Groups
from valuestrata.tables import PAIR, TABLES

NAN = float("nan")


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


# Scores of one answer ------------------------------------------------------------------------


def test_accuracy_by_hand() -> None:
    found = ordinal.accuracy(floats(1, 2, NAN, 4), floats(1, 3, 2, 4))
    np.testing.assert_array_equal(found, [1, 0, NAN, 1])


@pytest.mark.parametrize(
    ("answer", "mode", "scale_min", "scale_max", "expected"),
    [
        (1, 1, 1, 4, 0.0),
        (1, 4, 1, 4, 1.0),
        (4, 1, 1, 4, 1.0),
        (2, 4, 1, 4, 2 / 3),
        (7, 4, 1, 10, 3 / 9),
        (0, 2, 0, 2, 1.0),
        (3, 1, 1, 2, 2.0),
        (NAN, 1, 1, 4, NAN),
    ],
)
def test_nmae_by_hand(
    answer: float, mode: float, scale_min: float, scale_max: float, expected: float
) -> None:
    ends = floats(scale_min), floats(scale_max)
    found = ordinal.nmae(floats(answer), floats(mode), *ends, np.array([True]))
    np.testing.assert_allclose(found, [expected])


def test_a_question_without_an_order_has_accuracy_and_no_nmae() -> None:
    answer, mode = floats(2, 2), floats(2, 2)
    found = ordinal.nmae(answer, mode, floats(1, 1), floats(3, 3), np.array([False, True]))
    np.testing.assert_array_equal(found, [NAN, 0])
    np.testing.assert_array_equal(ordinal.accuracy(answer, mode), [1, 1])


# Distances between distributions -------------------------------------------------------------


def padded(rows: list[list[float]], last: bool = False) -> np.ndarray:
    width = max(map(len, rows))
    return floats(*[r + [r[-1] if last else 0.0] * (width - len(r)) for r in rows])


@pytest.mark.parametrize("seed", range(4))
def test_wasserstein_is_scipy_s_over_the_width_of_the_scale(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scales = [(1, 4), (0, 2), (1, 10), (1, 2)]
    lists = [list(range(low, high + 1)) for low, high in scales]
    model = [list(rng.dirichlet(np.ones(len(c)))) for c in lists]
    people = [list(rng.dirichlet(np.ones(len(c)))) for c in lists]
    scale_min, scale_max = np.array(scales, dtype=float).T
    found = distribution.wasserstein(
        padded(model), padded(people), padded(lists, last=True), scale_min, scale_max
    )
    expected = [
        wasserstein_distance(c, c, m, p) / (c[-1] - c[0])
        for c, m, p in zip(lists, model, people, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_wasserstein_leaves_out_codes_off_the_scale() -> None:
    codes = floats([0, 1, 2, 3, 4])
    model, people = floats([0.5, 0.5, 0, 0, 0]), floats([0, 0, 0, 0.25, 0.75])
    found = distribution.wasserstein(model, people, codes, floats(1), floats(3))
    np.testing.assert_allclose(found, [1.0])
    off = floats([1.0, 0, 0, 0, 0])
    assert np.isnan(distribution.wasserstein(off, people, codes, floats(1), floats(3)))[0]


def test_jensen_shannon_is_the_square_of_scipy_s_distance() -> None:
    rng = np.random.default_rng(5)
    model, people = rng.dirichlet(np.ones(5), 20), rng.dirichlet(np.ones(5) / 5, 20)
    model[:5, 2:] = 0
    model[:5] /= model[:5].sum(axis=1, keepdims=True)
    expected = [jensenshannon(p, q, base=2) ** 2 for p, q in zip(model, people, strict=True)]
    np.testing.assert_allclose(distribution.jensen_shannon(model, people), expected, atol=1e-12)
    np.testing.assert_allclose(
        distribution.jensen_shannon(people, model), distribution.jensen_shannon(model, people)
    )


def test_jensen_shannon_goes_from_0_to_1() -> None:
    one, other = floats([0.2, 0.8, 0, 0]), floats([0, 0, 0.5, 0.5])
    np.testing.assert_allclose(distribution.jensen_shannon(one, one), [0])
    np.testing.assert_allclose(distribution.jensen_shannon(one, other), [1])


def test_total_variation_is_half_of_scipy_s_city_block_distance() -> None:
    rng = np.random.default_rng(6)
    model, people = rng.dirichlet(np.ones(5), 20), rng.dirichlet(np.ones(5) / 5, 20)
    expected = [cityblock(p, q) / 2 for p, q in zip(model, people, strict=True)]
    np.testing.assert_allclose(distribution.total_variation(model, people), expected)
    one, other = floats([0.2, 0.8, 0, 0]), floats([0, 0, 0.5, 0.5])
    np.testing.assert_allclose(distribution.total_variation(one, other), [1])


def test_an_unknown_distribution_has_no_distance() -> None:
    known, unknown = floats([0.5, 0.5]), floats([NAN, NAN])
    codes = floats([1, 2])
    for one, other in ((known, unknown), (unknown, known)):
        assert np.isnan(distribution.jensen_shannon(one, other))[0]
        assert np.isnan(distribution.total_variation(one, other))[0]
        assert np.isnan(distribution.wasserstein(one, other, codes, floats(1), floats(2)))[0]


# Calibration ---------------------------------------------------------------------------------


def by_hand(confidence: np.ndarray, hit: np.ndarray) -> float:
    """Expected calibration error, bin by bin."""
    gaps = []
    for low in range(10):
        inside = (confidence > low / 10) & (confidence <= (low + 1) / 10)
        if inside.any():
            gaps.append(inside.sum() * abs(hit[inside].mean() - confidence[inside].mean()))
    return float(sum(gaps) / np.isfinite(confidence).sum())


def test_the_likeliest_code_is_the_first_of_equals() -> None:
    rows = floats([0.4, 0.4, 0.2], [0.1, 0.2, 0.7], [NAN, NAN, NAN])
    top, confidence = distribution.likeliest(rows)
    np.testing.assert_array_equal(top[:2], [0, 2])
    np.testing.assert_array_equal(confidence, [0.4, 0.7, NAN])


def test_calibration_error_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(7)
    confidence = rng.uniform(0.01, 1, 400)
    confidence[:3] = [0.1, 0.3, 1.0]  # the edges, one of which is not exact
    confidence[-20:] = NAN
    hit = (rng.random(400) < 0.5).astype(float)
    cluster = np.repeat(np.arange(40), 10)
    value, low, high = distribution.calibration_error(confidence, hit, cluster, 500, 0.95, 1)
    assert value == pytest.approx(by_hand(confidence, hit))
    assert low < value < high
    assert distribution.calibration_error(confidence, hit, cluster, 500, 0.95, 1) == (
        value,
        low,
        high,
    )


def test_calibration_error_is_0_where_confidence_is_right_and_1_where_it_is_all_wrong() -> None:
    cluster = np.arange(10)
    half = np.full(10, 0.5), np.tile([0.0, 1.0], 5)
    assert distribution.calibration_error(*half, cluster, 20, 0.95, 1)[0] == 0
    wrong = distribution.calibration_error(np.ones(10), np.zeros(10), cluster, 20, 0.95, 1)
    assert wrong == (1.0, 1.0, 1.0)
    unknown = np.full(10, NAN)
    assert np.isnan(distribution.calibration_error(unknown, unknown, cluster, 20, 0.95, 1)).all()


def test_the_interval_of_a_calibration_error_covers() -> None:
    """A model that says .7 and is right in half of the cases, on 60 questions of 8 pairs."""
    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(60), 8)
    covered = 0
    for _ in range(100):
        share = rng.beta(4, 4, 60)[cluster]
        hit = (rng.random(480) < share).astype(float)
        _, low, high = distribution.calibration_error(np.full(480, 0.7), hit, cluster, 200, 0.95, 1)
        covered += low <= 0.2 <= high
    assert covered >= 88


def test_a_difference_of_calibration_is_paired_and_tested() -> None:
    rng = np.random.default_rng(9)
    cluster = np.repeat(np.arange(40), 10)
    hit = (rng.random(400) < 0.5).astype(float)
    good, bad = np.full(400, 0.5), np.full(400, 0.9)
    good[:7] = bad[-5:] = NAN
    value, low, high, p, n = distribution.calibration_difference(
        (bad, hit), (good, hit), cluster, 400, 0.95, 1
    )
    both = np.isfinite(good) & np.isfinite(bad)
    expected = by_hand(bad[both], hit[both]) - by_hand(good[both], hit[both])
    assert (value, n) == (pytest.approx(expected), 388)
    assert 0 < low < value < high
    assert p < 0.01
    copy = distribution.calibration_difference((bad, hit), (bad, hit), cluster, 400, 0.95, 1)
    assert copy == (0, 0, 0, 1, 395)


def test_the_test_of_calibration_keeps_its_level() -> None:
    """Runs that differ by noise alone: about one p-value in twenty lies below .05."""
    rng = np.random.default_rng(10)
    cluster = np.repeat(np.arange(30), 5)
    below = 0
    for _ in range(200):
        runs = [(rng.uniform(0.3, 1, 150), (rng.random(150) < 0.6).astype(float)) for _ in "ab"]
        below += distribution.calibration_difference(*runs, cluster, 100, 0.95, 1)[3] < 0.05
    assert binomtest(below, 200, 0.05).pvalue > 0.001


# Win rates -----------------------------------------------------------------------------------


# Norm.Range and CV ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("performance", "norm_range", "cv"),
    [
        ([0.5, 0.5, 0.5], 0.0, 0.0),
        ([0.4, 0.8], 0.5, 0.2 / 0.6),
        ([0.2, 0.4, 0.6, 0.8], 0.75, np.sqrt(0.05) / 0.5),
        ([0.0, 1.0], 1.0, 1.0),
    ],
)
def test_norm_range_and_cv_by_hand(performance: list[float], norm_range: float, cv: float) -> None:
    assert fairness.norm_range(floats(*performance)) == pytest.approx(norm_range)
    assert fairness.cv(floats(*performance)) == pytest.approx(cv)


def test_statistics_are_taken_over_the_last_axis() -> None:
    many = floats([0.4, 0.8], [0.5, 0.5])
    np.testing.assert_allclose(fairness.norm_range(many), [0.5, 0.0])
    np.testing.assert_allclose(fairness.cv(many), [1 / 3, 0.0])


VALUES = floats([1, 0, NAN], [1, 1, 0], [NAN, NAN, 1])
MEMBER = floats([1, 1, 0], [0, 0, 1], [0, 1, 1])


def test_group_means_pool_the_scores_there_are() -> None:
    np.testing.assert_allclose(fairness.group_means(VALUES, MEMBER), [3 / 5, 1.0, 3 / 4])
    assert np.isnan(fairness.group_means(np.full((1, 3), NAN), floats([1]))[0])


def test_resampled_means_count_a_question_as_often_as_drawn() -> None:
    draws = floats([1, 1, 1], [2, 1, 0], [0, 0, 3])
    found = fairness.resampled_means(VALUES, MEMBER, draws)
    expected = [
        fairness.group_means(np.repeat(VALUES, d.astype(int), axis=1), MEMBER) for d in draws
    ]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found[0], fairness.group_means(VALUES, MEMBER))


def test_the_null_moves_scores_within_their_question_and_leaves_gaps_where_they_are() -> None:
    values = floats([0.1, 10, NAN], [0.2, NAN, 300], [0.3, 20, 100])
    alone = fairness.null_means(values, np.eye(3), 200, seed=1)
    counts = np.isfinite(values).sum(axis=1)
    np.testing.assert_allclose((alone * counts).sum(axis=1), np.nansum(values))
    sums = np.round(alone * counts, 6)
    possible = {round(a + b, 6) for a in (0.1, 0.2, 0.3) for b in (10, 20)}
    assert set(sums[:, 0]) == possible


def test_the_null_does_not_depend_on_the_slab() -> None:
    values = np.random.default_rng(1).random((5, 7))
    one = fairness.null_means(values, np.eye(5), 30, seed=2, slab=30)
    np.testing.assert_allclose(one, fairness.null_means(values, np.eye(5), 30, seed=2, slab=7))


def identical_groups(seed: int, groups: int = 48, asked: int = 214) -> np.ndarray:
    return (np.random.default_rng(seed).random((groups, asked)) < 0.62).astype(np.float64)


def by_name(found: list[fairness.Inequality]) -> dict[str, fairness.Inequality]:
    return {one.statistic: one for one in found}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("difficulty", "ranges", "cvs"),
    [("the same", (0.19, 0.23), (0.048, 0.056)), ("uneven", (0.14, 0.20), (0.036, 0.049))],
    ids=["the same", "uneven"],
)
def test_identical_groups_show_the_gap_that_chance_makes_and_no_evidence(
    seed: int, difficulty: str, ranges: tuple[float, float], cvs: tuple[float, float]
) -> None:
    values = identical_groups(seed)
    if difficulty == "uneven":
        rng = np.random.default_rng(seed)
        values = (rng.random((48, 214)) < rng.beta(1.24, 0.76, 214)).astype(np.float64)
    assert values.mean() == pytest.approx(0.62, abs=0.04)
    found = by_name(fairness.inequalities(values, np.eye(48), 100, 0.95, seed))
    assert ranges[0] <= found["norm_range"].null_mean <= ranges[1]
    assert cvs[0] <= found["cv"].null_mean <= cvs[1]
    for one in found.values():
        assert one.value == pytest.approx(one.null_mean, rel=0.4)
        assert one.p_value > 0.01
        assert one.null_mean < one.null_p95
        assert one.low <= one.value <= one.high


def test_p_values_of_identical_groups_are_spread_over_0_to_1() -> None:
    values = [identical_groups(seed, 12, 40) for seed in range(100, 160)]
    p = [fairness.inequalities(v, np.eye(12), 99, 0.95, 1)[0].p_value for v in values]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.05) < 0.2
    assert min(p) < 0.3


def test_a_planted_gap_is_found() -> None:
    values = identical_groups(4, 20, 150)
    values[3, np.random.default_rng(5).random(150) < 0.5] = 0
    found = by_name(fairness.inequalities(values, np.eye(20), 199, 0.95, 1))
    for one in found.values():
        assert one.p_value == pytest.approx(1 / 200)
        assert one.value > one.null_p95


def test_a_gap_between_the_groups_of_an_axis_is_found() -> None:
    values = identical_groups(6, 20, 150)
    values[:10] *= np.random.default_rng(7).random((10, 150)) < 0.85
    member = np.repeat(np.eye(2), 10, axis=1)
    found = by_name(fairness.inequalities(values, member, 199, 0.95, 1))
    assert found["norm_range"].p_value < 0.02
    assert found["norm_range"].value > 2 * found["norm_range"].null_mean


def test_hard_and_easy_questions_alone_are_no_inequality() -> None:
    rng = np.random.default_rng(8)
    values = np.repeat((rng.random(100) < 0.5).astype(float)[None], 15, axis=0)
    for one in fairness.inequalities(values, np.eye(15), 50, 0.95, 1):
        assert one.value == pytest.approx(0)
        assert one.null_mean == pytest.approx(0)
        assert one.p_value == 1.0


def test_groups_that_are_all_at_0_are_no_evidence_of_a_gap() -> None:
    for one in fairness.inequalities(np.zeros((6, 20)), np.eye(6), 99, 0.95, 1):
        assert not one.p_value < 0.5
        assert not one.value > 0


def test_a_null_with_some_empty_draws_still_has_a_mean() -> None:
    values = np.zeros((4, 6))
    values[0, 0] = values[1, 1] = values[3, 5] = 1
    values[2, :5] = NAN
    for one in fairness.inequalities(values, np.eye(4)[:2], 99, 0.95, 1):
        assert np.isfinite(one.null_mean)
        assert np.isfinite(one.null_p95)
        assert 0 < one.p_value <= 1


def test_inequalities_are_the_same_when_computed_again() -> None:
    values = identical_groups(9, 8, 30)
    once = fairness.inequalities(values, np.eye(8), 50, 0.95, 3)
    assert fairness.inequalities(values, np.eye(8), 50, 0.95, 3) == once
    assert fairness.inequalities(values, np.eye(8), 50, 0.95, 4) != once


def test_group_intervals_hold_their_means() -> None:
    values = identical_groups(10, 6, 80)
    found = fairness.group_intervals(values, np.eye(6), 200, 0.95, 1)
    for s, (mean, low, high) in enumerate(found):
        assert mean == pytest.approx(values[s].mean())
        assert low < mean < high
        assert high - low == pytest.approx(2 * 1.96 * values[s].std() / np.sqrt(80), rel=0.3)


# Resampling ----------------------------------------------------------------------------------


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


def test_the_share_of_the_way_by_hand() -> None:
    start, goal = np.full(40, 0.2), np.full(40, 0.6)
    cluster = np.arange(40)
    halfway = np.where(np.arange(40) % 2 == 0, 0.2, 0.6)
    value, low, high = resample.normalized_gain(halfway, start, goal, cluster, 400, 0.95, 1)
    assert value == pytest.approx(0.5)
    assert 0.2 < low < 0.5 < high < 0.8
    # what lies beside the way does not count, and for an error the way leads down
    gap = np.where(np.arange(40) < 20, NAN, halfway)
    assert resample.normalized_gain(gap, start, goal, cluster, 400, 0.95, 1)[0] == pytest.approx(
        0.5
    )
    down = resample.normalized_gain(1 - halfway, 1 - start, 1 - goal, cluster, 400, 0.95, 1)
    assert down == pytest.approx((value, low, high))
    for known in (start, goal):
        ends = resample.normalized_gain(known, start, goal, cluster, 50, 0.95, 1)
        assert ends == pytest.approx((float(known[0] == 0.6),) * 3)


def test_there_is_no_share_of_a_way_that_may_be_none() -> None:
    rng = np.random.default_rng(1)
    start = rng.random(30)
    cluster = np.arange(30)
    for goal in (start, start + rng.normal(size=30)):
        ends = resample.normalized_gain(start + 1, start, goal, cluster, 200, 0.95, 1)
        assert np.isnan(ends).all()


def test_a_value_against_its_null() -> None:
    null = np.append(np.arange(99.0), NAN)
    mean, high, p = resample.against_null(97.0, null)
    assert (mean, high, p) == pytest.approx((49, np.quantile(np.arange(99.0), 0.95), 3 / 100))
    assert np.isnan(resample.against_null(NAN, null)[2])
    assert np.isnan(resample.against_null(1.0, floats(NAN))).all()


def test_rank_agreement_is_that_of_scipy_in_every_resample() -> None:
    rng = np.random.default_rng(1)
    one = rng.integers(0, 6, 25).astype(float)
    other = one + rng.integers(-2, 3, 25)
    draws = resample.cluster_draws(25, 30, seed=2)
    found = agreement.resampled(one, other, draws)
    for b, times in enumerate(draws.astype(int)):
        x, y = np.repeat(one, times), np.repeat(other, times)
        assert found["spearman"][b] == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found["kendall"][b] == pytest.approx(stats.kendalltau(x, y).statistic)
    value, low, high = agreement.rank_agreement(one, other, 400, 0.95, 1)["kendall"]
    assert low < value < high
    assert value == pytest.approx(stats.kendalltau(one, other).statistic)


def test_what_is_all_the_same_has_no_order() -> None:
    for one in (np.ones(5), floats(), floats(1)):
        found = agreement.rank_agreement(one, one, 20, 0.95, 1)
        assert np.isnan(list(found.values())).all()


def test_a_ratio_without_count_is_unknown() -> None:
    np.testing.assert_array_equal(resample.ratio(floats(1, 0), floats(2, 0)), [0.5, NAN])


def test_percentiles_are_central_and_leave_out_what_is_unknown() -> None:
    draws = np.append(np.arange(101.0), NAN)
    assert resample.percentiles(draws, 0.9) == pytest.approx((5, 95))
    assert np.isnan(resample.percentiles(floats(NAN), 0.9)).all()


@pytest.mark.parametrize("estimate", [0.0, 0.02, 0.3, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.1, 0.4])
def test_a_corrected_interval_holds_its_estimate_inside_the_bounds(
    estimate: float, shift: float
) -> None:
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
    once = resample.mean_with_interval(values, np.arange(50), 2000, 0.95, 1)
    copied, cluster = np.repeat(values, 20), np.repeat(np.arange(50), 20)
    clusters = resample.mean_with_interval(copied, cluster, 2000, 0.95, 1)
    naive = resample.mean_with_interval(copied, np.arange(1000), 2000, 0.95, 1)
    assert clusters == pytest.approx(once)
    assert clusters[2] - clusters[1] > 3.5 * (naive[2] - naive[1])


def test_the_cluster_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    covers = []
    for seed in range(200):
        values, cluster = clustered(seed, 40, 6, spread=1.0)
        _, low, high = resample.mean_with_interval(values, cluster, 200, 0.9, seed)
        covers.append(low <= 0 <= high)
    assert 0.82 <= np.mean(covers) <= 0.96


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
    assert resample.sign_flip(gap, cluster, 500, 1) == 1.0


def test_pairing_finds_what_two_intervals_side_by_side_hide() -> None:
    base, cluster = clustered(2, 60, 4, spread=2.0)
    tuned = base + 0.1 + np.random.default_rng(4).normal(0, 0.2, base.size)
    _, low, high = resample.mean_with_interval(tuned - base, cluster, 1000, 0.95, 1)
    one = resample.mean_with_interval(base, cluster, 1000, 0.95, 1)
    other = resample.mean_with_interval(tuned, cluster, 1000, 0.95, 1)
    assert low > 0
    assert high - low < (one[2] - one[1]) / 5
    assert other[1] < one[2]
    assert resample.sign_flip(tuned - base, cluster, 999, 1) < 0.01


def test_the_sign_flip_test_is_exact_where_it_can_be_worked_out() -> None:
    gap, cluster = np.ones(8), np.arange(8)
    expected = binomtest(8, 8).pvalue
    assert resample.sign_flip(gap, cluster, 20_000, 1) == pytest.approx(expected, rel=0.25)


def test_the_sign_flip_test_flips_whole_questions() -> None:
    gap = np.repeat(floats(1, 1, 1, 1), 50)
    together = resample.sign_flip(gap, np.repeat(np.arange(4), 50), 4000, 1)
    assert together == pytest.approx(2 / 16, rel=0.25)
    assert resample.sign_flip(gap, np.arange(200), 4000, 1) < 0.01


def test_a_p_value_is_never_0_and_leaves_out_what_is_unknown() -> None:
    gap, cluster = np.append(np.full(40, 5.0), NAN), np.append(np.arange(40), 3)
    assert resample.sign_flip(gap, cluster, 99, 1) == pytest.approx(1 / 100)


def test_p_values_of_equal_systems_are_spread_over_0_to_1() -> None:
    p = []
    for seed in range(150):
        gap, cluster = clustered(seed, 25, 4, spread=1.0)
        p.append(resample.sign_flip(gap, cluster, 199, seed))
    assert 0.4 < np.mean(p) < 0.6
    assert np.mean(np.array(p) <= 0.1) < 0.2


# The stage score -----------------------------------------------------------------------------

CAVEAT = "simulated survey"
RUN = ("m", "base", "ood")
EVALUATION = Evaluation(0.95, 60, 1)
KINDS = {"Q1": "ordinal", "Q2": "ordinal", "Q3": "nominal"}
SUBGROUPS = {"sex": ["sex=female", "sex=male"], "age": ["age=old", "age=young"]}


def pairs_table(subgroups: dict[str, list[str]] | None = None) -> pd.DataFrame:
    rows = [
        {
            "stratum": stratum,
            "subgroup": subgroup,
            "question": question,
            "block": "values",
            "measurement_level": kind,
            "scale_min": 1,
            "scale_max": 3,
            "mode": 1 + (i + s) % 3,
            "tied": False,
            "codes": [1, 2, 3],
            "distribution": [0.5, 0.25, 0.25],
            "n": 40,
            "respondents": 50,
            "persona": "p",
            "closed_prompt": "c",
            "open_prompt": "o",
        }
        for stratum, names in (subgroups or SUBGROUPS).items()
        for s, subgroup in enumerate(names)
        for i, (question, kind) in enumerate(KINDS.items())
    ]
    return pd.DataFrame(rows)


def predictions_table(pairs: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    said = {
        "text": "Answer: 1",
        "outcome": "answer",
        "answer": 1,
        "codes": [[1, 2, 3]] * len(pairs),
        "logprobs": None,
        "distribution": [[0.5, 0.25, 0.25]] * len(pairs),
        "non_option_mass": 0.1,
        "tokens": 20,
        "prompt_hash": "h",
        "weights": "w",
        "adapter": "",
    }
    return pairs[["stratum", "subgroup", "question"]].assign(**{**said, **changes})


def score(folder: Path, pairs: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    io.write_table(pairs, folder / "pairs.parquet", "pairs")
    io.write_table(predictions, folder / "predictions.parquet", "predictions")
    outputs = [str(folder / f"{stratum}.parquet") for stratum in sorted(set(pairs["stratum"]))]
    inputs = [x for n in ("pairs", "predictions") for x in (f"--{n}", str(folder / f"{n}.parquet"))]
    spec = to_json(Score(CAVEAT))
    assert main(["score", "--spec", spec, *inputs, "--output", *outputs]) == 0
    return io.read_table(outputs, "scores")


def test_the_stage_scores_every_pair_of_every_stratum(tmp_path: Path) -> None:
    pairs = pairs_table()
    scores = score(tmp_path, pairs, predictions_table(pairs).sample(frac=1, random_state=1))
    assert len(scores) == len(pairs)
    both = scores.drop(columns="measurement_level", errors="ignore").merge(pairs)
    np.testing.assert_array_equal(both["accuracy"], (both["mode"] == 1).astype(float))
    expected = np.where(both["measurement_level"] == "ordinal", (both["mode"] - 1) / 2, NAN)
    np.testing.assert_allclose(both["nmae"], expected)
    np.testing.assert_allclose(both["jensen_shannon"], 0, atol=1e-12)
    np.testing.assert_allclose(both["total_variation"], 0, atol=1e-12)
    np.testing.assert_allclose(both["confidence"], both["distribution"].map(max))
    likeliest = [
        c[int(np.argmax(d))] for c, d in zip(both["codes"], both["distribution"], strict=True)
    ]
    np.testing.assert_array_equal(both["argmax_accuracy"], likeliest == both["mode"])
    assert (both["answer"] == 1).all()
    np.testing.assert_allclose(
        both["wasserstein"], np.where(both["measurement_level"] == "ordinal", 0, NAN)
    )
    assert io.caveat_of(tmp_path / "sex.parquet") == CAVEAT


@pytest.mark.parametrize("outcome", ["refusal", "invalid", "failed"])
def test_what_is_no_answer_has_no_accuracy_and_is_not_wrong(tmp_path: Path, outcome: str) -> None:
    pairs = pairs_table()
    predictions = predictions_table(pairs)
    predictions.loc[[0, 5], "outcome"] = outcome
    predictions["answer"] = predictions["answer"].where(predictions["outcome"] == "answer")
    scores = score(tmp_path, pairs, predictions)
    assert scores["outcome"].value_counts()[outcome] == 2
    lost = scores["outcome"] == outcome
    assert scores.loc[lost, ["accuracy", "nmae"]].isna().all(axis=None)
    assert scores.loc[~lost, "accuracy"].notna().all()
    assert scores["jensen_shannon"].notna().all()


def test_without_a_distribution_there_is_no_distance(tmp_path: Path) -> None:
    pairs = pairs_table()
    lists: list[Any] = [[0.2, 0.3, 0.5]] * len(pairs)
    lists[4] = None
    scores = score(tmp_path, pairs, predictions_table(pairs, distribution=lists))
    for metric in ("jensen_shannon", "total_variation", "argmax_accuracy", "confidence"):
        assert scores[metric].isna().sum() == 1
    assert scores["accuracy"].notna().all()


def test_a_pair_without_prediction_is_an_error(tmp_path: Path) -> None:
    pairs = pairs_table()
    with pytest.raises(ValueError, match="outcome"):
        score(tmp_path, pairs, predictions_table(pairs).drop(index=3))


def test_a_prediction_without_pair_is_an_error(tmp_path: Path) -> None:
    pairs = pairs_table()
    with pytest.raises(ValueError, match="prediction"):
        score(tmp_path, pairs.drop(index=3), predictions_table(pairs))


def test_two_predictions_of_one_pair_are_an_error(tmp_path: Path) -> None:
    pairs = pairs_table()
    twice = predictions_table(pairs.iloc[[*range(len(pairs)), 2]])
    with pytest.raises(ValueError, match="one-to-one"):
        score(tmp_path, pairs, twice)


# The stage fairness --------------------------------------------------------------------------


def scores_table(pairs: pd.DataFrame, accuracy: np.ndarray | None = None) -> pd.DataFrame:
    """Scores of these pairs; a NaN accuracy is a refusal."""
    found = np.ones(len(pairs)) if accuracy is None else accuracy
    is_ordinal = (pairs["measurement_level"] == "ordinal").to_numpy()
    scores = pairs[["stratum", "subgroup", "question", "block", "measurement_level"]].assign(
        outcome=np.where(np.isnan(found), "refusal", "answer"),
        answer=pd.array(2 - found, dtype="Float64").astype("Int64"),
        accuracy=found,
        nmae=np.where(is_ordinal, 1 - found, NAN),
        wasserstein=np.where(is_ordinal, 0.25, NAN),
        jensen_shannon=0.125,
        total_variation=0.5,
        argmax_accuracy=np.nan_to_num(found),
        confidence=0.75,
        non_option_mass=0.0,
    )
    return scores[[c.name for c in TABLES["scores"]]]


def fair(folder: Path, scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    files = []
    for stratum, own in scores.groupby("stratum"):
        files.append(str(folder / f"{stratum}.parquet"))
        io.write_table(own, files[-1], "scores")
    said = ["--spec", to_json(Fairness(RUN, EVALUATION, CAVEAT)), "--scores", *files]
    outputs = [x for n in ("fairness", "groups") for x in (f"--{n}", str(folder / f"{n}.out"))]
    assert main(["fairness", *said, *outputs]) == 0
    unequal, groups = (io.read_table(folder / f"{n}.out", n) for n in ("fairness", "groups"))
    return unequal, groups


def crossed(n: int = 40) -> pd.DataFrame:
    """Pairs of sex x age on n questions, one in four of them nominal."""
    names = [f"sex={s} & age={a}" for s in ("male", "female") for a in ("young", "old")]
    rows = [
        {
            "stratum": "sex-x-age",
            "subgroup": name,
            "question": f"Q{q:03}",
            "block": "values",
            "measurement_level": "nominal" if q % 4 == 3 else "ordinal",
        }
        for name in names
        for q in range(n)
    ]
    return pd.DataFrame(rows)


def test_the_stage_finds_who_is_served_worst(tmp_path: Path) -> None:
    pairs = crossed()
    rng = np.random.default_rng(1)
    old = pairs["subgroup"].str.contains("age=old").to_numpy()
    accuracy = (rng.random(len(pairs)) < np.where(old, 0.3, 0.9)).astype(float)
    unequal, groups = fair(tmp_path, scores_table(pairs, accuracy))
    assert set(unequal["level"]) == {"subgroups", "sex", "age"}
    ages = unequal[unequal["level"] == "age"]
    assert set(ages["metric"]) == {"accuracy", "nmae"}
    assert set(ages["best"]) == {"young"}
    assert set(ages["worst"]) == {"old"}
    assert (ages["p_value"] < 0.05).all()
    assert set(ages["groups"]) == {2}
    sexes = unequal[unequal["level"] == "sex"]
    assert (sexes["p_value"] > 0.02).all()
    by_hand = accuracy[old].mean(), accuracy[~old].mean()
    shown = groups[(groups["level"] == "age") & (groups["metric"] == "accuracy")]
    assert shown.set_index("group")["value"].to_dict() == pytest.approx(
        {"old": by_hand[0], "young": by_hand[1]}
    )
    gap = ages[(ages["metric"] == "accuracy") & (ages["statistic"] == "norm_range")]
    assert gap["value"].item() == pytest.approx((by_hand[1] - by_hand[0]) / by_hand[1])
    assert (unequal["ci_low"] <= unequal["value"]).all()
    assert (unequal["value"] <= unequal["ci_high"]).all()


def test_only_pairs_that_were_asked_can_be_missing(tmp_path: Path) -> None:
    pairs = crossed()
    not_asked = (pairs["subgroup"] == "sex=male & age=old") & (pairs["question"] >= "Q030")
    pairs = pairs[~not_asked].reset_index(drop=True)
    accuracy = np.ones(len(pairs))
    accuracy[:3] = NAN
    _, groups = fair(tmp_path, scores_table(pairs, accuracy))
    shown = groups[(groups["metric"] == "accuracy") & (groups["level"] == "subgroups")]
    cells = shown.set_index("group")[["n", "missing"]].T.to_dict("list")
    assert cells["sex=male & age=old"] == [30, 0]
    assert cells["sex=male & age=young"] == [37, 3]
    assert cells["sex=female & age=old"] == [40, 0]
    sexes = groups[(groups["metric"] == "accuracy") & (groups["level"] == "sex")]
    assert sexes.set_index("group")["missing"].to_dict() == {"male": 3, "female": 0}


def test_a_nominal_pair_is_not_asked_for_an_nmae(tmp_path: Path) -> None:
    pairs = crossed()
    accuracy = np.ones(len(pairs))
    accuracy[:2] = NAN
    unequal, groups = fair(tmp_path, scores_table(pairs, accuracy))
    shown = groups[(groups["metric"] == "nmae") & (groups["level"] == "subgroups")]
    refused = "sex=male & age=young"
    assert shown.set_index("group")["n"].to_dict() == {
        name: 28 if name == refused else 30 for name in pairs["subgroup"].unique()
    }
    assert shown.set_index("group")["missing"].to_dict() == {
        name: 2 if name == refused else 0 for name in pairs["subgroup"].unique()
    }
    assert set(unequal[unequal["metric"] == "nmae"]["missing"]) == {2}


def test_the_groups_of_an_axis_pool_the_strata_that_know_it(tmp_path: Path) -> None:
    pairs = pd.concat([crossed(20), crossed(20).assign(stratum="age", subgroup="age=old")])
    pairs = pairs.drop_duplicates(["stratum", "subgroup", "question"]).reset_index(drop=True)
    accuracy = np.where(pairs["stratum"] == "age", 1.0, 0.5)
    _, groups = fair(tmp_path, scores_table(pairs, accuracy))
    shown = groups[(groups["metric"] == "accuracy")].set_index(["level", "group"])
    assert shown.loc[("age", "old"), "n"] == 60
    assert shown.loc[("age", "old"), "value"] == pytest.approx((40 * 0.5 + 20) / 60)
    assert shown.loc[("sex", "male"), "n"] == 40


def test_a_subgroup_without_any_score_is_not_compared(tmp_path: Path) -> None:
    pairs = crossed(20)
    accuracy = (np.arange(len(pairs)) % 3 > 0).astype(float)
    accuracy[:20] = NAN
    unequal, groups = fair(tmp_path, scores_table(pairs, accuracy))
    cells = unequal[(unequal["level"] == "subgroups") & (unequal["metric"] == "accuracy")]
    assert set(cells["groups"]) == {3}
    assert set(cells["missing"]) == {20}
    shown = groups[groups["group"] == "sex=male & age=young"]
    assert shown["value"].isna().all()


def test_a_single_group_has_no_inequality(tmp_path: Path) -> None:
    pairs = crossed(10)
    pairs = pairs[pairs["subgroup"] == "sex=male & age=old"].reset_index(drop=True)
    unequal, groups = fair(tmp_path, scores_table(pairs))
    assert unequal.empty
    assert len(groups) == 6


# The stage compare ---------------------------------------------------------------------------

ASKED = crossed(40)


def verdicts_table(pairs: pd.DataFrame, scores: list[float]) -> pd.DataFrame:
    known = np.isfinite(scores)
    return pairs[["stratum", "subgroup", "question"]].assign(
        dimension="overall",
        outcome=np.where(known, "verdict", "invalid"),
        as_first=np.where(known, scores, NAN),
        as_second=np.where(known, scores, NAN),
        score=scores,
        flipped=pd.array([False if k else None for k in known], dtype="boolean"),
        length_difference=0,
        judge="j",
    )


def results(folder: Path, runs: dict[tuple[str, str], np.ndarray]) -> Path:
    """A study's folder: pairs and each run's scores, from accuracies."""
    pairs = pairs_table().iloc[[0] * len(ASKED)].reset_index(drop=True)
    pairs[ASKED.columns] = ASKED
    io.write_table(pairs, folder / paths.PAIRS.format(split="ood"), "pairs")
    for (model, variant), accuracy in runs.items():
        place = paths.SCORES.format(model=model, variant=variant, split="ood", stratum="sex-x-age")
        io.write_table(scores_table(ASKED, accuracy), folder / place, "scores")
    noise_ceiling = ASKED[PAIR].assign(accuracy=0.9, nmae=0.05, wasserstein=0.02)
    io.write_table(noise_ceiling, folder / "noise_ceiling", "noise_ceiling")
    return folder


def compare(
    folder: Path,
    models: dict[str, tuple[str, ...]],
    judges: tuple[str, ...] = (),
    wordings: dict[str, tuple[str, ...]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    spec = Compare(
        models=models,
        wordings=dict.fromkeys(models, ()) | (wordings or {}),
        baselines=tuple(m for m in models if m.endswith("-mode")),
        persona_agnostic=tuple(m for m in models if m == "national-mode"),
        splits={"ood": ("sex-x-age",)},
        judges=judges,
        judged_splits=("ood",) if judges else (),
        evaluation=EVALUATION,
        caveat=CAVEAT,
    )
    outputs = {n: folder / f"{n}.parquet" for n in ("runs", "differences")}
    said = [x for n, path in outputs.items() for x in (f"--{n}", str(path))]
    said += ["--noise_ceiling", str(folder / "noise_ceiling")]
    assert main(["compare", "--spec", to_json(spec), "--results", str(folder), *said]) == 0
    runs, differences = (io.read_table(path, n) for n, path in outputs.items())
    assert io.caveat_of(outputs["runs"]) == CAVEAT
    return runs, differences


def cell(table: pd.DataFrame, **where: str) -> dict[str, Any]:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return {str(k): v for k, v in table.iloc[0].items()}


def some_accuracy(seed: int, rate: float) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(ASKED)) < rate).astype(float)


def test_every_metric_of_a_run_comes_with_n_and_missing(tmp_path: Path) -> None:
    accuracy = some_accuracy(1, 0.6)
    accuracy[:8] = NAN
    runs, _ = compare(results(tmp_path, {("m", "base"): accuracy}), {"m": ("base",)})
    found = cell(runs, metric="accuracy")
    assert (found["n"], found["missing"]) == (152, 8)
    assert found["value"] == pytest.approx(np.nanmean(accuracy))
    assert found["ci_low"] < found["value"] < found["ci_high"]
    found = cell(runs, metric="nmae")
    assert (found["n"], found["missing"]) == (114, 6)
    found = cell(runs, metric="refusal")
    assert (found["n"], found["missing"]) == (160, 0)
    assert found["value"] == pytest.approx(8 / 160)
    found = cell(runs, metric="wasserstein")
    assert (found["n"], found["missing"]) == (120, 0)
    assert cell(runs, metric="failed")["value"] == 0


def test_a_run_without_distributions_has_its_answers_scored_and_the_rest_missing(
    tmp_path: Path,
) -> None:
    """Trap 11: a served model tells no distribution; others keep theirs."""
    runs_by_name = {("m", "base"): some_accuracy(1, 0.6), ("closed", "base"): some_accuracy(5, 0.6)}
    results(tmp_path, runs_by_name)
    of_all = (
        "jensen_shannon",
        "total_variation",
        "argmax_accuracy",
        "confidence",
        "non_option_mass",
    )
    unknown = dict.fromkeys(("wasserstein", *of_all), NAN)
    place = paths.SCORES.format(model="closed", variant="base", split="ood", stratum="sex-x-age")
    scores = scores_table(ASKED, runs_by_name["closed", "base"]).assign(**unknown)
    io.write_table(scores, tmp_path / place, "scores")
    results(tmp_path, {("x-mode", "base"): some_accuracy(6, 0.5)})
    models = {"m": ("base",), "closed": ("base",), "x-mode": ("base",)}
    runs, differences = compare(tmp_path, models)
    assert cell(runs, model="closed", metric="accuracy")["n"] == 160
    asked_by = {"wasserstein": 120, **dict.fromkeys((*of_all, "calibration_error"), 160)}
    for metric, asked in asked_by.items():
        found = cell(runs, model="closed", metric=metric)
        assert (found["n"], found["missing"]) == (0, asked)
        assert np.isnan(found["value"])
        assert cell(runs, model="m", metric=metric)["n"] == asked
    metrics = {m: set(own["metric"]) for m, own in differences.groupby("model")}
    assert metrics["closed"] == {"accuracy", "nmae", "refusal"}
    distances = {"wasserstein", "jensen_shannon", "total_variation"}
    assert metrics["m"] == metrics["closed"] | distances | {"calibration_error"}


def test_systems_are_compared_on_the_pairs_that_both_answered(tmp_path: Path) -> None:
    base, tuned = some_accuracy(2, 0.5), some_accuracy(3, 0.7)
    base[:20] = NAN
    tuned[10:50] = NAN
    runs = {("m", "base"): base, ("m", "sft"): tuned}
    _, differences = compare(results(tmp_path, runs), {"m": ("base", "sft")})
    found = cell(differences, metric="accuracy")
    assert (found["variant"], found["other_variant"]) == ("sft", "base")
    assert (found["n"], found["missing"]) == (110, 50)
    assert found["value"] == pytest.approx((tuned - base)[50:].mean())
    assert found["ci_low"] <= found["value"] <= found["ci_high"]
    refusal = cell(differences, metric="refusal")
    assert (refusal["n"], refusal["missing"]) == (160, 0)
    assert refusal["value"] == pytest.approx(40 / 160 - 20 / 160)


def test_a_copy_of_a_system_differs_by_exactly_nothing(tmp_path: Path) -> None:
    base = some_accuracy(4, 0.5)
    runs = {("m", "base"): base, ("m", "sft"): base.copy()}
    _, differences = compare(results(tmp_path, runs), {"m": ("base", "sft")})
    assert (differences[["value", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert (differences["p_value"] == 1).all()


def test_a_better_variant_is_found(tmp_path: Path) -> None:
    base = some_accuracy(5, 0.4)
    tuned = np.maximum(base, some_accuracy(6, 0.3))
    runs = {("m", "base"): base, ("m", "sft"): tuned}
    _, differences = compare(results(tmp_path, runs), {"m": ("base", "sft")})
    found = cell(differences, metric="accuracy")
    assert found["ci_low"] > 0
    assert found["p_value"] < 0.05
    assert cell(differences, metric="nmae")["ci_high"] < 0


def test_every_language_model_is_compared_with_every_baseline(tmp_path: Path) -> None:
    models = {"a": ("base", "sft"), "b": ("base",), "x-mode": ("base",), "y-mode": ("base",)}
    runs = {(m, v): some_accuracy(7, 0.5) for m, variants in models.items() for v in variants}
    _, differences = compare(results(tmp_path, runs), models)
    columns = ["model", "variant", "other_model", "other_variant"]
    found = set(
        differences[differences["metric"] == "accuracy"][columns].itertuples(index=False, name=None)
    )
    language = [("a", "base"), ("a", "sft"), ("b", "base")]
    against = {(*one, other, "base") for one in language for other in ("x-mode", "y-mode")}
    assert found == {("a", "sft", "a", "base"), *against}


def test_a_wording_is_compared_with_the_study_s_own_and_a_tuned_one_with_its_base(
    tmp_path: Path,
) -> None:
    own, other = some_accuracy(12, 0.6), some_accuracy(13, 0.4)
    other[:10] = NAN
    runs = {("m", v): own for v in ("base", "sft")} | {("x-mode", "base"): own}
    runs |= {("m", v): other for v in ("base+w", "sft+w")}
    metrics, differences = compare(
        results(tmp_path, runs),
        {"m": ("base", "sft"), "x-mode": ("base",)},
        wordings={"m": ("base+w", "sft+w")},
    )
    assert set(metrics["variant"]) == {"base", "sft", "base+w", "sft+w"}
    pairs = differences[["variant", "other_model", "other_variant"]].drop_duplicates()
    assert sorted(pairs.itertuples(index=False, name=None)) == [
        ("base", "x-mode", "base"),
        ("base+w", "m", "base"),
        ("sft", "m", "base"),
        ("sft", "x-mode", "base"),
        ("sft+w", "m", "base+w"),
        ("sft+w", "m", "sft"),
    ]
    changed = differences[differences["metric"] == "changed"]
    assert list(changed["variant"]) == ["base+w", "sft+w"]
    assert list(changed["other_variant"]) == ["base", "sft"]
    found = cell(changed, variant="sft+w")
    assert (found["n"], found["missing"]) == (150, 10)
    assert found["value"] == pytest.approx((own != other)[10:].mean())
    assert found["ci_low"] < found["value"] < found["ci_high"]
    assert pd.isna(found["p_value"])
    gap = cell(differences, metric="accuracy", variant="sft+w", other_variant="sft")
    assert gap["value"] == pytest.approx((other - own)[10:].mean())


def test_calibration_is_compared_too(tmp_path: Path) -> None:
    base, tuned = some_accuracy(14, 0.3), some_accuracy(15, 0.75)
    runs = {("m", "base"): base, ("m", "sft"): tuned}
    metrics, differences = compare(results(tmp_path, runs), {"m": ("base", "sft")})
    found = cell(metrics, metric="calibration_error", variant="base")
    assert found["value"] == pytest.approx(abs(base.mean() - 0.75))
    assert (found["n"], found["missing"]) == (160, 0)
    gap = cell(differences, metric="calibration_error")
    assert gap["value"] == pytest.approx(abs(tuned.mean() - 0.75) - abs(base.mean() - 0.75))
    assert gap["ci_high"] < 0
    assert gap["p_value"] < 0.05


def test_a_study_of_baselines_alone_has_no_differences(tmp_path: Path) -> None:
    runs = {("x-mode", "base"): some_accuracy(8, 0.5)}
    metrics, differences = compare(results(tmp_path, runs), {"x-mode": ("base",)})
    assert differences.empty
    assert set(metrics["model"]) == {"x-mode"}


def test_verdicts_count_only_for_pairs_that_were_judged(tmp_path: Path) -> None:
    models = {"m": ("base", "sft"), "x-mode": ("base",)}
    runs = {(m, v): some_accuracy(9, 0.5) for m, variants in models.items() for v in variants}
    folder = results(tmp_path, runs)
    judged = ASKED.iloc[::10]
    base, tuned = [0.5] * 16, [1.0] * 12 + [0.0] * 2 + [NAN] * 2
    for variant, scores in (("base", base), ("sft", tuned)):
        said = {"model": "m", "variant": variant, "split": "ood", "judge": "j"}
        io.write_table(
            verdicts_table(judged, scores), folder / paths.VERDICTS.format(**said), "verdicts"
        )
    metrics, differences = compare(folder, models, ("j",))
    found = cell(metrics, metric="win_rate:j:overall", variant="sft")
    assert (found["n"], found["missing"]) == (14, 2)
    assert found["value"] == pytest.approx(12 / 14)
    found = cell(metrics, metric="flip_rate:j:overall", variant="base")
    assert (found["n"], found["missing"], found["value"]) == (16, 0, 0)
    assert not metrics[metrics["model"] == "x-mode"]["metric"].str.contains("rate:").any()
    found = cell(differences, metric="win_rate:j:overall")
    assert (found["n"], found["missing"]) == (14, 2)
    assert found["value"] == pytest.approx(12 / 14 - 0.5)


def test_comparing_is_the_same_when_run_again_and_in_another_order(tmp_path: Path) -> None:
    runs = {("m", "base"): some_accuracy(10, 0.5), ("m", "sft"): some_accuracy(11, 0.6)}
    folder = results(tmp_path, runs)
    once = compare(folder, {"m": ("base", "sft")})
    place = paths.SCORES.format(model="m", variant="sft", split="ood", stratum="sex-x-age")
    shuffled = io.read_table(folder / place, "scores").sample(frac=1, random_state=2)
    io.write_table(shuffled, folder / place, "scores")
    again = compare(folder, {"m": ("base", "sft")})
    for one, other in zip(once, again, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_the_way_to_perfect_knowledge_starts_at_a_baseline_that_knows_no_persona(
    tmp_path: Path,
) -> None:
    half = (np.arange(len(ASKED)) % 2).astype(float)
    better = np.where(np.arange(len(ASKED)) % 4 == 0, half, 1.0) * 0.9
    models = {"national-mode": ("base",), "axis-mode": ("base",), "m": ("base",)}
    every = {("national-mode", "base"): half, ("axis-mode", "base"): better, ("m", "base"): half}
    runs, _ = compare(results(tmp_path, every), models)
    metric = "normalized_gain:national-mode:accuracy"
    assert cell(runs, model="m", metric=metric)["value"] == 0
    way = cell(runs, model="axis-mode", metric=metric)
    expected = (better.mean() - half.mean()) / (0.9 - half.mean())
    assert way["value"] == pytest.approx(expected)
    assert way["ci_low"] <= way["value"] <= way["ci_high"]
    assert (way["n"], way["missing"]) == (len(ASKED), 0)
    other = results(tmp_path / "other", {("axis-mode", "base"): better})
    assert (
        not compare(other, {"axis-mode": ("base",)})[0]["metric"]
        .str.contains("normalized_gain:")
        .any()
    )


# The stage summary ---------------------------------------------------------------------------


def test_the_summary_counts_and_scores_the_baselines(tmp_path: Path) -> None:
    questions = pd.DataFrame(
        {
            "question": ["Q1"],
            **{name: ["x"] for name in ("topic", "text", "block")},
            "measurement_level": ["ordinal"],
            "scale_min": [1],
            "scale_max": [3],
            "codes": [[1, 2, 3]],
            "labels": [["", "", ""]],
            "n": [10],
            "missing": [0],
        }
    )
    pairs = pairs_table({"sex": ["sex=male", "sex=female"]})
    pairs = pairs[pairs["question"] == "Q1"].assign(mode=[1, 2], tied=[True, False])
    diverse = pd.DataFrame(
        {
            "stratum": ["mean"] * 2,
            "question": ["mean"] * 2,
            "block": ["x", "all"],
            "measure": ["mds"] * 2,
            "value": [0.5, None],
            "ci_low": [0.4, None],
            "ci_high": [0.6, None],
            "n": [1, 0],
            "missing": [0, 1],
            "null_mean": [0.2, None],
            "null_p95": [0.3, None],
            "p_value": [0.01, None],
        }
    )
    ranks = pd.DataFrame(
        {
            "stratum": ["sex", "mean"],
            "coefficient": "kendall",
            "value": [0.1, 0.2],
            "ci_low": [0.0, 0.1],
            "ci_high": [0.2, 0.3],
            "n": 5,
            "missing": 1,
        }
    )
    labels = pairs[[*PAIR, "codes", "n", "respondents"]].assign(
        mode_unweighted=[1, 2],
        mode_weighted=[1, 1],
        tied_unweighted=[True, False],
        tied_weighted=False,
        distribution_unweighted=[[0.5, 0.5, 0.0], [0.2, 0.6, 0.2]],
        distribution_weighted=[[0.6, 0.4, 0.0], [0.5, 0.3, 0.2]],
    )
    people = pd.DataFrame({"respondent": list("abc"), "weight": 1.0, "sex": ["male", "male", None]})
    people["Q1"] = [1, 1, 2]
    ceilings = pd.DataFrame(
        {
            "measurement_level": "noise_ceiling",
            "level": ["all", "subgroups"],
            "group": ["all", "sex=male"],
            "split": "ood",
            "metric": "accuracy",
            "value": [0.8, 0.7],
            "ci_low": 0.6,
            "ci_high": 0.9,
            "n": 2,
            "missing": 0,
        }
    )
    io.write_table(ceilings, tmp_path / "ceilings", "ceilings")
    io.write_table(ranks, tmp_path / "agreement", "agreement")
    io.write_table(labels, tmp_path / "labels", "labels")
    io.write_table(people, tmp_path / "responses", "responses")
    io.write_table(questions, tmp_path / "questions", "questions")
    io.write_table(diverse, tmp_path / "diversity", "diversity")
    io.write_table(pairs, tmp_path / "ood.parquet", "pairs")
    sexes = (Group("male", ("1",), 2), Group("female", ("2",), 0))
    io.write_json(dataclasses.asdict(Groups((), {"sex": sexes})), tmp_path / "groups")
    weighting = Weighting("unweighted", "weighted")
    spec = Summary("demo", "a survey", "Utopia", ("ood",), weighting, EVALUATION, CAVEAT)
    tables = ("responses", "questions", "groups", "diversity", "agreement", "ceilings", "labels")
    inputs = [x for n in tables for x in (f"--{n}", str(tmp_path / n))]
    said = [*inputs, "--pairs", str(tmp_path / "ood.parquet")]
    out = tmp_path / "summary.json"
    assert main(["summary", "--spec", to_json(spec), *said, "--output", str(out)]) == 0
    found = io.read_json(out)
    assert (found["respondents"], found["questions"], found["caveat"]) == (3, 1, CAVEAT)
    assert found["groups"] == {"sex": {"male": 2, "female": 0}}
    split = found["splits"]["ood"]
    sizes = {k: v for k, v in split.items() if k not in ("baselines", "ceilings", "labels")}
    assert sizes == {"strata": {"sex": 2}, "subgroups": 2, "pairs": 2, "tied_modes": 1}
    scored = found["splits"]["ood"]["baselines"]
    # without the men one woman's 2 is left, without the women the men's 1 and that 2: ties to 1
    assert set(scored) == {"national_mode", "axis_mode"}
    for rule in scored:
        assert scored[rule]["accuracy"]["value"] == 0.0
        assert scored[rule]["nmae"]["value"] == 0.5
    about = {"value": 0.8, "ci_low": 0.6, "ci_high": 0.9, "n": 2, "missing": 0}
    assert split["ceilings"] == {"split_half": {}, "noise_ceiling": {"accuracy": about}}
    read = split["labels"]
    assert (read["mode"], read["tied_unweighted"], read["tied_weighted"]) == ("unweighted", 1, 0)
    assert (read["changed"]["value"], read["changed"]["n"]) == (0.5, 2)
    assert read["moved"]["value"] == pytest.approx((0.1 + 0.3) / 2)
    assert found["rank_agreement"]["kendall"]["value"] == 0.2
    assert (scored["axis_mode"]["nmae"]["n"], scored["axis_mode"]["nmae"]["missing"]) == (2, 0)
    assert found["blocks"]["x"]["mds"] == {
        "value": 0.5,
        "ci_low": 0.4,
        "ci_high": 0.6,
        "n": 1,
        "missing": 0,
        "null_mean": 0.2,
        "null_p95": 0.3,
        "p_value": 0.01,
    }
    assert found["blocks"]["all"]["mds"]["value"] is None
