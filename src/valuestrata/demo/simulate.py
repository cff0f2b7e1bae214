"""A simulated survey in the format of the WVS-7 csv of Singapore; see docs/simulation.md."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.demo.population import AGE, AXES, Floats, Ints, draw_weights, everyone, joint_table
from valuestrata.demo.simulated_answers import BLOCKS, add_missing, draw_answers
from valuestrata.errors import InputError

WAVE, YEAR, STUDY, COUNTRY, ALPHA, COW_ALPHA = 7, 2020, 2, 702, "SGP", "SIN"
FIRST_INTERVIEW = 702070001
FIRST_DAY, DAYS = "2020-01-02", 80
AGE_BANDS = ((18, 25), (25, 35), (35, 45), (45, 55), (55, 65), (65, 90))  # years, end excluded
ORIGIN = "simulated by valuestrata"


def simulate(questions: pd.DataFrame, respondents: int, seed: int) -> pd.DataFrame:
    """Return one row a respondent, with the columns, codes and missing codes of the WVS-7 csv.

    questions: columns question, block, measurement_level (ordinal or nominal), scale_min and
    scale_max; one row an item of the codebook, in any order. The same arguments give the same
    frame.
    """
    if respondents < 1:
        raise InputError(f"respondents: expected at least 1, got {respondents}")
    items = questions.sort_values("question", key=lambda ids: ids.map(_survey_order))
    unknown = sorted(set(items["block"]) - set(BLOCKS))
    if unknown:
        raise InputError(f"block: no model of {unknown[0]!r}; expected one of {sorted(BLOCKS)}")
    rng = np.random.default_rng(seed)
    groups = rng.permutation(everyone(joint_table(respondents)))
    weights = draw_weights(groups, rng)
    answers = add_missing(draw_answers(items, groups, rng), items, groups, rng)
    return pd.concat(
        [
            _administration(respondents, seed, weights, rng),
            pd.DataFrame(answers, columns=items["question"].to_list()),
            _demographics(groups, rng),
        ],
        axis="columns",
    )


def write(frame: pd.DataFrame, path: Path | str) -> None:
    """Write the frame as the WVS does: csv with a byte order mark, integers without decimals.

    The file appears whole or not at all, and only its owner may read it.
    """
    text = frame.convert_dtypes().to_csv(index=False, lineterminator="\n")
    with io.replacing(path, io.PRIVATE) as temporary:
        temporary.write_bytes(text.encode("utf-8-sig"))


def _survey_order(question: str) -> tuple[int, str]:
    """Sort key of a question id: Q9 before Q10, Q234 before Q234A.

    >>> sorted(["Q235", "Q234A", "Q9", "Q234"], key=_survey_order)
    ['Q9', 'Q234', 'Q234A', 'Q235']
    """
    match = re.fullmatch(r"Q(\d+)(\w*)", question)
    if match is None:
        raise InputError(f"question: expected an id such as Q1 or Q234A, got {question!r}")
    return int(match[1]), match[2]


def _administration(
    respondents: int, seed: int, weights: Floats, rng: np.random.Generator
) -> pd.DataFrame:
    """The columns before the questions; none of them can be taken for a real release's."""
    days = pd.Timestamp(FIRST_DAY) + pd.to_timedelta(rng.integers(DAYS, size=respondents), "D")
    return pd.DataFrame(
        {
            "version": f"{ORIGIN}, seed {seed}",
            "doi": f"{ORIGIN}, no DOI",
            "A_WAVE": WAVE,
            "A_YEAR": YEAR,
            "A_STUDY": STUDY,
            "B_COUNTRY": COUNTRY,
            "B_COUNTRY_ALPHA": ALPHA,
            "C_COW_ALPHA": COW_ALPHA,
            "D_INTERVIEW": FIRST_INTERVIEW + np.arange(respondents),
            "J_INTDATE": np.sort(days.strftime("%Y%m%d").to_numpy(np.int64)),
            "W_WEIGHT": weights.round(6),
        }
    )


def _demographics(groups: Ints, rng: np.random.Generator) -> pd.DataFrame:
    """The columns after the questions."""
    codes = {axis.column: np.asarray(axis.codes)[groups[:, i]] for i, axis in enumerate(AXES)}
    youngest, end = np.asarray(AGE_BANDS)[groups[:, AGE]].T
    # squared in the open-ended last band alone, where the older are fewer
    draw = rng.random(len(groups)) ** np.where(groups[:, AGE] == len(AGE_BANDS) - 1, 2, 1)
    years = youngest + ((end - youngest) * draw).astype(np.int64)
    columns = {"Q260": codes["Q260"], "Q261": YEAR - years, "Q262": years}
    return pd.DataFrame(columns | {name: codes[name] for name in ("Q289", "Q290", "X003R")})
