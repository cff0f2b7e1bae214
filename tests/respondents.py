"""Respondents drawn at random, with gaps and weights, and the questions that they answered."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from valuestrata.survey import tally
from valuestrata.survey.encoded import EncodedSurvey, Scale, encode_survey, scale_of
from valuestrata.survey.groups import Group, Groups
from valuestrata.survey.tally import Members

GROUPS = {"sex": ("male", "female"), "age": ("young", "middle", "old")}
AXIS_GROUPS = Groups(
    countries=(),
    axes={
        axis: tuple(Group(label=name, codes=(), n=1) for name in names)
        for axis, names in GROUPS.items()
    },
)
SCALES = {  # question -> lowest, highest, codes that occur, measurement level
    "Q1": (1, 4, [1, 2, 3, 4], "ordinal"),
    "Q2": (1, 2, [0, 1, 2, 3], "ordinal"),
    "Q3": (0, 2, [0, 1, 2], "nominal"),
    "Q4": (1, 10, list(range(1, 11)), "ordinal"),
}


def questions() -> pd.DataFrame:
    rows = [
        {
            "question": name,
            "topic": name,
            "text": f"{name}?",
            "block": "odd" if name in ("Q1", "Q3") else "even",
            "measurement_level": level,
            "scale_min": scale_min,
            "scale_max": scale_max,
            "codes": codes,
            "labels": ["" if scale_min <= c <= scale_max else "other" for c in codes],
            "n": 0,
            "missing": 0,
        }
        for name, (scale_min, scale_max, codes, level) in SCALES.items()
    ]
    return pd.DataFrame(rows)


SCALE = scale_of(questions())


def people(n: int, seed: int) -> pd.DataFrame:
    """Respondents with gaps in axes and answers, and uneven weights."""
    rng = np.random.default_rng(seed)

    def drawn(values: list[Any], missing: float) -> Any:
        chosen = rng.choice(np.array(values, dtype=object), n)
        return np.where(rng.random(n) < missing, None, chosen)

    columns: dict[str, Any] = {
        "respondent": [f"r{i}" for i in range(n)],
        "weight": rng.gamma(2, size=n),
    }
    columns |= {axis: pd.array(drawn(list(v), 0.1), dtype="string") for axis, v in GROUPS.items()}
    for name, (_, _, codes, _) in SCALES.items():
        columns[name] = pd.array(drawn(codes, 0.15), dtype="Int16")
    frame = pd.DataFrame(columns)
    frame["weight"] /= frame["weight"].mean()
    return frame


def encoded(frame: pd.DataFrame) -> EncodedSurvey:
    return encode_survey(frame, questions())


@dataclass(frozen=True)
class Counted:
    """Subgroups of a stratum, and counts and sums of weights, [S, Q, C]."""

    members: Members
    counts: np.ndarray
    weighted: np.ndarray

    def frame(self, stratum: str = "s") -> pd.DataFrame:
        return tally.to_frame(stratum, self.members, SCALE, self.counts, self.weighted)


def counted(frame: pd.DataFrame, axes: tuple[str, ...]) -> Counted:
    survey = encoded(frame)
    members = tally.stratum_members(survey.groups, axes, GROUPS, 1)
    cell, size = members.cell, members.size
    counts = tally.count(survey.answers, cell, size, survey.width)
    weighted = tally.count(survey.answers, cell, size, survey.width, survey.weight)
    return Counted(members, counts, weighted)


def one_scale(scale_min: int, scale_max: int, codes: list[int], level: str = "ordinal") -> Scale:
    """The scale of one question."""
    row = {"codes": codes, "scale_min": scale_min, "scale_max": scale_max}
    return scale_of(pd.DataFrame([{"question": "Q", "measurement_level": level, **row}]))
