"""Grid batches hold every pair once, and learn from them what plain batches learn."""

import dataclasses
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from tests import toys
from tests.toys import ARCHITECTURES, CLOSED, PERSONAS, RECIPE, chat
from valuestrata.inference.chat import Chat
from valuestrata.prefix import forests
from valuestrata.prompting import prompts
from valuestrata.specs import Finetune
from valuestrata.training import loop, lora, objectives, shared_prefix

SMALL = 1e-5


@pytest.fixture(params=list(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pair(group: int, question: int) -> objectives.Pair:
    """A pair without texts."""
    return objectives.Pair(
        (1, group), (question,), options=(), shares=(), place=(),
        group=str(group), question=str(question),
    )  # fmt: skip


def asked(talk: Chat, order: str) -> list[loop.Example]:
    """Every persona's own reply to every question; question-first swaps the two messages."""
    replies = [1, 2, 10, 3, toys.REFUSAL]
    found = []
    for i, persona in enumerate(PERSONAS):
        for j, user in enumerate(CLOSED.values()):
            reply = replies[(2 * i + j) % 5]
            text = reply if isinstance(reply, str) else prompts.answer("english", reply)
            first, second = (persona, user) if order == "persona" else (user, persona)
            found.append(loop.Example(talk.prompt(first, second).ids, talk.encode_reply(text)))
    return found


# ---- which pairs come together


@pytest.mark.parametrize(
    ("size", "expected"), [(1, (1, 1)), (7, (1, 7)), (8, (2, 4)), (12, (3, 4)), (64, (8, 8))]
)
def test_a_grid_is_as_square_as_its_size_allows(size: int, expected: tuple[int, int]) -> None:
    assert shared_prefix.shape(size) == expected


@pytest.mark.parametrize(("personas", "questions", "size"), [(50, 214, 32), (5, 3, 8), (9, 9, 7)])
def test_every_epoch_holds_every_pair_once_in_full_grids(
    personas: int, questions: int, size: int
) -> None:
    data = [pair(g, q) for g in range(personas) for q in range(questions)]
    high, wide = shared_prefix.shape(size)
    steps = -(-personas // high) * -(-questions // wide)
    parts = list(shared_prefix.make_batches(data, size, 2, seed=1))
    assert len(parts) == 2 * steps
    for epoch in (parts[:steps], parts[steps:]):
        assert Counter(e for part in epoch for e in part) == Counter(data)
    for part in parts:
        own = {e.group for e in part}, {e.question for e in part}
        assert len(own[0]) <= high
        assert len(own[1]) <= wide
        assert len(part) == len(own[0]) * len(own[1])
    # no batch is a small rest
    if personas > high and questions > wide:
        assert min(map(len, parts)) >= (high // 2) * (wide // 2)
    assert {frozenset(part) for part in parts[:steps]} != {frozenset(p) for p in parts[steps:]}


def test_pairs_that_are_missing_or_doubled_stay_so() -> None:
    data = [pair(g, q) for g in range(6) for q in range(10) if (g + q) % 3]
    data = [*data, *data[:5]]
    parts = list(shared_prefix.make_batches(data, 8, 1, seed=0))
    assert Counter(e for part in parts for e in part) == Counter(data)
    assert all(parts)


def test_the_seed_decides_the_grids() -> None:
    data = [pair(g, q) for g in range(6) for q in range(10)]
    first = list(shared_prefix.make_batches(data, 8, 2, seed=1))
    assert list(shared_prefix.make_batches(data, 8, 2, seed=1)) == first
    assert list(shared_prefix.make_batches(data, 8, 2, seed=2)) != first


# ---- what is learned from them


@pytest.mark.parametrize("order", ["persona", "question"])
def test_losses_hits_and_gradients_are_those_of_the_plain_layout(
    architecture: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traps 14 and 15, too: the same labels, terminators included, whatever the layout."""
    monkeypatch.setattr(forests, "BLOCK", 24)  # many blocks
    talk = chat(ARCHITECTURES[architecture])
    network = lora.add_lora(toys.network(architecture, talk.tokenizer), RECIPE_WITHOUT_DROPOUT)
    weights = [p for p in network.parameters() if p.requires_grad]
    seeded = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a fresh adapter's B is 0 and hides A's gradients
        for weight in weights:
            weight += 0.02 * torch.randn(weight.shape, generator=seeded)
    data = asked(talk, order)
    random.Random(0).shuffle(data)
    assert len({len(e.reply) for e in data}) > 1
    found = []
    for objective in (
        shared_prefix.SharedPrefixObjective(talk.pad),
        loop.CompletionObjective(talk.pad),
    ):
        losses, hits = objective.losses(network, objective.collate(data))
        found.append((losses, hits, torch.autograd.grad(losses.mean(), weights)))
    (ours, our_hits, our_gradients), (theirs, their_hits, their_gradients) = found
    torch.testing.assert_close(ours, theirs, rtol=0, atol=SMALL)
    assert torch.equal(our_hits, their_hits)
    assert relative(our_gradients, their_gradients) <= SMALL
    for one, other in zip(our_gradients, their_gradients, strict=True):
        assert relative([one], [other]) <= 10 * SMALL


def relative(ours: Any, theirs: Any) -> float:
    """|ours - theirs| / |theirs| over all parameters."""
    one, other = (torch.cat([g.flatten() for g in side]).double() for side in (ours, theirs))
    assert float(other.norm()) > 1e-4
    return float((one - other).norm() / other.norm())


RECIPE_WITHOUT_DROPOUT = dataclasses.replace(RECIPE, dropout=0.0)


def test_a_prompts_beginning_is_read_once() -> None:
    talk = chat("llama")
    for order, most in (("persona", 0.8), ("question", 0.6)):
        data = asked(talk, order)
        objective, plain = (
            shared_prefix.SharedPrefixObjective(talk.pad),
            loop.CompletionObjective(talk.pad),
        )
        batch = objective.collate(data)
        paths = {(*e.prompt, *e.reply[:-1])[:k] for e in data for k in range(1, 200)}
        assert objective.num_tokens(batch) == len(paths)
        assert objective.num_tokens(batch) <= most * plain.num_tokens(plain.collate(data))


@pytest.mark.parametrize("method", ["sft", "soft", "ordinal"])
def test_a_recipe_with_grids_learns(architecture: str, method: str) -> None:
    talk = chat(ARCHITECTURES[architecture])
    recipe = dataclasses.replace(RECIPE, grid=True, epochs=8, method=method)
    spec = Finetune(toys.model("nowhere"), recipe, "english", "toy model")  # type: ignore[arg-type]
    data = lora.examples(toys.pairs(), talk, "english")
    network = toys.network(architecture, talk.tokenizer)
    _, record = lora.finetune(spec, network, data, talk.pad)
    losses = [step["loss"] for step in record["steps"]]
    personas, questions = 3, len(CLOSED)
    high, wide = shared_prefix.shape(recipe.batch)
    assert len(losses) == 8 * -(-personas // high) * -(-questions // wide)
    assert record["steps"][-1]["learning_rate"] < 0.2 * recipe.learning_rate
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])


def test_dro_weighs_grids_too() -> None:
    recipe = dataclasses.replace(RECIPE, grid=True, method="dro")
    assert isinstance(lora.objective(recipe, 0), shared_prefix.SharedPrefixObjective)
    assert not isinstance(lora.objective(RECIPE, 0), shared_prefix.SharedPrefixObjective)
