"""The text pairs that judges compared, and their verdicts, of all runs of a study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.errors import InputError
from valuestrata.stages.job import Files, Job, at, check_input, several
from valuestrata.study.base import FrozenMap, Part
from valuestrata.study.study import Run, Study
from valuestrata.tables import PAIR

Reference = tuple[str, str]
"""Model and variant of a reference run."""


class TextPairSettings(Part):
    """Which texts are compared with which.

    Attributes:
        study: name of the study.
        generation_runs: model, variant and split of each run that writes texts.
        references: the run that each judge compares the others with.
        caveat: what the study says about toys and simulated data.
    """

    study: str
    generation_runs: tuple[tuple[str, str, str], ...]
    references: FrozenMap[str, tuple[str, str]]
    caveat: str


def text_pair_settings(study: Study) -> dict[str, Any]:
    """The fields of TextPairSettings."""
    return {
        "study": study.name,
        "generation_runs": tuple(study.generation_runs()),
        "references": {
            name: (judge.reference.model, judge.reference.variant)
            for name, judge in study.judges.items()
        },
        "caveat": study.caveat,
    }


def text_pair_inputs(study: Study) -> Files:
    """Pairs of each split with texts, all texts, and all verdicts."""
    runs = [
        dict(zip(("model", "variant", "split"), run, strict=True))
        for run in study.generation_runs()
    ]
    return {
        "pairs": tuple(at(study, paths.PAIRS, split=split) for split in study.splits_with_texts()),
        "texts": tuple(at(study, paths.TEXTS, **run) for run in runs),
        "verdicts": tuple(
            at(study, paths.VERDICTS, **run, judge=judge) for run in runs for judge in study.judges
        ),
    }


@dataclass(frozen=True)
class TextPairs:
    """Where texts and verdicts are. Files are checked as they are read.

    Attributes:
        settings: the runs and the references.
        files: paths as `text_pair_inputs` gives them.
        check: refuses a file that is not what the study asks for.
    """

    settings: TextPairSettings
    files: Files
    check: Callable[[str], None] = lambda _: None

    @classmethod
    def of_study(cls, study: Study, more: Files | None = None) -> "TextPairs":
        """Those of a study, for a command, with more files that it reads."""
        settings = TextPairSettings(**text_pair_settings(study))
        files = {**text_pair_inputs(study), **(more or {})}
        return cls(settings, files, partial(check_input, study))

    @classmethod
    def of_job(cls, job: Job[Any]) -> "TextPairs":
        """Those of a stage, whose inputs were checked."""
        return cls(job.settings, job.files)

    def pairs(self, reference: Reference) -> pd.DataFrame:
        """Every text pair with a reference.

        Columns: those of `annotation.sample.ITEM`, persona, prompt, text and reference. Pairs
        without one of the texts are left out, and so is the reference itself.

        Raises:
            InputError: a table is missing, or is not what the study asks for.
        """
        frames = []
        for model, variant, split in self.settings.generation_runs:
            if (model, variant) == reference:
                continue
            texts = self._texts((model, variant, split))
            others = self._texts((*reference, split))[[*PAIR, "text"]]
            both = texts.merge(others.rename(columns={"text": "reference"}), on=PAIR)
            both = both.merge(self._personas(split), on=PAIR).dropna(subset=["text", "reference"])
            run = {"model": model, "variant": variant, "split": split}
            frames.append(both[[*PAIR, "persona", "prompt", "text", "reference"]].assign(**run))
        if not frames:
            raise InputError(
                f"{self.settings.study}: no run but the reference writes open-ended answers"
            )
        return pd.concat(frames, ignore_index=True)

    def verdicts(self, judge: str) -> pd.DataFrame:
        """A judge's verdicts on every run but its reference, with the run's names.

        Raises:
            InputError: a table is missing, or is not what the study asks for.
        """
        frames = []
        for (model, variant, split, name), path in self.verdict_files().items():
            if name == judge and (model, variant) != self.settings.references[judge]:
                self.check(path)
                run = {"model": model, "variant": variant, "split": split}
                frames.append(io.read_table(path, tables.VERDICTS).assign(**run))
        if not frames:
            raise InputError(f"{self.settings.study}: {judge} judges no run but its reference")
        return pd.concat(frames, ignore_index=True)

    def verdict_files(self) -> Mapping[tuple[str, str, str, str], str]:
        """The table of verdicts of each run and judge."""
        keys = [
            (*run, judge)
            for run in self.settings.generation_runs
            for judge in self.settings.references
        ]
        return dict(zip(keys, several(self.files["verdicts"]), strict=True))

    def splits(self) -> list[str]:
        """Splits with texts, in the order of the files of pairs."""
        return list(dict.fromkeys(split for *_, split in self.settings.generation_runs))

    def _texts(self, run: Run) -> pd.DataFrame:
        files = several(self.files["texts"])
        path = dict(zip(self.settings.generation_runs, files, strict=True))[run]
        self.check(path)
        return io.read_table(path, tables.TEXTS)

    def _personas(self, split: str) -> pd.DataFrame:
        path = dict(zip(self.splits(), several(self.files["pairs"]), strict=True))[split]
        self.check(path)
        return io.read_table(path, tables.PAIRS, [*PAIR, "persona"])
