"""A GPU answers and learns what the CPU does: `pytest -m gpu` on a machine that has one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import toys, tuning
from tests.toys import ARCHITECTURES
from valuestrata.inference.local import device, load_chat, load_network
from valuestrata.inference.protocol import ScoredReply
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prefix import flex
from valuestrata.training import completion, objectives, shared_prefix
from valuestrata.training.objective import Objective

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
MOST = 24


@contextmanager
def no_gpu() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: False)
        yield


@pytest.fixture(params=list(ARCHITECTURES))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with no_gpu():
        return toys.taught(request.param, tmp_path)


def answers(folder: Path, **more: Any) -> list[ScoredReply]:
    config = toys.model(folder, **more)
    return TransformersBackend(config, load_chat(config)).score(toys.questions(), MOST)


def test_answers_are_those_of_the_cpu(folder: Path) -> None:
    replies = answers(folder)
    with no_gpu():
        expected = answers(folder)
    assert [a.text for a in replies] == [a.text for a in expected]
    for one, other in zip(replies, expected, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, rtol=0, atol=1e-3)


def test_answers_do_not_depend_on_the_size_of_passes(folder: Path) -> None:
    one, other = answers(folder, max_batch_tokens=300), answers(folder, max_batch_tokens=100_000)
    assert [a.text for a in one] == [a.text for a in other]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, rtol=0, atol=1e-4)


def test_half_precision_is_no_more_than_rounded(folder: Path) -> None:
    exact, rounded = answers(folder), answers(folder, dtype="bfloat16")
    for one, other in zip(exact, rounded, strict=True):
        assert np.exp(other.logprobs).sum() <= 1 + 1e-6
        assert np.abs(np.exp(one.logprobs) - np.exp(other.logprobs)).max() < 0.2


def gradient(network: Any, objective: Objective, batch: list[Any]) -> torch.Tensor:
    """All of a network's gradients in one row, from the mean loss of some examples."""
    inputs = {name: t.to(network.device) for name, t in objective.collate(batch).items()}
    objective.losses(network, inputs)[0].mean().backward()
    return torch.cat([p.grad.flatten().double().cpu() for p in network.parameters()])


def test_gradients_are_those_of_the_cpu(folder: Path) -> None:
    config = toys.model(folder)
    chat = load_chat(config)
    batch = tuning.examples(chat, toys.pairs())
    for objective in (
        completion.CompletionObjective(chat.pad),
        shared_prefix.SharedPrefixObjective(chat.pad),
        objectives.SoftObjective(chat.pad),
    ):
        on_gpu = gradient(load_network(config), objective, batch)
        with no_gpu():
            assert device().type == "cpu"
            expected = gradient(load_network(config), objective, batch)
        assert float((on_gpu - expected).norm() / expected.norm()) < 1e-4, objective


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_flex_attention_answers_and_learns_what_gathered_blocks_do(
    folder: Path, dtype: str
) -> None:
    """The kernel itself: log-probabilities, texts, losses and gradients."""
    most, far = (1e-4, 1e-3) if dtype == "float32" else (0.05, 0.2)
    config = toys.model(folder, dtype=dtype)
    flexible, chat = config.replace(forest_attention="flex"), load_chat(config)
    replies, expected = (
        TransformersBackend(model, chat).score(toys.questions(), MOST)
        for model in (flexible, config)
    )
    for one, other in zip(replies, expected, strict=True):
        assert np.abs(np.exp(one.logprobs) - np.exp(other.logprobs)).max() < far
        assert dtype == "bfloat16" or one.text == other.text
    pairs = tuning.examples(chat, toys.pairs())
    # rows of several lengths: one compiled kernel reads them all
    for batch in (pairs, pairs[:3], pairs[:7]):
        for objective in (
            shared_prefix.SharedPrefixObjective(chat.pad),
            objectives.SoftObjective(chat.pad),
        ):
            gathered = gradient(load_network(config), objective, batch)
            network = load_network(flexible)
            assert flex.is_used(network)
            ours = gradient(network, objective, batch)
            assert float((ours - gathered).norm() / gathered.norm()) < most, objective
