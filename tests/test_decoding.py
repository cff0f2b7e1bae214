"""Texts in batches over a cache with room set aside, and logits in slabs."""

from typing import Any

import numpy as np
import pytest
import torch

from bench.counts import StepCounts, counting
from tests import toys
from tests.test_forward import MOST, backend, naive_text, network
from valuestrata.inference import transformers as transformers_backend
from valuestrata.inference.protocol import Sampling, ScoringRequest
from valuestrata.inference.writing import GumbelNoise
from valuestrata.prefix import decoding

SAMPLED = Sampling(MOST, 1.3, 7)


def record_rows(net: Any) -> list[int]:
    """The rows of each pass over a single token, as they come."""
    rows: list[int] = []
    embeddings = net.get_input_embeddings()
    embeddings.register_forward_pre_hook(
        lambda _, given: rows.append(len(given[0])) if given[0].shape[1] == 1 else None
    )
    return rows


@pytest.mark.parametrize("architecture", ["Llama", "Gemma3", "DeepseekV3", "Olmo3"])
def test_texts_are_those_of_transformers_own_loop(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy and sampled, of prompts of several lengths; some end before others."""
    model = backend(network(architecture))
    prompts = [model.chat.prompt(*q.messages) for q in toys.questions()]
    # some tokens of the texts end them, so that rows leave early, at different steps
    ids = [prompt.ids for prompt in prompts]
    whole = model._writer()._generate(ids, MOST, None)
    monkeypatch.setattr(model.chat, "ends", model.chat.ends | {whole[0][1], whole[5][-1]})
    writer = model._writer()
    for noise in (None, SAMPLED):
        of = [GumbelNoise(prompts, noise) if noise else None for _ in range(2)]
        ours, theirs = writer.write(ids, MOST, of[0]), writer._generate(ids, MOST, of[1])
        assert ours == theirs
    assert len({len(text) for text in ours}) > 1
    assert model.notes == []


def test_noise_is_that_of_one_step_after_another() -> None:
    prompts = [toys.chat("llama").prompt(*q.messages) for q in toys.questions()[:3]]
    for vocabulary in (5, 33, 400):
        noise = GumbelNoise(prompts, Sampling(20, 2.0, 1))
        alone = GumbelNoise(prompts, Sampling(1, 2.0, 1))  # draws for one step at a time
        for step in range(20):
            logits = torch.randn(3, vocabulary)
            rows = torch.tensor([2, 0] if step % 8 else [2, 0, 1])
            torch.testing.assert_close(
                noise._noisy(logits[rows], rows), alone._noisy(logits, torch.arange(3))[rows]
            )


def test_a_step_is_one_pass_over_the_rows_that_go_on_and_copies_no_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = network("Llama")
    model = backend(net)
    prompts = [model.chat.prompt(*q.messages).ids for q in toys.questions()[:9]]
    writer = model._writer()
    texts = writer.write(prompts, MOST)
    monkeypatch.setattr(model.chat, "ends", model.chat.ends | {texts[0][2], texts[4][-1]})
    texts = writer.write(prompts, MOST)
    assert len({len(text) for text in texts}) > 1
    assert {len(text) for text in texts} != {MOST}

    places: set[tuple[int, int]] = set()
    moved: list[int] = []
    update, move = decoding._Slots.update, decoding._Slots.move

    def updating(self: Any, *states: Any, **options: Any) -> Any:
        given = update(self, *states, **options)
        places.add((id(self), self.keys.data_ptr()))
        return given

    def moving(self: Any, holes: torch.Tensor, movers: torch.Tensor) -> None:
        moved.append(len(movers))
        move(self, holes, movers)

    monkeypatch.setattr(decoding._Slots, "update", updating)
    monkeypatch.setattr(decoding._Slots, "move", moving)
    rows = record_rows(net)
    assert writer.write(prompts, MOST) == texts
    # the last token of a text is never read
    assert rows == [sum(len(text) > step + 1 for text in texts) for step in range(len(rows))]
    assert sum(rows) == sum(len(text) - 1 for text in texts)
    assert len(places) == len({layer for layer, _ in places}) == 2  # one place a layer, for good
    assert 0 < sum(moved) <= 2 * len(prompts)


def test_a_step_waits_for_nothing() -> None:
    """transformers would ask the device, once a kind of layers, whether a mask hides anything."""
    for architecture in ("Llama", "Gemma2", "Gemma3", "Qwen3Moe"):
        net = network(architecture)
        for lengths in ((9, 9), (9, 4)):
            prompts = [tuple(range(10, 10 + n)) for n in lengths]
            batch, logits = decoding.after_prompts(net, prompts, 0, 3)
            batch.token = decoding.greedy(logits)
            counts = StepCounts()
            with torch.no_grad(), counting(counts, batch.token, batch.mask, batch.position):
                for _ in range(2):
                    batch.token = decoding.greedy(decoding.read_token(net, batch))
            assert counts.kernels > 0
            assert counts.waits == 0, (architecture, lengths)


def test_texts_that_leave_the_options_are_written_together_whatever_pass_they_come_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = network("Llama")
    requests = toys.questions()
    naive = [naive_text(backend(net), request.messages) for request in requests]
    monkeypatch.setattr(transformers_backend, "CPU_NODES", 120)  # passes of a few prompts
    steps = []
    for room in (4096, 300):
        model = backend(net)
        model.model = model.model.model_copy(update={"max_batch_tokens": room})
        model.score(requests, MOST)  # looks at the network first
        rows = record_rows(net)
        replies = model.score(requests, MOST)
        assert [reply.text for reply in replies] == naive
        steps.append(len(rows))
    assert steps[0] < MOST < steps[1]  # one batch of all, and several


def test_what_the_librarys_cache_forgets_ours_keeps() -> None:
    """A window in the settings that the network does not have."""
    model = backend(network("Llama", sliding_window=16))
    messages = [q.messages for q in toys.questions()[:3]]
    texts = toys.texts(model.generate(messages, Sampling(MOST)))
    assert texts == [naive_text(model, pair) for pair in messages]
    assert model.notes == []


def test_layers_that_keep_a_state_are_written_by_the_librarys_own_loop() -> None:
    model = backend(network("Lfm2", layer_types=["conv", "full_attention"]))
    messages = [q.messages for q in toys.questions()[:3]]
    texts = toys.texts(model.generate(messages, Sampling(MOST)))
    assert texts == [naive_text(model, pair) for pair in messages]
    (note,) = model.notes
    assert "texts are written by transformers' own loop" in note


# ---- slabs


@pytest.mark.parametrize("way", ["shared_prefix", "plain"])
def test_no_more_logits_are_held_than_a_slab_and_all_say_the_same(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = "Llama" if way == "shared_prefix" else "Falcon"
    requests = [
        ScoringRequest(q.messages, q.options) for q in toys.questions() if len(q.options) > 2
    ]
    whole = backend(network(architecture)).score(requests, MOST)
    assert {reply.passes for reply in whole} == {way}

    net = network(architecture)
    model = backend(net)
    vocabulary = net.config.vocab_size
    slab = 7
    monkeypatch.setattr(transformers_backend, "SLAB", slab * vocabulary + 3)
    model.score(requests, MOST)  # its first look at the network reads a few sequences
    read: list[int] = []
    weight = net.get_output_embeddings().weight
    net.get_output_embeddings().register_forward_hook(
        lambda _, __, logits: read.append(logits.shape[:-1].numel())
    )
    largest = 0

    class Counted(torch.utils._python_dispatch.TorchDispatchMode):
        """Rows of the largest tensor over the vocabulary."""

        def __torch_dispatch__(self, call: Any, _: Any, given: Any = (), named: Any = None) -> Any:
            nonlocal largest
            made = call(*given, **(named or {}))
            for tensor in made if isinstance(made, (tuple, list)) else [made]:
                is_logits = isinstance(tensor, torch.Tensor) and tensor.shape[-1:] == (vocabulary,)
                if is_logits and tensor.data_ptr() != weight.data_ptr():
                    largest = max(largest, tensor.shape[:-1].numel())
            return made

    with Counted():
        parts = model.score(requests, 1)
    assert len(read) > 3
    assert max(read) <= largest <= slab < sum(read)
    again = model.score(requests, MOST)
    for one, other, part in zip(whole, again, parts, strict=True):
        assert one.text == other.text
        np.testing.assert_allclose(one.logprobs, other.logprobs, rtol=0, atol=1e-5)
        np.testing.assert_allclose(one.logprobs, part.logprobs, rtol=0, atol=1e-5)
