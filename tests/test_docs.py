"""What the documentation tells readers to do works as it stands."""

import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import yaml
from snakemake.utils import update_config

from tests.graph import ROOT, Graph
from valuestrata import io
from valuestrata.config import Study
from valuestrata.validate import load, read_yaml


def blocks(text: str) -> dict[str, str]:
    """Code blocks whose first line names a file, by that name."""
    found = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", text, re.DOTALL)
    return dict(found)


def test_the_worked_example_of_a_survey_runs(graph: Graph) -> None:
    files = blocks((ROOT / "docs/own-survey.md").read_text(encoding="utf-8"))
    assert set(files) == {"mysurvey/make.py", "mysurvey/codebook.yaml", "mysurvey/study.yaml"}
    (graph.folder / "mysurvey").mkdir()
    for name, text in files.items():
        (graph.folder / name).write_text(text, encoding="utf-8")
    make = [sys.executable, "mysurvey/make.py"]
    subprocess.run(make, cwd=graph.folder, check=True)
    done = graph.run("--configfile", "mysurvey/study.yaml", "--", "survey")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = io.read_json(graph.folder / "results/mysurvey/survey/summary.json")
    assert summary["respondents"] == 400
    assert summary["questions"] == 2
    assert summary["splits"]["ood"]["subgroups"] == 6
    assert summary["blocks"]["trust"]["mds"]["n"] == 1


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def overlays(page: str) -> list[dict[str, Any]]:
    """Blocks of YAML on a page of docs, without names of files."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.findall(r"```yaml\n(?!# \S+\n)(.*?)```", text, re.DOTALL)
    return [yaml.safe_load(block) for block in found]


def laid(*blocks: Mapping[str, Any]) -> Study:
    """The embedded study with blocks over it, as `--configfile` lays them."""
    raw = read_yaml(ROOT / "config.yaml")
    for block in blocks:
        update_config(raw, block)
    return load(raw)


def test_the_recipes_of_the_page_are_a_study() -> None:
    whole, line = overlays("recipes.md")
    study = laid(whole, {"recipes": line})
    methods = {recipe["method"] for recipe in study.config["recipes"].values()}
    assert methods >= {"sft", "soft", "ordinal", "dro"}


def test_the_preferences_of_the_page_are_a_study() -> None:
    study = laid(*overlays("preference.md"))
    assert {"dpo", "grpo"} <= set(study.variants("toy-llama"))


def test_the_wordings_of_the_page_are_a_study() -> None:
    (block,) = overlays("wordings.md")
    study = laid(block)
    every = [f"base+{name}" for name in block["wordings"]]
    assert [v for v in study.reworded("toy-llama") if v.startswith("base")] == every
    assert study.reworded("toy-qwen")[:2] == ["base+mandarin", "sft+mandarin"]
    assert len(study.reworded("toy-qwen")) == 4
