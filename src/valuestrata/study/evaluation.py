"""What models are scored against, and how sure the scores are."""

from typing import Literal

from pydantic import Field

from valuestrata.study.base import EMPTY, FrozenMap, Part, Seed


class Labels(Part):
    """How a subgroup's answers become what models are scored against."""

    mode: Literal["unweighted", "weighted"] = Field(
        default="unweighted",
        description=(
            "The modal answer (accuracy, NMAE, Modal Diversity Score): the code that most "
            "respondents gave (unweighted: the paper) or the one with most survey weight. A tie "
            "goes to the lowest code."
        ),
    )
    distribution: Literal["weighted", "unweighted"] = Field(
        default="weighted",
        description="Whether answer distributions (Wasserstein and other distances) are weighted.",
    )


class Evaluation(Part):
    """Intervals and tests."""

    confidence_level: float = Field(
        default=0.95, gt=0, lt=1, description="Coverage of every interval."
    )
    n_resamples: int = Field(
        default=10_000,
        ge=10,
        description="Bootstrap resamples and permutations of each interval, null and test.",
    )
    seed: Seed = Field(default=1, description="Seed of the resamples and permutations.")


class Contrasts(Part):
    """Which groups of an axis are compared with which, beside each with all others."""

    reference_groups: FrozenMap[str, str] = Field(
        default=EMPTY,
        description="Axis -> group that its other groups are compared with: {ethnicity: Chinese}.",
    )
    ordered_axes: tuple[str, ...] | None = Field(
        default=None,
        description=(
            "Axes whose last group is compared with the first, as old with young; by default those "
            "with bands, and those whose labels start with ascending numbers."
        ),
    )
