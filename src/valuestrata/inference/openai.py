"""Models behind a service that speaks the chat completions of OpenAI.

They write text; the exact log-probability of a whole option is not to be had from them, and what
they offer instead, the few likeliest tokens, leaves options out. The key comes from the environment
and goes nowhere else. A call that fails after its retries is no answer: None. A thought that comes
in a field of its own is put before the text between tags (prompting/thinking.py).
"""

import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from valuestrata.errors import InputError
from valuestrata.inference.protocol import (
    CUT,
    Completion,
    LoadCheck,
    Messages,
    Sampling,
    ScoredReply,
    ScoringRequest,
)
from valuestrata.prompting.thinking import split_thought
from valuestrata.provenance import text_digest
from valuestrata.study.models import OpenAIModel

log = logging.getLogger(__name__)

REFUSED = "refusal"
"""The finish reason of a reply whose text is the service's words of refusal."""
_FIELD = "answer"


@dataclass(frozen=True)
class SentPrompt:
    """A prompt as it is sent; only the service knows its tokens."""

    messages: Messages
    num_tokens: None = None

    @property
    def digest(self) -> str:
        """Sixteen hex digits over the texts."""
        return text_digest(self.messages)[:16]


class OpenAIBackend:
    """A model that a service runs. It connects when it is asked."""

    adapter = ""
    chat = None
    entries: tuple[str, ...] = ()  # a paid reply outlives every change of our code
    numerics: tuple[str, ...] = ()
    max_length = None
    shard_size = 256  # calls cost money: a killed job loses few

    def __init__(self, model: OpenAIModel) -> None:
        """Remember whom to ask."""
        self.model = model

    @classmethod
    def open(cls, model: OpenAIModel, threads: int, adapter: Path | str | None = None) -> Self:
        """The backend of a study's model; it needs no threads, and has no adapter."""
        if adapter is not None:
            raise ValueError(f"{model.model}: a model at a service has no adapter")
        return cls(model)

    @property
    def version(self) -> str:
        """The model's name and its service's address: all that a service tells."""
        return f"{self.model.model}@{self.model.base_url}"

    def connect(self) -> Any:
        """A client; it retries with growing pauses and keeps to the service's own waits.

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
            api_key=_api_key(self.model),
            base_url=self.model.base_url,
            timeout=self.model.timeout,
            max_retries=self.model.max_retries,
        )

    def render(self, messages: Messages) -> SentPrompt:
        """A prompt as it is sent."""
        return SentPrompt(messages)

    def check_load(self, messages: Messages) -> LoadCheck:
        """Nothing: a service says nothing of its weights."""
        return LoadCheck()

    def score(self, requests: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy texts, without log-probabilities, in the order of the requests.

        Raises:
            InputError: as `generate`, or the service does not keep to the options.
        """
        formats = [_response_format(r.options) if r.constrained else None for r in requests]
        completions = self._complete(
            [r.messages for r in requests], Sampling(max_new_tokens), formats
        )
        pairs = zip(requests, completions, strict=True)
        texts = [self._chosen(c, r.options) if r.constrained else c for r, c in pairs]
        return [ScoredReply(c.text, None, c.finish_reason) for c in texts]

    def generate(self, prompts: Sequence[Messages], sampling: Sampling) -> list[Completion]:
        """A text for each prompt, in order; no text where a call failed.

        Raises:
            InputError: the service has no such model or rejects the key, or every call failed.
        """
        return self._complete(prompts, sampling, [None] * len(prompts))

    def _complete(
        self, prompts: Sequence[Messages], sampling: Sampling, formats: Sequence[Any]
    ) -> list[Completion]:
        """A text for each prompt, in the format that it is asked for."""
        if not prompts:
            return []
        options: dict[str, Any] = {
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.temperature > 0:
            options["seed"] = sampling.seed  # which services follow as well as they can
        with self.connect() as client, ThreadPoolExecutor(self.model.max_concurrency) as pool:
            try:
                calls = [
                    pool.submit(self._call, client, prompt, {**options, **(form or {})})
                    for prompt, form in zip(prompts, formats, strict=True)
                ]
                replies = [call.result() for call in calls]
            except InputError:
                pool.shutdown(cancel_futures=True)
                raise
        self._report_failures(replies, any(formats))
        return [Completion(None) if isinstance(reply, Exception) else reply for reply in replies]

    def _chosen(self, completion: Completion, options: Sequence[str]) -> Completion:
        """The option in a constrained reply; a refusal, a cut or a failed one as it is.

        Raises:
            InputError: the reply is none of the options.
        """
        if completion.text is None or completion.is_cut or completion.finish_reason == REFUSED:
            return completion
        try:
            choice = json.loads(split_thought(completion.text).reply)[_FIELD]
        except (ValueError, TypeError, KeyError):
            choice = None
        if choice not in options:
            raise InputError(
                f"{self.version}: the service does not keep to the options that it is given; set "
                "prediction.constrained: false"
            )
        return Completion(choice, completion.finish_reason)

    def _call(
        self, client: Any, prompt: Messages, options: dict[str, Any]
    ) -> Completion | Exception:
        """What the model wrote, a refusal's words included, or what went wrong."""
        import openai

        roles = zip(("system", "user"), prompt, strict=True)
        messages = [{"role": role, "content": content} for role, content in roles]
        try:
            completion = client.chat.completions.create(
                model=self.model.model, messages=messages, **options
            )
        except openai.AuthenticationError:
            raise InputError(
                f"{self.version}: the service rejects the key in ${self.model.api_key_env}"
            ) from None
        except openai.NotFoundError:
            raise InputError(
                f"{self.version}: no such model or address; check model and base_url"
            ) from None
        except (openai.OpenAIError, ValueError) as error:
            return error
        if not getattr(completion, "choices", None):
            return ValueError("a reply without choices")
        choice = completion.choices[0]
        if not choice.message.content and choice.message.refusal:
            return Completion(choice.message.refusal, REFUSED)
        return Completion(_text(choice), choice.finish_reason)

    def _report_failures(
        self, replies: Sequence[Completion | Exception], constrained: bool
    ) -> None:
        """Log how many calls failed, and why.

        Raises:
            InputError: all did, and none because of its prompt, or all because of their format.
        """
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if not errors:
            return
        log.warning(
            "%d of %d calls failed (%s); only these will be retried on the next run",
            len(errors),
            len(replies),
            ", ".join(sorted(set(map(_shown, errors)))),
        )
        if constrained and len(errors) == len(replies) and all(map(_is_about_one_prompt, errors)):
            raise InputError(
                f"{self.version}: every call was refused ({_shown(errors[0])}), as where a service "
                "has no structured output; set prediction.constrained: false"
            )
        if len(errors) == len(replies) and not any(map(_is_about_one_prompt, errors)):
            raise InputError(
                f"{self.version}: every call failed ({_shown(errors[0])}); "
                "try again later, earlier replies are cached"
            )


def _text(choice: Any) -> str | None:
    """A choice's text after its thought, where the service sends one in a field of its own."""
    fields = ("reasoning_content", "reasoning")
    thought = next((t for f in fields if (t := getattr(choice.message, f, None))), None)
    text: str | None = choice.message.content
    if not isinstance(thought, str):
        return text
    return f"<think>{thought}" + (
        "" if not text and choice.finish_reason == CUT else f"</think>{text or ''}"
    )


def _response_format(options: Sequence[str]) -> dict[str, Any]:
    """The setting of a call that may answer one of the options alone."""
    schema = {
        "type": "object",
        "properties": {_FIELD: {"type": "string", "enum": list(options)}},
        "required": [_FIELD],
        "additionalProperties": False,
    }
    json_schema = {"name": _FIELD, "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": json_schema}}


def _shown(error: Exception) -> str:
    """An error in a few words: its kind and status; a service's own words may hold the key."""
    status = getattr(error, "status_code", None)
    return type(error).__name__ + (f" {status}" if status else "")


def _api_key(model: OpenAIModel) -> str:
    if model.api_key_env is None:
        return "none"  # the package wants one; a server of one's own ignores it
    key = os.environ.get(model.api_key_env, "").strip()
    if not key:
        raise InputError(
            f"${model.api_key_env} is not set: export the API key of {model.base_url} in it"
        )
    return key


def _is_about_one_prompt(error: Exception) -> bool:
    """Whether a service turned one prompt down, as a content filter does."""
    return getattr(error, "status_code", None) in (400, 403, 422)
