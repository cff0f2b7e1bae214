"""Column contract of every table that a stage writes: name, dtype, unit, range.

A table is checked against its contract when it is written and when it is read, so a stage can rely
on what it is handed. Symbols: S subgroups, Q questions, C answer codes.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

OUTCOMES = ("answer", "refusal", "invalid", "failed")
CEILINGS = ("split_half", "noise_ceiling")
RANKS = ("spearman", "kendall")
VERDICTS = ("verdict", "invalid", "failed")


class ContractError(ValueError):
    """A table does not keep its contract: what, in which column, and what was expected."""


@dataclass(frozen=True)
class Column:
    """One column: its kind, what it means, whether it may be missing, its closed range.

    kind is one of text, int, float, bool, ints, floats, texts (the last three hold one list a row).
    """

    name: str
    kind: str
    meaning: str
    optional: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] | None = None


_DTYPES = {"text": "string", "int": "Int64", "float": "float64", "bool": "boolean"}

_LISTS: dict[str, tuple[type, ...]] = {
    "ints": (int, np.integer),
    "floats": (int, float, np.integer, np.floating),
    "texts": (str,),
}

_PAIR = (
    Column("stratum", "text", "set of axes that the subgroup is a cell of"),
    Column("subgroup", "text", "cell, as axis=group joined by ' & '"),
    Column("question", "text", "question id in the survey"),
)
PAIR = [column.name for column in _PAIR]
"""Columns that name a pair."""

_INTERVAL = (
    Column("value", "float", "the estimate", optional=True),
    Column("ci_low", "float", "lower end of the interval", optional=True),
    Column("ci_high", "float", "upper end of the interval", optional=True),
    Column("n", "int", "units that entered the estimate", low=0),
    Column("missing", "int", "units left out because they have no value", low=0),
)
_NULL = (
    Column("null_mean", "float", "mean if groups were identical", optional=True),
    Column("null_p95", "float", "95th percentile if groups were identical", optional=True),
    Column("p_value", "float", "chance of a value this large by identical groups", True, 0, 1),
)
_RUN = (
    Column("model", "text", "name of the model in the study"),
    Column("variant", "text", "base, or the recipe that tuned it"),
    Column("split", "text", "split of the study"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    # wide: the study's axes (text, a group label or missing) and questions (int codes) follow
    "responses": (
        Column("respondent", "text", "id, unique within the survey"),
        Column("weight", "float", "survey weight, mean 1 over the respondents kept", low=0),
    ),
    "questions": (
        Column("question", "text", "question id in the survey"),
        Column("topic", "text", "short noun phrase"),
        Column("text", "text", "wording shown to a model"),
        Column("block", "text", "thematic block"),
        Column("measurement_level", "text", "measurement level", values=("ordinal", "nominal")),
        Column("scale_min", "int", "lowest code of the scale"),
        Column("scale_max", "int", "highest code of the scale"),
        Column("codes", "ints", "codes of the scale and others that occur, ascending"),
        Column("labels", "texts", "label of each code, '' where it has none"),
        Column("n", "int", "respondents with a valid answer", low=0),
        Column("missing", "int", "respondents without one", low=0),
    ),
    "tally": (
        *_PAIR,
        Column("code", "int", "answer code"),
        Column("count", "int", "respondents who gave it", low=0),
        Column("weighted", "float", "sum of their weights", low=0),
        Column("respondents", "int", "size of the subgroup, unweighted", low=0),
    ),
    "diversity": (
        Column("stratum", "text", "set of axes, or 'mean' over the strata"),
        Column("question", "text", "question id, or 'mean' over the block's questions"),
        Column("block", "text", "thematic block, or 'all'"),
        Column("measure", "text", "conflict score", values=("mds", "wasserstein")),
        *_INTERVAL,
        *_NULL,
    ),
    "agreement": (
        Column("stratum", "text", "set of axes, or 'mean' over the strata"),
        Column("coefficient", "text", "Spearman's rho or Kendall's tau-b", values=RANKS),
        *_INTERVAL,
    ),
    "noise_ceiling": (
        *_PAIR,
        Column("accuracy", "float", "chance that a sample has the known mode", True, 0, 1),
        Column("nmae", "float", "mean distance of a sample's mode to it, ordinal only", True, 0),
        Column("wasserstein", "float", "mean W1 of a sample to the known shares", True, 0, 1),
    ),
    "ceilings": (
        Column("ceiling", "text", "half of a subgroup, or all its people known", values=CEILINGS),
        Column("split", "text", "split of the study, or 'all' of them"),
        Column("level", "text", "'all', 'subgroups', or an axis"),
        Column("group", "text", "'all', a subgroup, or the axis' group"),
        Column("metric", "text", "what is shared", values=("accuracy", "nmae", "wasserstein")),
        *_INTERVAL,
    ),
    "pairs": (
        *_PAIR,
        Column("block", "text", "thematic block of the question"),
        Column("measurement_level", "text", "measurement level", values=("ordinal", "nominal")),
        Column("scale_min", "int", "lowest code of the scale"),
        Column("scale_max", "int", "highest code of the scale"),
        Column("mode", "int", "modal answer, as the study weights it, ties to the lowest code"),
        Column("tied", "bool", "whether another code is as frequent as the mode"),
        Column("codes", "ints", "answer codes, ascending"),
        Column("distribution", "floats", "share of each code as the study weights it, sums to 1"),
        Column("n", "int", "valid answers", low=0),
        Column("respondents", "int", "size of the subgroup", low=0),
        Column("persona", "text", "first message; the question where a wording puts it first"),
        Column("closed_prompt", "text", "user message that asks for a code"),
        Column("open_prompt", "text", "user message that asks for a free answer"),
    ),
    # the pairs once more, with both readings of their labels
    "labels": (
        *_PAIR,
        Column("codes", "ints", "answer codes, ascending"),
        Column("mode_unweighted", "int", "code of most respondents, ties to the lowest code"),
        Column("mode_weighted", "int", "code of most survey weight, ties to the lowest code"),
        Column("tied_unweighted", "bool", "whether another code has as many respondents"),
        Column("tied_weighted", "bool", "whether another code has as much weight"),
        Column("distribution_unweighted", "floats", "share of each code, sums to 1"),
        Column("distribution_weighted", "floats", "weighted share of each code, sums to 1"),
        Column("n", "int", "valid answers", low=0),
        Column("respondents", "int", "size of the subgroup", low=0),
    ),
    "ties": (
        *_PAIR,
        Column("mode", "int", "the tied code that counts: the lowest"),
        Column("codes", "ints", "the tied codes, ascending"),
        Column("each", "float", "answers of each of them, or their weight as modes are weighted"),
        Column("n", "int", "valid answers", low=0),
        Column("respondents", "int", "size of the subgroup", low=0),
    ),
    "predictions": (
        *_PAIR,
        Column("text", "text", "what the model wrote, new tokens only", optional=True),
        Column("outcome", "text", "what the text was", values=OUTCOMES),
        Column("answer", "int", "parsed code, only where the outcome is an answer", optional=True),
        Column("codes", "ints", "answer codes that were scored, ascending"),
        Column("logprobs", "floats", "log p of each code's whole reply, in nats", optional=True),
        Column(
            "distribution", "floats", "probability of each code given any of them", optional=True
        ),
        Column("non_option_mass", "float", "probability mass on no option", True, 0, 1),
        Column("tokens", "int", "prompt length in tokens", optional=True, low=0),
        Column("prompt_hash", "text", "hash of the rendered prompt"),
        Column("weights", "text", "what answered: revision or hash of the weights"),
        Column("adapter", "text", "hash of the adapter, '' for none"),
    ),
    "texts": (
        *_PAIR,
        Column("prompt", "text", "user message that was answered"),
        Column("text", "text", "the open-ended answer, new tokens only", optional=True),
        Column("outcome", "text", "what the text was", values=OUTCOMES),
        Column("prompt_hash", "text", "hash of the rendered prompt"),
        Column("weights", "text", "what answered: revision or hash of the weights"),
        Column("adapter", "text", "hash of the adapter, '' for none"),
    ),
    "verdicts": (
        *_PAIR,
        Column("dimension", "text", "what was compared"),
        Column("outcome", "text", "whether both swaps gave a verdict", values=VERDICTS),
        Column("as_first", "float", "score of the response shown first: 1, 0.5 or 0", True, 0, 1),
        Column("as_second", "float", "its score when shown second", True, 0, 1),
        Column("score", "float", "mean of the two swaps", True, 0, 1),
        Column("flipped", "bool", "whether the swap changed who won", optional=True),
        Column("length_difference", "int", "characters more than the reference"),
        Column("judge", "text", "what judged: revision or hash of its weights"),
    ),
    "scores": (
        *_PAIR,
        Column("block", "text", "thematic block of the question"),
        Column("measurement_level", "text", "measurement level", values=("ordinal", "nominal")),
        Column("outcome", "text", "what the model's text was", values=OUTCOMES),
        Column("answer", "int", "parsed code, only where the outcome is an answer", optional=True),
        Column("accuracy", "float", "1 where the answer is the mode, 0 where not", True, 0, 1),
        Column("nmae", "float", "|answer - mode| / (highest - lowest), ordinal only", True, 0),
        Column("wasserstein", "float", "W1 to the subgroup's distribution, 0 to 1", True, 0, 1),
        Column("jensen_shannon", "float", "divergence in bits", True, 0, 1),
        Column("total_variation", "float", "half the summed |difference|", True, 0, 1),
        Column("argmax_accuracy", "float", "1 where the likeliest code is the mode", True, 0, 1),
        Column("confidence", "float", "probability of the likeliest code", True, 0, 1),
        Column("non_option_mass", "float", "probability mass on no option", True, 0, 1),
    ),
    "fairness": (
        *_RUN,
        Column("level", "text", "'subgroups', or the axis whose groups are compared"),
        Column("metric", "text", "what is unequal", values=("accuracy", "nmae")),
        Column("statistic", "text", "how unequal", values=("norm_range", "cv")),
        *_INTERVAL,
        Column("groups", "int", "groups compared", low=0),
        *_NULL,
        Column("best", "text", "group served best"),
        Column("worst", "text", "group served worst"),
    ),
    "groups": (
        *_RUN,
        Column("level", "text", "'subgroups', or an axis"),
        Column("group", "text", "subgroup, or the axis' group"),
        Column("metric", "text", "what was measured", values=("accuracy", "nmae")),
        *_INTERVAL,
    ),
    "runs": (
        *_RUN,
        Column(
            "metric",
            "text",
            "accuracy, ..., win_rate:JUDGE:DIMENSION, normalized_gain:BASELINE:METRIC",
        ),
        *_INTERVAL,
    ),
    "differences": (
        Column("split", "text", "split of the study"),
        Column("metric", "text", "what is compared"),
        Column("model", "text", "first system"),
        Column("variant", "text", "its variant"),
        Column("other_model", "text", "second system"),
        Column("other_variant", "text", "its variant"),
        *_INTERVAL,
        Column("p_value", "float", "paired sign-flip test over questions", True, 0, 1),
    ),
}


def check(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """Return the frame with its contract's dtypes, or raise ContractError.

    Columns outside the contract are refused, except in `responses`, whose axes and questions
    belong to the study.
    """
    columns = TABLES[table]
    names = [c.name for c in columns]
    absent = [n for n in names if n not in frame.columns]
    extra = [n for n in frame.columns if n not in names]
    if absent:
        raise ContractError(f"table {table}: column {absent[0]} is missing")
    if extra and table != "responses":
        raise ContractError(f"table {table}: column {extra[0]} is not part of the contract")
    checked = {c.name: _checked(frame[c.name], c, table) for c in columns}
    rest = {n: frame[n] for n in extra}
    return pd.DataFrame({**checked, **rest}).reset_index(drop=True)


def _is_list(value: object, kinds: tuple[type, ...]) -> bool:
    listed = isinstance(value, list | tuple | np.ndarray)
    return listed and all(isinstance(one, kinds) for one in cast(list[object], value))


def _checked(series: pd.Series, column: Column, table: str) -> pd.Series:
    where = f"table {table}, column {column.name}"
    try:
        typed = series.astype(cast(Any, _DTYPES[column.kind])) if column.kind in _DTYPES else series
    except (TypeError, ValueError) as error:
        raise ContractError(f"{where}: not {column.kind}: {error}") from None
    if column.kind in _LISTS:
        wrong = next((v for v in typed.dropna() if not _is_list(v, _LISTS[column.kind])), None)
        if wrong is not None:
            raise ContractError(f"{where}: {wrong!r} is not a list of {column.kind}")
    if not column.optional and typed.isna().any():
        raise ContractError(f"{where}: {int(typed.isna().sum())} values are missing")
    present: Any = typed.dropna()
    if column.values is not None:
        unknown = set(present) - set(column.values)
        if unknown:
            raise ContractError(f"{where}: {sorted(unknown)[0]!r} is not one of {column.values}")
    if column.low is not None and (present < column.low - 1e-9).any():
        raise ContractError(f"{where}: {present.min()} is below {column.low}")
    if column.high is not None and (present > column.high + 1e-9).any():
        raise ContractError(f"{where}: {present.max()} is above {column.high}")
    return typed
