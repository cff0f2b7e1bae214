"""People who annotate judged text pairs, and a script that can take their place."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from valuestrata.study.base import FilledMap, Name, Part, Seed, Text, Unique

Share = Annotated[float, Field(ge=0, le=1)]


class SimulatedAnnotators(Part):
    """A script in the place of people, to see the whole path without them."""

    judge: Name | None = Field(
        default=None, description="Whose text pairs they are given; the first judge's by default."
    )
    n: int = Field(default=100, ge=1, description="Text pairs in the sample.")
    seed: Seed = Field(default=1, description="Seed of the sample and of the choices.")
    slips: FilledMap[Name, Share] = Field(
        description="Annotators by name, and the share of choices that each makes at random."
    )


class People(Part):
    """Who annotated the judged text pairs, for the report: files of people, or a script."""

    files: Unique[tuple[Text, ...]] = Field(
        default=(),
        description=(
            "csv files that people saved on the page of `valuestrata annotate`; each run compares "
            "them with the judges."
        ),
    )
    simulate: SimulatedAnnotators | None = Field(
        default=None,
        description=(
            "Instead of files: simulated annotators, who look for the phrases of toy models and "
            "are called simulated wherever they are shown. Without a judge and a toy that writes "
            "they do nothing."
        ),
    )

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if bool(self.files) == (self.simulate is not None):
            raise ValueError("give either files (csv files of people) or simulate")
        return self
