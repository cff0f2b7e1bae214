"""A judge's rubric: what its prompt says, as a file of the package or of the user's own."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from valuestrata.errors import InputError
from valuestrata.study.base import FilledMap, Part, Text
from valuestrata.study.yaml import read_yaml

FOLDER = "prompting/rubrics"
"""The package's own rubrics."""
FIRST = ("criteria", "persona", "question", "distribution")
"""Placeholders of what many prompts share: they stand before the answers."""
ANSWERS = ("marker", "first", "second")
CHOICES = ("1", "2", "tie")
"""What a judge may say of a dimension."""
_NAME = re.compile(r"[^\W\d_](?:[\w '&-]{0,38}[^\W_])?")
_FIELD = re.compile(r"\{(\w+)\}")
_HASH = re.compile(r"@[0-9a-f]{12}$")


class Rubric(Part):
    """Wordings shown to a judge; words in braces are filled in (docs/judges.md)."""

    system: Text = Field(description="First message, the same for all text pairs of a judge.")
    user: Text = Field(description="Second message: who, what, and the two answers.")
    dimensions: FilledMap[str, Text] = Field(
        description="What is compared: name -> what it means and does not mean."
    )
    reply: Text = Field(description="How the verdict is asked for; {lines} is a line a dimension.")
    reason: str = Field(default="", description="What is added where a reason is wanted.")
    no_reason: str = Field(default="", description="What is added where none is.")
    one: str = Field(
        default="You are asked for one dimension at a time. Reply with 1, 2 or tie, nothing else.",
        description="In place of `reply` where verdicts are constrained: one call a dimension.",
    )
    ask: str = Field(
        default="Your verdict on {dimension}:",
        description="What ends the prompt of a constrained verdict.",
    )
    distribution: str = Field(
        default="",
        description="How the subgroup's survey answers are shown: {n}, {asked}, {shares}.",
    )
    few: str = Field(
        default="- the others, each of few people: {options}",
        description="The line of options that too few people chose.",
    )

    @property
    def shows_distribution(self) -> bool:
        """Whether the judge is told how the subgroup answered."""
        return "{distribution}" in self.user

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.dimensions:
            if not _NAME.fullmatch(name) or name.casefold() in (*CHOICES, "a", "b"):
                raise ValueError(
                    f"dimensions: {name!r} cannot be told from a verdict; name it by a few words"
                )
        folded = [name.casefold() for name in self.dimensions]
        if len({*folded}) < len(folded):
            raise ValueError("dimensions: two names differ in capitals alone; rename one")
        where = {name: self.user.find(f"{{{name}}}") for name in (*FIRST, *ANSWERS)}
        absent = [n for n in ("persona", "question", *ANSWERS) if where[n] < 0]
        if absent:
            raise ValueError(f"user: {{{absent[0]}}} is missing; say where it is shown")
        for name in ("criteria", "reply"):
            if f"{{{name}}}" not in self.system + self.user:
                raise ValueError(f"system: {{{name}}} is missing; say where it is shown")
        if self.shows_distribution and "{shares}" not in self.distribution:
            raise ValueError("distribution: {shares} is missing; say where they are shown")
        late = [n for n in FIRST if where[n] > where["first"]]
        if late or where["second"] < where["first"]:
            raise ValueError(
                f"user: {{{late[0] if late else 'first'}}} stands after an answer; put what many "
                "prompts share before it"
            )
        self._check_blocks()
        return self

    def _check_blocks(self) -> None:
        """An answer is a block of lines between two lines with the marker."""
        lines = self.user.splitlines()
        for name in ("first", "second"):
            places = [i for i, line in enumerate(lines) if f"{{{name}}}" in line]
            around = [lines[i + d] for i in places for d in (-1, 1) if 0 <= i + d < len(lines)]
            is_alone = len(places) == 1 and lines[places[0]] == f"{{{name}}}"
            if not is_alone or len(around) < 2 or not all("{marker}" in line for line in around):
                raise ValueError(
                    f"user: {{{name}}} must be a line of its own, once, between two lines with "
                    "{marker}"
                )


def rubric_path(name: str) -> Path:
    """Path of a rubric, by its name or its id: a file of the package, or the user's own.

    A name with a slash or an ending is a path (`rubrics/mine.yaml`).
    """
    plain = _HASH.sub("", name)
    if "/" in plain or plain.endswith((".yaml", ".yml")):
        return Path(plain)
    return Path(str(files("valuestrata").joinpath(FOLDER, f"{plain}.yaml")))


@cache
def read_rubric(path: Path) -> Rubric:
    """A rubric from its file.

    Raises:
        InputError: there is no such file, or it is no rubric; one line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return Rubric.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = str(first["msg"]).removeprefix("Value error, ")
        raise InputError(f"{path}: {f'{where}: ' if where else ''}{message}") from None
