"""Shared-prefix batches hold every pair once, and learn what plain batches learn."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from tests import toys
from tests.toys import ARCHITECTURES, CLOSED, PERSONAS, chat
from tests.tuning import recipe, tune
from valuestrata.inference.chat import Chat
from valuestrata.prefix import forests
from valuestrata.prompting import prompts
from valuestrata.training import lora
from valuestrata.training.completion import CompletionObjective
from valuestrata.training.examples import Example, Pair
from valuestrata.training.shared_prefix import SharedPrefixObjective, grid_shape, make_batches

SMALL = 1e-5


def pair(group: int, question: int) -> Pair:
    """A pair without texts."""
    return Pair(
        (1, group), (question,), options=(), shares=(), place=(),
        group=str(group), question=str(question),
    )  # fmt: skip


def replies(talk: Chat, order: str) -> list[Example]:
    """Every persona's reply to every question; question-first swaps the two messages."""
    answers = [1, 2, 10, 3, toys.REFUSAL]
    made = []
    for i, persona in enumerate(PERSONAS):
        for j, user in enumerate(CLOSED.values()):
            answer = answers[(2 * i + j) % 5]
            text = answer if isinstance(answer, str) else prompts.answer("english", answer)
            first, second = (persona, user) if order == "persona" else (user, persona)
            made.append(Example(talk.prompt(first, second).ids, talk.encode_reply(text)))
    return made


# ---- which pairs come together


def test_a_batch_is_as_square_as_its_size_allows() -> None:
    shapes = {1: (1, 1), 7: (1, 7), 8: (2, 4), 12: (3, 4), 64: (8, 8)}
    assert {size: grid_shape(size) for size in shapes} == shapes


@pytest.mark.parametrize(("personas", "questions", "size"), [(50, 214, 32), (5, 3, 8), (9, 9, 7)])
def test_every_epoch_holds_every_pair_once_in_full_batches(
    personas: int, questions: int, size: int
) -> None:
    data = [pair(g, q) for g in range(personas) for q in range(questions)]
    high, wide = grid_shape(size)
    steps = -(-personas // high) * -(-questions // wide)
    batches = list(make_batches(data, size, 2, seed=1))
    assert len(batches) == 2 * steps
    for epoch in (batches[:steps], batches[steps:]):
        assert Counter(e for batch in epoch for e in batch) == Counter(data)
    for batch in batches:
        groups, columns = {e.group for e in batch}, {e.question for e in batch}
        assert len(groups) <= high
        assert len(columns) <= wide
        assert len(batch) == len(groups) * len(columns)
    # no batch is a small rest
    if personas > high and questions > wide:
        assert min(map(len, batches)) >= (high // 2) * (wide // 2)
    assert {frozenset(b) for b in batches[:steps]} != {frozenset(b) for b in batches[steps:]}


def test_the_seed_decides_the_batches_and_missing_or_doubled_pairs_stay_so() -> None:
    data = [pair(g, q) for g in range(6) for q in range(10) if (g + q) % 3]
    data = [*data, *data[:5]]
    first = list(make_batches(data, 8, 2, seed=1))
    assert Counter(e for batch in first for e in batch) == Counter([*data, *data])
    assert all(first)
    assert list(make_batches(data, 8, 2, seed=1)) == first
    assert list(make_batches(data, 8, 2, seed=2)) != first


# ---- what is learned from them


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_accuracy_and_gradients_are_those_of_the_plain_layout(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traps 14 and 15, too: the same labels, terminators included, whatever the layout."""
    monkeypatch.setattr(forests, "BLOCK", 24)  # many blocks
    talk = chat(ARCHITECTURES[architecture])
    plain = recipe(lora_dropout=0.0)
    network = lora.add_lora(toys.network(architecture, talk.tokenizer), plain)
    weights = [p for p in network.parameters() if p.requires_grad]
    seeded = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a fresh adapter's B is 0 and hides A's gradients
        for weight in weights:
            weight += 0.02 * torch.randn(weight.shape, generator=seeded)
    for order in ("persona", "question"):
        data = replies(talk, order)
        random.Random(0).shuffle(data)
        assert len({len(e.reply) for e in data}) > 1
        results = []
        for objective in (SharedPrefixObjective(talk.pad), CompletionObjective(talk.pad)):
            losses, accuracy = objective.losses(network, objective.collate(data))
            results.append((losses, accuracy, torch.autograd.grad(losses.mean(), weights)))
        (ours, our_accuracy, gradients), (expected, their_accuracy, exact) = results
        torch.testing.assert_close(ours, expected, rtol=0, atol=SMALL)
        assert torch.equal(our_accuracy, their_accuracy)
        assert relative(gradients, exact) <= SMALL
        for one, other in zip(gradients, exact, strict=True):
            assert relative([one], [other]) <= 10 * SMALL


def relative(ours: Any, expected: Any) -> float:
    """|ours - expected| / |expected| over all parameters."""
    one, other = (torch.cat([g.flatten() for g in side]).double() for side in (ours, expected))
    assert float(other.norm()) > 1e-4
    return float((one - other).norm() / other.norm())


def test_a_prompts_beginning_is_read_once() -> None:
    talk = chat("llama")
    shared, plain = SharedPrefixObjective(talk.pad), CompletionObjective(talk.pad)
    for order, most in (("persona", 0.8), ("question", 0.6)):
        data = replies(talk, order)
        batch = shared.collate(data)
        paths = {(*e.prompt, *e.reply[:-1])[:k] for e in data for k in range(1, 200)}
        assert shared.num_tokens(batch) == len(paths)
        assert shared.num_tokens(batch) <= most * plain.num_tokens(plain.collate(data))


@pytest.mark.parametrize(
    ("architecture", "method"),
    list(zip(ARCHITECTURES, ["sft", "soft", "ordinal", "dro"], strict=True)),
)
def test_a_recipe_with_shared_prefixes_learns(architecture: str, method: str) -> None:
    talk = chat(ARCHITECTURES[architecture])
    config = recipe(method, batch_layout="shared_prefix", epochs=8)
    network = toys.network(architecture, talk.tokenizer)
    _, log = tune(config, toys.pairs(), network, talk=talk)
    losses = [step["loss"] for step in log["steps"]]
    high, wide = grid_shape(config.batch_size)
    assert len(losses) == 8 * -(-3 // high) * -(-len(CLOSED) // wide)
    assert log["steps"][-1]["learning_rate"] < 0.2 * config.learning_rate
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])
