"""A real model, SmolLM2-135M-Instruct as PyPI has it: converted, asked, tuned, asked again.

Toys write what they were taught. This one was taught by others: it writes options back, talks as
the persona and stops where it likes.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import asking, toys
from tests.graph import ROOT
from tests.tuning import Stage, recipe, training_log
from valuestrata.__main__ import main
from valuestrata.inference import local
from valuestrata.study.models import TransformersModel

PACKAGED = ROOT / "build/SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("real model"),
    pytest.mark.skipif(
        not PACKAGED.exists(),
        reason=f"{PACKAGED.relative_to(ROOT)} is not there: make laptop-model",
    ),
]
PERSONA = (
    "You are a person living in Utopia. About you: female. Answer every question as she would."
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TransformersModel:
    folder = tmp_path_factory.mktemp("real") / "smollm2"
    assert main(["convert", str(PACKAGED), str(folder)]) == 0
    return toys.model(folder)


def test_it_reads_a_chat_as_it_was_taught_to(model: TransformersModel) -> None:
    chat = local.load_chat(model)
    assert chat.system_role
    end = chat.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (chat.terminator, chat.ends, chat.lead) == ((end,), {end}, "")
    assert chat.tokenizer.decode(chat.prompt(PERSONA, "Is it so?").ids) == (
        f"<|im_start|>system\n{PERSONA}<|im_end|>\n<|im_start|>user\nIs it so?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    # digits stand alone, two blanks before one are one token
    words = chat.tokenizer
    assert words.convert_ids_to_tokens(words("in  2020")["input_ids"]) == ["in", "ĠĠ", *"2020"]
    network = local.load_network(model)
    assert sum(p.numel() for p in network.parameters()) == 134_515_008
    ids = words("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert words.decode(network(ids).logits[0, -1].argmax()) == " Paris"


def test_it_is_asked_tuned_and_asked_again(model: TransformersModel, tmp_path: Path) -> None:
    pairs = toys.pairs(toys.PERSONAS[:2])
    base = asking.predict(tmp_path, model, pairs, cache="base")
    config = recipe("sft", learning_rate=1e-3, epochs=6, batch_size=4, lora_dropout=0.0)
    stage = Stage(tmp_path, config, weights=Path(str(model.model)), pairs=pairs)
    assert stage.run(tmp_path) == 0
    steps: Any = training_log(tmp_path)["steps"]
    assert steps[-1]["loss"] < 0.2 * steps[0]["loss"]
    adapter = tmp_path / "adapter"
    tuned = asking.predict(tmp_path, model, pairs, adapter, cache="tuned")
    # untuned it writes whatever it likes; tuned it answers in the form, and as it was taught
    assert (base["non_option_mass"] > 0.9).all()
    assert (tuned["non_option_mass"] < 0.2).all()
    assert (tuned["outcome"] == "answer").all()
    assert (tuned["answer"] == pairs["mode"]).mean() >= 0.75
    assert (base["adapter"] == "").all()
    assert (tuned["adapter"] != "").all()
    for folder in (None, adapter):
        texts = asking.generate(
            tmp_path, model, pairs, folder, cache=f"texts {folder is None}", max_new_tokens=24
        )
        assert len(texts) == 4
        assert not texts["text"].str.contains(r"<\|", regex=True).any()
        assert (texts["text"].str.len() > 0).all()
