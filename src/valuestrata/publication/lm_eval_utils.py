"""Loading and scoring of a study's questionnaire in lm-evaluation-harness.

`valuestrata export --as lm-eval` writes this file as utils.py beside the tasks and the questions.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def load_split(split: str, **_: Any) -> dict[str, Any]:
    """The questions of one split, as the harness' data sets."""
    from datasets import Dataset

    text = (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8")
    return {"test": Dataset.from_list([json.loads(line) for line in text.splitlines()])}


def process_results(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Accuracy and NMAE of the likeliest reply; NMAE is NaN for a nominal question."""
    logprobs = [logprob for logprob, _ in results]
    code = doc["codes"][logprobs.index(max(logprobs))]
    distance = abs(code - doc["mode"]) / (doc["scale_max"] - doc["scale_min"])
    is_ordinal = doc["measurement_level"] == "ordinal"
    return {"acc": float(code == doc["mode"]), "nmae": distance if is_ordinal else math.nan}


def mean_of_ordinal(values: Sequence[float]) -> float:
    """The mean of the values that are numbers."""
    present = [value for value in values if value == value]
    return sum(present) / len(present) if present else math.nan
