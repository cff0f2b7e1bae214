"""What bench/gpu.py measures of whole processes: the stages finetune and predict, and vLLM."""

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench import data, questionnaire
from bench.gpu_work import OURS, TEXT_TOKENS, Row, Shape, Unit, text_prompts
from valuestrata import io, tables
from valuestrata.inference.local import load_chat
from valuestrata.inference.protocol import Sampling
from valuestrata.inference.vllm import VllmBackend
from valuestrata.records import Record
from valuestrata.study.models import VllmModel
from valuestrata.study.study import Study

STAGES = ("finetune", "predict")
FIRST = re.compile(r"have [1-9]\d* of \d+ replies")
"""The log line that tells of a stage's first replies."""
RECIPES = {"plain": "plain", "shared": "shared_prefix"}


def units(shape: Shape, folder: Path, weights: Path, where: torch.device) -> list[Unit]:
    """Both stages from process start to artefact, and vLLM's scoring of the same pairs."""
    write_study(folder, shape, weights, where)

    def tune(recipe: str) -> Unit:
        files = {"pairs": "train.parquet", "adapter": f"adapter-{recipe}"}
        more = ["--recipe", recipe, "--checkpoints", str(folder / "checkpoints")]
        return stage(folder, "finetune", files, more, shape.pairs[0], RECIPES[recipe])

    def predict(variant: str) -> Unit:
        files = {"pairs": "ood.parquet", "predictions": f"predictions-{variant}.parquet"}
        if variant != "base":
            files["adapter"] = f"adapter-{variant}"
        more = ["--variant", variant, "--split", "ood", "--cache", str(folder / "cache" / variant)]
        return stage(folder, "predict", files, more, shape.pairs[1], variant)

    about: Row = {"tool": "vLLM, backend of ours", "order": "persona", "batch": None}
    layout = f"{TEXT_TOKENS} tokens each"
    return [
        tune("plain"),
        predict("plain"),
        predict("base"),
        tune("shared"),
        Unit({**about, "work": "scoring"}, partial(vllm_scores, weights, shape, where)),
        Unit(
            {**about, "work": "texts", "layout": layout}, partial(vllm_texts, weights, shape, where)
        ),
    ]


def stage(
    folder: Path, name: str, files: dict[str, str], more: list[str], pairs: int, what: str
) -> Unit:
    """Seconds of a stage's process, from its start to its end, and to its first replies."""
    command = [sys.executable, "-m", "valuestrata", name, "--study", str(folder / "study.json")]
    command += ["--model", "bench", *more]
    for key, file in files.items():
        command += ["--file", f"{key}={folder / file}"]
    environment = {**os.environ, "PYTHONPATH": str(data.ROOT / "src"), "HF_HUB_OFFLINE": "1"}

    def run() -> Row:
        begun, first, lines = time.perf_counter(), None, [""]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            for line in process.stderr or ():
                lines = [*lines[-20:], line.strip()]
                if first is None and FIRST.search(line):
                    first = time.perf_counter() - begun
        seconds = time.perf_counter() - begun
        if process.returncode:
            return {"skipped": f"failed: {next(filter(None, reversed(lines)), 'no message')}"}
        row = {"samples_per_s": pairs / seconds, "seconds": seconds, "pairs": pairs}
        return row if first is None else {**row, "first_s": first}

    about: Row = {"work": name, "tool": OURS, "order": "persona", "batch": None, "layout": what}
    return Unit(about, run)


def vllm_scores(weights: Path, shape: Shape, where: torch.device) -> Row:
    """Scoring by the backend vllm, once its engine has started."""
    if not importlib.util.find_spec("vllm"):
        return {"skipped": "vllm is not installed"}
    asked = [a.request for a in questionnaire.ask("persona", 48, 214)][: shape.pairs[1]]
    model = _engine(weights, where)
    return _timed(len(asked), lambda: model.score(asked, 8))


def vllm_texts(weights: Path, shape: Shape, where: torch.device) -> Row:
    """Texts by the same engine, to the prompts of the row of ours."""
    if not importlib.util.find_spec("vllm"):
        return {"skipped": "vllm is not installed"}
    asked = [a.request.messages for a in text_prompts(shape, "persona")]
    model = _engine(weights, where)
    return _timed(len(asked), lambda: model.generate(asked, Sampling(TEXT_TOKENS)))


@cache
def _engine(weights: Path, where: torch.device) -> VllmBackend:
    """The backend vllm with its engine running: one fills a GPU."""
    dtype = "bfloat16" if where.type == "cuda" else "float32"
    config = VllmModel(backend="vllm", model=str(weights), dtype=dtype)
    model = VllmBackend(config, load_chat(config))
    asked = [a.request.messages for a in questionnaire.ask("persona", 2, 4)]
    model.generate(asked, Sampling(4))  # the engine starts at the first call
    return model


def _timed(n: int, work: Callable[[], Any]) -> Row:
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    return {"samples_per_s": n / seconds, "seconds": seconds}


def write_study(folder: Path, shape: Shape, weights: Path, where: torch.device) -> None:
    """A study of one model, and the pairs of both of its splits."""
    gpus = int(where.type == "cuda")
    recipe = {"method": "sft", "split": "train", "learning_rate": 1e-5, "batch_size": 32}
    study = Study.model_validate(
        {
            "study": "bench",
            "survey": {
                "name": "No survey",
                "country": "Nowhere",
                "file": "none.csv",
                "respondent": "id",
                "codebook": "none.yaml",
                "axes": {"sex": {"column": "sex", "groups": {"1": "male", "2": "female"}}},
            },
            "splits": {
                "train": {"role": "train", "strata": ["sex"]},
                "ood": {"role": "test", "strata": ["sex"]},
            },
            "models": {
                "bench": {
                    "backend": "transformers",
                    "model": str(weights),
                    "dtype": "bfloat16",
                    "gpus": gpus,
                    "max_batch_tokens": shape.max_batch_tokens,
                }
            },
            "recipes": {
                name: {**recipe, "batch_layout": layout} for name, layout in RECIPES.items()
            },
        }
    )
    (folder / "study.json").write_text(study.to_json(), encoding="utf-8")
    for split, n in zip(("train", "ood"), shape.pairs, strict=True):
        record = Record("pairs", {"split": split}, {"caveat": ""})
        path = folder / f"{split}.parquet"
        io.write_table(pairs_table(n), path, tables.PAIRS, record)


def pairs_table(n: int) -> pd.DataFrame:
    """Pairs of the paper's personas with its questions; their answers are made up."""
    questions = min(n, 214)
    asked = questionnaire.ask("persona", -(-n // questions), questions)[:n]
    persona = {name: i for i, name in enumerate(dict.fromkeys(a.persona for a in asked))}
    question = {name: i for i, name in enumerate(dict.fromkeys(a.question for a in asked))}
    records: list[dict[str, Any]] = [
        {
            "stratum": "sex",
            "subgroup": f"sex=group {persona[a.persona]}",
            "question": f"Q{question[a.question]}",
            "block": "values",
            "measurement_level": "ordinal",
            "scale_min": a.codes[0],
            "scale_max": a.codes[-1],
            "mode": a.codes[i % len(a.codes)],
            "tied": False,
            "codes": list(a.codes),
            "labels": [""] * len(a.codes),
            "distribution": [1 / len(a.codes)] * len(a.codes),
            "n": 100,
            "respondents": 100,
            "persona": a.first,
            "closed_prompt": a.second,
        }
        for i, a in enumerate(asked)
    ]
    return pd.DataFrame(records)
