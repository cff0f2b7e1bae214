"""Perturbed prompts and probes for contamination: scripted models whose numbers are worked out."""

import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import asking
from tests.study.parts import CONFIG, complaint, study
from tests.test_model_stages import FOLDED, SERVED
from tests.test_report import made, rendered
from valuestrata import evaluation_tables, io, tables
from valuestrata.commands import export
from valuestrata.commands.check import described, warnings
from valuestrata.contracts import check, frame_of
from valuestrata.errors import InputError
from valuestrata.inference.openai import SentPrompt
from valuestrata.inference.protocol import LoadCheck, Messages, ScoredReply, ScoringRequest
from valuestrata.metrics.swapped import NO_PARTNER, partners
from valuestrata.prompting import prompts
from valuestrata.prompting.perturbations import item_texts, perturbed_messages
from valuestrata.prompting.settings import PromptSettings
from valuestrata.records import Record
from valuestrata.report.contamination import item_rows, national_rows
from valuestrata.report.display import NO_BREAK
from valuestrata.report.families import adjusted_sensitivity
from valuestrata.report.headline import headline
from valuestrata.report.perturbation_tables import perturbation_finding
from valuestrata.report.perturbed_answers import (
    PairAnswers,
    PairArrays,
    compared,
    following,
    of_partners,
)
from valuestrata.report.perturbed_answers import tested_row as row_of_test
from valuestrata.report.tables import report_tables
from valuestrata.stages import ask_perturbed, perturb, predict, sensitivity
from valuestrata.stages.job import Job, expected
from valuestrata.stages.nodes import nodes
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.models import TransformersModel
from valuestrata.study.perturbed import asked_runs, compared_runs
from valuestrata.study.sensitivity import PERTURBATIONS, REWORDED, Sensitivity
from valuestrata.survey.groups import Group, Groups
from valuestrata.survey.national import national_shares
from valuestrata.survey.wordings import check_wordings, read_wordings

GROUPS = ("red", "green", "blue")
SIZES = (2, 3, 4, 5, 3, 3)
"""Options of each question."""
MODES = {"red": 1, "green": 1, "blue": 2}
PROMPT = PromptSettings(
    template="english", country="Utopia", personas={"hue": "wearing {group}"},
    labels={"hue": "hue"}, persona="second", order="persona", options="asked",
)  # fmt: skip
EVALUATION = Evaluation(n_resamples=50)
MODEL = TransformersModel(backend="transformers", model="none", dtype="float32")
RUN = {"model": "m", "variant": "base", "split": "ood"}
Says = Callable[[str, str, list[int]], tuple[str, list[float] | None]]
"""Text and log-probabilities of the options, from both messages and the codes as they are shown."""


def questions() -> pd.DataFrame:
    """Six questions of two to five labelled options; the last is nominal."""
    rows = [
        {
            "question": f"Q{q}", "topic": f"topic {q}", "text": f"How do you like number {q} now?",
            "block": "values", "measurement_level": "nominal" if q == 5 else "ordinal",
            "scale_min": 1, "scale_max": size, "codes": [*range(1, size + 1)],
            "labels": [f"grade {c}" for c in range(1, size + 1)], "n": 100, "missing": 0,
        }
        for q, size in enumerate(SIZES)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def pairs() -> pd.DataFrame:
    """Each group on each question, worded in the study's own prompt."""
    rows = []
    for group in GROUPS:
        for row in io.records(questions()):
            text = prompts.render_question(
                PROMPT, row["text"], row["codes"], row["labels"], (1, row["scale_max"])
            )
            first, second = prompts.messages(PROMPT, prompts.persona(PROMPT, {"hue": group}), text)
            names = ("question", "block", "measurement_level", "scale_min", "scale_max")
            rows.append({
                **{name: row[name] for name in (*names, "codes", "labels")},
                "stratum": "hue", "subgroup": f"hue={group}", "mode": MODES[group], "tied": False,
                "distribution": [1 / len(row["codes"])] * len(row["codes"]), "n": 50,
                "respondents": 60, "persona": first, "closed_prompt": second,
            })  # fmt: skip
    return pd.DataFrame(rows)


class ScriptedModel:
    """A backend that answers by a function; it has no tokenizer, as a service has none."""

    version, adapter, chat, max_length, shard_size = "scripted", "", None, None, 4096
    entries: tuple[str, ...] = ()
    numerics: tuple[str, ...] = ()

    def __init__(self, says: Says) -> None:
        self.says = says
        self.asked: list[Messages] = []

    def render(self, messages: Messages) -> SentPrompt:
        return SentPrompt(messages)

    def check_load(self, messages: Messages) -> LoadCheck:
        return LoadCheck()

    def score(self, requests: list[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        replies = []
        for request in requests:
            self.asked.append(request.messages)
            shown = re.findall(r"^(\d+) = ", "\n".join(request.messages), re.MULTILINE)
            text, logprobs = self.says(*request.messages, [int(code) for code in shown])
            array = None if logprobs is None else np.array(logprobs)
            replies.append(ScoredReply(text, array, "stop", "plain"))
        return replies


def options(folder: Path) -> Namespace:
    return asking.options(folder, "cache")


Shown = Mapping[tuple[str, str], Mapping[str, Any]]


@pytest.fixture
def shown(tmp_path: Path) -> Callable[..., Shown]:
    """What a scripted model shows: rows of SENSITIVITY by perturbation and metric."""

    def shown(says: Says, names: tuple[Any, ...] = PERTURBATIONS, max_pairs: int = 100) -> Shown:
        folder = tmp_path / says.__name__
        folder.mkdir()
        where = {name: str(folder / f"{name}.parquet") for name in ("pairs", "own", "questions")}
        io.write_table(pairs(), where["pairs"], tables.PAIRS, asking.MADE_OF)
        io.write_table(questions(), where["questions"], tables.QUESTIONS, asking.MADE_OF)
        hues = tuple(Group(label=group, codes=(), n=60) for group in GROUPS)
        groups = Groups(countries=(), axes={"hue": hues}).model_dump(mode="json")
        io.write_json(groups, folder / "groups.json", asking.MADE_OF)
        model = ScriptedModel(says)
        asked = {"model": MODEL, "template": "english", "max_new_tokens": 9, "caveat": ""}
        files: dict[str, Any] = {"pairs": where["pairs"], "predictions": where["own"]}
        about = Record("predict", RUN, {})
        answering = predict.Settings(**asked)
        predict.run(Job(answering, files, about, options(folder), None, model))
        reworded = tuple(name for name in REWORDED if name in names)
        worded = tuple(str(folder / f"pairs-{name}.parquet") for name in reworded)
        answered = tuple(str(folder / f"answers-{name}.parquet") for name in reworded)
        wording = perturb.Settings(
            perturbations=reworded, max_pairs=max_pairs, seed=1, prompt=PROMPT, caveat=""
        )
        files = {
            **where, "groups": str(folder / "groups.json"), "perturbed": worded
        }  # fmt: skip
        perturb.run(Job(wording, files, Record("perturb", {"split": "ood"}, {})))
        item = ask_perturbed.ItemProbe(
            **{name: getattr(PROMPT, name) for name in PromptSettings.model_fields},
            survey="Some survey", seed=1,
        )  # fmt: skip
        files = {
            "pairs": worded, "perturbed": answered, "asked": where["pairs"],
            "questions": where["questions"], "item_texts": str(folder / "items.parquet"),
        }  # fmt: skip
        again = ask_perturbed.Settings(**asked, items=item)
        ask_perturbed.run(Job(again, files, about, options(folder), None, model))
        people = [{"respondent": str(i), "weight": 1 + i % 2} for i in range(8)]
        responses = pd.DataFrame(people).assign(**{f"Q{q}": [1, 2] * 4 for q in range(6)})
        io.write_table(responses, folder / "people.parquet", tables.RESPONSES, asking.MADE_OF)
        run = ("m", "base", "ood")
        rule = ("rule", "base", "ood")
        config = sensitivity.Settings(
            splits=("ood",), runs=(run, rule), asked=(run,), perturbations=names,
            reworded=reworded, baselines=("rule",), weighted=True, seed=1, evaluation=EVALUATION,
            caveat="",
        )  # fmt: skip
        files = {
            "pairs": (where["pairs"],), "predictions": (where["own"], "none"),
            "perturbed": answered, "item_texts": (str(folder / "items.parquet"),),
            "questions": where["questions"], "responses": str(folder / "people.parquet"),
            "sensitivity": str(folder / "sensitivity.parquet"),
        }  # fmt: skip
        sensitivity.run(Job(config, files, Record("sensitivity", {}, {})))
        frame = io.read_table(files["sensitivity"], evaluation_tables.SENSITIVITY)
        is_rule = frame["model"].eq("rule")
        assert frame[is_rule]["n"].eq(0).all()
        assert set(frame[is_rule]["note"]) == {sensitivity.RULE}
        assert len(frame[is_rule]) == len(names)
        rows = io.records(frame[~is_rule])
        return {(row["perturbation"], row["metric"]): row for row in rows}

    return shown


def reply(code: int) -> str:
    return prompts.answer("english", code)


def certain(code: int, shown: list[int]) -> list[float]:
    """Log-probabilities of ascending codes, nearly all on one of them."""
    return [0.0 if c == code else -50.0 for c in sorted(shown)]


def number_of(*messages: str) -> int:
    found_in = re.search(r"number (\d)", " ".join(messages))
    assert found_in
    return int(found_in[1])


def is_exactly(row: Mapping[str, Any], value: float, n: int) -> None:
    """Every question says the same: a change of 0 is a copy's, other values may hide a rare one."""
    assert (row["value"], row["n"]) == (value, n)
    near, far = sorted((row["ci_low"], row["ci_high"]), key=lambda end: abs(end - value))
    assert near == value
    is_copy = value == 0 and row["p_value"] is not None
    assert far == value if is_copy else 0 < abs(far - value) < 1


def test_where_nothing_varies_an_interval_is_that_of_as_many_observations_as_questions() -> None:
    cluster, evaluation = np.repeat(np.arange(40), 3), Evaluation(n_resamples=50)
    for bounds in ((-1.0, 1.0), None):
        for value, low, high in ((1.0, 0.82, 1.0), (-0.5, -0.55, -0.36), (0.0, 0.0, 0.0)):
            row = row_of_test("accuracy", np.full(120, value), cluster, evaluation, bounds)
            assert row["value"] == value
            ends = (row["ci_low"], row["ci_high"])
            if bounds is None and value:
                assert np.isnan(ends).all()
            else:
                assert ends == pytest.approx((low, high), abs=0.02)


def test_a_model_that_ignores_persona_order_and_wording_shows_no_change(
    shown: Callable[..., Shown],
) -> None:
    def stubborn(first: str, second: str, codes: list[int]) -> tuple[str, list[float]]:
        code = 1 + number_of(first, second) % 2
        return reply(code), certain(code, codes)

    rows = shown(stubborn)
    for name in PERTURBATIONS[:6]:
        agreement = rows[name, "agreement"]
        assert (agreement["value"], agreement["ci_high"], agreement["n"]) == (1, 1, 18), name
        assert agreement["ci_low"] < 1  # six questions prove little
        assert agreement["missing"] == 0
        for metric in ("accuracy", "nmae", "accuracy_all_pairs"):
            is_exactly(rows[name, metric], 0.0, 15 if metric == "nmae" else 18)
            assert rows[name, metric]["p_value"] == rows[name, metric]["q_value"] == 1
            assert rows[name, metric]["family"] == "sensitivity"
    for name in (*REWORDED, "persona_swapped"):
        is_exactly(rows[name, "total_variation"], 0.0, 18)
        is_exactly(rows[name, "wasserstein"], 0.0, 15)
    assert rows["persona_swapped", "changed_where_people_differ"]["value"] == 0
    assert rows["persona_swapped", "changed_where_people_agree"]["value"] == 0
    assert rows["persona_swapped", "follows_people"]["value"] == 0
    assert rows["persona_swapped", "follows_people"]["p_value"] == 1
    assert rows["item_text", "nats_per_token"]["note"] == sensitivity.SERVICE


def test_a_model_that_answers_by_position_agrees_where_the_place_has_the_same_code(
    shown: Callable[..., Shown],
) -> None:
    """The second option that is shown: reversed it is the same code in questions of three."""

    def second_shown(first: str, second: str, codes: list[int]) -> tuple[str, list[float]]:
        return reply(codes[1]), certain(codes[1], codes)

    rows = shown(second_shown, ("option_order", "paraphrase", "persona_swapped"))
    agreement = rows["option_order", "agreement"]
    assert agreement["value"] == SIZES.count(3) / len(SIZES)
    assert (agreement["n"], agreement["missing"]) == (18, 0)
    moved = rows["option_order", "total_variation"]
    assert moved["value"] == pytest.approx(1 - SIZES.count(3) / len(SIZES))
    # of 2, 4 and 5 options, code 2 becomes 1, 3 and 4: W1 is 1, 1/3 and 2/4; of three it is 0
    # (five ordinal questions)
    assert rows["option_order", "wasserstein"]["value"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 5)
    # blue's mode is 2, that of red and green 1: of 2 options reversed both of the latter are met
    before, after = [1 / 3] * 6, [2 / 3, 1 / 3, 0, 0, 1 / 3, 1 / 3]
    change = float(np.mean(np.subtract(after, before)))
    assert rows["option_order", "accuracy"]["value"] == pytest.approx(change)
    assert rows["paraphrase", "agreement"]["value"] == 1
    assert rows["persona_swapped", "agreement"]["value"] == 1


def test_a_model_that_follows_the_persona_changes_where_people_differ_and_nowhere_else(
    shown: Callable[..., Shown],
) -> None:
    def follower(first: str, second: str, codes: list[int]) -> tuple[str, list[float]]:
        whole = first + second
        group = next((g for g in GROUPS if f"wearing {g}" in whole), None)
        if group is None:
            return "I cannot answer that.", certain(2, codes)
        return reply(MODES[group]), certain(MODES[group], codes)

    rows = shown(follower)
    # in a circle of red, green and blue two of three change, red beside green does not
    assert rows["persona_swapped", "agreement"]["value"] == pytest.approx(1 / 3)
    assert rows["persona_swapped", "changed_where_people_differ"]["value"] == 1
    assert rows["persona_swapped", "changed_where_people_differ"]["n"] == 12
    assert rows["persona_swapped", "changed_where_people_agree"]["value"] == 0
    assert rows["persona_swapped", "changed_where_people_agree"]["n"] == 6
    assert rows["persona_swapped", "follows_people"]["value"] == 1
    assert rows["persona_swapped", "accuracy"]["value"] == pytest.approx(-2 / 3)
    assert rows["persona_swapped", "accuracy"]["p_value"] == pytest.approx(2 / 2**6)
    for name in ("paraphrase", "prompt_order", "option_order"):
        assert rows[name, "agreement"]["value"] == 1
    dropped = rows["persona_dropped", "agreement"]
    assert (dropped["n"], dropped["missing"], dropped["note"]) == (0, 18, sensitivity.NO_ANSWER)
    dropped = rows["persona_dropped", "answered"]
    assert (dropped["value"], dropped["ci_low"], dropped["n"]) == (-1.0, -1.0, 18)
    assert -0.2 < dropped["ci_high"] < 0  # six questions that agree are six observations
    assert rows["persona_dropped", "accuracy_all_pairs"]["value"] == -1
    # probabilities are there whatever is written: code 2 in place of the mode
    assert rows["persona_dropped", "argmax_agreement"]["value"] == pytest.approx(1 / 3)
    assert rows["persona_dropped", "total_variation"]["value"] == pytest.approx(2 / 3)


def test_the_likeliest_option_is_compared_with_the_text(shown: Callable[..., Shown]) -> None:
    def two_minds(first: str, second: str, codes: list[int]) -> tuple[str, list[float] | None]:
        """Writes 1; its probabilities say 2 on two questions, nothing on one, else 1."""
        number = number_of(first, second)
        if number == 5:
            return reply(1), None
        return reply(1), certain(2 if number < 2 else 1, codes)

    rows = shown(two_minds, ("first_token",))
    agreement = rows["first_token", "agreement"]
    assert (agreement["value"], agreement["n"], agreement["missing"]) == (3 / 5, 15, 3)
    # 1 is the mode of two groups in three, 2 of the third
    assert rows["first_token", "accuracy"]["value"] == pytest.approx(2 / 5 * (1 / 3 - 2 / 3))
    assert ("first_token", "total_variation") not in rows
    assert ("first_token", "answered") not in rows


def test_without_probabilities_there_is_no_number_and_the_reason_is_said(
    shown: Callable[..., Shown],
) -> None:
    def mute(first: str, second: str, codes: list[int]) -> tuple[str, None]:
        return reply(1), None

    rows = shown(mute, ("option_order", "first_token"))
    assert rows["option_order", "agreement"]["value"] == 1
    for key in (
        ("first_token", "agreement"),
        ("option_order", "total_variation"),
        ("option_order", "argmax_agreement"),
    ):
        assert (rows[key]["n"], rows[key]["note"]) == (0, sensitivity.SILENT), key
        assert np.isnan(rows[key]["value"])


def test_calls_that_fail_are_missing_and_said(shown: Callable[..., Shown]) -> None:
    def unreliable(first: str, second: str, codes: list[int]) -> tuple[Any, None]:
        """Fails on two of six questions where the options are turned round."""
        is_turned = codes[0] > 1 and number_of(first, second) < 2
        return None if is_turned else reply(1), None

    rows = shown(unreliable, ("option_order", "paraphrase"))
    agreement = rows["option_order", "agreement"]
    assert (agreement["value"], agreement["n"], agreement["missing"]) == (1, 12, 6)
    assert agreement["note"] == "6 of 18 calls failed"
    assert rows["option_order", "answered"]["value"] == pytest.approx(-1 / 3)
    assert rows["paraphrase", "agreement"]["note"] == ""


def test_the_countrys_answers_are_near_or_far_by_hand(shown: Callable[..., Shown]) -> None:
    """Half said 1 and weigh 1 each, half said 2 and weigh 2: a third and two thirds."""

    def knows(first: str, second: str, codes: list[int]) -> tuple[str, list[float]]:
        shares = {1: 1 / 3, 2: 2 / 3}
        return reply(2), [float(np.log(shares.get(c, 1e-12))) for c in sorted(codes)]

    def flat(first: str, second: str, codes: list[int]) -> tuple[str, list[float]]:
        return reply(1), [0.0] * len(codes)

    # total variation of all options alike to (1/3, 2/3): 1/6, 1/3, 1/2, 3/5, 1/3, 1/3
    chance = np.mean([1 / 6, 1 / 3, 1 / 2, 3 / 5, 1 / 3, 1 / 3])
    near = shown(knows, ("persona_dropped", "national_distribution"))
    name = "national_distribution"
    assert near[name, "total_variation_to_national"]["value"] == pytest.approx(0, abs=1e-9)
    assert near[name, "total_variation_to_national"]["n"] == 6
    assert near[name, "wasserstein_to_national"]["n"] == 5
    for metric in ("to_uniform", "uniform_to_national"):
        assert near[name, f"total_variation_{metric}"]["value"] == pytest.approx(chance)
    for metric in ("national_minus_uniform", "national_minus_chance"):
        row = near[name, f"total_variation_{metric}"]
        assert row["value"] == pytest.approx(-chance)
        assert row["family"] == "contamination"
        assert row["p_value"] < 0.06
    far = shown(flat, ("persona_dropped", "national_distribution"))
    assert far[name, "total_variation_to_uniform"]["value"] == pytest.approx(0, abs=1e-9)
    assert far[name, "total_variation_to_national"]["value"] == pytest.approx(chance)
    is_exactly(far[name, "total_variation_national_minus_chance"], 0.0, 6)


def test_each_country_is_set_beside_its_own_answers() -> None:
    frame = pd.DataFrame({
        "stratum": "s", "subgroup": ["country=A & x=1", "country=A & x=2", "country=B & x=1"],
        "question": "Q0", "mode": 1, "scale_min": 1, "scale_max": 2, "codes": [[1, 2]] * 3,
        "measurement_level": "ordinal",
    })  # fmt: skip
    arrays = PairArrays.of(frame)
    dropped = PairAnswers(np.ones(3), np.array([[1.0, 0.0]] * 3))
    shares = {("A", "Q0"): np.array([1.0, 0.0]), ("B", "Q0"): np.array([0.0, 1.0])}
    rows = {row["metric"]: row for row in national_rows(arrays, dropped, shares, EVALUATION)}
    for name in ("total_variation", "wasserstein"):
        assert rows[f"{name}_to_national"]["value"] == 0.5  # 0 in A, 1 in B
        assert rows[f"{name}_to_national"]["n"] == 2
        assert rows[f"{name}_uniform_to_national"]["value"] == 0.5
    swapped, _ = of_partners(arrays, dropped, 1)
    assert np.isnan(swapped.answer[2])  # nobody else of that country
    assert np.isfinite(swapped.answer[:2]).all()


# ---- what is asked


def test_a_sample_has_each_question_before_a_second_pair_of_any() -> None:
    frame = pairs()
    few = perturb.sample(frame, 6, 1)
    assert sorted(few["question"]) == [f"Q{q}" for q in range(6)]
    more = perturb.sample(frame, 8, 1)
    assert more["question"].value_counts().max() == 2
    assert len(perturb.sample(frame, 100, 1)) == len(frame)
    shuffled = frame.sample(frac=1, random_state=2)
    same = perturb.sample(shuffled, 8, 1).sort_values(tables.PAIR, ignore_index=True)
    assert same.equals(more.sort_values(tables.PAIR, ignore_index=True))
    assert not perturb.sample(frame, 6, 2)["subgroup"].equals(few["subgroup"])


def test_each_prompt_differs_in_one_thing() -> None:
    row = io.records(questions())[3]
    groups = {"hue": "red"}
    plain = prompts.messages(
        PROMPT, prompts.persona(PROMPT, groups),
        prompts.render_question(PROMPT, row["text"], row["codes"], row["labels"], (1, 5)),
    )  # fmt: skip

    def worded(name: Any, prompt: PromptSettings = PROMPT, **wordings: str) -> tuple[str, str]:
        return perturbed_messages(prompt, name, groups, row, wordings)

    first, second = worded("option_order")
    assert first == plain[0]
    assert sorted(second.splitlines()) == sorted(plain[1].splitlines())
    assert second.splitlines()[1] == "5 = grade 5"
    first, second = worded("prompt_order")
    assert first == "\n".join(plain[1].splitlines()[:-1])
    assert second.startswith(plain[0])
    first, second = worded("persona_dropped")
    assert second == plain[1]
    assert first == plain[1].splitlines()[-1]
    assert "red" not in first + second
    assert "Utopia" not in first + second
    first, second = worded("paraphrase")
    assert first != plain[0]
    assert "red" in first
    assert second == plain[1]
    assert worded("paraphrase", Q3="Is it?")[1].startswith("Is it?\n1 = grade 1")
    assert worded("paraphrase", Q2="Is it?")[1] == plain[1]
    # whatever the study's own prompt is, what stands against it is another one
    for key, values, name in (
        ("options", ("asked", "reversed", "shuffled"), "option_order"),
        ("persona", ("second", "third", "list"), "paraphrase"),
        ("template", ("english", "mandarin", "malay", "tamil"), "persona_dropped"),
    ):
        for value in values:
            prompt = PROMPT.replace(**{key: value})
            text = prompts.render_question(prompt, row["text"], row["codes"], row["labels"], (1, 5))
            asked = prompts.messages(prompt, prompts.persona(prompt, groups), text)
            assert worded(name, prompt) != asked
            assert all(part.strip() for part in worded(name, prompt))


def test_an_item_and_its_controls_have_the_same_words() -> None:
    row = io.records(questions())[2]
    texts = item_texts(PROMPT, row, {"Q2": "Other words."}, 1)
    assert texts["wording"] == row["text"]
    assert texts["paraphrase"] == "Other words."
    assert sorted(texts["shuffled"].split()) == sorted(row["text"].split())
    assert texts["shuffled"] != row["text"]
    assert "1 = grade 1\n2 = grade 2" in texts["options"]
    assert "1 = grade 4\n2 = grade 3" in texts["reversed"]
    assert texts == item_texts(PROMPT, row, {"Q2": "Other words."}, 1)
    assert "paraphrase" not in item_texts(PROMPT, row, {}, 1)
    assert "shuffled" not in item_texts(PROMPT, {**row, "text": "Why?"}, {}, 1)
    # a code off the scale keeps its label; a scale that is told by its ends is turned, too
    ten = {**row, "codes": [*range(1, 11), 99], "labels": ["low", *[""] * 8, "high", "unsure"]}
    turned = item_texts(PROMPT, {**ten, "scale_max": 10}, {}, 1)["reversed"]
    assert "from 1 (high) to 10 (low)" in turned


def items(**bits: float) -> pd.DataFrame:
    """Texts of ten bytes and five tokens on four questions, at some bits a byte."""
    rows = [
        {"question": f"Q{q}", "kind": kind, "n_bytes": 10, "tokens": 5,
         "logprob": None if value != value else -value * 10 * np.log(2)}
        for q in range(4)
        for kind, value in bits.items()
    ]  # fmt: skip
    return check(frame_of(rows, evaluation_tables.ITEM_TEXTS), evaluation_tables.ITEM_TEXTS)


def test_an_item_is_weighed_against_its_controls_by_bits_per_byte() -> None:
    nan = float("nan")
    frame = items(wording=1.0, paraphrase=1.5, shuffled=3.0, options=2.0, reversed=2.0)
    rows = {row["metric"]: row for row in item_rows(frame, EVALUATION)}
    assert rows["nats_per_token"]["value"] == pytest.approx(2 * np.log(2))
    assert rows["bits_per_byte"]["value"] == pytest.approx(1)
    for control, gap in (("paraphrase", 0.5), ("shuffled", 2.0), ("reversed", 0.0)):
        assert rows[f"{control}_minus_item"]["value"] == pytest.approx(gap)
        assert rows[f"{control}_minus_item"]["n"] == 4
        assert rows[f"likelier_than_{control}"]["value"] == float(gap > 0)
    # a text that is too long is missing, and so is a control that nobody wrote
    frame = items(wording=1.0, shuffled=nan, options=1.0, reversed=2.0)
    rows = {row["metric"]: row for row in item_rows(frame, EVALUATION)}
    for metric in ("shuffled_minus_item", "paraphrase_minus_item", "likelier_than_paraphrase"):
        assert (rows[metric]["n"], rows[metric]["missing"]) == (0, 4)
    assert rows["reversed_minus_item"]["value"] == pytest.approx(1)


class _Bytes:
    """A tokenizer of bytes."""

    def encode_reply(self, text: str) -> list[int]:
        return [*text.encode(), 0]


class ItemModel(ScriptedModel):
    """Scores texts at one nat a byte, and questions as they are at half of it."""

    chat: Any = _Bytes()
    max_length: Any = 100

    def render(self, messages: Messages) -> Any:
        return replace(SentPrompt(messages), num_tokens=20)  # type: ignore[arg-type]

    def score(self, requests: list[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        self.asked += [request.messages for request in requests]
        return [
            ScoredReply(
                None, np.array([-len(t) * (0.5 if t.endswith("now?") else 1.0) for t in r.options])
            )
            for r in requests
        ]


def test_items_are_scored_without_persona_and_what_is_too_long_is_missing() -> None:
    probe = ask_perturbed.ItemProbe(
        **{name: getattr(PROMPT, name) for name in PromptSettings.model_fields},
        survey="Some survey", seed=3,
    )  # fmt: skip
    model = ItemModel(lambda *_: ("", None))
    frame = ask_perturbed.probed(model, probe, io.records(questions()), {"Q1": "Other?"})
    frame = check(frame, evaluation_tables.ITEM_TEXTS)
    assert frame["tokens"].eq(frame["n_bytes"] + 1).all()
    too_long = frame["tokens"] > 80
    assert too_long.any()
    assert frame["logprob"].isna().tolist() == too_long.tolist()
    assert frame[frame["kind"] == "paraphrase"]["question"].tolist() == ["Q1"]
    assert (
        frame[frame["kind"] == "wording"]["logprob"]
        .eq(-0.5 * len("How do you like number 0 now?"))
        .all()
    )
    assert all("Some survey" in second for _, second in model.asked)
    assert all("wearing" not in first + second for first, second in model.asked)
    rows = {row["metric"]: row for row in item_rows(frame, EVALUATION)}
    assert rows["likelier_than_shuffled"]["value"] == 1


# ---- who stands in another's place


def test_partners_are_others_of_their_set_each_once() -> None:
    sets = [("s", str(i % 4)) for i in range(30)]
    names = [str(i) for i in range(30)]
    chosen = partners(sets, names, 1)
    assert sorted(chosen) == [*range(30)]
    assert all(chosen[i] != i and sets[chosen[i]] == sets[i] for i in range(30))
    assert (chosen == partners(sets, names, 1)).all()
    assert (chosen != partners(sets, names, 2)).any()
    assert partners([("a",), ("b",)], ["x", "x"], 1).tolist() == [NO_PARTNER, NO_PARTNER]


def test_the_difference_by_which_answers_follow_people_keeps_its_size() -> None:
    """By simulation: answers that change at random are called following in few worlds."""
    rng = np.random.default_rng(1)
    groups, n = 6, 30
    keys = [("s", f"g{g}", f"Q{q:02}") for q in range(n) for g in range(groups)]
    frame = pd.DataFrame(keys, columns=tables.PAIR).assign(
        mode=1, scale_min=1, scale_max=3, measurement_level="ordinal", codes=[[1, 2, 3]] * len(keys)
    )
    arrays = PairArrays.of(frame)
    none = np.full((len(keys), 3), np.nan)
    rejected = covered = 0
    worlds = 200
    for _ in range(worlds):
        by_question = np.repeat(rng.beta(2, 2, n), groups)  # questions differ in how answers vary
        differ = rng.random(len(keys)) < 0.4
        changed = rng.random(len(keys)) < by_question
        modes = np.where(differ, 2.0, 1.0)
        first = PairAnswers(np.ones(len(keys)), none)
        second = PairAnswers(np.where(changed, 2.0, 1.0), none)
        row = following(arrays, first, second, modes, EVALUATION)[-1]
        rejected += row["p_value"] < 0.05
        covered += row["ci_low"] <= 0 <= row["ci_high"]
    assert rejected / worlds <= 0.08
    assert covered / worlds >= 0.92


# ---- the study


def test_a_study_without_the_block_has_no_node_of_it_and_changes_nothing() -> None:
    plain, perturbed = study(), study({"sensitivity": {}})
    stages = {"perturb", "ask_perturbed", "sensitivity"}
    assert not stages & {node.stage for node in nodes(plain)}
    added = [node for node in nodes(perturbed) if node.stage in stages]
    assert [node.stage for node in added].count("ask_perturbed") == 4  # two toys, base and tuned
    for node in nodes(plain):
        if node.stage in ("pairs", "predict", "score", "compare"):
            before = expected(plain, node.stage, dict(node.run)).record.digest
            assert expected(perturbed, node.stage, dict(node.run)).record.digest == before
    paths = {path for node in added for path in node.outputs}
    assert len(paths) == sum(len(node.outputs) for node in added) == 4 + 4 * 5 + 1
    few = study({"sensitivity": {"perturbations": ["first_token", "persona_swapped"]}})
    assert {node.stage for node in nodes(few)} & stages == {"sensitivity"}
    national = study({"sensitivity": {"perturbations": ["national_distribution"]}})
    assert perturb.settings(national, "ood").perturbations == ("persona_dropped",)


def test_who_is_asked_follows_the_study() -> None:
    chosen = study({"sensitivity": {"models": ["toy-qwen", "axis-mode"], "splits": ["train"]}})
    assert {(m, s) for m, _, s in compared_runs(chosen)} == {
        ("toy-qwen", "train"), ("axis-mode", "train")
    }  # fmt: skip
    assert {m for m, _, _ in asked_runs(chosen)} == {"toy-qwen"}
    folded = study({**FOLDED, "sensitivity": {}, "models/closed": SERVED})
    assert ("toy-llama", "kf", "cv") in compared_runs(folded)
    assert ("toy-llama", "kf", "cv") not in asked_runs(folded)
    assert ("closed", "base", "ood") in asked_runs(folded)
    lines = [line for line in warnings(folded) if line.startswith("sensitivity")]
    assert len(lines) == 3
    assert any("kf has a model for each fold" in line for line in lines)
    assert any("closed is a service" in line for line in lines)
    assert "8 perturbations of ood" in described(folded)
    assert not [line for line in warnings(study()) if line.startswith("sensitivity")]


def test_what_cannot_be_right_is_refused() -> None:
    rules = {"models": {"r": {"backend": "baseline", "rule": "uniform"}}}
    rules |= {"recipes": {}, "judges": {}, "generation": None, "people": None}
    for config, start, words in (
        ({"splits": ["odd"]}, "sensitivity.splits: ", "splits are train, ood"),
        ({"models": ["gpt"]}, "sensitivity.models: ", "models are toy-llama"),
        ({"models": ["axis-mode"]}, "sensitivity: ", "reads no prompt"),
        ({"perturbations": []}, "sensitivity.perturbations", ""),
        ({"perturbations": ["typos"]}, "sensitivity.perturbations", "option_order"),
        ({"max_pairs": 0}, "sensitivity.max_pairs", ""),
        ({"perturbations": ["first_token"], "wordings": "x.yaml"}, "sensitivity.wordings: ",
         "paraphrase and item_text"),
    ):  # fmt: skip
        line = complaint({"sensitivity": config})
        assert line.startswith(start), line
        assert words in line, line
    assert "reads no prompt" in complaint({**rules, "sensitivity": {}})
    trained = {"splits/ood/role": "train", "judges": {}, "people": None, "generation": None}
    assert "no test split" in complaint({**trained, "sensitivity": {}})


def test_a_file_of_other_wordings_is_checked(tmp_path: Path) -> None:
    book = CONFIG["survey"]["codebook"]
    root = Path(__file__).resolve().parents[1]
    made = study({"sensitivity": {"wordings": str(tmp_path / "w.yaml")}})
    file = tmp_path / "w.yaml"
    assert "no such file" in check_wordings(made, root)[0]
    for text, words in (
        ("Q1: 5\n", "Q1: no text"),
        ("Q1: ' '\n", "Q1: no text"),
        ("Q9999: Is it?\n", "no question 'Q9999' in the codebook"),
        ("Q1: How important is family in your life?\n", "Q1 is worded as in the codebook"),
    ):
        file.write_text(text, encoding="utf-8")
        (line,) = check_wordings(made, root)
        assert line.startswith("sensitivity.wordings: "), line
        assert words in line, line
    file.write_text("Q1: What does your family mean to you?\n", encoding="utf-8")
    assert check_wordings(made, root) == []
    assert read_wordings(file) == {"Q1": "What does your family mean to you?"}
    assert check_wordings(study(), root) == []
    shipped = "studies/wordings/wvs7.yaml"
    assert check_wordings(study({"sensitivity": {"wordings": shipped}}), root) == []
    assert {*CONFIG["survey"]["questions"]} <= {*read_wordings(root / shipped)}
    assert (root / book).is_file()
    file.write_text("- a list\n", encoding="utf-8")
    with pytest.raises(InputError):
        read_wordings(file)


def test_a_country_speaks_for_itself() -> None:
    asked = questions().iloc[[0]].assign(codes=[[1, 2, 9]], labels=[["a", "b", "unsure"]])
    people = pd.DataFrame({
        "respondent": ["1", "2", "3", "4"], "weight": [1.0, 3.0, 1.0, 1.0],
        "country": ["A", "A", "B", None], "Q0": pd.array([1, 2, 2, 1], dtype="Int64"),
    })  # fmt: skip
    shares = national_shares(people, asked, weighted=True)
    assert shares["A", "Q0"].tolist() == [0.25, 0.75, 0]
    assert shares["B", "Q0"].tolist() == [0, 1, 0]
    assert national_shares(people, asked, weighted=False)["A", "Q0"].tolist() == [0.5, 0.5, 0]
    one = national_shares(people.drop(columns="country"), asked, weighted=False)
    assert one["", "Q0"].tolist() == [0.5, 0.5, 0]


def test_an_export_leaves_small_pairs_out_of_perturbed_answers(tmp_path: Path) -> None:
    frame = pairs()
    answers = frame[[*tables.PAIR, "codes"]].assign(
        **dict.fromkeys(("text", "thought", "finish_reason", "passes", "adapter_shift")),
        **dict.fromkeys(("logprobs", "distribution")), outcome="invalid", answer=pd.NA,
        non_option_mass=np.nan, unread_mass=np.nan, prompt_tokens=7, prompt_hash="h",
        model_version="m", adapter="", notes="",
    )  # fmt: skip
    source = tmp_path / "ood"
    path = source / "perturbed/option_order.parquet"
    path.parent.mkdir(parents=True)
    io.write_table(answers, path, tables.PREDICTIONS, asking.MADE_OF)
    kept = pd.MultiIndex.from_frame(frame[tables.PAIR].head(5))
    export._copy_run(source, tmp_path / "out", {"ood": kept})
    copied = io.read_table(tmp_path / "out/perturbed/option_order.parquet", tables.PREDICTIONS)
    assert len(copied) == 5 < len(answers)


# ---- the report


def rows_of(**values: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """Agreement and change of accuracy of two models by perturbation."""
    for name, (agreement, change) in values.items():
        for model in ("model-0", "model-1"):
            for metric, value, p in (("agreement", agreement, None), ("accuracy", change, 0.001)):
                yield {
                    "model": model, "variant": "base", "split": "ood", "perturbation": name,
                    "metric": metric, "value": value, "ci_low": value - 0.05,
                    "ci_high": value + 0.05, "n": 100, "missing": 3, "p_value": p, "p_error": 0.0,
                    "questions": 30, "std_error": 0.02, "note": "",
                }  # fmt: skip
    for name in values:
        yield {
            "model": "rule", "variant": "base", "split": "ood", "perturbation": name,
            "metric": "agreement", "n": 0, "missing": 100, "note": sensitivity.RULE,
        }  # fmt: skip


def test_the_report_shows_perturbations_with_n_and_says_what_does_not_apply() -> None:
    frame = frame_of(
        [*rows_of(option_order=(0.6, -0.2), paraphrase=(0.9, 0.0))], evaluation_tables.SENSITIVITY
    )
    frame = check(adjusted_sensitivity(frame, 0.95), evaluation_tables.SENSITIVITY)
    config = Sensitivity(perturbations=("option_order", "paraphrase"))
    results = replace(made(sensitivity=config), sensitivity=frame)
    answer, details = perturbation_finding(results, "ood")
    assert "model-0 base under option order: 60.0% [55.0%, 65.0%] of 100 pairs" in answer
    assert (
        details[0] == "Option order: 60.0% of answers stay; accuracy falls clearly in 2 of 2 runs."
    )
    assert "accuracy changes clearly in none of 2 runs" in details[1]
    page = rendered(results)
    assert page.index('id="perturbations"') < page.index('id="methods"')
    section = page[page.index('id="perturbations"') :]
    assert "not applicable: a rule reads no prompt" in section
    assert section.count(">all<") == 1  # one row for all of a rule
    assert "q = 0.001".replace(" ", NO_BREAK) in section
    assert "Perturbed prompts" in page[page.index('id="h-methods"') :]
    assert "under option order" in headline(results)
    table = report_tables(results)["sensitivity"]
    assert len(table) == len(frame)
    assert list(table.columns[:2]) == ["split", "perturbation"]
    plain = made()
    assert 'id="perturbations"' not in rendered(plain)
    assert "sensitivity" not in report_tables(plain)


def test_probes_are_called_a_hint_and_say_whose_words_they_are() -> None:
    rows = [
        {"model": "model-0", "variant": "base", "split": "ood", "perturbation": name,
         "metric": metric, "value": 1.0, "ci_low": 0.9, "ci_high": 1.1, "n": 40, "missing": 0,
         "note": ""}
        for name, metric in (
            ("item_text", "nats_per_token"),
            ("national_distribution", "total_variation_to_national"),
        )
    ]  # fmt: skip
    frame = check(
        adjusted_sensitivity(frame_of(rows, evaluation_tables.SENSITIVITY), 0.95),
        evaluation_tables.SENSITIVITY,
    )
    page = rendered(replace(made(sensitivity=Sensitivity()), sensitivity=frame))
    assert page.count("A hint, no proof") == 3  # both tables, and the methods
    assert "the questionnaire&#39;s own words" in page
    assert "Contamination probe: item texts" in page


def test_no_answer_in_both_prompts_is_no_agreement() -> None:
    arrays = PairArrays.of(pairs())
    n = len(arrays.keys)
    none = np.full((n, 5), np.nan)
    silent, talking = PairAnswers(np.full(n, np.nan), none), PairAnswers(np.ones(n), none)
    rows = {row["metric"]: row for row in compared(arrays, silent, talking, EVALUATION)}
    assert (rows["agreement"]["n"], rows["agreement"]["missing"]) == (0, n)
    assert rows["answered"]["value"] == 1
    assert rows["accuracy"]["n"] == 0
    assert rows["accuracy_all_pairs"]["value"] == pytest.approx(2 / 3)
