"""A survey in the formats of other tools: Arrow, SAS, R, spreadsheets, compressed files."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyreadstat
import pytest
import rdata

from tests import r_files, survey_file
from tests.r_files import Frame, Vector, factor, labelled, plain_frame, write_r
from tests.sas_files import write_sas7bcat, write_sas7bdat
from tests.survey_file import codes
from tests.test_files import (
    LABELS,
    TITLES,
    complaint,
    gives_a_frame_or_one_line,
    read,
    respondents,
    to_excel,
    to_sav,
    write,
)
from valuestrata.__main__ import main
from valuestrata.survey import codebook
from valuestrata.survey.cells import text_cells
from valuestrata.survey.files import FORMATS, open_survey
from valuestrata.survey.table import ColumnLabels, ReadOptions


def ascii_only(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(note="free text")


def to_sas(frame: pd.DataFrame, path: Path) -> None:
    columns = {name: list(series) for name, series in ascii_only(frame).items()}
    write_sas7bdat({str(k): v for k, v in columns.items()}, path, TITLES, {"Q1": "importance"})


def packed(open_file: Callable[..., Any]) -> Callable[[pd.DataFrame, Path], None]:
    def to_packed(frame: pd.DataFrame, path: Path) -> None:
        with open_file(path, "wt", encoding="utf-8") as file:
            frame.to_csv(file, index=False)

    return to_packed


def to_gz_sav(frame: pd.DataFrame, path: Path) -> None:
    inner = path.with_name("inner.sav")
    to_sav(frame, inner)
    path.write_bytes(gzip.compress(inner.read_bytes()))


def to_ipc_stream(frame: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(frame)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "a.parquet": lambda f, p: f.to_parquet(p, row_group_size=7),
    "a.PQ": lambda f, p: f.astype({"B_COUNTRY": "Int16", "Q1": "int8"}).to_parquet(p),
    "a.feather": lambda f, p: f.to_feather(p),
    "a.arrow": to_ipc_stream,
    "a.por": lambda f, p: pyreadstat.write_por(ascii_only(short(f)), p),
    "a.xpt": lambda f, p: pyreadstat.write_xport(f, p, file_format_version=8),
    "a.sas7bdat": to_sas,
    "a.rds": lambda f, p: write_r(plain_frame(f), p),
    "a.rda": lambda f, p: write_r({"survey": plain_frame(f)}, p, compression="bzip2"),
    "a.RData": lambda f, p: write_r({"n": 3, "survey": plain_frame(f)}, p, format_version=2),
    "a.csv.gz": packed(gzip.open),
    "a.csv.bz2": packed(bz2.open),
    "a.csv.xz": packed(lzma.open),
    "a.gz": packed(gzip.open),
    "a.sav.gz": to_gz_sav,
}


def short(frame: pd.DataFrame) -> pd.DataFrame:
    """Names of eight capitals, as SPSS' portable format has them."""
    return frame.rename(columns={"D_INTERVIEW": "D_INTERV", "B_COUNTRY": "B_COUNTR"})


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return read(write("csv", tmp_path_factory.mktemp("expected")))


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_survey_is_the_same_in_every_format(
    tmp_path: Path, expected: pd.DataFrame, name: str
) -> None:
    path = tmp_path / name
    WRITERS[name](respondents(), path)
    rename = {"D_INTERV": "D_INTERVIEW", "B_COUNTR": "B_COUNTRY"}
    frame = read(path, rename=rename)
    pd.testing.assert_frame_equal(frame, expected, rtol=1e-12)


def cells(path: Path, *names: str) -> dict[str, list[str]]:
    """Columns of a file as text."""
    with open_survey(path, ReadOptions("auto", names)) as table:
        where = [table.headers.index(name) for name in names]
        frame = pd.concat([part.apply(text_cells) for part in table.slices(where)])
    return {name: list(frame[position]) for name, position in zip(names, where, strict=True)}


def column_labels(path: Path, *names: str) -> list[ColumnLabels]:
    with open_survey(path, ReadOptions("auto", names, headers_only=True)) as table:
        return [table.labels[table.headers.index(name)] for name in names]


def test_text_of_a_labelled_file_is_read_in_the_encoding_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.sav"
    to_sav(respondents(), path)
    for encoding, text in (("auto", "é"), ("utf_8", "é"), ("latin_1", "Ã©"), ("cp1251", "Г©")):
        with open_survey(path, ReadOptions("auto", ("note",), encoding=encoding)) as table:
            part = next(iter(table.slices([table.headers.index("note")])))
        assert part.iloc[0, 0] == f"free; text, {text}"


# R -------------------------------------------------------------------------------------------


def r_survey() -> Frame:
    numbers = np.ma.array([1, 0, 3], mask=[False, True, False], dtype=np.int32)
    codes = {1: "Very", 4: "Not at all", 9: "DK"}
    missing = {"na_values": Vector(np.array([9.0])), "na_range": Vector(np.array([-5.0, -1.0]))}
    wide = np.array([2**60 + 1, 2**60 + 3, np.iinfo(np.int64).min], dtype=np.int64).view(float)
    return Frame(
        {
            "id": Vector(wide, {"class": "integer64"}),
            "whole": Vector(numbers),
            "ticked": Vector(np.ma.array([True, False, True], mask=[False, False, True])),
            "text": Vector(r_files.texts("NA", None, "é")),
            "sex": factor(["Male", None, "Female"], ["Male", "Female", "Other"], "Sex"),
            "Q1": labelled([1, np.nan, 9], "How important?", codes, **missing),
            "Q2": Vector(np.array([1.5, 2, np.nan]), {"value.labels": r_files.named({1: "yes"})}),
        }
    )


def test_an_r_file_has_factors_labelled_vectors_and_na(tmp_path: Path) -> None:
    for name in ("a.rds", "a.rda", "a.RData"):
        path = tmp_path / name
        write_r(r_survey() if name == "a.rds" else {"x": r_survey()}, path)
        assert cells(path, "id", "whole", "ticked", "text", "sex", "Q1", "Q2") == {
            "id": ["1152921504606846977", "1152921504606846979", ""],
            "whole": ["1", "", "3"],
            "ticked": ["1", "0", ""],
            "text": ["NA", "", "é"],
            "sex": ["Male", "", "Female"],
            "Q1": ["1", "", "9"],
            "Q2": ["1.5", "2", ""],
        }
        sex, q1, q2, text = column_labels(path, "sex", "Q1", "Q2", "text")
        assert sex == ColumnLabels(title="Sex", levels=("Male", "Female", "Other"))
        assert q1.title == "How important?"
        assert q1.codes == {1: "Very", 4: "Not at all", 9: "DK"}
        assert q1.missing == ((9, 9), (-5, -1))
        assert q2.codes == {1: "yes"}
        assert text == ColumnLabels()


def test_a_file_that_r_itself_wrote_is_read() -> None:
    file = rdata.TESTDATA_PATH / "test_dataframe.rds"
    assert cells(Path(str(file)), "class", "value") == {
        "class": ["a", "b", "b"],
        "value": ["1", "2", "3"],
    }


def test_titles_of_a_data_frame_of_the_package_foreign_are_read(tmp_path: Path) -> None:
    titles = Vector(r_files.texts("Sex", "Age"), {"names": r_files.texts("a", "b")})
    columns = {"a": Vector(np.array([1.0])), "b": Vector(np.array([2.0]))}
    frame = Frame(columns, attributes={"variable.labels": titles})
    write_r(frame, tmp_path / "a.rds")
    assert [column.title for column in column_labels(tmp_path / "a.rds", "a", "b")] == [
        "Sex",
        "Age",
    ]


def test_of_several_data_frames_the_one_with_the_columns_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.rda"
    other = Frame({"code": Vector(np.array([1.0]))})
    write_r({"codes": other, "inner": [1, plain_frame(respondents())]}, path)
    assert len(read(path)) == 30
    frame = plain_frame(respondents())
    write_r({"first": frame, "second": frame}, path)
    assert "holds 2 data frames ('first', 'second')" in complaint(path)
    write_r({"n": 3}, path)
    assert "holds no data frame; save one in R" in complaint(path)


# Arrow ---------------------------------------------------------------------------------------


def test_a_dictionary_of_an_arrow_file_is_its_labels(tmp_path: Path) -> None:
    kind = pd.CategoricalDtype(["Very", "Rather", "Never"], ordered=True)
    frame = pd.DataFrame(
        {
            "id": pd.array([2**60 + 1, None, 3], dtype="Int64"),
            "Q1": pd.Series(["Rather", None, "Very"], dtype=kind),
            "Q2": pd.Series([1, 2, 1], dtype="category"),
            "ticked": pd.array([True, None, False], dtype="boolean"),
            "text": ["NA", None, "b"],
            "share": [0.25, np.nan, 2.0],
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_feather(tmp_path / "a.feather")
    for name in ("a.parquet", "a.feather"):
        assert cells(tmp_path / name, "text", *frame.columns.drop("text")) == {
            "id": ["1152921504606846977", "", "3"],
            "Q1": ["Rather", "", "Very"],
            "Q2": ["1", "2", "1"],
            "ticked": ["1", "", "0"],
            "text": ["NA", "", "b"],
            "share": ["0.25", "", "2"],
        }
        q1, q2, text = column_labels(tmp_path / name, "Q1", "Q2", "text")
        assert q1.levels == ("Very", "Rather", "Never")
        assert q2 == text == ColumnLabels()


# SAS -----------------------------------------------------------------------------------------


def test_labels_of_a_sas_catalogue_beside_the_file_are_read(tmp_path: Path) -> None:
    for catalog in ("a.sas7bcat", "formats.sas7bcat"):
        folder = tmp_path / catalog
        folder.mkdir()
        to_sas(respondents(), folder / "a.sas7bdat")
        assert column_labels(folder / "a.sas7bdat", "Q1")[0].codes == {}
        write_sas7bcat({"IMPORTANCE": LABELS["Q1"]}, folder / catalog)
        q1, q260 = column_labels(folder / "a.sas7bdat", "Q1", "Q260")
        assert q1.title == TITLES["Q1"]
        assert q1.codes == LABELS["Q1"]
        assert q260.codes == {}


# Spreadsheets --------------------------------------------------------------------------------


def to_ods(frame: pd.DataFrame, path: Path) -> None:
    """A minimal OpenDocument sheet below an empty one."""
    rows = []
    for row in [list(frame), *frame.itertuples(index=False)]:
        rows.append("<table:table-row>" + "".join(map(ods_cell, row)) + "</table:table-row>")
    urn = "urn:oasis:names:tc:opendocument:xmlns"
    content = (
        f'<office:document-content xmlns:office="{urn}:office:1.0" xmlns:table="{urn}:table:1.0" '
        f'xmlns:text="{urn}:text:1.0"><office:body><office:spreadsheet>'
        '<table:table table:name="notes"></table:table><table:table table:name="data">'
        f"{''.join(rows)}</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")


def ods_cell(value: Any) -> str:
    if isinstance(value, str):
        kind, shown = 'office:value-type="string"', value
    elif value != value:
        kind, shown = "", ""
    else:
        kind, shown = f'office:value-type="float" office:value="{value!r}"', str(value)
    return f"<table:table-cell {kind}><text:p>{shown}</text:p></table:table-cell>"


def test_an_open_document_sheet_is_read(tmp_path: Path, expected: pd.DataFrame) -> None:
    to_ods(respondents(), tmp_path / "a.ods")
    pd.testing.assert_frame_equal(read(tmp_path / "a.ods"), expected)
    (tmp_path / "b.ods").write_bytes(b"PK\x03\x04")
    assert "not a spreadsheet, or a damaged one" in complaint(tmp_path / "b.ods")


def test_cells_that_are_true_or_false_are_1_or_0(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["id", "Q1"], [1, True], [2, False], [3, None]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert cells(tmp_path / "a.xlsx", "id", "Q1")["Q1"] == ["1", "0", ""]


# What is refused -----------------------------------------------------------------------------


def test_a_damaged_file_of_each_format_is_one_line(tmp_path: Path) -> None:
    for name, writer in WRITERS.items():
        path = tmp_path / name
        writer(respondents(), path)
        whole = path.read_bytes()
        gives_a_frame_or_one_line(path, whole[:40] + b"\0\xff" + whole[42:])
        path.write_bytes(b"text")
        complaint(path)
        path.write_bytes(whole[: len(whole) // 2])
        if path.suffix not in (".por", ".xpt"):  # their heads do not say how many rows there are
            complaint(path)


def test_a_format_that_is_not_read_says_which_are(tmp_path: Path) -> None:
    for suffix in (".json", ".pdf", ".docx", ".7z", ".tar", ".sps", ".sqlite", ".SAS7BCAT"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"x")
        line = complaint(path)
        assert f"{suffix.lower()} files are not read; readable are {FORMATS}" in line
    for part in (".csv", ".sav", ".dta", ".sas7bdat", ".rds", ".parquet", ".xlsx", ".ods", ".gz"):
        assert part in FORMATS
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(b"x"))
    assert "may hold several files; unpack it" in complaint(packed)


def test_another_kind_of_file_that_is_named_as_text_is_told_as_such(tmp_path: Path) -> None:
    for name, part in (
        ("a.sav", "an SPSS file"),
        ("a.parquet", "a .parquet file"),
        ("a.xlsx", "an Excel file"),
        ("a.csv.gz", "compressed"),
        ("a.feather", "a .feather file"),
    ):
        path = tmp_path / name
        writer = WRITERS.get(name, {"a.sav": to_sav, "a.xlsx": to_excel}.get(name))
        assert writer
        writer(respondents(), path)
        assert f"not a readable csv file but {part}" in complaint(path.rename(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_text("\n<!DOCTYPE html><html></html>")
    assert "a web page: the download needs a login" in complaint(tmp_path / "a.csv")


# A drafted codebook --------------------------------------------------------------------------

NASTY = [
    *("yes", "NO", "1e5", "01", "12:30", "~", "null", "true", " a", "#x", "a: b", "1_0", "'\"\\"),
    *("é\u2028x", "\U0001f600", "-", "[a]", "{b}", "2020-01-01", "0x1F", "\x85", "a\u00a0b"),
]


def drafted(path: Path, *questions: str) -> dict[str, codebook.Question]:
    output = path.with_name("drafted.yaml")
    output.unlink(missing_ok=True)
    arguments = ["codebook", str(path), "--questions", *questions, "--output", str(output)]
    assert main(arguments) == 0
    return codebook.load(output)


def test_a_codebook_is_drafted_from_every_labelled_format(tmp_path: Path) -> None:
    levels = ["Very", "Rather", "Not very", "Not at all"]
    codes = dict(enumerate(levels, start=1))
    texts = pd.DataFrame({"Q1": pd.Categorical([*levels, "Very"], levels), "id": range(5)})
    numbers = pd.DataFrame({"Q1": [1.0, 2.0, 3.0, 4.0, 1.0], "id": range(5)})
    values = [float(code) for code in numbers["Q1"]]
    labels: dict[str, Any] = {"variable_value_labels": {"Q1": codes}}
    suffixes = ("sav", "zsav", "dta", "sas7bdat", "rds", "rda", "parquet", "feather", "sav.gz")
    paths = [tmp_path / f"a.{suffix}" for suffix in suffixes]
    pyreadstat.write_sav(numbers, paths[0], **labels)
    pyreadstat.write_sav(numbers, paths[1], compress=True, **labels)
    pyreadstat.write_dta(numbers, paths[2], **labels)
    write_sas7bdat({"Q1": values}, paths[3], {}, {"Q1": "F"})
    write_sas7bcat({"F": codes}, tmp_path / "a.sas7bcat")
    write_r(Frame({"Q1": labelled(values, "", codes)}), paths[4])
    write_r({"x": Frame({"Q1": factor(list(texts["Q1"]), levels)})}, paths[5])
    texts.to_parquet(paths[6])
    texts.to_feather(paths[7])
    paths[8].write_bytes(gzip.compress(paths[0].read_bytes()))
    for path in paths:
        question = drafted(path, "Q1")["Q1"]
        assert (question.labels, question.scale_min, question.scale_max) == (codes, 1, 4), path


def test_labels_and_titles_of_a_draft_stay_text(tmp_path: Path) -> None:
    columns = {
        f"Q{i}": labelled([1.0], text, {1: text, 2: f"{text} {text}"})
        for i, text in enumerate(NASTY)
    }
    write_r(Frame(columns), tmp_path / "a.rds")
    questions = drafted(tmp_path / "a.rds", *columns)
    for question, text in zip(questions.values(), NASTY, strict=True):
        assert question.labels == {1: text, 2: f"{text} {text}"}
        assert question.text == " ".join(text.split()) or text.isspace()


def test_levels_that_are_numbers_are_codes(tmp_path: Path) -> None:
    path = tmp_path / "a.rds"
    write_r(Frame({"Q1": factor(["0", "10"], ["0", "5", "10"])}), path)
    question = drafted(path, "Q1")["Q1"]
    assert (question.labels, question.scale_min, question.scale_max) == ({}, 0, 10)


def test_a_drafted_codebook_reads_the_labels_that_it_is_drafted_from(tmp_path: Path) -> None:
    path = tmp_path / "a.rds"
    levels = ["Don't know", "Very", "Not at all"]
    answers = factor(["Not at all", None, "Don't know", "Very"], levels)
    people = {"id": Vector(np.arange(4.0)), "sex": Vector(r_files.texts("1", "2", "1", "2"))}
    write_r(Frame({**people, "Q1": answers}), path)
    question = drafted(path, "Q1")["Q1"]
    assert question.labels == {1: "Very", 2: "Not at all"}
    assert question.missing == ("Don't know",)
    assert codes(survey_file.read(path, [question]), "Q1") == [2, None, None, 1]


def test_a_file_without_labels_gives_no_draft(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"Q1": [1, 2]}).to_parquet(path)
    command = ["codebook", str(path), "--questions", "Q1", "--output", str(tmp_path / "b.yaml")]
    assert main(command) == 2
    assert "no titles and value labels of these columns; take a release" in capsys.readouterr().err
