"""What a backend can do, whatever runs behind it, and what a stage does with any of them.

Baselines keep to the same tables but not to this protocol: they answer from the survey's own
tallies, not from prompts (stages/predict_baseline.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from valuestrata.errors import InputError
from valuestrata.provenance import code_digest, text_digest


@dataclass(frozen=True)
class ScoringRequest:
    """A closed prompt: messages, and the reply that would give each option."""

    persona: str
    user: str
    replies: tuple[str, ...]


@dataclass(frozen=True)
class ScoredReply:
    """Both readings of a closed prompt: what was written, and log p of each whole reply [C].

    `text` is None where the call failed, `logprobs` where the backend cannot tell them.
    """

    text: str | None
    logprobs: NDArray[np.float64] | None


class Rendered(Protocol):
    """A prompt as a model reads it."""

    @property
    def digest(self) -> str:
        """Hash of what is read."""

    @property
    def tokens(self) -> int | None:
        """Length in tokens, None where only the server knows."""


class ReplyEncoder(Protocol):
    """What turns a reply into what a model reads."""

    def encode_reply(self, text: str) -> Sequence[int]:
        """Token ids of a reply, its terminator included."""


class LanguageModel(Protocol):
    """A model that loads, or connects, when it is first asked. ReplyEncoder keep the prompts' order."""

    @property
    def weights(self) -> str:
        """What identifies the weights: a revision, a hash, or the name at a service."""

    @property
    def adapter(self) -> str:
        """Hash of the adapter, '' for none."""

    @property
    def chat(self) -> ReplyEncoder | None:
        """What turns replies into token ids, None where only the server knows."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Other settings that a reply depends on."""

    @property
    def longest(self) -> int | None:
        """Longest prompt with its reply, in tokens."""

    @property
    def shard(self) -> int:
        """ReplyEncoder between two writes to the store: what a killed job loses at most."""

    def prompt(self, persona: str, user: str) -> Rendered:
        """A prompt as the model will read it."""

    def answer(self, questions: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy text and log-probability of every option, up to its terminator."""

    def generate(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        temperature: float,
        seed: int,
    ) -> Sequence[str | None]:
        """Text for each (persona, user) prompt, None for a failed call; temperature 0 is greedy."""


def rendered(
    model: LanguageModel, prompts: Sequence[tuple[str, str]], max_new_tokens: int
) -> list[Rendered]:
    """Every (persona, user) prompt as the model will read it.

    Raises:
        InputError: a prompt leaves no room for a reply; one line that names it.
    """
    made = [model.prompt(persona, user) for persona, user in prompts]
    for prompt, (persona, user) in zip(made, prompts, strict=True):
        tokens = prompt.tokens or 0
        if model.longest is not None and tokens + max_new_tokens > model.longest:
            shown = " ".join(f"{persona} {user}".split())
            raise InputError(
                f"{model.weights}: a prompt of {tokens} tokens and {max_new_tokens} for the reply "
                f"are more than its max_length of {model.longest}: {shown[:100]!r}..."
            )
    return made


def options(
    model: LanguageModel, questions: Sequence[ScoringRequest], max_new_tokens: int
) -> list[list[str]]:
    """Every question's options as the model reads them; texts where only the server knows.

    Raises:
        InputError: a reply that gives an option would be cut off; one line that names it.
    """
    if model.chat is None:
        return [list(question.replies) for question in questions]
    texts = sorted({text for question in questions for text in question.replies})
    ids = {text: model.chat.encode_reply(text) for text in texts}
    longest = max(texts, key=lambda text: len(ids[text]), default="")
    needed = len(ids.get(longest, ()))
    if needed > max_new_tokens:
        raise InputError(
            f"{model.weights}: the reply {longest!r} takes {needed} tokens with its end and "
            f"prediction.max_new_tokens is {max_new_tokens}; set it to {needed} or more"
        )
    return [[" ".join(map(str, ids[text])) for text in own.replies] for own in questions]


def cache_keys(
    model: LanguageModel, prompts: Sequence[Rendered], asked: Sequence[Sequence[str]]
) -> list[str]:
    """ReplyCache key of each prompt: all that its reply depends on.

    Args:
        model: who is asked.
        prompts: what it reads.
        asked: for each prompt, what else the reply depends on: options as they are read, sampling.
    """
    scorer = code_digest(type(model).__module__)
    about = [scorer, model.weights, model.adapter, *model.settings]
    return [
        text_digest([*about, prompt.digest, *own])
        for prompt, own in zip(prompts, asked, strict=True)
    ]
