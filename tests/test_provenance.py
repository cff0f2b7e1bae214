"""Code digests: what an entry reaches through names moves them, and nothing else does."""

import ast
import random
import re
from hashlib import sha256
from pathlib import Path

import pytest

from valuestrata import provenance
from valuestrata.provenance import clear_caches, code_digest, definition_digests, explain


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / "valuestrata" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def digests(folder: Path, files: dict[str, str], *entries: str) -> dict[str, str]:
    write(folder, files)
    clear_caches()
    return definition_digests(f"valuestrata.{entry}" for entry in entries or ["a:run"])


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package to write, which digests are taken of; returns the folder that holds it."""
    monkeypatch.setattr(provenance, "SOURCE", tmp_path)
    write(tmp_path, {"__init__.py": ""})
    return tmp_path


def reach(folder: Path, files: dict[str, str], *entries: str) -> set[str]:
    return {key.removeprefix("valuestrata.") for key in digests(folder, files, *entries)}


def same(folder: Path, old: str, new: str, **files: str) -> bool:
    """Whether two texts of module `a` have the same digests."""
    others = {f"{name}.py": text for name, text in files.items()}
    before = digests(folder, {"a.py": old, **others})
    return digests(folder, {"a.py": new, **others}) == before


# What is reached -----------------------------------------------------------------------------

ONE_MODULE = {  # text of module a: what its run reaches beside itself
    "def run(): return g()\ndef g(): return h\nh = 1\nunused = 2": "g h",
    "def run(): return [g(x) for x in h()]\ndef g(x): ...\ndef h(): ...": "g h",
    "def run(): return f'{g()!r:{h}}'\ndef g(): ...\nh = 3": "g h",
    "def run(): return lambda: (lambda x=h: g(x))\ndef g(x): ...\nh = 1": "g h",
    "def run(x=h, *, y=g): ...\nh = g = 1": "g h",
    "def g(f): return f\n@g\ndef run(g): ...": "g",
    "async def run():\n    async for x in g(): yield x\ndef g(): ...": "g",
    "def run():\n    def inner():\n        return g()\n    return inner\ndef g(): ...": "g",
    "class g: ...\nclass h(g): ...\ndef run(): return h()": "g h",
    "class run(metaclass=g):\n    def f(self): return h\nclass g(type): ...\nh = 1": "g h",
    "def run(x):\n    match x:\n        case g(y=h.z): ...\nclass g: ...\nh = 1": "g h",
    "def run():\n    global g\n    g = 1\ng = 0": "g",
    "def run(): return run()": "",
    "g = []\ng += [h]\ng[0] = k\ng.append(m)\nh = k = m = 1\ndef run(): return g": "g h k m",
    "g = {}\nfor k in h: g[k] = m\nh = ()\nm = 1\ndef run(): return g": "g h m k",
    "if h: g = 1\nelse:\n    g = k\nh = k = 1\ndef run(): return g": "g h k",
    "try: import torch\nexcept ImportError: torch = None\ndef run(): return torch.x": "torch",
    "g, (h, *k) = m()\ndef m(): ...\ndef run(): return k": "k m",
    "g: int = 1\ndef run(): return g": "g",
    "with g() as h: ...\ndef g(): ...\ndef run(): return h": "h g",
    "class run:\n    g = g\ng = 1": "g",
    "class run:\n    g = 1\n    def f(self): return g\ng = 2": "g",
    "def run(g=g, *, h=h): return g, h\ng = h = 1": "g h",
    "def run():\n    return [g for g in g]\ng = ()": "g",
    # names that do not lead anywhere
    "def run(x: g, *y: g, z: 'g' = 1, **k: g) -> g:\n    v: g = x\n    w: g\n\nclass g: ...": "",
    "class run:\n    x: g\n    y: g = 1\n\nclass g: ...": "",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    g = 1\ndef run(): return g": "",
    "import typing\ndef run():\n    if typing.TYPE_CHECKING:\n        g()\ndef g(): ...": "",
    "def run(g): return g.h\ng = h = 1": "",
    "def run():\n    g = 1\n    return g, (lambda: g)\ng = 2": "",
    "def run(x): return [g for g in x], {h: k for h, k in x}\ng = h = k = 1": "",
    "def run():\n    for g in (): g\n    with x() as h: h\n    def k(): k\ng = h = k = 1": "",
    "def run(): return 'g', getattr(run, 'g')\ng = 1": "",
    "def run(): raise ValueError(g())\ndef g(): ...": "",
    "def run(x): assert x, g()\ndef g(): ...": "",
    "def run():\n    log.info(g())\n    logging.debug(g)\n    logger(g)\ng = 1": "",
    "def run(): warnings.warn(g)\ng = 1": "",
    "def run(): return print(description=g, meaning=g, help=g)\ng = 1": "",
    "def run(): ...\nif __name__ == '__main__':\n    g()\ndef g(): ...": "",
    '"""Doc."""\n1\ndef run(): ...': "",
    # but these do
    "def run(): raise g(1) from h\nclass g(Exception): ...\nh = 1": "g h",
    "def run(): assert g(), 'x'\ndef g(): ...": "g",
    "def run(): return print(title=g)\ng = 1": "g",
    "def run(): x = log(g)\ng = 1": "g",
    "if TYPE_CHECKING:\n    import x\nelse:\n    x = g\ng = 1\ndef run(): return x": "x g",
    # side-effect statements
    "def run(): ...\nregister(g)\ndef register(x): ...\ng = 1\nh = 2": "<module> register g",
    "import m\ndef run(): ...\nm.x['y'] = g\ng = 1": "<module> g",
    "def run(): ...\nfor k in g: h(k)\ng = ()\ndef h(x): ...": "<module> k g h",
    "def run(): ...\nassert g\ng = 1": "<module> g",
}


@pytest.mark.parametrize(("text", "names"), ONE_MODULE.items())
def test_names_within_a_module(source: Path, text: str, names: str) -> None:
    expected = {f"a:{name}" for name in ["run", *names.split()]}
    assert reach(source, {"a.py": text}) == expected


OTHERS = {
    "b.py": "def f(): return g\ng = 1\nh = 2\n",
    "c.py": "from valuestrata.a import x\ny = 1\n",
    "d.py": "def f(): ...\ng = h = 1\nf.x = r(h)\n",
    "e.py": "h = g = 1\nprint(g)\n",
    "p/__init__.py": "from .q import f, h as k\nx = 1\n",
    "p/q.py": "from ..b import f as f\nh = z = 2\n",
}
ACROSS = {  # text of module a: what its run reaches beside itself
    "from valuestrata.b import f\ndef run(): f()": "b:f b:g",
    "from valuestrata.b import f\ndef run(): ...": "",
    "def run():\n    from valuestrata.b import h as k\n    return k": "b:h",
    "import valuestrata.b\ndef run(): valuestrata.b.f()": "b:f b:g",
    "import valuestrata.b as m\ndef run(): return m.h.x": "b:h",
    "from valuestrata import b\ndef run(): return b.h": "b:h",
    "def run():\n    import valuestrata.b as m\n    return m.h": "b:h",
    "from valuestrata import b\ndef run(): return getattr(b, 'f')": "b:f b:g b:h",
    "from valuestrata import b\ndef run(): return b.__dict__": "b:f b:g b:h",
    "from valuestrata import b\nk = b\ndef run(): return k.h": "a:k b:f b:g b:h",
    "from valuestrata import b\ndef run(): return b.__name__": "",
    "from .b import f\ndef run(): f()": "b:f b:g",
    "from . import b\ndef run(): return b.h": "b:h",
    "from valuestrata.b import *\ndef run(): return h": "b:h",
    "from valuestrata.p.q import f\ndef run(): f()": "b:f b:g",
    "from valuestrata.p import f, k\ndef run(): f(k)": "b:f b:g p.q:h",
    "from valuestrata import p\ndef run(): p.q.z, p.k": "p.q:z p.q:h",
    "from valuestrata import p\ndef run(): print(p)": "p:x b:f b:g p.q:h",
    "try: from valuestrata.b import h\nexcept E: h = 0\ndef run(): h": "a:h b:h",
    "def run():\n    try: from valuestrata.b import h\n    except E: h = 0\n    h": "b:h",
    "from valuestrata.c import x\ndef run(): x": "",  # each imports it from the other
    "from valuestrata.d import f\ndef run(): f()": "d:f d:h",
    "from valuestrata.e import h\ndef run(): h": "e:h e:<module> e:g",
    "if TYPE_CHECKING:\n    from valuestrata.b import f\ndef run(x: f): f": "",
    "from valuestrata.gone import x\nimport numpy as np\ndef run(): np.x(x)": "",
    "import valuestrata.b\ndef run(valuestrata): valuestrata.b.f()": "",
}


@pytest.mark.parametrize(("text", "names"), ACROSS.items())
def test_names_across_modules(source: Path, text: str, names: str) -> None:
    assert reach(source, {**OTHERS, "a.py": text}) == {"a:run", *names.split()}


def test_only_reached_modules_are_read(source: Path) -> None:
    files = {"a.py": "from valuestrata import b, c\ndef run(): b.x", "b.py": "x = 1", "c.py": "("}
    assert reach(source, files) == {"a:run", "b:x"}


def test_entries_are_methods_names_and_re_exports_together(source: Path) -> None:
    files = {"a.py": "class K:\n    def f(self): ...\nfrom valuestrata.b import x", "b.py": "x = 1"}
    assert reach(source, files, "a:K.f", "a:x") == {"a:K", "b:x"}
    assert reach(source, files, "b:x") == {"b:x"}


@pytest.mark.parametrize("entry", ["a:nope", "nope:run", "a", "a:"])
def test_an_entry_that_is_not_there_is_an_error(source: Path, entry: str) -> None:
    with pytest.raises(LookupError, match=entry):
        digests(source, {"a.py": "def run(): ..."}, entry)


# What moves a digest -------------------------------------------------------------------------

WITHOUT_EFFECT = [
    ("def run(x): x", '"""Doc."""\n# words\n\n\ndef run(x):\n    """Doc."""\n    (x)  # word'),
    ("def run(): pass", 'def run():\n    """Doc."""'),
    ("class run:\n    x = 1", 'class run:\n    """Doc."""\n\n    x = 1\n    """About x."""'),
    ("def run(x, *y, z=1): return x", "def run(x: int, *y: str, z: int = 1,) -> int: return x"),
    ("def run():\n    x = 1\n    return x", "def run():\n    x: int = 1\n    return x"),
    ("def run(): return g\ng = 1", "def run(): return g\ng: 'Final' = 1"),
    ("def run(): raise E('a')", "def run(): raise E(f'b {c}', d=1)"),
    ("def run(x): assert x", "def run(x): assert x, 'words'"),
    ("def run(x): x", "def run(x):\n    log.info('a')\n    warnings.warn('b')\n    x"),
    ("def run(): return F(1, title='a')", "def run(): return F(1, title='a', description='b')"),
    ("def run(): return F(help='a')", "def run(): return F(meaning='a')"),
    ("def run(): return 'a' 'b', \"c\"", "def run():\n    return ('ab',\n        'c')"),
    ("def run(): return g\ng = 1", "other = 2\ndef added(): ...\ng = 1\ndef run(): return g"),
    ("def run(): ...", "def run(): ...\nif __name__ == '__main__':\n    run()"),
    ("import os, re\ndef run(): re.x", "import re\ndef run(): re.x"),
]
WITH_EFFECT = [
    *(("x - y", "y - x"), ("x / 2", "x / 3"), ("f(x, k=1)", "f(x)"), ("[x, y]", "(x, y)")),
    *(("'1'", "1"), ("1", "1.0"), ("1", "True"), ("x and y", "x or y"), ("f'{x}'", "f'{x!r}'")),
    *(("{**x}", "{x: x}"), ("x.y", "x"), ("f(*x)", "f(x)"), ("lambda x: x", "lambda *x: x")),
    *(("F(title='a')", "F(title='b')"), ("[x for x in y]", "{x for x in y}"), ("x < y", "x <= y")),
    *(("x[1:]", "x[:1]"), ("f(g, h)", "f(g)(h)"), ("-x", "+x"), ("'a'", "b'a'"), ("None", "x")),
]
STATEMENTS_WITH_EFFECT = [
    ("def run(): raise E(1)", "def run(): raise F(1)"),
    ("def run(): raise E", "def run(): raise E from None"),
    ("def run(x): assert x", "def run(x): assert not x"),
    ("def run(x, /): ...", "def run(x): ..."),
    ("def run(x=1): ...", "def run(x=2): ..."),
    ("def run(x, *, y=1): ...", "def run(x, y=1): ..."),
    ("def run(): ...", "async def run(): ..."),
    ("def run(): ...", "@f\ndef run(): ..."),
    ("class run:\n    x: int = 3", "class run:\n    x: int = 4"),
    ("class run:\n    x: int", "class run:\n    y: int"),
    ("class run:\n    x = 3", "class run:\n    x: int = 3"),
    ("class run: ...", "class run: ...\nclass run(run): ..."),
    ("run = 1", "run = 2"),
    ("run = 1", "run = 1\nrun += 1"),
    ("run = 1\nrun = 2", "run = 2\nrun = 1"),
    ("run = {}", "run = {}\nrun.update(x=1)"),
    ("def run(): ...", "def run(): ...\nregister(1)"),
    ("def run(): x.y = 1", "def run(): log = 1"),
    ("from statistics import mean\ndef run(): mean", "from numpy import mean\ndef run(): mean"),
    ("import x as y\ndef run(): y.z", "import z as y\ndef run(): y.z"),
    ("from .b import f, g\ndef run(): f(g)", "from .b import f as g, g as f\ndef run(): f(g)"),
]


@pytest.mark.parametrize(("old", "new"), WITHOUT_EFFECT)
def test_without_effect(source: Path, old: str, new: str) -> None:
    assert same(source, old, new)


@pytest.mark.parametrize(("old", "new"), WITH_EFFECT)
def test_any_change_of_an_expression_counts(source: Path, old: str, new: str) -> None:
    assert not same(source, f"def run(x, y): return {old}", f"def run(x, y): return {new}")


@pytest.mark.parametrize(("old", "new"), STATEMENTS_WITH_EFFECT)
def test_changes_of_statements_count(source: Path, old: str, new: str) -> None:
    assert not same(source, old, new, b="def f(x): ...\ng = 1\n")


def test_editing_what_an_entry_does_not_reach_changes_nothing(source: Path) -> None:
    """Random packages: a digest moves if and only if the edited function is reached."""
    generator = random.Random(3)
    for _ in range(12):
        calls = [generator.sample(range(24), generator.randint(0, 2)) for _ in range(24)]
        edited = generator.randrange(24)
        closure, waiting = {0}, [0]
        for i in waiting:  # which grows
            waiting += set(calls[i]) - closure
            closure |= set(calls[i])
        before = digests(source, modules(calls), "m0:f0")
        after = digests(source, modules(calls, edited), "m0:f0")
        assert set(before) == {f"valuestrata.m{i % 4}:f{i}" for i in closure}
        changed = {key for key in before if before[key] != after[key]}
        assert changed == {f"valuestrata.m{i % 4}:f{i}" for i in closure & {edited}}


def modules(calls: list[list[int]], edited: int = -1) -> dict[str, str]:
    """Four modules of functions that call each other."""
    texts = dict.fromkeys([f"m{i}.py" for i in range(4)], "")
    for i, targets in enumerate(calls):
        body = [f"    from .m{j % 4} import f{j}\n    f{j}()\n" for j in targets]
        texts[f"m{i % 4}.py"] += f"def f{i}():\n{''.join(body)}    return {int(i == edited)}\n"
    return texts


# Settings ------------------------------------------------------------------------------------

STUDY = {"study/__init__.py": "from .base import Part", "other.py": "class Part: ..."}
STUDY["study/base.py"] = "class Base: ...\nclass Part(Base):\n    config = 1\n"
SETTINGS = """
from valuestrata.study import Part
from pydantic import Field
from typing import ClassVar
def g(): ...
h = k = m = 1
class Middle(Part):
    pass
class run(Middle):
    size: int = {value}
    KINDS: ClassVar[int] = {constant}
    _private: int = m
    def f(self): return {method}
"""


def test_fields_of_settings_do_not_count_and_the_rest_does(source: Path) -> None:
    plain = {"value": "Field(default_factory=g)", "constant": "h", "method": "k"}

    def of(text: str = SETTINGS, **changes: str) -> dict[str, str]:
        return digests(source, {**STUDY, "a.py": text.format(**(plain | changes))})

    before = of()
    names = {"a:run", "a:Middle", "a:h", "a:k", "a:m", "study.base:Part", "study.base:Base"}
    assert {key.removeprefix("valuestrata.") for key in before} == names
    assert of(value="3") == before
    assert of(SETTINGS.replace("    size: int = {value}\n", "    more: str\n")) == before
    assert of(constant="4") != before
    assert of(method="5") != before
    other = SETTINGS.replace("valuestrata.study", "valuestrata.other")
    assert of(other) != of(other, value="3")
    dataclass = SETTINGS.replace("Middle(Part)", "Middle")
    assert "valuestrata.a:g" in of(dataclass)


# Data files ----------------------------------------------------------------------------------


def test_data_files_count_where_they_are_named(source: Path) -> None:
    files = {"data/x.yaml": "1", "data/y/a.yaml": "2", "data/y/b.yaml": "3", "data/y/c.txt": "4"}
    texts = {
        "def run(): return resource('data/x.yaml')": {"data/x.yaml"},
        "def run(): return io.resource('data/*/*.yaml')": {"data/y/a.yaml", "data/y/b.yaml"},
        "def run(): return g()\ng = resource('data/*')": {"data/x.yaml"},
        "def run(name): return resource(name), resource(), other('data/x.yaml')": set(),
        "def run(): raise E(resource('data/x.yaml'))": set(),
        "def run(): ...\ng = resource('data/x.yaml')": set(),
    }
    for text, expected in texts.items():
        before = digests(source, {**files, "a.py": text})
        assert {k.removeprefix("data:") for k in before if k.startswith("data:")} == expected
        after = digests(source, dict.fromkeys(files, "edited"))
        assert {k for k in before if before[k] != after[k]} == {f"data:{n}" for n in expected}


@pytest.mark.parametrize("pattern", ["data/gone.yaml", "data/gone*.yaml"])
def test_a_data_file_that_is_not_there_is_an_error(source: Path, pattern: str) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        digests(source, {"a.py": f"def run(): resource({pattern!r})"})


# The results ---------------------------------------------------------------------------------


def test_digests_are_sorted_hex_and_remembered_until_cleared(source: Path) -> None:
    result = digests(source, {"a.py": "def run(): return g, b\ng = b = 1"})
    assert list(result) == sorted(result)
    assert all(re.fullmatch(r"[0-9a-f]{12}", digest) for digest in result.values())
    before = code_digest(["valuestrata.a:run"])
    assert re.fullmatch(r"[0-9a-f]{16}", before)
    write(source, {"a.py": "def run(): return 2"})
    assert code_digest(iter(["valuestrata.a:run"])) == before
    result.clear()
    assert definition_digests(["valuestrata.a:run"])
    clear_caches()
    assert code_digest(["valuestrata.a:run"]) != before


def test_digests_are_kept_by_the_folder_that_they_are_taken_of(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = ["valuestrata.a:run"]
    write(source, {"a.py": "run = 1"})
    before = code_digest(entries)
    for text, equal in (("run = 1", True), ("run = 2", False)):
        elsewhere = tmp_path / text
        write(elsewhere, {"a.py": text})
        monkeypatch.setattr(provenance, "SOURCE", elsewhere)
        assert (code_digest(entries) == before) == equal


def test_explain_says_what_is_new_gone_and_edited() -> None:
    old = {
        "valuestrata.survey.tally:count": "1",
        "valuestrata.a:same": "1",
        "valuestrata.a:x": "1",
        "valuestrata.a:<module>": "1",
        "data:data/x.yaml": "1",
    }
    new = {**old, "valuestrata.survey.tally:count": "2", "data:data/x.yaml": "2"}
    new |= {"valuestrata.a:<module>": "2", "valuestrata.b:y": "1"}
    del new["valuestrata.a:x"]
    assert explain(old, new) == [
        "a (module level) was edited",
        "a.x is gone",
        "b.y is new",
        "data/x.yaml was edited",
        "survey.tally.count was edited",
    ]
    assert explain(old, old) == []


def test_layout_comments_and_docstrings_of_this_package_do_not_count(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(provenance.__file__).parent
    entry = ["valuestrata.provenance:code_digest"]
    write(source, {"provenance.py": ast.unparse(ast.parse((here / "provenance.py").read_text()))})
    written = definition_digests(entry)
    assert "valuestrata.provenance:_Reader" in written
    monkeypatch.setattr(provenance, "SOURCE", here.parent)
    assert definition_digests(entry) == written


def test_a_file_digest_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert provenance.file_digest(tmp_path / "x") == sha256(b"abc" * 1000).hexdigest()


def test_a_text_digest_tells_where_one_text_ends() -> None:
    texts = [["ab", "c"], ["a", "bc"], ["ab", ""], ["ab"], ["é"]]
    assert len({provenance.text_digest(iter(parts)) for parts in texts}) == len(texts)
