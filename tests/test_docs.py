"""What the documentation tells readers to do works as it stands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import judged
from tests.graph import ROOT, Graph
from tests.test_structure import FLOORS
from valuestrata import io, tables
from valuestrata.__main__ import COMMANDS, STAGES, main
from valuestrata.prompting.verdicts import lines
from valuestrata.study.judges import Generation
from valuestrata.study.load import load, load_files
from valuestrata.study.rubrics import read_rubric
from valuestrata.study.study import Study
from valuestrata.study.yaml import merge, parse, read_mapping
from valuestrata.survey.compressed import OPENERS
from valuestrata.survey.files import SUFFIXES

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "config" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def fences(page: str) -> list[tuple[str, str]]:
    """Language and text of a page's fenced blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def files(page: str) -> dict[str, str]:
    """Blocks whose first line names a file, by that name."""
    named = [re.match(r"# (\S+\.\w+)\n(.*)", text, re.DOTALL) for _, text in fences(page)]
    return {match[1]: match[2] for match in named if match}


def overlays(page: str) -> list[dict[str, Any]]:
    """Blocks of YAML on a page, without names of files."""
    blocks = [text for language, text in fences(page) if language == "yaml"]
    return [parse(text, page) for text in blocks if not re.match(r"# \S+\.\w+\n", text)]


def overlaid(study: str, *blocks: dict[str, Any]) -> Study:
    """A study file with blocks over it, as `--configfile` lays them; no survey file is needed."""
    raw = read_mapping(ROOT / study)
    for block in blocks:
        raw = merge(raw, block)
    return load(raw, ROOT, files=False)


def test_the_worked_example_of_a_survey_runs(graph: Graph) -> None:
    blocks = files("docs/own-survey.md")
    assert set(blocks) == {"mysurvey/make.py", "mysurvey/codebook.yaml", "mysurvey/study.yaml"}
    (graph.folder / "mysurvey").mkdir()
    for name, text in blocks.items():
        (graph.folder / name).write_text(text, encoding="utf-8")
    make = [sys.executable, "mysurvey/make.py"]
    subprocess.run(make, cwd=graph.folder, check=True)
    result = graph.run("--configfile", "mysurvey/study.yaml", "--", "survey")
    assert result.returncode == 0, result.stdout + result.stderr
    summary = io.read_json(graph.folder / "results/mysurvey/survey/summary.json")
    assert summary["respondents"] == 400
    assert summary["questions"] == 2
    assert summary["splits"]["ood"]["subgroups"] == 6
    assert summary["blocks"]["trust"]["mds"]["n"] == 1


def test_the_worked_example_of_annotators_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On results as the demo's, made without its models."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    judged.write_results(load_files(["config.yaml"], ROOT, files=False))
    blocks = fences("docs/annotation.md")
    plan, compare = (
        text.split()[1:] for language, text in blocks if not language and "valuestrata" in text
    )
    (script,) = files("docs/annotation.md").values()
    assert main(plan) == 0
    assert "precision: a weighted kappa of 0.55" in capsys.readouterr().out
    Path("annotators.py").write_text(script, encoding="utf-8")
    subprocess.run([sys.executable, "annotators.py"], check=True)
    assert main(compare) == 0
    output = capsys.readouterr().out
    for dimension in judged.DIMENSIONS:
        assert f"On {dimension}, toy-judge is less reliable than simulated annotators" in output
    # what the page shows has the same lines
    shown = [text for language, text in blocks if language == "text"][-1]
    for line in output.splitlines():
        assert re.match(r"[\w, :-]+", line)[0][:12] in shown, line


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            if not target.startswith("http"):
                goal = page.parent / path if path else page
                assert goal.exists(), f"{page.name}: {target}"
                assert not anchor or anchor in anchors(goal.read_text("utf-8")), target


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_commands_of_the_pages_exist() -> None:
    for page in PAGES:
        for language, text in fences(str(page.relative_to(ROOT))):
            lines = text.splitlines() if language == "" else []
            for line in lines:
                command = re.match(r"valuestrata (\w+)(?!.*:)", line.strip())
                assert not command or command[1] in {*STAGES, *COMMANDS}, f"{page.name}: {line}"
                target = re.match(r"make ([a-z-]+)", line)
                makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
                assert not target or f"\n{target[1]}:" in makefile, f"{page.name}: {line}"


def test_the_readme_has_every_command_of_a_person() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = {name for name in COMMANDS if f"valuestrata {name}" not in text}
    assert missing <= {"schema"}  # of contributors


def test_the_table_of_rooms_is_that_of_the_tests() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| (.*?) \|", text, re.MULTILINE)
    assert [set(re.findall(r"`(\w+)/?`", row)) for row in reversed(rows)] == FLOORS


def test_yaml_of_the_readme_is_valid() -> None:
    study = overlaid("studies/wvs-sg.yaml", parse(files("README.md")["mine.yaml"]))
    assert study.survey.file == "/data/wvs7.csv"
    assert "qwen2.5-7b" in overlaid("config.yaml", *overlays("README.md")).models


def test_what_files_of_practice_hold_is_an_overlay() -> None:
    (block,) = overlays("docs/own-survey.md")
    raw = merge(parse(files("docs/own-survey.md")["mysurvey/study.yaml"]), block)
    study = load(raw, ROOT, files=False)
    assert study.axes["region"].names() == ["north", "south", "the islands"]


def test_the_formats_of_the_page_are_those_that_are_read() -> None:
    text = (ROOT / "docs/own-survey.md").read_text(encoding="utf-8")
    table = text.partition("## Formats")[2].partition("\n\n`valuestrata")[0].lower()
    for suffix in (*SUFFIXES, *OPENERS):
        if suffix not in (".pq", ".ipc"):  # other names of .parquet and .arrow
            assert re.search(rf"{re.escape(suffix)}\b", table), suffix


def test_the_recipes_of_the_page_are_a_study() -> None:
    whole, line = overlays("docs/recipes.md")
    study = overlaid("config.yaml", whole, {"recipes": line})
    assert {recipe.method for recipe in study.recipes.values()} >= {"sft", "soft", "ordinal", "dro"}


def test_the_preferences_of_the_page_are_a_study() -> None:
    study = overlaid("config.yaml", *overlays("docs/preference.md"))
    assert {"dpo", "grpo"} <= set(study.variants("toy-llama"))


def test_the_prompt_variants_of_the_page_are_a_study() -> None:
    (block,) = overlays("docs/prompt-variants.md")
    study = overlaid("config.yaml", block)
    variants = [f"base+{name}" for name in block["prompt_variants"]]
    runs = study.prompt_variant_runs("toy-llama")
    assert [variant for variant in runs if variant.startswith("base")] == variants
    assert study.prompt_variant_runs("toy-qwen")[:2] == ["base+mandarin", "sft+mandarin"]
    assert len(study.prompt_variant_runs("toy-qwen")) == 4


def test_the_folds_of_the_page_are_a_study() -> None:
    (block,) = overlays("docs/splits.md")
    raw = read_mapping(ROOT / "config.yaml")
    rest = {key: value for key, value in raw.items() if key not in ("judges", "generation")}
    study = load({**rest, **block}, ROOT, files=False)
    assert len(study.fold_recipes("cross")) == 5


def test_the_judges_of_the_page_are_studies_and_its_rubric_is_one(tmp_path: Path) -> None:
    for block in overlays("docs/judges.md"):
        study = overlaid("config.yaml", block)
        assert len(study.judges) > 1
    assert study.panel("panel") == ("a", "b", "c")
    ((name, text),) = files("docs/judges.md").items()
    path = tmp_path / Path(name).name
    path.write_text(text, encoding="utf-8")
    assert [*read_rubric(path).dimensions] == ["Style"]
    page = (ROOT / "docs/judges.md").read_text(encoding="utf-8")
    forms = page.partition("| form |")[2].partition("\n\n")[0]
    for form in re.findall(r"`([^`]*Value[^`]*)`", forms):
        text = f"{form}\n1" if form.startswith("###") else form
        assert lines(text, ["Overall", "Value", "Persona"])["Value"] is not None, form


def test_the_countries_of_the_page_are_studies() -> None:
    named = {name: parse(text) for name, text in files("docs/countries.md").items()}
    for block in [*named.values(), *overlays("docs/countries.md")]:
        overlaid("studies/wvs-any.yaml", block)
    abroad = overlaid("studies/wvs-any.yaml", named["abroad.yaml"])
    assert abroad.several_countries


def test_the_open_questions_of_the_page_are_a_study() -> None:
    (block,) = overlays("docs/open-ended.md")
    study = overlaid("config.yaml", block)
    assert study.generation == Generation.model_validate(block["generation"])
    page = (ROOT / "docs/open-ended.md").read_text(encoding="utf-8")
    words = read_mapping(ROOT / "src/valuestrata/prompting/open_questions/english.yaml")["wordings"]
    shown = re.findall(r"^\| `(\w+)` \| [A-Z*]", page, re.M)
    assert [name for name in shown if name in words] == list(words)
    described = set(re.findall(r"`(\w+)`", page))
    columns = ("wording", "prompt", "text", "thought", "finish_reason", "outcome", "declines")
    assert {*columns, "prompt_tokens", "completion_tokens"} <= described & set(tables.TEXTS.names)


def test_files_and_functions_that_pages_name_exist() -> None:
    folders = (ROOT, ROOT / "src/valuestrata", ROOT / "workflow/rules")
    modules: dict[str, str] = {}
    for path in [*(ROOT / "src/valuestrata").rglob("*.py"), *(ROOT / "bench").glob("*.py")]:
        modules[path.stem] = modules.get(path.stem, "") + path.read_text(encoding="utf-8")
    for page in PAGES:
        for name in re.findall(r"`([\w./]+)`", page.read_text(encoding="utf-8")):
            if re.fullmatch(r"[\w/]+\.(py|smk)", name) and not name.startswith("mysurvey"):
                assert any((folder / name).exists() for folder in folders), f"{page.name}: {name}"
            module, _, function = name.rpartition(".")
            if module in modules and function.isidentifier() and function not in ("py", "json"):
                pattern = rf"^\s*((def|class) )?{function}\b"
                assert re.search(pattern, modules[module], re.M), f"{page.name}: {name}"
