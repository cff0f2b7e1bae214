"""The simulated survey that everything is measured on, as the stages hold it in memory."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuestrata import config, validate
from valuestrata.demo import simulate
from valuestrata.survey import codebook, readers

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
MINIMUM = 30


@dataclass(frozen=True)
class Survey:
    """Responses and questions tables, and the groups of each axis."""

    responses: pd.DataFrame
    questions: pd.DataFrame
    groups: Mapping[str, Sequence[str]]

    @property
    def names(self) -> list[str]:
        """The questions' ids."""
        return list(self.questions["question"])


def study() -> tuple[config.Study, list[codebook.Question], pd.DataFrame]:
    """The paper's study of Singapore, its 214 questions, and all items for the simulation."""
    found = validate.load(validate.read_yaml(ROOT / "studies/wvs-sg.yaml"), files=False)
    spec = config.spec_clean(found)
    book = codebook.load(ROOT / "studies/codebooks/wvs7.yaml")
    chosen = codebook.select(book, spec.questions, spec.exclude)
    return found, chosen, pd.DataFrame(list(book.values()))


def questions_table(responses: pd.DataFrame, chosen: list[codebook.Question]) -> pd.DataFrame:
    """What a tally needs of the questions table."""
    return pd.DataFrame(
        {
            "question": [one.question for one in chosen],
            "measurement_level": [one.measurement_level for one in chosen],
            "scale_min": [one.scale_min for one in chosen],
            "scale_max": [one.scale_max for one in chosen],
            "codes": [readers.observed(responses, one)[0] for one in chosen],
        }
    )


def groups_of(found: config.Study) -> dict[str, tuple[str, ...]]:
    """The groups of each axis, in order."""
    return {name: tuple(axis.names()) for name, axis in found.axes.items()}


def survey(folder: Path, respondents: int = 2012, questions: int | None = None) -> Survey:
    """Simulate a survey, write it as csv and read it as a study does."""
    found, chosen, items = study()
    path = folder / "survey.csv"
    simulate.write(
        simulate.simulate(items, respondents, seed=1).assign(B_COUNTRY_ALPHA="SGP"), path
    )
    chosen = chosen[:questions]
    responses, _ = readers.read_survey(path, config.spec_clean(found), chosen)
    return Survey(responses, questions_table(responses, chosen), groups_of(found))


def many_countries(path: Path, countries: int, each: int) -> None:
    """Write responses of several countries, each simulated with a seed of its own, as parquet."""
    found, chosen, items = study()
    names = [one.question for one in chosen]
    axes = config.spec_clean(found).axes
    writer = None
    for country in range(countries):
        raw = simulate.simulate(items, each, seed=1 + country)
        columns: dict[str, pa.Array] = {
            "country": pa.array([f"C{country:02d}"] * each),
            "weight": pa.array(raw["W_WEIGHT"].to_numpy()),
        }
        for name, axis in axes.items():
            labels = raw[axis.column].astype(str).map(dict(axis.groups or {}))
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
