"""Tables of scores and verdicts, made for tests."""

from typing import Any

import numpy as np
import pandas as pd

from valuestrata.tables import PAIR, SCORES

NAN = float("nan")


def crossed(n: int = 40) -> pd.DataFrame:
    """Pairs of sex x age on n questions, one in four of them nominal."""
    names = [f"sex={s} & age={a}" for s in ("male", "female") for a in ("young", "old")]
    rows = [
        {
            "stratum": "sex-x-age",
            "subgroup": name,
            "question": f"Q{q:03}",
            "block": "values",
            "measurement_level": "nominal" if q % 4 == 3 else "ordinal",
        }
        for name in names
        for q in range(n)
    ]
    return pd.DataFrame(rows)


def scores_table(
    pairs: pd.DataFrame, accuracy: np.ndarray | None = None, **columns: Any
) -> pd.DataFrame:
    """Scores of these pairs, with some columns replaced; a NaN accuracy is a refusal."""
    values = np.ones(len(pairs)) if accuracy is None else accuracy
    is_ordinal = (pairs["measurement_level"] == "ordinal").to_numpy()
    scores = pairs[[*PAIR, "block", "measurement_level"]].assign(
        outcome=np.where(np.isnan(values), "refusal", "answer"),
        answer=pd.array(2 - values, dtype="Float64").astype("Int64"),
        accuracy=values,
        nmae=np.where(is_ordinal, 1 - values, NAN),
        wasserstein=np.where(is_ordinal, 0.25, NAN),
        jensen_shannon=0.125,
        total_variation=0.5,
        argmax_accuracy=np.nan_to_num(values),
        confidence=0.75,
        non_option_mass=0.0,
    )
    return scores.assign(**columns)[SCORES.names]


def verdicts_table(pairs: pd.DataFrame, scores: list[float]) -> pd.DataFrame:
    """A judge's verdicts on these pairs; a NaN score is an invalid one."""
    valid = np.isfinite(scores)
    return pairs[PAIR].assign(
        dimension="overall",
        outcome=np.where(valid, "verdict", "invalid"),
        as_first=scores,
        as_second=scores,
        score=scores,
        flipped=pd.array([False if ok else None for ok in valid], dtype="boolean"),
        length_difference=0,
        judge_version="j",
        judge_notes="",
    )
