"""Word a sample of a split's pairs in perturbed prompts, one table a perturbation."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.prompting.perturbations import perturbed_messages
from valuestrata.prompting.settings import PromptSettings, prompt_settings
from valuestrata.provenance import text_digest
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.perturbed import perturbed_splits, reworded, wordings_input
from valuestrata.study.sensitivity import Perturbation
from valuestrata.study.study import Study
from valuestrata.survey.groups import read_groups
from valuestrata.survey.tally import subgroup_groups
from valuestrata.survey.wordings import read_wordings
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)


class Settings(Part):
    """Which pairs are worded anew, and how."""

    perturbations: tuple[Perturbation, ...]
    max_pairs: int
    seed: int
    prompt: PromptSettings
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """The splits that are asked in perturbed prompts."""
    return [{"split": split} for split in perturbed_splits(study) if reworded(study)]


def settings(study: Study, split: str) -> Settings:
    """Settings of a split's sample and its wordings."""
    config = study.sensitivity
    assert config is not None, "the study perturbs nothing"
    return Settings(
        perturbations=tuple(reworded(study)),
        max_pairs=config.max_pairs,
        seed=config.seed,
        prompt=prompt_settings(study),
        caveat=study.survey_caveat,
    )


def inputs(study: Study, split: str) -> Files:
    """The pairs, the questions, the groups of each axis, and other wordings if there are any."""
    return {
        "pairs": at(study, paths.PAIRS, split=split),
        "questions": at(study, paths.QUESTIONS),
        "groups": at(study, paths.GROUPS_OF_AXES),
        **wordings_input(study),
    }


def outputs(study: Study, split: str) -> Files:
    """The sample in each perturbed prompt."""
    return {"perturbed": perturbed_pairs(study, split)}


def perturbed_pairs(study: Study, split: str) -> tuple[str, ...]:
    """Paths of a split's pairs in perturbed prompts."""
    return tuple(
        at(study, paths.PERTURBED_PAIRS, split=split, perturbation=name) for name in reworded(study)
    )


def run(job: Job[Settings]) -> None:
    """Write the same pairs once for each perturbation."""
    config = job.settings
    pairs = io.read_table(job.path("pairs"), tables.PAIRS)
    chosen = sample(pairs, config.max_pairs, config.seed)
    questions = io.records(io.read_table(job.path("questions"), tables.QUESTIONS))
    by_name = {str(row["question"]): row for row in questions}
    groups = read_groups(job.path("groups"))
    wordings = job_wordings(job)
    for name, path in zip(config.perturbations, job.paths("perturbed"), strict=True):
        messages = [
            perturbed_messages(prompt, name, traits, by_name[question], wordings)
            for subgroup, question in zip(chosen["subgroup"], chosen["question"], strict=True)
            for prompt, traits in [groups.persona_phrase(config.prompt, subgroup_groups(subgroup))]
        ]
        frame = chosen.assign(
            persona=[first for first, _ in messages],
            closed_prompt=[second for _, second in messages],
        )
        io.write_table(frame, path, tables.PAIRS, job.record)
    n_questions = chosen["question"].nunique()
    log.info("%d of %d pairs, of %d questions", len(chosen), len(pairs), n_questions)


def job_wordings(job: Job[Settings]) -> Mapping[str, str]:
    """Other wordings by question; none where the study names no file."""
    files = job.paths("wordings")
    return read_wordings(Path(files[0])) if files else {}


def sample(pairs: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """At most n pairs: one of each question before a second of any, in an order by a hash."""
    keys = pairs[PAIR].astype(str).to_numpy().tolist()
    order = np.argsort([text_digest([str(seed), *key]) for key in keys], kind="stable")
    ordered = pairs.iloc[order]
    turn = ordered.groupby("question").cumcount().to_numpy()
    first = ordered.iloc[np.argsort(turn, kind="stable")[:n]]
    return first.sort_index().reset_index(drop=True)
