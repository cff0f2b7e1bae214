"""Summarise the survey data: the figures that a reader checks first."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from valuestrata import io, paths, tables
from valuestrata.baselines.predict import predict
from valuestrata.baselines.rules import axis_mode, national_mode
from valuestrata.report.families import adjusted_questions
from valuestrata.report.power import Assumptions, power_figures
from valuestrata.report.settings import ContrastSettings, contrast_settings
from valuestrata.stages.hardware import this_machine
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import EMPTY, FrozenMap, Part
from valuestrata.study.evaluation import Evaluation, Labels
from valuestrata.study.perturbed import perturbation_notices
from valuestrata.study.splits import COUNTRY, Selection
from valuestrata.study.study import Study
from valuestrata.survey import summary
from valuestrata.survey.crosstab import cross_tab
from valuestrata.survey.encoded import encode_survey
from valuestrata.survey.groups import read_groups
from valuestrata.survey.left_out import stratum_notices

ASSUMED = Assumptions()
BASELINES = {"national_mode": national_mode, "axis_mode": axis_mode}


class Settings(Part):
    """What the summary says of the study.

    Of several countries: the strata of each split, and the countries that it keeps. `contrasts` is
    what the power of its comparisons depends on. perturbations: what is doubtful of them.
    """

    study: str
    survey: str
    country: str
    splits: tuple[str, ...]
    labels: Labels
    evaluation: Evaluation
    caveat: str
    strata: FrozenMap[str, tuple[tuple[str, ...], ...]] = EMPTY
    countries: FrozenMap[str, Selection] = EMPTY
    contrasts: ContrastSettings
    perturbations: tuple[str, ...] = ()


def runs(study: Study) -> list[dict[str, str]]:
    """One summary a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """Settings of the summary."""
    return Settings(
        study=study.name,
        survey=study.survey.name,
        country=study.survey.country or "",
        splits=tuple(study.splits),
        labels=study.labels,
        evaluation=study.evaluation,
        caveat=study.survey_caveat,
        contrasts=contrast_settings(study),
        perturbations=tuple(perturbation_notices(study)),
        **_across_countries(study),
    )


def _across_countries(study: Study) -> dict[str, Any]:
    if not study.several_countries:
        return {}
    kept = {split: study.selections(split)[1] for split in study.splits}
    return {
        "strata": study.split_strata,
        "countries": {split: groups.get(COUNTRY, Selection()) for split, groups in kept.items()},
    }


def inputs(study: Study) -> Files:
    """All tables of the survey data but the tallies."""
    return {
        "responses": at(study, paths.RESPONSES),
        "questions": at(study, paths.QUESTIONS),
        "groups": at(study, paths.GROUPS_OF_AXES),
        "notices": at(study, paths.NOTICES),
        "diversity": at(study, paths.DIVERSITY),
        "agreement": at(study, paths.AGREEMENT),
        "ceilings": at(study, paths.CEILINGS),
        "pairs": tuple(at(study, paths.PAIRS, split=split) for split in study.splits),
        "labels": tuple(at(study, paths.LABELS, split=split) for split in study.splits),
    }


def outputs(study: Study) -> Files:
    """summary.json."""
    return {"summary": at(study, paths.SUMMARY)}


def run(job: Job[Settings]) -> None:
    """Write sizes; what is doubtful; pairs, baselines and ceilings by split; conflict by block."""
    config = job.settings
    questions = io.read_table(job.path("questions"), tables.QUESTIONS)
    responses = io.read_table(job.path("responses"), tables.RESPONSES)
    survey = encode_survey(responses, questions)
    crosstab = cross_tab(survey)
    ceilings = io.read_table(job.path("ceilings"), tables.CEILINGS)
    groups = read_groups(job.path("groups"))
    splits, notices = {}, list(io.read_json(job.path("notices"))["notices"])
    for split, pairs_path, labels_path in zip(
        config.splits, job.paths("pairs"), job.paths("labels"), strict=True
    ):
        pairs = io.read_table(pairs_path, tables.PAIRS)
        labels = io.read_table(labels_path, tables.LABELS)
        answers = {
            name: predict(rule, pairs, crosstab, survey.scale)[0].astype(np.float64)
            for name, rule in BASELINES.items()
        }
        splits[split] = {
            **summary.pair_sizes(pairs),
            "labels": summary.label_figures(labels, config.labels, config.evaluation),
            "baselines": {
                name: summary.answer_figures(pairs, answer, config.evaluation)
                for name, answer in answers.items()
            },
            "ceilings": summary.ceiling_figures(ceilings, split),
            "power": power_figures(pairs, groups.labels(), config.contrasts, ASSUMED),
        }
        if config.countries:
            kept = config.countries[split]
            notices += stratum_notices(groups, split, config.strata[split], kept, pairs)
    notices += missing_references(config.contrasts.reference_groups, groups.labels())
    content = {
        "study": config.study,
        "survey": config.survey,
        "countries": groups.countries or (config.country,),
        "caveat": config.caveat,
        "hardware": str(this_machine()),
        "respondents": len(responses),
        "questions": len(questions),
        "groups": groups.sizes(),
        "notices": notices,
        "sensitivity_notices": config.perturbations,
        "power": {"assumed": asdict(ASSUMED), "alpha": 1 - config.evaluation.confidence_level},
        "splits": splits,
        "blocks": summary.block_figures(
            adjusted_questions(io.read_table(job.path("diversity"), tables.DIVERSITY))
        ),
        "rank_agreement": summary.agreement_figures(
            io.read_table(job.path("agreement"), tables.AGREEMENT)
        ),
    }
    io.write_json(content, job.path("summary"), job.record)


def missing_references(
    references: Mapping[str, str], groups: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """A line for each reference group that the data do not have, as with `groups: auto`."""
    return [
        f"contrasts.reference_groups.{axis}: the data have no group {group!r}, so nothing is "
        f"compared with it; groups are {', '.join(groups.get(axis, ()))}"
        for axis, group in references.items()
        if group not in groups.get(axis, ())
    ]
