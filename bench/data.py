"""The simulated survey that everything is measured on, as the stages hold it in memory."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuestrata.demo import simulate
from valuestrata.stages import clean
from valuestrata.study.load import load_files
from valuestrata.study.study import Study
from valuestrata.survey import codebook, readers
from valuestrata.survey.encoded import EncodedSurvey, encode_survey

ROOT = Path(__file__).resolve().parents[1]
STRATA = (
    ("sex",),
    ("age_group",),
    ("ethnicity",),
    ("religion",),
    ("sex", "age_group"),
    ("sex", "religion"),
    ("sex", "ethnicity"),
    ("age_group", "religion"),
    ("age_group", "ethnicity"),
    ("ethnicity", "religion"),
)
AXES = ("sex", "age_group", "ethnicity", "religion")
MIN_N = 30


@dataclass(frozen=True)
class Tables:
    """Responses and questions tables, and the groups of each axis."""

    responses: pd.DataFrame
    questions: pd.DataFrame
    groups: Mapping[str, Sequence[str]]

    @property
    def names(self) -> list[str]:
        """The questions' ids."""
        return list(self.questions["question"])

    def encoded(self) -> EncodedSurvey:
        """The arrays of both tables."""
        return encode_survey(self.responses, self.questions)


def load_study() -> tuple[Study, list[codebook.Question], pd.DataFrame]:
    """The paper's study of Singapore, its 214 questions, and all items for the simulation."""
    study = load_files([ROOT / "studies/wvs-sg.yaml"], files=False)
    settings = clean.settings(study)
    book = codebook.load(ROOT / "studies/codebooks/wvs7.yaml")
    chosen = codebook.select(book, settings.questions, settings.exclude)
    return study, chosen, pd.DataFrame(list(book.values()))


def questions_table(responses: pd.DataFrame, chosen: list[codebook.Question]) -> pd.DataFrame:
    """What a tally needs of the questions table."""
    return pd.DataFrame(
        {
            "question": [q.question for q in chosen],
            "measurement_level": [q.measurement_level for q in chosen],
            "scale_min": [q.scale_min for q in chosen],
            "scale_max": [q.scale_max for q in chosen],
            "codes": [readers.observed(responses, q)[0] for q in chosen],
        }
    )


def groups_of(study: Study) -> dict[str, tuple[str, ...]]:
    """The groups of each axis, in order."""
    return {name: tuple(axis.names()) for name, axis in study.axes.items()}


def simulated(folder: Path, respondents: int = 2012, questions: int | None = None) -> Tables:
    """Simulate a survey, write it as csv and read it as a study does."""
    study, chosen, items = load_study()
    path = folder / "survey.csv"
    simulate.write(
        simulate.simulate(items, respondents, seed=1).assign(B_COUNTRY_ALPHA="SGP"), path
    )
    chosen = chosen[:questions]
    responses = readers.read_survey(path, clean.settings(study), chosen, {}).responses
    return Tables(responses, questions_table(responses, chosen), groups_of(study))


def many_countries(path: Path, countries: int, each: int) -> None:
    """Write responses of several countries, each simulated with a seed of its own, as parquet."""
    study, chosen, items = load_study()
    names = [q.question for q in chosen]
    axes = study.survey.axes
    writer = None
    for country in range(countries):
        raw = simulate.simulate(items, each, seed=1 + country)
        columns: dict[str, pa.Array] = {
            "country": pa.array([f"C{country:02d}"] * each),
            "weight": pa.array(raw["W_WEIGHT"].to_numpy()),
        }
        for name, axis in axes.items():
            labels = raw[axis.column].astype(str).map(dict(axis.groups or ()))
            columns[name] = pa.array(labels.to_list(), type=pa.string(), from_pandas=True)
        answers = raw[names].to_numpy(dtype=np.int16)
        for place, name in enumerate(names):
            given = np.ascontiguousarray(answers[:, place])
            columns[name] = pa.array(given, mask=given < 0)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


if __name__ == "__main__":
    many_countries(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
