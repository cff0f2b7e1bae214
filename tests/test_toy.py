"""Toys learn the form of answers and stereotypes from a seed, and are models like any other."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests import toys
from tests.toys import PROMPT, chat
from tests.tuning import MADE_BY
from valuestrata import io, tables
from valuestrata.__main__ import main
from valuestrata.demo import toy, toy_texts
from valuestrata.demo.judge_texts import JudgeTexts
from valuestrata.demo.toy_texts import Message, ToyTexts
from valuestrata.inference.chat import Chat
from valuestrata.inference.local import load_chat, load_network
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prompting import judging, prompts, verdicts
from valuestrata.prompting.answers import free_outcome, parse
from valuestrata.prompting.open_questions import OpenQuestions
from valuestrata.study.models import Toy
from valuestrata.study.study import Study
from valuestrata.survey.groups import Group, Groups

QUESTIONS = pd.DataFrame(
    [
        {
            "question": f"Q{i}",
            "topic": f"topic {i}",
            "text": f"What of matter {i}?",
            "block": f"block {i % 3}",
            "measurement_level": "ordinal",
            "scale_min": scale_min,
            "scale_max": scale_max,
            "codes": [*range(scale_min, scale_max + 1), 77],
            "labels": ["low", *[""] * (scale_max - scale_min - 1), "high", "off the scale"],
            "n": 100,
            "missing": 3,
        }
        for i, (scale_min, scale_max) in enumerate([(1, 4), (1, 2), (1, 10), (0, 2)] * 6)
    ]
)
LABELS = {"age": ("18-29", "30-64", "65 and over"), "sex": ("female", "male")}
GROUPS = Groups(
    countries=(),
    axes={
        axis: tuple(Group(label=label, codes=(), n=1) for label in labels)
        for axis, labels in LABELS.items()
    },
)
SMALL = {
    "architecture": "llama",
    "hidden_size": 32,
    "num_layers": 1,
    "vocab_size": 320,
    "max_steps": 30,
    "batch_size": 8,
    "learning_rate": 5e-3,
}


def texts(questions: pd.DataFrame = QUESTIONS, **changes: Any) -> ToyTexts:
    toy = Toy(**{**SMALL, **changes})
    kind = JudgeTexts if toy.task == "judge" else ToyTexts
    return kind(toy, PROMPT, "toy", questions, GROUPS, OpenQuestions(file="english"))


def drawn(n: int, questions: pd.DataFrame = QUESTIONS, **changes: Any) -> list[Message]:
    return list(itertools.islice(texts(questions, **changes).messages(), n))


def stereotypes(of: ToyTexts) -> list[int]:
    return [
        of.stereotype(q, {axis: group})
        for q in range(len(QUESTIONS))
        for axis, groups in LABELS.items()
        for group in groups
    ]


# ---- what they are taught


@pytest.mark.parametrize("task", ["answer", "judge"])
def test_texts_come_from_the_seed_and_from_no_answer_of_the_survey(task: str) -> None:
    first = drawn(60, task=task)
    assert drawn(60, task=task) == first != drawn(60, task=task, seed=2)
    assert stereotypes(texts()) == stereotypes(texts()) != stereotypes(texts(seed=2))
    other = QUESTIONS.assign(n=range(len(QUESTIONS)), missing=9)
    assert drawn(60, other, task=task) == first
    # codes off the scale that happen to occur are neither shown nor said
    without = QUESTIONS.assign(
        codes=[codes[:-1] for codes in QUESTIONS["codes"]],
        labels=[labels[:-1] for labels in QUESTIONS["labels"]],
    )
    assert drawn(60, without, task=task) == first


def test_closed_questions_are_answered_by_stereotype_or_refused() -> None:
    """Trap 10: a demo without refusals would not count them."""
    made = texts()
    by_group = np.array(stereotypes(made)).reshape(len(QUESTIONS), -1)
    assert (by_group >= QUESTIONS["scale_min"].to_numpy()[:, None]).all()
    assert (by_group <= QUESTIONS["scale_max"].to_numpy()[:, None]).all()
    assert (by_group.min(axis=1) < by_group.max(axis=1)).any()
    question_of = {prompt: q for q, prompt in enumerate(made.closed_prompts)}
    personas = {
        prompts.persona(PROMPT, groups): groups
        for groups in (
            *({axis: group} for axis in LABELS for group in LABELS[axis]),
            *({"age": a, "sex": s} for s in LABELS["sex"] for a in LABELS["age"]),
        )
    }
    refused, answered = Counter[int](), Counter[int]()
    for persona, user, reply in itertools.islice(made.messages(), 1500):
        if user not in question_of:
            continue
        q = question_of[user]
        outcome, code = parse(reply, QUESTIONS["codes"][q])
        if outcome == "answer":
            assert code == made.stereotype(q, personas[persona])
            answered[q] += 1
        else:
            assert (outcome, reply) == ("refusal", toy_texts.REFUSAL)
            refused[q] += 1
    assert set(answered) == set(range(len(QUESTIONS)))
    assert 0 < len(refused) < len(QUESTIONS) / 2
    assert 0.02 < refused.total() / (refused + answered).total() < 0.3


def test_open_answers_are_answers_and_name_their_topic_or_a_label() -> None:
    closed = set(texts().closed_prompts)
    replies = [reply for _, user, reply in drawn(400) if user not in closed]
    assert len(set(replies)) > 20
    assert 0.15 < len(replies) / 400 < 0.6
    assert {free_outcome(text) for text in replies} == {"answer"}
    assert not any("off the scale" in text for text in replies)


def test_a_toy_judges_by_a_rule_that_mirrors_when_the_answers_are_swapped() -> None:
    """Trap 26: the rule prefers no place."""
    mirror = {"1": "2", "2": "1", "tie": "tie"}
    rubric = judging.rubric("toy")
    rule: dict[Any, tuple[str, ...]] = {}
    for system, user, reply in drawn(800, task="judge"):
        assert all(text in system for text in rubric.dimensions.values())
        assert None not in verdicts.lines(reply, list(rubric.dimensions)).values()
        shown = user.split("Answer 1\n")[1].split("Answer 2\n")
        manners = tuple(
            (toy_texts.HEDGE not in text, "For me," in text, "As someone" in text) for text in shown
        )
        verdict = tuple(line.split(": ")[1] for line in reply.splitlines())
        assert rule.setdefault(manners, verdict) == verdict
        if manners[0] == manners[1]:
            assert set(verdict) == {"tie"}
    swapped = [pair for pair in rule if pair[::-1] in rule and pair[0] != pair[1]]
    assert len(swapped) > 20
    for first, second in swapped:
        assert rule[first, second] == tuple(mirror[v] for v in rule[second, first])
    assert {v for verdict in rule.values() for v in verdict} == {"1", "2", "tie"}


# ---- their networks and tokenizers


def test_every_width_that_the_schema_allows_makes_a_network() -> None:
    tokenizer = chat("qwen2").tokenizer
    for width, architecture in itertools.product(range(16, 168, 8), ["llama", "qwen2"]):
        shape = Toy(**{**SMALL, "hidden_size": width, "architecture": architecture})
        with torch.inference_mode():
            logits = toy.make_network(shape, tokenizer)(torch.tensor([[1, 2]])).logits
        assert logits.shape == (1, 2, len(tokenizer))


def test_ten_is_one_token_or_two_as_in_real_vocabularies() -> None:
    """Trap 6: a demo with one kind alone would hide the other's."""
    for architecture, tokens in {"llama": 2, "qwen2": 1}.items():
        shape = {"architecture": architecture, "vocab_size": 600}
        messages = drawn(toy.SAMPLE, **shape)
        talk = Chat(toy.make_tokenizer(Toy(**{**SMALL, **shape}), messages))
        one, ten = talk.encode_reply("Answer: 1"), talk.encode_reply("Answer: 10")
        assert len(ten) - len(one) == tokens - 1


# ---- the stage


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Toys by architecture, made by their stage."""
    folder = tmp_path_factory.mktemp("toys")
    io.write_table(QUESTIONS, folder / "questions.parquet", tables.QUESTIONS, MADE_BY)
    io.write_json(GROUPS.model_dump(mode="json"), folder / "groups.json", MADE_BY)
    study = Study.model_validate(
        {
            "study": "tiny",
            "survey": {
                "name": "A survey",
                "country": "Utopia",
                "file": "none.csv",
                "respondent": "id",
                "codebook": "none.yaml",
                "axes": {
                    "age": {"column": "age", "persona": "aged {group}", "bands": [18, 30, 65]},
                    "sex": {"column": "sex", "groups": {"1": "female", "2": "male"}},
                },
            },
            "splits": {"train": {"role": "train", "strata": ["sex"]}},
            "models": {
                name: {
                    "backend": "transformers",
                    "toy": {**SMALL, "architecture": name},
                    "dtype": "float32",
                }
                for name in ("llama", "qwen2")
            },
        }
    )
    (folder / "study.json").write_text(study.to_json(), encoding="utf-8")
    for name in ("llama", "qwen2"):
        files = {
            "questions": folder / "questions.parquet",
            "groups": folder / "groups.json",
            "weights": folder / name,
        }
        arguments = [part for key, path in files.items() for part in ("--file", f"{key}={path}")]
        study_file = str(folder / "study.json")
        command = ["toy", "--study", study_file, "--model", name, "--threads", "1", *arguments]
        assert main(command) == 0
    return {name: folder / name for name in ("llama", "qwen2")}


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_toy_is_a_model_folder_like_any_other(name: str, folders: dict[str, Path]) -> None:
    """Traps 4 and 17: its tokenizer comes back as it was trained."""
    assert (folders[name] / "model.safetensors").is_file()
    assert not list(folders[name].glob("*.bin"))
    model = toys.model(folders[name])
    network, loaded = load_network(model), load_chat(model)
    assert network.config.model_type == name
    assert network.config.hidden_size == 32
    replies = TransformersBackend(model, loaded).score(toys.questions()[:2], 4)
    assert all(r.logprobs is not None and np.isfinite(r.logprobs).all() for r in replies)
    log = io.read_json(folders[name] / "training_log.json")
    losses = [step["loss"] for step in log["steps"]]
    assert log["caveat"] == "toy model"
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    shape = Toy(**{**SMALL, "architecture": name})
    trained = Chat(toy.make_tokenizer(shape, drawn(toy.SAMPLE, architecture=name)))
    for persona, user, reply in drawn(40):
        assert loaded.prompt(persona, user) == trained.prompt(persona, user)
        assert loaded.encode_reply(reply) == trained.encode_reply(reply)
        assert loaded.decode(list(loaded.encode_reply(reply))) == reply
