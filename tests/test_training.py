"""Training learns replies and nothing else, all of them, and the same twice."""

import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch

from tests import toys
from tests.toys import ARCHITECTURES, RECIPE, chat, lessons
from tests.tuning import examples, recipe, timeless, tune
from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat
from valuestrata.prompting.answers import parse
from valuestrata.training import completion, loop, lora
from valuestrata.training.completion import CompletionObjective, make_batches
from valuestrata.training.examples import Example
from valuestrata.training.objective import Batch
from valuestrata.training.schedules import OptimizerSettings

# ---- what enters the loss


def losses(network: Any, data: list[Example], talk: Chat) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and token accuracy of some replies."""
    objective = CompletionObjective(talk.pad)
    return objective.losses(network, objective.collate(data))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi", "pad is eos", "no pad", "spaces"])
def test_a_batch_holds_each_sequence_whole_and_labels_replies_with_terminators(kind: str) -> None:
    """Traps 14 and 15: no prompt token is learned, the terminator is, also where PAD = EOS."""
    talk = chat(kind)
    data = [*lessons(talk), Example(talk.prompt("P", "Q").ids, talk.encode_reply("Yes.\n\nNo."))]
    batch = completion.collate(data, talk.pad)
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
        # the mask hides padding by place, not by its id
        ids = [*example.prompt, *example.reply]
        shown = batch["attention_mask"][row] == 1
        assert batch["input_ids"][row][shown].tolist() == ids
        assert batch["position_ids"][row][shown].tolist() == list(range(len(ids)))
        assert shown.tolist() == [False] * (len(shown) - len(ids)) + [True] * len(ids)


@torch.inference_mode()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_are_the_librarys_and_padding_changes_nothing(architecture: str) -> None:
    """Trap 14; a long reply weighs as much as a short one."""
    talk = chat(ARCHITECTURES[architecture])
    network = toys.network(architecture, talk.tokenizer)
    data = lessons(talk)[::3]
    assert len({len(e.reply) for e in data}) > 1
    together, _ = losses(network, data, talk)
    for example, loss in zip(data, together, strict=True):
        ids = torch.tensor([[*example.prompt, *example.reply]])
        labels = torch.tensor([[*[-100] * len(example.prompt), *example.reply]])
        assert float(loss) == pytest.approx(
            float(network(input_ids=ids, labels=labels).loss), abs=1e-5
        )


def test_token_accuracy_is_one_once_every_reply_is_learned() -> None:
    talk = chat("llama")
    assert losses(toys.network("Llama", talk.tokenizer), lessons(talk), talk)[1].mean() < 0.2
    assert losses(toys.taught_network("Llama"), lessons(talk), talk)[1].mean() > 0.9


def test_loss_and_gradient_of_sure_tokens_keep_their_digits() -> None:
    """p - 1 has lost half of them where p is .999, which is what a tuned network gives."""
    torch.manual_seed(0)
    logits = 3 * torch.randn(64, 2, 8192)
    labels = logits.argmax(dim=-1)
    logits.scatter_add_(-1, labels[..., None], torch.full((64, 2, 1), 12.0))
    labels[:, 1] = -100
    logits.requires_grad_()

    class Given(CompletionObjective):
        def logits(self, network: Any, batch: Batch) -> torch.Tensor:
            return logits

    loss, token_accuracy = Given(0).losses(None, {"labels": labels})
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    double = logits.detach().double().requires_grad_()
    exact = torch.nn.functional.cross_entropy(double[:, 0], labels[:, 0], reduction="none")
    (expected,) = torch.autograd.grad(exact.sum(), double)
    assert exact.max() < 1e-2
    torch.testing.assert_close(loss.double(), exact, rtol=2e-6, atol=0)
    assert float((gradient - expected).norm() / expected.norm()) < 2e-6
    assert token_accuracy.tolist() == [1.0] * 64


# ---- batches and steps


def numbered(n: int) -> list[Example]:
    return [Example(tuple(range(i % 7 + 1)), (i,)) for i in range(n)]


def test_every_epoch_holds_every_example_once_in_an_order_that_the_seed_decides() -> None:
    for n, size in [(1, 4), (10, 4), (16, 4), (1000, 8), (257, 1)]:
        batches = list(make_batches(numbered(n), size, 3, seed=1))
        steps = math.ceil(n / size)
        assert len(batches) == 3 * steps
        assert all(1 <= len(batch) <= size for batch in batches)
        epochs = [batches[i * steps : (i + 1) * steps] for i in range(3)]
        for epoch in epochs:
            assert Counter(e.reply[0] for batch in epoch for e in batch) == Counter(range(n))
        assert (epochs[0] != epochs[1]) == (n > size)
        assert list(make_batches(numbered(n), size, 3, seed=1)) == batches
        assert (list(make_batches(numbered(n), size, 3, seed=2)) != batches) == (n > size)


def test_like_lengths_come_together() -> None:
    data = numbered(700)
    lengths = [[len(e.prompt) for e in batch] for batch in make_batches(data, 10, 1, seed=1)]
    assert np.mean([max(batch) - min(batch) for batch in lengths]) < 0.5
    assert sorted(lengths) != lengths


def test_the_rate_rises_and_then_keeps_its_schedule() -> None:
    for schedule, expected in {
        "linear": [1, 2, 2, 1.5, 1, 0.5],
        "cosine": [1, 2, 2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5],
        "constant": [1, 2, 2, 2, 2, 2],
    }.items():
        settings = OptimizerSettings(2.0, 6, 1 / 3, 0.0, 1.0, schedule)
        assert [settings.rate(step) for step in range(6)] == pytest.approx(expected)


def test_the_log_holds_the_rates_of_the_schedule() -> None:
    talk = chat("llama")
    settings = OptimizerSettings(1e-3, 10, 0.3, 0.0, 1.0)
    network = toys.network("Llama", talk.tokenizer)
    batches = make_batches(lessons(talk), 8, 99, seed=1)
    history = loop.train(network, batches, settings, CompletionObjective(talk.pad))
    rates = [record["learning_rate"] for record in history]
    assert [record["step"] for record in history] == list(range(1, 11))
    assert rates[:3] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3])
    assert all(a > b for a, b in itertools.pairwise(rates[3:]))
    assert 0 < rates[-1] < 2e-4
    assert not network.training


# ---- LoRA


def test_every_linear_layer_is_adapted_but_the_output() -> None:
    """Trap 16: of Phi3, qkv and gate-up are fused."""
    for architecture, in_a_layer in {"Llama": 7, "Qwen2": 7, "Phi3": 4, "Gemma2": 7}.items():
        tuned = lora.add_lora(toys.network(architecture, chat("llama").tokenizer), RECIPE)
        layers = [name for name, m in tuned.named_modules() if hasattr(m, "lora_A")]
        assert len(layers) == 2 * in_a_layer
        if architecture == "Phi3":
            assert sum(name.endswith("qkv_proj") for name in layers) == 2
        assert not any("lm_head" in name or "embed" in name for name in layers)
        trained = [name for name, p in tuned.named_parameters() if p.requires_grad]
        assert len(trained) == 2 * len(layers)
        assert all("lora_" in name for name in trained)


def test_named_layers_alone_are_adapted() -> None:
    network = toys.network("Llama", chat("llama").tokenizer)
    tuned = lora.add_lora(network, recipe(target_modules=["q_proj", "down_proj"]))
    layers = [name for name, m in tuned.named_modules() if hasattr(m, "lora_A")]
    assert len(layers) == 4
    assert all(name.endswith(("q_proj", "down_proj")) for name in layers)


def test_layers_that_cannot_be_adapted_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 16: transformers 5 keeps experts as fused parameters, which are no linear layers."""
    tokenizer = chat("llama").tokenizer
    with pytest.raises(InputError, match=r"'q_proj'; it has down_proj, gate_up_proj, o_proj, qkv"):
        lora.add_lora(
            toys.network("Phi3", chat("phi").tokenizer), recipe(target_modules=["o_proj", "q_proj"])
        )
    experts = {
        "num_experts": 4,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
        "num_experts_per_tok": 2,
    }
    with pytest.raises(InputError, match=r"LoRA on experts .* takes no dropout"):
        lora.add_lora(toys.network("Qwen2Moe", tokenizer, **experts), RECIPE)

    class Fewer(peft.LoraConfig):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings | {"target_modules": ["q_proj", "v_proj"]})

    monkeypatch.setattr(peft, "LoraConfig", Fewer)
    with pytest.raises(InputError, match="4 of 14"):
        lora.add_lora(toys.network("Llama", tokenizer), RECIPE)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tuning_lowers_the_loss_and_shifts_the_logits(architecture: str) -> None:
    """Trap 13."""
    talk = chat(ARCHITECTURES[architecture])
    network = toys.network(architecture, talk.tokenizer)
    _, log = tune(recipe(epochs=8), toys.pairs(), network, talk=talk)
    losses = [step["loss"] for step in log["steps"]]
    assert log["examples"] == 12
    assert len(losses) == 16
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])
    assert log["mean_logit_change"] > 0.01


def test_tuning_twice_gives_bitwise_the_same_adapter(tmp_path: Path) -> None:
    logs = {}
    for name, seed in {"a": 1, "b": 1, "c": 2}.items():
        tuned, log = tune(recipe(seed=seed))
        lora.save(tuned, tmp_path / name)
        logs[name] = timeless(log)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        one, other = ((tmp_path / name / file).read_bytes() for name in "ab")
        assert one == other
    # peft holds them in a set, whose order is another in every process
    names = json.loads((tmp_path / "a" / "adapter_config.json").read_text())["target_modules"]
    assert names == sorted(names)
    assert logs["a"] == logs["b"] != logs["c"]


def test_tuning_leaves_the_base_as_it_was() -> None:
    """Trap 18."""
    network = toys.network("Llama", chat("llama").tokenizer)
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    tune(RECIPE, network=network)
    after = {
        name.replace(".base_layer", ""): weight
        for name, weight in network.named_parameters()
        if "lora_" not in name
    }
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_adapter_that_does_nothing_or_is_broken_is_an_error() -> None:
    """Traps 13 and 18; the last step has no later loss to tell that it went wrong."""
    with pytest.raises(InputError, match=r"learning.rate.*raise it"):
        tune(recipe(learning_rate=1e-30))
    with pytest.raises((InputError, FloatingPointError), match=r"learning.rate.*lower"):
        tune(recipe(learning_rate=1e30, epochs=1, batch_size=16, warmup_ratio=0.0))
    network = toys.network("Llama", chat("llama").tokenizer)
    with torch.no_grad():
        network.model.norm.weight[0] = torch.nan
    with pytest.raises(InputError, match="its logits are not numbers"):
        tune(RECIPE, network=network)


def test_each_pair_is_taught_its_modal_answer_by_the_prompt_that_is_asked() -> None:
    """Trap 4."""
    talk, pairs = chat("llama"), toys.pairs()
    for row, example in zip(pairs.itertuples(), examples(talk, pairs), strict=True):
        assert example.prompt == talk.prompt(row.persona, row.closed_prompt).ids
        assert parse(talk.decode(list(example.reply)), row.codes) == ("answer", row.mode)
        assert example.reply[-1] == talk.terminator[-1]
