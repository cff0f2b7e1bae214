"""Results of a study that has been judged, made without a model: pairs, texts and verdicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.contracts import Contract
from valuestrata.stages.job import at, expected
from valuestrata.study.study import Study

STRATUM = "age_group-x-religion"
DIMENSIONS = ("Value", "Persona", "Overall")
MANNERS = ("As someone of my age, I have a view.", "I would say no.", "For me, it works.")
HACK = "document.title='hacked'"
NASTY = f'</script><script>{HACK}</script><img src=x onerror="{HACK}">'
"""What a text may hold that must stay text."""


def write_results(
    study: Study,
    subgroups: int = 4,
    questions: int = 20,
    dimensions: Sequence[str] = DIMENSIONS,
    texts: dict[str, str] | None = None,
) -> None:
    """Write what `annotate` reads, below the working directory; texts by question replace some."""
    names = [f"age_group={16 + i} & religion=no religion" for i in range(subgroups)]
    keys = [(STRATUM, name, f"Q{q}") for name in names for q in range(questions)]
    pair = pd.DataFrame(keys, columns=tables.PAIR)
    for split in study.generation.splits if study.generation else ():
        write(study, "pairs", paths.PAIRS, tables.PAIRS, pairs_table(pair), split=split)
    for model, variant, split in study.generation_runs():
        run = {"model": model, "variant": variant, "split": split}
        frame = texts_table(pair, f"{model} {variant}", texts or {})
        write(study, "generate", paths.TEXTS, tables.TEXTS, frame, **run)
    for i, (model, variant, split, judge) in enumerate(study.judgements()):
        run = {"model": model, "variant": variant, "split": split, "judge": judge}
        frame = verdicts_table(pair, dimensions, seed=i)
        stage = "panel" if study.panel(judge) else "judge"
        write(study, stage, paths.VERDICTS, tables.VERDICTS, frame, **run)


def write(
    study: Study, stage: str, pattern: str, contract: Contract, frame: pd.DataFrame, **run: str
) -> None:
    """Write a table as its stage would, with the record that the study asks for."""
    path = at(study, pattern, **run)
    io.write_table(frame, path, contract, expected(study, stage, run).record)


def pairs_table(pair: pd.DataFrame) -> pd.DataFrame:
    n = len(pair)
    return pair.assign(
        block="values", measurement_level="ordinal", scale_min=1, scale_max=4, mode=1, tied=False,
        codes=[[1, 2, 3, 4]] * n, labels=[["a", "b", "c", "d"]] * n,
        distribution=[[0.25] * 4] * n, n=100, respondents=123456,
        persona=[f"You are {name}." for name in pair["subgroup"]], closed_prompt="a number?",
    )  # fmt: skip


def questions_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """A table of questions for the pairs."""
    frame = pairs.drop_duplicates("question").rename(columns={"n": "answers"})
    columns = {c.name: c for c in tables.QUESTIONS.columns}
    for name, column in columns.items():
        if name not in frame:
            blank = {"text": "x", "int": 1, "float": 1.0, "bool": False}
            frame[name] = [blank.get(column.dtype, [])] * len(frame)
    frame["text"] = [f"Text of {question}?" for question in frame["question"]]
    return frame[[*columns]]


def texts_table(pair: pd.DataFrame, run: str, texts: dict[str, str]) -> pd.DataFrame:
    """Answers in the toys' manners, which a run draws anew for each pair."""
    rng = np.random.default_rng(sum(map(ord, run)))
    written = []
    for question in pair["question"]:
        parts = [part for part in MANNERS if rng.random() < 0.5]
        written.append(texts.get(question, "") + " ".join([f"On {question}.", *parts]))
    return pair.assign(
        prompt=[f"What of {question}?" for question in pair["question"]], text=written,
        wording="question", outcome="answer", declines=False, thought=None, finish_reason="stop",
        prompt_tokens=9, completion_tokens=9,
        prompt_hash="h", model_version="w", adapter="", adapter_shift=None, notes="",
    )  # fmt: skip


def verdicts_table(pair: pd.DataFrame, dimensions: Sequence[str], seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = pair.loc[pair.index.repeat(len(dimensions))].reset_index(drop=True)
    orders = rng.choice([0.0, 0.5, 1.0], size=(len(rows), 2), p=[0.4, 0.2, 0.4])
    orders[:, 1] = np.where(rng.random(len(rows)) < 0.7, orders[:, 0], orders[:, 1])
    return rows.assign(
        dimension=list(dimensions) * len(pair), outcome="verdict", as_first=orders[:, 0],
        as_second=orders[:, 1], score=orders.mean(axis=1), flipped=orders[:, 0] != orders[:, 1],
        length_difference=0, judge_version="j", judge_notes="",
    )  # fmt: skip


def annotations(
    key: dict[str, Any], annotator: str, choices: dict[str, dict[str, str]], folder: Path
) -> Path:
    """A csv file as the page saves it; choices by sample id and dimension."""
    rows = ["sample_id,annotator,dimension,choice,seconds"]
    for item in key["items"]:
        for dimension, choice in choices.get(item["sample_id"], {}).items():
            rows.append(f"{item['sample_id']},{annotator},{dimension},{choice},12.5")
    path = folder / f"{annotator}.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
