"""The tables that the report is made of: where they are, and reading them."""

from pathlib import Path
from typing import Any

import pandas as pd

from valuestrata import evaluation_tables, io, judge_tables, paths, tables
from valuestrata.records import changed_inputs, read_record
from valuestrata.report.families import adjusted_inequality, adjusted_questions
from valuestrata.report.results import Results
from valuestrata.report.runs import (
    ModelVariant,
    all_runs,
    evaluates_on,
    prompt_variant_runs,
    tuned_runs,
)
from valuestrata.report.settings import DisplaySettings, display_settings
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.usage import USAGE
from valuestrata.study.study import Study


def result_inputs(study: Study) -> Files:
    """Paths of all tables, by name."""
    settings = display_settings(study)
    runs = [
        {"model": model, "variant": variant, "split": split}
        for split in settings.strata
        for model, variant in [*all_runs(settings), *prompt_variant_runs(settings)]
        if evaluates_on(settings, variant, split)
    ]
    return {
        "runs": at(study, paths.RUNS),
        "differences": at(study, paths.DIFFERENCES),
        "contrasts": at(study, paths.CONTRASTS),
        "consistency": at(study, paths.CONSISTENCY),
        "inequality_changes": at(study, paths.INEQUALITY_CHANGES),
        "disparities": at(study, paths.DISPARITIES),
        "fairness": tuple(at(study, paths.FAIRNESS, **run) for run in runs),
        "groups": tuple(at(study, paths.GROUPS, **run) for run in runs),
        "diversity": at(study, paths.DIVERSITY),
        "agreement": at(study, paths.AGREEMENT),
        "ceilings": at(study, paths.CEILINGS),
        "ties": tuple(at(study, paths.TIES, split=split) for split in settings.strata),
        "win_rates": at(study, paths.WIN_RATES),
        **agreement_input(study),
    }


def agreement_input(study: Study) -> Files:
    """Agreement of people with judges: of the study's annotations, else what a command wrote."""
    path = at(study, paths.HUMAN_AGREEMENT)
    if study.annotator_files or Path(path).exists():
        return {"human_agreement": path}
    simulated = at(study, paths.SIMULATED_AGREEMENT)
    return {"human_agreement": simulated} if study.simulated_annotators else {}


def usage_input(study: Study) -> Files:
    """Path of the table of what services cost; none where the study asks none."""
    return {"usage": at(study, paths.USAGE)} if study.service_models() else {}


def sensitivity_input(study: Study) -> Files:
    """Path of the table of perturbed prompts; none where the study perturbs none."""
    return {"sensitivity": at(study, paths.SENSITIVITY)} if study.sensitivity else {}


def adapter_keys(settings: DisplaySettings) -> list[ModelVariant]:
    """Model and recipe of every adapter; a k-fold recipe has one a fold."""
    return [
        (model, recipe)
        for model, variant in tuned_runs(settings)
        for recipe in settings.fold_recipes.get(variant, (variant,))
    ]


def load_results(job: Job[Any]) -> Results:
    """All tables of a study; those of all runs, or of all splits, stacked."""
    human_agreement, human_note = _human_agreement(job)
    ties = [
        io.read_table(path, tables.TIES).assign(split=split)
        for split, path in zip(job.settings.strata, job.paths("ties"), strict=True)
    ]
    return Results(
        settings=job.settings,
        runs=io.read_table(job.path("runs"), tables.RUNS),
        differences=io.read_table(job.path("differences"), tables.DIFFERENCES),
        contrasts=io.read_table(job.path("contrasts"), evaluation_tables.GROUP_CONTRASTS),
        consistency=io.read_table(job.path("consistency"), evaluation_tables.CONSISTENCY),
        inequality_changes=io.read_table(
            job.path("inequality_changes"), evaluation_tables.INEQUALITY_CHANGES
        ),
        disparities=io.read_table(job.path("disparities"), evaluation_tables.DISPARITIES),
        fairness=adjusted_inequality(io.read_table(job.paths("fairness"), tables.FAIRNESS)),
        groups=io.read_table(job.paths("groups"), tables.GROUPS),
        diversity=adjusted_questions(io.read_table(job.path("diversity"), tables.DIVERSITY)),
        agreement=io.read_table(job.path("agreement"), tables.AGREEMENT),
        ceilings=io.read_table(job.path("ceilings"), tables.CEILINGS),
        ties=pd.concat(ties, ignore_index=True),
        win_rates=io.read_table(job.path("win_rates"), judge_tables.WIN_RATES),
        human_agreement=human_agreement,
        human_note=human_note,
        usage=io.read_table(job.path("usage"), USAGE) if "usage" in job.files else None,
        sensitivity=io.read_table(job.path("sensitivity"), evaluation_tables.SENSITIVITY)
        if "sensitivity" in job.files
        else None,
    )


def _human_agreement(job: Job[Any]) -> tuple[pd.DataFrame | None, str]:
    """What annotations gave, or why it does not count: verdicts that have changed."""
    if "human_agreement" not in job.files:
        return None, ""
    path = job.path("human_agreement")
    record = read_record(path)
    if record is None or changed_inputs(record, ""):
        return None, (
            "People annotated text pairs of this study, and its verdicts have changed since. Run "
            "valuestrata agreement again."
        )
    return io.read_table(path, judge_tables.HUMAN_AGREEMENT), ""
