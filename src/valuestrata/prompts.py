"""Persona and question as messages. One place for every wording that a model is shown."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import yaml

from valuestrata.specs import Prompt

DATA_FILES = ["data/prompts/english.yaml"]


@cache
def template(name: str) -> dict[str, str]:
    """The wordings of data/prompts/NAME.yaml."""
    text = files("valuestrata").joinpath(f"data/prompts/{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def persona(prompt: Prompt, groups: Mapping[str, str]) -> str:
    """System message for a subgroup, given as axis -> group.

    >>> said = Prompt("english", "Utopia", {"sex": "{group}", "age": "aged {group}"})
    >>> persona(said, {"sex": "female", "age": "25-34"}).split(". ")[1]
    'About you: female, aged 25-34'
    """
    traits = [prompt.personas[axis].format(group=group) for axis, group in groups.items()]
    return template(prompt.template)["persona"].format(
        country=prompt.country, traits=", ".join(traits)
    )


def closed(
    prompt: Prompt,
    question: str,
    codes: Sequence[int],
    labels: Sequence[str],
    ends: tuple[int, int],
) -> str:
    """User message that asks for a code of the scale `ends` = (lowest, highest).

    >>> said = Prompt("english", "Utopia", {})
    >>> print(closed(said, "Is it so?", [1, 2], ["yes", "no"], (1, 2)).splitlines()[1])
    1 = yes
    >>> ten = list(range(1, 11))
    >>> print(closed(said, "How much?", ten, ["none", *[""] * 8, "all"], (1, 10)).splitlines()[1])
    Choose a number from 1 (none) to 10 (all).
    """
    words = template(prompt.template)
    shown = {c: label for c, label in zip(codes, labels, strict=True) if ends[0] <= c <= ends[1]}
    if all(shown.values()):
        lines = [words["option"].format(code=c, label=label) for c, label in shown.items()]
    else:
        lowest, highest = ends
        lines = [
            words["scale"].format(
                lowest=lowest,
                highest=highest,
                lowest_label=shown[lowest],
                highest_label=shown[highest],
            )
        ]
    return words["closed"].format(question=question, options="\n".join(lines))


def open_ended(prompt: Prompt, question: str) -> str:
    """User message that asks for a free answer."""
    return template(prompt.template)["open"].format(question=question)


def answer(prompt_template: str, code: int) -> str:
    """The reply that gives a code, in the form that `closed` asks for."""
    return template(prompt_template)["answer"].format(code=code)
