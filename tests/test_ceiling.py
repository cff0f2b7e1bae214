"""Human ceilings: random halves of subgroups, how well they agree, and the stage."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.jobs import run_stage
from valuestrata import io, tables
from valuestrata.records import Record
from valuestrata.stages import ceiling as stage
from valuestrata.study.evaluation import Evaluation
from valuestrata.survey import ceilings, tally
from valuestrata.survey.encoded import scale_of

EVALUATION = Evaluation(n_resamples=100)


def table(codes: int, questions: int, level: str = "ordinal") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "question": [f"Q{q + 1}" for q in range(questions)],
            **dict.fromkeys(("topic", "text", "block"), "x"),
            "measurement_level": level,
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


def ceiling_of(
    counts: np.ndarray, questions: pd.DataFrame, draws: int = 50, ceiling: str = "split_half"
) -> dict[str, np.ndarray]:
    return ceilings.stratum_ceilings("sex", counts, scale_of(questions), draws, 1)[ceiling]


# Halves --------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 1000), st.integers(1, 5)
)
def test_two_halves_are_the_whole(counts: list[int], seed: int, splits: int) -> None:
    whole = np.array(counts, dtype=np.int64)[None, None]
    first, second = ceilings.halves(whole, splits, np.random.default_rng(seed))
    assert first.shape == (splits, *whole.shape)
    np.testing.assert_array_equal(first + second, np.broadcast_to(whole, first.shape))
    assert (first >= 0).all()
    assert (second >= 0).all()
    np.testing.assert_array_equal(first.sum(axis=-1), whole.sum() // 2)


def test_halves_are_as_likely_as_by_dealing_out_respondents() -> None:
    whole = np.array([5, 3, 4])
    halves, _ = ceilings.halves(whole[None, None], 4000, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    each = np.repeat(np.arange(3), whole)
    dealt = np.array([np.bincount(rng.permutation(each)[:6], minlength=3) for _ in range(4000)])
    drawn = halves[:, 0, 0]
    np.testing.assert_allclose(drawn.mean(axis=0), whole / 2, atol=0.06)
    np.testing.assert_allclose(drawn.mean(axis=0), dealt.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(dealt.T), atol=0.08)


# Split halves --------------------------------------------------------------------------------


def test_two_halves_by_hand() -> None:
    scale = scale_of(table(3, 2))
    first = np.array([[[[4, 1, 0], [0, 2, 2]]]])
    second = np.array([[[[1, 0, 4], [0, 3, 1]]]])
    result = ceilings.prediction_scores(first, second, scale)
    np.testing.assert_allclose(result["accuracy"], [[[0, 1]]])
    np.testing.assert_allclose(result["nmae"], [[[1, 0]]])
    np.testing.assert_allclose(result["wasserstein"], [[[(0.6 + 0.8) / 2, 0.25 / 2]]])


def test_a_half_without_answers_tells_nothing() -> None:
    scale = scale_of(table(3, 1))
    result = ceilings.prediction_scores(np.array([[[[0, 0, 0]]]]), np.array([[[[0, 1, 0]]]]), scale)
    assert all(np.isnan(v).all() for v in result.values())
    assert np.isnan(ceiling_of(np.array([[[0.0, 1.0, 0.0]]]), table(3, 1))["accuracy"]).all()


def test_a_nominal_question_has_no_distance() -> None:
    result = ceiling_of(counts_of(1, 3, 2, 40), table(3, 2, "nominal"))
    assert np.isfinite(result["accuracy"]).all()
    assert np.isnan(result["nmae"]).all()
    assert np.isnan(result["wasserstein"]).all()


def test_respondents_who_all_say_the_same_reach_the_top() -> None:
    counts = np.zeros((2, 3, 4))
    counts[:, [0, 1, 2], [0, 3, 1]] = 31
    result = ceiling_of(counts, table(4, 3))
    np.testing.assert_array_equal(result["accuracy"], 1)
    np.testing.assert_array_equal(result["nmae"], 0)
    np.testing.assert_allclose(result["wasserstein"], 0, atol=1e-12)


def test_respondents_who_answer_at_random_agree_by_chance() -> None:
    for codes in (2, 4, 10):
        result = ceiling_of(counts_of(1, codes, 200, 3000), table(codes, 200), 20)
        assert result["accuracy"].mean() == pytest.approx(1 / codes, abs=0.05)


def test_more_respondents_agree_better() -> None:
    share = np.array([0.5, 0.3, 0.2])
    few, many = (np.broadcast_to(np.round(n * share), (1, 40, 3)) for n in (30, 3000))
    small, large = (ceiling_of(counts, table(3, 40)) for counts in (few, many))
    assert small["accuracy"].mean() < large["accuracy"].mean()
    assert small["wasserstein"].mean() > large["wasserstein"].mean()


def test_the_same_seed_and_stratum_give_the_same() -> None:
    counts, scale = counts_of(1, 4, 5, 60), scale_of(table(4, 5))
    first, same, other = (
        ceilings.stratum_ceilings(name, counts, scale, 20, 1)["split_half"]
        for name in ("sex", "sex", "age")
    )
    for metric in ceilings.METRICS:
        np.testing.assert_array_equal(first[metric], same[metric])
    assert (first["accuracy"] != other["accuracy"]).any()


def test_a_row_is_a_mean_with_an_interval_over_questions() -> None:
    values = np.array([1.0, 0.0, np.nan, 0.5, 0.5])
    result = ceilings.mean_over_questions(values, np.array([3, 3, 7, 9, 4]), EVALUATION)
    assert (result["value"], result["n"], result["missing"]) == (0.5, 4, 1)
    assert result["ci_low"] <= 0.5 <= result["ci_high"]


# The noise ceiling ---------------------------------------------------------------------------


def test_samples_are_as_large_and_as_likely_as_the_answers() -> None:
    counts = np.array([[[6, 3, 1], [0, 0, 0]]])
    drawn = ceilings.samples(counts, 4000, np.random.default_rng(1))
    np.testing.assert_array_equal(drawn.sum(axis=-1), np.tile([[10, 0]], (4000, 1, 1)))
    np.testing.assert_allclose(drawn[:, 0, 0].mean(axis=0), [6, 3, 1], atol=0.1)


def test_the_noise_ceiling_is_estimated_without_knowing_the_people() -> None:
    """What a model scores that knows the shares a sample is drawn from, and our estimate of it."""
    rng = np.random.default_rng(1)
    codes, questions = 5, 200
    people = rng.dirichlet(np.full(codes, 2.0), size=questions)
    scale = scale_of(table(codes, questions))
    for n, off in ((30, 0.03), (60, 0.02), (240, 0.01)):
        counts = rng.multinomial(n, people, size=(10, questions))
        noise = ceiling_of(counts, table(codes, questions), 20, "noise_ceiling")
        half = ceiling_of(counts, table(codes, questions), 20, "split_half")
        truth = np.broadcast_to((people * 1e6).astype(int), counts.shape)
        true = ceilings.prediction_scores(truth[None], counts[None], scale)
        assert noise["accuracy"].mean() == pytest.approx(true["accuracy"].mean(), abs=off)
        assert noise["nmae"].mean() == pytest.approx(true["nmae"].mean(), abs=off)
        w1 = true["wasserstein"].mean()
        assert noise["wasserstein"].mean() == pytest.approx(w1, rel=0.15)
        assert half["accuracy"].mean() < true["accuracy"].mean() - off
        assert half["wasserstein"].mean() > 1.5 * w1


# The stage -----------------------------------------------------------------------------------


def write_inputs(folder: Path) -> dict[str, Any]:
    """Tallies and pairs of two splits that share a stratum; one pair is in neither."""
    record = Record("test", {}, {})
    questions = table(4, 3)
    scale = scale_of(questions)
    io.write_table(questions, folder / "questions", tables.QUESTIONS, record)
    tallies, pairs_paths = [], []
    for split, strata in {"train": ["sex"], "ood": ["age", "sex"]}.items():
        rows = []
        for stratum in strata:
            names = (f"{stratum}=a", f"{stratum}=b")
            counts = counts_of(len(stratum), 4, 3, 50, 2)
            members = tally.Members(names, np.repeat([0, 1], 50))
            tallies.append(str(folder / f"{split}-{stratum}"))
            frame = tally.to_frame(stratum, members, scale, counts, counts)
            io.write_table(frame, tallies[-1], tables.TALLY, record)
            rows += [(stratum, name, q) for name in names for q in scale.questions]
        pairs = pd.DataFrame(rows, columns=["stratum", "subgroup", "question"]).assign(
            block="x", measurement_level="ordinal", scale_min=1, scale_max=4, mode=1, tied=False,
            n=50, respondents=50, codes=[[1, 2, 3, 4]] * len(rows), labels=[[""] * 4] * len(rows),
            distribution=[[0.25] * 4] * len(rows), persona="x", closed_prompt="x",
        )  # fmt: skip
        pairs_paths.append(str(folder / f"{split}-pairs"))
        io.write_table(pairs.iloc[:-1], pairs_paths[-1], tables.PAIRS, record)
    inputs = {"tallies": tuple(tallies), "pairs": tuple(pairs_paths)}
    return {"questions": str(folder / "questions"), **inputs}


def test_the_stage_writes_subgroups_splits_and_all_of_them(tmp_path: Path) -> None:
    settings = stage.Settings(
        strata={"train": ("sex",), "ood": ("age", "sex")},
        evaluation=EVALUATION,
        caveat="simulated survey",
    )
    outputs = {name: str(tmp_path / name) for name in ("ceilings", "noise_ceiling")}
    files = {**write_inputs(tmp_path), **outputs}
    run_stage(stage, settings, files)
    result = io.read_table(outputs["ceilings"], tables.CEILINGS)
    assert io.caveat_of(outputs["ceilings"]) == "simulated survey"
    # two ceilings, three metrics; subgroups, and groups of the axes, and splits and all of them
    assert len(result) == 2 * 3 * ((2 + 4) + (2 + 4) + 2 + 1)
    assert not result.duplicated(["ceiling", "split", "level", "group", "metric"]).any()
    sizes = {
        split: ceilings.select_ceiling(result, "split_half", split)["accuracy"]["n"]
        for split in ("train", "ood", "all")
    }
    assert sizes == {"train": 5, "ood": 11, "all": 11}
    first, second, axis = (
        ceilings.select_ceiling(result, "split_half", split, level, group)["nmae"]
        for split, level, group in (
            ("train", "subgroups", "sex=a"),
            ("ood", "subgroups", "sex=a"),
            ("ood", "sex", "a"),
        )
    )
    assert first == second == axis
    assert first["n"] == 3
    by_pair = io.read_table(outputs["noise_ceiling"], tables.NOISE_CEILING)
    assert len(by_pair) == 11
    subgroups = result[(result["split"] == "ood") & (result["level"] == "subgroups")]
    for ceiling in ("split_half", "noise_ceiling"):
        rows = subgroups[(subgroups["metric"] == "accuracy") & (subgroups["ceiling"] == ceiling)]
        mean = (rows["value"] * rows["n"]).sum() / rows["n"].sum()
        whole = ceilings.select_ceiling(result, ceiling, "ood")["accuracy"]
        assert whole["value"] == pytest.approx(mean)
    assert by_pair["accuracy"].mean() == pytest.approx(mean)
    run_stage(stage, settings, {**files, "ceilings": str(tmp_path / "again")})
    pd.testing.assert_frame_equal(result, io.read_table(tmp_path / "again", tables.CEILINGS))
