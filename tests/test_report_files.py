"""The report beside tables and figures: LaTeX, the paper's figures, times, the first screen."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.test_report import CAVEAT, SUMMARY, made
from valuestrata.report import latex, opening, published, times
from valuestrata.report.findings import findings
from valuestrata.report.model_provenance import Origin
from valuestrata.report.results import Results
from valuestrata.report.times import JobTime
from valuestrata.stages import surroundings
from valuestrata.study.evaluation import Evaluation


def test_latex_has_the_paper_s_columns_and_escapes_what_tex_would_read() -> None:
    results = made()
    tables = latex.latex_tables(results)
    assert tuple(tables) == latex.LATEX_NAMES
    main, fairness = tables.values()
    assert "Model & Acc base & Acc sft & NMAE base & NMAE sft & WR base & WR sft" in main
    assert r"\toprule" in main
    assert r"\bottomrule" in main
    accuracy = results.metric(("model-0", "sft"), "ood", "accuracy")
    assert accuracy is not None
    assert f"{accuracy.value:.3f}"[1:] + r" {\scriptsize [" in main
    assert re.search(r"^rule & \.\d+ .*& -- ", main, re.MULTILINE)
    assert r".400 $\rightarrow$ .300" in fairness  # Norm.Range of accuracy, from base to tuned
    for text in tables.values():
        assert CAVEAT[1:] in text
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len({line.count("&") for line in rows}) == 1
    assert latex._escaped(r"a_b & 5% {$}") == r"a\_b \& 5\% \{\$\}"
    assert latex._short(-0.25) == "-.250"
    assert latex._short(1.5) == "1.500"


def papers_summary(subgroups: int = 48, pairs: int = 10_177) -> dict[str, object]:
    ood = {**SUMMARY["splits"]["ood"], "subgroups": subgroups, "pairs": pairs}
    return {**SUMMARY, "splits": {"ood": ood}}


def test_the_paper_s_figures_stand_beside_ours_in_its_own_study_alone() -> None:
    results = made()
    origins = {
        ("model-0", "base"): Origin({"model": "meta-llama/Llama-3.1-8B-Instruct"}, "", ("a",), ()),
        ("model-1", "base"): Origin({"model": "someone/else"}, "", ("a",), ()),
    }
    table = published.published_table(results, origins, is_papers_study=True)
    assert table is not None
    names = [row[0].text for row in table.rows]
    assert names == ["model-0 base", "model-0 sft"]
    base, tuned = table.rows
    ours = results.metric(("model-0", "base"), "ood", "accuracy")
    assert ours is not None
    assert (base[2].text, tuned[2].text) == ("0.514", "0.685")
    assert float(base[3].text.replace("−", "-")) == pytest.approx(ours.value - 0.514, abs=5e-4)
    at = table.columns.index("CV of NMAE, paper")
    assert (base[at].text, tuned[at].text) == ("0.085", "0.133")
    assert published.published_table(results, origins, is_papers_study=False) is None
    assert published.published_table(results, {}, is_papers_study=True) is None


def test_a_study_is_the_paper_s_by_its_survey_and_its_pairs() -> None:
    assert published.is_papers(True, papers_summary())
    assert not published.is_papers(False, papers_summary())
    assert not published.is_papers(True, papers_summary(pairs=10_176))
    assert not published.is_papers(True, {"splits": {}})


def test_what_is_published_is_what_the_paper_prints() -> None:
    paper = published.published()
    open_models = [m for m, values in paper["models"].items() if len(values["accuracy"]) == 2]
    for place, accuracy, nmae in ((0, 0.450, 0.269), (1, 0.624, 0.173)):
        for metric, average in (("accuracy", accuracy), ("nmae", nmae)):
            values = [paper["models"][name][metric][place] for name in open_models]
            assert sum(values) / len(values) == pytest.approx(average, abs=6e-4)
    shares = [entry["accuracy"]["norm_range"] for entry in paper["inequality"].values()]
    averages = [sum(column) / len(column) for column in zip(*shares, strict=True)]
    assert averages == pytest.approx([0.253, 0.157], abs=6e-4)  # of the four that it lists


def test_times_are_summed_by_stage_the_longest_first() -> None:
    jobs = [
        JobTime("score", "a", 3.0, 1.0, 100.0),
        JobTime("predict", "a base", 60.0, 30.0, 2000.0),
        JobTime("predict", "a sft", 3600.0, 30.0, 1000.0),
    ]
    table = times.times_table(jobs)
    assert table is not None
    stages = [row[0].text for row in table.rows]
    assert stages == ["predict", "score", "all"]
    predict, _, every = table.rows
    assert [cell.text for cell in predict[1:5]] == ["2", "1 h 1 min", "100%", "1 min 0 s"]
    assert predict[5].small == "a sft"
    assert (predict[6].text, every[2].key) == ("2,000 MB", 3663.0)
    assert times.times_table([]) is None
    for seconds, text in ((0.04, "0.0 s"), (59.6, "1 min 0 s"), (12, "12 s"), (7200, "2 h 0 min")):
        assert times.duration(seconds) == text


def test_benchmarks_are_read_as_snakemake_writes_them(tmp_path: Path) -> None:
    head = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for name, row in (
        ("clean", "2.97\t0:00:02\t174.10\t1\t1\t1\t0.00\t0.16\t60.94\t2.23"),
        ("predict/a/base/ood", "0.1\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t-"),
    ):
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + row + "\n", encoding="utf-8")
    jobs = surroundings.job_times(tmp_path)
    assert jobs == [
        JobTime("clean", "", 2.97, 2.23, 174.10),
        JobTime("predict", "a base ood", 0.1, 0.0, 0.0),
    ]
    assert surroundings.job_times(tmp_path / "nowhere") == []


def test_settings_are_shown_without_folders_and_facts_without_gaps(tmp_path: Path) -> None:
    study = {"survey": {"file": "/home/someone/wvs.csv", "codebook": "studies/x.yaml"}, "n": [1]}
    (tmp_path / "study.json").write_text(json.dumps(study), encoding="utf-8")
    text = surroundings.study_text(tmp_path)
    assert json.loads(text) == {
        "survey": {"file": "wvs.csv", "codebook": "studies/x.yaml"},
        "n": [1],
    }
    facts = dict(surroundings.facts("none.parquet", tmp_path, Evaluation()))
    assert facts["Data: file and digest"] == "not recorded"
    assert re.fullmatch(r"[0-9a-f]{16}", facts["Settings: digest of study.json"])
    assert "pandas" in facts["Libraries, where this page was written"]
    assert all(facts.values())
    assert surroundings.study_text(tmp_path / "nowhere") == ""
    assert surroundings.version().startswith("valuestrata ")


# the first screen ------------------------------------------------------------------------------


def with_p(results: Results, p: float) -> Results:
    return replace(results, fairness=results.fairness.assign(p_value=p, q_value=p))


def test_who_is_served_is_said_no_stronger_than_its_test() -> None:
    results = made()
    best = max(
        (results.metric(("model-1", v), "ood", "accuracy").value, v) for v in ("base", "sft")
    )
    assert best[1] == "sft"
    for p, part in (
        (0.001, "wider gap than between"),
        (0.2, "no surprise among"),
        (float("nan"), "Whether that is more than chance is not tested."),
    ):
        text = opening.served_sentence(with_p(results, p), "ood")
        assert text.startswith("The most accurate tuned run, model-1 sft, gives")
        assert part in text
    nothing = replace(results, fairness=pd.DataFrame(columns=results.fairness.columns))
    assert opening.served_sentence(nothing, "ood") == ""


def test_the_first_screen_has_three_to_five_sentences_and_every_run() -> None:
    for study in ({}, {"tuned": False, "judge": False}, {"models": 1}, {"models": 0}):
        results = made(**{"models": 2, **study})
        pairs = opening.opening_sentences(results, findings(results))
        assert 3 <= len(pairs) <= 5, study
        assert all(answer for _, answer in pairs)
        table = opening.opening_table(results)
        assert "Run" in table.columns[0]
        assert {len(row) for row in table.rows} == {len(table.columns)}
