"""The figures of the survey data that a reader checks first, as plain data for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.metrics import ordinal
from valuestrata.study.evaluation import Evaluation, Labels
from valuestrata.survey.ceilings import (
    NOISE_CEILING,
    SPLIT_HALF,
    mean_over_questions,
    select_ceiling,
)
from valuestrata.survey.encoded import Floats

TESTED = ("corrected", "null_mean", "null_p95", "p_value", "p_error", "q_value")
Figure = dict[str, object]
"""A number with its interval, n and missing count; None where it does not exist."""


def pair_sizes(pairs: pd.DataFrame) -> dict[str, object]:
    """How many strata, subgroups and pairs a split has."""
    cells = pairs[["stratum", "subgroup"]].drop_duplicates()
    return {
        "strata": cells["stratum"].value_counts(sort=False).to_dict(),
        "subgroups": len(cells),
        "pairs": len(pairs),
        "tied_modes": int(pairs["tied"].sum()),
    }


def label_figures(both: pd.DataFrame, labels: Labels, evaluation: Evaluation) -> dict[str, object]:
    """How labels are read, ties of either reading, and how far the two readings differ.

    changed: whether the modal answer is another one. moved: total variation distance of the two
    distributions, from 0 to 1.
    """
    width = int(both["codes"].map(len).max())
    first, second = (
        np.stack([np.pad(row, (0, width - len(row))) for row in both[f"distribution_{name}"]])
        for name in ("unweighted", "weighted")
    )
    changed = (both["mode_unweighted"] != both["mode_weighted"]).to_numpy().astype(np.float64)
    moved = (np.abs(first - second).sum(axis=1) / 2).astype(np.float64)
    return {
        "mode": labels.mode,
        "distribution": labels.distribution,
        "tied_unweighted": int(both["tied_unweighted"].sum()),
        "tied_weighted": int(both["tied_weighted"].sum()),
        "changed": _mean(changed, both["question"], len(both), evaluation),
        "moved": _mean(moved, both["question"], len(both), evaluation),
    }


def answer_figures(
    pairs: pd.DataFrame, answer: Floats, evaluation: Evaluation
) -> dict[str, Figure]:
    """Accuracy and NMAE of one answer a pair, [n]."""
    mode, scale_min, scale_max = (
        pairs[name].to_numpy(dtype=np.float64) for name in ("mode", "scale_min", "scale_max")
    )
    is_ordinal = (pairs["measurement_level"] == "ordinal").to_numpy(dtype=bool)
    accuracy = ordinal.accuracy(answer, mode)
    nmae = ordinal.nmae(answer, mode, scale_min, scale_max, is_ordinal)
    return {
        "accuracy": _mean(accuracy, pairs["question"], len(pairs), evaluation),
        "nmae": _mean(nmae, pairs["question"], int(is_ordinal.sum()), evaluation),
    }


def ceiling_figures(ceilings: pd.DataFrame, split: str) -> dict[str, dict[str, Figure]]:
    """Each ceiling's metrics on a split."""
    return {
        ceiling: {m: _figure(row) for m, row in select_ceiling(ceilings, ceiling, split).items()}
        for ceiling in (SPLIT_HALF, NOISE_CEILING)
    }


def block_figures(diversity: pd.DataFrame) -> dict[str, dict[str, Figure]]:
    """Conflict scores of each block, mean over the strata, with nulls, p and q."""
    blocks = diversity[(diversity["stratum"] == "mean") & (diversity["question"] == "mean")]
    return {
        str(block): {
            str(row["measure"]): _figure(row) | _numbers(row, TESTED) for row in io.records(rows)
        }
        for block, rows in blocks.groupby("block", sort=False)
    }


def agreement_figures(agreement: pd.DataFrame) -> dict[str, Figure]:
    """Rank agreement of the two conflict scores, mean over the strata."""
    rows = agreement[agreement["stratum"] == "mean"]
    return {str(row["coefficient"]): _figure(row) for row in io.records(rows)}


def _mean(values: Floats, question: pd.Series, expected: int, evaluation: Evaluation) -> Figure:
    """Mean of a value a pair with its interval over questions; `expected` pairs could have one."""
    row = mean_over_questions(values, question.to_numpy(dtype=str), evaluation)
    return _figure({**row, "missing": expected - row["n"]})


def _figure(row: Mapping[str, Any]) -> Figure:
    interval = _numbers(row, ("value", "ci_low", "ci_high"))
    return {**interval, "n": int(row["n"]), "missing": int(row["missing"])}


def _numbers(row: Mapping[str, Any], names: Sequence[str]) -> Figure:
    return {name: None if pd.isna(row[name]) else float(row[name]) for name in names}
