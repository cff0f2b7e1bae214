"""Compare answers to perturbed prompts with those to the study's own; read the probes."""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd

from valuestrata import evaluation_tables, io, paths, tables
from valuestrata.contracts import frame_of
from valuestrata.report.comparison import Row
from valuestrata.report.contamination import MAIN, item_rows, national_rows
from valuestrata.report.families import adjusted_sensitivity
from valuestrata.report.perturbed_answers import (
    AGREEMENT,
    Floats,
    PairAnswers,
    PairArrays,
    answers_on,
    by_probability,
    compared,
    following,
    of_partners,
)
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.perturbed import (
    asked_runs,
    compared_runs,
    perturbed_splits,
    probes_country,
    probes_items,
    reworded,
)
from valuestrata.study.sensitivity import Perturbation
from valuestrata.study.study import Run, Study
from valuestrata.survey.national import national_shares
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)

RULE = "not applicable: a rule reads no prompt"
FOLDS = "not applicable: a k-fold recipe has a model for each fold, and none is asked again"
SERVICE = "not applicable: a service scores no text that it is given"
SILENT = "no probabilities of options"
NO_ANSWER = "nothing was answered in both"
NO_WORDINGS = "no question has this control; sensitivity.wordings gives paraphrases"
COLUMNS = [*PAIR, "answer", "distribution"]


class Settings(Part):
    """Which runs are compared, and how.

    Attributes:
        splits: that are perturbed.
        runs: all in the study's own prompt, on the splits that are perturbed.
        asked: of them, those that were asked again.
        perturbations: those that are reported.
        reworded: those for which pairs were asked again.
        baselines: models that are rules.
        weighted: whether the country's answers are weighted.
        seed: of who is swapped.
    """

    splits: tuple[str, ...]
    runs: tuple[Run, ...]
    asked: tuple[Run, ...]
    perturbations: tuple[Perturbation, ...]
    reworded: tuple[Perturbation, ...]
    baselines: tuple[str, ...]
    weighted: bool
    seed: int
    evaluation: Evaluation
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """One table a study, where it perturbs prompts."""
    return [{}] if study.sensitivity else []


def settings(study: Study) -> Settings:
    """The runs and what they are compared by."""
    config = study.sensitivity
    assert config is not None, "the study perturbs nothing"
    chosen = compared_runs(study)
    return Settings(
        splits=tuple(perturbed_splits(study)),
        runs=tuple(chosen),
        asked=tuple(asked_runs(study)),
        perturbations=config.perturbations,
        reworded=tuple(reworded(study)),
        baselines=tuple(dict.fromkeys(m for m, _, _ in chosen if study.is_baseline(m))),
        weighted=study.labels.distribution == "weighted",
        seed=config.seed,
        evaluation=study.evaluation,
        caveat=study.caveat,
    )


def inputs(study: Study) -> Files:
    """Pairs, predictions of all these runs, their answers to perturbed prompts, and the survey."""

    keys = ("model", "variant", "split")
    asked = [dict(zip(keys, run, strict=True)) for run in asked_runs(study)]
    files: dict[str, str | tuple[str, ...]] = {
        "pairs": tuple(at(study, paths.PAIRS, split=split) for split in perturbed_splits(study)),
        "predictions": tuple(
            at(study, paths.PREDICTIONS, model=model, variant=variant, split=split)
            for model, variant, split in compared_runs(study)
        ),
        "perturbed": tuple(
            at(study, paths.PERTURBED, **run, perturbation=name)
            for run in asked
            for name in reworded(study)
        ),
        "item_texts": tuple(
            at(study, paths.ITEM_TEXTS, **run) for run in asked if probes_items(study)
        ),
    }
    if probes_country(study):
        files["questions"] = at(study, paths.QUESTIONS)
        files["responses"] = at(study, paths.RESPONSES)
    return files


def outputs(study: Study) -> Files:
    """A row for each run, perturbation and metric."""
    return {"sensitivity": at(study, paths.SENSITIVITY)}


def run(job: Job[Settings]) -> None:
    """Write report/sensitivity.parquet."""
    config, answered = job.settings, AnswerTables(job)
    rows = []
    for model, variant, split in config.runs:
        about = {"model": model, "variant": variant, "split": split}
        for name in config.perturbations:
            made = answered.rows((model, variant, split), name)
            rows += [{**about, "perturbation": name, "note": "", **row} for row in made]
    frame = frame_of(rows, evaluation_tables.SENSITIVITY)
    frame = adjusted_sensitivity(frame, config.evaluation.confidence_level)
    log.info("%d rows of %d runs", len(frame), len(config.runs))
    io.write_table(frame, job.path("sensitivity"), evaluation_tables.SENSITIVITY, job.record)


class AnswerTables:
    """The tables of a job: pairs, and answers of each run to the study's and to other prompts."""

    def __init__(self, job: Job[Settings]) -> None:
        """Read pairs; answers are read when they are compared."""
        self.config = job.settings
        self._pairs = {
            split: PairArrays.of(io.read_table(path, tables.PAIRS))
            for split, path in zip(self.config.splits, job.paths("pairs"), strict=True)
        }
        asked = [(*run, name) for run in self.config.asked for name in self.config.reworded]
        self._perturbed = dict(zip(asked, job.paths("perturbed"), strict=True))
        self._predictions = dict(zip(self.config.runs, job.paths("predictions"), strict=True))
        self._items = dict(zip(self.config.asked, job.paths("item_texts"), strict=False))
        self._kept: tuple[Run, pd.DataFrame] | None = None
        self._shares: Mapping[tuple[str, str], Floats] = {}
        if "responses" in job.files:
            responses = io.read_table(job.path("responses"), tables.RESPONSES)
            questions = io.read_table(job.path("questions"), tables.QUESTIONS)
            self._shares = national_shares(responses, questions, self.config.weighted)

    def rows(self, run: Run, name: Perturbation) -> list[Row]:
        """What a run shows under a perturbation; one row that says why there is nothing to show."""
        pairs, evaluation = self._pairs[run[2]], self.config.evaluation
        if run[0] in self.config.baselines:
            return [_nothing(name, pairs, RULE)]
        if name == "item_text":
            return self._item_rows(run, pairs)
        if name == "persona_swapped":
            first = self._answers(run, pairs)
            second, modes = of_partners(pairs, first, self.config.seed)
            rows = compared(pairs, first, second, evaluation)
            return _noted([*rows, *following(pairs, first, second, modes, evaluation)], first)
        if name == "first_token":
            first = self._answers(run, pairs)
            second = by_probability(pairs, first)
            return _noted(compared(pairs, first, second, evaluation, False), first)
        if run not in self.config.asked:
            return [_nothing(name, pairs, FOLDS)]
        asked = "persona_dropped" if name == "national_distribution" else name
        names = [*COLUMNS, "outcome"]
        frame = io.read_table(self._perturbed[*run, asked], tables.PREDICTIONS, names)
        pairs = pairs.among(pd.MultiIndex.from_frame(frame[PAIR]))
        second = answers_on(frame, pairs)
        if name == "national_distribution":
            return _noted(national_rows(pairs, second, self._shares, evaluation), second)
        rows = _noted(compared(pairs, self._answers(run, pairs), second, evaluation), second)
        if n_failed := int(frame["outcome"].eq("failed").sum()):
            rows[0] = {**rows[0], "note": f"{n_failed:,} of {len(frame):,} calls failed"}
        return rows

    def _answers(self, run: Run, pairs: PairArrays) -> PairAnswers:
        """A run's answers to the study's own prompt; the last run's table is kept."""
        if self._kept is None or self._kept[0] != run:
            frame = io.read_table(self._predictions[run], tables.PREDICTIONS, COLUMNS)
            self._kept = (run, frame)
        return answers_on(self._kept[1], pairs)

    def _item_rows(self, run: Run, pairs: PairArrays) -> list[Row]:
        """How probable items are; all that a service and a k-fold recipe cannot tell."""
        if run not in self._items:
            return [_nothing("item_text", pairs, FOLDS)]
        items = io.read_table(self._items[run], evaluation_tables.ITEM_TEXTS)
        if items.empty:
            return [_nothing("item_text", pairs, SERVICE)]
        rows = item_rows(items, self.config.evaluation)
        return [row if row["n"] else {**row, "note": NO_WORDINGS} for row in rows]


def _nothing(name: Perturbation, pairs: PairArrays, note: str) -> Row:
    """The row of a perturbation that a run cannot show; probes count questions."""
    n = len(np.unique(pairs.cluster)) if name in MAIN else len(pairs.keys)
    return {"metric": MAIN.get(name, AGREEMENT), "n": 0, "missing": n, "note": note}


def _noted(rows: list[Row], answers: PairAnswers) -> list[Row]:
    """The rows, where there is nothing with the reason."""
    has_text = bool(np.isfinite(answers.answer).any())
    why = SILENT if has_text else NO_ANSWER
    return [row if row["n"] else {**row, "note": why} for row in rows]
