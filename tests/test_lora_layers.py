"""LoRA layers that add in place are peft's in what they compute, and do less of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners import lora as pefts

from bench.counts import counted
from tests import toys
from tests.toys import chat
from tests.tuning import examples, recipe
from valuestrata.inference.lora_layers import LoraLinear, fuse
from valuestrata.training import completion, loop, lora
from valuestrata.training.schedules import OptimizerSettings


class Two(torch.nn.Module):
    """Two layers, one of them with a bias, and one that LoRA adapts in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(7, 24)
        self.first = torch.nn.Linear(24, 40)
        self.second = torch.nn.Linear(40, 16, bias=False)

    def forward(self, ids: torch.Tensor) -> Any:
        return self.second(self.first(self.table(ids)).tanh())


def pair(dtype: torch.dtype, **changes: Any) -> tuple[Any, Any]:
    """The same network with peft's layers and with ours; adapters that do something."""
    torch.manual_seed(0)
    settings = {"r": 8, "lora_alpha": 16, "target_modules": ["table", "first", "second"]}
    theirs = get_peft_model(
        Two().to(dtype), LoraConfig(**{**settings, **changes}), autocast_adapter_dtype=False
    )
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    return theirs, fuse(copy.deepcopy(theirs))


def gradients(network: Any, ids: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(1)  # of a dropout
    network.zero_grad(set_to_none=True)
    out = network(ids)
    (out.double() * torch.linspace(-1, 1, out.shape[-1])).square().sum().backward()
    return [out.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


IDS = torch.randint(0, 7, (3, 5), generator=torch.Generator().manual_seed(3))


def test_fp32_results_and_gradients_are_pefts() -> None:
    for changes in ({}, {"lora_dropout": 0.3}, {"lora_alpha": 16, "use_rslora": True}, {"r": 6}):
        theirs, ours = pair(torch.float32, **changes)
        assert sum(isinstance(m, LoraLinear) for m in ours.modules()) == 2
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for ids in (IDS, IDS[0], IDS[:1, :1]):
            for a, b in zip(gradients(ours, ids), gradients(theirs, ids), strict=True):
                assert distance(a, b) < 1e-6
        with ours.disable_adapter(), theirs.disable_adapter():
            assert torch.equal(ours(IDS), theirs(IDS))


def test_16_bit_results_are_no_further_from_exact_ones_than_pefts() -> None:
    theirs, ours = pair(torch.bfloat16, lora_alpha=12)
    ids = torch.randint(0, 7, (64, 32), generator=torch.Generator().manual_seed(4))
    exactly = copy.deepcopy(theirs).double()
    errors = [
        [distance(a.double(), b) for a, b in
         zip(gradients(each, ids), gradients(exactly, ids), strict=True)]
        for each in (ours, theirs)
    ]  # fmt: skip
    assert all(0 < mine < 0.1 for mine in errors[0])
    assert all(mine <= 1.2 * peers for mine, peers in zip(*errors, strict=True))


def test_what_is_not_plain_lora_is_left_to_peft() -> None:
    theirs, ours = pair(torch.float32, use_dora=True, target_modules=["first", "second"])
    assert torch.equal(ours(IDS), theirs(IDS))
    theirs, ours = pair(torch.float32, lora_bias=True, target_modules=["first"])
    assert not any(isinstance(m, LoraLinear) for m in ours.modules())
    theirs, ours = pair(torch.float32)
    for each in (theirs, ours):
        each.base_model.set_adapter([])
    assert torch.equal(ours(IDS), theirs(IDS))
    for each in (theirs, ours):
        each.base_model.set_adapter("default")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(IDS), theirs(IDS))
    for each in (theirs, ours):
        each.add_adapter("more", LoraConfig(r=4, target_modules=["first"], init_lora_weights=False))
    ours.load_state_dict(theirs.state_dict())
    for each in (theirs, ours):
        each.base_model.set_adapter(["default", "more"])
    assert torch.equal(ours(IDS), theirs(IDS))
    for each in (theirs, ours):
        each.merge_adapter(["default"])
    torch.testing.assert_close(ours(IDS), theirs(IDS))
    assert not any(isinstance(m, pefts.Linear) for m in ours.unload().modules())


def test_an_adapter_is_written_and_read_as_before(tmp_path: Path) -> None:
    network = toys.network("Llama", chat("llama").tokenizer)
    tuned = lora.add_lora(network, recipe())
    assert {type(m) for m in tuned.modules() if hasattr(m, "lora_A")} == {LoraLinear}
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    lora.save(tuned, tmp_path / "adapter")
    base = toys.network("Llama", chat("llama").tokenizer)
    again = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    ids = torch.tensor([examples(chat("llama"))[0].prompt])
    with torch.no_grad():
        expected = again(input_ids=ids).logits
        torch.testing.assert_close(fuse(again)(input_ids=ids).logits, expected)
        torch.testing.assert_close(tuned.eval()(input_ids=ids).logits, expected)


def test_a_step_launches_fewer_kernels_than_with_pefts_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A layer's output is neither scaled nor added anew, nor is its gradient scaled."""
    talk = chat("llama")
    objective, batch = completion.CompletionObjective(talk.pad), examples(talk, toys.pairs())[:4]

    def kernels() -> tuple[int, int]:
        network = toys.network("Llama", talk.tokenizer).to(torch.bfloat16)
        tuned = lora.add_lora(network, recipe(lora_dropout=0.0))
        settings = OptimizerSettings(1e-4, 2, 0.1, 0.0, 1.0)
        with counted(tuned) as counts:
            loop.train(tuned, iter([batch] * 2), settings, objective)
        return counts.kernels // counts.steps, sum(hasattr(m, "lora_A") for m in tuned.modules())

    ours, layers = kernels()
    monkeypatch.setattr("valuestrata.inference.lora_layers.fuse", lambda tuned: tuned)
    theirs, _ = kernels()
    assert theirs - ours >= layers
