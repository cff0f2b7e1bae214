"""Persona and question as messages. One place for every wording that a model is shown.

A template is a file of prompting/templates: its language, its sentences, and a glossary for the study's
own words. Questions and their options stay in the codebook's language.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from valuestrata.provenance import text_digest
from valuestrata.specs import Prompt


@cache
def template(name: str) -> dict[str, Any]:
    """The wordings of prompting/templates/NAME.yaml; NAME may be followed by `@` and the file's hash."""
    file = f"prompting/templates/{name.partition('@')[0]}.yaml"
    text = files("valuestrata").joinpath(file).read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def persona(prompt: Prompt, groups: Mapping[str, str]) -> str:
    """The message that describes a subgroup, given as axis -> group.

    >>> axes = {"sex": "{group}", "age": "aged {group}"}, {"sex": "sex", "age": "age"}
    >>> said = Prompt("english", "Utopia", *axes, "second", "persona", "asked")
    >>> persona(said, {"sex": "female", "age": "25-34"}).split(". ")[1]
    'About you: female, aged 25-34'
    >>> said = Prompt("mandarin", "Singapore", *axes, "list", "persona", "asked")
    >>> print(persona(said, {"sex": "female", "age": "25-34"}))
    请以具有下列特征的人的身份回答每一个问题：
    - 居住国：新加坡
    - 性别：女性
    - 年龄：25至34岁
    """
    words = template(prompt.template)
    glossary = words["glossary"]

    def translate(word: str) -> str:
        return str(glossary.get(word, word))

    country = translate(prompt.country)
    traits = [
        translate(prompt.personas[axis]).format(group=translate(g)) for axis, g in groups.items()
    ]
    attributes = [
        (words["residence"], country),
        *((translate(prompt.labels[axis]), translate(group)) for axis, group in groups.items()),
    ]
    lines = [words["attribute"].format(name=name, value=value) for name, value in attributes]
    return str(words["persona"][prompt.persona]).format(
        country=country, traits=words["join"].join(traits), lines="\n".join(lines)
    )


def render_question(
    prompt: Prompt,
    question: str,
    codes: Sequence[int],
    labels: Sequence[str],
    ends: tuple[int, int],
) -> str:
    """A question with the codes of its scale, `ends` = (lowest, highest), in the prompt's order.

    >>> said = Prompt("english", "Utopia", {}, {}, "second", "persona", "reversed")
    >>> print(asked(said, "Is it so?", [1, 2], ["yes", "no"], (1, 2)))
    Is it so?
    2 = no
    1 = yes
    >>> ten = list(range(1, 11))
    >>> print(asked(said, "How much?", ten, ["none", *[""] * 8, "all"], (1, 10)).splitlines()[1])
    Choose a number from 10 (all) to 1 (none).
    """
    words = template(prompt.template)
    within = [(c, label) for c, label in zip(codes, labels, strict=True) if ends[0] <= c <= ends[1]]
    shown = dict(_ordered(prompt, question, within))
    if all(shown.values()):
        lines = [words["option"].format(code=c, label=label) for c, label in shown.items()]
    else:
        first, last = [code for code in shown if code in ends]
        lines = [
            words["scale"].format(
                scale_min=first,
                scale_max=last,
                lowest_label=shown[first],
                highest_label=shown[last],
            )
        ]
    return str(words["closed"]).format(question=question, options="\n".join(lines))


def _ordered(
    prompt: Prompt, question: str, options: list[tuple[int, str]]
) -> list[tuple[int, str]]:
    """Options as asked, reversed, or in an order drawn for each question by a hash."""
    if prompt.options == "reversed":
        return options[::-1]
    if prompt.options == "shuffled":
        return sorted(options, key=lambda option: text_digest([question, str(option[0])]))
    return options


def messages(prompt: Prompt, persona: str, question: str) -> tuple[str, str]:
    """First (system) and second (user) message of a closed prompt, from its two parts.

    >>> said = Prompt("english", "Utopia", {}, {}, "second", "question", "asked")
    >>> messages(said, "You are old.", "Is it so?")[1].splitlines()[0]
    'You are old.'
    """
    reply = template(prompt.template)["reply"]
    if prompt.order == "question":
        return question, f"{persona}\n{reply}"
    return persona, f"{question}\n{reply}"


def closed(
    prompt: Prompt,
    question: str,
    codes: Sequence[int],
    labels: Sequence[str],
    ends: tuple[int, int],
) -> str:
    """User message that asks for a code, where the persona came first; see `asked`."""
    reply = template(prompt.template)["reply"]
    return f"{render_question(prompt, question, codes, labels, ends)}\n{reply}"


def open_ended(prompt: Prompt, question: str) -> str:
    """User message that asks for a free answer."""
    return str(template(prompt.template)["open"]).format(question=question)


def answer(prompt_template: str, code: int) -> str:
    """The reply that gives a code, in the form that a template asks for."""
    return str(template(prompt_template)["answer"]).format(code=code)
