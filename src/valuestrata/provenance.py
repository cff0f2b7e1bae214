"""Digests that tell Snakemake when code or data behind a node has changed.

Snakemake sees the rule, not the library that it calls. `code_digest` follows names from the entries
of a stage through this package and hashes every function, class and constant that they reach.
Layout, comments, docstrings, annotations, messages, descriptions and settings fields do not count.
"""

import ast
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = "valuestrata"
SOURCE = Path(__file__).resolve().parent.parent
STATEMENTS = "<module>"  # the name under which a module's side-effect statements are filed
MESSAGES = {"log", "logger", "logging", "warnings"}
PROSE = {"description", "meaning", "help"}
UNREAD = {"annotation", "returns", "ctx", "kind", "type_comment", "type_params"}
Import = ast.Import | ast.ImportFrom
Store = ast.Store | ast.Del
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
PACKAGES: "dict[Path, _Package]" = {}  # what has been read, by source
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Place(NamedTuple):
    """A name, or a chain of attributes, of a module; no chain stands for the whole module."""

    module: str
    chain: str


Reading = tuple[str, set[Place], set[str]]  # digest if it has one; places and data reached


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


def definition_digests(entries: Iterable[str]) -> dict[str, str]:
    """Digests of all definitions and data files that `entries` ("module:name") reach.

    Keys: "module:name", "module:<module>" (its side-effect statements), "data:path" (`resource`).
    """
    return dict(_digests(SOURCE, tuple(entries)))


def code_digest(entries: Iterable[str]) -> str:
    """Sixteen hex digits over `definition_digests`, which is remembered by its entries."""
    return text_digest(chain.from_iterable(_digests(SOURCE, tuple(entries)).items()))[:16]


def explain(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What differs between two results of `definition_digests`, in words."""
    gone = [f"{_title(key)} is gone" for key in old.keys() - new.keys()]
    added = [f"{_title(key)} is new" for key in new.keys() - old.keys()]
    common = old.keys() & new.keys()
    return sorted(gone + added + [f"{_title(k)} was edited" for k in common if old[k] != new[k]])


def clear_caches() -> None:
    """Forget all that was read, so that edits on disk are seen."""
    PACKAGES.clear()
    _digests.cache_clear()


def _title(key: str) -> str:
    name = key.replace(":", ".").replace(f".{STATEMENTS}", " (module level)")
    return name.removeprefix("data.").removeprefix(f"{PACKAGE}.")


@cache
def _digests(source: Path, entries: tuple[str, ...]) -> dict[str, str]:
    return PACKAGES.setdefault(source, _Package(source)).digests(entries)


@dataclass
class _Package:
    """The modules under `source`, read as names lead to them."""

    source: Path
    modules: "dict[str, _Module | None]" = field(default_factory=dict)
    readings: dict[Place, Reading] = field(default_factory=dict)

    def digests(self, entries: Iterable[str]) -> dict[str, str]:
        waiting: list[Place] = []
        for entry in entries:
            module, _, qualname = entry.partition(":")
            is_here = qualname and self._module(module)
            places = self._resolve(Place(module, qualname)) if is_here else set()
            if not places:
                raise LookupError(f"no definition {entry!r} in {self.source}")
            waiting += places
        seen = set(waiting)
        folder = self.source / PACKAGE
        digests: dict[str, str] = {}
        while waiting:
            place = waiting.pop()
            digest, reached, data = self._read(place)
            if digest:
                digests[":".join(place)] = digest
            for pattern in data:
                for path in [p for p in folder.glob(pattern) if p.is_file()] or [folder / pattern]:
                    digests[f"data:{path.relative_to(folder).as_posix()}"] = file_digest(path)[:12]
            waiting += reached - seen
            seen |= reached
        return dict(sorted(digests.items()))

    def _module(self, name: str) -> "_Module | None":
        if name not in self.modules:
            base = self.source.joinpath(*name.split("."))
            paths = [base / "__init__.py", base.with_suffix(".py"), base]
            ours = name.split(".")[0] == PACKAGE
            path = next((path for path in paths if ours and path.exists()), None)
            self.modules[name] = _Module(name, path) if path else None
        return self.modules[name]

    def _resolve(self, place: Place, trail: frozenset[Place] = frozenset()) -> set[Place]:
        """The definitions or whole modules that a chain means; other packages' as they stand."""
        module = self._module(place.module)
        head, _, rest = place.chain.partition(".")
        if place in trail:
            return set()
        if module is None:
            return {place}
        if not head or head == "__dict__":
            return {Place(module.name, "")}
        imports = [Place(name, _join(path, rest)) for name, path in module.imports.get(head, ())]
        places = {Place(module.name, head)} if head in module.definitions else set()
        if not imports and not places:
            submodule = _join(module.name, head)
            if module.is_package and self._module(submodule):
                return self._resolve(Place(submodule, rest))
            imports = [Place(name, place.chain) for name, _ in module.imports.get("*", ())]
        for target in imports:
            places |= self._resolve(target, trail | {place})
        return places

    def _read(self, place: Place) -> Reading:
        if place not in self.readings:
            module = self._module(place.module)
            if module and place.chain:
                self.readings[place] = self._definition(module, place.chain)
            else:
                names = [*module.definitions] if module else []
                names += module.imports if module and module.is_package else []
                parts = [self._resolve(Place(place.module, name)) for name in names]
                self.readings[place] = ("", set().union(*parts), set())
        return self.readings[place]

    def _definition(self, module: "_Module", name: str) -> Reading:
        reader = _Reader(module, self._is_settings)
        for statement in module.definitions[name]:
            reader.visit(statement)
        reached = set()
        uses = []  # what names mean counts too: an import may change where the code does not
        for path in sorted(reader.loads):
            head, _, rest = path.partition(".")
            places = self._resolve(Place(module.name, path))
            for target in reader.imports.get(head, ()):
                places |= self._resolve(Place(target.module, _join(target.chain, rest)))
            if places:
                reached |= places
                uses.append(f"{path}={sorted(places)}")
        if STATEMENTS in module.definitions:
            reached.add(Place(module.name, STATEMENTS))
        digest = text_digest(["\n".join(reader.text), *uses])[:12]
        return digest, reached, reader.data

    def _is_settings(self, module: str, node: ast.ClassDef) -> bool:
        """Whether a class derives from `Part` of the study's settings."""
        for base in node.bases:
            for place in self._resolve(Place(module, _chain(base))):
                if place.chain == "Part" and f"{place.module}.".startswith(f"{PACKAGE}.study."):
                    return True
                definer = self._module(place.module)
                parents = definer.definitions.get(place.chain, ()) if definer else ()
                classes = [p for p in parents if isinstance(p, ast.ClassDef) and p is not node]
                if any(self._is_settings(place.module, parent) for parent in classes):
                    return True
        return False


class _Module:
    """What the names of a module stand for; the statements are read when they are reached."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.is_package = path.suffix != ".py" or path.name == "__init__.py"
        self.imports: dict[str, list[Place]] = {}
        self.definitions: dict[str, list[ast.stmt]] = {}
        tree = ast.parse(path.read_bytes() if path.suffix == ".py" else "", str(path))
        effects = [(s, *self._effects(s)) for s in tree.body if not _is_silent(s)]
        effects = [effect for effect in effects if not isinstance(effect[0], Import)]
        names = {name for _, bound, _ in effects for name in bound}
        for statement, bound, touched in effects:
            filed = bound | (touched & names)
            if touched - names or not filed:
                filed.add(STATEMENTS)
            for binding in filed:
                self.definitions.setdefault(binding, []).append(statement)

    def _effects(self, statement: ast.stmt) -> tuple[set[str], set[str]]:
        """Names that a statement binds, and names whose objects it calls or changes in place."""
        bound, touched = set[str](), set[str]()
        waiting: list[Any] = [statement]
        for node in waiting:  # which grows
            if isinstance(node, Import):
                bound |= self.bind(node, self.imports)
                continue
            if isinstance(getattr(node, "name", None), str):
                bound.add(node.name)
            if isinstance(node, ast.If) and _never_runs(node.test):
                waiting += node.orelse
            elif isinstance(node, ast.Assign):
                waiting += node.targets
            elif isinstance(node, ast.AnnAssign | ast.AugAssign):
                waiting.append(node.target)
            elif not isinstance(node, Function | ast.ClassDef):
                waiting += ast.iter_child_nodes(node)
            if isinstance(node, ast.Expr) and not _is_silent(node):
                touched.add(_root(node.value))
            elif isinstance(node, ast.Name) and isinstance(node.ctx, Store):
                bound.add(node.id)
            elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, Store):
                touched.add(_root(node))
        return bound, touched

    def bind(self, node: Import, imports: dict[str, list[Place]]) -> set[str]:
        """The names that an import binds; what they mean is added to `imports`."""
        names = set()
        for alias in node.names:
            name = alias.asname or alias.name
            if isinstance(node, ast.ImportFrom):
                parts = self.name.split(".") if node.level else []
                parts = parts[: len(parts) - node.level + self.is_package]
                place = Place(_join(*parts, node.module or ""), alias.name.replace("*", ""))
            else:
                name = alias.asname or alias.name.split(".")[0]
                place = Place(alias.name if alias.asname else name, "")
            imports.setdefault(name, []).append(place)
            names.add(name)
        return names


@dataclass
class _Reader:
    """One walk over a definition: its normalised text, and the names that it loads."""

    module: _Module
    is_settings: Callable[[str, ast.ClassDef], bool]
    text: list[str] = field(default_factory=list)
    data: set[str] = field(default_factory=set)
    imports: dict[str, list[Place]] = field(default_factory=dict)  # inside functions
    free: set[str] = field(default_factory=set)  # global or imported
    loads: set[str] = field(default_factory=set)  # chains, not of names bound in scopes within
    bound: set[str] = field(default_factory=set)
    in_class: bool = False

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            self.text.append(node.id)
            (self.loads if isinstance(node.ctx, ast.Load) else self.bound).add(node.id)
        elif isinstance(node, ast.Constant):
            self.text.append(f"={node.value!r}")
        elif isinstance(node, ast.Attribute) and (path := _chain(node)):
            self.text.append(path)
            self.loads.add(path)
        elif isinstance(node, Function | ast.ClassDef | Comprehension):
            self._scope(node)
        elif self._counts(node):
            self._plain(node)

    def _plain(self, node: ast.AST) -> None:
        self.text.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in UNREAD:
                continue
            self.text.append(f".{name}")
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.AST):
                    self.visit(item)
                else:
                    self.text.append(str(item))
        self.text.append(")")

    def _scope(self, node: Any) -> None:
        """A node with names of its own, of which the free ones are handed on."""
        outside = [*getattr(node, "decorator_list", ())]  # these see no parameter or target
        if isinstance(node, Comprehension):
            outside = [node.generators[0].iter]
        elif isinstance(node, Function):
            outside += [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        elif self.is_settings(self.module.name, node):
            node.body = [statement for statement in node.body if not _is_field(statement)]
        for part in outside:
            self.visit(part)
        self.bound.add(getattr(node, "name", ""))
        loads, bound, in_class = self.loads, self.bound, self.in_class
        self.loads, self.bound, self.in_class = set(), set(), isinstance(node, ast.ClassDef)
        self._plain(node)
        local = set() if self.in_class else self.bound - self.free
        loads |= {path for path in self.loads if path.partition(".")[0] not in local}
        self.loads, self.bound, self.in_class = loads, bound, in_class

    def _counts(self, node: ast.AST) -> bool:
        """Normalise a node and note what it binds; false for one that is left out or replaced."""
        match node:
            case ast.Call():
                node.keywords = [word for word in node.keywords if word.arg not in PROSE]
                match node.args:
                    case [ast.Constant(value=str(path)), *_] if (
                        _chain(node.func).split(".")[-1] == "resource"
                    ):
                        self.data.add(path)
            case ast.Expr() | ast.Pass():
                return not _is_silent(node)
            case ast.arg():
                self.bound.add(node.arg)
            case ast.If() if _never_runs(node.test):
                for statement in node.orelse:
                    self.visit(statement)
                return False
            case ast.AnnAssign() if not self.in_class:
                if node.value:
                    self._plain(ast.Assign([node.target], node.value))
                return False
            case ast.Raise(exc=ast.Call(func=function)):
                node.exc = function
            case ast.Assert():
                node.msg = None
            case ast.Import() | ast.ImportFrom():
                self.free |= self.module.bind(node, self.imports)
            case ast.Global():
                self.free.update(node.names)
                self.loads.update(node.names)
        return True


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _chain(node: ast.AST) -> str:
    """`name.attribute.attribute`, or nothing where another expression comes first."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _root(node: ast.AST) -> str:
    """The name whose object an assignment or a method call changes, or nothing."""
    node = node.func if isinstance(node, ast.Call) else node
    if isinstance(node, ast.Attribute | ast.Subscript):
        return node.value.id if isinstance(node.value, ast.Name) else _root(node.value)
    return ""


def _never_runs(test: ast.expr) -> bool:
    """Whether a branch is for type checkers, or for a module that is run as a program."""
    is_program = isinstance(test, ast.Compare) and _chain(test.left) == "__name__"
    return is_program or _chain(test).split(".")[-1] == "TYPE_CHECKING"


def _is_silent(statement: ast.stmt) -> bool:
    """Whether a statement is a bare constant, a message, `pass`, or never runs."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.Call):
        return _chain(value.func).split(".")[0] in MESSAGES
    if isinstance(statement, ast.If):
        return _never_runs(statement.test) and not statement.orelse
    return isinstance(value, ast.Constant) or isinstance(statement, ast.Pass)


def _is_field(statement: ast.stmt) -> bool:
    """Whether a statement of a settings class declares a field, which counts by its value."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind):
            kind = kind.value if isinstance(kind, ast.Subscript) else kind
            return not name.startswith("_") and _chain(kind).split(".")[-1] != "ClassVar"
    return False
