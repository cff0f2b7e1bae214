"""Prompts that differ from the study's own in one thing, and texts to probe a model with. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from valuestrata.prompting import prompts
from valuestrata.prompting.settings import PromptSettings
from valuestrata.provenance import text_digest
from valuestrata.study.prompts import Options, Persona
from valuestrata.study.sensitivity import Perturbation

OTHER_ORDER: Mapping[Options, Options] = {
    "asked": "reversed",
    "reversed": "asked",
    "shuffled": "asked",
}
"""The order of options that stands against the study's own."""
OTHER_PERSONA: Mapping[Persona, Persona] = {"second": "third", "third": "second", "list": "second"}
"""The sentence about the persona that stands against the study's own."""
ITEM_PROMPT = (
    "You write out questions of surveys, word for word.",
    "Write out one question that the {survey} asks, and nothing else.",
)
"""First and second message before the text of an item: no persona, no topic."""


def perturbed_messages(
    prompt: PromptSettings,
    perturbation: Perturbation,
    groups: Mapping[str, str],
    question: Mapping[str, Any],
    wordings: Mapping[str, str],
) -> tuple[str, str]:
    """First and second message of a pair in a perturbed prompt.

    Args:
        prompt: the study's own, with the subgroup's country.
        perturbation: what differs: one of REWORDED.
        groups: axis -> group of the subgroup.
        question: a row of the table of questions.
        wordings: question -> its other wording; a question without one keeps its own.
    """
    text = str(question["text"])
    if perturbation == "option_order":
        prompt = prompt.replace(options=OTHER_ORDER[prompt.options])
    elif perturbation == "paraphrase":
        prompt = prompt.replace(persona=OTHER_PERSONA[prompt.persona])
        text = wordings.get(str(question["question"]), text)
    elif perturbation == "prompt_order":
        prompt = prompt.replace(order="question" if prompt.order == "persona" else "persona")
    rendered = render(prompt, question, text)
    if perturbation == "persona_dropped":
        # services and chat templates take no empty message: the form of reply stands in its place
        reply = str(prompts.template(prompt.template)["reply"])
        return reply, f"{rendered}\n{reply}"
    return prompts.messages(prompt, prompts.persona(prompt, groups), rendered)


def render(prompt: PromptSettings, question: Mapping[str, Any], text: str) -> str:
    """A question in these words with the options of its row."""
    return prompts.render_question(
        prompt,
        text,
        [int(code) for code in question["codes"]],
        [str(label) for label in question["labels"]],
        (int(question["scale_min"]), int(question["scale_max"])),
    )


def item_texts(
    prompt: PromptSettings, question: Mapping[str, Any], wordings: Mapping[str, str], seed: int
) -> dict[str, str]:
    """Texts of an item by kind: its wording, its options, and a control for each.

    wording, paraphrase (where there is another wording) and shuffled (its words in another order)
    are the question alone; options and reversed have the options below, in reversed the labels go
    from the last code to the first.
    """
    text, name = str(question["text"]), str(question["question"])
    made = {"wording": text, "shuffled": shuffled(text, f"{seed} {name}")}
    if name in wordings:
        made["paraphrase"] = wordings[name]
    made["options"] = render(prompt, question, text)
    made["reversed"] = render(prompt, {**question, "labels": _turned(question)}, text)
    return {kind: item for kind, item in made.items() if kind == "wording" or item != text}


def shuffled(text: str, seed: str) -> str:
    """The words of a text in an order drawn by a hash, another one if there is any."""
    words = text.split()
    rng = np.random.default_rng(int(text_digest([seed])[:15], 16))
    for _ in range(10):
        mixed = [words[i] for i in rng.permutation(len(words))]
        if mixed != words:
            return " ".join(mixed)
    return text


def _turned(question: Mapping[str, Any]) -> Sequence[str]:
    """Labels of the codes on the scale from the last to the first; those off it stay."""
    codes, labels = [int(code) for code in question["codes"]], list(question["labels"])
    inside = [
        i
        for i, code in enumerate(codes)
        if int(question["scale_min"]) <= code <= int(question["scale_max"])
    ]
    turned = list(labels)
    for i, j in zip(inside, reversed(inside), strict=True):
        turned[i] = labels[j]
    return turned
