"""The wording of personas and questions."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from valuestrata.study.base import Part, Text

Persona = Literal["second", "third", "list"]
Options = Literal["asked", "reversed", "shuffled"]
Order = Literal["persona", "question"]


class Prompt(Part):
    """The study's own wording: models are tuned, write and are judged in it."""

    template: Text = Field(
        default="english", description="Name of a prompt file, which gives language and sentences."
    )
    persona: Persona = Field(
        default="second",
        description=(
            "second: You are a person ... third: Think of a person ... list: the person's "
            "attributes, one a line."
        ),
    )
    options: Options = Field(
        default="asked",
        description=(
            "Order of the answer options: as asked, reversed, or shuffled, with an order for each "
            "question. Codes keep their meaning."
        ),
    )


class PromptVariant(Part):
    """The questionnaire in another wording, order or language; the rest is as in `prompt`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    template: Text | None = Field(default=None, description="Another prompt file.")
    persona: Persona | None = Field(
        default=None, description="Another way to describe the persona."
    )
    options: Options | None = Field(
        default=None, description="Another order of the answer options."
    )
    order: Order | None = Field(
        default=None,
        description="What comes first; the study's own prompt begins with the persona.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.changes():
            raise ValueError("changes nothing; give template, persona, options or order")
        return self

    def changes(self) -> dict[str, str]:
        """What differs from the study's prompt, by field."""
        values = {name: getattr(self, name) for name in PromptVariant.model_fields}
        return {name: value for name, value in values.items() if value is not None}


def prompt_fields(prompt: Prompt, variant: PromptVariant | None = None) -> dict[str, str]:
    """template, persona, options and order of the study's prompt, or of a variant of it."""
    plain = {name: getattr(prompt, name) for name in ("template", "persona", "options")}
    return {**plain, "order": "persona", **(variant.changes() if variant else {})}
