"""Digests that tell Snakemake when code or data behind a node has changed.

Snakemake sees the rule, not the library that the rule calls. `code_digest` closes the gap: it
hashes the syntax trees of a module and of all of this package that it imports, so that editing a
metric reruns the nodes that compute it, and editing a comment, a docstring or the layout nothing.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "valuestrata"
SOURCE = Path(__file__).resolve().parent.parent


def code_digest(module: str) -> str:
    """Sixteen hex digits over the import closure of `module` (dotted, absolute) in this package.

    Imports inside functions count. Data files that a module reads count where it names them in a
    module-level `DATA_FILES` of literal paths relative to the package.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(module)):
        digest.update(f"{name}\0{_code(name)}\0".encode())
        for data in _data_files(name):
            digest.update((SOURCE / PACKAGE / data).read_bytes())
    return digest.hexdigest()[:16]


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def text_digest(parts: Iterable[str]) -> str:
    """SHA-256 over several texts, each with its length, as hex."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def _closure(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_imports(name))
    return seen


def _path(module: str) -> Path | None:
    base = SOURCE.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _parsed(module: str) -> ast.Module:
    """The syntax tree without docstrings."""
    path = _path(module)
    if path is None:
        raise ModuleNotFoundError(f"no module {module} in {SOURCE}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = list(_without_docstring(node.body)) or [ast.Pass()]
    return tree


@cache
def _imports(module: str) -> tuple[str, ...]:
    found: set[str] = set()
    for node in ast.walk(_parsed(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(n for n in found if n.split(".")[0] == PACKAGE and _path(n)))


@cache
def _code(module: str) -> str:
    """The syntax tree written out as code, which is half the work of `ast.dump`."""
    return ast.unparse(_parsed(module))


def _without_docstring(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for i, statement in enumerate(body):
        text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if i or not text:
            yield statement


def _data_files(module: str) -> list[str]:
    for node in _parsed(module).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "DATA_FILES" for t in node.targets
        ):
            return [str(path) for path in ast.literal_eval(node.value)]
    return []
