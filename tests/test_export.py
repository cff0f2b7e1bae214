"""What may be published leaves; what was given in confidence stays."""

import hashlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path
from unittest.mock import MagicMock

import pyarrow.parquet as pq
import pytest
import yaml

from tests.graph import ROOT, Graph
from valuestrata import io, tables
from valuestrata.__main__ import main
from valuestrata.errors import InputError
from valuestrata.paths import resource
from valuestrata.prompting import prompts
from valuestrata.publication.lm_eval_utils import mean_of_ordinal, process_results
from valuestrata.records import read_record
from valuestrata.stages.hardware import this_machine
from valuestrata.study.load import load
from valuestrata.study.study import Study
from valuestrata.study.yaml import read_mapping

INSPECT = """
import json, sys
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
folder = sys.argv[1]
items = [json.loads(line) for line in open(folder + "/ood.jsonl", encoding="utf-8")]
outputs = []
for i, item in enumerate(items):
    text = item["replies"][item["target"]] if i % 2 == 0 else "I would rather not say."
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    outputs.append(output)
model = get_model("mockllm/model", custom_outputs=outputs)
(log,) = eval(folder + "/task.py", model=model, max_samples=1, log_dir="logs", display="none")
assert log.status == "success", log.error
print(json.dumps({s.name: {k: m.value for k, m in s.metrics.items()} for s in log.results.scores}))
"""


@pytest.fixture(scope="module")
def exported(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("public") / "mini"
    author = ["--author", "Ada Lovelace <https://orcid.org/0000-0002-1825-0097>"]
    licence = ["--license", "https://spdx.org/licenses/CC-BY-4.0"]
    command = ["export", str(graph.results), str(output), "--min-n", "60", *author, *licence]
    assert main(command) == 0
    return output


def test_no_respondent_and_no_tally_leaves(exported: Path) -> None:
    names = {path.name for path in exported.rglob("*")}
    assert "index.html" in names
    assert "adapter_model.safetensors" in names
    assert not names & {"responses.parquet", "simulated.csv", "replies", "tally", "survey"}
    assert not list(exported.rglob("*.jsonl"))


def test_a_crate_names_every_file_and_says_what_ran(graph: Graph, exported: Path) -> None:
    crate = json.loads((exported / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    files = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert files - set(entities) == {"made_of.json"}  # the house's own record of the folder
    root, action = entities["./"], entities["#run"]
    assert root["mainEntity"] == {"@id": "Snakefile"}
    assert "ComputationalWorkflow" in entities["Snakefile"]["@type"]
    assert {"@id": "#survey"} in action["object"]
    assert {"@id": "runs/tiny/sft/ood/scores/age_group-x-religion.parquet"} in action["result"]
    assert action["instrument"] == {"@id": "Snakefile"}
    assert entities["https://orcid.org/0000-0002-1825-0097"]["name"] == "Ada Lovelace"
    assert root["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    hardware = entities[action["resourceUsage"]["@id"]]["value"]
    assert hardware.startswith(f"{this_machine()}: ")
    assert "predict (4 jobs)" in hardware
    page = (exported / "report/index.html").read_text(encoding="utf-8")
    assert escape(hardware.rpartition(": ")[0]) in page
    assert "say nothing about people" in root["description"]
    assert "simulated.csv" in entities["#survey"]["description"]
    study = (exported / "study.json").read_text(encoding="utf-8")
    assert str(graph.folder) not in study
    assert Study.from_json(study).name == "mini"


def test_croissant_says_what_each_column_holds(exported: Path) -> None:
    content = json.loads((exported / "croissant.json").read_text(encoding="utf-8"))
    (creator,) = content["creator"]
    assert creator["name"] == "Ada Lovelace"
    assert creator["url"] == "https://orcid.org/0000-0002-1825-0097"
    described = {file["@id"]: file for file in content["distribution"]}
    parquet = {p.relative_to(exported).as_posix(): p for p in exported.rglob("*.parquet")}
    assert set(described) == set(parquet)
    for records in content["recordSet"]:
        for column in records["field"]:
            file = column["source"]["fileObject"]["@id"]
            names = pq.read_schema(parquet[file]).names
            assert column["source"]["extract"]["column"] in names
            assert column["description"]
    file = described["report/runs.parquet"]
    assert file["sha256"] == hashlib.sha256(parquet["report/runs.parquet"].read_bytes()).hexdigest()


def test_a_card_stands_beside_each_adapter(exported: Path) -> None:
    card = (exported / "models/tiny/sft/adapter/README.md").read_text(encoding="utf-8")
    data = yaml.safe_load(card.split("---")[1])
    assert data["library_name"] == "peft"
    assert "base_model" not in data  # a toy is not on the hub
    assert "Simulated survey, toy model" in card
    runs = io.read_table(exported / "report/runs.parquet", tables.RUNS)
    row = runs[
        (runs["model"] == "tiny")
        & (runs["variant"] == "sft")
        & (runs["split"] == "ood")
        & (runs["metric"] == "wasserstein")
    ].iloc[0]
    assert f"| sft | {row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" in card
    assert "More Information Needed" not in card


def test_authors_are_names_with_an_orcid(
    graph: Graph, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["export", str(graph.results), str(tmp_path / "o"), "--author", "Ada <ada@example.org>"]
    assert main(wrong) == 2
    assert "orcid.org" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_questionnaire_has_what_a_harness_asks_and_no_small_cell(
    graph: Graph, tmp_path: Path
) -> None:
    pairs = io.read_table(graph.results / "pairs/ood.parquet", tables.PAIRS)
    large = pairs[(pairs["respondents"] >= 60) & (pairs["n"] >= 60)]
    for form, files in (("inspect", {"task.py", "about.json"}), ("lm-eval", {"utils.py"})):
        folder = tmp_path / form
        command = ["export", str(graph.results), str(folder), "--as", form, "--min-n", "60"]
        assert main(command) == 0
        assert files <= {path.name for path in folder.iterdir()}
        text = (folder / "ood.jsonl").read_text(encoding="utf-8")
        asked = [json.loads(line) for line in text.splitlines()]
        assert [item["prompt"] for item in asked] == large["closed_prompt"].tolist()
        assert [item["persona"] for item in asked] == large["persona"].tolist()
        for item, mode in zip(asked, large["mode"], strict=True):
            assert item["codes"][item["target"]] == mode
            assert item["replies"][item["target"]] == f"Answer: {mode}"
        assert "distribution" not in text
    task = yaml.load(
        (tmp_path / "lm-eval/mini_ood.yaml").read_text(encoding="utf-8").replace("!function ", ""),
        yaml.SafeLoader,
    )
    assert task["task"] == "valuestrata_mini_ood"
    assert main(["export", str(graph.results), str(tmp_path / "x"), "--as", "inspect",
                 "--min-n", "100000"]) == 2  # fmt: skip


def test_likelihoods_are_scored_as_argmax_accuracy_and_nmae() -> None:
    item = {"codes": [1, 2, 10], "mode": 2, "scale_min": 1, "scale_max": 10}
    ordinal = item | {"measurement_level": "ordinal"}
    results = [(-3.0, False), (-2.0, False), (-1.0, True)]
    assert process_results(ordinal, results) == {"acc": 0.0, "nmae": 8 / 9}
    nominal = process_results(item | {"measurement_level": "nominal"}, results[:2])
    assert nominal["acc"] == 1.0
    assert math.isnan(nominal["nmae"])
    assert mean_of_ordinal([math.nan, 0.5, 0.0]) == 0.25
    assert math.isnan(mean_of_ordinal([math.nan]))


def test_replies_are_read_by_the_exported_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task's own reader, with inspect-ai stood in for."""
    for name in ("", ".dataset", ".model", ".scorer", ".solver"):
        monkeypatch.setitem(sys.modules, f"inspect_ai{name}", MagicMock())
    shutil.copy(resource("publication/inspect_task.py"), tmp_path / "task.py")
    (tmp_path / "about.json").write_text('{"splits": ["ood"]}', encoding="utf-8")
    spec = importlib.util.spec_from_file_location("exported_task", tmp_path / "task.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    codes = [1, 2, 10]
    for template in ("english", "mandarin", "malay", "tamil"):
        replies = [prompts.answer(template, code) for code in codes]
        for code, reply in zip(codes, replies, strict=True):
            for text in (reply, f"**{reply}**", f"{code}", f"{code}.", f"Well.\n{reply}\n"):
                assert module.read_code(text, codes, replies) == code, text
        for text in (
            "",
            "I cannot say.",
            "1 or 2",
            "\n".join(replies[:2]),
            f"{replies[0]}0.5",
            "3",
        ):
            assert module.read_code(text, codes, replies) is None, text


def test_inspect_runs_the_exported_task(graph: Graph, tmp_path: Path) -> None:
    python = ROOT / "build/inspect-ai/bin/python"
    if not python.exists():
        pytest.skip("inspect-ai is not installed: `make bench-models` makes its environment")
    folder = tmp_path / "task"
    assert main(["export", str(graph.results), str(folder), "--as", "inspect"]) == 0
    done = subprocess.run(
        [python, "-c", INSPECT, folder], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics["answered"]["mean"] == pytest.approx(0.5, abs=0.03)
    assert metrics["accuracy"]["mean"] == metrics["answered"]["mean"]
    assert metrics["nmae"]["mean_of_answers"] == 0.0


def test_lm_eval_runs_the_exported_task(graph: Graph, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    folder = tmp_path / "task"
    assert main(["export", str(graph.results), str(folder), "--as", "lm-eval"]) == 0
    model = graph.results / "models/tiny/base"
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "--include_path", folder, "--device", "cpu",
         "--tasks", "valuestrata_mini_ood", "--model", "hf", "--output_path", tmp_path / "out",
         "--model_args", f"pretrained={model},dtype=float32", "--log_samples"],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (results,) = (tmp_path / "out").rglob("results*.json")
    scores = json.loads(results.read_text(encoding="utf-8"))["results"]["valuestrata_mini_ood"]
    (samples,) = (tmp_path / "out").rglob("samples*.jsonl")
    logged = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    assert len(logged) == 25
    assert scores["acc,none"] == pytest.approx(sum(item["acc"] for item in logged) / 25)


def test_small_subgroups_are_left_out_of_every_table(graph: Graph, exported: Path) -> None:
    pairs = io.read_table(graph.results / "pairs/ood.parquet", tables.PAIRS)
    small = set(pairs[(pairs["respondents"] < 60) | (pairs["n"] < 60)]["subgroup"])
    whole = set(pairs["subgroup"])
    assert small
    assert whole - small
    for name, contract in (
        ("predictions.parquet", tables.PREDICTIONS),
        ("texts.parquet", tables.TEXTS),
    ):
        rows = io.read_table(exported / "runs/tiny/sft/ood" / name, contract)
        assert set(rows["subgroup"]) == whole - small
    text = (exported / "pairs/ood.csv").read_text(encoding="utf-8")
    assert not [name for name in small if name in text]
    assert "distribution" not in text
    assert "simulated survey" in text
    text = (graph.results / "report/tables/ties.csv").read_text(encoding="utf-8")
    assert [name for name in small if name in text]
    text = (exported / "report/tables/ties.csv").read_text(encoding="utf-8")
    assert not [name for name in small if name in text]


def test_prompts_of_a_variant_are_no_pairs_of_their_own(graph: Graph, tmp_path: Path) -> None:
    """A run in a prompt variant leaves with its split's pairs."""
    results = tmp_path / "mini"
    for part in ("report", "pairs", "runs/tiny/base/ood"):
        shutil.copytree(graph.results / part, results / part)
    shutil.copy(graph.results / "study.json", results)
    (results / "survey").mkdir()
    shutil.copy(graph.results / "survey/summary.json", results / "survey")
    shutil.copytree(results / "runs/tiny/base", results / "runs/tiny/base+w")
    shutil.copy(results / "pairs/ood.parquet", results / "pairs/ood+w.parquet")
    assert main(["export", str(results), str(tmp_path / "out")]) == 0
    names = {path.name for path in (tmp_path / "out/pairs").iterdir()}
    assert "ood.csv" in names
    assert not [name for name in names if "+" in name]
    plain, variant = (
        io.read_table(tmp_path / f"out/runs/tiny/{v}/ood/predictions.parquet", tables.PREDICTIONS)
        for v in ("base", "base+w")
    )
    assert plain.equals(variant)


def test_caveat_and_records_go_along(graph: Graph, exported: Path) -> None:
    path = "runs/tiny/sft/ood/predictions.parquet"
    assert io.caveat_of(exported / path) == "simulated survey, toy model"
    assert read_record(exported / path) == read_record(graph.results / path)
    record = read_record(exported)
    assert record is not None
    assert record.settings == {"min_n": 60, "caveat": "simulated survey, toy models"}


def test_an_export_overwrites_nothing(
    graph: Graph, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(graph.results), str(exported)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_study_without_report_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_survey_that_git_would_take_is_refused(tmp_path: Path) -> None:
    raw = read_mapping(ROOT / "studies/nonvoters.yaml")
    raw["survey"] |= {"file": "answers.csv", "codebook": str(ROOT / raw["survey"]["codebook"])}
    (tmp_path / "answers.csv").touch()
    assert load(raw, tmp_path).name == "nonvoters"
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with pytest.raises(InputError, match="must not be committed"):
        load(raw, tmp_path)
    (tmp_path / ".gitignore").write_text("answers.csv\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"responses\.parquet"):
        load(raw, tmp_path)
    (tmp_path / ".gitignore").write_text("*.csv\n/results/\n", encoding="utf-8")
    assert load(raw, tmp_path).name == "nonvoters"
