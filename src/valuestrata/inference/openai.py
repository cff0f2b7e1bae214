"""Served models behind an address that speaks the chat completions of OpenAI.

They write text; the exact log-probability of a whole option is not to be had from them, and what
they offer instead, the few likeliest tokens, leaves options out. The key comes from the environment
and goes nowhere else. A call that fails after its retries is no answer: None.
"""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from valuestrata.errors import InputError
from valuestrata.inference.protocol import ScoredReply, ScoringRequest
from valuestrata.provenance import text_digest
from valuestrata.specs import Model, Service

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Messages:
    """A prompt as it is sent; only the server knows its tokens."""

    persona: str
    user: str
    tokens: None = None

    @property
    def digest(self) -> str:
        """Sixteen hex digits over the texts."""
        return text_digest([self.persona, self.user])[:16]


class OpenAIModel:
    """A model that a service runs. It connects when it is asked."""

    adapter = ""
    chat = None
    settings = ()
    longest = None
    shard = 256  # calls cost money: a killed job loses few

    def __init__(self, spec: Model) -> None:
        """Remember whom to ask."""
        if spec.service is None:
            raise ValueError("a served model has a service")
        self.spec = spec
        self.service = spec.service

    @property
    def weights(self) -> str:
        """The model's name and where it is served: all that a service tells."""
        return f"{self.spec.weights}@{self.service.address}"

    def connect(self) -> Any:
        """A client; it retries with growing pauses and keeps to the server's own waits.

        Raises:
            InputError: the package or the key is missing.
        """
        try:
            import openai
        except ImportError:
            raise InputError(
                "backend openai: the package openai is not installed; "
                "pip install 'valuestrata[openai]'"
            ) from None
        for name in ("openai", "httpx", "httpx2"):  # a line a call, or whole requests
            logging.getLogger(name).setLevel(logging.WARNING)
        return openai.OpenAI(
            api_key=_key(self.service),
            base_url=self.service.address,
            timeout=self.service.timeout,
            max_retries=self.service.retries,
        )

    def prompt(self, persona: str, user: str) -> Messages:
        """A prompt as it is sent."""
        return Messages(persona, user)

    def answer(self, questions: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy texts, without log-probabilities, in the order of the questions."""
        prompts = [(q.persona, q.user) for q in questions]
        return [ScoredReply(text, None) for text in self.generate(prompts, max_new_tokens, 0.0, 0)]

    def generate(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        temperature: float,
        seed: int,
    ) -> list[str | None]:
        """Text for each (persona, user) prompt, in order; None where a call failed.

        Raises:
            InputError: the service knows no such model or refuses the key, or no call at all came
                through.
        """
        if not prompts:
            return []
        settings: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": temperature}
        if temperature > 0:
            settings["seed"] = seed  # which services follow as well as they can
        with self.connect() as client, ThreadPoolExecutor(self.service.parallel) as pool:
            try:
                calls = [pool.submit(self._call, client, *prompt, settings) for prompt in prompts]
                replies = [call.result() for call in calls]
            except InputError:
                pool.shutdown(cancel_futures=True)
                raise
        failed = [reply for reply in replies if isinstance(reply, Exception)]
        if failed:
            log.warning(
                "%d of %d calls failed (%s); what is asked next time is these alone",
                len(failed),
                len(replies),
                ", ".join(sorted({self._shown(error) for error in failed})),
            )
        if len(failed) == len(replies) and not any(map(_is_about_one_prompt, failed)):
            raise InputError(
                f"{self.weights}: no call came through ({self._shown(failed[0])}); "
                "try again later, what was answered before is kept"
            )
        return [None if isinstance(reply, Exception) else reply for reply in replies]

    def _call(
        self, client: Any, persona: str, user: str, settings: dict[str, Any]
    ) -> str | Exception | None:
        """What the model wrote, a refusal's words included, or what went wrong."""
        import openai

        said = [{"role": "system", "content": persona}, {"role": "user", "content": user}]
        try:
            done = client.chat.completions.create(
                model=self.spec.weights, messages=said, **settings
            )
        except openai.AuthenticationError:
            raise InputError(
                f"{self.weights}: refuses the key in ${self.service.key_variable}"
            ) from None
        except openai.NotFoundError:
            raise InputError(
                f"{self.weights}: no such model or address; check weights and service.address"
            ) from None
        except (openai.OpenAIError, ValueError) as error:
            return error
        if not getattr(done, "choices", None):
            return ValueError("a reply without choices")
        message = done.choices[0].message
        text: str | None = message.content
        if not text and message.refusal:
            text = message.refusal
        return text

    def _shown(self, error: Exception) -> str:
        """An error in a few words: its kind and status; a server's own words may hold the key."""
        status = getattr(error, "status_code", None)
        return type(error).__name__ + (f" {status}" if status else "")


def _key(service: Service) -> str:
    if service.key_variable is None:
        return "none"  # the package wants one; a server of one's own ignores it
    key = os.environ.get(service.key_variable, "").strip()
    if not key:
        raise InputError(
            f"${service.key_variable} is not set: export the key of {service.address} in it"
        )
    return key


def _is_about_one_prompt(error: Exception) -> bool:
    """Whether a service turned one prompt down, as a content filter does."""
    return getattr(error, "status_code", None) in (400, 403, 422)
