"""What the page's explorer shows: people's answers, a run's answers, prompts and replies. Pure.

A part is a split's survey side, its prompts in one wording, or a run. Each is a mapping of equally
long lists, an entry a pair, in the order of the split's pairs. Shares are in percent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from valuestrata.io import records
from valuestrata.report.packed import repacked
from valuestrata.report.results import cell_label, stratum_label
from valuestrata.report.runs import RunKey, label, splits
from valuestrata.report.samples import MIN_N
from valuestrata.report.settings import ReportSettings
from valuestrata.study.study import variant_parts
from valuestrata.tables import OUTCOMES, PAIR

MAX_REPLY = 400
"""Characters of a reply that the page holds."""
MAX_REPLIES = 6_000_000
"""Characters of different replies that the page holds, over all runs."""
PromptKey = tuple[str, str]
"""A split and a prompt variant, '' for the study's own prompt."""


@dataclass(frozen=True)
class Explorer:
    """The parts by name, and what the page lists: runs by split, and what is left out of replies.

    Attributes:
        parts: what `pack` of packed.py takes, by name.
        runs: for each split its runs: name, its own part, and the part with its prompts.
        min_n: fewest valid answers and respondents of a pair that is shown.
        n_hidden: pairs of fewer, which no part holds.
        n_left_out: replies whose text the page does not hold, over all runs.
    """

    parts: Mapping[str, Any]
    runs: Mapping[str, list[dict[str, str]]]
    min_n: int
    n_hidden: int
    n_left_out: int


def explorer(
    settings: ReportSettings,
    questions: pd.DataFrame,
    pairs: Mapping[PromptKey, pd.DataFrame],
    predictions: Mapping[RunKey, pd.DataFrame],
) -> Explorer:
    """All parts.

    Args:
        settings: the study's minimum sizes, and how runs are called.
        questions: the table `questions`.
        pairs: the table `pairs` of each split in each of its wordings.
        predictions: the table `predictions` of each run.
    """
    parts: dict[str, Any] = {}
    shown: dict[str, pd.DataFrame] = {}
    min_n = max(MIN_N, settings.min_pair_n, settings.min_subgroup_n)
    n_hidden = 0
    for (split, wording), frame in pairs.items():
        if not wording:
            is_large = (frame["n"] >= min_n) & (frame["respondents"] >= min_n)
            shown[split] = frame[is_large].reset_index(drop=True)
            n_hidden += len(frame) - len(shown[split])
            parts[f"survey-{split}"] = _survey(shown[split], questions)
    for (split, wording), frame in pairs.items():
        parts[f"prompts-{split}-{wording}"] = _prompts(_aligned(frame, shown[split]))
    runs: dict[str, list[dict[str, str]]] = {}
    budget = MAX_REPLIES // max(1, len(predictions))
    for i, ((model, variant, split), frame) in enumerate(predictions.items()):
        name = f"run-{i}"
        parts[name] = _run(_aligned(frame, shown[split]), shown[split], budget)
        wording = variant_parts(variant)[1]
        entry = {"name": label((model, variant), settings), "part": name}
        runs.setdefault(split, []).append({**entry, "prompts": f"prompts-{split}-{wording}"})
    n_left_out = sum(part["left_out"] for key, part in parts.items() if key.startswith("run-"))
    runs = {split: runs[split] for split in splits(settings) if split in runs}
    return Explorer(parts, runs, min_n, n_hidden, n_left_out)


def without_small(page: str, min_n: int) -> str:
    """A page whose explorer says nothing of pairs with fewer valid answers or respondents."""

    def hide(part: dict[str, Any]) -> dict[str, Any]:
        sizes = [part["subgroups"][subgroup]["n"] for subgroup in part["subgroup"]]
        is_small = [min(sizes[i], n) < min_n for i, n in enumerate(part["n"])]
        for name in ("mode", "tied", "n", "shares"):
            pairs = zip(part[name], is_small, strict=True)
            part[name] = [None if small else value for value, small in pairs]
        return part

    return repacked(page, "survey-", hide)


def _aligned(frame: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """A row a pair, in the pairs' order; missing values where the frame has no such pair."""
    return frame.set_index(PAIR).reindex(pd.MultiIndex.from_frame(pairs[PAIR])).reset_index()


def _survey(pairs: pd.DataFrame, questions: pd.DataFrame) -> dict[str, Any]:
    """Subgroups, questions with their options, and each pair's distribution, mode, tie and n."""
    topics = dict(zip(questions["question"], questions["topic"], strict=True))
    return {
        "subgroups": [
            {
                "name": cell_label(str(row["subgroup"])),
                "stratum": stratum_label(str(row["stratum"])),
                "n": int(row["respondents"]),
            }
            for row in records(pairs.drop_duplicates("subgroup"))
        ],
        "questions": [
            {
                "id": str(row["question"]),
                "topic": str(topics.get(row["question"], "")),
                "block": str(row["block"]),
                "ordinal": row["measurement_level"] == "ordinal",
                "low": int(row["scale_min"]),
                "high": int(row["scale_max"]),
            }
            for row in records(pairs.drop_duplicates("question"))
        ],
        "subgroup": pd.factorize(pairs["subgroup"])[0].tolist(),
        "question": pd.factorize(pairs["question"])[0].tolist(),
        **_options(pairs),
        "mode": pairs["mode"].tolist(),
        "tied": pairs["tied"].astype(int).tolist(),
        "n": pairs["n"].tolist(),
        "shares": _percents(pairs["distribution"]),
    }


def _options(pairs: pd.DataFrame) -> dict[str, Any]:
    """The different lists of options, and which of them each pair has."""
    keys = [
        (tuple(map(int, codes)), tuple(map(str, labels)))
        for codes, labels in zip(pairs["codes"], pairs["labels"], strict=True)
    ]
    distinct = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    lists = [{"codes": codes, "labels": labels} for codes, labels in distinct]
    return {"options": lists, "option": [distinct[key] for key in keys]}


def _prompts(pairs: pd.DataFrame) -> dict[str, Any]:
    """Both messages of each pair's prompt, every text once."""
    part: dict[str, Any] = {}
    for name, column in (("first", "persona"), ("second", "closed_prompt")):
        index, texts = pd.factorize(pairs[column])
        part[name], part[f"{name}_texts"] = index.tolist(), [str(text) for text in texts]
    return part


def _run(predictions: pd.DataFrame, pairs: pd.DataFrame, budget: int) -> dict[str, Any]:
    """A run's outcome, answer, probabilities and reply for each pair; -1 and null where none."""
    outcomes = {name: i for i, name in enumerate(OUTCOMES)}
    codes = predictions["outcome"].map(outcomes).astype("float64").fillna(-1).astype(int)
    answers = predictions["answer"].astype("Int64")
    is_read = [
        np.ndim(scored) == 1 and list(scored) == list(options)
        for scored, options in zip(predictions["codes"], pairs["codes"], strict=True)
    ]
    return {
        "outcome": codes.tolist(),
        "answer": [None if pd.isna(answer) else int(answer) for answer in answers],
        "shares": _percents(predictions["distribution"].where(pd.Series(is_read))),
        **_replies(predictions["text"], _priority(predictions, pairs), budget),
    }


def _priority(predictions: pd.DataFrame, pairs: pd.DataFrame) -> np.ndarray:
    """Rows by how much a reader would want the reply: no answer first, then the largest errors."""
    error = (predictions["answer"] - pairs["mode"]).abs().astype("float64")
    error /= (pairs["scale_max"] - pairs["scale_min"]).astype("float64").clip(lower=1)
    return np.argsort(-error.fillna(np.inf).to_numpy(), kind="stable")


def _replies(texts: pd.Series, order: np.ndarray, budget: int) -> dict[str, Any]:
    """Each different reply once, as far as a budget of characters goes; -2: left out, -1: none."""
    values = [None if pd.isna(text) else _shortened(str(text)) for text in texts.astype("object")]
    numbers: dict[str, int] = {}
    index = [-1] * len(values)
    for row in order.tolist():
        text = values[row]
        if text is None:
            continue
        if text not in numbers and budget >= len(text):
            numbers[text] = len(numbers)
            budget -= len(text)
        index[row] = numbers.get(text, -2)
    return {"reply": index, "replies": list(numbers), "left_out": index.count(-2)}


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_REPLY else f"{text[:MAX_REPLY]} …"


def _percents(column: pd.Series) -> list[list[int] | None]:
    """Shares as whole percentages, null where there are none."""
    present = [shares for shares in column if np.ndim(shares) == 1]
    lengths = [len(shares) for shares in present]
    flat = np.rint(100 * np.concatenate(present)).astype(int).tolist() if present else []
    ends = np.cumsum(lengths).tolist()
    parts = iter([flat[end - size : end] for end, size in zip(ends, lengths, strict=True)])
    return [next(parts) if np.ndim(shares) == 1 else None for shares in column]
