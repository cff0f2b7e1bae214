"""No sentence is stronger than its test: the hard cases, each by changing one study's tables."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tests.test_report import found, made, number
from valuestrata.report import phrases
from valuestrata.report.answer_findings import answer_warnings
from valuestrata.report.baseline_findings import best_runs
from valuestrata.report.families import adjusted_differences, adjusted_questions
from valuestrata.report.findings import findings
from valuestrata.report.headline import headline
from valuestrata.report.opening import served_sentence
from valuestrata.report.results import Estimate, Results
from valuestrata.report.statistics_tables import readings_table, statistics_tables
from valuestrata.tables import DIVERSITY

NAN = float("nan")
VALUES = ["value", "ci_low", "ci_high"]
TUNING = "Does fine-tuning help?"
BASELINES = "Do baselines still win?"
CEILING = "How close do runs come to the noise ceiling?"
REFUSALS = "Who refuses to answer?"
INEQUALITY = "Is inequality above its null?"
GROUPS = "Which groups are served differently?"
PARADOX = "Does accuracy become fairer and error less fair with tuning?"
DISAGREEMENT = "Where do subgroups disagree?"


def moved(frame: pd.DataFrame, where: Any, value: float, half: float = 0.05) -> pd.DataFrame:
    """The frame with other numbers in some rows."""
    frame = frame.copy()
    frame.loc[where, VALUES] = [value, value - half, value + half]
    return frame


def with_metrics(results: Results, values: dict[tuple[str, str, str], float]) -> Results:
    """More metrics of runs on ood: (model, variant, metric) -> value."""
    rows = [
        {"model": m, "variant": v, "split": "ood", "metric": metric, "judge": "", "dimension": "",
         "baseline": "", **number(value)}
        for (m, v, metric), value in values.items()
    ]  # fmt: skip
    kept = [
        (m, v, metric) not in values or split != "ood"
        for m, v, metric, split in zip(
            *(results.runs[c] for c in ("model", "variant", "metric", "split")), strict=True
        )
    ]
    return replace(results, runs=pd.concat([results.runs[kept], pd.DataFrame(rows)]))


def with_gaps(results: Results, values: dict[tuple[str, str], float], p: float) -> Results:
    """More differences to base on ood: (model, metric) -> tuned minus base."""
    rows = [
        {"split": "ood", "metric": metric, "judge": "", "dimension": "", "model": model,
         "variant": "sft", "other_model": model, "other_variant": "base", **number(value),
         "p_value": p}
        for (model, metric), value in values.items()
    ]  # fmt: skip
    frame = pd.concat([results.differences, pd.DataFrame(rows)], ignore_index=True)
    return replace(results, differences=adjusted_differences(frame, results.settings))


def silent(models: tuple[str, ...] = ("model-0",), share: float = 0.1) -> Results:
    """Base models that answer a tenth of their pairs, and fine-tunes that answer all."""
    metrics, gaps = {}, {}
    for model in models:
        values = {"answered": (share, 1.0), "accuracy_all_pairs": (0.04, 0.6)}
        values |= {"accuracy_upper_bound": (0.94, 0.6), "argmax_accuracy": (0.2, 0.7)}
        for metric, (before, after) in values.items():
            metrics[model, "base", metric] = before
            metrics[model, "sft", metric] = after
            gaps[model, metric] = after - before
    return with_gaps(with_metrics(made(), metrics), gaps, 0.001)


# no answer --------------------------------------------------------------------------------------


def test_a_run_that_hardly_answers_is_judged_over_all_pairs_too() -> None:
    """Accuracy among answers does not change; over all pairs and by probabilities it rises."""
    results = silent(("model-0", "model-1"))
    gaps = results.differences
    same = (gaps["metric"] == "accuracy") & (gaps["other_variant"] == "base")
    same &= gaps["model"] == gaps["other_model"]
    gaps = moved(gaps, same, 0.0).assign(p_value=gaps["p_value"].mask(same, 0.8))
    results = replace(results, differences=adjusted_differences(gaps, results.settings))
    finding = found(results)[TUNING]
    assert finding.answer == (
        "In none of 2 fine-tunes does accuracy on ood change clearly; over all pairs, with no "
        "answer counted as not met, it rises clearly in 2 of 2 fine-tunes, by 0.560."
    )
    assert "share answered 10.0% to 100.0%" in finding.details[0]
    assert "accuracy over all pairs 0.040 to 0.600 (+0.560" in finding.details[0]
    assert "likeliest option 0.200 to 0.700" in finding.details[0]
    enough = found(silent(share=0.9))[TUNING].answer
    assert "over all pairs" not in enough


def test_few_answers_are_a_warning_in_the_closing_lines_and_the_page() -> None:
    results = silent()
    (line,) = answer_warnings(results, "ood")
    assert line == (
        "1 run of 4 answers fewer than 90% of the pairs on ood, model-0 base 10 of 100: accuracy "
        "is of these alone; over all its pairs it lies between 0.040 (none met) and 0.940 "
        "(all met)."
    )
    closing = headline(results, ["another note"])
    assert f"Note: {line[:40]}" in closing
    assert "10.0%" in closing
    head, first = closing.splitlines()[3:5]
    assert head.endswith("all pairs  argmax")
    assert first.split()[-2:] == ["0.040", "0.200"]
    assert "argmax" not in headline(made())
    assert max(map(len, closing.splitlines())) <= 100
    assert line in found(results)[REFUSALS].details
    assert answer_warnings(made(), "ood") == []
    table = readings_table(results, "ood")
    assert [cell.text for cell in table.rows[0]] == [
        "model-0 base", "10.0%", "0.400", "0.040", "0.940", "0.200",
    ]  # fmt: skip


def test_nothing_answered_at_all() -> None:
    """Accuracy has no value; the finding goes by all pairs, and no run leads by answering less."""
    results = silent(share=0.0)
    runs = results.runs.copy()
    mute = (runs["model"] == "model-0") & (runs["variant"] == "base")
    runs.loc[mute & (runs["metric"] == "accuracy"), VALUES] = NAN
    gaps = results.differences.copy()
    none = (gaps["model"] == "model-0") & (gaps["metric"] == "accuracy")
    gaps.loc[none & (gaps["other_variant"] == "base") & (gaps["other_model"] == "model-0"),
             VALUES] = NAN  # fmt: skip
    one = replace(results, runs=runs, differences=gaps)
    assert "over all pairs, with no answer counted as not met" in found(one)[TUNING].answer
    assert headline(one)
    for finding in findings(one):
        assert "nan" not in finding.answer + " ".join(finding.details)


def test_a_run_that_answers_only_what_is_easy_does_not_lead() -> None:
    results = with_metrics(
        made(),
        {
            ("model-0", "sft", "answered"): 0.05,
            ("model-0", "sft", "accuracy"): 0.99,
            ("model-0", "sft", "accuracy_all_pairs"): 0.05,
            ("model-1", "sft", "answered"): 1.0,
            ("model-1", "sft", "accuracy_all_pairs"): 0.43,
        },
    )
    assert list(best_runs(results, "ood")) == [("model-1", "sft")]


def test_refusals_that_rise_are_not_a_fall_in_none() -> None:
    assert "a clear fall in 2 of 2 fine-tunes" in found(made())[REFUSALS].answer
    gaps = made().differences
    is_refusal = (gaps["metric"] == "refusal") & (gaps["model"] == gaps["other_model"])
    rising = replace(made(), differences=moved(gaps, is_refusal, 0.2))
    answer = found(rising)[REFUSALS].answer
    assert "a clear rise in 2 of 2 fine-tunes" in answer
    assert "fall" not in answer
    both = moved(gaps, is_refusal & (gaps["model"] == "model-0"), 0.2)
    answer = found(replace(made(), differences=both))[REFUSALS].answer
    assert "a clear fall in 1 of 2 fine-tunes and a clear rise in 1" in answer
    open_gaps = gaps.assign(p_value=0.5, q_value=0.5)
    answer = found(replace(made(), differences=open_gaps))[REFUSALS].answer
    assert "a change shown in none of 2 fine-tunes" in answer
    untested = gaps.assign(p_value=NAN, q_value=NAN)
    assert "(2 not tested)" in found(replace(made(), differences=untested))[REFUSALS].answer


# ties, one run, nothing tested ------------------------------------------------------------------


def test_ties_at_the_top_name_all() -> None:
    runs = made().runs
    tied = moved(runs, (runs["metric"] == "accuracy") & (runs["variant"] == "sft"), 0.45)
    gains = runs["metric"].eq("normalized_gain_accuracy") & (runs["variant"] == "sft")
    results = replace(made(), runs=moved(tied, gains, 0.3))
    answer = found(results)[BASELINES].answer
    assert "the best tuned runs on ood, model-0 sft and model-1 sft (accuracy 0.450" in answer
    assert "of model-0 sft and model-1 sft: from rule" in found(results)[CEILING].answer
    # a baseline counts as better only if it is better than all that tie
    gaps = results.differences
    one = (gaps["model"] == "model-0") & (gaps["other_model"] == "rule")
    results = replace(results, differences=moved(gaps, one, 0.0))
    answer = found(results)[BASELINES].answer
    assert answer.startswith("Not clearly: no baseline is clearly better than the best tuned runs")


def test_what_was_not_tested_is_said_to_be_so() -> None:
    gaps = made().differences.assign(p_value=NAN, q_value=NAN)
    untested = replace(made(), differences=gaps)
    assert found(untested)[TUNING].answer == (
        "In none of 2 fine-tunes was a change of accuracy on ood tested."
    )
    finding = found(untested)[BASELINES]
    assert finding.answer.startswith("Not tested: no baseline could be tested against")
    assert "Not tested against rule." in finding.details
    assert phrases.tested(Estimate(0.1, NAN, NAN, 2, 0)) == "not tested"
    assert phrases.tested(Estimate(0.1, 0, 1, 2, 0, 0.01, 0.02)) == "p = 0.010, q = 0.020"


def test_headlines_go_by_q() -> None:
    """A p below .05 among many tests is not clear."""
    gaps = made().differences
    assert (
        "in 2 of 2" in found(replace(made(), differences=gaps.assign(p_value=0.04)))[TUNING].answer
    )
    among_many = gaps.assign(p_value=0.04, q_value=0.2)
    finding = found(replace(made(), differences=among_many))[TUNING]
    assert finding.answer.startswith("In none of 2 fine-tunes")
    assert "p = 0.040, q = 0.200" in finding.details[0]


def test_one_run_and_one_subgroup() -> None:
    alone = made(models=1, tuned=False, judge=False)
    for finding in findings(alone):
        assert finding.answer.endswith(".")
        assert "nan" not in finding.answer
    one = replace(
        alone,
        fairness=alone.fairness.iloc[:0],
        contrasts=alone.contrasts.iloc[:0],
        inequality_changes=alone.inequality_changes.iloc[:0],
    )
    answers = found(one)
    assert answers[INEQUALITY].answer.startswith("Inequality was not measured")
    assert answers[GROUPS].answer == "No groups of an axis can be compared on ood."
    assert answers[PARADOX].answer.startswith("There is no fine-tune")
    assert statistics_tables(one, "ood") == []
    assert headline(one)


def test_a_run_below_the_baseline_is_so_many_points_below_it() -> None:
    runs, gaps = made().runs, made().differences
    is_gain = runs["metric"].str.startswith("normalized_gain_accuracy")
    is_gap = (gaps["metric"] == "accuracy") & (gaps["other_model"] == "rule")
    below = moved(runs, is_gain & (runs["model"] != "rule"), -0.128)
    results = replace(made(), runs=below, differences=moved(gaps, is_gap, -0.022, 0.01))
    answer = found(results)[CEILING].answer
    assert "no tuned run is above the best persona-agnostic baseline, rule (0.440 [0.390" in answer
    assert "are 2.2 points below it (−0.022 [−0.032, −0.012], p = 0.001, q = 0.001)" in answer
    assert "%" not in answer
    unsure = moved(gaps, is_gap, -0.022, 0.05)
    answer = found(replace(results, differences=unsure))[CEILING].answer
    assert "a difference that is not shown" in answer
    slight = replace(made(), runs=moved(runs, is_gain, 0.02))
    assert "It is not clearly above rule." in found(slight)[CEILING].details


# conflict ---------------------------------------------------------------------------------------


def diversity(blocks: dict[str, tuple[float, float, int, float]]) -> pd.DataFrame:
    """Blocks: score, mean of the null, questions, p."""
    rows = [
        {"stratum": "mean", "question": "mean", "block": block, "measure": "mds",
         **number(value - null, 0.02, n=n), "value": value,
         "corrected": value - null, "null_mean": null, "null_p95": null + 0.05, "p_value": p}
        for block, (value, null, n, p) in blocks.items()
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=DIVERSITY.names).astype({"p_value": "float64"})
    return adjusted_questions(frame)


def disagreement(**blocks: tuple[float, float, int, float]) -> tuple[str, str]:
    finding = found(replace(made(), diversity=diversity(blocks)))[DISAGREEMENT]
    return finding.answer, " ".join(finding.details)


def test_one_question_never_leads_and_blocks_rank_by_what_is_above_the_null() -> None:
    answer, _ = disagreement(
        science=(0.6, 0.55, 1, 0.2),
        religion=(0.4, 0.19, 7, 0.001),
        noisy=(0.45, 0.4, 5, 0.001),
        trust=(0.02, 0.03, 3, 0.6),
    )
    assert answer.startswith("Most about religion (0.400, null 0.190, 7 questions)")
    assert "least about trust" in answer
    assert "above its null (q < 0.05) in 2 of 4 blocks, not shown in" in answer


def test_blocks_that_cannot_lead() -> None:
    answer, _ = disagreement(a=(0.6, 0.1, 1, 0.001), b=(0.5, 0.1, 2, 0.001))
    assert answer.startswith("No block of at least 3 questions is shown to divide subgroups; ")
    answer, _ = disagreement(a=(0.3, 0.28, 5, 0.4), b=(0.2, 0.19, 5, 0.5))
    assert answer.startswith("No block of at least 3 questions is shown to divide subgroups; ")
    answer, _ = disagreement(a=(0.4, 0.1, 5, 0.001), b=(0.6, 0.1, 1, 0.001))
    assert answer.startswith("Only a (")
    answer, _ = disagreement(a=(0.4, 0.1, 5, NAN), b=(0.3, 0.1, 5, NAN))
    assert answer.endswith("in none of 2 blocks, not tested in a and b.") or "0 of 2" in answer
    answer, _ = disagreement()
    assert answer == "No block of questions has a score."


def test_blocks_that_tie_or_overlap_are_named() -> None:
    answer, details = disagreement(
        a=(0.4, 0.1, 5, 0.001),
        b=(0.5, 0.2, 5, 0.001),
        c=(0.38, 0.1, 5, 0.001),
        d=(0.1, 0.1, 5, 0.5),
    )
    assert answer.startswith("Most about a (")
    assert " and b (0.500" in answer.split(", least")[0]
    assert "Not shown to be apart from the first: c." in details


# groups and inequality --------------------------------------------------------------------------


def test_groups_are_named_where_a_test_shows_them_to_differ() -> None:
    answer = found(made())[GROUPS].answer
    assert ", none is clear (q < 0.05)" in answer
    finding = found(made(group_gap=-0.2, group_q=0.01))[GROUPS]
    assert "are clear (q < 0.05)." in finding.answer
    assert (
        "male against the rest −0.200 [−0.250, −0.150], p = 0.010, q = 0.010."
        in (finding.details[0])
    )
    untested = made().contrasts.assign(p_value=NAN, q_value=NAN)
    answer = found(replace(made(), contrasts=untested))[GROUPS].answer
    assert answer == "No contrast of groups could be tested on ood."


def test_every_sentence_of_every_hard_case_is_whole() -> None:
    cases = [silent(), made(models=1), made(tuned=False, judge=False), made(models=0, judge=False)]
    for results in cases:
        for finding in findings(results):
            text = " ".join([finding.answer, *finding.details])
            assert "nan" not in text
            assert not np.any([f" {word} " in text for word in ("None", "()")])
            assert len(finding.details) <= 3


# who is served, and what cannot be compared -----------------------------------------------------


def served(results: Results, groups: list[float], runs: float | None = None) -> str:
    """The first sentence, where the four subgroups of each run have these accuracies."""
    first = results.groups[results.groups["metric"] == "accuracy"].assign(level="subgroups")
    first = first.drop_duplicates(["model", "variant", "split"])
    frame = pd.concat(
        [first.assign(group=f"sex=group {i}", value=value) for i, value in enumerate(groups)]
    )
    scores = results.runs
    if runs is not None:
        tuned = (scores["metric"] == "accuracy") & (scores["variant"] == "sft")
        scores = moved(scores, tuned, runs)
    return served_sentence(replace(results, groups=frame, runs=scores), "ood")


def test_who_is_served_names_all_runs_and_all_groups_that_tie() -> None:
    text = served(made(), [0.6, 0.5, 0.6, 0.4])
    assert text.startswith("The most accurate tuned run, model-1 sft, gives the modal answer of ")
    assert text.count(" and ") == 1  # two groups at the top
    assert "each), least often for" in text
    alike = served(made(), [0.5, 0.5, 0.5, 0.5])
    assert alike.endswith(" of the pairs on ood: alike for all 4 subgroups.")
    tied = served(made(), [0.6, 0.5, 0.5, 0.4], runs=0.7)
    assert tied.startswith("The most accurate tuned runs, model-0 sft and model-1 sft, give the ")
    assert " on ood: model-0 sft: most often for" in tied
    few = served(silent(("model-0", "model-1"), share=0.5), [0.6, 0.5, 0.5, 0.4])
    assert "of the pairs" in few  # tuned runs answer all
    mute = with_metrics(made(), {
        ("model-0", "sft", "answered"): 0.05,
        ("model-0", "sft", "accuracy_all_pairs"): 0.05,
        ("model-1", "sft", "answered"): 1.0,
        ("model-1", "sft", "accuracy_all_pairs"): 0.43,
    })  # fmt: skip
    text = served(mute, [0.6, 0.5, 0.5, 0.4])
    assert " of all pairs on ood: of those answered most often for" in text
    kinds = (({"tuned": False, "judge": False}, "language model"), ({"models": 0}, "baseline"))
    for study, kind in kinds:
        text = served(made(**{"judge": False, **study}), [0.6, 0.5, 0.5, 0.4])
        assert text.startswith(f"The most accurate {kind}")
    assert phrases.listed_some(["a", "b", "c", "d", "e"]) == "a, b and 3 more"
    assert phrases.listed_some(["a", "b", "c"]) == "a, b and c"


def test_a_baseline_that_shares_no_pair_is_not_beaten() -> None:
    results = made(against_rule=0.2)
    assert found(results)[BASELINES].answer.startswith("No: ")
    gaps = results.differences.copy()
    gaps = gaps[gaps["other_model"] != "rule"]
    finding = found(replace(results, differences=gaps))[BASELINES]
    assert finding.answer.startswith("No baseline shares a pair with")
    more = results.settings.replace(baselines=("rule", "other"), variants={
        **results.settings.variants, "other": ("base",),
    })  # fmt: skip
    finding = found(replace(results, settings=more))[BASELINES]
    assert finding.answer.startswith("Not clearly: no baseline is clearly better than")
    assert "Not tested against other." in finding.details
