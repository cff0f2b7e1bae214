"""No network is trusted: one pass is held against plain passes before it counts."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests import asking, toys
from tests.test_forests import naive
from tests.test_shared_prefix import relative, replies
from tests.toys import chat
from tests.tuning import Stage, recipe, training_log, tune
from valuestrata.errors import InputError
from valuestrata.inference.protocol import Sampling
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prefix import forests, forward, plain
from valuestrata.training import lora
from valuestrata.training.completion import CompletionObjective
from valuestrata.training.objectives import SoftObjective
from valuestrata.training.shared_prefix import SharedPrefixObjective

WIDE = {"initializer_range": 0.2}
MOST = 12
LOST = "each option is read by itself"


def backend(network: Any) -> TransformersBackend:
    model = TransformersBackend(toys.model(Path("nowhere")), chat("llama"))
    model._network = network
    return model


def network(architecture: str, **more: Any) -> Any:
    return toys.network(architecture, chat("llama").tokenizer, **WIDE, **more)


def without_the_forest() -> Any:
    """A Llama of which one layer does not hand on what it is given, as somebody may write one."""
    broken = network("Llama")
    attend = broken.model.layers[1].self_attn

    def forgets(*arguments: Any, tree: Any = None, **options: Any) -> Any:
        return type(attend).forward(attend, *arguments, **options)

    attend.forward = forgets
    return broken


def with_a_window_in_the_mask_alone(window: int = 16) -> Any:
    """As PhiMoE: attention is not told of the window that the mask makes."""
    experts = {"num_local_experts": 2, "num_experts_per_tok": 1}
    return network("Phimoe", sliding_window=window, **experts)


def with_its_own_positions() -> Any:
    """A network that numbers tokens itself, so that siblings stand behind one another."""
    broken = network("Llama")
    rotate = broken.model.rotary_emb.forward

    def counted(hidden: torch.Tensor, position_ids: torch.Tensor) -> Any:
        places = torch.arange(position_ids.shape[1])[None].expand_as(position_ids)
        return rotate(hidden, places if position_ids.shape[1] > 1 else position_ids)

    broken.model.rotary_emb.forward = counted
    return broken


def with_a_last_layer_that_mixes() -> Any:
    """What comes after the last attention looks at its neighbours, though it is called an mlp."""
    broken = network("Llama")
    last = broken.model.layers[-1].mlp
    forward_of = last.forward
    last.forward = lambda hidden: forward_of(hidden) + hidden.cumsum(dim=1)
    return broken


BROKEN: dict[str, Callable[[], Any]] = {
    "a layer drops the forest": without_the_forest,
    "the window is in the mask alone": with_a_window_in_the_mask_alone,
    "positions of its own": with_its_own_positions,
    "the last layer mixes": with_a_last_layer_that_mixes,
    "Nemotron": lambda: network("Nemotron"),
    "StableLm": lambda: network("StableLm"),
    "Doge": lambda: network("Doge"),
    "Lfm2": lambda: network("Lfm2", layer_types=["conv", "full_attention"]),
    "Falcon": lambda: network("Falcon"),
    "Mamba": lambda: network("Mamba"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_reads_forests_wrong_is_read_plainly_and_right(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = backend(BROKEN[name]())
    requests = toys.questions()[:6]
    with caplog.at_level(logging.WARNING, "valuestrata"):
        answers = model.score(requests, MOST)
    warnings = [r.getMessage() for r in caplog.records if LOST in r.getMessage()]
    assert len(warnings) == 1
    assert {reply.passes for reply in answers} == {"plain"}
    for request, reply in zip(requests, answers, strict=True):
        np.testing.assert_allclose(reply.logprobs, naive(model, request), rtol=0, atol=5e-5)
        assert reply.text == naive_text(model, request.messages)
    # again is not found out again
    caplog.clear()
    again = model.score(requests[:2], MOST)
    assert not [r for r in caplog.records if LOST in r.getMessage()]
    assert [reply.text for reply in again] == [reply.text for reply in answers[:2]]


@torch.inference_mode()
def naive_text(model: TransformersBackend, messages: tuple[str, str]) -> str:
    """Greedy decoding, every token by a whole plain pass."""
    ids = list(model.chat.prompt(*messages).ids)
    start = len(ids)
    while len(ids) < start + MOST and (len(ids) == start or ids[-1] not in model.chat.ends):
        ids.append(int(model.network(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return model.chat.decode(ids[start:])


def test_texts_are_as_long_as_allowed_without_a_pass() -> None:
    model = backend(without_the_forest())
    requests = toys.questions()[:5]
    whole = model.score(requests, MOST)
    for most in (1, 2, 5):
        for reply, longer in zip(model.score(requests, most), whole, strict=True):
            assert str(longer.text).startswith(str(reply.text).rstrip("\ufffd"))


def test_a_network_that_is_right_is_said_to_be_right(caplog: pytest.LogCaptureFixture) -> None:
    model = backend(network("Llama"))
    with caplog.at_level(logging.INFO, "valuestrata"):
        answers = model.score(toys.questions()[:2], MOST)
        model.generate([q.messages for q in toys.questions()[:2]], Sampling(4))
    assert {reply.passes for reply in answers} == {"shared_prefix"}
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert text.count("are those of plain passes to") == 3
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rounding_is_no_fault_and_a_fault_is_no_rounding(dtype: torch.dtype) -> None:
    items = scoring_items()
    for architecture in ("Llama", "Qwen3", "Gemma3", "Granite"):
        assert forward.check_forests(network(architecture).to(dtype), items) == ""
    for make in (with_a_window_in_the_mask_alone, with_its_own_positions):
        assert "off by" in forward.check_forests(make().to(dtype), items)


def scoring_items() -> list[forests.PrefixItem]:
    talk = chat("llama")
    return [
        forests.PrefixItem(
            talk.prompt(*q.messages).ids, tuple(talk.encode_reply(text) for text in q.options)
        )
        for q in toys.questions()
    ]


def test_longer_sequences_are_looked_at_again() -> None:
    """A window that no prompt reached so far."""
    items = sorted(scoring_items(), key=lambda item: len(item.prompt))
    short = [item for item in items if len(item.prompt) == len(items[0].prompt)]
    window = max(len(item.prompt) + max(map(len, item.options)) for item in short)
    model = backend(with_a_window_in_the_mask_alone(window))
    assert forward.check_forests(model.network, short) == ""
    assert forward.check_forests(model.network, items) != ""
    assert forward.check_forests(model.network, short) != ""


def test_what_is_no_number_is_one_line() -> None:
    broken = network("Llama")
    with torch.no_grad():
        broken.model.norm.weight[0] = torch.nan
    model = backend(broken)
    for ask in (
        lambda: model.score(toys.questions()[:1], MOST),
        lambda: model.generate([toys.questions()[0].messages], Sampling(4)),
    ):
        with pytest.raises(InputError, match=r"logits are not numbers in float32") as error:
            ask()
        assert "\n" not in str(error.value)


def test_a_network_that_fails_on_a_plain_sequence_is_one_line() -> None:
    broken = network("Llama")
    broken.model.layers[0].forward = lambda *_, **__: 1 / 0
    with pytest.raises(InputError, match=r"cannot read a plain sequence \(ZeroDivisionError"):
        backend(broken).score(toys.questions()[:1], MOST)


# ---- texts


def with_a_cache_that_forgets() -> Any:
    """Settings name a window that the network does not have: the library's cache drops keys."""
    return network("Llama", sliding_window=16)


def test_texts_are_those_of_plain_passes_where_padding_or_a_cache_disturbs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = backend(network("Rwkv", attention_hidden_size=48))
    messages = [q.messages for q in toys.questions()[:3]]
    with caplog.at_level(logging.WARNING, "valuestrata"):
        texts = model.generate(messages, Sampling(MOST))
    assert [text.text for text in texts] == [naive_text(model, pair) for pair in messages]
    assert "each token is written over all before it" in caplog.text
    sampled = model.generate(messages, Sampling(MOST, 1.0, 3))
    assert sampled == model.generate(messages, Sampling(MOST, 1.0, 3))
    assert sampled != texts


# ---- forests without a pass


def test_the_rows_of_a_forest_are_its_sequences() -> None:
    items = scoring_items()[:5]
    forest = forests.build_forest(items)
    for block in (3, 24, 64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forests, "BLOCK", block)
            inputs, _ = forests.to_model_inputs(forest, 0)
        rows = forests.to_rows(inputs)
        whole = {item.prompt + option[:-1] for item in items for option in item.options}
        assert {row.tokens for row in rows} <= whole
        columns = [column for row in rows for column in row.columns]
        assert sorted(columns) == list(range(len(inputs["kept"])))
        for row in rows:
            for place, column in zip(row.places, row.columns, strict=True):
                path = forest.path(inputs["kept"][column])
                assert tuple(forest.token[path]) == row.tokens[: place + 1]


def test_batches_hold_sequences_of_one_length() -> None:
    sequences = [(1,) * n for n in (3, 5, 3, 2, 5, 3, 3)]
    parts = list(plain.batches(sequences, 6))
    assert sorted(i for part in parts for i in part) == list(range(7))
    assert [[len(sequences[i]) for i in part] for part in parts] == [[2], [3, 3], [3, 3], [5], [5]]
    assert [len(part) for part in plain.batches(sequences, 6, new_tokens=3)] == [1] * 7


# ---- training


@pytest.mark.parametrize("name", ["a layer drops the forest", "the window is in the mask alone"])
def test_losses_and_gradients_are_those_of_the_plain_layout(name: str) -> None:
    talk = chat("llama")
    tuned = lora.add_lora(BROKEN[name](), recipe(lora_dropout=0.0)).eval()
    weights = [p for p in tuned.parameters() if p.requires_grad]
    seeded = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in weights:
            weight += 0.02 * torch.randn(weight.shape, generator=seeded)
    data = replies(talk, "question")
    results = []
    for objective in (SharedPrefixObjective(talk.pad), CompletionObjective(talk.pad)):
        losses, accuracy = objective.losses(tuned, objective.collate(data))
        results.append((losses, accuracy, torch.autograd.grad(losses.mean(), weights)))
    (ours, our_accuracy, gradients), (exact, their_accuracy, expected) = results
    torch.testing.assert_close(ours, exact, rtol=0, atol=1e-4)
    assert torch.equal(our_accuracy, their_accuracy)
    assert relative(gradients, expected) <= 1e-4


@pytest.mark.parametrize("method", ["sft", "soft"])
def test_a_training_without_a_pass_learns_and_says_so(method: str, tmp_path: Path) -> None:
    config = recipe(
        method, batch_layout="shared_prefix" if method == "sft" else "plain",
        lora_dropout=0.0, epochs=4, validation={"share": 0.25},
    )  # fmt: skip
    stage = Stage(tmp_path, config, network("Nemotron"), toys.pairs())
    assert stage.run(tmp_path) == 0
    log = training_log(tmp_path)
    assert log["passes"] == "plain"
    assert log["steps"][-1]["loss"] < log["steps"][0]["loss"]
    table = asking.predict(tmp_path, toys.model(stage.weights), adapter=tmp_path / "adapter")
    assert set(table["passes"]) == {"plain"}
    assert table["notes"].str.contains("each option is read by itself, which takes longer").all()
    # from the cache, too
    cached = asking.predict(tmp_path, toys.model(stage.weights), adapter=tmp_path / "adapter")
    pd.testing.assert_frame_equal(table, cached)


def test_a_training_that_reads_no_forest_says_nothing_of_them(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recipe(epochs=1), pairs=toys.pairs())
    assert stage.run(tmp_path) == 0
    assert training_log(tmp_path)["passes"] is None


def test_replies_that_a_cache_disturbs_are_no_lesson(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, recipe("grpo"), with_a_cache_that_forgets(), toys.pairs())
    assert stage.run(tmp_path) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "in texts written over a cache its log-probabilities are off by" in line
    assert "use another method than grpo" in line


def test_a_network_that_padding_disturbs_is_tuned_by_forests_alone() -> None:
    modules = ("key", "value", "receptance", "output")
    config = recipe(lora_dropout=0.0, epochs=1, target_modules=modules)
    for layout in ("plain", "shared_prefix"):
        rwkv, pairs = network("Rwkv", attention_hidden_size=48), toys.pairs(toys.PERSONAS[:1])
        if layout == "plain":
            with pytest.raises(InputError, match=r"in padded batches .* off by") as error:
                tune(config, pairs, rwkv)
            assert "use batch_layout: shared_prefix, or the method soft" in str(error.value)
        else:
            _, log = tune(config.replace(batch_layout=layout), pairs, rwkv)
            assert log["passes"] == "plain"


def test_objectives_say_what_they_read() -> None:
    reads = {kind: kind.reads_forests for kind in (CompletionObjective, SharedPrefixObjective)}
    assert reads == {CompletionObjective: False, SharedPrefixObjective: True}
    assert SoftObjective.reads_forests
