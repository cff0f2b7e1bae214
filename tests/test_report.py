"""The report: numbers in the tables, sentences that turn with the numbers, figures, the page."""

import re
from dataclasses import replace
from functools import cache
from html import unescape
from typing import Any

import pandas as pd
import pytest

from tests.toys import RECIPE
from valuestrata import specs
from valuestrata.report import figures as drawings
from valuestrata.report import findings, page, phrases
from valuestrata.report.captions import FIGURES
from valuestrata.report.display import groups_table, labels_table, main_table, way_table
from valuestrata.report.figures_groups import apart
from valuestrata.report.figures_training import training_figure
from valuestrata.report.headline import headline
from valuestrata.report.prompt_sensitivity import rewording_table
from valuestrata.report.results import Results, all_runs, worded
from valuestrata.report.samples import samples_table
from valuestrata.report.tables import tables

CAVEAT = "simulated survey, toy models"
SPLITS = {"train": ("sex",), "ood": ("sex-x-age",)}
GROUPS = {"sex": ["male", "female"], "age": ["young", "$ old & <wise>"]}
Row = dict[str, Any]


def spec(
    models: int = 2,
    tuned: bool = True,
    judge: bool = True,
    caveat: str = CAVEAT,
    wordings: tuple[str, ...] = (),
) -> Any:
    """A study of some language models and a baseline."""
    variants = ("base", "sft") if tuned else ("base",)
    named = {f"model-{i}": variants for i in range(models)}
    compare = specs.Compare(
        models={"rule": ("base",), **named},
        wordings={"rule": (), **dict.fromkeys(named, wordings)},
        baselines=("rule",),
        persona_agnostic=("rule",),
        splits=SPLITS,
        judges=("judge",) if judge else (),
        judged_splits=("ood",) if judge else (),
        evaluation=specs.Evaluation(level=0.95, resamples=1000, seed=1),
        caveat=caveat,
    )
    recipe = replace(RECIPE, learning_rate=1e-6)
    return specs.Report(
        study="demo",
        title="A <small> study",
        survey="Some survey",
        caveat=caveat,
        axes={"sex": "sex", "age": "age"},
        roles={"train": "train", "ood": "test"},
        compare=compare,
        reference={"judge": ("model-0", "base")} if judge else {},
        recipes={"sft": recipe} if tuned else {},
        wordings={"w": {"template": "mandarin"}} if wordings else {},
        folds={},
        toys=(),
    )


def number(value: float, half: float = 0.05, n: int = 100, missing: int = 0) -> Row:
    ends = {"value": value, "ci_low": value - half, "ci_high": value + half}
    return {**ends, "n": n, "missing": missing}


def runs(said: Any) -> pd.DataFrame:
    rows = []
    for split in SPLITS:
        for i, (model, variant) in enumerate([*all_runs(said), *worded(said)]):
            run = {"model": model, "variant": variant, "split": split}
            values = {"accuracy": 0.4 + 0.01 * i, "nmae": 0.3, "wasserstein": 0.2}
            values |= {"refusal": 0.1, "invalid": 0.0, "failed": 0.0}
            values |= {
                "normalized_gain:rule:accuracy": 0.1 * i,
                "normalized_gain:rule:nmae": float("nan"),
            }
            if split in said.compare.judged_splits and model != "rule":
                values |= {"win_rate:judge:Overall": 0.45, "flip_rate:judge:Overall": 0.3}
            rows += [{**run, "metric": m, **number(v, missing=7)} for m, v in values.items()]
    return pd.DataFrame(rows)


def differences(said: Any, against_base: float, against_rule: float, p: float) -> pd.DataFrame:
    rows = []
    for split in SPLITS:
        for model, variant in all_runs(said):
            others = [(("rule", "base"), against_rule)] if model != "rule" else []
            if variant != "base":
                others.append(((model, "base"), against_base))
            for (other, other_variant), gap in others:
                pair = {"model": model, "variant": variant}
                pair |= {"other_model": other, "other_variant": other_variant}
                for metric, value in (("accuracy", gap), ("refusal", -0.1)):
                    row = {"split": split, "metric": metric, **pair, **number(value)}
                    rows.append({**row, "p_value": p})
        for model, variant in worded(said):
            plain = {"other_model": model, "other_variant": variant.partition("+")[0]}
            row = {"split": split, "model": model, "variant": variant, **plain}
            rows.append({**row, "metric": "changed", **number(0.25), "p_value": None})
            rows.append({**row, "metric": "accuracy", **number(against_base), "p_value": p})
    return pd.DataFrame(rows, columns=[c.name for c in contracts.TABLES["differences"]])


def inequality(said: Any, tuned_accuracy: float, tuned_nmae: float) -> pd.DataFrame:
    """Norm.Range is .4 at base for both metrics; its null is always .1."""
    rows = []
    for split in SPLITS:
        for model, variant in all_runs(said):
            for metric, tuned in (("accuracy", tuned_accuracy), ("nmae", tuned_nmae)):
                for statistic in ("norm_range", "cv"):
                    for level in ("subgroups", "sex"):
                        row = {"model": model, "variant": variant, "split": split}
                        row |= {"level": level, "metric": metric, "statistic": statistic}
                        row |= number(0.4 if variant == "base" else tuned)
                        row |= {"groups": 4, "null_mean": 0.1, "null_p95": 0.2, "p_value": 0.01}
                        rows.append({**row, "best": "sex=male", "worst": "sex=female & age=young"})
    return pd.DataFrame(rows)


def groups(said: Any) -> pd.DataFrame:
    rows = []
    for split in SPLITS:
        for model, variant in all_runs(said):
            for level, names in GROUPS.items():
                for group in names:
                    for metric in ("accuracy", "nmae"):
                        row = {"model": model, "variant": variant, "split": split}
                        row |= {"level": level, "group": group, "metric": metric}
                        rows.append({**row, **number(0.5)})
    return pd.DataFrame(rows)


def diversity() -> pd.DataFrame:
    rows = []
    for measure in ("mds", "wasserstein"):
        for block, value in (("trust", 0.1), ("religion", 0.4), ("all", 0.25)):
            row = {"stratum": "mean", "question": "mean", "block": block, "measure": measure}
            rows.append({**row, **number(value, n=5), **null(value)})
        for stratum, value in (("sex", 0.1), ("mean", 0.3)):
            row = {"stratum": stratum, "question": "Q1", "block": "trust", "measure": measure}
            rows.append({**row, **number(value, n=2), **null(value)})
    return pd.DataFrame(rows)


def null(value: float) -> Row:
    return {"null_mean": 0.08, "null_p95": 0.15, "p_value": 0.01 if value > 0.2 else 0.4}


def agreement() -> pd.DataFrame:
    rows = []
    for stratum, value in (("sex", 0.1), ("sex-x-age", 0.5), ("mean", 0.4)):
        for coefficient in contracts.RANKS:
            rows.append({"stratum": stratum, "coefficient": coefficient, **number(value, n=5)})
    return pd.DataFrame(rows)


def ceilings() -> pd.DataFrame:
    rows = []
    for split in SPLITS:
        places = [("all", "all"), *((level, g) for level, own in GROUPS.items() for g in own)]
        for level, group in places:
            for kind, values in (("split_half", (0.6, 0.2)), ("noise_ceiling", (0.9, 0.05))):
                for metric, value in zip(("accuracy", "nmae"), values, strict=True):
                    row = {"ceiling": kind, "split": split, "level": level, "group": group}
                    rows.append({**row, "metric": metric, **number(value)})
    return pd.DataFrame(rows)


def ties() -> pd.DataFrame:
    row = {"stratum": "sex", "subgroup": "sex=male", "question": "Q1", "mode": 2}
    return pd.DataFrame([{**row, "codes": [2, 4], "each": 15.0, "n": 40, "respondents": 41}])


def made(
    against_base: float = 0.2,
    against_rule: float = -0.1,
    p: float = 0.001,
    tuned_accuracy: float = 0.3,
    tuned_nmae: float = 0.5,
    **study: Any,
) -> Results:
    said = spec(**study)
    frames = {
        "runs": runs(said),
        "differences": differences(said, against_base, against_rule, p),
        "fairness": inequality(said, tuned_accuracy, tuned_nmae),
        "groups": groups(said),
        "diversity": diversity(),
        "agreement": agreement(),
        "ceilings": ceilings(),
        "ties": ties(),
    }
    checked = {k: contracts.check(v, k) for k, v in frames.items()}
    checked["ties"] = checked["ties"].assign(split="ood")
    return Results(said, **checked)


SUMMARY: Row = {
    "respondents": 1234,
    "countries": ["Somewhere"],
    "questions": 5,
    "groups": {"sex": {"male": 600, "female": 634}},
    "splits": {
        "ood": {
            "strata": {"sex-x-age": 4},
            "subgroups": 4,
            "pairs": 20,
            "tied_modes": 1,
            "baselines": {"national_mode": {"accuracy": number(0.6), "nmae": number(0.1)}},
            "ceilings": {
                kind: {"accuracy": number(0.7), "nmae": number(0.05)}
                for kind in ("split_half", "noise_ceiling")
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
STEPS = [{"step": i, "loss": 1 / i} for i in range(1, 30)]
LOG = {"steps": STEPS, "logit_shift": 0.123}


def logs(results: Results) -> drawings.Logs:
    return {s: LOG for s in all_runs(results.spec) if s[1] == "sft"}


@cache
def drawn(judge: bool = True, tuned: bool = True, caveat: str = CAVEAT) -> dict[str, str]:
    results = made(judge=judge, tuned=tuned, caveat=caveat)
    return drawings.figures(results, logs(results))


def rendered(
    results: Results, text: str = "An answer.", figures: dict[str, str] | None = None
) -> str:
    pair = {"stratum": "s", "subgroup": "sex=male", "question": "Q1"}
    texts = pd.DataFrame([{**pair, "text": text, "outcome": "answer"}])
    verdicts = pd.DataFrame([{**pair, "dimension": "Overall", "score": 0.75, "flipped": True}])
    run = ("model-0", "base")
    samples = [samples_table(results.spec, "ood", {run: texts}, {(run, "judge"): verdicts})]
    origins = {run: ("/home/someone/weights", "abc")}
    return page.render_rendered(results, SUMMARY, figures or drawn(), samples, origins, "1.2.3")


def answers(results: Results) -> dict[str, str]:
    """The findings' answers by the first word that tells them apart."""
    return {f.question: f.answer for f in findings.findings(results)}


# tables ----------------------------------------------------------------------------------------


def test_main_table_has_a_row_for_each_run_with_all_five_parts_of_a_number() -> None:
    results = made()
    main = tables(results)["main"]
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


def test_no_table_rounds_and_each_says_the_caveat_if_there_is_one() -> None:
    value = 0.123456789012345
    results = made(against_base=value)
    for name, frame in tables(results).items():
        assert (frame["caveat"] == CAVEAT).all(), name
        assert not frame.columns.str.startswith("#").any()
    assert value in set(tables(results)["differences"]["value"])
    assert not any("caveat" in frame for frame in tables(made(caveat="")).values())


def test_tables_put_first_what_matters_most() -> None:
    found = tables(made())
    first = found["differences"][:2]
    assert (first["model"] == first["other_model"]).all()
    assert list(found["diversity"]["block"][:3]) == ["religion", "all", "trust"]
    assert found["diversity"]["question"].iloc[-1] == "Q1"


def test_displayed_number_has_interval_n_and_missing() -> None:
    table = main_table(made(), "ood")
    accuracy = table.rows[0][1]
    assert (accuracy.text, accuracy.interval) == ("0.400", "[0.350, 0.450]")
    assert accuracy.small.replace("\xa0", " ") == "n 100, missing 7"
    assert table.rows[-3][0].small == "baseline, no language model"


def test_wording() -> None:
    said = [phrases.decimal(value) for value in (0.6329, -0.1, -0.0001, 1)]
    assert said == ["0.633", "−0.100", "0.000", "1.000"]
    assert phrases.decimal(0.2, signed=True) == "+0.200"
    assert phrases.percent(0.1234) == "12.3%"
    assert phrases.decimal(float("nan")) == phrases.NONE
    assert phrases.p_value(0.0001) == "p < 0.001"
    assert phrases.metric_name("win_rate:j:Value") == "Win rate, Value (j)"


# findings --------------------------------------------------------------------------------------

TUNING = "Does fine-tuning help on subgroups it was not tuned on?"
BASELINES = "Do simple baselines still win?"
PARADOX = "Is accuracy fairer and error less fair after tuning?"


def test_tuning_sentence_turns_with_the_difference() -> None:
    assert "raises accuracy on ood in 2 of 2 fine-tunes, by 0.200" in answers(made())[TUNING]
    assert "lowers accuracy on ood in 2 of 2" in answers(made(against_base=-0.2))[TUNING]
    assert "In none of 2 fine-tunes" in answers(made(against_base=0.01))[TUNING]
    assert "No model was fine-tuned" in answers(made(tuned=False))[TUNING]


def test_interval_without_test_is_open() -> None:
    found = next(f for f in findings.findings(made(p=0.3)) if f.question == TUNING)
    assert "In none" in found.answer
    assert "Interval and test disagree" in found.details[0]
    assert "+0.200 [+0.150, +0.250], p = 0.300, over 100 pairs" in found.details[0]


def test_baseline_sentence_turns_with_the_difference() -> None:
    loses = next(f for f in findings.findings(made()) if f.question == BASELINES)
    assert loses.answer.startswith("Yes: rule is still better than the best tuned run")
    assert "still better by 0.100 [0.050, 0.150]" in loses.details[0]
    assert "model-1 sft" in loses.answer
    assert answers(made(against_rule=0.2))[BASELINES].startswith("No: the best tuned run")
    assert answers(made(against_rule=0.01))[BASELINES].startswith("Not clearly")
    assert "best language model" in answers(made(tuned=False))[BASELINES]


def test_paradox_sentence_turns_with_the_ranges() -> None:
    assert "is seen in 2 of 2 fine-tunes" in answers(made())[PARADOX]
    assert "is not seen" in answers(made(tuned_nmae=0.3))[PARADOX]
    assert "is not seen" in answers(made(tuned_accuracy=0.5))[PARADOX]


def test_paradox_that_the_null_explains_is_called_so() -> None:
    frame = made().fairness
    change = (frame["value"] - 0.4).where(frame["variant"] == "sft", 0.0)
    moved = frame.assign(null_mean=frame["null_mean"] + 2 * change)
    said = answers(replace(made(), fairness=moved))[PARADOX]
    assert "Once what chance gives is taken off, it is seen in none" in said


def test_inequality_counts_runs_beyond_chance() -> None:
    question = "Is inequality beyond chance?"
    assert "accuracy in 4 by Norm.Range and 4 by CV" in answers(made())[question]
    equal = replace(made(), fairness=made().fairness.assign(p_value=0.5))
    assert "accuracy in 0 by Norm.Range and 0 by CV" in answers(equal)[question]


WORDED = ("base+w", "sft+w")
HOLD = "Do answers hold in another wording?"


def test_the_wording_sentence_turns_with_the_difference() -> None:
    assert HOLD not in answers(made())
    said = answers(made(against_base=-0.2, wordings=WORDED))[HOLD]
    assert "changes 25.0% of the answers on ood" in said
    assert "falls clearly in 4 of 4 reworded runs" in said
    assert "rises clearly in 4 of 4" in answers(made(wordings=WORDED))[HOLD]
    assert "changes clearly in none of 4" in answers(made(against_base=0.01, wordings=WORDED))[HOLD]


def test_the_wordings_have_a_table_and_stand_in_no_other() -> None:
    results = made(wordings=WORDED)
    table = rewording_table(results, "ood")
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        (f"model-{i} {v}", "w") for i in range(2) for v in ("base", "sft")
    ]
    assert table.rows[0][4].text == "25.0%"
    assert "w: template mandarin." in table.note
    assert [row[0].text for row in main_table(results, "ood").rows] == [
        row[0].text for row in main_table(made(), "ood").rows
    ]
    assert "25.0%" in rendered(results)
    assert "Other wordings" not in rendered(made())
    assert list(tables(results)["main"]["variant"].unique()) == ["base", "sft", *WORDED]


def test_disagreement_says_what_is_above_its_null_and_what_is_not() -> None:
    question = "Where do subgroups disagree?"
    found = next(f for f in findings.findings(made()) if f.question == question)
    assert "(p < 0.05) in 1 of 2 blocks; not in trust." in found.answer
    details = " ".join(found.details)
    assert "where chance gives 0.080 (95th percentile 0.150)" in details
    assert "above it in 1 of 1 single question, of which about 0.1" in details
    assert "not above chance in trust" in details
    assert "5 questions alike by Spearman's ρ 0.400 [0.350, 0.450]" in details
    assert "runs from 0.100 (sex) to 0.500 (sex × age)" in details


def test_reach_sentence_names_baseline_ceiling_and_interval() -> None:
    question = "How much of what can be reached is reached?"
    found = next(f for f in findings.findings(made()) if f.question == question)
    assert "model-1 sft goes 30.0% [25.0%, 35.0%] of the way in accuracy from rule" in found.answer
    assert "perfect knowledge (0.900 [0.850, 0.950])" in found.answer
    assert "no room or no value in NMAE (100 pairs, 7 left out)" in found.details[0]
    assert "gives the other half's mode in 0.600" in found.details[-1]
    runs = made().runs
    runs.loc[runs["metric"].str.startswith("way"), ["value", "ci_low", "ci_high"]] = float("nan")
    assert "there is no way to go" in answers(replace(made(), runs=runs))[question]
    none = made()
    compare = replace(none.spec.compare, persona_agnostic=())
    said = answers(replace(none, spec=replace(none.spec, compare=compare)))[question]
    assert "no baseline that knows no persona" in said


def test_scores_stand_beside_what_can_be_reached() -> None:
    rows = main_table(made(), "ood").rows
    names = [row[0].text for row in rows]
    assert names[-2:] == ["perfect knowledge", "half of the subgroup"]
    assert (rows[-2][1].text, rows[-2][1].interval) == ("0.900", "[0.850, 0.950]")
    assert groups_table(made(), "ood", "accuracy").rows[0][-1].text == "0.900"
    assert way_table(made(), "ood").rows[1][1].text == "10.0%"
    assert (tables(made())["groups"]["noise_ceiling"].dropna() > 0).all()


def test_ties_are_listed_with_codes_and_counts() -> None:
    listed = tables(made())["ties"]
    (row,) = listed.drop(columns="caveat").to_dict("records")
    assert row["codes"] == "2 4"
    assert (row["split"], row["each"], row["n"], row["respondents"]) == ("ood", 15.0, 40, 41)
    table = labels_table(SUMMARY, ["train", "ood"])
    assert [c.text for c in table.rows[0]] == ["ood", "1", "0", "7.0%", "0.020"]
    assert "modal answers are unweighted, its distributions weighted" in table.note


def test_judge_and_disagreement() -> None:
    said = answers(made())
    assert "Most about religion" in said["Where do subgroups disagree?"]
    assert "least about trust" in said["Where do subgroups disagree?"]
    assert "tells no run apart from model-0 base" in said["What does the judge say?"]
    assert "flips with the order in 30.0%" in said["What does the judge say?"]
    assert "No judge" in answers(made(judge=False))["What does the judge say?"]


@pytest.mark.parametrize("models", [1, 2, 20])
def test_headline_fits_a_terminal(models: int) -> None:
    lines = headline(made(models=models)).splitlines()
    assert 8 <= len(lines) <= 15
    assert max(map(len, lines)) <= 100
    assert lines[0] == "Report: results/demo/report/index.html"
    assert lines[1] == phrases.caveat_sentence(CAVEAT)
    assert any("rule" in line and "100" in line for line in lines)
    assert any(line.startswith("Do baselines still win? Yes") for line in lines)


# figures ---------------------------------------------------------------------------------------


def test_figures_are_the_same_bytes_twice_and_keep_text_as_text() -> None:
    results = made()
    first, second = drawn(), drawings.figures(results, logs(results))
    assert first == second
    assert list(first) == list(FIGURES)
    for name, svg in first.items():
        assert "Simulated survey, toy models." in svg, name
        assert "<text" in svg
        assert "dc:date" not in svg
    assert "$ old &amp; &lt;wise&gt;" in first["groups"]


def test_figures_without_data_say_so_in_words() -> None:
    plain = drawn(judge=False, tuned=False, caveat="")
    assert "No judge compared open-ended answers" in plain["win_rates"]
    assert "No model was fine-tuned" in plain["training"]
    assert "Simulated" not in "".join(plain.values())


def test_a_method_that_learns_from_rewards_is_drawn_by_its_reward() -> None:
    results = made()
    steps = [{"step": i, "loss": -0.01, "reward": 0.5, "gradient_norm": 1.0} for i in range(9)]
    rewarded = {one: {"steps": steps, "logit_shift": 0.5} for one in logs(results)}
    figure = training_figure(results.spec, rewarded)
    titles = {axes.get_title() for axes in figure.axes}
    assert titles == {"mean reward of its replies", "norm of the gradient"}
    assert "loss" in training_figure(results.spec, logs(results)).axes[0].get_title()


def test_training_curves_show_what_was_logged() -> None:
    spec = made().spec
    system = ("model-0", "sft")
    plain = drawings.draw(lambda: drawings.training_figure(spec, {system: LOG}))
    assert "No pairs were" in plain
    assert "accuracy held back" not in plain
    assert "tokens a second" not in plain
    assert "model-0 / sft 0.12." in plain
    more = {"held_accuracy": 0.5, "held_n": 104, "tokens": 3000, "seconds": 0.5}
    held = {"steps": [{**step, **more} for step in STEPS], "logit_shift": 0.5}
    full = drawings.draw(lambda: drawings.training_figure(spec, {system: held}))
    assert "Held back: 104" in full
    assert "sft, at last 0.50" in full
    assert "tokens a second" in full
    assert "sft, at last 6,000" in full


def test_figures_grow_with_the_number_of_models() -> None:
    def height(models: int) -> float:
        svg = drawings.draw(lambda: drawings.runs_figure(made(models=models), "accuracy"))
        return float(re.findall(r'viewBox="0 0 \S+ (\S+)"', svg)[0])

    assert height(20) > 3 * height(3)


def test_names_move_apart_no_more_than_they_must() -> None:
    assert apart([], []) == []
    assert apart([0.2, 0.8], ["base", "sft"]) == [0.2, 0.8]
    near = apart([0.50, 0.51], ["base", "sft"], letter=0.02)
    assert near[1] - near[0] == pytest.approx(0.09)
    assert sum(near) == pytest.approx(1.01)


# the page --------------------------------------------------------------------------------------


def test_page_escapes_what_models_wrote() -> None:
    text = rendered(made(), text="<script>alert(1)</script> & more")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text
    assert "A &lt;small&gt; study" in text
    assert "Overall 0.75 (flipped)" in text


def test_page_asks_for_nothing_and_names_no_path() -> None:
    text = rendered(made())
    assert not re.search(r"https?:|//[a-z]", text)
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=\"(?!data:,)|@import", text)
    assert "/home" not in text


def test_page_is_whole_and_its_ids_are_unique() -> None:
    text = rendered(made())
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in ids
    assert text.count('<svg viewBox="') == len(FIGURES)
    assert text.count('role="img" aria-label="') == len(FIGURES)
    assert "None" not in unescape(re.sub(r"<[^>]+>", " ", text))


@pytest.mark.parametrize("caveat", ["", CAVEAT, "simulated survey", "toy models"])
def test_page_shows_a_caveat_if_and_only_if_there_is_one(caveat: str) -> None:
    text = rendered(made(caveat=caveat))
    assert ('class="caveat"' in text) == bool(caveat)
    assert ("say nothing about" in text) == bool(caveat)
    assert ("nothing about people" in text) == ("simulated" in caveat)
    assert ("real models" in text) == ("toy" in caveat)


def test_page_of_a_study_without_judge_and_tuning() -> None:
    text = rendered(made(judge=False, tuned=False), figures=drawn(False, False, ""))
    assert "No judge compared open-ended answers in this study." in text
    assert "No model was fine-tuned in this study." in text
    assert "Recipes of fine-tuning" not in text
