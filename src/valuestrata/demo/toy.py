"""Toy language models, trained from scratch on the study's own prompts in about a minute.

They take the whole graph through on a laptop, by the same code as real models. What they say is
made up (demo/toy_texts.py), and every artefact that they touch says "toy".
"""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from valuestrata.demo.toy_texts import Message, ToyTexts
from valuestrata.inference.chat import Chat
from valuestrata.study.models import Toy
from valuestrata.training import completion, loop
from valuestrata.training.examples import Example
from valuestrata.training.schedules import OptimizerSettings

log = logging.getLogger(__name__)

SAMPLE = 3000
"""Messages that the tokenizer is trained on."""

TEMPLATES = {
    "llama": (
        "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "qwen2": (
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
}
SPECIAL = ["<|pad|>", "<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def make(toy: Toy, texts: ToyTexts, folder: Path) -> list[dict[str, float]]:
    """Train tokenizer and network, save both to `folder`, return the steps' records."""
    messages = texts.messages()
    tokenizer = make_tokenizer(toy, list(islice(messages, SAMPLE)))
    chat = Chat(tokenizer)
    torch.manual_seed(toy.seed)
    network = make_network(toy, tokenizer)
    history = loop.train(
        network,
        _batches(messages, chat, toy),
        OptimizerSettings(toy.learning_rate, toy.max_steps, 0.1, 0.01, 1.0),
        completion.CompletionObjective(tokenizer.pad_token_id),
    )
    network.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return history


def make_tokenizer(toy: Toy, messages: list[Message]) -> Any:
    """A byte-level BPE tokenizer whose tokens may span words, so that prompts are short.

    Digits are split one by one in a Llama-shaped toy ("10" is two tokens) and kept together in a
    Qwen2-shaped one; real vocabularies do either.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[,.:?\n]"), "isolated"),
            pre_tokenizers.Digits(individual_digits=toy.architecture == "llama"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=toy.vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((part for message in messages for part in message), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        bos_token="<|begin|>" if toy.architecture == "llama" else None,
        additional_special_tokens=SPECIAL[2:5],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATES[toy.architecture]
    return tokenizer


def make_network(toy: Toy, tokenizer: Any) -> Any:
    """A small network of the architecture asked for, with random weights."""
    import transformers

    classes = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    }
    config_class, network_class = classes[toy.architecture]
    # a head's width is whole and even
    width = toy.hidden_size
    heads = next(n for n in range(max(1, width // 32), 0, -1) if width % (2 * n) == 0)
    return network_class(
        config_class(
            vocab_size=len(tokenizer),
            hidden_size=toy.hidden_size,
            intermediate_size=3 * toy.hidden_size,
            num_hidden_layers=toy.num_layers,
            num_attention_heads=heads,
            num_key_value_heads=max(1, heads // 2) if heads % 2 == 0 else heads,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
        )
    )


def _batches(messages: Iterator[Message], chat: Chat, toy: Toy) -> Iterator[list[Example]]:
    """Endless batches; each pool of messages is sorted by length as in fine-tuning."""
    while True:
        pool = [
            Example(chat.prompt(persona, user).ids, chat.encode_reply(reply))
            for persona, user, reply in islice(messages, toy.batch_size * completion.POOL)
        ]
        yield from completion.make_batches(pool, toy.batch_size, 1, toy.seed)
