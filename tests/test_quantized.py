"""Checkpoints in few bits are read right, or refused by their settings; 8 bits at load."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import asking, toys, tuning
from valuestrata.errors import InputError
from valuestrata.inference import local, quantized
from valuestrata.inference.backends import open_model
from valuestrata.study.models import VllmModel
from valuestrata.training import lora

WEIGHTS = "model.safetensors"
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="torchao is not installed"
)
needs_compressed = pytest.mark.skipif(
    importlib.util.find_spec("compressed_tensors") is None,
    reason="compressed-tensors is not installed",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = toys.tokenizer("llama")
    return toys.save(
        toys.network("Llama", words, hidden_size=64, intermediate_size=96),
        words,
        tmp_path_factory.mktemp("base"),
    )


def stored(base: Path, copy: Path, settings: dict[str, Any], weights: bool = False) -> Path:
    """A copy whose settings say how its weights are stored."""
    shutil.copytree(base, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    if not weights:
        (copy / WEIGHTS).unlink()
    return copy


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        open_model(toys.model(folder), 1)
    assert "\n" not in str(error.value)
    return str(error.value)


LACKING: dict[str, tuple[str, dict[str, Any]]] = {
    "gptq": ("gptqmodel", {"quant_method": "gptq", "bits": 4, "group_size": 128}),
    "awq": ("gptqmodel", {"quant_method": "awq", "bits": 4, "group_size": 128}),
    "bitsandbytes": ("bitsandbytes", {"load_in_4bit": True, "quant_method": "bitsandbytes"}),
    "bitsandbytes 8": ("bitsandbytes", {"load_in_8bit": True}),
    "compressed-tensors": ("compressed_tensors", {"quant_method": "compressed-tensors"}),
    "aqlm": ("aqlm", {"quant_method": "aqlm"}),
    "eetq": ("kernels", {"quant_method": "eetq"}),
    "nvfp4 of modelopt": ("modelopt", {"quant_method": "modelopt", "quant_algo": "NVFP4"}),
    "one yet to come": ("nothing", {"quant_method": "int1"}),
    "no name": ("nothing", {"bits": 4}),
}
"""Format -> the package that reads it, and its settings."""


def test_a_format_that_cannot_be_read_here_is_refused_by_its_settings(
    base: Path, tmp_path: Path
) -> None:
    for name, (package, settings) in LACKING.items():
        if importlib.util.find_spec(package):
            continue
        line = refusal(stored(base, tmp_path / name, settings))
        assert f"is stored in {quantized.format_name(settings)}: " in line, name
        assert "use backend vllm on a GPU, or name the model in full precision" in line, name


def test_a_wrapper_says_so_in_the_settings_of_its_decoder(base: Path, tmp_path: Path) -> None:
    from tests import wrappers

    words = toys.tokenizer("llama")
    folder = toys.save(wrappers.wrapper("Mistral3", words), words, tmp_path / "wrapper")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["quantization_config"] = {"quant_method": "int1"}
    (folder / "config.json").write_text(json.dumps(config))
    assert "is stored in int1" in refusal(folder)


def fp8(base: Path, copy: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A checkpoint in blocks of FP8, and the weights that it stands for."""
    settings = {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": [32, 32],
        "modules_to_not_convert": ["lm_head"],
    }
    stored(base, copy, settings, weights=True)
    tensors, meant = load_file(copy / WEIGHTS), {}
    for key in [key for key in tensors if key.endswith("_proj.weight")]:
        weight = tensors[key]
        rows, columns = (-(-n // 32) for n in weight.shape)
        scale = torch.rand(rows, columns) * 0.01 + 0.001
        wide = scale.repeat_interleave(32, 0).repeat_interleave(32, 1)
        wide = wide[: weight.shape[0], : weight.shape[1]]
        tensors[key] = (weight / wide).to(torch.float8_e4m3fn)
        tensors[f"{key}_scale_inv"] = scale
        meant[key] = tensors[key].float() * wide
    save_file(tensors, copy / WEIGHTS, {"format": "pt"})
    return copy, meant


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU reads FP8 as it is")
def test_fp8_is_unpacked_without_a_gpu_and_that_is_noted(base: Path, tmp_path: Path) -> None:
    folder, meant = fp8(base, tmp_path / "fp8")
    backend: Any = open_model(toys.model(folder), 1)
    state = backend.network.state_dict()
    for key, weight in meant.items():
        torch.testing.assert_close(state[key].float(), weight, rtol=0, atol=1e-2)
    assert not [key for key in state if "scale" in key]
    predictions = asking.predict(tmp_path, toys.model(folder))
    assert "dequantizing" in predictions["notes"].iloc[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU may read MXFP4 as it is")
def test_mxfp4_is_unpacked_and_that_is_noted(tmp_path: Path) -> None:
    """gpt-oss: two numbers a byte, an exponent for each 32 of them."""
    words = toys.tokenizer("llama")
    settings: dict[str, Any] = {"hidden_size": 64, "num_local_experts": 2, "head_dim": 32}
    network = toys.network("GptOss", words, num_experts_per_tok=1, **settings)
    base = toys.save(network, words, tmp_path / "base")
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"]
    quantization = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    folder = stored(base, tmp_path / "mxfp4", quantization, weights=True)
    tensors = load_file(folder / WEIGHTS)
    key = "model.layers.0.mlp.experts.down_proj"
    for name in [name for name in tensors if name.endswith("_proj")]:
        experts, rows, columns = tensors.pop(name).shape
        # the number 1.0 twice in a byte, and 2 ** (120 - 127) for each block
        blocks = torch.full((experts, columns, rows // 32, 16), 0x22, dtype=torch.uint8)
        tensors |= {f"{name}_blocks": blocks, f"{name}_scales": blocks[..., 0] * 0 + 120}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    notes: list[str] = []
    state = local.load_network(toys.model(folder), "none", notes).state_dict()
    assert torch.equal(state[key].float(), torch.full((2, 64, 64), 2.0**-7))
    assert any("dequantiz" in note for note in notes)


def test_tuning_over_few_bits_is_refused_where_no_gradient_passes(
    base: Path, tmp_path: Path
) -> None:
    folder, _ = fp8(base, tmp_path / "fp8")
    model = toys.model(folder)
    with pytest.raises(InputError, match="is stored in fp8 already; use none"):
        local.check_tunable(model, "4bit")
    if not torch.cuda.is_available():
        local.check_tunable(model, "none")  # it is unpacked
    local.check_tunable(toys.model(base), "none")


def test_vllm_is_asked_what_it_reads(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("vllm.model_executor.layers.quantization")
    module.QUANTIZATION_METHODS = ["awq", "fp8"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, expected in {
        "awq": None,
        "fp8": "on a GPU alone, and no GPU was found",
        "aqlm": "which vLLM does not read; it reads awq, fp8",
    }.items():
        folder = stored(base, tmp_path / name, {"quant_method": name})
        model = VllmModel(backend="vllm", model=str(folder))
        config = local.read_config(model, folder)
        if expected is None:
            quantized.check_vllm(model, config)
        else:
            with pytest.raises(InputError, match=expected):
                quantized.check_vllm(model, config)


# ---- 8 bits at load


def test_8_bits_want_their_package_and_a_checkpoint_in_full_precision(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toys.model(base).replace(quantize="8bit")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(InputError, match=r"pip install 'valuestrata\[int8\]'"):
            open_model(model, 1)
    folder, _ = fp8(base, tmp_path / "fp8")
    with pytest.raises(InputError, match="is stored in fp8 already; leave out quantize"):
        open_model(toys.model(folder).replace(quantize="8bit"), 1)
    network = local.load_network(toys.model(base))
    with pytest.raises(InputError, match="no linear layer came out in 8 bits"):
        quantized.check_8bit(model, network)
    quantized.check_8bit(toys.model(base), network)


def test_8_bits_are_another_model_to_the_cache(base: Path) -> None:
    plain = local.LocalBackend(toys.model(base), toys.chat("llama"))
    rounded = local.LocalBackend(toys.model(base).replace(quantize="8bit"), toys.chat("llama"))
    assert plain.numerics == ("float32", "None")
    assert rounded.numerics == (*plain.numerics, "8bit")


@needs_torchao
@pytest.mark.filterwarnings("ignore")
def test_8_bits_answer_nearly_as_full_precision_does(base: Path) -> None:
    requests = toys.questions()[:3]
    plain: Any = open_model(toys.model(base), 1)
    rounded: Any = open_model(toys.model(base).replace(quantize="8bit"), 1)
    for one, other in zip(plain.score(requests, 4), rounded.score(requests, 4), strict=True):
        change = abs(one.logprobs - other.logprobs).max()
        assert 1e-6 < change < 0.5
    assert "Int8" in type(rounded.network.model.layers[0].mlp.up_proj.weight.data).__name__


@needs_torchao
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_is_read_over_8_bits(base: Path, tmp_path: Path) -> None:
    model = toys.model(base)
    tuned, _ = tuning.tune(toys.RECIPE, toys.pairs(), local.load_network(model))
    lora.save(tuned, tmp_path / "adapter", model)
    backend = open_model(model.replace(quantize="8bit"), 1, tmp_path / "adapter")
    shift = backend.check_load(toys.questions()[0].messages).adapter_shift
    assert shift is not None
    assert shift > 0.1


@needs_compressed
@pytest.mark.filterwarnings("ignore")
def test_compressed_tensors_are_read(base: Path, tmp_path: Path) -> None:
    """W8A8 as the paper's judge may be stored: a scale for each row, activations by token."""
    eight = {"num_bits": 8, "type": "int", "symmetric": True}
    settings = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {**eight, "strategy": "channel", "dynamic": False},
                "input_activations": {**eight, "strategy": "token", "dynamic": True},
            }
        },
    }
    folder = stored(base, tmp_path / "w8a8", settings, weights=True)
    tensors = load_file(folder / WEIGHTS)
    for key in [key for key in tensors if key.endswith("_proj.weight")]:
        scale = tensors[key].abs().amax(dim=1, keepdim=True) / 127
        tensors[key] = (tensors[key] / scale).round().to(torch.int8)
        tensors[f"{key}_scale"] = scale
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    plain: Any = open_model(toys.model(base), 1)
    small: Any = open_model(toys.model(folder), 1)
    requests = toys.questions()[:3]
    for one, other in zip(plain.score(requests, 4), small.score(requests, 4), strict=True):
        assert 1e-6 < abs(one.logprobs - other.logprobs).max() < 0.5
