"""Score how much the subgroups of each stratum disagree, by question and block."""

import argparse
import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata import io
from valuestrata.metrics.resample import bias_corrected
from valuestrata.specs import Diversity, from_json, stratum_id
from valuestrata.survey import diversity, modal, tally

log = logging.getLogger(__name__)
MEASURES = ("mds", "wasserstein")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--responses", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Score each stratum and question, their means over strata, blocks and all questions."""
    spec = from_json(Diversity, arguments.spec)
    responses = io.read_table(arguments.responses, "responses")
    questions = io.read_table(arguments.questions, "questions")
    scale = tally.scale_of(questions)
    encoded = tally.encode(responses, scale)
    weight = responses["weight"].to_numpy(dtype=np.float64)
    strata = spec.tally.strata
    e = spec.evaluation
    draws = diversity.respondent_draws(len(responses), e.resamples, e.seed)
    scored = []
    for axes in strata:
        scored.append(_stratum(spec, responses, encoded, weight, draws, scale, axes))
        log.info("scored stratum %s", stratum_id(axes))
    # [measure, 1 + B, stratum, question] and [stratum, question]
    scores = np.stack([s[0] for s in scored], axis=2)
    present = np.stack([s[1] for s in scored])
    names = [stratum_id(axes) for axes in strata]
    rows = list(_rows(scores, present, names, questions, spec.evaluation.level))
    io.write_table(pd.DataFrame(rows), arguments.output, "diversity", spec.tally.caveat)


def _stratum(
    spec: Diversity,
    responses: pd.DataFrame,
    encoded: tally.Ints,
    weight: tally.Floats,
    draws: NDArray[np.float32],
    scale: tally.Scale,
    axes: tuple[str, ...],
) -> tuple[tally.Floats, tally.Ints]:
    """[measure, 1 + B, Q] the estimate, then its resamples; [2, Q] subgroups present and absent."""
    names, cell = tally.members(responses, axes, spec.tally.groups, spec.tally.minimum)
    size, width = len(names), scale.codes.shape[1]
    counts = tally.count(encoded, cell, size, width)
    weighted = tally.count(encoded, cell, size, width, weight)
    present = counts.sum(axis=-1) >= spec.answers
    slabs = diversity.resampled_counts(encoded, cell, size, width, weight, draws)
    scores = [_scores(counts[None], weighted[None], present, scale)]
    scores += [_scores(heads, sums, present, scale) for heads, sums in slabs]
    here = present.sum(axis=0)
    return np.concatenate(scores, axis=1), np.stack([here, size - here])


def _scores(
    counts: tally.Floats, weighted: tally.Floats, present: NDArray[np.bool_], scale: tally.Scale
) -> tally.Floats:
    return np.stack(
        [
            diversity.modal_diversity(modal.modes(counts), present, scale),
            diversity.mean_wasserstein(weighted, present, scale),
        ]
    )


def _rows(
    scores: tally.Floats,
    present: tally.Ints,
    names: list[str],
    questions: pd.DataFrame,
    level: float,
) -> Iterator[dict[str, object]]:
    """Table rows: strata by question, then means over strata, over a block's and all questions."""
    blocks = questions["block"].to_numpy()
    over_strata = _mean(scores, axis=2)
    for m, measure in enumerate(MEASURES):
        for q, question in enumerate(questions["question"]):
            about = {"question": question, "block": blocks[q], "measure": measure}
            for i, name in enumerate(names):
                n, missing = present[i, :, q]
                sizes = {"n": int(n), "missing": int(missing)}
                yield {"stratum": name, **about, **sizes, **_interval(scores[m, :, i, q], level)}
            sizes = _sizes(scores[m, 0, :, q])
            yield {"stratum": "mean", **about, **sizes, **_interval(over_strata[m, :, q], level)}
        for block in [*dict.fromkeys(blocks), "all"]:
            about = {"question": "mean", "block": block, "measure": measure}
            own = over_strata[m][:, (blocks == block) | (block == "all")]
            values = _interval(_mean(own, axis=1), level)
            yield {"stratum": "mean", **about, **_sizes(own[0]), **values}


def _sizes(values: tally.Floats) -> dict[str, int]:
    valid = int(np.isfinite(values).sum())
    return {"n": valid, "missing": len(values) - valid}


def _interval(draws: tally.Floats, level: float) -> dict[str, float]:
    """The estimate, which comes first, and its interval from the rest."""
    low, high = bias_corrected(float(draws[0]), draws[1:], level, (0.0, 1.0))
    return {"value": float(draws[0]), "low": low, "high": high}


def _mean(values: tally.Floats, axis: int) -> tally.Floats:
    """Mean over the finite entries; NaN where there are none."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(axis=axis)
    n = finite.sum(axis=axis)
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)
