"""Which models are kin: a judge may prefer texts of its own family (self-preference)."""

import re

from valuestrata.study.models import BaselineModel, LocalModel, Model
from valuestrata.study.study import Study

FAMILIES = {
    "llama": ("llama", "vicuna", "alpaca", "sea-lion-v3", "tulu"),
    "qwen": ("qwen", "qwq", "sailor", "seallm"),
    "mistral": ("mistral", "mixtral", "ministral", "magistral", "zephyr"),
    "gpt": ("gpt", "chatgpt", "o1", "o3", "o4"),
    "claude": ("claude",),
    "gemini": ("gemini", "gemma"),
    "deepseek": ("deepseek",),
    "phi": ("phi",),
    "command": ("command", "aya", "c4ai"),
    "glm": ("glm", "chatglm"),
    "olmo": ("olmo",),
    "smollm": ("smollm",),
    "falcon": ("falcon",),
    "granite": ("granite",),
    "yi": ("yi",),
    "internlm": ("internlm",),
    "kimi": ("kimi", "moonshot"),
    "grok": ("grok",),
    "nemotron": ("nemotron",),
    "exaone": ("exaone",),
    "apertus": ("apertus",),
}
"""Words of names by family: those who were trained from the same weights or by the same maker.

ASSUME SeaLLMs v3 and Sailor2 go on from Qwen 2.5, SEA-LION v3 from Llama 3.1, as their cards say.
"""


def families(model: Model) -> set[str]:
    """Families that a model's name speaks of; a toy's is its architecture.

    A distilled model, such as DeepSeek-R1-Distill-Qwen, belongs to two. Words stand apart, or
    before a digit: Phi-4 and phi4 are phi, philosophy is not.
    """
    if isinstance(model, BaselineModel):
        return set()
    toy = model.toy if isinstance(model, LocalModel) else None
    name = toy.architecture if toy else re.split(r"[\\/]", (model.model or "").rstrip("/\\"))[-1]
    return {
        family
        for family, words in FAMILIES.items()
        if any(
            re.search(rf"(?<![a-z]){re.escape(word)}s?(?![a-z])", name.lower()) for word in words
        )
    }


def shares_family(first: Model, second: Model) -> bool:
    """Whether two language models are the same one, or of one family by their names."""
    models = [m for m in (first, second) if not isinstance(m, BaselineModel)]
    names = [model.model for model in models]
    is_same = len(names) == 2 and None not in names and names[0] == names[1]
    return is_same or bool(families(first) & families(second))


def kin_of_judges(study: Study) -> dict[str, tuple[str, ...]]:
    """Models that are compared and share a family with a judge, or one of a panel, by judge."""
    judges = {judge: study.panel(judge) or (judge,) for judge in study.judges}
    return {
        judge: tuple(
            name
            for name, model in study.models.items()
            if any(shares_family(study.judge_models[member], model) for member in members)
        )
        for judge, members in judges.items()
    }
