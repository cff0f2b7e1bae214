"""Architectures that people bring are scored, tuned, asked, and judge: on tiny random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel

from tests import asking, toys, wrappers
from tests.test_forests import naive
from tests.test_shared_prefix import relative, replies
from tests.toys import chat
from tests.tuning import Stage, recipe, training_log
from valuestrata.errors import InputError
from valuestrata.inference import local, vllm
from valuestrata.inference.protocol import Sampling
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.study.models import VllmModel
from valuestrata.training import lora
from valuestrata.training.completion import CompletionObjective
from valuestrata.training.shared_prefix import SharedPrefixObjective
from valuestrata.training.targets import find_targets

BROUGHT = [
    "Qwen3", "Qwen3Moe", "Gemma3", "GptOss", "Olmo2", "Olmo3", "Granite", "SmolLM3", "DeepseekV3",
    "Mistral", "Ministral3",
]  # fmt: skip
EXPERTS = ["Qwen2Moe", "Qwen3Moe", "GptOss", "DeepseekV3"]
WIDE = {"initializer_range": 0.2}
"""Random weights wide enough that what is hidden, or shown, is seen in the logits."""
MOST = 12
# dropout has no place on experts
TUNED = recipe(lora_dropout=0.0, epochs=3, batch_layout="shared_prefix")


def network(architecture: str, **more: Any) -> Any:
    return toys.network(architecture, chat("llama").tokenizer, **WIDE, **more)


@pytest.mark.parametrize("architecture", BROUGHT)
def test_a_pass_scores_and_writes_as_one_sequence_at_a_time(architecture: str) -> None:
    model = TransformersBackend(toys.model(Path("nowhere")), chat("llama"))
    model._network = network(architecture)
    requests = toys.questions()[:4]
    answers = model.score(requests, MOST)
    assert {reply.passes for reply in answers} == {"shared_prefix"}
    for request, reply in zip(requests, answers, strict=True):
        np.testing.assert_allclose(reply.logprobs, naive(model, request), rtol=0, atol=5e-5)
    texts = model.generate([request.messages for request in requests], Sampling(MOST))
    assert [reply.text for reply in answers] == [text.text for text in texts]


@pytest.mark.parametrize("architecture", BROUGHT)
def test_every_layer_is_tuned_and_learns_what_plain_batches_teach(architecture: str) -> None:
    """Trap 16: experts, dense layers beside them, tied embeddings."""
    talk = chat("llama")
    base = toys.network(architecture, talk.tokenizer)
    names = {name: p.shape for name, p in base.named_parameters()}
    skipped = ("embed_tokens", "lm_head", "norm", "router", "mlp.gate.", "sinks", "bias")
    expected = {name for name in names if not any(word in name for word in skipped)}
    tuned = lora.add_lora(base, TUNED)
    weights = [p for p in tuned.parameters() if p.requires_grad]
    assert len(weights) == 2 * len(expected)
    seeded = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a fresh adapter's B is 0 and hides A's gradients
        for weight in weights:
            weight += 0.02 * torch.randn(weight.shape, generator=seeded)
    data = replies(talk, "persona")
    results = []
    for objective in (SharedPrefixObjective(talk.pad), CompletionObjective(talk.pad)):
        losses, _ = objective.losses(tuned, objective.collate(data))
        results.append((losses, torch.autograd.grad(losses.mean(), weights)))
    (ours, gradients), (plain, exact) = results
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-5)
    assert relative(gradients, exact) <= 1e-4
    assert all(bool(g.any()) for g in gradients)


WRAPPED = [f"{kind} with a tower" for kind in wrappers.SETTINGS]
PLAIN = {"Llama4 with a tower", "Nemotron"}
"""Those whose layers do not read forests."""


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(a, marks=[] if a in ("Qwen3Moe", WRAPPED[0]) else pytest.mark.slow)
        for a in (*BROUGHT, *WRAPPED, "Nemotron")
    ],
)
def test_a_model_goes_all_the_way(architecture: str, tmp_path: Path) -> None:
    """Predict, fine-tune, predict tuned, write and judge, by the stages themselves."""
    kind, _, tower = architecture.partition(" ")
    made = wrappers.wrapper(kind, chat("llama").tokenizer) if tower else network(architecture)
    stage = Stage(tmp_path, TUNED, made, toys.pairs())
    model = toys.model(stage.weights)
    base = asking.predict(tmp_path, model)
    assert stage.run(tmp_path) == 0
    log = training_log(tmp_path)
    passes = "plain" if architecture in PLAIN else "shared_prefix"
    assert log["passes"] == passes
    assert log["steps"][-1]["loss"] < log["steps"][0]["loss"]
    adapter = tmp_path / "adapter"
    tuned = asking.predict(tmp_path, model, adapter=adapter)
    for table in (base, tuned):
        assert set(table["passes"]) == {passes}
        assert table["notes"].str.contains("read by itself").all() == (passes == "plain")
        assert table["distribution"].map(np.sum).to_numpy() == pytest.approx(1)
    assert mode_probability(tuned) > mode_probability(base)
    assert set(tuned["adapter"]) != set(base["adapter"])
    for pairs in (None, toys.pairs()):
        texts = asking.generate(tmp_path, model, pairs, adapter if pairs is None else None)
        assert texts["text"].notna().all()
    verdicts = asking.judge(tmp_path, model, rubric="toy")
    assert len(verdicts)


def mode_probability(predictions: Any) -> float:
    """Mean probability of the modes that were tuned on."""
    modes = toys.pairs()["mode"]
    return float(
        np.mean(
            [
                shares[list(codes).index(mode)]
                for shares, codes, mode in zip(
                    predictions["distribution"], predictions["codes"], modes, strict=True
                )
            ]
        )
    )


@pytest.mark.parametrize("architecture", EXPERTS)
def test_an_adapter_of_experts_is_read_back_whole(architecture: str, tmp_path: Path) -> None:
    tuned = lora.add_lora(network(architecture), TUNED)
    seeded = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight += 0.1 * torch.randn(weight.shape, generator=seeded)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    lora.save(tuned.eval(), tmp_path)
    again = PeftModel.from_pretrained(network(architecture), str(tmp_path)).eval()
    with torch.inference_mode():
        assert torch.equal(tuned(ids).logits, again(ids).logits)
        assert not torch.allclose(tuned(ids).logits, network(architecture)(ids).logits, atol=0.1)


@pytest.mark.parametrize("architecture", EXPERTS)
def test_what_cannot_be_put_on_experts_is_one_line_that_names_the_rest(architecture: str) -> None:
    attention = sorted(
        {
            name.rpartition(".")[2]
            for name in find_targets(network(architecture), "all-linear").layers
        }
    )
    for base, changes, says in (
        (network(architecture), {"lora_dropout": 0.1}, "lora_dropout: 0"),
        (network(architecture).bfloat16(), {}, "bfloat16 would round"),
        (network(architecture).half(), {}, "float16 would round"),
    ):
        with pytest.raises(InputError) as error:
            lora.add_lora(base, TUNED.replace(**changes))
        line = str(error.value)
        assert "\n" not in line
        assert says in line
        assert f"target_modules: [{', '.join(attention)}]" in line
        # and so it works
        named = TUNED.replace(**changes, target_modules=tuple(attention))
        lora.add_lora(base, named)


def test_an_adapter_of_experts_is_not_given_to_vllm(tmp_path: Path) -> None:
    lora.save(lora.add_lora(network("Qwen3Moe"), TUNED), tmp_path)
    model = VllmModel(backend="vllm", model=str(tmp_path), dtype="float32")
    with pytest.raises(InputError, match="tunes fused experts, which the backend vllm"):
        vllm.start_engine(model, 512, tmp_path)


def test_experts_are_refused_before_weights_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "load_network", pytest.fail)
    stage = Stage(tmp_path, TUNED.replace(lora_dropout=0.1), network("Qwen3Moe"), toys.pairs())
    for more in ([], ["--check"]):
        assert stage.run(tmp_path, *more) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith(
            "valuestrata finetune: recipe: lora_dropout: LoRA on experts (model."
        )
        assert "target_modules: [k_proj, o_proj, q_proj, v_proj]" in line


def test_layers_that_are_not_there_or_stay_as_they_are_are_named() -> None:
    for architecture, name, says in (
        ("Qwen3", "lm_head", "'lm_head' holds the embeddings or the output layer"),
        ("Qwen3", "embed_tokens", "'embed_tokens' holds the embeddings or the output layer"),
        ("Olmo2", "lm_head", "'lm_head' holds the embeddings or the output layer"),
        ("Qwen3", "qkv_proj", "no linear layer 'qkv_proj'; it has down_proj, gate_proj"),
        ("Qwen3Moe", "w1", "no linear layer 'w1'; it has down_proj, gate_proj, gate_up_proj"),
        ("Mamba", "out_proj", "incompatible with Mamba"),
    ):
        config = TUNED.replace(target_modules=(name,))
        with pytest.raises(InputError, match=says) as error:
            lora.add_lora(toys.network(architecture, chat("llama").tokenizer), config)
        assert "\n" not in str(error.value)
