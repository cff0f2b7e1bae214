"""Simulate people who annotate text pairs: their page, its key, and what they chose."""

import csv
import io as text
from pathlib import Path

from valuestrata import io, paths
from valuestrata.annotation import sample
from valuestrata.annotation.answers import COLUMNS
from valuestrata.demo.annotators import annotations
from valuestrata.prompting.settings import rubric_id
from valuestrata.stages.annotation import draw_sample, page_and_key, survey_answers
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.text_pairs import (
    TextPairs,
    TextPairSettings,
    text_pair_inputs,
    text_pair_settings,
)
from valuestrata.study.base import FrozenMap
from valuestrata.study.study import Study

MINUTES = 2.0
"""That one text pair takes a person, on the page."""


class Settings(TextPairSettings):
    """What the choices depend on."""

    judge: str
    rubric: str
    n: int
    seed: int
    slips: FrozenMap[str, float]


def runs(study: Study) -> list[dict[str, str]]:
    """One sample a study, where annotators are simulated."""
    return [{}] if study.simulated_annotators else []


def settings(study: Study) -> Settings:
    """Settings of the simulated annotators.

    Raises:
        ValueError: the study has none.
    """
    annotators = study.simulated_annotators
    if annotators is None:
        raise ValueError(f"{study.name} simulates no annotators")
    judge = study.annotated_judge
    return Settings(
        **text_pair_settings(study),
        judge=judge,
        rubric=rubric_id(study.rubric(judge)),
        n=annotators.n,
        seed=annotators.seed,
        slips=annotators.slips,
    )


def inputs(study: Study) -> Files:
    """All texts and verdicts, and the survey's answers where the judge is told them."""
    return {**text_pair_inputs(study), **survey_answers(study, study.annotated_judge)}


def outputs(study: Study) -> Files:
    """The page, its key, a csv file as the page saves it, and their record."""
    page = at(study, paths.SIMULATED_PAGE)
    return {
        "page": page,
        "key": at(study, paths.SIMULATED_KEY),
        "annotations": at(study, paths.SIMULATED_ANNOTATIONS),
        "record": str(Path(page).parent / paths.MADE_OF),
    }


def run(job: Job[Settings]) -> None:
    """Draw a sample as `valuestrata annotate` does, and have a script annotate it."""
    chosen, pairs = job.settings, TextPairs.of_job(job)
    drawn = draw_sample(pairs, chosen.judge, chosen.n, chosen.seed)
    html, key = page_and_key(pairs, drawn, chosen.judge, chosen.rubric, MINUTES)
    rows = annotations(
        sample.shown_items(drawn.items), key["dimensions"], chosen.slips, chosen.seed
    )
    table = text.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    io.write_text(html, job.path("page"))
    io.write_json(key, job.path("key"), job.record)
    io.write_text(table.getvalue(), job.path("annotations"))
    io.write_record(job.record, Path(job.path("record")).parent)
