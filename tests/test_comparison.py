"""The comparison of all runs, and its stage."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.jobs import run_stage
from tests.score_tables import NAN, crossed, scores_table, verdicts_table
from valuestrata import io, judge_tables, tables
from valuestrata.contracts import check
from valuestrata.records import Record
from valuestrata.report.comparison import Metric, RunValues, compare_split, run_values
from valuestrata.report.settings import ComparisonSettings
from valuestrata.stages import compare
from valuestrata.study.evaluation import Evaluation
from valuestrata.tables import PAIR

ASKED = crossed(40)
Models = dict[str, tuple[str, ...]]
Accuracies = dict[tuple[str, str], np.ndarray]


def settings(models: Models, prompts: Models | None = None, judges: bool = False) -> Any:
    return ComparisonSettings(
        strata={"ood": ("sex-x-age",)},
        variants=models,
        prompt_variants={**dict.fromkeys(models, ()), **(prompts or {})},
        baselines=tuple(m for m in models if m.endswith("-mode")),
        persona_agnostic=tuple(m for m in models if m == "national-mode"),
        judges=("j",) if judges else (),
        text_splits=("ood",) if judges else (),
        evaluation=Evaluation(n_resamples=60),
        caveat="simulated survey",
    )


def noise_ceiling() -> pd.DataFrame:
    return ASKED[PAIR].assign(accuracy=0.9, nmae=0.05, wasserstein=0.02)


def compared(
    runs: dict[tuple[str, str], np.ndarray | RunValues], prompts: Models | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of runs that are given by their accuracies."""
    models: Models = {}
    for model, variant in runs:
        if "+" not in variant:
            models[model] = (*models.get(model, ()), variant)
    values = {
        run: v if isinstance(v, RunValues) else run_values(scores_table(ASKED, v), {})
        for run, v in runs.items()
    }
    rows = compare_split("ood", values, noise_ceiling(), settings(models, prompts))
    contracts = (tables.RUNS, tables.DIFFERENCES)
    metrics, differences = (
        check(pd.DataFrame(r, columns=c.names), c) for r, c in zip(rows, contracts, strict=True)
    )
    return metrics, differences


def cell(table: pd.DataFrame, **where: str) -> dict[str, Any]:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return {str(k): v for k, v in table.iloc[0].items()}


def drawn(seed: int, rate: float) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(ASKED)) < rate).astype(float)


def test_every_metric_of_a_run_comes_with_n_and_missing() -> None:
    accuracy = drawn(1, 0.6)
    accuracy[:8] = NAN
    runs, _ = compared({("m", "base"): accuracy})
    counts = {row.metric: (row.n, row.missing) for row in runs.itertuples()}
    assert counts["accuracy"] == (152, 8)
    assert counts["nmae"] == (114, 6)
    assert counts["refusal"] == counts["failed"] == counts["calibration_error"] == (160, 0)
    assert counts["wasserstein"] == (120, 0)
    assert cell(runs, metric="refusal")["value"] == pytest.approx(8 / 160)
    assert cell(runs, metric="failed")["value"] == 0
    assert cell(runs, metric="truncated")["value"] == 0
    row = cell(runs, metric="accuracy")
    assert row["value"] == pytest.approx(np.nanmean(accuracy))
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert set(runs["judge"]) == set(runs["dimension"]) == set(runs["baseline"]) == {""}


def test_a_run_without_distributions_has_its_answers_scored_and_the_rest_missing() -> None:
    """A served model gives no distribution; others keep theirs."""
    distances = ("wasserstein", "jensen_shannon", "total_variation")
    lacking = (*distances, "argmax_accuracy", "confidence", "non_option_mass")
    scores = scores_table(ASKED, drawn(5, 0.6), **dict.fromkeys(lacking, NAN))
    runs, differences = compared(
        {
            ("m", "base"): drawn(1, 0.6),
            ("closed", "base"): run_values(scores, {}),
            ("x-mode", "base"): drawn(6, 0.5),
        }
    )
    assert cell(runs, model="closed", metric="accuracy")["n"] == 160
    for metric in (*lacking, "calibration_error"):
        expected = 120 if metric == "wasserstein" else 160
        row = cell(runs, model="closed", metric=metric)
        assert (row["n"], row["missing"]) == (0, expected)
        assert np.isnan(row["value"])
        assert cell(runs, model="m", metric=metric)["n"] == expected
    metrics = {model: set(rows["metric"]) for model, rows in differences.groupby("model")}
    readings = {"answered", "accuracy_all_pairs", "accuracy_upper_bound"}
    assert metrics["closed"] == {"accuracy", "nmae", "refusal", *readings}
    others = {*distances, "argmax_accuracy", "calibration_error"}
    assert metrics["m"] == {*metrics["closed"], *others}


def test_runs_are_compared_on_the_pairs_that_both_answered() -> None:
    base, tuned = drawn(2, 0.5), drawn(3, 0.7)
    base[:20] = NAN
    tuned[10:50] = NAN
    _, differences = compared({("m", "base"): base, ("m", "sft"): tuned})
    row = cell(differences, metric="accuracy")
    assert (row["variant"], row["other_variant"]) == ("sft", "base")
    assert (row["n"], row["missing"]) == (110, 50)
    assert row["value"] == pytest.approx((tuned - base)[50:].mean())
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    refusal = cell(differences, metric="refusal")
    assert (refusal["n"], refusal["missing"]) == (160, 0)
    assert refusal["value"] == pytest.approx(40 / 160 - 20 / 160)


def test_a_copy_of_a_run_differs_by_exactly_nothing() -> None:
    base = drawn(4, 0.5)
    _, differences = compared({("m", "base"): base, ("m", "sft"): base.copy()})
    assert (differences[["value", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert (differences["p_value"] == 1).all()


def test_a_better_variant_is_found() -> None:
    base = drawn(5, 0.4)
    tuned = np.maximum(base, drawn(6, 0.3))
    _, differences = compared({("m", "base"): base, ("m", "sft"): tuned})
    row = cell(differences, metric="accuracy")
    assert row["ci_low"] > 0
    assert row["p_value"] < 0.05
    assert cell(differences, metric="nmae")["ci_high"] < 0


def test_every_language_model_is_compared_with_every_baseline() -> None:
    runs = [("a", "base"), ("a", "sft"), ("b", "base"), ("x-mode", "base"), ("y-mode", "base")]
    _, differences = compared({run: drawn(7, 0.5) for run in runs})
    rows = differences[differences["metric"] == "accuracy"]
    names = rows[["model", "variant", "other_model", "other_variant"]]
    against = {(*run, other, "base") for run in runs[:3] for other in ("x-mode", "y-mode")}
    assert set(names.itertuples(index=False, name=None)) == {("a", "sft", "a", "base"), *against}


def test_a_prompt_variant_is_compared_with_the_study_s_prompt_and_with_its_base() -> None:
    own, other = drawn(12, 0.6), drawn(13, 0.4)
    other[:10] = NAN
    runs: Accuracies = {("m", "base"): own, ("m", "sft"): own, ("x-mode", "base"): own}
    runs |= {("m", "base+w"): other, ("m", "sft+w"): other}
    metrics, differences = compared({**runs}, prompts={"m": ("base+w", "sft+w")})
    assert set(metrics["variant"]) == {"base", "sft", "base+w", "sft+w"}
    pairs = differences[["variant", "other_model", "other_variant"]].drop_duplicates()
    assert sorted(pairs.itertuples(index=False, name=None)) == [
        ("base", "x-mode", "base"),
        ("base+w", "m", "base"),
        ("sft", "m", "base"),
        ("sft", "x-mode", "base"),
        ("sft+w", "m", "base+w"),
        ("sft+w", "m", "sft"),
    ]
    changed = differences[differences["metric"] == "disagreement_rate"]
    assert list(changed["variant"]) == ["base+w", "sft+w"]
    assert list(changed["other_variant"]) == ["base", "sft"]
    row = cell(changed, variant="sft+w")
    assert (row["n"], row["missing"]) == (150, 10)
    assert row["value"] == pytest.approx((own != other)[10:].mean())
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert pd.isna(row["p_value"])
    gap = cell(differences, metric="accuracy", variant="sft+w", other_variant="sft")
    assert gap["value"] == pytest.approx((other - own)[10:].mean())


def test_calibration_is_compared_too() -> None:
    base, tuned = drawn(14, 0.3), drawn(15, 0.75)
    metrics, differences = compared({("m", "base"): base, ("m", "sft"): tuned})
    row = cell(metrics, metric="calibration_error", variant="base")
    assert row["value"] == pytest.approx(abs(base.mean() - 0.75))
    gap = cell(differences, metric="calibration_error")
    assert gap["value"] == pytest.approx(abs(tuned.mean() - 0.75) - abs(base.mean() - 0.75))
    assert gap["ci_high"] < 0
    assert gap["p_value"] < 0.05


def test_a_study_of_baselines_alone_has_no_differences() -> None:
    metrics, differences = compared({("x-mode", "base"): drawn(8, 0.5)})
    assert differences.empty
    assert set(metrics["model"]) == {"x-mode"}


def test_verdicts_count_only_for_pairs_that_were_judged() -> None:
    judged = ASKED.iloc[::10]
    scores = {"base": [0.5] * 16, "sft": [1.0] * 12 + [0.0] * 2 + [NAN] * 2}
    runs = {
        ("m", variant): run_values(
            scores_table(ASKED, drawn(9, 0.5)), {"j": verdicts_table(judged, values)}
        )
        for variant, values in scores.items()
    }
    metrics, differences = compared({**runs, ("x-mode", "base"): drawn(9, 0.5)})
    win = {"metric": "win_rate", "judge": "j", "dimension": "overall"}
    row = cell(metrics, **win, variant="sft")
    assert (row["n"], row["missing"]) == (14, 2)
    assert row["value"] == pytest.approx(12 / 14)
    row = cell(metrics, **{**win, "metric": "flip_rate"}, variant="base")
    assert (row["n"], row["missing"], row["value"]) == (16, 0, 0)
    assert set(metrics[metrics["model"] == "x-mode"]["judge"]) == {""}
    row = cell(differences, **win)
    assert (row["n"], row["missing"]) == (14, 2)
    assert row["value"] == pytest.approx(12 / 14 - 0.5)


def test_a_normalized_gain_starts_at_the_best_persona_agnostic_baseline() -> None:
    half = (np.arange(len(ASKED)) % 2).astype(float)
    better = np.where(np.arange(len(ASKED)) % 4 == 0, half, 1.0) * 0.9
    runs: Accuracies = {("national-mode", "base"): half, ("axis-mode", "base"): better}
    metrics, _ = compared({**runs, ("m", "base"): half})
    gain = {"metric": "normalized_gain_accuracy", "baseline": "national-mode"}
    assert cell(metrics, model="m", **gain)["value"] == 0
    row = cell(metrics, model="axis-mode", **gain)
    expected = (better.mean() - half.mean()) / (0.9 - half.mean())
    assert row["value"] == pytest.approx(expected)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert (row["n"], row["missing"]) == (len(ASKED), 0)
    without, _ = compared({("axis-mode", "base"): better})
    assert set(without["baseline"]) == {""}


def test_the_stage_reads_scores_and_verdicts_of_each_run(tmp_path: Path) -> None:
    """Files are given in the order of the runs; the order of rows within them is nothing."""
    models = {"m": ("base", "sft"), "x-mode": ("base",)}
    compared_settings = settings(models, judges=True)
    runs = {(m, v): drawn(i, 0.5) for i, m in enumerate(models) for v in models[m]}
    runs["m", "sft"] = drawn(11, 0.7)
    judged = ASKED.iloc[::10]
    scores, verdicts = [], []
    for (model, variant), accuracy in runs.items():
        scores.append(tmp_path / f"{model}-{variant}.parquet")
        write(scores_table(ASKED, accuracy), scores[-1], tables.SCORES)
        if model == "m":
            verdicts.append(tmp_path / f"{model}-{variant}-verdicts.parquet")
            rate = 1.0 if variant == "sft" else 0.5
            write(verdicts_table(judged, [rate] * 16), verdicts[-1], tables.VERDICTS)
    write(noise_ceiling(), tmp_path / "ceiling.parquet", tables.NOISE_CEILING)
    contracts = {
        "runs": tables.RUNS,
        "differences": tables.DIFFERENCES,
        "win_rates": judge_tables.WIN_RATES,
    }
    outputs = {name: str(tmp_path / f"{name}.parquet") for name in contracts}
    files = {
        "scores": tuple(map(str, scores)),
        "verdicts": tuple(map(str, verdicts)),
        "noise_ceiling": str(tmp_path / "ceiling.parquet"),
        **outputs,
    }
    results = []
    for seed in (None, 2):
        if seed:
            shuffled = scores_table(ASKED, runs["m", "sft"]).sample(frac=1, random_state=seed)
            write(shuffled, scores[1], tables.SCORES)
        run_stage(compare, compared_settings, files)
        results.append([io.read_table(outputs[n], c) for n, c in contracts.items()])
    for first, second in zip(*results, strict=True):
        pd.testing.assert_frame_equal(first, second)
    table = results[0][0]
    tuned = cell(table, model="m", variant="sft", metric="accuracy")
    assert tuned["value"] == pytest.approx(runs["m", "sft"].mean())
    win = Metric("win_rate", "j", "overall")
    rows = table[(table["metric"] == win.metric) & (table["judge"] == win.judge)]
    assert rows.set_index("variant")["value"].to_dict() == {"base": 0.5, "sft": 1.0}
    of_judge = results[0][2].set_index(["variant", "statistic"])
    assert len(of_judge) == 2 * len(judge_tables.WIN_RATE_STATISTICS)
    assert of_judge.loc[("sft", "win_rate"), "value"] == 1
    # one number, one interval
    for variant in ("base", "sft"):
        row = cell(rows, variant=variant)
        for column in ("value", "ci_low", "ci_high", "n", "missing"):
            assert of_judge.loc[(variant, "win_rate"), column] == row[column]
    assert io.caveat_of(outputs["runs"]) == "simulated survey"


def write(frame: pd.DataFrame, path: Path, contract: tables.Contract) -> None:
    io.write_table(frame, path, contract, Record("test", {}, {}))
