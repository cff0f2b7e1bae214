"""The benchmark's peers give the answers that they are timed for, on a small survey."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import (
    data,
    gpu,
    gpu_stages,
    gpu_work,
    growth,
    models,
    peers,
    questionnaire,
    survey,
    timing,
)
from valuestrata.inference.protocol import Sampling

QUICK = timing.Size.quick()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> data.Tables:
    return data.simulated(tmp_path_factory.mktemp("bench"), 700, 12)


def test_pandas_has_our_modes(small: data.Tables) -> None:
    ours = survey.our_modes(small)
    assert sum(len(names) for names, _ in ours) > 30
    for peer in (peers.pandas_mode, peers.pandas_size):
        modes = peers.as_modes(peer(small.responses, small.names))
        assert survey.same_modes(ours, modes, small.names)


def test_a_wrong_mode_is_noticed(small: data.Tables) -> None:
    modes = peers.as_modes(peers.pandas_size(small.responses, small.names))
    key = ("female", None, None, None, small.names[3])
    assert key in modes
    assert not survey.same_modes(
        survey.our_modes(small), {**modes, key: modes[key] + 1}, small.names
    )


def test_polars_has_our_modes(small: data.Tables) -> None:
    pytest.importorskip("polars")
    table = peers.polars_table(small.responses, small.names)
    for peer in (peers.polars_mode, peers.polars_len):
        modes = peers.as_modes(peer(table, small.names))
        assert survey.same_modes(survey.our_modes(small), modes, small.names)


@pytest.mark.parametrize("how", ["mode", "window", "arg_max"])
def test_duckdb_has_our_modes(small: data.Tables, how: str) -> None:
    pytest.importorskip("duckdb")
    connection = peers.duckdb_table(small.responses, small.names)
    modes = peers.as_modes(peers.duckdb_modes(connection, small.names, how))
    assert survey.same_modes(survey.our_modes(small), modes, small.names)


def test_scipy_has_our_distances(small: data.Tables) -> None:
    assert [row["equal"] for row in survey.wasserstein(small, QUICK)] == [True]


def test_pandas_and_fairlearn_have_our_resamples(small: data.Tables) -> None:
    pytest.importorskip("fairlearn")
    rows = survey.resamples(small, QUICK)
    assert [row["equal"] for row in rows] == [True] * 3
    assert rows[0]["scaled_from"] == "5 of 100 resamples"


def test_several_countries_are_scored_as_each_alone(tmp_path: Path) -> None:
    (line,) = survey.grown(tmp_path, QUICK)
    assert line["equal"]
    assert 0 < line["cpu_s"] < 100
    assert len(growth.last_country(tmp_path / "many.parquet")) == QUICK.each
    with np.load(tmp_path / "scores.npz") as scores:
        assert len(scores["names_0"]) == 2 * QUICK.countries


# ---- the model side


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> models.Bench:
    folder = tmp_path_factory.mktemp("models")
    nothing = {"lm_eval": sys.executable, "inspect_ai": sys.executable}
    return models.Bench.make(models.QUICK, folder, nothing)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", questionnaire.ORDERS)
def test_transformers_has_our_logprobs_and_texts(bench: models.Bench, order: str) -> None:
    rows = {row["against"]: row for row in bench.scoring(order)}
    assert all(row["at_least"] > 1 for row in rows.values())
    for against in list(models.FLOORS)[:2]:
        assert rows[against]["equal"], against
    assert rows["generate + regex"]["equal"]
    assert all(row["our_tokens"] < row["their_tokens"] for row in rows.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", questionnaire.ORDERS)
def test_generate_writes_our_texts(bench: models.Bench, order: str) -> None:
    assert [row["equal"] for row in bench.texts(order)] == [True, True]


def test_trainer_has_our_gradients(bench: models.Bench) -> None:
    rows = {row["against"]: row for row in bench.training("question")}
    assert rows["training: HF Trainer, grouped by length"]["equal"]


def test_ours_is_judged_by_the_reference_and_a_peers_rounding_is_its_own() -> None:
    expected = [np.array([-1.0, -2.0]), np.array([-3.0, -0.5])]
    off = [expected[0], expected[1] + [0, 2e-5]]
    wrong = [expected[0], expected[1] + [0, 0.1]]
    assert models.judged([e + 1e-6 for e in expected], off, expected)["equal"]
    assert models.judged(expected, off, expected)["errors"] == pytest.approx((0, 2e-5))
    assert not models.judged(off, expected, expected)["equal"]
    assert not models.judged(expected, wrong, expected)["equal"]
    tied = [np.array([-1.0, -1.0 - 1e-9])]
    assert models.judged([tied[0][::-1]], tied, tied)["equal"]


def test_the_reference_computes_in_fp64_all_through(bench: models.Bench) -> None:
    network = models.exact(bench.network)
    assert bench.network.dtype == torch.float32
    seen = set()
    for module in network.modules():
        module.register_forward_hook(lambda _, __, made: seen.add(getattr(made, "dtype", None)))
    network(input_ids=torch.tensor([[1, 2, 3]]))
    assert torch.float64 in seen
    assert torch.float32 not in seen


# ---- the GPU's


def test_ours_on_a_gpu_is_no_further_from_fp64_than_a_plain_pass(bench: models.Bench) -> None:
    cpu = torch.device("cpu")
    gates = gpu_work.gates(bench.chat, gpu_work.SHAPES["tiny"], cpu)
    judged = [gate for gate in gates if "skipped" not in gate]
    assert [gate["equal"] for gate in judged] == [True] * 3
    assert all(0 < gate["plain"] < 0.05 for gate in judged)
    left_out = {gate["work"]: gate["skipped"] for gate in gates if "skipped" in gate}
    needs = "forest_attention: flex: it needs a GPU"
    assert left_out == {"scoring, flex": needs, "training, shared prefixes, flex": needs}
    assert not gpu_work.gate("", "", lambda: {"ours": 5e-3, "plain": 1e-3})["equal"]


def test_steps_are_counted_once_they_have_settled() -> None:
    assert gpu_work.settled([5.0, 9.0, 10.0, 10.5, 9.8, 10.0]) == (10.0, True)
    assert gpu_work.settled([1.0, 2.0, 4.0, 8.0]) == (4.0, False)
    assert gpu_work.settled([3.0]) == (3.0, False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_gpu_bench_measures_ours_and_the_trainers(bench: models.Bench, tmp_path: Path) -> None:
    cpu, shape = torch.device("cpu"), gpu_work.SHAPES["tiny"]
    network = gpu_work.make_network(shape, cpu)
    far = float("inf")
    first = gpu_work.training(network, bench.chat, shape, "persona", 4)
    before = list(gpu.until(far, first))
    assert ["GPU" in row["skipped"] for row in before[2:]] == [True] * 4
    assert before[2]["skipped"] == "forest_attention: flex: it needs a GPU"
    before = before[:2]
    units = [
        *gpu_work.scoring(network, bench.chat, shape, "persona"),
        *gpu_work.texts(network, bench.chat, shape, "persona"),
        *gpu_work.trainers(network, bench.chat, shape, "persona", 4, tmp_path),
        *gpu_work.training(network, bench.chat, shape, "persona", 4),
    ]
    rows = list(gpu.until(far, units))
    assert not [row for row in rows if row.get("skipped", "").startswith("failed")]
    # other people's trainers leave the network as it was
    assert [row["kernels"] for row in rows[-6:-4]] == [row["kernels"] for row in before]
    assert [(row["waits"], row["casts"]) for row in before] == [(0, 0), (0, 0)]
    plain, shared = before
    # to read a beginning once is less work for the same samples
    assert plain["flop_plain"] > plain["flop_unique"]
    assert shared["flop_unique"] < shared["flop_plain"]
    rows = [gpu.measured(row, 1e9) for row in rows]
    assert all(row.get("skipped") or row["samples_per_s"] > 0 for row in rows)
    assert {row["at_least"] for row in rows} == {None, 0.45, 0.55}
    everything = gpu_work.units(network, bench.chat, shape, tmp_path)
    names = [tuple(unit.about.get(k) for k in ("work", "tool", "order", "batch", "layout"))
             for unit in everything]  # fmt: skip
    assert len(set(names)) == len(names)
    late = list(gpu.until(0.0, everything))
    assert {row["skipped"] for row in late} == {"the minutes were over"}
    assert all("left out: the minutes" in gpu.line(gpu.measured(row, 1e9)) for row in late)


@pytest.mark.slow
def test_the_whole_gpu_bench_runs_through_on_a_cpu(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    command = [sys.executable, "-W", "ignore", "-m", "bench.gpu", "--shape", "tiny"]
    command += ["--device", "cpu", "--output", str(output), "--parts", "stages"]
    done = subprocess.run(command, check=True, cwd=data.ROOT, capture_output=True, text=True)
    written = json.loads(output.read_text(encoding="utf-8"))
    rows = written["rows"]
    stages = [row for row in rows if row["work"] in gpu_stages.STAGES]
    assert [row.get("skipped") for row in stages] == [None] * 4
    assert all(row["seconds"] > 0 for row in stages)
    predicted = [row for row in stages if row["work"] == "predict"]
    assert all(0 < row["first_s"] < row["seconds"] for row in predicted)
    assert all(row.get("skipped") or row["samples_per_s"] > 0 for row in rows[-2:])
    lines = done.stdout.splitlines()
    assert lines[-len(rows) :] == [gpu.line(row) for row in rows]
    assert len(lines) == 3 + len(written["gates"]) + len(rows)


def test_a_measurement_that_fails_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each row is printed and written before the next one is measured."""
    output = tmp_path / "gpu.json"
    about = {"tool": "valuestrata", "order": "persona", "batch": None}
    seen = []

    def fails() -> gpu_work.Row:
        raise RuntimeError("no kernel for this\nand more")

    def works() -> gpu_work.Row:
        seen.append(json.loads(output.read_text("utf-8"))["rows"])
        return {"samples_per_s": 2.0, "flop_plain": 1.0}

    units = [gpu_work.Unit({**about, "work": "training"}, fails),
             gpu_work.Unit({**about, "work": "scoring"}, works)]  # fmt: skip
    monkeypatch.setattr(gpu_work, "make_network", lambda *_: None)
    monkeypatch.setattr(gpu.questionnaire, "make_chat", lambda: None)
    monkeypatch.setattr(gpu_work, "units", lambda *_: units)
    gates = [{"work": "training", "unit": "", "ours": 9e-3, "plain": 1e-3, "equal": False},
             {"work": "scoring", "unit": "", "skipped": "failed: no kernel"}]  # fmt: skip
    monkeypatch.setattr(gpu_work, "gates", lambda *_: gates)
    command = ["gpu", "--shape", "tiny", "--device", "cpu", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", [*command, "--parts", "work"])
    with pytest.raises(SystemExit, match="not equal"):
        gpu.main()
    ((failed,),) = seen
    assert failed["skipped"] == "failed: RuntimeError: no kernel for this"
    text = capsys.readouterr().out
    for words in ("NOT EQUAL", "scoring, left out: failed: no kernel", "left out: failed: Runtime"):
        assert words in text
    assert not list(tmp_path.glob("*.part"))


def test_a_trainer_that_cannot_be_made_leaves_the_network_as_it_was(
    bench: models.Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shape = gpu_work.SHAPES["tiny"]
    network = gpu_work.make_network(shape, torch.device("cpu"))
    names = [name for name, _ in network.named_modules()]

    def exits(*_: object, **__: object) -> None:
        raise SystemExit("no such setting")

    spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name in ("trl", "datasets") or spec(name)
    )
    for tool in ("hf_trainer", "trl_trainer"):
        monkeypatch.setattr(gpu_work.model_peers, tool, exits)
    units = gpu_work.trainers(network, bench.chat, shape, "persona", 4, tmp_path)
    rows = list(gpu.until(float("inf"), units))
    assert [row["skipped"] for row in rows] == ["failed: SystemExit: no such setting"] * 3
    assert [name for name, _ in network.named_modules()] == names
    assert not network.training


def test_a_reference_that_fails_ends_the_gates_alone(
    bench: models.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(models, "gradients", full)
    gates = gpu_work.gates(bench.chat, gpu_work.SHAPES["tiny"], torch.device("cpu"))
    assert [gate.get("equal") for gate in gates] == [True, None, None]
    assert gates[-1]["skipped"] == "failed: OutOfMemoryError: CUDA out of memory"
    monkeypatch.setattr(gpu_work, "make_network", full)
    (gate,) = gpu_work.gates(bench.chat, gpu_work.SHAPES["tiny"], torch.device("cpu"))
    assert "left out: failed: OutOfMemoryError" in gpu.gate_line(gate)


def test_weights_that_cannot_be_saved_are_why_there_are_no_stages(
    bench: models.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(questionnaire, "save", full)
    shape, cpu = gpu_work.SHAPES["tiny"], torch.device("cpu")
    rows = list(gpu.measure(("stages",), bench.chat, shape, cpu, float("inf")))
    assert {row["skipped"] for row in rows} == {"failed: OSError: No space left on device"}
    assert [row["work"] for row in rows] == [
        "finetune", "predict", "predict", "finetune", "scoring", "texts",
    ]  # fmt: skip


def test_vllm_scores_and_writes_by_one_engine_what_ours_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engines: list[Any] = []

    class Engine:
        def __init__(self, *_: object) -> None:
            engines.append(self)
            self.asked: list[tuple[int, int]] = []

        def score(self, requests: list[object], max_new_tokens: int) -> None:
            self.asked.append((len(requests), max_new_tokens))

        def generate(self, messages: list[object], sampling: Sampling) -> None:
            self.asked.append((len(messages), sampling.max_new_tokens))

    shape, cpu = gpu_work.SHAPES["tiny"], torch.device("cpu")
    units = gpu_stages.units(shape, tmp_path, tmp_path, cpu)[-2:]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    rows = list(gpu.until(float("inf"), units))
    assert [row["skipped"] for row in rows] == ["vllm is not installed"] * 2
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(gpu_stages, "VllmBackend", Engine)
    monkeypatch.setattr(gpu_stages, "load_chat", lambda _: None)
    gpu_stages._engine.cache_clear()
    rows = list(gpu.until(float("inf"), units))
    gpu_stages._engine.cache_clear()
    assert all(row["samples_per_s"] > 0 for row in rows)
    (engine,) = engines
    texts = len(gpu_work.text_prompts(shape, "persona"))
    assert engine.asked == [(8, 4), (shape.pairs[1], 8), (texts, gpu_work.TEXT_TOKENS)]


def test_without_a_gpu_the_gpu_bench_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", "--output", str(tmp_path / "gpu.json")])
    gpu.main()
    assert "no GPU" in capsys.readouterr().out
    assert not (tmp_path / "gpu.json").exists()
