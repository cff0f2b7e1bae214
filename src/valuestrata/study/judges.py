"""What models are asked for: structured answers, open-ended answers, and verdicts on those."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from valuestrata.study.base import FilledUnique, Part, Seed, Text, Unique
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
    per_subgroup: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        default=4,
        description=(
            "Questions drawn for each subgroup, the same for every model; all, the default where "
            "per_block is set, for every pair."
        ),
    )
    per_block: int | None = Field(
        default=None,
        ge=1,
        description="Questions drawn for each subgroup from a block at most; null for no limit.",
    )
    stratify_by: Literal["none", "mds"] = Field(
        default="none",
        description=(
            "mds: draw a subgroup's questions in equal parts from the third of the questions with "
            "the highest Modal Diversity Score, the lowest third and the third between."
        ),
    )
    wordings: FilledUnique[tuple[str, ...]] = Field(
        default=("question",),
        description=(
            "Wordings of the prompting/open_questions file in the prompt's language; where there "
            "are several, one is drawn for each question."
        ),
    )
    max_new_tokens: int = Field(default=256, ge=1, description="Longest answer, in tokens.")
    temperature: float = Field(default=0.0, ge=0, description="Sampling temperature; 0 is greedy.")
    seed: Seed = Field(
        default=1, description="Seed of the draw of questions and wordings, and of sampling."
    )

    @model_validator(mode="before")
    @classmethod
    def _all_of_a_block(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("per_block") is not None:
            return {"per_subgroup": "all", **data}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stratify_by == "mds":
            if self.per_block is not None:
                raise ValueError(
                    "per_block and stratify_by: mds are two ways to stratify; remove one of them"
                )
            if self.per_subgroup in ("all", 1):
                raise ValueError(
                    "stratify_by: mds draws divisive and unifying questions, and per_subgroup is "
                    f"{self.per_subgroup}; set per_subgroup to a number from 2 on"
                )
        return self


class Reference(Part):
    """The run whose answers every other run is compared with."""

    model: str = Field(description="Name of a model of the study.")
    variant: str = Field(default="base", description="base or a recipe of that model.")


class Panel(Part):
    """Judges of the study whose verdicts are combined; no model is asked."""

    judges: Unique[tuple[str, ...]] = Field(min_length=2, description="Names of the judges.")
    combine: Literal["majority", "mean"] = Field(
        default="majority",
        description=(
            "majority: what most judges say, a tie where no choice has more votes than every "
            "other; mean: the mean of their scores."
        ),
    )


class Judge(Part):
    """A language model that compares open-ended answers with a reference's, in both orders."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["model"]}, {"required": ["panel"]}]}
    )

    model: Model | None = Field(default=None, description="The model that judges.")
    panel: Panel | None = Field(
        default=None, description="Instead of model: judges of the study that decide together."
    )
    reference: Reference = Field(
        description="The run whose answers every other run is compared with."
    )
    rubric: Text = Field(
        default="pairwise",
        description=(
            "Name of a rubric of the package, or path of one's own (rubrics/mine.yaml). A panel "
            "has its judges'."
        ),
    )
    parser: Literal["lines", "json", "brackets"] = Field(
        default="lines",
        description=(
            "How verdicts are read. lines: every form that judges write, JSON too; json: a JSON "
            "object alone; brackets: [[A]], [[B]] or [[C]], of a rubric with one dimension."
        ),
    )
    reason: bool = Field(default=False, description="Ask for a reason after the verdict.")
    constrained: bool = Field(
        default=False,
        description=(
            "Limit replies to 1, 2 or tie, as prediction.constrained does answers: none is invalid "
            "then. Takes a call for each dimension, which share all but their last line."
        ),
    )
    max_new_tokens: int = Field(default=64, ge=1, description="Longest verdict, in tokens.")
    temperature: float = Field(default=0.0, ge=0, description="Sampling temperature; 0 is greedy.")
    seed: Seed = Field(
        default=1, description="Seed of sampling, and of the markers around the answers."
    )
    probes: int = Field(
        default=0,
        ge=0,
        description=(
            "Texts on which the judge itself is tried (docs/judges.md), for the report: whether "
            "texts win that tell it what to answer, longer ones, and one of two that are the same. "
            "0 leaves it to `valuestrata probe-judge`."
        ),
    )

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if (self.model is None) == (self.panel is None):
            raise ValueError("give either model or panel")
        fields = type(self).model_fields
        plain = [name for name in fields if name not in ("model", "panel", "reference")]
        changed = [n for n in plain if self.panel and getattr(self, n) != fields[n].default]
        if changed:
            raise ValueError(f"{changed[0]} is its judges' own; set it there, not at the panel")
        return self
