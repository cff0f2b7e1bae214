"""What a training step asks of a GPU, counted without one; masters in fp32 of weights in bf16."""

from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.counts import StepCounts, counted, counting
from tests import toys
from tests.test_checkpoint import killed_at
from tests.toys import chat
from tests.tuning import distance, examples, recipe, timeless, tune, weights
from valuestrata.inference import local, runtime
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prefix import padding
from valuestrata.training import completion, group_dro, loop, lora, objectives, shared_prefix
from valuestrata.training import objective as objective_module
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.optimizer import MasterAdamW
from valuestrata.training.schedules import OptimizerSettings

OBJECTIVES = {
    "plain": completion.CompletionObjective,
    "shared prefixes": shared_prefix.SharedPrefixObjective,
    "options": objectives.SoftObjective,
}


def adapted(dtype: torch.dtype, **changes: Any) -> Any:
    network = toys.network("Llama", chat("llama").tokenizer).to(dtype)
    return lora.add_lora(network, recipe(lora_dropout=0.0, **changes))


def counts_of(
    objective: Any, size: int, tuned: Any, steps: int = 3, weighting: Any = None, passes: int = 1
) -> StepCounts:
    """What some steps over the same batch ask for."""
    batch = examples(chat("llama"), toys.pairs())[:size]
    settings = OptimizerSettings(1e-4, steps, 0.1, 0.0, 1.0, gradient_accumulation_steps=passes)
    with torch.no_grad():
        objective.losses(tuned, objective.collate(batch))  # forests are tried out
    with counted(tuned) as counts:
        loop.train(tuned, iter([batch] * steps), settings, objective, weighting)
    return counts


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_neither_casts_in_lora_layers_nor_waits_for_the_device(name: str) -> None:
    tuned, objective = adapted(torch.bfloat16), OBJECTIVES[name](chat("llama").pad)
    few, many = (counts_of(objective, size, tuned) for size in (3, 9))
    for counts in (few, many):
        assert counts.steps == 3
        assert (counts.casts, counts.waits) == (0, 0)
        assert counts.syncs_per_step() <= 1
        assert counts.seconds > 0
    # nothing is done for each example by itself
    assert 0 < few.kernels <= many.kernels <= few.kernels + 40


def test_passes_of_a_batch_wait_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = completion.CompletionObjective(chat("llama").pad)
    counts = counts_of(objective, 9, adapted(torch.bfloat16), passes=3)
    assert counts.waits == counts.casts == 0
    assert counts.syncs_per_step() <= 1
    monkeypatch.setattr(padding, "_PADDED", ContextVar("unread", default=None))
    monkeypatch.setattr(completion, "known_padding", lambda _: nullcontext())
    asking = counts_of(objective, 9, adapted(torch.bfloat16), 1, passes=3)
    assert asking.waits >= 3  # what transformers asks by itself


@pytest.mark.parametrize("architecture", ["Llama", "Qwen2", "Gemma2"])
def test_masks_are_those_that_transformers_makes(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With padding and without, in layers with a window and without, to the bit."""
    talk = chat("llama")
    window = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
    more = window if architecture == "Qwen2" else {}
    network = toys.network(architecture, talk.tokenizer, **more)
    objective, data = completion.CompletionObjective(talk.pad), examples(talk, toys.pairs())
    for part in (data[:5], [data[0], data[0]]):
        batch = objective.collate(part)
        assert bool(batch["is_padded"]) == (len(part) > 2)
        ours = objective.logits(network, batch)
        with monkeypatch.context() as patch:
            patch.setattr(completion, "known_padding", lambda _: nullcontext())
            assert torch.equal(ours, objective.logits(network, batch))


def test_weights_that_follow_the_losses_wait_once_a_step() -> None:
    batch = examples(chat("llama"), toys.pairs())
    objective = shared_prefix.SharedPrefixObjective(chat("llama").pad)
    weighting = group_dro.GroupDROWeighting(batch, 0.1)
    counts = counts_of(objective, 8, adapted(torch.bfloat16), 4, weighting)
    assert (counts.reads, counts.waits) == (4, 0)


def test_the_counts_see_casts_and_waits() -> None:
    """An adapter in fp32 over a network in bf16, and an objective that looks at its losses."""

    class Curious(shared_prefix.SharedPrefixObjective):
        def losses(self, network: Any, batch: Any) -> Any:
            losses, accuracy = super().losses(network, batch)
            assert losses.max() < 1e9
            return losses, accuracy.cpu()

    tuned = adapted(torch.bfloat16)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    counts = counts_of(Curious(chat("llama").pad), 4, tuned, 2)
    layers = sum(hasattr(m, "lora_A") for m in tuned.modules())
    assert counts.casts >= 2 * layers
    assert counts.waits == 4


def test_every_way_to_ask_the_device_is_seen() -> None:
    ways: list[Callable[[torch.Tensor], Any]] = [
        float, bool, torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu,
        lambda t: t.to("cpu"), lambda t: t.to(device="cpu"), np.asarray,
        torch.nonzero, lambda t: t[None][t[None] > 0], torch.unique,
        lambda t: torch.bincount(t[None].long()),
        lambda t: torch.repeat_interleave(t[None], t[None].long()),
        lambda t: t[None].clone().index_put_((t[None] > 0,), t + 1),
    ]  # fmt: skip
    for way in ways:
        counts, number = StepCounts(), torch.tensor(1.0)
        with counting(counts, number):
            way(number)
        assert counts.waits == 1, way
    counts, number = StepCounts(), torch.tensor([1.0])
    with counting(counts, number):  # these ask for nothing
        number[number > 0] = 0.0
        torch.where(number > 0, number, 0.0).to(torch.float64)
    assert counts.waits == 0


def test_what_the_loop_does_between_its_steps_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the last losses before the next step."""
    seed = loop._seed_step
    network, seen = torch.nn.Linear(1, 1), []

    def reading(*given: Any) -> None:
        seed(*given)
        if seen:
            seen[-1].cpu()

    monkeypatch.setattr(loop, "_seed_step", reading)
    reply = examples(chat("llama"), toys.pairs())[:3]
    settings = OptimizerSettings(1e-2, 20, 0.1, 0.0, 1.0)
    keep = Halves.losses
    monkeypatch.setattr(
        Halves, "losses", lambda *a: [made := keep(*a), seen.append(made[0].detach())][0]
    )
    with counted(network) as counts:
        loop.train(network, iter([reply] * 20), settings, Halves())
    assert counts.waits == 19


def test_the_optimiser_launches_as_much_for_many_parameters_as_for_few() -> None:
    """On a GPU, where AdamW is one kernel; adapters of 8B are 448 tensors."""
    launched = []
    for n in (2, 9):
        parameters = [torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16)) for _ in range(n)]
        optimizer = MasterAdamW(parameters, 1e-2, 0.1)
        optimizer.param_groups[0]["fused"] = True
        for _ in range(2):
            counts = StepCounts()
            with counting(counts):
                for _pass in range(3):
                    for p in parameters:
                        p.grad = p.detach()
                    optimizer.collect()
                optimizer.step()
        launched.append(counts.kernels)
    assert launched[0] == launched[1] < 20


def test_on_a_gpu_inputs_are_pinned_and_adamw_is_one_kernel() -> None:
    class Input(SimpleNamespace):
        def pin_memory(self) -> "Input":
            return Input(pinned=True)

        def to(self, where: torch.device, non_blocking: bool = False) -> bool:
            return self.pinned and non_blocking

    assert runtime.to_device_async(Input(pinned=False), torch.device("cuda"))

    class OnGpu(torch.nn.Parameter):
        is_cuda = True

    for dtype in (torch.float32, torch.bfloat16):
        weights = [OnGpu(torch.ones(2, dtype=dtype))]
        assert MasterAdamW(weights, 1e-2, 0.0).defaults["fused"] is True
    assert MasterAdamW([torch.nn.Parameter(torch.ones(2))], 1e-2, 0.0).defaults["fused"] is None


def test_every_tensor_of_a_step_goes_to_the_device_without_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = []

    def send(tensor: torch.Tensor, where: torch.device) -> torch.Tensor:
        sent.append(tensor)
        return tensor

    monkeypatch.setattr(runtime, "to_device_async", send)
    objective = completion.CompletionObjective(chat("llama").pad)
    batch = objective.collate(examples(chat("llama"), toys.pairs())[:4])
    counts_of(objective, 4, adapted(torch.float32), 2)
    on_host = [name for name, tensor in batch.items() if tensor.dim() == 0]
    assert on_host == ["is_padded"]
    assert len(sent) == 2 * (len(batch) - len(on_host) + 1)  # and the weights


# ---- masters


def test_an_adapter_computes_in_the_networks_dtype() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        tuned = adapted(dtype)
        assert {p.dtype for p in tuned.parameters() if p.requires_grad} == {dtype}


def test_a_model_answers_with_the_adapter_as_it_was_trained(tmp_path: Path) -> None:
    talk = chat("llama")
    folder = toys.save(toys.network("Llama", talk.tokenizer), talk.tokenizer, tmp_path / "base")
    config = toys.model(folder, dtype="bfloat16")
    tuned, _ = tune(recipe(), network=local.load_network(config))
    lora.save(tuned, tmp_path / "adapter")
    network = TransformersBackend(config, talk, tmp_path / "adapter").network
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert distance(weights(network), weights(tuned)) == 0.0
    ids = torch.tensor([examples(talk)[0].prompt])
    with torch.no_grad():
        assert torch.equal(network(input_ids=ids).logits, tuned(input_ids=ids).logits)


def some_weights(dtype: torch.dtype) -> list[torch.nn.Parameter]:
    seeded = torch.Generator().manual_seed(0)
    shapes = [(4, 8), (8, 4), (3,)]
    return [torch.nn.Parameter(torch.randn(s, generator=seeded).to(dtype)) for s in shapes]


def gradients(step: int) -> list[torch.Tensor]:
    seeded = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=seeded) for p in some_weights(torch.float32)]


def moved(optimizer: Any, parameters: list[torch.nn.Parameter], steps: range) -> None:
    for step in steps:
        for parameter, gradient in zip(parameters, gradients(step), strict=True):
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()
        optimizer.zero_grad()
        assert all(p.grad is None for p in parameters)


def test_steps_on_weights_in_fp32_are_torchs_own_to_the_bit() -> None:
    ours, theirs = some_weights(torch.float32), some_weights(torch.float32)
    optimizer = MasterAdamW(ours, 1e-2, 0.1)
    assert all(m is p for m, p in zip(optimizer.masters, ours, strict=True))
    moved(optimizer, ours, range(5))
    moved(torch.optim.AdamW(theirs, lr=1e-2, weight_decay=0.1), theirs, range(5))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("passes", [1, 2])
def test_a_training_in_fp32_is_a_plain_loop_over_torchs_adamw_to_the_bit(passes: int) -> None:
    talk, (ours, theirs) = chat("llama"), (adapted(torch.float32), adapted(torch.float32))
    objective = completion.CompletionObjective(talk.pad)
    batches = [examples(talk)[i : i + 4] for i in (0, 4, 8)] * 2
    settings = OptimizerSettings(1e-2, 6, 0.1, 0.1, 0.5, gradient_accumulation_steps=passes)
    loop.train(ours, iter(batches), settings, objective)
    trained = [p for p in theirs.parameters() if p.requires_grad]
    plain = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1)
    theirs.train()
    for step, batch in enumerate(batches):
        size = len(batch) // passes
        for part in (batch[i : i + size] for i in range(0, len(batch), size)):
            losses, _ = objective.losses(theirs, objective.collate(part))
            (losses @ torch.ones(len(part)) / len(batch)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.5)
        plain.param_groups[0]["lr"] = settings.rate(step)
        plain.step()
        plain.zero_grad()
    assert distance(weights(ours), weights(theirs)) == 0.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_steps_on_rounded_weights_add_up_in_their_masters(dtype: torch.dtype) -> None:
    ours, start = some_weights(dtype), some_weights(dtype)
    exact = [torch.nn.Parameter(p.detach().float()) for p in start]
    # of one sign, so that they add up; a step is far below what the dtype can add to 1
    rate = 3e-5
    optimizer = MasterAdamW(ours, rate, 0.0)
    reference, naive = torch.optim.AdamW(exact, lr=rate, weight_decay=0.0), some_weights(dtype)
    rounding = torch.optim.AdamW(naive, lr=rate, weight_decay=0.0)
    for _ in range(300):
        for side in (ours, exact, naive):
            for p in side:
                p.grad = torch.ones_like(p)
        for one in (optimizer, reference, rounding):
            one.step()
    for p, q in zip(ours, exact, strict=True):
        assert torch.equal(p, q.to(dtype))
    far = start[0].abs() > 0.5
    assert (ours[0] != start[0])[far].all()
    assert (naive[0] == start[0])[far].all()


def test_gradients_of_several_passes_add_up_in_fp32() -> None:
    (weight,) = [torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))]
    optimizer = MasterAdamW([weight], 0.0, 0.0)
    for gradient in [256.0, *[0.5] * 100]:
        weight.grad = torch.tensor([gradient], dtype=torch.bfloat16)
        optimizer.collect()
        assert weight.grad is None
    assert optimizer.masters[0].grad is not None
    assert float(optimizer.masters[0].grad) == 306.0


def test_a_kept_state_goes_on_from_the_masters() -> None:
    whole, first = some_weights(torch.bfloat16), some_weights(torch.bfloat16)
    moved(MasterAdamW(whole, 1e-4, 0.1), whole, range(40))
    before = MasterAdamW(first, 1e-4, 0.1)
    moved(before, first, range(20))
    second = [torch.nn.Parameter(p.detach().clone()) for p in first]
    after = MasterAdamW(second, 1e-4, 0.1)
    after.load_state_dict(before.state_dict())
    moved(after, second, range(20, 40))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))
    # without the masters it would have ended elsewhere
    lost = [torch.nn.Parameter(p.detach().clone()) for p in first]
    rounded = MasterAdamW(lost, 1e-4, 0.1)
    state = before.state_dict()
    rounded.load_state_dict({**state, "masters": [p.detach().float() for p in first]})
    moved(rounded, lost, range(20, 40))
    assert not all(torch.equal(a, b) for a, b in zip(whole, lost, strict=True))


def test_a_killed_run_in_bf16_ends_bitwise_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(epochs=4, batch_size=4, gradient_accumulation_steps=2)

    def run(checkpoint: Checkpoint | None = None) -> Any:
        network = toys.network("Llama", chat("llama").tokenizer).to(torch.bfloat16)
        return tune(config, network=network, checkpoint=checkpoint)

    whole, log = run()
    assert {p.dtype for p in weights(whole).values()} == {torch.bfloat16}
    losses = [step["loss"] for step in log["steps"]]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    killed_at(monkeypatch, 6, lambda: run(Checkpoint(tmp_path, "aa", seconds=0.0)))
    again, resumed = run(Checkpoint(tmp_path, "aa", seconds=1e9))
    assert distance(weights(whole), weights(again)) == 0.0
    assert timeless(resumed) == timeless(log)


class Halves(objective_module.Objective):
    """A toy's toy: learns a number."""

    def collate(self, examples: Any) -> Any:
        return {"target": torch.tensor([float(len(e.reply)) for e in examples])}

    def losses(self, network: Any, batch: Any) -> Any:
        losses = (network.weight[0, 0] - batch["target"]).square()
        return losses, torch.zeros_like(losses)

    def num_tokens(self, batch: Any) -> int:
        return len(batch["target"])


def test_steps_are_read_when_they_are_logged_and_all_are_there() -> None:
    batch = examples(chat("llama"), toys.pairs())[:3]
    for steps, dealt, reads in ((1, 1, 1), (7, 7, 7), (40, 40, 10), (25, 25, 13), (40, 23, 6)):
        network = torch.nn.Linear(1, 1)
        settings = OptimizerSettings(1e-2, steps, 0.1, 0.0, 1.0)
        with counted(network) as counts:
            history = loop.train(network, iter([batch] * dealt), settings, Halves())
        assert (counts.reads, counts.waits) == (reads, 0)
        assert [record["step"] for record in history] == list(range(1, dealt + 1))
        assert all(record["seconds"] > 0 for record in history)
        assert [record["tokens"] for record in history] == [3] * dealt
        losses = [record["loss"] for record in history]
        assert losses == sorted(losses, reverse=True)
