"""Replies of a model to a batch of prompts, from the reply cache or by asking.

The key of a reply holds all that it depends on and nothing else. Of a service that is messages,
model, address and sampling: a paid reply outlives every change of our code. Of a local model it is
also the weights, the adapter, token ids, precision, attention kernel and the code that the backend
reaches.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace

from valuestrata.errors import InputError
from valuestrata.inference.protocol import (
    Backend,
    Completion,
    Messages,
    MeteredBackend,
    PreloadingBackend,
    RenderedPrompt,
    Sampling,
    ScoringRequest,
    StreamingBackend,
)
from valuestrata.inference.reply_cache import CachedReply, ReplyCache, get_or_compute
from valuestrata.provenance import code_digest, text_digest

WRITTEN = tuple(field.name for field in fields(Completion))
"""What the reply cache holds of each text."""


@dataclass(frozen=True)
class Requests:
    """A batch of prompts that are answered in the same way.

    Attributes:
        messages: of each prompt.
        sampling: how texts are written.
        should_cache: whether a text, the reply to the prompt at a position, may be cached.
        options: of each prompt, replies whose log-probabilities are wanted; None for texts alone.
        constrained: whether a text is one of its prompt's options, and nothing else.
    """

    messages: Sequence[Messages]
    sampling: Sampling
    should_cache: Callable[[int, Completion], bool]
    options: Sequence[tuple[str, ...]] | None = None
    constrained: bool = False


@dataclass(frozen=True)
class Reply:
    """A reply and the prompt that it answers.

    Attributes:
        written: what the model wrote, new tokens only, and why it ended.
        logprobs: log p of each option's whole reply [C]; None where nobody asked, or can tell.
        prompt_hash: hash of the prompt as it was read.
        prompt_tokens: its length in tokens, None where only the service knows.
        passes: how the options were read, None where there is one way only.
        key: the reply cache's.
    """

    written: Completion
    logprobs: list[float] | None
    prompt_hash: str
    prompt_tokens: int | None
    passes: str | None = None
    key: str = ""


def fill(cache: ReplyCache, model: Backend, requests: Requests) -> list[Reply]:
    """The reply to each prompt; what is not cached is asked, and cached if it should be.

    Raises:
        InputError: a prompt or an option is too long, or the model cannot be loaded or reached.
    """
    if isinstance(model, PreloadingBackend) and _has_to_answer(cache, model, requests):
        model.preload()
    prompts = _render(model, requests)
    keys = cache_keys(model, requests, prompts)
    if isinstance(model, MeteredBackend):
        model.note_cached(sum(cache.get(key) is not None for key in {*keys}))

    def compute(part: list[int]) -> Iterator[dict[int, CachedReply]]:
        model.check_load(requests.messages[0])
        if isinstance(model, StreamingBackend):
            has_replies = any(cache.get(key) is not None for key in keys)
            asked = _scoring_requests(requests, part)
            texts = model.stream(asked, requests.sampling, has_replies, cache.folder)
            for i, written in texts:
                yield {part[i]: asdict(written)}
        else:
            yield dict(zip(part, _ask(model, requests, part), strict=True))

    def should_cache(i: int, reply: CachedReply) -> bool:
        return requests.should_cache(i, _completion(reply))

    replies = get_or_compute(cache, keys, compute, should_cache, model.shard_size)
    return [
        to_reply(reply, key, prompt.digest, prompt.num_tokens)
        for reply, key, prompt in zip(replies, keys, prompts, strict=True)
    ]


def _has_to_answer(cache: ReplyCache, model: Backend, requests: Requests) -> bool:
    """Whether the longest prompt's reply is not cached, so that the model will be needed.

    Raises:
        InputError: it leaves no room for a reply; that is refused before anything is loaded.
    """
    if not requests.messages:
        return False
    i = max(range(len(requests.messages)), key=lambda i: sum(map(len, requests.messages[i])))
    options = None if requests.options is None else [requests.options[i]]
    alone = replace(requests, messages=[requests.messages[i]], options=options)
    (key,) = cache_keys(model, alone, _render(model, alone))
    return cache.get(key) is None


def to_reply(cached: CachedReply, key: str, prompt_hash: str, prompt_tokens: int | None) -> Reply:
    """What the reply cache holds, with the prompt that it answers."""
    return Reply(
        _completion(cached),
        None if (logprobs := cached.get("logprobs")) is None else list(logprobs),
        prompt_hash,
        prompt_tokens,
        cached.get("passes"),
        key,
    )


def cache_keys(model: Backend, requests: Requests, prompts: Sequence[RenderedPrompt]) -> list[str]:
    """The reply cache's key of each prompt: a hash of all that its reply depends on.

    Raises:
        InputError: an option takes more tokens than a reply may have; one line that names it.
    """
    sampling = requests.sampling
    version, *rest = asked_of(model)
    asked = [version, str(sampling.max_new_tokens), repr(sampling.temperature)]
    if sampling.temperature > 0:
        asked.append(str(sampling.seed))
    asked += rest
    if requests.options is not None and isinstance(model, StreamingBackend):
        asked += model.numerics_of_options
    options = _encode_options(model, requests) or [[]] * len(prompts)
    if requests.constrained:
        asked.append("constrained")
        options = [
            [*ids, *texts] for ids, texts in zip(options, requests.options or [], strict=True)
        ]
    return [
        text_digest([*asked, prompt.digest, *replies])
        for prompt, replies in zip(prompts, options, strict=True)
    ]


def asked_of(model: Backend) -> list[str]:
    """What of a model replies depend on: its version, what a service is sent, code, precision."""
    code = [code_digest(model.entries), model.adapter] if model.entries else []
    return [model.version, *code, *model.numerics]


def _render(model: Backend, requests: Requests) -> list[RenderedPrompt]:
    """Every prompt as the model will read it.

    Raises:
        InputError: a prompt leaves no room for a reply; one line that names it.
    """
    prompts = [model.render(messages) for messages in requests.messages]
    room = requests.sampling.max_new_tokens
    for prompt, messages in zip(prompts, requests.messages, strict=True):
        num_tokens = prompt.num_tokens or 0
        if model.max_length is not None and num_tokens + room > model.max_length:
            shown = " ".join(" ".join(messages).split())
            raise InputError(
                f"{model.version}: a prompt of {num_tokens} tokens and {room} for the reply "
                f"are more than its max_length of {model.max_length}: {shown[:100]!r}..."
            )
    return prompts


def _encode_options(model: Backend, requests: Requests) -> list[list[str]] | None:
    """Every prompt's options as the model reads them; None where it does not read options."""
    if requests.options is None or model.chat is None:
        return None
    texts = sorted({text for options in requests.options for text in options})
    ids = {text: model.chat.encode_reply(text) for text in texts}
    longest = max(texts, key=lambda text: len(ids[text]), default="")
    needed, room = len(ids.get(longest, ())), requests.sampling.max_new_tokens
    if needed > room:
        raise InputError(
            f"{model.version}: the reply {longest!r} takes {needed} tokens with its end and "
            f"prediction.max_new_tokens is {room}; set it to {needed} or more"
        )
    return [[" ".join(map(str, ids[text])) for text in options] for options in requests.options]


def _ask(model: Backend, requests: Requests, part: list[int]) -> list[CachedReply]:
    """Replies to the prompts at some positions."""
    if requests.options is None:
        messages = [requests.messages[i] for i in part]
        return [asdict(written) for written in model.generate(messages, requests.sampling)]
    return [
        {
            "text": r.text,
            "finish_reason": r.finish_reason,
            "logprobs": None if r.logprobs is None else r.logprobs.tolist(),
            "passes": r.passes,
        }
        for r in model.score(_scoring_requests(requests, part), requests.sampling.max_new_tokens)
    ]


def _scoring_requests(requests: Requests, part: list[int]) -> list[ScoringRequest]:
    """The prompts at some positions with their options, if they have any."""
    options = requests.options or [()] * len(requests.messages)
    return [ScoringRequest(requests.messages[i], options[i], requests.constrained) for i in part]


def _completion(reply: CachedReply) -> Completion:
    """What was written; a reply that was cached before there were reasons or counts has none."""
    return Completion(**{name: reply.get(name) for name in WRITTEN})
