"""Fixtures that several test modules share."""

import pytest

from tests.graph import Graph


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The smallest study, run from survey to report once."""
    made = Graph(tmp_path_factory.mktemp("study"))
    done = made.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return made
