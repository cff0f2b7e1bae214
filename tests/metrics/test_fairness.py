"""Norm.Range and CV, and the null of equal groups."""

from typing import Any

import numpy as np
import pytest

from bench import statistics
from valuestrata.metrics import fairness, resample

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


def identical_groups(seed: int, groups: int = 48, questions: int = 214) -> np.ndarray:
    return (np.random.default_rng(seed).random((groups, questions)) < 0.62).astype(np.float64)


def equal(values: np.ndarray, member: np.ndarray | None = None, n: int = 199) -> dict[str, Any]:
    groups = np.eye(len(values)) if member is None else member
    return fairness.equal_groups(fairness.group_scores(values, groups), n, 1)


def test_identical_groups_show_the_gap_that_chance_makes_and_no_evidence() -> None:
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        uneven = (rng.random((48, 214)) < rng.beta(1.24, 0.76, 214)).astype(np.float64)
        for values, ranges, cvs in (
            (identical_groups(seed), (0.19, 0.23), (0.048, 0.056)),
            (uneven, (0.14, 0.20), (0.036, 0.049)),
        ):
            nulls = equal(values)
            assert ranges[0] <= nulls["norm_range"].null_mean <= ranges[1]
            assert cvs[0] <= nulls["cv"].null_mean <= cvs[1]
            for null in nulls.values():
                assert null.test.p_value > 0.01
                assert null.null_mean < null.null_p95
            assert nulls["cv"].test == nulls["sd"].test


def test_planted_gaps_are_found_between_subgroups_and_between_the_groups_of_an_axis() -> None:
    values = identical_groups(4, 20, 150)
    values[3, np.random.default_rng(5).random(150) < 0.5] = 0
    for null in equal(values).values():
        assert null.test.p_value == pytest.approx(1 / 200)
    values = identical_groups(6, 20, 150)
    values[:10] *= np.random.default_rng(7).random((10, 150)) < 0.85
    assert equal(values, np.repeat(np.eye(2), 10, axis=1))["norm_range"].test.p_value < 0.02


def test_hard_and_easy_questions_alone_are_no_inequality() -> None:
    rng = np.random.default_rng(8)
    values = np.repeat((rng.random(100) < 0.5).astype(float)[None], 15, axis=0)
    for null in equal(values).values():
        assert null.null_mean == pytest.approx(0)
        assert null.test.p_value == 1.0
    for null in equal(np.zeros((6, 20))).values():
        assert not null.test.p_value < 0.5


def test_a_question_that_a_group_lacks_counts_neither_for_nor_against_it() -> None:
    """Two groups that are equal question by question; one was not asked the hard ones."""
    hard = np.repeat([1.0, 0.0], 50)
    values = np.stack([hard, np.where(hard > 0, hard, NAN)])
    assert np.ptp(fairness.group_means(values, np.eye(2))) == 0.5
    assert equal(values)["sd"].test.p_value == 1.0


def test_with_few_questions_all_sign_patterns_are_taken() -> None:
    values = np.stack([np.ones(6), np.zeros(6)])
    null = equal(values, n=64)["sd"]
    assert null.test == (2 / 64, 0.0)  # this pattern and its mirror image
    p, error = equal(values, n=63)["sd"].test
    assert error == pytest.approx(np.sqrt(p * (1 - p) / 64))


def test_a_persona_agnostic_model_is_rarely_unequal_by_any_level_nor_one_that_knows_all() -> None:
    """Overlapping subgroups. Of 10 worlds 4 are too many where tests have a size of 5%."""
    rows = {row["model"]: row for row in statistics.test_rows(40, 4, 0.15, 10)}
    agnostic, net = "persona-agnostic, at random (sd)", "knows all modes, accuracy, net (sd)"
    for name in (agnostic, net):
        for level in ("subgroups", "age", "ethnicity", "religion"):
            assert float(rows[name][level].split()[0]) <= 0.3, (name, level)
    # labels of small subgroups are noisier, and that alone would be called inequality
    assert float(rows["knows all modes, accuracy (sd)"]["subgroups"].split()[0]) > 0.3


def test_group_intervals_hold_their_means() -> None:
    values = identical_groups(10, 6, 80)
    intervals = fairness.group_intervals(values, np.eye(6), 200, 0.95, 1)
    for s, (mean, low, high) in enumerate(intervals):
        assert mean == pytest.approx(values[s].mean())
        assert low < mean < high
        assert high - low == pytest.approx(2 * 1.96 * values[s].std() / np.sqrt(80), rel=0.3)
    gaps = np.where(np.random.default_rng(1).random(values.shape) < 0.3, NAN, values)
    alone = [resample.mean_with_interval(row, np.arange(80), 200, 0.95, 1) for row in gaps]
    np.testing.assert_allclose(fairness.group_intervals(gaps, np.eye(6), 200, 0.95, 1), alone)
