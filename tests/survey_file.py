"""A small survey file of a test's own, and how it is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from valuestrata.errors import InputError
from valuestrata.study.survey import Axis
from valuestrata.survey import readers
from valuestrata.survey.codebook import Question
from valuestrata.survey.readers import CleanSurvey
from valuestrata.survey.settings import ReadingSettings

SEX = Axis(column="sex", groups={"1": "male", "2": "female"})
IMPORTANCE = {1: "very important", 2: "rather important", 3: "not very important", 4: "not at all"}


def question(name: str = "Q", low: int = 1, high: int = 4, **fields: Any) -> Question:
    given = {"labels": {}, "extra": {}, **fields}
    return Question(name, name, f"{name}?", "block", "ordinal", low, high, **given)


def settings(**fields: Any) -> ReadingSettings:
    return ReadingSettings(**{"respondent": "id", "axes": {"sex": SEX}, **fields})


def frame(**columns: Sequence[Any]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    every: dict[str, Any] = {
        "id": [f"r{i}" for i in range(n)],
        "sex": [1 + i % 2 for i in range(n)],
        **columns,
    }
    return pd.DataFrame(every)


def read(
    path: Path, questions: Sequence[Question], book: dict[str, Any] | None = None, **fields: Any
) -> CleanSurvey:
    return readers.read_survey(path, settings(**fields), questions, book or {})


def read_csv(folder: Path, table: pd.DataFrame, *questions: Question, **fields: Any) -> CleanSurvey:
    path = folder / "survey.csv"
    table.to_csv(path, index=False)
    return read(path, questions, **fields)


def complaint(*arguments: Any, **fields: Any) -> str:
    """The one line that refuses a survey: arguments of `read_csv`, or of `read` for a file."""
    with pytest.raises(InputError) as caught:
        (read_csv if arguments[0].is_dir() else read)(*arguments, **fields)
    line = str(caught.value)
    assert "\n" not in line
    return line


def codes(survey: CleanSurvey, name: str = "Q") -> list[int | None]:
    return [None if pd.isna(code) else int(code) for code in survey.responses[name]]


def labels(survey: CleanSurvey, axis: str) -> list[str | None]:
    return [None if pd.isna(label) else str(label) for label in survey.responses[axis]]
