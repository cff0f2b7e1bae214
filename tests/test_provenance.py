"""Code digests: what a stage computes with moves them, and nothing else does."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.graph import ROOT
from valuestrata import config, provenance
from valuestrata.__main__ import STAGES
from valuestrata.provenance import code_digest, file_digest, text_digest
from valuestrata.validate import load, read_yaml

SRC = provenance.SOURCE
DEMO = read_yaml(ROOT / "config.yaml")
LIGHT = [
    *("ceiling", "check", "clean", "codebook", "compare", "diversity", "export", "fairness"),
    *("figures", "labels", "pairs", "pin", "pool"),
    *("predict_baseline", "report", "score", "simulate", "summary", "tables", "tally"),
]
HEAVY = ["finetune", "generate", "judge", "predict", "toy"]
PROGRAM_STAGES = sorted({*LIGHT, *HEAVY})
OTHERS = set(PROGRAM_STAGES)
NO_SCORES = {*HEAVY, "tally", "clean", "pairs", "diversity", "predict_baseline"}


READINGS = ("_parsed", "_imports", "_code")
NOISE_CEILING: dict[tuple[str, str, str], Any] = {}


def read_by_text(patch: pytest.MonkeyPatch, source: Path) -> None:
    """Digest the package under `source`; what was read of a module is kept by its text."""

    def kept(reading: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
        def of(module: str) -> Any:
            path = provenance._path(module)
            key = (reading, module, path.read_text(encoding="utf-8") if path else "")
            if key not in NOISE_CEILING:
                NOISE_CEILING[key] = read(module)
            return NOISE_CEILING[key]

        return of

    patch.setattr(provenance, "SOURCE", source)
    for reading in READINGS:
        patch.setattr(provenance, reading, kept(reading, getattr(provenance, reading).__wrapped__))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package as it stands."""
    folder = tmp_path_factory.mktemp("pristine")
    shutil.copytree(
        SRC / "valuestrata", folder / "valuestrata", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


@pytest.fixture(scope="module")
def before(pristine: Path) -> dict[str, str]:
    """Digest of every stage as the package stands."""
    with pytest.MonkeyPatch.context() as patch:
        read_by_text(patch, pristine)
        return digests()


@pytest.fixture
def source(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package to edit, which digests are taken of; returns its folder."""
    shutil.copytree(pristine / "valuestrata", tmp_path / "valuestrata")
    read_by_text(monkeypatch, tmp_path)
    return tmp_path / "valuestrata"


def digests() -> dict[str, str]:
    return {stage: code_digest(f"valuestrata.stages.{stage}") for stage in PROGRAM_STAGES}


def moved(before: dict[str, str]) -> set[str]:
    """The stages whose digest is another than before."""
    return {stage for stage, digest in digests().items() if digest != before[stage]}


def edit(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text(encoding="utf-8")
    changed = change(text)
    assert changed != text
    compile(changed if path.suffix == ".py" else "", str(path), "exec")
    path.write_text(changed, encoding="utf-8")


def closure_of(stage: str) -> set[str]:
    return provenance._closure(f"valuestrata.stages.{stage}")


def plus_code(text: str) -> str:
    return text + "\n\ndef _added() -> int:\n    return 1\n"


def relayout(text: str) -> str:
    """The same code in another layout: one line a statement, other quotes, no comments."""
    return "\n\n\n# a comment\n" + ast.unparse(ast.parse(text)) + "\n\n# the end\n"


def redocument(text: str) -> str:
    """The same code with another docstring wherever there is one."""
    lines = text.splitlines()
    spans = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                spans.append((first.lineno - 1, first.end_lineno or 0, first.col_offset))
    for start, end, indent in sorted(spans, reverse=True):
        lines[start:end] = [" " * indent + '"""Something else entirely."""']
    return "\n".join(lines) + "\n"


def with_comments(text: str) -> str:
    """The same code with a comment at the end of every statement."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            lines[token.start[0] - 1] += "  # said"
    return "# one more comment\n" + "\n".join(lines) + "\n"


# What moves a digest -------------------------------------------------------------------------


@pytest.mark.parametrize("change", [relayout, redocument, with_comments], ids=lambda f: f.__name__)
def test_comments_docstrings_and_layout_leave_every_digest_as_it_was(
    source: Path, before: dict[str, str], change: Callable[[str], str]
) -> None:
    for path in source.rglob("*.py"):
        if path.read_text(encoding="utf-8"):
            edit(path, change)
    assert moved(before) == set()


def test_adding_a_docstring_leaves_every_digest_as_it_was(source: Path) -> None:
    bare = "def f(x):\n    return x\n\n\nclass A:\n    y = 1\n"
    said = 'def f(x):\n    """f."""\n    return x\n\n\nclass A:\n    """A."""\n\n    y = 1\n'
    (source / "one.py").write_text(bare)
    before = code_digest("valuestrata.one")
    (source / "one.py").write_text('"""One."""\n' + said)
    assert code_digest("valuestrata.one") == before


def test_a_string_that_is_no_docstring_counts(source: Path) -> None:
    (source / "one.py").write_text('x = 1\n"""after"""\nwords = "a"\n')
    before = code_digest("valuestrata.one")
    (source / "one.py").write_text('x = 1\n"""after"""\nwords = "b"\n')
    assert code_digest("valuestrata.one") != before


@pytest.mark.parametrize(
    ("file", "these", "not_these"),
    [
        pytest.param("metrics/ordinal.py", {"score", "summary"}, NO_SCORES, id="a metric"),
        pytest.param("models/lora.py", {"finetune"}, set(LIGHT), id="LoRA"),
        pytest.param("models/preference.py", {"finetune"}, set(LIGHT), id="preferences"),
        pytest.param("models/loop.py", {"finetune"}, set(LIGHT), id="the training loop"),
        pytest.param("models/trie.py", {"predict"}, set(LIGHT), id="option scoring"),
        pytest.param(
            "models/transformers.py", {"predict", "judge"}, {*LIGHT, "finetune"}, id="a backend"
        ),
        pytest.param("models/chat.py", {"finetune", "predict"}, set(LIGHT), id="chat rendering"),
        pytest.param("survey/tally.py", {"tally", "pairs"}, {"clean", "predict"}, id="the tally"),
        pytest.param("schemas.py", {"clean", "tally", "score", "predict"}, set(), id="contracts"),
        pytest.param("stages/fairness.py", {"fairness"}, OTHERS - {"fairness"}, id="a stage"),
        pytest.param(
            "validate.py", {"check", "pin"}, OTHERS - {"check", "pin"}, id="the study's checks"
        ),
    ],
)
def test_editing_a_module_moves_exactly_the_stages_that_import_it(
    source: Path, before: dict[str, str], file: str, these: set[str], not_these: set[str]
) -> None:
    name = "valuestrata." + file.removesuffix(".py").replace("/", ".")
    edit(source / file, plus_code)
    changed = moved(before)
    assert these <= changed
    assert not changed & not_these
    assert changed == {s for s in PROGRAM_STAGES if name in closure_of(s)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("answer - mode", "mode - answer"),
        ("abs(x) / 2", "abs(x) / 3"),
        ("np.nan", "0.0"),
        ("f(x, key=1)", "f(x)"),
        ("[a, b]", "(a, b)"),
        ("'1'", "1"),
        ("1", "1.0"),
        ("a and b", "a or b"),
        ("f'{x}'", "f'{x!r}'"),
    ],
)
def test_any_change_of_an_expression_counts(source: Path, one: str, other: str) -> None:
    found = []
    for expression in (one, other):
        (source / "one.py").write_text(f"def nmae(x, answer, mode):\n    return {expression}\n")
        found.append(code_digest("valuestrata.one"))
    assert found[0] != found[1]


# Data files ----------------------------------------------------------------------------------


def test_editing_a_prompt_file_reruns_what_it_words_and_nothing_else(
    source: Path, before: dict[str, str]
) -> None:
    """A template's hash is part of the specs of what it words, so that no other wording reruns."""
    study = load({**DEMO, "wordings": {"mandarin": {"template": "mandarin"}}})

    def said() -> dict[str, Any]:
        return {
            "pairs": config.spec_pairs(study, "ood"),
            "toy": config.spec_toy(study, "toy-llama"),
            "finetune": config.spec_finetune(study, "toy-llama", "sft"),
            "predict": config.spec_predict(study, "toy-llama", "sft"),
            "pairs+": config.spec_pairs(study, "ood", "mandarin"),
            "predict+": config.spec_predict(study, "toy-llama", "sft+mandarin"),
        }

    first = said()
    edit(source / "prompting/templates/mandarin.yaml", lambda text: text + "\n")
    second = said()
    assert {k for k in first if first[k] != second[k]} == {"pairs+", "predict+"}
    edit(source / "prompting/templates/english.yaml", lambda text: text + "\n")
    third = said()
    assert {k for k in first if second[k] != third[k]} == {"pairs", "toy", "finetune", "predict"}
    assert moved(before) == set()


def test_editing_a_rubric_reruns_judges_and_no_score(source: Path, before: dict[str, str]) -> None:
    edit(source / "prompting/rubrics/pairwise.yaml", lambda text: text + "\n")
    changed = moved(before)
    assert "judge" in changed
    assert not changed & {"score", "fairness", "compare", "predict", "finetune", "pairs"}


def test_every_rubric_stands_in_data_files() -> None:
    package = SRC / "valuestrata"
    present = [str(p.relative_to(package)) for p in (package / "data" / "rubrics").iterdir()]
    assert sorted(present) == sorted(provenance._data_files("valuestrata.prompting.judging"))


def test_a_data_file_that_is_not_there_is_an_error(source: Path) -> None:
    (source / "prompting/rubrics/pairwise.yaml").unlink()
    with pytest.raises(FileNotFoundError):
        code_digest("valuestrata.stages.judge")


# The closure ---------------------------------------------------------------------------------


def test_the_closure_follows_every_form_of_import(source: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        (source / f"{name}.py").write_text("")
    (source / "root.py").write_text(
        "import valuestrata.a\n"
        "from valuestrata import b\n"
        "from valuestrata.c import something\n"
        "def f():\n    from valuestrata import d\n"
        "if False:\n    import valuestrata.e as other\n"
    )
    expected = {f"valuestrata.{name}" for name in ("root", "a", "b", "c", "d", "e")}
    assert provenance._closure("valuestrata.root") - {"valuestrata"} == expected


def test_the_closure_ends_where_modules_import_each_other(source: Path) -> None:
    (source / "a.py").write_text("import valuestrata.b\n")
    (source / "b.py").write_text("import valuestrata.a\n")
    assert provenance._closure("valuestrata.a") == {"valuestrata.a", "valuestrata.b"}
    assert code_digest("valuestrata.a") == code_digest("valuestrata.b")


def test_two_modules_that_swap_their_code_change_the_digest(source: Path) -> None:
    (source / "root.py").write_text("import valuestrata.a, valuestrata.b\n")
    (source / "a.py").write_text("x = 1\n")
    (source / "b.py").write_text("x = 2\n")
    before = code_digest("valuestrata.root")
    (source / "a.py").write_text("x = 2\n")
    (source / "b.py").write_text("x = 1\n")
    assert code_digest("valuestrata.root") != before


def test_a_stage_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"valuestrata\.stages\.nope"):
        code_digest("valuestrata.stages.nope")


def test_the_stages_of_the_program_are_the_light_and_the_heavy_ones() -> None:
    assert set(STAGES) == {*LIGHT, *HEAVY}


def test_every_stage_has_a_digest_of_sixteen_hex_digits() -> None:
    for stage in STAGES:
        assert re.fullmatch(r"[0-9a-f]{16}", code_digest(f"valuestrata.stages.{stage}"))


def test_a_digest_does_not_depend_on_where_the_package_lies(
    source: Path, before: dict[str, str]
) -> None:
    assert moved(before) == set()


def test_imports_are_absolute_because_the_digest_follows_only_those() -> None:
    for path in (SRC / "valuestrata").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_package_files_are_empty_because_every_import_below_runs_them() -> None:
    for path in (SRC / "valuestrata").rglob("__init__.py"):
        assert path.read_text() == "", path


# What is loaded ------------------------------------------------------------------------------


def imported_on_load(module: str) -> set[str]:
    """Packages that a module of ours and all it imports at module level bring in."""
    seen: set[str] = set()
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = provenance._path(name)
        if path is None or name in seen:
            continue
        seen.add(name)
        for node in module_level(ast.parse(path.read_text(encoding="utf-8")).body):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                assert isinstance(node, ast.ImportFrom)
                assert node.module is not None
                names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            waiting += [n for n in names if n.split(".")[0] == "valuestrata"]
            found |= {n.split(".")[0] for n in names}
    return found


def module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            yield from module_level(node.body)


@pytest.mark.parametrize("stage", LIGHT)
def test_a_light_stage_imports_no_torch(stage: str) -> None:
    heavy = {"torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors"}
    assert not imported_on_load(f"valuestrata.stages.{stage}") & heavy


def test_the_walk_over_imports_would_find_torch() -> None:
    assert "torch" in imported_on_load("valuestrata.training.lora")


def loaded_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_scoring_loads_no_torch() -> None:
    stages = [f"valuestrata.stages.{s}" for s in ("score", "fairness", "compare", "summary")]
    loaded = loaded_after("import " + ", ".join(stages))
    assert set(stages) <= loaded
    assert not loaded & {"torch", "transformers"}


def test_what_the_snakefile_loads_on_every_start_is_light() -> None:
    loaded = loaded_after(
        "import valuestrata.validate, valuestrata.config, valuestrata.provenance, valuestrata.specs"
    )
    assert "valuestrata.validate" in loaded
    assert not loaded & {"pandas", "numpy", "pyarrow", "torch", "transformers", "scipy"}


# Other digests -------------------------------------------------------------------------------


def test_a_file_digest_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_a_text_digest_tells_where_one_text_ends() -> None:
    assert text_digest(["ab", "c"]) != text_digest(["a", "bc"])
    assert text_digest(["ab", ""]) != text_digest(["ab"])
    assert text_digest(["é"]) == text_digest(iter(["é"]))
