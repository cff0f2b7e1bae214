"""Try a judge: texts that tell it what to answer, longer ones, and the same text twice."""

import argparse
import logging

import numpy as np
import pandas as pd

from valuestrata import io, judge_tables, paths, tables
from valuestrata.metrics.proportion import share_with_interval
from valuestrata.prompting import judging, probing
from valuestrata.prompting.judging import PairwiseComparison
from valuestrata.prompting.probing import Probe
from valuestrata.prompting.verdicts import Verdicts
from valuestrata.provenance import text_digest
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.judging import (
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

TEXTS = 50
"""Texts that a judge is tried with where the study says no number."""
OUTCOMES = {"instruction": ("won", "lost"), "length": ("won", "lost"), "same": ("first", "second")}
"""What is counted: whether the changed text won or lost, and which of two equal ones won."""


class Settings(JudgeSettings):
    """What a judge is tried with, beside what its verdicts depend on."""

    n: int
    confidence_level: float


def runs(study: Study) -> list[dict[str, str]]:
    """The judges that the study wants tried."""
    return [{"judge": judge} for judge in study.probed_judges()]


def settings(study: Study, judge: str) -> Settings:
    """Settings of a judge's trial."""
    config = study.judges[judge]
    return Settings(
        **judge_settings(study, judge, [config.reference.model]),
        n=config.probes or TEXTS,
        confidence_level=study.evaluation.confidence_level,
    )


def inputs(study: Study, judge: str) -> Files:
    """The reference's texts on all splits, and what the judge is shown beside them."""
    run = study.judges[judge].reference.model_dump()
    splits = [s for m, v, s in study.generation_runs() if (m, v) == tuple(run.values())]
    return {
        **shown_files(study, study.judges[judge].rubric, splits),
        "texts": tuple(at(study, paths.TEXTS, **run, split=split) for split in splits),
        **model_files(study, judge),
    }


def outputs(study: Study, judge: str) -> Files:
    """A row for each probe, dimension and outcome."""
    return {"probes": at(study, paths.PROBES, judge=judge)}


def entries(settings: Settings) -> tuple[str, ...]:
    """The backend and the parser."""
    return judge_entries(settings)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Resources of the job."""
    add_model_options(parser)


def run(job: Job[Settings]) -> None:
    """Write how often changed texts won, by probe and dimension."""
    rubric = judging.rubric(job.settings.rubric)
    texts = [io.read_table(path, tables.TEXTS) for path in job.paths("texts")]
    frames = [
        answers.merge(shown, on=PAIR, how="left", validate="one_to_one")
        for answers, shown in zip(texts, read_shown(job.files, rubric), strict=True)
    ]
    chosen = draw(pd.concat(frames, ignore_index=True), job.settings.n, job.settings.seed)
    dimensions = list(rubric.dimensions)
    made = probing.probes([str(text) for text in chosen["text"]], dimensions)
    rows = io.records(chosen)
    comparisons = [
        PairwiseComparison(row["persona"], row["prompt"], p.first, p.second, row["distribution"])
        for p in made
        for row in [rows[p.item]]
    ]
    judged = ask_judge(job, rubric, comparisons, "probe")
    table = pd.DataFrame(
        [
            row
            for dimension in dimensions
            for row in shares(made, judged.verdicts, chosen["question"], dimension, job.settings)
        ]
    )
    log.info("%d texts, %d comparisons", len(chosen), len(made))
    table = table.assign(judge_version=judged.version)
    io.write_table(table, job.path("probes"), judge_tables.PROBES, judged.record)


def draw(texts: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """At most n answers: one of each question before a second of any, in an order by a hash."""
    answers = texts[texts["outcome"].eq("answer") & texts["text"].fillna("").str.strip().ne("")]
    keys = answers[PAIR].astype(str).to_numpy().tolist()
    order = np.argsort([text_digest([str(seed), *key]) for key in keys], kind="stable")
    ordered = answers.iloc[order]
    turn = ordered.groupby("question").cumcount()
    picked = ordered.iloc[np.argsort(turn.to_numpy(), kind="stable")[:n]]
    return picked.sort_values(PAIR, kind="stable", ignore_index=True)


def shares(
    made: list[Probe],
    verdicts: list[Verdicts],
    questions: pd.Series,
    dimension: str,
    settings: Settings,
) -> list[dict[str, object]]:
    """A row for each probe and outcome: how often, of all comparisons with a verdict.

    Args:
        made: the comparisons.
        verdicts: of each.
        questions: of each text; comparisons of one question are not independent.
        dimension: what was judged.
        settings: the interval's level.
    """
    clusters = pd.factorize(questions)[0]
    rows: list[dict[str, object]] = []
    for name, outcomes in OUTCOMES.items():
        chosen = [(p, v[dimension]) for p, v in zip(made, verdicts, strict=True) if p.name == name]
        ids = np.array([clusters[p.item] for p, _ in chosen], dtype=np.intp)
        scores = np.array([_of_changed(p, score) for p, score in chosen], dtype=np.float64)
        for outcome, score in zip(outcomes, (1.0, 0.0), strict=True):
            events = np.where(np.isnan(scores), np.nan, scores == score)
            value, low, high = share_with_interval(events, ids, settings.confidence_level)
            n = int(np.isfinite(events).sum())
            row = {"probe": name, "dimension": dimension, "outcome": outcome, "value": value}
            rows.append({**row, "ci_low": low, "ci_high": high, "n": n, "missing": len(ids) - n})
    return rows


def _of_changed(probe: Probe, score: float | None) -> float:
    """Score of the changed text, or of the first of two equal ones; NaN without a verdict."""
    if score is None:
        return float("nan")
    return 1 - score if probe.changed == "second" else score
