"""Fixtures that several test modules share."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.graph import Graph, Server
from tests.job_forks import Forks

PYTESTS = "PYTEST_CURRENT_TEST"


@pytest.fixture(scope="session")
def snakemake() -> Iterator[Server]:
    """What runs snakemake."""
    with TemporaryDirectory() as folder:  # its path is short, pytest's own is not
        server = Server(Forks(Path(folder)))
        yield server
        server.stop()


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory, snakemake: Server) -> Graph:
    """The smallest study, run from survey to report once."""
    made = Graph(tmp_path_factory.mktemp("study"), snakemake)
    done = made.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """What a test sets in the environment ends with it: torch and others read it at any time."""
    before = dict(os.environ)
    yield
    for name in {name for name, _ in before.items() ^ os.environ.items()} - {PYTESTS}:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the study that has run stay in one process, so that it runs once."""
    for item in items:
        if "graph" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("graph"))
