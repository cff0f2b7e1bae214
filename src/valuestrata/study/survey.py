"""The survey of a study: where its answers are, how they are read, and its demographic axes."""

import re
from itertools import pairwise
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from valuestrata.study.base import (
    EMPTY,
    AxisName,
    Bands,
    CodeMap,
    Codes,
    FilledMap,
    FilledUnique,
    FrozenMap,
    GroupLabels,
    Name,
    Part,
    Seed,
    Text,
)

AUTO = "auto"
MISSING = (-1, -2, -3, -4, -5)
"""Codes for no answer by default; a scale, a group or a band that has one of them keeps it."""


def band_names(bands: tuple[int, ...]) -> list[str]:
    """Labels of bands: 16-24, ..., 65 and over."""
    closed = [f"{low}-{high - 1}" for low, high in pairwise(bands)]
    return [*closed, f"{bands[-1]} and over"]


def check_upper_bound(bound: int | None, bands: tuple[int, ...] | None) -> None:
    """Refuse a bound that no band can have."""
    if bound is not None and bands is None:
        raise ValueError("upper_bound ends the last of some bands; this axis has none")
    if bound is not None and bands is not None and bound < bands[-1]:
        raise ValueError(f"upper_bound {bound} is below the last band, which begins at {bands[-1]}")


def _is_text_encoding(name: str) -> bool:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return False
    return True


class Fallback(Part):
    """What an axis is made of where the file lacks its column."""

    column: str = Field(description="Numeric column of the survey file.")
    bands: Bands = Field(description="Lower bounds of its bands, the last one open.")
    upper_bound: int | None = Field(
        default=None, description="Largest number of the last band, as in an axis."
    )
    missing: tuple[str | int, ...] | None = Field(
        default=None, description="Its codes that mean no answer, as in an axis."
    )

    @model_validator(mode="after")
    def _check_bound(self) -> Self:
        check_upper_bound(self.upper_bound, self.bands)
        return self


class Axis(Part):
    """A demographic column and the groups that are kept of it."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["groups"]}, {"required": ["bands"]}]}
    )

    column: str = Field(description="Column of the survey file.")
    label: str = Field(
        default="", description="Name in tables and figures; the axis' name by default."
    )
    persona: Annotated[str, Field(json_schema_extra={"pattern": r"\{group\}"})] = Field(
        default="{group}", description="How a persona says it; {group} is the group's label."
    )
    groups: Literal["auto"] | GroupLabels | None = Field(
        default=None,
        description=(
            "Code -> label, or label -> codes for a group of several: {Christian: [1, 2, 3], 5: "
            "Muslim}. Other codes belong to no group. Or auto: each code that min_subgroup_n "
            "respondents of a country have, without missing ones, labelled by the codebook's "
            "labels of the column, else by the file's."
        ),
    )
    bands: Bands | None = Field(
        default=None, description="Lower bounds of bands of a numeric column, the last one open."
    )
    upper_bound: int | None = Field(
        default=None,
        description=(
            "Largest number of the last band: 110 for an age. Larger ones are in no group, and "
            "how many there are is said. Without it, how many the open band holds is said."
        ),
    )
    missing: tuple[str | int, ...] | None = Field(
        default=None,
        description=(
            "Codes of the column that mean no answer, in place of survey.missing; [] for none."
        ),
    )
    fallback: Fallback | None = Field(
        default=None,
        description=(
            "Numeric column and bands to use where the file lacks the axis' column. The bands' "
            "labels (16-24, ..., 65 and over) must be those of the axis' groups, in order: "
            "{column: Q262, bands: [16, 25, 35, 45, 55, 65], upper_bound: 110}."
        ),
    )

    @field_validator("persona")
    @classmethod
    def _check_persona(cls, persona: str) -> str:
        try:
            parts = {(name, spec) for _, name, spec, _ in Formatter().parse(persona) if name}
            valid = parts == {("group", "")} and "{}" not in persona
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"{persona!r} must contain {{group}}, and no other braces")
        return persona

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if (self.groups is None) == (self.bands is None):
            raise ValueError(
                "give either groups (code: label, or auto) or bands (lower bounds), and not both"
            )
        check_upper_bound(self.upper_bound, self.bands)
        labels = self.names()
        if isinstance(self.groups, dict) and len(labels) < 2:
            raise ValueError(f"all codes are in one group, {labels[0]!r}; name two groups at least")
        if self.fallback and self.groups == AUTO:
            raise ValueError("fallback is not possible with groups: auto; list the groups")
        if self.fallback and band_names(self.fallback.bands) != labels:
            made = ", ".join(band_names(self.fallback.bands))
            raise ValueError(
                f"fallback.bands make the labels {made}; they must be the axis' own: "
                f"{', '.join(labels)}"
            )
        return self

    @property
    def is_auto(self) -> bool:
        """Whether the groups are only known when the file is read."""
        return self.groups == AUTO

    @property
    def is_ordered(self) -> bool:
        """Whether the groups are bands, or called by ascending numbers (`16-24`, `25-34`)."""
        starts = [re.match(r"\d+(\.\d+)?", name) for name in self.names()]
        numbers = [float(start[0]) for start in starts if start]
        ascends = all(a < b for a, b in pairwise(numbers))
        return self.bands is not None or (1 < len(numbers) == len(starts) and ascends)

    def names(self) -> list[str]:
        """Labels of the groups, in order; none where they are only known from the file."""
        if self.bands is not None:
            return band_names(self.bands)
        return list(dict.fromkeys(self.groups.values())) if isinstance(self.groups, dict) else []


class Simulation(Part):
    """A simulated survey in the format of WVS wave 7, Singapore."""

    respondents: int = Field(ge=100, description="Number of respondents.")
    seed: Seed = Field(default=7, description="Seed of the simulation.")


class SelectAll(Part):
    """A battery of items of which respondents tick those that apply."""

    questions: FilledUnique[tuple[str, ...]] = Field(description="Its items.")
    unticked: int = Field(
        default=0, description="Code of an item that was not ticked, in the items' scale."
    )
    all_blank: Literal["unticked", "missing"] = Field(
        default="unticked",
        description=(
            "What it means that a respondent's items are all blank: none applies, or the battery "
            "was not asked. How many they are is said."
        ),
    )


class Survey(Part):
    """Where the answers come from and how they are read."""

    name: Text = Field(description="Survey, wave and country as the report should cite them.")
    country: Text | None = Field(
        default=None,
        description="Country of the personas, as a prompt should name it; or give countries.",
    )
    countries: FilledUnique[tuple[str | int, ...]] | None = Field(
        default=None,
        description=(
            "Codes of the countries to take from a cross-national file, as a column of "
            "country_columns has them: [DEU], [276] or [SGP, MYS]. Their names come from the "
            "codebook's labels of that column, else from the file's. With several, every stratum "
            "lies within a country, and splits can select by the axis country: {country: {only: "
            "[Singapore]}}."
        ),
    )
    country_columns: FilledUnique[tuple[str, ...]] | None = Field(
        default=None,
        description="Columns that may hold the code of a respondent's country; first match counts.",
    )
    file: str | None = Field(
        default=None,
        description=(
            "The survey's file as downloaded, absolute or relative to the repository: csv, SPSS, "
            "Stata, SAS, R, Parquet, Feather or a spreadsheet; zipped or compressed, too. The "
            "environment variable VALUESTRATA_SURVEY overrides it. A column is matched by its "
            "header, else by the part before the header's first colon (`Q1: Important in life: "
            "Family`), else ignoring case."
        ),
    )
    simulate: Simulation | None = Field(
        default=None,
        description=(
            "Instead of a file: simulated respondents in the format of WVS wave 7, Singapore."
        ),
    )
    delimiter: Text = Field(
        default="auto",
        description=(
            "Field delimiter of a csv file; auto finds it among comma, semicolon, tab and |."
        ),
    )
    encoding: Text = Field(
        default=AUTO,
        description=(
            "Encoding of the file's text, as Python names it: cp1251, shift_jis, gb18030; auto is "
            "the one that the file declares, else UTF-8, else cp1252, which is said."
        ),
    )
    rename: FrozenMap[str, Text] = Field(
        default=EMPTY,
        description=(
            "Name in the file -> name in the study, for releases with other column names, such as "
            "the time-series file: {S003: B_COUNTRY, X001: Q260, X003: Q262, S017: W_WEIGHT}. A "
            "column that the file lacks is looked for under the study's name."
        ),
    )
    respondent: str = Field(description="Column with the respondent's unique id.")
    weight: str | None = Field(
        default=None,
        description=(
            "Column with the survey weight; by default all respondents weigh the same. Respondents "
            "of weight 0 are left out, and how many is said."
        ),
    )
    blank_weight: Literal["refuse", "drop"] = Field(
        default="refuse",
        description=(
            "What a respondent without a weight means: refuse the file, or drop the respondent, as "
            "one of weight 0. In a panel, who was not in the wave often has none."
        ),
    )
    filter: FrozenMap[str, Codes] = Field(
        default=EMPTY,
        description="Column -> values: only respondents with one of the values are kept.",
    )
    missing: tuple[str | int, ...] = Field(
        default=MISSING,
        description=(
            'Codes or texts that mean "no answer" in every question and on every axis, unless the '
            "question in the codebook or the axis has a list of its own: [-1, 99, Refused]. A code "
            "on a question's scale is refused; of the default list it counts as an answer."
        ),
    )
    codebook: Text = Field(
        description="YAML file with each question's wording, scale, labels and block."
    )
    questions: Literal["all"] | FilledUnique[tuple[str, ...]] = Field(
        default="all",
        description="Ids of the questions to use, in this order; or all of the codebook.",
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="Questions of the codebook to leave out when all are used."
    )
    recode: FrozenMap[str, CodeMap[str, int | None]] = Field(
        default=EMPTY,
        description=(
            "Column of a question or an axis -> {from: to}: codes, or cells of text, replaced "
            "before any other use; null is missing: {Q56: {1: 3}, age: {89 or older: 89}}."
        ),
    )
    select_all: FrozenMap[Name, SelectAll] = Field(
        default=EMPTY,
        description=(
            'Batteries of "select all that apply", by any name: their items, columns in which a '
            "blank cell means that the item was not ticked."
        ),
    )
    axes: FilledMap[AxisName, Axis] = Field(
        description=(
            "Demographic columns and the groups kept of each. In an overlay null leaves an axis "
            "out, and every stratum that names it."
        ),
    )

    @field_validator("delimiter")
    @classmethod
    def _check_delimiter(cls, delimiter: str) -> str:
        if delimiter != AUTO and len(delimiter) > 1:
            raise ValueError(f"{delimiter!r} is too long; write one character, or auto")
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, encoding: str) -> str:
        if encoding != AUTO and not _is_text_encoding(encoding):
            raise ValueError(f"{encoding!r} is no encoding; write one of Python's, such as cp1251")
        return encoding

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        if (self.country is None) == (self.countries is None):
            raise ValueError("give either country (a name) or countries (codes in the file)")
        if self.countries and not self.country_columns:
            raise ValueError("country_columns is missing; name the columns with countries' codes")
        if self.simulate and self.file is not None:
            raise ValueError("has both file and simulate; keep one")
        return self
