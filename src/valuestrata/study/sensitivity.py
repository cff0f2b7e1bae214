"""Which perturbations of the prompt a study tries, and on what; and probes for contamination."""

from typing import Literal, get_args

from pydantic import Field

from valuestrata.study.base import FilledUnique, Name, Part, Seed, Text

Perturbation = Literal[
    "option_order",
    "paraphrase",
    "prompt_order",
    "persona_dropped",
    "persona_swapped",
    "first_token",
    "item_text",
    "national_distribution",
]
PERTURBATIONS: tuple[Perturbation, ...] = get_args(Perturbation)
REWORDED: tuple[Perturbation, ...] = PERTURBATIONS[:4]
"""Those for which pairs are asked again, in another prompt."""
COMPARED: tuple[Perturbation, ...] = PERTURBATIONS[:6]
"""Those whose answers are compared with the unperturbed ones; the others probe contamination."""


class Sensitivity(Part):
    """How far answers hang on the prompt: perturbations, compared with the study's own prompt."""

    perturbations: FilledUnique[tuple[Perturbation, ...]] = Field(
        default=PERTURBATIONS,
        description=(
            "option_order: the options in another order. paraphrase: the persona, and the "
            "questions that `wordings` rewords, in other words. prompt_order: question first. "
            "persona_dropped: no persona. persona_swapped: the persona of another subgroup. "
            "first_token: the likeliest option by its probability, against the text. item_text: "
            "how probable a question's wording is, against controls. national_distribution: "
            "option probabilities without a persona, against the whole country's answers."
        ),
    )
    splits: FilledUnique[tuple[Name, ...]] | None = Field(
        default=None, description="Splits that are asked; the test splits by default."
    )
    models: FilledUnique[tuple[Name, ...]] | None = Field(
        default=None,
        description="Models that are asked, with all their variants; all by default.",
    )
    max_pairs: int = Field(
        default=500,
        ge=1,
        description=(
            "Most pairs of a split that are asked again: one of each question before a second of "
            "any, the same for every run."
        ),
    )
    seed: Seed = Field(default=1, description="Seed of that sample, and of who is swapped.")
    wordings: Text | None = Field(
        default=None,
        description=(
            "YAML file of other wordings, `question id: text`, for paraphrase and item_text. "
            "Questions that it does not name keep their wording."
        ),
    )
