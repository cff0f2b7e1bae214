"""Differences between groups: values worked out by hand, errors that simulation bears out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench import comparisons
from valuestrata.metrics import contrasts, multiplicity

NAN = float("nan")
LEVEL = 0.95


def matched(first: np.ndarray, second: np.ndarray) -> contrasts.Effects:
    ones = np.ones((1, 1))
    sums = [contrasts.totals(values[None], ones) for values in (first, second)]
    return contrasts.matched_difference(*sums)


def outcome(effects: contrasts.Effects) -> tuple[float, float, float]:
    low, high = contrasts.interval(effects, LEVEL)
    p = contrasts.two_sided(effects)
    return float(low[0]), float(high[0]), float(p[0])


def test_with_equal_weights_it_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(30), rng.random(30) + 0.2
    effects = matched(first, second)
    low, high, p = outcome(effects)
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(LEVEL)
    assert effects.value[0] == pytest.approx((first - second).mean())
    assert (low, high) == pytest.approx((interval.low, interval.high))
    assert p == pytest.approx(expected.pvalue)


def test_only_questions_that_both_have_count() -> None:
    first = np.array([1.0, 1, 1, NAN, 0, 1])
    second = np.array([0.0, 1, 0, 1, 0, NAN])
    effects = matched(first, second)
    assert effects.value[0] == pytest.approx(0.5)
    assert effects.questions[0] == 4


def test_an_identical_copy_differs_by_nothing_and_nothing_in_common_by_no_number() -> None:
    values = np.random.default_rng(2).random(9)
    assert outcome(matched(values, values)) == (0.0, 0.0, 1.0)
    apart = matched(np.array([1.0, NAN]), np.array([NAN, 1.0]))
    assert np.isnan(apart.value[0])
    assert np.isnan(outcome(apart)).all()


def test_few_questions_prove_little() -> None:
    """Two have no test; three that agree perfectly reach 1/4, as sign flips would."""
    for n, p in ((1, NAN), (2, NAN), (3, 0.25), (6, 1 / 32)):
        effects = matched(np.full(n, 1.0), np.zeros(n))
        assert outcome(effects)[2] == pytest.approx(p, nan_ok=True)


def test_verdicts_are_compared_whatever_their_questions() -> None:
    first = (np.array([[1.0, 0, 2, 0]]), np.array([[1.0, 0, 3, 0]]))
    second = (np.array([[0.0, 1, 0, 0]]), np.array([[0.0, 1, 0, 2]]))
    effects = contrasts.difference_of_means(first, second)
    assert effects.value[0] == pytest.approx(3 / 4 - 1 / 3)
    assert effects.influence.sum() == pytest.approx(0)


def test_contrasts_keep_their_size_and_coverage() -> None:
    """With 3 to 40 questions, missing pairs and groups of unequal size."""
    for questions, groups in ((3, 2), (10, 6), (40, 48)):
        size, coverage = comparisons.contrast_rates(250, questions, groups)
        assert size <= 0.08, questions
        assert coverage >= 0.92, questions


def test_models_that_share_questions_are_not_independent_studies() -> None:
    for between in (0.0, 0.05):
        crossed, naive = comparisons.consistency_rates(300, 6, 40, between)
        assert crossed <= 0.085
        assert naive >= 0.15
    few = contrasts.over_models(np.array([0.1, 0.2, NAN]), np.zeros((3, 9)), LEVEL)
    assert (few.models, few.same_sign) == (2, 2)
    assert np.isnan([few.p_value, few.ci_low]).all()
    copies = contrasts.over_models(np.zeros(4), np.zeros((4, 9)), LEVEL)
    assert np.isnan(copies.p_value)  # nothing varies: there is nothing to test with


def test_q_values_are_scipys_and_what_was_not_tested_does_not_count() -> None:
    p = np.array([0.001, NAN, 0.02, 0.04, 0.5])
    q = multiplicity.q_values(p)
    expected = stats.false_discovery_control(p[np.isfinite(p)])
    assert q[np.isfinite(q)] == pytest.approx(expected)
    assert np.isnan(q[1])
    assert len(multiplicity.q_values(np.array([]))) == 0
    # of 19 true nulls and one effect, few are false
    rng = np.random.default_rng(3)
    false = []
    for _ in range(200):
        drawn = np.append(rng.random(19), 1e-6)
        hits = multiplicity.q_values(drawn) < 0.05
        false.append(hits[:-1].sum() / max(hits.sum(), 1))
    assert np.mean(false) <= 0.07


def test_where_nothing_varies_each_question_is_one_observation() -> None:
    """Groups that never refuse, one that always does, and rounding that is no difference."""
    zeros, ones = np.zeros(40), np.ones(40)
    reach = 1 - 0.025 ** (1 / 40)  # Clopper and Pearson of 0 in 40
    assert outcome(matched(zeros, zeros)) == pytest.approx((-reach, reach, 1.0))
    assert outcome(matched(ones, zeros))[:2] == pytest.approx((1 - 2 * reach, 1.0))
    assert outcome(matched(zeros, ones))[:2] == pytest.approx((-1.0, 2 * reach - 1))
    half = outcome(matched(zeros + 0.5, zeros))
    assert half[:2] == pytest.approx((0.5 - 1.5 * reach, 0.5 + 0.5 * reach))
    thirds, split = np.full(40, 0.1) * 3, np.full(40, 0.3)  # 0.30000000000000004
    effects = matched(thirds, split)
    assert (effects.value[0], effects.error[0]) == (0.0, 0.0)
    assert outcome(effects)[2] == 1.0
    assert np.isnan(outcome(matched(zeros[:2], ones[:2]))).all()


def test_an_error_from_few_questions_that_differ_has_few_degrees_of_freedom() -> None:
    """Groups of 8 and 40 that refuse 6% and 1%, on few of the questions."""
    held = {True: 0, False: 0}
    for world in range(300):
        rng = np.random.default_rng(world)
        hard = 10 * rng.beta(0.1, 0.9, 20)
        parts = []
        for n, p in ((8, 0.06), (40, 0.01)):
            refused = rng.binomial(n, np.minimum(p * hard, 1))[None].astype(float)
            parts.append((refused, np.full((1, 20), float(n))))
        effects = contrasts.matched_difference(*parts)
        questions = np.full(1, 20.0)
        for is_few in held:
            used = effects if is_few else replace(effects, effective=questions)
            low, high = contrasts.interval(used, LEVEL)
            held[is_few] += bool(low[0] <= 0.05 <= high[0])
    assert held[True] > 0.9 * 300 > 0.87 * 300 > held[False]
