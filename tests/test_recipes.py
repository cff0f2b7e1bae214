"""Every recipe learns what it says: whole options, exact gradients, fair weights."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests import toys
from tests.toys import ARCHITECTURES, RECIPE, chat
from tests.tuning import SUPERVISED, distance, examples, recipe, tune, uneven_pairs, weights
from valuestrata.errors import InputError
from valuestrata.metrics import distribution
from valuestrata.provenance import definition_digests
from valuestrata.study.recipes import Validation
from valuestrata.training import group_sampling, lora, objectives, validation
from valuestrata.training.completion import CompletionObjective
from valuestrata.training.examples import Example, Pair, split_validation
from valuestrata.training.group_dro import GroupDROWeighting
from valuestrata.training.methods import code_of
from valuestrata.training.objectives import OptionsObjective, OrdinalObjective, SoftObjective

# ---- whole options


def one_pass_an_option(network: Any, pair: Pair) -> torch.Tensor:
    """[C] log p of each whole option by a forward pass of its own."""
    logprobs = []
    for option in pair.options:
        ids = torch.tensor([[*pair.prompt, *option]])
        steps = network(input_ids=ids).logits[0, len(pair.prompt) - 1 : -1].float().log_softmax(-1)
        logprobs.append(steps.gather(1, torch.tensor(option)[:, None]).sum())
    return torch.stack(logprobs)


def naive_loss(kind: type[OptionsObjective], logprobs: torch.Tensor, row: Any) -> torch.Tensor:
    """The losses by their definitions, of one pair."""
    shares = torch.tensor(row.distribution, dtype=torch.float32)
    if kind is SoftObjective:
        return -(shares * logprobs).sum()
    codes = np.array(row.codes)
    is_nominal = row.measurement_level == "nominal"
    on = torch.tensor((codes >= row.scale_min) & (codes <= row.scale_max) | is_nominal)
    mass = logprobs[on].logsumexp(0)
    gap = (logprobs[on] - mass).exp() - shares[on] / shares[on].sum()
    if is_nominal:
        return gap.abs().sum() / 2 - mass
    step = torch.tensor(np.diff(codes[on.numpy()]), dtype=torch.float32)
    far = (gap.cumsum(0)[:-1].abs() * step).sum() / (row.scale_max - row.scale_min)
    return far - mass


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_and_gradients_are_those_of_a_forward_pass_an_option(architecture: str) -> None:
    """Trap 6: options of one and of several tokens, one of them the beginning of another."""
    talk = chat(ARCHITECTURES[architecture])
    table = uneven_pairs()
    pairs = examples(talk, table)
    assert len({len(o) for pair in pairs for o in pair.options}) > 1 or architecture == "Qwen2"
    network = toys.network(architecture, talk.tokenizer)
    parameters = [p for p in network.parameters() if p.requires_grad]
    alone = [one_pass_an_option(network, pair) for pair in pairs]
    for kind in (SoftObjective, OrdinalObjective):
        objective = kind(talk.pad)
        losses, _ = objective.losses(network, objective.collate(pairs))
        gradients = torch.autograd.grad(losses.sum(), parameters)
        expected = torch.stack(
            [
                naive_loss(kind, logprobs, row)
                for logprobs, row in zip(alone, table.itertuples(), strict=True)
            ]
        )
        torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
        exact = torch.autograd.grad(expected.sum(), parameters, retain_graph=True)
        assert max(float(g.abs().max()) for g in exact) > 0.1
        for one, other in zip(gradients, exact, strict=True):
            assert float((one - other).norm()) <= 1e-5 * max(1.0, float(other.norm()))


def test_the_distance_is_the_one_that_is_reported() -> None:
    talk = chat("llama")
    table = uneven_pairs()
    objective = OrdinalObjective(talk.pad)
    batch = objective.collate(examples(talk, table))
    with torch.no_grad():
        logprobs = objective.logprobs(toys.network("Llama", talk.tokenizer), batch)
    ours = objectives.wasserstein(logprobs, batch).numpy()
    width = table["codes"].map(len).max()
    codes = np.stack([np.pad(c, (0, width - len(c)), mode="edge") for c in table["codes"]])
    people = np.stack([np.pad(d, (0, width - len(d))) for d in table["distribution"]])
    model = logprobs.exp().double().numpy()
    scale_min, scale_max = table["scale_min"].to_numpy(), table["scale_max"].to_numpy()
    expected = distribution.wasserstein(model, people, codes, scale_min, scale_max)
    ordinal = (table["measurement_level"] == "ordinal").to_numpy()
    assert 0 < ordinal.sum() < len(table)
    np.testing.assert_allclose(ours[ordinal], expected[ordinal], atol=1e-5)


def test_soft_on_a_certain_answer_is_that_answers_likelihood() -> None:
    talk = chat("llama")
    network = toys.network("Llama", talk.tokenizer)
    sure = [
        dataclasses.replace(p, shares=tuple(float(o == p.reply) for o in p.options))
        for p in examples(talk)
    ]
    soft, replies = SoftObjective(talk.pad), CompletionObjective(talk.pad)
    with torch.no_grad():
        one, _ = soft.losses(network, soft.collate(sure))
        other, _ = replies.losses(network, replies.collate(sure))
    tokens = torch.tensor([len(p.reply) for p in sure])
    torch.testing.assert_close(one, other * tokens, atol=1e-5, rtol=1e-5)


def test_accuracy_counts_modes_that_are_likeliest() -> None:
    talk, network = chat("llama"), toys.taught_network("Llama")
    objective = SoftObjective(talk.pad)
    pairs = examples(talk, toys.pairs())
    wrong = [dataclasses.replace(p, reply=p.options[2 if len(p.options) > 2 else 0]) for p in pairs]
    assert objective.losses(network, objective.collate(pairs))[1].mean() > 0.9
    assert objective.losses(network, objective.collate(wrong))[1].mean() < 0.3
    # and does not depend on the batch
    one = validation.scores(network, pairs, 1, talk.pad)
    assert one == pytest.approx(validation.scores(network, pairs, 5, talk.pad), abs=1e-6)
    assert one["validation_accuracy"] > 0.9
    assert 0 < one["validation_wasserstein"] < 1


# ---- groups


def of_groups(**pairs: int) -> list[Example]:
    return [Example((i,), (1,), group=f"sex={name}") for name, n in pairs.items() for i in range(n)]


def test_weights_let_each_subgroup_count_alike_and_some_more() -> None:
    total = Counter[str]()
    for example in group_sampling.weight(of_groups(a=6, b=2, c=1), {}, 1):
        total[example.group] += example.weight  # type: ignore[assignment]
    assert list(total.values()) == pytest.approx([3, 3, 3])
    data = [
        Example((i,), (1,), group=group)
        for group in ("sex=a", "sex=b", "sex=b & age=x", "age=x")
        for i in range(4)
    ]
    weighted = group_sampling.weight(data, {"sex=b": 2.0, "age=x": 3.0}, 1)
    by_group = [weighted[4 * i].weight for i in range(4)]
    np.testing.assert_allclose(np.array(by_group) / by_group[0], [1, 2, 6, 3])
    assert np.mean([e.weight for e in weighted]) == pytest.approx(1)


def test_upsampling_repeats_pairs_until_subgroups_are_alike() -> None:
    data = of_groups(a=300, b=40, c=100)
    repeated = group_sampling.upsample(data, {}, 1)
    n = Counter(e.group for e in repeated)
    assert n["sex=a"] == 300
    assert n["sex=c"] == 300
    assert n["sex=b"] == pytest.approx(300, abs=20)
    assert set(repeated) == set(data)
    assert group_sampling.upsample(data, {}, 1) == repeated
    assert group_sampling.upsample(data, {}, 2) != repeated


def test_dro_weights_rise_where_the_loss_is_high() -> None:
    data = of_groups(easy=6, hard=2)
    dro = GroupDROWeighting(data, 0.5)
    assert dro.weights(data) == pytest.approx([0.5 / 0.75] * 6 + [0.5 / 0.25] * 2)
    losses = torch.tensor([1.0] * 6 + [3.0] * 2, dtype=torch.float64)
    record = dro.update(data, losses)
    expected = np.exp(0.5 * np.array([1.0, 3.0]))
    np.testing.assert_allclose(dro.q, expected / expected.sum())
    assert record["worst_group"] == "sex=hard"
    assert record["worst_group_loss"] == 3.0
    # the estimate is without bias: over all single-example batches the mean is the groups' loss
    single = [GroupDROWeighting(data, 0.5) for _ in data]
    for each, example, loss in zip(single, data, losses, strict=True):
        each.update([example], loss[None])
    tilt = [float((each.q[1] / each.q[0]).log()) / 0.5 for each in single]
    assert np.mean(tilt) == pytest.approx(3.0 - 1.0)


def test_dro_weights_stay_equal_without_a_step_and_continue_from_a_kept_state() -> None:
    data = of_groups(a=4, b=4)
    still, moving = GroupDROWeighting(data, 0.0), GroupDROWeighting(data, 0.3)
    losses = torch.arange(8, dtype=torch.float64)
    still.update(data, losses)
    assert still.weights(data) == pytest.approx([1.0] * 8)
    moving.update(data, losses)
    again = GroupDROWeighting(data, 0.3)
    again.restore(moving.state())
    assert again.update(data, losses) == moving.update(data, losses)
    assert again.weights(data) == moving.weights(data)


def test_the_log_of_dro_names_each_subgroup_seen() -> None:
    data = of_groups(a=2, b=2, c=1)
    dro = GroupDROWeighting(data, 0.1)
    dro.update(data[:4], torch.tensor([1.0, 1.0, 2.0, 2.0], dtype=torch.float64))
    dro.update(data[:2], torch.tensor([3.0, 3.0], dtype=torch.float64))
    groups = dro.by_group()
    assert list(groups) == ["sex=a", "sex=b"]
    assert groups["sex=a"]["loss"] == pytest.approx(1.0 + 0.1 * 2.0)


# ---- what an adapter is made of


def test_a_fine_tune_is_made_of_the_code_of_its_own_recipe() -> None:
    chosen = {
        "dpo", "grpo", "group_dro", "group_sampling", "objectives", "preference", "shared_prefix",
        "validation",
    }  # fmt: skip
    for config, expected in [
        (recipe("sft"), set[str]()),
        (recipe("sft", group_sampling="weight"), {"group_sampling"}),
        (recipe("sft", validation={"share": 0.1}), {"objectives", "validation"}),
        (recipe("dro", batch_layout="shared_prefix"), {"group_dro", "shared_prefix"}),
        (recipe("soft"), {"objectives"}),
        (recipe("ordinal"), {"objectives"}),
        (recipe("dpo"), {"dpo", "preference"}),
        (recipe("grpo"), {"grpo", "preference"}),
    ]:
        reached = definition_digests(("valuestrata.stages.finetune:run", *code_of(config).values()))
        modules = {key.partition(":")[0].rpartition(".")[2] for key in reached}
        assert modules & chosen == expected
        assert ("valuestrata.training.objectives:SoftObjective" in reached) == (
            config.method == "soft"
        )


# ---- validation


def test_validation_pairs_are_never_trained_on() -> None:
    data = examples(chat("llama"))
    everything = list(range(len(data)))
    assert split_validation(data, Validation(), 1) == (everything, [])
    for by in ("pair", "question"):
        config = Validation(share=0.25, by=by)
        train, held_out = split_validation(data, config, 1)
        assert len(held_out) == 3
        assert sorted(train + held_out) == everything
        if by == "question":
            assert not {data[i].question for i in train} & {data[i].question for i in held_out}
        assert split_validation(data, config, 1) == (train, held_out)
        assert any(split_validation(data, config, seed)[1] != held_out for seed in range(2, 6))
    for share in (0.01, 0.99):
        with pytest.raises(InputError, match="recipe: validation"):
            split_validation(data, Validation(share=share), 1)


def test_the_log_holds_validation_scores() -> None:
    _, log = tune(recipe(epochs=4, batch_size=4, validation={"share": 0.25}))
    scored = [step for step in log["steps"] if "validation_accuracy" in step]
    assert 5 <= len(scored) <= 12
    assert log["validation"] == 3
    assert log["steps"][-1] in scored
    for key in ("validation_accuracy", "validation_wasserstein"):
        assert all(0 <= step[key] <= 1 for step in scored)


# ---- what a step adds up to


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_four_bits_without_a_gpu_are_refused_in_one_line() -> None:
    lora.check_quantization(RECIPE)
    with pytest.raises(InputError, match="no GPU was found") as error:
        lora.check_quantization(recipe(quantize="4bit"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", SUPERVISED)
def test_accumulating_gradients_and_computing_activations_again_change_nothing(method: str) -> None:
    # seed 1 has a gradient of next to 0, of whose last digits Adam makes a whole step
    plain = recipe(method, lora_dropout=0.0, seed=2)
    whole = weights(tune(plain)[0])
    divided = weights(tune(plain.replace(gradient_accumulation_steps=3))[0])
    assert 0 < distance(whole, divided) < 1e-5 < max(float(w.abs().max()) for w in whole.values())
    again = weights(tune(plain.replace(gradient_checkpointing=True))[0])
    assert distance(whole, again) < 1e-5


@pytest.mark.parametrize("method", SUPERVISED)
def test_methods_lower_their_own_loss(method: str) -> None:
    _, log = tune(recipe(method, epochs=12, batch_size=4))
    losses = [step["loss"] for step in log["steps"]]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_dro_without_a_step_is_sft_with_subgroups_alike() -> None:
    """Equal weights of subgroups, and as many pairs in each: nothing but sft is left."""
    sft = weights(tune(RECIPE)[0])
    still, log = tune(recipe("dro", group_dro_step_size=0.0))
    assert distance(sft, weights(still)) < 1e-6
    assert log["steps"][-1]["largest_weight"] == pytest.approx(1 / 3)
    moved, log = tune(recipe("dro", group_dro_step_size=1.0))
    assert distance(sft, weights(moved)) > 1e-4
    assert log["steps"][-1]["largest_weight"] > 0.34
    assert set(log["steps"][-1]["groups"]) == {p.group for p in examples(chat("llama"))}


# ---- what recipes are for, in a study of three subgroups of which one answers otherwise


@pytest.fixture(scope="module")
def divided() -> pd.DataFrame:
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
    return table


def scores(table: pd.DataFrame, method: str, epochs: int, **changes: Any) -> pd.DataFrame:
    """[S] accuracy, Wasserstein distance and -log p(mode) of each subgroup after a fine-tune."""
    fast = {"learning_rate": 5e-3, "batch_size": 6, "lora_r": 16, "lora_alpha": 32.0}
    config = recipe(method, epochs=epochs, lora_dropout=0.0, **fast, **changes)
    network, _ = tune(config, table, toys.taught_network("Llama"))
    pairs = examples(chat("llama"), table)
    objective = OptionsObjective(chat("llama").pad)
    batch = objective.collate(pairs)
    with torch.no_grad():
        logprobs = objective.logprobs(network, batch)
    columns = {
        "accuracy": objectives.mode_accuracy(logprobs, batch),
        "wasserstein": objectives.wasserstein(logprobs, batch),
        "nll": -logprobs[batch["mode"]],
    }
    return pd.DataFrame(columns).groupby([pair.group for pair in pairs]).mean()


def test_distributions_are_met_more_closely_than_by_sft(divided: pd.DataFrame) -> None:
    sft, soft, ordinal = (scores(divided, method, 40) for method in ("sft", "soft", "ordinal"))
    for one in (soft, ordinal):
        assert one["wasserstein"].mean() < 0.7 * sft["wasserstein"].mean()
        assert (one["wasserstein"] < sft["wasserstein"]).all()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_dro_raises_the_worst_subgroup_over_sft(seed: int, divided: pd.DataFrame) -> None:
    """Before all is learned: the subgroup that answers otherwise is the last to be learned."""
    sft = scores(divided, "sft", 8, seed=seed)
    dro = scores(divided, "dro", 8, seed=seed, group_dro_step_size=0.1)
    assert sft["accuracy"].idxmin() == dro["nll"].idxmax() == divided["subgroup"].iloc[-1]
    assert dro["accuracy"].min() > sft["accuracy"].min()
    assert dro["nll"].max() < 0.95 * sft["nll"].max()
