"""What a language model's backend can do, whatever runs behind it.

Baselines keep to the same tables but not to this protocol: they answer from the survey's own
answers, not from prompts (stages/predict_baseline.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Messages = tuple[str, str]
"""First (system) and second (user) message of a prompt."""


@dataclass(frozen=True)
class Sampling:
    """How a text is written; temperature 0 is greedy, and then the seed is not used."""

    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0


CUT = "length"
"""The finish reason of a text that ended at its token limit, as services call it."""
FILTERED = "content_filter"
"""The finish reason of a text that a service withheld, in part or whole."""
REFUSED = "refusal"
"""The finish reason of a text that is a service's words of refusal."""
WRAPPER_TOKENS = 16
"""Tokens of a service's constrained reply beside its option, at most."""


@dataclass(frozen=True)
class Completion:
    """A text and why it ended: stop, length, what a service says, or None where nobody knows.

    `text` is None where the call failed. It holds the model's thought, if it has one, between the
    model's own markers (prompting/thinking.py). `prompt_tokens` were read and `completion_tokens`
    written for it, thought and terminator included; None where nobody counted. Of a service that
    shows its likeliest tokens, `logprobs` are log p of each option as far as they tell, and
    `unread_mass` is what they leave open (top_logprobs.py).
    """

    text: str | None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprobs: tuple[float, ...] | None = None
    unread_mass: float | None = None

    @property
    def is_cut(self) -> bool:
        """Whether it ended at its token limit."""
        return self.finish_reason == CUT

    @property
    def is_refused(self) -> bool:
        """Whether the service itself says that this is no answer."""
        return self.finish_reason in (FILTERED, REFUSED)


@dataclass(frozen=True)
class ScoringRequest:
    """A closed prompt: its messages, and the reply that would give each of its C options.

    Where it is `constrained`, the text is one of the options, whatever the model would write.
    """

    messages: Messages
    options: tuple[str, ...]
    constrained: bool = False


@dataclass(frozen=True)
class ScoredReply:
    """Both readings of a closed prompt: the greedy text, and log p of each whole option [C].

    `text` is None where the call failed, `logprobs` where the backend cannot tell them. `passes`
    says how options were read where the backend has two ways: shared_prefix or plain.
    """

    text: str | None
    logprobs: NDArray[np.float64] | None
    finish_reason: str | None = None
    passes: str | None = None


@dataclass(frozen=True)
class LoadCheck:
    """What a model was like when it was loaded.

    Attributes:
        adapter_shift: largest change of a logit, or of a log-probability, that the adapter makes
            at the end of a prompt; None without adapter.
        notes: what was doubtful, such as warnings of libraries about weights and tokenizer.
    """

    adapter_shift: float | None = None
    notes: tuple[str, ...] = ()

    def with_note(self, note: str) -> Self:
        """The same with one more note, if it says anything."""
        return replace(self, notes=(*self.notes, note)) if note else self

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns in a table of answers."""
        return {"adapter_shift": self.adapter_shift, "notes": "\n".join(self.notes)}


class RenderedPrompt(Protocol):
    """A prompt as a model reads it."""

    @property
    def digest(self) -> str:
        """Hash of what is read."""

    @property
    def num_tokens(self) -> int | None:
        """Length in tokens, None where only the service knows."""


class ReplyEncoder(Protocol):
    """What turns a reply into what a model reads."""

    def encode_reply(self, text: str) -> Sequence[int]:
        """Token ids of a reply, its terminator included."""


class Backend(Protocol):
    """A model that loads, or connects, when it is first asked. Replies keep the requests' order."""

    @classmethod
    def open(cls, model: Any, threads: int, adapter: Path | str | None = None) -> Self:
        """The backend of a study's model.

        Raises:
            InputError: its tokenizer cannot be had.
        """

    @property
    def entries(self) -> tuple[str, ...]:
        """Code that replies depend on, as "module:name"; none of a service."""

    @property
    def numerics(self) -> tuple[str, ...]:
        """Settings that move the last digits of a log-probability, or that a service is sent."""

    @property
    def shard_size(self) -> int:
        """Requests asked together; a killed job of a local model loses as many at most."""

    @property
    def version(self) -> str:
        """Name and revision of the model, a hash of its weights, or its name at a service."""

    @property
    def adapter(self) -> str:
        """Hash of the adapter, '' for none."""

    @property
    def chat(self) -> ReplyEncoder | None:
        """What turns replies into token ids, None where only the service knows."""

    @property
    def max_length(self) -> int | None:
        """Longest prompt with its reply, in tokens."""

    def render(self, messages: Messages) -> RenderedPrompt:
        """A prompt as the model will read it."""

    def check_load(self, messages: Messages) -> LoadCheck:
        """What the model is like, on a prompt; measured once after each load.

        Raises:
            InputError: its logits are no numbers, or its adapter changes nothing.
        """

    def score(self, requests: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy text and log-probability of every option, up to its terminator."""

    def generate(self, prompts: Sequence[Messages], sampling: Sampling) -> Sequence[Completion]:
        """A text for each prompt."""


@runtime_checkable
class StreamingBackend(Protocol):
    """A backend whose replies come one by one, so that each is kept as soon as it is paid for."""

    @property
    def numerics_of_options(self) -> tuple[str, ...]:
        """What it is sent beside `numerics` where options are asked for."""

    def stream(
        self,
        requests: Sequence[ScoringRequest],
        sampling: Sampling,
        has_replies: bool,
        folder: Path,
    ) -> Iterator[tuple[int, Completion]]:
        """(position, text) of each request as it arrives; no text where a call failed.

        Args:
            requests: prompts with their options.
            sampling: how texts are written.
            has_replies: whether some reply of the same batch was had before.
            folder: of the reply cache, where it may note what it needs to go on after a kill.
        """


@runtime_checkable
class PreloadingBackend(Protocol):
    """A backend that can load its weights beside other work."""

    def preload(self) -> None:
        """Begin to load; whatever is wrong is said where the weights are first used."""


@runtime_checkable
class MeteredBackend(Protocol):
    """A backend whose calls may cost money."""

    def charge_to(self, folder: Path, node: Mapping[str, str], budget: Any) -> None:
        """Charge all calls to the ledger in a folder, and keep to a study's budget."""

    def note_cached(self, n_replies: int) -> None:
        """Say how many of the replies that are needed are cached already."""
