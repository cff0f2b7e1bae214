"""The runs of a comparison, and the order in which the report shows them.

A run is a (model, variant, split). What is shown as a row is a (model, variant).
"""

from valuestrata.report.settings import ComparisonSettings, DisplaySettings
from valuestrata.study.study import variant_parts

BASE = "base"
ModelVariant = tuple[str, str]
"""A model and its variant."""
RunKey = tuple[str, str, str]
"""A model, its variant and a split."""
Judgement = tuple[str, str, str, str]
"""A run and its judge."""


def evaluates_on(settings: ComparisonSettings, variant: str, split: str) -> bool:
    """Whether a variant answers a split; a k-fold recipe's answers only its own."""
    return settings.fold_splits.get(variant, split) == split


def runs_on(settings: ComparisonSettings, split: str) -> list[ModelVariant]:
    """All runs on a split, model by model in the study's order."""
    return [
        (model, variant)
        for model, variants in settings.variants.items()
        for variant in (*variants, *settings.prompt_variants[model])
        if evaluates_on(settings, variant, split)
    ]


def run_keys(settings: ComparisonSettings) -> list[RunKey]:
    """All runs, split by split."""
    return [(*run, split) for split in settings.strata for run in runs_on(settings, split)]


def text_runs(settings: ComparisonSettings) -> list[RunKey]:
    """The runs that write open-ended answers: language models in the study's own prompt."""
    own_prompt = set(llm_runs(settings))
    return [
        (m, v, split)
        for m, v, split in run_keys(settings)
        if split in settings.text_splits and (m, v) in own_prompt
    ]


def judgements(settings: ComparisonSettings) -> list[Judgement]:
    """Each run whose open-ended answers are judged, with each judge."""
    return [(*run, judge) for run in text_runs(settings) for judge in settings.judges]


def llm_runs(settings: ComparisonSettings) -> list[ModelVariant]:
    """Language models with their variants in the study's own prompt, base first."""
    return [
        (model, variant)
        for model, variants in settings.variants.items()
        for variant in variants
        if model not in settings.baselines
    ]


def tuned_runs(settings: ComparisonSettings) -> list[ModelVariant]:
    """All fine-tuned variants in the study's own prompt."""
    return [(model, variant) for model, variant in llm_runs(settings) if variant != BASE]


def baseline_runs(settings: ComparisonSettings) -> list[ModelVariant]:
    """The rules that need no language model."""
    return [(model, BASE) for model in settings.baselines]


def main_runs(settings: ComparisonSettings) -> list[ModelVariant]:
    """The runs that findings are about: language models, or baselines in a study without any."""
    return llm_runs(settings) or baseline_runs(settings)


def all_runs(settings: ComparisonSettings) -> list[ModelVariant]:
    """Language models with their variants, then the baselines."""
    return [*llm_runs(settings), *baseline_runs(settings)]


def prompt_variant_runs(settings: ComparisonSettings) -> list[ModelVariant]:
    """Language models' variants in other prompts than the study's own."""
    return [(m, v) for m, variants in settings.prompt_variants.items() for v in variants]


def is_prompt_contrast(first: ModelVariant, second: ModelVariant) -> bool:
    """Whether two runs differ in the wording of their prompts alone."""
    return first != second and (first[0], variant_parts(first[1])[0]) == second


def variant_names(settings: ComparisonSettings) -> list[str]:
    """Names of all variants of language models, base first, other prompts last."""
    runs = [*llm_runs(settings), *prompt_variant_runs(settings)]
    return list(dict.fromkeys([BASE, *(variant for _, variant in runs)]))


def splits(settings: DisplaySettings) -> list[str]:
    """Splits in the study's order, test splits first."""
    return sorted(settings.strata, key=lambda split: settings.roles.get(split) != "test")


def tested_splits(settings: DisplaySettings) -> list[str]:
    """The test splits, or all where a study has none."""
    names = splits(settings)
    return [split for split in names if settings.roles.get(split) == "test"] or names


def label(run: ModelVariant, settings: ComparisonSettings) -> str:
    """How a figure or table calls a run; a baseline has no variants."""
    model, variant = run
    return model if model in settings.baselines else f"{model} {variant}"
