"""The benchmark's peers give the answers that they are timed for, on a small survey."""

from pathlib import Path

import numpy as np
import pytest

from bench import data, growth, peers, survey

QUICK = survey.Size.quick()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> data.Survey:
    return data.survey(tmp_path_factory.mktemp("bench"), 700, 12)


def test_pandas_has_our_modes(small: data.Survey) -> None:
    ours = survey.our_modes(small)
    assert sum(len(names) for names, _ in ours) > 30
    for peer in (peers.pandas_mode, peers.pandas_size):
        found = peers.as_modes(peer(small.responses, small.names))
        assert survey.same_modes(ours, found, small.names)


def test_a_wrong_mode_is_noticed(small: data.Survey) -> None:
    found = peers.as_modes(peers.pandas_size(small.responses, small.names))
    key = ("female", None, None, None, small.names[3])
    assert key in found
    assert not survey.same_modes(
        survey.our_modes(small), {**found, key: found[key] + 1}, small.names
    )


def test_polars_has_our_modes(small: data.Survey) -> None:
    pytest.importorskip("polars")
    table = peers.polars_table(small.responses, small.names)
    for peer in (peers.polars_mode, peers.polars_len):
        found = peers.as_modes(peer(table, small.names))
        assert survey.same_modes(survey.our_modes(small), found, small.names)


@pytest.mark.parametrize("how", ["mode", "window", "arg_max"])
def test_duckdb_has_our_modes(small: data.Survey, how: str) -> None:
    pytest.importorskip("duckdb")
    connection = peers.duckdb_table(small.responses, small.names)
    found = peers.as_modes(peers.duckdb_modes(connection, small.names, how))
    assert survey.same_modes(survey.our_modes(small), found, small.names)


def test_scipy_has_our_distances(small: data.Survey) -> None:
    assert [row["equal"] for row in survey.wasserstein(small, QUICK)] == [True]


def test_pandas_and_fairlearn_have_our_resamples(small: data.Survey) -> None:
    pytest.importorskip("fairlearn")
    rows = survey.resamples(small, QUICK)
    assert [row["equal"] for row in rows] == [True] * 3
    assert rows[0]["scaled_from"] == "5 of 100 resamples"


def test_several_countries_are_scored_as_each_alone(tmp_path: Path) -> None:
    (line,) = survey.grown(tmp_path, QUICK)
    assert line["equal"]
    assert 0 < line["cpu_s"] < 100
    assert len(growth.last_country(tmp_path / "many.parquet")) == QUICK.each
    with np.load(tmp_path / "found.npz") as found:
        assert len(found["names_0"]) == 2 * QUICK.countries
