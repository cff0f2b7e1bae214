"""The graph reruns what depends on a change, and nothing else. On the real graph, run once."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from tests.graph import Graph, Plan
from valuestrata import io
from valuestrata.__main__ import main
from valuestrata.config import spec_compare, spec_report
from valuestrata.inference.local import adapter_digest
from valuestrata.specs import to_json
from valuestrata.validate import load, read_yaml

REPORT = {"compare", "tables", "figures", "report", "all"}

NEW_MODEL = """
models:
  second:
    backend: transformers
    toy: {architecture: qwen2, hidden: 32, layers: 1, vocabulary: 500, steps: 5, batch: 4}
    dtype: float32
    threads: 1
"""


WORDING = "wordings: {listed: {persona: list, order: question}}\n"


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def jobs(plan: Plan) -> set[str]:
    return set(plan.jobs)


def test_running_twice_does_nothing(graph: Graph) -> None:
    assert graph.planned().idle


def test_touching_every_file_reruns_nothing(graph: Graph) -> None:
    for file in [*graph.folder.rglob("src/**/*.py"), *graph.results.rglob("*.parquet")]:
        os.utime(file)
    for name in ("Snakefile", "config.yaml", "studies/codebooks/wvs7.yaml"):
        os.utime(graph.folder / name)
    assert graph.planned().idle


def test_editing_a_comment_reruns_nothing(graph: Graph) -> None:
    source = graph.folder / "src/valuestrata/training/lora.py"
    with edited(
        source, "    recipe = spec.recipe\n", "    # a comment\n    recipe = spec.recipe\n"
    ):
        assert graph.planned().idle


def test_editing_a_metric_reruns_scores_and_what_follows(graph: Graph) -> None:
    source = graph.folder / "src/valuestrata/metrics/distribution.py"
    with edited(source, "/ 2)", "/ 2.0)"):
        plan = graph.planned()
    assert jobs(plan) == REPORT | {"score_train", "score_ood", "fairness", "ceiling", "summary"}
    assert plan.jobs["fairness"] == 6


def test_editing_training_code_reruns_fine_tunes_and_what_follows(graph: Graph) -> None:
    source = graph.folder / "src/valuestrata/training/lora.py"
    with edited(source, "PROBE = 8", "PROBE = 9"):
        plan = graph.planned()
    assert plan.jobs["finetune"] == 1
    assert not jobs(plan) & {"toy", "pairs", "clean", "predict_baseline"}
    assert not [m for m in plan.messages if "tiny/base answers" in m or "tiny/base writes" in m]
    assert plan.jobs["predict"] == 2
    assert jobs(plan) >= REPORT


def test_editing_the_rubric_judges_again(graph: Graph) -> None:
    rubric = graph.folder / "src/valuestrata/prompting/rubrics/pairwise.yaml"
    with edited(rubric, "Be impartial", "Stay impartial"):
        plan = graph.planned()
    assert plan.jobs["judge"] == 2
    assert not jobs(plan) & {"simulate", "clean", "pairs", "predict_baseline"}


def test_adding_a_model_runs_its_nodes_and_the_report(graph: Graph) -> None:
    plan = graph.planned(*graph.overlay(NEW_MODEL), "all")
    own = {"toy", "finetune", "predict", "generate", "judge", "score_train", "score_ood"}
    assert jobs(plan) == REPORT | own | {"fairness"}
    assert plan.jobs == {
        **dict.fromkeys(REPORT, 1),
        "toy": 1,
        "finetune": 1,
        "predict": 4,
        "generate": 2,
        "judge": 2,
        "score_train": 2,
        "score_ood": 2,
        "fairness": 4,
    }
    assert not [m for m in plan.messages if "tiny" in m or "everyone" in m]


def test_other_weights_in_a_models_directory_are_asked_anew(graph: Graph, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(graph.results / "models/tiny/base", folder)
    said = {"backend": "transformers", "weights": str(folder), "dtype": "float32", "recipes": []}
    said |= {"threads": 1, "gpus": 0}
    overlay = graph.overlay(io.json.dumps({"models": {"own": said}}))
    target = "results/mini/runs/own/base/ood/predictions.parquet"
    done = graph.run(*overlay, target)
    assert done.returncode == 0, done.stderr
    assert graph.planned(*overlay, target).idle
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    assert jobs(graph.planned(*overlay, target)) == {"predict"}


def test_adding_a_test_stratum_retrains_nothing(graph: Graph) -> None:
    wider = "splits: {ood: {strata: [age_group x religion, sex x religion]}}\n"
    plan = graph.planned(*graph.overlay(wider), "all")
    assert not jobs(plan) & {"toy", "finetune", "clean", "tally_train"}
    assert "score_train" not in jobs(plan)
    assert not [m for m in plan.messages if m.endswith(("train", "of train"))]
    assert plan.jobs["predict"] == 2
    assert plan.jobs["tally_ood"] == plan.jobs["diversity"] == 1


def test_adding_a_recipe_touches_no_base_run(graph: Graph) -> None:
    recipe = "recipes: {gentle: {method: sft, split: train, learning_rate: 1.0e-4}}\n"
    plan = graph.planned(*graph.overlay(recipe), "all")
    assert plan.jobs["finetune"] == 1
    assert "toy" not in jobs(plan)
    about = [m for m in plan.messages if "tiny" in m]
    assert about
    assert all("gentle" in m for m in about)


def test_adding_a_wording_asks_in_it_and_reruns_nothing_else(graph: Graph) -> None:
    plan = graph.planned(*graph.overlay(WORDING), "all")
    assert plan.jobs == {
        **dict.fromkeys(REPORT, 1),
        "pairs_reworded": 2,
        "predict": 4,
        "score_train": 2,
        "score_ood": 2,
        "fairness": 4,
    }
    about = [m for m in plan.messages if "tiny" in m]
    assert all("tiny/base+listed" in m or "tiny/sft+listed" in m for m in about)


def test_adding_a_second_wording_leaves_the_first_alone(graph: Graph) -> None:
    """And a model that is not asked in it is left alone, too."""
    some = "wordings: {listed: {persona: list, order: question}, malay: {template: malay}}\n"
    done = graph.run(
        *graph.overlay(WORDING),
        "results/mini/runs/tiny/sft+listed/ood/scores/age_group-x-religion.parquet",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    asked = io.read_table(graph.results / "pairs/ood+listed.parquet", "pairs")
    assert asked["closed_prompt"].str.startswith("Answer every question as a person").all()
    run = graph.results / "runs/tiny"
    for variant in ("sft", "sft+listed"):
        told = io.read_table(run / variant / "ood/predictions.parquet", "predictions")
        assert set(told["adapter"]) == {adapter_digest(graph.results / "models/tiny/sft/adapter")}
    assert set(told["adapter"]) != {""}
    second = graph.planned(*graph.overlay(some), "all")
    own = "tiny/sft+listed answers ood"
    assert own not in second.messages
    assert "tiny/sft+malay answers ood" in second.messages
    fewer = graph.planned(*graph.overlay(some + "models: {tiny: {wordings: [listed]}}\n"), "all")
    assert not [m for m in fewer.messages if "malay" in m]


def test_the_report_shows_a_wording_s_runs_beside_the_study_s_own(
    graph: Graph, tmp_path: Path
) -> None:
    """Copies of the runs stand for a wording that changes nothing, as if the toy had answered."""
    mini = read_yaml(graph.folder / "config.yaml")
    study = load({**mini, "wordings": {"w": {"persona": "list"}}}, graph.folder)
    results = tmp_path / "mini"
    shutil.copytree(graph.results, results, ignore=shutil.ignore_patterns("replies", "models"))
    for path in (results / "runs/tiny").rglob("scores/*.parquet"):
        scores = io.read_table(path, "scores")
        answered = scores.assign(outcome="answer", answer=1, accuracy=scores["argmax_accuracy"])
        io.write_table(answered, path, "scores", "toy model")
    for variant in ("base", "sft"):
        shutil.copytree(results / "runs/tiny" / variant, results / f"runs/tiny/{variant}+w")
    said = ["--results", str(results), "--spec"]
    noise_ceiling = ["--noise_ceiling", str(results / "survey/noise_ceiling.parquet")]
    outputs = {name: f"{results}/report/{name}.parquet" for name in ("runs", "differences")}
    tables = [part for name, path in outputs.items() for part in (f"--{name}", path)]
    assert main(["compare", *said, to_json(spec_compare(study)), *noise_ceiling, *tables]) == 0
    for stage in ("tables", "report"):
        assert main([stage, *said, to_json(spec_report(study))]) == 0
    found = pd.read_csv(results / "report/tables/differences.csv").set_index("metric")
    changed = found.loc["changed"]
    assert set(changed["variant"]) == {"base+w", "sft+w"}
    assert (changed["value"] == 0).all()
    assert changed["p_value"].isna().all()
    own = found[found["other_variant"] == "sft"].drop(index="changed")
    assert (own["p_value"] == 1).all()
    page = (results / "report/index.html").read_text(encoding="utf-8")
    assert "Another wording changes 0.0% of the answers on ood" in page
    assert "w: persona list." in page
    main_table = pd.read_csv(results / "report/tables/main.csv").set_index(["split", "variant"])
    assert {"base", "sft", "base+w", "sft+w"} == set(main_table.loc["ood"].index)
    assert "calibration_error_low" in main_table


KFOLD = """
splits: {cv: {role: test, strata: [sex x religion], folds: {of: 3, unit: subgroup}}}
recipes: {cross: {method: sft, split: cv, learning_rate: 1.0e-3}}
"""


def test_k_fold_is_a_few_lines_and_touches_no_other_run(graph: Graph) -> None:
    plan = graph.planned(*graph.overlay(KFOLD), "all")
    # a fine-tune and its answers for each fold, put together; base and baseline on the whole
    assert plan.jobs["finetune"] == 3
    assert plan.jobs["predict"] == 3 + 2
    assert plan.jobs["pool"] == plan.jobs["tally_cv"] == 1
    assert plan.jobs["pairs"] == 1 + 3 * 2
    assert plan.jobs["score_cv"] == plan.jobs["fairness"] == 4
    assert not jobs(plan) & {"toy", "clean", "tally_train", "tally_ood", "score_train", "score_ood"}
    assert "generate" not in jobs(plan)
    assert not [m for m in plan.messages if "tiny/cross" in m and m.endswith(("train", "ood"))]


def test_more_resamples_rerun_no_model(graph: Graph) -> None:
    plan = graph.planned(*graph.overlay("evaluation: {resamples: 60}\n"), "all")
    assert not jobs(plan) & {"toy", "finetune", "predict", "generate", "judge", "score_ood"}
    assert {"fairness", "diversity", "summary"} <= jobs(plan)


def test_a_cluster_setting_reruns_nothing(graph: Graph) -> None:
    assert graph.planned(*graph.overlay("models: {tiny: {memory_mb: 3000}}\n"), "all").idle


def test_the_survey_target_stops_before_any_model(graph: Graph) -> None:
    plan = graph.planned("--forceall", "survey")
    assert {"clean", "diversity", "summary"} <= jobs(plan)
    assert not jobs(plan) & {"toy", "finetune", "predict", "generate", "judge", "compare"}


FAST = """
models:
  fast: {backend: vllm, toy: {architecture: llama}, recipes: []}
"""
CONDA = """#!/bin/sh
case "$1" in
  --version) echo "conda 25.1.0" ;;
  info) echo '{"conda_prefix": "/", "platform": "linux-64", "conda_version": "25.1.0"}' ;;
  config) echo '{"get": {"channel_priority": "strict"}}' ;;
esac
"""


def test_only_a_model_behind_vllm_asks_for_vllms_environment(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conda = tmp_path / "conda"
    conda.write_text(CONDA, encoding="utf-8")
    conda.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    wanted = {}
    for name, overlay in (("plain", "title: x\n"), ("fast", FAST)):
        plan = graph.planned("--sdm", "conda", "--forceall", *graph.overlay(overlay), "all")
        wanted[name] = set(re.findall(r"envs/(\w+)\.yaml will be created", plan.text))
    assert wanted == {"plain": {"core", "train"}, "fast": {"core", "train", "vllm"}}


@pytest.mark.parametrize(
    ("overlay", "says"),
    [
        ("modles: {}\n", "modles"),
        ("recipes: {sft: {learning_rate: 1e-6}}\n", "1.0e-6"),
        ("splits: {ood: {strata: [age_group x caste]}}\n", "caste"),
        ("splits: {ood: {strata: [sex]}}\n", "trained on"),
    ],
)
def test_a_bad_config_is_one_line_and_exit_2(graph: Graph, overlay: str, says: str) -> None:
    done = graph.run("--dry-run", *graph.overlay(overlay), "all")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("config:")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in done.stderr


def test_a_survey_of_the_wrong_kind_is_one_line(graph: Graph, tmp_path: Path) -> None:
    survey = tmp_path / "survey.csv"
    survey.write_text("a;b\n1;2\n", encoding="utf-8")
    spec = json.dumps(
        {
            "name": "x", "delimiter": ",", "respondent": "id", "weight": None, "filter": {},
            "missing": [], "questions": ["Q1"], "exclude": [], "recode": {}, "axes": {},
            "caveat": "",
        }
    )  # fmt: skip
    stage = [graph.command()[0], "-m", "valuestrata", "clean", "--spec", spec]
    stage += ["--survey", str(survey), "--codebook", "studies/codebooks/wvs7.yaml"]
    stage += ["--responses", str(tmp_path / "r"), "--questions", str(tmp_path / "q")]
    stage += ["--groups", str(tmp_path / "g")]
    done = subprocess.run(
        stage,
        cwd=graph.folder,
        env={**graph.environment(), "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "survey.delimiter" in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_killed_fine_tune_leaves_nothing_that_looks_whole(graph: Graph) -> None:
    adapter = graph.results / "models/tiny/sft/adapter"
    target = str(adapter.relative_to(graph.folder))
    before = (adapter / "adapter_model.safetensors").read_bytes()
    log = graph.results / "logs/finetune/tiny/sft.log"
    log.unlink()
    run = subprocess.Popen(
        graph.command("--force", target),
        cwd=graph.folder,
        env=graph.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (log.exists() and "LoRA of rank" in log.read_text(encoding="utf-8")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not adapter.exists()
    assert graph.run("--unlock").returncode == 0
    assert graph.planned("--rerun-incomplete", target).jobs["finetune"] == 1
    assert graph.run("--rerun-incomplete", target).returncode == 0
    assert (adapter / "adapter_model.safetensors").read_bytes() == before
