"""All tables of a model after one load: those of single jobs to the last bit, and none lost."""

import copy
import errno
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import toys, tuning, world
from valuestrata import io, paths
from valuestrata import tables as table_contracts
from valuestrata.commands.check import described
from valuestrata.errors import InputError
from valuestrata.inference import local, transformers
from valuestrata.inference.backends import open_model
from valuestrata.inference.lending import ModelLender
from valuestrata.prefix import forests, forward, plain
from valuestrata.records import read_record
from valuestrata.stages import ahead, answer
from valuestrata.stages.job import expected, stage_module
from valuestrata.stages.nodes import Graph, Node
from valuestrata.study.load import load
from valuestrata.study.study import Study
from valuestrata.training import lora

SPLITS = {
    "train": {"role": "train", "strata": ["sex"]},
    "ood": {"role": "test", "strata": ["sex x ethnicity"]},
}
LISTED = {"listed": {"persona": "list"}}
LOAD = ("toy", "base")


def small_study(base: Path, **overlay: Any) -> Study:
    toy = {"backend": "transformers", "model": str(base), "dtype": "float32", "recipes": []}
    toy |= {"gpus": 0, "threads": 1, "max_length": 1024}
    raw = {**copy.deepcopy(world.ANY), "models": {"toy": toy}, "recipes": {}, "judges": {}}
    raw |= {"splits": SPLITS, "generation": {"splits": ["ood"], "max_new_tokens": 8}, **overlay}
    raw["survey"] |= {"file": "x.csv", "codebook": str(world.BOOK)}
    return load(raw, files=False)


def write_inputs(study: Study, folder: Path) -> Path:
    """What the model is asked, as the survey's stages would write it; returns the results."""
    results = folder / study.results
    asked = toys.pairs()
    for run in stage_module("pairs").runs(study):
        name = run["split"]
        half = asked.iloc[: len(asked) // 2] if name.startswith("train") else asked
        shown = half.assign(persona=half["persona"] + "!" * name.endswith("listed"))
        record = expected(study, "pairs", run).record
        io.write_table(shown, results / f"pairs/{name}.parquet", table_contracts.PAIRS, record)
    record = expected(study, "clean", {}).record
    io.write_table(
        toys.question_table(), results / paths.QUESTIONS, table_contracts.QUESTIONS, record
    )
    io.write_text(study.to_json(), results / paths.STUDY)
    return results


def run_all(study: Study) -> None:
    """Every job of the model by itself."""
    for stage, run in answer.loads(study)[LOAD]:
        assert world.run_stage(study, stage, **run) == 0


def answer_all(study: Study) -> int:
    return world.run_stage(study, "answer", model="toy", variant="base")


def tables(study: Study) -> dict[str, bytes]:
    return {path: Path(path).read_bytes() for path in answer.tables_of(study, LOAD)}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often weights were loaded, and how many prompts were read."""
    counts = {"loads": 0, "scored": 0, "written": 0}
    load_network, score = transformers.load_network, transformers.TransformersBackend.score
    generate = transformers.TransformersBackend.generate

    def loading(*arguments: Any) -> Any:
        counts["loads"] += 1
        return load_network(*arguments)

    def scoring(backend: Any, requests: Any, n: int) -> Any:
        counts["scored"] += len(requests)
        return score(backend, requests, n)

    def writing(backend: Any, prompts: Any, sampling: Any) -> Any:
        counts["written"] += len(prompts)
        return generate(backend, prompts, sampling)

    monkeypatch.setattr(transformers, "load_network", loading)
    monkeypatch.setattr(transformers.TransformersBackend, "score", scoring)
    monkeypatch.setattr(transformers.TransformersBackend, "generate", writing)
    return counts


def test_one_load_makes_the_tables_of_single_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, int]
) -> None:
    """Through a kill, an input that is not there, another prompt variant and an edited input."""
    monkeypatch.chdir(tmp_path)
    base = toys.taught("Llama", tmp_path / "model")
    first, study = small_study(base), small_study(base, prompt_variants=LISTED, one_load=True)
    results = write_inputs(study, tmp_path)
    run_all(study)
    alone = tables(study)
    assert asked["loads"] == len(answer.loads(study)[LOAD]) == 5
    for name in ("runs", paths.REPLIES):
        shutil.move(results / name, tmp_path / name)

    # a job that is killed when it comes to texts leaves the tables before them
    asked.update(dict.fromkeys(asked, 0))
    io.write_text(first.to_json(), results / paths.STUDY)
    with monkeypatch.context() as patch:
        patch.setattr(transformers.TransformersBackend, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            answer_all(first)
    n_scored = asked["scored"]
    assert n_scored > 0
    assert not (results / "answered").exists()
    assert answer_all(first) == 0
    assert (asked["loads"], asked["scored"]) == (2, n_scored)
    assert asked["written"] > 0

    # the nodes take their tables and load nothing; nothing is asked for again
    before = dict(asked)
    monkeypatch.setattr(os, "replace", within_a_disk(os.replace))
    run_all(first)
    assert answer_all(first) == 0
    assert asked == before
    made = [results / paths.AHEAD / Path(path).relative_to(first.results) for path in tables(first)]
    assert all(path.exists() for path in made), "copies of what is done"
    waiting = results / Path(next(iter(tables(first)))).relative_to(first.results)
    waiting.rename(tmp_path / "waiting.parquet")
    made[1].with_name(f".{made[1].name}.half").touch()
    ahead.tidy(first)
    left = [path for path in (results / paths.AHEAD).rglob("*") if path.is_file()]
    assert left == made[:1]
    (tmp_path / "waiting.parquet").rename(waiting)
    ahead.tidy(first)
    assert not (results / paths.AHEAD).exists()
    assert all(content == alone[path] for path, content in tables(first).items())
    graph = Graph(first)
    assert not any(lines_of(graph, node) for node in graph.nodes if node.stage in ahead.ASKING)

    # another prompt variant: what was made before is not asked for again
    io.write_text(study.to_json(), results / paths.STUDY)
    pairs = results / "pairs/ood+listed.parquet"
    pairs.rename(tmp_path / "aside.parquet")
    assert answer_all(study) == 2
    (tmp_path / "aside.parquet").rename(pairs)
    asked.update(dict.fromkeys(asked, 0))
    assert answer_all(study) == 0
    assert (asked["loads"], asked["written"]) == (1, 0)
    assert asked["scored"] == len(toys.pairs()), "train's are among them"

    # a table that was made of other inputs is not taken
    frame = io.read_table(pairs, table_contracts.PAIRS)
    record = read_record(pairs)
    assert record is not None
    io.write_table(frame.iloc[1:], pairs, table_contracts.PAIRS, record)
    run_all(study)
    changed = [path for path, content in tables(study).items() if content != alone[path]]
    assert changed == ["results/wvs-any/runs/toy/base+listed/ood/predictions.parquet"]


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def within_a_disk(replace: Any) -> Any:
    """What `os.replace` is where each folder lies on a disk of its own."""

    def replaced(old: Any, new: Any) -> None:
        if Path(old).resolve().parent != Path(new).resolve().parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(old, new)

    return replaced


def lines_of(graph: Graph, node: Node) -> list[str]:
    """What of a node's own is not what the study asks for."""
    return [line for line in graph.state(node).reasons if "waits for" not in line]


def test_each_job_sees_a_model_of_its_own(tmp_path: Path) -> None:
    """Not the notes of the job before, nor how far an adapter moved another prompt."""
    model = toys.model(toys.taught("Llama", tmp_path / "model"))
    adapter = tmp_path / "adapter"
    recipe = toys.RECIPE.replace(learning_rate=1e-3, epochs=1)
    tuned, _ = tuning.tune(recipe, toys.pairs(), local.load_network(model))
    lora.save(tuned, adapter)
    prompts = [request.messages for request in toys.questions()[:2]]
    alone = [open_model(model, 1, adapter).check_load(messages) for messages in prompts]
    assert alone[0] != alone[1]
    lender = ModelLender()
    networks = []
    for messages, check in zip(prompts, alone, strict=True):
        backend: Any = lender.open_model(model, 1, adapter)
        assert backend.check_load(messages) == check
        backend.notes.append("found while it worked")
        assert backend.check_load(messages).notes == (*check.notes, "found while it worked")
        assert backend.entries == transformers.TransformersBackend.entries
        networks.append(backend.network)
    assert networks[0] is networks[1]
    # prompts of one job that the network reads wrong say nothing of the next one's
    base = plain.base_of(networks[0])
    items = [forests.PrefixItem((5, 6, 7), ((8,), (9,)))]
    for way in (forward._ONE_PASS, forward._DECODED):
        way.verdicts[base] = forward._Verdict(10**6, "it fails")
    assert forward.check_forests(networks[0], items) == "it fails"
    lender.open_model(model, 1, adapter)
    assert forward.check_forests(networks[0], items) == ""
    assert forward.check_decoding(networks[0], [(5, 6, 7)], 2) == ""
    other: Any = lender.open_model(model, 1)
    assert other.network is not networks[0]


def test_a_refused_table_is_left_alone_and_weights_that_fail_are_tried_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = small_study(tmp_path / "m", prompt_variants=LISTED)
    results = write_inputs(study, tmp_path)
    n_nodes = len(answer.loads(study)[LOAD])
    for fails, n_tried, n_left in (("train", n_nodes, 2), ("", 2, n_nodes)):
        tried: list[Any] = []
        monkeypatch.setattr(answer, "_answer", partial(refuse, fails, tried))
        assert answer_all(study) == 0
        left = io.read_json(results / paths.ANSWERED.format(model="toy", variant="base"))["left"]
        assert (len(tried), len(left)) == (n_tried, n_left)
        assert all(fails in name for name in left)


def refuse(fails: str, tried: list[Any], *asked: Any) -> bool:
    """What refuses the runs of a split, or all runs for the same reason."""
    run = asked[3]
    tried.append(run)
    if fails in run["split"]:
        raise InputError(f"{run} is too long" if fails else "no weights")
    return True


def test_models_that_share_nothing_are_no_load(tmp_path: Path) -> None:
    services = {"backend": "openai", "model": "gpt", "base_url": "http://x/v1"}
    single = {"role": "test", "strata": ["sex"]}
    base = tmp_path / "m"
    judged = small_study(
        base,
        judges={
            "j": {
                "model": {"backend": "transformers", "model": str(base), "gpus": 0},
                "reference": {"model": "toy"},
                "rubric": "toy",
                "max_new_tokens": 8,
                "probes": 2,
            }
        },
    )
    assert set(answer.loads(judged)) == {LOAD, ("j", "base")}
    assert len(answer.loads(small_study(base, splits={"ood": single}, generation=None))) == 0
    assert len(answer.loads(small_study(base, models={"gpt": services}))) == 0


def test_check_counts_one_of_a_kind_as_one(tmp_path: Path) -> None:
    single = {"role": "test", "strata": ["sex"]}
    small = small_study(tmp_path / "m", splits={"ood": single}, prompt_variants=LISTED)
    shown = described(small)
    assert "splits ood (1 stratum); 1 model, 0 recipes, 0 judges, 1 prompt variant" in shown
    assert "splits train (1 stratum), ood (1 stratum); " in described(small_study(tmp_path / "m"))
