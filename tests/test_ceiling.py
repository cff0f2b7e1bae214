"""Human ceilings: random halves of subgroups, how well they agree, and the stage."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestrata import io
from valuestrata.__main__ import main
from valuestrata.specs import Ceiling, Evaluation, to_json
from valuestrata.survey import ceilings, tally

EVALUATION = Evaluation(0.95, 100, 1)


def table(codes: int, questions: int, kind: str = "ordinal") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "question": [f"Q{q + 1}" for q in range(questions)],
            **dict.fromkeys(("topic", "text", "block"), "x"),
            "measurement_level": kind,
            "scale_min": 1,
            "scale_max": codes,
            "codes": [list(range(1, codes + 1))] * questions,
            "labels": [[""] * codes] * questions,
            "n": 1,
            "missing": 0,
        }
    )


def counts_of(
    seed: int, codes: int, questions: int, answers: int, subgroups: int = 3
) -> np.ndarray:
    """[S, Q, C] answers drawn at random, every code as likely."""
    rng = np.random.default_rng(seed)
    shape = (subgroups, questions)
    return rng.multinomial(answers, np.full(codes, 1 / codes), size=shape).astype(np.float64)


def agreed(
    counts: np.ndarray, questions: pd.DataFrame, draws: int = 50, kind: str = "split_half"
) -> dict[str, np.ndarray]:
    return ceilings.of_stratum("sex", counts, tally.scale_of(questions), draws, 1)[kind]


# Halves --------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 1000), st.integers(1, 5)
)
def test_two_halves_are_the_whole(counts: list[int], seed: int, splits: int) -> None:
    whole = np.array(counts, dtype=np.int64)[None, None]
    one, other = ceilings.halves(whole, splits, np.random.default_rng(seed))
    assert one.shape == (splits, *whole.shape)
    np.testing.assert_array_equal(one + other, np.broadcast_to(whole, one.shape))
    assert (one >= 0).all()
    assert (other >= 0).all()
    np.testing.assert_array_equal(one.sum(axis=-1), whole.sum() // 2)


def test_halves_are_as_likely_as_by_dealing_out_respondents() -> None:
    whole = np.array([5, 3, 4])
    one, _ = ceilings.halves(whole[None, None], 4000, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    each = np.repeat(np.arange(3), whole)
    dealt = np.array([np.bincount(rng.permutation(each)[:6], minlength=3) for _ in range(4000)])
    drawn = one[:, 0, 0]
    np.testing.assert_allclose(drawn.mean(axis=0), whole / 2, atol=0.06)
    np.testing.assert_allclose(drawn.mean(axis=0), dealt.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(dealt.T), atol=0.08)


# Agreement -----------------------------------------------------------------------------------


def test_two_halves_by_hand() -> None:
    scale = tally.scale_of(table(3, 2))
    one = np.array([[[[4, 1, 0], [0, 2, 2]]]])
    other = np.array([[[[1, 0, 4], [0, 3, 1]]]])
    found = ceilings.agreement(one, other, scale)
    np.testing.assert_allclose(found["accuracy"], [[[0, 1]]])
    np.testing.assert_allclose(found["nmae"], [[[1, 0]]])
    np.testing.assert_allclose(found["wasserstein"], [[[(0.6 + 0.8) / 2, 0.25 / 2]]])


def test_a_half_without_answers_tells_nothing() -> None:
    scale = tally.scale_of(table(3, 1))
    found = ceilings.agreement(np.array([[[[0, 0, 0]]]]), np.array([[[[0, 1, 0]]]]), scale)
    assert all(np.isnan(v).all() for v in found.values())
    assert np.isnan(agreed(np.array([[[0.0, 1.0, 0.0]]]), table(3, 1))["accuracy"]).all()


def test_a_nominal_question_has_no_distance() -> None:
    found = agreed(counts_of(1, 3, 2, 40), table(3, 2, "nominal"))
    assert np.isfinite(found["accuracy"]).all()
    assert np.isnan(found["nmae"]).all()
    assert np.isnan(found["wasserstein"]).all()


def test_respondents_who_all_say_the_same_reach_the_top() -> None:
    counts = np.zeros((2, 3, 4))
    counts[:, [0, 1, 2], [0, 3, 1]] = 31
    found = agreed(counts, table(4, 3))
    np.testing.assert_array_equal(found["accuracy"], 1)
    np.testing.assert_array_equal(found["nmae"], 0)
    np.testing.assert_allclose(found["wasserstein"], 0, atol=1e-12)


@pytest.mark.parametrize("codes", [2, 4, 10])
def test_respondents_who_answer_at_random_agree_by_chance(codes: int) -> None:
    found = agreed(counts_of(1, codes, 200, 3000), table(codes, 200))
    assert found["accuracy"].mean() == pytest.approx(1 / codes, abs=0.05)


def test_more_respondents_agree_better() -> None:
    share = np.array([0.5, 0.3, 0.2])
    few, many = (np.broadcast_to(np.round(n * share), (1, 40, 3)) for n in (30, 3000))
    small, large = (agreed(counts, table(3, 40)) for counts in (few, many))
    assert small["accuracy"].mean() < large["accuracy"].mean()
    assert small["wasserstein"].mean() > large["wasserstein"].mean()


def test_the_same_seed_and_stratum_give_the_same() -> None:
    counts, scale = counts_of(1, 4, 5, 60), tally.scale_of(table(4, 5))
    one, same, other = (
        ceilings.of_stratum(name, counts, scale, 20, 1)["split_half"]
        for name in ("sex", "sex", "age")
    )
    for metric in ceilings.METRICS:
        np.testing.assert_array_equal(one[metric], same[metric])
    assert (one["accuracy"] != other["accuracy"]).any()


def test_a_row_is_a_mean_with_an_interval_over_questions() -> None:
    values = np.array([1.0, 0.0, np.nan, 0.5])
    found = ceilings.row(values, np.array([3, 3, 7, 9]), EVALUATION)
    assert (found["value"], found["n"], found["missing"]) == (0.5, 3, 1)
    assert found["ci_low"] <= 0.5 <= found["ci_high"]


# Perfect knowledge -----------------------------------------------------------------------------


def test_samples_are_as_large_and_as_likely_as_the_answers() -> None:
    counts = np.array([[[6, 3, 1], [0, 0, 0]]])
    drawn = ceilings.samples(counts, 4000, np.random.default_rng(1))
    np.testing.assert_array_equal(drawn.sum(axis=-1), np.tile([[10, 0]], (4000, 1, 1)))
    np.testing.assert_allclose(drawn[:, 0, 0].mean(axis=0), [6, 3, 1], atol=0.1)


def test_perfect_knowledge_is_found_without_knowing_the_people() -> None:
    """What a model scores that knows the shares a sample is drawn from, and our estimate of it."""
    rng = np.random.default_rng(1)
    codes, questions = 5, 200
    people = rng.dirichlet(np.full(codes, 2.0), size=questions)
    scale = tally.scale_of(table(codes, questions))
    for n, off in ((30, 0.03), (60, 0.02), (240, 0.01)):
        counts = rng.multinomial(n, people, size=(10, questions))
        known = agreed(counts, table(codes, questions), 20, "noise_ceiling")
        half = agreed(counts, table(codes, questions), 20, "split_half")
        truth = np.broadcast_to((people * 1e6).astype(int), counts.shape)
        true = ceilings.agreement(truth[None], counts[None], scale)
        assert known["accuracy"].mean() == pytest.approx(true["accuracy"].mean(), abs=off)
        assert known["nmae"].mean() == pytest.approx(true["nmae"].mean(), abs=off)
        w1 = true["wasserstein"].mean()
        assert known["wasserstein"].mean() == pytest.approx(w1, rel=0.15)
        assert half["accuracy"].mean() < true["accuracy"].mean() - off
        assert half["wasserstein"].mean() > 1.5 * w1


# The stage -----------------------------------------------------------------------------------


def tables(folder: Path) -> list[str]:
    """Tallies and pairs of two splits that share a stratum; one pair is in neither."""
    questions = table(4, 3)
    scale = tally.scale_of(questions)
    io.write_table(questions, folder / "questions", "questions")
    tallied, paired = [], []
    for split, strata in {"train": ["sex"], "ood": ["age", "sex"]}.items():
        rows = []
        for stratum in strata:
            names = [f"{stratum}=a", f"{stratum}=b"]
            counts = counts_of(len(stratum), 4, 3, 50, 2)
            frame = tally.to_frame(stratum, names, np.array([50, 50]), scale, counts, counts)
            path = folder / f"{split}-{stratum}"
            io.write_table(frame, path, "tally")
            tallied.append(str(path))
            rows += [(stratum, name, q) for name in names for q in scale.questions]
        pairs = pd.DataFrame(rows, columns=["stratum", "subgroup", "question"]).assign(
            block="x", kind="ordinal", scale_min=1, scale_max=4, mode=1, tied=False, n=50,
            respondents=50, codes=[[1, 2, 3, 4]] * len(rows), distribution=[[0.25] * 4] * len(rows),
            persona="x", closed_prompt="x", open_prompt="x",
        )  # fmt: skip
        io.write_table(pairs.iloc[:-1], folder / f"{split}-pairs", "pairs")
        paired.append(str(folder / f"{split}-pairs"))
    return ["--questions", str(folder / "questions"), "--tallies", *tallied, "--pairs", *paired]


def test_the_stage_writes_subgroups_splits_and_all_of_them(tmp_path: Path) -> None:
    spec = to_json(Ceiling({"train": 1, "ood": 2}, 10, EVALUATION, "simulated survey"))
    out, noise_ceiling = tmp_path / "ceilings", tmp_path / "noise_ceiling"
    inputs = tables(tmp_path)
    stage = [
        "ceiling",
        "--spec",
        spec,
        *inputs,
        "--noise_ceiling",
        str(noise_ceiling),
        "--output",
        str(out),
    ]
    assert main(stage) == 0
    found = io.read_table(out, "ceilings")
    assert io.caveat_of(out) == "simulated survey"
    # two ceilings, three metrics; subgroups, and groups of the axes, and splits and all of them
    assert len(found) == 2 * 3 * ((2 + 4) + (2 + 4) + 2 + 1)
    assert not found.duplicated(["ceiling", "split", "level", "group", "metric"]).any()
    sizes = {
        k: ceilings.figures(found, "split_half", k)["accuracy"]["n"]
        for k in ("train", "ood", "all")
    }
    assert sizes == {"train": 5, "ood": 11, "all": 11}
    one, other, axis = (
        ceilings.figures(found, "split_half", split, level, group)["nmae"]
        for split, level, group in (
            ("train", "subgroups", "sex=a"),
            ("ood", "subgroups", "sex=a"),
            ("ood", "sex", "a"),
        )
    )
    assert one == other == axis
    assert one["n"] == 3
    pairs = io.read_table(noise_ceiling, "noise_ceiling")
    assert len(pairs) == 11
    for kind in ("split_half", "noise_ceiling"):
        own = found[(found["split"] == "ood") & (found["level"] == "subgroups")]
        accuracy = own[(own["metric"] == "accuracy") & (own["ceiling"] == kind)]
        mean = (accuracy["value"] * accuracy["n"]).sum() / accuracy["n"].sum()
        assert ceilings.figures(found, kind, "ood")["accuracy"]["value"] == pytest.approx(mean)
    assert pairs["accuracy"].mean() == pytest.approx(mean)
    assert main([*stage[:-1], str(tmp_path / "again")]) == 0
    pd.testing.assert_frame_equal(found, io.read_table(tmp_path / "again", "ceilings"))
