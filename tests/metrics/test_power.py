"""What a design finds, against simulated studies."""

import numpy as np
import pytest
from scipy import stats

from bench import comparisons
from valuestrata.metrics.power import Design, label_share, matched_design, respondents_for


def test_the_smallest_gap_is_found_in_four_studies_of_five() -> None:
    for questions, pairs, people in ((40, 8, 40), (80, 20, 200)):
        (share,) = comparisons.power_rate(400, questions, pairs, people)
        assert abs(share - 0.8) <= 0.06, (questions, share)  # three Monte Carlo errors


def test_equal_weights_give_the_noncentral_t_test_s_power() -> None:
    n = np.full(30, 5.0)
    design = matched_design(n, n, 0.5, 0.2)
    gap = design.smallest_gap(0.05, 0.8)
    assert design.questions == pytest.approx(30)
    critical = stats.t.ppf(0.975, 29)
    power = 1 - stats.nct.cdf(critical, 29, gap / design.error)
    assert power == pytest.approx(0.8, abs=0.01)


def test_more_questions_find_smaller_gaps() -> None:
    n = np.full(40, 6.0)
    design = matched_design(n, n, 0.5, 0.15)
    needed = design.questions_for(0.05, 0.05, 0.8)
    assert needed is not None
    assert needed > 40
    many = np.full(needed, 6.0)
    assert matched_design(many, many, 0.5, 0.15).smallest_gap(0.05, 0.8) <= 0.05
    fewer = many[:-1]
    assert matched_design(fewer, fewer, 0.5, 0.15).smallest_gap(0.05, 0.8) > 0.05
    assert design.questions_for(1e-6, 0.05, 0.8) is None
    assert np.isnan(Design(0.1, 2).smallest_gap(0.05, 0.8))
    assert np.isnan(matched_design(np.zeros(3), n[:3], 0.5, 0.1).error)


def test_labels_of_more_people_hide_less() -> None:
    shares = np.tile([0.5, 0.3, 0.2, 0.0], (50, 1))
    n = np.full(50, 30.0)
    kept = [label_share(shares, n, times) for times in (1, 4, 30)]
    assert kept == sorted(kept)
    assert kept[-1] == pytest.approx(1, abs=0.001)
    # of two answers a wrong label is the other one: 2 r - 1 of a gap is left
    two = np.tile([0.6, 0.4], (1, 1))
    right = stats.binom.sf(10, 21, 0.6)
    assert label_share(np.tile(two, (1000, 1)), np.full(1000, 21.0)) == pytest.approx(
        2 * right - 1, abs=0.01
    )
    times = respondents_for(0.1, 0.095, shares, n)
    assert times is not None
    assert 1 < times < 30
    assert respondents_for(0.1, 0.11, shares, n) is None
