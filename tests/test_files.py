"""One survey in every format it is handed out in; any bytes give a frame or one line."""

import io
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyreadstat
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.graph import ROOT
from tests.jobs import run_stage
from valuestrata.__main__ import main
from valuestrata.errors import InputError
from valuestrata.stages import clean
from valuestrata.study.survey import Axis, Fallback
from valuestrata.survey import codebook, isolated, readers
from valuestrata.survey.codebook import Question
from valuestrata.survey.settings import ReadingSettings

TITLES = {"Q1": "Important in life: Family", "Q2": "How often, if ever; say", "Q260": "Sex"}
LABELS = {"Q1": {1: "Very", 4: "Not at all", -1: "Don't know", 99: "Refused"}}
SEX = Axis(column="Q260", groups={"1": "male", "2": "female"})
BANDS = (16, 25, 35)
AGE = Axis(
    column="X003R",
    groups={"1": "16-24", "2": "25-34", "3": "35 and over"},
    fallback=Fallback(column="Q262", bands=BANDS),
)
QUESTIONS = [Question(q, q, "?", "b", "ordinal", 1, 4, {}, {}) for q in ("Q1", "Q2")]


def respondents(n: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(4)
    age = draw.integers(16, 80, n)
    return pd.DataFrame(
        {
            "D_INTERVIEW": [702070001.0 + i for i in range(n)],
            "B_COUNTRY": draw.permutation([702.0, 840.0] * (n // 2)),
            "ALPHA": [f"S{i % 2}" for i in range(n)],
            "W_WEIGHT": draw.uniform(0.5, 1.5, n),
            "Q260": [1.0 + i % 2 if i % 11 else np.nan for i in range(n)],
            "X003R": (1.0 + np.searchsorted(BANDS[1:], age, side="right")),
            "Q262": age.astype(float),
            "Q1": [float(1 + i % 4) if i % 7 else -1.0 for i in range(n)],
            "Q2": [str(1 + i % 4) if i % 5 else "" for i in range(n)],
            "note": ["free; text, é" for _ in range(n)],
        }
    )


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "delimiter": "auto",
        "respondent": "D_INTERVIEW",
        "weight": "W_WEIGHT",
        "filter": {"B_COUNTRY": ("702",), "ALPHA": ("S0", "S1")},
        "missing": (-1, -2),
        "axes": {"sex": SEX, "age_group": AGE},
        **changes,
    }


def read(path: Path, **changes: Any) -> pd.DataFrame:
    return readers.read_survey(path, ReadingSettings(**fields(**changes)), QUESTIONS, {})[0]


def complaint(path: Path, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(path, **changes)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    return line


def to_excel(frame: pd.DataFrame, path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["About this file"])
    sheet = book.create_sheet("data")
    sheet.append(list(frame))
    for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False):
        sheet.append(list(row))
    book.save(path)


def with_titles(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=lambda name: f"{name}: {TITLES.get(name, 'a title')}")


def to_sav(frame: pd.DataFrame, path: Path, **options: Any) -> None:
    missing = {"Q1": [99, {"lo": -5, "hi": -1}]} if "Q1" in frame else None
    pyreadstat.write_sav(
        frame, path, column_labels=TITLES, variable_value_labels=LABELS,
        missing_ranges=missing, **options,
    )  # fmt: skip


WRITERS: dict[str, tuple[str, Callable[[pd.DataFrame, Path], Any]]] = {
    "csv": ("a.csv", lambda f, p: f.to_csv(p, index=False)),
    "BOM": ("a.CSV", lambda f, p: f.to_csv(p, index=False, encoding="utf-8-sig")),
    "cp1252": ("a.csv", lambda f, p: f.to_csv(p, index=False, encoding="cp1252")),
    "semicolons": ("a.csv", lambda f, p: f.to_csv(p, index=False, sep=";")),
    "tabs": ("a.tsv", lambda f, p: f.to_csv(p, index=False, sep="\t")),
    "no suffix": ("a", lambda f, p: f.to_csv(p, index=False, sep="|")),
    "Excel's headers": ("a.csv", lambda f, p: with_titles(f).to_csv(p, index=False)),
    "lower case": ("a.csv", lambda f, p: f.rename(columns=str.lower).to_csv(p, index=False)),
    "sav": ("a.sav", to_sav),
    "packed sav": ("a.sav", lambda f, p: to_sav(f, p, row_compress=True)),
    "zsav": ("a.zsav", lambda f, p: to_sav(f, p, compress=True)),
    "dta": ("a.dta", lambda f, p: pyreadstat.write_dta(f, p, variable_value_labels=LABELS)),
    "xlsx": ("a.xlsx", to_excel),
    "xlsx with titles": ("a.xlsx", lambda f, p: to_excel(with_titles(f), p)),
}


def write(form: str, folder: Path, frame: pd.DataFrame | None = None) -> Path:
    name, writer = WRITERS[form]
    writer(respondents() if frame is None else frame, folder / name)
    return folder / name


def zipped(path: Path, *more: tuple[str, bytes]) -> Path:
    archive = path.with_name(path.name + ".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(path, f"WVS 7/{path.name}")
        packed.writestr("__MACOSX/._a.csv", b"x")
        packed.writestr("read me.pdf", b"x")
        for name, content in more:
            packed.writestr(name, content)
    return archive


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return read(write("csv", tmp_path_factory.mktemp("expected")))


# What is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(WRITERS))
def test_a_survey_is_the_same_in_every_format(
    tmp_path: Path, expected: pd.DataFrame, form: str
) -> None:
    path = write(form, tmp_path)
    frame = read(path)
    pd.testing.assert_frame_equal(frame, expected)
    assert len(frame) == 30
    assert frame["Q1"].isna().any()
    assert frame["respondent"].str.fullmatch(r"7020700\d\d").all()
    if path.suffix == "":
        path = path.rename(path.with_suffix(".txt"))
    pd.testing.assert_frame_equal(read(zipped(path)), expected)


@pytest.mark.parametrize("form", ["sav", "dta"])
def test_slices_of_a_labelled_file_are_read_as_one(
    tmp_path: Path, expected: pd.DataFrame, form: str
) -> None:
    many = pd.concat([respondents()] * 400, ignore_index=True)
    many["D_INTERVIEW"] = np.arange(len(many), dtype=float)
    assert len(many) > 2 * isolated.SLICE
    frame = read(write(form, tmp_path, many))
    assert list(frame["Q1"].dropna()) == list(expected["Q1"].dropna()) * 400
    assert frame["respondent"].is_unique


def test_an_axis_can_be_made_of_another_column(tmp_path: Path, expected: pd.DataFrame) -> None:
    for form in ("sav", "xlsx", "csv"):
        path = write(form, tmp_path, respondents().drop(columns="X003R"))
        pd.testing.assert_frame_equal(read(path), expected)


def test_columns_of_another_release_are_renamed(tmp_path: Path, expected: pd.DataFrame) -> None:
    other = respondents().rename(columns={"Q260": "X001", "B_COUNTRY": "S003", "Q1": "A001"})
    rename = {"X001": "Q260", "S003": "B_COUNTRY", "A001": "Q1", "A999": "Q2"}
    for form in ("sav", "csv", "Excel's headers", "lower case"):
        pd.testing.assert_frame_equal(read(write(form, tmp_path, other), rename=rename), expected)


def test_the_header_as_it_stands_goes_before_its_case(
    tmp_path: Path, expected: pd.DataFrame
) -> None:
    more = respondents().assign(q1="text")
    pd.testing.assert_frame_equal(read(write("csv", tmp_path, more)), expected)


def test_of_several_zipped_files_the_one_with_the_columns_is_read(
    tmp_path: Path, expected: pd.DataFrame
) -> None:
    archive = zipped(write("sav", tmp_path), ("countries.csv", b"code,name\n702,Singapore\n"))
    pd.testing.assert_frame_equal(read(archive), expected)


# What is refused -----------------------------------------------------------------------------


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    assert "no such file" in complaint(tmp_path / "no.sav")
    assert "a folder" in complaint(tmp_path)


def test_what_is_not_of_its_suffix_is_one_line(tmp_path: Path) -> None:
    contents = [b"", b"\n", b"no survey", b"PK\x03\x04", b"$FL2@(#)" + bytes(200)]
    for suffix in (".csv", ".sav", ".zsav", ".dta", ".xlsx", ".zip"):
        for content in contents:
            path = tmp_path / f"a{suffix}"
            path.write_bytes(content)
            complaint(path)


def test_a_zip_in_a_zip_is_told_to_be_unpacked(tmp_path: Path) -> None:
    inner = zipped(write("csv", tmp_path))
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, "WVS/inner.zip")
    line = complaint(outer)
    assert "holds another zip ('WVS/inner.zip'); unpack it" in line
    assert ".sav, .zsav, .por, .dta" in line


def test_codes_that_a_file_declares_missing_can_be_recoded(tmp_path: Path) -> None:
    frame = respondents().assign(Q1=[1.0, 99.0, -3.0] * 20)
    recode = {"Q1": {"99": 4, "-3": 2}}
    csv = read(write("csv", tmp_path, frame), filter={}, recode=recode)["Q1"]
    for form in ("sav", "zsav"):
        path = write(form, tmp_path, frame)
        plain = read(path, filter={})["Q1"]
        assert [None if pd.isna(c) else int(c) for c in plain[:3]] == [1, None, None]
        recoded = read(path, filter={}, recode=recode)["Q1"]
        assert list(recoded[:3]) == [1, 4, 2]
        pd.testing.assert_series_equal(csv, recoded)


def test_an_age_that_a_file_declares_missing_is_in_no_band(tmp_path: Path) -> None:
    path = tmp_path / "a.sav"
    frame = respondents().drop(columns="X003R").assign(Q262=[20.0, 999.0, 40.0] * 20)
    pyreadstat.write_sav(frame, str(path), missing_ranges={"Q262": [999]})
    bands = read(path, filter={})["age_group"]
    assert [None if pd.isna(b) else b for b in bands[:3]] == ["16-24", None, "35 and over"]


def test_a_truncated_zip_is_one_line(tmp_path: Path) -> None:
    for form in ("csv", "sav", "dta", "xlsx"):
        archive = zipped(write(form, tmp_path))
        whole = archive.read_bytes()
        archive.write_bytes(whole[: len(whole) // 2])
        assert "download it again" in complaint(archive)


def test_an_encrypted_zip_is_one_line(tmp_path: Path) -> None:
    archive = zipped(write("csv", tmp_path))
    whole = bytearray(archive.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(mark) + flags] |= 1
    archive.write_bytes(whole)
    assert "encrypted" in complaint(archive)


def test_a_zip_without_a_survey_or_with_several_is_one_line(tmp_path: Path) -> None:
    path = write("csv", tmp_path)
    assert "holds 2 survey files" in complaint(zipped(path, ("b.csv", path.read_bytes())))
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as packed:
        packed.writestr("read me.pdf", b"x")
    assert "holds no survey file" in complaint(tmp_path / "none.zip")


def test_two_columns_that_match_one_name_are_one_line(tmp_path: Path) -> None:
    twice = respondents().rename(columns={"note": "q1", "Q1": "q1"})
    line = complaint(write("csv", tmp_path, twice))
    assert "column Q1: 2 columns match" in line


@pytest.mark.parametrize("form", ["csv", "sav", "xlsx"])
def test_missing_columns_are_one_line(tmp_path: Path, form: str) -> None:
    for gone, part in (
        (["Q1"], "no column Q1"),
        (["W_WEIGHT", "Q2"], "no columns W_WEIGHT"),
        (["Q260"], "no column Q260 of axis sex"),
        (["X003R", "Q262"], "no column X003R or Q262 of axis age_group"),
    ):
        assert part in complaint(write(form, tmp_path, respondents().drop(columns=gone)))


@pytest.mark.parametrize("form", ["csv", "sav", "xlsx"])
def test_a_bad_column_is_one_line(tmp_path: Path, form: str) -> None:
    cases: list[tuple[str, Any, str]] = [
        ("D_INTERVIEW", 1.0, "share an id"),
        ("W_WEIGHT", 0.0, "no weight is above 0"),
        ("W_WEIGHT", -1.0, "30 are negative ('-1')"),
        ("W_WEIGHT", np.nan, "30 of 30 respondents have no weight"),
        ("Q2", "text", "export the file with codes"),
        ("Q1", 70000.0, "no answer code"),
        ("Q1", 1.5, "fractions"),
        ("Q1", -8.0, "neither an answer nor declared missing"),
        (
            "Q260",
            3.0,
            "no row is in groups 'male' (code 1), 'female' (code 2) of axis sex; the column",
        ),
        ("B_COUNTRY", 360.0, "no row is left"),
    ]
    for column, value, part in cases:
        assert part in complaint(write(form, tmp_path, respondents().assign(**{column: value})))


def test_an_axis_with_one_group_only_is_one_line(tmp_path: Path) -> None:
    path = write("sav", tmp_path, respondents().assign(Q260=1.0))
    book = {"Q260": {"2": "female"}}  # so nobody need be female
    frame = readers.read_survey(path, ReadingSettings(**fields()), QUESTIONS, book).responses
    with pytest.raises(InputError, match=r"axis sex has fewer than two groups \('male'\)"):
        readers.check_axes(frame, ReadingSettings(**fields()), path)


# Any bytes -----------------------------------------------------------------------------------

FORMS = ["csv", "sav", "packed sav", "zsav", "dta", "xlsx"]
ANY = settings(
    max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    """A small valid file in each format, zipped and not."""
    made = {}
    for form in FORMS:
        path = write(form, tmp_path_factory.mktemp("whole"))
        made[form] = (path.suffix, path.read_bytes())
        made[f"zipped {form}"] = (".zip", zipped(path).read_bytes())
    return made


def mutated(content: bytes, seed: int) -> bytes:
    draw, changed = random.Random(seed), bytearray(content)
    for _ in range(draw.randint(1, 5)):
        place = draw.randrange(min(len(changed), draw.choice([64, 700, 20_000])) or 1)
        how = draw.choice(["flip", "insert", "cut", "flip"])
        if how == "flip" and changed:
            changed[place] = draw.randrange(256)
        elif how == "insert":
            changed[place:place] = draw.randbytes(draw.randint(1, 6))
        elif draw.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def gives_a_frame_or_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    frame, line = None, ""
    try:
        frame = read(path)
    except InputError as error:
        line = str(error)
    assert "\n" not in line
    if frame is None:
        assert line.startswith(str(path))
    else:
        assert len(frame)
        assert np.isclose(frame["weight"].mean(), 1)


@pytest.mark.parametrize("form", [*FORMS, *(f"zipped {form}" for form in FORMS)])
@ANY
@given(seed=st.integers(0, 2**32))
def test_a_mutated_file_gives_a_frame_or_one_line(
    tmp_path: Path, whole: dict[str, tuple[str, bytes]], form: str, seed: int
) -> None:
    suffix, content = whole[form]
    gives_a_frame_or_one_line(tmp_path / f"a{suffix}", mutated(content, seed))


@pytest.mark.parametrize("suffix", [".csv", ".sav", ".dta", ".xlsx", ".zip"])
@ANY
@given(content=st.binary(max_size=400))
@example(content=b"PK\x05\x06" + bytes(18))
def test_random_bytes_give_a_frame_or_one_line(tmp_path: Path, suffix: str, content: bytes) -> None:
    gives_a_frame_or_one_line(tmp_path / f"a{suffix}", content)


def test_a_reader_that_crashes_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("sav", tmp_path)
    monkeypatch.setattr(isolated, "_serve", _crash)
    assert "it stops the reader" in complaint(path)


def _crash(*_: Any) -> None:
    os.abort()


# Memory --------------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from tests.test_files import read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
frame = read(sys.argv[1])
print(len(frame), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_one_country_of_a_wide_file_is_read_in_little_memory(tmp_path: Path) -> None:
    buffer = io.StringIO()
    small = respondents(1000)
    small.loc[20:, "B_COUNTRY"] = 840.0
    wide = pd.DataFrame(1, index=small.index, columns=[f"V{i}" for i in range(600)])
    pd.concat([small, wide], axis=1).drop(columns="D_INTERVIEW").to_csv(buffer, index=False)
    header, *rows = buffer.getvalue().splitlines()
    path = tmp_path / "wide.csv"
    with path.open("w") as file:
        file.write(f"D_INTERVIEW,{header}\n")
        for block in range(20):
            file.writelines(f"{block}-{i},{row}\n" for i, row in enumerate(rows))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, megabytes = map(int, done.stdout.split())
    assert 0 < kept < 400
    assert megabytes < 150


# A drafted codebook --------------------------------------------------------------------------


def test_a_codebook_is_drafted_from_a_file_s_labels(tmp_path: Path) -> None:
    output = tmp_path / "mine.yaml"
    archive = zipped(write("sav", tmp_path))
    command = ["codebook", str(archive), "--questions", "q1", "Q2", "--output", str(output)]
    assert main(command) == 0
    book = codebook.load(output)
    assert list(book) == ["q1", "Q2"]
    assert book["q1"].text == "Important in life: Family"
    assert (book["q1"].scale_min, book["q1"].scale_max) == (1, 4)
    assert book["q1"].labels == {1: "Very", 4: "Not at all"}
    assert output.read_text(encoding="utf-8").count("# decide") == 9
    before = output.read_bytes()
    assert main(command) == 2
    assert output.read_bytes() == before


def test_a_codebook_cannot_be_drafted_of_what_has_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "mine.yaml")
    for path, question in ((write("csv", tmp_path), "Q1"), (write("dta", tmp_path), "Q9")):
        assert main(["codebook", str(path), "--questions", question, "--output", output]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not Path(output).exists()


# The stage -----------------------------------------------------------------------------------


def test_the_stage_reads_any_format_and_refuses_a_file_without_the_columns(tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    entry = "{topic: t, text: '?', block: b, measurement_level: ordinal, scale: [1, 4],"
    entry += " labels: {1: very}}"
    book.write_text(f"questions: {{Q1: {entry}, Q2: {entry}}}")
    for form, gone in (("sav", []), ("xlsx", []), ("dta", ["Q260"])):
        path = write(form, tmp_path, respondents().drop(columns=gone))
        outputs = {
            n: str(tmp_path / form / n) for n in ("responses", "questions", "groups", "notices")
        }
        files = {"survey": str(path), "codebook": str(book), **outputs}
        if gone:
            with pytest.raises(InputError, match="no column Q260"):
                run_stage(clean, clean.Settings(**fields(), caveat=""), files)
        else:
            run_stage(clean, clean.Settings(**fields(), caveat=""), files)
        assert [Path(output).exists() for output in outputs.values()] == [not gone] * 4
        if not gone:
            assert Path(outputs["responses"]).stat().st_mode & 0o777 == 0o600


def test_a_script_without_a_guard_can_read_a_labelled_file(tmp_path: Path) -> None:
    path = write("sav", tmp_path)
    script = tmp_path / "script.py"
    lines = ["import sys", "from tests.test_files import read", "print(len(read(sys.argv[1])))"]
    script.write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, str(script), str(path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"src{os.pathsep}."},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("30\n", "")
