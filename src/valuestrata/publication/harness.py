"""A study's questionnaire for other harnesses: Inspect and lm-evaluation-harness."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from valuestrata import io
from valuestrata.paths import resource
from valuestrata.prompting import prompts
from valuestrata.prompting.settings import prompt_settings
from valuestrata.study.study import Study
from valuestrata.tables import PAIR

LABEL_COLUMNS = (
    *PAIR,
    "block",
    "measurement_level",
    "scale_min",
    "scale_max",
    "mode",
    "tied",
    "n",
    "respondents",
)
"""What may be published of a pair's label."""


def items(study: Study, split: str, pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """The pairs of a split as they are asked: persona, prompt, codes, the reply of each, the mode.

    `target` is the mode's place among the codes. Codes are those that the study scores: the
    scale's, and others that occur in the survey.
    """
    template = prompt_settings(study).template
    rows = io.records(pairs[[*LABEL_COLUMNS, "persona", "closed_prompt", "codes"]])
    asked = []
    for row in rows:
        codes = [int(code) for code in row.pop("codes")]
        prompt = row.pop("closed_prompt")
        asked.append(
            {
                "id": "/".join((split, *(str(row[name]) for name in PAIR))),
                **row,
                "prompt": prompt,
                "codes": codes,
                "replies": [prompts.answer(template, code) for code in codes],
                "target": codes.index(row["mode"]),
            }
        )
    return asked


def write_inspect(study: Study, folder: Path, pairs: Mapping[str, pd.DataFrame]) -> None:
    """Write task.py, about.json and a file of questions for each split."""
    _write_items(study, folder, pairs)
    about = {
        "study": study.name,
        "title": study.title or study.name,
        "caveat": study.survey_caveat,
        "splits": _tests_first(study, pairs),
        "max_new_tokens": study.prediction.max_new_tokens,
    }
    io.write_json(about, folder / "about.json")
    shutil.copyfile(resource("publication/inspect_task.py"), folder / "task.py")


def write_lm_eval(study: Study, folder: Path, pairs: Mapping[str, pd.DataFrame]) -> None:
    """Write utils.py, and a task and a file of questions for each split."""
    _write_items(study, folder, pairs)
    pattern = resource("publication/lm_eval_task.yaml").read_text(encoding="utf-8")
    for split in pairs:
        task = pattern.replace("STUDY", study.name).replace("SPLIT", split)
        caveat = f"# {study.survey_caveat}\n" if study.survey_caveat else ""
        io.write_text(caveat + task, folder / f"{study.name}_{split}.yaml")
    shutil.copyfile(resource("publication/lm_eval_utils.py"), folder / "utils.py")


HARNESSES: Mapping[str, Callable[[Study, Path, Mapping[str, pd.DataFrame]], None]] = {
    "inspect": write_inspect,
    "lm-eval": write_lm_eval,
}
"""What writes the task of each harness."""


def _write_items(study: Study, folder: Path, pairs: Mapping[str, pd.DataFrame]) -> None:
    for split, frame in pairs.items():
        lines = [json.dumps(item, ensure_ascii=False) for item in items(study, split, frame)]
        io.write_text("".join(f"{line}\n" for line in lines), folder / f"{split}.jsonl")


def _tests_first(study: Study, pairs: Mapping[str, pd.DataFrame]) -> list[str]:
    tests = {name for name, split in study.splits.items() if split.role == "test"}
    return sorted(pairs, key=lambda split: split not in tests)
