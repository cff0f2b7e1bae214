"""A GGUF file becomes a folder that holds the same model, or is refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from valuestrata.__main__ import main
from valuestrata.inference import local

gguf = pytest.importorskip("gguf", reason="needs the package gguf")

KIND = "turns begin with bos"
TEXTS = ["In 2020, 10  people\n\nsaid  7/10", "<s>user\nHi<|end|>\n<s>assistant\n", "Answer: 10"]


def network() -> Any:
    return toys.network("Llama", toys.tokenizer(KIND), tie_word_embeddings=True)


def write(
    file: Path,
    net: Any,
    architecture: str = "llama",
    rule: str = "smollm",
    template: str | None = toys.KINDS[KIND].template,
    without: str = "",
    more: str = "",
    scaling: bool = False,
) -> Path:
    """A GGUF file of a toy, as llama.cpp's own converter lays it out."""
    words, config = toys.tokenizer(KIND), net.config
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(words))
    if scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    bpe = json.loads(words.backend_tokenizer.to_str())
    special = {token["content"] for token in bpe["added_tokens"]}
    tokens = words.convert_ids_to_tokens(range(len(words)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in bpe["model"]["merges"]])
    writer.add_bos_token_id(words.bos_token_id)
    writer.add_eos_token_id(words.eos_token_id)
    writer.add_pad_token_id(words.pad_token_id)
    if template:
        writer.add_chat_template(template)
    for name, tensor in tensors(net).items():
        if name != without:
            writer.add_tensor(name, tensor.numpy())
    if more:
        writer.add_tensor(more, torch.ones(4).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def tensors(net: Any) -> dict[str, torch.Tensor]:
    """Weights by llama.cpp's names; queries and keys have the halves of a head interleaved."""
    names = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    weights = {k: v.detach().clone() for k, v in net.state_dict().items()}
    made = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    heads = {"attn_q": net.config.num_attention_heads, "attn_k": net.config.num_key_value_heads}
    for i in range(net.config.num_hidden_layers):
        for theirs, ours in names.items():
            weight = weights[f"model.layers.{i}.{theirs}.weight"]
            if ours in heads:
                halves = weight.reshape(heads[ours], 2, -1, weight.shape[1])
                weight = halves.swapaxes(1, 2).reshape(weight.shape).contiguous()
            made[f"blk.{i}.{ours}.weight"] = weight
    return made


def test_a_converted_model_has_the_weights_and_the_tokens_of_its_file(tmp_path: Path) -> None:
    net, words = network(), toys.tokenizer(KIND)
    file = write(tmp_path / "toy.gguf", net)
    assert main(["convert", str(file), str(tmp_path / "made/toy")]) == 0
    model = toys.model(tmp_path / "made/toy")
    loaded, chat = local.load_network(model), local.load_chat(model)
    for text in TEXTS:
        ids = words(text, add_special_tokens=False)["input_ids"]
        assert chat.tokenizer(text, add_special_tokens=False)["input_ids"] == ids, text
        split, expected = (t.backend_tokenizer.pre_tokenizer for t in (chat.tokenizer, words))
        assert split.pre_tokenize_str(text) == expected.pre_tokenize_str(text), text
    assert chat.prompt("You are old.", "Is it so?") == toys.chat(KIND).prompt(
        "You are old.", "Is it so?"
    )
    assert (chat.ends, chat.terminator) == (toys.chat(KIND).ends, toys.chat(KIND).terminator)
    ids = torch.tensor([words(TEXTS[0])["input_ids"]])
    with torch.inference_mode():
        torch.testing.assert_close(loaded(ids).logits, net(ids).logits, rtol=0, atol=1e-5)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["toy"]


def test_what_would_be_lost_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = network()
    (tmp_path / "text.gguf").write_text("Hello, this is no model.", encoding="utf-8")
    whole = write(tmp_path / "whole.gguf", net)
    (tmp_path / "cut.gguf").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "there").mkdir()
    cases = {
        "gone.gguf": "cannot be read: No such file or directory",
        "text.gguf": "is no GGUF file",
        "cut.gguf": "is damaged",
        write(tmp_path / "a.gguf", net, architecture="qwen2").name: "architecture 'qwen2'",
        write(tmp_path / "b.gguf", net, rule="llama-bpe").name: "by the rule 'llama-bpe'",
        write(tmp_path / "c.gguf", net, scaling=True).name: "scaled positions",
        write(tmp_path / "d.gguf", net, template=None).name: "without a chat template",
        write(tmp_path / "e.gguf", net, without="blk.1.ffn_up.weight").name: "its tensors are not",
        write(tmp_path / "f.gguf", net, more="rope_freqs.weight").name: "its tensors are not",
    }
    for name, reason in cases.items():
        assert main(["convert", str(tmp_path / name), str(tmp_path / "made")]) == 2, name
        (line,) = [
            line for line in capsys.readouterr().err.splitlines() if line.startswith("valuestrata")
        ]
        assert reason in line, name
        assert name in line
    assert not (tmp_path / "made").exists()
    assert main(["convert", str(whole), str(tmp_path / "there")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not any((tmp_path / "there").iterdir())
