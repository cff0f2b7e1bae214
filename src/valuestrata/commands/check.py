"""Check study files, each with the overlays that follow it, and against the survey's file."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from valuestrata.errors import InputError
from valuestrata.inference import model_files
from valuestrata.study.checks import uncounted, unpinned
from valuestrata.study.families import kin_of_judges
from valuestrata.study.load import ROOT, is_overlay, load_files
from valuestrata.study.perturbed import perturbation_notices, perturbed_splits
from valuestrata.study.study import Study, dump
from valuestrata.study.yaml import read_mapping
from valuestrata.survey.columns import check_columns
from valuestrata.survey.files import open_survey
from valuestrata.survey.open_questions import check_open_questions
from valuestrata.survey.reference import (
    Counts,
    comparison,
    count_pairs,
    is_singapore,
    release_of,
    same_design,
)
from valuestrata.survey.table import Headers, ReadOptions
from valuestrata.survey.wordings import check_wordings

if TYPE_CHECKING:
    from valuestrata.survey.codebook import Question
    from valuestrata.survey.readers import CleanSurvey

PAPERS_STUDY = "studies/wvs-sg.yaml"
MAX_VERSION = 40
"""Characters that are shown of a file's own version."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which files."""
    parser.add_argument(
        "files",
        nargs="+",
        help="study files; a file without splits and models is laid over the study before it, as "
        "snakemake's --configfile does, or over config.yaml if it comes first",
    )
    parser.add_argument(
        "--survey", action="store_true", help="the survey file and local models must exist, too"
    )
    parser.add_argument(
        "--merged", action="store_true", help="print the merged study, defaults included, as JSON"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print what each study is, and its warnings; the faults of bad ones end in exit 2."""
    faults = []
    for files in grouped(arguments.files):
        name = " + ".join(files)
        try:
            study = load_files(files, files=arguments.survey)
            lines, wrong = findings(study)
        except InputError as error:
            faults.append(f"{name}: {error}")
            continue
        faults += [f"{name}: {line}" for line in wrong]
        print(f"{name}: {described(study)}{'' if wrong else ': fine'}")
        for line in lines:
            print(f"{name}: {line}")
        if arguments.merged:
            print(json.dumps(dump(study), indent=2, ensure_ascii=False))
    if faults:
        raise InputError("\n".join(faults))


def findings(study: Study) -> tuple[list[str], list[str]]:
    """What is to be told of a study, its survey's file and its local models; and what is wrong."""
    wrong = check_columns(study, Path())
    wordless, doubtful = ([], []) if wrong else check_open_questions(study, Path())
    wrong += [*wordless, *check_wordings(study, Path()), *unreadable_models(study)]
    lines = [f"warning: {warning}" for warning in [*warnings(study), *doubtful]]
    if not wrong:
        try:
            lines += survey_lines(study)
        except InputError as error:
            wrong = [str(error)]
    return lines, wrong


def survey_lines(study: Study) -> list[str]:
    """What is doubtful of the survey's file, which is read whole; nothing where it is not here.

    World Values Survey wave 7, Singapore, is compared with what is known of it.

    Raises:
        InputError: the file cannot be right.
    """
    files = study.survey_file, study.survey.codebook
    if study.survey.simulate or not all(Path(file).is_file() for file in files):
        return []
    from valuestrata.stages import clean

    chosen, survey = clean.read(*files, clean.settings(study))
    lines = [f"warning: {notice}" for notice in survey.notices]
    if is_singapore(study):
        is_known, sentence = comparison(_counts(study, chosen, survey), release_of_file(study))
        lines.append(f"{'' if is_known else 'warning: '}{sentence}")
    return lines


def _counts(study: Study, chosen: "Sequence[Question]", survey: "CleanSurvey") -> Counts:
    """Counts of a Singapore file; of respondents alone where pairs are not the paper's."""
    if not same_design(study, load_files([ROOT / PAPERS_STUDY], files=False)):
        return Counts(len(survey.responses))
    import pandas as pd

    from valuestrata.survey import readers
    from valuestrata.survey.encoded import encode_survey

    questions = pd.DataFrame([readers.question_row(survey.responses, q) for q in chosen])
    return count_pairs(encode_survey(survey.responses, questions), survey.groups, study)


def release_of_file(study: Study) -> str:
    """What a survey file's headers, and its column `version`, say of its release."""
    options = ReadOptions(study.survey.delimiter, ("version", *study.survey.filter))
    with open_survey(study.survey_file, options) as table:
        column = Headers(table.headers).find("version")
        if column is None:
            return release_of(table.headers, "")
        first = next(iter(table.slices([column])))
        return release_of(table.headers, str(first[column].iloc[0]).strip()[:MAX_VERSION])


def grouped(files: list[str]) -> list[list[str]]:
    """Each study file with the overlays behind it."""
    groups: list[list[str]] = []
    for path in files:
        if groups and is_overlay(read_mapping(path)):
            groups[-1].append(path)
        else:
            groups.append([path])
    return groups


def described(study: Study) -> str:
    """What a study is, in one line."""
    from valuestrata.report.phrases import plural

    splits = ", ".join(
        f"{name} ({len(strata)} {'stratum' if len(strata) == 1 else 'strata'})"
        for name in study.splits
        for strata in [study.strata(name)]
    )
    n_variants = len(study.prompt_variants)
    variants = f", {plural(n_variants, 'prompt variant')}" if n_variants else ""
    if study.sensitivity:
        names = ", ".join(perturbed_splits(study))
        n_perturbations = len(study.sensitivity.perturbations)
        variants += f", {plural(n_perturbations, 'perturbation')} of {names}"
    n_writing = len(study.generation_runs())
    texts = f", {n_writing} of which write open-ended answers" if n_writing else ""
    return (
        f"study {study.name}: {study.survey.name}; axes {', '.join(study.axes)}; splits {splits}; "
        f"{plural(len(study.models), 'model')}, {plural(len(study.recipes), 'recipe')}, "
        f"{plural(len(study.judges), 'judge')}{variants}; {plural(len(study.runs()), 'run')}{texts}"
    )


def unreadable_models(study: Study) -> list[str]:
    """Local models of which a file is foreign or damaged; no weights are read."""
    lines = []
    for where, model in study.local_models().items():
        path = Path(str(model.model))
        if model.model is None or not (path.is_dir() or path.suffix == model_files.GGUF):
            continue
        try:
            model_files.check_folder(model.model)
        except InputError as error:
            lines.append(f"{where}.model: {error}")
    return lines


def warnings(study: Study) -> list[str]:
    """What is doubtful and no fault: revisions that may move, a survey file that is not here."""
    lines = [*unpinned(study), *uncounted(study)]
    if not study.survey.simulate and not Path(study.survey_file).is_file():
        lines.append(f"{study.survey_file or 'the survey file'} is not here: columns unchecked")
    return [*lines, *kin_lines(study), *merged_groups(study), *perturbation_notices(study)]


def kin_lines(study: Study) -> list[str]:
    """A line for each judge that is of the family of what it judges or compares with."""
    writers = {model for model, _, _ in study.generation_runs()}
    kin = kin_of_judges(study)
    lines = []
    for judge, config in study.judges.items():
        related = [name for name in kin[judge] if name in writers]
        if related:
            named = [f"{n} (its reference)" if n == config.reference.model else n for n in related]
            lines.append(
                f"judge {judge} shares a family with {', '.join(named)}: a judge may prefer texts "
                "of its own kind"
            )
    return lines


def merged_groups(study: Study) -> list[str]:
    """A line for each axis with groups of several codes, which may be a label written twice."""
    lines = []
    for name, axis in study.axes.items():
        codes: dict[str, list[str]] = {}
        for code, label in axis.groups.items() if isinstance(axis.groups, dict) else ():
            codes.setdefault(label, []).append(code)
        merged = [
            f"{label!r} ({', '.join(same)})" for label, same in codes.items() if len(same) > 1
        ]
        if merged:
            lines.append(f"axis {name}: groups of several codes: {', '.join(merged)}")
    return lines
