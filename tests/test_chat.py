"""One renderer for training, scoring and generation: the ids hold what the study says, once."""

import dataclasses
from datetime import datetime
from typing import Any

import pytest

from tests import toys
from tests.toys import CLOSED, KINDS, PERSONAS, chat, tokenizer
from valuestrata.errors import InputError
from valuestrata.inference.chat import DATE, Chat
from valuestrata.inference.protocol import Completion
from valuestrata.prompting.answers import parse

PERSONA, USER = PERSONAS[2], next(iter(CLOSED.values()))
SOUND = [kind for kind in KINDS if kind != "turns begin with bos"]


def text_of(ids: tuple[int, ...], talk: Chat) -> str:
    return str(talk.tokenizer.decode(list(ids), skip_special_tokens=False))


def test_a_prompt_has_the_bos_of_its_template_and_no_other() -> None:
    """Trap 1."""
    for kind in SOUND:
        talk = chat(kind)
        ids = talk.prompt(PERSONA, USER).ids
        bos = talk.tokenizer.bos_token_id
        writes_one = "bos_token" in KINDS[kind].template
        assert ids.count(bos) == writes_one
        assert (ids[0] == bos) == writes_one


def test_a_tokenizer_that_adds_a_bos_by_itself_adds_no_second_one() -> None:
    """Trap 1: a rendered template that is encoded with special tokens has two."""
    from tokenizers.processors import TemplateProcessing

    words = tokenizer("llama")
    adds = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", words.bos_token_id)])
    words.backend_tokenizer.post_processor = adds
    assert words("a")["input_ids"][0] == words.bos_token_id
    assert words(words.bos_token)["input_ids"] == [words.bos_token_id] * 2
    assert Chat(words).prompt(PERSONA, USER) == chat("llama").prompt(PERSONA, USER)


def test_a_template_that_writes_two_bos_is_refused() -> None:
    """Trap 1."""
    llama = KINDS["llama"]
    twice = dataclasses.replace(llama, template="{{ bos_token }}" + llama.template)
    with pytest.raises(InputError, match="two BOS"):
        Chat(tokenizer(twice)).prompt(PERSONA, USER)


def test_a_template_whose_turns_begin_with_what_is_called_bos_is_sound() -> None:
    """Trap 1, the other way round: SmolLM2's BOS is the mark of each turn."""
    talk = chat("turns begin with bos")
    assert text_of(talk.prompt(PERSONA, USER).ids, talk) == (
        f"<s>system\n{PERSONA}<|end|>\n<s>user\n{USER}<|end|>\n<s>assistant\n"
    )


def test_persona_and_question_are_in_the_ids_of_every_template() -> None:
    """Trap 2: with a system role, without one, or with one that is dropped."""
    for kind in SOUND:
        talk = chat(kind)
        text = text_of(talk.prompt(PERSONA, USER).ids, talk)
        assert text.count(PERSONA) == 1
        assert text.count(USER) == 1
        assert text.index(PERSONA) < text.index(USER)


def test_the_persona_is_folded_into_the_user_turn_only_without_a_system_role() -> None:
    """Trap 2."""
    for kind in SOUND:
        talk = chat(kind)
        folded = kind in ("no system role", "system dropped")
        assert talk.system_role is not folded
        text = text_of(talk.prompt(PERSONA, USER).ids, talk)
        assert ("<|system|>" in text) is not folded
        assert (f"<|user|>{PERSONA}\n\n{USER}" in text) is folded


def test_another_persona_makes_another_prompt_and_another_digest() -> None:
    """Trap 2."""
    for kind in SOUND:
        made = [chat(kind).prompt(persona, USER) for persona in PERSONAS]
        assert len({prompt.ids for prompt in made}) == len(PERSONAS)
        assert len({prompt.digest for prompt in made}) == len(PERSONAS)


def test_a_template_that_loses_the_persona_is_refused() -> None:
    """Trap 2: it keeps a system message only up to a length."""
    llama = KINDS["llama"]
    cut = dataclasses.replace(
        llama, template=llama.template.replace("'content']", "'content'][:9]")
    )
    with pytest.raises(InputError, match="loses the persona"):
        Chat(tokenizer(cut)).prompt(PERSONA, USER)


def test_the_digest_is_of_the_ids_alone() -> None:
    prompt = chat("llama").prompt(PERSONA, USER)
    assert prompt.digest == Chat(tokenizer("llama")).prompt(PERSONA, USER).digest
    assert len(prompt.digest) == 16
    assert prompt.digest != dataclasses.replace(prompt, ids=prompt.ids[:-1]).digest


def test_the_ids_are_the_same_whatever_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 3: Llama 3 takes a date, gpt-oss and SmolLM3 look at the clock; both are pinned."""
    from transformers.utils import chat_template_utils

    def rendered(kind: str, day: datetime) -> tuple[int, ...]:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return day

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)
        return Chat(tokenizer(kind)).prompt(PERSONA, USER).ids

    for kind in ("date", "clock"):
        first = rendered(kind, datetime(2031, 3, 4))
        assert rendered(kind, datetime(2042, 5, 6)) == first
        assert f"Today: {DATE}" in text_of(first, chat(kind))


def test_thinking_is_off() -> None:
    """Trap 3."""
    talk = chat("thinking")
    assert text_of(talk.prompt(PERSONA, USER).ids, talk).endswith(
        "<|assistant|><think>\n\n</think>\n\n"
    )


def test_the_terminator_is_what_the_template_puts_after_a_reply() -> None:
    """Traps 6 and 15: up to the end of the turn, special but unnamed tokens included."""
    for kind, written in [
        ("llama", "<|end|>"),
        ("qwen2", "<|end|>"),
        ("phi", "<|end|>"),
        ("no system role", "<|end|>"),
        ("system dropped", "<|end|>"),
        ("date", "<|end|>"),
        ("thinking", "<|end|>"),
        ("pad is eos", "<|end|>"),
        ("spaces", " <|end|>"),
        ("metaspace", "\n<|end|>"),
    ]:
        assert text_of(chat(kind).terminator, chat(kind)) == written


def test_a_template_that_ends_turns_with_no_special_token_ends_with_eos() -> None:
    bare = dataclasses.replace(
        KINDS["llama"], template=KINDS["llama"].template.replace("<|end|>", "\n")
    )
    talk = Chat(tokenizer(bare))
    assert talk.terminator == (talk.tokenizer.eos_token_id,)


def test_decoding_stops_at_the_terminator_and_gives_the_reply_back() -> None:
    for reply in ["Answer: 10", "Well.\n\nIt is 1 to 10.", "I can’t say."]:
        for kind in SOUND:
            talk = chat(kind)
            written = list(talk.encode_reply(reply))
            assert written[-len(talk.terminator) :] == list(talk.terminator)
            assert talk.decode(written) == reply
            assert talk.decode([*written, *talk.encode_reply("More."), talk.pad, talk.pad]) == reply
            assert talk.decode(written[: -len(talk.terminator)]) == reply
            assert talk.decode([*written[: -len(talk.terminator)], *[talk.pad] * 3]) == reply


def test_a_reply_continues_its_prompt_as_in_the_whole_conversation() -> None:
    """Traps 4 and 5: the ids are those of the conversation rendered and tokenised at once."""
    for kind in [kind for kind in SOUND if kind != "clock"]:
        talk = chat(kind)
        messages = [{"role": "system", "content": PERSONA}, {"role": "user", "content": USER}]
        if kind in ("no system role", "system dropped"):
            messages = [{"role": "user", "content": f"{PERSONA}\n\n{USER}"}]
        text = talk.tokenizer.apply_chat_template(
            [*messages, {"role": "assistant", "content": "Answer: 10"}],
            tokenize=False,
            date_string=DATE,
        )
        # an empty thought is part of the prompt, not of the conversation's record
        if kind == "thinking":
            text = text.replace("<|assistant|>", "<|assistant|><think>\n\n</think>\n\n")
        whole = talk.tokenizer(text, add_special_tokens=False)["input_ids"]
        made = [*talk.prompt(PERSONA, USER).ids, *talk.encode_reply("Answer: 10")]
        assert made == whole[: len(made)]


def test_a_word_that_begins_a_text_otherwise_does_not_begin_a_reply_so() -> None:
    """Trap 5: Llama 2 and Mistral put a space before a text that stands alone."""
    talk = chat("metaspace")
    alone = talk.tokenizer("Answer: 10", add_special_tokens=False)["input_ids"]
    reply = talk.encode_reply("Answer: 10")[: -len(talk.terminator)]
    assert reply == tuple(alone[1:])


def merging(old: str, new: str, kind: str = "qwen2") -> Any:
    """A tokenizer of which " ScoredReply" is one token, and its template with a word in it."""
    made = dataclasses.replace(KINDS[kind], template=toys.TURNS.replace(old, new), bos=None)
    words = tokenizer(made)
    words.add_tokens([" ScoredReply"])
    words.name_or_path = "some/model"
    return words


def test_a_prompt_that_ends_within_a_token_is_gone_on_from_as_it_is() -> None:
    """Trap 5: the model reads "So", " " and then writes "ScoredReply", not " ScoredReply"."""
    words = merging("<|assistant|>{% endif %}", "<|assistant|>So {% endif %}")
    talk = Chat(words)
    ids = [*talk.prompt("P", "Q").ids, *talk.encode_reply("Answer: 1")]
    assert words.decode(ids).endswith("<|assistant|>So Answer: 1<|end|>")
    assert words.convert_tokens_to_ids(" ScoredReply") not in ids


def test_a_tokenizer_that_merges_a_reply_with_what_ends_it_is_refused() -> None:
    """Trap 5: such a reply has no ids of its own."""
    words = merging("<|end|>", "0<|end|>")
    with pytest.raises(InputError, match="merges") as error:
        Chat(words)
    assert str(error.value).startswith("some/model: ")
    assert "\n" not in str(error.value)


def test_a_reply_that_would_read_otherwise_alone_is_refused() -> None:
    """Trap 5: Llama 2's tokenizer puts a space before a text that stands alone."""
    words = merging("<|assistant|>{% endif %}", "<|assistant|>So A{% endif %}", "metaspace")
    words.add_tokens(["AAnswer"])
    with pytest.raises(InputError, match="merges"):
        Chat(words)


def test_a_text_ends_at_the_first_of_its_ends() -> None:
    """Llama 3 and Qwen2.5 list more than the end of a turn."""
    words = tokenizer("phi")
    turn, text, listed = words.convert_tokens_to_ids(["<|end|>", "<|endoftext|>", "<|user|>"])
    talk, plain = Chat(words, [listed, turn]), chat("phi")
    assert talk.ends == {turn, text, listed}
    assert plain.ends == {turn, text}
    begun = list(plain.encode_reply("Answer: 1"))[:-1]
    for end in talk.ends:
        assert talk.decode([*begun, end, *begun]) == "Answer: 1"
    assert plain.decode([*begun, listed, *begun]) == "Answer: 1Answer: 1"


def test_without_an_end_of_text_the_terminator_is_the_only_end() -> None:
    words = tokenizer("llama")
    words.eos_token = None
    assert Chat(words).ends == {words.convert_tokens_to_ids("<|end|>")}


def test_a_prompt_that_is_held_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Chat(tokenizer("llama"))
    held = talk.prompt(PERSONA, USER)
    other = talk.prompt(PERSONAS[0], USER)
    assert other != held
    monkeypatch.setattr(talk, "_text", pytest.fail)
    assert talk.prompt(PERSONA, USER) is held


def test_ten_is_one_token_or_two_and_whole_either_way() -> None:
    """Trap 6."""
    for kind, tokens in [("llama", 2), ("qwen2", 1)]:
        talk = chat(kind)
        one, ten = talk.encode_reply("Answer: 1"), talk.encode_reply("Answer: 10")
        assert len(ten) - len(one) == tokens - 1
        assert (one[3] == ten[3]) == (tokens == 2)
        assert talk.decode(list(ten)) == "Answer: 10"


def test_each_tokenizer_makes_its_own_ids() -> None:
    """Trap 17: nothing tokenised is kept between tokenizers."""
    first, second = chat("llama"), chat("qwen2")
    a, b = first.prompt(PERSONA, USER), second.prompt(PERSONA, USER)
    assert a.ids != b.ids
    assert a.digest != b.digest
    for talk, prompt in ((first, a), (second, b)):
        text = text_of(prompt.ids, talk)
        assert talk.tokenizer(text, add_special_tokens=False)["input_ids"] == list(prompt.ids)
        assert PERSONA in text
    assert first.prompt(PERSONA, USER) == a


def test_a_tokenizer_without_a_template_is_an_input_error_of_one_line() -> None:
    words = tokenizer("llama")
    words.chat_template = None
    words.name_or_path = "some/model"
    with pytest.raises(InputError) as error:
        Chat(words)
    text = str(error.value)
    assert text.startswith("some/model: ")
    assert "instruction-tuned" in text
    assert "\n" not in text


def test_a_tokenizer_without_pad_pads_with_the_terminator() -> None:
    for kind, pad in [("llama", "<pad>"), ("no pad", "<|end|>")]:
        talk = chat(kind)
        assert talk.tokenizer.convert_ids_to_tokens(talk.pad) == pad


def test_a_saved_tokenizer_makes_the_same_ids(tmp_path: Any) -> None:
    """Trap 4: what was trained with and what is loaded later."""
    from valuestrata.inference.local import load_chat

    for architecture, kind in toys.ARCHITECTURES.items():
        words = tokenizer(kind)
        folder = toys.save(toys.network(architecture, words), words, tmp_path / architecture)
        loaded = load_chat(toys.model(folder))
        assert loaded.prompt(PERSONA, USER) == chat(kind).prompt(PERSONA, USER)
        assert loaded.encode_reply("Answer: 10") == chat(kind).encode_reply("Answer: 10")
        assert loaded.terminator == chat(kind).terminator


def test_a_reply_says_whether_it_ended_and_keeps_the_marks_of_a_thought() -> None:
    """Trap 32: a decoder that leaves special tokens out makes an answer of a thought."""
    plain = chat("llama")
    ids = list(plain.encode_reply("Answer: 1"))
    assert plain.completion([*ids, 0]) == Completion("Answer: 1", "stop", None, len(ids))
    cut = plain.completion(ids[:-1])
    assert (cut.text, cut.is_cut) == ("Answer: 1", True)
    words = tokenizer("llama")
    words.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    talk = Chat(words)
    thought = words("[THINK]Is it 3?[/THINK]", add_special_tokens=False)["input_ids"]
    bos = words.bos_token_id
    assert talk.decode([*thought, bos, *ids]) == "[THINK]Is it 3?[/THINK]Answer: 1"
    assert talk.decode([bos, *ids]) == "Answer: 1"
    # without harmony's channels, <|end|> ends a turn and marks no thought
    assert "<|end|>" not in talk.decode([*thought, *ids])


def test_the_channels_of_harmony_are_kept() -> None:
    words = tokenizer(dataclasses.replace(KINDS["llama"], eos="<|return|>", pad="<|return|>"))
    marks = ["<|channel|>", "<|message|>", "<|start|>"]
    words.add_special_tokens({"additional_special_tokens": marks})
    words.chat_template = KINDS["llama"].template.replace("<|end|>", "<|return|>")
    text = (
        "<|channel|>analysis<|message|>Is it 3?<|start|>assistant"
        "<|channel|>final<|message|>Answer: 2"
    )
    ids = words(f"{text}<|return|>", add_special_tokens=False)["input_ids"]
    written = Chat(words).completion(ids)
    assert written == Completion(text, "stop", None, len(ids))
    assert parse(written.text, [1, 2, 3]) == ("answer", 2)
