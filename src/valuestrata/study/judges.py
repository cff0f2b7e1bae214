"""What models are asked for: structured answers, open-ended answers, and verdicts on those."""

from pydantic import Field

from valuestrata.study.base import FilledUnique, Part, Seed, Text
from valuestrata.study.models import Model


class Prediction(Part):
    """The structured questionnaire."""

    max_new_tokens: int = Field(
        default=16, ge=1, description="Longest text that is read for an answer, in tokens."
    )
    constrained: bool = Field(
        default=False,
        description=(
            "Limit the texts to the options: greedy decoding with all other tokens masked, or a "
            "service's structured output. Then there are no refusals and no invalid answers. By "
            "default models write freely, as in the paper."
        ),
    )


class Generation(Part):
    """Open-ended answers."""

    splits: FilledUnique[tuple[str, ...]] = Field(description="Splits whose personas are asked.")
    per_subgroup: int = Field(
        default=4, ge=1, description="Questions drawn for each subgroup, the same for every model."
    )
    max_new_tokens: int = Field(default=256, ge=1, description="Longest answer, in tokens.")
    temperature: float = Field(default=0.0, ge=0, description="Sampling temperature; 0 is greedy.")
    seed: Seed = Field(default=1, description="Seed of the draw of questions, and of sampling.")


class Reference(Part):
    """The run whose answers every other run is compared with."""

    model: str = Field(description="Name of a model of the study.")
    variant: str = Field(default="base", description="base or a recipe of that model.")


class Judge(Part):
    """A language model that compares open-ended answers with a reference's, in both orders."""

    model: Model = Field(description="The model that judges.")
    reference: Reference = Field(
        description="The run whose answers every other run is compared with."
    )
    rubric: Text = Field(default="pairwise", description="Name of a rubric file.")
    max_new_tokens: int = Field(default=64, ge=1, description="Longest verdict, in tokens.")
