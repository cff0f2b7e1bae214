"""A study of baselines alone: every number tested, every sentence true, nothing said of models."""

import contextlib
import re
from argparse import Namespace
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import test_comparison, test_report
from tests.graph import ROOT
from tests.test_comparison import cell, compared, drawn
from tests.test_report import found, made
from tests.world import run_stages
from valuestrata import io, paths, tables
from valuestrata.commands import power
from valuestrata.errors import InputError
from valuestrata.report import findings
from valuestrata.report.display import differences_table, main_table
from valuestrata.report.headline import headline
from valuestrata.report.methods import methods
from valuestrata.report.power import Assumptions
from valuestrata.report.results import Estimate, Results
from valuestrata.stages.names import STAGES
from valuestrata.study.load import load, merge_files
from valuestrata.study.study import Study
from valuestrata.study.yaml import merge

BEST = "Which baseline is best?"
CEILING = "How close do baselines come to the noise ceiling?"
OF_MODELS = r"(?i)fine-tun|\btuned\b|\bbase\b|refus|adapter|\bprompt|judge|win rate|toy|checkpoint"
"""Words of studies with language models."""


def three(**others: Any) -> Results:
    """Results of three baselines; `rule` is persona-agnostic."""
    names = ("rule", "axis", "additive")
    values = {
        "variants": dict.fromkeys(names, ("base",)),
        "prompt_variants": dict.fromkeys(names, ()),
        "baselines": names,
        "rules": {"rule": "national_mode", "axis": "axis_mode", "additive": "additive"},
        **others,
    }
    return made.__wrapped__(models=0, judge=False, tuned=False, caveat="", **values)


def with_differences(results: Results, gaps: dict[tuple[str, str], float], p: float) -> Results:
    """The same results with paired differences in accuracy, first minus second."""
    rows = [
        {
            "split": "ood", "metric": "accuracy", "judge": "", "dimension": "",
            "model": first, "variant": "base", "other_model": second, "other_variant": "base",
            **test_report.number(gap), "p_value": p,
        }
        for (first, second), gap in gaps.items()
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=tables.DIFFERENCES.names)
    return replace(results, differences=frame)


# comparison ------------------------------------------------------------------------------------


def test_every_baseline_is_tested_against_those_before_it_where_no_model_is() -> None:
    accuracies = {(f"{name}-mode", "base"): drawn(i, 0.5) for i, name in enumerate("xyz")}
    _, differences = compared({**accuracies})
    rows = differences[differences["metric"] == "accuracy"]
    assert set(zip(rows["model"], rows["other_model"], strict=True)) == {
        ("y-mode", "x-mode"),
        ("z-mode", "x-mode"),
        ("z-mode", "y-mode"),
    }
    row = cell(rows, model="z-mode", other_model="x-mode")
    expected = accuracies["z-mode", "base"] - accuracies["x-mode", "base"]
    assert row["value"] == pytest.approx(expected.mean())
    assert row["p_value"] <= 1
    # with a language model baselines are compared with it alone
    _, differences = compared({**accuracies, ("m", "base"): drawn(9, 0.5)})
    assert set(differences["model"]) == {"m"}
    assert not test_comparison.settings({"x-mode": ("base",)}).variants["x-mode"][1:]


def test_a_difference_can_be_looked_up_either_way() -> None:
    results = with_differences(three(), {("axis", "rule"): 0.2}, 0.01)
    first, second = ("axis", "base"), ("rule", "base")
    there = results.difference(first, second, "ood", "accuracy")
    back = results.difference(second, first, "ood", "accuracy")
    assert there is not None
    assert back == Estimate(-0.2, -there.ci_high, -there.ci_low, there.n, there.missing, 0.01)
    assert (there.direction(0.95), back.direction(0.95)) == (1, -1)
    assert results.difference(first, ("additive", "base"), "ood", "accuracy") is None


# findings --------------------------------------------------------------------------------------


def test_the_best_baseline_is_named_with_what_it_is_clearly_above() -> None:
    for gaps, p, words in (
        ({("additive", "rule"): 0.3, ("additive", "axis"): 0.2}, 0.001,
         "of additive: clearly above rule and axis."),
        ({("additive", "rule"): 0.3, ("additive", "axis"): 0.01}, 0.001,
         "of additive: clearly above rule, not clearly above axis."),
        ({("additive", "rule"): 0.3, ("additive", "axis"): 0.2}, 0.3,
         "of additive: not clearly above rule and axis."),
        # stored the other way round
        ({("rule", "additive"): -0.3, ("axis", "additive"): -0.2}, 0.001,
         "of additive: clearly above rule and axis."),
        ({}, 1.0, "of additive, which is compared with no other baseline."),
    ):  # fmt: skip
        finding = found(with_differences(three(), gaps, p))[BEST]
        assert finding.answer.startswith("On ood the highest accuracy is 0.420 [0.370, 0.470], of ")
        assert finding.answer.endswith(words), finding.answer
    nearest = found(with_differences(three(), {("additive", "axis"): 0.2}, 0.001))[BEST]
    assert (
        "Nearest is axis: the difference is +0.200 [+0.150, +0.250], p = 0.001." in nearest.details
    )


def test_nothing_is_asked_that_only_models_could_answer() -> None:
    questions = found(three())
    assert list(questions) == [
        BEST,
        CEILING,
        "Is inequality above its null?",
        "Which groups are served differently?",
        "Where do subgroups disagree?",
    ]
    for finding in questions.values():
        assert not re.search(
            OF_MODELS + "|language model", finding.answer + " ".join(finding.details)
        )
        assert not re.search(r"[.] [A-Z]", finding.answer)
        assert len(finding.details) <= findings.MAX_DETAILS
    answer = questions["Is inequality above its null?"].answer
    assert answer.startswith("Of 3 baselines on the 4 subgroups of ood")


def test_the_ceiling_is_never_said_to_be_reached_where_no_run_has_a_gain() -> None:
    answer = found(three())[CEILING].answer
    assert "highest normalized gain in accuracy is 20.0%" in answer
    assert "of additive: from rule (0.400" in answer
    assert "to the noise ceiling (0.900" in answer
    # nothing but persona-agnostic rules: no gain, and room below the ceiling all the same
    agnostic = found(three(persona_agnostic=("rule", "axis", "additive")))[CEILING].answer
    assert agnostic == (
        "On ood every baseline is persona-agnostic, so there is no normalized gain between rule "
        "(0.400 [0.350, 0.450]) and the noise ceiling (0.900 [0.850, 0.950])."
    )
    # a study of models none of which has a score
    results = made()
    is_model = results.runs["model"].str.startswith("model")
    mute = replace(results, runs=results.runs[~is_model])
    answer = found(mute)["How close do runs come to the noise ceiling?"].answer
    assert "no language model has a score, so there is no normalized gain" in answer
    # the ceiling is in doubt only where the baseline's own gain has no value
    runs = results.runs.assign(
        value=results.runs["value"].mask(results.runs["metric"].str.startswith("normalized"))
    )
    answer = found(replace(results, runs=runs))[
        "How close do runs come to the noise ceiling?"
    ].answer
    assert "is not clearly above the best persona-agnostic baseline" in answer
    assert "no persona-agnostic baseline" in found(three(persona_agnostic=()))[CEILING].answer


# closing lines, tables, methods ------------------------------------------------------------------


def test_closing_lines_say_which_rule_is_best_and_leave_out_refusals() -> None:
    gaps = {("additive", "rule"): 0.3, ("additive", "axis"): 0.2}
    text = headline(with_differences(three(), gaps, 0.001))
    lines = text.splitlines()
    assert 8 <= len(lines) <= 15
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[2:6]] == ["ood", "rule", "axis", "additive"]
    assert "Which baseline is best? On ood the highest accuracy" in text
    assert "normalized gain" in text
    assert not re.search(OF_MODELS, text)
    assert "refusals" in headline(made())


def test_with_very_many_baselines_the_best_are_in_the_closing_lines() -> None:
    names = tuple(f"rule-{i}" for i in range(12))
    values = {"variants": dict.fromkeys(names, ("base",)), "baselines": names}
    many = three(**values, prompt_variants=dict.fromkeys(names, ()), persona_agnostic=())
    lines = headline(many).splitlines()
    assert any(line.startswith("rule-11 ") for line in lines)
    assert not any(line.startswith("rule-0 ") for line in lines)
    assert "... and 5 more in the report" in lines


def test_tables_have_no_columns_of_texts() -> None:
    assert main_table(three(), "ood").columns == ("Run", "Accuracy", "NMAE", "Wasserstein")
    assert "Refusals" in main_table(made(), "ood").columns
    assert {row[0].small for row in main_table(three(), "ood").rows} == {"", "ceiling"}
    gaps = {("axis", "rule"): 0.2, ("additive", "rule"): 0.3, ("additive", "axis"): 0.1}
    table = differences_table(with_differences(three(), gaps, 0.01), "ood")
    assert [(row[0].text, row[0].small) for row in table.rows] == [
        ("axis", "minus rule"),
        ("additive", "minus rule"),
        ("additive", "minus axis"),
    ]


def test_methods_say_nothing_of_prompts_and_texts() -> None:
    settings: Any = three().settings
    terms = dict(methods(settings))
    assert not {"Prompt", "Refusals, invalid, failed (share of pairs)"} & terms.keys()
    assert "Paired test" in terms
    assert not re.search(OF_MODELS, " ".join([*terms, *terms.values()]))
    alone = settings.replace(
        variants={"rule": ("base",)}, prompt_variants={"rule": ()}, baselines=("rule",)
    )
    assert "Paired test" not in dict(methods(alone))


# the whole study -------------------------------------------------------------------------------


SMALL = {"evaluation": {"n_resamples": 60}, "survey": {"questions": ["Q1", "Q57", "Q164", "Q171"]}}


def run_alone(folder: Path, overlay: dict[str, Any]) -> Path:
    """Every stage of the small study with the overlay of baselines."""
    (folder / "studies").symlink_to(ROOT / "studies")
    files = [ROOT / "tests/fixtures/mini.yaml", ROOT / "studies/overlays/baselines.yaml"]
    study = load(merge(merge(merge_files(files), SMALL), overlay), files=False)
    return run_stages(study, folder, *STAGES)


FIGURES_OF_RULES = {
    *("accuracy", "nmae", "wasserstein", "fairness", "plane", "contrasts", "groups", "subgroups"),
    *("diversity", "map", "agreement"),
}


def words(page: str) -> str:
    """What a reader of a page sees, drawings included."""
    body = re.sub(r"<(style|script)>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_alone(tmp_path_factory.mktemp("alone"), {})


def test_the_page_is_whole_and_says_nothing_of_models(results: Path) -> None:
    page = (results / paths.PAGE).read_text(encoding="utf-8")
    # but for what is packed for the explorer, and settings, which are shown at their defaults, too
    text = words(re.sub(r"<(pre|script)\b.*?</\1>", "", page, flags=re.DOTALL))
    match = re.search(OF_MODELS, text)
    assert not match, text[max(0, match.start() - 80) : match.end() + 80]
    assert "How well do rules without a language model predict the answers of the subgroups" in text
    for section in (
        "findings",
        "survey",
        "results",
        "fairness",
        "groups",
        "differences",
        "methods",
    ):
        assert f'<section id="{section}"' in page
        assert f'href="#{section}"' in page
    for section in ("judge", "sensitivity"):
        assert f'id="{section}"' not in page
        assert f'href="#{section}"' not in page
    assert set(re.findall(r'<figure id="figure-(\w+)"', page)) == FIGURES_OF_RULES
    assert "None" not in text
    assert "nan" not in re.findall(r"\w+", text)


def test_the_report_s_own_table_bears_its_sentences_out(results: Path) -> None:
    main = pd.read_csv(results / paths.TABLE.format(name="main", format="csv"))
    tested = main[main["split"] == "ood"].set_index("model")
    assert list(tested.index) == [
        "uniform", "national-mode", "axis-mode", "best-axis", "additive", "partial-pooling",
        "nearest",
    ]  # fmt: skip
    assert tested["is_baseline"].all()
    best = tested["accuracy"].idxmax()
    text = words((results / paths.PAGE).read_text(encoding="utf-8"))
    assert f"the highest accuracy is {tested['accuracy'].max():.3f} " in text
    assert f", of {best}: " in text
    differences = pd.read_csv(results / paths.TABLE.format(name="differences", format="csv"))
    accuracy = differences[(differences["metric"] == "accuracy") & (differences["split"] == "ood")]
    assert len(accuracy) == 7 * 6 / 2
    gap = accuracy[(accuracy["model"] == "additive") & (accuracy["other_model"] == "uniform")]
    expected = tested.loc["additive", "accuracy"] - tested.loc["uniform", "accuracy"]
    np.testing.assert_allclose(gap["value"], expected)
    ceilings = pd.read_csv(results / paths.TABLE.format(name="ceilings", format="csv"))
    is_all = (ceilings["level"] == "all") & (ceilings["metric"] == "accuracy")
    rows = ceilings[is_all & (ceilings["split"] == "ood")].set_index("ceiling")
    assert rows.loc["noise_ceiling", "value"] > tested["accuracy"].max()
    assert "not clearly above the best persona-agnostic" not in text


def test_power_says_what_the_study_can_find_before_anything_runs(results: Path) -> None:
    study = Study.from_json((results / paths.STUDY).read_text(encoding="utf-8"))
    with contextlib.chdir(results.parents[1]):
        text = power.text(study, Assumptions(), gap=0.2)
        (results / paths.PAIRS.format(split="ood")).rename("away")
        with pytest.raises(InputError, match="run `snakemake survey` with this study first"):
            power.text(study, Assumptions())
        Path("away").rename(results / paths.PAIRS.format(split="ood"))
    assert "a baseline against another" in text
    assert "age_group: a group against the rest" in text
    assert "a gap of 0.200, a baseline against another: " in text
    assert "untested" in text or "0." in text
    arguments = {**vars(Assumptions()), "gap": None}
    for name, value in (("accuracy", 1.0), ("question_sd", -1), ("gap", 5.0)):
        with pytest.raises(InputError, match=f"--{name.replace('_', '-')} {value}: must lie"):
            power.run(Namespace(files=["config.yaml"], **{**arguments, name: value}))


def test_a_study_of_one_baseline_has_a_report_without_differences(tmp_path: Path) -> None:
    only = {
        "models": dict.fromkeys(("uniform", "best-axis", "additive", "partial-pooling", "nearest"))
    }
    only["models"]["axis-mode"] = None
    results = run_alone(tmp_path, only)
    page = (results / paths.PAGE).read_text(encoding="utf-8")
    text = words(page)
    assert "of national-mode, which is compared with no other baseline." in text
    assert 'id="differences"' not in page
    assert "Paired test" not in text
    assert "every baseline is persona-agnostic" in text or "is not clearly above" in text
    closing = (results / paths.HEADLINE).read_text(encoding="utf-8")
    assert "Which baseline is best?" in closing
    assert io.read_table(results / paths.DIFFERENCES, tables.DIFFERENCES).empty
