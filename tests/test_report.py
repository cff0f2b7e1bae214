"""The report: numbers in the tables, sentences that turn with the numbers, figures, the page."""

import re
from dataclasses import replace
from functools import cache
from html import unescape
from typing import Any

import pandas as pd
import pytest
import vl_convert

from valuestrata import evaluation_tables, judge_tables
from valuestrata import tables as contracts
from valuestrata.contracts import check
from valuestrata.report import charts_plane, findings, page, phrases, samples
from valuestrata.report import figures as drawings
from valuestrata.report.captions import FIGURES
from valuestrata.report.charts import POINT, file_spec
from valuestrata.report.charts_groups import groups_drawing
from valuestrata.report.comparison import Metric
from valuestrata.report.display import (
    differences_table,
    gains_table,
    groups_table,
    labels_table,
    main_table,
    respondents_table,
)
from valuestrata.report.explorer import Explorer
from valuestrata.report.families import (
    adjusted_differences,
    adjusted_inequality,
    adjusted_questions,
)
from valuestrata.report.figures_training import training_figure
from valuestrata.report.headline import headline
from valuestrata.report.inequality import adjusted_changes
from valuestrata.report.methods import methods
from valuestrata.report.model_provenance import (
    Origin,
    notes_lines,
    provenance_table,
    recipes_table,
)
from valuestrata.report.prompt_sensitivity import sensitivity_table
from valuestrata.report.results import Results
from valuestrata.report.runs import (
    all_runs,
    judgements,
    prompt_variant_runs,
    text_runs,
    tuned_runs,
)
from valuestrata.report.settings import ReportSettings
from valuestrata.report.smaller_page import smaller_page
from valuestrata.report.tables import NAMES, report_tables
from valuestrata.study.base import FrozenDict
from valuestrata.study.evaluation import Evaluation, Labels
from valuestrata.study.judges import Generation, Prediction
from valuestrata.study.prompts import Prompt, PromptVariant
from valuestrata.study.splits import Folds, Selection, Split

CAVEAT = "simulated survey, toy models"
STRATA = {"train": ("sex",), "ood": ("sex-x-age",)}
GROUPS = {"sex": ["male", "female"], "age": ["young", "$ old & <wise>"]}
SUBGROUPS = ["sex=male", "sex=female & age=young"]
RULES = {"rule": "national_mode"}
W = {"w": PromptVariant(template="mandarin")}
Row = dict[str, Any]


def make_settings(
    models: int = 2,
    tuned: bool = True,
    judge: bool = True,
    caveat: str = CAVEAT,
    prompts: bool = False,
    **others: Any,
) -> ReportSettings:
    """A study of some language models and a baseline."""
    variants = ("base", "sft") if tuned else ("base",)
    names = [f"model-{i}" for i in range(models)]
    reworded = tuple(f"{variant}+w" for variant in variants) if prompts else ()
    values = {
        "strata": STRATA,
        "variants": {"rule": ("base",), **dict.fromkeys(names, variants)},
        "prompt_variants": {"rule": (), **dict.fromkeys(names, reworded)},
        "baselines": ("rule",),
        "persona_agnostic": ("rule",),
        "judges": ("judge",) if judge else (),
        "text_splits": ("ood",) if judge else (),
        "evaluation": Evaluation(),
        "caveat": caveat,
        "study": "demo",
        "axes": {"sex": "sex", "age": "age"},
        "roles": {"train": "train", "ood": "test"},
        "references": {"judge": ("model-0", "base")} if judge else {},
        "title": "A <small> study",
        "survey": "Some survey",
        "has_weights": True,
        "labels": Labels(),
        "min_subgroup_n": 30,
        "min_pair_n": 20,
        "split_rules": {
            "train": Split(role="train", strata=("sex",)),
            "ood": Split(role="test", strata=("sex x age",)),
        },
        "rules": RULES,
        "prompt": Prompt(),
        "prompt_rules": W if prompts else {},
        "prediction": Prediction(),
        "generation": Generation(splits=("ood",)) if judge else None,
        "toys": (),
    }
    return ReportSettings(**{**values, **others})


def number(value: float, half: float = 0.05, n: int = 100, missing: int = 0) -> Row:
    ends = {"value": value, "ci_low": value - half, "ci_high": value + half}
    return {**ends, "n": n, "missing": missing}


def runs(settings: ReportSettings) -> list[Row]:
    judged = text_runs(settings)
    rows = []
    for split in STRATA:
        for i, run in enumerate([*all_runs(settings), *prompt_variant_runs(settings)]):
            values = {
                Metric("accuracy"): 0.4 + 0.01 * i,
                Metric("nmae"): 0.3,
                Metric("wasserstein"): 0.2,
                Metric("refusal"): 0.1,
                Metric("invalid"): 0.0,
                Metric("truncated"): 0.0,
                Metric("failed"): 0.0,
                Metric("normalized_gain_accuracy", baseline="rule"): 0.1 * i,
                Metric("normalized_gain_nmae", baseline="rule"): float("nan"),
            }
            if (*run, split) in judged:
                values[Metric("win_rate", "judge", "Overall")] = 0.45
                values[Metric("flip_rate", "judge", "Overall")] = 0.3
            key = {"model": run[0], "variant": run[1], "split": split}
            rows += [
                {**key, **metric._asdict(), **number(v, missing=7)} for metric, v in values.items()
            ]
    return rows


def differences(
    settings: ReportSettings, against_base: float, against_rule: float, p: float
) -> list[Row]:
    rows = []
    for split in STRATA:
        for model, variant in all_runs(settings):
            others = [(("rule", "base"), against_rule)] if model != "rule" else []
            others += [((model, "base"), against_base)] if variant != "base" else []
            for (other, other_variant), gap in others:
                pair = {"split": split, "model": model, "variant": variant}
                pair |= {"other_model": other, "other_variant": other_variant}
                for metric, value in (("accuracy", gap), ("refusal", -0.1)):
                    rows.append({**pair, "metric": metric, **number(value), "p_value": p})
        for model, variant in prompt_variant_runs(settings):
            row = {"split": split, "model": model, "variant": variant, "other_model": model}
            row["other_variant"] = variant.partition("+")[0]
            rate = {"metric": "disagreement_rate", **number(0.25), "p_value": None}
            accuracy = {"metric": "accuracy", **number(against_base), "p_value": p}
            rows += [{**row, **rate}, {**row, **accuracy}]
    return [{**row, "judge": "", "dimension": ""} for row in rows]


def inequality(settings: ReportSettings, tuned_accuracy: float, tuned_nmae: float) -> list[Row]:
    """Norm.Range is .4 at base for both metrics; its null is always .1."""
    rows = []
    for split in STRATA:
        for model, variant in all_runs(settings):
            for metric, tuned in (("accuracy", tuned_accuracy), ("nmae", tuned_nmae)):
                for statistic in contracts.INEQUALITIES:
                    for level in ("subgroups", "sex"):
                        row = {"model": model, "variant": variant, "split": split}
                        row |= {"level": level, "metric": metric, "statistic": statistic}
                        row |= number(0.4 if variant == "base" else tuned)
                        row |= {"n_groups": 4, "null_mean": 0.1, "null_p95": 0.2, "p_value": 0.01}
                        row |= {"p_error": 0.001, "corrected": row["value"] - 0.02}
                        row |= {"reachable": 0.15}
                        row |= {"best_group": "sex=male", "worst_group": "sex=female & age=young"}
                        rows.append(row)
    return rows


def groups(settings: ReportSettings) -> list[Row]:
    return [
        {
            "model": model,
            "variant": variant,
            "split": split,
            "level": level,
            "group": group,
            "metric": metric,
            **number(0.5 + 0.001 * (len(names) - place)),
        }
        for split in STRATA
        for model, variant in all_runs(settings)
        for level, names in {**GROUPS, "subgroups": SUBGROUPS}.items()
        for place, group in enumerate(names)
        for metric in ("accuracy", "nmae")
    ]


def diversity() -> list[Row]:
    rows = []
    for measure in ("mds", "wasserstein"):
        for block, value in (("trust", 0.1), ("religion", 0.4), ("all", 0.25)):
            row = {"stratum": "mean", "question": "mean", "block": block, "measure": measure}
            rows.append({**row, **number(value, n=5), **null(value), "corrected": value - 0.01})
        for stratum, value in (("sex", 0.1), ("mean", 0.3)):
            row = {"stratum": stratum, "question": "Q1", "block": "trust", "measure": measure}
            rows.append({**row, **number(value, n=2), **null(value), "corrected": value - 0.01})
    return rows


def null(value: float) -> Row:
    return {
        "null_mean": 0.08,
        "null_p95": 0.15,
        "p_value": 0.01 if value > 0.2 else 0.4,
        "p_error": 0.0,
    }


def agreement() -> list[Row]:
    return [
        {"stratum": stratum, "coefficient": coefficient, **number(value, n=5)}
        for stratum, value in (("sex", 0.1), ("sex-x-age", 0.5), ("mean", 0.4))
        for coefficient in contracts.RANKS
    ]


def contrasts(settings: ReportSettings, gap: float, q: float) -> list[Row]:
    """Each group against the rest, and each subgroup; smallest gaps are .25."""
    rows = []
    for model, variant in all_runs(settings):
        for level, names in {**GROUPS, "subgroups": ["sex=male & age=young"]}.items():
            for group in names:
                row = {"model": model, "variant": variant, "split": "ood", "level": level}
                row |= {"group": group, "other_group": "rest", "contrast": "rest"}
                row |= {"metric": "accuracy", "judge": "", "dimension": "", "reading": "raw"}
                row |= {**number(gap), "p_value": q, "q_value": q, "smallest_gap": 0.25}
                rows.append(row)
    return rows


def changes(settings: ReportSettings, falls: float, rises: float) -> list[Row]:
    """Inequality of every fine-tune against its base, with these one-sided p-values."""
    rows = []
    for model, variant in tuned_runs(settings):
        for metric, change, p in (("accuracy", -0.1, falls), ("nmae", 0.1, rises)):
            for statistic in ("norm_range", "cv"):
                row = {"model": model, "variant": variant, "split": "ood", "level": "subgroups"}
                row |= {"metric": metric, "statistic": statistic, **number(change)}
                row |= {"raw_base": 0.4, "raw_tuned": 0.4 + change, "raw_by_mean": change / 2}
                row |= {"base": 0.3, "tuned": 0.3 + change, "n_groups": 4, "questions": 9}
                row |= {"p_value": 2 * p, "p_fall": falls, "p_rise": rises}
                rows.append({**row, "p_joint": max(falls, rises)})
    return rows


def ceilings() -> list[Row]:
    rows = []
    places = [("all", "all"), *((level, g) for level, names in GROUPS.items() for g in names)]
    for split in STRATA:
        for level, group in places:
            for name, values in (("split_half", (0.6, 0.2)), ("noise_ceiling", (0.9, 0.05))):
                row = {"ceiling": name, "split": split, "level": level, "group": group}
                for metric, value in zip(("accuracy", "nmae"), values, strict=True):
                    rows.append({**row, "metric": metric, **number(value)})
    return rows


def ties() -> list[Row]:
    row = {"stratum": "sex", "subgroup": "sex=male", "question": "Q1", "mode": 2}
    return [{**row, "codes": [2, 4], "each": 15.0, "n": 40, "respondents": 41}]


def win_rates(settings: ReportSettings) -> list[Row]:
    """Of every judged run: win rates of .45, no position bias."""
    values = dict.fromkeys(judge_tables.WIN_RATE_STATISTICS, 0.3)
    values |= {"win_rate": 0.45, "length_controlled": 0.47, "position_bias": 0.0}
    values |= dict.fromkeys(contracts.VERDICT_OUTCOMES[1:], 0.0)
    return [
        {
            "model": model, "variant": variant, "split": split, "judge": judge,
            "dimension": "Overall", "statistic": name, **number(value, 0.15), "missing": 7,
            "p_value": 0.4, "q_value": 0.4, "questions": 20, "note": "",
        }
        for model, variant, split, judge in judgements(settings)
        for name, value in values.items()
    ]  # fmt: skip


@cache
def made(
    against_base: float = 0.2,
    against_rule: float = -0.1,
    p: float = 0.001,
    tuned_accuracy: float = 0.3,
    tuned_nmae: float = 0.5,
    group_gap: float = 0.1,
    group_q: float = 0.5,
    falls: float = 0.001,
    rises: float = 0.001,
    **study: Any,
) -> Results:
    settings = make_settings(**study)
    rows = {
        "runs": (runs(settings), contracts.RUNS),
        "differences": (
            differences(settings, against_base, against_rule, p),
            contracts.DIFFERENCES,
        ),
        "contrasts": (contrasts(settings, group_gap, group_q), evaluation_tables.GROUP_CONTRASTS),
        "consistency": ([], evaluation_tables.CONSISTENCY),
        "inequality_changes": (
            changes(settings, falls, rises),
            evaluation_tables.INEQUALITY_CHANGES,
        ),
        "disparities": ([], evaluation_tables.DISPARITIES),
        "fairness": (inequality(settings, tuned_accuracy, tuned_nmae), contracts.FAIRNESS),
        "groups": (groups(settings), contracts.GROUPS),
        "diversity": (diversity(), contracts.DIVERSITY),
        "agreement": (agreement(), contracts.AGREEMENT),
        "ceilings": (ceilings(), contracts.CEILINGS),
        "ties": (ties(), contracts.TIES),
        "win_rates": (win_rates(settings), judge_tables.WIN_RATES),
    }
    frames = {
        name: check(pd.DataFrame(table, columns=contract.names), contract)
        for name, (table, contract) in rows.items()
    }
    frames["ties"] = frames["ties"].assign(split="ood")
    frames["differences"] = adjusted_differences(frames["differences"], settings)
    frames["inequality_changes"] = adjusted_changes(frames["inequality_changes"])
    frames["fairness"] = adjusted_inequality(frames["fairness"])
    frames["diversity"] = adjusted_questions(frames["diversity"])
    return Results(settings, **frames)


SUMMARY: Row = {
    "respondents": 1234,
    "countries": ["Somewhere"],
    "questions": 5,
    "notices": ["Axis age is left out in <Atlantis>."],
    "sensitivity_notices": [],
    "groups": {"sex": {"male": 600, "female": 634}},
    "splits": {
        "ood": {
            "strata": {"sex-x-age": 4},
            "subgroups": 4,
            "pairs": 20,
            "tied_modes": 1,
            "baselines": {"national_mode": {"accuracy": number(0.6), "nmae": number(0.1)}},
            "ceilings": {
                name: {"accuracy": number(0.7), "nmae": number(0.05)}
                for name in ("split_half", "noise_ceiling")
            },
            "labels": {
                "mode": "unweighted",
                "distribution": "weighted",
                "tied_unweighted": 1,
                "tied_weighted": 0,
                "changed": number(0.07),
                "moved": number(0.02),
            },
        }
    },
}
STEPS = [{"step": i, "loss": 1 / i} for i in range(1, 10)]
LOG = {"steps": STEPS, "mean_logit_change": 0.123}
RECIPE = {"method": "sft", "split": "train", "learning_rate": 1e-6, "validation": {"share": 0.1}}
ACCEPTED = {"results/demo/a": {"differences": ["recipe.epochs: 1 -> 2"], "reason": "a <reason>"}}
STUB = '<svg viewBox="0 0 1 1" id="x"><text fill="#1d1f21">drawn</text></svg>'
PANEL = {"columns": 1, "panels": [], "notes": ["A <note>."]}


def logs(results: Results) -> drawings.Logs:
    return dict.fromkeys(tuned_runs(results.settings), LOG)


def rendered(
    results: Results,
    text: str = "An answer.",
    accepted: Any = None,
    notes: tuple[str, ...] = (),
) -> str:
    settings = results.settings
    assert isinstance(settings, ReportSettings)
    pair = {"stratum": "s", "subgroup": "sex=male", "question": "Q1"}
    texts = pd.DataFrame([{**pair, "text": text, "outcome": "answer"}])
    verdicts = pd.DataFrame([{**pair, "dimension": "Overall", "score": 0.75, "flipped": True}])
    run = ("model-0", "base")
    provenance = page.Provenance(
        origins={run: Origin({"model": "/home/someone/weights"}, "", ("/home/x/abc",), ("",))},
        adapters=dict.fromkeys(tuned_runs(settings), RECIPE),
        accepted=accepted or {},
        version="1.2.3",
        notes=notes,
    )
    shown = samples.samples_table(settings, "ood", {run: texts}, {(run, "judge"): verdicts})
    panels = dict.fromkeys(drawings.DRAWINGS, PANEL)
    pairs = Explorer({}, {}, min_n=30, n_hidden=1234, n_left_out=0)
    return page.render_page(settings, results, SUMMARY, panels, STUB, [shown], provenance, pairs)


def found(results: Results) -> dict[str, findings.Finding]:
    return {finding.question: finding for finding in findings.findings(results)}


# tables ----------------------------------------------------------------------------------------


def test_main_table_has_a_row_for_each_run_with_all_five_parts_of_a_number() -> None:
    main = report_tables(made())["main"]
    assert len(main) == 2 * 5
    assert list(main["split"].unique()) == ["ood", "train"]
    assert list(main["model"][:5]) == ["model-0", "model-0", "model-1", "model-1", "rule"]
    assert list(main["is_baseline"][:5]) == [False, False, False, False, True]
    second = main.iloc[1]
    assert second["accuracy"] == pytest.approx(0.41)
    assert [second[f"accuracy_{p}"] for p in ("ci_low", "ci_high")] == pytest.approx([0.36, 0.46])
    assert (second["accuracy_n"], second["accuracy_missing"]) == (100, 7)
    assert second["win_rate_judge_Overall"] == 0.45
    assert pd.isna(main.iloc[4]["win_rate_judge_Overall"])
    assert second["normalized_gain_accuracy_rule"] == pytest.approx(0.1)


def test_no_table_rounds_and_each_has_the_caveat_if_there_is_one() -> None:
    value = 0.123456789012345
    tables = report_tables(made(against_base=value))
    assert tuple(tables) == NAMES  # no service was asked
    for name, frame in tables.items():
        assert (frame["caveat"] == CAVEAT).all(), name
    assert value in set(tables["differences"]["value"])
    assert not any("caveat" in frame for frame in report_tables(made(caveat="")).values())


def test_tables_put_first_what_matters_most() -> None:
    tables = report_tables(made())
    first = tables["differences"][:2]
    assert (first["model"] == first["other_model"]).all()
    assert list(tables["diversity"]["block"][:3]) == ["religion", "all", "trust"]
    assert tables["diversity"]["question"].iloc[-1] == "Q1"
    assert (tables["groups"]["noise_ceiling"].dropna() > 0).all()


def test_ties_are_listed_with_codes_and_counts() -> None:
    (row,) = report_tables(made())["ties"].drop(columns="caveat").to_dict("records")
    assert row["codes"] == "2 4"
    assert (row["split"], row["each"], row["n"], row["respondents"]) == ("ood", 15.0, 40, 41)
    table = labels_table(SUMMARY, ["train", "ood"])
    assert [c.text for c in table.rows[0]] == ["ood", "1", "0", "7.0%", "0.020"]
    assert "modal answers are unweighted, its distributions weighted" in table.note


def test_sizes_of_small_groups_are_hidden_and_follow_from_no_sum() -> None:
    for sizes, shown in (
        ({"a": 600, "b": 634}, "a: 600; b: 634"),
        ({"a": 600, "b": 29, "c": 90}, "a: 600; b: hidden; c: hidden"),
        ({"a": 600, "b": 29, "c": 9}, "a: 600; b: hidden; c: hidden"),
        ({"a": 30, "b": 30}, "a: 30; b: 30"),
        ({"a": 4}, "a: hidden"),
    ):
        table = respondents_table({"groups": {"axis": sizes}}, {}, 30)
        assert table.rows[0][1].text.replace("\xa0", " ") == shown
        assert bool(table.note) == ("hidden" in shown)


def test_displayed_number_has_interval_n_and_missing() -> None:
    table = main_table(made(), "ood")
    accuracy = table.rows[0][1]
    assert (accuracy.text, accuracy.interval) == ("0.400", "[0.350, 0.450]")
    assert accuracy.small.replace("\xa0", " ") == "n 100, missing 7"
    assert table.rows[-3][0].small == "baseline, no language model"


def test_scores_are_shown_beside_the_noise_ceiling() -> None:
    rows = main_table(made(), "ood").rows
    assert [row[0].text for row in rows][-2:] == ["noise ceiling", "split-half"]
    assert (rows[-2][1].text, rows[-2][1].interval) == ("0.900", "[0.850, 0.950]")
    assert groups_table(made(), "ood", "accuracy").rows[0][-1].text == "0.900"
    assert gains_table(made(), "ood").rows[1][1].text == "10.0%"


def test_how_numbers_are_written() -> None:
    written = [phrases.decimal(value) for value in (0.6329, -0.1, -0.0001, 1)]
    assert written == ["0.633", "−0.100", "0.000", "1.000"]
    assert phrases.decimal(0.2, signed=True) == "+0.200"
    assert phrases.percent(0.1234) == "12.3%"
    assert phrases.decimal(float("nan")) == phrases.NONE
    assert phrases.p_value(0.0001) == "p < 0.001"
    assert phrases.metric_name(Metric("win_rate", "j", "Value")) == "Win rate, Value (j)"


# findings --------------------------------------------------------------------------------------

TUNING = "Does fine-tuning help?"
BASELINES = "Do baselines still win?"
CEILING = "How close do runs come to the noise ceiling?"
INEQUALITY = "Is inequality above its null?"
PARADOX = "Does accuracy become fairer and error less fair with tuning?"
JUDGE = "What does the judge prefer?"
PROMPTS = "How sensitive are answers to the prompt?"
DISAGREEMENT = "Where do subgroups disagree?"


def test_a_finding_is_one_sentence_with_three_details_at_most() -> None:
    for results in (made(), made(p=0.3, prompts=True), made(tuned=False, judge=False)):
        for finding in findings.findings(results):
            assert not re.search(r"[.] [A-Z]", finding.answer), finding.answer
            assert finding.answer.endswith(".")
            assert len(finding.details) <= findings.MAX_DETAILS


def test_tuning_sentence_turns_with_the_difference() -> None:
    for results, words in (
        (made(), "raises accuracy on ood in 2 of 2 fine-tunes, by 0.200"),
        (made(against_base=-0.2), "lowers accuracy on ood in 2 of 2"),
        (made(against_base=0.01), "In none of 2 fine-tunes"),
        (made(tuned=False), "No model was fine-tuned"),
    ):
        assert words in found(results)[TUNING].answer


def test_a_fine_tune_that_shares_no_answered_pair_with_its_base_is_named() -> None:
    """A base model may answer nothing at all."""
    results = made()

    def silent(*models: str) -> Results:
        runs, gaps = results.runs.copy(), results.differences.copy()
        values = ["value", "ci_low", "ci_high"]
        base = runs["model"].isin(models) & (runs["variant"] == "base")
        scored = base & (runs["metric"] == "accuracy")
        runs.loc[scored, [*values, "n", "missing"]] = [float("nan")] * 3 + [0, 107]
        to_base = gaps["model"].isin(models) & (gaps["other_variant"] == "base")
        to_base &= gaps["model"] == gaps["other_model"]
        gaps.loc[to_base & (gaps["metric"] == "accuracy"), [*values, "n"]] = [float("nan")] * 3 + [
            0
        ]
        return replace(results, runs=runs, differences=gaps)

    line = "model-0 base answers 0 of 107, model-0 sft answers 100 of 107 pairs, and none"
    both = found(silent("model-0", "model-1"))[TUNING]
    assert both.answer == "No fine-tune answers a pair on ood that its base answers, too."
    assert [detail.startswith(line) for detail in both.details] == [True, False]
    one = found(silent("model-0"))[TUNING]
    assert "in 1 of 1 fine-tune" in one.answer
    assert one.details[-1].startswith(line)


def test_interval_without_test_is_open() -> None:
    finding = found(made(p=0.3))[TUNING]
    assert "In none" in finding.answer
    assert (
        "Interval and test disagree for model-0 sft (+0.200 [+0.150, +0.250], p = 0.300, q = 0.300)"
        in (finding.details[-1])
    )


def test_baseline_sentence_turns_with_the_difference() -> None:
    answer = found(made())[BASELINES].answer
    assert answer.startswith("Yes: rule is still better than the best tuned run")
    assert "model-1 sft" in answer
    assert found(made(against_rule=0.2))[BASELINES].answer.startswith("No: the best tuned run")
    unclear = found(made(against_rule=0.01))[BASELINES]
    assert unclear.answer.startswith("Not clearly")
    assert unclear.details[0] == "No clear difference to rule."
    assert "best language model" in found(made(tuned=False))[BASELINES].answer


def test_paradox_sentence_turns_with_the_joint_test() -> None:
    shown = "is shown in 2 of 2 fine-tunes by Norm.Range and in 2 of 2 fine-tunes by CV"
    assert shown in found(made())[PARADOX].answer
    # the same signs, and either change within chance
    for chances in ({"falls": 0.2}, {"rises": 0.2}):
        finding = found(made(**chances))[PARADOX]
        assert "is shown in none of 2 fine-tunes by Norm.Range and in none of" in finding.answer
        assert "of which the mean alone makes −0.050" in finding.details[0]
    untested = made().inequality_changes.assign(q_joint=float("nan"))
    answer = found(replace(made(), inequality_changes=untested))[PARADOX].answer
    assert answer == "A change of inequality with tuning could not be tested."


def test_inequality_counts_runs_above_the_null() -> None:
    assert "accuracy in 4 by Norm.Range and 4 by CV" in found(made())[INEQUALITY].answer
    equal = replace(made(), fairness=adjusted_inequality(made().fairness.assign(p_value=0.5)))
    finding = found(equal)[INEQUALITY]
    assert "accuracy in 0 by Norm.Range and 0 by CV" in finding.answer
    assert "not shown, which does not make it absent" in finding.details[0]
    assert "0.250 in accuracy for 80% of such studies" in finding.details[0]


def test_prompt_sensitivity_sentence_turns_with_the_difference() -> None:
    assert PROMPTS not in found(made())
    answer = found(made(against_base=-0.2, prompts=True))[PROMPTS].answer
    assert "changes 25.0% of the answers on ood" in answer
    assert "falls clearly in 4 of 4 runs" in answer
    assert "rises clearly in 4 of 4" in found(made(prompts=True))[PROMPTS].answer
    unclear = found(made(against_base=0.01, prompts=True))[PROMPTS].answer
    assert "changes clearly in none of 4" in unclear


def test_prompt_variants_have_a_table_and_are_in_no_other() -> None:
    results = made(prompts=True)
    table = sensitivity_table(results, "ood", W)
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        (f"model-{i} {v}", "w") for i in range(2) for v in ("base", "sft")
    ]
    assert table.rows[0][4].text == "25.0%"
    assert "w: template mandarin." in table.note
    assert [row[0].text for row in main_table(results, "ood").rows] == [
        row[0].text for row in main_table(made(), "ood").rows
    ]
    assert "25.0%" in rendered(results)
    assert "Prompt sensitivity" not in rendered(made())
    variants = report_tables(results)["main"]["variant"].unique()
    assert list(variants) == ["base", "sft", "base+w", "sft+w"]


def test_disagreement_names_what_is_above_its_null_and_what_is_not() -> None:
    finding = found(made())[DISAGREEMENT]
    assert "Most about religion" in finding.answer
    assert "least about trust" in finding.answer
    assert "(q < 0.05) in 1 of 2 blocks, not shown in trust." in finding.answer
    details = " ".join(finding.details)
    assert "above their null (q < 0.05): Modal Diversity Score 1 of 1" in details
    assert "over 5 questions: Spearman's ρ 0.400 [0.350, 0.450]" in details
    assert "from 0.100 (sex) to 0.500 (sex × age)" in details


def test_ceiling_sentence_names_baseline_ceiling_and_interval() -> None:
    answer = found(made())[CEILING].answer
    assert "in accuracy is 30.0% [25.0%, 35.0%], of model-1 sft: from rule" in answer
    assert "noise ceiling (0.900 [0.850, 0.950])" in answer
    table = made().runs.copy()
    gains = table["metric"].str.startswith("normalized_gain")
    table.loc[gains, ["value", "ci_low", "ci_high"]] = float("nan")
    answer = found(replace(made(), runs=table))[CEILING].answer
    assert "not clearly above the best persona-agnostic baseline" in answer
    without = replace(made(), settings=make_settings(persona_agnostic=()))
    assert "no persona-agnostic baseline" in found(without)[CEILING].answer


def test_judge_sentence_names_flips() -> None:
    finding = found(made())[JUDGE]
    assert finding.answer == "On Overall, judge tells no run apart from model-0 base."
    assert "in 30.0% of comparisons" in finding.details[0]
    for low, is_shown in ((0.45, False), (0.51, True)):  # a sentence needs its interval
        flips = {"flip_rate": {"value": 0.6, "ci_low": low, "ci_high": 0.8}}
        line = found(verdicts_of(flips))[JUDGE].details[0]
        assert ("carry little weight" in line) == is_shown
    assert JUDGE not in found(made(judge=False))


def people(gap: float, half: float, n: int = 100, simulated: bool = False) -> pd.DataFrame:
    """Annotations that put a judge below people by a gap on Overall."""
    common = {
        "simulated": simulated,
        "dimension": "Overall",
        "rater": "all",
        "coefficient": "kappa_linear",
    }
    rows = [
        {"comparison": "human_human", "judge": "", "other_rater": "all", **number(0.6, n=n)},
        {"comparison": "human_judge", "judge": "judge", **number(0.6 - gap, n=n)},
        {"comparison": "difference", "judge": "judge", **number(-gap, half, n), "p_value": 0.01},
    ]
    published = {"human_human": 0.552, "human_judge": 0.568}
    rows = [{"other_rater": "judge", **common, **row} for row in rows]
    rows = [{**row, "published": published.get(str(row["comparison"]))} for row in rows]
    contract = judge_tables.HUMAN_AGREEMENT
    return check(pd.DataFrame(rows, columns=contract.names), contract)


def test_win_rates_of_a_judge_less_reliable_than_people_are_grey() -> None:
    for frame, is_grey, words in (
        (people(0.3, 0.1), True, "less reliable than people, and its win rates are doubtful"),
        (people(0.3, 0.4), False, "not clearly apart"),
        (people(-0.3, 0.1), False, "more than they do with each other"),
        (people(0.3, 0.1, n=29), False, "too little to compare"),
        (None, False, ""),
    ):
        results = replace(made(), human_agreement=frame)
        html = rendered(results)
        assert words in unescape(html)
        assert (html.count('class="doubtful"') > 0) == is_grey
        assert ("Grey: the judge is less reliable" in html) == is_grey
        assert ("Judges against people" in html) == (frame is not None)
        assert ("paper" + page.display.NO_BREAK + "0.568" in html) == (frame is not None)
        details = found(results)["What does the judge prefer?"].details
        assert any("by their annotations" in line for line in details) == is_grey
    # accuracy is not the judge's
    grey = re.findall(
        r'<td class="doubtful">\s*<b>(.*?)</b>',
        rendered(replace(made(), human_agreement=people(0.3, 0.1))),
    )
    # the win rate in the table of main results, and all of the table of verdicts
    assert set(grey) == {"0.450", "0.470", "0.000", "30.0%"}
    win = {"metric": "win_rate", "judge": "judge", "dimension": "Overall"}
    both = pd.concat([made().differences, made().differences.assign(**win)])
    shown = differences_table(replace(made(), differences=both), "ood", {("judge", "Overall")})
    column = shown.columns.index("Win rate, Overall (judge)")
    assert {i for row in shown.rows for i, cell in enumerate(row) if cell.is_doubtful} == {column}
    assert shown.note.startswith("Grey")


def test_simulated_annotators_are_called_so_wherever_they_are_shown() -> None:
    results = replace(made(), human_agreement=people(0.3, 0.1, simulated=True))
    html = unescape(rendered(results))
    assert "No people took part" in html
    assert "judge is less reliable than simulated annotators" in html
    assert "Judges against simulated annotators" in html
    assert "Grey: the judge is less reliable than simulated annotators" in html
    assert "less reliable than people" not in html
    details = found(results)[JUDGE].details
    assert any("less reliable than simulated annotators" in line for line in details)
    notes = drawings.DRAWINGS["win_rates"](results).notes
    assert any("less reliable than simulated annotators" in note for note in notes)
    csv = report_tables(results)
    assert set(csv["win_rates"]["annotators"]) == {"simulated annotators"}
    assert csv["human_agreement"]["simulated"].all()


def test_the_reports_tables_name_no_annotator() -> None:
    everyone = people(0.3, 0.1)
    by_name = pd.concat([everyone, everyone.assign(rater="anna", other_rater="ben")])
    table = report_tables(replace(made(), human_agreement=by_name))["human_agreement"]
    assert len(table) == len(everyone)
    assert not table.isin(["anna", "ben"]).any(axis=None)
    assert report_tables(made())["human_agreement"].empty


def test_a_judge_that_people_doubt_is_grey_in_the_figure_and_in_the_csv() -> None:
    for frame, is_grey in ((people(0.3, 0.1), True), (people(0.3, 0.4), False), (None, False)):
        results = replace(made(), human_agreement=frame)
        panel = drawings.DRAWINGS["win_rates"](results).panels[0]
        points = next(p for p in panel.layers if p["mark"] == POINT)
        assert ("value" in points["encoding"]["fill"]) == is_grey  # one colour for all runs
        assert (panel.title == "Overall, ood (doubtful)") == is_grey
        marked = report_tables(results)["win_rates"]["less_reliable_than_people"]
        assert marked.fillna(False).any() == is_grey
        assert marked.isna().all() == (frame is None)


def verdicts_of(changes: dict[str, Row], **study: Any) -> Results:
    """Results with other rows of win rates, by statistic."""
    results = made(**study)
    frame = results.win_rates.copy()
    for statistic, values in changes.items():
        for column, value in values.items():
            frame.loc[frame["statistic"] == statistic, column] = value
    return replace(results, win_rates=frame)


def test_a_judge_ranks_runs_only_by_a_test_on_enough_comparisons() -> None:
    above = {"value": 0.8, "ci_low": 0.7, "ci_high": 0.9, "p_value": 0.001, "q_value": 0.001}
    for changes, words in (
        (above, "On Overall, judge ranks model-0 sft, model-1 base and model-1 sft above model-0"),
        ({**above, "q_value": 0.06}, "tells no run apart"),
        ({**above, "p_value": float("nan"), "q_value": float("nan")}, "tells no run apart"),
        ({**above, "ci_low": 0.5}, "tells no run apart"),
        (
            {**above, "n": 2, "questions": 2},
            "has compared too little to rank a run (n 2 on 2 quest",
        ),
        ({**above, "n": 100, "questions": 9}, "too little to rank a run (n 100 on 9 questions, of"),
        ({**above, "n": 29}, "has compared too little"),
        ({"value": float("nan"), "ci_low": float("nan"), "n": 0}, "gave no verdict"),
    ):
        finding = found(verdicts_of({"win_rate": changes}))[JUDGE]
        assert words in finding.answer, finding.answer
    few = found(verdicts_of({"win_rate": {**above, "n": 2}}))[JUDGE]
    assert not any("flips" in line for line in few.details)


def test_what_length_and_tuning_change_is_said() -> None:
    above = {"value": 0.8, "ci_low": 0.7, "ci_high": 0.9, "p_value": 0.001, "q_value": 0.001}
    details = found(verdicts_of({"win_rate": above}))[JUDGE].details
    words = "are not told apart (without: ranked above model-0 base) by judge."
    assert any(line.startswith("With length controlled, model-0 sft") for line in details)
    assert any(line.endswith(words) for line in details)
    assert not any("length" in line for line in found(made())[JUDGE].details)
    win = {"metric": "win_rate", "judge": "judge", "dimension": "Overall"}
    for p, words in ((0.01, "rises with tuning in 2 and"), (0.06, "rises with tuning in 0 and")):
        gaps = made(p=p).differences
        gaps = gaps[gaps["metric"] == "accuracy"]
        results = replace(made(), differences=pd.concat([gaps, gaps.assign(**win)]))
        assert any(words in line for line in found(results)[JUDGE].details), p
        assert "Minus its base" in rendered(results)


def test_what_makes_verdicts_doubtful_is_on_the_page() -> None:
    kin = {"judge_kin": {"judge": ("model-0", "model-1")}}
    html = unescape(rendered(made(**{k: FrozenDict(v) for k, v in kin.items()})))
    words = "judge is of the same family as model-0 and model-1, the reference among them, by their"
    assert words in html
    assert "may favour its own family's texts (self-preference)" in html
    assert "self-preference" not in unescape(rendered(made()))
    html = unescape(rendered(verdicts_of({"win_rate": {"n": 85, "missing": 15}})))
    assert "On Overall, ood, judge gave no verdict in 15.0% of the comparisons of 4 runs" in html
    html = unescape(rendered(verdicts_of({"failed": {"value": 0.03}, "invalid": {"value": 0.01}})))
    assert "invalid 1, failed 3" in html
    assert "4.0%" in html
    noted = verdicts_of(
        {"length_controlled": {"note": "extrapolated: 99% of its texts are longer"}}
    )
    assert "extrapolated:" in unescape(rendered(noted))


def test_annotations_that_no_longer_count_are_said_to() -> None:
    settings = made().settings
    assert isinstance(settings, ReportSettings)
    provenance = page.Provenance({}, {}, {}, "1")
    results = replace(made(), human_note="Run it again.")
    pairs = Explorer({}, {}, 30, 0, 0)
    html = page.render_page(settings, results, SUMMARY, {}, "", [], provenance, pairs)
    assert "Run it again." in html
    assert "Judges against people" not in html


def test_doubts_about_perturbations_stand_with_them_and_not_with_the_surveys() -> None:
    settings = made().settings
    assert isinstance(settings, ReportSettings)
    summary = {**SUMMARY, "sensitivity_notices": ["sensitivity: doubtful"]}
    pairs, provenance = Explorer({}, {}, 30, 0, 0), page.Provenance({}, {}, {}, "1")
    html = page.render_page(settings, made(), summary, {}, "", [], provenance, pairs)
    section = html.split('<section id="perturbations"')[1].split("</section>")[0]
    assert "<li>sensitivity: doubtful</li>" in section
    assert html.count("sensitivity: doubtful") == 1
    assert '<section id="perturbations"' not in rendered(made())


def test_replies_that_ran_out_of_tokens_are_said_wherever_refusals_are() -> None:
    none = made()
    runs = none.runs.copy()
    runs.loc[runs["metric"] == "truncated", "value"] = 0.25
    some = replace(none, runs=runs)
    said_of = [any("ran out of tokens" in d for f in found(r).values() for d in f.details)
               for r in (none, some)]  # fmt: skip
    assert said_of == [False, True]
    assert "ran out of tokens" not in headline(none)
    assert "25.0%" in headline(some).partition("ran out of tokens")[2]
    assert main_table(some, "ood").columns[4:8] == (
        "Refusals", "Invalid", "Ran out of tokens", "Failed"
    )  # fmt: skip


def test_closing_lines_show_invalid_replies_where_there_are_any() -> None:
    none = made()
    runs = none.runs.copy()
    runs.loc[runs["metric"] == "invalid", "value"] = 0.375
    assert "invalid" not in headline(none)
    assert "37.5%" in headline(replace(none, runs=runs)).partition("invalid")[2]


def test_samples_are_shown_without_a_judge_and_say_where_a_text_was_cut() -> None:
    settings = made(judge=False).settings
    pair = {"stratum": "s", "subgroup": "sex=male", "outcome": "answer"}
    rows = [
        {**pair, "question": "Q1", "text": "All of it.", "finish_reason": "stop"},
        {**pair, "question": "Q2", "text": "Half of", "finish_reason": "length"},
    ]
    table = samples.samples_table(settings, "ood", {("model-0", "base"): pd.DataFrame(rows)}, {})
    assert table.columns == ("Persona, question", "Run", "Answer")
    assert [row[-1].text for row in table.rows] == [
        "All of it.",
        "Half of (cut at its token limit)",
    ]


def test_texts_are_counted_by_run_and_what_is_no_answer_is_said() -> None:
    settings = made(judge=False).settings
    rows = [
        ("answer", False, "stop", 10), ("answer", True, "stop", 12),
        ("answer", False, "length", 48), ("refusal", True, "stop", 8),
        ("truncated", False, "length", 48), ("invalid", False, "stop", 1),
        ("failed", False, None, None),
    ]  # fmt: skip
    columns = ["outcome", "declines", "finish_reason", "completion_tokens"]
    frame = pd.DataFrame(rows, columns=columns)
    whole, runs = frame[:1], [("model-0", "base"), ("model-1", "base")]
    texts = dict(zip(runs, (frame, whole), strict=True))
    table = samples.texts_table(settings, "ood", texts)
    assert [column.text for column in table.rows[0][1:]] == [
        "7",
        "3",
        "1",
        "1",
        "1",
        "1",
        "1",
        "2",
        "11",
    ]
    assert len(table.rows[0]) == len(table.columns)
    assert samples.text_notes("ood", texts) == [
        "Of 8 open-ended texts on ood, 1 decline to answer, 2 were cut at their token limit, "
        "2 are empty or unfinished and 1 failed."
    ]
    assert samples.text_notes("ood", {runs[0]: whole}) == []
    assert samples.text_notes("ood", {}) == []


def test_texts_of_small_cells_are_not_shown() -> None:
    pair = {"stratum": "s", "subgroup": "sex=male"}
    sizes = [("Q1", 30, 30), ("Q2", 29, 99), ("Q3", 30, 29), ("Q4", 99, 99)]
    rows = [{**pair, "question": q, "n": n, "respondents": m} for q, n, m in sizes]
    large = samples.large_pairs(pd.DataFrame(rows))
    assert large["question"].to_list() == ["Q1", "Q4"]
    assert large["people"].to_list() == [30, 99]


def test_an_exported_page_has_no_cell_below_its_minimum_and_names_it() -> None:
    sizes = {"a & b": 600, "c": 45, "d": 90}
    texts = pd.DataFrame(
        [
            {"stratum": "s", "subgroup": "sex=male", "question": q, "outcome": "answer"}
            | {"text": f"text of {q}", "people": people}
            for q, people in (("Q1", 30), ("Q2", 99))
        ]
    )
    run = ("model-0", "base")
    results = made()
    settings = results.settings
    assert isinstance(settings, ReportSettings)
    shown = [samples.samples_table(settings, "ood", {run: texts}, {})]
    summary = {**SUMMARY, "groups": {"axis": sizes}}
    explored = Explorer({}, {}, min_n=30, n_hidden=1234, n_left_out=0)
    origin = page.Provenance({}, {}, {}, "1")
    whole = page.render_page(settings, results, summary, {}, "", shown, origin, explored)
    assert smaller_page(whole, {"axis": sizes}, 30) == whole
    text = smaller_page(whole, {"axis": sizes}, 80)
    assert "text of Q1" in whole
    assert "text of Q1" not in text
    assert "text of Q2" in text
    assert "a\xa0&amp;\xa0b:\xa0600; c:\xa045; d:\xa090" in whole
    assert "a\xa0&amp;\xa0b:\xa0600; c:\xa0hidden; d:\xa0hidden" in text
    assert "Hidden: pairs of fewer respondents or valid answers than 80." in text
    assert "Pairs of fewer than 80 respondents" in text
    assert "groups of fewer than 80" in text
    assert "fewer than 30 respondents" not in text
    assert "answers than 30" not in text


def test_headline_fits_a_terminal() -> None:
    for models in (1, 2, 20):
        lines = headline(made(models=models)).splitlines()
        assert 8 <= len(lines) <= 15
        assert max(map(len, lines)) <= 100
        assert lines[0] == "Report: results/demo/report/index.html"
        assert lines[1] == phrases.caveat_sentence(CAVEAT)
        assert any("rule" in line and "100" in line for line in lines)
        assert any(line.startswith("Do baselines still win? Yes") for line in lines)


def test_what_services_cost_is_on_the_page_and_in_table_and_closing_lines() -> None:
    assert "Cost of models at a service" not in rendered(made())
    assert "usage" not in report_tables(made())
    run = {"stage": "judge", "model": "model-0", "variant": "base", "split": "ood", "judge": "j"}
    tokens = {"prompt_tokens": 12_345, "cached_tokens": 678, "completion_tokens": 90}
    counts = {"calls": 40, "by_usage": 33, "unsure": 2, "unbilled": 7, "cached_replies": 11}
    usage = pd.DataFrame(
        [{**run, **tokens, **counts, "amount": 1.5, "currency": "USD", "unpriced": 0}]
    )
    results = replace(made(), usage=usage)
    html = unescape(rendered(results))
    sentence = (
        "Models at a service cost USD 1.50 in 40 calls; 5 of these by estimated tokens; 2 of these "
        "failed and may have been billed."
    )
    assert sentence in html
    for cell in ("model-0/base/ood/j", "estimated 5, unsure 2, turned down 7", "12,345"):
        assert cell in html, cell
    assert "Models at a service cost USD 1.50" in headline(results)
    assert report_tables(results)["usage"]["calls"].to_list() == [40]


# figures ---------------------------------------------------------------------------------------


def test_figures_are_the_same_bytes_twice_and_keep_text_as_text() -> None:
    results = made(models=1)
    figures = drawings.draw_figures(results, logs(results))
    assert list(figures) == [*drawings.DRAWINGS, "training"]
    assert set(figures) == set(FIGURES)
    again = file_spec(groups_drawing(results), FIGURES["groups"][0], CAVEAT)
    assert figures["groups"].files["svg"].decode() == vl_convert.vegalite_to_svg(again)
    for name, figure in figures.items():
        svg = figure.files["svg"].decode()
        assert "Simulated survey, toy models." in svg, name
        assert "<text" in svg
        assert "dc:date" not in svg
        assert figure.files["png"].startswith(b"\x89PNG")
        assert figure.files["pdf"].startswith(b"%PDF")
    assert "$ old &amp; &lt;wise&gt;" in figures["groups"].files["svg"].decode()


def test_every_panel_names_both_its_axes_and_its_data_are_there() -> None:
    results = made(models=2, tuned=True)
    n_panels = 0
    for name, build in drawings.DRAWINGS.items():
        drawing = build(results)
        for panel in drawing.panels:
            n_panels += 1
            titles = [part["encoding"].get("x", {}).get("title") for part in panel.layers]
            assert any(titles), (name, panel.title)
            for part in panel.layers:
                assert part["data"].get("name", "") in {"", *panel.data}
    assert n_panels > 10


def texts(figure: Any) -> str:
    """All text of a figure."""
    return "\n".join(t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")))


def test_figures_without_data_say_so_in_words() -> None:
    results = made(judge=False, tuned=False, caveat="")
    win_rates = drawings.DRAWINGS["win_rates"](results)
    assert not win_rates.panels
    assert win_rates.notes == ("No judge compared open-ended answers in this study.",)
    svg = vl_convert.vegalite_to_svg(file_spec(win_rates, "Win rates", ""))
    training = texts(training_figure(results.settings, {}))
    assert "No judge compared open-ended answers" in svg
    assert "No model was fine-tuned" in training
    assert "Simulated" not in svg + training


def test_a_method_that_learns_from_rewards_is_drawn_by_its_reward() -> None:
    results = made()
    steps = [{"step": i, "loss": -0.01, "reward": 0.5, "gradient_norm": 1.0} for i in range(9)]
    rewarded = {run: {"steps": steps, "mean_logit_change": 0.5} for run in logs(results)}
    figure = training_figure(results.settings, rewarded)
    titles = {axes.get_title(loc="left") or axes.get_title() for axes in figure.axes}
    assert titles == {"mean reward of sampled replies", "gradient norm"}
    assert "loss" in texts(training_figure(results.settings, logs(results)).axes[0])


def test_training_curves_show_what_was_logged() -> None:
    settings = made().settings
    run = ("model-0", "sft")
    plain = texts(training_figure(settings, {run: LOG}))
    assert "No validation." in plain
    assert "tokens per second" not in plain
    assert "model-0 / sft 0.12." in plain
    more = {"validation_accuracy": 0.5, "validation_n": 104, "tokens": 3000, "seconds": 0.5}
    log = {"steps": [{**step, **more} for step in STEPS], "mean_logit_change": 0.5}
    full = texts(training_figure(settings, {run: log}))
    for words in ("Validation: 104 pairs", "sft, last 0.50", "tokens per second", "last 6,000"):
        assert words in full


def test_figures_grow_with_the_number_of_models() -> None:
    heights = [
        drawings.DRAWINGS["accuracy"](made(models=models)).panels[0].height for models in (3, 20)
    ]
    assert heights[1] > 3 * heights[0]


def test_marks_have_the_values_of_the_tables_and_arrows_go_from_base_to_tuned() -> None:
    results = made(models=2)
    rows = drawings.DRAWINGS["accuracy"](results).panels[0].data["runs"]
    assert {row["run"] for row in rows} == {"model-0 base", "model-0 sft", "model-1 base",
                                            "model-1 sft", "rule"}  # fmt: skip
    for row in rows:
        run = tuple(row["run"].split()) if " " in row["run"] else (row["run"], "base")
        estimate = results.metric(run, "ood", "accuracy")
        assert estimate is not None
        assert row["value"] == estimate.value
    raw, left, net, *_ = drawings.DRAWINGS["plane"](results).panels
    fields = ("x", "y"), ("x_corrected", "y_corrected"), ("x_net", "y_net")
    for panel, (x, y) in zip((raw, left, net), fields, strict=True):
        points = {row["run"]: row for row in panel.data["runs"]}
        arrow = panel.data["arrows"][0]
        base, tuned = points["model-0 base"], points["model-0 sft"]
        assert (arrow["x1"], arrow["y1"]) == (base[x], base[y])
        assert (arrow["x2"], arrow["y2"]) == (tuned[x], tuned[y])


def test_the_plane_and_the_heat_map_say_what_is_left_without_noise() -> None:
    results = made(models=2)
    groups = results.groups.replace({"level": {"sex": "subgroups"}})
    shrunk = {"shrunk": 0.5, "shrunk_low": 0.4, "shrunk_high": 0.6}
    results = replace(results, groups=groups.assign(**shrunk))
    heat = drawings.DRAWINGS["subgroups"](results).panels[0].data["cells"]
    assert {row["without noise"] for row in heat} == {"0.500 [0.400, 0.600]"}
    hidden = results.fairness["model"].eq("model-1") & results.fairness["metric"].eq("nmae")
    parts = ["corrected", "ci_low", "ci_high"]
    fairness = results.fairness.copy()
    fairness.loc[hidden, parts] = float("nan")
    raw, left, _, *_ = drawings.DRAWINGS["plane"](replace(results, fairness=fairness)).panels
    row = next(row for row in raw.data["runs"] if row["run"] == "model-1 base")
    assert row["NMAE"].endswith("without noise not estimated")
    gone = {r["run"] for r in raw.data["runs"]} - {r["run"] for r in left.data["runs"]}
    assert gone == {"model-1 base", "model-1 sft"}
    assert {arrow["x1"] for arrow in left.data["arrows"]} <= {
        r["x_corrected"] for r in left.data["runs"]
    }


def test_refusals_by_topic_count_what_texts_were() -> None:
    sizes = [("ethics", "answer", 6), ("ethics", "refusal", 3), ("ethics", "invalid", 1),
             ("trust", "answer", 10)]  # fmt: skip
    counts = pd.DataFrame(sizes, columns=["block", "outcome", "n"])
    counts = counts.assign(model="model-0", variant="base", split="ood")
    panels = drawings.DRAWINGS["refusals"](replace(made(models=1), outcomes=counts)).panels
    (panel,) = [panel for panel in panels if panel.data["cells"]]
    ethics, trust = panel.data["cells"]
    assert (ethics["unanswered"], ethics["refusal"], ethics["invalid"]) == (0.4, "30.0%", "10.0%")
    assert (trust["unanswered"], trust["text"], trust["pairs"]) == (0.0, "0%", "10")


# the page --------------------------------------------------------------------------------------


def test_page_escapes_what_models_wrote() -> None:
    text = rendered(made(), text="<script>alert(1)</script> & more")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text
    assert "A &lt;small&gt; study" in text
    assert "Overall 0.75 (flipped)" in text


def test_page_is_whole_and_asks_for_nothing_and_names_no_path() -> None:
    text = re.sub(r'(<script type="application/gzip"[^>]*>)[^<]*', r"\1", rendered(made()))
    assert not re.search(r"https?:|//[a-z]", text)
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=\"(?!data:,)|@import", text)
    assert "/home" not in text
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in ids
    drawn = set(re.findall(r'role="img" aria-label="Figure: ([^."?]+)', text))
    assert len(drawn) == len(FIGURES)
    assert '<text fill="var(--ink)">drawn</text>' in text
    assert "Hidden: 1,234 pairs of fewer respondents or valid answers than 30." in text
    assert "None" not in unescape(re.sub(r"<[^>]+>", " ", text))


def test_page_shows_a_caveat_if_and_only_if_there_is_one() -> None:
    for caveat in ("", CAVEAT, "simulated survey", "toy models"):
        text = rendered(made(caveat=caveat))
        assert ('class="caveat"' in text) == bool(caveat)
        assert ("say nothing about" in text) == bool(caveat)
        assert ("nothing about people" in text) == ("simulated" in caveat)
        assert ("real models" in text) == ("toy" in caveat)


def test_page_of_a_study_without_judge_and_tuning() -> None:
    text = rendered(made(judge=False, tuned=False))
    assert JUDGE not in text
    assert "Recipes, as the adapters were trained" not in text


def test_methods_state_what_the_study_does_and_nothing_else() -> None:
    plain = dict(methods(make_settings()))
    assert "modal answer (unweighted)" in plain["Accuracy (share of pairs, 0 to 1)"]
    assert "20 valid answers" in plain["Minimum sizes"]
    assert "95%, bootstrap with 10,000 resamples" in plain["Intervals"]
    assert "rule: the modal answer of everyone outside" in plain["Baselines"]
    assert "additive" not in plain["Baselines"]
    assert "No value below 30 comparisons" in plain["Length-controlled win rate (0 to 1)"]
    assert "Win rate (0 to 1)" in plain
    assert (
        "4 questions a subgroup, the same for every run, in the wording question"
        in (plain["Open-ended answers"])
    )
    for rule, words in (
        ({"per_subgroup": "all"}, "on all pairs"),
        ({"per_block": 2}, "all questions a subgroup with at most 2 of a block"),
        ({"per_subgroup": 6, "stratify_by": "mds"}, "6 questions a subgroup, drawn in turn"),
        ({"wordings": ["topic", "stance"]}, "one of the wordings topic and stance, drawn for"),
    ):
        generation = Generation.model_validate({"splits": ["ood"], **rule})
        unjudged = make_settings(judge=False, generation=generation)
        assert words in dict(methods(unjudged))["Open-ended answers"]
    assert not {"Prompt variants", "Constrained answers"} & plain.keys()
    limited = dict(methods(make_settings(prediction=Prediction(constrained=True))))
    assert "limited to the options" in limited["Constrained answers"]
    other = dict(
        methods(
            make_settings(
                judge=False,
                prompts=True,
                baselines=(),
                persona_agnostic=(),
                rules={},
                labels=Labels(mode="weighted", distribution="unweighted"),
                evaluation=Evaluation(n_resamples=200, confidence_level=0.9),
                split_rules={
                    "train": Split(role="train", strata=("sex",)),
                    "ood": Split(
                        role="test",
                        strata=("sex x age",),
                        questions=Selection(without=("Q1",)),
                        folds=Folds(of=5),
                    ),
                },
            )
        )
    )
    assert "modal answer (weighted)" in other["Accuracy (share of pairs, 0 to 1)"]
    assert "90%, bootstrap with 200 resamples" in other["Intervals"]
    assert "w (template mandarin)" in other["Prompt variants"].lower()
    assert "questions without Q1, 5-fold cross-validation by pair" in other["Splits"]
    assert not any("win rate" in text.lower() for text in (*other, *other.values()))
    assert not {"Baselines", "Normalized gain (0% to 100%)", "Open-ended answers"} & other.keys()


# provenance ------------------------------------------------------------------------------------


def test_recipes_are_shown_as_the_adapters_were_trained() -> None:
    same = {("a", "sft"): RECIPE, ("b", "sft"): RECIPE}
    table = recipes_table(same, {})
    assert table.columns == ("Setting", "sft")
    assert {row[0].text: row[1].text for row in table.rows} == {
        "method": "sft",
        "split": "train",
        "learning_rate": "1e-06",
        "validation.share": "0.1",
    }
    changed = {**same, ("b", "sft"): {**RECIPE, "learning_rate": 1e-5}}
    assert recipes_table(changed, {}).columns == ("Setting", "a sft", "b sft")
    folds = {("a", f"cv-{i}"): {**RECIPE, "split": f"ood-train-{i}"} for i in (1, 2)}
    table = recipes_table({**same, **folds}, {"cv": ("cv-1", "cv-2")})
    assert table.columns == ("Setting", "sft", "cv")
    assert table.rows[1][2].text == "ood-train-1, ood-train-2"


def test_provenance_names_models_versions_and_adapters() -> None:
    settings = make_settings(models=1)
    base = {"backend": "transformers", "model": "owner/name", "dtype": "bfloat16"}
    origins = {
        ("model-0", "base"): Origin(base, "", ("abc",), ("",)),
        ("model-0", "sft"): Origin({}, "", ("abc",), ("one", "two")),
        ("rule", "base"): Origin({}, "national_mode", ("national_mode",), ("",)),
    }
    rows = [[cell.text for cell in row] for row in provenance_table(settings, origins, ()).rows]
    assert rows == [
        ["model-0 base", "owner/name", "abc", "none"],
        ["model-0 sft", "owner/name", "abc", "one, two"],
        ["rule", "rule national_mode", "national_mode", "none"],
    ]
    # where a network did not read shared prefixes right, the page says so
    for passes, details in (
        (("shared_prefix",), "transformers, bfloat16"),
        (("plain",), "transformers, bfloat16, each option read by itself"),
        (("shared_prefix", "plain"), "transformers, bfloat16, each option read by itself"),
    ):
        run = {("model-0", "base"): Origin(base, "", ("abc",), ("",), passes=passes)}
        assert provenance_table(settings, run, ()).rows[0][1].small == details


def test_what_was_doubtful_about_models_is_on_the_page_and_in_the_closing_lines() -> None:
    settings = make_settings(models=1)
    origins = {
        ("model-0", "base"): Origin({}, "", ("abc",), ("",), notes=("the rule was mended", "x")),
        ("model-0", "sft"): Origin({}, "", ("abc",), ("one", "two"), (0.123, 4.5), ("x",)),
    }
    cells = [row[3] for row in provenance_table(settings, origins, ()).rows]
    assert [cell.small for cell in cells] == ["", "moves a logit by up to 0.12 to 4.5"]
    lines = notes_lines(settings, origins, {"judge": ["x", "of its own"]})
    assert lines == [
        "model-0 base: the rule was mended",
        "model-0 base, model-0 sft, judge judge: x",
        "judge judge: of its own",
    ]
    closing = headline(made(models=1), [*lines, "a: b"]).splitlines()
    assert closing[-4:] == [
        *(f"Note: {line}" for line in lines),
        "... and 1 more notes in the report",
    ]
    assert "Doubtful" not in rendered(made())
    assert "<li>model-0: &lt;odd&gt;</li>" in rendered(made(), notes=("model-0: <odd>",))


def test_accepted_results_are_listed_with_differences_and_reason() -> None:
    assert "Accepted results" not in rendered(made())
    text = rendered(made(), accepted=ACCEPTED)
    assert "recipe.epochs: 1 -&gt; 2" in text
    assert "a &lt;reason&gt;" in text


def test_names_of_runs_at_one_place_stand_on_different_sides() -> None:
    runs = [{"model": f"m{i}", "variant": "sft", "x": 0.5, "y": 0.5} for i in range(4)]
    far = {"model": "far", "variant": "sft", "x": 0.0, "y": 0.0}
    base = {"model": "m0", "variant": "base", "x": 0.1, "y": 0.9}
    sides = charts_plane._named([*runs, far, base], "x", "y")
    assert [len(named) for named in sides.values()] == [2, 1, 1, 1]
    assert sides["right above"] == [runs[0], far]
