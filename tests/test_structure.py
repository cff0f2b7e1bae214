"""The house keeps its shape: floors, environments, and what must never be committed."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.graph import ROOT

PACKAGE = ROOT / "src" / "valuestrata"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")
FLOORS = [
    {"errors", "schemas", "specs", "provenance", "paths"},
    {"io", "config", "validate", "prompts", "answers", "survey", "metrics"},
    {"models", "judge"},
    {"report"},
    {"stages"},
    {"__main__"},
]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def floor(module: str) -> int:
    room = module.split(".")[1] if "." in module else "__main__"
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = str(node.module)
            bare = module == "valuestrata"
            found |= {f"{module}.{a.name}" for a in node.names} if bare else {module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_imports_run_downward_only(path: Path) -> None:
    relative = path.relative_to(PACKAGE.parent).with_suffix("")
    own = floor(".".join(relative.parts))
    ours = {name for name in imports(path) if name.startswith("valuestrata.")}
    assert {name for name in ours if floor(name) > own} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_torch_is_imported_by_models_alone(path: Path) -> None:
    heavy = {n.split(".")[0] for n in imports(path)} & {"torch", "transformers", "peft", "trl"}
    assert not heavy or path.parent.name == "models"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=str)
def test_packages_are_empty(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == ""


def pins(text: str) -> dict[str, str]:
    found = re.findall(r"^\s*-?\s*([A-Za-z0-9._-]+)==([^\s;#]+)", text, re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda p: p.stem)
def test_conda_environments_are_pinned_and_agree_with_the_constraints(path: Path) -> None:
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    (by_pip,) = [d["pip"] for d in said["dependencies"] if isinstance(d, dict)]
    constrained = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert by_pip
    for requirement in by_pip:
        ((name, version),) = pins(requirement).items()
        assert constrained[name] == version


def test_every_rule_names_a_log_and_an_environment_that_exists() -> None:
    rules = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "workflow/rules").glob("*.smk"))
    shells = rules.count("shell:\n")
    named = re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', rules)
    directive = r'conda:\n +("\.\./\.\./envs/\w+\.yaml"|environment)\n'
    assert len(re.findall(directive, rules)) == rules.count("conda:\n") == shells
    again = len(re.findall(r"^use rule ", rules, re.MULTILINE))
    assert shells + again == rules.count("log:\n") == rules.count("message:\n")
    assert set(named) == {p.stem for p in ENVIRONMENTS}


def test_git_refuses_survey_files_results_and_keys() -> None:
    kept_out = ["my.sav", "wvs.csv", "data/x.dta", "a.xlsx", "b.zip", "results/x.json", ".env"]
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "check-ignore", "--no-index", *kept_out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "not a git repository" in done.stderr:
        pytest.skip("not a git checkout")
    assert done.stdout.split() == kept_out
