"""What is said of a judge's verdicts: rates with intervals, position bias, control of length."""

import numpy as np
import pandas as pd
import pytest

from valuestrata.contracts import check
from valuestrata.judge_tables import WIN_RATE_STATISTICS, WIN_RATES
from valuestrata.report.win_rates import win_rate_rows
from valuestrata.tables import PAIR

REFERENCE = ("a", "base")


def verdicts(first: list[float], second: list[float], **columns: object) -> pd.DataFrame:
    """Verdicts on pairs of two subgroups on n / 2 questions; a NaN in either order is none."""
    n = len(first)
    scores = (np.array(first) + np.array(second)) / 2
    frame = pd.DataFrame(
        {
            "stratum": "sex",
            "subgroup": [f"sex={'fm'[i % 2]}" for i in range(n)],
            "question": [f"Q{i // 2}" for i in range(n)],
            "dimension": "Overall",
            "outcome": np.where(np.isfinite(scores), "verdict", "invalid"),
            "as_first": first,
            "as_second": second,
            "score": scores,
            "flipped": pd.array(
                [None if s != s else a != b for a, b, s in zip(first, second, scores, strict=True)],
                dtype="boolean",
            ),
            "length_difference": 0,
        }
    )
    return frame.assign(**columns)


def rows(**runs: pd.DataFrame) -> pd.DataFrame:
    """The table of some variants of model a, by variant and statistic."""
    found = win_rate_rows({("a", v): f for v, f in runs.items()}, REFERENCE, 0.95)
    frame = pd.DataFrame(found).assign(judge="j", split="ood")[WIN_RATES.names]
    return check(frame, WIN_RATES).set_index(["variant", "statistic"])


def test_every_statistic_by_hand() -> None:
    nan = float("nan")
    first = [1, 1, 1, 0.5, 1, 0, 1, nan]
    second = [1, 0, 0.5, 0.5, 0, 0, nan, 1]
    frame = verdicts(first, second)
    frame.loc[7, "outcome"] = "failed"
    table = rows(sft=frame)
    value = table.loc["sft"]["value"]
    assert list(value.index) == list(WIN_RATE_STATISTICS)
    assert value["win_rate"] == pytest.approx((1 + 0.5 + 0.75 + 0.5 + 0.5 + 0) / 6)
    assert value["shown_first"] == pytest.approx(4.5 / 6)
    assert value["shown_second"] == pytest.approx(2 / 6)
    assert value["position_bias"] == pytest.approx(2.5 / 6)
    assert value["flip_rate"] == pytest.approx(3 / 6)
    assert value["tie_rate"] == pytest.approx(3 / 12)
    assert value[["invalid", "truncated", "failed"]].tolist() == [1 / 8, 0, 1 / 8]
    assert np.isnan(value["length_controlled"])
    assert table.loc[("sft", "length_controlled"), "note"] == "fewer than 30 comparisons"
    counted = table.loc["sft"][["n", "missing", "questions"]]
    assert counted.loc["win_rate"].tolist() == [6, 2, 3]
    assert counted.loc["invalid"].tolist() == [8, 0, 4]


def test_position_bias_is_paired_and_tested() -> None:
    rng = np.random.default_rng(1)
    always_first = verdicts([1.0] * 60, [0.0] * 60)
    fair = rng.choice([0.0, 1.0], 60).tolist()
    noisy = [a if rng.random() < 0.8 else 1 - a for a in fair]
    table = rows(biased=always_first, fair=verdicts(fair, noisy))
    row = table.loc[("biased", "position_bias")]
    assert (row["value"], row["ci_high"]) == (1, 1)
    assert 0.7 < row["ci_low"] < 1
    assert row["p_value"] < 1e-6
    row = table.loc[("fair", "position_bias")]
    assert row["ci_low"] < 0 < row["ci_high"]
    assert row["p_value"] > 0.05
    # the two orders are of the same pairs: narrower than if they were not
    ends = table.loc["fair"]
    width = (ends["ci_high"] - ends["ci_low"])[["position_bias", "shown_first"]]
    assert width["position_bias"] < np.sqrt(2) * width["shown_first"]


def test_length_is_controlled_for_and_difficulty_is_not_the_references() -> None:
    rng = np.random.default_rng(2)
    runs = {}
    for i, variant in enumerate(("base", "sft", "dpo")):
        lengths = rng.normal(40 * i, 100, 300).astype(int) * (i > 0)
        wins = (rng.random(300) < 1 / (1 + np.exp(-3 * np.tanh(lengths / 100)))) * 1.0
        runs[variant] = verdicts(wins.tolist(), wins.tolist(), length_difference=lengths)
    runs["base"] = verdicts([1.0] * 300, [0.0] * 300)
    table = rows(**runs)
    value = table["value"].unstack()
    assert value.loc["dpo", "win_rate"] > 0.65
    assert value.loc["dpo", "length_controlled"] == pytest.approx(0.5, abs=0.1)
    # a copy of the reference is at one half, exactly
    base = table.loc[("base", "length_controlled")]
    assert base[["value", "ci_low", "ci_high", "p_value"]].tolist() == [0.5, 0.5, 0.5, 1]
    without = rows(sft=runs["sft"], dpo=runs["dpo"])
    pd.testing.assert_series_equal(without["value"], table.loc[["sft", "dpo"], "value"][:])


def test_tests_of_several_runs_are_adjusted_together_without_the_reference() -> None:
    rng = np.random.default_rng(1)
    frames = {"base": verdicts([0.5] * 80, [0.5] * 80)}
    for i in range(6):
        scores = list((rng.random(80) < (0.72 if i == 0 else 0.5)).astype(float))
        frames[f"r{i}"] = verdicts(scores, scores)
    table = rows(**frames).xs("win_rate", level="statistic")
    assert np.isnan(table.loc["base", "q_value"])
    others = table.drop("base")
    assert (others["q_value"] >= others["p_value"]).all()
    assert others["q_value"].min() == pytest.approx(min(6 * others["p_value"].min(), 1))
    alone = rows(base=frames["base"], r0=frames["r0"]).loc[("r0", "win_rate")]
    assert alone["q_value"] == pytest.approx(alone["p_value"])


def test_dimensions_and_runs_with_other_pairs_stand_by_themselves() -> None:
    some, more = verdicts([1.0] * 40, [1.0] * 40), verdicts([0.0] * 80, [0.5] * 80)
    both = pd.concat([some, some.assign(dimension="Value", score=0.5)])
    found = pd.DataFrame(win_rate_rows({("a", "x"): both, ("a", "y"): more}, None, 0.95))
    value = found.set_index(["variant", "dimension", "statistic"])["value"]
    assert value["x", "Overall", "win_rate"] == 1
    assert value["x", "Value", "win_rate"] == 0.5
    assert value["y", "Overall", "win_rate"] == 0.25
    assert ("y", "Value", "win_rate") not in value.index
    assert set(found.columns) >= {*WIN_RATES.names} - {"split", "judge"}
    assert not found.columns.isin(PAIR).any()
