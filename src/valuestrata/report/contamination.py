"""Probes for contamination: does a model know the items, or the country's answers? Pure.

They give hints. A model that is likelier to write an item than its paraphrase may have read it, or
may find it the better sentence; one that is near to the national distribution may have read the
survey, or may know the country.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from valuestrata.report.comparison import Row
from valuestrata.report.perturbed_answers import (
    CHANGE,
    DISTANCES,
    SHARE,
    Floats,
    PairAnswers,
    PairArrays,
    distance,
    mean_row,
    padded,
    tested_row,
)
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.splits import COUNTRY
from valuestrata.survey.tally import subgroup_groups

ITEM_NATS, ITEM_BITS = "nats_per_token", "bits_per_byte"
CONTROLS = {"paraphrase": "wording", "shuffled": "wording", "reversed": "options"}
"""Text that an item is compared with -> which of the item's texts it stands against."""
NATIONAL, UNIFORM, FLAT = "to_national", "to_uniform", "uniform_to_national"
AGAINST_UNIFORM, AGAINST_FLAT = "national_minus_uniform", "national_minus_chance"
MAIN = {"item_text": ITEM_NATS, "national_distribution": f"total_variation_{NATIONAL}"}
"""The metric of each probe that stands for it where there is none."""


def item_rows(items: pd.DataFrame, evaluation: Evaluation) -> list[Row]:
    """How probable items are, and how much more than a control; a question is a unit.

    `CONTROL_minus_item` is in bits per byte, positive where the item is the likelier one;
    `likelier_than_CONTROL` the share of questions where it is. Bytes and not tokens: rare words,
    or words in an odd order, are cut into more tokens, each of which is then easy to guess.

    Args:
        items: the table ITEM_TEXTS.
        evaluation: of intervals and tests.
    """
    nats = (-items["logprob"]).astype("float64")
    scores = items.assign(nats=nats / items["tokens"], bits=nats / np.log(2) / items["n_bytes"])
    wide = scores.pivot(index="question", columns="kind", values="bits")
    per_token = scores.pivot(index="question", columns="kind", values="nats")
    cluster = np.arange(len(wide))
    rows = [
        mean_row(ITEM_NATS, _column(per_token, "wording"), cluster, evaluation),
        mean_row(ITEM_BITS, _column(wide, "wording"), cluster, evaluation),
    ]
    for control, item in CONTROLS.items():
        gap = _column(wide, control) - _column(wide, item)
        likelier = np.where(np.isnan(gap), np.nan, gap > 0)
        rows.append(tested_row(f"{control}_minus_item", gap, cluster, evaluation, None))
        rows.append(mean_row(f"likelier_than_{control}", likelier, cluster, evaluation, True))
    return rows


def _column(wide: pd.DataFrame, kind: str) -> Floats:
    if kind not in wide:
        return np.full(len(wide), np.nan)
    return wide[kind].to_numpy(dtype=np.float64)


def national_rows(
    pairs: PairArrays,
    dropped: PairAnswers,
    shares: Mapping[tuple[str, str], Floats],
    evaluation: Evaluation,
) -> list[Row]:
    """Distances of option probabilities without a persona; a question of a country is a unit.

    to_national, to_uniform: of the model to the country's answers, and to every option alike;
    uniform_to_national: what a model that knows nothing has. Tested are the differences of the
    first to the second, and to the third: negative where the model is nearer to the country.

    Args:
        pairs: that were asked without a persona.
        dropped: the answers; all pairs of a question have the same.
        shares: the country's answers, by country and question.
        evaluation: of intervals and tests.
    """
    units = [
        (subgroup_groups(str(subgroup)).get(COUNTRY, ""), str(question))
        for _, subgroup, question in pairs.keys
    ]
    by_country = any(country for country, _ in shares)
    units = [(country if by_country else "", question) for country, question in units]
    first = ~pd.Index(units, tupleize_cols=False).duplicated()
    units = [unit for unit, is_first in zip(units, first, strict=True) if is_first]
    once = pairs.among(pairs.keys[first])
    model = dropped.distribution[first]
    width = once.codes.shape[1]
    national = padded([shares[unit] for unit in units], width)
    uniform = _uniform(once)
    rows: list[Row] = []
    for name in DISTANCES:
        kept = once.is_ordinal if name == "wasserstein" else np.ones(len(units), dtype=bool)
        cluster = once.cluster[kept]
        near = distance(name, once, model, national)[kept]
        flat = distance(name, once, model, uniform)[kept]
        chance = distance(name, once, uniform, national)[kept]
        chance = np.where(np.isnan(near), np.nan, chance)
        for metric, values in ((NATIONAL, near), (UNIFORM, flat), (FLAT, chance)):
            rows.append(mean_row(f"{name}_{metric}", values, cluster, evaluation, bounds=SHARE))
        for metric, gaps in ((AGAINST_UNIFORM, near - flat), (AGAINST_FLAT, near - chance)):
            rows.append(tested_row(f"{name}_{metric}", gaps, cluster, evaluation, CHANGE))
    return rows


def _uniform(pairs: PairArrays) -> Floats:
    """[n, C] the same share for each code on the scale; padding repeats the last code."""
    is_new = np.diff(pairs.codes, axis=1, prepend=-np.inf) > 0
    inside = (pairs.codes >= pairs.scale_min[:, None]) & (pairs.codes <= pairs.scale_max[:, None])
    on_scale = (is_new & inside).astype(np.float64)
    return on_scale / on_scale.sum(axis=1, keepdims=True)
