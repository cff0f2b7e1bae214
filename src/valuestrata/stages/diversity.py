"""Score how much the subgroups of each stratum disagree, by question and block."""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata import io
from valuestrata.metrics.agreement import rank_agreement
from valuestrata.metrics.resample import against_null, bias_corrected, ratio
from valuestrata.specs import COUNTRY, Diversity, Evaluation, Weighting, from_dict, from_json
from valuestrata.survey import diversity, modal, tally
from valuestrata.survey.groups import Groups

log = logging.getLogger(__name__)
MEASURES = ("mds", "wasserstein")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--responses", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--agreement", required=True, help="output: do both scores rank alike")


def run(arguments: argparse.Namespace) -> None:
    """Score each stratum and question, their means over strata, blocks and all questions."""
    spec = from_json(Diversity, arguments.spec)
    responses = io.read_table(arguments.responses, "responses")
    questions = io.read_table(arguments.questions, "questions")
    scale = tally.scale_of(questions)
    survey = Survey(
        encoded=tally.encode(responses, scale),
        weight=responses["weight"].to_numpy(dtype=np.float64),
        scale=scale,
        answers=spec.answers,
        labels=spec.labels,
        evaluation=spec.evaluation,
        country=pd.factorize(responses[COUNTRY])[0] if COUNTRY in responses else None,
    )
    groups = from_dict(Groups, io.read_json(arguments.groups))
    strata = groups.compared(spec.tally.strata)
    names = [name for name, _, _ in strata]
    found = [
        tally.members(responses, axes, labels, spec.tally.minimum) for _, axes, labels in strata
    ]
    cells, sizes = [cell for _, cell in found], [len(subgroups) for subgroups, _ in found]
    present = [survey.present(cell, size) for cell, size in zip(cells, sizes, strict=True)]
    scored = []
    for name, cell, here in zip(names, cells, present, strict=True):
        scored.append(_resampled(survey, cell, here))
        log.info("scored stratum %s", name)
    # [measure, 1 + B or B, stratum and then their mean, question]
    scores = _with_mean(np.stack(scored, axis=2))
    within = [labels != groups.labels() for _, _, labels in strata]
    null = _with_mean(_permuted(survey, cells, sizes, present, within))
    log.info("permuted %d times", null.shape[1])
    entered = np.array([here.sum(axis=0) for here in present])  # [stratum, question]
    rows = _rows(scores, null, entered, sizes, names, questions, spec.evaluation.level)
    caveat = spec.tally.caveat
    io.write_table(pd.DataFrame(list(rows)), arguments.output, "diversity", caveat)
    agree = pd.DataFrame(list(_agreement(scores[:, 0], [*names, "mean"], spec.evaluation)))
    io.write_table(agree, arguments.agreement, "agreement", caveat)


@dataclass(frozen=True)
class Survey:
    """What all strata share.

    encoded: [N, Q]; weight: [N]; answers: fewest that make a pair; country: [N], of several.
    """

    encoded: tally.Ints
    weight: tally.Floats
    scale: tally.Scale
    answers: int
    labels: Weighting
    evaluation: Evaluation
    country: tally.Ints | None

    @property
    def width(self) -> int:
        """C."""
        return int(self.scale.codes.shape[1])

    def present(self, cell: tally.Ints, size: int) -> NDArray[np.bool_]:
        """[S, Q] whether enough of a subgroup answered a question."""
        counts = tally.count(self.encoded, cell, size, self.width)
        return np.asarray(counts.sum(axis=-1) >= self.answers)


def _resampled(survey: Survey, cell: tally.Ints, present: NDArray[np.bool_]) -> tally.Floats:
    """[measure, 1 + B, Q] a stratum's scores, then those of its bootstrap resamples."""
    e, size = survey.evaluation, len(present)
    counts = tally.count(survey.encoded, cell, size, survey.width)
    weighted = tally.count(survey.encoded, cell, size, survey.width, survey.weight)
    draws = diversity.respondent_draws(len(cell), e.resamples, e.seed)
    slabs = diversity.resampled_counts(
        survey.encoded, cell, size, survey.width, survey.weight, draws
    )
    scores = [_scores(survey, counts[None], weighted[None], present)]
    scores += [_scores(survey, heads, sums, present) for heads, sums in slabs]
    return np.concatenate(scores, axis=1)


def _permuted(
    survey: Survey,
    cells: list[tally.Ints],
    sizes: list[int],
    present: list[NDArray[np.bool_]],
    within: list[bool],
) -> tally.Floats:
    """[measure, B, stratum, Q] scores of all strata where subgroups mean nothing.

    Where a stratum lies `within` a country, its people change places with their compatriots.
    """
    e = survey.evaluation
    questions = len(survey.scale.questions)
    null = np.empty((len(MEASURES), e.resamples, len(cells), questions))
    for inside in sorted(set(within)):
        some = [i for i, own in enumerate(within) if own == inside]
        slabs = diversity.permuted_counts(
            survey.encoded,
            [cells[i] for i in some],
            [sizes[i] for i in some],
            survey.width,
            survey.weight,
            e.resamples,
            e.seed,
            block=survey.country if inside else None,
        )
        done = 0
        for strata in slabs:
            for i, (heads, sums) in zip(some, strata, strict=True):
                here = present[i] & (heads.sum(axis=-1) > 0)
                null[:, done : done + len(heads), i] = _scores(survey, heads, sums, here)
            done += len(strata[0][0])
    return null


def _scores(
    survey: Survey, counts: tally.Floats, weighted: tally.Floats, present: NDArray[np.bool_]
) -> tally.Floats:
    sums = {"unweighted": counts, "weighted": weighted}
    modes = modal.modes(sums[survey.labels.mode])
    return np.stack(
        [
            diversity.modal_diversity(modes, present, survey.scale),
            diversity.mean_wasserstein(sums[survey.labels.distribution], present, survey.scale),
        ]
    )


def _with_mean(scores: tally.Floats) -> tally.Floats:
    """[..., stratum + 1, Q] the strata's scores and, behind them, their mean."""
    return np.concatenate([scores, _mean(scores, axis=-2)[..., None, :]], axis=-2)


def _rows(
    scores: tally.Floats,
    null: tally.Floats,
    entered: tally.Ints,
    sizes: list[int],
    names: list[str],
    questions: pd.DataFrame,
    level: float,
) -> Iterator[dict[str, object]]:
    """Table rows: each stratum, then their mean; in each the questions, blocks and all together.

    A question of a stratum counts subgroups, a mean over strata counts these, a block questions.
    """
    blocks = questions["block"].to_numpy()
    some = {str(block): blocks == block for block in dict.fromkeys(blocks)}
    some["all"] = np.ones(len(blocks), dtype=bool)
    for m, measure in enumerate(MEASURES):
        for i, stratum in enumerate([*names, "mean"]):
            own, chance = scores[m, :, i], null[m, :, i]
            for q, question in enumerate(questions["question"]):
                about = {"stratum": stratum, "question": question, "block": blocks[q]}
                if stratum == "mean":
                    counted = _sizes(scores[m, 0, :-1, q])
                else:
                    n = int(entered[i, q])
                    counted = {"n": n, "missing": sizes[i] - n}
                numbers = _numbers(own[:, q], chance[:, q], level)
                yield {**about, "measure": measure, **counted, **numbers}
            for block, inside in some.items():
                about = {"stratum": stratum, "question": "mean", "block": block}
                numbers = _numbers(
                    _mean(own[:, inside], axis=1), _mean(chance[:, inside], axis=1), level
                )
                yield {**about, "measure": measure, **_sizes(own[0, inside]), **numbers}


def _sizes(values: tally.Floats) -> dict[str, int]:
    valid = int(np.isfinite(values).sum())
    return {"n": valid, "missing": len(values) - valid}


def _numbers(draws: tally.Floats, null: tally.Floats, level: float) -> dict[str, float]:
    """The estimate, which comes first, its interval from the rest, and what chance gives."""
    value = float(draws[0])
    low, high = bias_corrected(value, draws[1:], level, (0.0, 1.0))
    mean, top, p = against_null(value, null)
    ends = {"value": value, "ci_low": low, "ci_high": high}
    return {**ends, "null_mean": mean, "null_p95": top, "p_value": p}


def _agreement(
    scores: tally.Floats, names: list[str], e: Evaluation
) -> Iterator[dict[str, object]]:
    """Rank agreement of the two measures, [measure, stratum, Q], over the questions of a stratum.

    Questions are resampled; those without an order have no distance and are missing.
    """
    for i, stratum in enumerate(names):
        both = scores[:, i][:, np.isfinite(scores[:, i]).all(axis=0)]
        n = both.shape[1]
        found = rank_agreement(both[0], both[1], e.resamples, e.level, e.seed)
        sizes = {"n": n, "missing": scores.shape[2] - n}
        for coefficient, ends in found.items():
            numbers = dict(zip(("value", "ci_low", "ci_high"), ends, strict=True))
            yield {"stratum": stratum, "coefficient": coefficient, **numbers, **sizes}


def _mean(values: tally.Floats, axis: int) -> tally.Floats:
    """Mean over the finite entries; NaN where there are none."""
    finite = np.isfinite(values)
    return ratio(np.where(finite, values, 0.0).sum(axis=axis), finite.sum(axis=axis))
