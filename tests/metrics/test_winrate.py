"""Win rates: equal to published leaderboards, and controlled for length where the bias is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from valuestrata.metrics.length_control import difficulties, length_controlled, length_term
from valuestrata.metrics.winrate import winrate

LEADERBOARD = {
    "gpt4_turbo": (97.69900497512438, 0.5104849118311993, 783, 16, 5, 804),
    "gpt4": (95.27950311, 0.71628144, 761, 32, 12, 805),
    "tulu-2-dpo-70b": (95.03105590062113, 0.7613100978662208, 764, 39, 2, 805),
    "gpt35_turbo_instruct": (81.71036205, 1.330613333, 642, 134, 25, 801),
    "text_davinci_003": (50.0, 0.0, 0, 0, 805, 805),
    "phi-2": (30.663329161451813, 1.6056202651534168, 234, 543, 22, 799),
    "text_davinci_001": (15.17412935, 1.235107892, 112, 672, 20, 804),
}
"""AlpacaEval's rows for alpaca_eval_gpt4: win_rate, standard_error, n_wins, n_wins_base, n_draws,
n_total. Its 805 prompts less n_total had no preference."""


def test_published_leaderboards_are_met() -> None:
    for name, (rate, error, wins, losses, draws, total) in LEADERBOARD.items():
        for draw in (1.5, 0):
            preferences = [2.0] * wins + [1] * losses + [draw] * draws + [None] * (805 - total)
            got = winrate(preferences)
            assert 100 * got.win_rate == pytest.approx(rate, abs=1e-7), name
            assert 100 * got.standard_error == pytest.approx(error, abs=1e-7), name
            assert got[2:] == (wins, losses, draws, total, 805 - total), name


def test_every_way_to_write_a_preference_is_read_or_refused() -> None:
    plain = [1, 1.5, 2, 0, None]
    for written in (
        plain,
        np.array(plain, dtype=np.float64),
        pd.Series(plain),
        pd.Series(plain, dtype="Float64"),
        ["1", "1.5", "2.0", "0", "null"],
        [" 1", "1.5 ", "2.0", "0", " "],
        (p for p in [1.0, 1.5, 2.0, 0.0, float("nan")]),
        [1, 1.5, 2, 0, pd.NA],
    ):
        assert winrate(written)[:1] + winrate_counts(plain) == (0.5, 1, 1, 2, 4, 1)
    # a judge's probabilities: draws are those at the middle alone
    got = winrate([1.2, 1.5000001, 1.9, 1.0])
    assert got[0] == pytest.approx(0.4000000)
    assert got[2:] == (2, 2, 0, 4, 0)
    nothing = winrate([None, float("nan")])
    assert np.isnan(nothing[:2]).all()
    assert nothing[2:] == (0, 0, 0, 0, 2)
    assert np.isnan(winrate([2]).standard_error)
    for wrong in ([3], [-1], [0.5], [float("inf")], ["A"], [True, "tie"]):
        with pytest.raises(ValueError, match="preference"):
            winrate(wrong)  # type: ignore[arg-type]


def winrate_counts(preferences: list[float | None]) -> tuple[int, ...]:
    return winrate(preferences)[2:]


# ---- length


ABILITIES = np.array([-0.3, 0.0, 0.4])
LONGER = np.array([0.0, 60.0, 110.0])
"""Characters by which each run is longer on average."""


def world(
    rng: np.random.Generator, questions: int, each: int, bias: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and lengths of three runs; a judge whose liking of longer texts is `bias`."""
    cluster = np.repeat(np.arange(questions), each)
    n = len(cluster)
    prompt = rng.normal(0, 0.7, questions)[cluster] + rng.normal(0, 0.7, n)
    lengths = rng.normal(300, 80, (n, 3)) + LONGER - rng.normal(300, 80, (n, 1))
    terms = np.stack([length_term(column) for column in lengths.T], axis=1)
    logits = ABILITIES + prompt[:, None] + bias * terms
    orders = [rng.random((n, 3)) < expit(logits + shown) for shown in (0.5, -0.5)]
    return np.mean(orders, axis=0), lengths, cluster


def truths() -> np.ndarray:
    """Win rates without a length bias."""
    prompt = np.random.default_rng(9).normal(0, np.sqrt(2) * 0.7, 200_000)[:, None]
    return np.mean([expit(ABILITIES + prompt + b).mean(axis=0) for b in (0.5, -0.5)], axis=0)


def test_a_known_length_bias_is_taken_out_and_intervals_cover() -> None:
    rng = np.random.default_rng(2)
    truth = truths()
    for questions, each, bias in ((8, 4, 1.5), (30, 3, 0.0)):
        errors, raw, covered = [], [], []
        for _ in range(40):
            scores, lengths, cluster = world(rng, questions, each, bias)
            hard = difficulties(scores, lengths)
            for run in range(3):
                got = length_controlled(
                    scores[:, run], lengths[:, run], hard[:, run], cluster, 0.95
                )
                errors.append(got.estimate.value - truth[run])
                raw.append(scores[:, run].mean() - truth[run])
                covered.append(got.estimate.ci_low <= truth[run] <= got.estimate.ci_high)
        assert np.mean(covered) >= 0.92, (questions, bias)
        errors, raw = (np.reshape(x, (-1, 3)).mean(axis=0) for x in (errors, raw))
        assert np.abs(errors).max() < 0.025, (questions, bias)
        # the longest run's plain win rate is far too high
        assert (raw[2] > 0.1) == (bias > 0)


def test_with_equal_lengths_it_is_the_plain_win_rate() -> None:
    rng = np.random.default_rng(4)
    scores, _, cluster = world(rng, 20, 4, 0.0)
    zero = np.zeros_like(scores)
    hard = difficulties(scores, zero)
    assert hard.std() > 0.1
    for run in range(3):
        got = length_controlled(scores[:, run], zero[:, run], hard[:, run], cluster, 0.95)
        plain = winrate(1 + scores[:, run]).win_rate
        assert got.estimate.value == pytest.approx(plain, abs=1e-9)
    # also by the regression, where lengths differ on one prompt alone
    lengths = zero[:, 0].copy()
    lengths[0] = 1
    got = length_controlled(scores[:, 0], lengths, hard[:, 0], cluster, 0.95)
    assert got.estimate.value == pytest.approx(winrate(1 + scores[:, 0]).win_rate, abs=0.01)


def test_a_difficulty_is_that_of_other_runs_net_of_their_length() -> None:
    rng = np.random.default_rng(5)
    scores, lengths, _ = world(rng, 60, 4, 2.0)
    hard = difficulties(scores, lengths)
    changed = scores.copy()
    changed[:, 0] = rng.random(len(scores))
    assert np.allclose(difficulties(changed, lengths)[:, 0], hard[:, 0])
    assert not np.allclose(difficulties(changed, lengths)[:, 1], hard[:, 1])
    # prompts whose reference is short are no easier to win once length is known
    assert abs(np.corrcoef(hard[:, 0], lengths[:, 1:].mean(axis=1))[0, 1]) < 0.2
    assert (difficulties(scores[:, :1], lengths[:, :1]) == 0).all()
    missing = np.where(rng.random(scores.shape) < 0.5, np.nan, scores)
    assert np.isfinite(difficulties(missing, lengths)).all()


def test_what_cannot_be_estimated_is_said() -> None:
    rng = np.random.default_rng(6)
    scores, lengths, cluster = world(rng, 30, 3, 1.0)
    one, long, zero = scores[:, 0], lengths[:, 0], np.zeros(len(scores))

    def value(y: np.ndarray, x: np.ndarray) -> tuple[float, str]:
        got = length_controlled(y, x, zero, cluster, 0.95)
        return got.estimate.value, got.note

    few = np.where(np.arange(len(one)) < 29, one, np.nan)
    assert value(few, long)[1] == "fewer than 30 comparisons"
    assert np.isnan(value(few, long)[0])
    assert np.isnan(value(one, zero + 7)[0])
    rate, note = value(one, np.abs(long) + 1)
    assert 0 < rate < 1
    assert note == "extrapolated: 100% of its texts are longer"
    assert value(one, -np.abs(long) - 1)[1] == "extrapolated: 100% of its texts are shorter"
    # always better, and a judge that goes by length alone: finite, and no certainty
    assert value(zero + 1, long) == (1, "")
    separated = length_controlled((long > 0) * 1.0, long, zero, cluster, 0.95).estimate
    assert 0.2 < separated.value < 0.8
    assert separated.ci_high - separated.ci_low > 0.05
