"""Tokenizers and chat templates as users' folders hold them: right, or one line."""

import base64
import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import toys
from valuestrata.errors import InputError
from valuestrata.inference.chat import THOUGHT_CLOSED, Chat, closing
from valuestrata.inference.local import load_chat
from valuestrata.inference.tokenizer_files import REGEX_MENDED

P, Q = toys.PERSONAS[0], next(iter(toys.CLOSED.values()))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = toys.tokenizer("llama")
    return toys.save(toys.network("Llama", words), words, tmp_path_factory.mktemp("base"))


def without_template(base: Path, copy: Path) -> Path:
    shutil.copytree(base, copy)
    (copy / "chat_template.jinja").unlink()
    return copy


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**content, **changes}))


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        load_chat(toys.model(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- templates


def test_a_template_is_read_wherever_it_lies(base: Path, tmp_path: Path) -> None:
    expected = load_chat(toys.model(base)).prompt(P, Q)
    template = (base / "chat_template.jinja").read_text()
    for name, file, content in [
        ("legacy", "chat_template.json", template),
        ("processor", "processor_config.json", template),
        ("tokenizer", "tokenizer_config.json", template),
        ("named", "tokenizer_config.json", [
            {"name": "default", "template": template}, {"name": "rag", "template": "x"}
        ]),
    ]:  # fmt: skip
        copy = without_template(base, tmp_path / name)
        edit(copy / file, chat_template=content)
        assert load_chat(toys.model(copy)).prompt(P, Q) == expected, name
    copy = without_template(base, tmp_path / "none")
    assert "no chat template" in refused(copy)
    edit(copy / "tokenizer_config.json", chat_template=[{"name": "rag", "template": template}])
    assert "no chat template" in refused(copy)


def test_a_template_that_wants_parts_gets_them() -> None:
    """Llava and Idefics: a message is a list of texts and images."""
    turn = "{% for part in m['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    parts = toys.KINDS["llama"].template.replace("{{ m['content'] }}", turn)
    assert turn in parts
    talk = Chat(toys.tokenizer(dataclasses.replace(toys.KINDS["llama"], template=parts)))
    assert talk.prompt(P, Q) == toys.chat("llama").prompt(P, Q)
    assert talk.encode_reply("Answer: 1") == toys.chat("llama").encode_reply("Answer: 1")


def test_a_template_that_loses_the_question_is_refused() -> None:
    kind = toys.KINDS["llama"]
    short = kind.template.replace("{{ m['content'] }}", "{{ m['content'][:60] }}")
    with pytest.raises(InputError, match="loses the question"):
        Chat(toys.tokenizer(dataclasses.replace(kind, template=short))).prompt("You are old.", Q)


def test_a_template_that_fails_is_one_line() -> None:
    for template in ("{% for %}", "{{ raise_exception('no\nchat') }}", "{{ messages.nope() }}"):
        kind = dataclasses.replace(toys.KINDS["llama"], template=template)
        with pytest.raises(InputError, match="chat template fails") as error:
            Chat(toys.tokenizer(kind))
        assert "\n" not in str(error.value)


# ---- thoughts


def thinking(opening: str) -> Chat:
    """As R1 distillates have it: the prompt opens a thought, an old turn keeps none."""
    kind = toys.KINDS["llama"]
    template = kind.template.replace(
        "{% if add_generation_prompt %}<|assistant|>",
        "{% if add_generation_prompt %}<|assistant|>" + opening,
    )
    assert opening in template
    return Chat(toys.tokenizer(dataclasses.replace(kind, template=template)))


def test_a_thought_that_a_template_opens_is_closed_before_the_options() -> None:
    """Trap 32: options would be scored, and texts written, inside the thought."""
    plain = toys.chat("llama")
    assert plain.notes == []
    for begin, end in {
        "<think>": "</think>",
        "<thinking>": "</thinking>",
        "[THINK]": "[/THINK]",
        "<seed:think>": "</seed:think>",
        "◁think▷": "◁/think▷",
    }.items():
        for opening in (begin, f"{begin}\n"):
            talk = thinking(opening)
            ids = list(talk.prompt(P, Q).ids)
            text = str(talk.tokenizer.decode(ids, skip_special_tokens=False))
            assert text.endswith(f"<|assistant|>{begin}\n\n{end}\n\n")
            assert text.count(begin) == text.count(end) == 1
            assert talk.notes == [THOUGHT_CLOSED]
            assert talk.terminator == plain.terminator
    harmony = "<|start|>assistant<|channel|>analysis<|message|>"
    assert closing(harmony) == "<|end|><|start|>assistant<|channel|>final<|message|>"
    assert closing("<|START_THINKING|>") == "<|END_THINKING|>"
    for prompt in ("<|assistant|>", "<think>\n\n</think>\n\n", "what does <think> mean?", ""):
        assert closing(prompt) == ""


def test_a_persona_that_mentions_a_thought_opens_none() -> None:
    talk = toys.chat("llama")
    assert talk.prompt("P <think>", "Q <think>").ids[-1] == talk.prompt("P", "Q").ids[-1]


# ---- tokens without embeddings


def test_a_token_without_embedding_is_refused_where_it_is_used(base: Path, tmp_path: Path) -> None:
    words = toys.tokenizer("llama")
    n = len(words)
    Chat(words, num_embeddings=n)
    end = words.convert_tokens_to_ids("<|end|>")
    with pytest.raises(InputError, match=rf"has the id \d+, and the network has {end} embeddings"):
        Chat(words, num_embeddings=end)
    # a token more, of no use in the study's prompts, harms nobody
    more = Path(shutil.copytree(base, tmp_path / "more"))
    grown = toys.tokenizer("llama")
    grown.add_tokens(["<image>"])
    grown.save_pretrained(more)
    talk = load_chat(toys.model(more))
    assert talk.prompt(P, Q) == load_chat(toys.model(base)).prompt(P, Q)
    with pytest.raises(InputError, match="'<image>' has the id"):
        talk.prompt(P, "What is <image>?")
    edit(more / "config.json", vocab_size=end)
    assert "embeddings" in refused(more)


def test_ends_and_padding_without_embedding_are_left_out() -> None:
    words = toys.tokenizer("llama")
    words.add_special_tokens({"pad_token": "<padding>"})
    size = len(words) - 1
    talk = Chat(words, ends=[size, 3], num_embeddings=size)
    assert talk.ends == {3, talk.terminator[-1]}
    assert talk.pad == talk.terminator[-1]


# ---- Mistral

WRONG = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"


def mistral(folder: Path, special: str = "[INST]") -> Path:
    """A folder as of before transformers 5, with a large vocabulary and the rule of Llama 3."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
    from transformers import MistralConfig, PreTrainedTokenizerFast

    words = toys.tokenizer("llama")
    bpe = json.loads(words.backend_tokenizer.to_str())["model"]
    vocabulary = bpe["vocab"]
    vocabulary |= {f"<{i}>": i for i in range(len(vocabulary), 100_001)}
    raw = Tokenizer(models.BPE(vocabulary, [tuple(pair) for pair in bpe["merges"]]))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WRONG), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = words.backend_tokenizer.decoder
    raw.add_special_tokens([AddedToken(special, special=True)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>"
    )
    made.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"]})
    made.chat_template = words.chat_template
    made.save_pretrained(folder)
    config = MistralConfig(vocab_size=len(made)).to_dict()
    (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "4.50.3"}))
    return folder


def test_mistrals_splitting_rule_is_corrected_and_it_is_noted(tmp_path: Path) -> None:
    talk = load_chat(toys.model(mistral(tmp_path / "mistral")))
    rule = repr(talk.tokenizer.backend_tokenizer.pre_tokenizer)
    assert r"\p{Lu}\p{Lt}" in rule
    assert talk.notes == [REGEX_MENDED]
    # what is no Mistral tokenizer keeps its rule, and the library's warning is kept
    other = load_chat(toys.model(mistral(tmp_path / "other", special="<|turn|>")))
    assert r"\p{Lu}\p{Lt}" not in repr(other.tokenizer.backend_tokenizer.pre_tokenizer)
    (note,) = other.notes
    assert "incorrect regex" in note


def test_the_splitting_rule_is_that_of_the_file_whatever_class_is_declared(
    base: Path, tmp_path: Path
) -> None:
    """SmolLM2, OLMo and Granite declare GPT-2's class, DeepSeek's distillates Llama's."""
    expected = load_chat(toys.model(base))
    texts = ["in  2020, 7/10", "don't\n\n  stop", "é  你好 10", P]
    split = expected.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    for declared in ("GPT2Tokenizer", "GPT2TokenizerFast", "Qwen2Tokenizer", "LlamaTokenizerFast"):
        copy = tmp_path / declared
        shutil.copytree(base, copy)
        edit(copy / "tokenizer_config.json", tokenizer_class=declared)
        talk = load_chat(toys.model(copy))
        own_split = talk.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
        for text in texts:
            assert own_split(text) == split(text), (declared, text)
            assert talk.encode_reply(text) == expected.encode_reply(text), (declared, text)
        assert talk.prompt(P, Q) == expected.prompt(P, Q), declared
        assert (talk.ends, talk.terminator, talk.pad) == (
            expected.ends,
            expected.terminator,
            expected.pad,
        ), declared
        assert talk.notes == expected.notes, declared


SPECIALS = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]"),
    *("[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    "[TOOL_CONTENT]",
)
TEKKEN_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ m['content'] + eos_token }}{% else %}{{ '[INST]' + m['content'] + '[/INST]' }}{% endif %}"
    "{% endfor %}"
)


def tekken(folder: Path) -> Path:
    """A folder with a tekken.json and no other tokenizer."""
    from transformers import MistralConfig

    folder.mkdir()
    tokens = [bytes([i]) for i in range(256)] + [b"An", b"sw", b"er", b"Answ", b"Answer"]
    size = len(tokens) + len(SPECIALS)
    content = {
        "config": {
            "pattern": r"\p{L}+|\p{N}|[^\p{L}\p{N}]+",
            "num_vocab_tokens": len(tokens),
            "default_vocab_size": size,
            "default_num_special_tokens": len(SPECIALS),
            "version": "v7",
        },
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(t).decode(), "token_str": None}
            for i, t in enumerate(tokens)
        ],
        "special_tokens": [
            {"rank": i, "token_str": t, "is_control": True} for i, t in enumerate(SPECIALS)
        ],
    }
    (folder / "tekken.json").write_text(json.dumps(content))
    MistralConfig(vocab_size=size).save_pretrained(folder)
    return folder


def test_a_tekken_file_is_read_with_the_template_beside_it(tmp_path: Path) -> None:
    folder = tekken(tmp_path / "tekken")
    edit(folder / "chat_template.json", chat_template=TEKKEN_TEMPLATE)
    talk = load_chat(toys.model(folder))
    ids = talk.prompt("P", "Q").ids
    tokenizer = talk.tokenizer
    assert ids[:2] == (SPECIALS.index("<s>"), SPECIALS.index("[INST]"))
    assert ids[-1] == SPECIALS.index("[/INST]")
    assert talk.encode_reply("Answer: 1")[-1] == SPECIALS.index("</s>")
    assert tokenizer.convert_ids_to_tokens(talk.encode_reply("Answer: 1")[0]) == "Answer"
    assert talk.pad == SPECIALS.index("<pad>")
    (folder / "tekken.json").write_text('{"config": {}}')
    assert "tekken.json: cannot be read" in refused(folder)


def test_a_tekken_file_without_template_wants_mistral_common(tmp_path: Path) -> None:
    folder = tekken(tmp_path / "tekken")
    if importlib.util.find_spec("mistral_common"):
        talk = load_chat(toys.model(folder))
        assert talk.prompt("P", "Q").ids[-1] == SPECIALS.index("[/INST]")
        assert talk.system_role
    else:
        assert "pip install 'valuestrata[mistral]'" in refused(folder)


def test_mistral_common_changes_no_prompt(base: Path, tmp_path: Path) -> None:
    """With it, the library would read a tekken.json beside a tokenizer.json instead."""
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    shutil.copy(tekken(tmp_path / "tekken") / "tekken.json", copy)
    assert load_chat(toys.model(copy)).prompt(P, Q) == load_chat(toys.model(base)).prompt(P, Q)
