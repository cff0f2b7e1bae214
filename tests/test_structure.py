"""The house keeps its shape: floors, environments, and what must never be committed."""

import ast
import graphlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.graph import ROOT

PACKAGE = ROOT / "src" / "valuestrata"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")
FLOORS = [
    {
        "errors",
        "paths",
        "provenance",
        "weight_digests",
        "contracts",
        "columns",
        "tables",
        "evaluation_tables",
        "judge_tables",
        "metrics",
    },
    {"records", "io", "study", "prefix"},
    {"survey", "prompting", "inference"},
    {"training", "baselines", "report", "annotation", "publication"},
    {"demo"},
    {"stages"},
    {"commands"},
    {"__main__"},
]
"""Rooms from the ground up; a module imports from its own floor or from those below."""
ROOMS_OF_TORCH = {"inference", "prefix", "training", "demo"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__main__"


def floor(module: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room(module) in rooms)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = str(node.module)
            is_package = module == "valuestrata"
            names |= {f"{module}.{a.name}" for a in node.names} if is_package else {module}
    return names


def test_imports_run_downward_only() -> None:
    upward = {
        f"{dotted(path)} imports {name}"
        for path in MODULES
        for name in imports(path)
        if name.startswith("valuestrata.") and floor(name) > floor(dotted(path))
    }
    assert upward == set()


def test_rooms_of_one_floor_import_each_other_in_no_circle() -> None:
    rooms: dict[str, set[str]] = {}
    for path in MODULES:
        used = {room(name) for name in imports(path) if name.startswith("valuestrata.")}
        rooms.setdefault(room(dotted(path)), set()).update(used)
    order = [*graphlib.TopologicalSorter({k: v - {k} for k, v in rooms.items()}).static_order()]
    assert "stages" in order


def test_torch_is_imported_by_the_rooms_that_run_networks_alone() -> None:
    heavy = {"torch", "transformers", "peft", "trl", "accelerate"}
    users = {
        room(dotted(path))
        for path in MODULES
        if {name.split(".")[0] for name in imports(path)} & heavy
    }
    assert users <= ROOMS_OF_TORCH


def test_the_graph_imports_no_library_that_is_slow_to_import() -> None:
    """Every call of snakemake imports all stages, to know what each node is made of."""
    slow = {"scipy.stats", "sklearn", "matplotlib", "torch", "transformers", "openai"}
    names = [p.stem for p in sorted((PACKAGE / "stages").glob("*.py")) if p.stem != "__init__"]
    program = (
        "import importlib, sys\n"
        f"for name in {names}: importlib.import_module('valuestrata.stages.' + name)\n"
        f"print(*sorted({slow} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )  # fmt: skip
    assert done.stdout.split() == []


def test_packages_are_empty() -> None:
    assert not [p for p in PACKAGE.rglob("__init__.py") if p.read_text(encoding="utf-8")]


def test_files_and_functions_are_short() -> None:
    long = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > LONGEST_FILE:
            long.append(f"{path.name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = int(node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{path.name}: {node.name}: {lines} lines")
    assert long == []


def test_each_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(dotted(path))
    shared = {name: files for name, files in places.items() if len(files) > 1}
    # every stage has its Settings
    assert set(shared) <= {"Settings"}


def test_the_locals_say_what_they_hold() -> None:
    vague = {"said", "found", "own", "known"}
    names = {
        f"{dotted(path)}: {node.id}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id in vague and isinstance(node.ctx, ast.Store)
    }
    assert names == set()


def pins(text: str) -> dict[str, str]:
    pinned = re.findall(r"^\s*-?\s*([A-Za-z0-9._-]+)==([^\s;#]+)", text, re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in pinned}


def test_conda_environments_are_pinned_and_agree_with_the_constraints() -> None:
    constrained = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    for path in ENVIRONMENTS:
        environment = yaml.safe_load(path.read_text(encoding="utf-8"))
        (by_pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
        assert by_pip
        for requirement in by_pip:
            ((name, version),) = pins(requirement).items()
            assert constrained[name] == version


def test_every_rule_names_a_log_a_benchmark_and_an_environment_that_exists() -> None:
    rules = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "workflow/rules").glob("*.smk"))
    shells = rules.count("shell:\n")
    directive = r'conda:\n +("\.\./\.\./envs/\w+\.yaml"|environment)\n'
    assert len(re.findall(directive, rules)) == rules.count("conda:\n") == shells
    # the study is written by Snakemake itself
    assert shells == rules.count("log:\n") - 1 == rules.count("benchmark:\n")
    assert set(re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', rules)) == {p.stem for p in ENVIRONMENTS}


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
