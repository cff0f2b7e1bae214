"""Models behind a service that speaks the chat completions of OpenAI.

They write text; the exact log-probability of a whole option is not to be had from them. Some show
the few likeliest tokens instead, which tell it up to a mass that is stored (top_logprobs.py). The
key comes from the environment and goes nowhere else. A call that fails after its retries is no
answer: None. A thought that comes in a field of its own is put before the text between tags
(prompting/thinking.py).
"""

import contextlib
import json
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from valuestrata.errors import InputError
from valuestrata.inference import service
from valuestrata.inference.batch_accounts import BatchAccounts
from valuestrata.inference.batch_notes import FOLDER
from valuestrata.inference.batch_state import CANCELLED
from valuestrata.inference.batches import TIMEOUT, BatchSettings, batch_calls
from valuestrata.inference.completions import ServiceReply
from valuestrata.inference.ledger import Ledger
from valuestrata.inference.protocol import (
    CUT,
    REFUSED,
    WRAPPER_TOKENS,
    Completion,
    LoadCheck,
    Messages,
    Sampling,
    ScoredReply,
    ScoringRequest,
)
from valuestrata.inference.service import Failure, Limits, Result
from valuestrata.inference.top_logprobs import option_masses
from valuestrata.prompting.thinking import split_thought
from valuestrata.provenance import text_digest
from valuestrata.study.budget import Budget
from valuestrata.study.models import OpenAIModel

log = logging.getLogger(__name__)

FIRST_CALLS = 5
"""Calls that end a run when all of them fail alike and no call was ever answered."""
NO_KEY = "no-key"
"""What is sent in place of a key where none is needed: the package wants one."""
_FIELD = "answer"
_OPENING = f'{{"{_FIELD}":"'
_NO_OPTION = "a reply that is none of the options"
_ECHO = "a reply that repeats the whole prompt"
_LEAST_ECHO = 80
"""Characters of a prompt that no reply repeats by chance."""


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
    max_length = None
    shard_size = 1_000_000  # replies are kept as they come

    def __init__(self, model: OpenAIModel) -> None:
        """Remember whom to ask."""
        self.model = model
        self.ledger: Ledger | None = None

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

    @property
    def numerics(self) -> tuple[str, ...]:
        """What a service is sent beside prompt, length and temperature of open-ended answers."""
        sent = ("temperature", "top_p", "reasoning_effort", "extra_body")
        values = {name: getattr(self.model, name) for name in sent}
        return tuple(
            f"{name}={value!r}" for name, value in values.items() if value not in (None, {})
        )

    @property
    def numerics_of_options(self) -> tuple[str, ...]:
        """What a service is sent where the log-probabilities of options are wanted."""
        shown = self.model.top_logprobs
        return () if shown is None else (f"top_logprobs={shown}",)

    def charge_to(self, folder: Path, node: Mapping[str, str], budget: Budget | None) -> None:
        """Charge all calls to a study's ledger, and keep to its budget."""
        self.ledger = Ledger(folder, node, self.model.prices, budget)

    def note_cached(self, n_replies: int) -> None:
        """Say how many of the replies that are needed are cached already."""
        if self.ledger is not None:
            self.ledger.note_cached(n_replies)

    def connect(self, kind: str = "AsyncOpenAI", **settings: Any) -> Any:
        """A client of the package; retries and pauses of single calls are ours (service.py).

        Args:
            kind: name of its class.
            settings: of it, beside key and address.

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
        settings = {"timeout": self.model.timeout, "max_retries": 0} | settings
        key = _api_key(self.model)
        # prompts go where the study says, and a redirection could make one call many
        transport = f"Default{'Async' if kind.startswith('Async') else ''}HttpxClient"
        settings["http_client"] = vars(openai)[transport](follow_redirects=False)
        return vars(openai)[kind](api_key=key, base_url=self.model.base_url, **settings)

    def render(self, messages: Messages) -> SentPrompt:
        """A prompt as it is sent."""
        return SentPrompt(messages)

    def check_load(self, messages: Messages) -> LoadCheck:
        """Nothing: a service says nothing of its weights."""
        return LoadCheck()

    def score(self, requests: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy texts in the order of the requests, with the log-probabilities that are shown.

        Raises:
            InputError: as `stream`.
        """
        replies = self._in_order(requests, Sampling(max_new_tokens))
        return [
            ScoredReply(
                reply.text,
                None if reply.logprobs is None else np.array(reply.logprobs),
                reply.finish_reason,
            )
            for reply in replies
        ]

    def generate(self, prompts: Sequence[Messages], sampling: Sampling) -> list[Completion]:
        """A text for each prompt, in order; no text where a call failed.

        Raises:
            InputError: as `stream`.
        """
        return self._in_order([ScoringRequest(prompt, ()) for prompt in prompts], sampling)

    def _in_order(self, requests: Sequence[ScoringRequest], sampling: Sampling) -> list[Completion]:
        with tempfile.TemporaryDirectory() as folder:
            written = dict(self.stream(requests, sampling, False, Path(folder)))
        return [written[i] for i in range(len(requests))]

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
            has_replies: whether the service has answered this run before.
            folder: of cached replies; batches are noted there.

        Raises:
            InputError: the service rejects the key, has no such model, turns down or fails the
                first calls alike although it has never answered, or does not keep to the options;
                or the budget has no room for the next call.
        """
        if not requests:
            return
        failures: list[Failure] = []
        payloads = [self._payload(request, sampling) for request in requests]
        with contextlib.closing(self._results(payloads, folder)) as results:
            for i, result in results:
                written = result if isinstance(result, Failure) else _written(result, requests[i])
                if isinstance(written, Completion):
                    has_replies = True
                    yield i, written
                    continue
                failures.append(written)
                self._refuse(failures, has_replies, min(FIRST_CALLS, len(requests)), requests[i])
                yield i, Completion(None)
        if failures:
            log.warning(
                "%d of %d calls failed (%s); only these will be retried on the next run",
                len(failures),
                len(requests),
                _counted(failures),
            )

    def _results(
        self, payloads: Sequence[dict[str, Any]], folder: Path
    ) -> Generator[tuple[int, Result], None, None]:
        """(position, result) of every payload, by single calls or in batches."""
        model = self.model
        if not model.batch:
            limits = Limits(
                model.max_concurrency,
                model.timeout,
                model.max_retries,
                model.requests_per_minute,
                model.tokens_per_minute,
            )
            yield from service.calls(self.connect(), payloads, limits, self.ledger)
            return
        settings = BatchSettings(
            folder / FOLDER,
            model.max_batch_requests,
            model.batch_poll_seconds,
            model.max_retries,
            None if self.ledger is None else BatchAccounts(self.ledger),
        )
        with self.connect("OpenAI", timeout=TIMEOUT, max_retries=model.max_retries) as client:
            yield from batch_calls(client, payloads, settings)

    def _payload(self, request: ScoringRequest, sampling: Sampling) -> dict[str, Any]:
        """The body of a call: what the study leaves out is left to the service."""
        model = self.model
        roles = zip(("system", "user"), request.messages, strict=True)
        payload: dict[str, Any] = {
            "model": model.model,
            "messages": [{"role": role, "content": content} for role, content in roles],
            model.length_parameter: sampling.max_new_tokens
            + (WRAPPER_TOKENS if request.constrained else 0),
        }
        temperature = sampling.temperature if sampling.temperature > 0 else model.temperature
        if temperature is not None:
            payload["temperature"] = temperature
        if sampling.temperature > 0:
            payload["seed"] = sampling.seed  # which services follow as well as they can
        for name in ("top_p", "reasoning_effort"):
            if (value := getattr(model, name)) is not None:
                payload[name] = value
        if request.constrained:
            payload |= _response_format(request.options)
        if request.options and model.top_logprobs is not None:
            payload |= {"logprobs": True, "top_logprobs": model.top_logprobs}
        if model.extra_body:
            payload["extra_body"] = dict(model.extra_body)
        return payload

    def _refuse(
        self, failures: Sequence[Failure], has_replies: bool, n_first: int, request: ScoringRequest
    ) -> None:
        """End a run that cannot come to anything.

        Raises:
            InputError: one line in the service's own words, without keys.
        """
        last = failures[-1]
        if last.status == 401:
            raise InputError(
                f"{self.version}: the service rejects the key in ${self.model.api_key_env}"
            )
        if last.status == 404 and not has_replies:
            where = "; where it has no batch API set batch: false" if self.model.batch else ""
            raise InputError(
                f"{self.version}: no such model or address; check model and base_url{where}"
            )
        # a call that met nobody says nothing of those that the service turned down
        told = [failure for failure in failures if failure.status is not None] or failures
        if has_replies or len(told) < n_first:
            return
        if len({(failure.status, failure.kind) for failure in told}) > 1:
            return
        last = told[-1]
        if last.kind == _NO_OPTION:
            raise InputError(
                f"{self.version}: the service does not keep to the options that it is given; set "
                "prediction.constrained: false"
            )
        if last.kind == CANCELLED:
            raise InputError(f"{self.version}: its batch was cancelled; the next run submits anew")
        if not last.is_refused:
            raise InputError(
                f"{self.version}: the first {len(told)} calls failed after their retries: "
                f"{last}; try again later, replies are kept as they come"
            )
        advice = f"; it complains of {last.param!r}: see models and its keys" if last.param else ""
        if request.constrained:
            advice += "; where it has no structured output set prediction.constrained: false"
        raise InputError(
            f"{self.version}: the service turned down the first {len(told)} calls alike: "
            f"{last}{advice}"
        )


def _written(reply: ServiceReply, request: ScoringRequest) -> Completion | Failure:
    """What a reply says to a request.

    A failure where it repeats the prompt (a server that decodes too much; what follows would be
    read beside the question's own options), or where it is constrained and keeps to no option.
    """
    written = _completion(reply)
    is_long = sum(map(len, request.messages)) >= _LEAST_ECHO
    if is_long and all(message in reply.text for message in request.messages):
        return Failure(None, _ECHO)
    if request.options and reply.tokens:
        opening = _OPENING if request.constrained else ""
        read = option_masses(reply.tokens, request.options, opening)
        logprobs = None if read.logprobs is None else tuple(read.logprobs.tolist())
        written = replace(written, logprobs=logprobs, unread_mass=read.unread)
    if not request.constrained or written.is_cut or written.is_refused:
        return written
    try:
        choice = json.loads(split_thought(written.text or "").reply)[_FIELD]
    except (ValueError, TypeError, KeyError, RecursionError):
        choice = None
    return replace(written, text=choice) if choice in request.options else Failure(None, _NO_OPTION)


def _completion(reply: ServiceReply) -> Completion:
    """A service's reply with its thought between tags; a refusal's own words where it has them."""
    usage = reply.usage
    counts = (usage.prompt, usage.completion) if usage else (None, None)
    if not reply.text and reply.refusal:
        return Completion(reply.refusal, REFUSED, *counts)
    if not reply.thought:
        return Completion(reply.text, reply.finish_reason, *counts)
    is_open = not reply.text and reply.finish_reason == CUT
    thought = f"<think>{reply.thought}" + ("" if is_open else "</think>")
    return Completion(thought + reply.text, reply.finish_reason, *counts)


def _counted(failures: Sequence[Failure]) -> str:
    """What went wrong and how often: '3 status 500, 1 no connection'."""
    return ", ".join(f"{n} {kind}" for kind, n in Counter(f.kind for f in failures).most_common())


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


def _api_key(model: OpenAIModel) -> str:
    """The key from the environment.

    Raises:
        InputError: there is none, or it cannot be one; it is not shown.
    """
    if model.api_key_env is None:
        return NO_KEY
    key = os.environ.get(model.api_key_env, "").strip()
    if not key:
        raise InputError(
            f"${model.api_key_env} is not set: export the API key of {model.base_url} in it"
        )
    if not re.fullmatch("[!-~]+", key):  # a header could not carry it
        raise InputError(
            f"${model.api_key_env}: holds blanks or characters that no key has; export it anew"
        )
    return key
