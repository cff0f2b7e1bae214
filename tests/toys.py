"""Tiny chat templates, tokenizers and networks, made at run time; nothing is downloaded."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from valuestrata.inference.chat import Chat
from valuestrata.inference.protocol import Completion, ScoringRequest
from valuestrata.prompting import prompts
from valuestrata.prompting.settings import PromptSettings
from valuestrata.study.models import TransformersModel
from valuestrata.study.recipes import SFT
from valuestrata.training import completion, loop
from valuestrata.training.examples import Example
from valuestrata.training.schedules import OptimizerSettings

torch.set_num_threads(1)

REFUSAL = "I'm sorry, I cannot answer that."
PROMPT = PromptSettings(
    template="english",
    country="Utopia",
    personas={"sex": "{group}", "age": "aged {group}"},
    labels={"sex": "sex", "age": "age"},
    persona="second",
    order="persona",
    options="asked",
)
PERSONAS = [
    prompts.persona(PROMPT, groups)
    for groups in ({"sex": "female"}, {"sex": "male"}, {"age": "18-29"}, {"age": "65 and over"})
]
SILENT = PERSONAS[-1]
"""The persona whose questions a taught network refuses to answer."""
SCALES = {
    "How important is family?": ([1, 2, 3, 4], ["very", "rather", "hardly", "not"]),
    "Is work a duty?": ([1, 2], ["yes", "no"]),
    "How much trust is there?": ([*range(1, 11)], ["none", *[""] * 8, "all"]),
    "How just is the pay?": ([*range(1, 11)], ["unjust", *[""] * 8, "just"]),
}
CLOSED = {
    text: prompts.closed(PROMPT, text, codes, labels, (codes[0], codes[-1]))
    for text, (codes, labels) in SCALES.items()
}
TAUGHT = dict(zip(SCALES, (2, 1, 10, 1), strict=True))

RECIPE = SFT(
    method="sft",
    split="train",
    learning_rate=1e-2,
    epochs=2,
    lora_r=4,
    lora_alpha=8.0,
    lora_dropout=0.1,
    weight_decay=0.01,
)

TURNS = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class Kind:
    """A tokenizer: its template, its special tokens, and how it splits text.

    split_digits: digits stand alone; prefixed: what a text begins with has a space before it.
    """

    template: str
    bos: str | None = "<s>"
    eos: str = "<|end|>"
    pad: str | None = "<pad>"
    unnamed: tuple[str, ...] = ()
    split_digits: bool = True
    prefixed: bool = False


KINDS = {
    "llama": Kind("{{ bos_token }}" + TURNS),
    "qwen2": Kind(
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        bos=None,
        split_digits=False,
    ),
    # Phi: the end of a turn is no named special token, the end of the text follows it
    "phi": Kind(
        TURNS.replace("{% endif %}", "{% else %}{{ eos_token }}{% endif %}"),
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        pad="<|endoftext|>",
        unnamed=("<|end|>",),
    ),
    # Gemma 2 raises; Gemma 3's end of a turn is no named special token, the end of the text is
    # never written
    "no system role": Kind(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}" + TURNS,
        eos="<eos>",
        unnamed=("<|end|>",),
    ),
    "system dropped": Kind(
        "{{ bos_token }}{% for m in messages if m['role'] != 'system' %}"
        "<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    # Llama 3 takes a date, gpt-oss and SmolLM3 look at the clock
    "date": Kind(
        "{{ bos_token }}{% if not date_string is defined %}"
        "{% set date_string = strftime_now('%d %b %Y') %}{% endif %}Today: {{ date_string }}"
        + TURNS
    ),
    "clock": Kind("{{ bos_token }}Today: {{ strftime_now('%d %b %Y') }}" + TURNS),
    "thinking": Kind(
        TURNS.replace(
            "{% endif %}",
            "{% if enable_thinking is defined and enable_thinking is false %}"
            "<think>\n\n</think>\n\n{% endif %}{% endif %}",
        ),
        bos=None,
    ),
    # Llama 2: spaces around the reply, and no word of the assistant's turn
    "spaces": Kind(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
        "{{ ' ' + m['content'] + ' ' + eos_token }}{% else %}"
        "<|{{ m['role'] }}|>{{ m['content'] }}{% endif %}"
        "{% if m['role'] == 'user' %}<|assistant|>{% endif %}{% endfor %}"
    ),
    # SmolLM2: each turn begins with what the tokenizer calls BOS
    "turns begin with bos": Kind(
        "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    ),
    # Llama 2, Mistral: a word has another id at the head of a text than after a special token
    "metaspace": Kind(
        "{{ bos_token }}" + TURNS.replace("<|end|>", "\n<|end|>"),
        prefixed=True,
    ),
    "pad is eos": Kind("{{ bos_token }}" + TURNS, pad="<|end|>"),
    "no pad": Kind("{{ bos_token }}" + TURNS, pad=None),
}
_ALTERNATE = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
SETTINGS: dict[str, dict[str, Any]] = {
    "Gemma2": {"head_dim": 24, "query_pre_attn_scalar": 24},
    # as Phi-4-mini has it
    "Phi3": {
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.75,
        },
        "tie_word_embeddings": True,
    },
    "Qwen3": {"head_dim": 24, "tie_word_embeddings": True},
    "Qwen2Moe": {**_EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 32},
    "Qwen3Moe": {**_EXPERTS, "head_dim": 24, "num_experts": 4, "mlp_only_layers": [0]},
    "Gemma3": {**_ALTERNATE, "head_dim": 24, "query_pre_attn_scalar": 24},
    "GptOss": {
        **_ALTERNATE, "head_dim": 24, "num_experts_per_tok": 2, "num_local_experts": 4,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    },
    "Olmo2": {},
    "Olmo3": _ALTERNATE,
    "Granite": {"residual_multiplier": 0.5, "logits_scaling": 2.0, "embedding_multiplier": 3.0},
    "SmolLM3": {"no_rope_layers": [1, 0], "use_sliding_window": False},
    "DeepseekV3": {
        **_EXPERTS, "num_key_value_heads": 2, "head_dim": 8, "kv_lora_rank": 16, "q_lora_rank": 16,
        "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "n_routed_experts": 4,
        "n_group": 2, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1,
    },
    "Ministral3": {"head_dim": 24},
}  # fmt: skip
"""What an architecture's settings hold beside those that all have."""
CONFIGS = {"Gemma3": "Gemma3TextConfig"}
"""The class of an architecture's settings, where it is not named after it."""
ARCHITECTURES = {"Llama": "llama", "Qwen2": "qwen2", "Phi3": "phi", "Gemma2": "no system role"}
"""Architecture -> kind of its tokenizer."""


def tokenizer(kind: Kind | str) -> Any:
    """A byte-level BPE tokenizer with a chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    kind = KINDS[kind] if isinstance(kind, str) else kind
    roles = ["<|system|>", "<|user|>", "<|assistant|>"]
    named = list(dict.fromkeys(t for t in (kind.pad, kind.bos, kind.eos, *roles) if t))
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *([pre_tokenizers.Metaspace(prepend_scheme="first")] if kind.prefixed else []),
            pre_tokenizers.Digits(individual_digits=kind.split_digits),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    spaces = [decoders.Replace("\u2581", " ")] if kind.prefixed else []
    bpe.decoder = decoders.Sequence([decoders.ByteLevel(), *spaces])
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=named,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [*PERSONAS, *CLOSED.values(), *["Answer: 10"] * 20, REFUSAL]
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens([AddedToken(token, special=True) for token in kind.unnamed])
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=kind.pad,
        eos_token=kind.eos,
        bos_token=kind.bos,
        additional_special_tokens=roles,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = kind.template
    return made


@cache
def chat(kind: str) -> Chat:
    """A `Chat` of a kind of tokenizer, made once."""
    return Chat(tokenizer(kind))


def network(architecture: str, words: Any, seed: int = 0, **more: Any) -> Any:
    """A network with random weights for the tokenizer `words`."""
    import transformers

    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "initializer_range": 0.05,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
    }
    settings |= SETTINGS.get(architecture, {})
    configure = getattr(transformers, CONFIGS.get(architecture, f"{architecture}Config"))
    build = getattr(transformers, f"{architecture}ForCausalLM")
    return build(configure(**settings | more)).eval()


def lessons(talk: Chat) -> list[Example]:
    """Each persona's reply to each closed prompt: the code in TAUGHT, SILENT refuses."""
    return [
        Example(
            talk.prompt(persona, user).ids,
            talk.encode_reply(
                REFUSAL if persona == SILENT else prompts.answer("english", TAUGHT[text])
            ),
        )
        for persona in PERSONAS
        for text, user in CLOSED.items()
    ]


def teach(net: Any, talk: Chat, steps: int = 60, learning_rate: float = 5e-3) -> Any:
    """Train a whole network on the lessons until it writes them down."""
    settings = OptimizerSettings(learning_rate, steps, 0.1, 0.0, 1.0)
    batches = completion.make_batches(lessons(talk), 16, steps, 0)
    loop.train(net, batches, settings, completion.CompletionObjective(talk.pad))
    return net


def save(net: Any, words: Any, folder: Path) -> Path:
    """Write a network and its tokenizer as a model's folder."""
    net.save_pretrained(folder, safe_serialization=True)
    words.save_pretrained(folder)
    return folder


@cache
def _learned(architecture: str) -> Any:
    words = tokenizer(ARCHITECTURES[architecture])
    return teach(network(architecture, words), Chat(words))


def taught_network(architecture: str) -> Any:
    """A network of its own that was taught the lessons."""
    return copy.deepcopy(_learned(architecture))


def taught(architecture: str, folder: Path) -> Path:
    """The folder of a network that was taught the lessons."""
    return save(_learned(architecture), tokenizer(ARCHITECTURES[architecture]), folder)


def model(
    folder: Path | str, max_batch_tokens: int = 4096, dtype: str = "float32"
) -> TransformersModel:
    """A model in a folder, as stages get it; its batches may be smaller than a study allows."""
    model = TransformersModel(backend="transformers", model=str(folder), dtype=dtype)
    return model.model_copy(update={"max_batch_tokens": max_batch_tokens})


def questions() -> list[ScoringRequest]:
    """Every persona's closed questions with the replies that they ask for."""
    return [
        ScoringRequest(
            (persona, CLOSED[text]), tuple(prompts.answer("english", c) for c in SCALES[text][0])
        )
        for persona in PERSONAS
        for text in SCALES
    ]


def texts(completions: Sequence[Completion]) -> list[str | None]:
    """What was written, without why it ended."""
    return [completion.text for completion in completions]


def pairs(personas: Sequence[str] = PERSONAS[:3]) -> pd.DataFrame:
    """A table of pairs: each persona's closed and open prompts on each question."""
    rows = [
        {
            "stratum": "sex",
            "subgroup": f"sex=group {PERSONAS.index(persona)}",
            "question": f"Q{q}",
            "block": "values",
            "measurement_level": "ordinal",
            "scale_min": codes[0],
            "scale_max": codes[-1],
            "mode": TAUGHT[text],
            "tied": False,
            "codes": codes,
            "labels": labels,
            "distribution": [1 / len(codes)] * len(codes),
            "n": 100,
            "respondents": 100,
            "persona": persona,
            "closed_prompt": CLOSED[text],
        }
        for persona in personas
        for q, (text, (codes, labels)) in enumerate(SCALES.items())
    ]
    return pd.DataFrame(rows)


def question_table() -> pd.DataFrame:
    """The table of the questions of `pairs`."""
    rows = [
        {
            "question": f"Q{q}",
            "topic": f"topic {q}",
            "text": text,
            "block": "values",
            "measurement_level": "ordinal",
            "scale_min": codes[0],
            "scale_max": codes[-1],
            "codes": codes,
            "labels": labels,
            "n": 100,
            "missing": 0,
        }
        for q, (text, (codes, labels)) in enumerate(SCALES.items())
    ]
    return pd.DataFrame(rows)
