"""Tiny networks with towers around a text decoder, with random weights."""

from typing import Any

import torch

VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_VISION = {
    "depth": 1,
    "hidden_size": 48,
    "embed_dim": 32,
    "num_heads": 2,
    "mlp_ratio": 2,
    "patch_size": 14,
    "intermediate_size": 32,
    "out_hidden_size": 48,
}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 4, 4]}
SETTINGS: dict[str, dict[str, Any]] = {
    "Mistral3": {
        "text_config": {"model_type": "mistral"},
        "vision_config": {**VISION, "model_type": "pixtral", "head_dim": 16},
        "image_token_index": 5,
    },
    "Gemma3": {
        "text_config": {
            "query_pre_attn_scalar": 24,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        "vision_config": {**VISION, "model_type": "siglip_vision_model"},
        "mm_tokens_per_image": 4,
        "image_token_index": 5,
    },
    "Llama4": {
        "text_config": {
            "intermediate_size_mlp": 64,
            "num_local_experts": 2,
            "attention_chunk_size": 512,
            "no_rope_layers": [1, 0],
        },
        "vision_config": {
            **VISION,
            "vision_output_dim": 32,
            "projector_input_dim": 32,
            "projector_output_dim": 32,
        },
    },
    "Qwen2VL": {"text_config": {"rope_parameters": ROPE}, "vision_config": QWEN_VISION},
    "Qwen2_5_VL": {"text_config": {"rope_parameters": ROPE}, "vision_config": QWEN_VISION},
    "Qwen3VL": {
        "text_config": {"rope_parameters": ROPE},
        "vision_config": {
            **QWEN_VISION,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 16,
        },
    },
    "Llava": {
        "text_config": {"model_type": "llama"},
        "vision_config": {**VISION, "model_type": "clip_vision_model", "projection_dim": 32},
    },
    "InternVL": {
        "text_config": {"model_type": "qwen2"},
        "vision_config": {**VISION, "image_size": [28, 28], "patch_size": [14, 14]},
    },
    "Mllama": {
        "text_config": {"num_hidden_layers": 3, "cross_attention_layers": [1]},
        "vision_config": {
            **VISION,
            "vision_output_dim": 64,
            "intermediate_layers_indices": [0],
            "num_global_layers": 1,
            "attention_heads": 2,
            "max_num_tiles": 1,
            "supported_aspect_ratios": [[1, 1]],
        },
    },
}
"""Wrapper -> its settings, beside those that all text decoders share."""


def wrapper(kind: str, words: Any, seed: int = 0) -> Any:
    """A wrapper for the tokenizer `words`."""
    import transformers

    torch.manual_seed(seed)
    text = {
        "vocab_size": len(words),
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 24,
        "max_position_embeddings": 512,
        "initializer_range": 0.05,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
    }
    settings = SETTINGS[kind]
    config = getattr(transformers, f"{kind}Config")(
        **{**settings, "text_config": {**text, **settings["text_config"]}}
    )
    return getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
