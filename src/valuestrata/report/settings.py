"""What the comparison, the tables, the figures and the page depend on, taken from a study."""

from typing import Any

from valuestrata.study.base import EMPTY, FrozenMap, Part
from valuestrata.study.evaluation import Evaluation, Labels
from valuestrata.study.families import kin_of_judges
from valuestrata.study.judges import Generation, Prediction
from valuestrata.study.models import BaselineModel
from valuestrata.study.prompts import Prompt, PromptVariant
from valuestrata.study.sensitivity import Sensitivity
from valuestrata.study.splits import Split, stratum_id
from valuestrata.study.study import Study
from valuestrata.survey.reference import is_singapore


class ComparisonSettings(Part):
    """Which runs are compared, and how. Mappings are in the study's order.

    Attributes:
        strata: strata of each split.
        variants: variants of each model in the study's own prompt, base first.
        prompt_variants: variants of each model in other prompts.
        baselines: models that are rules without a language model.
        persona_agnostic: baselines that answer alike for every persona.
        judges: names of the judges.
        references: model and variant that each judge compares with.
        text_splits: splits on which open-ended answers are written.
        fold_splits: the split of each k-fold recipe, the only one that its variant answers.
    """

    strata: FrozenMap[str, tuple[str, ...]]
    variants: FrozenMap[str, tuple[str, ...]]
    prompt_variants: FrozenMap[str, tuple[str, ...]]
    baselines: tuple[str, ...]
    persona_agnostic: tuple[str, ...]
    judges: tuple[str, ...] = ()
    references: FrozenMap[str, tuple[str, str]] = EMPTY
    text_splits: tuple[str, ...] = ()
    fold_splits: FrozenMap[str, str] = EMPTY
    evaluation: Evaluation
    caveat: str


class ContrastSettings(ComparisonSettings):
    """Which groups are compared beside the runs.

    Attributes:
        ordered_axes: axes whose last group is compared with the first.
        reference_groups: axis -> group that its other groups are compared with.
    """

    ordered_axes: tuple[str, ...] = ()
    reference_groups: FrozenMap[str, str] = EMPTY


class DisplaySettings(ComparisonSettings):
    """What tables and figures need beside the comparison.

    Attributes:
        study: name of the study.
        axes: label of each axis.
        roles: role of each split, train or test.
        fold_recipes: names of the recipes that a k-fold recipe stands for.
        judge_kin: models that share a family with each judge's.
    """

    study: str
    axes: FrozenMap[str, str]
    roles: FrozenMap[str, str]
    fold_recipes: FrozenMap[str, tuple[str, ...]] = EMPTY
    judge_kin: FrozenMap[str, tuple[str, ...]] = EMPTY


class ReportSettings(DisplaySettings):
    """What the page says beside the results.

    Attributes:
        title: heading of the page.
        survey: name of the survey.
        has_weights: whether the survey has a weight for each respondent.
        labels: whether modal answers and distributions are weighted.
        min_subgroup_n: fewest respondents of a subgroup.
        min_pair_n: fewest valid answers of a pair.
        split_rules: what each split is made of.
        rules: rule of each baseline.
        prompt: the study's own wording.
        prompt_rules: what each prompt variant changes.
        prediction: how structured answers are asked for.
        generation: how open-ended answers are asked for.
        toys: models whose weights the study makes.
        is_papers_survey: whether the survey is the one of the paper.
        sensitivity: how prompts are perturbed, None where they are not.
    """

    title: str
    survey: str
    has_weights: bool
    labels: Labels
    min_subgroup_n: int
    min_pair_n: int
    split_rules: FrozenMap[str, Split]
    rules: FrozenMap[str, str]
    prompt: Prompt
    prompt_rules: FrozenMap[str, PromptVariant]
    prediction: Prediction
    generation: Generation | None
    toys: tuple[str, ...]
    is_papers_survey: bool = False
    sensitivity: Sensitivity | None = None


def comparison_settings(study: Study) -> ComparisonSettings:
    """Settings of the comparison of all runs."""
    return ComparisonSettings(**_comparison(study))


def contrast_settings(study: Study) -> ContrastSettings:
    """Settings of the comparison of groups."""
    return ContrastSettings(
        **_comparison(study),
        ordered_axes=study.ordered_axes,
        reference_groups=study.contrasts.reference_groups,
    )


def display_settings(study: Study) -> DisplaySettings:
    """Settings of tables and figures."""
    return DisplaySettings(**_comparison(study), **_display(study))


def report_settings(study: Study) -> ReportSettings:
    """Settings of the page."""
    return ReportSettings(
        **_comparison(study),
        **_display(study),
        title=study.title or study.name,
        survey=study.survey.name,
        has_weights=study.survey.weight is not None,
        labels=study.labels,
        min_subgroup_n=study.min_subgroup_n,
        min_pair_n=study.min_pair_n,
        split_rules=study.splits,
        rules={name: model.rule for name, model in _baselines(study).items()},
        prompt=study.prompt,
        prompt_rules=study.prompt_variants,
        prediction=study.prediction,
        generation=study.generation,
        toys=tuple(study.toys()),
        is_papers_survey=is_singapore(study),
        sensitivity=study.sensitivity,
    )


def _comparison(study: Study) -> dict[str, Any]:
    baselines = _baselines(study)
    return {
        "strata": {split: tuple(map(stratum_id, study.strata(split))) for split in study.splits},
        "variants": {model: tuple(study.variants(model)) for model in study.models},
        "prompt_variants": {m: tuple(study.prompt_variant_runs(m)) for m in study.models},
        "baselines": tuple(baselines),
        "persona_agnostic": tuple(m for m, rule in baselines.items() if rule.persona_agnostic),
        "judges": tuple(study.judges),
        "references": {
            name: (judge.reference.model, judge.reference.variant)
            for name, judge in study.judges.items()
        },
        "text_splits": study.generation.splits if study.generation else (),
        "fold_splits": {
            name: recipe.split for name, recipe in study.recipes.items() if study.fold_recipes(name)
        },
        "evaluation": study.evaluation,
        "caveat": study.caveat,
    }


def _display(study: Study) -> dict[str, Any]:
    return {
        "study": study.name,
        "axes": {axis: study.axis_label(axis) for axis in study.axes},
        "roles": {name: split.role for name, split in study.splits.items()},
        "fold_recipes": {
            name: tuple(study.fold_recipes(name))
            for name in study.recipes
            if study.fold_recipes(name)
        },
        "judge_kin": kin_of_judges(study),
    }


def _baselines(study: Study) -> dict[str, BaselineModel]:
    return {n: model for n, model in study.models.items() if isinstance(model, BaselineModel)}
