"""The graph runs what a change of the study asks for, and nothing else."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time
from io import StringIO
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from tests import judged
from tests.graph import Graph, Plan
from valuestrata import io, tables
from valuestrata.__main__ import main
from valuestrata.inference.model_files import adapter_digest
from valuestrata.paths import AHEAD
from valuestrata.records import read_record
from valuestrata.stages.nodes import nodes
from valuestrata.study.load import load
from valuestrata.study.sensitivity import Perturbation
from valuestrata.study.yaml import parse, read_yaml

REPORT = {"compare", "contrasts", "tables", "figures", "report", "all"}

NEW_MODEL = """
models:
  second:
    backend: transformers
    toy: {architecture: qwen2, hidden_size: 32, num_layers: 1, vocab_size: 500, max_steps: 5}
    dtype: float32
    threads: 1
"""
PROMPT_VARIANT = "prompt_variants: {listed: {persona: list, order: question}}\n"
VARIANT_JOBS = {
    **dict.fromkeys(REPORT, 1),
    "summary": 1,
    "pairs": 2,
    "predict": 4,
    "score_train": 2,
    "score_ood": 2,
    "fairness": 4,
}
SENSITIVITY = {"sensitivity": {"models": ["tiny"], "max_pairs": 6}}


@pytest.fixture(scope="module")
def varied(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The study with a prompt variant, perturbed prompts, and texts that tuning changed."""
    folder = tmp_path_factory.mktemp("varied") / "study"
    made = graph.copy(folder, **parse(PROMPT_VARIANT), **SENSITIVITY)
    for variant in ("base", "sft"):  # the toy writes the same with and without an adapter
        path = made.results / f"runs/tiny/{variant}/ood/texts.parquet"
        record = read_record(path)
        assert record is not None
        texts = io.read_table(path, tables.TEXTS).assign(text=variant, outcome="answer")
        io.write_table(texts, path, tables.TEXTS, record)
    done = made.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return made


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


def test_adding_a_model_runs_its_nodes_and_the_report(graph: Graph) -> None:
    plan = graph.planned(*graph.overlay(NEW_MODEL), "all")
    assert plan.jobs == {
        **dict.fromkeys(REPORT, 1),
        "summary": 1,  # more runs are more tests: smaller differences are harder to find
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
    model = {"backend": "transformers", "model": str(folder), "dtype": "float32", "recipes": []}
    model |= {"threads": 1, "gpus": 0}
    overlay = graph.overlay(json.dumps({"models": {"local": model}}))
    target = "results/mini/runs/local/base/ood/predictions.parquet"
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


def test_adding_a_prompt_variant_asks_in_it_and_reruns_nothing_else(graph: Graph) -> None:
    plan = graph.planned(*graph.overlay(PROMPT_VARIANT), "all")
    assert plan.jobs == VARIANT_JOBS
    about = [m for m in plan.messages if "tiny" in m]
    assert all("tiny/base+listed" in m or "tiny/sft+listed" in m for m in about)


def test_adding_a_second_prompt_variant_leaves_the_first_alone(varied: Graph) -> None:
    """And a model that is not asked in it is left alone, too."""
    pairs = io.read_table(varied.results / "pairs/ood+listed.parquet", tables.PAIRS)
    assert pairs["closed_prompt"].str.startswith("Answer every question as a person").all()
    run = varied.results / "runs/tiny"
    for variant in ("sft", "sft+listed"):
        predictions = io.read_table(run / variant / "ood/predictions.parquet", tables.PREDICTIONS)
        assert set(predictions["adapter"]) == {
            adapter_digest(varied.results / "models/tiny/sft/adapter")
        }
    assert set(predictions["adapter"]) != {""}
    both = "prompt_variants: {malay: {template: malay}}\n"
    second = varied.planned(*varied.overlay(both), "all")
    assert "tiny/sft+listed answers ood" not in second.messages
    assert "tiny/sft+malay answers ood" in second.messages
    fewer = varied.planned(
        *varied.overlay(both + "models: {tiny: {prompt_variants: [listed]}}\n"), "all"
    )
    assert not [m for m in fewer.messages if "malay" in m]


def test_the_report_shows_a_prompt_variant_s_runs_beside_the_study_s_own(varied: Graph) -> None:
    report = varied.results / "report"
    differences = pd.read_csv(report / "tables/differences.csv").set_index("metric")
    changed = differences.loc["disagreement_rate"]
    assert set(changed["variant"]) == {"base+listed", "sft+listed"}
    assert changed["p_value"].isna().all()
    main = pd.read_csv(report / "tables/main.csv").set_index(["split", "variant"])
    assert {"base", "sft", "base+listed", "sft+listed"} == set(main.loc["ood"].index)
    assert "listed" in (report / "index.html").read_text(encoding="utf-8")


def test_one_load_runs_before_the_nodes_of_a_model_and_reruns_none(graph: Graph) -> None:
    """Two jobs that wait for one model are answered together, and the graph stays what it is."""
    idle = graph.planned(*graph.overlay("one_load: true\n"), "all")
    assert idle.idle
    assert "missing provenance" not in idle.text
    one_load = graph.overlay("one_load: true\n" + PROMPT_VARIANT)
    plan = graph.planned(*one_load, "all")
    assert plan.jobs == {**VARIANT_JOBS, "answer": 2}
    folder = "results/mini/runs/tiny/base+listed"
    targets = [f"{folder}/{split}/predictions.parquet" for split in ("train", "ood")]
    assert graph.planned(*one_load, targets[0]).jobs == {"predict": 1, "pairs": 1}
    part = graph.planned("--until", "generate", "-R", "predict", "generate", *one_load, "all")
    assert part.jobs == {"generate": 2, "pairs": 2}
    with graph.restored():
        done = graph.run(*one_load, *targets)
        assert done.returncode == 0, done.stdout + done.stderr
        for split in ("train", "ood"):
            log = graph.results / f"logs/predict/tiny/base+listed/{split}.log"
            assert "made ahead" in log.read_text(encoding="utf-8")
        assert not (graph.results / AHEAD).exists()
        mark = base64.urlsafe_b64encode(b"results/mini/answered/tiny/base.json").decode()
        (graph.folder / ".snakemake" / "incomplete" / mark).touch()  # snakemake alone was killed
        assert graph.planned(*one_load, *targets).idle
        left = graph.planned(*one_load, "all")
        assert (left.jobs["predict"], left.jobs["answer"]) == (2, 1)
        (graph.folder / targets[0]).unlink()  # one job alone asks for itself
        assert graph.planned(*one_load, *targets).jobs == {"predict": 1}
        graph.overlay(PROMPT_VARIANT)
        assert graph.planned(*one_load, *targets).jobs == {"predict": 1}


def test_perturbed_prompts_are_asked_beside_the_study_s_own(graph: Graph, varied: Graph) -> None:
    plan = graph.planned(*graph.overlay(json.dumps(SENSITIVITY)), "all")
    assert {rule: n for rule, n in plan.jobs.items() if rule not in {*REPORT, "summary"}} == {
        "perturb": 1,
        "ask_perturbed": 2,
        "sensitivity": 1,
    }
    table = pd.read_csv(varied.results / "report/tables/sensitivity.csv")
    asked = table[table["model"] == "tiny"]
    assert set(asked["perturbation"]) == set(get_args(Perturbation))
    assert set(asked["variant"]) == {"base", "sft"}
    page = (varied.results / "report/index.html").read_text(encoding="utf-8")
    assert "Perturbed prompts" in page
    assert varied.planned().idle
    check_rules(varied)


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
    plan = graph.planned(*graph.overlay("evaluation: {n_resamples: 60}\n"), "all")
    assert not jobs(plan) & {"toy", "finetune", "predict", "generate", "judge", "score_ood"}
    assert {"fairness", "diversity", "summary"} <= jobs(plan)


def test_annotations_of_people_reach_the_report_and_rerun_nothing_else(
    varied: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(varied.folder)
    with varied.restored():
        assert main(["annotate", "config.yaml"]) == 0
        (path,) = (varied.results / "annotation").glob("*.key.json")
        key = io.read_json(path)
        ids = [item["sample_id"] for item in key["items"]]
        choices = {i: dict.fromkeys(key["dimensions"], "ABA"[n % 3]) for n, i in enumerate(ids)}
        given = [judged.annotations(key, name, choices, varied.folder) for name in ("ada", "ben")]
        assert main(["agreement", "config.yaml", *map(str, given)]) == 0
        assert set(varied.planned().jobs) == {"tables", "figures", "report", "all"}
        done = varied.run()
        assert done.returncode == 0, done.stdout + done.stderr
        page = varied.results / "report/index.html"
        assert "Judges against people" in page.read_text(encoding="utf-8")
        assert varied.planned().idle
        # verdicts that are no longer those that people were compared with
        (verdicts,) = (varied.results / "runs/tiny/sft/ood/verdicts").glob("*.parquet")
        record = read_record(verdicts)
        assert record is not None
        table = io.read_table(verdicts, tables.VERDICTS)
        io.write_table(table[::-1], verdicts, tables.VERDICTS, record)
        done = varied.run()
        assert done.returncode == 0, done.stdout + done.stderr
        text = page.read_text(encoding="utf-8")
        assert "its verdicts have changed since" in text
        assert "Judges against people" not in text


def test_a_cluster_setting_reruns_nothing(graph: Graph) -> None:
    assert graph.planned(*graph.overlay("models: {tiny: {mem_mb: 3000}}\n"), "all").idle


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
        ("recipes: {sft: {learning_rate: fast}}\n", "learning_rate"),
        ("survey: {codebook: 'x $(touch PWN).yaml'}\n", "no such file"),
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


def summary(graph: Graph) -> pd.DataFrame:
    """Rule, inputs and command of every output file, as Snakemake sees them."""
    done = graph.run("--detailed-summary")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(StringIO(done.stdout), sep="\t", dtype=str, keep_default_na=False)
    return table.set_index("output_file")


def check_rules(graph: Graph) -> None:
    """Snakemake's inputs of every file are those of the stage's own functions."""
    study = load(read_yaml(graph.folder / "config.yaml"), graph.folder)
    rules = summary(graph)
    outputs = {f"{study.results}/study.json"}
    for node in nodes(study):
        for path in node.outputs:
            inputs = set(rules.loc[path, "input-file(s)"].split(","))
            assert inputs - {f"{study.results}/study.json"} == set(node.inputs), path
            assert rules.loc[path, "rule"].startswith(node.stage)
        outputs |= set(node.outputs)
    assert set(rules.index) == outputs


def test_rules_read_and_write_what_their_stages_say(graph: Graph) -> None:
    check_rules(graph)


def test_commands_are_short_and_can_be_run_by_hand(graph: Graph) -> None:
    commands = summary(graph)["shellcmd"]
    commands = commands[commands.str.startswith("valuestrata ")]
    assert len(commands) > 40
    assert commands.str.len().max() < 300
    assert not commands.str.contains("{", regex=False).any()
    output = graph.results / "runs/tiny/sft/ood/fairness.parquet"
    command = commands[str(output.relative_to(graph.folder))]
    before = output.read_bytes()
    output.unlink()
    done = graph.run_by_hand(command)
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == before
    assert graph.planned().idle


def test_a_failed_job_ends_with_its_run_its_error_and_its_log(graph: Graph) -> None:
    with graph.restored():
        target = "results/mini/runs/tiny/base/ood/scores/age_group-x-religion.parquet"
        with (
            graph.edited(
                "src/valuestrata/stages/score.py",
                "    pairs = io",
                "    raise InputError('no way')\n    pairs = io",
            ),
            graph.edited(
                "src/valuestrata/stages/score.py",
                "from valuestrata.study.base",
                "from valuestrata.errors import InputError\nfrom valuestrata.study.base",
            ),
        ):
            done = graph.run(target)
        assert done.returncode == 1
        assert done.stderr.rstrip().splitlines()[-3:] == [
            "score_ood failed for tiny/base",
            "  valuestrata score: no way",
            "  log: results/mini/logs/score/tiny/base/ood.log",
        ]
        assert "valuestrata score --study" not in done.stderr


def test_a_job_on_a_cluster_runs_its_own_rule_alone(graph: Graph) -> None:
    study = (graph.results / "study.json").read_text(encoding="utf-8")
    model = next(name for name, entry in json.loads(study)["models"].items() if entry.get("toy"))
    inner = ["--mode", "remote", "--nolock", "--ignore-incomplete", "--force"]
    job = ["--target-jobs", f"toy:model={model}", "--allowed-rules", "toy"]
    plan = graph.planned(*inner, *job)
    assert plan.jobs == {"toy": 1}, plan.text


def test_a_lock_says_what_to_do(graph: Graph) -> None:
    locks = graph.folder / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("results/mini/report/index.html\n", encoding="utf-8")
    try:
        done = graph.run("--forceall", "results/mini/report/index.html")
        assert done.returncode == 1
        assert "snakemake --unlock" in done.stderr
        assert "Traceback" not in done.stderr
        assert graph.run("--unlock").returncode == 0
        assert graph.planned().idle
    finally:
        for lock in locks.iterdir():
            lock.unlink()


def test_a_gpu_that_is_not_there_is_one_line_unless_a_cpu_is_meant(graph: Graph) -> None:
    model = {"backend": "transformers", "model": "owner/name", "revision": "0" * 40, "recipes": []}
    target = "results/mini/runs/real/base/ood/predictions.parquet"
    overlay = graph.overlay(json.dumps({"models": {"real": model}}))
    done = graph.run(*overlay, target)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "GPU" in line]
    assert lines == ["config: models.real.gpus: no GPU found here; set it to 0 to run on a CPU"]
    assert jobs(graph.planned(*overlay, "survey")) == {"summary", "survey"}, "no model is needed"
    overlay = graph.overlay(json.dumps({"models": {"real": {**model, "gpus": 0}}}))
    assert jobs(graph.planned(*overlay, target)) == {"predict"}


def test_a_hostile_file_name_is_a_name(graph: Graph, tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    names = ["$(touch PWN)", 'it\'s; `touch PWN` & "c" | *']
    for first, second in (names, names[::-1]):
        survey, codebook = folder / f"{first}.csv", folder / f"{second}.yaml"
        shutil.copy(graph.results / "survey/simulated.csv", survey)
        shutil.copy(graph.folder / "studies/codebooks/wvs7.yaml", codebook)
        study = {**graph.study, "study": "hostile"}
        study["survey"] = {**study["survey"], "file": str(survey), "codebook": str(codebook)}
        del study["survey"]["simulate"]
        overlay = graph.overlay(json.dumps(study))
        done = graph.run(*overlay, "results/hostile/survey/responses.parquet")
        assert done.returncode == 0, done.stdout + done.stderr
    assert not list(graph.folder.glob("PWN*"))
    wild = tmp_path / "{model}.csv"
    shutil.copy(graph.results / "survey/simulated.csv", wild)
    overlay = graph.overlay(json.dumps({"survey": {"file": str(wild), "simulate": None}}))
    done = graph.run("--dry-run", *overlay, "all")
    assert done.returncode == 2
    assert "rename the file" in done.stderr


@pytest.mark.slow  # a kill of another kind is in test_dependence.py
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
    deadline = time.monotonic() + 300
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
