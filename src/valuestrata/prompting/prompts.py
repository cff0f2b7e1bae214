"""Persona and question as messages. One place for every wording that a model is shown.

A template is a file of prompting/templates: its language, its sentences, and a glossary for the
study's words. Questions and their options stay in the codebook's language.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from valuestrata.prompting.settings import PromptSettings, data_file
from valuestrata.provenance import text_digest
from valuestrata.study.yaml import read_yaml


@cache
def template(name: str) -> dict[str, Any]:
    """The wordings of a prompt file, by its name or its id (`english@0123456789ab`)."""
    return dict(read_yaml(data_file("templates", name)))


def persona(prompt: PromptSettings, groups: Mapping[str, str]) -> str:
    """The message that describes a subgroup, given as axis -> group.

    >>> parts = dict(personas={"sex": "{group}", "age": "aged {group}"}, country="Singapore",
    ...     labels={"sex": "sex", "age": "age"}, order="persona", options="asked")
    >>> prompt = PromptSettings(template="english", persona="second", **parts)
    >>> persona(prompt, {"sex": "female", "age": "25-34"}).split(". ")[1]
    'About you: female, aged 25-34'
    >>> prompt = PromptSettings(template="mandarin", persona="list", **parts)
    >>> print(persona(prompt, {"sex": "female", "age": "25-34"}))
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
        translate(prompt.personas[axis]).format(group=translate(group))
        for axis, group in groups.items()
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
    prompt: PromptSettings,
    question: str,
    codes: Sequence[int],
    labels: Sequence[str],
    scale: tuple[int, int],
) -> str:
    """A question with the codes of its scale, (scale_min, scale_max), in the prompt's order.

    >>> prompt = PromptSettings(template="english", country="Utopia", personas={}, labels={},
    ...     persona="second", order="persona", options="reversed")
    >>> print(render_question(prompt, "Is it so?", [1, 2], ["yes", "no"], (1, 2)))
    Is it so?
    2 = no
    1 = yes
    >>> labels = ["none", *[""] * 8, "all"]
    >>> print(render_question(prompt, "How much?", list(range(1, 11)), labels, (1, 10)))
    How much?
    Choose a number from 10 (all) to 1 (none).
    """
    words = template(prompt.template)
    on_scale = [
        (code, label)
        for code, label in zip(codes, labels, strict=True)
        if scale[0] <= code <= scale[1]
    ]
    options = dict(_ordered(prompt, question, on_scale))
    if all(options.values()):
        lines = [words["option"].format(code=c, label=label) for c, label in options.items()]
    else:
        first, last = [code for code in options if code in scale]
        lines = [
            words["scale"].format(
                lowest=first,
                highest=last,
                lowest_label=options[first],
                highest_label=options[last],
            )
        ]
    return str(words["closed"]).format(question=question, options="\n".join(lines))


def _ordered(
    prompt: PromptSettings, question: str, options: list[tuple[int, str]]
) -> list[tuple[int, str]]:
    """Options as asked, reversed, or in an order drawn for each question by a hash."""
    if prompt.options == "reversed":
        return options[::-1]
    if prompt.options == "shuffled":
        return sorted(options, key=lambda option: text_digest([question, str(option[0])]))
    return options


def messages(prompt: PromptSettings, persona: str, question: str) -> tuple[str, str]:
    """First (system) and second (user) message of a closed prompt, from its two parts.

    >>> prompt = PromptSettings(template="english", country="Utopia", personas={}, labels={},
    ...     persona="second", order="question", options="asked")
    >>> messages(prompt, "You are old.", "Is it so?")[1].splitlines()[0]
    'You are old.'
    """
    reply = template(prompt.template)["reply"]
    if prompt.order == "question":
        return question, f"{persona}\n{reply}"
    return persona, f"{question}\n{reply}"


def closed(
    prompt: PromptSettings,
    question: str,
    codes: Sequence[int],
    labels: Sequence[str],
    scale: tuple[int, int],
) -> str:
    """User message that asks for a code, where the persona came first; see `render_question`."""
    reply = template(prompt.template)["reply"]
    return f"{render_question(prompt, question, codes, labels, scale)}\n{reply}"


def answer(prompt_template: str, code: int) -> str:
    """The reply that gives a code, in the form that a template asks for."""
    return str(template(prompt_template)["answer"]).format(code=code)
