"""Distances between distributions, and calibration."""

import numpy as np
import pytest
from scipy.spatial.distance import cityblock, jensenshannon
from scipy.stats import binomtest, wasserstein_distance

from valuestrata.metrics import distribution

NAN = float("nan")


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def padded(rows: list[list[float]], last: bool = False) -> np.ndarray:
    width = max(map(len, rows))
    return floats(*[r + [r[-1] if last else 0.0] * (width - len(r)) for r in rows])


def test_wasserstein_is_scipy_s_over_the_width_of_the_scale() -> None:
    rng = np.random.default_rng(0)
    scales = [(1, 4), (0, 2), (1, 10), (1, 2)] * 4
    lists = [list(range(low, high + 1)) for low, high in scales]
    model = [list(rng.dirichlet(np.ones(len(c)))) for c in lists]
    people = [list(rng.dirichlet(np.ones(len(c)))) for c in lists]
    scale_min, scale_max = np.array(scales, dtype=float).T
    result = distribution.wasserstein(
        padded(model), padded(people), padded(lists, last=True), scale_min, scale_max
    )
    expected = [
        wasserstein_distance(c, c, m, p) / (c[-1] - c[0])
        for c, m, p in zip(lists, model, people, strict=True)
    ]
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_wasserstein_leaves_out_codes_off_the_scale() -> None:
    codes = floats([0, 1, 2, 3, 4])
    model, people = floats([0.5, 0.5, 0, 0, 0]), floats([0, 0, 0, 0.25, 0.75])
    result = distribution.wasserstein(model, people, codes, floats(1), floats(3))
    np.testing.assert_allclose(result, [1.0])
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
    assert wrong[0] == 1.0
    assert np.isnan(wrong[1:]).all()  # of 10 clusters
    many = distribution.calibration_error(np.ones(40), np.zeros(40), np.arange(40), 20, 0.95, 1)
    assert many == (1.0, 1.0, 1.0)
    unknown = np.full(10, NAN)
    assert np.isnan(distribution.calibration_error(unknown, unknown, cluster, 20, 0.95, 1)).all()


def test_the_interval_of_a_calibration_error_covers() -> None:
    """A model that says .7 and is right in half of the cases, on 60 questions of 8 pairs."""
    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(60), 8)
    covered = 0
    for _ in range(60):
        share = rng.beta(4, 4, 60)[cluster]
        hit = (rng.random(480) < share).astype(float)
        _, low, high = distribution.calibration_error(np.full(480, 0.7), hit, cluster, 200, 0.95, 1)
        covered += low <= 0.2 <= high
    assert covered >= 51


def test_a_difference_of_calibration_is_paired_and_tested() -> None:
    rng = np.random.default_rng(9)
    cluster = np.repeat(np.arange(40), 10)
    hit = (rng.random(400) < 0.5).astype(float)
    good, bad = np.full(400, 0.5), np.full(400, 0.9)
    good[:7] = bad[-5:] = NAN
    value, low, high, test, n = distribution.calibration_difference(
        (bad, hit), (good, hit), cluster, 400, 0.95, 1
    )
    both = np.isfinite(good) & np.isfinite(bad)
    expected = by_hand(bad[both], hit[both]) - by_hand(good[both], hit[both])
    assert (value, n) == (pytest.approx(expected), 388)
    assert 0 < low < value < high
    assert test.p_value < 0.01
    assert 0 < test.p_error < 0.005
    copy = distribution.calibration_difference((bad, hit), (bad, hit), cluster, 400, 0.95, 1)
    assert copy[:3] == (0, 0, 0)
    assert (copy[3].p_value, copy[4]) == (1, 395)


def test_the_test_of_calibration_keeps_its_level() -> None:
    """Runs that differ by noise alone: about one p-value in twenty lies below .05."""
    rng = np.random.default_rng(10)
    cluster = np.repeat(np.arange(30), 5)
    below = 0
    for _ in range(100):
        runs = [(rng.uniform(0.3, 1, 150), (rng.random(150) < 0.6).astype(float)) for _ in "ab"]
        below += distribution.calibration_difference(*runs, cluster, 100, 0.95, 1)[3].p_value < 0.05
    assert binomtest(below, 100, 0.05).pvalue > 0.001


def test_an_interval_of_calibration_error_holds_the_0_of_a_calibrated_model() -> None:
    """Shared errors of a question make it seem .04: the plain interval holds 0 in 4% of worlds."""
    held, differs = 0, 0
    for world in range(100):
        rng = np.random.default_rng(world)
        confidence = rng.uniform(0.3, 1, (40, 1)) + np.zeros(24)
        chance = np.clip(confidence + rng.normal(0, 0.1, (40, 1)), 0, 1)
        hit = (rng.random(chance.shape) < chance).astype(np.float64)
        cluster = np.repeat(np.arange(40), 24)
        run = (confidence.ravel(), hit.ravel())
        value, low, high = distribution.calibration_error(*run, cluster, 200, 0.95, 1)
        held += low == 0.0 < value <= high
        worse = (np.minimum(run[0] + 0.3, 1), run[1])
        differs += distribution.calibration_error(*worse, cluster, 200, 0.95, 1)[1] > 0
    assert held >= 88
    assert differs == 100
    few = distribution.calibration_difference(run, worse, cluster % 20, 200, 0.95, 1)
    assert np.isnan(few[1:3]).all()
    assert few[3].p_value < 0.05
