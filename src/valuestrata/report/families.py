"""Families of tests: q-values within each, and the smallest gap that each test would find. Pure.

Tests that answer one question, of one metric on one split, are counted together. README of the
families: docs/statistics.md.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from valuestrata.columns import METRIC
from valuestrata.metrics.multiplicity import q_values
from valuestrata.report.runs import BASE, is_prompt_contrast
from valuestrata.report.settings import ComparisonSettings
from valuestrata.study.sensitivity import COMPARED, PERTURBATIONS

POWER = 0.8
"""Share of studies that would find the smallest gap."""
TUNING, BASELINES, PROMPTS = "tuning", "baselines", "prompts"
BY_AXIS, BY_SUBGROUP = "inequality by axis", "inequality over subgroups"
SENSITIVITY, CONTAMINATION = "sensitivity", "contamination"
QUESTIONS, QUESTIONS_BY_STRATUM, BLOCKS = "questions", "questions by stratum", "blocks"


def with_q_values(
    frame: pd.DataFrame,
    keys: Sequence[str],
    p: str = "p_value",
    q: str = "q_value",
    test: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The frame with q-values of a column of p-values, in families that agree in `keys`.

    `test` names the test of each row: rows of a family with one name, as a contrast and its mirror
    image, count as one. Without it each row is a test.
    """
    adjusted = np.full(len(frame), np.nan)
    values = frame[p].astype("float64").to_numpy()
    names = _test_codes(frame, test)
    for rows in _families(frame, keys):
        _, first, row_of = np.unique(names[rows], return_index=True, return_inverse=True)
        adjusted[rows] = q_values(values[rows[first]])[row_of]
    return frame.assign(**{q: adjusted})


def _test_codes(frame: pd.DataFrame, test: Sequence[str] | None) -> np.ndarray:
    return np.arange(len(frame)) if test is None else pd.factorize(np.asarray(test, object))[0]


def with_smallest_gaps(
    frame: pd.DataFrame,
    keys: Sequence[str],
    confidence_level: float,
    test: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The frame with the difference that each test finds in 80% of studies.

    That is (t of the test + t of the power) standard errors. The level of the test is divided by
    the size of its family, as that of Benjamini and Hochberg is for the only difference in it.
    `test` as in `with_q_values`.
    """
    gaps = np.full(len(frame), np.nan)
    error = frame["std_error"].astype("float64").to_numpy()
    df = np.maximum(frame["questions"].astype("float64").to_numpy() - 1, 1)
    tested = frame["p_value"].notna().to_numpy() & (error > 0)
    names = _test_codes(frame, test)
    for rows in _families(frame, keys):
        valid = rows[tested[rows]]
        size = len(np.unique(names[valid]))
        gaps[valid] = smallest_gap(error[valid], df[valid], size, confidence_level)
    return frame.assign(smallest_gap=gaps)


def smallest_gap(
    error: np.ndarray, df: np.ndarray, tests: int, confidence_level: float, power: float = POWER
) -> np.ndarray:
    """[n] differences that a test of one among `tests` finds with a power."""
    tail = (1 - confidence_level) / 2 / max(tests, 1)
    return np.asarray(error * (stdtrit(df, 1 - tail) + stdtrit(df, power)))


def _families(frame: pd.DataFrame, keys: Sequence[str]) -> list[np.ndarray]:
    """Positions of the rows of each family."""
    if not len(frame):
        return []
    groups = frame.groupby(list(keys), sort=False, dropna=False)
    return [np.asarray(rows) for rows in groups.indices.values()]


def adjusted_differences(frame: pd.DataFrame, settings: ComparisonSettings) -> pd.DataFrame:
    """DIFFERENCES with families, q-values and smallest gaps."""
    runs = zip(
        zip(frame["model"], frame["variant"], strict=True),
        zip(frame["other_model"], frame["other_variant"], strict=True),
        strict=True,
    )
    names = [_family(first, second, settings) for first, second in runs]
    frame = frame.assign(family=pd.array(names, dtype="string"))
    keys = ["split", "family", *METRIC]
    frame = with_q_values(frame, keys)
    return with_smallest_gaps(frame, keys, settings.evaluation.confidence_level)


def adjusted_sensitivity(frame: pd.DataFrame, confidence_level: float) -> pd.DataFrame:
    """SENSITIVITY with families, q-values and smallest gaps: a metric's tests of all runs."""
    is_probe = frame["perturbation"].isin(PERTURBATIONS[len(COMPARED) :])
    names = np.where(is_probe, CONTAMINATION, SENSITIVITY)
    frame = frame.assign(family=pd.array(names, dtype="string"))
    keys = ["split", "family", "metric"]
    return with_smallest_gaps(with_q_values(frame, keys), keys, confidence_level)


def _family(first: tuple[str, str], second: tuple[str, str], settings: ComparisonSettings) -> str:
    if second[0] in settings.baselines and first[0] != second[0]:
        return BASELINES
    is_tuning = (
        first[0] == second[0] and second[1] == BASE and not is_prompt_contrast(first, second)
    )
    return TUNING if is_tuning else PROMPTS


def adjusted_inequality(frame: pd.DataFrame) -> pd.DataFrame:
    """FAIRNESS with families and q-values: over subgroups, and over the groups of all axes."""
    over = np.where(frame["level"] == "subgroups", BY_SUBGROUP, BY_AXIS)
    frame = frame.assign(family=pd.array(over, dtype="string"))
    return with_q_values(frame, ["split", "family", "metric", "statistic"])


def adjusted_questions(frame: pd.DataFrame) -> pd.DataFrame:
    """DIVERSITY with families and q-values: questions over all strata, in each stratum; blocks."""
    is_block = (frame["question"] == "mean").to_numpy(dtype=bool)
    is_mean = (frame["stratum"] == "mean").to_numpy(dtype=bool)
    is_all = (frame["block"] == "all").to_numpy(dtype=bool)
    family = np.where(is_mean, QUESTIONS, QUESTIONS_BY_STRATUM).astype(object)
    family[is_block] = BLOCKS
    family[is_block & is_all] = "all questions"
    frame = frame.assign(family=pd.array(family, dtype="string"))
    return with_q_values(frame, ["family", "stratum", "measure"])
