"""Messages to token ids: the one renderer for training, scoring and generation.

A chat template is rendered to text and tokenised once, without added special tokens, so there is
one BOS. A template without a system role gets the persona at the head of the user turn. The date
that some templates print is pinned and thinking is off: a thought that a template opens is closed.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

from valuestrata.errors import InputError
from valuestrata.inference.protocol import CUT, Completion
from valuestrata.prompting.thinking import CHANNEL_MARK, marks_thought
from valuestrata.provenance import text_digest

DATE = "01 Jan 2026"
_SAMPLE_REPLY = "Answer: 1"
_OPENED = re.compile(
    r"([<\[◁])"
    r"((?:seed:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|scratchpad))"
    r"([>\]▷])$",
    re.IGNORECASE,
)
"""A tag that opens a thought, where a prompt ends."""
_OTHER_MARKS = {
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|channel>thought": "<channel|>",
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",
}
THOUGHT_CLOSED = "the chat template opens a thought, which is closed: answers come without thinking"


def _pinned_date(form: str) -> str:
    """What a template that looks at the clock is told."""
    return datetime.strptime(DATE, "%d %b %Y").strftime(form)


def closing(prompt: str) -> str:
    """What ends the thought that a prompt opens at its end, as an empty one; '' if it opens none.

    Without it, options would be scored, and answers written, inside a thought.

    >>> closing("<|assistant|><think>\\n")
    '\\n</think>\\n\\n'
    """
    stripped = prompt.rstrip()
    tag = _OPENED.search(stripped)
    if tag:
        line = "\n" if prompt.endswith("\n") else "\n\n"
        return f"{line}{tag[1]}/{tag[2]}{tag[3]}\n\n"
    return next((end for begin, end in _OTHER_MARKS.items() if stripped.endswith(begin)), "")


@dataclass(frozen=True)
class TokenizedPrompt:
    """A rendered prompt: its token ids and a hash of them."""

    ids: tuple[int, ...]

    @property
    def digest(self) -> str:
        """Sixteen hex digits over the ids."""
        return text_digest([" ".join(map(str, self.ids))])[:16]

    @property
    def num_tokens(self) -> int:
        """Length in tokens."""
        return len(self.ids)


class Chat:
    """A tokenizer with its chat template.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        ends: ids that end a text, besides the template's and the tokenizer's own.
        num_embeddings: of the network; higher ids are refused, wherever they are used.
        notes: what was doubtful when the tokenizer was loaded.

    Raises:
        InputError: the tokenizer has no chat template or merges replies with what is around them,
            the template loses the persona, or a token has no embedding.
    """

    def __init__(
        self,
        tokenizer: Any,
        ends: Iterable[int] = (),
        num_embeddings: int | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        """Find out what the template supports and how it ends a reply."""
        self.tokenizer = tokenizer
        self.notes = list(notes)
        self._num_embeddings = num_embeddings or math.inf
        template = getattr(tokenizer, "chat_template", None)
        if not template or (isinstance(template, dict) and "default" not in template):
            raise InputError(
                f"{tokenizer.name_or_path}: has no chat template; use an instruction-tuned model"
            )
        # a prompt is kept while somebody holds it: its hash is needed first, its ids later
        self._prompts: WeakValueDictionary[tuple[str, str], TokenizedPrompt] = WeakValueDictionary()
        self._replies: dict[str, tuple[int, ...]] = {}
        # not all_special_ids: the end of a turn is often special without a name (Phi, Gemma 3)
        special = {i: str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        self._special = {*special, *tokenizer.all_special_ids}
        has_channels = CHANNEL_MARK in special.values()
        self._thought_marks = {i for i, t in special.items() if marks_thought(t, has_channels)}
        # some wrappers' templates show a message only as a list of parts (Llava, Idefics)
        self._in_parts = False
        self._in_parts = not self._keeps("QUESTION")
        self.system_role = self._keeps("PERSONA")
        self._before, self.lead, self.terminator = self._around_replies()
        self.ends: frozenset[int] = frozenset(
            i
            for i in (self.terminator[-1], tokenizer.eos_token_id, *ends)
            if i is not None and i < self._num_embeddings
        )
        self.encode_reply(
            _SAMPLE_REPLY
        )  # a tokenizer that merges it with the prompt is refused here

    def prompt(self, persona: str, user: str) -> TokenizedPrompt:
        """Ids of a prompt up to where the reply begins."""
        prompt = self._prompts.get((persona, user))
        if prompt is None:
            prompt = self._prompts[persona, user] = self._tokenize(persona, user)
        return prompt

    def _tokenize(self, persona: str, user: str) -> TokenizedPrompt:
        text = self._text(self._messages(persona, user), add_generation_prompt=True)
        for part, name in ((persona, "persona"), (user, "question")):
            if part.strip() not in text:
                raise InputError(
                    f"{self.tokenizer.name_or_path}: the chat template loses the {name}"
                )
        ids = self._ids(text)
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:2] == [bos, bos]:
            raise InputError(f"{self.tokenizer.name_or_path}: the chat template writes two BOS")
        return TokenizedPrompt(tuple(ids))

    @property
    def pad(self) -> int:
        """Id that fills up short rows; it is never attended to, nor in the loss."""
        pad = self.tokenizer.pad_token_id
        has_embedding = pad is not None and pad < self._num_embeddings
        return int(pad if has_embedding else self.terminator[-1])

    def encode_reply(self, text: str) -> tuple[int, ...]:
        """Ids of a reply, its terminator included, as they continue a prompt."""
        if text not in self._replies:
            ids = self._following(self._before, self.lead + text, fixed=True)
            self._replies[text] = (*ids, *self.terminator)
        return self._replies[text]

    def completion(self, ids: list[int], prompt_tokens: int | None = None) -> Completion:
        """Text of new tokens, whether one of them ended it, and how many were written."""
        end = next((i for i, token in enumerate(ids) if token in self.ends), None)
        written = len(ids) if end is None else end + 1
        return Completion(self.decode(ids), CUT if end is None else "stop", prompt_tokens, written)

    def decode(self, ids: list[int]) -> str:
        """Text of new tokens up to the first that ends it.

        Special tokens are left out, but for those that mark a thought.
        """
        end = next((i for i, token in enumerate(ids) if token in self.ends), len(ids))
        kept = [i for i in ids[:end] if i in self._thought_marks or i not in self._special]
        marked = self._thought_marks.intersection(kept)
        text = self.tokenizer.decode(kept if marked else ids[:end], skip_special_tokens=not marked)
        return str(text).strip()

    def _messages(self, persona: str, user: str) -> list[dict[str, str]]:
        if self.system_role:
            return [{"role": "system", "content": persona}, {"role": "user", "content": user}]
        return [{"role": "user", "content": f"{persona}\n\n{user}"}]

    def _text(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        text = self._rendered(messages, add_generation_prompt)
        return text + closing(text) if add_generation_prompt else text

    def _rendered(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        shown: list[dict[str, Any]] = [*messages]
        if self._in_parts:
            shown = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    shown,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    date_string=DATE,
                    strftime_now=_pinned_date,
                    enable_thinking=False,
                )
            )
        except Exception as error:  # templates raise jinja2's own error types, or TypeError
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{self.tokenizer.name_or_path}: the chat template fails ({first})"
            ) from error

    def _ids(self, text: str) -> list[int]:
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        beyond = next((i for i in ids if i >= self._num_embeddings), None)
        if beyond is not None:
            token = self.tokenizer.convert_ids_to_tokens(beyond)
            raise InputError(
                f"{self.tokenizer.name_or_path}: token {token!r} has the id {beyond}, and the "
                f"network has {self._num_embeddings} embeddings; take weights and tokenizer from "
                "one model"
            )
        return ids

    def _following(self, before: str, text: str, fixed: bool = False) -> list[int]:
        """Ids of a text where it follows another; alone it may begin with another id (Llama 2).

        Where an id would span both and those before are `fixed`, as a prompt's are that a model
        goes on from, the text has the ids that it has alone.

        Raises:
            InputError: an id spans both, and those alone would read otherwise.
        """
        first, whole = self._ids(before), self._ids(before + text)
        if whole[: len(first)] == first:
            return whole[len(first) :]
        alone = self._ids(text)
        if fixed and self._decode_all([*first, *alone]) == self._decode_all(whole):
            return alone
        raise InputError(
            f"{self.tokenizer.name_or_path}: its tokenizer merges {before[-20:]!r} with "
            f"{text[:20]!r}, so that a reply has no ids of its own; use another model"
        )

    def _decode_all(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def _keeps(self, part: str) -> bool:
        """Whether the template shows what a system (PERSONA) and a user (QUESTION) turn say."""
        messages = [{"role": "user", "content": "QUESTION"}]
        if part == "PERSONA":
            messages.insert(0, {"role": "system", "content": part})
        try:
            return part in self._text(messages, add_generation_prompt=True)
        except InputError:
            return False

    def _around_replies(self) -> tuple[str, str, tuple[int, ...]]:
        """A prompt, text that the template puts between it and a reply, and ids after the reply.

        The ids go up to a special token.
        """
        messages = self._messages("P", "Q")
        prompt = self._text(messages, add_generation_prompt=True)
        if closing(self._rendered(messages, add_generation_prompt=True)):
            self.notes.append(THOUGHT_CLOSED)
        messages.append({"role": "assistant", "content": _SAMPLE_REPLY})
        text, _, rest = self._text(messages, add_generation_prompt=False).rpartition(_SAMPLE_REPLY)
        lead = text.removeprefix(prompt) if text.startswith(prompt) else ""
        return prompt, lead, self._terminator(prompt + lead + _SAMPLE_REPLY, rest)

    def _terminator(self, before: str, rest: str) -> tuple[int, ...]:
        ids = self._following(before, rest)
        end = next((i for i, token in enumerate(ids) if token in self._special), None)
        if end is None:
            return (int(self.tokenizer.eos_token_id),)
        return tuple(ids[: end + 1])
