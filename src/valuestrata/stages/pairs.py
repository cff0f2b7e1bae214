"""Label the (subgroup, question) pairs of a split and word their prompts."""

import logging

from valuestrata import io, paths, tables
from valuestrata.prompting import prompts
from valuestrata.prompting.settings import PromptSettings, prompt_settings
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.tally import tally_paths
from valuestrata.study.evaluation import Labels
from valuestrata.study.study import Study, variant_name, variant_parts
from valuestrata.survey.encoded import scale_of
from valuestrata.survey.groups import read_groups
from valuestrata.survey.pairs import PairSelection, label_pairs, select_pairs
from valuestrata.survey.tally import from_frame, subgroup_groups
from valuestrata.survey.undeclared import refuse_undeclared_modes

log = logging.getLogger(__name__)


class Settings(PairSelection):
    """Which pairs are kept, how they are labelled and how they are worded."""

    labels: Labels
    prompt: PromptSettings
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """The splits, the parts of those that a recipe is tuned on, and the prompt variants used."""
    tuned = {
        study.recipes[recipe].split
        for model in study.models
        for recipe in study.model_recipes(model)
    }
    parts = [part for part, (whole, _) in study.parts.items() if whole in tuned]
    used = {name for model in study.models for name in study.model_prompt_variants(model)}
    variants = [name for name in study.prompt_variants if name in used]
    reworded = [variant_name(split, name) for split in study.splits for name in variants]
    return [{"split": split} for split in [*study.splits, *parts, *reworded]]


def settings(study: Study, split: str) -> Settings:
    """Settings of a split's pairs, of a part's (NAME-train-1), or of a prompt variant's."""
    plain, prompt_variant = variant_parts(split)
    whole, part = study.parts.get(plain, (plain, None))
    questions, groups = study.selections(whole)
    return Settings(
        min_pair_n=study.min_pair_n,
        questions=questions,
        groups=groups,
        fold=part or study.fold(whole),
        labels=study.labels,
        prompt=prompt_settings(study, prompt_variant),
        caveat=study.survey_caveat,
    )


def inputs(study: Study, split: str) -> Files:
    """The split's tallies, the questions, and the groups of each axis."""
    plain, _ = variant_parts(split)
    return {
        "tallies": tally_paths(study, plain),
        "questions": at(study, paths.QUESTIONS),
        "groups": at(study, paths.GROUPS_OF_AXES),
    }


def outputs(study: Study, split: str) -> Files:
    """The pairs with their prompts."""
    return {"pairs": at(study, paths.PAIRS, split=split)}


def run(job: Job[Settings]) -> None:
    """Write one row for each subgroup and question with enough valid answers."""
    prompt = job.settings.prompt
    questions = io.read_table(job.path("questions"), tables.QUESTIONS)
    scale = scale_of(questions)
    tally = from_frame(io.read_table(job.paths("tallies"), tables.TALLY), scale)
    groups = read_groups(job.path("groups"))
    pairs = select_pairs(tally, scale, job.settings, groups)
    frame = label_pairs(tally, scale, pairs, questions, job.settings.labels)
    refuse_undeclared_modes(frame, questions)
    personas = [
        prompts.persona(*groups.persona_phrase(prompt, subgroup_groups(name)))
        for name in tally.subgroups
    ]
    rendered = [
        prompts.render_question(
            prompt,
            row["text"],
            [int(code) for code in row["codes"]],
            list(row["labels"]),
            (int(row["scale_min"]), int(row["scale_max"])),
        )
        for row in io.records(questions)
    ]
    closed = [
        prompts.messages(prompt, personas[s], rendered[q])
        for s, q in zip(pairs.s, pairs.q, strict=True)
    ]
    frame["persona"] = [first for first, _ in closed]
    frame["closed_prompt"] = [second for _, second in closed]
    log.info("%d pairs of %d subgroups", len(frame), len(tally.subgroups))
    io.write_table(frame, job.path("pairs"), tables.PAIRS, job.record)
