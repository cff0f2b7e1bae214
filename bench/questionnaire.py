"""The study's prompts, and a toy of 6 layers x 512 that has learned the form of an answer."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import data
from valuestrata.demo.toy import SPECIAL, TEMPLATES
from valuestrata.inference.chat import Chat
from valuestrata.inference.protocol import ScoringRequest
from valuestrata.prompting import prompts
from valuestrata.prompting.settings import prompt_settings
from valuestrata.study.models import TransformersModel
from valuestrata.training import completion, loop, shared_prefix
from valuestrata.training.examples import Pair
from valuestrata.training.schedules import OptimizerSettings

ORDERS = ("question", "persona")
VOCABULARY = 8192
LAYERS, HIDDEN = 6, 512


@dataclass(frozen=True)
class Asked:
    """One prompt: who is asked what, both messages, and the codes that may be answered."""

    persona: str
    question: str
    first: str
    second: str
    codes: tuple[int, ...]

    @property
    def replies(self) -> tuple[str, ...]:
        """The reply that gives each code."""
        return tuple(prompts.answer("english", code) for code in self.codes)

    @property
    def request(self) -> ScoringRequest:
        """What a backend is asked."""
        return ScoringRequest((self.first, self.second), self.replies)


def texts() -> tuple[list[str], list[tuple[str, tuple[int, ...]]]]:
    """The personas of all of the paper's strata; its 214 closed prompts with their codes."""
    study, questions, _ = data.load_study()
    wording = prompt_settings(study)
    groups = data.groups_of(study)
    personas = [
        prompts.persona(wording, dict(zip(axes, cell, strict=True)))
        for strata in study.split_strata.values()
        for axes in strata
        for cell in itertools.product(*[groups[axis] for axis in axes])
    ]
    closed = []
    for question in questions:
        ends = (question.scale_min, question.scale_max)
        unnamed = dict.fromkeys(range(ends[0], ends[1] + 1), "")
        labels = unnamed | question.extra | question.labels
        codes = sorted(labels)
        text = prompts.closed(wording, question.text, codes, [labels[c] for c in codes], ends)
        closed.append((text, tuple(codes)))
    return personas, closed


def ask(order: str, personas: int, questions: int) -> list[Asked]:
    """Every one of some personas with every one of some questions, both spread over the study.

    Persona first is the study's order; question first has the two messages swapped.
    """
    people, closed = texts()
    asked = []
    for persona in spread(people, personas):
        for text, codes in spread(closed, questions):
            first, second = (persona, text) if order == "persona" else (text, persona)
            asked.append(Asked(persona, text, first, second, codes))
    return asked


def spread(things: Sequence[Any], n: int) -> list[Any]:
    """`n` of the things at like distances."""
    return [things[i] for i in np.linspace(0, len(things) - 1, n).astype(int)]


def make_chat() -> Chat:
    """A tokenizer trained on the prompts and on the project's own texts.

    Words are its largest tokens and " 10" is one token: so options differ in one token alone, which
    is what lm-evaluation-harness is quickest on.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    personas, closed = texts()
    files = [
        f for kind in ("md", "py", "yaml") for f in sorted(data.ROOT.glob(f"[!.]*/**/*.{kind}"))
    ]
    project = [file.read_text(encoding="utf-8") for file in files]
    answers = [prompts.answer("english", code) for code in range(11)] * 100
    bpe.train_from_iterator([*personas, *(t for t, _ in closed), *answers, *project], trainer)
    words = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        bos_token="<|begin|>",
        additional_special_tokens=SPECIAL[2:5],
        clean_up_tokenization_spaces=False,
    )
    words.chat_template = TEMPLATES["llama"]
    return Chat(words)


def make_network(chat: Chat, layers: int = LAYERS, hidden: int = HIDDEN) -> Any:
    """A Llama-shaped network with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 128,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            pad_token_id=chat.pad,
            bos_token_id=chat.tokenizer.bos_token_id,
            eos_token_id=chat.tokenizer.eos_token_id,
        )
    ).eval()


def examples(asked: Sequence[Asked], chat: Chat) -> list[Pair]:
    """Prompts with an answer each, to train on."""
    return [
        Pair(
            chat.prompt(one.first, one.second).ids,
            chat.encode_reply(one.replies[i % len(one.replies)]),
            group=one.persona,
            question=one.question,
            options=(),
            shares=(),
            place=(),
        )
        for i, one in enumerate(asked)
    ]


def teach(network: Any, chat: Chat, steps: int, batch: int = 16) -> None:
    """A few steps after which the network writes answers in the form asked for, in both orders."""
    asked = [one for order in ORDERS for one in ask(order, 10, 40)]
    batches = completion.make_batches(examples(asked, chat), batch, 99, seed=1)
    settings = OptimizerSettings(3e-3, steps, 0.3, 0.0, 1.0)
    loop.train(network, batches, settings, completion.CompletionObjective(chat.pad))


def save(network: Any, chat: Chat, folder: Path) -> Path:
    """A model's folder, for tools that load one."""
    network.save_pretrained(folder, safe_serialization=True)
    chat.tokenizer.save_pretrained(folder)
    return folder


def config(folder: Path) -> TransformersModel:
    """A study's model in a folder, in fp32."""
    return TransformersModel(backend="transformers", model=str(folder), dtype="float32")


def shared_prefix_tokens(batches: Sequence[Sequence[Pair]], pad: int) -> int:
    """Tokens that training on batches of shared prefixes reads."""
    objective = shared_prefix.SharedPrefixObjective(pad)
    return sum(objective.num_tokens(objective.collate(batch)) for batch in batches)
