"""Norm.Range and CV, their intervals and the null of equal groups."""

import numpy as np
import pytest

from valuestrata.metrics import fairness

NAN = float("nan")


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_norm_range_and_cv_by_hand() -> None:
    for performance, norm_range, cv in (
        ([0.5, 0.5, 0.5], 0.0, 0.0),
        ([0.4, 0.8], 0.5, 0.2 / 0.6),
        ([0.2, 0.4, 0.6, 0.8], 0.75, np.sqrt(0.05) / 0.5),
        ([0.0, 1.0], 1.0, 1.0),
    ):
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
    means = fairness.resampled_means(VALUES, MEMBER, draws)
    expected = [
        fairness.group_means(np.repeat(VALUES, d.astype(int), axis=1), MEMBER) for d in draws
    ]
    np.testing.assert_allclose(means, expected)
    np.testing.assert_allclose(means[0], fairness.group_means(VALUES, MEMBER))


def test_the_null_moves_scores_within_their_question_and_leaves_gaps_where_they_are() -> None:
    values = floats([0.1, 10, NAN], [0.2, NAN, 300], [0.3, 20, 100])
    alone = fairness.null_means(values, np.eye(3), 200, seed=1)
    counts = np.isfinite(values).sum(axis=1)
    np.testing.assert_allclose((alone * counts).sum(axis=1), np.nansum(values))
    sums = np.round(alone * counts, 6)
    possible = {round(a + b, 6) for a in (0.1, 0.2, 0.3) for b in (10, 20)}
    assert set(sums[:, 0]) == possible


def test_the_null_does_not_depend_on_the_chunk_size() -> None:
    values = np.random.default_rng(1).random((5, 7))
    means = fairness.null_means(values, np.eye(5), 30, seed=2, chunk_size=30)
    np.testing.assert_allclose(
        means, fairness.null_means(values, np.eye(5), 30, seed=2, chunk_size=7)
    )


def identical_groups(seed: int, groups: int = 48, questions: int = 214) -> np.ndarray:
    return (np.random.default_rng(seed).random((groups, questions)) < 0.62).astype(np.float64)


def by_name(statistics: list[fairness.Inequality]) -> dict[str, fairness.Inequality]:
    return {statistic.statistic: statistic for statistic in statistics}


def test_identical_groups_show_the_gap_that_chance_makes_and_no_evidence() -> None:
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        uneven = (rng.random((48, 214)) < rng.beta(1.24, 0.76, 214)).astype(np.float64)
        for values, ranges, cvs in (
            (identical_groups(seed), (0.19, 0.23), (0.048, 0.056)),
            (uneven, (0.14, 0.20), (0.036, 0.049)),
        ):
            assert values.mean() == pytest.approx(0.62, abs=0.04)
            statistics = by_name(fairness.inequalities(values, np.eye(48), 100, 0.95, seed))
            assert ranges[0] <= statistics["norm_range"].null_mean <= ranges[1]
            assert cvs[0] <= statistics["cv"].null_mean <= cvs[1]
            for statistic in statistics.values():
                assert statistic.value == pytest.approx(statistic.null_mean, rel=0.4)
                assert statistic.p_value > 0.01
                assert statistic.null_mean < statistic.null_p95
                assert statistic.ci_low <= statistic.value <= statistic.ci_high


def test_p_values_of_identical_groups_are_spread_over_0_to_1() -> None:
    values = [identical_groups(seed, 12, 40) for seed in range(100, 140)]
    p = [fairness.inequalities(v, np.eye(12), 99, 0.95, 1)[0].p_value for v in values]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.05) < 0.2
    assert min(p) < 0.3


def test_a_planted_gap_is_found() -> None:
    values = identical_groups(4, 20, 150)
    values[3, np.random.default_rng(5).random(150) < 0.5] = 0
    statistics = by_name(fairness.inequalities(values, np.eye(20), 199, 0.95, 1))
    for statistic in statistics.values():
        assert statistic.p_value == pytest.approx(1 / 200)
        assert statistic.value > statistic.null_p95


def test_a_gap_between_the_groups_of_an_axis_is_found() -> None:
    values = identical_groups(6, 20, 150)
    values[:10] *= np.random.default_rng(7).random((10, 150)) < 0.85
    member = np.repeat(np.eye(2), 10, axis=1)
    statistics = by_name(fairness.inequalities(values, member, 199, 0.95, 1))
    assert statistics["norm_range"].p_value < 0.02
    assert statistics["norm_range"].value > 2 * statistics["norm_range"].null_mean


def test_hard_and_easy_questions_alone_are_no_inequality() -> None:
    rng = np.random.default_rng(8)
    values = np.repeat((rng.random(100) < 0.5).astype(float)[None], 15, axis=0)
    for statistic in fairness.inequalities(values, np.eye(15), 50, 0.95, 1):
        assert statistic.value == pytest.approx(0)
        assert statistic.null_mean == pytest.approx(0)
        assert statistic.p_value == 1.0


def test_groups_that_are_all_at_0_are_no_evidence_of_a_gap() -> None:
    for statistic in fairness.inequalities(np.zeros((6, 20)), np.eye(6), 99, 0.95, 1):
        assert not statistic.p_value < 0.5
        assert not statistic.value > 0


def test_a_null_with_some_empty_draws_still_has_a_mean() -> None:
    values = np.zeros((4, 6))
    values[0, 0] = values[1, 1] = values[3, 5] = 1
    values[2, :5] = NAN
    for statistic in fairness.inequalities(values, np.eye(4)[:2], 99, 0.95, 1):
        assert np.isfinite(statistic.null_mean)
        assert np.isfinite(statistic.null_p95)
        assert 0 < statistic.p_value <= 1


def test_inequalities_are_the_same_when_computed_again() -> None:
    values = identical_groups(9, 8, 30)
    once = fairness.inequalities(values, np.eye(8), 50, 0.95, 3)
    assert fairness.inequalities(values, np.eye(8), 50, 0.95, 3) == once
    assert fairness.inequalities(values, np.eye(8), 50, 0.95, 4) != once


def test_group_intervals_hold_their_means() -> None:
    values = identical_groups(10, 6, 80)
    intervals = fairness.group_intervals(values, np.eye(6), 200, 0.95, 1)
    for s, (mean, low, high) in enumerate(intervals):
        assert mean == pytest.approx(values[s].mean())
        assert low < mean < high
        assert high - low == pytest.approx(2 * 1.96 * values[s].std() / np.sqrt(80), rel=0.3)
