"""The stages that ask a model, run on tables in a folder."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests import toys
from valuestrata import io, tables
from valuestrata.prompting.open_questions import OpenQuestions
from valuestrata.records import Record
from valuestrata.stages import generate as generate_stage
from valuestrata.stages import judge as judge_stage
from valuestrata.stages import predict as predict_stage
from valuestrata.stages.job import Job

RUN = {"model": "toy", "variant": "base", "split": "test"}
MADE_OF = Record("pairs", {}, {})


def options(folder: Path, cache: str) -> Namespace:
    """Options of a stage: its cache lies in the folder."""
    return Namespace(threads=1, gpus=0, cache=str(folder / cache))


def job(settings: Any, files: dict[str, str], options: Namespace, **run: str) -> Job[Any]:
    """A job of a stage; files that are '' are left out."""
    files = {name: path for name, path in files.items() if path}
    return Job(settings, files, Record("test", {**RUN, **run}, {}), options)


def write_pairs(folder: Path, pairs: pd.DataFrame | None = None) -> str:
    """The path of a table of pairs."""
    path = folder / "pairs.parquet"
    io.write_table(toys.pairs() if pairs is None else pairs, path, tables.PAIRS, MADE_OF)
    return str(path)


def predict(
    folder: Path,
    model: Any,
    pairs: pd.DataFrame | None = None,
    adapter: Path | None = None,
    cache: str = "cache",
    max_new_tokens: int = 16,
    constrained: bool = False,
) -> pd.DataFrame:
    """Structured answers of a model."""
    output = str(folder / "predictions.parquet")
    files = {"pairs": write_pairs(folder, pairs), "adapter": str(adapter or "")}
    predict_stage.run(
        job(
            predict_stage.Settings(
                model=model,
                template="english",
                max_new_tokens=max_new_tokens,
                constrained=constrained,
                caveat="toy",
            ),
            {**files, "predictions": output},
            options(folder, cache),
        )
    )
    return io.read_table(output, tables.PREDICTIONS)


def generate(
    folder: Path,
    model: Any,
    pairs: pd.DataFrame | None = None,
    adapter: Path | None = None,
    cache: str = "cache",
    output: str = "texts.parquet",
    **changes: Any,
) -> pd.DataFrame:
    """Open-ended answers of a model."""
    settings = {"per_subgroup": 2, "max_new_tokens": 12, "temperature": 0.0, "seed": 1}
    worded = {"open_questions": OpenQuestions(file="english")}
    path, asked = str(folder / output), folder / "questions.parquet"
    io.write_table(toys.question_table(), asked, tables.QUESTIONS, MADE_OF)
    generate_stage.run(
        job(
            generate_stage.Settings(model=model, caveat="toy", **{**settings, **worded, **changes}),
            {
                "pairs": write_pairs(folder, pairs),
                "questions": str(asked),
                "adapter": str(adapter or ""),
                "texts": path,
            },
            options(folder, cache),
        )
    )
    return io.read_table(path, tables.TEXTS)


def judge(
    folder: Path,
    model: Any,
    reference: str = "texts.parquet",
    cache: str = "judge-cache",
    max_new_tokens: int = 16,
    **changes: Any,
) -> pd.DataFrame:
    """Verdicts of a model on texts.parquet."""
    output = str(folder / "verdicts.parquet")
    judge_stage.run(
        job(
            judge_stage.Settings(
                model=model,
                max_new_tokens=max_new_tokens,
                caveat="toy",
                **{"rubric": "pairwise", **changes},
            ),
            {
                "pairs": str(folder / "pairs.parquet"),
                "texts": str(folder / "texts.parquet"),
                "reference": str(folder / reference),
                "verdicts": output,
            },
            options(folder, cache),
            judge="judge",
        )
    )
    return io.read_table(output, tables.VERDICTS)


def cached(folder: Path) -> list[dict[str, Any]]:
    """The replies in a cache's folder, with their keys."""
    lines = [line for s in sorted(folder.glob("*.jsonl")) for line in s.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def alike(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Two tables of predictions are the same, numbers up to 1e-5."""
    numbers = ["logprobs", "distribution"]
    exact = one.columns.difference([*numbers, "non_option_mass"])
    pd.testing.assert_frame_equal(one[exact], other[exact], check_exact=True)
    np.testing.assert_allclose(one["non_option_mass"], other["non_option_mass"], atol=1e-5)
    for name in numbers:
        for a, b in zip(one[name], other[name], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
