"""What the documentation tells readers to do works as it stands."""

import re
import subprocess
import sys

import yaml

from tests.graph import ROOT, Graph
from valuestrata import io
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


def test_the_recipes_of_the_page_are_a_study() -> None:
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    whole, line = (
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    )
    raw = read_yaml(ROOT / "config.yaml")
    study = load({**raw, "recipes": {**raw["recipes"], **whole["recipes"], **line}})
    methods = {recipe["method"] for recipe in study.config["recipes"].values()}
    assert methods >= {"sft", "soft", "ordinal", "dro"}
