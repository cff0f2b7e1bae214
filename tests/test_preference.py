"""DPO and GRPO learn what they should, from our ids alone, and go on where they were killed."""

import dataclasses
import doctest
import importlib
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests import toys
from tests.toys import RECIPE, chat
from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat
from valuestrata.io import records
from valuestrata.prompting import prompts
from valuestrata.specs import Finetune, HeldBack, Recipe, to_json
from valuestrata.stages import finetune as finetune_stage
from valuestrata.training import loop, lora, preference
from valuestrata.training.checkpoint import Checkpoint

DPO = dataclasses.replace(RECIPE, method="dpo", beta=0.1, rejected="random")
GRPO = dataclasses.replace(
    RECIPE,
    method="grpo",
    epochs=4,
    batch=6,
    dropout=0.0,
    beta=0.0,
    generations=8,
    temperature=1.0,
    max_new_tokens=8,
)
SHORT = {
    "dpo": dataclasses.replace(DPO, epochs=1, batch=3),
    "grpo": dataclasses.replace(GRPO, epochs=1, batch=3, beta=0.1, generations=2, dropout=0.1),
}


@pytest.fixture(scope="module")
def undecided() -> dict[str, torch.Tensor]:
    """Weights of a network that answers every question with either end of its scale."""
    talk = chat("llama")
    net = toys.network("Llama", talk.tokenizer)
    data = [
        loop.Example(
            talk.prompt(row["persona"], row["closed_prompt"]).ids,
            talk.encode_reply(prompts.answer("english", row[end])),
        )
        for row in records(toys.pairs())
        for end in ("scale_min", "scale_max")
    ]
    settings = loop.Settings(5e-3, 60, 0.1, 0.0, 1.0)
    loop.train(
        net, loop.make_batches(data, 24, 60, 0), settings, loop.CompletionObjective(talk.pad)
    )
    return dict(net.state_dict())


def fresh(weights: dict[str, torch.Tensor] | None = None) -> Any:
    net = toys.network("Llama", chat("llama").tokenizer)
    if weights:
        net.load_state_dict(weights)
    return net


def tuned(
    recipe: Recipe,
    folder: Path,
    network: Any = None,
    pairs: pd.DataFrame | None = None,
    talk: Chat | None = None,
    every: float = 999,
) -> tuple[bytes, dict[str, Any]]:
    """The adapter's bytes and the log of a run that keeps its checkpoints in a folder."""
    talk = talk or chat("llama")
    network = network or fresh()
    spec = Finetune(toys.model(folder), recipe, "english", "toy model")
    pairs = toys.pairs() if pairs is None else pairs
    checkpoint = Checkpoint(folder / "checkpoints", "a" * 16, every)
    made, record = preference.finetune(spec, network, talk, pairs, checkpoint)
    lora.save(made, folder / "adapter")
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes(), record


# ---- learning


def test_dpo_widens_the_margin_of_the_modal_answer(tmp_path: Path) -> None:
    recipe = dataclasses.replace(DPO, epochs=8, dropout=0.0)
    _, log = tuned(recipe, tmp_path)
    steps = log["steps"]
    assert log["examples"] == 12
    assert len(steps) == 12
    # the adapter starts as nothing, so the policy is its own reference
    assert steps[0]["margin"] == 0
    assert steps[0]["loss"] == pytest.approx(np.log(2))
    assert np.mean([s["margin"] for s in steps[-3:]]) > 0.2
    assert np.mean([s["accuracy"] for s in steps[-3:]]) > 0.8
    assert log["logit_shift"] > 0.01
    assert set(steps[0]) == {
        "step", "loss", "hits", "margin", "accuracy", "learning_rate", "gradient_norm", "tokens",
        "seconds",
    }  # fmt: skip
    rates = [s["learning_rate"] for s in steps]
    settings = loop.Settings(1e-2, 12, recipe.warmup, 0.0, 1.0)
    course = loop.SCHEDULES[recipe.schedule]
    assert rates == pytest.approx([1e-2 * course(i, settings) for i in range(12)])


def test_grpo_raises_the_reward(tmp_path: Path, undecided: dict[str, torch.Tensor]) -> None:
    pairs = toys.pairs().assign(mode=lambda frame: frame["scale_min"])
    _, log = tuned(GRPO, tmp_path, fresh(undecided), pairs)
    steps = log["steps"]
    assert len(steps) == 8
    assert steps[0]["reward"] < 0.6
    assert np.mean([s["reward"] for s in steps[-3:]]) > 0.8
    assert steps[-1]["answered"] > 0.8
    assert all(s["tokens"] > 6 * 8 * 50 for s in steps)
    assert "kl" not in steps[0]


# ---- what the models read


class Seen:
    """Every sequence that goes through a network whole, padding left out."""

    def __init__(self, network: Any) -> None:
        self.rows: list[list[int]] = []
        network.register_forward_pre_hook(self.note, with_kwargs=True)

    def note(self, _: Any, __: Any, said: dict[str, Any]) -> None:
        ids, mask = said["input_ids"], said["attention_mask"]
        if ids.shape == mask.shape:  # not the later tokens of a text being written
            self.rows += [row[keep == 1].tolist() for row, keep in zip(ids, mask, strict=True)]


@pytest.mark.parametrize("kind", ["no pad", "spaces"])
def test_dpo_reads_our_ids_and_no_others(tmp_path: Path, kind: str) -> None:
    """Traps 1 and 4: trl neither applies a template nor adds a token."""
    talk = Chat(toys.tokenizer(kind))
    network = toys.network("Llama", talk.tokenizer)
    seen = Seen(network)
    tuned(SHORT["dpo"], tmp_path, network, talk=talk)
    ours = {
        (
            *talk.prompt(row["persona"], row["closed_prompt"]).ids,
            *talk.encode_reply(f"Answer: {code}"),
        )
        for row in records(toys.pairs())
        for code in row["codes"]
    }
    assert {tuple(row) for row in seen.rows} <= ours
    chosen = {
        (
            *talk.prompt(r["persona"], r["closed_prompt"]).ids,
            *talk.encode_reply(f"Answer: {r['mode']}"),
        )
        for r in records(toys.pairs())
    }
    assert chosen <= {tuple(row) for row in seen.rows}


@pytest.mark.parametrize("kind", ["phi", "no pad"])
def test_grpo_reads_our_prompts_and_stops_at_our_terminator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Traps 1, 4 and 15."""
    monkeypatch.setattr(preference, "rewards", lambda found, *_: np.arange(len(found)))
    talk = Chat(toys.tokenizer(kind))
    network = toys.network("Llama", talk.tokenizer)
    seen = Seen(network)
    tuned(SHORT["grpo"], tmp_path, network, talk=talk)
    ours = [talk.prompt(r["persona"], r["closed_prompt"]).ids for r in records(toys.pairs())]
    assert {tuple(row) for row in seen.rows} >= set(ours)
    for row in seen.rows:
        (prompt,) = {ids for ids in ours if tuple(row[: len(ids)]) == ids}
        written = row[len(prompt) :]
        assert talk.terminator[-1] not in written[:-1]


def test_replies_that_all_earn_the_same_teach_nothing_and_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="same reward"):
        tuned(SHORT["grpo"], tmp_path)


def test_a_run_of_grpo_without_a_signal_ends_after_a_tenth_of_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preference, "TRIES", 1)
    recipe = dataclasses.replace(SHORT["grpo"], epochs=5)  # 20 steps
    with pytest.raises(InputError, match=r"in 2 steps all replies .* same reward"):
        tuned(recipe, tmp_path)


# ---- what is compared, what is rewarded


def test_examples_in_the_docstrings_hold() -> None:
    found = doctest.testmod(preference)
    assert found.attempted > 5
    assert found.failed == 0


def varied() -> pd.DataFrame:
    """Pairs whose options differ in how common they are; the mode is the most common one."""
    frame = toys.pairs()
    rng = np.random.default_rng(3)
    shares = []
    for row in records(frame):
        share = rng.dirichlet(np.ones(len(row["codes"])))
        at = row["codes"].index(row["mode"])
        best = int(share.argmax())
        share[at], share[best] = share[best], share[at]
        shares.append(share.tolist())
    return frame.assign(distribution=shares)


@pytest.mark.parametrize("rule", ["random", "runner-up", "rarest"])
def test_the_rejected_answer_is_another_option_of_the_scale(rule: str) -> None:
    talk, frame = chat("llama"), varied()
    recipe = dataclasses.replace(DPO, rejected=rule, epochs=40)
    found: dict[tuple[int, ...], Counter[str]] = {}
    for made in preference.comparisons(frame, talk, "english", recipe):
        prompt = tuple(made["prompt_ids"])
        found.setdefault(prompt, Counter())[talk.decode(made["rejected_ids"])] += 1
        assert talk.decode(made["chosen_ids"]) != talk.decode(made["rejected_ids"])
    for row in records(frame):
        drawn = found[talk.prompt(row["persona"], row["closed_prompt"]).ids]
        share = dict(zip(row["codes"], row["distribution"], strict=True))
        del share[row["mode"]]
        ranked = [f"Answer: {code}" for code in sorted(share, key=lambda c: -share[c])]
        assert drawn.total() == 40
        expected = {"random": ranked, "runner-up": ranked[:1], "rarest": ranked[-1:]}[rule]
        assert set(drawn) == set(expected)


def test_a_pair_with_a_tied_mode_or_one_option_is_not_compared() -> None:
    frame = toys.pairs()
    frame["tied"] = frame["question"] == "Q0"
    alone = frame["question"] == "Q1"
    frame.loc[alone, "scale_max"] = frame.loc[alone, "mode"]
    assert set(preference.comparable(frame)["question"]) == {"Q2", "Q3"}
    with pytest.raises(InputError, match="untied"):
        preference.comparable(frame.assign(tied=True))


def test_every_epoch_reads_every_pair_and_the_last_batch_is_full() -> None:
    recipe = dataclasses.replace(DPO, epochs=3, batch=8)
    order = preference.passes(11, recipe)
    assert len(order) == 40
    for start in (0, 11, 22):
        assert sorted(order[start : start + 11]) == list(range(11))
    assert order[:11] != order[11:22]
    assert order == preference.passes(11, recipe)
    assert order != preference.passes(11, dataclasses.replace(recipe, seed=9))


# ---- going on after a kill


class KilledError(RuntimeError):
    """Stands for a signal."""


@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_a_killed_run_ends_with_the_adapter_of_one_that_was_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    undecided: dict[str, torch.Tensor],
) -> None:
    recipe = dataclasses.replace(SHORT[method], held_back=HeldBack(0.25, "question"))
    whole = tuned(recipe, tmp_path / "whole", fresh(undecided))
    real = preference._Progress.tell

    def tell(self: Any, state: Any, loss: float) -> loop.Record:
        if state.global_step == 3:
            raise KilledError
        return real(self, state, loss)

    with monkeypatch.context() as patch:
        patch.setattr(preference._Progress, "tell", tell)
        with pytest.raises(KilledError):
            tuned(recipe, tmp_path, fresh(undecided), every=0)
    home = tmp_path / "checkpoints" / ("a" * 16)
    assert {path.name for path in home.iterdir()} == {"checkpoint-1", "checkpoint-2"}
    # as if the kill had come while the last one was written
    (home / "checkpoint-2" / preference.COMPLETE).unlink()
    caplog.set_level("INFO")
    resumed = tuned(recipe, tmp_path, fresh(undecided))
    assert "resuming after step 1" in caplog.text
    assert resumed[0] == whole[0]
    assert timeless(resumed[1]) == timeless(whole[1])
    assert len(whole[1]["steps"]) == 3
    assert whole[1]["held_back"] == 3
    assert 0 <= whole[1]["steps"][-1]["held_accuracy"] <= 1


def timeless(log: dict[str, Any]) -> dict[str, Any]:
    """A log without what another run does not repeat."""
    steps = [{k: v for k, v in step.items() if k != "seconds"} for step in log["steps"]]
    return {**log, "steps": steps, "tokens_per_second": None}


def test_nothing_of_another_training_is_gone_on_from(tmp_path: Path) -> None:
    for key in ("a", "b"):
        home = Checkpoint(tmp_path, key, 0).home()
        assert preference._last(home) is None
        (home / "checkpoint-3").mkdir(parents=True)
        (home / "checkpoint-3" / preference.COMPLETE).touch()
        assert str(preference._last(home)).endswith("checkpoint-3")
        assert list(tmp_path.iterdir()) == [home]
    Checkpoint(tmp_path, "c", 0).save({}, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["c-000000001.pt"]


# ---- the stage


def staged(folder: Path, recipe: Recipe, network: Any) -> None:
    io.write_table(toys.pairs(), folder / "pairs.parquet", "pairs")
    model = toys.model(toys.save(network, chat("llama").tokenizer, folder / "base"))
    finetune_stage.run(
        Namespace(
            spec=to_json(Finetune(model, recipe, "english", "toy model")),
            pairs=folder / "pairs.parquet",
            threads=1,
            checkpoints=folder / "checkpoints",
            every=999,
            output=folder / "adapter",
        )
    )


@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_the_stage_writes_an_adapter_and_its_log_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    method: str,
    undecided: dict[str, torch.Tensor],
) -> None:
    """No checkpoints, no reference adapter, no model card of trl, no report, no bar."""
    import trl.trainer.base_trainer

    def report(*_: Any, **__: Any) -> None:
        raise AssertionError("a usage report was sent")

    monkeypatch.setattr(trl.trainer.base_trainer, "send_telemetry", report)
    monkeypatch.chdir(tmp_path)
    network = fresh(undecided)
    capfd.readouterr()
    staged(tmp_path, SHORT[method], network)
    assert {p.name for p in tmp_path.iterdir()} == {"adapter", "base", "pairs.parquet"}
    assert {p.name for p in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "README.md", "training_log.json",
    }  # fmt: skip
    log = io.read_json(tmp_path / "adapter" / "training_log.json")
    assert log["caveat"] == "toy model"
    assert log["examples"] == 12
    assert [s["step"] for s in log["steps"]] == [1, 2, 3, 4]
    if method == "grpo":
        assert log["steps"][0]["kl"] == pytest.approx(0, abs=1e-5)
        assert log["steps"][-1]["kl"] > 0


def test_without_trl_the_stage_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(InputError, match=r"pip install 'valuestrata\[preference\]'"):
        importlib.reload(preference)


def test_a_loss_that_is_no_number_is_an_error_that_names_the_learning_rate(tmp_path: Path) -> None:
    network = fresh()
    with torch.no_grad():
        network.model.norm.weight[0] = torch.nan
    with pytest.raises(FloatingPointError, match="learning_rate"):
        tuned(SHORT["dpo"], tmp_path, network)
