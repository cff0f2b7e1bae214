"""DPO and GRPO learn what they should, from our ids alone, and resume where they were killed."""

import doctest
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import trl.trainer.base_trainer

from tests import toys
from tests.toys import chat
from tests.tuning import Stage, adapter, distance, recipe, timeless, training_log, tune, weights
from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat
from valuestrata.io import records
from valuestrata.prompting import prompts
from valuestrata.training import completion, dpo, grpo, loop, preference
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.examples import Example, tuning_data
from valuestrata.training.methods import load
from valuestrata.training.objective import StepRecord
from valuestrata.training.schedules import OptimizerSettings

SHORT = {
    "dpo": recipe("dpo", epochs=1, batch_size=3),
    "grpo": recipe("grpo", epochs=1, batch_size=3, num_generations=2, max_new_tokens=8),
}


@pytest.fixture(scope="module")
def undecided() -> dict[str, torch.Tensor]:
    """Weights of a network that answers every question with either end of its scale."""
    talk = chat("llama")
    network = toys.network("Llama", talk.tokenizer)
    data = [
        Example(
            talk.prompt(row["persona"], row["closed_prompt"]).ids,
            talk.encode_reply(prompts.answer("english", row[end])),
        )
        for row in records(toys.pairs())
        for end in ("scale_min", "scale_max")
    ]
    batches = completion.make_batches(data, 24, 60, 0)
    settings = OptimizerSettings(5e-3, 60, 0.1, 0.0, 1.0)
    loop.train(network, batches, settings, completion.CompletionObjective(talk.pad))
    return dict(network.state_dict())


def fresh(state: dict[str, torch.Tensor] | None = None) -> Any:
    network = toys.network("Llama", chat("llama").tokenizer)
    if state:
        network.load_state_dict(state)
    return network


def tuned(
    config: Any,
    folder: Path,
    network: Any = None,
    pairs: pd.DataFrame | None = None,
    talk: Chat | None = None,
    every: float = 999,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The adapter's weights and the log of a run that keeps its checkpoints in a folder."""
    checkpoint = Checkpoint(folder / "checkpoints", "a" * 16, every)
    table = toys.pairs() if pairs is None else pairs
    made, log = tune(config, table, network, checkpoint, talk)
    return weights(made), log


# ---- learning


def test_dpo_widens_the_margin_of_the_modal_answer(tmp_path: Path) -> None:
    config = recipe("dpo", epochs=8, lora_dropout=0.0)
    _, log = tuned(config, tmp_path)
    steps = log["steps"]
    assert log["examples"] == 12
    assert len(steps) == 12
    # the adapter starts as nothing, so the policy is its own reference
    assert steps[0]["margin"] == 0
    assert steps[0]["loss"] == pytest.approx(np.log(2))
    assert np.mean([s["margin"] for s in steps[-3:]]) > 0.2
    assert np.mean([s["accuracy"] for s in steps[-3:]]) > 0.8
    assert log["mean_logit_change"] > 0.01
    assert set(steps[0]) == {
        "step", "loss", "token_accuracy", "margin", "accuracy", "learning_rate", "gradient_norm",
        "tokens", "seconds",
    }  # fmt: skip
    settings = OptimizerSettings(1e-2, 12, config.warmup_ratio, 0.0, 1.0)
    assert [s["learning_rate"] for s in steps] == pytest.approx([*map(settings.rate, range(12))])


def test_grpo_raises_the_reward(tmp_path: Path, undecided: dict[str, torch.Tensor]) -> None:
    config = recipe("grpo", epochs=4, batch_size=6, lora_dropout=0.0, beta=0.0, max_new_tokens=8)
    pairs = toys.pairs().assign(mode=lambda frame: frame["scale_min"])
    _, log = tuned(config, tmp_path, fresh(undecided), pairs)
    steps = log["steps"]
    assert len(steps) == 8
    assert steps[0]["reward"] < 0.6
    assert np.mean([s["reward"] for s in steps[-3:]]) > 0.8
    assert steps[-1]["answered"] > 0.8
    assert all(s["tokens"] > 6 * 8 * 50 for s in steps)
    assert "kl" not in steps[0]


# ---- what the models read


class Seen:
    """Every sequence that goes through a network whole, without padding."""

    def __init__(self, network: Any) -> None:
        self.rows: list[list[int]] = []
        network.register_forward_pre_hook(self.note, with_kwargs=True)

    def note(self, _: Any, __: Any, inputs: dict[str, Any]) -> None:
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        if ids.shape == mask.shape:  # not the later tokens of a text being written
            self.rows += [row[keep == 1].tolist() for row, keep in zip(ids, mask, strict=True)]


def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is read to find out whether the network reads right."""
    monkeypatch.setattr(preference, "check_passes", lambda *_, **__: None)
    monkeypatch.setattr(grpo, "check_sampling", lambda *_: None)


@pytest.mark.parametrize("kind", ["no pad", "spaces"])
def test_dpo_reads_our_ids_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Traps 1 and 4: trl neither applies a template nor adds a token."""
    trust(monkeypatch)
    talk = Chat(toys.tokenizer(kind))
    network = toys.network("Llama", talk.tokenizer)
    seen = Seen(network)
    tuned(SHORT["dpo"], tmp_path, network, talk=talk)

    def ids(row: dict[str, Any], code: int) -> tuple[int, ...]:
        prompt = talk.prompt(row["persona"], row["closed_prompt"]).ids
        return (*prompt, *talk.encode_reply(f"Answer: {code}"))

    rows = records(toys.pairs())
    read = {tuple(row) for row in seen.rows}
    assert read <= {ids(row, code) for row in rows for code in row["codes"]}
    assert {ids(row, row["mode"]) for row in rows} <= read


@pytest.mark.parametrize("kind", ["phi", "no pad"])
def test_grpo_reads_our_prompts_and_stops_at_our_terminator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Traps 1, 4 and 15."""
    trust(monkeypatch)
    monkeypatch.setattr(grpo, "rewards", lambda codes, *_: np.arange(len(codes)))
    talk = Chat(toys.tokenizer(kind))
    network = toys.network("Llama", talk.tokenizer)
    seen = Seen(network)
    tuned(SHORT["grpo"], tmp_path, network, talk=talk)
    ours = [talk.prompt(r["persona"], r["closed_prompt"]).ids for r in records(toys.pairs())]
    assert {tuple(row) for row in seen.rows} >= set(ours)
    for row in seen.rows:
        (prompt,) = {ids for ids in ours if tuple(row[: len(ids)]) == ids}
        assert talk.terminator[-1] not in row[len(prompt) : -1]


def test_replies_that_all_earn_the_same_teach_nothing_and_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"in 4 steps all replies .* same reward"):
        tuned(SHORT["grpo"], tmp_path)
    # of a longer run after a tenth of its steps
    monkeypatch.setattr(grpo, "MIN_TRIES", 1)
    with pytest.raises(InputError, match=r"in 2 steps all replies .* same reward"):
        tuned(SHORT["grpo"].replace(epochs=5), tmp_path)


# ---- what is compared, what is rewarded


def test_examples_in_the_docstrings_hold() -> None:
    results = [doctest.testmod(module) for module in (dpo, grpo)]
    assert sum(result.attempted for result in results) > 5
    assert sum(result.failed for result in results) == 0


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


def test_the_rejected_answer_is_another_option_of_the_scale() -> None:
    talk, frame = chat("llama"), varied()
    data = tuning_data(frame, talk, "english")
    for rule in ("random", "runner-up", "rarest"):
        drawn: dict[tuple[int, ...], Counter[str]] = {}
        config = recipe("dpo", rejected=rule, epochs=40)
        for row in dpo.comparisons(data, list(range(len(frame))), config):
            prompt = tuple(row["prompt_ids"])
            drawn.setdefault(prompt, Counter())[talk.decode(row["rejected_ids"])] += 1
            assert talk.decode(row["chosen_ids"]) != talk.decode(row["rejected_ids"])
        for pair in records(frame):
            answers = drawn[talk.prompt(pair["persona"], pair["closed_prompt"]).ids]
            share = dict(zip(pair["codes"], pair["distribution"], strict=True))
            del share[pair["mode"]]
            ranked = [f"Answer: {code}" for code in sorted(share, key=lambda c: -share[c])]
            assert answers.total() == 40
            expected = {"random": ranked, "runner-up": ranked[:1], "rarest": ranked[-1:]}[rule]
            assert set(answers) == set(expected)


def test_a_pair_with_a_tied_mode_or_one_option_is_not_compared() -> None:
    frame = toys.pairs()
    frame["tied"] = frame["question"] == "Q0"
    alone = frame["question"] == "Q1"
    frame.loc[alone, "scale_max"] = frame.loc[alone, "mode"]
    everything = list(range(len(frame)))
    assert set(frame["question"].iloc[dpo.comparable(frame, everything)]) == {"Q2", "Q3"}
    with pytest.raises(InputError, match="untied"):
        dpo.comparable(frame.assign(tied=True), everything)


def test_every_epoch_reads_every_pair_and_the_last_batch_is_full() -> None:
    config = recipe("dpo", epochs=3, batch_size=8)
    order = preference.training_order(11, config)
    assert len(order) == 40
    for start in (0, 11, 22):
        assert sorted(order[start : start + 11]) == list(range(11))
    assert order[:11] != order[11:22]
    assert order == preference.training_order(11, config)
    assert order != preference.training_order(11, config.replace(seed=9))


# ---- resuming after a kill


class KilledError(RuntimeError):
    """Stands for a signal."""


@pytest.mark.parametrize(
    ("method", "dtype"),
    [("dpo", torch.float32), ("grpo", torch.float32), ("dpo", torch.bfloat16)],
    ids=str,
)
def test_a_killed_run_ends_with_the_adapter_of_one_that_was_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    dtype: torch.dtype,
    undecided: dict[str, torch.Tensor],
) -> None:
    """In bf16 from the masters in fp32, too, which trl's checkpoint holds with the optimiser."""
    config = SHORT[method].replace(validation={"share": 0.25, "by": "question"})
    whole = tuned(config, tmp_path / "whole", fresh(undecided).to(dtype))
    record_step = preference._Progress.record_step

    def stop(self: Any, state: Any, loss: float) -> StepRecord:
        if state.global_step == 3:
            raise KilledError
        return record_step(self, state, loss)

    with monkeypatch.context() as patch:
        patch.setattr(preference._Progress, "record_step", stop)
        with pytest.raises(KilledError):
            tuned(config, tmp_path, fresh(undecided).to(dtype), every=0)
    folder = tmp_path / "checkpoints" / ("a" * 16)
    assert {path.name for path in folder.iterdir()} == {"checkpoint-1", "checkpoint-2"}
    # as if the kill had come while the last one was written
    (folder / "checkpoint-2" / preference.COMPLETE).unlink()
    caplog.set_level("INFO")
    resumed = tuned(config, tmp_path, fresh(undecided).to(dtype))
    assert f"resuming from {folder / 'checkpoint-1'}" in caplog.text
    assert all(torch.equal(resumed[0][name], whole[0][name]) for name in whole[0])
    assert {weight.dtype for weight in whole[0].values()} == {dtype}
    assert timeless(resumed[1]) == timeless(whole[1])
    assert len(whole[1]["steps"]) == 3
    assert whole[1]["validation"] == 3
    assert 0 <= whole[1]["steps"][-1]["validation_accuracy"] <= 1


def test_nothing_of_another_training_is_resumed_from(tmp_path: Path) -> None:
    for key in ("a", "b"):
        folder = Checkpoint(tmp_path, key, 0).subfolder()
        assert preference._last_checkpoint(folder) is None
        (folder / "checkpoint-3").mkdir(parents=True)
        (folder / "checkpoint-3" / preference.COMPLETE).touch()
        assert str(preference._last_checkpoint(folder)).endswith("checkpoint-3")
        assert list(tmp_path.iterdir()) == [folder]
    Checkpoint(tmp_path, "c", 0).save({}, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["c-000000001.pt"]


# ---- the stage


@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_the_stage_writes_an_adapter_and_its_log_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    undecided: dict[str, torch.Tensor],
) -> None:
    """No checkpoints, no reference adapter, no model card of trl, no report, no bar."""

    def report(*_: Any, **__: Any) -> None:
        raise AssertionError("a usage report was sent")

    monkeypatch.setattr(trl.trainer.base_trainer, "send_telemetry", report)
    monkeypatch.chdir(tmp_path)
    stage = Stage(tmp_path / "in", SHORT[method], fresh(undecided), toys.pairs())
    out = tmp_path / "out"
    assert stage.run(out) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out"}
    assert {p.name for p in out.iterdir()} == {"adapter"}
    assert {p.name for p in (out / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "README.md", "training_log.json",
        "made_of.json",
    }  # fmt: skip
    log = training_log(out)
    assert log["examples"] == 12
    assert [s["step"] for s in log["steps"]] == [1, 2, 3, 4]
    if method == "grpo":
        assert log["steps"][0]["kl"] == pytest.approx(0, abs=1e-5)
        assert log["steps"][-1]["kl"] > 0


def test_without_trl_the_stage_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.delitem(sys.modules, "valuestrata.training.dpo")
    with pytest.raises(InputError, match=r"needs trl: pip install 'valuestrata\[preference\]'"):
        load("valuestrata.training.dpo:finetune")


@pytest.mark.slow
def test_dpo_in_two_processes_tunes_the_adapter_of_one(tmp_path: Path) -> None:
    """Same comparisons in the same batches; each process reads half of every batch."""
    config = recipe("dpo", batch_size=6, lora_dropout=0.0, validation={"share": 0.25})
    stage = Stage(tmp_path, config, pairs=toys.pairs())
    one, two = tmp_path / "one", tmp_path / "two"
    process = stage.start(two, "--processes", "2")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert stage.run(one) == 0
    assert distance(adapter(one), adapter(two)) < 1e-5
    logs = [training_log(out) for out in (one, two)]
    assert [log["processes"] for log in logs] == [1, 2]
    for a, b in zip(logs[0]["steps"], logs[1]["steps"], strict=True):
        for key in ("loss", "token_accuracy", "margin", "accuracy", "validation_accuracy"):
            assert b.get(key, 0) == pytest.approx(a.get(key, 0), abs=1e-4), key
    # the adapter has moved by far more than the two differ
    moved = [w for name, w in adapter(one).items() if "lora_B" in name]
    assert max(float(w.abs().max()) for w in moved) > 1e-3
