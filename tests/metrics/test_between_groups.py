"""Differences between groups without sampling noise, in worlds whose truth is known."""

import numpy as np
import pytest

from bench import statistics, worlds
from valuestrata.metrics import between_groups, fairness
from valuestrata.metrics.between_groups import Spread

NAN = float("nan")


def spread(values: np.ndarray, level: float = 0.95, seed: int = 1) -> Spread:
    scores = fairness.group_scores(values, np.eye(len(values)))
    return between_groups.spread(scores, level, 500, seed)


def test_intervals_cover_whatever_the_groups_are_like() -> None:
    """The full run: docs/statistics.md. Of 30 worlds at 95%, 26 or more with a chance of 99%."""
    for design in (("normal", 48, 40, 0.0), ("normal", 10, 60, 0.08), ("far", 30, 60, 0.03)):
        row = statistics.spread_row(*design, n_worlds=30)
        for name in ("sd", "cv", "norm_range"):
            assert float(row[f"{name} coverage"].split()[0]) >= 26 / 30, (design, name)
            # nearer to the truth than what was observed
            true, value, raw = (row[f"{name} {part}"] for part in ("true", "corrected", "raw"))
            assert abs(value - true) < abs(raw - true) + 0.01, (design, name)


def test_the_corrected_variance_is_the_observed_one_less_that_of_the_errors() -> None:
    values = np.random.default_rng(1).random((6, 50)) + np.arange(6)[:, None]
    centred = values - values.mean(axis=0)
    errors = centred.var(axis=1, ddof=1).sum() / 50 / 6
    result = spread(values)
    assert result.sd[0] == pytest.approx(np.sqrt(values.mean(axis=1).var() - errors))
    assert result.cv[0] == pytest.approx(result.sd[0] / values.mean())
    for value, low, high in (result.sd, result.cv, result.norm_range):
        assert low <= value <= high
    assert np.isfinite(result.shrunk).all()


def test_shrunk_scores_lie_between_the_raw_ones_and_their_mean() -> None:
    rng = np.random.default_rng(2)
    _, values = worlds.scores(rng, 20, 100, 0.04, "normal")
    raw, shrunk = values.mean(axis=1), spread(values).shrunk
    assert 0 < shrunk[:, 0].std() < raw.std()
    assert shrunk[:, 0].mean() == pytest.approx(raw.mean(), abs=0.01)
    assert (shrunk[:, 1] < shrunk[:, 0]).all()
    assert (shrunk[:, 0] < shrunk[:, 2]).all()


def test_groups_without_any_difference_or_score_have_none() -> None:
    same = np.repeat((np.arange(30) % 3 > 0).astype(float)[None], 5, axis=0)
    for value, low, high in (spread(same).sd, spread(same).norm_range):
        assert (value, low, high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    nothing = spread(np.zeros((4, 30)))
    assert nothing.sd == (0.0, 0.0, 0.0)
    assert np.isnan(nothing.cv).all()
    assert np.isnan(nothing.norm_range).all()
    for few in (np.ones((1, 30)), np.ones((3, 1))):
        assert np.isnan(spread(few).sd).all()


def test_the_draws_do_not_change_but_with_the_seed() -> None:
    _, values = worlds.scores(np.random.default_rng(3), 8, 40, 0.05, "normal")
    assert spread(values).sd == spread(values).sd
    assert spread(values).sd != spread(values, seed=2).sd


def test_few_questions_give_an_estimate_and_no_interval() -> None:
    """Also where a run answered few of many; and a question that nobody answered does not count."""
    rng = np.random.default_rng(4)
    values = rng.random((4, 9))
    for size in (2, 3, 5, 9):
        few = spread(values[:, :size])
        assert np.isfinite(few.sd[0])
        assert np.isnan([few.sd[1:], few.cv[1:], few.norm_range[1:]]).all()
    silent = np.full((4, 205), np.nan)
    padded = spread(np.hstack([values, silent]))
    np.testing.assert_array_equal(padded.sd, spread(values).sd)
    null = fairness.equal_groups(
        fairness.group_scores(np.hstack([values, silent]), np.eye(4)), 999, 1
    )
    assert null["sd"].test.p_error == 0.0  # all 512 patterns
    assert np.isfinite(spread(rng.random((4, 10))).sd).all()
    assert fairness.group_scores(silent, np.zeros((0, 4))).means.shape == (0,)
