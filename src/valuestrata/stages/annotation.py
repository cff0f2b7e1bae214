"""A blind sample of judged text pairs: its page and its key, and reading what came back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from valuestrata import io
from valuestrata.annotation import page, sample
from valuestrata.annotation.answers import read_answers
from valuestrata.annotation.reliability import agreement_table
from valuestrata.errors import InputError
from valuestrata.prompting import judging
from valuestrata.stages.job import Files, paths_of
from valuestrata.stages.judging import read_shown, shown_files
from valuestrata.stages.text_pairs import TextPairs
from valuestrata.study.evaluation import Evaluation
from valuestrata.study.rubrics import Rubric
from valuestrata.study.study import Study
from valuestrata.tables import PAIR

Key = Mapping[str, Any]
"""What `valuestrata annotate` keeps of a sample: which text is whose."""


@dataclass(frozen=True)
class Drawn:
    """A sample of text pairs.

    Attributes:
        name: of the sample, a digest of what it holds.
        items: its text pairs, with `sample_id`, `digest` and `run_is`.
        available: text pairs that it was drawn from.
        identical: pairs with twice the same text, which were left out.
    """

    name: str
    items: pd.DataFrame
    available: int
    identical: int


def draw_sample(pairs: TextPairs, judge: str, n: int, seed: int) -> Drawn:
    """A sample of the text pairs that a judge compared, but those with twice the same text.

    Raises:
        InputError: there is none, or a table is not what the study asks for.
    """
    study = pairs.settings.study
    every = pairs.pairs(pairs.settings.references[judge])
    verdicts = pairs.verdicts(judge)
    # where the judge had no text to compare, people have none
    judged = verdicts[verdicts["outcome"] != "failed"][sample.ITEM].drop_duplicates()
    compared = every.merge(judged, on=sample.ITEM)
    different = compared[compared["text"] != compared["reference"]]
    if different.empty:
        raise InputError(f"{study}: {judge} compared no two texts that differ")
    name, items = sample.named(sample.draw(different, n, seed), study)
    return Drawn(name, items, len(different), len(compared) - len(different))


def page_and_key(
    pairs: TextPairs, drawn: Drawn, judge: str, rubric_name: str, minutes: float
) -> tuple[str, dict[str, Any]]:
    """The annotators' page, and what un-blinds it."""
    rubric = judging.rubric(rubric_name)
    task = page.Task(
        title="Which answer is better?",
        sample=drawn.name,
        criteria=rubric.dimensions,
        rubric=judging.rubric_text(rubric),
        minutes=minutes,
        caveat=pairs.settings.caveat,
    )
    model, variant = pairs.settings.references[judge]
    key = {
        "sample": drawn.name,
        "judge": judge,
        "reference": {"model": model, "variant": variant},
        "dimensions": list(rubric.dimensions),
        "items": sample.key(drawn.items),
    }
    items = drawn.items.assign(distribution=_distributions(pairs, drawn.items, rubric))
    return page.render(task, sample.shown_items(items)), key


def survey_answers(study: Study, judge: str) -> Files:
    """What annotators are shown beside texts, as the judge is: survey answers, if it is told."""
    return shown_files(study, study.rubric(judge), study.splits_with_texts())


def _distributions(pairs: TextPairs, items: pd.DataFrame, rubric: Rubric) -> list[str]:
    """How each item's subgroup answered, in the rubric's words; '' where the judge is not told."""
    if "labels" not in pairs.files:
        return [""] * len(items)
    for path in paths_of({name: pairs.files[name] for name in ("labels", "questions")}):
        pairs.check(path)
    shown = [
        frame.assign(split=split)
        for split, frame in zip(pairs.splits(), read_shown(pairs.files, rubric), strict=True)
    ]
    names = ["split", *PAIR]
    told = pd.concat(shown, ignore_index=True)[[*names, "distribution"]]
    return items[names].merge(told, on=names, how="left")["distribution"].to_list()


def read_keys(files: Sequence[Path | str]) -> list[Key]:
    """The keys of samples.

    Raises:
        InputError: one cannot be read.
    """
    keys = []
    for path in files:
        try:
            key = io.read_json(path)
            expected = (
                key["sample"],
                key["reference"],
                key["dimensions"],
                key["items"][0]["digest"],
            )
            assert all(expected)
        except (OSError, ValueError, KeyError, IndexError, TypeError, AssertionError):
            raise InputError(f"{path}: not a key that `valuestrata annotate` wrote") from None
        keys.append(key)
    return keys


@dataclass(frozen=True)
class Annotated:
    """What annotators sent back, with the text pairs that they were given.

    Attributes:
        answers: sample_id, annotator, dimension, choice, seconds and score.
        items: the text pairs of their samples whose texts have not changed.
        n_changed: how many others were left out.
    """

    answers: pd.DataFrame
    items: pd.DataFrame
    n_changed: int

    @property
    def is_simulated(self) -> bool:
        """Whether an annotator is a script, by its name."""
        return bool(self.answers["annotator"].str.endswith(sample.SIMULATED).any())


def read_annotations(pairs: TextPairs, keys: Sequence[Key], files: Sequence[str]) -> Annotated:
    """Read csv files of the page by the keys of the samples.

    Raises:
        InputError: a file cannot be read, or all texts have changed since.
    """
    dimensions = {item["sample_id"]: key["dimensions"] for key in keys for item in key["items"]}
    answers = read_answers(files, dimensions, pairs.settings.study)
    items, n_changed = _unchanged(pairs, keys, answers)
    answers = answers.merge(items[["sample_id", "run_is"]], on="sample_id")
    answers["score"] = sample.choice_score(answers["choice"], answers["run_is"])
    return Annotated(answers, items, n_changed)


def _unchanged(
    pairs: TextPairs, keys: Sequence[Key], answers: pd.DataFrame
) -> tuple[pd.DataFrame, int]:
    """Items of the samples that were annotated, and how many were dropped as their texts changed.

    Columns: those of the key, and `reference_run`.
    """
    answered = set(answers["sample_id"])
    frames = []
    for key in keys:
        if not answered & {item["sample_id"] for item in key["items"]}:
            continue
        reference = (key["reference"]["model"], key["reference"]["variant"])
        today = pairs.pairs(reference)
        today["today"] = [sample.pair_digest(row) for row in io.records(today)]
        items = pd.DataFrame(key["items"])
        items = items.merge(today[[*sample.ITEM, "today"]], on=sample.ITEM, how="left")
        items["reference_run"] = pd.Series([reference] * len(items), dtype="object")
        frames.append(items)
    every = pd.concat(frames, ignore_index=True)
    same = every[every["digest"] == every["today"]].reset_index(drop=True)
    if not answered & set(same["sample_id"]):
        raise InputError(
            f"{pairs.settings.study}: the texts have changed since they were annotated, all of "
            "them; write a new page by `valuestrata annotate`"
        )
    return same, len(every) - len(same)


def compare_annotations(
    pairs: TextPairs, annotated: Annotated, evaluation: Evaluation
) -> pd.DataFrame:
    """The table HUMAN_AGREEMENT: people with each other and with every judge of their reference.

    It is called simulated where any of the annotators is.

    Raises:
        InputError: no judge has the sample's reference any more.
    """
    items = annotated.items
    frames = []
    for judge, reference in pairs.settings.references.items():
        of_judge = items[items["reference_run"] == reference]
        if not of_judge.empty:
            rows = pairs.verdicts(judge).merge(
                of_judge[["sample_id", *sample.ITEM]], on=sample.ITEM
            )
            frames.append(rows[["sample_id", "dimension", "score"]].assign(judge=judge))
    if not frames:
        raise InputError(
            f"{pairs.settings.study}: no judge has the reference of the sample any more"
        )
    verdicts = pd.concat(frames, ignore_index=True)
    table = agreement_table(annotated.answers, verdicts, items, evaluation)
    missing = table["missing"] + annotated.n_changed
    return table.assign(missing=missing, simulated=np.full(len(table), annotated.is_simulated))


def annotation_caveat(caveat: str, is_simulated: bool) -> str:
    """The study's caveat, and that annotators are simulated."""
    return ", ".join(filter(None, [caveat, "simulated annotators" * is_simulated]))
