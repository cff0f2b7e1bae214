"""Tables and JSON on disk: whole or not at all, and only as their contracts say."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from valuestrata import io, tables
from valuestrata.contracts import Column, Contract, ContractError, check
from valuestrata.errors import InputError
from valuestrata.records import Record, read_record

SRC = Path(io.__file__).resolve().parents[1]
CONTRACTS = [c for c in vars(tables).values() if isinstance(c, Contract)]
RECORD = Record("score", {}, {"caveat": ""})
SAMPLES: dict[str, list[Any]] = {
    "text": ["a", "b", "c"],
    "int": [1, 2, 3],
    "float": [0.0, 0.5, 1.0],
    "bool": [True, False, True],
    "ints": [[1, 2], [3], [4, 5, 6]],
    "floats": [[0.25, 0.75], [1.0], [0.0, 0.0, 1.0]],
    "texts": [["yes", "no"], [""], ["é", "x", "y"]],
}


def valid(contract: Contract) -> pd.DataFrame:
    """Three rows that keep the contract; the last has nothing in its optional columns."""
    columns: dict[str, list[Any]] = {}
    for column in contract.columns:
        values = list(SAMPLES[column.dtype])
        if column.values is not None:
            values = [column.values[i % len(column.values)] for i in range(3)]
        if column.optional:
            values[2] = None
        columns[column.name] = values
    return pd.DataFrame(columns)


def with_value(contract: Contract, column: Column, value: Any) -> pd.DataFrame:
    frame = valid(contract)
    first, _, last = frame[column.name]
    return frame.assign(**{column.name: pd.Series([first, value, last], dtype=object)})


def made(caveat: str) -> Record:
    return Record("score", {"model": "m"}, {"caveat": caveat}, "d1", {"x:y": "1"}, {"a": "2"})


def listed(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# Contracts -----------------------------------------------------------------------------------


def refused(frame: pd.DataFrame, contract: Contract, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check(frame, contract)


def test_a_table_has_the_columns_of_its_contract_and_no_others() -> None:
    for contract in CONTRACTS:
        name = contract.name
        for column in contract.names:
            missing = valid(contract).drop(columns=column)
            refused(missing, contract, rf"table {name}: column {column} is missing")
        if not contract.open:
            surplus = valid(contract).assign(surplus=1)
            refused(surplus, contract, rf"table {name}: column surplus is not part")


def test_responses_keep_the_columns_of_the_study() -> None:
    frame = valid(tables.RESPONSES).assign(sex=["male", None, "female"], Q1=[1, 2, 3])
    assert list(check(frame, tables.RESPONSES)) == ["respondent", "weight", "sex", "Q1"]


def test_values_that_a_column_does_not_allow_are_refused() -> None:
    checked = 0
    for contract in CONTRACTS:
        for column in contract.columns:
            where = rf"column {column.name}: "
            cases: list[tuple[bool, Any, str]] = [
                (column.dtype in ("int", "float", "bool"), "seven", where),
                (column.dtype == "int", 1.5, where + "not int"),
                (not column.optional, None, where + "1 values are missing"),
                (column.low is not None, -1, where + "-1.* is below"),
                (column.high is not None, 1.01, where + "1.01 is above"),
                (column.values is not None, "other", where + "'other' is not one of"),
            ]
            for applies, value, message in cases:
                if applies:
                    refused(with_value(contract, column, value), contract, message)
                    checked += 1
    assert checked > 300


def test_what_is_no_list_of_numbers_is_refused_in_a_list_column() -> None:
    for name in ("codes", "distribution"):
        column = next(c for c in tables.PAIRS.columns if c.name == name)
        for wrong in ("seven", 7, ["a", "b"]):
            frame = with_value(tables.PAIRS, column, wrong)
            refused(frame, tables.PAIRS, rf"table pairs, column {name}: ")


def test_rounding_at_the_ends_of_a_range_is_forgiven() -> None:
    column = next(c for c in tables.SCORES.columns if c.name == "jensen_shannon")
    check(with_value(tables.SCORES, column, 1 + 1e-12), tables.SCORES)


def test_every_column_says_what_it_means() -> None:
    for contract in CONTRACTS:
        assert len(set(contract.names)) == len(contract.names)
        assert all(c.meaning and c.dtype in SAMPLES for c in contract.columns)


# Round trips ---------------------------------------------------------------------------------


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for contract in CONTRACTS:
        path = tmp_path / "deep" / "folder" / f"{contract.name}.parquet"
        frame = valid(contract)
        frame.index = pd.Index([7, 7, 9])
        io.write_table(frame, path, contract, RECORD)
        back = io.read_table(path, contract)
        expected = check(frame, contract)
        assert list(back.columns) == contract.names
        assert list(back.index) == [0, 1, 2]
        for column in contract.columns:
            if column.dtype in ("ints", "floats", "texts"):
                for ours, theirs in zip(back[column.name], expected[column.name], strict=True):
                    assert (ours is None) == (theirs is None)
                    if theirs is not None:
                        np.testing.assert_array_equal(ours, theirs)
            else:
                pd.testing.assert_series_equal(back[column.name], expected[column.name])


def test_an_empty_table_comes_back_empty_with_its_columns(tmp_path: Path) -> None:
    io.write_table(valid(tables.SCORES).head(0), tmp_path / "s.parquet", tables.SCORES, RECORD)
    back = io.read_table(tmp_path / "s.parquet", tables.SCORES)
    assert back.empty
    assert list(back) == [c.name for c in tables.SCORES.columns]


def test_several_tables_are_stacked_in_the_order_given(tmp_path: Path) -> None:
    paths = []
    for name in ("z", "a", "m"):
        frame = valid(tables.RUNS).assign(model=name)
        paths.append(tmp_path / f"{name}.parquet")
        io.write_table(frame, paths[-1], tables.RUNS, RECORD)
    assert list(io.read_table(paths, tables.RUNS)["model"]) == list("zzzaaammm")


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    io.write_table(valid(tables.PAIRS), tmp_path / "p.parquet", tables.PAIRS, RECORD)
    few = io.read_table(tmp_path / "p.parquet", tables.PAIRS, ["question", "measurement_level"])
    assert list(few) == ["question", "measurement_level"]


def test_writing_does_not_change_the_frame_it_is_given(tmp_path: Path) -> None:
    frame = valid(tables.RUNS)
    frame.attrs["asked"] = pd.DataFrame({"x": [1]})
    before = frame.copy()
    io.write_table(frame, tmp_path / "r.parquet", tables.RUNS, RECORD)
    pd.testing.assert_frame_equal(frame, before)
    assert "asked" in frame.attrs


@pytest.mark.parametrize("caveat", ["simulated survey, toy models", "", "naïve — ünïcode"])
def test_a_table_carries_the_caveat_and_its_name(tmp_path: Path, caveat: str) -> None:
    path = tmp_path / "r.parquet"
    io.write_table(valid(tables.RUNS), path, tables.RUNS, made(caveat))
    assert io.caveat_of(path) == caveat
    assert pq.read_schema(path).metadata[b"valuestrata.table"] == b"runs"
    assert read_record(path) == made(caveat)


def test_json_comes_back_in_its_order(tmp_path: Path) -> None:
    content = {"b": [1, 2.5, None], "a": {"é": True}}
    io.write_json(content, tmp_path / "x.json")
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert io.read_json(tmp_path / "x.json") == content
    assert text.index('"b"') < text.index('"a"')
    assert text.endswith("}\n")


def test_json_refuses_nan_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        io.write_json({"value": float("nan")}, tmp_path / "x.json")
    assert listed(tmp_path) == []


# Permissions ---------------------------------------------------------------------------------


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mode", "bits"), [(io.PRIVATE, 0o600), (io.SHARED, 0o644)])
def test_a_table_has_the_permissions_asked_for_whatever_the_umask(
    tmp_path: Path, mode: int, bits: int
) -> None:
    before = os.umask(0o007)
    try:
        io.write_table(valid(tables.RUNS), tmp_path / "r.parquet", tables.RUNS, RECORD, mode=mode)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "r.parquet") == bits


def test_a_private_table_is_private_before_it_has_its_name(tmp_path: Path) -> None:
    with io.replacing(tmp_path / "r.parquet", io.PRIVATE) as temporary:
        temporary.write_text("half")
        assert mode_of(temporary) == 0o600


def test_all_who_can_enter_a_folder_can_read_it(tmp_path: Path) -> None:
    with io.replacing_folder(tmp_path / "adapter", RECORD) as temporary:
        (temporary / "inner").mkdir(mode=0o700)
        (temporary / "inner" / "weights").write_text("x")
        (temporary / "inner" / "weights").chmod(0o600)
    assert mode_of(tmp_path / "adapter") == 0o755
    assert mode_of(tmp_path / "adapter" / "inner") == 0o755
    assert mode_of(tmp_path / "adapter" / "inner" / "weights") == 0o644


# Whole or not at all -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("older", [None, "older and whole"])
def test_a_write_that_fails_half_way_leaves_no_trace(
    tmp_path: Path, error: type[BaseException], older: str | None
) -> None:
    path = tmp_path / "out.txt"
    if older is not None:
        io.write_text(older, path)
    before = listed(tmp_path)

    def fail() -> None:
        with io.replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert listed(tmp_path) == before
    assert older is None or path.read_text() == older


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("older", [False, True])
def test_a_folder_that_fails_half_way_leaves_no_trace(
    tmp_path: Path, error: type[BaseException], older: bool
) -> None:
    path = tmp_path / "adapter"
    if older:
        with io.replacing_folder(path, RECORD) as temporary:
            (temporary / "a").write_text("older and whole")

    def fail() -> None:
        with io.replacing_folder(path, RECORD) as temporary:
            (temporary / "a").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert listed(tmp_path) == (["adapter"] if older else [])
    assert not older or (path / "a").read_text() == "older and whole"


def test_a_new_folder_keeps_nothing_of_the_older_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with io.replacing_folder(tmp_path / "adapter", RECORD) as temporary:
            (temporary / name).write_text(name)
    assert listed(tmp_path / "adapter") == ["made_of.json", "new"]
    assert listed(tmp_path) == ["adapter"]


def test_a_table_that_breaks_its_contract_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    io.write_table(valid(tables.RUNS), path, tables.RUNS, made("older"))
    with pytest.raises(ContractError):
        io.write_table(valid(tables.RUNS).drop(columns="value"), path, tables.RUNS, made("newer"))
    assert io.caveat_of(path) == "older"
    assert listed(tmp_path) == ["r.parquet"]


def test_a_disk_that_fills_up_during_a_write_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(table: pa.Table, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"PAR1 half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        io.write_table(valid(tables.RUNS), tmp_path / "r.parquet", tables.RUNS, RECORD)
    assert listed(tmp_path) == []


KILLED = """
import sys, time
from pathlib import Path
from valuestrata import io
from valuestrata.records import Record

RECORD = Record("score", {}, {})
path = Path(sys.argv[1])

def halt():
    print("half", flush=True)
    time.sleep(60)

if path.suffix:
    with io.replacing(path) as temporary:
        temporary.write_text("half")
        halt()
else:
    with io.replacing_folder(path, RECORD) as temporary:
        (temporary / "a").write_text("half")
        halt()
"""


@pytest.mark.parametrize("name", ["out.parquet", "adapter"])
def test_a_process_killed_in_the_middle_of_a_write_leaves_nothing_under_the_name(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "half"
        assert listed(tmp_path), "the half-written part exists under another name"
        assert not path.exists()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=20)
    assert child.returncode == -signal.SIGKILL
    assert not path.exists()
    if path.suffix:
        io.write_text("whole", path)
        assert path.read_text() == "whole"
    else:
        with io.replacing_folder(path, RECORD) as temporary:
            (temporary / "a").write_text("whole")
        assert (path / "a").read_text() == "whole"


# Files that are not what they should be ------------------------------------------------------


def whole(path: Path) -> bytes:
    io.write_table(valid(tables.RUNS), path, tables.RUNS, RECORD)
    return path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda b: b"", id="empty"),
        pytest.param(lambda b: b[: len(b) // 2], id="first half"),
        pytest.param(lambda b: b[:-1], id="one byte short"),
        pytest.param(lambda b: b[len(b) // 2 :], id="second half"),
        pytest.param(lambda b: b"model,variant\nx,base\n", id="csv"),
        pytest.param(lambda b: b"PAR1\n\nPAR1", id="magic alone"),
    ],
)
def test_a_damaged_table_is_one_line_with_file_and_remedy(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(damage(whole(path)))
    with pytest.raises(InputError) as caught:
        io.read_table(path, tables.RUNS)
    line = str(caught.value)
    assert str(path) in line
    assert "delete it and run snakemake again" in line
    assert "\n" not in line


def test_a_table_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope\.parquet: ") as caught:
        io.read_table(tmp_path / "nope.parquet", tables.RUNS)
    assert "\n" not in str(caught.value)


def test_a_wrong_table_is_one_line_with_both_names(tmp_path: Path) -> None:
    io.write_table(valid(tables.RUNS), tmp_path / "r.parquet", tables.RUNS, RECORD)
    with pytest.raises(InputError, match=r"r\.parquet: holds the table 'runs', not 'scores'"):
        io.read_table(tmp_path / "r.parquet", tables.SCORES)


def test_a_stranger_to_this_project_is_not_taken_for_a_table(tmp_path: Path) -> None:
    valid(tables.RUNS).to_parquet(tmp_path / "r.parquet")
    with pytest.raises(InputError, match="holds the table '', not 'runs'"):
        io.read_table(tmp_path / "r.parquet", tables.RUNS)


def test_a_table_that_was_changed_behind_our_back_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    io.write_table(valid(tables.RUNS), path, tables.RUNS, RECORD)
    arrow = pq.read_table(path)
    n = arrow.schema.get_field_index("n")
    pq.write_table(arrow.set_column(n, "n", pa.array([-1, 2, 3])), path)
    with pytest.raises(ContractError, match="column n: -1 is below 0"):
        io.read_table(path, tables.RUNS)
