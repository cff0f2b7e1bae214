"""Splits: which strata, questions and groups are trained on, and which are tested on."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from valuestrata.study.base import EMPTY, FilledUnique, FrozenMap, Part, Seed, Text, Unique

NATIONAL = "all"
"""Id of the stratum without axes: its one subgroup is everyone."""
COUNTRY = "country"
"""The axis of a study of several countries; every stratum lies within one."""

ONLY_OR_WITHOUT = ConfigDict(
    json_schema_extra={"oneOf": [{"required": ["only"]}, {"required": ["without"]}]}
)


def axes_of(stratum: str) -> tuple[str, ...]:
    """The axes of a stratum as a study writes it: joined by ' x '."""
    return tuple(part.strip() for part in stratum.split(" x "))


def stratum_id(axes: tuple[str, ...]) -> str:
    """Path part that names a stratum: its axes joined by -x-, or `all` for none."""
    return "-x-".join(axes) if axes else NATIONAL


class Selection(Part):
    """Some of a set: these alone, or all but these."""

    model_config = ONLY_OR_WITHOUT

    only: tuple[str, ...] | None = Field(default=None, description="Keep these.")
    without: tuple[str, ...] = Field(default=(), description="Keep all but these.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.only is not None and (self.without or not self.only):
            raise ValueError("give either only or without, a list that is not empty")
        return self

    def keeps(self, name: str) -> bool:
        """Whether a member is selected."""
        return name not in self.without and (self.only is None or name in self.only)

    def disjoint(self, other: "Selection") -> bool:
        """Whether no member, of whatever set, can be selected by both."""
        for first, second in ((self, other), (other, self)):
            if first.only is not None and not any(second.keeps(name) for name in first.only):
                return True
        return False


class Folds(Part):
    """A division of a split's pairs, questions or subgroups into parts, by a hash."""

    of: int = Field(ge=2, le=100, description="Number of parts.")
    unit: Literal["pair", "question", "subgroup"] = Field(
        default="pair", description="What is never divided: a pair, a question, or a subgroup."
    )
    seed: Seed = Field(default=1, description="Another seed divides differently.")


Parts = Unique[tuple[Annotated[int, Field(ge=0)], ...]]


class Fold(Folds):
    """Some of the parts: these alone, or all but these."""

    model_config = ONLY_OR_WITHOUT

    only: Parts | None = Field(
        default=None, description="Keep these parts, counted from 0 to of - 1."
    )
    without: Parts = Field(default=(), description="Keep all but these parts.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.only) == bool(self.without):
            raise ValueError("give either only or without, a list of parts")
        if max((*(self.only or ()), *self.without)) >= self.of:
            raise ValueError(f"parts go from 0 to {self.of - 1}")
        if not self.parts():
            raise ValueError("keeps no part; leave fewer out")
        return self

    def parts(self) -> set[int]:
        """The parts kept, 0 to of - 1."""
        return set(range(self.of) if self.only is None else self.only) - set(self.without)

    def disjoint(self, other: "Fold | None") -> bool:
        """Whether no unit can be in both: the same division, and no part kept twice."""
        if other is None or (self.of, self.unit, self.seed) != (other.of, other.unit, other.seed):
            return False
        return not self.parts() & other.parts()


class Split(Part):
    """A named set of strata to train on or to test on."""

    role: Literal["train", "test"] = Field(
        description="train or test; no pair may be in splits of both roles."
    )
    strata: FilledUnique[tuple[Text, ...]] = Field(
        description="Strata of the split, each an axis or several axes joined by ' x '."
    )
    questions: Selection | None = Field(
        default=None,
        description="Keep some of the study's questions in this split; all by default.",
    )
    groups: FrozenMap[str, Selection] = Field(
        default=EMPTY,
        description=(
            "Axis -> {only: [...]} or {without: [...]}: keep some groups of it in this split."
        ),
    )
    fold: Fold | None = Field(
        default=None,
        description=(
            "Keep some parts of this split, which is divided in `of` parts by a hash that no other "
            "setting moves. Splits that divide alike and keep different parts share nothing."
        ),
    )
    folds: Folds | None = Field(
        default=None,
        description=(
            "Of a test split: k-fold cross-validation. A recipe on this split is trained `of` "
            "times, each time without one part, and answers for that part; its scores are of all "
            "parts together."
        ),
    )

    @field_validator("questions")
    @classmethod
    def _check_questions(cls, questions: Selection | None) -> Selection | None:
        return _not_empty(questions) if questions else questions

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, groups: dict[str, Selection]) -> dict[str, Selection]:
        for selection in groups.values():
            _not_empty(selection)
        return groups

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        if self.folds and (self.fold or self.role != "test"):
            raise ValueError("folds are for a test split without a fold; remove folds or fold")
        return self


def _not_empty(selection: Selection) -> Selection:
    if selection.only is None and not selection.without:
        raise ValueError("give either only or without, a list that is not empty")
    return selection
