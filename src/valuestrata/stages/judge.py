"""Compare a run's open-ended answers with the reference's, each pair in both orders."""

import argparse
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.metrics import winrate
from valuestrata.prompting import judging
from valuestrata.prompting.judging import PairwiseComparison
from valuestrata.prompting.thinking import split_thought
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.judging import (
    Judged,
    JudgeSettings,
    ask_judge,
    judge_entries,
    judge_settings,
    read_shown,
    shown_files,
)
from valuestrata.stages.models import add_model_options, model_files
from valuestrata.study.study import Study
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)

ORDERS = ("first", "second")
"""Where the run's answer is shown."""
NO_TEXT = ("failed", "invalid", "truncated")
"""Outcomes of texts that cannot be compared."""

Settings = JudgeSettings


def runs(study: Study) -> list[dict[str, str]]:
    """Every run that writes open-ended answers, by every judge that is a model."""
    keys = ("model", "variant", "split", "judge")
    named = [dict(zip(keys, names, strict=True)) for names in study.judgements()]
    return [run for run in named if run["judge"] in study.judge_models]


def settings(study: Study, model: str, variant: str, split: str, judge: str) -> Settings:
    """Settings of a judge's verdicts on a run."""
    models = (model, study.judges[judge].reference.model)
    return Settings(**judge_settings(study, judge, models))


def inputs(study: Study, model: str, variant: str, split: str, judge: str) -> Files:
    """Both runs' texts, what the judge is shown beside them, and what it is read from."""
    reference = study.judges[judge].reference.model_dump()
    return {
        **shown_files(study, study.judges[judge].rubric, [split]),
        "texts": at(study, paths.TEXTS, model=model, variant=variant, split=split),
        "reference": at(study, paths.TEXTS, **reference, split=split),
        **model_files(study, judge),
    }


def outputs(study: Study, model: str, variant: str, split: str, judge: str) -> Files:
    """A row for each pair and dimension."""
    run = {"model": model, "variant": variant, "split": split}
    return {"verdicts": at(study, paths.VERDICTS, **run, judge=judge)}


def entries(settings: Settings) -> tuple[str, ...]:
    """The backend and the parser."""
    return judge_entries(settings)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Resources of the job."""
    add_model_options(parser)


def run(job: Job[Settings]) -> None:
    """Write a row for each pair and dimension; answers that either run lacks count as failed."""
    rubric = judging.rubric(job.settings.rubric)
    (shown,) = read_shown(job.files, rubric)
    responses = _responses(job, shown)
    compared = responses[responses["comparable"]]
    sides = {"first": ["text", "reference"], "second": ["reference", "text"]}
    comparisons = [
        PairwiseComparison(
            row["persona"], row["prompt"], row[first], row[second], row["distribution"]
        )
        for row in io.records(compared)
        for first, second in (sides[order] for order in ORDERS)
    ]
    judged = ask_judge(job, rubric, comparisons, f"judge-{job.record.run['judge']}")
    # those that were compared come first
    responses = pd.concat([compared, responses[~responses["comparable"]]], ignore_index=True)
    verdicts = _verdicts(responses, judged, list(rubric.dimensions))
    n_missing = int((verdicts["outcome"] != "verdict").sum())
    log.info("%d verdicts, %d invalid, truncated or failed", len(verdicts), n_missing)
    io.write_table(verdicts, job.path("verdicts"), tables.VERDICTS, judged.record)


def _responses(job: Job[Settings], shown: pd.DataFrame) -> pd.DataFrame:
    """The run's and the reference's texts side by side, with what the judge is shown with them."""
    texts = io.read_table(job.path("texts"), tables.TEXTS)
    reference = io.read_table(job.path("reference"), tables.TEXTS)
    reference = reference[[*PAIR, "text", "outcome"]]
    reference = reference.rename(columns={"text": "reference", "outcome": "reference_outcome"})
    both = texts.merge(reference, on=PAIR, how="left", validate="one_to_one")
    both = both.merge(shown, on=PAIR, how="left", validate="one_to_one")
    has_text = ~both["outcome"].isin(NO_TEXT) & ~both["reference_outcome"].isin(NO_TEXT)
    return both.assign(comparable=has_text & both["reference"].notna())


def _verdicts(responses: pd.DataFrame, judged: Judged, dimensions: Sequence[str]) -> pd.DataFrame:
    """A row for each response and dimension.

    Args:
        responses: n of them, of which the first k were compared.
        judged: [2 k] the judge's replies, in both orders of each.
        dimensions: what was compared.
    """
    n, width = len(responses), len(dimensions)
    scores = np.full((n, len(ORDERS), width), np.nan)
    has_reply = np.zeros((n, len(ORDERS)), dtype=bool)
    is_cut = np.zeros((n, len(ORDERS)), dtype=bool)
    for i, (verdict, reply) in enumerate(zip(judged.verdicts, judged.replies, strict=True)):
        place = divmod(i, len(ORDERS))
        scores[place] = [np.nan if score is None else score for score in verdict.values()]
        has_reply[place] = reply.text is not None
        is_cut[place] = reply.is_cut or not split_thought(reply.text or "").is_finished
    as_first, as_second = scores[:, 0].ravel(), winrate.flip_score(scores[:, 1]).ravel()
    score = winrate.score(as_first, as_second)
    is_answered = np.repeat(has_reply.all(axis=1), width)
    no_verdict = np.where(np.repeat(is_cut.any(axis=1), width), "truncated", "invalid")
    repeated = responses.loc[responses.index.repeat(width)].reset_index(drop=True)
    lengths = repeated[["text", "reference"]].fillna("").map(len)
    return pd.DataFrame(
        {
            **{name: repeated[name] for name in PAIR},
            "dimension": list(dimensions) * n,
            "outcome": np.where(
                ~is_answered, "failed", np.where(np.isnan(score), no_verdict, "verdict")
            ),
            "as_first": as_first,
            "as_second": as_second,
            "score": score,
            "flipped": winrate.flipped(as_first, as_second),
            "length_difference": lengths["text"] - lengths["reference"],
            "judge_version": judged.version,
            "judge_notes": judged.notes,
        }
    )
