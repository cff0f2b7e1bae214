"""A wrapper around a text decoder answers as its decoder does, and is tuned in it alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tests import toys, tuning, wrappers
from valuestrata.errors import InputError
from valuestrata.inference import architectures, local
from valuestrata.inference.backends import open_model
from valuestrata.inference.protocol import Sampling
from valuestrata.training import lora

DENSE = [kind for kind in wrappers.SETTINGS if kind != "Llama4"]
"""Wrappers whose decoders have no experts, which LoRA does not adapt."""


def made(kind: str, folder: Path) -> Path:
    words = toys.tokenizer("llama")
    return toys.save(wrappers.wrapper(kind, words), words, folder / kind)


def test_every_wrapper_loads_whole(tmp_path: Path) -> None:
    """Trap 35."""
    for kind in wrappers.SETTINGS:
        model = toys.model(made(kind, tmp_path))
        network = local.load_network(model)
        assert type(network).__name__ == f"{kind}ForConditionalGeneration"
        prefix = architectures.decoder_prefix(network)
        assert "language_model" in prefix, kind
        saved = wrappers.wrapper(kind, toys.tokenizer("llama")).state_dict()
        assert all(torch.equal(saved[key], value) for key, value in network.state_dict().items())
        assert local.max_length(model) == 512


def test_a_network_without_towers_has_no_prefix() -> None:
    for architecture, kind in toys.ARCHITECTURES.items():
        assert architectures.decoder_prefix(toys.network(architecture, toys.tokenizer(kind))) == ""


@torch.inference_mode()
def test_wrappers_answer_tune_and_write(tmp_path: Path) -> None:
    """Options as plain passes score them, texts as greedy decoding; towers stay as they are."""
    requests = toys.questions()[:2]
    for kind in wrappers.SETTINGS:
        model = toys.model(made(kind, tmp_path))
        backend = open_model(model, 1)
        network = wrappers.wrapper(kind, toys.tokenizer("llama"))
        replies = backend.score(requests, 4)
        for request, reply in zip(requests, replies, strict=True):
            prompt = list(backend.render(request.messages).ids)  # type: ignore[attr-defined]
            expected = []
            for text in request.options:
                option = list(backend.chat.encode_reply(text))  # type: ignore[union-attr]
                logits = network(input_ids=torch.tensor([prompt + option])).logits[0].float()
                steps = logits.log_softmax(dim=-1)[len(prompt) - 1 : -1]
                expected.append(float(steps[range(len(option)), option].sum()))
            np.testing.assert_allclose(reply.logprobs, expected, atol=1e-4, err_msg=kind)
            ids = list(prompt)
            for _ in range(4):
                ids.append(int(network(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            text = backend.chat.decode(ids[len(prompt) :])  # type: ignore[union-attr]
            assert reply.text == text, kind
            assert toys.texts(backend.generate([request.messages], Sampling(4))) == [text], kind


def test_only_the_decoder_is_tuned(tmp_path: Path) -> None:
    """Trap 35: towers have layers of the same names."""
    for kind in DENSE:
        folder = made(kind, tmp_path)
        model = toys.model(folder)
        for targets in ("all-linear", ("q_proj", "v_proj")):
            recipe = toys.RECIPE.replace(target_modules=targets)
            tuned, _ = tuning.tune(recipe, toys.pairs(), local.load_network(model))
            adapter = tmp_path / f"{kind}-{len(targets)}"
            lora.save(tuned, adapter, model)
            with safe_open(adapter / "adapter_model.safetensors", "np") as tensors:
                names = list(tensors.keys())
            layers = 3 if kind == "Mllama" else 2
            assert len(names) == layers * 2 * (7 if targets == "all-linear" else 2), kind
            assert all(".language_model.layers." in name for name in names)
            assert "vision" not in json.dumps(
                json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
            )
        backend = open_model(model, 1, adapter)
        check = backend.check_load(toys.questions()[0].messages)
        assert check.adapter_shift is not None
        assert check.adapter_shift > 0.01
        assert check.notes == ()


def test_a_wrapper_that_lacks_a_tensor_of_a_tower_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = made("Mistral3", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in tensors if "vision" in key)
    tensors.pop(name)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="missing: ") as error:
        local.load_network(toys.model(folder))
    assert "vision_tower" in str(error.value)


def test_the_ends_of_a_text_stand_in_the_settings_of_the_decoder(tmp_path: Path) -> None:
    folder = made("Mistral3", tmp_path)
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    config.pop("eos_token_id", None)
    user = toys.tokenizer("llama").convert_tokens_to_ids("<|user|>")
    config["text_config"]["eos_token_id"] = [user]
    (folder / "config.json").write_text(json.dumps(config))
    assert user in local.load_chat(toys.model(folder)).ends
