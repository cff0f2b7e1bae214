"""What each stage depends on, as frozen dataclasses that travel as one line of JSON.

A rule hands its stage one spec. It holds exactly the settings that the stage uses, so a setting
that a node does not use never reruns it.
"""

import dataclasses
import json
import re
import types
import typing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

NATIONAL = "all"
"""Id of the stratum without axes: its one subgroup is everyone."""
COUNTRY = "country"
"""The axis of a study of several countries; every stratum lies within one."""

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that stays what it is; a branch or a tag may move."""

T = TypeVar("T")


@dataclass(frozen=True)
class Otherwise:
    """The column and the bands that an axis is made of where its own column is not in the file."""

    column: str
    bands: tuple[int, ...]


@dataclass(frozen=True)
class Axis:
    """A demographic column: `groups` maps code to label, or `bands` holds lower bounds.

    With `found` the groups are the codes that so many respondents have.
    """

    column: str
    label: str
    persona: str
    groups: dict[str, str] | None = None
    bands: tuple[int, ...] | None = None
    otherwise: Otherwise | None = None
    found: int | None = None

    def names(self) -> list[str]:
        """Labels of the axis' groups, in order; none before they are found."""
        if self.bands is None:
            return list((self.groups or {}).values())
        return band_names(self.bands)


def band_names(bands: tuple[int, ...]) -> list[str]:
    """Labels of bands: 16-24, ..., 65 and over."""
    closed = [f"{a}-{b - 1}" for a, b in pairwise(bands)]
    return [*closed, f"{bands[-1]} and over"]


@dataclass(frozen=True)
class Countries:
    """Countries of a cross-national file, by the codes that any of the columns holds."""

    codes: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Clean:
    """What reading and cleaning a survey depends on."""

    name: str
    delimiter: str
    respondent: str
    weight: str | None
    filter: dict[str, tuple[str, ...]]
    missing: tuple[int, ...]
    questions: tuple[str, ...] | None
    exclude: tuple[str, ...]
    recode: dict[str, dict[str, int | None]]
    axes: dict[str, Axis]
    caveat: str
    rename: dict[str, str] = field(default_factory=dict)
    countries: Countries | None = None


@dataclass(frozen=True)
class Simulate:
    """What the simulated survey depends on."""

    respondents: int
    seed: int


@dataclass(frozen=True)
class Tally:
    """Strata (tuples of axes) and the smallest subgroup, in respondents."""

    strata: tuple[tuple[str, ...], ...]
    minimum: int
    caveat: str


@dataclass(frozen=True)
class Evaluation:
    """Coverage, resamples and seed of every interval and test."""

    level: float
    resamples: int
    seed: int


@dataclass(frozen=True)
class Weighting:
    """Whether modal answers, and distributions, are `weighted` or `unweighted`."""

    mode: str
    distribution: str


@dataclass(frozen=True)
class Diversity:
    """Conflict scores over all strata of the study."""

    tally: Tally
    answers: int
    labels: Weighting
    evaluation: Evaluation


@dataclass(frozen=True)
class Ceiling:
    """What can be reached: strata a split, random splits and samples of each subgroup."""

    splits: dict[str, int]
    draws: int
    evaluation: Evaluation
    caveat: str


@dataclass(frozen=True)
class Prompt:
    """How personas and questions are worded.

    Attributes:
        template: name of a prompt file, pinned by its hash.
        country: where the respondents live.
        personas: an axis' phrase of its group.
        labels: an axis' label.
        persona: second (You are), third (Think of) or list (of attributes).
        order: what comes first, persona or question.
        options: asked, reversed, or shuffled by question.
    """

    template: str
    country: str
    personas: dict[str, str]
    labels: dict[str, str]
    persona: str
    order: str
    options: str


@dataclass(frozen=True)
class Selection:
    """Some of a set: these alone, or all but these."""

    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()

    def keeps(self, name: str) -> bool:
        """Whether a member is selected."""
        return name not in self.without and (self.only is None or name in self.only)

    def disjoint(self, other: "Selection") -> bool:
        """Whether no member, of whatever set, can be selected by both."""
        for one, two in ((self, other), (other, self)):
            if one.only is not None and not any(two.keeps(name) for name in one.only):
                return True
        return False


@dataclass(frozen=True)
class Fold:
    """Some of `of` parts that a split's pairs, questions or subgroups fall in by a hash."""

    of: int
    unit: str
    seed: int
    only: tuple[int, ...] | None = None
    without: tuple[int, ...] = ()

    def parts(self) -> set[int]:
        """The parts kept, 0 to of - 1."""
        kept = range(self.of) if self.only is None else self.only
        return set(kept) - set(self.without)

    def disjoint(self, other: "Fold | None") -> bool:
        """Whether no unit can be in both: the same parts are cut, and none is kept twice."""
        if other is None or (self.of, self.unit, self.seed) != (other.of, other.unit, other.seed):
            return False
        return not self.parts() & other.parts()


@dataclass(frozen=True)
class Pairs:
    """Pairs with at least `minimum` valid answers, and their prompts.

    `questions`, `groups` (by axis) and `fold` say which pairs of the split's strata are kept.
    """

    minimum: int
    questions: Selection
    groups: dict[str, Selection]
    labels: Weighting
    prompt: Prompt
    caveat: str
    fold: Fold | None = None


@dataclass(frozen=True)
class Labels:
    """Both readings of a split's labels, and the ties of the study's own."""

    labels: Weighting
    caveat: str


@dataclass(frozen=True)
class Toy:
    """A toy language model trained from scratch."""

    architecture: str
    task: str
    hidden: int
    layers: int
    vocabulary: int
    steps: int
    batch: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class MakeToy:
    """A toy, and how its texts are worded."""

    toy: Toy
    prompt: Prompt
    rubric: str
    caveat: str


@dataclass(frozen=True)
class Service:
    """Where a served model answers. `key_variable` names what holds the key, never the key."""

    address: str
    parallel: int
    timeout: float
    retries: int
    key_variable: str | None = None


@dataclass(frozen=True)
class Model:
    """What loading a model depends on. `weights` is a hub or service name, or a directory.

    `attention` and `device_map` are the library's own choice and one device where they are None;
    `max_length` is then what the network was made for.
    """

    backend: str
    rule: str | None
    weights: str | None
    revision: str | None
    dtype: str
    remote_code: bool
    batch_tokens: int
    max_length: int | None = None
    attention: str | None = None
    device_map: str | None = None
    service: Service | None = None


@dataclass(frozen=True)
class HeldBack:
    """A share of the train split that is never trained on, by pairs or by whole questions."""

    share: float
    by: str


@dataclass(frozen=True)
class Recipe:
    """A way of fine-tuning. `targets` names the layers tuned, None all linear ones."""

    method: str
    split: str
    learning_rate: float
    epochs: int
    batch: int
    warmup: float
    rank: int
    alpha: float
    dropout: float
    weight_decay: float
    gradient_norm: float
    seed: int
    schedule: str
    accumulate: int
    grid: bool
    targets: tuple[str, ...] | None
    quantize: str
    checkpointing: bool
    held_back: HeldBack
    balance: str
    favour: dict[str, float]
    step_size: float
    beta: float
    rejected: str
    generations: int
    temperature: float
    max_new_tokens: int


@dataclass(frozen=True)
class Finetune:
    """One fine-tune. `template` words the replies."""

    model: Model
    recipe: Recipe
    template: str
    caveat: str


@dataclass(frozen=True)
class Predict:
    """One structured questionnaire. `template` words the replies that are scored."""

    model: Model
    template: str
    max_new_tokens: int
    caveat: str


@dataclass(frozen=True)
class Pool:
    """The predictions of a k-fold recipe, put together; nothing but the caveat is set."""

    caveat: str


@dataclass(frozen=True)
class Generate:
    """One set of open-ended answers."""

    model: Model
    per_subgroup: int
    max_new_tokens: int
    temperature: float
    seed: int
    caveat: str


@dataclass(frozen=True)
class Judge:
    """One judge over one run's answers."""

    model: Model
    rubric: str
    max_new_tokens: int
    caveat: str


@dataclass(frozen=True)
class Score:
    """One run's scores; their definitions have no settings."""

    caveat: str


@dataclass(frozen=True)
class Fairness:
    """Inequality over subgroups and over each axis' groups."""

    run: tuple[str, str, str]
    evaluation: Evaluation
    caveat: str


@dataclass(frozen=True)
class Summary:
    """What the summary of the survey side says of the study."""

    study: str
    survey: str
    country: str
    splits: tuple[str, ...]
    labels: Weighting
    evaluation: Evaluation
    caveat: str


@dataclass(frozen=True)
class Compare:
    """All runs side by side: variants by model, the same in other wordings, strata by split, judges
    and what they judged.

    `persona_agnostic` are those of the baselines that know nothing of a persona.
    """

    models: dict[str, tuple[str, ...]]
    wordings: dict[str, tuple[str, ...]]
    baselines: tuple[str, ...]
    persona_agnostic: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]
    judges: tuple[str, ...]
    judged_splits: tuple[str, ...]
    evaluation: Evaluation
    caveat: str
    folded: dict[str, str] = field(default_factory=dict)

    def speaks(self, variant: str, split: str) -> bool:
        """Whether a variant answers a split; `folded` says which one a k-fold recipe's does."""
        return self.folded.get(variant, split) == split


@dataclass(frozen=True)
class Report:
    """What heads the report."""

    study: str
    title: str
    survey: str
    caveat: str
    axes: dict[str, str]
    roles: dict[str, str]
    compare: Compare
    reference: dict[str, tuple[str, str]]
    recipes: dict[str, Recipe]
    wordings: dict[str, dict[str, str]]
    folds: dict[str, tuple[str, ...]]
    toys: tuple[str, ...]


def to_json(spec: Any) -> str:
    """A spec as one line of JSON; mappings keep the study's order."""
    return json.dumps(dataclasses.asdict(spec), ensure_ascii=False)


def from_json(kind: type[T], text: str) -> T:
    """The inverse of `to_json`."""
    return from_dict(kind, json.loads(text))


def from_dict(kind: type[T], data: Any) -> T:
    """Make a dataclass, its nested ones and tuples included, of plain JSON data."""
    return typing.cast(T, _build(kind, data))


def _build(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _build(arguments[0], value)
    if origin is tuple:
        many = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = [arguments[0]] * len(value) if many else arguments
        return tuple(_build(k, v) for k, v in zip(kinds, value, strict=True))
    if origin is dict:
        return {k: _build(arguments[1], v) for k, v in value.items()}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return typing.cast(Any, kind)(**{k: _build(hints[k], v) for k, v in value.items()})
    return value


def reworded(variant: str, wording: str) -> str:
    """Name of a variant that is asked in another wording; no recipe's name holds a plus."""
    return f"{variant}+{wording}"


def variant_parts(variant: str) -> tuple[str, str]:
    """The variant itself and its wording, '' for the study's own."""
    plain, _, wording = variant.partition("+")
    return plain, wording


def stratum_id(axes: tuple[str, ...]) -> str:
    """Path part that names a stratum: its axes joined by -x-, or `all` for none."""
    return "-x-".join(axes) if axes else NATIONAL
