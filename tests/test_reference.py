"""A user's Singapore file is compared with what is known of the real one; only counts are shown."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests import world
from tests.graph import ROOT
from valuestrata.__main__ import main
from valuestrata.demo import simulate
from valuestrata.study.load import load, load_files, merge_files
from valuestrata.study.study import Study
from valuestrata.study.yaml import lay, parse
from valuestrata.survey import reference
from valuestrata.survey.reference import WVS7_SINGAPORE, Counts, comparison

PAPERS = ROOT / "studies/wvs-sg.yaml"
PAGE = (ROOT / "docs/reference.md").read_text(encoding="utf-8")


def study(text: str = "{}", base: Path = PAPERS) -> Study:
    return load(lay(merge_files([base]), parse(text)), files=False)


def test_the_known_counts_are_those_of_the_page() -> None:
    for name, column in (("train", 1), ("ood", 2)):
        rows = {
            cells[0].strip(): cells[column].strip()
            for line in PAGE.splitlines()
            if len(cells := line.strip("|").split("|")) == 3
        }
        subgroups, pairs = WVS7_SINGAPORE.splits[name]
        assert rows["subgroups"] == f"{subgroups:,}"
        assert rows["pairs"] == f"{pairs:,}"
        assert rows["respondents, both splits"] == f"{WVS7_SINGAPORE.respondents:,}"
    sentence = comparison(WVS7_SINGAPORE, "")[1]
    assert sentence.partition(" (docs")[0] in PAGE


def test_every_rule_of_the_page_is_one_of_the_overlay() -> None:
    named = re.findall(r"^\| ([a-z ]+) \| \.", PAGE, re.MULTILINE)
    overlay = load_files([PAPERS, ROOT / "studies/overlays/baselines.yaml"], files=False)
    models = {name.replace("-", " ") for name in overlay.models}
    assert set(named) - models == {"noise ceiling", "split half"}


def test_what_is_a_singapore_study_and_what_has_the_paper_s_design() -> None:
    papers = study()
    anyone = ROOT / "studies/wvs-any.yaml"
    for text, base, is_singapore, is_same in (
        ("{}", PAPERS, True, True),
        ("study: other\nmodels=: {x: {backend: baseline, rule: uniform}}\nrecipes: null\n"
         "judges: null\ngeneration: null",
         PAPERS, True, True),
        ("survey: {delimiter: ';', rename: {a: b}}", PAPERS, True, True),
        ("survey: {exclude+: [Q1]}", PAPERS, True, False),
        ("survey: {recode: {Q119: {0: null}}}", PAPERS, True, False),
        ("min_pair_n: 20", PAPERS, True, False),
        ("survey: {axes: {religion: null}}", PAPERS, True, False),
        ("splits: {ood: {questions: {without: [Q1]}}}", PAPERS, True, False),
        ("splits: {more: {role: test, strata: [sex x age_group x religion]}}", PAPERS, True, False),
        ("survey: {filter: {B_COUNTRY_ALPHA: [MYS]}}", PAPERS, False, False),
        ("survey: {filter: {B_COUNTRY_ALPHA+: [MYS]}}", PAPERS, False, False),
        ("survey: {countries: [SGP]}", anyone, True, False),
        ("survey: {countries: [702]}", anyone, True, False),
        ("survey: {countries: [SGP, MYS]}", anyone, False, False),
        ("{}", ROOT / "config.yaml", False, False),
    ):  # fmt: skip
        made = study(text, base)
        assert reference.is_singapore(made) is is_singapore, text
        if is_singapore:
            assert reference.same_design(made, papers) is is_same, text


def test_counts_that_differ_are_said_with_what_is_known() -> None:
    known, sentence = comparison(WVS7_SINGAPORE, "a release")
    assert known
    assert sentence.endswith("(docs/reference.md); a release")
    other = Counts(1972, {"train": (49, 10_600), "ood": (48, 10_177)})
    known, sentence = comparison(other, "")
    assert not known
    assert "1,972 respondents, 49 + 48 subgroups, 10,600 + 10,177 pairs, where" in sentence
    assert "have 2,012 respondents, 50 + 48 subgroups" in sentence
    assert comparison(Counts(2012), "")[1].startswith("2,012 respondents, as in")
    assert not comparison(Counts(2011), "")[0]


def test_what_a_file_says_of_its_release() -> None:
    for headers, version, words in (
        (("D_INTERVIEW", "Q1"), "6-0-0", "its column version says 6-0-0"),
        (("Q1: Important in life: Family",), "", "form of release 5.1"),
        (("D_INTERVIEW", "Q1"), "", "form of release 6.0"),
    ):
        assert words in reference.release_of(headers, version)


def write(folder: Path, change: Any = None) -> Path:
    """A file of 2,012 respondents in the form of the real one."""
    from valuestrata.survey import codebook

    items = pd.DataFrame(list(codebook.load(world.BOOK).values()))
    frame = simulate.simulate(items, 2012, 1)
    path = folder / "wvs7.csv"
    simulate.write(frame if change is None else change(frame), path)
    return path


def test_check_compares_a_file_and_shows_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALUESTRATA_SURVEY", str(write(tmp_path)))
    monkeypatch.chdir(ROOT)
    assert main(["check", "studies/wvs-sg.yaml"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "respondents" in line]
    # the simulated file has other pairs than the real one
    assert line.startswith("studies/wvs-sg.yaml: warning: 2,012 respondents, 50 + 48 subgroups, ")
    assert line.endswith("; its column version says simulated by valuestrata, seed 1")
    pairs = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) \+ ([\d,]+) pairs", line)[0]]
    monkeypatch.setitem(WVS7_SINGAPORE.splits, "ood", (48, pairs[1]))
    assert main(["check", "studies/wvs-sg.yaml"]) == 0
    out = capsys.readouterr().out
    assert "studies/wvs-sg.yaml: 2,012 respondents, 50 + 48 subgroups, " in out
    assert "as in the csv files of releases 5.1 and 6.0" in out
    overlay = "studies/overlays/wvs7-recode.yaml"
    assert main(["check", "studies/wvs-sg.yaml", overlay]) == 0
    assert f"{overlay}: 2,012 respondents, as in" in capsys.readouterr().out


def test_check_says_so_of_a_part_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def half(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.iloc[::2].drop(columns=["version", "doi"])

    monkeypatch.setenv("VALUESTRATA_SURVEY", str(write(tmp_path, half)))
    monkeypatch.chdir(ROOT)
    assert main(["check", "studies/wvs-sg.yaml"]) == 0
    out = capsys.readouterr().out
    assert "warning: 1,006 respondents, " in out
    assert "another release, or not the whole file; headers without labels" in out
