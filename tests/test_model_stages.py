"""What the stages that ask a model take from a study, and how they end on the command line."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import asking, toys
from tests.study.parts import CONFIG, REMOVED, study
from valuestrata import io, paths, tables
from valuestrata.__main__ import main
from valuestrata.metrics import winrate
from valuestrata.records import Record
from valuestrata.stages import generate, judge, models, pool, predict, report
from valuestrata.stages.job import Job, at, expected
from valuestrata.study.base import Part
from valuestrata.study.models import LocalModel

SERVED = {"backend": "openai", "model": "gpt", "base_url": "http://x/v1"}
CV = {"role": "test", "strata": ["sex x age_group x religion"], "folds": {"of": 3}}
FOLDED = {
    "splits/cv": CV,
    "recipes/kf": {**CONFIG["recipes"]["sft"], "split": "cv"},
    "models/toy-llama/recipes": ["kf"],
}
RUN = {"model": "toy-llama", "variant": "sft", "split": "ood"}
BASE = {**RUN, "variant": "base"}
JUDGED = {**RUN, "judge": "toy-judge"}


def test_a_model_is_loaded_without_its_resources_and_a_toy_from_its_folder(tmp_path: Path) -> None:
    plain = models.loaded_model(study(), "toy-llama")
    assert isinstance(plain, LocalModel)
    assert (plain.model, plain.toy) == ("results/demo/models/toy-llama/base", None)
    many = {"gpus": 4, "threads": 9, "mem_mb": 999, "runtime": 9, "recipes": ["sft"]}
    resources = {f"models/toy-llama/{key}": value for key, value in many.items()}
    assert models.loaded_model(study(resources), "toy-llama") == plain
    longer = study({"models/toy-llama/max_length": 999})
    assert models.loaded_model(longer, "toy-llama") == plain.replace(max_length=999)
    assert models.loaded_model(study(), "toy-judge").model == "results/demo/models/toy-judge/base"
    with pytest.raises(ValueError, match="no language model"):
        models.loaded_model(study(), "axis-mode")

    words = toys.tokenizer("llama")
    folder = toys.save(toys.network("Llama", words), words, tmp_path)
    local = {"backend": "transformers", "model": str(folder)}
    both = study({"models/local": local, "models/closed": SERVED})
    weights = (str(folder / "model.safetensors"),)
    adapter = "results/demo/models/local/sft/adapter"
    assert models.model_files(both, "local") == {"weights": weights}
    assert models.model_files(both, "local", "sft+x") == {"weights": weights, "adapter": adapter}
    assert models.model_files(both, "closed") == {}
    toy = {"weights": "results/demo/models/toy-llama/base"}
    assert models.model_files(both, "toy-llama", "base+x") == toy


def test_stages_name_what_they_read_and_write() -> None:
    made = study()
    run = "results/demo/runs/toy-llama/sft/ood"
    assert predict.inputs(made, **RUN) == {
        "pairs": "results/demo/pairs/ood.parquet",
        "weights": "results/demo/models/toy-llama/base",
        "adapter": "results/demo/models/toy-llama/sft/adapter",
    }
    questions = {"questions": "results/demo/survey/questions.parquet"}
    assert generate.inputs(made, **RUN) == {**predict.inputs(made, **RUN), **questions}
    divided = study({"generation/stratify_by": "mds"})
    diversity = generate.inputs(divided, **RUN)["diversity"]
    assert diversity == "results/demo/survey/diversity.parquet"
    assert "adapter" not in predict.inputs(made, **BASE)
    assert predict.outputs(made, **RUN) == {"predictions": f"{run}/predictions.parquet"}
    assert generate.outputs(made, **RUN) == {"texts": f"{run}/texts.parquet"}
    reference = made.judges["toy-judge"].reference
    assert judge.inputs(made, **JUDGED) == {
        "pairs": ("results/demo/pairs/ood.parquet",),
        "texts": f"{run}/texts.parquet",
        "reference": at(made, paths.TEXTS, split="ood", **reference.model_dump()),
        "weights": "results/demo/models/toy-judge/base",
    }
    assert judge.outputs(made, **JUDGED) == {"verdicts": f"{run}/verdicts/toy-judge.parquet"}
    # the pairs of a variant in a prompt variant are those of the prompt variant
    worded = study({"prompt_variants/list": {"persona": "list", "template": "malay"}})
    variant = {**RUN, "variant": "sft+list"}
    files = predict.inputs(worded, **variant)
    assert files["pairs"] == "results/demo/pairs/ood+list.parquet"
    assert files["adapter"] == "results/demo/models/toy-llama/sft/adapter"
    assert variant in predict.runs(worded)
    assert variant not in generate.runs(worded)
    assert predict.settings(worded, **variant).template.startswith("malay@")
    assert predict.settings(worded, **RUN).template.startswith("english@")


def test_open_ended_answers_are_written_and_shown_without_a_judge() -> None:
    made = study({"judges": REMOVED})
    written = [generate.outputs(made, **run)["texts"] for run in generate.runs(made)]
    assert len(written) == 4
    assert sorted(report.inputs(made)["texts"]) == sorted(written)
    assert report.inputs(made)["verdicts"] == ()
    silent = report.inputs(study({"judges": REMOVED, "generation": REMOVED}))
    assert silent["texts"] == ()


def test_a_k_fold_recipe_is_answered_fold_by_fold_and_pooled() -> None:
    made = study(FOLDED)
    folds = [
        {"model": "toy-llama", "variant": f"kf-{i}", "split": f"cv-test-{i}"} for i in (1, 2, 3)
    ]
    pooled = {"model": "toy-llama", "variant": "kf", "split": "cv"}
    asked = predict.runs(made)
    tuned = [run for run in asked if run["variant"].startswith("kf")]
    assert [run for run in tuned if run["model"] == "toy-llama"] == folds
    assert [run for run in pool.runs(made) if run["model"] == "toy-llama"] == [pooled]
    assert {"model": "toy-llama", "variant": "base", "split": "cv"} in asked
    assert not [run for run in asked if made.is_baseline(run["model"])]
    assert pool.inputs(made, **pooled)["predictions"] == tuple(
        predict.outputs(made, **fold)["predictions"] for fold in folds
    )
    (path,) = pool.outputs(made, **pooled).values()
    assert path == predict.outputs(made, **pooled)["predictions"]


def test_folds_that_are_no_partition_are_an_error(tmp_path: Path) -> None:
    pairs = toys.pairs()
    predictions = _predictions(pairs)
    pooled_path = str(tmp_path / "pooled.parquet")
    files = {"pairs": asking.write_pairs(tmp_path, pairs), "pooled": pooled_path}
    for cut, is_partition in ((6, True), (5, False)):
        parts = [predictions[6:], predictions[:cut]]
        for i, part in enumerate(parts):
            io.write_table(part, tmp_path / f"{i}.parquet", tables.PREDICTIONS, asking.MADE_OF)
        job: Job[Any] = Job(
            pool.Settings(caveat="toy"),
            {**files, "predictions": tuple(str(tmp_path / f"{i}.parquet") for i in range(2))},
            Record("pool", {}, {"caveat": "toy"}),
        )
        if is_partition:
            pool.run(job)
            pooled = io.read_table(files["pooled"], tables.PREDICTIONS)
            assert pooled["text"].to_list() == predictions["text"].to_list()
            assert io.caveat_of(files["pooled"]) == "toy"
        else:
            with pytest.raises(ValueError, match="not a partition"):
                pool.run(job)


def _predictions(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[["stratum", "subgroup", "question", "codes"]].assign(
        text=[str(i) for i in range(len(pairs))],
        outcome="invalid",
        answer=pd.NA,
        logprobs=None,
        distribution=None,
        non_option_mass=np.nan,
        unread_mass=np.nan,
        passes=None,
        prompt_tokens=7,
        thought=None,
        finish_reason="stop",
        prompt_hash="hash",
        model_version="toy",
        adapter="",
        adapter_shift=None,
        notes="",
    )


def test_caveats_name_a_simulated_survey_and_toys() -> None:
    """Verdicts: the toys among judge, judged model and reference."""
    made = study()
    assert predict.settings(made, **RUN).caveat == "simulated survey, toy model"
    assert generate.settings(made, **RUN).caveat == "simulated survey, toy model"
    assert judge.settings(made, **JUDGED).caveat == made.caveat == "simulated survey, toy models"
    closed = study(
        {
            "models/closed": SERVED,
            "judges/closed-judge": {"model": SERVED, "reference": {"model": "closed"}},
            "judges/mixed": {"model": SERVED, "reference": {"model": "toy-qwen"}},
        }
    )
    run = {"model": "closed", "variant": "base", "split": "ood"}
    for name, model, caveat in (
        ("closed-judge", "closed", "simulated survey"),
        ("closed-judge", "toy-llama", "simulated survey, toy model"),
        ("mixed", "closed", "simulated survey, toy model"),
        ("mixed", "toy-qwen", "simulated survey, toy model"),
        ("mixed", "toy-llama", "simulated survey, toy models"),
    ):
        settings = judge.settings(closed, **{**run, "model": model}, judge=name)
        assert settings.caveat == caveat, (name, model)


def test_code_of_other_backends_and_training_is_no_part_of_an_answers_record() -> None:
    fast = {**CONFIG["models"]["toy-llama"], "backend": "vllm"}
    made = study({"models/closed": SERVED, "models/fast": fast})
    rooms = {}
    for model in ("toy-llama", "fast", "closed"):
        run = {"model": model, "variant": "base", "split": "ood"}
        record = expected(made, "predict", run).record
        rooms[model] = {key.split(":")[0].removeprefix("valuestrata.") for key in record.code}
        assert not any(room.startswith(("training", "demo", "report")) for room in rooms[model])
    backends = {f"inference.{name}" for name in ("transformers", "vllm", "openai")}
    assert rooms["toy-llama"] & backends == {"inference.transformers"}
    assert rooms["fast"] & backends == {"inference.vllm"}
    assert rooms["closed"] & backends == {"inference.openai"}
    assert "inference.chat" not in rooms["closed"]


def test_the_cache_lies_beside_the_study_or_where_it_is_told(tmp_path: Path) -> None:
    options = Namespace(study=str(tmp_path / "results/demo/study.json"), cache=None)
    job: Job[Part] = Job(pool.Settings(caveat=""), {}, Record("predict", RUN, {}), options)
    folder = tmp_path / "results/demo/replies/toy-llama/sft/predict"
    assert models.reply_cache(job, "predict").folder == folder
    options.cache = str(tmp_path / "elsewhere")
    assert models.reply_cache(job, "predict").folder == tmp_path / "elsewhere"


def test_without_a_gpu_that_it_needs_a_stage_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("valuestrata.inference.local.load_chat", pytest.fail)
    monkeypatch.setattr("valuestrata.inference.hub.snapshot", pytest.fail)
    big = {"backend": "transformers", "model": "a/b", "revision": "0" * 40}
    # a rubric that shows the judge no answers of the survey
    judged_by = {"model": big, "rubric": "toy", "reference": {"model": "big"}}
    made = study({"models/big": big, "judges/big-judge": judged_by})
    (tmp_path / "study.json").write_text(made.to_json(), encoding="utf-8")
    texts = pd.DataFrame(
        {
            **{name: toys.pairs()[name] for name in tables.PAIR},
            "wording": "question",
            "prompt": "Why?",
            "text": "So.",
            "outcome": "answer",
            "declines": False,
            "prompt_tokens": None,
            "completion_tokens": None,
            "thought": None,
            "finish_reason": None,
            "prompt_hash": "x",
            "model_version": "x",
            "adapter": "",
            "adapter_shift": None,
            "notes": "",
        }
    )
    io.write_table(texts, tmp_path / "texts.parquet", tables.TEXTS, asking.MADE_OF)
    asking.write_pairs(tmp_path)
    questions = toys.question_table()
    io.write_table(questions, tmp_path / "questions.parquet", tables.QUESTIONS, asking.MADE_OF)
    for stage, files, where in (
        ("predict", ("pairs",), "models.big"),
        ("generate", ("pairs", "questions"), "models.big"),
        ("judge", ("pairs", "texts", "reference=texts"), "judges.big-judge.model"),
    ):
        command = [stage, "--study", "study.json", "--model", "big", "--variant", "base"]
        command += ["--split", "ood", "--gpus", "2"]
        command += ["--judge", "big-judge"] if stage == "judge" else []
        for file in files:
            name, _, path = file.partition("=")
            command += ["--file", f"{name}={path or name}.parquet"]
        assert main(command) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line == (f"valuestrata {stage}: no GPU found; set {where}.gpus: 0 to run on a CPU")


def test_scores_of_both_orders_are_their_mean_and_flip_with_the_winner() -> None:
    first = np.array([1.0, 1.0, 0.0, 0.5, 1.0, np.nan, 0.0])
    second = winrate.flip_score(np.array([0.0, 1.0, 1.0, 0.5, 0.5, 0.0, np.nan]))
    np.testing.assert_array_equal(second, [1.0, 0.0, 0.0, 0.5, 0.5, 1.0, np.nan])
    np.testing.assert_array_equal(
        winrate.score(first, second), [1.0, 0.5, 0.0, 0.5, 0.75, np.nan, np.nan]
    )
    np.testing.assert_array_equal(winrate.flipped(first, second), [0, 1, 0, 0, 1, np.nan, np.nan])
