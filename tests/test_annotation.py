"""Text pairs are drawn blind, what comes back is checked, and people are compared with judges."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from tests import judged
from tests.graph import ROOT
from valuestrata import io, judge_tables, paths, tables
from valuestrata.__main__ import main
from valuestrata.annotation import cost, page, sample
from valuestrata.annotation.reliability import agreement_table, categories
from valuestrata.records import Record
from valuestrata.report.human_agreement import reliabilities, reliability_sentence
from valuestrata.stages.annotation import draw_sample, page_and_key
from valuestrata.stages.job import at
from valuestrata.stages.text_pairs import TextPairs
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.load import load_files
from valuestrata.study.study import Study

Run = Callable[..., tuple[int, str, str]]
CSV = "sample_id,annotator,dimension,choice,seconds"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's config, as judged."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copy(ROOT / "config.yaml", folder)
    (folder / "studies").symlink_to(ROOT / "studies")
    return folder


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(folder)
    study = load_files(["config.yaml"], folder, files=False)
    if not (folder / "results").exists():
        judged.write_results(study, texts={"Q0": judged.NASTY})
    return study


@pytest.fixture
def run(study: Study, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command: its status, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def annotated(run: Run, study: Study, *options: object) -> tuple[dict[str, Any], str, str]:
    """Key, page and output of `annotate`."""
    status, output, _ = run("annotate", "config.yaml", *options)
    assert status == 0
    html, key = re.findall(r"\S+/annotation/\S+", output)
    return io.read_json(key), Path(html).read_text(encoding="utf-8"), output


def frame(n_runs: int, n_strata: int, n: int) -> pd.DataFrame:
    rows = [
        {"model": f"m{r}", "variant": "base", "split": "ood", "stratum": f"s{s}",
         "subgroup": "g", "question": f"Q{q}", "persona": "p", "prompt": f"?{q}",
         "text": f"run {r} {s} {q}", "reference": f"reference {s} {q}"}
        for r in range(n_runs)
        for s in range(n_strata)
        for q in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows)


# ---- the sample


def test_a_sample_is_even_over_runs_and_strata_and_over_sides() -> None:
    chosen = sample.draw(frame(3, 4, 30), 60, 1)
    assert chosen["model"].value_counts().to_dict() == {"m0": 20, "m1": 20, "m2": 20}
    assert set(chosen.groupby(["model", "stratum"]).size()) == {5}
    assert chosen["run_is"].value_counts().to_dict() == {"A": 30, "B": 30}
    assert not chosen.duplicated(sample.ITEM).any()
    # in no order of runs or sides
    for column in ("model", "stratum", "run_is"):
        assert 20 < (chosen[column] != chosen[column].shift()).sum() <= 60
    # a run with few pairs gives what it has, and the others the rest
    few = pd.concat([frame(1, 1, 5), frame(3, 4, 30).query("model != 'm0'")])
    counts = sample.draw(few, 60, 1)["model"].value_counts().to_dict()
    assert counts["m0"] == 5
    assert sum(counts.values()) == 60
    assert len(sample.draw(few, 10_000, 1)) == len(few)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    whole = frame(3, 2, 10)
    first = sample.draw(whole, 20, 1)
    pd.testing.assert_frame_equal(first, sample.draw(whole.sample(frac=1, random_state=3), 20, 1))
    assert not first.equals(sample.draw(whole, 20, 2))
    name, named = sample.named(first, "my-study")
    assert re.fullmatch(r"my-study-[0-9a-f]{8}", name)
    assert named["sample_id"].tolist()[:2] == [f"{name}-001", f"{name}-002"]
    assert sample.named(first, "my-study")[0] == name
    assert sample.named(sample.draw(whole, 20, 2), "my-study")[0] != name


def test_the_page_names_no_run_and_the_key_says_which_text_is_whose() -> None:
    _, chosen = sample.named(sample.draw(frame(2, 2, 5), 20, 1), "s")
    shown = sample.shown_items(chosen)
    assert set(shown[0]) == {"id", "persona", "prompt", "a", "b"}
    for item, entry in zip(shown, sample.key(chosen), strict=True):
        text = item["a"] if entry["run_is"] == "A" else item["b"]
        assert text.startswith("run ")
        assert item["id"] == entry["sample_id"]


def test_nothing_in_a_text_leaves_the_script_element() -> None:
    for text in (judged.NASTY, "<!--", "]]>", "\u2028", "&lt;", "{{ x }}", "{% raw %}", "\\u003c"):
        data = page.as_json([text])
        assert not set("<>&\u2028") & set(data)
        assert json.loads(data) == [text]


# ---- annotate


def test_people_are_shown_the_survey_answers_that_the_judge_is_shown(
    run: Run, study: Study, tmp_path: Path
) -> None:
    """Small cells are named without shares, for people as for the judge (traps: disclosure)."""
    html = annotated(run, study, "--n", 4)[1]
    assert '"survey": ' not in html  # the toys' rubric tells nothing
    judge, reference = next(iter(study.judges)), next(iter(study.judges.values())).reference
    split = study.splits_with_texts()[0]
    pairs = TextPairs.of_study(study, {n: str(tmp_path / n) for n in ("labels", "questions")})
    pairs = replace(pairs, check=lambda _: None)
    asked = io.read_table(at(study, paths.PAIRS, split=split), tables.PAIRS)
    counted = asked[[*tables.PAIR, "codes", "n", "respondents"]].assign(
        reachable_accuracy=1.0, reachable_nmae=0.0
    )
    for side in ("unweighted", "weighted"):
        counted[f"mode_{side}"], counted[f"tied_{side}"] = 1, False
        counted[f"distribution_{side}"] = [[0.6, 0.37, 0.03, 0.0]] * len(counted)
    made = Record("test", {}, {})
    io.write_table(counted, tmp_path / "labels", tables.LABELS, made)
    io.write_table(judged.questions_table(asked), tmp_path / "questions", tables.QUESTIONS, made)
    drawn = draw_sample(pairs, judge, 4, 1)
    assert reference
    told = page_and_key(pairs, drawn, judge, "pairwise", 2.0)[0]
    items = json.loads(re.findall(r'id="data">(.*?)</script>', told)[0])["items"]
    assert len(items) == 4
    for item in items:
        assert "How 100 people like this person answered" in item["survey"]
        assert "- a: 25%" in item["survey"]  # the share as the study weights it
        assert "3%" not in item["survey"]
        assert "each of few people: " in item["survey"]


def test_annotate_says_before_people_start_what_it_costs_and_can_show(
    run: Run, study: Study
) -> None:
    key, html, output = annotated(
        run, study, "--n", 60, "--annotators", 3, "--minutes", 2, "--wage", 20, "--prices", 10, 30
    )
    assert "60 of 211 text pairs (29 with twice the same text left out): 3 runs" in output
    assert "3 annotators x 60 text pairs x 2 minutes = 6.0 hours; at 20 an hour 120.00" in output
    assert re.search(r"0\.55 within \+-0\.1\d \(95%\)$", output, re.M)
    assert re.search(
        r"for \+-0\.1: 2\d\d text pairs, .+\(this study has 211\), 1,998 choices", output
    )
    assert re.search(
        r"toy-judge: 120 calls, about [\d,]+ tokens in and at most 2,880 out; at", output
    )
    assert len(key["items"]) == 60
    assert key["reference"] == {"model": "toy-qwen", "variant": "base"}
    # blind, self-contained, and without the survey
    for word in ("toy-qwen", "toy-llama", "sft", "123456", "http:", "https:"):
        assert word not in html, word
    assert judged.NASTY not in html
    again, other, _ = annotated(run, study, "--n", 60, "--minutes", 2)
    assert (again, other) == (key, html)
    assert annotated(run, study, "--n", 60, "--seed", 2)[0]["sample"] != key["sample"]


def test_what_annotate_cannot_do_is_one_line(
    run: Run, folder: Path, tmp_path: Path, study: Study
) -> None:
    no_judge = tmp_path / "no_judge.yaml"
    no_judge.write_text("judges: null\n", encoding="utf-8")
    two = tmp_path / "two.yaml"
    judge = dict(study.judges["toy-judge"].model_dump(mode="json"))
    two.write_text(json.dumps({"judges": {"other": judge}}), encoding="utf-8")
    fresh = tmp_path / "fresh.yaml"
    fresh.write_text("study: elsewhere\n", encoding="utf-8")
    for arguments, problem in (
        (["--judge", "nobody"], "the judges of demo are toy-judge"),
        (["--n", 0], "--n"), (["--n", -3], "--n"), (["--minutes", "nan"], "--minutes"),
        (["--annotators", 0], "--annotators"), (["--kappa", 1], "--kappa"),
        (["--wage", -1], "--wage"), (["--prices", 1, -1], "--prices"), (["--seed", -1], "--seed"),
        ([two], "has the judges"),
        ([fresh], "no such file; run snakemake"),
        ([tmp_path / "none.yaml"], "none.yaml"),
    ):  # fmt: skip
        status, _, errors = run("annotate", "config.yaml", *arguments)
        assert (status, errors.count("\n")) == (2, 1), errors
        assert problem in errors, errors


# ---- reading csv files


def test_bad_csv_files_are_one_line_each(run: Run, study: Study, tmp_path: Path) -> None:
    key, _, _ = annotated(run, study, "--n", 40)
    name, first = key["sample"], key["items"][0]["sample_id"]
    good = f"{first},anna,Value,A,3.0"
    path = tmp_path / "a.csv"
    for text, problem in (
        ("", "no column sample_id"),
        ("a,b,c\n1,2,3\n", "no column sample_id"),
        (f"{CSV}\n", "holds no answer"),
        (f"{CSV},choice\n{good},B\n", "stands there twice"),
        (f"{CSV}\n{good}\n{good}\n", "line 3: anna has answered Value"),
        (f"{CSV}\nother-0123abcd-001,anna,Value,A,1\n", "no sample id of the study demo"),
        (f"{CSV}\n17,anna,Value,A,1\n", "no sample id of the study demo"),
        (f"{CSV}\n{name}-999,anna,Value,A,1\n", f"sample {name} has no"),
        (f"{CSV}\ndemo-00000000-001,anna,Value,A,1\n", "no key of sample demo-00000000"),
        (f"{CSV}\n{first},anna,Style,A,1\n", "no dimension 'Style'; it has Value"),
        (f"{CSV}\n{first},anna,Value,C,1\n", "choice 'C'"),
        (f"{CSV}\n{first},anna,Value,1,1\n", "choice '1'"),
        (f"{CSV}\n{first},,Value,A,1\n", "annotator '' is no annotator's"),
        (f"{CSV}\n{first},all,Value,A,1\n", "annotator 'all' is no annotator's"),
        (f"{CSV}\n{first},anna,Value,A,soon\n", "seconds 'soon'"),
        (f"{CSV}\n{first},anna,Value,A,-1\n", "seconds '-1'"),
        (f"{CSV}\n{first},anna,Value,A,nan\n", "seconds 'nan'"),
        (f"{CSV}\n{first},anna,Value,A\n", "4 fields, not 5"),
        (f"{CSV}\n{good}\n{first},Anna ,Persona,A,1\n", "'Anna' and 'anna'"),
        (f"{CSV}\n{good}\n{first},an-na,Persona,A,1\n", "differ in capitals, blanks or signs"),
        (f"{CSV}\n{good},9\n", "6 fields, not 5"),
        ("\x00" * 20, "no column"),
    ):  # fmt: skip
        path.write_text(text, encoding="utf-8")
        status, _, errors = run("agreement", "config.yaml", path)
        assert (status, errors.count("\n")) == (2, 1), (text, errors)
        assert problem in errors, (text, errors)
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    for arguments, problem in (
        ([path], "not text in UTF-8"),
        ([tmp_path / "none.csv"], "cannot be read"),
        ([tmp_path], "cannot be read"),
        ([], "no csv file"),
    ):
        status, _, errors = run("agreement", "config.yaml", *arguments)
        assert (status, errors.count("\n")) == (2, 1), errors
        assert problem in errors
    # one file twice, or two people under one name
    path.write_text(f"{CSV}\n{good}\n", encoding="utf-8")
    shutil.copy(path, tmp_path / "b.csv")
    status, _, errors = run("agreement", "config.yaml", path, tmp_path / "b.csv")
    assert status == 2
    assert "a.csv, line 2" in errors


def test_what_spreadsheet_programs_make_of_a_file_is_read(
    run: Run, study: Study, tmp_path: Path
) -> None:
    key, _, _ = annotated(run, study, "--n", 40)
    first = key["items"][0]["sample_id"]
    rows = [
        CSV.split(","),
        [first, "Zoë", "Value", "a", "3.5"],
        [first, "Zoë", "Overall", "TIE", ""],
    ]
    rows += [[first, "Zoë", "Persona", "", ""]]
    path = tmp_path / "a.csv"
    for delimiter, newline, bom, comma in ((",", "\r\n", "\ufeff", "."), (";", "\n", "", ","),
                                           ("\t", "\n", "\ufeff", "."),
                                           (";", "\r\n", "", ",")):  # fmt: skip
        more = [""] * 2 if newline == "\r\n" else []  # columns that were emptied
        given = [[*reversed(row), *more] if delimiter == ";" else [*row, *more] for row in rows]
        text = newline.join(delimiter.join(row).replace("3.5", f"3{comma}5") for row in given)
        if not bom:  # as some write it
            text = f"sep={delimiter}{newline}{text.replace('sample_id', 'Sample_ID')}"
        wide = "utf-16" if delimiter == "\t" else "utf-8"  # "Unicode text" of Excel
        path.write_text(f"{bom * (wide == 'utf-8')}{text}{newline}", encoding=wide, newline="")
        status, output, errors = run("agreement", "config.yaml", path)
        assert status == 0, errors
        assert "Zoë: 1 of 40 text pairs finished, 4 s a pair" in output
        assert "one annotator" in output


# ---- agreement


def ratings(n: int, noise: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(99).choice([0.0, 0.5, 1.0], size=n, p=[0.4, 0.2, 0.4])
    return np.where(rng.random(n) < noise, rng.choice([0.0, 0.5, 1.0], size=n), truth)


def long(scores: dict[str, np.ndarray], who: str) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "sample_id": np.arange(len(s)).astype(str),
                who: name,
                "dimension": "Overall",
                "score": s,
            }
        )
        for name, s in scores.items()
    ]
    return pd.concat(frames).dropna(subset=["score"] if who == "annotator" else [])


def compared(people: dict[str, np.ndarray], judge: np.ndarray, **changes: Any) -> pd.DataFrame:
    n = len(judge)
    items = pd.DataFrame(
        {"sample_id": np.arange(n).astype(str), "question": [f"Q{i % 20}" for i in range(n)]}
    )
    evaluation = Evaluation(n_resamples=500, **changes)
    table = agreement_table(
        long(people, "annotator"), long({"j": judge}, "judge"), items, evaluation
    )
    return table.set_index(["comparison", "rater", "other_rater", "coefficient"])


def test_agreement_is_that_of_scikit_learn_and_krippendorff() -> None:
    n = 120
    people = {name: ratings(n, 0.3, seed) for seed, name in enumerate(("anna", "ben", "cleo"))}
    people["ben"] = np.where(np.arange(n) < 20, np.nan, people["ben"])  # half-filled
    judge = ratings(n, 0.5, 7) * 0.5 + 0.25  # .25, .5, .75: split orders
    judge[:5] = np.nan
    table = compared(people, judge)
    category = {name: categories(scores) for name, scores in {**people, "j": judge}.items()}
    kappas: dict[str, list[tuple[float, int]]] = {"human_human": [], "human_judge": []}
    for first, second in (("anna", "ben"), ("anna", "cleo"), ("ben", "cleo"), ("anna", "j"),
                          ("ben", "j"), ("cleo", "j")):  # fmt: skip
        comparison = "human_judge" if second == "j" else "human_human"
        both = (category[first] >= 0) & (category[second] >= 0)
        a, b = category[first][both], category[second][both]
        for weights in ("linear", "quadratic"):
            row = table.loc[(comparison, first, second, f"kappa_{weights}")]
            assert row["value"] == pytest.approx(cohen_kappa_score(a, b, weights=weights))
            assert (row["n"], row["missing"]) == (both.sum(), n - both.sum())
        assert table.loc[(comparison, first, second, "agreement")]["value"] == (a == b).mean()
        kappas[comparison].append((cohen_kappa_score(a, b, weights="linear"), int(both.sum())))
    for comparison, other in (("human_human", "all"), ("human_judge", "j")):
        values, sizes = zip(*kappas[comparison], strict=True)
        row = table.loc[(comparison, "all", other, "kappa_linear")]
        assert row["value"] == pytest.approx(np.average(values, weights=sizes))
        assert row["ci_low"] < row["value"] < row["ci_high"]
    data = np.stack([people[name] for name in people])
    for level in ("nominal", "ordinal"):
        theirs = krippendorff.alpha(data, level_of_measurement=level, value_domain=[0, 0.5, 1])
        assert table.loc[("human_human", "all", "all", f"alpha_{level}")]["value"] == pytest.approx(
            theirs
        )
    published = table["published"].dropna()
    assert set(published) == {0.552, 0.568}
    assert set(published.index.get_level_values("coefficient")) == {
        "kappa_linear",
        "kappa_quadratic",
    }


def test_a_judge_is_called_less_reliable_only_where_the_test_says_so() -> None:
    n = 200
    people = {name: ratings(n, 0.2, seed) for seed, name in enumerate(("anna", "ben"))}
    noise = ratings(n, 1.0, 5)
    truth = ratings(n, 0.0, 0)
    hermits = {name: ratings(n, 1.0, seed) for seed, name in enumerate(("anna", "ben"))}
    for name, judge, who, direction, words in (
        ("noise", noise, people, -1, "less reliable than people"),
        ("alike", ratings(n, 0.2, 4), people, 0, "not clearly apart"),
        ("perfect", truth, people, 1, "more than they do with each other"),
        ("few", noise[:29], {k: v[:29] for k, v in people.items()}, None, "too little"),
        ("alone", noise, {"anna": people["anna"]}, None, "too little"),
        ("hermits", noise, hermits, 0, "People do not clearly agree among themselves"),
    ):  # fmt: skip
        (each,) = reliabilities(compared(who, judge).reset_index())
        assert each.direction(0.95) == direction, name
        assert words in reliability_sentence(each, 0.95), name
    # a copy of a person is as reliable as people: the interval has no width
    (each,) = reliabilities(
        compared({"a": people["anna"], "b": people["anna"]}, people["anna"]).reset_index()
    )
    assert each.difference is not None
    assert (each.difference.ci_low, each.difference.ci_high) == (0, 0)
    assert each.direction(0.95) == 0


def test_differences_are_over_the_same_text_pairs() -> None:
    """Trap 24: a judge that failed on the hard half is not compared with people on all."""
    n = 200
    people = {name: ratings(n, 0.2, seed) for seed, name in enumerate(("anna", "ben"))}
    half = np.arange(n) < 100
    people["ben"] = np.where(half, people["ben"], 1 - people["ben"])  # they quarrel on the rest
    judge = np.where(half, ratings(n, 0.0, 0), np.nan)
    table = compared(people, judge)
    shared = compared({k: v[half] for k, v in people.items()}, judge[half])
    key = ("difference", "all", "j", "kappa_linear")
    for column in ("value", "n"):
        assert table.loc[key][column] == pytest.approx(shared.loc[key][column])
    assert table.loc[("human_human", "all", "all", "kappa_linear")]["n"] == n


def test_the_commands_from_key_to_table(run: Run, study: Study, tmp_path: Path) -> None:
    key, _, _ = annotated(run, study, "--n", 90)
    verdicts = {}
    for item in key["items"]:
        path = at(study, paths.VERDICTS, **{k: item[k] for k in sample.RUN}, judge="toy-judge")
        table = io.read_table(path, tables.VERDICTS).set_index([*tables.PAIR, "dimension"])["score"]
        for dimension in judged.DIMENSIONS:
            place = tuple(item[k] for k in tables.PAIR)
            verdicts[item["sample_id"], dimension] = float(table[(*place, dimension)])
    side = {item["sample_id"]: item["run_is"] for item in key["items"]}
    rng = np.random.default_rng(1)

    def choice(sample_id: str, dimension: str, noise: float) -> str:
        if dimension == "Persona":  # people agree, the judge is at odds with them
            return "AB"[sum(map(ord, sample_id)) % 2] if rng.random() > 0.1 else "tie"
        score = verdicts[sample_id, dimension]
        if rng.random() < noise or score == 0.5:
            return str(rng.choice(["A", "tie", "B"]))
        return side[sample_id] if score > 0.5 else "AB"[side[sample_id] == "A"]

    files = []
    for name in ("anna", "ben"):
        ids = list(side)[: 80 if name == "ben" else 90]
        answers = {i: {d: choice(i, d, 0.3) for d in judged.DIMENSIONS} for i in ids}
        files.append(judged.annotations(key, name, answers, tmp_path))
    status, output, errors = run("agreement", "config.yaml", *files, "--wage", 20)
    assert status == 0, errors
    assert "ben: 80 of 90 text pairs finished, 38 s a pair (median), 0.8 hours" in output
    assert "On Persona, toy-judge is less reliable than people" in output
    assert "On Value, toy-judge is less" not in output
    assert "(in the paper 0.568 with its judge, 0.552 among people)" in output
    assert re.search(r"^Value: people, toy-judge +0\.\d\d \[0\.", output, re.M)
    path = Path(at(study, paths.HUMAN_AGREEMENT))
    table = io.read_table(path, judge_tables.HUMAN_AGREEMENT)
    assert set(table["dimension"]) == set(judged.DIMENSIONS)
    assert io.caveat_of(path) == "simulated survey, toy models"
    written = pd.read_csv(path.with_suffix(".csv"))
    assert len(written) == len(table)
    assert set(written["caveat"]) == {"simulated survey, toy models"}
    # scores are the run's, whatever side it was shown on
    row = table.query("dimension == 'Value' and rater == 'anna' and comparison == 'human_judge'")
    anna = pd.read_csv(files[0]).query("dimension == 'Value'")
    scores = sample.choice_score(anna["choice"], anna["sample_id"].map(side))
    theirs = cohen_kappa_score(
        categories(np.array(scores)),
        categories(np.array([verdicts[i, "Value"] for i in anna["sample_id"]])),
        weights="linear",
    )
    ours = row.set_index("coefficient").loc["kappa_linear", "value"]
    assert ours == pytest.approx(theirs)


def test_annotations_of_texts_that_have_changed_are_left_out(
    run: Run, study: Study, tmp_path: Path
) -> None:
    key, _, _ = annotated(run, study, "--n", 50)
    answers = {item["sample_id"]: {"Value": "A"} for item in key["items"]}
    file = judged.annotations(key, "anna", answers, tmp_path)
    path = Path(at(study, paths.TEXTS, model="toy-llama", variant="sft", split="ood"))
    before = path.read_bytes()
    changed = sum((i["model"], i["variant"]) == ("toy-llama", "sft") for i in key["items"])
    try:
        texts = io.read_table(path, tables.TEXTS)
        judged.write(
            study, "generate", paths.TEXTS, tables.TEXTS, texts.assign(text=texts["text"] + "!"),
            model="toy-llama", variant="sft", split="ood",
        )  # fmt: skip
        status, output, _ = run("agreement", "config.yaml", file)
        assert status == 0
        assert f"{changed} text pairs left out: the texts have changed" in output
    finally:
        path.write_bytes(before)


def test_a_broken_or_absent_key_is_one_line(
    run: Run, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _, _ = annotated(run, study, "--n", 30)
    answers = {key["items"][0]["sample_id"]: {"Value": "A"}}
    file = judged.annotations(key, "anna", answers, tmp_path)
    path = Path(at(study, paths.ANNOTATION_KEY, sample="demo-broken"))
    for text in ("", "[]", "{}", '{"sample": "x", "reference": {}, "dimensions": [], "items": []}'):
        path.write_text(text, encoding="utf-8")
        status, _, errors = run("agreement", "config.yaml", file)
        assert (status, errors.count("\n")) == (2, 1), errors
        assert "not a key" in errors
    path.unlink()
    monkeypatch.setattr(paths, "ANNOTATION_KEY", "elsewhere/{sample}.key.json")
    status, _, errors = run("agreement", "config.yaml", file)
    assert status == 2
    assert "run `valuestrata annotate` first" in errors


# ---- cost


def test_costs_and_sizes() -> None:
    frame = pd.DataFrame({"dimension": ["a", "a", "b", "b"], "score": [0.0, 1.0, 0.5, 0.5]})
    plan = cost.plan(frame, 100, 0.55, 0.95)
    assert plan.needed > 100
    assert plan.half_width > 0.1
    bigger = cost.plan(frame, plan.needed, 0.55, 0.95)
    assert bigger.half_width <= 0.1
    nothing = pd.DataFrame({"dimension": ["a"], "score": [np.nan]})
    assert cost.plan(nothing, 100, 0.55, 0.95).needed > 100  # even shares
    assert (
        cost.people_line(1, 1, 1.5, None) == "1 annotator x 1 text pairs x 1.5 minutes = 0.0 hours"
    )
    pairs = pd.DataFrame({k: ["x" * 100] * 10 for k in ("persona", "prompt", "text", "reference")})
    line = cost.judge_line(pairs, "r" * 400, 10, (1.0, 10.0))
    assert (
        line == "20 calls, about 4,000 tokens in and at most 200 out; at 1 and 10 a million 0.006"
    )
