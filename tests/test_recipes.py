"""Every recipe learns what it says: whole options, exact gradients, fair weights, resumed runs."""

import dataclasses
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests import toys
from tests.toys import ARCHITECTURES, RECIPE, chat
from valuestrata import __main__ as program
from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat
from valuestrata.metrics import distribution
from valuestrata.specs import Finetune, HeldBack, Recipe, to_json
from valuestrata.training import group_weighting, loop, lora, objectives
from valuestrata.training.checkpoint import Checkpoint


@pytest.fixture(params=list(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def shared_out(frame: pd.DataFrame) -> pd.DataFrame:
    """The toys' pairs with uneven distributions, one of them with a code off the scale."""
    rng = np.random.default_rng(3)
    rows = toys.pairs().to_dict("records") if frame is None else frame.to_dict("records")
    for i, row in enumerate(rows):
        if i == 1:
            row["codes"] = [*row["codes"], row["codes"][-1] + 7]
        row["distribution"] = rng.dirichlet(np.ones(len(row["codes"]))).tolist()
        row["measurement_level"] = "nominal" if row["question"] == "Q0" else "ordinal"
    return pd.DataFrame(rows)


def some(talk: Chat) -> list[objectives.Pair]:
    return lora.examples(shared_out(toys.pairs()), talk, "english")


# ---- whole options


def one_by_one(network: Any, pair: objectives.Pair) -> torch.Tensor:
    """[C] log p of each whole option by a forward pass of its own."""
    found = []
    for option in pair.options:
        ids = torch.tensor([[*pair.prompt, *option]])
        steps = network(input_ids=ids).logits[0, len(pair.prompt) - 1 : -1].float().log_softmax(-1)
        found.append(steps.gather(1, torch.tensor(option)[:, None]).sum())
    return torch.stack(found)


def naive_loss(kind: type[objectives.Options], logprobs: torch.Tensor, row: Any) -> torch.Tensor:
    """The losses by their definitions, of one pair."""
    shares = torch.tensor(row.distribution, dtype=torch.float32)
    if kind is objectives.Soft:
        return -(shares * logprobs).sum()
    codes = np.array(row.codes)
    on = torch.tensor((codes >= row.scale_min) & (codes <= row.scale_max))
    if row.kind == "nominal":
        on = torch.ones_like(on)
    mass = logprobs[on].logsumexp(0)
    gap = (logprobs[on] - mass).exp() - shares[on] / shares[on].sum()
    if row.kind == "nominal":
        return gap.abs().sum() / 2 - mass
    step = torch.tensor(np.diff(codes[on.numpy()]), dtype=torch.float32)
    far = (gap.cumsum(0)[:-1].abs() * step).sum() / (row.scale_max - row.scale_min)
    return far - mass


@pytest.mark.parametrize("kind", [objectives.Soft, objectives.Ordinal])
def test_losses_and_gradients_are_those_of_a_forward_pass_an_option(
    architecture: str, kind: type[objectives.Options]
) -> None:
    """Trap 6: options of one and of several tokens, one of them the beginning of another."""
    talk = chat(ARCHITECTURES[architecture])
    table = shared_out(toys.pairs())
    pairs = lora.examples(table, talk, "english")
    assert len({len(o) for pair in pairs for o in pair.options}) > 1 or architecture == "Qwen2"
    objective = kind(talk.pad)
    network = toys.network(architecture, talk.tokenizer)
    weights = [p for p in network.parameters() if p.requires_grad]
    losses, _ = objective.losses(network, objective.collate(pairs))
    ours = torch.autograd.grad(losses.sum(), weights)
    expected = torch.stack(
        [
            naive_loss(kind, one_by_one(network, pair), row)
            for pair, row in zip(pairs, table.itertuples(), strict=True)
        ]
    )
    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
    theirs = torch.autograd.grad(expected.sum(), weights)
    assert max(float(g.abs().max()) for g in theirs) > 0.1
    for one, other in zip(ours, theirs, strict=True):
        assert float((one - other).norm()) <= 1e-5 * max(1.0, float(other.norm()))


def test_the_distance_is_the_one_that_is_reported() -> None:
    talk = chat("llama")
    table = shared_out(toys.pairs())
    network = toys.network("Llama", talk.tokenizer)
    objective = objectives.Ordinal(talk.pad)
    batch = objective.collate(lora.examples(table, talk, "english"))
    with torch.no_grad():
        logprobs = objective.logprobs(network, batch)
    found = objectives.wasserstein(logprobs, batch).numpy()
    width = table["codes"].map(len).max()
    codes = np.stack([np.pad(c, (0, width - len(c)), mode="edge") for c in table["codes"]])
    people = np.stack([np.pad(d, (0, width - len(d))) for d in table["distribution"]])
    model = logprobs.exp().double().numpy()
    scale_min, scale_max = table["scale_min"].to_numpy(), table["scale_max"].to_numpy()
    expected = distribution.wasserstein(model, people, codes, scale_min, scale_max)
    ordinal = (table["measurement_level"] == "ordinal").to_numpy()
    assert 0 < ordinal.sum() < len(table)
    np.testing.assert_allclose(found[ordinal], expected[ordinal], atol=1e-5)


def test_soft_on_a_certain_answer_is_that_answers_likelihood() -> None:
    talk = chat("llama")
    network = toys.network("Llama", talk.tokenizer)
    sure = [
        dataclasses.replace(p, shares=tuple(float(o == p.reply) for o in p.options))
        for p in some(talk)
    ]
    soft, replies = objectives.Soft(talk.pad), loop.CompletionObjective(talk.pad)
    with torch.no_grad():
        one, _ = soft.losses(network, soft.collate(sure))
        other, _ = replies.losses(network, replies.collate(sure))
    tokens = torch.tensor([len(p.reply) for p in sure])
    torch.testing.assert_close(one, other * tokens, atol=1e-5, rtol=1e-5)


def test_a_hit_is_a_mode_that_is_likeliest() -> None:
    talk = chat("llama")
    network = toys.taught_network("Llama")
    objective = objectives.Soft(talk.pad)
    pairs = lora.examples(toys.pairs(), talk, "english")
    wrong = [dataclasses.replace(p, reply=p.options[2 if len(p.options) > 2 else 0]) for p in pairs]
    token_accuracy = objective.losses(network, objective.collate(pairs))[1]
    assert token_accuracy.mean() > 0.9
    assert objective.losses(network, objective.collate(wrong))[1].mean() < 0.3


# ---- groups


def of_groups(**pairs: int) -> list[loop.Example]:
    return [
        loop.Example((i,), (1,), group=f"sex={name}") for name, n in pairs.items() for i in range(n)
    ]


def test_unbalanced_data_stay_as_they_are() -> None:
    data = of_groups(a=3, b=1)
    assert group_weighting.balanced(data, "none", {}, 1) == data


def test_weights_let_each_subgroup_count_alike() -> None:
    found = group_weighting.balanced(of_groups(a=6, b=2, c=1), "weight", {}, 1)
    total = Counter[str]()
    for example in found:
        total[example.group] += example.weight  # type: ignore[assignment]
    assert list(total.values()) == pytest.approx([3, 3, 3])


def test_a_favoured_group_counts_more_in_all_its_subgroups() -> None:
    data = [
        loop.Example((i,), (1,), group=group)
        for group in ("sex=a", "sex=b", "sex=b & age=x", "age=x")
        for i in range(4)
    ]
    found = group_weighting.balanced(data, "weight", {"sex=b": 2.0, "age=x": 3.0}, 1)
    weights = [found[4 * i].weight for i in range(4)]
    np.testing.assert_allclose(np.array(weights) / weights[0], [1, 2, 6, 3])
    assert np.mean([e.weight for e in found]) == pytest.approx(1)


def test_upsampling_repeats_pairs_until_subgroups_are_alike() -> None:
    data = of_groups(a=300, b=40, c=100)
    found = group_weighting.balanced(data, "upsample", {}, 1)
    n = Counter(e.group for e in found)
    assert n["sex=a"] == 300
    assert n["sex=c"] == 300
    assert n["sex=b"] == pytest.approx(300, abs=20)
    assert set(found) == set(data)
    assert group_weighting.balanced(data, "upsample", {}, 1) == found
    assert group_weighting.balanced(data, "upsample", {}, 2) != found


def test_robust_weights_rise_where_the_loss_is_high() -> None:
    data = of_groups(easy=6, hard=2)
    robust = group_weighting.GroupDRO(data, 0.5)
    assert robust.of(data) == pytest.approx([0.5 / 0.75] * 6 + [0.5 / 0.25] * 2)
    losses = torch.tensor([1.0] * 6 + [3.0] * 2, dtype=torch.float64)
    record = robust.update(data, losses)
    expected = np.exp(0.5 * np.array([1.0, 3.0]))
    np.testing.assert_allclose(robust.q, expected / expected.sum())
    assert record["worst_group"] == "sex=hard"
    assert record["worst_group_loss"] == 3.0
    # the estimate is without bias: over all single-example batches the mean is the groups' loss
    one_by_one = [group_weighting.GroupDRO(data, 0.5) for _ in data]
    for r, example, loss in zip(one_by_one, data, losses, strict=True):
        r.update([example], loss[None])
    tilt = [float((r.q[1] / r.q[0]).log()) / 0.5 for r in one_by_one]
    assert np.mean(tilt) == pytest.approx(3.0 - 1.0)


def test_robust_weights_stay_equal_without_a_step_and_go_on_from_a_kept_state() -> None:
    data = of_groups(a=4, b=4)
    still, moving = group_weighting.GroupDRO(data, 0.0), group_weighting.GroupDRO(data, 0.3)
    losses = torch.arange(8, dtype=torch.float64)
    still.update(data, losses)
    assert still.of(data) == pytest.approx([1.0] * 8)
    moving.update(data, losses)
    again = group_weighting.GroupDRO(data, 0.3)
    again.restore(moving.state())
    assert again.update(data, losses) == moving.update(data, losses)
    assert again.of(data) == moving.of(data)


def test_the_robust_log_names_each_subgroup_seen() -> None:
    data = of_groups(a=2, b=2, c=1)
    robust = group_weighting.GroupDRO(data, 0.1)
    robust.update(data[:4], torch.tensor([1.0, 1.0, 2.0, 2.0], dtype=torch.float64))
    robust.update(data[:2], torch.tensor([3.0, 3.0], dtype=torch.float64))
    found = robust.by_group()
    assert list(found) == ["sex=a", "sex=b"]
    assert found["sex=a"]["loss"] == pytest.approx(1.0 + 0.1 * 2.0)


# ---- held back


def test_nothing_is_held_back_unless_asked() -> None:
    data = some(chat("llama"))
    assert lora.split(data, HeldBack(0.0, "pair"), 1) == (data, [])


@pytest.mark.parametrize(("by", "unit"), [("pair", None), ("question", "question")])
def test_what_is_held_back_is_never_trained_on(by: str, unit: str | None) -> None:
    data = some(chat("llama"))
    train, held = lora.split(data, HeldBack(0.25, by), 1)
    assert len(held) == 3
    assert len(train) + len(held) == len(data)
    assert not set(train) & set(held)
    if unit:
        assert not {p.question for p in train} & {p.question for p in held}
    assert lora.split(data, HeldBack(0.25, by), 1) == (train, held)
    assert any(lora.split(data, HeldBack(0.25, by), seed)[1] != held for seed in range(2, 6))


def test_a_share_that_leaves_nothing_is_refused() -> None:
    data = some(chat("llama"))
    for share in (0.01, 0.99):
        with pytest.raises(InputError, match="held_back"):
            lora.split(data, HeldBack(share, "pair"), 1)


def test_scores_of_what_is_held_back_do_not_depend_on_the_batch() -> None:
    talk = chat("llama")
    network = toys.taught_network("Llama")
    pairs = lora.examples(toys.pairs(), talk, "english")
    one = lora.held_scores(network, pairs, 1, talk.pad)
    assert one == pytest.approx(lora.held_scores(network, pairs, 5, talk.pad), abs=1e-6)
    assert one["held_accuracy"] > 0.9
    assert 0 < one["held_wasserstein"] < 1


# ---- settings of the adapter


def test_named_layers_alone_are_adapted() -> None:
    network = toys.network("Llama", chat("llama").tokenizer)
    tuned = lora.add_lora(network, dataclasses.replace(RECIPE, targets=("q_proj", "down_proj")))
    layers = [name for name, m in tuned.named_modules() if hasattr(m, "lora_A")]
    assert len(layers) == 4
    assert all(name.endswith(("q_proj", "down_proj")) for name in layers)


def test_a_layer_that_is_not_there_is_named_with_those_that_are() -> None:
    """Trap 16."""
    network = toys.network("Phi3", chat("phi").tokenizer)
    with pytest.raises(InputError, match=r"'q_proj'; it has down_proj, gate_up_proj, o_proj, qkv"):
        lora.add_lora(network, dataclasses.replace(RECIPE, targets=("o_proj", "q_proj")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_four_bits_without_a_gpu_are_refused_in_one_line() -> None:
    lora.ready(RECIPE)
    with pytest.raises(InputError, match="needs a GPU") as error:
        lora.ready(dataclasses.replace(RECIPE, quantize="4bit"))
    assert "\n" not in str(error.value)


# ---- what a step adds up to

LONG = dataclasses.replace(RECIPE, epochs=4, batch=4, held_back=HeldBack(0.25, "pair"))
METHODS = ["sft", "soft", "ordinal", "dro"]


def tuned(
    recipe: Recipe, checkpoint: Checkpoint | None = None
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The adapter of a toy and its steps' records, less what the clock says."""
    talk = chat("llama")
    torch.seed()
    spec = Finetune(toys.model(Path("nowhere")), recipe, "english", "toy")
    network = toys.network("Llama", talk.tokenizer)
    made, record = lora.finetune(spec, network, some(talk), talk.pad, checkpoint)
    weights = {k: v.detach().clone() for k, v in made.named_parameters() if "lora_" in k}
    return weights, [{k: v for k, v in s.items() if k != "seconds"} for s in record["steps"]]


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[k] - other[k]).abs().max()) for k in one)


@pytest.mark.parametrize("method", METHODS)
def test_cutting_a_batch_into_passes_changes_nothing(method: str) -> None:
    # seed 1 has a gradient of next to 0, of whose last digits Adam makes a whole step
    plain = dataclasses.replace(RECIPE, method=method, dropout=0.0, seed=2)
    whole, _ = tuned(plain)
    cut, _ = tuned(dataclasses.replace(plain, accumulate=3))
    assert 0 < furthest(whole, cut) < 1e-5 < max(float(w.abs().max()) for w in whole.values())


@pytest.mark.parametrize("method", METHODS)
def test_computing_activations_again_changes_nothing(method: str) -> None:
    plain = dataclasses.replace(RECIPE, method=method)
    one, _ = tuned(plain)
    assert furthest(one, tuned(dataclasses.replace(plain, checkpointing=True))[0]) < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_methods_differ_and_lower_their_own_loss(method: str) -> None:
    _, steps = tuned(dataclasses.replace(RECIPE, method=method, epochs=12, batch=4))
    losses = [step["loss"] for step in steps]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_a_robust_run_without_a_step_is_sft_with_subgroups_alike() -> None:
    """Equal weights of subgroups, and as many pairs in each: nothing but sft is left."""
    sft, _ = tuned(RECIPE)
    robust, steps = tuned(dataclasses.replace(RECIPE, method="dro", step_size=0.0))
    assert furthest(sft, robust) < 1e-6
    assert steps[-1]["largest_weight"] == pytest.approx(1 / 3)
    moved, steps = tuned(dataclasses.replace(RECIPE, method="dro", step_size=1.0))
    assert furthest(sft, moved) > 1e-4
    assert steps[-1]["largest_weight"] > 0.34
    assert set(steps[-1]["groups"]) == {p.group for p in some(chat("llama"))}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [1, 2, 2, 1.5, 1, 0.5]),
        ("cosine", [1, 2, 2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5]),
        ("constant", [1, 2, 2, 2, 2, 2]),
    ],
)
def test_the_rate_rises_and_then_keeps_its_schedule(schedule: str, expected: list[float]) -> None:
    settings = loop.Settings(2.0, 6, 1 / 3, 0.0, 1.0, schedule)
    rates = [2.0 * loop.SCHEDULES[schedule](step, settings) for step in range(6)]
    assert rates == pytest.approx(expected)


def test_the_log_holds_scores_on_what_was_held_back() -> None:
    _, steps = tuned(LONG)
    scored = [step for step in steps if "held_accuracy" in step]
    assert 5 <= len(scored) <= 12
    assert steps[-1] in scored
    assert all(0 <= s["held_accuracy"] <= 1 and 0 <= s["held_wasserstein"] <= 1 for s in scored)


# ---- what recipes are for, in a study of three subgroups of which one answers otherwise


@pytest.fixture(scope="module")
def divided() -> list[objectives.Pair]:
    """Two subgroups mostly give the answers that the base was taught, the third mostly another."""
    table = toys.pairs()
    rng = np.random.default_rng(5)
    other = table["subgroup"] == table["subgroup"].iloc[-1]
    shifted = [
        c[(c.index(m) + 1) % len(c)] for c, m in zip(table["codes"], table["mode"], strict=True)
    ]
    table["mode"] = table["mode"].where(~other, shifted)
    table["distribution"] = [
        (0.5 * np.equal(codes, mode) + 0.5 * rng.dirichlet(np.ones(len(codes)))).tolist()
        for codes, mode in zip(table["codes"], table["mode"], strict=True)
    ]
    return lora.examples(table, chat("llama"), "english")


def scores(data: list[objectives.Pair], epochs: int, **changes: Any) -> pd.DataFrame:
    """[S] accuracy, Wasserstein distance and -log p(mode) of each subgroup after a fine-tune."""
    talk = chat("llama")
    recipe = dataclasses.replace(
        RECIPE, learning_rate=5e-3, epochs=epochs, batch=6, rank=16, alpha=32.0, dropout=0.0
    )
    recipe = dataclasses.replace(recipe, **changes)
    spec = Finetune(toys.model(Path("nowhere")), recipe, "english", "toy")
    network, _ = lora.finetune(spec, toys.taught_network("Llama"), data, talk.pad)
    reader = objectives.Options(talk.pad)
    batch = reader.collate(data)
    with torch.no_grad():
        logprobs = reader.logprobs(network, batch)
    found = {
        "accuracy": objectives.token_accuracy(logprobs, batch),
        "wasserstein": objectives.wasserstein(logprobs, batch),
        "surprise": -logprobs[batch["mode"]],
    }
    return pd.DataFrame(found).groupby([pair.group for pair in data]).mean()


def test_distributions_are_met_more_closely_than_by_sft(divided: list[objectives.Pair]) -> None:
    sft, soft, ordinal = (scores(divided, 40, method=m) for m in ("sft", "soft", "ordinal"))
    for one in (soft, ordinal):
        assert one["wasserstein"].mean() < 0.7 * sft["wasserstein"].mean()
        assert (one["wasserstein"] < sft["wasserstein"]).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_dro_raises_the_worst_subgroup_over_sft(seed: int, divided: list[objectives.Pair]) -> None:
    """Before all is learned: the subgroup that answers otherwise is the last to be learned."""
    sft = scores(divided, 8, seed=seed)
    robust = scores(divided, 8, seed=seed, method="dro", step_size=0.1)
    assert sft["accuracy"].idxmin() == robust["surprise"].idxmax() == divided[-1].group
    assert robust["accuracy"].min() > sft["accuracy"].min()
    assert robust["surprise"].max() < 0.95 * sft["surprise"].max()


# ---- going on after a kill


class KilledError(Exception):
    """What a test kills a training with."""


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int, run: Callable[[], Any]) -> None:
    """Run until a step has begun, and no further."""
    seed = loop._seed

    def stop(number: int, at: int) -> None:
        if at == step:
            raise KilledError
        seed(number, at)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_seed", stop)
        with pytest.raises(KilledError):
            run()


@pytest.mark.parametrize(
    "said",
    [
        *({"method": method} for method in METHODS),
        *({"method": method, "grid": True} for method in METHODS),
        *({"balance": way, "favour": {"sex=group 1": 3.0}} for way in ("weight", "upsample")),
    ],
    ids=str,
)
def test_a_run_that_was_killed_ends_bitwise_as_one_that_was_not(
    said: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout is on; the optimiser, the schedule and the subgroups' weights go on, too."""
    recipe = dataclasses.replace(LONG, **said, step_size=0.5, schedule="cosine")
    assert recipe.dropout > 0
    weights, steps = tuned(recipe)
    for step in (3, 4, 9):
        killed_at(monkeypatch, step, lambda: tuned(recipe, Checkpoint(tmp_path, "aa", seconds=0.0)))
        assert sorted(tmp_path.iterdir())[-1].name == f"aa-{step - 1:09d}.pt"
    again, their_steps = tuned(recipe, Checkpoint(tmp_path, "aa", seconds=1e9))
    assert furthest(weights, again) == 0.0
    assert their_steps == steps


def test_a_checkpoint_of_other_making_is_never_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    weights, _ = tuned(LONG)
    killed_at(monkeypatch, 8, lambda: tuned(LONG, Checkpoint(tmp_path, "aa", seconds=0.0)))
    caplog.clear()
    again, _ = tuned(LONG, Checkpoint(tmp_path, "bb", seconds=1e9))
    assert "other settings, data, weights or code: starting anew" in caplog.text
    assert "going on" not in caplog.text
    assert furthest(weights, again) == 0.0
    # and it makes room for those of this one, though it had come further
    killed_at(monkeypatch, 4, lambda: tuned(LONG, Checkpoint(tmp_path, "bb", seconds=0.0)))
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["bb-000000002.pt", "bb-000000003.pt"]


def test_a_damaged_checkpoint_falls_back_on_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    weights, _ = tuned(LONG)
    killed_at(monkeypatch, 6, lambda: tuned(LONG, Checkpoint(tmp_path, "aa", seconds=0.0)))
    last = tmp_path / "aa-000000005.pt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    (tmp_path / ".aa-000000006.pt.half").write_bytes(b"half")
    again, _ = tuned(LONG, Checkpoint(tmp_path, "aa", seconds=1e9))
    assert "aa-000000005.pt is damaged" in caplog.text
    assert "going on from" in caplog.text
    assert "aa-000000004.pt" in caplog.text
    assert furthest(weights, again) == 0.0


def test_checkpoints_go_once_all_is_done(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "c", "aa", seconds=0.0)
    tuned(LONG, kept)
    assert list((tmp_path / "c").iterdir())
    kept.remove()
    assert not (tmp_path / "c").exists()
    kept.remove()


# ---- the stage, killed for real and in two processes


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a toy's weights and its pairs."""
    folder = tmp_path_factory.mktemp("study")
    toys.save(toys.network("Llama", chat("llama").tokenizer), chat("llama").tokenizer, folder / "w")
    io.write_table(shared_out(toys.pairs()), folder / "pairs.parquet", "pairs")
    return folder


def command(study: Path, recipe: Recipe, out: Path, processes: int = 1) -> list[str]:
    """The stage as the rule calls it."""
    spec = Finetune(toys.model(study / "w"), recipe, "english", "toy")
    shared = "torch.distributed.run --standalone --nproc-per-node"
    return [
        *(sys.executable, "-m"),
        *([*shared.split(), str(processes), "-m"] if processes > 1 else []),
        *("valuestrata", "finetune", "--spec", to_json(spec)),
        *("--pairs", str(study / "pairs.parquet"), "--threads", "1", "--every", "0"),
        *("--checkpoints", str(out / "checkpoints"), "--output", str(out / "adapter")),
    ]


def run_stage(study: Path, recipe: Recipe, out: Path) -> None:
    """The stage in this process."""
    program.main(command(study, recipe, out)[3:])


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("said", [{"method": "dro"}, {"method": "soft", "grid": True}], ids=str)
def test_the_stage_goes_on_after_a_sigkill_and_ends_with_the_same_bytes(
    said: dict[str, Any], study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = dataclasses.replace(LONG, **said, epochs=30)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_stage(study, recipe, whole)
    process = subprocess.Popen(command(study, recipe, cut), stderr=subprocess.DEVNULL)
    while len(list((cut / "checkpoints").glob("*.pt"))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (cut / "adapter").exists()
    caplog.set_level("INFO")
    run_stage(study, recipe, cut)
    assert "going on from" in caplog.text
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        one, other = (f / "adapter" / name for f in (whole, cut))
        assert one.read_bytes() == other.read_bytes()
    assert not (cut / "checkpoints").exists()
    assert [p.name for p in cut.iterdir() if not p.name.startswith(".adapter.")] == ["adapter"]


def test_two_processes_tune_the_adapter_of_one(study: Path, tmp_path: Path) -> None:
    """Same examples in the same batches; the last batch of an epoch is smaller than a process."""
    recipe = dataclasses.replace(LONG, method="dro", dropout=0.0, held_back=HeldBack(0.4, "pair"))
    one, two = tmp_path / "one", tmp_path / "two"
    run_stage(study, recipe, one)
    done = subprocess.run(
        command(study, recipe, two, 2), capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert furthest(adapter(one), adapter(two)) < 1e-5
    alone, together = (io.read_json(f / "adapter" / "training_log.json") for f in (one, two))
    assert together["processes"] == 2
    for a, b in zip(alone["steps"], together["steps"], strict=True):
        for key in ("loss", "token_accuracy", "gradient_norm", "tokens", "held_accuracy"):
            assert b.get(key, 0) == pytest.approx(a.get(key, 0), abs=1e-4), key
    assert done.stderr.count("step 2 of") == 1
