"""LoRA fine-tuning on the modal answers of a train split (paper.md, Training)."""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from valuestrata import prompts
from valuestrata.io import records
from valuestrata.models import loop
from valuestrata.models.chat import Chat
from valuestrata.specs import Finetune, Recipe

log = logging.getLogger(__name__)


def examples(pairs: pd.DataFrame, chat: Chat, template: str) -> list[loop.Example]:
    """One example a pair: persona and question in, modal answer out."""
    return [
        loop.Example(
            chat.prompt(row["persona"], row["closed_prompt"]).ids,
            chat.reply(prompts.answer(template, int(row["mode"]))),
        )
        for row in records(pairs)
    ]


def adapted(network: Any, recipe: Recipe) -> Any:
    """The network with a fresh LoRA on every linear layer but the output layer.

    Raises:
        RuntimeError: some linear layer was left out, so part of the model would not be tuned.
    """
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    output = network.get_output_embeddings()
    linear = sum(isinstance(m, torch.nn.Linear) and m is not output for m in network.modules())
    tuned = get_peft_model(network, config)
    layers = sum(hasattr(m, "lora_A") for m in tuned.modules())
    fused = [name for name, p in network.named_parameters() if p.dim() > 2]
    if fused:
        raise RuntimeError(f"LoRA adapts no fused experts, such as {fused[0]}")
    if layers != linear:
        raise RuntimeError(f"LoRA adapts {layers} of {linear} linear layers")
    log.info("LoRA of rank %d on %d linear layers", recipe.rank, layers)
    return tuned


def finetune(
    spec: Finetune, network: Any, data: Sequence[loop.Example], pad: int, folder: Path
) -> dict[str, Any]:
    """Tune, save the adapter to `folder`, and return the log.

    The log holds the steps' records and `logit_shift`, the mean |change| of the logits at the
    replies of the first examples: 0 would mean an adapter that does nothing.
    """
    recipe = spec.recipe
    tuned = adapted(network, recipe)
    probe = loop.collate(data[:8], pad)
    before = _logits(tuned, probe)
    steps = recipe.epochs * -(-len(data) // recipe.batch)
    settings = loop.Settings(
        recipe.learning_rate, steps, recipe.warmup, recipe.weight_decay, recipe.gradient_norm
    )
    parts = loop.batches(data, recipe.batch, recipe.epochs, recipe.seed)
    history = loop.train(tuned, parts, settings, pad)
    shift = float((_logits(tuned, probe) - before).abs().mean())
    if not 0 < shift < math.inf:
        raise RuntimeError(f"the tuned adapter changes logits by {shift}; mend learning_rate")
    log.info("mean change of the logits: %.2g", shift)
    save(tuned, folder)
    return {"examples": len(data), "steps": history, "logit_shift": shift}


def save(tuned: Any, folder: Path) -> None:
    """Write the adapter; the same adapter makes the same bytes.

    peft keeps the names of the tuned layers in a set and writes them in another order each time.
    """
    tuned.save_pretrained(folder, safe_serialization=True)
    path = folder / "adapter_config.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    lists = {
        k: sorted(v) for k, v in said.items() if k.endswith("_modules") and isinstance(v, list)
    }
    path.write_text(json.dumps({**said, **lists}, indent=2, sort_keys=True), encoding="utf-8")


@torch.inference_mode()
def _logits(network: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    network.eval()
    where = next(network.parameters()).device
    inputs = {k: v.to(where) for k, v in batch.items() if k != "labels"}
    keep = batch["labels"].shape[1]
    return network(**inputs, logits_to_keep=keep, use_cache=False).logits.float().cpu()
