"""A reply without its thought: what comes before the last end of thought is never read.

Reasoning models mark their thought in three ways: between tags (`<think>`, and what other families
use), in channels (the harmony format of gpt-oss, whose answer is the channel `final`), or in a
field of its own at a service, which its backend writes between tags. A thought that was begun and
not ended leaves no reply. Pure functions on text.
"""

import re
from dataclasses import dataclass

from valuestrata.prompting.patterns import any_of

_NAMES = "(?:seed:)?" + any_of("""
    think|thinking|thoughts?|reason|reasoning|reflection|scratchpad|analysis|plan|cot
    chain[_ ]of[_ ]thought|thinking[_ ]process|thought[_ ]process|inner[_ ]monologue|internal
""")  # fmt: skip
_LEFT, _RIGHT = r"(?:<[|｜]?|&lt;|\[|◁)\s*", r"\s*(?:[|｜]?>|&gt;|\]|▷)"
_OPEN = (
    rf"{_LEFT}{_NAMES}{_RIGHT}"
    r"|<\|begin_of_thought\|>|<\|START_THINKING\|>|<\|channel>thought|<unused94>"
)
_CLOSE = (
    rf"{_LEFT}/\s*{_NAMES}{_RIGHT}|<\|end_of_thought\|>|<\|END_THINKING\|>|<channel\|>|<unused95>"
)
_TAG = re.compile(f"(?P<close>{_CLOSE})|(?P<open>{_OPEN})", re.IGNORECASE)

# harmony: a header names the channel, a message follows; without its special tokens as well
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(?P<name>\w*)(?:[^<\n]{0,60}(?:<\|constrain\|>\s*\w*\s*)?<\|message\|>)?"
    r"|(?:^\W*|assistant)(?P<bare>analysis|commentary|final)(?=[A-Z\d\W]|we\b|the\b|user\b)"
)
_BARE_CHANNELS = re.compile(
    r"\W*(?:assistant)?(?:analysis|commentary|final)(?=[A-Z\d]|we\b|the\b|user\b)"
)
_ANSWER_TOKENS = re.compile(
    r"<\|(?:end|return|call|start|message|begin_of_solution|end_of_solution|START_RESPONSE"
    r"|END_RESPONSE|START_TEXT|END_TEXT)\|>(?:assistant)?"
)

CHANNEL_MARK = "<|channel|>"
_HARMONY = ("<|start|>", "<|end|>", "<|message|>", CHANNEL_MARK, "<|constrain|>", "<|return|>")
_MARK = re.compile(f"{_OPEN}|{_CLOSE}", re.IGNORECASE)


def marks_thought(token: str, has_channels: bool) -> bool:
    """Whether a special token marks a thought, so that a decoded text must not leave it out.

    Args:
        token: its text.
        has_channels: whether the tokenizer has harmony's channels; elsewhere `<|end|>` ends a turn.
    """
    return _MARK.fullmatch(token) is not None or (has_channels and token in _HARMONY)


@dataclass(frozen=True)
class ThoughtAndReply:
    """A text in two parts.

    Attributes:
        thought: what comes up to the last end of thought, '' for none.
        reply: what comes after it.
        is_finished: whether the thought came to an end, or there was none.
    """

    thought: str
    reply: str
    is_finished: bool


def split_thought(text: str) -> ThoughtAndReply:
    """Thought and reply of a text.

    >>> split_thought("<think>Is it 3?</think>\\nAnswer: 2").reply
    'Answer: 2'
    >>> split_thought("Is it 3?</think>Answer: 2").reply
    'Answer: 2'
    >>> split_thought("<think>Answer: 2").is_finished
    False
    >>> split_thought("<|channel|>analysis<|message|>3?<|end|><|start|>assistant"
    ...     "<|channel|>final<|message|>Answer: 2<|return|>").reply
    'Answer: 2'
    >>> split_thought("Answer: 2")
    ThoughtAndReply(thought='', reply='Answer: 2', is_finished=True)
    """
    if "<|channel|>" in text or _BARE_CHANNELS.match(text):
        return _split_channels(text)
    marks = list(_TAG.finditer(text))
    ends = [mark.end() for mark in marks if mark["close"]]
    end = ends[-1] if ends else 0
    if any(mark["open"] for mark in marks if mark.start() >= end):
        return ThoughtAndReply(text, "", is_finished=False)
    return ThoughtAndReply(text[:end], _ANSWER_TOKENS.sub("", text[end:]).strip(), True)


def _split_channels(text: str) -> ThoughtAndReply:
    last = list(_CHANNEL.finditer(text))[-1]
    if (last["name"] or last["bare"]) != "final":
        return ThoughtAndReply(text, "", is_finished=False)
    reply = _ANSWER_TOKENS.split(text[last.end() :])[0]
    return ThoughtAndReply(text[: last.start()], reply.strip(), is_finished=True)
