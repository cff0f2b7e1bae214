"""Compiled layers learn what the others learn; what torch cannot compile is refused in a line."""

from typing import Any

import pytest
import torch

from tests import toys
from tests.toys import chat
from tests.tuning import distance, recipe, tune, weights
from valuestrata.errors import InputError
from valuestrata.training.compiled import compile_layers
from valuestrata.training.completion import CompletionObjective
from valuestrata.training.methods import code_of


def test_layers_are_compiled_where_the_recipe_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for any shape; what does it is part of these fine-tunes alone."""
    asked: list[Any] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: asked.append((self, how)))
    plain, _ = tune(recipe(epochs=1))
    assert not asked
    assert "compile" not in code_of(recipe())
    same, _ = tune(recipe(epochs=1, compile_layers=True))
    layers = same.get_base_model().model.layers
    assert asked == [(layer, {"dynamic": True}) for layer in layers]
    assert distance(weights(plain), weights(same)) == 0.0


def test_what_cannot_be_compiled_or_comes_out_otherwise_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no compiler\nand a long story")

    def broken(layer: Any, **_: Any) -> None:
        layer.forward = fail

    def off(layer: Any, **_: Any) -> None:
        with torch.no_grad():
            layer.input_layernorm.weight[0] += 5

    def only_read(layer: Any, **_: Any) -> None:
        """As a compiler that fails on gradients alone."""
        layer.register_forward_hook(lambda *_: fail() if torch.is_grad_enabled() else None)

    for wrong, problem in (
        (broken, r"torch cannot compile the network \(RuntimeError: no compiler\)"),
        (only_read, r"torch cannot compile the network \(RuntimeError: no compiler\)"),
        (off, r"compiled layers are off by [\d.]+ nats"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.Module, "compile", wrong)
            with pytest.raises(InputError, match=f"^recipe: compile_layers: {problem}; leave"):
                tune(recipe(compile_layers=True))

    class Bare(torch.nn.Module):
        def get_decoder(self) -> "Bare":
            return self

    with pytest.raises(InputError, match="no list of layers"):
        compile_layers(Bare(), [], 0, CompletionObjective(0))

    experts = toys.network("Qwen3Moe", chat("llama").tokenizer)
    with pytest.raises(
        InputError,
        match=r"^recipe: compile_layers: LoRA on experts .* leave it out, or tune the other layers",
    ):
        tune(recipe(compile_layers=True, lora_dropout=0.0), network=experts)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_layers_learn_what_the_others_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and differentiated as on a GPU; the kernels are torch's own, no compiler is asked."""
    from torch._dynamo.utils import counters

    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **how: compile_(self, backend="aot_eager", **how)
    )
    for method, layout in (("sft", "plain"), ("sft", "shared_prefix"), ("soft", "plain")):
        changes = {"batch_layout": layout, "epochs": 2, "batch_size": 5, "lora_dropout": 0.0}
        one, other = (
            tune(
                recipe(method, compile_layers=compiled, **changes),
                network=toys.network("Llama", chat("llama").tokenizer),
            )[0]
            for compiled in (False, True)
        )
        assert distance(weights(one), weights(other)) < 1e-5
    assert not counters["graph_break"]
    # training and evaluation of either layout, whatever the shapes of the batches
    assert counters["stats"]["unique_graphs"] <= 16
