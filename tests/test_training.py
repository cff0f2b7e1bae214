"""Training learns replies and nothing else, all of them, and the same twice; toys are toys."""

import dataclasses
import itertools
import json
import math
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests import toys
from tests.toys import ARCHITECTURES, PERSONAS, RECIPE, chat, lessons
from valuestrata import io
from valuestrata.demo import toy, toy_texts
from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat
from valuestrata.inference.local import load_chat, load_network
from valuestrata.inference.transformers import TransformersModel
from valuestrata.prompting import judging, prompts
from valuestrata.prompting.answers import free_outcome, parse
from valuestrata.specs import Finetune, MakeToy, Prompt, Recipe, Toy, to_json
from valuestrata.stages import finetune as finetune_stage
from valuestrata.stages import toy as toy_stage
from valuestrata.survey.groups import Group, Groups
from valuestrata.training import loop, lora

PLAIN = loop.Settings(1e-3, 4, 0.25, 0.0, 1.0)


@pytest.fixture(params=list(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- what enters the loss


def read(network: Any, data: list[loop.Example], talk: Chat) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and token_accuracy of some replies."""
    objective = loop.CompletionObjective(talk.pad)
    return objective.losses(network, objective.collate(data))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi", "pad is eos", "no pad", "spaces"])
def test_the_labels_decode_to_the_replies_with_their_terminators(kind: str) -> None:
    """Traps 14 and 15: no prompt token is learned, the terminator is, also where PAD = EOS."""
    talk = chat(kind)
    data = [
        *lessons(talk),
        loop.Example(talk.prompt("P", "Q").ids, talk.encode_reply("Yes.\n\nBut no.")),
    ]
    batch = loop.collate(data, talk.pad)
    keep = batch["labels"].shape[1]
    for row, example in enumerate(data):
        labels = batch["labels"][row]
        learned = labels[labels != -100].tolist()
        assert learned == list(example.reply)
        assert talk.decode(learned) == talk.decode(list(example.reply)) != ""
        assert learned[-len(talk.terminator) :] == list(talk.terminator)
        # the label of a column is the token of the next one
        columns = (labels != -100).nonzero().flatten()
        last = batch["input_ids"][row, -keep:]
        assert torch.equal(last[columns + 1], labels[columns])


@pytest.mark.parametrize("kind", ["llama", "phi", "pad is eos"])
def test_a_batch_holds_each_sequence_whole_and_hides_the_padding(kind: str) -> None:
    """Trap 15: the mask hides padding by place, not by its id."""
    talk = chat(kind)
    data = lessons(talk)
    batch = loop.collate(data, talk.pad)
    for row, example in enumerate(data):
        ids = [*example.prompt, *example.reply]
        seen = batch["attention_mask"][row] == 1
        assert batch["input_ids"][row][seen].tolist() == ids
        assert batch["position_ids"][row][seen].tolist() == list(range(len(ids)))
        assert seen.tolist() == [False] * (len(seen) - len(ids)) + [True] * len(ids)


def test_the_loss_of_one_sequence_is_the_librarys(architecture: str) -> None:
    """Trap 14."""
    talk = chat(ARCHITECTURES[architecture])
    network = toys.network(architecture, talk.tokenizer)
    for example in lessons(talk)[::5]:
        ids = torch.tensor([[*example.prompt, *example.reply]])
        labels = torch.tensor([[*[-100] * len(example.prompt), *example.reply]])
        with torch.inference_mode():
            theirs = network(input_ids=ids, labels=labels).loss
            ours, _ = read(network, [example], talk)
        assert float(ours) == pytest.approx(float(theirs), abs=1e-5)


@torch.inference_mode()
def test_the_losses_of_a_batch_are_those_of_its_replies_alone(architecture: str) -> None:
    """Padding changes nothing, and a long reply weighs as much as a short one."""
    talk = chat(ARCHITECTURES[architecture])
    network = toys.network(architecture, talk.tokenizer)
    data = lessons(talk)
    assert len({len(e.reply) for e in data}) > 1
    together, _ = read(network, data, talk)
    alone = torch.cat([read(network, [e], talk)[0] for e in data])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_hits_are_one_once_every_reply_is_learned() -> None:
    talk = chat("llama")
    network = toys.network("Llama", talk.tokenizer)
    assert read(network, lessons(talk), talk)[1].mean() < 0.2
    toys.teach(network, talk)
    assert read(network, lessons(talk), talk)[1].mean() > 0.9


# ---- batches and steps


def numbered(n: int) -> list[loop.Example]:
    return [loop.Example(tuple(range(i % 7 + 1)), (i,)) for i in range(n)]


@pytest.mark.parametrize(("n", "size"), [(1, 4), (10, 4), (16, 4), (1000, 8), (257, 1)])
def test_every_epoch_holds_every_example_once(n: int, size: int) -> None:
    parts = list(loop.make_batches(numbered(n), size, 3, seed=1))
    steps = math.ceil(n / size)
    assert len(parts) == 3 * steps
    assert all(1 <= len(part) <= size for part in parts)
    epochs = [parts[i * steps : (i + 1) * steps] for i in range(3)]
    for epoch in epochs:
        assert Counter(e.reply[0] for part in epoch for e in part) == Counter(range(n))
    if n > size:
        assert epochs[0] != epochs[1]


def test_the_seed_decides_the_order_of_batches() -> None:
    first = list(loop.make_batches(numbered(100), 8, 2, seed=1))
    assert list(loop.make_batches(numbered(100), 8, 2, seed=1)) == first
    assert list(loop.make_batches(numbered(100), 8, 2, seed=2)) != first


def test_like_lengths_come_together() -> None:
    data = numbered(700)
    lengths = [[len(e.prompt) for e in part] for part in loop.make_batches(data, 10, 1, seed=1)]
    assert np.mean([max(part) - min(part) for part in lengths]) < 0.5
    assert sorted(lengths) != lengths


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    talk = chat("llama")
    settings = loop.Settings(1e-3, 10, 0.3, 0.0, 1.0)
    network = toys.network("Llama", talk.tokenizer)
    parts = loop.make_batches(lessons(talk), 8, 99, seed=1)
    history = loop.train(network, parts, settings, loop.CompletionObjective(talk.pad))
    rates = [record["learning_rate"] for record in history]
    assert [record["step"] for record in history] == list(range(1, 11))
    assert rates[:3] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3])
    assert all(a > b for a, b in itertools.pairwise(rates[3:]))
    assert 0 < rates[-1] < 2e-4
    assert not network.training


def test_a_loss_that_is_no_number_is_an_error_that_names_the_learning_rate() -> None:
    talk = chat("llama")
    network = toys.network("Llama", talk.tokenizer)
    with torch.no_grad():
        network.model.norm.weight[0] = torch.nan
    with pytest.raises(FloatingPointError, match="learning_rate"):
        loop.train(
            network,
            loop.make_batches(lessons(talk), 8, 9, 1),
            PLAIN,
            loop.CompletionObjective(talk.pad),
        )


# ---- LoRA


def fine_tuned(
    architecture: str,
    folder: Path,
    recipe: Recipe = RECIPE,
    network: Any = None,
    data: list[Any] | None = None,
) -> dict[str, Any]:
    talk = chat(ARCHITECTURES[architecture])
    network = network or toys.network(architecture, talk.tokenizer)
    torch.seed()  # whatever was drawn before is not what the adapter's weights come from
    spec = Finetune(toys.model(folder), recipe, "english", "toy model")
    tuned, record = lora.finetune(spec, network, data or lessons(talk), talk.pad)
    lora.save(tuned, folder)
    return record


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """A log without what the clock says."""
    steps = [{k: v for k, v in step.items() if k != "seconds"} for step in record["steps"]]
    return {**record, "steps": steps, "tokens_per_second": None}


@pytest.mark.parametrize(
    ("architecture", "a_layer"), [("Llama", 7), ("Qwen2", 7), ("Phi3", 4), ("Gemma2", 7)]
)
def test_every_linear_layer_is_adapted_but_the_output(architecture: str, a_layer: int) -> None:
    """Trap 16: of Phi3, qkv and gate-up are fused."""
    network = toys.network(architecture, chat("llama").tokenizer)
    tuned = lora.add_lora(network, RECIPE)
    layers = [name for name, m in tuned.named_modules() if hasattr(m, "lora_A")]
    assert len(layers) == 2 * a_layer
    if architecture == "Phi3":
        assert sum(name.endswith("qkv_proj") for name in layers) == 2
    assert not any("lm_head" in name or "embed" in name for name in layers)
    trained = [name for name, p in tuned.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(layers)
    assert all("lora_" in name for name in trained)


def test_a_layer_left_out_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 16."""
    import peft

    class Fewer(peft.LoraConfig):
        def __init__(self, **said: Any) -> None:
            super().__init__(**said | {"target_modules": ["q_proj", "v_proj"]})

    monkeypatch.setattr(peft, "LoraConfig", Fewer)
    with pytest.raises(InputError, match="4 of 14"):
        lora.add_lora(toys.network("Llama", chat("llama").tokenizer), RECIPE)


def test_experts_left_out_are_an_error() -> None:
    """Trap 16: transformers 5 keeps experts as fused parameters, which are no linear layers."""
    more = {
        "num_experts": 4,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
        "num_experts_per_tok": 2,
    }
    network = toys.network("Qwen2Moe", chat("llama").tokenizer, **more)
    with pytest.raises(InputError, match="LoRA adapts"):
        lora.add_lora(network, RECIPE)


def test_tuning_lowers_the_loss_and_shifts_the_logits(architecture: str, tmp_path: Path) -> None:
    """Trap 13."""
    record = fine_tuned(architecture, tmp_path, dataclasses.replace(RECIPE, epochs=8))
    losses = [step["loss"] for step in record["steps"]]
    assert record["examples"] == 16
    assert len(losses) == 16
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])
    assert record["logit_shift"] > 0.01
    assert (tmp_path / "adapter_model.safetensors").is_file()


def test_tuning_twice_gives_bitwise_the_same_adapter(architecture: str, tmp_path: Path) -> None:
    records = [fine_tuned(architecture, tmp_path / name) for name in "ab"]
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        one, other = ((tmp_path / name / file).read_bytes() for name in "ab")
        assert one == other
    # peft holds them in a set, whose order is another in every process
    names = json.loads((tmp_path / "a" / "adapter_config.json").read_text())["target_modules"]
    assert names == sorted(names)
    assert timeless(records[0]) == timeless(records[1])
    reseeded = fine_tuned(architecture, tmp_path / "c", dataclasses.replace(RECIPE, seed=2))
    assert timeless(reseeded) != timeless(records[0])


def test_tuning_leaves_the_base_as_it_was(tmp_path: Path) -> None:
    """Trap 18."""
    network = toys.network("Llama", chat("llama").tokenizer)
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    fine_tuned("Llama", tmp_path, network=network)
    after = {
        name.replace(".base_layer", ""): weight
        for name, weight in network.named_parameters()
        if "lora_" not in name
    }
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_adapter_that_changes_nothing_is_an_error(tmp_path: Path) -> None:
    """Traps 13 and 18."""
    with pytest.raises(InputError, match=r"learning.rate"):
        fine_tuned("Llama", tmp_path, dataclasses.replace(RECIPE, learning_rate=0.0))
    assert not list(tmp_path.glob("adapter*"))


def test_an_adapter_that_ends_in_no_number_is_an_error(tmp_path: Path) -> None:
    """The last step has no later loss to tell that it went wrong."""
    wild = dataclasses.replace(RECIPE, learning_rate=1e30, epochs=1, batch=16, warmup=0.0)
    with pytest.raises((InputError, FloatingPointError), match=r"learning.rate"):
        fine_tuned("Llama", tmp_path, wild)
    assert not list(tmp_path.glob("adapter*"))


def test_each_pair_is_taught_its_modal_answer_by_the_prompt_that_is_asked() -> None:
    """Trap 4."""
    talk, pairs = chat("llama"), toys.pairs()
    examples = lora.examples(pairs, talk, "english")
    for row, example in zip(pairs.itertuples(), examples, strict=True):
        assert example.prompt == talk.prompt(row.persona, row.closed_prompt).ids
        assert parse(talk.decode(list(example.reply)), row.codes) == ("answer", row.mode)
        assert example.reply[-1] == talk.terminator[-1]


# ---- toys

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
            "labels": [
                *["ci_low", *[""] * (scale_max - scale_min - 1), "ci_high"],
                "off the scale",
            ],
            "n": 100,
            "missing": 3,
        }
        for i, (scale_min, scale_max) in enumerate([(1, 4), (1, 2), (1, 10), (0, 2)] * 6)
    ]
)
GROUPS = {"age": ("18-29", "30-64", "65 and over"), "sex": ("female", "male")}
AXES = {"sex": "{group}", "age": "aged {group}"}, {"sex": "sex", "age": "age"}
FOUND = Groups(
    (), {axis: tuple(Group(name, (), 1) for name in names) for axis, names in GROUPS.items()}
)
SAID = Prompt("english", "Utopia", *AXES, "second", "persona", "asked")
SMALL = Toy("llama", "answer", 32, 1, 320, 30, 8, 5e-3, 1)


def speaker(questions: pd.DataFrame = QUESTIONS, **changes: Any) -> toy_texts.Speaker:
    spec = MakeToy(dataclasses.replace(SMALL, **changes), SAID, "pairwise", "toy model")
    return toy_texts.Speaker(spec, questions, FOUND)


def said(n: int, questions: pd.DataFrame = QUESTIONS, **changes: Any) -> list[toy_texts.Message]:
    return list(itertools.islice(speaker(questions, **changes).messages(), n))


def beliefs(talker: toy_texts.Speaker) -> list[int]:
    return [
        talker.stereotype(q, {axis: group})
        for q in range(len(QUESTIONS))
        for axis, groups in GROUPS.items()
        for group in groups
    ]


@pytest.mark.parametrize("task", ["answer", "judge"])
def test_the_seed_decides_what_a_toy_is_taught(task: str) -> None:
    assert said(60, task=task) == said(60, task=task)
    assert said(60, task=task) != said(60, task=task, seed=2)
    assert beliefs(speaker()) == beliefs(speaker())
    assert beliefs(speaker()) != beliefs(speaker(seed=2))


@pytest.mark.parametrize("task", ["answer", "judge"])
def test_a_toy_knows_nothing_of_the_surveys_answers(task: str) -> None:
    other = QUESTIONS.assign(n=range(len(QUESTIONS)), missing=9)
    assert said(60, other, task=task) == said(60, task=task)
    # codes off the scale that happen to occur are neither shown nor said
    unseen = QUESTIONS.assign(
        codes=[codes[:-1] for codes in QUESTIONS["codes"]],
        labels=[labels[:-1] for labels in QUESTIONS["labels"]],
    )
    assert said(60, unseen, task=task) == said(60, task=task)


def test_stereotypes_are_codes_of_the_scale_and_differ_between_groups() -> None:
    talker = speaker()
    for q, row in enumerate(QUESTIONS.itertuples()):
        for axis, groups in GROUPS.items():
            for group in groups:
                assert row.scale_min <= talker.stereotype(q, {axis: group}) <= row.scale_max
    by_group = np.array(beliefs(talker)).reshape(len(QUESTIONS), -1)
    assert (by_group.min(axis=1) < by_group.max(axis=1)).any()


def test_closed_questions_are_answered_by_stereotype_or_refused() -> None:
    """Trap 10: a demo without refusals would not count them."""
    talker = speaker()
    asked = {prompt: q for q, prompt in enumerate(talker.closed)}
    personas = {
        prompts.persona(SAID, groups): groups
        for groups in (
            *({axis: group} for axis in GROUPS for group in GROUPS[axis]),
            *({"age": a, "sex": s} for s in GROUPS["sex"] for a in GROUPS["age"]),
        )
    }
    refused, answered = Counter(), Counter()
    for persona, user, reply in itertools.islice(talker.messages(), 1500):
        if user not in asked:
            continue
        q = asked[user]
        outcome, code = parse(reply, QUESTIONS["codes"][q])
        if outcome == "answer":
            assert code == talker.stereotype(q, personas[persona])
            answered[q] += 1
        else:
            assert (outcome, reply) == ("refusal", toy_texts.REFUSAL)
            refused[q] += 1
    assert set(answered) == set(range(len(QUESTIONS)))
    assert 0 < len(refused) < len(QUESTIONS) / 2
    assert 0.02 < refused.total() / (refused + answered).total() < 0.3


def test_open_answers_are_answers_and_name_their_topic_or_a_label() -> None:
    closed = set(speaker().closed)
    texts = [reply for _, user, reply in said(400) if user not in closed]
    assert len(set(texts)) > 20
    assert 0.15 < len(texts) / 400 < 0.6
    assert {free_outcome(text) for text in texts} == {"answer"}
    assert not any("off the scale" in text for text in texts)


def test_a_toy_judges_by_a_rule_that_mirrors_when_the_answers_are_swapped() -> None:
    """Trap 26: the rule prefers no place."""
    mirror = {"1": "2", "2": "1", "tie": "tie"}
    rubric = judging.rubric("pairwise")
    rule: dict[Any, tuple[str, ...]] = {}
    for system, user, reply in said(800, task="judge"):
        assert system == rubric.system
        scores = judging.verdicts(reply, rubric.dimensions)
        assert None not in scores.values()
        shown = user.split("Answer 1: ")[1].split("Which answer")[0].split("Answer 2: ")
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


@pytest.mark.parametrize("hidden", range(16, 168, 8))
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_every_width_that_the_schema_allows_makes_a_network(hidden: int, architecture: str) -> None:
    words = chat("qwen2").tokenizer
    shape = dataclasses.replace(SMALL, hidden=hidden, architecture=architecture)
    network = toy.make_network(shape, words)
    with torch.inference_mode():
        assert network(torch.tensor([[1, 2]])).logits.shape == (1, 2, len(words))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Toys by architecture, made by their stage."""
    folder = tmp_path_factory.mktemp("small")
    io.write_table(QUESTIONS, folder / "questions.parquet", "questions")
    io.write_json(dataclasses.asdict(FOUND), folder / "groups.json")
    for name in ("llama", "qwen2"):
        toy = dataclasses.replace(SMALL, architecture=name)
        spec = MakeToy(toy, SAID, "pairwise", "toy model")
        toy_stage.run(
            Namespace(
                spec=to_json(spec),
                questions=folder / "questions.parquet",
                groups=folder / "groups.json",
                threads=1,
                output=folder / name,
            )
        )
    return {name: folder / name for name in ("llama", "qwen2")}


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_toy_is_a_model_folder_like_any_other(name: str, small: dict[str, Path]) -> None:
    assert (small[name] / "model.safetensors").is_file()
    assert not list(small[name].glob("*.bin"))
    spec = toys.model(small[name])
    network = load_network(spec)
    assert network.config.model_type == name
    assert network.config.hidden_size == 32
    answers = TransformersModel(spec, load_chat(spec)).answer(toys.questions()[:2], 4)
    assert all(np.isfinite(answer.logprobs).all() for answer in answers)


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_toys_loss_falls_and_its_log_says_toy(name: str, small: dict[str, Path]) -> None:
    log = io.read_json(small[name] / "training_log.json")
    losses = [step["loss"] for step in log["steps"]]
    assert log["caveat"] == "toy model"
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_toys_tokenizer_comes_back_as_it_was_trained(name: str, small: dict[str, Path]) -> None:
    """Traps 4 and 17."""
    shape = dataclasses.replace(SMALL, architecture=name)
    trained = Chat(toy.make_tokenizer(shape, said(toy.SAMPLE, architecture=name)))
    loaded = load_chat(toys.model(small[name]))
    for persona, user, reply in said(40):
        assert loaded.prompt(persona, user) == trained.prompt(persona, user)
        assert loaded.encode_reply(reply) == trained.encode_reply(reply)
        assert loaded.decode(list(loaded.encode_reply(reply))) == reply


@pytest.mark.parametrize(("name", "tokens"), [("llama", 2), ("qwen2", 1)])
def test_ten_is_one_token_or_two_as_in_real_vocabularies(name: str, tokens: int) -> None:
    """Trap 6: a demo with one kind alone would hide the other's."""
    shape = dataclasses.replace(SMALL, architecture=name, vocabulary=600)
    talk = Chat(toy.make_tokenizer(shape, said(toy.SAMPLE, architecture=name)))
    one, ten = talk.encode_reply("Answer: 1"), talk.encode_reply("Answer: 10")
    assert len(ten) - len(one) == tokens - 1


def test_the_stage_tunes_a_toy_into_a_folder_with_its_log(
    small: dict[str, Path], tmp_path: Path
) -> None:
    io.write_table(toys.pairs(), tmp_path / "pairs.parquet", "pairs")
    spec = Finetune(toys.model(small["llama"]), RECIPE, "english", "toy model")
    finetune_stage.run(
        Namespace(
            spec=to_json(spec),
            pairs=tmp_path / "pairs.parquet",
            threads=1,
            checkpoints=tmp_path / "checkpoints",
            every=0.0,
            output=tmp_path / "adapter",
        )
    )
    log = io.read_json(tmp_path / "adapter" / "training_log.json")
    assert log["examples"] == len(PERSONAS[:3]) * 4
    assert log["logit_shift"] > 0
    model = TransformersModel(spec.model, load_chat(spec.model), tmp_path / "adapter")
    base = TransformersModel(spec.model, load_chat(spec.model))
    asked = toys.questions()[:2]
    for one, other in zip(model.answer(asked, 4), base.answer(asked, 4), strict=True):
        assert not np.allclose(one.logprobs, other.logprobs, atol=1e-6)


def test_loss_and_gradient_of_sure_tokens_keep_their_digits() -> None:
    """p - 1 has lost half of them where p is .999, which is what a tuned network gives."""
    torch.manual_seed(0)
    logits = 3 * torch.randn(64, 2, 8192)
    labels = logits.argmax(dim=-1)
    logits.scatter_add_(-1, labels[..., None], torch.full((64, 2, 1), 12.0))
    labels[:, 1] = -100
    logits.requires_grad_()

    class Given(loop.CompletionObjective):
        def logits(self, network: Any, batch: loop.Batch) -> torch.Tensor:
            return logits

    losses, token_accuracy = Given(0).losses(None, {"labels": labels})
    (found,) = torch.autograd.grad(losses.sum(), logits)
    double = logits.detach().double().requires_grad_()
    exact = torch.nn.functional.cross_entropy(double[:, 0], labels[:, 0], reduction="none")
    (gradient,) = torch.autograd.grad(exact.sum(), double)
    assert exact.max() < 1e-2
    torch.testing.assert_close(losses.double(), exact, rtol=2e-6, atol=0)
    assert float((found - gradient).norm() / gradient.norm()) < 2e-6
    assert token_accuracy.tolist() == [1.0] * 64
