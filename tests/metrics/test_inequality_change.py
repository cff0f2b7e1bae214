"""Changes of inequality: copies, the mean alone, and size and coverage by simulation."""

import numpy as np
import pytest

from bench import comparisons
from valuestrata.metrics import disparity
from valuestrata.metrics.inequality_change import inequality_changes, joint_p

NAN = float("nan")


def run(seed: int, subgroups: int = 8, questions: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    hits = (rng.random((subgroups, questions)) < 0.6).astype(float)
    return hits, np.ones_like(hits)


def test_an_identical_copy_has_not_changed() -> None:
    for change in inequality_changes(run(1), run(1), 0.95):
        assert (change.value, change.raw_base - change.raw_tuned, change.raw_by_mean) == (0, 0, 0)
        assert (change.p_value, change.p_fall, change.p_rise) == (1, 1, 1)
        assert change.ci_low in (0, pytest.approx(0))


def test_where_only_the_mean_moves_all_of_the_change_is_the_means() -> None:
    base = run(2)
    tuned = (base[0] + 0.2, base[1])
    by_name = {change.statistic: change for change in inequality_changes(base, tuned, 0.95)}
    for name in ("norm_range", "cv"):
        change = by_name[name]
        assert change.raw_tuned - change.raw_base == pytest.approx(change.raw_by_mean)
        assert change.raw_by_mean < 0
    assert by_name["sd"].value == pytest.approx(0)
    means = base[0].mean(axis=1)
    assert by_name["cv"].raw_base == pytest.approx(means.std() / means.mean())
    assert by_name["norm_range"].raw_base == pytest.approx(np.ptp(means) / means.max())


def test_few_questions_and_means_of_zero_are_not_tested() -> None:
    for questions in (1, 2):
        for change in inequality_changes(run(3, 4, questions), run(4, 4, questions), 0.95):
            assert np.isnan(change.p_value)
    zero = (np.zeros((4, 9)), np.ones((4, 9)))
    by_name = {change.statistic: change for change in inequality_changes(zero, run(5, 4, 9), 0.95)}
    assert np.isnan(by_name["cv"].p_value)
    assert np.isnan(by_name["norm_range"].raw_base)


def test_a_change_is_called_one_no_more_than_it_should_be() -> None:
    """Equal CVs, with other means and so other noise; and a true change is found and covered."""
    for cvs in ((0.0, 0.0), (0.15, 0.15)):
        rates = comparisons.change_rates(40, 12, 40, (0.4, 0.65), cvs)
        assert max(rates[:2]) <= 0.13, cvs  # 5 of 40; docs/statistics.md has many more
        assert min(rates[2:]) >= 0.9, cvs
    power_cv, _, cover_cv, cover_range = comparisons.change_rates(
        30, 12, 60, (0.4, 0.4), (0.0, 0.35)
    )
    assert power_cv >= 0.8
    assert min(cover_cv, cover_range) >= 0.85


def test_the_joint_test_needs_both() -> None:
    assert joint_p(0.01, 0.2) == 0.2
    assert np.isnan(joint_p(NAN, 0.01))
    assert comparisons.joint_rate(40, 12, 40, -0.12, 0.0)[0] <= 0.125


def test_other_figures_of_inequality() -> None:
    means = np.array([0.2, 0.4, 0.6])
    assert disparity.max_min(means) == pytest.approx(0.4)
    share = means / 0.4
    assert disparity.theil(means) == pytest.approx((share * np.log(share)).mean())
    assert disparity.theil(np.full(4, 0.3)) == 0
    assert disparity.theil(np.array([0.0, 1.0])) == pytest.approx(np.log(2))
    hits, n = run(6)
    figures = {d.statistic: d for d in disparity.disparities(hits, n, True, 400, 1)}
    scores = hits.mean(axis=1)
    assert figures["worst_group"].value == scores.min()
    assert figures["worst_minus_mean"].value == pytest.approx(scores.min() - scores.mean())
    assert (scores[disparity.worst_groups(hits, n, True)] == scores.min()).all()
    assert (scores[disparity.worst_groups(hits, n, False)] == scores.max()).all()
    # groups that are alike: their gap is what the null expects, and noise alone explains it
    assert figures["max_min"].null_mean < figures["max_min"].null_p95
    assert figures["max_min"].corrected <= figures["max_min"].value
    same = np.tile(hits[:1], (5, 1))
    for figure in disparity.disparities(same, np.ones_like(same), True, 50, 1):
        assert figure.null_p95 == pytest.approx(figure.value)
