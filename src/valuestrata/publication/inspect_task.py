"""A study's questionnaire as an Inspect task: `inspect eval task.py -T split=ood --model ...`.

`valuestrata export --as inspect` writes this file beside about.json and the questions; it needs
inspect-ai and nothing else. A sample is one persona with one question; its target is the modal
answer of that subgroup. An answer counts where the reply gives one code in the form asked for.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import (
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    mean,
    metric,
    scorer,
    stderr,
)
from inspect_ai.solver import TaskState, generate

FOLDER = Path(__file__).parent
ABOUT: dict[str, Any] = json.loads((FOLDER / "about.json").read_text(encoding="utf-8"))


@task
def questionnaire(split: str = ABOUT["splits"][0]) -> Task:
    """The personas of one split; greedy, as in the study."""
    dataset = json_dataset(
        str(FOLDER / f"{split}.jsonl"), to_sample, name=f"{ABOUT['study']} {split}"
    )
    return Task(
        dataset=dataset,
        solver=generate(),
        scorer=modal_answer(),
        config=GenerateConfig(temperature=0.0, max_tokens=ABOUT["max_new_tokens"]),
        metadata={"title": ABOUT["title"], "caveat": ABOUT["caveat"]},
    )


def to_sample(item: dict[str, Any]) -> Sample:
    """A question of the file as a sample."""
    messages = [ChatMessageSystem(content=item["persona"]), ChatMessageUser(content=item["prompt"])]
    return Sample(input=messages, target=str(item["mode"]), id=item["id"], metadata=item)


@metric
def mean_of_answers() -> Metric:
    """The mean over samples that have a value: ordinal questions that were answered."""

    def compute(scores: list[SampleScore]) -> float:
        values = [score.score.as_float() for score in scores]
        present = [value for value in values if not math.isnan(value)]
        return sum(present) / len(present) if present else math.nan

    return compute


@scorer(
    metrics={
        "accuracy": [mean(), stderr(cluster="question")],
        "answered": [mean(), stderr(cluster="question")],
        "nmae": [mean_of_answers()],
    }
)
def modal_answer() -> Scorer:
    """Accuracy over all samples (no answer is not met), the share answered, NMAE of answers.

    NMAE is NaN in a sample that has none: a nominal question, or no answer.
    """

    async def score(state: TaskState, target: Target) -> Score:
        item = state.metadata
        code = read_code(state.output.completion, item["codes"], item["replies"])
        has_distance = code is not None and item["measurement_level"] == "ordinal"
        width = item["scale_max"] - item["scale_min"]
        return Score(
            value={
                "accuracy": float(code == item["mode"]),
                "answered": float(code is not None),
                "nmae": abs((code or 0) - item["mode"]) / width if has_distance else math.nan,
            },
            answer=None if code is None else str(code),
        )

    return score


def read_code(text: str, codes: list[int], replies: list[str]) -> int | None:
    """The one code that a reply gives: after the words asked for, or as all of the text."""
    plain = re.sub(r"[*_`]", "", text).strip()
    before = re.escape(replies[0].removesuffix(str(codes[0])).strip())
    given = {int(digits) for digits in re.findall(rf"{before}\s*(-?\d+)(?![\d.,]*\d)", plain)}
    if re.fullmatch(r"-?\d+\.?", plain):
        given.add(int(plain.rstrip(".")))
    return given.pop() if len(given) == 1 and given <= set(codes) else None
