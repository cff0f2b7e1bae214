"""Reading what a chat completions service sends: replies, however malformed, and its own words.

A reply that cannot be read whole is an error here and is asked for again; it is never kept.
"""

import base64
import json
import math
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeGuard

from valuestrata.inference.ledger import Tokens
from valuestrata.inference.protocol import CUT, FILTERED
from valuestrata.inference.top_logprobs import ShownTokens

WORDS = 160
"""Characters of a service's own words that are shown."""
MOST_SHOWN = 1.01
"""Largest sum of the probabilities at a place, which services round."""
MOST_TOKENS = 100_000_000
"""More tokens than any call takes."""
LONG_KEY = 12
"""Characters from which a key is taken for no word (some servers take `EMPTY`)."""
STOP = "stop"
_ENDED = (STOP, "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed")
_IS_CUT = re.compile("length|max.*token")
_IS_FILTERED = re.compile("filter|safety|recitation|blocklist|prohibited|spii|refusal|guardrail")
_BREAKS = r"[\s\u200b-\u200f\u2060\ufeff\"'`+,;|\\]"
"""What may stand between the characters of a key that is shown in parts."""
_URL_SAFE = str.maketrans("+/", "-_")


@dataclass(frozen=True)
class ServiceReply:
    """A whole reply of a service.

    Attributes:
        text: what the model wrote; '' where it wrote nothing.
        refusal: its words of refusal, where the service gives them apart; else ''.
        finish_reason: stop, length or content_filter.
        thought: what it wrote before its answer, where the service gives that; else ''.
        usage: the tokens that it took, as the service counts them; None where it does not.
        tokens: its tokens with the likeliest ones at each place; none where the service gives none.
    """

    text: str
    finish_reason: str
    refusal: str = ""
    thought: str = ""
    usage: Tokens | None = None
    tokens: tuple[ShownTokens, ...] = ()


def completion(body: bytes) -> ServiceReply:
    """Read the body of a chat completion.

    Raises:
        ValueError: it is none; a few words say why.

    >>> completion(b'{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}').text
    'Hi'
    >>> completion(b'{"choices": [{"message": null}]}')
    Traceback (most recent call last):
    ValueError: no message
    """
    try:
        content = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("no UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("no whole JSON") from None
    choices = content.get("choices") if isinstance(content, dict) else None
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        raise ValueError("no choices")
    if content.get("error"):
        raise ValueError("an error beside it")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("no message")
    text, declined, thinking = _contents(message.get("content"), "content")
    refusal = "".join(_contents(message.get("refusal"), "refusal")[:2]) or declined
    thought = message.get("reasoning_content") or message.get("reasoning") or thinking
    finish_reason = _finish_reason(choice.get("finish_reason"))
    if message.get("content") is None and not refusal and finish_reason == STOP:
        raise ValueError("no content")
    if message.get("tool_calls") and not text.strip():
        raise ValueError("a tool call, no text")
    usage = usage_of(content)
    if usage is not None and not (usage.prompt and (usage.completion or not text)):
        usage = None  # a service that fills in zeros does not count
    return ServiceReply(
        text=text,
        finish_reason=finish_reason,
        refusal=refusal,
        thought=thought if isinstance(thought, str) and _is_encodable(thought) else "",
        usage=usage,
        tokens=_tokens(choice.get("logprobs"), text),
    )


def _finish_reason(value: Any) -> str:
    """Why a text ended, in OpenAI's words: services have others (`model_length`, `SAFETY`).

    Raises:
        ValueError: it ended by something else, so that nobody knows whether it is whole.

    >>> [_finish_reason(value) for value in (None, "end_turn", "model_length", "SAFETY")]
    ['stop', 'stop', 'length', 'content_filter']
    """
    if value is not None and not isinstance(value, str):
        raise ValueError("a finish reason that is no text")
    reason = STOP if value is None else value.strip().casefold()
    if reason in _ENDED:
        return STOP
    if _IS_CUT.search(reason):
        return CUT
    if _IS_FILTERED.search(reason):
        return FILTERED
    raise ValueError(f"a text that ended by {value!r}" if value else "no finish reason")


def _tokens(logprobs: Any, text: str) -> tuple[ShownTokens, ...]:
    """The tokens of a text; none where they are malformed or do not spell it."""
    try:
        places = tuple(_place(place) for place in logprobs["content"])
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return ()
    spelled = b"".join(place.token for place in places).strip()
    return places if places and spelled.startswith(text.strip().encode()) else ()


def _place(place: Any) -> ShownTokens:
    """A place of a reply; the token that was written counts as shown.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is malformed.
    """
    shown: dict[bytes, float] = {}
    for entry in place["top_logprobs"]:
        token = _token(entry)
        shown[token] = shown.get(token, 0.0) + math.exp(entry["logprob"])
    token = _token(place)
    shown.setdefault(token, math.exp(place["logprob"]))
    if not sum(shown.values()) <= MOST_SHOWN:  # NaN, too
        raise ValueError("no probabilities")
    return ShownTokens(token, shown)


def _token(entry: Any) -> bytes:
    """A token's bytes; its text may be escaped where it is part of a character."""
    spelled = entry.get("bytes")
    return bytes(spelled) if isinstance(spelled, list) else entry["token"].encode()


def usage_of(content: Any) -> Tokens | None:
    """The tokens that a body says a call took; None where it says nothing that can be right.

    >>> usage_of({"usage": {"prompt_tokens": 9, "completion_tokens": 2}})
    Tokens(prompt=9, completion=2, cached=0)
    """
    usage = content.get("usage") if isinstance(content, dict) else None
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    if not (_is_count(prompt) and _is_count(completion)):
        return None
    return Tokens(prompt, completion, cached if _is_count(cached) and cached <= prompt else 0)


def reported_usage(body: bytes) -> Tokens | None:
    """The tokens that a body says a call took although it holds no reply that can be read."""
    try:
        return usage_of(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MOST_TOKENS


def _contents(value: Any, name: str) -> tuple[str, str, str]:
    """Text, refusal and thought of a text, of a list of parts, or of null.

    >>> _contents([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "3"}], "c")
    ('3', '', 'Hm.')
    """
    if not isinstance(value, list):
        return _text(value, name), "", ""
    texts: dict[str, list[str]] = {"text": [], "refusal": [], "thinking": []}
    for part in value:
        kind = next((k for k in texts if isinstance(part, dict) and k in part), "")
        if not kind:
            raise ValueError(f"a {name} of other parts than texts")
        inner = part[kind]
        if kind == "thinking" and isinstance(inner, list):
            inner = "".join(str(p.get("text", "")) for p in inner if isinstance(p, dict))
        texts[kind].append(_text(inner, name))
    text, refusal, thought = ("".join(parts) for parts in texts.values())
    return text, refusal, thought


def _text(value: Any, name: str) -> str:
    """A text, or '' for null."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"a {name} that is no text")
    if not _is_encodable(value):
        raise ValueError(f"a {name} with half a character")
    return value


def _is_encodable(text: str) -> bool:
    """Whether a text can be written; JSON may hold half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def without_key(reply: ServiceReply, key: str) -> ServiceReply:
    """A reply without the key, which a service could send back in it.

    >>> without_key(ServiceReply("Your key is sk-1.", "stop"), "sk-1").text
    'Your key is ***.'
    """
    names = ("text", "finish_reason", "refusal", "thought")
    texts: dict[str, Any] = {name: _hidden(getattr(reply, name), key) for name in names}
    return replace(reply, **texts)


def without_keys(words: str, key: str) -> str:
    """A service's words on one short line, without the key and whatever looks like one.

    >>> without_keys("Incorrect key: sk-abc***xyz9 here", "sk-abcdefghxyz9")
    'Incorrect key: *** here'
    """
    hidden = _hidden(words, key)
    hidden = re.sub(
        r"(?i)\bbearer\s+\S+|\b(?:sk|pk|key|api|xai|gsk)[-_][^\s,;\"']{3,}", "***", hidden
    )
    hidden = re.sub(
        r"[A-Za-z0-9_*+/=-]*(?:\*{2,}|[A-Za-z0-9_+/=-]{24,})[A-Za-z0-9_*+/=-]*", "***", hidden
    )
    line = " ".join("".join(c if c.isprintable() else " " for c in hidden).split())
    return line if len(line) <= WORDS else line[: WORDS - 3] + "..."


def _hidden(text: str, key: str) -> str:
    """A text without the key, however it is spelled.

    >>> key = "sk-0123456789-abc"
    >>> [_hidden(text, key) for text in ("a sk-01234\\n56789-abc", "SK%2D0123456789%2Dabc b")]
    ['a ***', '*** b']
    """
    return _spellings(key).sub("***", text) if key else text


@cache
def _spellings(key: str) -> re.Pattern[str]:
    """A key as it is, and one too long to be a word in any case, broken, escaped or encoded."""
    if len(key) < LONG_KEY:
        return re.compile(re.escape(key))
    characters = (f"(?:{re.escape(c)}|%{ord(c):02x}|\\\\u{ord(c):04x})" for c in key)
    encoded = [key.encode().hex()]
    for text in (key, f"Bearer {key}"):
        in_64 = base64.b64encode(text.encode()).decode().rstrip("=")
        encoded += [in_64, in_64.translate(_URL_SAFE)]
    exact = "|".join(f"(?-i:{re.escape(text)})=*" for text in encoded)
    return re.compile(f"{_BREAKS}*".join(characters) + f"|{exact}", re.IGNORECASE)
